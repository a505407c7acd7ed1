//! Panics, overflows, limits, misuse, and main's end.

use crate::{victim, victim_at};
use goroutines_tests::proc::STACK_BYTES;
use goroutines_tests::{Ended, run_to_end};
use std::process::Command;
use std::time::Duration;

#[test]
fn a_panic_stays_in_its_goroutine() {
    victim("panic_stays", |ended| {
        ended.expect_status(0);
        assert_eq!(ended.text(), "main goes on\n");
        // The panic hook's report.
        ended.expect_stderr("panicked at tests/src/bin/victim/fatal.rs:");
        ended.expect_stderr("this one only\n");
        ended.expect_stderr("nobody joins this\n");
    });
}

/// Go's way, as an option.
#[test]
fn a_panic_ends_the_process_where_wanted() {
    let number = |ended: &Ended| {
        let (_, rest) = ended.stderr.split_once("\ngoroutine ").unwrap();
        rest.split_once(" [running]:\n").unwrap().0.parse::<u64>().unwrap()
    };
    victim("panic_crashes", |ended| {
        ended.expect_status(2);
        ended.expect_stderr("panic: takes the process with it\n");
        assert_eq!(number(ended), 2, "{ended}");
        assert_eq!(ended.text(), "flushed");
    });
    victim("panic_crashes_text", |ended| {
        ended.expect_status(2);
        ended.expect_stderr("panic: number 7\n");
        assert_eq!(number(ended), 2, "{ended}");
        assert_eq!(ended.text(), "");
    });
    victim("caught_panic_does_not_crash", |ended| {
        ended.expect_status(0);
        ended.expect_stderr("caught\n");
        assert!(!ended.stderr.contains("panic: "), "{ended}");
    });
}

#[test]
fn a_panic_in_main_ends_the_process() {
    victim("panic_in_main", |ended| {
        ended.expect_status(101);
        assert_eq!(ended.stderr.matches("in main\n").count(), 1, "told once: {ended}");
    });
}

/// Main is a goroutine too.
#[test]
fn a_panic_in_main_ends_the_process_in_gos_way_where_wanted() {
    victim("panic_crashes_in_main", |ended| {
        ended.expect_status(2);
        ended.expect_stderr("panic: in main\n");
        ended.expect_stderr("\ngoroutine 1 [running]:\n");
    });
}

const DEFAULT_KIB: usize = STACK_BYTES >> 10;

/// Go: `TestStackOverflow`. Here a stack has a guard, and the process is aborted.
#[test]
fn stack_overflows_are_told() {
    let all = [
        ("overflow", 2, DEFAULT_KIB),
        ("overflow_small", 2, 64),
        ("overflow_default_size", 2, 2048),
        ("overflow_main", 1, 8192),
        ("overflow_main_size", 1, 128),
    ];
    for (scenario, id, kib) in all {
        victim(scenario, |ended| {
            ended.expect_signal(libc::SIGABRT);
            let name = if scenario == "overflow_small" { " \"small\"" } else { "" };
            let text = format!("\ngoroutine {id}{name} [running]: stack overflow ({kib} KiB)\n");
            ended.expect_stderr(&text);
            ended.expect_stderr("\ncreated at tests/src/bin/victim/");
            // How to raise it.
            ended.expect_stderr(if id == 1 { "::main_stack_size." } else { "::stack_size," });
        });
    }
}

#[test]
fn the_environment_sets_the_stacks_size() {
    let said = [("524288", 512), ("512K", 512), ("1M", 1024), ("2 MiB", 2048)];
    let ignored = ["lots", "-5", "1e20", ""].map(|value| (value, DEFAULT_KIB));
    for (value, kib) in said.into_iter().chain(ignored) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_victim"));
        command.arg("overflow").env("GOROUTINES_STACK_SIZE", value);
        let ended = run_to_end(&mut command);
        ended.expect_signal(libc::SIGABRT);
        ended.expect_stderr(&format!("\ngoroutine 2 [running]: stack overflow ({kib} KiB)\n"));
        let is_told = ended.stderr.contains(&format!(
            "goroutines: GOROUTINES_STACK_SIZE={value} is not a number of bytes (65536, 64K, 1M): ignored\n"
        ));
        assert_eq!(is_told, ignored.contains(&(value, kib)) && !value.is_empty(), "{ended}");
    }
}

#[test]
fn other_faults_are_as_without_us() {
    victim("overflow_thread", |ended| {
        ended.expect_signal(libc::SIGABRT);
        ended.expect_stderr("thread 'deep'");
        ended.expect_stderr("has overflowed its stack\n");
        assert!(!ended.stderr.contains("goroutine"), "{ended}");
    });
    victim("bad_access", |ended| {
        ended.expect_signal(libc::SIGSEGV);
        assert!(!ended.stderr.contains("stack overflow"), "{ended}");
    });
}

#[test]
fn no_threads() {
    victim("no_threads", |ended| {
        if ended.text() == "not root\n" {
            return;
        }
        ended.expect_status(2);
        let text = "runtime: failed to create new OS thread (have 2 already; errno=11)\n\
                    runtime: may need to increase max user processes \
                    (ulimit -u, or pids.max of the cgroup)\nfatal error: newosproc\n";
        assert_eq!(ended.stderr, text, "{ended}");
        assert!(ended.took < Duration::from_secs(10), "{ended}");
    });
}

#[test]
fn no_addresses() {
    victim("no_addresses", |ended| {
        ended.expect_status(101);
        ended.expect_stderr(
            "Cannot allocate memory (os error 12) \
             (the process may have 50000000 bytes of addresses: ulimit -v)\n",
        );
    });
}

/// Go: `TestThreadExhaustion`.
#[test]
fn too_many_threads() {
    victim("thread_limit", |ended| {
        ended.expect_status(2);
        let text = "runtime: program exceeds 20-thread limit\nfatal error: thread exhaustion\n";
        assert!(ended.stderr.starts_with(text), "{ended}");
        assert!(ended.took < Duration::from_secs(10), "{ended}");
    });
}

#[test]
fn a_negative_counter_panics() {
    victim("negative_counter", |ended| {
        ended.expect_status(0);
        let text = "sync: negative WaitGroup counter\n".repeat(2) + "still usable\n";
        assert_eq!(ended.text(), text);
    });
}

#[test]
fn pthread_exit_is_told() {
    victim("pthread_exit", |ended| {
        ended.expect_status(2);
        ended.expect_stderr("runtime::goexit");
        ended.expect_stderr("fatal error: pthread_exit called on a goroutine\n");
    });
}

/// Go: `TestSignalExitStatus`.
#[test]
fn exits_and_signals_are_as_without_us() {
    victim("exit_in_goroutine", |ended| {
        ended.expect_status(7);
        assert_eq!(ended.text(), "flushed");
    });
    victim("killed", |ended| ended.expect_signal(libc::SIGTERM));
}

/// Others run, block, sleep, and wait: none of them is waited for.
#[test]
fn main_returns() {
    for scenario in ["main_returns", "main_returns_from_run"] {
        for procs in [1, 2, 4] {
            let ended = victim_at(procs, scenario);
            ended.expect_clean();
            assert_eq!(ended.text(), "flushed");
            assert!(ended.took < Duration::from_secs(5), "{scenario} at {procs}: {ended}");
        }
    }
}
