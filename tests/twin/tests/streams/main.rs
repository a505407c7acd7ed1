//! Every kind of descriptor × every call; pipes, eventfds, timerfds, inotify, queues of System V and POSIX.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

mod calls;
mod events;
mod kinds;
mod pipes;
mod queues;

use goroutines_twin_tests::{Row, run_rows};
use std::process::ExitCode;

fn rows() -> Vec<Row> {
    let families: &[fn() -> Vec<Row>] = &[events::rows, pipes::rows, queues::rows, calls::rows];
    families.iter().flat_map(|rows| rows()).collect()
}

fn main() -> ExitCode {
    run_rows("streams", &rows())
}
