//! Condition variables: what their calls may say, and which waiters are woken. (With each kind of mutex: `mutexes.rs`.)

use crate::c::{Cond, Kind, Mutex, ODD_CLOCKS, ODD_TIMES, after, in_ms};
use goroutines_twin_tests::{Flow, Row, Trace, make, ms};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for clock in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC] {
        for shared in [false, true] {
            let name = if clock == libc::CLOCK_MONOTONIC { "monotonic" } else { "realtime" };
            let name = format!("{name}{}", if shared { "_shared" } else { "" });
            let mut row = |what: &str, body: fn(&Trace, Cond, i32)| {
                rows.push(Row::new(format!("cond_{what}_{name}"), move |t| {
                    body(t, Cond::new(clock, shared), clock);
                }));
            };
            row("times", times);
            row("one_each", one_each);
            row("ping_pong", ping_pong);
            row("destroyed_with_waiters_on_their_way", destroyed);
        }
    }
    rows.push(Row::new("cond_of_processes", processes));
    rows
}

fn plain() -> Mutex {
    Kind::default().make().expect("a mutex")
}

fn times(t: &Trace, c: Cond, clock: i32) {
    let m = plain();
    m.lock();
    for (name, time) in ODD_TIMES {
        t.says(&format!("timedwait by {name}"), c.timed(m, *time));
        t.says(&format!("clockwait by {name}"), c.clock(m, libc::CLOCK_MONOTONIC, *time));
    }
    for (name, odd) in ODD_CLOCKS {
        t.says(&format!("clockwait on {name}"), c.clock(m, *odd, in_ms(1000)));
    }
    t.timed("timedwait", 200, || t.says("timedwait", c.timed(m, after(clock, 200))));
    for odd in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC] {
        t.timed("clockwait", 200, || t.says("clockwait", c.clock(m, odd, after(odd, 200))));
    }
    t.says("still locked", m.try_lock());
    t.says("unlock", m.unlock());
    t.says("signal", c.signal());
    t.says("broadcast", c.broadcast());
    t.says("destroy", c.destroy());
}

/// As many signals as there are waiters: each wakes one.
fn one_each(t: &Trace, c: Cond, clock: i32) {
    static READY: AtomicU32 = AtomicU32::new(0);
    static WOKEN: AtomicU32 = AtomicU32::new(0);
    let m = plain();
    let waits = move |timed: bool| {
        m.lock();
        READY.fetch_add(1, Ordering::SeqCst);
        let got = if timed { c.timed(m, after(clock, 20_000)) } else { c.wait(m) };
        WOKEN.fetch_add(1, Ordering::SeqCst);
        m.unlock();
        got
    };
    let party = |i: usize| {
        t.spawn(&format!("waits {i}"), move |t| t.says("wait", waits(i.is_multiple_of(2))))
    };
    let parties: Vec<_> = (0..6).map(party).collect();
    let threads: Vec<_> = (0..2).map(|i| std::thread::spawn(move || waits(i == 0))).collect();
    make::until(10_000, || READY.load(Ordering::SeqCst) == 8);
    for n in 1..=8u32 {
        m.lock();
        t.says("signal", c.signal());
        m.unlock();
        let enough = make::until(5_000, || WOKEN.load(Ordering::SeqCst) >= n);
        t.says("at least as many are woken", enough);
    }
    parties.into_iter().for_each(Flow::join);
    threads.into_iter().for_each(|h| t.says("thread", h.join().expect("its end")));
    t.says("destroy", c.destroy());
}

/// Two that wait for each other.
fn ping_pong(t: &Trace, c: Cond, clock: i32) {
    static TURN: AtomicU32 = AtomicU32::new(0);
    let m = plain();
    let play = move |own: u32| {
        let mut bad = 0;
        for _ in 0..100 {
            m.lock();
            while TURN.load(Ordering::SeqCst) % 2 != own {
                let got = if own == 0 { c.wait(m) } else { c.timed(m, after(clock, 20_000)) };
                bad += u32::from(got != "0");
            }
            TURN.fetch_add(1, Ordering::SeqCst);
            c.broadcast();
            m.unlock();
        }
        bad
    };
    let other = t.spawn("other", move |_| play(1));
    let thread_too = play(0);
    t.says("bad", thread_too + other.join());
    let thread = std::thread::spawn(move || play(1));
    t.says("bad", play(0) + thread.join().expect("its end"));
    t.says("turns", TURN.load(Ordering::SeqCst));
}

/// POSIX: it may be destroyed at once after all were woken.
fn destroyed(t: &Trace, c: Cond, _: i32) {
    static READY: AtomicU32 = AtomicU32::new(0);
    let m = plain();
    let waits = move || {
        m.lock();
        READY.fetch_add(1, Ordering::SeqCst);
        let got = c.wait(m);
        m.unlock();
        got
    };
    let party = |i: usize| t.spawn(&format!("waits {i}"), move |t| t.says("wait", waits()));
    let parties: Vec<_> = (0..4).map(party).collect();
    make::until(10_000, || READY.load(Ordering::SeqCst) == 4);
    m.lock();
    c.broadcast();
    m.unlock();
    t.says("destroy", c.destroy());
    unsafe { c.0.cast::<u8>().write_bytes(0xff, size_of::<libc::pthread_cond_t>()) };
    parties.into_iter().for_each(Flow::join);
}

fn processes(t: &Trace) {
    let m = Kind { shared: true, ..Kind::default() }.make().expect("a mutex");
    let c = Cond::new(libc::CLOCK_REALTIME, true);
    let ready = crate::c::shared_memory::<AtomicU32>();
    let ready = unsafe { &*ready };
    let child = make::child(move || {
        m.lock();
        ready.store(1, Ordering::SeqCst);
        let got = c.wait(m);
        ready.store(2, Ordering::SeqCst);
        c.signal();
        m.unlock();
        i32::from(got != "0")
    });
    make::until(10_000, || ready.load(Ordering::SeqCst) == 1);
    t.says("lock", m.lock());
    t.says("signal", c.signal());
    while ready.load(Ordering::SeqCst) != 2 {
        t.says("wait", c.wait(m));
    }
    t.says("unlock", m.unlock());
    t.says("child", make::end_of(child));
    ms(1);
}
