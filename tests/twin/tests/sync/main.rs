//! Locks and what else threads wait for each other with.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Row, run_waiting_rows};
use std::process::ExitCode;

mod barriers;
mod c;
mod c11;
mod conditions;
mod futexes;
mod mutexes;
mod rwlocks;
mod sandboxes;
mod semaphores;

fn rows() -> Vec<Row> {
    let families: &[fn() -> Vec<Row>] = &[
        mutexes::rows,
        conditions::rows,
        rwlocks::rows,
        semaphores::rows,
        barriers::rows,
        futexes::rows,
        c11::rows,
        sandboxes::rows,
    ];
    families.iter().flat_map(|rows| rows()).collect()
}

fn main() -> ExitCode {
    run_waiting_rows("sync", &rows())
}
