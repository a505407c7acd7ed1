//! Threads and processes started in goroutines.

use goroutines::go;
use goroutines::thread::yield_now;
use goroutines_tests::{join_all, on_procs, run_to_end, work};
use std::process::Command;

#[test]
fn threads_started_in_goroutines() {
    on_procs("threads_started_in_goroutines", |_| {
        join_all((0..8).map(|id| {
            go(move || {
                let name = format!("helper {id}");
                let builder = std::thread::Builder::new().name(name.clone());
                let thread = builder.spawn(move || {
                    work(id);
                    assert_eq!(std::thread::current().name(), Some(name.as_str()));
                    assert_eq!(goroutines::runtime::goroutine_id(), None, "a thread is none");
                    // A thread may start goroutines and wait for them.
                    go(move || id * 2).join().unwrap()
                });
                yield_now();
                assert_eq!(thread.unwrap().join().unwrap(), id * 2);
                let mut numbers = vec![1, 2, 3];
                std::thread::scope(|s| {
                    s.spawn(|| numbers.push(4));
                });
                assert_eq!(numbers, [1, 2, 3, 4]);
            })
        }));
    });
}

#[test]
fn commands_run_in_goroutines() {
    on_procs("commands_run_in_goroutines", |_| {
        join_all((0..6).map(|id| {
            go(move || {
                let script = format!("echo hello {id}; exit {id}");
                let out = Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
                assert_eq!(out.status.code(), Some(id));
                assert_eq!(out.stdout, format!("hello {id}\n").as_bytes());
                // With a closure between fork and exec, std can't use posix_spawn.
                let mut command = Command::new("/bin/sh");
                command.args(["-c", "exit 3"]);
                // SAFETY: does nothing.
                unsafe { std::os::unix::process::CommandExt::pre_exec(&mut command, || Ok(())) };
                assert_eq!(command.status().unwrap().code(), Some(3));
            })
        }));
    });
}

/// The child of a `fork` is that goroutine alone; see `victim.rs` for what it does.
#[test]
fn fork_in_a_goroutine() {
    for procs in ["1", "4"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_victim"));
        let ended = run_to_end(command.arg("fork").env("GOMAXPROCS", procs));
        ended.expect_clean();
        let text = ended.text();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                "child 0 printed this",
                "child 1 printed this",
                "child 2 printed this",
                "child 3 printed this",
                "child 3 was replaced",
                "codes: [40, 41, 42, 43]",
            ]
        );
    }
}
