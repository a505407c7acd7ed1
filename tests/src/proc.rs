//! What the scheduling tests share: one test at a time on the process's runtime, at a `GOMAXPROCS` of
//! its own; goroutines that burn CPU; children; measured times.

use crate::{Ended, run_to_end};
use goroutines::thread::{self, Thread};
use goroutines::{WaitGroup, go, runtime};
use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// A goroutine's stack where nothing else is said: addresses.
pub const STACK_BYTES: usize = if cfg!(debug_assertions) { 1 << 20 } else { 256 << 10 };

/// A body that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// Names the test that a child is to run.
const CHILD: &str = "GOROUTINES_PROC_CHILD";

/// One test at a time. Held by the whole test, also where it changes `GOMAXPROCS` itself.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `body` as a goroutine at `GOMAXPROCS` = `procs`, alone in the process, and puts back the number
/// there was. Where it takes longer than a minute, the process's threads are shown and it aborts.
///
/// # Panics
/// With the body's panic.
pub fn at_procs<R: Send>(procs: usize, body: impl FnOnce() -> R + Send) -> R {
    alone(procs, || goroutines::run(body))
}

/// As [`at_procs`], with the body on the calling, ordinary thread.
///
/// # Panics
/// With the body's panic.
pub fn alone<R>(procs: usize, body: impl FnOnce() -> R) -> R {
    struct Restore(usize);
    impl Drop for Restore {
        fn drop(&mut self) {
            runtime::gomaxprocs(self.0);
        }
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let _watched = watch(procs);
    let _restore = Restore(runtime::gomaxprocs(procs));
    body()
}

/// Aborts the process if what it returns is not dropped in time.
fn watch(procs: usize) -> mpsc::Sender<()> {
    let (done, waits) = mpsc::channel();
    let name = std::thread::current().name().unwrap_or("?").to_owned();
    std::thread::spawn(move || {
        if waits.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            // Not by eprintln, which the test harness captures.
            let stacks = own_stacks();
            let text = format!("\n{name} at GOMAXPROCS={procs} hangs; its threads:\n{stacks}\n");
            let _ = std::io::stderr().write_all(text.as_bytes());
            std::process::abort();
        }
    });
    done
}

fn own_stacks() -> String {
    let pid = std::process::id().to_string();
    let args = ["-p", &pid, "-batch", "-ex", "thread apply all bt 20"];
    match Command::new("gdb").args(args).output() {
        Ok(out) => String::from_utf8_lossy(&out.stdout).into_owned(),
        Err(e) => format!("(no gdb: {e})"),
    }
}

/// Goroutines that burn CPU, never entering the runtime, until this is dropped.
#[derive(Debug)]
pub struct Hogs {
    stop: Arc<AtomicBool>,
    ended: WaitGroup,
}

impl Hogs {
    /// Starts `n`, and waits until each has run.
    #[must_use]
    pub fn start(n: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (running, ended) = (Arc::new(AtomicUsize::new(0)), WaitGroup::new());
        for _ in 0..n {
            let (stop, running) = (Arc::clone(&stop), Arc::clone(&running));
            ended.go(move || {
                running.fetch_add(1, Ordering::Relaxed);
                burn_until(&stop);
            });
        }
        while running.load(Ordering::Relaxed) < n {
            runtime::gosched();
        }
        Self { stop, ended }
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.ended.wait();
    }
}

/// Two goroutines that wake each other, each counting in its turn. They never run at the same time.
#[derive(Debug)]
pub struct Pair {
    both: OnceLock<[Thread; 2]>,
    turn: AtomicUsize,
    count: AtomicU64,
}

impl Pair {
    /// Starts them; each counts to `limit` in its turn. They end after `stop` is set, counted by `ended`.
    ///
    /// # Panics
    /// If they can't be started.
    #[must_use]
    pub fn start(limit: u64, stop: &Arc<AtomicBool>, ended: &WaitGroup) -> Arc<Self> {
        let pair = Arc::new(Self {
            both: OnceLock::new(),
            turn: AtomicUsize::new(0),
            count: AtomicU64::new(0),
        });
        let both = [0, 1].map(|me| {
            let (pair, stop, ended) = (Arc::clone(&pair), Arc::clone(stop), ended.clone());
            ended.add(1);
            let handle = go(move || {
                pair.play(me, limit, &stop);
                ended.done();
            });
            handle.thread().clone()
        });
        pair.both.set(both.clone()).expect("set once");
        both.iter().for_each(Thread::unpark);
        pair
    }

    fn play(&self, me: usize, limit: u64, stop: &AtomicBool) {
        let other = loop {
            match self.both.get() {
                Some(both) => break &both[1 - me],
                None => thread::park(),
            }
        };
        loop {
            while self.turn.load(Ordering::Acquire) != me && !stop.load(Ordering::Relaxed) {
                thread::park();
            }
            if stop.load(Ordering::Relaxed) {
                return other.unpark();
            }
            for _ in 0..limit {
                // Load and store: the two take turns.
                self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            }
            self.turn.store(1 - me, Ordering::Release);
            other.unpark();
        }
    }

    /// How far both have counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Burns CPU without calling anything until `stop` is set.
#[inline(never)]
pub fn burn_until(stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

/// Burns CPU for `time`.
pub fn burn_for(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Starts a goroutine that sets the flag it is given when it ends, and gives the flag.
#[must_use]
pub fn flagged(f: impl FnOnce() + Send + 'static) -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    go(move || {
        f();
        set.store(true, Ordering::Release);
    });
    flag
}

/// Yields until `condition` holds.
///
/// # Panics
/// If it does not hold within `limit`.
#[track_caller]
pub fn wait_until(limit: Duration, what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        runtime::gosched();
    }
}

/// Runs `body` in a child process: this program again, with the environment variables `env`, for the
/// test `name` only. Returns how it ended; in the child it does not return. The child's output is the
/// test harness's, with the body's in it.
///
/// # Panics
/// If the child can't be started, or hangs.
#[track_caller]
pub fn in_child(name: &str, env: &[(&str, &str)], body: impl FnOnce()) -> Ended {
    if std::env::var(CHILD).is_ok_and(|child| child == name) {
        body();
        std::process::exit(0);
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let exe = std::env::current_exe().expect("this program's path");
    let mut command = Command::new(exe);
    command.args(["--exact", name, "--nocapture", "--test-threads", "1"]);
    command.env_remove("GOMAXPROCS").env(CHILD, name).envs(env.iter().copied());
    run_to_end(&mut command)
}

/// How many OS threads this process has.
///
/// # Panics
/// Without `/proc`.
#[must_use]
pub fn os_threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("/proc/self/task").count()
}

/// CPU time that this process has had.
#[must_use]
pub fn cpu_time() -> Duration {
    // SAFETY: plain old data, which the call fills in.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut used);
        used
    };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(used.ru_utime) + time(used.ru_stime)
}

/// Measures up to five times until `percent` of the times are within `limit`; gives the best. Other work
/// on the machine can only make them longer: where none was within the limit, ordinary threads that
/// compute tell how long the machine holds them up just now, and that is taken off what is beyond it, twice.
pub fn best_times(percent: usize, limit: Duration, mut measure: impl FnMut() -> Times) -> Times {
    let mut best = measure();
    for _ in 1..5 {
        if best.percentile(percent) <= limit {
            return best;
        }
        let next = measure();
        println!("(measured again, as the machine may be busy: {best}; then {next})");
        if next.percentile(percent) < best.percentile(percent) {
            best = next;
        }
    }
    if best.percentile(percent) <= limit {
        return best;
    }
    let pause = longest_pause();
    println!("(the machine holds threads up for {pause:?})");
    let times = best.0.into_iter();
    times.map(|time| time.saturating_sub(2 * pause).max(time.min(limit))).collect()
}

/// How long the machine holds up threads that compute: the longest pause of two, in a while.
fn longest_pause() -> Duration {
    let watch = || {
        let (start, mut longest) = (Instant::now(), Duration::ZERO);
        let mut last = start;
        while start.elapsed() < Duration::from_millis(500) {
            let now = Instant::now();
            longest = longest.max(now - last);
            last = now;
        }
        longest
    };
    // Ordinary threads, also where the caller is a goroutine.
    let watchers = [watch, watch].map(std::thread::spawn);
    let pauses = watchers.map(|one| one.join().unwrap_or_default());
    pauses.into_iter().max().unwrap_or_default()
}

/// Measured times.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Duration>);

impl FromIterator<Duration> for Times {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort();
        Self(times)
    }
}

impl Times {
    /// The time that `percent` of them do not exceed.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        assert!(!self.0.is_empty(), "nothing was measured");
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0[rank.clamp(1, self.0.len()) - 1]
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = |percent| self.percentile(percent).as_secs_f64() * 1e3;
        write!(f, "{} times: p1 {:.3}, p10 {:.3}, ", self.count(), at(1), at(10))?;
        write!(f, "p50 {:.3}, p90 {:.3}, p99 {:.3}, max {:.3} ms", at(50), at(90), at(99), at(100))
    }
}
