//! G, the goroutine.
//!
//! A `G` is the header of its carrier (stack, thread-locals, thread block): one mapping, made once,
//! used for many goroutines one after another, never unmapped. A `&'static G` can therefore always
//! be read; what it says is about whichever goroutine lives there.
//!
//! Read next: `status.rs`, then `sched/park.rs`.

pub(crate) mod current;
pub(crate) mod haste;
mod list;
pub(crate) mod reason;
pub(crate) mod status;
pub(crate) mod task;
pub(crate) mod wait;
#[cfg_attr(
    not(feature = "intercept"),
    expect(dead_code, reason = "only calls that are taken over wait so")
)]
pub(crate) mod wait_list;

pub(crate) use list::GList;

use crate::m::M;
use crate::sched::ambient::Run;
use crate::timer::alarm::Alarm;
use goroutines_switch::{Carrier, Context};
use reason::WaitReason;
use status::Status;
use std::cell::{Cell, UnsafeCell};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use wait::WaitWord;

/// Work that waits for the goroutine to leave the runtime; bits of [`G::pending`].
pub(crate) mod pending {
    /// Its time slice is over.
    pub(crate) const PREEMPT: u32 = 1;
    /// It is inside `runtime::blocking`.
    pub(crate) const BLOCKING: u32 = 2;
    /// A signal may be pending that it does not block (SG3 in `signals/mod.rs`).
    #[cfg(feature = "intercept")]
    pub(crate) const SIGNAL: u32 = 4;
    /// What is done at the end of the section in which it comes.
    #[cfg(feature = "intercept")]
    pub(crate) const AT_ONCE: u32 = PREEMPT | SIGNAL;
    #[cfg(not(feature = "intercept"))]
    pub(crate) const AT_ONCE: u32 = PREEMPT;
}

/// What the kernel must be told of at a switch; bits of [`G::odd`] and [`M::odd`].
pub(crate) mod odd {
    /// It has set an alternate stack; the kernel has that of a goroutine.
    pub(crate) const ALTSTACK: u8 = 1;
    /// It has another signal mask than most.
    #[cfg(feature = "intercept")]
    pub(crate) const MASK: u8 = 2;
    /// It is the runtime's own, and blocks what threads of the runtime block.
    #[cfg(feature = "intercept")]
    pub(crate) const SYSTEM: u8 = 4;
}

/// Where a goroutine is in `fork` (`intercept/fork.rs`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Forking {
    pub(crate) depth: u32,
    pub(crate) announced: bool,
}

/// A lock that was taken by others each time the goroutine was woken for it.
#[cfg(feature = "intercept")]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Losing {
    /// The lock's word; 0: none.
    pub(crate) at: usize,
    /// Since when it wants it.
    pub(crate) since_ns: u64,
    /// When it was woken last.
    pub(crate) woken_ns: u64,
}

/// One goroutine.
#[repr(C, align(64))]
pub(crate) struct G {
    // The first line: what going to sleep and waking touch.
    /// Where it goes on; valid while it is off its stack. Owned by the M that may run it.
    pub(crate) context: UnsafeCell<Context>,
    /// How deep it is inside the runtime; while not 0, it is neither preempted nor loses its P.
    /// Written by the goroutine itself, by its signal handler, and by the thread that makes it.
    pub(crate) nopreempt: AtomicU32,
    pub(crate) status: Status,
    /// When one of its waits is to end for lack of anything else.
    pub(crate) alarm: Alarm,
    /// Its waits that more than one may end.
    pub(crate) wait: WaitWord,
    /// The next in a run queue.
    pub(crate) runlink: AtomicPtr<task::Opaque>,
    // The second.
    /// The M that runs it; written by the M that switches to it.
    pub(crate) m: AtomicPtr<M>,
    /// Bits of [`pending`].
    pub(crate) pending: AtomicU32,
    reason: AtomicU8,
    /// How soon those that it wakes must run.
    pub(crate) haste: haste::Haste,
    /// What a switch to or from it must tell the kernel: bits of [`odd`]. Its own.
    pub(crate) odd: Cell<u8>,
    /// It is in a call that the runtime has announced. Its own.
    pub(crate) in_call: AtomicBool,
    /// How deep it is in calls of `fork` (one may be made by a handler of another), and whether the
    /// outermost is announced. Its own.
    pub(crate) forking: Cell<Forking>,
    /// It has called `ptrace`. Its own.
    #[cfg(feature = "intercept")]
    pub(crate) traces: Cell<bool>,
    /// What it has changed of its OS thread keeps it there (`intercept/pinned.rs`). Its own.
    #[cfg(feature = "intercept")]
    pub(crate) is_pinned: Cell<bool>,
    /// CPU time that it has had, as far as that is counted. Its own.
    #[cfg(feature = "intercept")]
    pub(crate) cpu_ns: Cell<u64>,
    /// Its name, to the kernel's calls.
    #[cfg(feature = "intercept")]
    pub(crate) name: crate::intercept::names::Name,
    /// Its stack has been run on since the scavenger saw to it.
    pub(crate) is_soiled: Cell<bool>,
    /// Its end is the end of the process: it keeps its P afterwards.
    pub(crate) is_last: Cell<bool>,
    /// When it was parked (coarse).
    pub(crate) waiting_since_ns: Cell<u64>,
    /// The M it is locked to.
    pub(crate) lockedm: AtomicPtr<M>,
    /// How often it was locked. Its own.
    pub(crate) locks: Cell<u32>,
    /// Depth of `runtime::blocking`. Its own.
    pub(crate) blocking: Cell<u32>,
    /// Its number; unique in the process, never used again.
    pub(crate) goid: AtomicU64,
    /// What it is known by: the goroutine's reference. Null before the first and after the end.
    pub(crate) task: Cell<*const task::Task>,
    /// The next in a list of free ones.
    pub(crate) link: AtomicPtr<G>,
    /// The innermost context it runs in, if that can be cancelled. Written by itself.
    pub(crate) ambient: AtomicPtr<Run>,
    /// The wait that may be ended by that context; 0: none was yet. Written by itself.
    pub(crate) cancel_ticket: AtomicU64,
    /// Its alternate stack, while it is off its M (`m/altstack.rs`).
    pub(crate) altstack: Cell<libc::stack_t>,
    /// An M's alternate stack, on which a handler of the runtime's has left its M; 0: none. Its
    /// own.
    pub(crate) lent: Cell<usize>,
    /// The lock it waits for again and again. Its own.
    #[cfg(feature = "intercept")]
    pub(crate) losing: Cell<Losing>,
    /// Its signal mask, and what is pending for it.
    #[cfg(feature = "intercept")]
    pub(crate) signals: crate::signals::State,
    /// How often it has locked mutexes that know their thread (`intercept/bound.rs`). Its own.
    #[cfg(feature = "intercept")]
    pub(crate) holds: Cell<u32>,
}
const _: () = assert!(size_of::<G>() <= goroutines_switch::stack::HEADER_BYTES);

// SAFETY: cells are the goroutine's own, or, before it is runnable, of the thread that makes it;
// they are read by others only while the world is stopped, or from inside the goroutine's own
// signal handler.
unsafe impl Sync for G {}

impl std::fmt::Debug for G {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "g{} {:?}", self.id(), self.status.get())
    }
}

impl G {
    /// The G in a carrier's header.
    pub(crate) fn of(carrier: Carrier) -> &'static G {
        // SAFETY: headers are zeroed at first, which is a valid G (status Idle, null pointers), are
        // large and aligned enough, and never unmapped.
        unsafe { carrier.header().cast().as_ref() }
    }

    pub(crate) fn carrier(&'static self) -> Carrier {
        // SAFETY: a G exists as a carrier's header only.
        unsafe { Carrier::of_header(NonNull::from(self).cast()) }
    }

    pub(crate) fn as_ptr(&'static self) -> *mut G {
        std::ptr::from_ref(self).cast_mut()
    }

    /// Has what it goes on with fetched: the rest of its G, and the last frames of its stack. It is
    /// off its stack, and the caller's.
    #[inline]
    pub(crate) fn prefetch(&'static self) {
        use crate::base::sys::prefetch;
        // SAFETY: off its stack, so nobody writes it.
        let at = unsafe { (*self.context.get()).stack_pointer() };
        prefetch(self.as_ptr().cast::<u8>().wrapping_add(64));
        for line in 0..3 {
            prefetch((at as *const u8).wrapping_add(64 * line));
        }
    }

    /// The M that runs it. Only while that can't change: on the goroutine, inside the runtime.
    #[inline]
    pub(crate) fn m(&self) -> &'static M {
        // SAFETY: set before the goroutine first runs; Ms are never freed.
        unsafe { &*self.m.load(Ordering::Relaxed) }
    }

    pub(crate) fn id(&self) -> u64 {
        self.goid.load(Ordering::Relaxed)
    }

    /// Its task. On the goroutine, or in a stopped world.
    pub(crate) fn task(&self) -> Option<&task::Task> {
        // SAFETY: null, or alive, as the goroutine has a reference.
        unsafe { self.task.get().as_ref() }
    }

    pub(crate) fn reason(&self) -> WaitReason {
        WaitReason::from(self.reason.load(Ordering::Relaxed))
    }

    pub(crate) fn set_reason(&self, reason: WaitReason) {
        self.reason.store(reason as u8, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_locked(&self) -> bool {
        !self.lockedm.load(Ordering::Relaxed).is_null()
    }
}
