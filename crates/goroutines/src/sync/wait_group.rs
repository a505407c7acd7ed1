//! `WaitGroup`.

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
struct Shared(Lock<State>);

#[derive(Debug)]
struct State {
    counter: i32,
    waiters: WaitQueue,
    waiting: u32,
}

/// A panic can't leave it in a state that it should not be seen in.
impl std::panic::RefUnwindSafe for Shared {}

impl Default for Shared {
    fn default() -> Self {
        Self(Lock::new(State { counter: 0, waiters: WaitQueue::new(), waiting: 0 }))
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
    /// `sync: negative WaitGroup counter` if it would become negative; it is left as it was.
    pub fn add(&self, delta: i32) {
        let section = current::enter();
        let mut state = self.0.0.lock();
        let counter = state.counter.checked_add(delta).filter(|counter| *counter >= 0);
        let Some(counter) = counter else {
            drop(state);
            drop(section);
            panic!("sync: negative WaitGroup counter");
        };
        // The waiters were released with the zero, under this lock: here it can't be misused as Go's
        // can ("Add called concurrently with Wait").
        state.counter = counter;
        if counter > 0 || state.waiting == 0 {
            return;
        }
        state.waiting = 0;
        let waiters = std::mem::replace(&mut state.waiters, WaitQueue::new());
        drop(state);
        // SAFETY: taken out of the group just now.
        unsafe { waiters.wake_all() };
    }

    /// Takes one from the counter.
    ///
    /// # Panics
    /// `sync: negative WaitGroup counter` if it is zero.
    pub fn done(&self) {
        self.add(-1);
    }

    fn is_zero(&self) -> bool {
        let _section = current::enter();
        self.0.0.lock().counter == 0
    }

    /// Blocks until the counter is zero; returns at once if it is.
    ///
    /// # Deadlock
    /// If a `done` was forgotten; when nothing else can happen any more, the process ends with
    /// `fatal error: all goroutines are asleep - deadlock!`.
    pub fn wait(&self) {
        if self.is_zero() {
            return;
        }
        block(WaitReason::WaitGroup, |waiter| {
            let mut state = self.0.0.lock();
            if state.counter == 0 {
                return false;
            }
            state.waiting += 1;
            state.waiters.push(waiter);
            true
        });
    }

    /// Starts a goroutine that calls `f`, and counts it: `add(1)` now, `done` when it has ended, by
    /// return, by [`goexit`](crate::runtime::goexit) or by a panic (which stays in its goroutine; with
    /// [`PanicPolicy::Crash`](crate::runtime::PanicPolicy::Crash) it ends the process, as in Go, and
    /// `wait` does not return).
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
