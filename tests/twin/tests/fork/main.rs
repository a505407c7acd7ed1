//! `fork` and its kin, credentials.

mod cpu_time;
mod os_thread;
mod threads;
mod waits;

use goroutines_twin_tests::{Row, run_rows};
use std::process::ExitCode;

fn rows() -> Vec<Row> {
    let families: &[fn() -> Vec<Row>] =
        &[cpu_time::rows, os_thread::rows, threads::rows, waits::rows];
    families.iter().flat_map(|rows| rows()).collect()
}

fn main() -> ExitCode {
    run_rows("fork", &rows())
}
