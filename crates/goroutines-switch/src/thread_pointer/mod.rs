//! What the C library must be told about a carrier, so that it takes it for a thread.
//!
//! One file per C library; glibc's is the only one so far.

mod block;
mod glibc;
mod keys;
mod life;
mod modules;
mod probe;
mod quiet;
mod resolver;
mod robust;
mod room;

pub(crate) use block::{Tls, free_dynamic, has_dynamic, make_tls, reset_tls};
pub use glibc::{Facts, Unsupported, facts, init, pthread_getattr};
pub use life::{leave, leave_robust, start};
