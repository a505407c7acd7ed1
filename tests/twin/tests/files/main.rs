//! Files: reads and writes at offsets, locks, FIFOs, directories, flags, mappings.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

mod locks;
mod mappings;
mod opens;
mod transfers;

use goroutines_twin_tests::{Row, run_rows};
use std::process::ExitCode;

fn rows() -> Vec<Row> {
    let families: &[fn() -> Vec<Row>] =
        &[locks::rows, mappings::rows, opens::rows, transfers::rows];
    families.iter().flat_map(|rows| rows()).collect()
}

fn main() -> ExitCode {
    run_rows("files", &rows())
}
