//! Watching timers and the poller: which Ms look, and which sleep in front of them.
//!
//! Previous: `find.rs` found nothing at hand. Next: `ready.rs`, with those whose wait is over.
//!
//! A P's own M looks at its timers with each scheduling decision. An M that goes idle looks at all
//! of them, and at the poller; the first to do so sleeps in the poller until the earliest is due
//! (it is the *watcher*), the others sleep on their notes. (Go: `findRunnable`, `pollUntil`.) No
//! timer thread.
//!
//! * WA1: if goroutines wait for descriptors or timers, then a P is busy, or an M is the watcher,
//!   or is about to become it: the M that gives up the watch has a P then, or sees all Ps busy, and
//!   a thread that makes the last P idle without looking itself ([`needs_watcher`]) starts an M
//!   that does.
//! * WA2: all timers have patience until the watcher's time, or an M that sleeps on its note wakes
//!   in time, or a P is busy; then the monitor looks at overdue timers, and at the poller, within a
//!   half to ten milliseconds.
//! * WA3: one M (or the monitor) at a time is in the poller.
//!
//! Differs from Go: an M whose timer is earlier than the watcher's time sleeps by itself until
//! then, rather than waking the watcher to have it go to sleep again; a caller that needs an M and
//! finds none idle takes the watcher, rather than making a thread; an M that leaves the watch with
//! work does not wake another for it, which costs more than most work takes: the monitor sees to it
//! if that work is long; a goroutine that is readied by a thread without a P while all Ps compute
//! goes before those that have used up a slice (`find.rs`).

use super::find::{Candidate, Found};
use super::ready::{pop_waiting, ready_all, ready_first, ready_soon};
use super::{SCHED, find, wake};
use crate::base::line::Line;
use crate::base::sys;
use crate::g::task::{RunList, Runnable};
use crate::m::M;
use crate::netpoll;
use crate::p::P;
use crate::timer::alarm::NEVER;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Nobody is in the poller.
const VACANT: u32 = 0;
/// Somebody has a quick look.
const LOOKING: u32 = 1;
/// The watcher sleeps in it.
const WATCHED: u32 = 2;

/// How often an M that goes from goroutine to goroutine looks at the clock: 10 to 50 µs.
const PASSING_CYCLES: u64 = 50_000;

/// Timers that are run at a time: no more than half of what the ring takes.
const BATCH: usize = 64;

/// An M that sleeps until a timer is due sleeps at least until this long after an M was last woken
/// for a timer: where there are many timers, several are due together. (The kernel gives a thread's
/// sleep as much slack.)
const GAP_NS: u64 = 50_000;
/// The same, if the timers are as patient. (Go's and tokio's sleeps are rounded up to as much. A
/// sleep costs a virtual processor some 30 µs.)
const PATIENT_GAP_NS: u64 = 1_000_000;

/// How long a timer may be overdue before the monitor runs it.
pub(super) const OVERDUE_NS: u64 = 100_000;

/// Whether an M, or the monitor, is in the poller, and as what.
pub(crate) struct Watch {
    state: AtomicU32,
    /// When the watcher wakes by itself.
    until: AtomicU64,
    last_look_ns: AtomicU64,
    /// When an M was last woken for a timer.
    woken_ns: AtomicU64,
    /// All Ps compute, and it is the monitor that looks at the poller. Each read of a TCP stream
    /// looks at this.
    late: Line<AtomicBool>,
    /// An M that has no P has readied somebody, while all Ps compute.
    behind: AtomicBool,
}

impl Watch {
    pub(crate) const fn new() -> Self {
        Self {
            state: AtomicU32::new(VACANT),
            until: AtomicU64::new(NEVER),
            last_look_ns: AtomicU64::new(0),
            woken_ns: AtomicU64::new(0),
            late: Line(AtomicBool::new(false)),
            behind: AtomicBool::new(false),
        }
    }

    fn enter(&self, as_what: u32) -> bool {
        // Acquire: pairs with leave(): one at a time.
        self.state.compare_exchange(VACANT, as_what, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn leave(&self) {
        self.until.store(NEVER, Ordering::SeqCst);
        self.state.store(VACANT, Ordering::SeqCst);
    }

    /// Becomes the watcher; false if there is one.
    fn begin(&self) -> bool {
        loop {
            if self.enter(WATCHED) {
                return true;
            }
            if self.state.load(Ordering::SeqCst) == WATCHED {
                return false;
            }
            // A quick look: it is over in a microsecond, unless its thread is not run.
            sys::os_yield();
        }
    }
}

/// When the earliest timer of all is due.
pub(crate) fn earliest() -> u64 {
    SCHED.procs().iter().map(|pp| pp.timers.next()).min().unwrap_or(NEVER)
}

/// Until when to sleep for timers.
fn sleep_until() -> u64 {
    let earliest = earliest();
    if earliest == NEVER {
        return NEVER;
    }
    let woken = SCHED.watch.woken_ns.load(Ordering::Relaxed);
    let at_least = earliest.max(woken + GAP_NS);
    let all = woken + PATIENT_GAP_NS;
    if at_least >= all {
        return at_least;
    }
    SCHED.procs().iter().fold(all, |until, pp| pp.timers.have_patience(until)).max(at_least)
}

/// Runs the timers of `pp` that are due. On g0, owning `pp`.
///
/// A batch at a time: what ending a wait has touched is still near when the goroutine runs, and the
/// ring takes it. True if there was one.
#[inline]
pub(crate) fn run_timers(pp: &'static P) -> bool {
    let next = pp.timers.next();
    next != NEVER && run_timers_at(pp, next)
}

/// The same, where it need not be to the microsecond: between two goroutines.
#[inline]
pub(crate) fn run_timers_in_passing(pp: &'static P) {
    let next = pp.timers.next();
    if next == NEVER {
        return;
    }
    if is_time_to_look(pp) {
        pp.timers_at.set(sys::cycles() + PASSING_CYCLES);
        run_timers_at(pp, next);
    }
}

/// Whether [`run_timers_in_passing`] would run one. In a section, owning `pp`.
#[inline]
pub(crate) fn are_timers_due(pp: &'static P) -> bool {
    #[inline(never)]
    fn look(pp: &'static P, next: u64) -> bool {
        let are_due = next <= sys::nanotime();
        if !are_due {
            pp.timers_at.set(sys::cycles() + PASSING_CYCLES);
        }
        are_due
    }
    let next = pp.timers.next();
    next != NEVER && is_time_to_look(pp) && look(pp, next)
}

/// Not yet; but a counter that was set back (of a virtual machine that has moved) is not waited
/// for.
#[inline]
fn is_time_to_look(pp: &P) -> bool {
    pp.timers_at.get().wrapping_sub(sys::cycles()).wrapping_sub(1) >= PASSING_CYCLES
}

#[inline(never)]
fn run_timers_at(pp: &'static P, next: u64) -> bool {
    let now = sys::nanotime();
    if next > now {
        return false;
    }
    let mut due = RunList::new();
    pp.timers.expire(now, BATCH, &mut due);
    ready_soon(&mut due);
    true
}

/// There is something to run on `pp` before its M would look at timers as an idle one: the monitor
/// is to know of one set just now.
#[inline]
pub(crate) fn announce(pp: &'static P) {
    if pp.new_timer.get() {
        pp.new_timer.set(false);
        SCHED.sysmon.work_waits();
    }
}

/// Runs what is due of another P's timers: the first to be run at once, the rest go to our queue.
/// On g0.
pub(super) fn run_timers_of(victim: &'static P) -> Option<Runnable> {
    let next = victim.timers.next();
    if next == NEVER {
        return None;
    }
    let now = sys::nanotime();
    if next > now {
        return None;
    }
    let mut due = RunList::new();
    victim.timers.expire(now, BATCH, &mut due);
    let first = pop_waiting(&mut due);
    ready_all(&mut due);
    first
}

/// A quick look at the poller, if anybody waits there and nobody else looks. On g0, or by the
/// monitor.
pub(crate) fn look(out: &mut RunList) {
    let watch = &SCHED.watch;
    if netpoll::waiters() > 0 && watch.enter(LOOKING) {
        netpoll::poll(Some(0), || {}, out);
        watch.last_look_ns.store(sys::coarse_nanotime(), Ordering::Relaxed);
        watch.leave();
    }
}

/// What a quick look at the poller brings: the first to be run at once. On g0, with a P.
pub(crate) fn try_poller() -> Option<Candidate> {
    let mut list = RunList::new();
    look(&mut list);
    let first = pop_waiting(&mut list)?;
    ready_soon(&mut list);
    Some(Candidate { one: first, inherits: false })
}

/// Sleeps until there is work, as the watcher or on the note. On g0, without a P, after a last look
/// at the queues.
pub(crate) fn sleep(mp: &'static M) -> Found {
    let next = sleep_until();
    if next != NEVER && next <= sys::nanotime() {
        if take_idle_p(mp) {
            return Found::Again;
        }
    } else if (next != NEVER || netpoll::waiters() > 0) && SCHED.watch.begin() {
        return keep_watch(mp, next);
    }
    // WA2. (The watcher may be about to leave: then it has a P, and looks again.)
    let until = if next < SCHED.watch.until.load(Ordering::SeqCst) { next } else { NEVER };
    match wake::stopm(mp, until) {
        wake::Stop::Given => Found::Again,
        wake::Stop::End => Found::End,
        wake::Stop::Time => {
            SCHED.watch.woken_ns.store(sys::nanotime(), Ordering::Relaxed);
            // If all Ps are busy, the timer's own is.
            take_idle_p(mp);
            Found::Again
        }
    }
}

fn take_idle_p(mp: &'static M) -> bool {
    let mut shared = SCHED.lock();
    if wake::is_wanted(&mut shared, mp) {
        return true;
    }
    if SCHED.is_stopping() {
        return false;
    }
    let Some(pp) = wake::get_idle(&mut shared, Some(mp.oldp.get())) else { return false };
    drop(shared);
    wake::acquire_p(mp, pp);
    true
}

/// The watcher's sleep.
fn keep_watch(mp: &'static M, next: u64) -> Found {
    let watch = &SCHED.watch;
    let mut shared = SCHED.lock();
    if wake::is_wanted(&mut shared, mp) {
        watch.leave();
        return Found::Again;
    }
    shared.polling = mp.as_ptr();
    drop(shared);
    watch.until.store(next, Ordering::SeqCst);
    let mut list = RunList::new();
    let timeout = (next != NEVER).then(|| next.saturating_sub(sys::nanotime()));
    // A timer that was set while `until` was not known yet: the M that set it goes idle later, and
    // sleeps by itself. `awake` is called before those that poll() wakes stop being waiters: or all
    // would seem asleep (`deadlock.rs`).
    let awake = || watch.state.store(LOOKING, Ordering::SeqCst);
    netpoll::poll(timeout, awake, &mut list);
    watch.last_look_ns.store(sys::coarse_nanotime(), Ordering::Relaxed);
    let mut shared = SCHED.lock();
    // A thread that takes the watcher for a P that needs an M clears `polling`; the next watcher,
    // which sets it, comes only after this one has left.
    let ours = std::ptr::eq(shared.polling, mp);
    shared.polling = null_mut();
    watch.leave();
    if ours {
        let wanted = Some(mp.oldp.get());
        let found = if SCHED.is_stopping() { None } else { wake::get_idle(&mut shared, wanted) };
        drop(shared);
        if let Some(pp) = found {
            wake::acquire_p(mp, pp);
        }
    } else {
        // Somebody needed an M, and has given it a P.
        drop(shared);
        while !mp.note.sleep(None) {}
        wake::take_nextp(mp);
    }
    let Some(own) = mp.p() else {
        if !list.is_empty() && ready_by_other(&mut list) {
            SCHED.watch.behind.store(true, Ordering::Relaxed);
            SCHED.sysmon.work_waits();
        }
        return Found::Again;
    };
    // All Ps' timers: those of idle ones have nobody else.
    if next != NEVER {
        let now = sys::nanotime();
        for pp in SCHED.procs().iter().filter(|pp| pp.timers.next() <= now) {
            watch.woken_ns.store(now, Ordering::Relaxed);
            let most = if std::ptr::eq(pp, own) { BATCH } else { usize::MAX };
            pp.timers.expire(now, most, &mut list);
        }
    }
    match pop_waiting(&mut list) {
        Some(first) => {
            ready_soon(&mut list);
            announce(own);
            Found::Work(find::Candidate { one: first, inherits: false })
        }
        None => Found::Again,
    }
}

/// Whether an idle P with the earliest timer `next` has nobody to watch for it (WA1).
pub(crate) fn needs_watcher(next: u64) -> bool {
    let watch = &SCHED.watch;
    (next != NEVER || netpoll::waiters() > 0)
        && (watch.state.load(Ordering::SeqCst) != WATCHED
            || watch.until.load(Ordering::SeqCst) > next)
}

/// Whether the watcher sleeps. To be asked after [`anybody_waits`].
pub(crate) fn is_asleep() -> bool {
    SCHED.watch.state.load(Ordering::SeqCst) == WATCHED
}

/// Whether edges are seen late, as all Ps compute: a goroutine that wants to read had better try
/// than wait for one.
#[cfg(feature = "intercept")]
#[inline]
pub(crate) fn is_late() -> bool {
    SCHED.watch.late.load(Ordering::Relaxed)
}

/// What the monitor says of that.
pub(super) fn set_late(late: bool) {
    if SCHED.watch.late.load(Ordering::Relaxed) != late {
        SCHED.watch.late.store(late, Ordering::Relaxed);
    }
}

/// Whether any goroutine may still be woken by a descriptor or a timer.
pub(crate) fn anybody_waits() -> bool {
    netpoll::waiters() > 0 || SCHED.procs().iter().any(|pp| pp.timers.any())
}

/// What the monitor does: looks at the poller if nobody has for `patience_ns`, and runs overdue
/// timers. Whether anybody was readied while all Ps compute, since it looked before.
pub(crate) fn monitor(now: u64, patience_ns: u64) -> bool {
    let mut list = RunList::new();
    for pp in SCHED.procs() {
        let tick = pp.schedtick.load(Ordering::Relaxed);
        let is_stuck = pp.seen_tick.replace(tick) == tick;
        // An M that goes from goroutine to goroutine looks itself.
        if is_stuck && !pp.is_empty() {
            wake::wakep();
        }
        if is_stuck && pp.timers.next() <= now.saturating_sub(OVERDUE_NS) {
            pp.timers.expire(now, usize::MAX, &mut list);
        }
    }
    let last = SCHED.watch.last_look_ns.load(Ordering::Relaxed);
    if netpoll::waiters() > 0 && last.saturating_add(patience_ns) <= now {
        look(&mut list);
    }
    !list.is_empty() && ready_by_other(&mut list)
        || SCHED.watch.behind.swap(false, Ordering::Relaxed)
}

/// Readies those whose waits have ended, without a P; where all Ps compute, they go first. Whether
/// they do.
fn ready_by_other(list: &mut RunList) -> bool {
    let all_compute = SCHED.idle.procs.load(Ordering::Relaxed) == 0;
    if all_compute {
        ready_first(list);
    } else {
        ready_all(list);
    }
    all_compute
}
