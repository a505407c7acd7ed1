//! `go`: making a goroutine, and giving it a stack.
//!
//! Next: `p/runq.rs`, then `run.rs`.
//!
//! `go` makes a task (`g/task.rs`) and queues it. Its stack comes with its first run: from the free
//! list of the P that runs it, where the goroutine that has just ended left one, still warm; else
//! from the global free list; else g0 makes some. Where the caller wants to be told that there is
//! no memory for a stack (`thread::Builder`), or wants another size, it gets its stack at once.
//!
//! Making a carrier allocates (in libc), so it is not done in a section, but on g0.

use super::{SCHED, Shared, current_p, ready, wake};
use crate::base::{fatal, sys};
use crate::g::status::State;
use crate::g::task::{Runnable, Task};
use crate::g::{G, current};
use crate::m::M;
use crate::m::lease::Reclaimed;
use crate::p::free::FreeList;
use crate::p::{P, wanted};
use goroutines_switch::Class;
use std::io;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

/// Goroutines a P keeps for itself before it gives half of them to all.
const KEEP: usize = 64;
const BATCH: usize = 32;

/// Ids a P takes at a time.
const GOIDS: u64 = 16;

/// The class of stacks used where nothing else is asked for.
pub(crate) fn default_class() -> &'static Class {
    // SAFETY: set at start to one of the static classes.
    match unsafe { SCHED.stack_class.load(Ordering::Relaxed).as_ref() } {
        Some(class) => class,
        None => fatal::throw!("go before the runtime was started"),
    }
}

/// Queues a goroutine, whose reference to the task is the caller's until now.
///
/// # Safety
/// * The task's class is the default one, and it is in no queue.
#[inline]
pub(crate) unsafe fn spawn(task: *const Task) {
    let section = current::enter();
    // SAFETY: alive, as we have a reference.
    begin(unsafe { &*task }, section.g());
    // SAFETY: the goroutine's reference.
    ready::enqueue(unsafe { Runnable::of_task(task) });
    ready::announce(false);
}

/// A task that was made beforehand, ready to be queued now.
///
/// # Safety
/// * The goroutine's reference is the caller's, and passes on. The class is the default one.
pub(crate) unsafe fn ripe(task: *const Task) -> Runnable {
    // SAFETY: alive, as the caller has a reference, which passes on.
    unsafe {
        begin(&*task, None);
        Runnable::of_task(task)
    }
}

/// Queues a goroutine with a stack of its task's class.
///
/// # Errors
/// Where no carrier can be made. The caller keeps the reference.
///
/// # Safety
/// * As for [`spawn`], but for the class.
pub(crate) unsafe fn spawn_with_stack(task: *const Task) -> io::Result<()> {
    // SAFETY: alive, as the caller has a reference.
    let class = unsafe { (*task).class };
    let mut section = current::enter();
    let gp = match free_one(class) {
        Some(gp) if !gp.carrier().needs_cleaning() => gp,
        found => {
            drop(section);
            let gp = match found {
                Some(gp) => {
                    // SAFETY: of a free list: nothing runs on it.
                    unsafe { gp.carrier().clean() };
                    gp
                }
                None => G::of(class.make()?),
            };
            section = current::enter();
            gp
        }
    };
    // SAFETY: as above; gp is ours.
    unsafe {
        begin(&*task, section.g());
        join_up(gp, task);
    }
    ready::enqueue(Runnable::of_g(gp));
    wake::wakep();
    Ok(())
}

/// Fills in what a goroutine is known by.
#[inline]
fn begin(task: &Task, creator: Option<&'static G>) {
    let pp = current_p();
    if task.id() == 0 {
        task.goid.store(next_goid(pp), Ordering::Relaxed);
    }
    task.creator.set(creator.map_or(0, G::id));
    let now = if pp.is_some() { SCHED.clock.now() } else { sys::coarse_nanotime() };
    task.created_ns.set(now);
    task.float.set(goroutines_switch::float_words());
    if task.is_system {
        return;
    }
    super::trial::inherit(task, creator);
    #[cfg(feature = "intercept")]
    crate::signals::masks::inherit(task, creator);
    match pp {
        Some(pp) => P::bump(&pp.created),
        None => {
            SCHED.created.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Gives a task that is in no queue yet its number, for code that must know it before the goroutine
/// runs.
pub(crate) fn number(task: &Task) -> u64 {
    let _section = current::enter();
    let number = next_goid(current_p());
    task.goid.store(number, Ordering::Relaxed);
    number
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

/// Gives a task its goroutine: a carrier with fresh thread-locals and a first frame.
///
/// # Safety
/// * `gp` is the caller's: from a free list, or new. The task's reference passes to it.
#[inline]
unsafe fn join_up(gp: &'static G, task: *const Task) {
    // SAFETY: nothing runs on the carrier.
    unsafe {
        *gp.context.get() = gp.carrier().prepare(super::run::entry, (*task).float.get());
        gp.goid.store((*task).id(), Ordering::Relaxed);
    }
    gp.nopreempt.store(1, Ordering::Relaxed);
    gp.pending.store(0, Ordering::Relaxed);
    gp.locks.set(0);
    gp.blocking.set(0);
    gp.is_last.set(false);
    #[cfg(feature = "intercept")]
    {
        gp.traces.set(false);
        gp.is_pinned.set(false);
        gp.name.clear();
        gp.cpu_ns.set(0);
    }
    #[cfg(feature = "intercept")]
    // SAFETY: alive, as the caller has its reference.
    crate::signals::masks::attach(gp, unsafe { &*task });
    gp.haste.reset();
    gp.is_soiled.set(true);
    gp.task.set(task);
    gp.status.set(State::Runnable);
}

/// Gives a task a goroutine of this P's free list, if there is one. In a section.
///
/// # Safety
/// * The caller owns `pp`, and the task's reference, which passes on with success.
#[inline]
pub(crate) unsafe fn attach_local(pp: &'static P, task: *const Task) -> Option<&'static G> {
    // SAFETY: we own pp.
    let free = unsafe { &mut *pp.gfree.get() };
    let gp = free.pop()?;
    if gp.carrier().needs_cleaning() {
        free.push(gp);
        return None; // On g0: it calls `free` (SC4).
    }
    // SAFETY: from a free list.
    unsafe { join_up(gp, task) };
    Some(gp)
}

/// Gives a task a goroutine, made if need be. None if there is no memory for one now, or the P was
/// lost meanwhile: the task is queued again then. On g0.
///
/// # Safety
/// * The task's reference is the caller's, and passes on.
pub(crate) unsafe fn attach(mp: &'static M, task: *const Task) -> Option<&'static G> {
    // SAFETY: alive.
    let class = unsafe { (*task).class };
    let found = free_one(class);
    if let Some(gp) = found.filter(|gp| !gp.carrier().needs_cleaning()) {
        // SAFETY: from a free list.
        unsafe { join_up(gp, task) };
        return Some(gp);
    }
    // Where an account of all goroutines finds it meanwhile.
    // SAFETY: the reference passes to the stash, and back or on to the queue.
    mp.stash.set(Some(unsafe { Runnable::of_task(task) }));
    let made = make_one(mp, class, found);
    let one = mp.stash.take()?;
    match made {
        Ok(gp) if mp.p().is_some() => {
            // SAFETY: new.
            unsafe { join_up(gp, task) };
            return Some(gp);
        }
        Ok(gp) => SCHED.lock().gfree_push(gp, class),
        Err(_) => {
            starve(one);
            return None;
        }
    }
    SCHED.lock().runq_push(one);
    wake::wakep();
    None
}

/// Makes a carrier, or cleans one that was found. On g0.
///
/// It allocates, from libc's allocator, whose locks are held by running threads only (PR4): the P
/// is kept meanwhile. Where the program brings its own `malloc`, a descheduled goroutine may hold
/// its locks: then the P is there to be taken, as in a system call.
#[cold]
fn make_one(
    mp: &'static M,
    class: &'static Class,
    found: Option<&'static G>,
) -> io::Result<&'static G> {
    let make = || match found {
        Some(gp) => {
            // SAFETY: of a free list: nothing runs on it.
            unsafe { gp.carrier().clean() };
            Ok(gp)
        }
        None => class.make().map(G::of),
    };
    if !goroutines_switch::thread_pointer::facts().malloc_in_program() {
        return make();
    }
    // A goroutine that this `malloc` wakes, as its lock is free again, goes to the global queue:
    // this P may be another M's by then.
    let own = mp.p.swap(null_mut(), Ordering::Relaxed);
    // SAFETY: null, or one of the static Ps.
    if let Some(pp) = unsafe { own.as_ref() } {
        mp.syscalltick
            .store(mp.syscalltick.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        mp.lease.enter_syscall(pp.id);
    }
    let made = make();
    match mp.lease.reclaim() {
        Reclaimed::Kept => mp.p.store(own, Ordering::Relaxed),
        Reclaimed::Lost => mp.oldp.set(own),
    }
    made
}

/// There is no memory for a stack: the goroutine waits, off the queues, for one that ends and
/// leaves its own, or for the monitor, which tries again from time to time.
#[cold]
fn starve(one: Runnable) {
    SCHED.starved.push(one);
}

/// A stack is free, or there may be memory again: at most `count` of those that wait for a stack
/// are queued. How many still wait.
#[cold]
pub(crate) fn feed(count: usize) -> usize {
    let mut shared = SCHED.lock();
    let left = SCHED.starved.feed(count, |one| shared.runq_push(one));
    drop(shared);
    wake::wakep();
    left
}

/// A goroutine that ended, to be used again. In a section, or on g0.
#[inline]
fn free_one(class: &'static Class) -> Option<&'static G> {
    let is_default = std::ptr::eq(class, default_class());
    if is_default && let Some(pp) = current_p() {
        // SAFETY: we own pp.
        let free = unsafe { &mut *pp.gfree.get() };
        if let Some(gp) = free.pop() {
            return Some(gp);
        }
        if SCHED.gfree_size.load(Ordering::Relaxed) == 0 {
            return None;
        }
        pp.note_free();
        let mut shared = SCHED.lock();
        for _ in 0..BATCH {
            let Some(gp) = shared.gfree_pop(class) else { break };
            free.push_cold(gp);
        }
        return free.pop();
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
    if SCHED.starved.any() {
        SCHED.lock().gfree_push(gp, class);
        feed(1);
        return;
    }
    let Some(pp) = pp.filter(|_| std::ptr::eq(class, default_class())) else {
        return SCHED.lock().gfree_push(gp, class);
    };
    // SAFETY: we own pp.
    let free = unsafe { &mut *pp.gfree.get() };
    free.push(gp);
    pp.note_free();
    super::scavenge::soil();
    if free.len() >= KEEP {
        flush(free, class);
    }
}

/// Gives goroutines of a P's free list to all.
#[cold]
fn flush(free: &mut FreeList, class: &'static Class) {
    let mut shared = SCHED.lock();
    while free.len() > KEEP - BATCH {
        let Some(gp) = free.pop() else { return };
        shared.gfree_push(gp, class);
    }
}

/// Gives the goroutines on the free list of `pp` that were not used since the last call of this to
/// all Ps. The rest is looked at again.
///
/// # Safety
/// * The caller owns `pp`.
pub(crate) unsafe fn give_unused(shared: &mut Shared, pp: &'static P) {
    // SAFETY: caller.
    let free = unsafe { &mut *pp.gfree.get() };
    let mut unused = free.take_unused();
    while let Some(gp) = unused.pop_front() {
        shared.gfree_push(gp, default_class());
    }
    pp.has_free.store(free.len() > 0, Ordering::Relaxed);
    if free.len() > 0 {
        super::scavenge::soil();
    }
}

/// The same, if it was asked for and not done.
///
/// # Safety
/// * The caller owns `pp`.
pub(crate) unsafe fn give_if_wanted(shared: &mut Shared, pp: &'static P) {
    if pp.wanted.load(Ordering::Relaxed) & wanted::UNUSED != 0 {
        pp.wanted.fetch_and(!wanted::UNUSED, Ordering::Relaxed);
        // SAFETY: caller.
        unsafe { give_unused(shared, pp) };
    }
}

impl Shared {
    fn gfree_changed(&self, class: &'static Class) {
        if std::ptr::eq(class, default_class()) {
            SCHED.gfree_size.store(self.gfree[class.index()].len(), Ordering::Relaxed);
        }
    }

    fn gfree_pop(&mut self, class: &'static Class) -> Option<&'static G> {
        let gp = self.gfree[class.index()].pop_front()?;
        self.gfree_changed(class);
        Some(gp)
    }

    pub(crate) fn gfree_push(&mut self, gp: &'static G, class: &'static Class) {
        let free = &mut self.gfree[class.index()];
        // The scavenger stops at the first that needs nothing.
        if gp.is_soiled.get() {
            free.push_front(gp);
            super::scavenge::soil();
        } else {
            free.push_back(gp);
        }
        self.gfree_changed(class);
    }

    /// An ended goroutine whose stack the scavenger has not done: those are in front.
    pub(crate) fn gfree_pop_soiled(&mut self, class: &'static Class) -> Option<&'static G> {
        let first = self.gfree[class.index()].first()?;
        if first.is_soiled.get() { self.gfree_pop(class) } else { None }
    }
}
