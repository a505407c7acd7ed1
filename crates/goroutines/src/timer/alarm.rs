//! A goroutine's alarm: the one timer it can wait for at a time. And that of a call (`call.rs`).
//!
//! **The problem.** Most time-outs never come: a socket's is set and taken back with each read.
//! Both must cost next to nothing, though the timer sits in the heap of a P, under its lock, and
//! the goroutine has moved to another P since.
//!
//! **Chosen.** The alarm is a part of the `G`, which is never freed, so the heap may keep an entry
//! for it longer than it is wanted. Taking an alarm back is one store. Setting one whose entry in
//! some heap comes due earlier is two: when that entry comes up, it is put back for the time that
//! is wanted then. (Go's timers are lazy in the same way: `timerModified`, zombies.)
//!
//! * `when` — the time that is wanted; [`NEVER`]: none. Written by the goroutine.
//! * `ticket` — the wait that is to end then. Written before `when`, while `when` is `NEVER`.
//! * `queued` — the time of the entry that counts; 0: there is none. The thread that changes it
//!   from 0 puts an entry in a heap; so does one that makes it earlier (the old entry has become
//!   stale: nobody's); a thread that takes an entry of that time out of a heap sets it to 0.
//!
//! Invariants:
//! * A1: if `when` is a time, then `queued` is not 0 and no later than `when`, once
//!   [`set`](Alarm::set) has returned, or an entry is about to be put back by
//!   [`take`](Alarm::take)'s caller. Dekker: the goroutine writes `when`, then reads `queued`; the
//!   heap's side writes `queued`, then reads `when`.
//! * A2: a ticket is used only if `when` was the same before and after it was read; so it is that
//!   of the wait whose time has come.

use crate::base::atomic::{AtomicU64, Ordering, fence};
use crate::g::wait::Ticket;

/// No time at all.
pub(crate) const NEVER: u64 = u64::MAX;
/// There is no entry.
const NONE: u64 = 0;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Alarm {
    when: AtomicU64,
    ticket: AtomicU64,
    queued: AtomicU64,
}

/// What setting an alarm came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Set {
    /// An entry comes up in time.
    Standing,
    /// The caller puts an entry of the time in a heap.
    Push,
    /// The same, and the entry that counted so far is stale.
    PushAnother,
}

/// What an entry that came up is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Due {
    /// Nothing: stale.
    Stale,
    /// Nothing: the alarm was taken back.
    Off,
    /// The caller puts an entry of this time in a heap.
    Later(u64),
    /// The wait `ticket` is to end.
    Now(Ticket),
}

impl Alarm {
    /// That of a call; a goroutine's is zeroed with its header.
    pub(crate) fn new() -> Self {
        Self {
            when: AtomicU64::new(NEVER),
            ticket: AtomicU64::new(0),
            queued: AtomicU64::new(NONE),
        }
    }

    /// Sets the alarm for `when`, to end the wait `ticket`. By the goroutine; the alarm is off.
    pub(crate) fn set(&self, when: u64, ticket: Ticket) -> Set {
        // Release: a thread that reads it sees the NEVER before it (A2).
        self.ticket.store(ticket.0, Ordering::Release);
        // Release: the ticket.
        self.when.store(when, Ordering::Release);
        fence(Ordering::SeqCst); // A1: pairs with the one in take()
        loop {
            let queued = self.queued.load(Ordering::Relaxed);
            if queued != NONE && queued <= when {
                return Set::Standing;
            }
            let taken =
                self.queued.compare_exchange(queued, when, Ordering::AcqRel, Ordering::Relaxed);
            if taken.is_ok() {
                return if queued == NONE { Set::Push } else { Set::PushAnother };
            }
        }
    }

    /// Takes the alarm back. By the goroutine.
    pub(crate) fn clear(&self) {
        self.when.store(NEVER, Ordering::Release);
    }

    /// Whether it is set. A snapshot.
    pub(crate) fn is_set(&self) -> bool {
        // The header of a carrier is zeroed at first.
        let when = self.when.load(Ordering::Acquire);
        when != NEVER && when != 0
    }

    /// Whether an entry of the time `entry` counts. A snapshot.
    pub(crate) fn counts(&self, entry: u64) -> bool {
        self.queued.load(Ordering::Relaxed) == entry
    }

    /// An entry of the time `entry` was taken out of a heap, at the time `now`.
    pub(crate) fn take(&self, entry: u64, now: u64) -> Due {
        if self.queued.compare_exchange(entry, NONE, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return Due::Stale;
        }
        fence(Ordering::SeqCst); // A1: pairs with the one in set()
        let when = self.when.load(Ordering::Acquire);
        if when == NEVER {
            return Due::Off;
        }
        if when > now {
            // The goroutine, which may have set it just now, puts the entry there itself if it
            // wins.
            let ours = self
                .queued
                .compare_exchange(NONE, when, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok();
            return if ours { Due::Later(when) } else { Due::Off };
        }
        let ticket = Ticket(self.ticket.load(Ordering::Acquire));
        // A2. If it has changed, the goroutine has seen that there is no entry.
        if self.when.load(Ordering::Acquire) == when { Due::Now(ticket) } else { Due::Off }
    }
}
