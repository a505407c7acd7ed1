//! Where libc must be told that a goroutine is a thread.
//!
//! A symbol defined here takes the place of libc's in the program that links this crate; calls that
//! have nothing to do with goroutines are passed on. `table.rs` lists all of them.

pub(crate) mod fork;
#[cfg(feature = "intercept")]
mod loader;
#[cfg(feature = "intercept")]
mod pthread;
mod table;
