//! The twin test: what a goroutine does where a thread would do it.
//!
//! A [`Row`] is a situation, one function. It runs in a process of its own on an OS thread, then on a goroutine
//! at 1, 2 and 4 Ps, and writes a [`Trace`]: values, errnos, bytes, classes of time. The thread's trace is what
//! the goroutine's must be. README.md says how to add a row.

mod child;
pub mod intended;
pub mod make;
mod page;
mod parent;
mod report;
mod row;
pub mod say;
mod trace;

pub use parent::{Verdict, examine};
pub use report::{run_rows, run_waiting_rows};
pub use row::{Row, Side};
pub use say::{code, ret};
pub use trace::{Call, Flow, Trace, ms, sleep};

/// The rows of a table of functions: `rows![a, b, other::c]`, each named like its function.
#[macro_export]
macro_rules! rows {
    ($($row:path),* $(,)?) => { vec![$($crate::Row::new(stringify!($row), $row)),*] };
}
