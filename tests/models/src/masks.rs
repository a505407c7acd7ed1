//! Models of `m/noted.rs` and `signals/census.rs`: a signal that all goroutines block is open on no thread.
//!
//! Repeated here: `grow`, `follow` and `switch` of `signals/masks.rs`, for one M.

use crate::base::atomic::{AtomicBool, AtomicU64, Ordering, Weak, with_sequence};
use crate::base::steps::lacks;
use crate::check::{holds, refuted, refuted_without};
use crate::g::forever;
use crate::real::census::Census;
use crate::real::noted::Noted;
use loom::sync::{Arc, Mutex};
use loom::thread;

/// The signal.
const X: u64 = 1 << 10;
/// Another one.
const Y: u64 = 1 << 12;

/// An M's thread.
struct Thread {
    noted: Noted,
    /// What the kernel has.
    kernel: AtomicU64,
    /// The runtime's signal is on its way to it.
    asked: AtomicBool,
}

struct World {
    helpers: AtomicU64,
    changing: Mutex<()>,
    thread: Thread,
    /// A goroutine that blocks the signal counts on it.
    counted_on: AtomicBool,
}

impl World {
    /// The thread has had a goroutine that blocks `mask`.
    fn new(helpers: u64, mask: u64) -> Arc<Self> {
        let thread = Thread {
            noted: Noted::new(mask),
            kernel: AtomicU64::new(mask),
            asked: AtomicBool::new(false),
        };
        Arc::new(Self {
            helpers: AtomicU64::new(helpers),
            changing: Mutex::new(()),
            thread,
            counted_on: AtomicBool::new(false),
        })
    }

    fn of_helpers(&self) -> u64 {
        self.helpers.load(Ordering::SeqCst)
    }

    fn take_over(&self) {
        self.thread.noted.take_over(&self.helpers, |mask| {
            self.thread.kernel.store(mask, Ordering::SeqCst);
            let is_open = mask & X == 0 && self.counted_on.load(Ordering::SeqCst);
            assert!(!is_open, "a blocked signal is open");
        });
    }

    /// The thread leaves its goroutine, and waits; the signal meets it there.
    fn idle(&self) {
        if self.thread.noted.mask() != self.of_helpers() {
            self.take_over();
        }
    }

    /// What the handler of the runtime's signal does, where it was sent.
    fn refresh(&self) {
        if self.thread.asked.load(Ordering::SeqCst) && self.thread.noted.mask() != self.of_helpers()
        {
            self.take_over();
        }
    }

    /// A goroutine blocks X, as all others do, and counts on it then. False: the thread has not come to it yet.
    fn grow(&self, added: u64) -> bool {
        let more = {
            let _changing = self.changing.lock().unwrap();
            let more = (X | Y) & !self.of_helpers();
            self.helpers.fetch_or(more, Ordering::SeqCst);
            if lacks("what another has added") { more } else { more | added & self.of_helpers() }
        };
        if more == 0 {
            return true;
        }
        if self.thread.noted.has(more & self.of_helpers()) {
            return true;
        }
        self.thread.asked.store(true, Ordering::SeqCst);
        self.thread.noted.has(more & self.of_helpers())
    }

    fn count_on_it(&self) {
        self.counted_on.store(true, Ordering::SeqCst);
        let kernel = self.thread.kernel.load(Ordering::SeqCst);
        assert!(kernel & X != 0, "a blocked signal is open");
    }
}

/// A goroutine makes X and Y signals that all block, while the thread leaves a goroutine that blocks them, for the helpers'
/// mask, which lacks them so far.
fn while_a_thread_is_left() {
    with_sequence(true);
    let shared = World::new(0, X | Y);
    let world = forever(&shared);
    let other = thread::spawn(move || {
        world.idle();
        world.refresh();
    });
    if world.grow(X) {
        world.count_on_it();
    }
    other.join().unwrap();
}

/// The same, where the monitor has opened X a moment ago, and the thread is told of that.
fn while_it_was_opened() {
    with_sequence(true);
    let shared = World::new(X | Y, X | Y);
    let world = forever(&shared);
    let other = thread::spawn(move || {
        world.idle();
        world.idle();
    });
    {
        let _changing = world.changing.lock().unwrap();
        world.helpers.fetch_and(!X, Ordering::SeqCst);
    }
    if world.grow(X) {
        world.count_on_it();
    }
    other.join().unwrap();
}

/// Two make X one that all block.
fn by_two() {
    with_sequence(true);
    let shared = World::new(0, 0);
    let world = forever(&shared);
    let monitor = thread::spawn(move || {
        let _ = world.grow(0);
        world.refresh();
    });
    if world.grow(X) {
        world.count_on_it();
    }
    monitor.join().unwrap();
}

#[test]
fn masks_while_a_thread_is_left() {
    holds(while_a_thread_is_left);
}

#[test]
fn masks_while_a_thread_is_left_unnoted() {
    refuted_without("noting the change", "a blocked signal is open", while_a_thread_is_left);
}

#[test]
fn masks_while_it_was_opened() {
    holds(while_it_was_opened);
}

#[test]
fn masks_while_it_was_opened_unnoted() {
    refuted_without("noting the change", "a blocked signal is open", while_it_was_opened);
}

#[test]
fn masks_by_two() {
    holds(by_two);
}

#[test]
fn masks_by_two_not_waited_for() {
    refuted_without("what another has added", "a blocked signal is open", by_two);
}

#[test]
fn masks_while_a_thread_is_left_without_sequence() {
    refuted(Weak::Sequence, "a blocked signal is open", while_a_thread_is_left);
}

/// The goroutines: all block X.
struct Goroutines {
    census: Census,
    created: AtomicU64,
    ended: AtomicU64,
}

impl Goroutines {
    fn alive(&self) -> u64 {
        let ended = self.ended.load(Ordering::Acquire);
        self.created.load(Ordering::Acquire) - ended
    }

    /// A goroutine is begun by one that blocks X.
    fn begins(&self) {
        self.census.add(X);
        self.created.fetch_add(1, Ordering::Release);
    }

    fn ends(&self) {
        if lacks("being counted to the end") {
            self.census.remove(X);
        }
        self.ended.fetch_add(1, Ordering::Release);
        if !lacks("being counted to the end") {
            self.census.remove(X);
        }
    }
}

/// The monitor counts, while goroutines begin and end that all block X.
fn census(begin: bool) {
    with_sequence(true);
    let shared = Arc::new(Goroutines {
        census: Census::new(),
        created: AtomicU64::new(0),
        ended: AtomicU64::new(0),
    });
    let all = forever(&shared);
    all.begins();
    if !begin {
        all.begins();
    }
    let main = thread::spawn(move || {
        if begin {
            all.begins();
        }
        all.ends();
    });
    let blocked = all.census.blocked_by_all(0, || all.alive());
    assert!(blocked.mask & X != 0, "what all block is opened");
    main.join().unwrap();
    let blocked = all.census.blocked_by_all(0, || all.alive());
    assert!(blocked.is_sure && blocked.mask == X, "the last look is right");
}

#[test]
fn masks_census() {
    holds(|| census(false));
}

#[test]
fn masks_census_of_one_that_begins() {
    holds(|| census(true));
}

#[test]
fn masks_census_with_the_living_last() {
    refuted_without("counting the living first", "what all block is opened", || census(true));
}

#[test]
fn masks_census_without_losses() {
    refuted_without("losses", "what all block is opened", || census(false));
}

#[test]
fn masks_census_of_one_that_is_gone_too_soon() {
    refuted_without("being counted to the end", "what all block is opened", || census(false));
}
