//! Models of the futexes' table (`intercept/futex.rs`): FX1, FX2, and FX3. Its functions are repeated here, over the
//! library's lists (`g/wait_list.rs`). Who sleeps beside what he waits for is found by loom: a deadlock.

use crate::base::atomic::{AtomicU32, Ordering, Weak, fence, with_sequence};
use crate::base::lock::Lock;
use crate::base::steps::lacks;
use crate::check::{falls, holds, starves};
use crate::g::reason::WaitReason;
use crate::g::wait::Cause;
use crate::g::wait_list::{WaitList, Waiting};
use crate::g::{G, current, forever};
use crate::sched::wait::{NEVER, wait, waking};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread::{self, JoinHandle};

/// One bucket.
pub(crate) struct Bucket {
    waiting: AtomicU32,
    list: Lock<WaitList>,
}

/// As there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Woken {
    Yes,
    Changed,
    Timeout,
}

impl Bucket {
    pub(crate) fn new() -> Self {
        with_sequence(true);
        Self { waiting: AtomicU32::new(0), list: Lock::new(WaitList::new()) }
    }

    pub(crate) fn wait_at(
        &self,
        gp: &'static G,
        until: u64,
        is_changed: impl FnOnce() -> bool,
    ) -> Woken {
        self.wait_and(gp, until, is_changed, |one| self.take_out(one))
    }

    fn take_out(&self, one: &Waiting) {
        if self.list.lock().remove(one) {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// A goroutine whose time is over takes itself out by `take_out`.
    fn wait_and(
        &self,
        gp: &'static G,
        until: u64,
        is_changed: impl FnOnce() -> bool,
        take_out: impl FnOnce(&Waiting),
    ) -> Woken {
        let count = || self.waiting.fetch_add(1, Ordering::SeqCst);
        if !lacks("counting first") {
            count();
        }
        let ticket = gp.wait.begin();
        let one = Waiting::new(gp, ticket, 1, u32::MAX);
        {
            let mut is_changed = Some(is_changed);
            let mut look = || is_changed.take().is_some_and(|is_changed| is_changed());
            let early = lacks("comparing under the lock") && look();
            let mut list = self.list.lock();
            if early || look() {
                if !lacks("counting first") {
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                return Woken::Changed;
            }
            if lacks("counting first") {
                count();
            }
            // SAFETY: it stays here until its wait has ended; then it is out, or taken out below.
            unsafe { list.push(&one) };
        }
        if wait(gp, WaitReason::Io, ticket, until) == Cause::Timeout {
            take_out(&one);
            return Woken::Timeout;
        }
        Woken::Yes
    }

    pub(crate) fn wake_at(&self, most: usize) -> usize {
        self.wake_for(1, most)
    }

    /// The same for the address `key`.
    fn wake_for(&self, key: usize, most: usize) -> usize {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        waking(|out| {
            let mut list = self.list.lock();
            let (woken, taken) = list.end(Cause::Ready, most, out, |one| one.key() == key);
            self.waiting.fetch_sub(taken as u32, Ordering::Relaxed);
            woken
        })
    }

    /// At the end: nobody waits.
    pub(crate) fn check(&self) {
        assert!(self.list.lock().is_empty(), "somebody is in the list");
        assert_eq!(self.waiting.load(Ordering::Relaxed), 0, "somebody is counted");
    }
}

/// A futex: goroutines wait while it is 1.
struct World {
    word: AtomicU32,
    bucket: Bucket,
    gs: [G; 2],
    /// Threads that wait in the kernel, or are about to; how many were woken there.
    threads: AtomicU32,
    kernel: Mutex<u32>,
    woken: Condvar,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            word: AtomicU32::new(1),
            bucket: Bucket::new(),
            gs: std::array::from_fn(|_| G::new()),
            threads: AtomicU32::new(0),
            kernel: Mutex::new(0),
            woken: Condvar::new(),
        })
    }

    /// A thread waits, in the kernel.
    fn thread(this: &Arc<Self>) -> JoinHandle<()> {
        let world = this.clone();
        thread::spawn(move || {
            if !lacks("counting threads first") {
                world.threads.fetch_add(1, Ordering::SeqCst);
            }
            let mut woken = world.kernel.lock().unwrap();
            if world.word.load(Ordering::SeqCst) == 1 {
                if lacks("counting threads first") {
                    world.threads.fetch_add(1, Ordering::SeqCst);
                }
                while *woken == 0 {
                    woken = world.woken.wait(woken).unwrap();
                }
            }
            drop(woken);
            world.threads.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// Goroutine `i` waits; who is woken wakes the next, as who unlocks does.
    fn waiter(this: &Arc<Self>, i: usize, until: u64) -> JoinHandle<()> {
        let world = this.clone();
        thread::spawn(move || {
            let World { word, bucket, gs, .. } = forever(&world);
            current::set_g(&gs[i]);
            let is_changed = || word.load(Ordering::SeqCst) != 1;
            if bucket.wait_at(&gs[i], until, is_changed) == Woken::Yes {
                bucket.wake_at(1);
            }
        })
    }

    /// Changes the word, then wakes one.
    fn wake(&self) {
        self.word.store(0, Ordering::Release);
        if self.bucket.wake_at(1) > 0 || self.threads.load(Ordering::Relaxed) == 0 {
            return;
        }
        *self.kernel.lock().unwrap() += 1;
        self.woken.notify_one();
    }
}

/// Two buckets, with one address each: 1 and 2.
struct Table {
    buckets: [Bucket; 2],
    gs: [G; 2],
}

impl Table {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            buckets: std::array::from_fn(|_| Bucket::new()),
            gs: std::array::from_fn(|_| G::new()),
        })
    }

    fn take_out(&self, one: &Waiting) {
        loop {
            let at = one.key();
            let bucket = &self.buckets[at - 1];
            let mut list = bucket.list.lock();
            if one.key() == at || lacks("asking again where it waits") {
                if list.remove(one) {
                    bucket.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                return;
            }
        }
    }

    /// Has the goroutines that wait for 1 wait for 2.
    fn requeue(&self) -> usize {
        fence(Ordering::SeqCst);
        let [source, target] = &self.buckets;
        if source.waiting.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let mut from = source.list.lock();
        let mut into = target.list.lock();
        // SAFETY: both are locked.
        let moved = unsafe { from.hand_over(Some(&mut into), (1, 2), usize::MAX) };
        target.waiting.fetch_add(moved as u32, Ordering::SeqCst);
        source.waiting.fetch_sub(moved as u32, Ordering::Relaxed);
        moved
    }

    /// Goroutine `i` waits for 1.
    fn waiter(this: &Arc<Self>, i: usize, until: u64) -> JoinHandle<()> {
        let table = this.clone();
        thread::spawn(move || {
            let table = forever(&table);
            current::set_g(&table.gs[i]);
            let out = |one: &Waiting| table.take_out(one);
            table.buckets[0].wait_and(&table.gs[i], until, || false, out);
        })
    }

    /// Moves waiters until `count` were moved; then wakes them where they are.
    fn move_and_wake(&self, count: usize) {
        let mut moved = 0;
        while moved < count {
            moved += self.requeue();
            thread::yield_now();
        }
        self.buckets[1].wake_for(2, usize::MAX);
    }

    fn check(&self) {
        self.buckets.iter().for_each(Bucket::check);
    }
}

/// One is moved from one list to another, and woken there.
fn moved() {
    let table = Table::new();
    let waiter = Table::waiter(&table, 0, NEVER);
    table.move_and_wake(1);
    waiter.join().unwrap();
    table.check();
}

/// One that may be moved just now leaves, as its time is over.
fn moved_timed() {
    let table = Table::new();
    let waiter = Table::waiter(&table, 0, 1);
    table.requeue();
    waiter.join().unwrap();
    table.check();
}

fn one_waiter() {
    let world = World::new();
    let waiter = World::waiter(&world, 0, NEVER);
    world.wake();
    waiter.join().unwrap();
    world.bucket.check();
}

fn one_thread() {
    let world = World::new();
    let waiter = World::thread(&world);
    world.wake();
    waiter.join().unwrap();
}

/// The time of one of two is over at any moment: the wake-up is not his then.
fn one_of_two_timed() {
    let world = World::new();
    let timed = World::waiter(&world, 0, 1);
    let other = World::waiter(&world, 1, NEVER);
    world.wake();
    timed.join().unwrap();
    other.join().unwrap();
    world.bucket.check();
}

#[test]
fn futex_one_waiter() {
    holds(one_waiter);
}

#[test]
fn futex_one_thread() {
    holds(one_thread);
}

#[test]
fn futex_one_of_two_timed() {
    holds(one_of_two_timed);
}

#[test]
fn futex_moved() {
    holds(moved);
}

#[test]
fn futex_moved_timed() {
    holds(moved_timed);
}

#[test]
fn futex_moved_timed_without_asking_again_is_refuted() {
    let step = "asking again where it waits";
    falls(Weak::No, step, "somebody is counted", moved_timed);
}

#[test]
fn futex_one_waiter_without_fence_is_refuted() {
    starves(Weak::Fences, "", one_waiter);
}

#[test]
fn futex_one_waiter_without_sequence_is_refuted() {
    starves(Weak::Sequence, "", one_waiter);
}

#[test]
fn futex_one_waiter_without_counting_first_is_refuted() {
    starves(Weak::No, "counting first", one_waiter);
}

#[test]
fn futex_one_waiter_without_comparing_under_the_lock_is_refuted() {
    starves(Weak::No, "comparing under the lock", one_waiter);
}

#[test]
fn futex_one_of_two_timed_without_going_on_to_the_next_is_refuted() {
    starves(Weak::No, "going on to the next", one_of_two_timed);
}

#[test]
fn futex_one_thread_without_fence_is_refuted() {
    starves(Weak::Fences, "", one_thread);
}

#[test]
fn futex_one_thread_without_counting_first_is_refuted() {
    starves(Weak::No, "counting threads first", one_thread);
}
