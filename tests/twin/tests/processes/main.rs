//! Processes: children and what is waited for, exec, pipes to programs.

use goroutines_twin_tests::{Row, run_rows};
use std::process::ExitCode;

fn rows() -> Vec<Row> {
    let families: &[fn() -> Vec<Row>] = &[];
    families.iter().flat_map(|rows| rows()).collect()
}

fn main() -> ExitCode {
    run_rows("processes", &rows())
}
