//! Synchronisation that std does not have. Locks are std's.

mod wait_group;

pub use wait_group::WaitGroup;
