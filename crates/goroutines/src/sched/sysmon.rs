//! The monitor: a thread without a P that watches those which have one. (Go: `sysmon`, `retake`.)
//!
//! What it does: ends time slices; takes the Ps of goroutines that block, announced or not; stops
//! goroutines that burn CPU without a P; makes threads for Ps that have none; wakes the scavenger.
//!
//! **How often it looks.** A look costs about a microsecond per busy P, and a wake-up five. Where
//! an announced call has just begun, or is expected: 20 µs. Where goroutines are queued beside an
//! idle P: 50 µs, every other time. While goroutines wait for a P: 0.5 ms (so a slice of 10 ms ends
//! within 11; Go, which backs off to 10 ms and must look twice, takes up to 40). Else 10 ms; a
//! thread that makes a goroutine wait ends that sleep. While all Ps are idle: not at all, and the
//! first P that is busy wakes it; but every 1 to 4 ms where Ps have become busy between two looks,
//! as that wake-up costs as much as what most of them do.
//!
//! What is done about an M that was looked at is in `sysmon/retake.rs`, making threads in
//! `sysmon/threads.rs`.

pub(super) mod maker;
pub(super) mod onlooker;
mod retake;
mod threads;

#[cfg(feature = "intercept")]
pub(super) use retake::taken;
pub(super) use retake::{left_without_p, take};

use super::{SCHED, deadlock, preempt, quit, scavenge, watch};
use crate::base::sys::{self, Note};
use crate::base::{fatal, limits};
use crate::g::task::{Kind, RunList};
use crate::m::{M, Seen};
use crate::netpoll;
use crate::p::{P, PStatus};
use crate::timer::alarm::NEVER;
use retake::{Detached, look_at_queued, look_at_running, look_at_syscall};
use std::ffi::c_void;
use std::io;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const FAST_NS: u64 = 20_000;
/// Looks until a new thread has come to its goroutine's call.
const EXPECTING: u32 = 16;
const LOOK_NS: u64 = 500_000;
const SLOW_NS: u64 = 10_000_000;
/// A goroutine that is queued while a P is idle is looked at again so soon.
const AGAIN_NS: u64 = 50_000;
/// A goroutine whose slice has lasted this long lets those that it wakes go first, where they may
/// have waited for it.
pub(super) const SHARE_NS: u64 = 1_000_000;
/// While all Ps compute and somebody's wait for a timer or a descriptor has ended, slices are that
/// share: for so long. (The kernel lets a thread that wakes go before one that computes, too.)
const URGENT_NS: u64 = 5_000_000;
/// How soon to ask again a goroutine that was met inside libc, and how often before its P is taken.
const LIBC_NS: u64 = 100_000;
const LIBC_TRIES: u32 = 5;
/// A P that waits for nobody leaves a blocked goroutine after this long.
const IDLE_RETAKE_NS: u64 = 10_000_000;
/// How often to try again where there was no memory for a stack, and for how long.
const FEED_NS: u64 = 100_000_000;
const STARVE_NS: u64 = 10_000_000_000;
/// How long it sleeps where all Ps are idle at each look, and busy in between: at first, and at
/// most.
const DOZE_NS: u64 = 1_000_000;
const LONGEST_DOZE_NS: u64 = 4_000_000;
/// How long between two slices of a round of verifying registrations.
const SWEEP_PAUSE: Duration = Duration::from_millis(1);
/// How long the onlooker has for its answers to a look's questions.
const PATIENCE_NS: u64 = 200_000;
/// How long to look often after something happened.
const ALERT_NS: u64 = 10_000_000;
/// An M that is on its way to sleep is there within a few microseconds, unless its thread is not
/// run.
const SETTLE_NS: u64 = 2_000_000;
/// While all is idle but something must still be looked at (goroutines blocked without their P,
/// threads outside the runtime that may end a deadlock or leave one): so often.
const DROWSY: Duration = Duration::from_millis(500);
const FIRST_DROWSE: Duration = Duration::from_millis(10);

/// How others reach the monitor.
pub(crate) struct Wake {
    note: Note,
    /// It sleeps until woken. Written under the scheduler lock.
    deep: AtomicBool,
    /// It sleeps 10 ms, since nobody waits for a P.
    slow: AtomicBool,
    /// It sleeps for some milliseconds, since all Ps were idle.
    dozes: AtomicBool,
}

impl Wake {
    pub(crate) const fn new() -> Self {
        let [deep, slow, dozes] = [const { AtomicBool::new(false) }; 3];
        Self { note: Note::new(), deep, slow, dozes }
    }

    /// A goroutine waits, and no M was woken for it: its P may be in need of the monitor.
    #[inline]
    pub(crate) fn work_waits(&self) {
        if self.slow.load(Ordering::Relaxed) {
            self.hurry();
        }
    }

    #[cold]
    fn hurry(&self) {
        let slow = self.slow.swap(false, Ordering::Relaxed);
        if self.dozes.swap(false, Ordering::Relaxed) || slow {
            self.note.wake();
        }
    }

    /// An announced call begins.
    #[inline]
    pub(crate) fn syscall_begins(&self) {
        if (self.slow.load(Ordering::Relaxed) || self.dozes.load(Ordering::Relaxed))
            && (SCHED.runq_size.load(Ordering::Relaxed) > 0
                || super::current_p().is_some_and(|pp| !pp.is_empty()))
        {
            self.hurry();
        }
    }

    /// A P is not idle any more. Under the scheduler lock.
    pub(crate) fn wake_from_deep_sleep(&self) {
        if self.deep.load(Ordering::Relaxed) && self.deep.swap(false, Ordering::Relaxed) {
            SCHED.clock.refresh();
            self.note.wake();
        }
    }

    /// A P waits for a thread.
    pub(crate) fn make_thread(&self) {
        self.note.wake();
    }

    /// There is something to look at.
    pub(crate) fn nudge(&self) {
        self.note.wake();
    }
}

/// Starts the monitor's thread.
///
/// # Errors
/// The system's.
pub(crate) fn start() -> io::Result<()> {
    SCHED.clock.refresh();
    if maker::is_used() {
        maker::start()?;
    }
    crate::m::thread::start_helper(main)?;
    // (Later no thread might make it: it is the monitor that wants it, and the monitor may not make
    // threads.)
    onlooker::settle();
    Ok(())
}

extern "C" fn main(_: *mut c_void) -> *mut c_void {
    crate::m::thread::become_helper(c"sysmon");
    // SAFETY: no memory is involved. The kernel adds 50 µs to each of our sleeps otherwise.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    let mut monitor = Monitor {
        delay_ns: LOOK_NS,
        fast_rounds: 0,
        expecting: 0,
        alert_until_ns: 0,
        spare: null_mut(),
        room: 0,
        retry: false,
        threadless_since_ns: None,
        drowse: FIRST_DROWSE,
        starving_since_ns: None,
        next_feed_ns: 0,
        settling_since_ns: None,
        starts: 0,
        doze_ns: DOZE_NS,
        next_sweep_ns: 0,
        next_sweep_all_ns: 0,
        urgent_until_ns: 0,
        late_until_ns: 0,
        sweep_soon: false,
        sweep: None,
        detached: Detached::new(),
        again: false,
    };
    loop {
        monitor.round();
    }
}

/// What the monitor remembers between looks.
struct Monitor {
    delay_ns: u64,
    fast_rounds: u32,
    /// For so many looks another announced call is expected.
    expecting: u32,
    alert_until_ns: u64,
    /// Memory for Ms to come.
    spare: *mut M,
    room: usize,
    /// A thread could not be made: try again soon.
    retry: bool,
    /// Since when there is no M at all, as no thread can be made.
    threadless_since_ns: Option<u64>,
    /// How long the next drowsy sleep is.
    drowse: Duration,
    /// Since when goroutines wait for stacks while none ends, and how many had ended then.
    starving_since_ns: Option<(u64, u64)>,
    next_feed_ns: u64,
    /// Since when all Ps that wait for a thread wait for Ms that settle, and how often a P had
    /// become busy then.
    settling_since_ns: Option<(u64, u64)>,
    /// How often a P had become busy at the look before.
    starts: u64,
    /// How long the next doze is.
    doze_ns: u64,
    /// When registrations are to be verified, and when all of them.
    next_sweep_ns: u64,
    next_sweep_all_ns: u64,
    /// Until then slices are short.
    urgent_until_ns: u64,
    /// Until then edges are seen late.
    late_until_ns: u64,
    /// Some were not verified yet.
    sweep_soon: bool,
    /// The round that goes on.
    sweep: Option<netpoll::Sweep>,
    /// Ms without a P.
    detached: Detached,
    /// This look is to see whether what was queued on a P in the one before still is.
    again: bool,
}

/// How the monitor may rest.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// Not for longer than it wanted to.
    Busy,
    /// All Ps are idle now and then.
    Doze,
    /// It has slept, as all Ps were idle.
    Deep,
}

/// What a look found.
#[derive(Default)]
struct Look {
    /// A P is busy.
    busy: bool,
    /// Something was taken, preempted or made.
    acted: bool,
    /// An announced call was seen for the first time or is to be taken soon.
    syscall: bool,
    /// A P was taken from an announced call, or given a new thread: the goroutine that comes next
    /// may well block too.
    taken: bool,
    /// Goroutines wait for a P.
    waiting: bool,
    /// A slice goes on that was seen before.
    stuck: bool,
    /// A goroutine that waited for a timer or a descriptor is behind those that compute.
    urgent: bool,
    /// A goroutine was met inside libc.
    in_libc: bool,
    /// The onlooker was asked about some M.
    asked: bool,
    /// The kernel does not run the thread of an announced call.
    off_cpu: bool,
    /// Goroutines are queued while a P is idle.
    queued: bool,
    /// The first slice to end.
    next_end_ns: Option<u64>,
}

/// Whether any goroutine that waits for a stack is not the runtime's own.
fn are_users_starved() -> bool {
    let mut any = false;
    SCHED.starved.each(|one| {
        // SAFETY: a task in the list is alive.
        any |= !matches!(one.kind(), Kind::Task(task) if unsafe { (*task).is_system });
    });
    any
}

impl Look {
    /// A slice that began at `since_ns` will end.
    fn slice_ends(&mut self, since_ns: u64) {
        let end = since_ns + SCHED.slice_ns.load(Ordering::Relaxed);
        self.next_end_ns = Some(self.next_end_ns.map_or(end, |other| other.min(end)));
    }
}

impl Monitor {
    fn round(&mut self) {
        self.sleep();
        let made = self.make_threads();
        let now = sys::nanotime();
        SCHED.clock.set(now);
        self.feed_starved(now);
        let urgent = now < self.urgent_until_ns;
        let mut look = Look { urgent, taken: made, ..Look::default() };
        for pp in SCHED.procs() {
            self.look_at(pp, now, &mut look);
        }
        if look.asked {
            look_again(now, &mut look);
        }
        self.detached.look(now, look.waiting);
        self.watch(now, look.stuck);
        #[cfg(feature = "intercept")]
        {
            crate::intercept::semaphore::posted_in_handlers();
            crate::signals::post::attend();
        }
        preempt::keep(now);
        quit::attend();
        if scavenge::due(now) {
            scavenge::wake();
        }
        self.set_delay(now, &look);
    }

    /// Timers, the poller, and the registrations there.
    fn watch(&mut self, now: u64, stuck: bool) {
        let all_busy = SCHED.idle.procs.load(Ordering::Relaxed) == 0;
        if watch::monitor(now, if all_busy { LOOK_NS } else { SLOW_NS }) {
            self.urgent_until_ns = now + URGENT_NS;
            self.alert_until_ns = now + ALERT_NS;
        }
        // (Not where all go from goroutine to goroutine: they look at the poller themselves.)
        if stuck && now < self.urgent_until_ns {
            self.late_until_ns = now + URGENT_NS;
        }
        watch::set_late(now < self.late_until_ns);
        self.sweep(now);
    }

    /// Verifies registrations: a slice of them at a time, as no P is looked at meanwhile.
    fn sweep(&mut self, now: u64) {
        if self.sweep.is_none() {
            if now < self.next_sweep_ns || netpoll::waiters() == 0 {
                return;
            }
            let all = now >= self.next_sweep_all_ns;
            if !(all || self.sweep_soon || netpoll::has_new_waiters()) {
                return;
            }
            if all {
                self.next_sweep_all_ns = now + netpoll::SWEEP_ALL_NS;
            }
            self.sweep = Some(netpoll::Sweep::begin(all));
        }
        let mut list = RunList::new();
        if let Some(soon) = self.sweep.as_mut().and_then(|sweep| sweep.slice(&mut list)) {
            self.sweep = None;
            self.sweep_soon = soon;
            self.next_sweep_ns = now + netpoll::SWEEP_NS;
        }
        super::ready::ready_all(&mut list);
    }

    /// How long it may sleep while all is idle.
    fn longest_sleep(&self, now: u64) -> Option<Duration> {
        let scavenge = scavenge::next_in(now);
        if netpoll::waiters() == 0 {
            return scavenge;
        }
        if self.sweep.is_some() {
            return Some(SWEEP_PAUSE);
        }
        let soon = self.sweep_soon || netpoll::has_new_waiters();
        let at = if soon { self.next_sweep_ns } else { self.next_sweep_all_ns };
        let sweep = Duration::from_nanos(at.saturating_sub(now).max(1_000_000));
        Some(scavenge.map_or(sweep, |t| t.min(sweep)))
    }

    fn set_delay(&mut self, now: u64, look: &Look) {
        let slice = SCHED.slice_ns.load(Ordering::Relaxed);
        if look.acted || look.waiting {
            self.alert_until_ns = now + ALERT_NS;
        }
        self.fast_rounds = if look.syscall { self.fast_rounds + 1 } else { 0 };
        self.expecting = if look.taken { EXPECTING } else { self.expecting.saturating_sub(1) };
        self.delay_ns = if self.expecting > 0 && look.waiting {
            FAST_NS
        } else if look.syscall {
            // As Go: 20 µs for a millisecond, then longer and longer.
            FAST_NS << self.fast_rounds.saturating_sub(50).min(9)
        } else if look.in_libc || look.off_cpu {
            LIBC_NS
        } else if now < self.alert_until_ns {
            // Where all go from goroutine to goroutine, no slice ends soon.
            if look.stuck { LOOK_NS } else { 2 * LOOK_NS }
        } else {
            SLOW_NS
        }
        .min(slice);
        // (One look more; where goroutines come and go, another is waiting each time.)
        self.again = look.queued && !self.again;
        if self.again {
            self.delay_ns = self.delay_ns.min(AGAIN_NS);
        }
        let timer = if look.busy { watch::earliest() } else { NEVER };
        if timer != NEVER {
            // A P whose goroutine goes on and on can't look itself.
            self.delay_ns = self.delay_ns.min(timer.saturating_sub(now) + watch::OVERDUE_NS);
        }
        if look.waiting
            && let Some(end) = look.next_end_ns
        {
            self.delay_ns = self.delay_ns.min(end.saturating_sub(now).max(FAST_NS));
        }
        if self.retry {
            self.delay_ns = self.delay_ns.min(SLOW_NS);
        }
        #[cfg(feature = "intercept")]
        if crate::signals::post::is_waiting() {
            self.delay_ns = self.delay_ns.min(crate::signals::post::AGAIN_NS);
        }
        if self.sweep.is_some() {
            self.delay_ns = self.delay_ns.min(SWEEP_PAUSE.as_nanos() as u64);
        }
    }

    fn sleep(&mut self) {
        let rest = self.try_deep_sleep();
        match rest {
            Rest::Deep => {
                self.doze_ns = DOZE_NS;
                self.delay_ns = LOOK_NS;
                self.alert_until_ns = sys::nanotime() + ALERT_NS;
                return;
            }
            Rest::Doze => {
                self.delay_ns = self.doze_ns;
                self.doze_ns = (2 * self.doze_ns).min(LONGEST_DOZE_NS);
            }
            Rest::Busy => self.doze_ns = DOZE_NS,
        }
        let wake = &SCHED.sysmon;
        let slow = self.delay_ns == SLOW_NS;
        wake.slow.store(slow, Ordering::Relaxed);
        wake.dozes.store(rest == Rest::Doze, Ordering::Relaxed);
        if wake.note.sleep(Some(Duration::from_nanos(self.delay_ns))) && slow {
            self.alert_until_ns = sys::nanotime() + ALERT_NS;
        }
        wake.slow.store(false, Ordering::Relaxed);
        wake.dozes.store(false, Ordering::Relaxed);
    }

    /// Sleeps until a P is busy, if none is now and none was since the look before.
    fn try_deep_sleep(&mut self) -> Rest {
        let shared = SCHED.lock();
        let were_busy = std::mem::replace(&mut self.starts, shared.starts) != shared.starts;
        let idle =
            SCHED.idle.procs.load(Ordering::Relaxed) == SCHED.gomaxprocs.load(Ordering::Relaxed);
        // Where no thread can be made, nobody may watch the timers.
        if !idle || !shared.pwaiting.is_null() || SCHED.is_stopping() || self.retry {
            return Rest::Busy;
        }
        if were_busy {
            return Rest::Doze;
        }
        SCHED.sysmon.deep.store(true, Ordering::Relaxed);
        // Some M is still on its way to sleep, or blocks with a goroutine, or a thread outside the
        // runtime may wake one or end without doing so: look again, soon at first.
        let drowsy = deadlock::check(shared) == deadlock::Verdict::NotYet;
        let mut timeout = self.longest_sleep(sys::nanotime());
        #[cfg(feature = "intercept")]
        if crate::signals::post::is_waiting() {
            timeout = Some(Duration::from_nanos(crate::signals::post::AGAIN_NS));
        }
        if drowsy {
            timeout = Some(timeout.map_or(self.drowse, |t| t.min(self.drowse)));
            self.drowse = (2 * self.drowse).min(DROWSY);
        }
        SCHED.sysmon.note.sleep(timeout);
        if !SCHED.sysmon.deep.swap(false, Ordering::Relaxed) {
            self.drowse = FIRST_DROWSE;
            // Of those that follow, the one that has woken it is not one.
            self.starts += 1;
        }
        Rest::Deep
    }

    /// Goroutines wait for memory for their stack: there may be some again.
    fn feed_starved(&mut self, now: u64) {
        if !SCHED.starved.any() {
            self.starving_since_ns = None;
            return;
        }
        let ended = super::exit::ended();
        match self.starving_since_ns {
            Some((since, before)) if before == ended => {
                if now - since > STARVE_NS && are_users_starved() {
                    let hint = limits::hint(&io::Error::from_raw_os_error(libc::ENOMEM));
                    let mut text = sys::Text::<192>::new();
                    text.push("out of memory for goroutine stacks").push(hint.as_str());
                    fatal::fatal(text.as_str());
                }
            }
            _ => self.starving_since_ns = Some((now, ended)),
        }
        if now >= self.next_feed_ns {
            self.next_feed_ns = now + FEED_NS;
            super::go::feed(usize::MAX);
        }
    }

    fn look_at(&mut self, pp: &'static P, now: u64, look: &mut Look) {
        if !pp.is_empty() {
            look.waiting = true;
        }
        if SCHED.runq_size.load(Ordering::Relaxed) > 0 {
            look.waiting = true;
        }
        if pp.status() != PStatus::Running {
            return;
        }
        look.busy = true;
        // SAFETY: null, or an M, which is never freed.
        let Some(mp) = (unsafe { pp.m.load(Ordering::Acquire).as_ref() }) else { return };
        // SAFETY: only this thread looks at it.
        let seen = unsafe { &mut *mp.seen.get() };
        let tick = pp.schedtick.load(Ordering::Relaxed);
        if seen.tick != tick || seen.since_ns == 0 {
            let cpu = sys::thread_cpu_ns(mp.tid.load(Ordering::Relaxed));
            // The slice after one that we ended began when we did that, not now.
            let is_next = tick == seen.tick.wrapping_add(1) && seen.asked_ns != 0;
            let since_ns = if is_next { seen.asked_ns } else { now };
            let (switches, queued) = (seen.switches, seen.queued);
            let old = Seen { switches, queued, ..Seen::default() };
            *seen = Seen { tick, since_ns, slice_cpu_ns: cpu, ..old };
            look.slice_ends(since_ns);
        } else {
            look.stuck = true;
            if now - seen.since_ns >= SHARE_NS {
                pp.had_share.store(true, Ordering::Relaxed);
            }
        }
        look_at_queued(pp, mp, seen, now, look);
        act(pp, mp, seen, now, look);
    }
}

/// What is done about the M of a P that was looked at.
fn act(pp: &'static P, mp: &'static M, seen: &mut Seen, now: u64, look: &mut Look) {
    if mp.lease.in_syscall() {
        look_at_syscall(pp, mp, seen, now, look);
    } else if seen.since_ns != now {
        look_at_running(pp, mp, seen, now, look);
    }
}

/// Comes back to the Ms about which the onlooker was asked in this look, all at once.
fn look_again(now: u64, look: &mut Look) {
    let until = sys::nanotime() + PATIENCE_NS;
    for pp in SCHED.procs() {
        // SAFETY: null, or an M, which is never freed.
        let Some(mp) = (unsafe { pp.m.load(Ordering::Acquire).as_ref() }) else { continue };
        // SAFETY: only this thread looks at it.
        let seen = unsafe { &mut *mp.seen.get() };
        if seen.asked_at_ns != now || pp.status() != PStatus::Running {
            continue;
        }
        let left = Duration::from_nanos(until.saturating_sub(sys::nanotime()));
        let _ = onlooker::await_answer(mp, Some(left));
        act(pp, mp, seen, now, look);
    }
}
