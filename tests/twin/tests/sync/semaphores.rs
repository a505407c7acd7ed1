//! Semaphores: what their calls may say, shared ones, named ones.

use crate::c::{ODD_CLOCKS, ODD_TIMES, Sem, after, in_ms, shared_memory};
use goroutines_twin_tests::{Flow, Row, Trace, make, ms, ret, rows};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![sem_init_says, sem_open_says];
    for shared in [false, true] {
        let name = if shared { "_shared" } else { "" };
        let mut row = |what: &str, body: fn(&Trace, bool)| {
            rows.push(Row::new(format!("sem_{what}{name}"), move |t| body(t, shared)));
        };
        row("free", |t, shared| times(t, Sem::new(shared, 100)));
        row("taken", |t, shared| times(t, Sem::new(shared, 0)));
        row("overflow", overflow);
        row("posts", posts);
        row("tokens", tokens);
        row("handler_posts", handler_posts);
        if shared {
            row("of_processes", |t, shared| processes(t, Sem::new(shared, 0)));
        }
    }
    rows
}

fn times(t: &Trace, s: Sem) {
    for (name, time) in ODD_TIMES {
        t.says(&format!("timedwait by {name}"), s.timed(*time));
        t.says(&format!("clockwait by {name}"), s.clock(libc::CLOCK_MONOTONIC, *time));
    }
    for (name, clock) in ODD_CLOCKS {
        t.says(&format!("clockwait on {name}"), s.clock(*clock, in_ms(1000)));
    }
    t.says("trywait", s.try_wait());
    t.says("value", s.value());
    if s.value() == 0 {
        t.timed("timedwait", 200, || t.says("timedwait", s.timed(in_ms(200))));
        for clock in [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC] {
            t.timed("clockwait", 200, || t.says("clockwait", s.clock(clock, after(clock, 200))));
        }
    }
    t.says("post", s.post());
    t.says("wait", s.wait());
    t.says("destroy", s.destroy());
}

fn sem_init_says(t: &Trace) {
    let s = shared_memory::<libc::sem_t>();
    for value in [0, 1, i32::MAX as u32, i32::MAX as u32 + 1, u32::MAX] {
        for shared in [0, 1] {
            t.says("init", ret(unsafe { libc::sem_init(s, shared, value) }));
        }
    }
}

fn overflow(t: &Trace, shared: bool) {
    let s = Sem::new(shared, i32::MAX as u32 - 1);
    t.says("post", s.post());
    t.says("post, full", s.post());
    t.says("value", s.value());
    t.says("trywait", s.try_wait());
    t.says("post", s.post());
}

/// A flow that waits is woken by any post.
fn posts(t: &Trace, shared: bool) {
    let s = Sem::new(shared, 0);
    let waits = (0..4).map(|i| {
        t.spawn(&format!("waits {i}"), move |t| {
            let got = if i % 2 == 0 { s.wait() } else { s.timed(in_ms(20_000)) };
            t.says("wait", got);
        })
    });
    let waits: Vec<_> = waits.collect();
    let thread = std::thread::spawn(move || s.wait().to_string());
    ms(50);
    std::thread::spawn(move || (s.post(), s.post())).join().expect("its end");
    t.spawn("posts", move |t| t.says("post", (s.post(), s.post()).1)).join();
    t.says("post", s.post());
    waits.into_iter().for_each(Flow::join);
    t.says("thread", thread.join().expect("its end"));
    t.says("value", s.value());
}

/// Never more inside than there are tokens.
fn tokens(t: &Trace, shared: bool) {
    static INSIDE: AtomicU32 = AtomicU32::new(0);
    let s = Sem::new(shared, 3);
    let work = move || {
        let mut bad = 0;
        for i in 0..50 {
            s.wait();
            bad += u32::from(INSIDE.fetch_add(1, Ordering::SeqCst) >= 3);
            if i % 4 == 0 {
                ms(1);
            }
            INSIDE.fetch_sub(1, Ordering::SeqCst);
            s.post();
        }
        bad
    };
    let parties: Vec<_> = (0..6).map(|i| t.spawn(&format!("p{i}"), move |_| work())).collect();
    let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(work)).collect();
    t.says("bad", parties.into_iter().map(Flow::join).sum::<u32>());
    t.says("bad", threads.into_iter().map(|h| h.join().expect("its end")).sum::<u32>());
    t.says("value", s.value());
}

/// A handler may post.
fn handler_posts(t: &Trace, shared: bool) {
    static SEM: std::sync::OnceLock<Sem> = std::sync::OnceLock::new();
    extern "C" fn handler(_: i32) {
        if let Some(s) = SEM.get() {
            s.post();
        }
    }
    let s = *SEM.get_or_init(|| Sem::new(shared, 0));
    unsafe { libc::signal(libc::SIGUSR1, handler as *const () as usize) };
    let waits = t.spawn("waits", move |t| {
        for _ in 0..5 {
            // (The signal may come to the thread that waits.)
            while s.wait().to_string() != "0" {}
            t.line("got it");
        }
    });
    for _ in 0..5 {
        ms(20);
        unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
    }
    make::until(5_000, || waits.is_over());
    t.says("over", waits.is_over());
}

fn processes(t: &Trace, s: Sem) {
    let back = Sem::new(true, 0);
    let child = make::child(move || {
        for _ in 0..20 {
            s.wait();
            back.post();
        }
        7
    });
    for _ in 0..20 {
        s.post();
        t.says("wait", back.wait());
    }
    t.says("child", make::end_of(child));
    t.timed("timedwait", 200, || t.says("timedwait", back.timed(in_ms(200))));
}

fn sem_open_says(t: &Trace) {
    let name = format!("/goroutines-{}", unsafe { libc::getpid() });
    let name = std::ffi::CString::new(name).expect("a name");
    let open = |name: &std::ffi::CStr, flags: i32, value: u32| {
        let s = unsafe { libc::sem_open(name.as_ptr(), flags, 0o600, value) };
        if s == libc::SEM_FAILED {
            return Err(ret(-1).to_string());
        }
        Ok(Sem(s))
    };
    let says = |what: &str, got: Result<Sem, String>| {
        t.says(what, got.map_or_else(|e| e, |_| "ok".into()))
    };
    let both = libc::O_CREAT | libc::O_EXCL;
    says("none", open(&name, 0, 0));
    says("bad name", open(c"/a/b", both, 0));
    says("bad value", open(&name, both, u32::MAX));
    let Ok(s) = open(&name, both, 1) else { t.skip("no named semaphores") };
    says("again", open(&name, both, 1));
    t.says("wait", s.wait());
    t.says("trywait", s.try_wait());
    t.timed("timedwait", 200, || t.says("timedwait", s.timed(in_ms(200))));
    let child = make::child(move || {
        ms(50);
        s.post();
        3
    });
    t.says("wait", s.wait());
    t.says("child", make::end_of(child));
    let other = t.spawn("other", move |t| t.says("wait", s.wait()));
    ms(20);
    t.says("post", s.post());
    other.join();
    t.says("close", ret(unsafe { libc::sem_close(s.0) }));
    t.says("unlink", ret(unsafe { libc::sem_unlink(name.as_ptr()) }));
    t.says("unlink again", ret(unsafe { libc::sem_unlink(name.as_ptr()) }));
}
