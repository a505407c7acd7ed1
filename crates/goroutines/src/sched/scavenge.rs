//! The scavenger: gives the pages of idle stacks back to the kernel, and other memory that lies
//! idle.
//!
//! This is what garbage collection is to Go's scheduler: a background goroutine of the runtime's
//! own, run when there is something to collect and scheduled like any other. A burst of deep
//! goroutines leaves stacks with many pages touched on the free list; a second later they are down
//! to the page that holds their thread block.

use super::{SCHED, go, park, preempt, ready};
use crate::g::reason::WaitReason;
use crate::g::task::Task;
use crate::g::{G, GList, current};
use crate::p::{MAX_PROCS, PStatus, memory, wanted};
use goroutines_switch::Class;
use std::panic::Location;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::time::Duration;

/// How long stacks lie on the free list before their pages go.
const REST_NS: u64 = 1_000_000_000;
/// How many are done between two yields.
const BATCH: usize = 32;

/// The scavenger, while it waits for work.
static WAITING: AtomicPtr<G> = AtomicPtr::new(std::ptr::null_mut());
/// When to look next; 0: there is nothing.
static DUE_NS: AtomicU64 = AtomicU64::new(0);
/// [`soil`] was called since the scavenger was last due.
static DIRTY: AtomicBool = AtomicBool::new(false);

/// A stack was put on the free list, or other memory is no longer used.
pub(crate) fn soil() {
    if !DIRTY.load(Ordering::Relaxed) {
        DIRTY.store(true, Ordering::Relaxed);
    }
}

/// Whether the scavenger is to run.
pub(crate) fn due(now: u64) -> bool {
    let due = DUE_NS.load(Ordering::Relaxed);
    if due == 0 {
        if DIRTY.load(Ordering::Relaxed) && DIRTY.swap(false, Ordering::Relaxed) {
            DUE_NS.store(now + REST_NS, Ordering::Relaxed);
        }
        return false;
    }
    now >= due
}

/// How long until there is something to do; none if there is nothing.
pub(crate) fn next_in(now: u64) -> Option<Duration> {
    if due(now) {
        return Some(Duration::from_millis(1));
    }
    match DUE_NS.load(Ordering::Relaxed) {
        0 => None,
        due => Some(Duration::from_nanos(due.saturating_sub(now).max(1_000_000))),
    }
}

/// The scavenger's task: made on the monitor's thread, which may not allocate.
static TASK: OnceLock<Task> = OnceLock::new();

/// Readies the scavenger; makes it the first time. On the monitor's thread.
pub(crate) fn wake() {
    unsafe fn nothing(_: *const Task) {}
    unsafe fn main(_: *const Task) {
        run();
    }
    DUE_NS.store(0, Ordering::Relaxed);
    if TASK.get().is_none() {
        let made = Task::new(go::default_class(), Location::caller(), true, main, nothing);
        let task = TASK.get_or_init(|| made);
        // SAFETY: a task that is never freed, in no queue.
        unsafe { go::spawn(task) };
    }
    // SAFETY: null, or the scavenger, which waits.
    if let Some(gp) = unsafe { WAITING.swap(std::ptr::null_mut(), Ordering::AcqRel).as_ref() } {
        ready::ready(gp);
    }
}

fn run() {
    loop {
        ask_for_unused();
        for class in Class::all() {
            while sweep(class) {
                let section = current::enter();
                if let Some(gp) = section.g() {
                    park::yield_now(gp);
                }
            }
        }
        if memory::trim() {
            soil();
        }
        let surplus = {
            let _section = current::enter();
            SCHED.lock().runq.take_surplus()
        };
        drop(surplus);
        let section = current::enter();
        if let Some(gp) = section.g() {
            park::park(gp, WaitReason::Scavenger, || {
                WAITING.store(gp.as_ptr(), Ordering::Release);
                true
            });
        }
    }
}

/// What lies unused on the free lists of Ps is to come to the list that all share. From idle Ps,
/// and the caller's, it comes at once; other Ps see to it before they run the next goroutine or
/// become idle. There is another look at them, which asks a P whose goroutine goes on and on to end
/// the slice. (A P on its way from the idle list to an M is one of the others.)
fn ask_for_unused() {
    let section = current::enter();
    let mut shared = SCHED.lock();
    // The Ps that have been asked before, by number.
    let mut late = [0u64; MAX_PROCS / 64];
    for pp in SCHED.procs().iter().filter(|pp| pp.status() != PStatus::Dead) {
        if pp.has_free.load(Ordering::Relaxed)
            && pp.wanted.fetch_or(wanted::UNUSED, Ordering::Relaxed) & wanted::UNUSED != 0
        {
            late[pp.id as usize / 64] |= 1 << (pp.id % 64);
        }
    }
    if let Some(pp) = section.g().and_then(|gp| gp.m().p()) {
        // SAFETY: the P that the caller runs on, in a section.
        unsafe { go::give_if_wanted(&mut shared, pp) };
    }
    let mut at = shared.pidle;
    // SAFETY: the list is of static Ps, owned by the holder of the scheduler lock.
    while let Some(pp) = unsafe { at.as_ref() } {
        // SAFETY: as above.
        unsafe { go::give_if_wanted(&mut shared, pp) };
        at = pp.link.load(Ordering::Relaxed);
    }
    drop(shared);
    for pp in SCHED.procs() {
        if pp.wanted.load(Ordering::Relaxed) & wanted::UNUSED == 0 {
            continue;
        }
        // SAFETY: null, or an M, which is never freed.
        let mp = unsafe { pp.m.load(Ordering::Acquire).as_ref() };
        if mp.is_some_and(|mp| mp.lease.in_syscall()) {
            continue; // the monitor takes the P away if that lasts
        }
        soil();
        let is_late = late[pp.id as usize / 64] & 1 << (pp.id % 64) != 0;
        if let Some(mp) = mp.filter(|_| is_late) {
            preempt::ask(mp, pp.schedtick.load(Ordering::Relaxed));
        }
    }
}

/// Takes some stacks of a class from the free list, drops their pages, and puts them back behind
/// the others. False when all have been seen.
fn sweep(class: &'static Class) -> bool {
    let mut batch = GList::new();
    let section = current::enter();
    {
        let mut shared = SCHED.lock();
        for _ in 0..BATCH {
            let Some(gp) = shared.gfree_pop_soiled(class) else { break };
            batch.push_back(gp);
        }
    }
    drop(section);
    let found = !batch.is_empty();
    let mut clean = GList::new();
    while let Some(gp) = batch.pop_front() {
        let carrier = gp.carrier();
        // SAFETY: taken from the free list: nothing runs on it, and its frames are dead.
        unsafe { carrier.drop_pages(carrier.stack().end) };
        gp.is_soiled.set(false);
        clean.push_back(gp);
    }
    let _section = current::enter();
    let mut shared = SCHED.lock();
    while let Some(gp) = clean.pop_front() {
        shared.gfree_push(gp, class);
    }
    drop(shared);
    found
}
