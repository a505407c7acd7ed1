//! `WaitGroup`.

use super::count::Count;
use crate::base::lock::Lock;
use crate::g::current;
use crate::g::reason::WaitReason;
use crate::sched::park::{WaitQueue, block};
use crate::thread::crash_if_wanted;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

/// Waits for a number of goroutines to finish. (Go: `sync.WaitGroup`.)
///
/// A counter and those who wait for it to become zero. Clones share it, as closures of a Go program
/// share the variable. Works on ordinary threads too, and between threads and goroutines.
///
/// What happens before a [`done`](Self::done) happens before the [`wait`](Self::wait) that it ends
/// returns.
///
/// # Examples
/// ```
/// let wg = goroutines::WaitGroup::new();
/// for i in 0..3 {
///     wg.go(move || println!("{i}"));
/// }
/// wg.wait();
/// ```
#[derive(Clone, Default, Debug)]
pub struct WaitGroup(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    count: Count,
    waiters: Lock<WaitQueue>,
}

/// A panic can't leave it in a state that it should not be seen in.
impl std::panic::RefUnwindSafe for Shared {}

impl Default for Shared {
    fn default() -> Self {
        Self { count: Count::new(), waiters: Lock::new(WaitQueue::new()) }
    }
}

impl WaitGroup {
    /// A group whose counter is zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `delta`, which may be negative, to the counter. When it becomes zero, all who wait are
    /// released, in the order they came.
    ///
    /// Does not block. An `add` that starts from zero must happen before `wait`: call it before the
    /// `go` it counts.
    ///
    /// # Panics
    /// `sync: negative WaitGroup counter` if it would become negative (or leave the range of an
    /// `i32`); it is left as it was.
    pub fn add(&self, delta: i32) {
        match self.0.count.add(delta) {
            Some(0) => {}
            Some(waiting) => self.release(waiting),
            None => panic!("sync: negative WaitGroup counter"),
        }
    }

    /// Wakes the first `n` who wait. They were taken out of the count with the zero: so here it
    /// can't be misused as Go's can ("Add called concurrently with Wait").
    #[cold]
    fn release(&self, n: u32) {
        let _section = current::enter();
        let mut released = WaitQueue::new();
        let mut waiters = self.0.waiters.lock();
        for _ in 0..n {
            // SAFETY: a waiter in the queue waits until we wake it.
            if let Some(waiter) = waiters.pop().and_then(|waiter| unsafe { waiter.as_ref() }) {
                released.push(waiter);
            }
        }
        drop(waiters);
        // SAFETY: taken out of the group just now.
        unsafe { released.wake_all() };
    }

    /// Takes one from the counter.
    ///
    /// # Panics
    /// `sync: negative WaitGroup counter` if it is zero.
    pub fn done(&self) {
        self.add(-1);
    }

    /// Blocks until the counter is zero; returns at once if it is.
    ///
    /// # Deadlock
    /// If a `done` was forgotten; when nothing else can happen any more, the process ends with
    /// `fatal error: all goroutines are asleep - deadlock!`.
    pub fn wait(&self) {
        if self.0.count.is_zero() {
            return;
        }
        block(WaitReason::WaitGroup, |waiter| {
            let mut waiters = self.0.waiters.lock();
            let waits = self.0.count.join();
            if waits {
                waiters.push(waiter);
            }
            waits
        });
    }

    /// Starts a goroutine that calls `f`, and counts it: `add(1)` now, `done` when it has ended, by
    /// return, by [`goexit`](crate::runtime::goexit) or by a panic (which stays in its goroutine;
    /// with [`PanicPolicy::Crash`](crate::runtime::PanicPolicy::Crash) it ends the process, as in
    /// Go, and `wait` does not return).
    ///
    /// # Panics
    /// If no goroutine can be made.
    #[track_caller]
    pub fn go<F>(&self, f: F)
    where
        F: FnOnce() + Send + 'static,
    {
        self.add(1);
        let wg = self.clone();
        drop(crate::go(move || {
            let result = catch_unwind(AssertUnwindSafe(f));
            crash_if_wanted(&result);
            wg.done();
            if let Err(payload) = result {
                resume_unwind(payload);
            }
        }));
    }
}
