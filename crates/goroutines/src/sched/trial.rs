//! Threads that wait for a `#[goroutines::test]`, which fails where others would end the process;
//! and which goroutines a test has started.

use crate::base::lock::Lock;
use crate::base::sys;
use crate::g::task::Task;
use crate::g::{G, current};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// As many as are told of a deadlock; libtest runs as many at once as there are CPUs.
const MOST: usize = 64;

const RUNS: u32 = 0;
const ENDED: u32 = 1;
const ASLEEP: u32 = 2;

/// A test that runs.
#[derive(Debug)]
pub(crate) struct Trial {
    state: AtomicU32,
}

/// How the wait for a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ended,
    /// All goroutines are asleep, for ever.
    Asleep,
    TimedOut,
}

/// How many families there are, which is the number of the last.
static FAMILIES: AtomicU32 = AtomicU32::new(0);

/// The goroutines that a test starts, and those that these start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family(u32);

impl Family {
    pub(crate) fn new() -> Self {
        Self(FAMILIES.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The calling goroutine is the first.
    pub(crate) fn begin(self) {
        if let Some(task) = current::g().and_then(G::task) {
            task.family.set(self.0);
        }
    }

    pub(crate) fn has(self, task: &Task) -> bool {
        task.family.get() == self.0
    }
}

/// A new goroutine is of its maker's family.
#[inline]
pub(super) fn inherit(task: &Task, creator: Option<&'static G>) {
    // (A program without tests does not look at the maker's task.)
    if FAMILIES.load(Ordering::Relaxed) != 0
        && let Some(creator) = creator.and_then(G::task)
    {
        task.family.set(creator.family.get());
    }
}

struct Entry {
    /// The thread that waits.
    tid: u32,
    trial: *const Trial,
}

/// The tests whose threads wait. An entry's trial is alive as long as it is here.
struct Waiting([Option<Entry>; MOST]);

// SAFETY: trials are Sync, and alive.
unsafe impl Send for Waiting {}

static WAITING: Lock<Waiting> = Lock::new(Waiting([const { None }; MOST]));

impl Trial {
    pub(crate) const fn new() -> Self {
        Self { state: AtomicU32::new(RUNS) }
    }

    /// The test has ended.
    pub(crate) fn end(&self) {
        self.become_one(ENDED);
    }

    fn become_one(&self, state: u32) {
        // Release: what the test did is seen by the thread that waits.
        let _ = self.state.compare_exchange(RUNS, state, Ordering::Release, Ordering::Relaxed);
        sys::futex_wake(&raw const self.state, 1);
    }

    /// Blocks the calling thread, which is no goroutine's, until the test has ended or can't.
    pub(crate) fn wait(&self, limit: Option<Duration>) -> Verdict {
        struct Left;
        impl Drop for Left {
            fn drop(&mut self) {
                let own = sys::gettid();
                for entry in &mut WAITING.lock().0 {
                    if entry.as_ref().is_some_and(|entry| entry.tid == own) {
                        *entry = None;
                    }
                }
            }
        }
        let _left = Left;
        if let Some(free) = WAITING.lock().0.iter_mut().find(|entry| entry.is_none()) {
            *free = Some(Entry { tid: sys::gettid(), trial: self });
        }
        let start = Instant::now();
        loop {
            match self.state.load(Ordering::Acquire) {
                ENDED => return Verdict::Ended,
                ASLEEP => return Verdict::Asleep,
                _ => {}
            }
            let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return Verdict::TimedOut;
            }
            sys::futex_wait(&self.state, RUNS, left);
        }
    }
}

/// Tells all threads that wait for tests that all goroutines are asleep. False if there is none.
pub(super) fn fail_all() -> bool {
    let mut any = false;
    for entry in WAITING.lock().0.iter().flatten() {
        // SAFETY: alive while it is in the table, and the table is locked.
        unsafe { (*entry.trial).become_one(ASLEEP) };
        any = true;
    }
    any
}

/// The threads that wait for tests.
pub(super) struct Trials {
    tids: [u32; MOST],
}

/// Those that wait now.
pub(super) fn running() -> Trials {
    let waiting = WAITING.lock();
    let tid = |at: usize| waiting.0[at].as_ref().map_or(0, |entry| entry.tid);
    Trials { tids: std::array::from_fn(tid) }
}

impl Trials {
    /// Whether the thread, when its time is over, does no more than let a test fail, or say that
    /// one takes long: it waits for a test, or is libtest's main thread while others do.
    pub(super) fn only_look_on(&self, tid: u32) -> bool {
        let waits = |tid| self.tids.contains(&tid);
        let main = sys::own_pid();
        waits(tid) || tid == main && self.tids.iter().any(|tid| *tid != 0 && *tid != main)
    }
}
