//! All suites, once at each number of processors.

mod dynamic_thread_local;
mod sleep;
mod thread;
mod thread_local;
