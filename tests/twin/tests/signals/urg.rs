//! SIGURG, with which the runtime ends time slices, is the program's too.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc that touch no memory")]

use crate::{action, install};
use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, sleep};
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        urg_by_all_ways,
        urg_on_another_thread,
        urg_beside_slices,
        urg_action_is_the_programs,
        urg_once,
        urg_nested,
        urg_blocks,
        urg_handler_waits,
    ];
    rows.push(Row::new("urg_installed_before", urg_by_raise).before(|_| {
        install(libc::SIGURG, counts as *const () as usize, 0, &[]);
    }));
    rows
}

static RUNS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn counts(_: i32) {
    RUNS.fetch_add(1, Ordering::Relaxed);
}

/// Handlers that have run within a while.
fn runs(at_least: usize) -> usize {
    let start = Instant::now();
    while RUNS.load(Ordering::Relaxed) < at_least && start.elapsed() < Duration::from_secs(3) {
        ms(1);
    }
    RUNS.load(Ordering::Relaxed)
}

fn urg_by_raise(t: &Trace) {
    for turn in 1..=20 {
        t.says("raise", ret(unsafe { libc::raise(libc::SIGURG) }));
        t.says("runs", (turn, RUNS.load(Ordering::Relaxed)).1);
    }
}

fn urg_by_all_ways(t: &Trace) {
    install(libc::SIGURG, counts as *const () as usize, libc::SA_RESTART, &[]);
    urg_by_raise(t);
    t.says("pthread_kill", unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGURG) });
    t.says("runs", RUNS.load(Ordering::Relaxed));
    let me = unsafe { libc::getpid() };
    t.says("kill", ret(unsafe { libc::kill(me, libc::SIGURG) }));
    t.says("runs", runs(22));
    let value = libc::sigval { sival_ptr: std::ptr::null_mut() };
    t.says("sigqueue", ret(unsafe { libc::sigqueue(me, libc::SIGURG, value) }));
    t.says("runs", runs(23));
}

fn urg_on_another_thread(t: &Trace) {
    install(libc::SIGURG, counts as *const () as usize, libc::SA_RESTART, &[]);
    let raised = std::thread::spawn(|| unsafe {
        let word = libc::raise(libc::SIGURG);
        (word, libc::pthread_kill(libc::pthread_self(), libc::SIGURG))
    });
    t.says("words", format!("{:?}", raised.join().ok()));
    t.says("runs", RUNS.load(Ordering::Relaxed));
    let (send, receive) = std::sync::mpsc::channel::<()>();
    let other =
        std::thread::spawn(
            move || {
                while receive.recv_timeout(Duration::from_millis(10)).is_err() {}
            },
        );
    use std::os::unix::thread::JoinHandleExt;
    t.says("of another", unsafe { libc::pthread_kill(other.as_pthread_t(), libc::SIGURG) });
    t.says("runs", runs(3));
    let _ = send.send(());
    t.says("joins", other.join().is_ok());
}

fn burn(time: u64) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(time) {
        std::hint::spin_loop();
    }
}

fn urg_beside_slices(t: &Trace) {
    install(libc::SIGURG, counts as *const () as usize, libc::SA_RESTART, &[]);
    let burns: Vec<_> = (0..6).map(|n| t.spawn(&format!("burns {n}"), |_| burn(150))).collect();
    let raises = t.spawn("raises", |t| {
        for _ in 0..50 {
            unsafe { libc::raise(libc::SIGURG) };
            burn(1);
        }
        t.line("done");
    });
    raises.join();
    burns.into_iter().for_each(|burns| burns.join());
    t.says("runs", RUNS.load(Ordering::Relaxed));
}

fn urg_action_is_the_programs(t: &Trace) {
    t.says("at first", action(libc::SIGURG));
    install(libc::SIGURG, counts as *const () as usize, libc::SA_NODEFER, &[libc::SIGUSR1]);
    t.says("then", action(libc::SIGURG));
    install(libc::SIGURG, libc::SIG_IGN, 0, &[]);
    t.says("raise", ret(unsafe { libc::raise(libc::SIGURG) }));
    t.says("ignored", action(libc::SIGURG));
    install(libc::SIGURG, libc::SIG_DFL, 0, &[]);
    t.says("raise", ret(unsafe { libc::raise(libc::SIGURG) }));
    t.says("default", action(libc::SIGURG));
    t.says("runs", RUNS.load(Ordering::Relaxed));
}

fn urg_once(t: &Trace) {
    install(libc::SIGURG, counts as *const () as usize, libc::SA_RESETHAND, &[]);
    for _ in 0..3 {
        unsafe { libc::raise(libc::SIGURG) };
    }
    t.says("runs", RUNS.load(Ordering::Relaxed));
    t.says("action", action(libc::SIGURG).split(' ').next().unwrap_or_default());
}

static DEPTH: AtomicUsize = AtomicUsize::new(0);
static DEEPEST: AtomicUsize = AtomicUsize::new(0);

extern "C" fn raises_again(_: i32) {
    let depth = DEPTH.fetch_add(1, Ordering::Relaxed) + 1;
    DEEPEST.fetch_max(depth, Ordering::Relaxed);
    if RUNS.fetch_add(1, Ordering::Relaxed) < 3 {
        unsafe { libc::raise(libc::SIGURG) };
    }
    DEPTH.fetch_sub(1, Ordering::Relaxed);
}

fn urg_nested(t: &Trace) {
    for flags in [libc::SA_NODEFER, 0] {
        RUNS.store(0, Ordering::Relaxed);
        DEEPEST.store(0, Ordering::Relaxed);
        install(libc::SIGURG, raises_again as *const () as usize, flags, &[]);
        unsafe { libc::raise(libc::SIGURG) };
        t.says("runs", runs(4));
        t.says("deepest", DEEPEST.load(Ordering::Relaxed));
    }
}

static ORDER: AtomicUsize = AtomicUsize::new(0);

extern "C" fn notes_order(signal: i32) {
    let mark = if signal == libc::SIGURG { 1 } else { 2 };
    if signal == libc::SIGURG {
        unsafe { libc::raise(libc::SIGUSR1) };
    }
    ORDER.store(ORDER.load(Ordering::Relaxed) * 10 + mark, Ordering::Relaxed);
}

fn urg_blocks(t: &Trace) {
    for mask in [&[][..], &[libc::SIGUSR1]] {
        ORDER.store(0, Ordering::Relaxed);
        install(libc::SIGURG, notes_order as *const () as usize, 0, mask);
        install(libc::SIGUSR1, notes_order as *const () as usize, 0, &[]);
        unsafe { libc::raise(libc::SIGURG) };
        t.says("order", ORDER.load(Ordering::Relaxed));
    }
}

static PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn reads(_: i32) {
    let mut byte = 0u8;
    unsafe { libc::read(PIPE.load(Ordering::Relaxed), (&raw mut byte).cast(), 1) };
    RUNS.fetch_add(1, Ordering::Relaxed);
}

/// Its handler waits for what another writes; slices end as before.
fn urg_handler_waits(t: &Trace) {
    let (from, to) = make::pipe();
    PIPE.store(from, Ordering::Relaxed);
    install(libc::SIGURG, reads as *const () as usize, 0, &[]);
    let writes = t.spawn("writes", move |t| {
        ms(50);
        t.says("write", ret(unsafe { libc::write(to, c"x".as_ptr().cast(), 1) }));
    });
    unsafe { libc::raise(libc::SIGURG) };
    t.says("runs", RUNS.load(Ordering::Relaxed));
    writes.join();
    let burns: Vec<_> = (0..3).map(|n| t.spawn(&format!("burns {n}"), |_| burn(2_000))).collect();
    t.timed("sleeps", 200, || sleep(200));
    burns.into_iter().for_each(|burns| burns.join());
}
