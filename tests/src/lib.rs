//! What the tests share: running programs with a time limit, and running a test's body in a goroutine
//! at several values of `GOMAXPROCS`, beside goroutines that burn CPU.

pub mod alloc;
pub mod chan_model;
pub mod chans;
mod child;
pub mod io;
pub mod proc;
mod procs;
mod programs;
pub mod raw;
pub mod sandbox;
pub mod sync;

pub use child::{Ended, run_to_end};
pub use procs::{TIME_SLICE, join_all, on_procs, os_thread, quiet_panics, work};
pub use programs::{example, run_example};

/// The programs in the README are compiled and run by the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
