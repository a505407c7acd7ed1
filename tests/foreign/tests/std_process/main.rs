//! The standard library's tests of processes and pipes, on goroutines.

#[path = "suites.rs"]
mod at_1;
#[path = "suites.rs"]
mod at_2;
