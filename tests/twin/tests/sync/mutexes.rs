//! Mutexes: each kind, and all that the calls may say of it.

use crate::c::{Cond, Kind, Mutex, ODD_CLOCKS, ODD_TIMES, after, in_ms};
use goroutines_twin_tests::{Row, Trace, make, ms};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in Kind::all() {
        let name = kind.name();
        rows.push(Row::new(format!("mutex_alone_{name}"), move |t| alone(t, kind)));
        rows.push(Row::new(format!("mutex_of_two_{name}"), move |t| of_two(t, kind)));
        rows.push(Row::new(format!("mutex_beside_threads_{name}"), move |t| beside(t, kind)));
        rows.push(Row::new(format!("mutex_condition_{name}"), move |t| condition(t, kind)));
        if kind.robust {
            rows.push(Row::new(format!("mutex_owner_ends_{name}"), move |t| owner_ends(t, kind)));
            rows.push(Row::new(format!("mutex_waits_while_{name}"), move |t| waits(t, kind)));
        }
        if kind.shared {
            rows.push(Row::new(format!("mutex_of_processes_{name}"), move |t| processes(t, kind)));
        }
    }
    for ty in 0..4 {
        let name = Kind { ty, ..Kind::default() }.name();
        rows.push(Row::new(format!("mutex_protect_{name}"), move |t| protect(t, ty, false)));
        let row = Row::new(format!("mutex_protect_fifo_{name}"), move |t| protect(t, ty, true));
        rows.push(row.before(real_time).alone());
    }
    rows.push(Row::new("mutex_held_many", many));
    rows.push(Row::new("mutex_own_id_stays", own_id));
    rows
}

fn made(t: &Trace, kind: Kind) -> Option<Mutex> {
    match kind.make() {
        Ok(m) => Some(m),
        Err(error) => {
            t.says("init", error);
            None
        }
    }
}

/// What its owner is told.
fn alone(t: &Trace, kind: Kind) {
    let Some(m) = made(t, kind) else { return };
    if kind.tells_owner() {
        t.says("unlock", m.unlock());
    }
    t.says("trylock", m.try_lock());
    t.says("trylock again", m.try_lock());
    if !kind.is_simple() {
        t.says("lock again", m.lock());
        t.says("timedlock again", m.timed(in_ms(0)));
        t.says("clocklock again", m.clock(libc::CLOCK_MONOTONIC, after(libc::CLOCK_MONOTONIC, 0)));
    }
    if kind.is_simple() || kind.ty == 2 {
        t.timed("timedlock again, later", 300, || t.says("timedlock", m.timed(in_ms(300))));
    }
    for _ in 0..if kind.ty == 1 { 5 } else { 1 } {
        t.says("unlock", m.unlock());
    }
    if kind.tells_owner() {
        t.says("unlock once more", m.unlock());
    }
    t.says("consistent", m.consistent());
    for (name, time) in ODD_TIMES {
        t.says(&format!("free, by {name}"), m.timed(*time));
        t.says("unlock", m.unlock());
    }
    for (name, clock) in ODD_CLOCKS {
        t.says(&format!("free, by {name}"), m.clock(*clock, in_ms(1000)));
    }
    t.says("destroy", m.destroy());
    t.says("lock what is destroyed", m.lock());
    t.says("unlock what is destroyed", m.unlock());
}

/// What another is told, who then waits for it.
fn of_two(t: &Trace, kind: Kind) {
    let Some(m) = made(t, kind) else { return };
    t.says("lock", m.lock());
    let other = t.spawn("other", move |t| {
        t.says("trylock", m.try_lock());
        if kind.tells_owner() {
            t.says("unlock", m.unlock());
        }
        for (name, time) in ODD_TIMES {
            t.says(&format!("by {name}"), m.timed(*time));
        }
        for (name, clock) in ODD_CLOCKS {
            t.says(&format!("by {name}"), m.clock(*clock, in_ms(100)));
        }
        t.timed("timedlock", 300, || t.says("timedlock", m.timed(in_ms(300))));
        let time = after(libc::CLOCK_MONOTONIC, 300);
        t.timed("clocklock", 300, || {
            t.says("clocklock", m.clock(libc::CLOCK_MONOTONIC, time));
        });
        t.says("lock", m.lock());
        ms(20);
        t.says("unlock", m.unlock());
    });
    ms(1200);
    t.says("unlock", m.unlock());
    other.join();
    t.says("trylock", m.try_lock());
    t.says("unlock", m.unlock());
    t.says("destroy", m.destroy());
}

/// Many turns between goroutines that move, and threads.
fn beside(t: &Trace, kind: Kind) {
    let Some(m) = made(t, kind) else { return };
    static INSIDE: AtomicBool = AtomicBool::new(false);
    static DONE: AtomicU32 = AtomicU32::new(0);
    let turns = move || {
        let mut bad = 0;
        for i in 0..60 {
            let result = if i % 3 == 0 { m.timed(in_ms(20_000)) } else { m.lock() };
            bad += u32::from(result != "0" || INSIDE.swap(true, Ordering::SeqCst));
            if i % 4 == 0 {
                std::thread::yield_now();
            }
            if i % 8 == 0 {
                ms(1);
            }
            INSIDE.store(false, Ordering::SeqCst);
            bad += u32::from(m.unlock() != "0");
            if i % 5 == 0 {
                ms(1);
            }
        }
        DONE.fetch_add(1, Ordering::SeqCst);
        bad
    };
    let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(turns)).collect();
    let parties: Vec<_> = (0..4).map(|i| t.spawn(&format!("p{i}"), move |_| turns())).collect();
    t.says("all have had it", make::until(30_000, || DONE.load(Ordering::SeqCst) == 6));
    t.says("bad", parties.into_iter().map(goroutines_twin_tests::Flow::join).sum::<u32>());
    t.says("bad", threads.into_iter().map(|t| t.join().expect("its end")).sum::<u32>());
    t.says("destroy", m.destroy());
}

/// Condition variables with it.
fn condition(t: &Trace, kind: Kind) {
    let Some(m) = made(t, kind) else { return };
    for shared in [false, true] {
        let c = Cond::new(libc::CLOCK_MONOTONIC, shared);
        if kind.tells_owner() {
            t.says("wait, not locked", c.wait(m));
        }
        t.says("lock", m.lock());
        t.timed("timedwait", 200, || {
            t.says("timedwait", c.timed(m, after(libc::CLOCK_MONOTONIC, 200)));
        });
        t.timed("clockwait", 200, || {
            t.says("clockwait", c.clock(m, libc::CLOCK_REALTIME, in_ms(200)));
        });
        t.says("unlock", m.unlock());
        let ready = move |i: u32| {
            static READY: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];
            READY[usize::from(shared)].fetch_add(i, Ordering::SeqCst)
        };
        let wait = move |t: &Trace| {
            t.says("lock", m.lock());
            ready(1);
            t.says("wait", c.wait(m));
            t.says("unlock", m.unlock());
        };
        let party = |i: usize| format!("waits {i} {shared}");
        let all: Vec<_> = (0..3).map(|i| t.spawn(&party(i), move |t| wait(t))).collect();
        let thread = std::thread::spawn(move || {
            m.lock();
            ready(1);
            let result = c.wait(m);
            m.unlock();
            result
        });
        make::until(10_000, || ready(0) == 4);
        t.says("lock", m.lock());
        t.says("broadcast", c.broadcast());
        t.says("unlock", m.unlock());
        all.into_iter().for_each(goroutines_twin_tests::Flow::join);
        t.says("thread", thread.join().expect("its end"));
        t.says("destroy", c.destroy());
    }
    t.says("trylock", m.try_lock());
    t.says("unlock", m.unlock());
    t.says("destroy", m.destroy());
}

/// Its owner ends, and what the next ones are told.
fn owner_ends(t: &Trace, kind: Kind) {
    let Some(m) = made(t, kind) else { return };
    let lock_and_end = |i: usize| {
        t.spawn(&format!("owner {i}"), move |t| t.says("lock", m.lock())).join();
    };
    lock_and_end(0);
    ms(50);
    t.says("lock", m.lock());
    t.says("lock by itself", m.try_lock());
    if kind.ty == 1 {
        t.says("unlock once", m.unlock());
    }
    t.says("consistent", m.consistent());
    t.says("consistent again", m.consistent());
    t.says("unlock", m.unlock());
    lock_and_end(1);
    ms(50);
    t.says("trylock", m.try_lock());
    t.says("consistent", m.consistent());
    t.says("unlock", m.unlock());
    lock_and_end(2);
    t.says("timedlock", m.timed(in_ms(10_000)));
    t.says("consistent", m.consistent());
    let c = Cond::plain();
    let other = t.spawn("ends", move |t| {
        t.says("lock", m.lock());
        c.signal();
    });
    t.says("wait", c.wait(m));
    other.join();
    t.says("unlock, not consistent", m.unlock());
    for _ in 0..2 {
        t.says("lock", m.lock());
        t.says("trylock", m.try_lock());
        t.says("timedlock", m.timed(in_ms(100)));
        t.says("unlock", m.unlock());
        t.says("consistent", m.consistent());
    }
    t.says("destroy", m.destroy());
}

/// Others wait for it, a thread too, while its owner ends; it has had several.
fn waits(t: &Trace, kind: Kind) {
    let (Some(m), Some(n)) = (made(t, kind), made(t, kind)) else { return };
    let owner = t.spawn("owner", move |t| {
        t.says("lock", m.lock());
        t.says("lock", n.lock());
        ms(300);
    });
    make::until(10_000, || n.try_lock() == "EBUSY" || n.unlock() != "0");
    let next = move |lock: Mutex| {
        let result = lock.lock();
        if result == "EOWNERDEAD" {
            lock.consistent();
        }
        ms(10);
        lock.unlock();
        result
    };
    let threads = [m, n].map(|lock| std::thread::spawn(move || next(lock)));
    let all: Vec<_> =
        (0..4).map(|i| t.spawn(&format!("p{i}"), move |_| next([m, n][i % 2]))).collect();
    owner.join();
    let mut results: Vec<String> = all.into_iter().map(goroutines_twin_tests::Flow::join).collect();
    results.extend(threads.into_iter().map(|t| t.join().expect("its end")));
    results.sort();
    t.says("results", results.join(" "));
    t.says("destroy", m.destroy());
    t.says("destroy", n.destroy());
}

/// Another process has it, and unlocks it, or dies.
fn processes(t: &Trace, kind: Kind) {
    let Some(m) = made(t, kind) else { return };
    let child = make::child(move || {
        let own = m.lock() == "0" && m.try_lock() == if kind.ty == 1 { "0" } else { "EBUSY" };
        ms(300);
        if kind.ty == 1 {
            m.unlock();
        }
        i32::from(!(own && m.unlock() == "0"))
    });
    make::until(10_000, || {
        let busy = m.try_lock() == "EBUSY";
        if !busy {
            m.unlock();
        }
        busy
    });
    if kind.tells_owner() {
        t.says("unlock of another's", m.unlock());
    }
    t.says("lock by 20 ms", m.timed(in_ms(20)));
    t.says("lock", m.lock());
    t.says("child", make::end_of(child));
    let child = make::child(move || i32::from(m.try_lock() != "EBUSY"));
    t.says("child that tries", make::end_of(child));
    t.says("unlock", m.unlock());
    if kind.robust {
        let child = make::child(move || i32::from(m.lock() != "0"));
        t.says("child that dies", make::end_of(child));
        t.says("lock", m.lock());
        t.says("consistent", m.consistent());
        t.says("unlock", m.unlock());
        // The other way round: the one that dies is the situation, in a process of its own.
        let child = make::child(move || {
            m.lock();
            unsafe { libc::raise(libc::SIGKILL) }
        });
        t.says("lock while it dies", m.lock().replace("EOWNERDEAD", "0"));
        t.says("unlock", m.unlock());
        t.says("child that is killed", make::end_of(child));
        let last = m.lock();
        t.says(
            "it is whole or not",
            last == "0" || last == "EOWNERDEAD" || last == "ENOTRECOVERABLE",
        );
    }
}

/// With real-time priorities, or refused without. (Where libc refuses it for the ceiling it keeps a count all the same, in
/// the thread block: one party only.)
fn protect(t: &Trace, ty: i32, real_time: bool) {
    for robust in [false, true] {
        let kind = Kind { ty, protocol: libc::PTHREAD_PRIO_PROTECT, robust, ..Kind::default() };
        let Some(m) = made(t, kind) else { continue };
        t.says("lock", m.lock());
        t.says("unlock", m.unlock());
        for ceiling in [0, 1, 50, 99, 100] {
            let mut old = 0;
            let set = unsafe { crate::c::pthread_mutex_setprioceiling(m.0, ceiling, &raw mut old) };
            t.says(&format!("ceiling {ceiling}"), goroutines_twin_tests::code(set));
            t.says("before", old);
            let locked = m.lock();
            t.says("lock", &locked);
            let priority = || unsafe {
                let mut now = std::mem::zeroed::<libc::sched_param>();
                libc::sched_getparam(0, &raw mut now);
                now.sched_priority
            };
            t.says("priority", priority());
            if locked == "0" {
                t.says("trylock", m.try_lock());
                let other = move |t: &Trace| {
                    t.says("trylock", m.try_lock());
                    t.says("timedlock", m.timed(in_ms(20)));
                };
                if real_time {
                    t.spawn(&format!("other {ceiling}"), other).join();
                }
                t.says("unlock", m.unlock());
                t.says("priority", priority());
            }
        }
    }
}

/// Gives the process a priority among those of real time, where it may.
fn real_time(t: &Trace) {
    let priority = libc::sched_param { sched_priority: 1 };
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) } != 0 {
        t.skip("no real-time priorities");
    }
}

/// Several kinds held at once, let go in another order, with waits in between.
fn many(t: &Trace) {
    let kinds = Kind::all();
    for round in 0..3 {
        let all: Vec<Mutex> = kinds.iter().filter_map(|kind| kind.make().ok()).collect();
        for m in &all {
            t.says("lock", m.lock());
            if round > 0 {
                std::thread::yield_now();
            }
        }
        ms(5);
        let order = all.len();
        for i in 0..order {
            let m = all[if round == 2 { (i * 7) % order } else { i }];
            t.says("unlock", m.unlock());
            if i % 5 == 0 {
                ms(1);
            }
        }
        for m in &all {
            t.says("destroy", m.destroy());
        }
    }
}

/// A recursive mutex that it has locked before stays its own.
fn own_id(t: &Trace) {
    let recursive = Kind { ty: 1, ..Kind::default() }.make().expect("a mutex");
    let checks = Kind { ty: 2, ..Kind::default() }.make().expect("a mutex");
    let inherits =
        Kind { protocol: libc::PTHREAD_PRIO_INHERIT, ..Kind::default() }.make().expect("a mutex");
    t.says("lock", (recursive.lock(), checks.lock(), inherits.lock()).2);
    t.says("recursive", recursive.lock());
    t.says("checks", checks.lock());
    t.says("checks", checks.unlock());
    t.says("checks", checks.lock());
    t.says("inherits", inherits.unlock());
    t.says("recursive", recursive.unlock());
    t.says("recursive", recursive.unlock());
    t.says("recursive", recursive.unlock());
    t.says("checks", checks.unlock());
}
