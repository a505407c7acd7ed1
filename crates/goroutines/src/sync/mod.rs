//! Synchronisation that std does not have. Locks are std's.
//!
//! What Go has and std has too is std's: `Mutex`, `RwLock`, `Condvar`; [`Once`](std::sync::Once);
//! [`LazyLock`](std::sync::LazyLock) for `OnceFunc`, `OnceValue` and `OnceValues`.

mod count;
mod pool;
mod queue;
mod semaphore;
pub mod singleflight;
mod wait_group;

pub use pool::{Pool, Pooled};
pub use semaphore::{OwnedPermit, Permit, Semaphore};
pub use wait_group::WaitGroup;
