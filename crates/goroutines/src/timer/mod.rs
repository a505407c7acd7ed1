//! The timers of a P: which goroutine is to be woken, or call made, when. (Go: `runtime/time.go`.)
//!
//! One heap per P, behind a lock that others take only to steal what is due, to look for the
//! earliest, or to take over the heap of a P that is no more. [`Timers::expire`] returns what
//! fired; it readies nobody.
//!
//! **Company.** Where there are many, a wake-up for each costs more than all that they do: a
//! goroutine that sleeps for a timer that was set for milliseconds may sleep a little longer, so
//! that others are due by then too (`sched/watch.rs`). How much is in the entry: a sixteenth of its
//! time, a millisecond at most, in steps of 33 µs.
//!
//! * TM1: `next` is the time at the heap's front whenever the lock is free ([`NEVER`]: it is
//!   empty).

pub(crate) mod alarm;
pub(crate) mod call;
mod heap;

use crate::base::fatal::throw;
use crate::base::lock::{Lock, StaticGuard};
use crate::base::sys;
use crate::g::G;
use crate::g::task::{RunList, Runnable};
use crate::g::wait::{Cause, Claim, Ticket};
use crate::sched::go;
use alarm::{Alarm, Due, NEVER, Set};
use call::Call;
use heap::{Entry, Heap};
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whose alarm an entry is for: a goroutine's, or that of a call; and how late it may be. One word:
/// both are aligned to more than these bits.
#[derive(Clone, Copy, Debug)]
struct Whose(NonNull<()>);

// SAFETY: stands for a `&'static` of something Sync.
unsafe impl Send for Whose {}

const CALL: usize = 1;
/// How late, in steps.
const STEPS: usize = 0x3e;
const STEPS_SHIFT: u32 = STEPS.trailing_zeros();
const MOST_STEPS: u64 = (STEPS >> STEPS_SHIFT) as u64;
/// 33 µs.
const STEP_SHIFT: u32 = 15;
/// One part in 16.
const PATIENCE_SHIFT: u32 = 4;

const _: () = assert!(align_of::<G>() > (CALL | STEPS) && align_of::<Call>() > (CALL | STEPS));

/// A [`Whose`], told apart.
enum Kind {
    G(&'static G),
    Call(&'static Call),
}

impl Whose {
    fn of_g(gp: &'static G) -> Self {
        Self(NonNull::from(gp).cast())
    }

    fn of_call(call: &'static Call) -> Self {
        Self(NonNull::from(call).cast::<()>().map_addr(|at| at | CALL))
    }

    /// The same, for a time that is `ns` off.
    fn after(self, ns: u64) -> Self {
        let steps = (ns >> (PATIENCE_SHIFT + STEP_SHIFT)).min(MOST_STEPS) as usize;
        let at = self.0.as_ptr().map_addr(|at| (at & !STEPS) | (steps << STEPS_SHIFT));
        // SAFETY: the address bits above are those of something that is not null.
        Self(unsafe { NonNull::new_unchecked(at) })
    }

    /// How late it may be, in ns.
    fn patience(self) -> u64 {
        (((self.0.addr().get() & STEPS) >> STEPS_SHIFT) as u64) << STEP_SHIFT
    }

    fn at(self) -> *mut () {
        self.0.as_ptr().map_addr(|at| at & !(CALL | STEPS))
    }

    fn kind(self) -> Kind {
        if self.0.addr().get() & CALL == 0 {
            // SAFETY: of_g made it.
            Kind::G(unsafe { &*self.at().cast() })
        } else {
            // SAFETY: of_call made it.
            Kind::Call(unsafe { &*self.at().cast() })
        }
    }

    fn alarm(self) -> &'static Alarm {
        match self.kind() {
            Kind::G(gp) => &gp.alarm,
            Kind::Call(call) => &call.alarm,
        }
    }
}

/// The timers of one P.
#[derive(Debug)]
pub(crate) struct Timers {
    heap: Lock<State>,
    next: AtomicU64,
}

#[derive(Debug)]
struct State {
    heap: Heap<Whose>,
    /// Entries that may be stale.
    stale: usize,
}

/// Fewer stale entries than these are left where they are.
const STALE_LEAST: usize = 64;

impl Timers {
    pub(crate) const fn new() -> Self {
        Self { heap: Lock::new(State { heap: Heap::new(), stale: 0 }), next: AtomicU64::new(NEVER) }
    }

    /// When the earliest is due; [`NEVER`] if there is none.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        // SeqCst: pairs with settle(): an M that goes idle sees what was set, or is seen idle.
        self.next.load(Ordering::SeqCst)
    }

    /// The time until which all have patience; `until`, if that is later.
    pub(crate) fn have_patience(&'static self, until: u64) -> u64 {
        let mut least = until;
        if self.next() < until {
            let state: StaticGuard<State> = self.heap.lock_static();
            state.heap.look_before(until, |entry| {
                least = least.min(entry.when.saturating_add(entry.what.patience()));
                least
            });
        }
        least
    }

    /// Sets the alarm of `gp` for `when`. True if that is the earliest here now. In a section.
    pub(crate) fn set(&'static self, gp: &'static G, when: u64, ticket: Ticket) -> bool {
        self.set_alarm(Whose::of_g(gp), when, ticket)
    }

    /// Sets that of a call. True if that is the earliest here now. By its owner, in a section.
    pub(crate) fn set_call(&'static self, call: &'static Call, when: u64) -> bool {
        self.set_alarm(Whose::of_call(call), when, Ticket(0))
    }

    #[inline]
    fn set_alarm(&'static self, whose: Whose, when: u64, ticket: Ticket) -> bool {
        // 0 and NEVER mean something else.
        let when = when.clamp(1, NEVER - 1);
        let set = whose.alarm().set(when, ticket);
        if set == Set::Standing {
            return false;
        }
        let mut state = self.heap.lock_static();
        if set == Set::PushAnother {
            state.stale += 1;
        }
        state.push(when, whose.after(when.saturating_sub(sys::nanotime())));
        self.settle(&state) && state.heap.first() == Some(when)
    }

    /// Keeps TM1; true if the earliest has become earlier.
    fn settle(&self, state: &State) -> bool {
        let next = state.heap.first().unwrap_or(NEVER);
        let before = self.next.load(Ordering::Relaxed);
        if next != before {
            self.next.store(next, Ordering::SeqCst);
        }
        next < before
    }

    /// Ends the waits whose time has come by `now`, as many as make `out`, where those go that are
    /// to be readied, `most` long. In a section, or on g0.
    pub(crate) fn expire(&'static self, now: u64, most: usize, out: &mut RunList) {
        if self.next() > now {
            return;
        }
        let mut state = self.heap.lock_static();
        state.expire(now, most, out);
        if state.stale > STALE_LEAST && state.stale > state.heap.len() / 4 {
            state.clean(now, out);
        }
        self.settle(&state);
    }

    /// Moves all to `other`: this P is no more.
    pub(crate) fn move_to(&'static self, other: &'static Self) {
        if self.next() == NEVER {
            return;
        }
        let mut from = self.heap.lock_static();
        let mut to = other.heap.lock_static();
        while let Some(entry) = from.heap.pop() {
            to.push(entry.when, entry.what);
        }
        to.stale += std::mem::take(&mut from.stale);
        self.settle(&from);
        other.settle(&to);
    }

    /// Whether anybody is still to be woken here.
    pub(crate) fn any(&'static self) -> bool {
        self.next() != NEVER && {
            let state: StaticGuard<State> = self.heap.lock_static();
            state.heap.entries().iter().any(|entry| entry.what.alarm().is_set())
        }
    }
}

impl State {
    fn push(&mut self, when: u64, whose: Whose) {
        if !self.heap.push(when, whose) {
            throw!("no memory for a timer");
        }
    }

    fn expire(&mut self, now: u64, most: usize, out: &mut RunList) {
        while out.len() < most && self.heap.first().is_some_and(|first| first <= now) {
            self.expire_some(now, out);
        }
    }

    /// A few at a time: each one's lines come from memory while the others are seen to.
    fn expire_some(&mut self, now: u64, out: &mut RunList) {
        const FEW: usize = 16;
        let mut due = [const { MaybeUninit::<Entry<Whose>>::uninit() }; FEW];
        let mut count = 0;
        while count < FEW && self.heap.first().is_some_and(|first| first <= now) {
            let Some(entry) = self.heap.pop() else { break };
            sys::prefetch(entry.what.at());
            due[count].write(entry);
            count += 1;
        }
        for entry in &due[..count] {
            // SAFETY: the first `count` were written.
            let entry = unsafe { entry.assume_init() };
            self.see_to(entry.when, entry.what, now, out);
        }
    }

    fn see_to(&mut self, entry: u64, whose: Whose, now: u64, out: &mut RunList) {
        match whose.alarm().take(entry, now) {
            Due::Stale => self.stale = self.stale.saturating_sub(1),
            Due::Off => {}
            Due::Later(when) => self.push(when, whose.after(when.saturating_sub(now))),
            Due::Now(ticket) => fire(whose, ticket, now, out),
        }
    }

    /// Removes the stale ones, and those of alarms that were taken back.
    #[cold]
    fn clean(&mut self, now: u64, out: &mut RunList) {
        let mut due = [None; 64];
        let mut count = 0;
        self.heap.retain(|entry| {
            let alarm = entry.what.alarm();
            if !alarm.counts(entry.when) {
                return false;
            }
            if alarm.is_set() || count == due.len() {
                return true;
            }
            // As if it had come up; its owner may be setting it right now.
            due[count] = Some((entry.when, entry.what));
            count += 1;
            false
        });
        self.stale = 0;
        for (when, whose) in due.into_iter().flatten() {
            self.see_to(when, whose, now, out);
        }
    }
}

/// The time has come.
fn fire(whose: Whose, ticket: Ticket, now: u64, out: &mut RunList) {
    match whose.kind() {
        Kind::G(gp) => {
            if gp.wait.claim(ticket, Cause::Timeout) == Claim::Parked {
                // Where it goes on, soon.
                gp.prefetch();
                out.push_back(Runnable::of_g(gp));
            }
        }
        Kind::Call(call) => {
            if let Some(task) = call.due(now) {
                // SAFETY: the goroutine's reference, which the call had.
                out.push_back(unsafe { go::ripe(task) });
            }
        }
    }
}
