//! What is tested in a process of its own: standard output, `fork`.

use goroutines::thread::yield_now;
use goroutines::{go, runtime};
use std::cell::Cell;
use std::io::Write;
use std::process::exit;
use std::time::Duration;

/// Runs `f` with short time slices, beside goroutines that burn CPU until the process ends.
fn run_beside_hogs(f: fn()) {
    runtime::Builder::new().time_slice(Duration::from_micros(100)).run(|| {
        hogs();
        f();
    });
}

fn hogs() {
    for _ in 0..2 {
        go(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
}

/// Eight goroutines print twenty lines each, a word at a time, under the lock.
pub(crate) fn stdout_lock() {
    fn prints(word: String) {
        for _ in 0..20 {
            let mut out = std::io::stdout().lock();
            for _ in 0..4 {
                write!(out, "{word} ").unwrap();
                out.flush().unwrap();
                yield_now();
            }
            // The lock is re-entrant: its owner is this goroutine, wherever it is now.
            println!("{word}");
        }
    }
    run_beside_hogs(|| {
        let all: Vec<_> = (0..8).map(|i| go(move || prints(format!("word{i}")))).collect();
        for handle in all {
            handle.join().unwrap();
        }
    });
}

thread_local! {
    static OWN: Cell<i32> = const { Cell::new(0) };
}

/// In the child: it is that goroutine alone, with its thread-locals, its memory and its stack.
fn in_the_child(id: i32) -> ! {
    assert_eq!(OWN.get(), id);
    let texts: Vec<String> = (0..1000).map(|i| format!("{id} {i}")).collect();
    assert_eq!(texts[999], format!("{id} 999"));
    yield_now(); // there is nobody else: comes back at once
    assert!(std::panic::catch_unwind(|| std::panic::resume_unwind(Box::new(1))).is_err());
    // It may have threads of its own; not goroutines.
    assert_eq!(std::thread::spawn(move || id + 1).join().unwrap(), id + 1);
    assert!(goroutines::thread::Builder::new().spawn(|| ()).is_err());
    println!("child {id} printed this");
    match id {
        // SAFETY: no memory is involved.
        0 => unsafe { libc::_exit(40) },
        1 | 2 => exit(40 + id),
        _ => {
            let script = "echo child 3 was replaced; exit 43";
            let mut shell = std::process::Command::new("/bin/sh");
            let error = std::os::unix::process::CommandExt::exec(shell.args(["-c", script]));
            panic!("exec: {error}");
        }
    }
}

fn forks(id: i32) -> i32 {
    OWN.set(id);
    yield_now();
    // SAFETY: what the child does is what is tested.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork failed");
    if child == 0 {
        in_the_child(id);
    }
    // The parent goes on as before.
    yield_now();
    assert_eq!(OWN.get(), id);
    let mut status = 0;
    // SAFETY: our child, a status to write.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    assert!(libc::WIFEXITED(status), "child {id} ended by a signal: {status:x}");
    libc::WEXITSTATUS(status)
}

/// Each goroutine forks, beside others that run.
pub(crate) fn fork() {
    run_beside_hogs(|| {
        // One after another: a child that inherits another's half-printed line would print it.
        let codes: Vec<i32> = (0..4).map(|id| go(move || forks(id)).join().unwrap()).collect();
        println!("codes: {codes:?}");
    });
}
