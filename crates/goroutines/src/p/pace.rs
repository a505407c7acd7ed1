//! How many goroutines a processor comes round to before another could be woken for them.
//!
//! Where goroutines run for a fraction of a microsecond each, as those that exchange messages do,
//! what is queued on a P runs sooner there than on another, which takes some five microseconds to
//! wake, and the two do not get in each other's way. So the monitor (`sched/sysmon.rs`) counts how
//! many a P runs in that time: up to so many may be queued before an M is woken for them. If then
//! one of them goes on and on while others wait, the monitor sees that too: it wakes an M, and the
//! next guess has to be right for longer before it counts. (Go wakes an M whenever something is
//! queued and a P is idle.)

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// What is run in this time may wait.
const WAKE_NS: u64 = 4_000;
/// At most so many.
const MOST: u64 = 32;
/// A count over less time is none.
const SHORT_NS: u64 = 200_000;
/// How many looks in a row must have been right, after wrong ones.
const MOST_LOOKS: u32 = 64;

/// See the file's head.
#[derive(Debug)]
pub(crate) struct Pace {
    patience: AtomicU32,
    // The monitor's notes.
    m: Cell<u64>,
    begun_ns: Cell<u64>,
    switches: Cell<u32>,
    right: Cell<u32>,
    needed: Cell<u32>,
}

impl Pace {
    pub(crate) const fn new() -> Self {
        Self {
            patience: AtomicU32::new(0),
            m: Cell::new(u64::MAX),
            begun_ns: Cell::new(0),
            switches: Cell::new(0),
            right: Cell::new(0),
            needed: Cell::new(1),
        }
    }

    /// How many may be queued beside what is in front.
    #[inline]
    pub(crate) fn patience(&self) -> u32 {
        self.patience.load(Ordering::Relaxed)
    }

    /// The monitor looks, at the time `now_ns`: the P is that M's, which has made so many switches.
    pub(crate) fn look(&self, now_ns: u64, m: u64, switches: u32) {
        let is_same = self.m.replace(m) == m;
        let elapsed = now_ns - self.begun_ns.get();
        if is_same && elapsed < SHORT_NS {
            return;
        }
        let made = switches.wrapping_sub(self.switches.get());
        self.begun_ns.set(now_ns);
        self.switches.set(switches);
        if !is_same {
            return;
        }
        let per_wake = (u64::from(made) * WAKE_NS / elapsed).min(MOST) as u32;
        if per_wake < 2 {
            self.right.set(0);
            self.patience.store(0, Ordering::Relaxed);
            return;
        }
        self.right.set(self.right.get().saturating_add(1));
        if self.right.get() >= 4 * MOST_LOOKS {
            self.needed.set(1);
        }
        let patience = if self.right.get() >= self.needed.get() { per_wake } else { 0 };
        self.patience.store(patience, Ordering::Relaxed);
    }

    /// Somebody has waited too long.
    pub(crate) fn was_wrong(&self) {
        if self.patience.swap(0, Ordering::Relaxed) > 0 {
            self.needed.set((2 * self.needed.get()).min(MOST_LOOKS));
        }
        self.right.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    const LOOK_NS: u64 = 500_000;

    #[test]
    fn follows_the_rate() {
        let pace = Pace::new();
        let (mut now, mut switches) = (0, u32::MAX - 5_000);
        pace.look(now, 1, switches);
        for (made, patience) in [(1_000, 8), (10, 0), (125, 0), (250, 2), (100_000, 32), (0, 0)] {
            now += LOOK_NS;
            switches = switches.wrapping_add(made);
            pace.look(now, 1, switches);
            assert_eq!(pace.patience(), patience, "{made}");
            pace.look(now + 50_000, 1, switches);
            assert_eq!(pace.patience(), patience, "too short to count");
        }
    }

    #[test]
    fn another_m_counts_anew() {
        let pace = Pace::new();
        for (i, (m, patience)) in [(1, 0), (1, 8), (2, 8), (2, 8), (1, 8)].into_iter().enumerate() {
            pace.look(LOOK_NS * i as u64, m, 1_000 * i as u32 + 100_000 * m as u32);
            assert_eq!(pace.patience(), patience, "{i}");
        }
    }

    #[test]
    fn who_was_wrong_must_be_right_for_longer() {
        let pace = Pace::new();
        let (mut now, mut switches) = (0, 0);
        pace.look(now, 1, switches);
        let mut right = || {
            now += LOOK_NS;
            switches += 1_000;
            pace.look(now, 1, switches);
            pace.patience() > 0
        };
        for needed in [1, 2, 4, 8, 16, 32, 64, 64] {
            let looks = (1..).find(|_| right());
            assert_eq!(looks, Some(needed));
            pace.was_wrong();
            assert_eq!(pace.patience(), 0);
        }
        for _ in 0..300 {
            right();
        }
        pace.was_wrong();
        assert_eq!((1..).find(|_| right()), Some(2));
    }
}
