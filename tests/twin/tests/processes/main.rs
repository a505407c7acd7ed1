//! Processes: children and what is waited for, exec, pipes to programs.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

mod programs;
mod waits;

use goroutines_twin_tests::{Row, run_rows};
use std::process::ExitCode;

fn rows() -> Vec<Row> {
    let families: &[fn() -> Vec<Row>] = &[programs::rows, waits::rows];
    families.iter().flat_map(|rows| rows()).collect()
}

fn main() -> ExitCode {
    run_rows("processes", &rows())
}
