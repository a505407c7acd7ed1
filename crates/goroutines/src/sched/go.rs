//! `go`: making a goroutine.
//!
//! Next: `p/runq.rs`, then `run.rs`.
//!
//! A goroutine that ended left its carrier on the P's free list (or the global one); only where none is
//! left is a new one made, outside the section, because that allocates. What the closure captured is
//! moved straight to the top of the new stack: no box, and it is warm when the goroutine begins.

use super::{SCHED, Shared, current_p, ready, wake};
use crate::base::sys;
use crate::g::status::State;
use crate::g::{G, current};
use crate::p::P;
use crate::thread::Head;
use goroutines_switch::Class;
use std::io;
use std::panic::Location;
use std::sync::atomic::Ordering;

/// Goroutines a P keeps for itself before it gives half of them to all.
const KEEP: usize = 64;
const BATCH: usize = 32;

/// Captured values up to this size go onto the stack as they are.
const INLINE_BYTES: usize = 2048;

/// Ids a P takes at a time.
const GOIDS: u64 = 16;

/// How a goroutine is to be made.
pub(crate) struct Spec {
    pub(crate) class: &'static Class,
    /// What joins it; one reference passes to the goroutine. Null for the runtime's own.
    pub(crate) task: *const Head,
    pub(crate) location: &'static Location<'static>,
    pub(crate) system: bool,
}

/// The class of stacks used where nothing else is asked for.
pub(crate) fn default_class() -> &'static Class {
    // SAFETY: set at start to one of the static classes.
    match unsafe { SCHED.stack_class.load(Ordering::Relaxed).as_ref() } {
        Some(class) => class,
        None => crate::base::fatal::throw!("go before the runtime was started"),
    }
}

/// Starts a goroutine that calls `f`, which must not unwind. Returns its id.
///
/// # Errors
/// Where no carrier can be made: memory, addresses, or mappings are used up. `f` is dropped.
///
/// # Safety
/// * What `f` captures stays valid until `f` has returned.
pub(crate) unsafe fn spawn<F: FnOnce() + Send>(spec: &Spec, f: F) -> io::Result<u64> {
    if size_of::<F>() > INLINE_BYTES || align_of::<F>() > 64 {
        let f = Box::new(f);
        // SAFETY: forwarded.
        return unsafe { spawn_inline(spec, f) };
    }
    // SAFETY: forwarded.
    unsafe { spawn_inline(spec, f) }
}

#[inline]
unsafe fn spawn_inline<F: FnOnce() + Send>(spec: &Spec, f: F) -> io::Result<u64> {
    unsafe fn run<F: FnOnce()>(payload: *mut u8) {
        // SAFETY: spawn_inline put an F there, for this one call.
        (unsafe { payload.cast::<F>().read() })();
    }
    let mut section = current::enter();
    let gp = match free_one(spec.class) {
        Some(gp) => gp,
        None => {
            drop(section);
            let gp = G::of(spec.class.make()?);
            section = current::enter();
            gp
        }
    };
    // SAFETY: the goroutine came from a free list, or is new: it is ours, and nothing runs on it.
    unsafe {
        let (context, payload) =
            gp.carrier().prepare(super::run::entry, size_of::<F>(), align_of::<F>());
        payload.cast::<F>().write(f);
        *gp.context.get() = context;
        gp.payload.set(payload);
    }
    gp.run.set(Some(run::<F>));
    let goid = begin(gp, spec, section.g());
    gp.status.set(State::Runnable);
    ready::enqueue(gp);
    wake::wakep();
    drop(section);
    Ok(goid)
}

/// Fills in what a goroutine is known by.
#[inline]
fn begin(gp: &'static G, spec: &Spec, creator: Option<&'static G>) -> u64 {
    let pp = current_p();
    let goid = next_goid(pp);
    gp.goid.store(goid, Ordering::Relaxed);
    gp.nopreempt.store(1, Ordering::Relaxed);
    gp.pending.store(0, Ordering::Relaxed);
    gp.locks.set(0);
    gp.blocking.set(0);
    gp.is_last.set(false);
    gp.task.set(spec.task);
    gp.location.set(Some(spec.location));
    gp.system.set(spec.system);
    gp.creator.set(creator.map_or(0, G::id));
    gp.created_ns.set(sys::coarse_nanotime());
    if !spec.task.is_null() {
        // SAFETY: the caller's reference, which is the goroutine's now.
        unsafe { (*spec.task).set_goid(goid) };
    }
    if !spec.system {
        match pp {
            Some(pp) => P::bump(&pp.created),
            None => {
                SCHED.created.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    goid
}

#[inline]
fn next_goid(pp: Option<&'static P>) -> u64 {
    let Some(pp) = pp else { return SCHED.next_goid.fetch_add(1, Ordering::Relaxed) };
    let (mut next, mut end) = pp.goids.get();
    if next == end {
        next = SCHED.next_goid.fetch_add(GOIDS, Ordering::Relaxed);
        end = next + GOIDS;
    }
    pp.goids.set((next + 1, end));
    next
}

/// A goroutine that ended, to be used again.
#[inline]
fn free_one(class: &'static Class) -> Option<&'static G> {
    let is_default = std::ptr::eq(class, default_class());
    if is_default && let Some(pp) = current_p() {
        // SAFETY: we own pp.
        let free = unsafe { &mut *pp.gfree.get() };
        if let Some(gp) = free.pop_front() {
            return Some(gp);
        }
        if SCHED.gfree_size.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let mut shared = SCHED.lock();
        for _ in 0..BATCH {
            let Some(gp) = shared.gfree_pop(class) else { break };
            free.push_back(gp);
        }
        return free.pop_front();
    }
    if is_default && SCHED.gfree_size.load(Ordering::Relaxed) == 0 {
        return None;
    }
    SCHED.lock().gfree_pop(class)
}

/// Puts an ended goroutine on a free list. On the context after it.
#[inline]
pub(crate) fn free(gp: &'static G, pp: Option<&'static P>) {
    let class = gp.carrier().class();
    let Some(pp) = pp.filter(|_| std::ptr::eq(class, default_class())) else {
        return SCHED.lock().gfree_push(gp, class);
    };
    // SAFETY: we own pp.
    let free = unsafe { &mut *pp.gfree.get() };
    free.push_front(gp);
    if free.len() >= KEEP {
        flush(free, class, BATCH);
    }
}

/// Gives goroutines of a P's free list to all, until `keep` are left.
#[cold]
pub(crate) fn flush(free: &mut crate::g::GList, class: &'static Class, keep: usize) {
    let mut shared = SCHED.lock();
    while free.len() > keep {
        let Some(gp) = free.pop_front() else { return };
        shared.gfree_push(gp, class);
    }
}

impl Shared {
    fn gfree_pop(&mut self, class: &'static Class) -> Option<&'static G> {
        let list = &mut self.gfree[class.index()];
        let gp = list.pop_front()?;
        if std::ptr::eq(class, default_class()) {
            SCHED.gfree_size.store(list.len(), Ordering::Relaxed);
        }
        Some(gp)
    }

    /// An ended goroutine whose stack the scavenger has not done: those are in front.
    pub(crate) fn gfree_pop_dirty(&mut self, class: &'static Class) -> Option<&'static G> {
        let first = self.gfree[class.index()].first()?;
        (first.created_ns.get() != 0).then(|| self.gfree_pop(class))?
    }

    /// Puts one whose stack is done behind the others.
    pub(crate) fn gfree_append(&mut self, gp: &'static G, class: &'static Class) {
        let list = &mut self.gfree[class.index()];
        list.push_back(gp);
        SCHED.gfree_size.store(list.len(), Ordering::Relaxed);
    }

    pub(crate) fn gfree_push(&mut self, gp: &'static G, class: &'static Class) {
        let list = &mut self.gfree[class.index()];
        list.push_front(gp);
        if std::ptr::eq(class, default_class()) {
            SCHED.gfree_size.store(list.len(), Ordering::Relaxed);
            super::scavenge::soil();
        }
    }
}
