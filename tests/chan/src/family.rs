//! What the threads and goroutines of a test have in common.

use crate::Mode;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A thread that has not ended this long after the body will not end.
const LEFT_LIMIT: Duration = Duration::from_secs(20);

/// What a test started, and what that started.
#[derive(Debug)]
pub(crate) struct Family {
    mode: Mode,
    spawned: AtomicUsize,
    threads: AtomicUsize,
}

thread_local! {
    static FAMILY: RefCell<Option<Arc<Family>>> = const { RefCell::new(None) };
}

/// Makes the caller the first of a family.
pub(crate) fn begin(mode: Mode) -> Arc<Family> {
    let family =
        Arc::new(Family { mode, spawned: AtomicUsize::new(0), threads: AtomicUsize::new(0) });
    join(Arc::clone(&family));
    family
}

/// Makes the caller one of a family.
fn join(family: Arc<Family>) {
    FAMILY.with(|slot| *slot.borrow_mut() = Some(family));
}

/// The caller's.
pub(crate) fn current() -> Arc<Family> {
    let family = FAMILY.with(|slot| slot.borrow().clone());
    family.expect("only a test's own threads start others")
}

impl Family {
    /// Whether the next to be started is a thread, not a goroutine.
    pub(crate) fn next_is_thread(&self) -> bool {
        match self.mode {
            Mode::Goroutines => false,
            Mode::Threads => true,
            Mode::Mixed => self.spawned.fetch_add(1, Ordering::Relaxed).is_multiple_of(2),
        }
    }

    /// What runs `f` as one of the family, on a thread if so said.
    pub(crate) fn member<T>(
        self: Arc<Self>,
        is_thread: bool,
        f: impl FnOnce() -> T,
    ) -> impl FnOnce() -> T {
        /// Counts a thread until it ends.
        struct Counted(Arc<Family>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.threads.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let counted = is_thread.then(|| {
            self.threads.fetch_add(1, Ordering::SeqCst);
            Counted(Arc::clone(&self))
        });
        move || {
            let _counted = counted;
            join(self);
            f()
        }
    }

    /// Waits until all threads have ended. (The runner waits for the goroutines.)
    pub(crate) fn wait_for_threads(&self) {
        let start = Instant::now();
        while self.threads.load(Ordering::SeqCst) > 0 {
            assert!(start.elapsed() < LEFT_LIMIT, "threads that do not end");
            goroutines::thread::sleep(Duration::from_micros(200));
        }
    }
}
