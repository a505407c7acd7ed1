//! All suites, once at each number of processors.

use super::{parked, parked_at};

mod condvar;
mod fair_mutex;
mod issues;
mod latches;
mod mutex;
mod once;
mod parking;
mod recursive_rwlock;
mod remutex;
mod rwlock;
mod webkit_queue;
