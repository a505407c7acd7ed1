//! `#[goroutines::main]` and `#[goroutines::test]`: what they take, what functions under them may return, and what
//! becomes of a test that does not end.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines as gor;
use std::error::Error;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

#[goroutines::test]
fn a_test_may_end_with_any_result() -> Result<(), Box<dyn Error>> {
    let n: i32 = "42".parse()?;
    assert_eq!(n, 42);
    assert!(gor::runtime::goroutine_id().is_some());
    Ok(())
}

#[gor::test(crate = "gor", timeout = "20s")]
fn the_crate_may_have_another_name() {
    gor::go(|| ()).join().unwrap();
}

#[goroutines::test(timeout = "none")]
#[should_panic(expected = "as it is to")]
fn a_test_may_have_to_panic() {
    panic!("as it is to");
}

#[goroutines::test]
#[should_panic(expected = "as it is to")]
fn a_test_with_a_limit_may_have_to_panic() {
    panic!("as it is to");
}

#[goroutines::test(timeout = "300ms")]
#[ignore = "it fails, as `a_test_that_does_not_end_fails_and_shows_why` expects, which runs it"]
fn waits_for_ever() {
    // Which could wake it.
    std::thread::spawn(|| std::thread::sleep(Duration::from_secs(60)));
    let (_send, receive) = goroutines::chan::bounded::<()>(0);
    let _ = receive.recv();
}

#[goroutines::test]
#[ignore = "it fails, as `a_test_that_can_not_end_fails_at_once` expects, which runs it"]
fn all_are_asleep() {
    let (_send, receive) = goroutines::chan::bounded::<()>(0);
    let _ = receive.recv();
}

#[goroutines::test(timeout = "none")]
#[ignore = "it fails, as `a_test_that_can_not_end_fails_at_once` expects, which runs it"]
fn all_are_asleep_for_ever() {
    goroutines::thread::park();
}

/// Beside those that can't end: it takes longer than it takes to find that out.
#[goroutines::test]
#[ignore = "`a_test_that_can_not_end_fails_at_once` runs it"]
fn all_are_asleep_but_this() {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1500));
        send.send(()).unwrap();
    });
    receive.recv().unwrap();
}

/// Starts a goroutine that starts one, and ends; the other goes on.
fn leaves_one_behind() {
    fn waits(name: &str) {
        let named = goroutines::thread::Builder::new().name(name.into());
        named.spawn(|| std::thread::sleep(Duration::from_secs(60))).unwrap();
    }
    gor::go(|| waits("left behind")).join().unwrap();
    // It ends soon.
    gor::go(|| std::thread::sleep(Duration::from_millis(5)));
}

#[goroutines::test(leaks = "fail")]
#[ignore = "it fails, as `goroutines_that_outlive_a_test_are_named` expects, which runs it"]
fn leaks_and_fails() {
    leaves_one_behind();
}

#[goroutines::test]
#[ignore = "`goroutines_that_outlive_a_test_are_named` runs it"]
fn leaks_and_tells() {
    leaves_one_behind();
}

#[goroutines::test(leaks = "ignore")]
#[ignore = "`goroutines_that_outlive_a_test_are_named` runs it"]
fn leaks_in_silence() {
    leaves_one_behind();
}

#[goroutines::test(leaks = "fail")]
fn what_ends_is_no_leak() {
    let many: Vec<_> = (0..100).map(|i| gor::go(move || i)).collect();
    assert_eq!(many.into_iter().map(|one| one.join().unwrap()).sum::<i32>(), 4950);
    // Not the test's.
    std::thread::spawn(|| gor::go(gor::thread::park)).join().unwrap();
}

#[goroutines::test]
#[ignore = "it fails, as `a_test_that_ends_with_an_error_fails` expects, which runs it"]
fn ends_with_an_error() -> Result<(), Box<dyn Error>> {
    std::thread::sleep(Duration::from_millis(1));
    Err("no luck".into())
}

/// Runs one of the tests above.
fn run(name: &str) -> (Output, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--ignored", "--exact", name]).output().unwrap();
    let text = [&*output.stdout, &*output.stderr].map(String::from_utf8_lossy).concat();
    (output, text)
}

#[test]
fn a_test_that_does_not_end_fails_and_shows_why() {
    let (output, text) = run("waits_for_ever");
    assert_eq!(output.status.code(), Some(101), "{text}");
    let expected = [
        "attributes::waits_for_ever has not ended after 300ms; all goroutines:",
        "[chan receive",
        "attributes::waits_for_ever::",
        "attributes.rs:",
        "(#[goroutines::test(timeout = \"…\")] says how long it may take)",
        "0 passed; 1 failed",
    ];
    for part in expected {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}

#[test]
fn a_test_that_can_not_end_fails_at_once() {
    let names = ["all_are_asleep", "all_are_asleep_for_ever"];
    for arguments in [
        &["--exact", names[0]][..],
        &["--exact", names[1]],
        &["--exact", names[0], "--test-threads=1"],
        // Three at once, of which one passes.
        &["all_are_asleep", "--test-threads=3"],
    ] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let start = Instant::now();
        let output = command.arg("--ignored").args(arguments).output().unwrap();
        let took = start.elapsed();
        let text = [&*output.stdout, &*output.stderr].map(String::from_utf8_lossy).concat();
        assert_eq!(output.status.code(), Some(101), "{text}");
        for part in ["all goroutines are asleep - deadlock!", "goroutine ", "attributes.rs:"] {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        let result = if arguments.contains(&"--exact") { "0 passed; 1" } else { "1 passed; 2" };
        assert!(text.contains(&format!("{result} failed")), "{text}");
        assert!(took < Duration::from_secs(10), "{took:?}: {text}");
    }
}

#[test]
fn goroutines_that_outlive_a_test_are_named() {
    for (name, status, tells) in [
        ("leaks_and_fails", 101, true),
        ("leaks_and_tells", 0, true),
        ("leaks_in_silence", 0, false),
    ] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args(["--ignored", "--nocapture", "--exact", name]).output().unwrap();
        let text = [&*output.stdout, &*output.stderr].map(String::from_utf8_lossy).concat();
        assert_eq!(output.status.code(), Some(status), "{text}");
        let head =
            format!("attributes::{name} has ended, and goroutines that it has started have not:");
        assert_eq!(text.contains(&head), tells, "{text}");
        let named = text.lines().filter(|line| line.starts_with("goroutine ")).collect::<Vec<_>>();
        assert_eq!(named.len(), usize::from(tells), "{text}");
        for line in named {
            assert!(
                line.contains(" \"left behind\" [")
                    && line.contains("] created at tests/tests/attributes.rs:"),
                "{text}"
            );
            assert!(line.contains(" by goroutine "), "{text}");
        }
    }
}

#[test]
fn a_test_that_ends_with_an_error_fails() {
    let (output, text) = run("ends_with_an_error");
    assert_eq!(output.status.code(), Some(101), "{text}");
    assert!(text.contains("Error: \"no luck\""), "{text}");
}

#[test]
fn main_may_end_with_any_result() {
    let run = |argument: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_fails")).arg(argument).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(run("0"), (Some(0), String::new()));
    assert_eq!(run("7"), (Some(7), String::new()));
    let text = "Error: ParseIntError { kind: InvalidDigit }\n";
    assert_eq!(run("seven"), (Some(1), text.to_owned()));
}
