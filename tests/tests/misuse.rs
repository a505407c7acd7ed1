//! What a program that makes a mistake prints, and how it ends: the table of `guide/errors.md`.

use goroutines_tests::{Ended, run_to_end};
use std::process::Command;

fn misuse(how: &str, variables: &[(&str, &str)]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_misuse"));
    run_to_end(command.arg(how).envs(variables.iter().copied()))
}

#[test]
fn mistakes_panic_with_a_sentence() {
    let cases = [
        ("done too often", "sync: negative WaitGroup counter"),
        (
            "builds late",
            "the goroutine runtime is running already: build it before the first `go` or `run`",
        ),
        ("goexit on a thread", "goexit ends a goroutine; an ordinary thread ends by returning"),
        ("a name with a NUL", "thread name may not contain interior null bytes"),
        ("a panic in a scope", "a scoped goroutine panicked"),
        (
            "changes the limit",
            "errgroup: modify limit while 1 goroutines in the group are still active",
        ),
        ("too many permits", "sync: too many Semaphore permits"),
        ("a ticker of zero", "non-positive interval for NewTicker"),
        ("a large channel", "makechan: size out of range"),
        ("an empty select", "no operations have been added to `Select`"),
        ("a large stack", "a goroutine's stack can have 4 GiB at the most"),
    ];
    for (how, text) in cases {
        let ended = misuse(how, &[]);
        ended.expect_status(101);
        ended.expect_stderr(text);
    }
}

#[test]
fn a_child_of_fork_starts_no_goroutine() {
    let ended = misuse("goes in a fork", &[]);
    ended.expect_status(0);
    assert_eq!(ended.text(), "7\n", "{ended}");
    ended.expect_stderr(
        "failed to start a goroutine: goroutines: the runtime does not survive fork(); \
         exec, or start goroutines in the parent\n",
    );
}

#[test]
fn a_result_that_panics_when_it_is_dropped_ends_the_process() {
    let ended = misuse("a result that panics", &[]);
    ended.expect_signal(libc::SIGABRT);
    ended.expect_stderr("fatal error: a goroutine's result panicked on drop\n");
}

#[test]
fn numbers_that_are_none_are_told() {
    for (name, value, what) in [
        ("GOMAXPROCS", "abc", "a number of processors"),
        ("GOMAXPROCS", "-1", "a number of processors"),
        ("GOMAXPROCS", "1.5", "a number of processors"),
        ("GOROUTINES_STACK_SIZE", "1e20", "a number of bytes (65536, 64K, 1M)"),
    ] {
        let ended = misuse("nothing", &[(name, value)]);
        ended.expect_status(0);
        assert_eq!(ended.text(), "4950\n", "{ended}");
        let line = format!("goroutines: {name}={value} is not {what}: ignored\n");
        assert_eq!(ended.stderr, line, "{ended}");
    }
    for (name, value) in [("GOMAXPROCS", "3"), ("GOMAXPROCS", ""), ("GOROUTINES_STACK_SIZE", "1M")]
    {
        let ended = misuse("nothing", &[(name, value)]);
        ended.expect_clean();
    }
}
