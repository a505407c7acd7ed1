//! Barriers: rounds of goroutines, of threads, of both, and of processes.

use crate::c::shared_memory;
use goroutines_twin_tests::{Flow, Row, Trace, code, make, ms};
use libc::pthread_barrier_t;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for shared in [false, true] {
        let name = if shared { "_shared" } else { "" };
        let mut row = |what: &str, body: fn(&Trace, bool)| {
            rows.push(Row::new(format!("barrier_{what}{name}"), move |t| body(t, shared)));
        };
        row("says", says);
        row("rounds", rounds);
        row("of_both", of_both);
        row("destroyed_at_once", destroyed_at_once);
        row("at_the_end_of_its_numbers", numbers);
        row("waits", waits);
        if shared {
            row("of_processes", of_processes);
        }
    }
    rows
}

#[derive(Clone, Copy)]
struct Barrier(*mut pthread_barrier_t);

unsafe impl Send for Barrier {}
unsafe impl Sync for Barrier {}

impl Barrier {
    fn new(shared: bool, count: u32) -> Self {
        let barrier = Self(shared_memory());
        barrier.init(shared, count);
        barrier
    }

    fn init(self, shared: bool, count: u32) -> i32 {
        unsafe {
            let mut attr = std::mem::zeroed();
            libc::pthread_barrierattr_init(&raw mut attr);
            libc::pthread_barrierattr_setpshared(&raw mut attr, shared.into());
            libc::pthread_barrier_init(self.0, &raw const attr, count)
        }
    }

    fn wait(self) -> i32 {
        unsafe { libc::pthread_barrier_wait(self.0) }
    }

    fn destroy(self) -> i32 {
        unsafe { libc::pthread_barrier_destroy(self.0) }
    }
}

fn says(t: &Trace, shared: bool) {
    let barrier = Barrier(shared_memory());
    for count in [0, 1, i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX] {
        t.says(&format!("init {count}"), code(barrier.init(shared, count)));
    }
    barrier.init(shared, 1);
    for _ in 0..3 {
        t.says("wait", barrier.wait());
    }
    t.says("destroy", code(barrier.destroy()));
}

/// What many rounds come to: how many calls were told that they are the serial one, and how many rounds were left
/// before all had arrived.
struct Rounds {
    barrier: Barrier,
    inside: [AtomicU32; 2],
    serial: AtomicU32,
    early: AtomicU32,
}

impl Rounds {
    fn new(barrier: Barrier) -> Arc<Self> {
        let n = || AtomicU32::new(0);
        Arc::new(Self { barrier, inside: [n(), n()], serial: n(), early: n() })
    }

    fn run(&self, parties: u32, rounds: u32) {
        for i in 0..rounds {
            let inside = &self.inside[i as usize % 2];
            inside.fetch_add(1, Ordering::SeqCst);
            let is_serial = self.barrier.wait() == libc::PTHREAD_BARRIER_SERIAL_THREAD;
            self.serial.fetch_add(is_serial.into(), Ordering::SeqCst);
            let early = !inside.load(Ordering::SeqCst).is_multiple_of(parties);
            self.early.fetch_add(early.into(), Ordering::SeqCst);
            // So that none comes to this counter again before all have looked at it.
            self.barrier.wait();
        }
    }

    fn tell(&self, t: &Trace) {
        t.says("serial", self.serial.load(Ordering::SeqCst));
        t.says("early", self.early.load(Ordering::SeqCst));
        t.says("destroy", code(self.barrier.destroy()));
    }
}

fn rounds(t: &Trace, shared: bool) {
    let all = Rounds::new(Barrier::new(shared, 7));
    let parties = (0..7).map(|i| {
        let all = all.clone();
        t.spawn(&format!("party {i}"), move |_| all.run(7, 300))
    });
    parties.collect::<Vec<_>>().into_iter().for_each(Flow::join);
    all.tell(t);
}

/// Threads and goroutines; the last to arrive is now one, now the other.
fn of_both(t: &Trace, shared: bool) {
    let all = Rounds::new(Barrier::new(shared, 6));
    let threads = (0..3).map(|_| {
        let all = all.clone();
        std::thread::spawn(move || all.run(6, 200))
    });
    let threads: Vec<_> = threads.collect();
    let parties = (0..3).map(|i| {
        let all = all.clone();
        t.spawn(&format!("party {i}"), move |_| all.run(6, 200))
    });
    parties.collect::<Vec<_>>().into_iter().for_each(Flow::join);
    threads.into_iter().for_each(|thread| thread.join().expect("its end"));
    all.tell(t);
}

/// The party that is told to be the serial one destroys the barrier, while others have not left it yet.
fn destroyed_at_once(t: &Trace, shared: bool) {
    let mut serial = 0;
    for _ in 0..30 {
        let barrier = Barrier::new(shared, 5);
        let parties = (0..5).map(|i| {
            t.spawn(&format!("party {i}"), move |_| {
                let is_serial = barrier.wait() == libc::PTHREAD_BARRIER_SERIAL_THREAD;
                if is_serial {
                    barrier.destroy();
                    // Other code's memory from now on.
                    unsafe { barrier.0.cast::<u8>().write_bytes(0x5a, size_of_val(&*barrier.0)) };
                }
                u32::from(is_serial)
            })
        });
        serial += parties.collect::<Vec<_>>().into_iter().map(Flow::join).sum::<u32>();
        let bytes = unsafe {
            std::slice::from_raw_parts(barrier.0.cast::<u8>(), size_of::<pthread_barrier_t>())
        };
        t.says("touched", bytes.iter().filter(|byte| **byte != 0x5a).count());
    }
    t.says("serial", serial);
}

/// libc begins to count anew after some 2³¹ calls.
fn numbers(t: &Trace, shared: bool) {
    const END: u32 = u32::MAX / 2;
    let barrier = Barrier::new(shared, 3);
    // Words: the calls that have arrived, those whose round is over, and (the fifth) those that have left.
    let words = barrier.0.cast::<u32>();
    for at in [0, 1, 4] {
        unsafe { words.add(at).write(END - END % 3 - 6) };
    }
    let all = Rounds::new(barrier);
    let parties = (0..3).map(|i| {
        let all = all.clone();
        t.spawn(&format!("party {i}"), move |_| all.run(3, 10))
    });
    parties.collect::<Vec<_>>().into_iter().for_each(Flow::join);
    t.says("arrived", unsafe { words.read() });
    all.tell(t);
}

/// One waits, the other comes later.
fn waits(t: &Trace, shared: bool) {
    let barrier = Barrier::new(shared, 2);
    let first = t.spawn("first", move |t| {
        t.timed("wait", 300, || barrier.wait());
    });
    ms(300);
    t.says("wait", barrier.wait());
    first.join();
    t.says("destroy", code(barrier.destroy()));
}

fn of_processes(t: &Trace, shared: bool) {
    let barrier = Barrier::new(shared, 3);
    let children: [_; 2] = std::array::from_fn(|_| {
        make::child(move || (0..20).filter(|_| barrier.wait() != 0).count() as i32)
    });
    let serial = (0..20).filter(|_| barrier.wait() != 0).count() as i32;
    let ends = children.map(|child| {
        let end = make::end_of(child);
        end.rsplit(' ').next().and_then(|n| n.parse::<i32>().ok()).unwrap_or(-100)
    });
    t.says("serial", serial + ends.iter().sum::<i32>());
    t.says("destroy", code(barrier.destroy()));
}
