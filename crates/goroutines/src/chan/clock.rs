//! Channels whose messages are the passing of time: `after`, `at`, `tick`, and those of
//! `time::{Timer, Ticker}`.
//!
//! Nobody sends. A receiver looks at the clock, and waits until the message is due; the first
//! receiver that looks when it is due takes it, and sets the time of the next. So a timer that
//! nobody waits for costs nothing but its memory, none can be late because somebody else was slow,
//! and after `stop` or `reset` there is no old message left in a buffer. (Go 1.23 made its timers'
//! channels seem so; crossbeam's `after` and `tick` are made so too.)
//!
//! The queue has the receivers that wait, so that `reset` can have them look again.

use super::core::Found;
use super::party::{Kind, Outcome, Queue, Sudog, Wakes};
use crate::base::lock::{Guard, Lock};
use crate::base::sys;
use crate::g::current;
use crate::timer::alarm::NEVER;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When the next message of a periodical clock is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Law {
    /// A period after this one was received, if that was late (crossbeam's `tick`).
    FromReceipt,
    /// At a multiple of the period after the first (Go's `Ticker`).
    OnTheBeat,
}

/// See the file's head.
pub(crate) struct Clock {
    /// Times are ns after this.
    base: Instant,
    when: AtomicU64,
    /// 0: there is one message only.
    period: AtomicU64,
    law: Law,
    /// Its channel seems empty, and without capacity, also when a message is due (Go's timers).
    pub(super) seems_empty: bool,
    receivers: Lock<Queue>,
}

fn ns(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(NEVER).min(NEVER - 1)
}

impl Clock {
    /// One message, at `when`.
    pub(crate) fn at(when: Instant) -> Self {
        // A time in the past is its own base, and the message is that time.
        let base = Instant::now().min(when);
        Self::new(base, ns(when - base), 0, Law::OnTheBeat)
    }

    /// One message after `d`.
    pub(crate) fn after(d: Duration) -> Self {
        Self::new(Instant::now(), ns(d), 0, Law::OnTheBeat)
    }

    /// A message every `period`.
    pub(crate) fn every(period: Duration, law: Law) -> Self {
        // A period of nothing always has a message; 0 means something else.
        Self::new(Instant::now(), ns(period), ns(period).max(1), law)
    }

    fn new(base: Instant, when: u64, period: u64, law: Law) -> Self {
        let [when, period] = [when, period].map(AtomicU64::new);
        let receivers = Lock::new(Queue::new());
        Self { base, when, period, law, seems_empty: false, receivers }
    }

    /// One whose channel seems empty.
    pub(crate) fn seeming_empty(self) -> Self {
        Self { seems_empty: true, ..self }
    }

    fn now(&self) -> u64 {
        ns(self.base.elapsed())
    }

    /// Takes the message that is due.
    pub(crate) fn take(&self) -> Option<Instant> {
        let mut now = None;
        loop {
            let when = self.when.load(Ordering::Acquire);
            if when == NEVER {
                return None;
            }
            let now = *now.get_or_insert_with(|| self.now());
            if now < when {
                return None;
            }
            let period = self.period.load(Ordering::Relaxed);
            let next = match self.law {
                _ if period == 0 => NEVER,
                Law::FromReceipt => now.saturating_add(period),
                Law::OnTheBeat => {
                    when.saturating_add(period.saturating_mul(1 + (now - when) / period))
                }
            };
            if self.when.compare_exchange(when, next, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Some(self.base + Duration::from_nanos(when));
            }
        }
    }

    /// Whether a message is due.
    pub(crate) fn is_due(&self) -> bool {
        let when = self.when.load(Ordering::Acquire);
        when != NEVER && self.now() >= when
    }

    /// When it is due, as a monotonic time.
    pub(crate) fn due(&self) -> u64 {
        match self.when.load(Ordering::Acquire) {
            NEVER => NEVER,
            when => sys::nanotime().saturating_add(when.saturating_sub(self.now())).min(NEVER - 1),
        }
    }

    /// Sets the time of the next message, `d` from now (none: never), and the period. Whether there
    /// was one to come, or one that nobody had received.
    pub(crate) fn reset(&self, d: Option<Duration>, period: Duration) -> bool {
        let when = d.map_or(NEVER, |d| self.now().saturating_add(ns(d)).min(NEVER - 1));
        let mut wakes = Wakes::new();
        let _section = current::enter();
        let mut receivers = self.receivers.lock();
        self.period.store(ns(period), Ordering::Relaxed);
        let before = self.when.swap(when, Ordering::AcqRel);
        receivers.end_all(Outcome::Again, &mut wakes);
        drop(receivers);
        wakes.wake();
        before != NEVER
    }
}

/// What `select.rs` asks.
impl Clock {
    pub(super) fn lock(&self) {
        self.receivers.lock().leave_locked();
    }

    /// # Safety
    /// * The calling thread has called [`lock`](Self::lock).
    pub(super) unsafe fn guard(&self) -> Guard<'_, Queue> {
        // SAFETY: as the caller says.
        unsafe { self.receivers.locked() }
    }

    /// # Safety
    /// * `sudog` stands for a receipt of this clock, so its value is a place for an `Instant`.
    pub(super) unsafe fn attempt(&self, sudog: &Sudog) -> Found {
        if sudog.kind.get() == Kind::Look {
            return if self.is_due() { Found::Done } else { Found::Nothing };
        }
        let Some(at) = self.take() else { return Found::Nothing };
        // SAFETY: as the caller says.
        unsafe { sudog.value.get().cast::<Instant>().write(at) };
        Found::Done
    }

    pub(super) fn dismiss(&self, sudog: &Sudog) {
        self.receivers.lock().remove(sudog);
    }
}
