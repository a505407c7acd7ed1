//! What all goroutines block, while goroutines begin, end and change their masks.
//!
//! Next: `masks.rs`. Models: `tests/models/src/masks.rs`.

use crate::base::atomic::{AtomicU64, Ordering};

/// How many masks are told from each other.
const CLASSES: usize = 65;

/// How many goroutines have which mask, but for those with the usual one.
pub(crate) struct Census {
    /// Masks that were ever set. The last is for all that find no room: what those have in common.
    classes: [Class; CLASSES],
    /// All those goroutines.
    odd: AtomicU64,
    /// How many times a class has lost a goroutine.
    losses: AtomicU64,
}

struct Class {
    mask: AtomicU64,
    count: AtomicU64,
}

impl Class {
    const fn new() -> Self {
        Self { mask: AtomicU64::new(0), count: AtomicU64::new(0) }
    }
}

/// What all goroutines block, as far as that can be seen.
pub(crate) struct Blocked {
    pub(crate) mask: u64,
    /// The goroutines were counted while none of them ended or changed its mask. If not, `mask` may
    /// have too much.
    pub(crate) is_sure: bool,
}

impl Census {
    pub(crate) const fn new() -> Self {
        let [odd, losses] = [const { AtomicU64::new(0) }; 2];
        Self { classes: [const { Class::new() }; CLASSES], odd, losses }
    }

    /// Whether no goroutine has a mask that is not the usual one.
    pub(crate) fn is_empty(&self) -> bool {
        self.odd.load(Ordering::Relaxed) == 0
    }

    fn class(&self, mask: u64) -> &Class {
        let [classes @ .., others] = &self.classes;
        for class in classes {
            let seen = class.mask.load(Ordering::Relaxed);
            let found = seen == mask
                || seen == 0
                    && match class.mask.compare_exchange(
                        0,
                        mask,
                        Ordering::SeqCst,
                        Ordering::Relaxed,
                    ) {
                        Ok(_) => true,
                        Err(now) => now == mask,
                    };
            if found {
                return class;
            }
        }
        let mut seen = others.mask.load(Ordering::Relaxed);
        loop {
            let narrowed = if seen == 0 { mask } else { seen & mask };
            match others.mask.compare_exchange(seen, narrowed, Ordering::SeqCst, Ordering::Relaxed)
            {
                Ok(_) => return others,
                Err(now) => seen = now,
            }
        }
    }

    /// A goroutine has `mask`, which is not 0; before it is counted as alive.
    pub(crate) fn add(&self, mask: u64) {
        self.class(mask).count.fetch_add(1, Ordering::SeqCst);
        self.odd.fetch_add(1, Ordering::SeqCst);
    }

    /// A goroutine that had `mask` has another one, or is not counted as alive any more.
    pub(crate) fn remove(&self, mask: u64) {
        self.losses.fetch_add(1, Ordering::SeqCst); // before the class loses it
        self.class(mask).count.fetch_sub(1, Ordering::SeqCst);
        self.odd.fetch_sub(1, Ordering::SeqCst);
    }

    /// What all goroutines block. `alive` says how many goroutines there are; those in no class
    /// block `usual`.
    ///
    /// Goroutines begin, end and change their masks meanwhile. A goroutine with a mask is counted
    /// in its class before it is counted as alive, and stays there until it is no longer alive: so
    /// where all that live have masks, the classes, which are counted *after* the living, have no
    /// fewer, unless a class has lost one in between.
    pub(crate) fn blocked_by_all(&self, usual: u64, alive: impl Fn() -> u64) -> Blocked {
        let losses = self.losses.load(Ordering::SeqCst);
        let alive = alive();
        let (mut common, mut odd) = (u64::MAX, 0);
        for class in &self.classes {
            let mask = class.mask.load(Ordering::SeqCst);
            if mask == 0 {
                continue;
            }
            let here = class.count.load(Ordering::SeqCst);
            if here > 0 {
                common &= mask;
                odd += here;
            }
        }
        let is_sure = self.losses.load(Ordering::SeqCst) == losses;
        if odd == 0 || is_sure && alive > odd {
            common &= usual;
        }
        Blocked { mask: common, is_sure }
    }
}
