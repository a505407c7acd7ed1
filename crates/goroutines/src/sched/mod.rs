//! The scheduler: the only module that joins goroutines, processors and machines.
//!
//! The way of a goroutine, with the files it passes:
//!
//! ```text
//!  go.rs ──> p/runq.rs ──> find.rs / steal.rs ──> run.rs ──> (user code) ──> park.rs ──> a wait queue
//!               ^                                              │  │                           │
//!               │                       preempt.rs, yield_now ─┘  └─ exit.rs ──> free list    │
//!               └──────────────────────────── ready.rs <──────────────────────────────────────┘
//! ```
//!
//! Beside it:
//! * which goroutine runs, and on what: `global.rs` (the global queue), `idle.rs` (which Ps and Ms
//!   have nothing to do), `wake.rs` (which M runs a P), `locked.rs` (goroutines that are tied to an
//!   M), `starved.rs` (goroutines that wait for a stack);
//! * waiting: `wait.rs` (waits that end in several ways), `watch.rs` (timers and the poller),
//!   `later.rs` (functions that are called at a time), `ambient.rs` (the context that ends waits),
//!   `syscall.rs` (coming back without a P);
//! * the monitor: `sysmon.rs`, `deadlock.rs` (with `others.rs`, the threads outside the runtime,
//!   and `trial.rs`, tests that are told), `scavenge.rs` (memory of stacks), `stw.rs` (stopping
//!   the world, and changing `GOMAXPROCS`), `clock.rs` (the time that it keeps), `cpu_time.rs`;
//! * start, and signals: `boot.rs`, `fault.rs` (overflows of stacks), `registers.rs` (extended
//!   registers).
//!
//! **Invariants.**
//! * SC1: code that touches a P or a run queue is inside a section (`g/current.rs`), on g0, or on
//!   an ordinary thread, which has no P.
//! * SC2: "current M" is read again after every point at which the goroutine can move.
//! * SC3: no lock is held across a switch.
//! * SC4: nothing in a section allocates.

pub(crate) mod ambient;
pub(crate) mod boot;
mod clock;
#[cfg(feature = "intercept")]
pub(crate) mod cpu_time;
pub(crate) mod deadlock;
pub(crate) mod exit;
pub(crate) mod fault;
pub(crate) mod find;
mod global;
pub(crate) mod go;
pub(crate) mod idle;
pub(crate) mod later;
pub(crate) mod locked;
mod others;
pub(crate) mod park;
pub(crate) mod preempt;
pub(crate) mod quit;
pub(crate) mod ready;
mod registers;
pub(crate) mod run;
pub(crate) mod scavenge;
pub(crate) mod starved;
mod steal;
pub(crate) mod stw;
pub(crate) mod syscall;
pub(crate) mod sysmon;
pub(crate) mod trial;
pub(crate) mod wait;
pub(crate) mod wake;
pub(crate) mod watch;

use crate::base::line::Line;
use crate::base::lock::{Lock, StaticGuard};
use crate::base::origin;
use crate::base::sys::Note;
use crate::g::task::{RunList, Runnable};
use crate::g::{GList, current};
use crate::m::M;
use crate::p::{MAX_PROCS, P};
use global::GlobalQueue;
use idle::Idle;
use std::cell::UnsafeCell;
use std::mem::{MaybeUninit, offset_of};
use std::ops::Deref;
use std::ptr::null_mut;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

/// Number of stack classes (see `goroutines_switch::stack`).
pub(crate) const CLASSES: usize = 19;

/// What the scheduler lock guards.
pub(crate) struct Shared {
    /// The global run queue. Its length is mirrored in [`Sched::runq_size`].
    pub(crate) runq: GlobalQueue,
    /// Idle Ms, the last parked first.
    pub(crate) midle: *mut M,
    pub(crate) nmidle: i32,
    /// Ms that wait for the goroutine locked to them.
    pub(crate) nmidle_locked: i32,
    /// Ms with a thread, and those whose thread is being made.
    pub(crate) mcount: i32,
    pub(crate) next_mid: u64,
    /// Ms whose thread has ended, to be used again.
    pub(crate) mdead: *mut M,
    /// Idle Ps.
    pub(crate) pidle: *mut P,
    /// Ps that wait for the monitor to make a thread, or for an M that settles.
    pub(crate) pwaiting: *mut P,
    /// Ms that gave their P up and are on their way to sleep; and those of them for which a P
    /// waits.
    pub(crate) settling: u32,
    pub(crate) expected: u32,
    /// Goroutines that ended, by stack class.
    pub(crate) gfree: [GList; CLASSES],
    /// The M that sleeps in the poller, as good as on the idle list.
    pub(crate) polling: *mut M,
    /// How many Ps are still to stop.
    pub(crate) stopwait: i32,
    /// How often a P has left the idle list.
    pub(crate) starts: u64,
}

// SAFETY: pointers to Ms and Ps, which are Sync and never freed.
unsafe impl Send for Shared {}

/// The scheduler's state; one per process. What hot paths read and hardly anybody writes is in no
/// line with what is written whenever a processor goes idle or wakes, or a goroutine is begun or
/// ends (`is_apart`, below).
pub(crate) struct Sched {
    shared: Line<Lock<Shared>>,
    pub(crate) runq_size: Line<AtomicUsize>,
    pub(crate) gfree_size: Line<AtomicUsize>,
    /// Goroutines that wait for memory for their stack.
    pub(crate) starved: starved::Starved,
    pub(crate) gomaxprocs: AtomicU32,
    pub(crate) idle: Line<Idle>,
    pub(crate) watch: watch::Watch,
    /// The world is stopped, or to be.
    pub(crate) stopping: AtomicBool,
    pub(crate) stopnote: Note,
    pub(crate) allm: AtomicPtr<M>,
    pub(crate) next_goid: Line<AtomicU64>,
    /// Goroutines begun by ordinary threads, and ended where there was no P to count on.
    pub(crate) created: Line<AtomicU64>,
    pub(crate) sysmon: Line<sysmon::Wake>,
    pub(crate) started: AtomicBool,
    /// A scheduling slice, in ns.
    pub(crate) slice_ns: AtomicU64,
    pub(crate) clock: clock::Clock,
    pub(crate) max_threads: AtomicU32,
    /// Threads that wait in `run`, which no goroutine's wake-up can come from.
    pub(crate) run_waiters: AtomicI32,
    /// Somebody waits for goroutines to end.
    pub(crate) end_waiters: AtomicU32,
    pub(crate) end_events: Line<AtomicU32>,
    /// Main called goexit.
    pub(crate) main_gone: AtomicBool,
    pub(crate) stack_class: AtomicPtr<goroutines_switch::Class>,
    /// How long an M without work keeps its thread, in ns.
    pub(crate) thread_keep_ns: AtomicU64,
}

/// The scheduler.
pub(crate) static SCHED: Sched = Sched {
    shared: Line(Lock::new(Shared {
        runq: GlobalQueue::new(),
        midle: null_mut(),
        nmidle: 0,
        nmidle_locked: 0,
        mcount: 0,
        next_mid: 0,
        mdead: null_mut(),
        pidle: null_mut(),
        pwaiting: null_mut(),
        settling: 0,
        expected: 0,
        gfree: [const { GList::new() }; CLASSES],
        polling: null_mut(),
        stopwait: 0,
        starts: 0,
    })),
    runq_size: Line(AtomicUsize::new(0)),
    gfree_size: Line(AtomicUsize::new(0)),
    starved: starved::Starved::new(),
    gomaxprocs: AtomicU32::new(0),
    idle: Line(Idle::new()),
    watch: watch::Watch::new(),
    stopping: AtomicBool::new(false),
    stopnote: Note::new(),
    allm: AtomicPtr::new(null_mut()),
    next_goid: Line(AtomicU64::new(1)),
    created: Line(AtomicU64::new(0)),
    sysmon: Line(sysmon::Wake::new()),
    started: AtomicBool::new(false),
    slice_ns: AtomicU64::new(10_000_000),
    clock: clock::Clock::new(),
    max_threads: AtomicU32::new(10_000),
    run_waiters: AtomicI32::new(0),
    end_waiters: AtomicU32::new(0),
    end_events: Line(AtomicU32::new(0)),
    main_gone: AtomicBool::new(false),
    stack_class: AtomicPtr::new(null_mut()),
    thread_keep_ns: AtomicU64::new(10_000_000_000),
};

/// Whether the field at `offset`, which is often read and hardly ever written, is apart from all
/// that is often written.
const fn is_apart(offset: usize) -> bool {
    const LINE: usize = align_of::<Line<u8>>();
    const WRITTEN: [usize; 7] = [
        offset_of!(Sched, shared),
        offset_of!(Sched, runq_size),
        offset_of!(Sched, gfree_size),
        offset_of!(Sched, idle),
        offset_of!(Sched, next_goid),
        offset_of!(Sched, created),
        offset_of!(Sched, end_events),
    ];
    let mut i = 0;
    while i < WRITTEN.len() {
        let own = if i == 0 { size_of::<Line<Lock<Shared>>>() } else { LINE };
        if offset / LINE >= WRITTEN[i] / LINE && offset < WRITTEN[i] + own {
            return false;
        }
        i += 1;
    }
    true
}

const _: () = {
    assert!(is_apart(offset_of!(Sched, started)));
    assert!(is_apart(offset_of!(Sched, stopping)));
    assert!(is_apart(offset_of!(Sched, starved)));
    assert!(is_apart(offset_of!(Sched, gomaxprocs)));
    assert!(is_apart(offset_of!(Sched, slice_ns)));
    assert!(is_apart(offset_of!(Sched, clock)));
    assert!(is_apart(offset_of!(Sched, stack_class)));
    assert!(is_apart(offset_of!(Sched, end_waiters)));
};

/// The processors that there have been so far, as a slice; those with a number below `GOMAXPROCS`
/// are in use. The others are zeroes, in memory that no program's file has and no page is used for.
pub(crate) static ALLP: AllP = AllP {
    all: UnsafeCell::new([const { MaybeUninit::zeroed() }; MAX_PROCS]),
    made: AtomicUsize::new(0),
};

pub(crate) struct AllP {
    all: UnsafeCell<[MaybeUninit<P>; MAX_PROCS]>,
    /// How many are made.
    made: AtomicUsize,
}

// SAFETY: a P is made before others can see it, and may be shared.
unsafe impl Sync for AllP {}

impl AllP {
    /// Makes those up to the number `n`. By the holder of the scheduler lock.
    pub(crate) fn make(&self, _: &mut Shared, n: u32) {
        let made = self.made.load(Ordering::Relaxed);
        let first = self.all.get().cast::<P>();
        for i in made..n as usize {
            // SAFETY: within the array; no thread sees it yet.
            unsafe { first.add(i).write(P::new(i as u32)) };
        }
        // Release: what they are, for deref().
        self.made.store(made.max(n as usize), Ordering::Release);
    }
}

impl Deref for AllP {
    type Target = [P];

    #[inline]
    fn deref(&self) -> &[P] {
        // SAFETY: they are made, and are only shared from then on.
        unsafe {
            std::slice::from_raw_parts(
                self.all.get().cast::<P>(),
                self.made.load(Ordering::Acquire),
            )
        }
    }
}

impl Sched {
    /// The scheduler lock. The caller satisfies SC1.
    #[inline]
    pub(crate) fn lock(&'static self) -> StaticGuard<Shared> {
        self.shared.lock_static()
    }

    /// The processors in use.
    #[inline]
    pub(crate) fn procs(&self) -> &'static [P] {
        &ALLP[..self.gomaxprocs.load(Ordering::Relaxed) as usize]
    }

    /// Whether this process is a copy of the one that has started the runtime: there is one
    /// goroutine, which is a thread, and none of the scheduler's threads.
    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        !origin::is_here() && self.started.load(Ordering::Relaxed)
    }

    /// Whether the world is to stop: an M that schedules must stop its P.
    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// All Ms ever made.
    pub(crate) fn all_ms(&self) -> impl Iterator<Item = &'static M> {
        // SAFETY: a list that only grows at its head, of Ms, which are never freed.
        let mut next = unsafe { self.allm.load(Ordering::Acquire).as_ref() };
        std::iter::from_fn(move || {
            let mp = next?;
            // SAFETY: as above.
            next = unsafe { mp.alllink.load(Ordering::Acquire).as_ref() };
            Some(mp)
        })
    }
}

impl Shared {
    /// Appends to the global run queue.
    #[inline]
    pub(crate) fn runq_push(&mut self, one: Runnable) {
        self.runq.push(one);
        SCHED.runq_size.store(self.runq.len(), Ordering::Relaxed);
    }

    /// Puts one of few before all others in the global run queue.
    pub(crate) fn runq_push_first(&mut self, one: Runnable) {
        self.runq.push_first(one);
        SCHED.runq_size.store(self.runq.len(), Ordering::Relaxed);
    }

    /// Takes all that go before the others in the global run queue.
    pub(crate) fn runq_take_first(&mut self) -> RunList {
        let first = self.runq.take_first_ones();
        SCHED.runq_size.store(self.runq.len(), Ordering::Relaxed);
        first
    }

    /// Takes the first of the global run queue.
    #[inline]
    pub(crate) fn runq_pop(&mut self) -> Option<Runnable> {
        let first = self.runq.pop();
        SCHED.runq_size.store(self.runq.len(), Ordering::Relaxed);
        first
    }
}

/// The M the calling flow runs on; none on an ordinary thread. In a section, or on g0.
#[inline]
pub(crate) fn current_m() -> Option<&'static M> {
    match current::running() {
        Some(gp) => Some(gp.m()),
        None => current::m_of_g0(),
    }
}

/// The P the calling flow owns; none on an ordinary thread. In a section, or on g0.
#[inline]
pub(crate) fn current_p() -> Option<&'static P> {
    current_m()?.p()
}
