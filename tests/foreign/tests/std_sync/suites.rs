//! All suites, once at each number of processors.

use super::result_unwrap;

mod barrier;
mod condvar;
mod lazy_lock;
mod mpsc;
mod mpsc_sync;
mod mutex;
mod once;
mod once_lock;
mod rwlock;
