//! Where libc must be told that a goroutine is a thread.
//!
//! A symbol defined here takes the place of libc's in the program that links this crate; calls that
//! have nothing to do with goroutines are passed on. `table.rs` lists all of them.

pub(crate) mod credentials;
pub(crate) mod fork;
mod table;

#[cfg(feature = "intercept")]
mod accept;
#[cfg(feature = "intercept")]
mod barrier;
#[cfg(feature = "intercept")]
pub(crate) mod bound;
#[cfg(feature = "intercept")]
mod c11;
#[cfg(feature = "intercept")]
mod clocks;
#[cfg(feature = "intercept")]
mod cond;
#[cfg(feature = "intercept")]
mod connect;
#[cfg(feature = "intercept")]
mod direct;
#[cfg(feature = "intercept")]
mod dns;
#[cfg(feature = "intercept")]
pub(crate) mod effect;
#[cfg(feature = "intercept")]
mod epoll_ctl;
#[cfg(feature = "intercept")]
mod fd;
#[cfg(feature = "intercept")]
mod file;
#[cfg(feature = "intercept")]
mod futex;
#[cfg(feature = "intercept")]
mod futex_call;
#[cfg(feature = "intercept")]
mod io;
#[cfg(feature = "intercept")]
mod jump;
#[cfg(feature = "intercept")]
mod kind;
#[cfg(feature = "intercept")]
mod known;
#[cfg(feature = "intercept")]
#[cfg(feature = "intercept")]
mod mark;
#[cfg(feature = "intercept")]
mod mask;
#[cfg(feature = "intercept")]
mod moves;
#[cfg(feature = "intercept")]
mod mutex;
#[cfg(feature = "intercept")]
pub(crate) mod names;
#[cfg(feature = "intercept")]
mod names_of_signal;
#[cfg(feature = "intercept")]
mod once;
#[cfg(feature = "intercept")]
mod pinned;
#[cfg(feature = "intercept")]
mod poll;
#[cfg(feature = "intercept")]
mod process;
#[cfg(feature = "intercept")]
mod pthread;
#[cfg(feature = "intercept")]
mod real;
#[cfg(feature = "intercept")]
mod rwlock;
#[cfg(feature = "intercept")]
mod select;
#[cfg(feature = "intercept")]
pub(crate) mod semaphore;
#[cfg(feature = "intercept")]
mod send;
#[cfg(feature = "intercept")]
pub(crate) mod signal;
#[cfg(feature = "intercept")]
mod socket;
#[cfg(feature = "intercept")]
pub(crate) mod sync;
#[cfg(feature = "intercept")]
mod time;
#[cfg(feature = "intercept")]
pub(crate) mod undisturbed;
#[cfg(feature = "intercept")]
mod unwraps;
#[cfg(feature = "intercept")]
mod user_memory;
#[cfg(feature = "intercept")]
mod wait;
