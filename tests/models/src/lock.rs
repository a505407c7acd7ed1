//! Models of the runtime's lock (`base/lock_word.rs`): what it guards is touched by one at a time, and who sleeps is
//! woken, whichever way it is unlocked.

use crate::base::atomic::{Kernel, Weak, with_kernel};
use crate::check::{holds, refuted, starves};
use crate::real::lock_word::LockWord;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// How somebody takes the lock, and gives it back.
#[derive(Clone, Copy)]
struct Way {
    in_bursts: bool,
    plainly: bool,
}

const PLAINLY: Way = Way { in_bursts: true, plainly: true };
const BY_SWAP: Way = Way { in_bursts: false, plainly: false };

struct World {
    word: LockWord,
    count: UnsafeCell<u32>,
}

// SAFETY: loom checks the use of the cell.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn turn(&self, way: Way) {
        if way.in_bursts {
            self.word.lock_in_bursts();
        } else {
            self.word.lock();
        }
        // SAFETY: of who has the lock, or loom finds it.
        self.count.with_mut(|at| unsafe { *at += 1 });
        if way.plainly {
            self.word.unlock_plainly();
        } else {
            self.word.unlock();
        }
    }
}

/// Some take turns, each in its way.
fn turns<const N: usize>(ways: [Way; N]) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = Arc::new(World { word: LockWord::new(), count: UnsafeCell::new(0) });
        let others: Vec<_> = ways[1..]
            .iter()
            .map(|&way| {
                let world = world.clone();
                thread::spawn(move || world.turn(way))
            })
            .collect();
        world.turn(ways[0]);
        others.into_iter().for_each(|other| other.join().unwrap());
        // SAFETY: all have ended.
        assert_eq!(world.count.with(|at| unsafe { *at }), N as u32);
    }
}

/// The same where the kernel has no heavy barriers.
fn dear<const N: usize>(ways: [Way; N]) -> impl Fn() + Send + Sync + 'static {
    let model = turns(ways);
    move || {
        with_kernel(Kernel::Nothing);
        model();
    }
}

#[test]
fn lock_two_plainly() {
    holds(turns([PLAINLY; 2]));
}

#[test]
fn lock_two_by_swap() {
    holds(turns([BY_SWAP; 2]));
}

#[test]
fn lock_two_in_either_way() {
    holds(turns([PLAINLY, BY_SWAP]));
}

#[test]
fn lock_three_plainly() {
    holds(turns([PLAINLY; 3]));
}

#[test]
fn lock_three_by_swap() {
    holds(turns([BY_SWAP; 3]));
}

#[test]
fn lock_three_in_either_way() {
    holds(turns([PLAINLY, BY_SWAP, PLAINLY]));
}

#[test]
fn lock_two_plainly_dear() {
    holds(dear([PLAINLY; 2]));
}

#[test]
fn lock_three_in_either_way_dear() {
    holds(dear([PLAINLY, BY_SWAP, PLAINLY]));
}

#[test]
fn lock_two_plainly_dear_without_paying_is_refuted() {
    starves(Weak::No, "paying for entries", dear([PLAINLY; 2]));
}

#[test]
fn lock_with_relaxed_orderings_is_refuted() {
    refuted(Weak::Orderings, "Causality violation", turns([PLAINLY; 2]));
}

#[test]
fn lock_without_light_barrier_is_refuted() {
    starves(Weak::Light, "", turns([PLAINLY; 2]));
}

#[test]
fn lock_without_heavy_barrier_is_refuted() {
    starves(Weak::Heavy, "", turns([PLAINLY; 2]));
}
