//! Sockets, polling, sleeps.

mod memory;
mod partial;
mod select;
mod shutdown;

use goroutines_twin_tests::{Row, run_rows};
use std::process::ExitCode;

fn rows() -> Vec<Row> {
    let families: &[fn() -> Vec<Row>] =
        &[memory::rows, partial::rows, select::rows, shutdown::rows];
    families.iter().flat_map(|rows| rows()).collect()
}

fn main() -> ExitCode {
    run_rows("socket", &rows())
}
