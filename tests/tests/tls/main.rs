//! A goroutine is a thread to every line of Rust that runs in it.
//!
//! Each case runs at `GOMAXPROCS` 1 and 4, with time slices of 100 µs and two goroutines beside it that
//! burn CPU.

mod backtraces;
mod ends;
mod identity;
mod libc_state;
mod locks;
mod panics;
mod processes;
mod thread_locals;
