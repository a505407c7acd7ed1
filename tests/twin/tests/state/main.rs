//! What libc and Rust keep for each thread: errno, keys, locales, thread-locals; stdio, the environment.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

mod errno;
mod identity;
mod libc_state;
mod stdio;
mod thread_locals;

use goroutines_twin_tests::{Row, run_rows};
use std::process::ExitCode;

fn rows() -> Vec<Row> {
    let families: &[fn() -> Vec<Row>] =
        &[errno::rows, identity::rows, libc_state::rows, stdio::rows, thread_locals::rows];
    families.iter().flat_map(|rows| rows()).collect()
}

fn main() -> ExitCode {
    run_rows("state", &rows())
}
