//! All goroutines asleep: found, told, dumped, ended with status 2.

use crate::victim;
use goroutines_tests::{Ended, run_to_end};
use std::process::Command;
use std::time::Duration;

const DEADLOCK: &str = "fatal error: all goroutines are asleep - deadlock!\n";
const NO_GOROUTINES: &str = "fatal error: no goroutines (main called runtime.Goexit) - deadlock!\n";

/// The goroutines of a dump: the line in front of the frames, and the frames.
fn dumped(ended: &Ended) -> Vec<(&str, &str)> {
    let blocks = ended.stderr.split("\n\n").skip(1);
    blocks.map(|block| block.split_once('\n').unwrap_or((block, ""))).collect()
}

/// Checks for a deadlock's report: its text, its status, and the goroutines of the dump, each with the
/// line in front of its frames and a function that its frames must name.
#[track_caller]
pub(crate) fn expect_deadlock(ended: &Ended, goroutines: &[(&str, &str)]) {
    ended.expect_status(2);
    assert!(ended.stderr.starts_with(DEADLOCK), "{ended}");
    assert_eq!(ended.stderr.matches("fatal error").count(), 1, "{ended}");
    let dumped = dumped(ended);
    assert_eq!(dumped.len(), goroutines.len(), "how many are dumped:\n{ended}");
    for ((header, frames), (wanted, function)) in dumped.iter().zip(goroutines) {
        assert_eq!(header, wanted, "{ended}");
        assert!(frames.contains(&format!("{function}()\n")), "{function} is not among:\n{frames}");
        assert!(frames.contains("\ncreated "), "where it was started:\n{frames}");
        let file = function.split("::").nth(1).unwrap_or(function);
        assert!(frames.contains(&format!("{file}.rs:")), "a file and line of its own:\n{frames}");
    }
}

const MAIN_WAITS: (&str, &str) =
    ("goroutine 1 [sync.WaitGroup.Wait]:", "victim::asleep::waits_for_a_group");

#[test]
fn in_wait_group_wait() {
    victim("wait_group", |ended| {
        expect_deadlock(ended, &[MAIN_WAITS]);
        // The frames between the entry and the user's function, in order, and nothing of ours inside.
        let frames = dumped(ended)[0].1.to_owned();
        // An optimised `wait` has no frame of its own: it ends with the call of the scheduler.
        let wait = frames.find("WaitGroup");
        assert!(wait.is_some() || !cfg!(debug_assertions), "what was called:\n{frames}");
        let caller = frames.find("waits_for_a_group");
        assert!(wait < caller, "innermost first:\n{frames}");
        assert!(!frames.contains("goroutines::sched"), "frames of the runtime:\n{frames}");
        assert!(ended.took < Duration::from_secs(2), "{ended}");
    });
}

#[test]
fn every_goroutine_is_dumped() {
    victim("many_wait", |ended| {
        let group = "victim::asleep::waits_for_a_group";
        let others: Vec<String> =
            (2..=4).map(|id| format!("goroutine {id} [sync.WaitGroup.Wait]:")).collect();
        let mut wanted = vec![MAIN_WAITS];
        wanted.extend(others.iter().map(|header| (header.as_str(), group)));
        wanted.push(("goroutine 5 \"parker\" [thread::park]:", "victim::asleep::parks_for_ever"));
        expect_deadlock(ended, &wanted);
    });
}

#[test]
fn in_a_circle_of_joins() {
    victim("join_cycle", |ended| {
        expect_deadlock(
            ended,
            &[
                ("goroutine 1 [thread::park]:", "victim::asleep::parks_for_ever"),
                ("goroutine 2 [join]:", "victim::asleep::joins_another"),
                ("goroutine 3 [join]:", "victim::asleep::joins_another"),
            ],
        );
        assert!(ended.stderr.contains("created by goroutine 1\n"), "{ended}");
    });
}

#[test]
fn in_park() {
    victim("park", |ended| {
        let park = ("goroutine 1 [thread::park]:", "victim::asleep::parks_for_ever");
        expect_deadlock(ended, &[park]);
    });
}

#[test]
fn in_a_scope() {
    victim("scope", |ended| {
        expect_deadlock(
            ended,
            &[
                ("goroutine 1 [thread::scope]:", "victim::asleep::waits_in_a_scope"),
                ("goroutine 2 [thread::park]:", "victim::asleep::parks_for_ever"),
            ],
        );
    });
}

#[test]
fn in_a_semaphore() {
    victim("semaphore", |ended| {
        let function = "victim::asleep::waits_for_permits";
        let two = [1, 2].map(|id| format!("goroutine {id} [semacquire]:"));
        expect_deadlock(ended, &[(&two[0], function), (&two[1], function)]);
    });
}

#[test]
fn in_a_call_that_wants_itself() {
    victim("singleflight", |ended| {
        expect_deadlock(ended, &[(MAIN_WAITS.0, "victim::asleep::wants_its_own_key")]);
    });
}

/// A program without names shows addresses, with what `addr2line` wants.
#[test]
fn without_names() {
    let program = std::env::temp_dir().join(format!("victim.{}", std::process::id()));
    std::fs::copy(env!("CARGO_BIN_EXE_victim"), &program).unwrap();
    let strip = Command::new("strip").arg(&program).status().unwrap();
    assert!(strip.success());
    let ended = run_to_end(Command::new(&program).arg("park"));
    std::fs::remove_file(&program).unwrap();
    ended.expect_status(2);
    assert!(ended.stderr.starts_with(DEADLOCK), "{ended}");
    let frames = dumped(&ended)[0].1;
    let file = program.to_str().unwrap();
    let is_frame = |line: &str| line.starts_with("0x") && line.contains(&format!(" ({file}+0x"));
    assert!(frames.lines().filter(|line| is_frame(line)).count() >= 3, "{ended}");
    assert!(frames.contains("\ncreated at\n"), "{ended}");
}

/// Go: `TestSimpleDeadlock`.
#[test]
fn in_nothing() {
    victim("block_forever", |ended| {
        ended.expect_status(2);
        ended.expect_stderr(DEADLOCK);
        ended.expect_stderr("\ngoroutine 1 [select (no cases)]:\n");
    });
}

/// Go: `TestLockedDeadlock`.
#[test]
fn locked_to_its_thread() {
    victim("locked_main", |ended| {
        let locked = "goroutine 1 [sync.WaitGroup.Wait, locked to thread]:";
        expect_deadlock(ended, &[(locked, "victim::asleep::waits_for_a_group")]);
    });
}

/// Go: `TestLockedDeadlock2`.
#[test]
fn beside_one_that_is_locked_to_its_thread() {
    victim("locked_goroutine", |ended| {
        let locked = "goroutine 2 [thread::park, locked to thread]:";
        expect_deadlock(ended, &[MAIN_WAITS, (locked, "victim::asleep::parks_for_ever")]);
    });
}

/// Go: `TestGoexitDeadlock`, `TestGoexitCrash`, `TestRecoverBeforePanicAfterGoexit`.
#[test]
fn main_has_gone_and_none_is_left() {
    let all = ["goexit_alone", "goexit_others_end", "goexit_others_sleep"];
    for scenario in all.into_iter().chain(["goexit_after_a_caught_panic"]) {
        victim(scenario, |ended| {
            ended.expect_status(2);
            ended.expect_stderr(NO_GOROUTINES);
            assert!(!ended.stderr.contains("are asleep"), "{scenario}: {ended}");
            let slept = if scenario == "goexit_others_sleep" { "slept\n" } else { "" };
            assert_eq!(ended.text(), slept, "{scenario}: the others go on");
        });
    }
}

#[test]
fn main_has_gone_and_the_others_sleep() {
    victim("goexit_others_wait", |ended| {
        let other = ("goroutine 2 [thread::park]:", "victim::asleep::parks_for_ever");
        expect_deadlock(ended, &[other]);
    });
}

/// The detector looks again when the last one that blocked its thread is back, and ends.
#[test]
fn after_something_else_has_ended() {
    for scenario in ["after_blocking", "after_an_unannounced_sleep", "after_a_thread_ended"] {
        victim(scenario, |ended| {
            expect_deadlock(ended, &[MAIN_WAITS]);
            assert!(ended.took >= Duration::from_millis(300), "{scenario}, too early: {ended}");
            assert!(ended.took < Duration::from_millis(2500), "{scenario}, too late: {ended}");
        });
    }
}

/// A goroutine that is interrupted has a signal frame on its stack, and the dump crosses it.
#[test]
fn in_a_signal_handler() {
    victim("in_a_signal_handler", |ended| {
        ended.expect_status(2);
        let dumped = dumped(ended);
        let (header, frames) = dumped[1];
        assert_eq!(header, "goroutine 2 [thread::park]:", "{ended}");
        let handler = frames.find("victim::asleep::parks_in_a_handler()\n");
        let interrupted = frames.find("victim::asleep::is_interrupted()\n");
        assert!(handler.is_some() && handler < interrupted, "{frames}");
    });
}

#[test]
fn what_was_printed_is_seen() {
    victim("stdout_is_flushed", |ended| {
        expect_deadlock(ended, &[MAIN_WAITS]);
        assert_eq!(ended.text(), "no newline after this");
    });
}

#[test]
fn with_the_lock_of_stdout_held() {
    victim("output_lock_is_held", |ended| expect_deadlock(ended, &[MAIN_WAITS]));
}

/// The dump can't be made then.
#[test]
fn with_the_allocator_s_lock_held() {
    victim("allocator_lock_is_held", |ended| {
        ended.expect_status(2);
        assert_eq!(ended.stderr, DEADLOCK, "{ended}");
    });
}
