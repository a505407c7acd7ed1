//! P, the processor: the right to run goroutines, and what goes with it.
//!
//! There are `GOMAXPROCS` of them. An M holds one while it runs goroutines; the holder of a P owns
//! its run queue, its list of free goroutines and its counters, without locks.

pub(crate) mod free;
pub(crate) mod memory;
pub(crate) mod pace;
pub(crate) mod runq;

use crate::g::task::Opaque;
use crate::m::M;
use crate::timer::Timers;
use free::FreeList;
use runq::LocalQueue;
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// The most processors there can be.
pub(crate) const MAX_PROCS: usize = 1024;

/// What a P is doing, and what owns it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum PStatus {
    /// `GOMAXPROCS` is smaller than its number; the scheduler lock owns it.
    Dead = 0,
    /// On the idle list (scheduler lock), or on its way to an M (the thread that took it off).
    Idle = 1,
    /// Owned by the M in `m`; taken from it only as `m/lease.rs` says.
    Running = 2,
    /// Stopped with the world; the thread that stopped the world owns it.
    Stopped = 3,
}

/// Bits of [`P::wanted`].
pub(crate) mod wanted {
    /// A slice has been used up here: the goroutine that comes next begins one of its own.
    pub(crate) const SLICE: u32 = 1;
    /// The part of the free list that was not used is to be given to all Ps.
    pub(crate) const UNUSED: u32 = 2;
}

/// One processor.
#[repr(C, align(128))]
pub(crate) struct P {
    /// Its number.
    pub(crate) id: u32,
    status: AtomicU32,
    /// The M that holds it.
    pub(crate) m: AtomicPtr<M>,
    /// Counts time slices begun here; goroutines that inherit a slice don't count.
    pub(crate) schedtick: AtomicU32,
    /// Link of the idle list and of the list of Ps that wait for a new M.
    pub(crate) link: AtomicPtr<P>,
    /// It waits for an M that is to start spinning.
    pub(crate) wants_spinning: Cell<bool>,
    /// Goroutines that ended here, to be used again. Owner only.
    pub(crate) gfree: UnsafeCell<FreeList>,
    /// There may be some. Written by the owner.
    pub(crate) has_free: AtomicBool,
    /// Memory of tasks. Owner only.
    pub(crate) tasks: memory::Store,
    /// Unused goroutine ids `[next, end)`. Owner only.
    pub(crate) goids: Cell<(u64, u64)>,
    /// Goroutines begun and ended on this P. Written by the owner only.
    pub(crate) created: AtomicU64,
    pub(crate) ended: AtomicU64,
    /// The slice that goes on here is a fair share already: a goroutine that is woken may go first.
    /// Set by the monitor.
    pub(crate) had_share: AtomicBool,
    /// How many may be queued here without an M being woken for them.
    pub(crate) pace: pace::Pace,
    /// What the owner is to see to before it runs the next goroutine: bits of [`wanted`].
    pub(crate) wanted: AtomicU32,
    /// What those that go first have taken. Owner only but for the monitor's word.
    pub(crate) lead: Lead,
    /// Which goroutine is to be woken, or call made, when. Other threads look too.
    pub(crate) timers: Timers,
    /// Its timers need not be looked at again before this many cycles. Owner only.
    pub(crate) timers_at: Cell<u64>,
    /// The slice that the monitor saw here last. The monitor's.
    pub(crate) seen_tick: Cell<u32>,
    /// A timer was set that is the earliest, and nobody was told. Owner only.
    pub(crate) new_timer: Cell<bool>,
    /// Runnables, as words.
    pub(crate) runq: LocalQueue<Opaque>,
    /// Goroutines that yielded here: this P's share of the global queue's tail. Its ring only.
    pub(crate) yieldq: LocalQueue<Opaque>,
}

/// How long those went first that were woken while all Ps compute (`sched/find.rs`).
pub(crate) struct Lead {
    /// When a slice was used up before.
    pub(crate) looked_ns: Cell<u64>,
    /// Some went first then.
    pub(crate) led: Cell<bool>,
    /// So long nobody goes first.
    pub(crate) debt_ns: Cell<u64>,
    /// How long the slice was that the monitor ended. By the monitor.
    pub(crate) slice_ns: AtomicU64,
}

// SAFETY: plain fields are the owner's (see PStatus), all else is atomic.
unsafe impl Sync for P {}

impl P {
    pub(crate) const fn new(id: u32) -> Self {
        Self {
            id,
            status: AtomicU32::new(PStatus::Dead as u32),
            m: AtomicPtr::new(null_mut()),
            schedtick: AtomicU32::new(0),
            link: AtomicPtr::new(null_mut()),
            wants_spinning: Cell::new(false),
            gfree: UnsafeCell::new(FreeList::new()),
            has_free: AtomicBool::new(false),
            tasks: memory::Store::new(),
            goids: Cell::new((0, 0)),
            created: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            had_share: AtomicBool::new(false),
            pace: pace::Pace::new(),
            wanted: AtomicU32::new(0),
            lead: Lead {
                looked_ns: Cell::new(0),
                led: Cell::new(false),
                debt_ns: Cell::new(0),
                slice_ns: AtomicU64::new(0),
            },
            timers: Timers::new(),
            timers_at: Cell::new(0),
            seen_tick: Cell::new(0),
            new_timer: Cell::new(false),
            runq: LocalQueue::new(),
            yieldq: LocalQueue::new(),
        }
    }

    /// Whether nothing is queued here.
    pub(crate) fn is_empty(&self) -> bool {
        self.runq.is_empty() && self.yieldq.is_empty()
    }

    /// Something comes to the free list. By the owner.
    #[inline]
    pub(crate) fn note_free(&self) {
        if !self.has_free.load(Ordering::Relaxed) {
            self.has_free.store(true, Ordering::Relaxed);
        }
    }

    /// How many are queued here behind what is in front. By the owner.
    #[inline]
    pub(crate) fn queued(&self) -> u32 {
        self.runq.len().0 + self.yieldq.len().0
    }

    pub(crate) fn status(&self) -> PStatus {
        match self.status.load(Ordering::Acquire) {
            1 => PStatus::Idle,
            2 => PStatus::Running,
            3 => PStatus::Stopped,
            _ => PStatus::Dead,
        }
    }

    pub(crate) fn set_status(&self, status: PStatus) {
        self.status.store(status as u32, Ordering::Release);
    }

    /// Adds one to a counter that only the owner writes.
    #[inline]
    pub(crate) fn bump(counter: &AtomicU64) {
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    pub(crate) fn as_ptr(&'static self) -> *mut P {
        std::ptr::from_ref(self).cast_mut()
    }
}
