//! Models of losing and keeping a P (`m/lease.rs`), with what `g/current.rs`, `sched/run.rs`,
//! `sched/syscall.rs` and `sched/sysmon.rs` do around it, in functions named as there.
//!
//! A P is a cell that its owner writes: if two own it, loom reports a data race.

use crate::base::atomic::{
    AtomicBool, AtomicU32, Kernel, Ordering, Weak, entries_are_dear, entry_barrier, heavy_barrier,
    light_barrier, with_kernel,
};
use crate::check::{holds, refuted, refuted_without};
use crate::real::lease::{Lease, OWNED, Reclaimed};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;

/// What loom says of two owners.
const RACE: &str = "Causality violation";

/// What a weakened twin leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Without {
    Nothing,
    /// The monitor does not compare `switches` (LE2).
    Switches,
    /// `switches` is counted before `curg` is written, not between that and publishing the goroutine.
    Order,
    /// Who comes back looks only for a P that was taken, not for an attempt to take it.
    Reclaim,
    /// Two may try to take a P at once.
    Serial,
    /// The lease does not say which P is at hand in an announced call.
    Identity,
}

/// The P: who writes it must own it.
struct P {
    content: UnsafeCell<u32>,
    /// The M that holds it, plus one; 0: none.
    m: AtomicU32,
}

// SAFETY: the cell is the owner's, which is what is checked.
unsafe impl Sync for P {}
// SAFETY: as above.
unsafe impl Send for P {}

impl P {
    fn new(m: u32) -> Self {
        Self { content: UnsafeCell::new(0), m: AtomicU32::new(m) }
    }

    fn use_it(&self) {
        // An operation of its own, or loom would count the use to the one before.
        self.m.load(Ordering::Relaxed);
        // SAFETY: the caller owns the P, or loom finds it.
        self.content.with_mut(|at| unsafe { *at += 1 });
    }
}

/// One M, the goroutines 0 and 1 that may run on it, and two Ps, of which it holds the first.
struct World {
    without: Without,
    lease: Lease,
    switches: AtomicU32,
    /// The goroutine on the M, plus one; 0: none.
    curg: AtomicU32,
    nopreempt: [AtomicU32; 2],
    /// The number of the M's P, plus one.
    p: AtomicU32,
    procs: [P; 2],
    takers: Mutex<()>,
    syscalltick: AtomicU32,
    /// The goroutine that left is in a queue.
    published: AtomicBool,
    /// P0 is on the idle list.
    p0_is_idle: Mutex<bool>,
}

const MP: u32 = 1;
/// The call that the monitor has seen before: the first.
const SEEN_TICK: u32 = 1;

impl World {
    /// The goroutines' counts at the start.
    fn new(without: Without, nopreempt: [u32; 2]) -> Arc<Self> {
        Arc::new(Self {
            without,
            lease: Lease::new(),
            switches: AtomicU32::new(0),
            curg: AtomicU32::new(1),
            nopreempt: nopreempt.map(AtomicU32::new),
            p: AtomicU32::new(1),
            procs: [P::new(MP), P::new(0)],
            takers: Mutex::new(()),
            syscalltick: AtomicU32::new(0),
            published: AtomicBool::new(false),
            p0_is_idle: Mutex::new(false),
        })
    }

    fn raise_count(&self, g: usize) {
        let count = &self.nopreempt[g];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        light_barrier();
    }

    fn lower(&self, g: usize) {
        light_barrier();
        let count = &self.nopreempt[g];
        count.store(count.load(Ordering::Relaxed) - 1, Ordering::Release);
        light_barrier();
    }

    /// Begins a section of `g`; whether it still has its P.
    fn enter(&self, g: usize) -> Reclaimed {
        self.raise_count(g);
        // origin.rs: each is to look closer where entries are dear.
        let owned = if entries_are_dear() { 0 } else { OWNED };
        if self.lease.is(owned) {
            return Reclaimed::Kept;
        }
        self.enter_closely()
    }

    fn enter_closely(&self) -> Reclaimed {
        entry_barrier();
        if self.lease.is_owned() {
            return Reclaimed::Kept;
        }
        if self.without == Without::Reclaim && !self.lease.is_taken() {
            return Reclaimed::Kept;
        }
        self.lease.reclaim()
    }

    /// A section that uses the P, if it is there.
    fn section(&self, g: usize) -> Reclaimed {
        let reclaimed = self.enter(g);
        if reclaimed == Reclaimed::Kept {
            self.procs[0].use_it();
        }
        self.lower(g);
        reclaimed
    }

    /// `blocking`: in a section, announces the call.
    fn begin_syscall(&self, g: usize) {
        if self.enter(g) == Reclaimed::Kept {
            self.procs[0].use_it();
            self.announce(0);
        }
        self.lower(g);
    }

    /// preempt.rs: the end of the section before the call. The M holds P number `p`.
    fn announce(&self, p: u32) {
        let tick = self.syscalltick.load(Ordering::Relaxed);
        self.syscalltick.store(tick + 1, Ordering::Relaxed);
        // A weakened twin names none.
        self.lease.enter_syscall(if self.without == Without::Identity { 0 } else { p });
    }

    /// wake.rs: the M gives P0 up, and is given P1. In a section, or on its own stack.
    fn change_procs(&self) {
        self.p.store(0, Ordering::Relaxed);
        self.procs[0].m.store(0, Ordering::Release);
        *self.p0_is_idle.lock().unwrap() = true;
        self.procs[1].m.store(MP, Ordering::Release);
        self.p.store(2, Ordering::Relaxed);
        self.lease.grant();
        self.procs[1].use_it();
    }

    /// Another M takes P0 if it is idle.
    fn acquire_p0(&self) {
        if std::mem::take(&mut *self.p0_is_idle.lock().unwrap()) {
            self.procs[0].m.store(MP + 1, Ordering::Release);
            self.procs[0].use_it();
        }
    }

    /// run.rs: the M goes over from goroutine 0, in a section, to goroutine 1, in a section.
    fn switch(&self) {
        let note = || {
            self.switches.store(self.switches.load(Ordering::Relaxed) + 1, Ordering::Release);
        };
        if self.without == Without::Order {
            note();
            self.curg.store(2, Ordering::Release);
        } else {
            self.curg.store(2, Ordering::Release);
            note();
        }
        self.published.store(true, Ordering::Release);
    }

    /// sysmon.rs: takes P0 of a goroutine in user code.
    fn take(&self) {
        let _serial = (self.without != Without::Serial).then(|| self.takers.lock().unwrap());
        let switches = self.switches.load(Ordering::Acquire);
        let taken = self.lease.take_from_user_code(heavy_barrier, || {
            let g = self.curg.load(Ordering::Acquire);
            g != 0
                && self.nopreempt[g as usize - 1].load(Ordering::Acquire) == 0
                && self.p.load(Ordering::Acquire) == 1
                && (self.without == Without::Switches
                    || self.switches.load(Ordering::Acquire) == switches)
        });
        if taken {
            self.procs[0].m.store(0, Ordering::Release);
            self.procs[0].use_it();
        }
    }

    /// sysmon.rs: takes P0 of an announced call.
    fn take_syscall(&self) {
        if self.procs[0].m.load(Ordering::Acquire) != MP
            || !self.lease.in_syscall()
            || self.syscalltick.load(Ordering::Relaxed) != SEEN_TICK
        {
            return;
        }
        if self.lease.take_syscall(0) {
            self.procs[0].m.store(0, Ordering::Release);
            self.procs[0].use_it();
        }
    }
}

fn in_thread(world: &Arc<World>, f: impl FnOnce(&World) + 'static) -> thread::JoinHandle<()> {
    let world = world.clone();
    thread::spawn(move || f(&world))
}

/// An announced call: the goroutine comes back while the monitor takes its P.
fn syscall(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new(without, [0, 0]);
        let monitor = in_thread(&world, World::take_syscall);
        world.begin_syscall(0);
        let _ = world.section(0);
        monitor.join().unwrap();
    }
}

/// The monitor takes the P of a goroutine that enters and leaves sections.
fn user_code(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new(without, [0, 0]);
        let monitor = in_thread(&world, World::take);
        if world.section(0) == Reclaimed::Kept {
            let _ = world.section(0);
        }
        monitor.join().unwrap();
    }
}

/// As `user_code`; then the goroutine announces a call, which ends an attempt too.
fn user_code_then_syscall(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new(without, [0, 0]);
        let monitor = in_thread(&world, |world| {
            world.take();
            world.take_syscall();
        });
        world.begin_syscall(0);
        let _ = world.section(0);
        monitor.join().unwrap();
    }
}

/// The goroutine that the monitor looks at is switched away from, and goes on elsewhere.
fn switched(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new(without, [1, 1]); // both in sections
        let monitor = in_thread(&world, World::take);
        let elsewhere = in_thread(&world, |world| {
            if world.published.load(Ordering::Acquire) {
                world.lower(0);
            }
        });
        let m = in_thread(&world, |world| {
            world.switch();
            world.procs[0].use_it();
            world.lower(1);
            let _ = world.section(1);
        });
        monitor.join().unwrap();
        elsewhere.join().unwrap();
        m.join().unwrap();
    }
}

/// The monitor and one who stops the world try at once.
fn two_takers(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new(without, [0, 0]);
        let monitor = in_thread(&world, World::take);
        let stopper = in_thread(&world, World::take);
        let _ = world.section(0);
        monitor.join().unwrap();
        stopper.join().unwrap();
    }
}

/// While the monitor looks at a call, the M comes back, changes its P, and announces another.
fn other_proc(without: Without) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new(without, [0, 0]);
        world.begin_syscall(0);
        let monitor = in_thread(&world, World::take_syscall);
        let other = in_thread(&world, World::acquire_p0);
        if world.enter(0) == Reclaimed::Kept {
            world.change_procs();
            world.announce(1);
        }
        world.lower(0);
        monitor.join().unwrap();
        other.join().unwrap();
    }
}

/// The same where the kernel has other barriers, or none.
fn with(
    kernel: Kernel,
    model: impl Fn() + Send + Sync + 'static,
) -> impl Fn() + Send + Sync + 'static {
    move || {
        with_kernel(kernel);
        model();
    }
}

#[test]
fn lease_syscall() {
    holds(syscall(Without::Nothing));
}

#[test]
fn lease_user_code() {
    holds(user_code(Without::Nothing));
}

#[test]
fn lease_user_code_then_syscall() {
    holds(user_code_then_syscall(Without::Nothing));
}

#[test]
fn lease_switched() {
    holds(switched(Without::Nothing));
}

#[test]
fn lease_two_takers() {
    holds(two_takers(Without::Nothing));
}

#[test]
fn lease_other_proc() {
    holds(other_proc(Without::Nothing));
}

#[test]
fn lease_user_code_dear() {
    holds(with(Kernel::Nothing, user_code(Without::Nothing)));
}

#[test]
fn lease_user_code_then_syscall_dear() {
    holds(with(Kernel::Nothing, user_code_then_syscall(Without::Nothing)));
}

#[test]
fn lease_switched_dear() {
    holds(with(Kernel::Nothing, switched(Without::Nothing)));
}

#[test]
fn lease_user_code_refused() {
    holds(with(Kernel::Refuses, user_code(Without::Nothing)));
}

#[test]
fn lease_syscall_relaxed_is_refuted() {
    refuted(Weak::Orderings, RACE, syscall(Without::Nothing));
}

#[test]
fn lease_syscall_without_reclaim_is_refuted() {
    refuted(Weak::No, RACE, syscall(Without::Reclaim));
}

#[test]
fn lease_user_code_without_heavy_barrier_is_refuted() {
    refuted(Weak::Heavy, RACE, user_code(Without::Nothing));
}

#[test]
fn lease_user_code_without_light_barrier_is_refuted() {
    refuted(Weak::Light, RACE, user_code(Without::Nothing));
}

#[test]
fn lease_user_code_without_reclaim_is_refuted() {
    refuted(Weak::No, RACE, user_code(Without::Reclaim));
}

#[test]
fn lease_switched_without_switches_is_refuted() {
    refuted(Weak::No, RACE, switched(Without::Switches));
}

#[test]
fn lease_switched_without_order_is_refuted() {
    refuted(Weak::No, RACE, switched(Without::Order));
}

#[test]
fn lease_two_takers_without_serial_is_refuted() {
    refuted(Weak::No, RACE, two_takers(Without::Serial));
}

#[test]
fn lease_other_proc_without_identity_is_refuted() {
    refuted(Weak::No, RACE, other_proc(Without::Identity));
}

#[test]
fn lease_user_code_dear_without_paying_is_refuted() {
    let model = with(Kernel::Nothing, user_code(Without::Nothing));
    refuted_without("paying for entries", RACE, model);
}

#[test]
fn lease_user_code_dear_without_the_taker_s_fence_is_refuted() {
    refuted(Weak::Heavy, RACE, with(Kernel::Nothing, user_code(Without::Nothing)));
}

#[test]
fn lease_user_code_refused_without_failing_is_refuted() {
    refuted_without("failing", RACE, with(Kernel::Refuses, user_code(Without::Nothing)));
}
