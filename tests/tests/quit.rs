//! SIGQUIT: what a program prints, and how it ends.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};

struct Ended {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// The program, with the signal as it is by default: where tests run in the background of a script, it is ignored.
fn program(how: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quits"));
    let as_by_default = || {
        // SAFETY: no memory is involved.
        unsafe { libc::signal(libc::SIGQUIT, libc::SIG_DFL) };
        Ok(())
    };
    command.arg(how).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: a system call, between `fork` and `exec`.
    unsafe { command.pre_exec(as_by_default) };
    command
}

/// Runs the program, sends it SIGQUIT when it is ready, waits for its end.
fn quit(how: &str) -> Ended {
    let mut child = program(how).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    // SAFETY: a child that was not waited for.
    unsafe { libc::kill(child.id() as i32, libc::SIGQUIT) };
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    output.read_to_string(&mut stdout).unwrap();
    Ended { status: child.wait().unwrap(), stdout, stderr }
}

#[test]
fn all_stacks_are_printed() {
    for how in ["plainly", "raises"] {
        let Ended { status, stderr, .. } = quit(how);
        assert_eq!(status.code(), Some(2), "{how}: {status}: {stderr}");
        assert!(stderr.starts_with("SIGQUIT: quit\n"), "{how}: {stderr}");
        assert!(stderr.contains("goroutine 1 ["), "{how}: {stderr}");
        for part in [
            "quits::waits_for_nothing",
            "goroutine 2 \"idler\" [chan receive",
            "quits.rs:",
            "created by goroutine 1",
        ] {
            assert!(stderr.contains(part), "{how}: no {part:?} in {stderr}");
        }
    }
    if cfg!(feature = "intercept") {
        // Else it blocks its thread, which is not looked into.
        let stderr = quit("plainly").stderr;
        assert!(stderr.contains("quits::sleep_for_long"), "{stderr}");
    }
}

#[test]
fn the_program_may_say_no() {
    let Ended { status, stderr, .. } = quit("without");
    assert_eq!((status.signal(), &*stderr), (Some(libc::SIGQUIT), ""), "{status}");
}

#[test]
fn the_programs_handler_comes_first() {
    let Ended { status, stdout, stderr } = quit("handles");
    assert_eq!((status.code(), &*stdout, &*stderr), (Some(3), "handled\n", ""));
}

#[test]
fn a_signal_that_is_ignored_is_ignored() {
    let Ended { status, stderr, .. } = quit("ignores");
    assert_eq!((status.code(), &*stderr), (Some(0), ""));
}

#[test]
fn what_was_there_before_reads_as_the_default() {
    let run = |how: &str| {
        let output = program(how).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    if cfg!(feature = "intercept") {
        assert_eq!(run("looks"), "ready\ntrue\n");
    }
    assert_eq!(run("forks"), "ready\ntrue\n");
}
