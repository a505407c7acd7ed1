//! Deadlocks beside threads that are not the runtime's: told where all of them sleep too, and nowhere else.

use goroutines_tests::{Ended, run_to_end};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::time::Duration;

const TEXT: &str = "fatal error: all goroutines are asleep - deadlock!\n";
const PROCS: [&str; 3] = ["1", "2", "4"];

fn beside(how: &str, procs: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_beside"));
    command.arg(how).env("GOMAXPROCS", procs);
    command
}

#[test]
fn all_sleep() {
    let cases = [
        "nobody",
        "park",
        "many",
        "mutex",
        "rwlock",
        "condvar",
        "barrier",
        "messages",
        "join",
        "scope",
        "semaphore",
        "libc",
        "channel",
        "group",
        "handle",
        "plain",
        "main parks",
    ];
    for how in cases {
        for procs in PROCS {
            let ended: Ended = run_to_end(&mut beside(how, procs));
            assert!(ended.stderr.starts_with(TEXT), "{how}, {procs}: {ended}");
            ended.expect_status(2);
            assert!(ended.stderr.contains("beside::waits_for_nothing"), "{how}: {ended}");
            assert!(ended.took < Duration::from_secs(3), "{how}, {procs}: {ended}");
        }
    }
}

#[test]
fn one_may_wake_them() {
    let cases = [
        "sleeps",
        "computes",
        "reads",
        "reads of a child",
        "polls",
        "waits for a time",
        "parks for a time",
        "is woken by one that sleeps",
        "joins one that sleeps",
        "starts others",
        "is woken by a child",
        "takes turns",
        "takes turns with nine",
    ];
    let run = |how: &str, procs: &str| {
        let ended = run_to_end(&mut beside(how, procs));
        assert_eq!(ended.text(), "ready\nwoken\n", "{how}, {procs}: {ended}");
        assert_eq!(ended.stderr, "", "{how}, {procs}: {ended}");
        ended.expect_status(0);
    };
    std::thread::scope(|s| {
        for how in cases {
            s.spawn(move || PROCS.map(|procs| run(how, procs)));
        }
    });
}

#[test]
fn a_signal_may_wake_them() {
    for procs in PROCS {
        let mut child = beside("takes a signal", procs)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        std::thread::sleep(Duration::from_millis(1200));
        // SAFETY: a child that was not waited for.
        unsafe { libc::kill(child.id() as i32, libc::SIGUSR1) };
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        let ended = child.wait_with_output().unwrap();
        assert_eq!((&*rest, &*ended.stderr), ("woken\n", &b""[..]), "{procs}");
        assert!(ended.status.success());
    }
}
