//! One test at a time on the process's runtime, at `GOMAXPROCS` 1 and 2, with an end to hangs; many
//! goroutines of a kind; and how many OS threads the process has.

use goroutines::{runtime, thread};
use std::io::Write;
use std::panic::resume_unwind;
use std::sync::{Mutex, Once, PoisonError, mpsc};
use std::time::Duration;

/// Shorter than the usual 10 ms: crates are preempted in the midst of what they do.
const TIME_SLICE: Duration = Duration::from_millis(1);

/// A body that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// What a test needs that needs no server.
pub(crate) fn nothing() {}

/// Calls `setup`, on the test's own thread, and runs `body` with what it returned as the main goroutine
/// at `GOMAXPROCS` 1 and 2.
pub(crate) fn on_procs<S: Sync>(
    name: &'static str,
    setup: impl FnOnce() -> S,
    body: impl Fn(&S, usize) + Sync,
) {
    on_procs_where(name, || Some(setup()), body);
}

/// The same, where `setup` finds what the test needs; else the test is skipped, and noted as such.
pub(crate) fn on_procs_where<S: Sync>(
    name: &'static str,
    setup: impl FnOnce() -> Option<S>,
    body: impl Fn(&S, usize) + Sync,
) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    static START: Once = Once::new();
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    START.call_once(|| {
        // Threads end soon, so that a test that counts them is not told of those of the one before.
        let builder = runtime::Builder::new().time_slice(TIME_SLICE);
        builder.thread_keep_alive(Duration::from_millis(100)).start().unwrap();
    });
    let Some(setup) = setup() else { return };
    for procs in [1, 2] {
        runtime::gomaxprocs(procs);
        let _watched = watch(name, procs);
        goroutines::run(|| body(&setup, procs));
    }
}

/// Aborts the process if what it returns is not dropped in time.
fn watch(name: &'static str, procs: usize) -> mpsc::Sender<()> {
    let (done, waits) = mpsc::channel();
    std::thread::spawn(move || {
        if waits.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Not by eprintln, which the test harness captures.
            let text = format!("\n{name} at GOMAXPROCS={procs} hangs; its threads:\n{}", stacks());
            let _ = std::io::stderr().write_all(text.as_bytes());
            std::process::abort();
        }
    });
    done
}

fn stacks() -> String {
    let pid = std::process::id().to_string();
    let args = ["-p", &pid, "-batch", "-ex", "thread apply all bt 30"];
    match std::process::Command::new("gdb").args(args).output() {
        Ok(out) => String::from_utf8_lossy(&out.stdout).into_owned(),
        Err(e) => format!("(no gdb: {e})"),
    }
}

/// Runs `f(0)` … `f(n - 1)` as goroutines and gives what they returned, in order.
pub(crate) fn each<T: Send>(n: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let all: Vec<_> = (0..n)
            .map(|i| {
                scope.spawn({
                    let f = &f;
                    move || f(i)
                })
            })
            .collect();
        let joined: Vec<_> = all.into_iter().map(thread::ScopedJoinHandle::join).collect();
        joined
            .into_iter()
            .map(|result| result.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect()
    })
}

/// `len` bytes that are others for each seed.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Checks bytes; does not print them, as they may be megabytes.
#[track_caller]
pub(crate) fn expect_bytes(got: &[u8], expected: &[u8], what: &str) {
    assert_eq!(got.len(), expected.len(), "length of {what}");
    let differs = got.iter().zip(expected).position(|(a, b)| a != b);
    assert_eq!(differs, None, "where {what} differ");
}

/// Runs `block(0)` … `block(n - 1)` as goroutines, which must block until `release` is called, and checks
/// that they keep no OS threads meanwhile.
#[cfg(feature = "intercept")]
pub(crate) fn expect_few_threads(n: usize, block: impl Fn(usize) + Sync, release: impl FnOnce()) {
    use std::sync::atomic::{AtomicUsize, Ordering};
    /// Of the runtime, of the test harness, and of the crates.
    const FEW: usize = 20;
    let before = settled_os_threads();
    let begun = AtomicUsize::new(0);
    let meanwhile = thread::scope(|scope| {
        for i in 0..n {
            let (begun, block) = (&begun, &block);
            scope.spawn(move || {
                begun.fetch_add(1, Ordering::Relaxed);
                block(i);
            });
        }
        while begun.load(Ordering::Relaxed) < n {
            runtime::gosched();
        }
        // All have begun; to be blocked takes them a little longer.
        thread::sleep(Duration::from_millis(300));
        let meanwhile = os_threads();
        release();
        meanwhile
    });
    println!("{before} OS threads; {meanwhile} while {n} goroutines block");
    assert!(meanwhile < FEW, "{meanwhile} OS threads while {n} goroutines block; {before} before");
}

/// How many OS threads this process has, when those of the test before have ended.
#[cfg(feature = "intercept")]
fn settled_os_threads() -> usize {
    let mut threads = os_threads();
    for _ in 0..100 {
        if threads < 12 {
            break;
        }
        thread::sleep(Duration::from_millis(50));
        threads = os_threads();
    }
    threads
}

#[cfg(feature = "intercept")]
fn os_threads() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let threads = status.lines().find_map(|line| line.strip_prefix("Threads:")).unwrap();
    threads.trim().parse().unwrap()
}
