//! Masks, as far as they are the same on the one thread that the row keeps.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::install;
use goroutines_twin_tests::{Row, Trace, code, ret, rows, sleep};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn sighold(signal: i32) -> i32;
    fn sigrelse(signal: i32) -> i32;
}

pub(crate) fn rows() -> Vec<Row> {
    rows![
        all_blocked_and_others_run,
        all_blocked_at_the_end,
        urg_blocked_and_unblocked,
        urg_set_with_others,
        hold_and_release,
        mask_arguments,
    ]
}

static RUNS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn counts(_: i32) {
    RUNS.fetch_add(1, Ordering::Relaxed);
}

fn set(signals: &[i32]) -> libc::sigset_t {
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in signals {
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

fn change(how: i32, signals: &[i32]) -> i32 {
    let set = set(signals);
    unsafe { libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()) }
}

fn is_blocked(signal: i32) -> bool {
    let mut now = set(&[]);
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut now) };
    unsafe { libc::sigismember(&raw const now, signal) == 1 }
}

fn burn(time: u64) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(time) {
        std::hint::spin_loop();
    }
}

fn block_all() {
    let mut all = set(&[]);
    unsafe { libc::sigfillset(&raw mut all) };
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) };
}

/// A flow that blocks everything and computes has slices like others.
fn all_blocked_and_others_run(t: &Trace) {
    let burns: Vec<_> = (0..5)
        .map(|n| {
            t.spawn(&format!("burns {n}"), |_| {
                block_all();
                burn(2_500);
            })
        })
        .collect();
    t.timed("sleeps", 200, || sleep(200));
    burns.into_iter().for_each(|burns| burns.join());
}

/// What one flow has blocked is not blocked for those that come after it.
fn all_blocked_at_the_end(t: &Trace) {
    for n in 0..5 {
        t.spawn(&format!("blocks {n}"), |_| block_all()).join();
        t.spawn(&format!("comes {n}"), |t| {
            t.says("blocked", is_blocked(libc::SIGUSR1) || is_blocked(libc::SIGURG));
        })
        .join();
    }
}

fn urg_blocked_and_unblocked(t: &Trace) {
    install(libc::SIGURG, counts as *const () as usize, 0, &[]);
    for _ in 0..3 {
        t.says("block", code(change(libc::SIG_BLOCK, &[libc::SIGURG])));
        t.says("blocked", is_blocked(libc::SIGURG));
        t.says("raise", ret(unsafe { libc::raise(libc::SIGURG) }));
        t.says("raise", ret(unsafe { libc::raise(libc::SIGURG) }));
        t.says("runs", RUNS.load(Ordering::Relaxed));
        t.says("unblock", code(change(libc::SIG_UNBLOCK, &[libc::SIGURG])));
        t.says("runs", RUNS.load(Ordering::Relaxed));
        t.says("blocked", is_blocked(libc::SIGURG));
    }
}

fn urg_set_with_others(t: &Trace) {
    let _locked = goroutines::runtime::lock_os_thread();
    install(libc::SIGURG, counts as *const () as usize, 0, &[]);
    install(libc::SIGUSR1, counts as *const () as usize, 0, &[]);
    let both = [libc::SIGURG, libc::SIGUSR1];
    t.says("set", code(change(libc::SIG_SETMASK, &both)));
    for signal in both {
        t.says("blocked", is_blocked(signal));
        t.says("raise", ret(unsafe { libc::raise(signal) }));
    }
    t.says("runs", RUNS.load(Ordering::Relaxed));
    let (one, mut before) = (set(&[]), set(&[]));
    t.says(
        "set",
        ret(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const one, &raw mut before) }),
    );
    t.says("before", both.map(|n| unsafe { libc::sigismember(&raw const before, n) })[0]);
    t.says("runs", RUNS.load(Ordering::Relaxed));
}

fn hold_and_release(t: &Trace) {
    let _locked = goroutines::runtime::lock_os_thread();
    for signal in [libc::SIGUSR1, libc::SIGURG] {
        install(signal, counts as *const () as usize, 0, &[]);
        t.says("hold", ret(unsafe { sighold(signal) }));
        t.says("raise", ret(unsafe { libc::raise(signal) }));
        t.says("runs", RUNS.load(Ordering::Relaxed));
        t.says("release", ret(unsafe { sigrelse(signal) }));
        t.says("runs", RUNS.load(Ordering::Relaxed));
    }
    t.says("none", ret(unsafe { sighold(100) }));
}

fn mask_arguments(t: &Trace) {
    t.says("how", code(change(77, &[libc::SIGUSR1])));
    let one = set(&[libc::SIGUSR1]);
    t.says("how", ret(unsafe { libc::sigprocmask(77, &raw const one, std::ptr::null_mut()) }));
    t.says(
        "none",
        code(unsafe { libc::pthread_sigmask(77, std::ptr::null(), std::ptr::null_mut()) }),
    );
    t.says("kill", code(change(libc::SIG_BLOCK, &[libc::SIGKILL])));
    t.says("blocked", is_blocked(libc::SIGKILL) || is_blocked(libc::SIGUSR1));
}
