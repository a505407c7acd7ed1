//! Models of idle processors and spinning Ms (`sched/idle.rs`), with what `sched/find.rs` and
//! `sched/wake.rs` do around it, in functions named as there.
//!
//! An M is a thread of the model; when it goes to sleep, the thread ends. An M that is started is
//! noted, and runs after all threads have ended. Then ID1 is checked: no work in a queue beside an idle
//! P, unless somebody looks.

use crate::base::atomic::{AtomicU32, Ordering, Weak};
use crate::check::{holds, refuted};
use crate::real::idle::Idle;
use loom::sync::{Arc, Mutex, MutexGuard};
use loom::thread;

const PROCS: usize = 2;

/// What a weakened twin leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The last look of an M that spun.
    LastLook,
    /// The look at `needed` of an M that did not spin.
    Needed,
    /// Who looked for an idle P and found none, after he had raised `spinning`, or had seen work,
    /// leaves no word.
    Word,
    /// He takes back what he added to `spinning` after he has unlocked.
    InTime,
}

/// What the scheduler lock guards.
struct Shared {
    pidle: Vec<usize>,
    /// Ms that were started, with their P, and whether they spin.
    started: Vec<(usize, bool)>,
    global: u32,
}

struct Sched {
    without: Without,
    shared: Mutex<Shared>,
    idle: Idle,
    /// Elements in each P's queue: 0 or 1.
    runq: [AtomicU32; PROCS],
    runq_size: AtomicU32,
}

/// An M, with its P.
struct M {
    p: Option<usize>,
    spinning: bool,
}

impl Sched {
    fn new(without: Without, idle: &[usize]) -> Arc<Self> {
        let sched = Self {
            without,
            shared: Mutex::new(Shared { pidle: idle.to_vec(), started: Vec::new(), global: 0 }),
            idle: Idle::new(),
            runq: std::array::from_fn(|_| AtomicU32::new(0)),
            runq_size: AtomicU32::new(0),
        };
        idle.iter().for_each(|_| sched.idle.proc_idle());
        Arc::new(sched)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    /// ready.rs: work for the P's own queue.
    fn ready(&self, p: usize) {
        self.runq[p].store(1, Ordering::Release);
        self.wakep();
    }

    /// park.rs: work for all.
    fn ready_global(&self) {
        let mut shared = self.lock();
        shared.global += 1;
        self.runq_size.store(shared.global, Ordering::Relaxed);
        drop(shared);
        self.wakep();
    }

    fn wakep(&self) {
        if self.idle.want_wake() {
            self.wake_spinning();
        }
    }

    fn wake_spinning(&self) {
        let mut shared = self.lock();
        if let Some(p) = self.get_idle(&mut shared) {
            shared.started.push((p, true));
            return;
        }
        self.leave_word();
        // Under the lock: who makes a P idle next must not be seen to stop spinning before us.
        if self.without == Without::InTime {
            drop(shared);
        }
        self.idle.stop_spinning();
    }

    /// Who wanted an idle P and found none says so, under the lock: whoever makes one idle next, under
    /// the lock too, looks at `needed` or at all queues. (Go: `pidlegetSpinning`.)
    fn leave_word(&self) {
        if self.without != Without::Word {
            self.idle.leave_word();
        }
    }

    fn get_idle(&self, shared: &mut Shared) -> Option<usize> {
        let p = shared.pidle.pop()?;
        self.idle.proc_busy();
        Some(p)
    }

    fn put_idle(&self, shared: &mut Shared, p: usize) {
        shared.pidle.push(p);
        self.idle.proc_idle();
    }

    /// The loop of an M, until it sleeps; what it finds is done at once.
    fn run(&self, mut m: M) {
        while self.find_runnable(&mut m) {
            if m.spinning {
                m.spinning = false;
                assert!(self.idle.stop_spinning() >= 0, "negative number of spinning Ms");
                self.wakep();
            }
        }
    }

    /// True: it has found work. False: it sleeps.
    fn find_runnable(&self, m: &mut M) -> bool {
        loop {
            let Some(p) = m.p else { return false };
            if self.at_hand(p) || self.try_steal(m, p) {
                return true;
            }
            match self.give_up(m, p) {
                Some(true) => return true,
                Some(false) => continue,
                None => {}
            }
            if !self.was_spinning_and_missed(m) {
                return false;
            }
        }
    }

    fn at_hand(&self, p: usize) -> bool {
        if self.take_local(p) {
            return true;
        }
        self.runq_size.load(Ordering::Relaxed) > 0 && self.take_global(&mut self.lock())
    }

    fn take_local(&self, p: usize) -> bool {
        self.runq[p].load(Ordering::Acquire) == 1
            && self.runq[p].compare_exchange(1, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    fn take_global(&self, shared: &mut Shared) -> bool {
        let Some(left) = shared.global.checked_sub(1) else { return false };
        shared.global = left;
        self.runq_size.store(left, Ordering::Relaxed);
        true
    }

    fn try_steal(&self, m: &mut M, p: usize) -> bool {
        if !m.spinning {
            if !self.idle.may_spin(PROCS as u32) {
                return false;
            }
            m.spinning = true;
            self.idle.start_spinning();
        }
        (0..PROCS).any(|victim| victim != p && self.take_local(victim))
    }

    fn give_up(&self, m: &mut M, p: usize) -> Option<bool> {
        let mut shared = self.lock();
        if self.take_global(&mut shared) {
            return Some(true);
        }
        m.p = None;
        self.put_idle(&mut shared, p);
        if !m.spinning && self.without != Without::Needed && self.idle.was_needed() {
            m.p = self.get_idle(&mut shared);
            drop(shared);
            m.spinning = true;
            self.idle.start_spinning();
            return Some(false);
        }
        None
    }

    fn was_spinning_and_missed(&self, m: &mut M) -> bool {
        if !m.spinning {
            return false;
        }
        m.spinning = false;
        assert!(self.idle.stop_spinning() >= 0, "negative number of spinning Ms");
        if self.without == Without::LastLook {
            return false;
        }
        let work = self.runq_size.load(Ordering::Relaxed) > 0
            || self.runq.iter().any(|queue| queue.load(Ordering::Acquire) > 0);
        if !work {
            return false;
        }
        let mut shared = self.lock();
        let Some(p) = self.get_idle(&mut shared) else {
            self.leave_word();
            return false;
        };
        drop(shared);
        m.p = Some(p);
        m.spinning = true;
        self.idle.start_spinning();
        true
    }

    fn hand_off(&self, p: usize) {
        if self.runq[p].load(Ordering::Acquire) > 0 || self.runq_size.load(Ordering::Relaxed) > 0 {
            return self.lock().started.push((p, false));
        }
        let nobody = self.idle.spinning.load(Ordering::SeqCst) == 0
            && self.idle.procs.load(Ordering::SeqCst) == 0;
        if nobody
            && self
                .idle
                .spinning
                .compare_exchange(0, 1, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
        {
            return self.lock().started.push((p, true));
        }
        let mut shared = self.lock();
        if self.runq_size.load(Ordering::Relaxed) > 0 {
            return shared.started.push((p, false));
        }
        self.put_idle(&mut shared, p);
        if self.without != Without::Needed
            && self.idle.was_needed()
            && let Some(p) = self.get_idle(&mut shared)
        {
            shared.started.push((p, false));
        }
    }

    /// At the end: lets the Ms run that were started, then looks.
    fn check(&self) {
        loop {
            let next = self.lock().started.pop();
            let Some((p, spinning)) = next else { break };
            self.run(M { p: Some(p), spinning });
        }
        assert_eq!(self.idle.spinning.load(Ordering::SeqCst), 0, "nobody spins");
        let work = self.lock().global > 0
            || self.runq.iter().any(|queue| queue.load(Ordering::Acquire) > 0);
        let idle = !self.lock().pidle.is_empty();
        assert!(!(work && idle), "ID1: work waits beside an idle P");
    }
}

fn in_thread(sched: &Arc<Sched>, f: impl FnOnce(&Sched) + 'static) -> thread::JoinHandle<()> {
    let sched = sched.clone();
    thread::spawn(move || f(&sched))
}

/// P1's M spins and finds nothing, while P0 makes work.
fn spinner(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let sched = Sched::new(without, &[]);
        sched.idle.start_spinning();
        let m = in_thread(&sched, |sched| sched.run(M { p: Some(1), spinning: true }));
        sched.ready(0);
        m.join().unwrap();
        sched.check();
    }
}

/// As `spinner`, with a thread besides that makes work for all.
fn two_submitters(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let sched = Sched::new(without, &[]);
        sched.idle.start_spinning();
        let m = in_thread(&sched, |sched| sched.run(M { p: Some(1), spinning: true }));
        let other = in_thread(&sched, Sched::ready_global);
        sched.ready(0);
        m.join().unwrap();
        other.join().unwrap();
        sched.check();
    }
}

/// An M that was not allowed to spin gives P1 up, while P0 makes work.
fn not_spinning(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let sched = Sched::new(without, &[]);
        let m = in_thread(&sched, |sched| {
            let mut m = M { p: Some(1), spinning: false };
            match sched.give_up(&mut m, 1) {
                Some(true) => unreachable!("there is no work for all"),
                Some(false) => sched.run(m),
                None => {}
            }
        });
        sched.ready(0);
        m.join().unwrap();
        sched.check();
    }
}

/// The monitor hands P1 on, while another M, whose P is idle already, ends its spinning, and P0 makes
/// work.
fn handed_off(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let sched = Sched::new(without, &[]);
        sched.idle.start_spinning();
        let spinner = in_thread(&sched, |sched| {
            // As reset_spinning(): it has found work.
            sched.idle.stop_spinning();
            sched.wakep();
        });
        let monitor = in_thread(&sched, |sched| sched.hand_off(1));
        sched.ready(0);
        spinner.join().unwrap();
        monitor.join().unwrap();
        sched.check();
    }
}

/// Somebody wants to wake an M for the idle P1, which a goroutine takes that comes back from a system
/// call and has nothing to do; P0 makes work meanwhile.
fn phantom(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let sched = Sched::new(without, &[1]);
        let waker = in_thread(&sched, Sched::wakep);
        let comer = in_thread(&sched, come_back_and_end);
        sched.ready(0);
        waker.join().unwrap();
        comer.join().unwrap();
        sched.check();
    }
}

/// syscall.rs, and the end of the goroutine.
fn come_back_and_end(sched: &Sched) {
    let p = sched.get_idle(&mut sched.lock());
    if p.is_some() {
        sched.run(M { p, spinning: false });
    }
}

/// A spinning M gives P1 up; before it looks once more, a goroutine takes P1 that comes back from a
/// system call and has nothing to do; P0 makes work meanwhile.
fn no_p_left(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let sched = Sched::new(without, &[]);
        sched.idle.start_spinning();
        let m = in_thread(&sched, |sched| sched.run(M { p: Some(1), spinning: true }));
        let comer = in_thread(&sched, come_back_and_end);
        sched.ready(0);
        m.join().unwrap();
        comer.join().unwrap();
        sched.check();
    }
}

#[test]
fn idle_spinner() {
    holds(spinner(Without::Nothing));
}

#[test]
fn idle_two_submitters() {
    holds(two_submitters(Without::Nothing));
}

#[test]
fn idle_not_spinning() {
    holds(not_spinning(Without::Nothing));
}

#[test]
fn idle_handed_off() {
    holds(handed_off(Without::Nothing));
}

#[test]
fn idle_phantom() {
    holds(phantom(Without::Nothing));
}

#[test]
fn idle_no_p_left() {
    holds(no_p_left(Without::Nothing));
}

#[test]
fn idle_spinner_without_fences_is_refuted() {
    refuted(Weak::Fences, "ID1", spinner(Without::Nothing));
}

#[test]
fn idle_spinner_without_last_look_is_refuted() {
    refuted(Weak::No, "ID1", spinner(Without::LastLook));
}

#[test]
fn idle_not_spinning_without_fences_is_refuted() {
    refuted(Weak::Fences, "ID1", not_spinning(Without::Nothing));
}

#[test]
fn idle_not_spinning_without_needed_is_refuted() {
    refuted(Weak::No, "ID1", not_spinning(Without::Needed));
}

#[test]
fn idle_handed_off_without_needed_is_refuted() {
    refuted(Weak::No, "ID1", handed_off(Without::Needed));
}

#[test]
fn idle_phantom_without_word_is_refuted() {
    refuted(Weak::No, "ID1", phantom(Without::Word));
}

#[test]
fn idle_phantom_not_in_time_is_refuted() {
    refuted(Weak::No, "ID1", phantom(Without::InTime));
}

#[test]
fn idle_no_p_left_without_word_is_refuted() {
    refuted(Weak::No, "ID1", no_p_left(Without::Word));
}
