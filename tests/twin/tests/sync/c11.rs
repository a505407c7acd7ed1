//! Threads of C11, `pthread_once`, barriers.

use crate::c::{in_ms, shared_memory};
use goroutines_twin_tests::{Flow, Row, Trace, code, make, ms, rows};
use libc::{c_int, timespec};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        c11_sleep,
        c11_join,
        c11_once,
        c11_condition,
        once_waits,
        once_of_many,
        once_unwound,
        barrier_of_parties,
        barrier_with_threads,
    ];
    for ty in 0..4 {
        rows.push(Row::new(format!("c11_mutex_{ty}"), move |t| mutex(t, ty)));
    }
    rows
}

#[derive(Clone, Copy)]
struct At<T>(*mut T);
unsafe impl<T> Send for At<T> {}
unsafe impl<T> Sync for At<T> {}

type M = *mut libc::pthread_mutex_t;
type C = *mut libc::pthread_cond_t;

unsafe extern "C" {
    fn mtx_init(m: M, ty: c_int) -> c_int;
    fn mtx_lock(m: M) -> c_int;
    fn mtx_trylock(m: M) -> c_int;
    fn mtx_timedlock(m: M, time: *const timespec) -> c_int;
    fn mtx_unlock(m: M) -> c_int;
    fn cnd_init(c: C) -> c_int;
    fn cnd_wait(c: C, m: M) -> c_int;
    fn cnd_timedwait(c: C, m: M, time: *const timespec) -> c_int;
    fn cnd_signal(c: C) -> c_int;
    fn cnd_broadcast(c: C) -> c_int;
    fn thrd_create(
        t: *mut libc::pthread_t,
        f: extern "C" fn(*mut libc::c_void) -> c_int,
        arg: *mut libc::c_void,
    ) -> c_int;
    fn thrd_join(t: libc::pthread_t, result: *mut c_int) -> c_int;
    fn thrd_sleep(time: *const timespec, rest: *mut timespec) -> c_int;
    fn thrd_yield();
}
unsafe extern "C-unwind" {
    fn call_once(control: *mut c_int, f: extern "C-unwind" fn());
    fn pthread_once(control: *mut c_int, f: extern "C-unwind" fn()) -> c_int;
}

fn new_mutex(ty: c_int) -> At<libc::pthread_mutex_t> {
    let m = At(shared_memory());
    unsafe { mtx_init(m.0, ty) };
    m
}

fn mutex(t: &Trace, ty: c_int) {
    let m = new_mutex(ty);
    unsafe {
        t.says("lock", mtx_lock(m.0));
        t.says("trylock", mtx_trylock(m.0));
        if ty & 1 != 0 {
            t.says("lock", mtx_lock(m.0));
            t.says("unlock", mtx_unlock(m.0));
            t.says("unlock", mtx_unlock(m.0));
        }
        let other = t.spawn("other", move |t| {
            let m = m;
            t.says("trylock", mtx_trylock(m.0));
            for (name, time) in crate::c::ODD_TIMES {
                t.says(name, mtx_timedlock(m.0, time));
            }
            t.timed("timedlock", 300, || t.says("timedlock", mtx_timedlock(m.0, &in_ms(300))));
            t.says("lock", mtx_lock(m.0));
            t.says("unlock", mtx_unlock(m.0));
            if ty & 1 != 0 {
                t.says("unlock", mtx_unlock(m.0));
            }
        });
        let thread = std::thread::spawn(move || {
            let m = m;
            (mtx_lock(m.0), mtx_unlock(m.0))
        });
        ms(700);
        thrd_yield();
        t.says("unlock", mtx_unlock(m.0));
        other.join();
        t.says("thread", format!("{:?}", thread.join().expect("its end")));
    }
}

fn c11_condition(t: &Trace) {
    static READY: AtomicU32 = AtomicU32::new(0);
    let m = new_mutex(0);
    let c = At(shared_memory());
    unsafe { cnd_init(c.0) };
    let waits = move || unsafe {
        let (m, c) = (m, c);
        mtx_lock(m.0);
        READY.fetch_add(1, Ordering::SeqCst);
        let got = (cnd_wait(c.0, m.0), cnd_timedwait(c.0, m.0, &in_ms(20_000)));
        mtx_unlock(m.0);
        format!("{got:?}")
    };
    unsafe {
        mtx_lock(m.0);
        t.timed("timedwait", 300, || t.says("timedwait", cnd_timedwait(c.0, m.0, &in_ms(300))));
        for (name, time) in crate::c::ODD_TIMES {
            t.says(name, cnd_timedwait(c.0, m.0, time));
        }
        mtx_unlock(m.0);
        let all: Vec<_> =
            (0..3).map(|i| t.spawn(&format!("p{i}"), move |t| t.says("wait", waits()))).collect();
        let thread = std::thread::spawn(waits);
        make::until(10_000, || READY.load(Ordering::SeqCst) == 4);
        mtx_lock(m.0);
        t.says("signal", cnd_signal(c.0));
        mtx_unlock(m.0);
        let over = || all.iter().all(Flow::is_over) && thread.is_finished();
        make::until(10_000, || {
            mtx_lock(m.0);
            cnd_broadcast(c.0);
            mtx_unlock(m.0);
            over()
        });
        t.says("broadcast", cnd_broadcast(c.0));
        all.into_iter().for_each(Flow::join);
        t.says("thread", thread.join().expect("its end"));
    }
}

fn c11_sleep(t: &Trace) {
    let mut rest = timespec { tv_sec: 7, tv_nsec: 7 };
    for (sec, nsec) in [(0, 0), (0, 1), (-1, 0), (0, -1), (0, 1_000_000_000)] {
        let time = timespec { tv_sec: sec, tv_nsec: nsec };
        t.says("sleep", unsafe { thrd_sleep(&raw const time, &raw mut rest) });
        t.says("rest", format!("{} {}", rest.tv_sec, rest.tv_nsec));
    }
    t.says("not there", unsafe { thrd_sleep(make::bad(), &raw mut rest) });
    let time = timespec { tv_sec: 0, tv_nsec: 300_000_000 };
    t.timed("sleep", 300, || {
        t.says("sleep", unsafe { thrd_sleep(&raw const time, &raw mut rest) })
    });
}

fn c11_join(t: &Trace) {
    extern "C" fn body(_: *mut libc::c_void) -> c_int {
        ms(50);
        -7
    }
    let (mut thread, mut result) = (0, 0);
    unsafe {
        t.says("create", thrd_create(&raw mut thread, body, std::ptr::null_mut()));
        t.says("join", thrd_join(thread, &raw mut result));
    }
    t.says("result", result);
}

static RUNS: AtomicU32 = AtomicU32::new(0);

extern "C-unwind" fn slow() {
    ms(200);
    RUNS.fetch_add(1, Ordering::SeqCst);
}

fn c11_once(t: &Trace) {
    let control = At(shared_memory::<c_int>());
    let all: Vec<_> = (0..4)
        .map(|i| {
            t.spawn(&format!("p{i}"), move |t| {
                let control = control;
                unsafe { call_once(control.0, slow) };
                t.says("runs", RUNS.load(Ordering::SeqCst));
            })
        })
        .collect();
    all.into_iter().for_each(Flow::join);
    unsafe { call_once(control.0, slow) };
    t.says("runs", RUNS.load(Ordering::SeqCst));
}

/// A thread is first, parties wait; and the other way round.
fn once_waits(t: &Trace) {
    for thread_first in [true, false] {
        let control = At(shared_memory::<c_int>());
        let runs = move || {
            let control = control;
            code(unsafe { pthread_once(control.0, slow) })
        };
        let thread = thread_first.then(|| std::thread::spawn(runs));
        ms(100);
        let all: Vec<_> = (0..4)
            .map(|i| {
                t.spawn(&format!("p{i} {thread_first}"), move |t| {
                    t.says("once", runs());
                    t.says("runs", RUNS.load(Ordering::SeqCst));
                })
            })
            .collect();
        ms(50);
        let thread = thread.unwrap_or_else(|| std::thread::spawn(runs));
        all.into_iter().for_each(Flow::join);
        t.says("thread", thread.join().expect("its end"));
        t.says("runs", RUNS.load(Ordering::SeqCst));
    }
}

/// More at once than the runtime can note, each within another.
fn once_of_many(t: &Trace) {
    static INNER: AtomicU32 = AtomicU32::new(0);
    static CONTROL: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
    extern "C-unwind" fn inner() {
        ms(50);
        INNER.fetch_add(1, Ordering::SeqCst);
    }
    extern "C-unwind" fn outer() {
        unsafe { pthread_once(CONTROL.as_ptr(), inner) };
        ms(20);
        RUNS.fetch_add(1, Ordering::SeqCst);
    }
    let controls = At(shared_memory::<[c_int; 100]>());
    let all: Vec<_> = (0..100)
        .map(|i| {
            t.spawn(&format!("p{i}"), move |_| {
                let controls = controls;
                unsafe { pthread_once(controls.0.cast::<c_int>().add(i), outer) }
            })
        })
        .collect();
    t.says("errors", all.into_iter().map(Flow::join).filter(|e| *e != 0).count());
    t.says("runs", RUNS.load(Ordering::SeqCst));
    t.says("inner", INNER.load(Ordering::SeqCst));
}

/// The first is unwound: the next one does it.
fn once_unwound(t: &Trace) {
    static CONTROL: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
    extern "C-unwind" fn fails() {
        ms(200);
        assert_ne!(RUNS.fetch_add(1, Ordering::SeqCst), 0, "the first fails");
    }
    std::panic::set_hook(Box::new(|_| {}));
    let first = t.spawn("first", |t| {
        let got = std::panic::catch_unwind(|| unsafe { pthread_once(CONTROL.as_ptr(), fails) });
        t.says("fails", got.is_err());
    });
    ms(50);
    let second = t.spawn("second", |t| {
        t.says("once", code(unsafe { pthread_once(CONTROL.as_ptr(), fails) }));
    });
    first.join();
    second.join();
    t.says("runs", RUNS.load(Ordering::SeqCst));
}

fn barrier(t: &Trace, parties: usize, threads: usize) {
    let b = At(shared_memory::<libc::pthread_barrier_t>());
    let n = (parties + threads) as u32;
    unsafe {
        t.says("none", code(libc::pthread_barrier_init(b.0, std::ptr::null(), 0)));
        t.says("init", code(libc::pthread_barrier_init(b.0, std::ptr::null(), n)));
    }
    let rounds = move || {
        let b = b;
        (0..20)
            .filter(|_| unsafe { libc::pthread_barrier_wait(b.0) } == libc::PTHREAD_BARRIER_SERIAL_THREAD)
            .count()
    };
    let flows: Vec<_> =
        (0..parties).map(|i| t.spawn(&format!("p{i}"), move |_| rounds())).collect();
    let handles: Vec<_> = (0..threads).map(|_| std::thread::spawn(rounds)).collect();
    let serial = flows.into_iter().map(Flow::join).sum::<usize>()
        + handles.into_iter().map(|h| h.join().expect("its end")).sum::<usize>();
    t.says("serial", serial);
    t.says("destroy", code(unsafe { libc::pthread_barrier_destroy(b.0) }));
}

fn barrier_of_parties(t: &Trace) {
    barrier(t, 5, 0);
}

fn barrier_with_threads(t: &Trace) {
    barrier(t, 3, 2);
}
