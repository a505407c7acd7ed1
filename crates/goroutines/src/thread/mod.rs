//! `std::thread`, on goroutines.
//!
//! Item for item what [`std::thread`] has, so that `use goroutines::thread;` is the whole port of a
//! threaded program. What differs is said where it does. Each function works on ordinary threads
//! too.

mod builder;
mod id;
mod join;
mod park;
mod scope;

pub use builder::{Builder, sleep, spawn, yield_now};
pub use id::{Thread, ThreadId, current};
pub use join::JoinHandle;
pub(crate) use join::{CRASH_ON_PANIC, Goexit, crash_if_wanted, finish, thread_if_made};
pub(crate) use join::{Options, prepare, start};
pub(crate) use park::ParkState;
pub use park::{park, park_timeout};
pub use scope::{Scope, ScopedJoinHandle, scope};
pub use std::thread::{AccessError, LocalKey, Result, available_parallelism, panicking};
