//! Backtraces: through a goroutine's frames to its end, and through signal frames.

use goroutines::go;
use goroutines::thread::yield_now;
use goroutines_tests::{join_all, on_procs};
use std::backtrace::Backtrace;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

#[inline(never)]
fn outer_function_of_the_test(depth: u32) -> String {
    yield_now();
    let text = if depth == 0 {
        Backtrace::force_capture().to_string()
    } else {
        outer_function_of_the_test(depth - 1)
    };
    std::hint::black_box(text)
}

/// How many frames name `function`.
fn frames(text: &str, function: &str) -> usize {
    text.lines().filter(|line| line.contains(function)).count()
}

#[test]
fn a_backtrace_names_the_functions_and_ends_at_the_entry() {
    on_procs("a_backtrace_names_the_functions_and_ends_at_the_entry", |_| {
        let texts = join_all((0..8).map(|_| go(|| outer_function_of_the_test(5))));
        for text in texts {
            assert_eq!(frames(&text, "outer_function_of_the_test"), 6, "{text}");
            let last = text.lines().rfind(|line| !line.trim_start().starts_with("at ")).unwrap();
            assert!(last.contains("goroutines"), "the last frame is {last:?} of\n{text}");
            assert!(!text.contains("<unknown>"), "{text}");
        }
    });
}

/// What the handler saw, by `GOMAXPROCS`.
static SEEN: [OnceLock<String>; 5] = [const { OnceLock::new() }; 5];
static PROCS: AtomicUsize = AtomicUsize::new(0);
/// The goroutine is in its loop.
static RUNS: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(_: libc::c_int) {
    // Its OS thread, while others run, is on a stack of its own.
    // Only the first: the capture waits, and while it does, the goroutine's thread may take the next one.
    if goroutines::runtime::goroutine_id().is_some() && RUNS.swap(false, Ordering::Relaxed) {
        let procs = PROCS.load(Ordering::Relaxed);
        SEEN[procs].get_or_init(|| Backtrace::force_capture().to_string());
    }
}

#[inline(never)]
fn runs_until_it_is_interrupted(procs: usize) {
    let mut n = 0u64;
    while SEEN[procs].get().is_none() {
        RUNS.store(true, Ordering::Relaxed);
        n = std::hint::black_box(n + 1);
    }
    RUNS.store(false, Ordering::Relaxed);
}

/// As at a preemption: a signal hits the goroutine at some instruction, and the stack is walked from the
/// handler. (A dump that crosses a signal frame is in `crash.rs`.)
#[test]
fn a_backtrace_crosses_a_signal_frame() {
    // SAFETY: a handler of the right type; nothing else here uses SIGUSR2.
    unsafe { libc::signal(libc::SIGUSR2, on_signal as *const () as libc::sighandler_t) };
    on_procs("a_backtrace_crosses_a_signal_frame", |procs| {
        PROCS.store(procs, Ordering::Relaxed);
        let (send, thread) = std::sync::mpsc::channel();
        let runs = go(move || {
            // Locked: its OS thread is the one to send the signal to.
            let _locked = goroutines::runtime::lock_os_thread();
            send.send(goroutines_tests::os_thread()).unwrap();
            runs_until_it_is_interrupted(procs);
        });
        let tid = thread.recv().unwrap();
        // An ordinary thread sends it: on one processor, a goroutine would only meet the OS thread
        // while the other goroutine is not on it.
        let sender = std::thread::spawn(move || {
            while SEEN[procs].get().is_none() {
                if RUNS.load(Ordering::Relaxed) {
                    // SAFETY: no memory is involved. If the thread has just ended, nothing happens.
                    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR2) };
                }
                std::thread::sleep(std::time::Duration::from_micros(500));
            }
        });
        runs.join().unwrap();
        sender.join().unwrap();
        let text = SEEN[procs].get().unwrap();
        assert!(frames(text, "on_signal") >= 1, "{text}");
        assert_eq!(frames(text, "runs_until_it_is_interrupted"), 1, "{text}");
        // To the end: beyond the frame of this signal, and of a preemption's if that came too.
        let closure = "a_backtrace_crosses_a_signal_frame::{{closure}}::{{closure}}";
        assert_eq!(frames(text, closure), 1, "{text}");
    });
}
