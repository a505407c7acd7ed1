//! How programs end: their text, their dump, their exit status. Each case is a child process, the
//! program `victim` (`src/bin/victim`).
//!
//! After Go's `runtime/crash_test.go` and `runtime/testdata/testprog/deadlock.go` (BSD-3-Clause) where a
//! case says so.

mod asleep;
mod awake;
mod chans;
mod fatal;
mod polled;

use goroutines_tests::{Ended, run_to_end};
use std::process::Command;

/// Runs a scenario of `victim` on `procs` processors.
#[track_caller]
fn victim_at(procs: usize, scenario: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_victim"));
    command.arg(scenario).env("GOMAXPROCS", procs.to_string());
    // As a user has it; frames of backtraces would be looked for in panics' texts.
    command.env_remove("RUST_BACKTRACE").env_remove("GOROUTINES_STACK_SIZE");
    run_to_end(&mut command)
}

/// Runs a scenario of `victim` on one processor, and on four.
#[track_caller]
fn victim(scenario: &str, check: impl Fn(&Ended)) {
    for procs in [1, 4] {
        check(&victim_at(procs, scenario));
    }
}
