//! Where the detector must keep silent: main waits, and something outside the run queues will end that.

use crate::{victim, victim_at};
use std::time::Duration;

/// Runs a scenario that takes 300 ms and must end well.
#[track_caller]
fn is_awake(scenario: &str) {
    victim(scenario, |ended| {
        ended.expect_clean();
        assert!(ended.took >= Duration::from_millis(300), "it did not wait: {ended}");
        assert!(ended.took < Duration::from_secs(5), "it waited too long: {ended}");
    });
}

#[test]
fn a_goroutine_sleeps_in_blocking() {
    is_awake("blocking_sleep");
}

#[test]
fn a_goroutine_sleeps_and_told_nobody() {
    is_awake("raw_sleep");
}

#[test]
fn a_goroutine_sleeps_as_threads_do() {
    is_awake("std_sleep");
}

#[test]
fn a_goroutine_sleeps_as_goroutines_do() {
    is_awake("goroutine_sleep");
}

#[test]
fn a_goroutine_is_parked_for_a_time() {
    is_awake("park_timeout");
}

#[test]
fn main_sleeps_and_another_waits() {
    is_awake("main_sleeps");
}

#[test]
fn a_thread_will_unpark_main() {
    is_awake("thread_unparks");
}

#[test]
fn a_thread_will_be_done() {
    is_awake("thread_is_done");
}

#[test]
fn a_goroutine_reads_what_a_process_will_write() {
    is_awake("process_writes");
}

#[test]
fn a_goroutine_reads_what_a_thread_will_write() {
    is_awake("thread_writes");
}

#[test]
fn a_locked_goroutine_sleeps() {
    is_awake("locked_goroutine_blocks");
}

#[test]
fn goroutines_wait_for_a_std_mutex() {
    is_awake("mutex_wait");
}

#[test]
fn between_two_runs() {
    is_awake("runs_one_after_another");
}

/// Go: `TestNetpollDeadlock`.
#[test]
fn a_connection_is_refused() {
    victim("refused_connection", |ended| ended.expect_clean());
}

/// Go: `TestPanicDeadlockGosched`, `TestPanicDeadlockSyscall`: what is told is the panic.
#[test]
fn main_blocks_while_it_unwinds() {
    for (scenario, text) in [("panic_yields", "yields"), ("panic_sleeps", "sleeps")] {
        victim(scenario, |ended| {
            ended.expect_status(101);
            ended.expect_stderr(&format!("while somebody {text}\n"));
            assert!(!ended.stderr.contains("fatal error"), "{ended}");
        });
    }
}

#[test]
fn threads_go_to_sleep_and_wake_all_the_time() {
    for procs in [1, 2, 4] {
        victim_at(procs, "many_short_sleeps").expect_clean();
    }
}
