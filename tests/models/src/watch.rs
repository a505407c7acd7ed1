//! Models of the watch over timers and the poller (`sched/watch.rs`): WA1 and WA2, with what `sched/find.rs` and
//! `sched/wake.rs` do around it, in functions named as there.
//!
//! An M is a thread of the model; when it goes to sleep, the thread ends. An M that is given a P meanwhile is
//! noted, and runs after all threads have ended. There is nothing to run but timers that are due. At the end all
//! Ps are idle, and somebody is to wake in time for the earliest timer.

use crate::base::atomic::{AtomicU32, AtomicU64, Ordering, with_sequence};
use crate::base::lock::{Guard, Lock};
use crate::base::steps::lacks;
use crate::check::{holds, refuted_without};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

const NEVER: u64 = u64::MAX;
const NOW: u64 = 5;

const VACANT: u32 = 0;
const LOOKING: u32 = 1;
const WATCHED: u32 = 2;

type M = usize;
type P = usize;

/// What the scheduler lock guards.
struct Shared {
    pidle: Vec<P>,
    /// Ms that sleep on their notes, and until when.
    midle: Vec<(M, u64)>,
    polling: Option<M>,
    /// Who is in the kernel's poll.
    in_poll: Option<M>,
    /// Who was given a P with a wake-up.
    given: Vec<(M, P)>,
}

struct Sched {
    shared: Lock<Shared>,
    state: AtomicU32,
    until: AtomicU64,
    /// The earliest timer of each P.
    timers: Vec<AtomicU64>,
    /// Goroutines wait for descriptors.
    waiters: bool,
}

impl Sched {
    fn new(timers: &[u64], idle: &[P], waiters: bool) -> Arc<Self> {
        with_sequence(true);
        Arc::new(Self {
            shared: Lock::new(Shared {
                pidle: idle.to_vec(),
                midle: Vec::new(),
                polling: None,
                in_poll: None,
                given: Vec::new(),
            }),
            state: AtomicU32::new(VACANT),
            until: AtomicU64::new(NEVER),
            timers: timers.iter().map(|at| AtomicU64::new(*at)).collect(),
            waiters,
        })
    }

    fn leave(&self) {
        if !lacks("forgetting the time") {
            self.until.store(NEVER, Ordering::SeqCst);
        }
        self.state.store(VACANT, Ordering::SeqCst);
    }

    fn begin(&self) -> bool {
        loop {
            let entered =
                self.state.compare_exchange(VACANT, WATCHED, Ordering::SeqCst, Ordering::SeqCst);
            match entered {
                Ok(_) => return true,
                Err(WATCHED) => return false,
                Err(_) => thread::yield_now(),
            }
        }
    }

    fn earliest(&self) -> u64 {
        self.timers.iter().map(|at| at.load(Ordering::SeqCst)).min().unwrap_or(NEVER)
    }

    /// Runs what is due on `p`.
    fn expire(&self, p: P) {
        if self.timers[p].load(Ordering::SeqCst) <= NOW {
            self.timers[p].store(NEVER, Ordering::SeqCst);
        }
    }

    /// run.rs: the loop of an M, until it sleeps.
    fn main_loop(&self, m: M, mut p: Option<P>) {
        while let Some(has) = p {
            self.expire(has);
            // find.rs, give_up().
            self.shared.lock().pidle.push(has);
            p = self.sleep(m);
        }
    }

    /// The P it goes on with; none: it sleeps.
    fn sleep(&self, m: M) -> Option<P> {
        let next = self.earliest();
        if next <= NOW {
            let p = self.shared.lock().pidle.pop();
            if p.is_some() {
                return p;
            }
        } else if (next != NEVER || self.waiters) && self.begin() {
            self.keep_watch(m, next);
            return None;
        }
        let is_earlier = next < self.until.load(Ordering::SeqCst);
        let until = if is_earlier && !lacks("sleeping for the timer") { next } else { NEVER };
        if until <= NOW {
            let p = self.shared.lock().pidle.pop();
            if p.is_some() {
                return p;
            }
            // main_loop() has no P.
            self.stopm(m, NEVER);
        } else {
            self.stopm(m, until);
        }
        None
    }

    fn stopm(&self, m: M, until: u64) {
        self.shared.lock().midle.push((m, until));
    }

    /// Up to the kernel's poll.
    fn keep_watch(&self, m: M, next: u64) {
        let mut shared = self.shared.lock();
        shared.polling = Some(m);
        shared.in_poll = Some(m);
        drop(shared);
        self.until.store(next, Ordering::SeqCst);
    }

    /// From there.
    fn leave_poll(&self) {
        let Some(m) = self.shared.lock().in_poll.take() else { return };
        self.state.store(LOOKING, Ordering::SeqCst);
        let is_early = lacks("leaving under the lock");
        if is_early {
            self.leave();
        }
        let mut shared = self.shared.lock();
        let ours = shared.polling == Some(m);
        if ours || !is_early {
            shared.polling = None;
        }
        if !is_early {
            self.leave();
        }
        let p = if ours {
            shared.pidle.pop()
        } else {
            let given = shared.given.iter().position(|(to, _)| *to == m);
            assert!(given.is_some(), "it waits for a P that nobody gives it");
            given.map(|at| shared.given.swap_remove(at).1)
        };
        drop(shared);
        if p.is_some() {
            (0..self.timers.len()).for_each(|p| self.expire(p));
            self.main_loop(m, p);
        } else {
            self.stopm(m, NEVER);
        }
    }

    fn needs_watcher(&self, next: u64) -> bool {
        (next != NEVER || self.waiters)
            && (self.state.load(Ordering::SeqCst) != WATCHED
                || self.until.load(Ordering::SeqCst) > next)
    }

    /// wake.rs
    fn hand_off(&self, p: P) {
        let early = lacks("asking under the lock").then(|| self.needs_watcher(self.earliest()));
        let mut shared = self.shared.lock();
        let is_last = shared.pidle.len() + 1 >= self.timers.len();
        let asks = !lacks("asking for a watcher");
        if asks && is_last && early.unwrap_or_else(|| self.needs_watcher(self.earliest())) {
            return Self::start_with(&mut shared, p);
        }
        shared.pidle.push(p);
    }

    fn start_with(shared: &mut Guard<'_, Shared>, p: P) {
        // The monitor makes a thread where nobody is idle: one with a number of its own.
        let idle = shared.midle.pop().map(|(m, _)| m);
        let watcher = || {
            let polling = shared.polling;
            if !lacks("taking the watcher") {
                shared.polling = None;
            }
            polling
        };
        let m = idle.or_else(watcher).unwrap_or(100 + p);
        shared.given.push((m, p));
    }

    /// At the end: lets those run that were given a P, then looks.
    fn check(&self) {
        loop {
            let mut shared = self.shared.lock();
            let Some((m, _)) = shared.given.last().copied() else { break };
            if shared.in_poll == Some(m) {
                let given = shared.given.len();
                drop(shared);
                self.leave_poll();
                assert!(self.shared.lock().given.len() < given, "a P is lost");
            } else {
                let p = shared.given.pop().map(|(_, p)| p);
                drop(shared);
                self.main_loop(m, p);
            }
        }
        let shared = self.shared.lock();
        assert_eq!(shared.pidle.len(), self.timers.len(), "a P is lost");
        let next = self.earliest();
        let is_watched = self.state.load(Ordering::SeqCst) == WATCHED && shared.in_poll.is_some();
        let until = if is_watched { self.until.load(Ordering::SeqCst) } else { NEVER };
        let sleeper = shared.midle.iter().map(|(_, until)| *until).min().unwrap_or(NEVER);
        assert!(is_watched || !self.waiters, "WA1: nobody is in the poller");
        assert!(next == NEVER || until.min(sleeper) <= next, "WA2: nobody wakes for a timer");
    }
}

fn in_thread(sched: &Arc<Sched>, f: impl FnOnce(&Sched) + 'static) -> JoinHandle<()> {
    let sched = sched.clone();
    thread::spawn(move || f(&sched))
}

/// An event wakes the watcher, M0, while M1, whose timer nobody knows of yet, goes idle.
fn watcher_leaves() {
    let sched = Sched::new(&[NEVER, 10], &[0], true);
    assert_eq!(sched.sleep(0), None, "it watches");
    let watcher = in_thread(&sched, Sched::leave_poll);
    sched.main_loop(1, Some(1));
    watcher.join().unwrap();
    sched.check();
}

/// The watcher's time has come, while the monitor hands the only P on.
fn handed_off() {
    let sched = Sched::new(&[NOW + 1], &[], false);
    assert_eq!(sched.sleep(0), None, "it watches");
    let watcher = in_thread(&sched, Sched::leave_poll);
    sched.hand_off(0);
    watcher.join().unwrap();
    sched.check();
}

/// The monitor hands the last P on, where a timer was set just now, while M0 is about to sleep, and may not know
/// of it.
fn last_two() {
    let sched = Sched::new(&[NEVER, NEVER], &[], false);
    let other = in_thread(&sched, |sched| sched.main_loop(0, Some(0)));
    sched.timers[1].store(10, Ordering::SeqCst);
    sched.hand_off(1);
    other.join().unwrap();
    sched.check();
}

/// Two go idle; one has set a timer just now, which is earlier than the one that is known.
fn two_go_idle() {
    let sched = Sched::new(&[20, NEVER], &[], false);
    // The watch before.
    sched.until.store(NOW + 1, Ordering::SeqCst);
    sched.leave();
    let other = in_thread(&sched, |sched| sched.main_loop(0, Some(0)));
    sched.timers[1].store(10, Ordering::SeqCst);
    sched.main_loop(1, Some(1));
    other.join().unwrap();
    sched.check();
}

/// Somebody needs an M for P1 and takes the watcher, which is leaving.
fn watcher_is_taken() {
    let sched = Sched::new(&[10, NEVER], &[0], true);
    assert_eq!(sched.sleep(0), None, "it watches");
    let watcher = in_thread(&sched, Sched::leave_poll);
    Sched::start_with(&mut sched.shared.lock(), 1);
    watcher.join().unwrap();
    sched.check();
}

#[test]
fn watch_watcher_leaves() {
    holds(watcher_leaves);
}

#[test]
fn watch_handed_off() {
    holds(handed_off);
}

#[test]
fn watch_last_two() {
    holds(last_two);
}

#[test]
fn watch_two_go_idle() {
    holds(two_go_idle);
}

#[test]
fn watch_watcher_is_taken() {
    holds(watcher_is_taken);
}

#[test]
fn watch_watcher_leaves_without_lock_is_refuted() {
    refuted_without("leaving under the lock", "that nobody gives it", watcher_leaves);
}

#[test]
fn watch_handed_off_without_asking_under_the_lock_is_refuted() {
    refuted_without("asking under the lock", "WA2", handed_off);
}

#[test]
fn watch_last_two_without_asking_is_refuted() {
    refuted_without("asking for a watcher", "WA2", last_two);
}

#[test]
fn watch_two_go_idle_without_sleeping_for_the_timer_is_refuted() {
    refuted_without("sleeping for the timer", "WA2", two_go_idle);
}

#[test]
fn watch_two_go_idle_without_forgetting_the_time_is_refuted() {
    refuted_without("forgetting the time", "WA2", two_go_idle);
}

#[test]
fn watch_watcher_is_taken_without_taking_it_is_refuted() {
    refuted_without("taking the watcher", "a P is lost", watcher_is_taken);
}
