//! M, the machine: an OS thread that runs goroutines while it holds a P.
//!
//! Its own stack ("g0") is the thread's; the scheduler loop lives there. Goroutines run on their
//! carriers, switched to from g0 or directly from each other.

pub(crate) mod altstack;
pub(crate) mod lease;
#[cfg_attr(
    not(feature = "intercept"),
    expect(dead_code, reason = "masks change where calls are taken over")
)]
pub(crate) mod noted;
pub(crate) mod thread;

use crate::base::gather::Hook;
use crate::base::rand::Rand;
use crate::base::sys::Note;
use crate::g::G;
use crate::g::task::Runnable;
use crate::p::P;
use goroutines_switch::Context;
use lease::Lease;
use noted::Noted;
use std::cell::{Cell, UnsafeCell};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

/// One OS thread of the scheduler. Never freed; used again for a new thread when its thread has
/// ended.
#[repr(C, align(128))]
pub(crate) struct M {
    pub(crate) id: u64,
    /// Whether it still has its P.
    pub(crate) lease: Lease,
    /// Counts switches to or from goroutines: tells the monitor that what it saw is over.
    pub(crate) switches: AtomicU32,
    /// The goroutine that runs on it; null on g0.
    pub(crate) curg: AtomicPtr<G>,
    /// Its P, while the lease is not taken; null without one. Written by the M itself.
    pub(crate) p: AtomicPtr<P>,
    /// The P it had last. Its own.
    pub(crate) oldp: Cell<*mut P>,
    /// The P it gets with its next wake-up. Written by the waker before it.
    pub(crate) nextp: AtomicPtr<P>,
    /// Where its own stack goes on while a goroutine runs.
    pub(crate) g0: UnsafeCell<Context>,
    /// It looks for work and has found none yet. Its own (and of the thread that makes or wakes
    /// it).
    pub(crate) spinning: Cell<bool>,
    /// What is to be run next and needs g0's attention. Its own.
    pub(crate) stash: Cell<Option<Runnable>>,
    /// Whether that goes on with the slice of the one before. Its own.
    pub(crate) stash_inherits: Cell<bool>,
    /// The goroutine that only it may run.
    pub(crate) lockedg: AtomicPtr<G>,
    /// It waits for its locked goroutine; guarded by the scheduler lock.
    pub(crate) waits_for_lockedg: Cell<bool>,
    /// It is to end with the goroutine that was locked to it. Its own.
    pub(crate) dying: Cell<bool>,
    /// It has made a process. To the kernel the child's parent is this thread (`PR_SET_PDEATHSIG`,
    /// `ptrace`), so it does not end for want of work. Its own.
    pub(crate) is_parent: Cell<bool>,
    /// Its thread's CPU clock when that was last looked at for a goroutine's sake. Its own.
    #[cfg(feature = "intercept")]
    pub(crate) cpu_seen_ns: Cell<u64>,
    /// It waits here for a P.
    pub(crate) note: Note,
    /// Link of the idle list; guarded by the scheduler lock.
    pub(crate) link: AtomicPtr<M>,
    /// It is on its way to sleep. Its own.
    pub(crate) settling: Cell<bool>,
    /// It is on the idle list; guarded by the scheduler lock.
    pub(crate) is_idle: Cell<bool>,
    /// The list of all Ms: append only.
    pub(crate) alllink: AtomicPtr<M>,
    /// The kernel's id of its thread; 0 if it has none.
    pub(crate) tid: AtomicU32,
    /// What its thread does, or the question (`sched/sysmon/onlooker.rs`).
    pub(crate) state: AtomicU32,
    /// Its place among those that somebody asks about.
    pub(crate) asked: Hook<M>,
    /// Its place among those whose P was taken; its place in the monitor's queue of them, and
    /// whether it has one.
    pub(crate) bereft: Hook<M>,
    pub(crate) next_detached: Cell<*mut M>,
    pub(crate) is_queued: Cell<bool>,
    /// Counts announced blocking calls.
    pub(crate) syscalltick: AtomicU32,
    /// The slice (its `schedtick`) that the monitor wants to end, plus one; 0: none.
    pub(crate) preempt_tick: AtomicU32,
    /// The signal met it where it can't stop, inside libc mostly: ask again soon.
    pub(crate) in_libc: AtomicBool,
    /// How often sending it the runtime's signal was begun, and done; and how much of that was done
    /// when it had the signal last.
    pub(crate) signals_begun: AtomicU32,
    pub(crate) signals_done: AtomicU32,
    pub(crate) signals_seen: AtomicU32,
    pub(crate) rand: Rand,
    /// What the next switch must tell the kernel: bits of [`odd`](crate::g::odd). Its own.
    pub(crate) odd: Cell<u8>,
    /// The signal mask that the kernel has for its thread. Written by itself.
    pub(crate) kernel_mask: Noted,
    /// The signal that it is sending to itself, for a goroutine (`signals/deliver.rs`). Its own.
    #[cfg(feature = "intercept")]
    pub(crate) resent: AtomicPtr<crate::signals::deliver::Resent>,
    /// The signals that have come and were not the one that it is sending to itself, since it has
    /// begun to (`signals/deliver.rs`). Its own.
    #[cfg(feature = "intercept")]
    pub(crate) knocked: std::sync::atomic::AtomicU64,
    /// The signals by which it was told, and has not had them yet (`signals/post.rs`).
    #[cfg(feature = "intercept")]
    pub(crate) knocks: std::sync::atomic::AtomicU64,
    /// The runtime's alternate stack on this thread.
    pub(crate) altstack: Cell<libc::stack_t>,
    /// The head of the robust list that the kernel was told of; 0: libc's own. Its own.
    #[cfg(feature = "intercept")]
    pub(crate) robust_list: Cell<usize>,
    /// The goroutine whose alternate stack the kernel has instead. Its own.
    pub(crate) altstack_of: Cell<*mut G>,
    /// What the monitor has seen of it.
    pub(crate) seen: UnsafeCell<Seen>,
}

/// The monitor's notes on an M.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The slice, and since when it goes on, calls included.
    pub(crate) tick: u32,
    pub(crate) since_ns: u64,
    pub(crate) cpu_ns: Option<u64>,
    pub(crate) cpu_at_ns: u64,
    /// The thread's CPU clock when the slice was first seen.
    pub(crate) slice_cpu_ns: Option<u64>,
    /// It was in an announced call, this one, since then.
    pub(crate) in_syscall: bool,
    pub(crate) syscall_tick: u32,
    pub(crate) syscall_since_ns: u64,
    /// When the slice's end was first asked for.
    pub(crate) asked_ns: u64,
    pub(crate) signals: u32,
    /// The thread's CPU clock when the onlooker was asked about it, while it stands still.
    pub(crate) asked_cpu_ns: Option<u64>,
    /// The look in which that was.
    pub(crate) asked_at_ns: u64,
    /// The switches it had made, and whether goroutines were queued on its P beside an idle one.
    pub(crate) switches: u32,
    pub(crate) queued: bool,
}

// SAFETY: cells are the M's own thread's, or guarded as they say; the rest is atomic.
unsafe impl Sync for M {}

impl M {
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            lease: Lease::new(),
            switches: AtomicU32::new(0),
            curg: AtomicPtr::new(null_mut()),
            p: AtomicPtr::new(null_mut()),
            oldp: Cell::new(null_mut()),
            nextp: AtomicPtr::new(null_mut()),
            g0: UnsafeCell::new(Context::empty()),
            spinning: Cell::new(false),
            stash: Cell::new(None),
            stash_inherits: Cell::new(false),
            lockedg: AtomicPtr::new(null_mut()),
            waits_for_lockedg: Cell::new(false),
            dying: Cell::new(false),
            is_parent: Cell::new(false),
            #[cfg(feature = "intercept")]
            cpu_seen_ns: Cell::new(0),
            note: Note::new(),
            link: AtomicPtr::new(null_mut()),
            settling: Cell::new(false),
            is_idle: Cell::new(false),
            alllink: AtomicPtr::new(null_mut()),
            tid: AtomicU32::new(0),
            state: AtomicU32::new(0),
            asked: Hook::new(),
            bereft: Hook::new(),
            next_detached: Cell::new(null_mut()),
            is_queued: Cell::new(false),
            syscalltick: AtomicU32::new(0),
            preempt_tick: AtomicU32::new(0),
            in_libc: AtomicBool::new(false),
            signals_begun: AtomicU32::new(0),
            signals_done: AtomicU32::new(0),
            signals_seen: AtomicU32::new(0),
            rand: Rand::new(id.wrapping_add(crate::base::sys::nanotime())),
            odd: Cell::new(0),
            kernel_mask: Noted::new(0),
            #[cfg(feature = "intercept")]
            resent: AtomicPtr::new(null_mut()),
            #[cfg(feature = "intercept")]
            knocked: std::sync::atomic::AtomicU64::new(0),
            #[cfg(feature = "intercept")]
            knocks: std::sync::atomic::AtomicU64::new(0),
            // SAFETY: plain old data.
            altstack: Cell::new(unsafe { std::mem::zeroed() }),
            #[cfg(feature = "intercept")]
            robust_list: Cell::new(0),
            altstack_of: Cell::new(null_mut()),
            seen: UnsafeCell::new(Seen::default()),
        }
    }

    /// Its P. On this M, inside a section or on g0.
    #[inline]
    pub(crate) fn p(&self) -> Option<&'static P> {
        // SAFETY: null, or one of the static Ps.
        unsafe { self.p.load(Ordering::Relaxed).as_ref() }
    }

    pub(crate) fn curg(&self) -> Option<&'static G> {
        // SAFETY: null, or a G, which is never freed.
        unsafe { self.curg.load(Ordering::Acquire).as_ref() }
    }

    pub(crate) fn as_ptr(&'static self) -> *mut M {
        std::ptr::from_ref(self).cast_mut()
    }
}
