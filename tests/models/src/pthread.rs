//! Models of C's locks (`intercept/sync.rs`): PT1, and the mark of those in `pthread_cond_wait`. Functions are
//! named as there. Who sleeps beside a free lock is found by loom: a deadlock.

use crate::base::atomic::{AtomicU32, Ordering, Weak, fence};
use crate::base::steps::lacks;
use crate::check::{holds, starves};
use crate::futex::{Bucket, Woken};
use crate::g::{G, current, forever};
use crate::sched::wait::NEVER;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread::{self, JoinHandle};

/// libc's mutex: threads wait in the kernel.
struct Libc {
    word: AtomicU32,
    kernel: Mutex<()>,
    woken: Condvar,
}

impl Libc {
    fn try_lock(&self) -> bool {
        self.word.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    fn lock(&self) {
        let mut waits = self.kernel.lock().unwrap();
        while !self.try_lock() {
            waits = self.woken.wait(waits).unwrap();
        }
    }

    /// A locked instruction: a fence on x86-64.
    fn unlock(&self) {
        self.word.swap(0, Ordering::Release);
        fence(Ordering::SeqCst);
        drop(self.kernel.lock().unwrap());
        self.woken.notify_all();
    }
}

/// A mutex, and goroutines that want it.
struct World {
    libc: Libc,
    bucket: Bucket,
    waiting: AtomicU32,
    in_cond: AtomicU32,
    /// A condition: libc's variable for it.
    condition: Mutex<bool>,
    signal: Condvar,
    gs: [G; 2],
}

impl World {
    /// It is locked.
    fn new() -> Arc<Self> {
        Arc::new(Self {
            libc: Libc { word: AtomicU32::new(1), kernel: Mutex::new(()), woken: Condvar::new() },
            bucket: Bucket::new(),
            waiting: AtomicU32::new(0),
            in_cond: AtomicU32::new(0),
            condition: Mutex::new(false),
            signal: Condvar::new(),
            gs: std::array::from_fn(|_| G::new()),
        })
    }

    fn anybody_waits(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) != 0
    }

    /// True: it is locked. False: in libc.
    fn wait_for(&self, gp: &'static G) -> bool {
        let count = || self.waiting.fetch_add(1, Ordering::SeqCst);
        if !lacks("being counted first") {
            count();
        }
        let locked = loop {
            let (mut locked, mut gives_up) = (false, false);
            let woken = self.bucket.wait_at(gp, NEVER, || {
                locked = self.libc.try_lock();
                gives_up = !locked && self.is_marked();
                locked || gives_up
            });
            if locked || gives_up {
                break locked;
            }
            assert!(woken == Woken::Yes, "there is no time-out");
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        locked
    }

    fn is_marked(&self) -> bool {
        if lacks("being counted first") {
            self.waiting.fetch_add(1, Ordering::SeqCst);
        }
        !lacks("the mark") && self.in_cond.load(Ordering::SeqCst) > 0
    }

    fn lock_for(&self, gp: &'static G) {
        if !self.libc.try_lock() && !self.wait_for(gp) {
            self.libc.lock();
        }
    }

    fn unlock(&self) {
        self.libc.unlock();
        if self.anybody_waits() {
            self.bucket.wake_at(1);
        }
    }

    /// `pthread_cond_wait` of a thread, in libc, with the mark.
    fn cond_wait_in_libc(&self) {
        self.in_cond.fetch_add(1, Ordering::SeqCst);
        if self.anybody_waits() && !lacks("waking for the mark") {
            self.bucket.wake_at(usize::MAX);
        }
        self.libc.unlock();
        let mut condition = self.condition.lock().unwrap();
        while !*condition {
            condition = self.signal.wait(condition).unwrap();
        }
        drop(condition);
        self.libc.lock();
        self.in_cond.fetch_sub(1, Ordering::SeqCst);
    }

    /// Goroutine `i` locks, makes the condition true, and unlocks.
    fn goroutine(this: &Arc<Self>, i: usize) -> JoinHandle<()> {
        let world = this.clone();
        thread::spawn(move || {
            let world = forever(&world);
            let gp = &world.gs[i];
            current::set_g(gp);
            world.lock_for(gp);
            *world.condition.lock().unwrap() = true;
            world.unlock();
            world.signal.notify_all();
        })
    }
}

/// A thread has the mutex, and unlocks it.
fn unlocked() {
    let world = World::new();
    let goroutine = World::goroutine(&world, 0);
    world.unlock();
    goroutine.join().unwrap();
    world.bucket.check();
}

/// Two goroutines want it.
fn unlocked_for_two() {
    let world = World::new();
    let first = World::goroutine(&world, 0);
    let second = World::goroutine(&world, 1);
    world.unlock();
    first.join().unwrap();
    second.join().unwrap();
    world.bucket.check();
}

/// A thread has the mutex, and waits for a condition that a goroutine makes true, which needs the mutex for it.
fn unlocked_unseen() {
    let world = World::new();
    let goroutine = World::goroutine(&world, 0);
    world.cond_wait_in_libc();
    world.unlock();
    goroutine.join().unwrap();
    world.bucket.check();
}

#[test]
fn pthread_unlocked() {
    holds(unlocked);
}

#[test]
fn pthread_unlocked_for_two() {
    holds(unlocked_for_two);
}

#[test]
fn pthread_unlocked_unseen() {
    holds(unlocked_unseen);
}

#[test]
fn pthread_unlocked_without_fences_is_refuted() {
    starves(Weak::Fences, "", unlocked);
}

#[test]
fn pthread_unlocked_without_sequence_is_refuted() {
    starves(Weak::Sequence, "", unlocked);
}

#[test]
fn pthread_unlocked_without_being_counted_first_is_refuted() {
    starves(Weak::No, "being counted first", unlocked);
}

#[test]
fn pthread_unlocked_unseen_without_the_mark_is_refuted() {
    starves(Weak::No, "the mark", unlocked_unseen);
}

#[test]
fn pthread_unlocked_unseen_without_waking_for_the_mark_is_refuted() {
    starves(Weak::No, "waking for the mark", unlocked_unseen);
}
