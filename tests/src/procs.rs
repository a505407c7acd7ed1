//! Test bodies as goroutines, at 1 and at 4 processors, preempted often.

use goroutines::{JoinHandle, go, runtime};
use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, mpsc};
use std::time::Duration;

/// The time slice of [`on_procs`].
pub const TIME_SLICE: Duration = Duration::from_micros(100);

/// A body that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `body` as the main goroutine at `GOMAXPROCS` 1 and at 4, each with two goroutines beside it that
/// burn CPU, so that whatever it starts is preempted every 100 µs. One test at a time: the runtime is the
/// process's.
///
/// # Panics
/// With the body's panic.
pub fn on_procs(name: &'static str, body: impl Fn(usize) + Sync) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    static START: Once = Once::new();
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    START.call_once(|| {
        if let Err(e) = runtime::Builder::new().time_slice(TIME_SLICE).start() {
            panic!("{e}");
        }
    });
    for procs in [1, 4] {
        runtime::gomaxprocs(procs);
        let _watched = watch(name, procs);
        goroutines::run(|| {
            let _hogs = Hogs::start(2);
            body(procs);
        });
    }
}

/// Goroutines that burn CPU until dropped.
struct Hogs(Arc<AtomicBool>);

impl Hogs {
    fn start(n: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        for _ in 0..n {
            let stop = Arc::clone(&stop);
            go(move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(stop)
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Aborts the process if what it returns is not dropped in time.
fn watch(name: &'static str, procs: usize) -> mpsc::Sender<()> {
    let (done, waits) = mpsc::channel();
    std::thread::spawn(move || {
        if waits.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Not by eprintln, which the test harness captures.
            let text = format!("\n{name} at GOMAXPROCS={procs} hangs\n");
            let _ = std::io::stderr().write_all(text.as_bytes());
            std::process::abort();
        }
    });
    done
}

/// The kernel's id of the thread that the caller is on right now.
#[must_use]
pub fn os_thread() -> i64 {
    // SAFETY: no memory is involved.
    unsafe { libc::syscall(libc::SYS_gettid) }
}

/// From now on panics with a text that begins with `expected` are not reported.
pub fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied();
            let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            if !text.is_some_and(|text| text.starts_with("expected")) {
                report(info);
            }
        }));
    });
}

/// Joins them all, in order.
///
/// # Panics
/// With the first panic of theirs.
pub fn join_all<T>(handles: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    let join = |handle: JoinHandle<T>| match handle.join() {
        Ok(result) => result,
        Err(payload) => std::panic::resume_unwind(payload),
    };
    handles.into_iter().map(join).collect()
}

/// Some tens of microseconds of what programs do: allocating, hashing, formatting, calculating. To be
/// preempted in.
///
/// # Panics
/// If the result is wrong.
pub fn work(seed: u64) {
    let mut map = HashMap::new();
    for i in 0..40 {
        map.insert(seed + i, format!("{}", seed + i));
    }
    let sum: u64 = map.values().filter_map(|text| text.parse::<u64>().ok()).sum();
    assert_eq!(sum, 40 * seed + 780, "what the map holds");
    let root = std::hint::black_box(seed as f64 + 2.0).sqrt().sin();
    assert!(root.abs() <= 1.0, "a sine of {root}");
}
