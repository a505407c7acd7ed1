//! The standard library's tests of threads and thread-locals, on goroutines.

#[path = "suites.rs"]
mod at_1;
#[path = "suites.rs"]
mod at_2;
