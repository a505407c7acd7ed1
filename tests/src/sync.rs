//! What the tests of `goroutines::sync` share: bodies at several numbers of processors, preempted often;
//! crews of goroutines, of ordinary threads, and of both; who waits.

use crate::proc::{alone, at_procs, wait_until};
use crate::procs::{TIME_SLICE, os_thread};
use goroutines::{runtime, thread};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

/// Has goroutines preempted every 100 µs, if nothing has started the runtime before.
fn short_slices() {
    static START: Once = Once::new();
    START.call_once(|| drop(runtime::Builder::new().time_slice(TIME_SLICE).start()));
}

/// Runs `body` as a goroutine at `GOMAXPROCS` 1, 2 and 4, each time alone in the process and preempted every
/// 100 µs.
///
/// # Panics
/// With the body's panic.
pub fn at_each(body: impl Fn(usize) + Sync) {
    short_slices();
    crate::io::at_each(body);
}

/// As [`at_each`], and once on the calling, ordinary thread, at `GOMAXPROCS` 2.
///
/// # Panics
/// With the body's panic.
pub fn everywhere(body: impl Fn() + Sync) {
    at_each(|_| body());
    alone(2, body);
}

/// Runs `body` as a goroutine on one processor.
///
/// # Panics
/// With the body's panic.
pub fn on_one(body: impl FnOnce() + Send) {
    short_slices();
    at_procs(1, body);
}

/// Which of a crew are goroutines; the others are ordinary threads.
pub const MIXES: [fn(usize) -> bool; 3] = [|_| true, |_| false, |i| i % 2 == 0];

/// Calls `body` with each number below `n`, at the same time, in a goroutine if `is_goroutine` says so, else in a
/// thread.
///
/// # Panics
/// If one of them does.
pub fn crew(n: usize, is_goroutine: impl Fn(usize) -> bool, body: impl Fn(usize) + Sync) {
    let body = &body;
    std::thread::scope(|threads| {
        thread::scope(|goroutines| {
            for i in 0..n {
                if is_goroutine(i) {
                    goroutines.spawn(move || body(i));
                } else {
                    threads.spawn(move || body(i));
                }
            }
        });
    });
}

/// How many goroutines wait, for the reason `reason` (in the words of a dump).
#[must_use]
pub fn waiting(reason: &str) -> usize {
    runtime::goroutines().iter().filter(|g| g.wait_reason == Some(reason)).count()
}

/// Yields until so many goroutines wait for that reason.
///
/// # Panics
/// If that does not happen.
#[track_caller]
pub fn wait_until_waiting(n: usize, reason: &str) {
    wait_until(Duration::from_secs(10), "so many wait", || waiting(reason) == n);
}

/// Ordinary threads that are about to wait, and do nothing else that could put them to sleep.
#[derive(Debug, Default)]
pub struct Sleepers(Mutex<Vec<i64>>);

impl Sleepers {
    /// The calling thread is about to wait. Nothing, for a goroutine.
    pub fn add(&self) {
        if runtime::goroutine_id().is_none() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(os_thread());
        }
    }

    /// How many of them are asleep.
    #[must_use]
    pub fn asleep(&self) -> usize {
        let is_asleep = |tid: &i64| {
            let stat = std::fs::read_to_string(format!("/proc/self/task/{tid}/stat"));
            // `tid (name) S …`
            stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|s| s.starts_with(" S")))
        };
        let threads = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        threads.iter().filter(|tid| is_asleep(tid)).count()
    }
}

/// Numbers that look random (xorshift64*; Vigna, 2016).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Other ones for each seed.
    #[must_use]
    pub fn new(seed: usize) -> Self {
        Self((seed as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// The next one, below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}
