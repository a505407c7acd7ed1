//! All names by which a handler is installed.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::{action, install};
use goroutines_twin_tests::{Row, Trace, ms, ret, rows};
use std::sync::atomic::{AtomicUsize, Ordering};

unsafe extern "C" {
    fn __sysv_signal(signal: i32, handler: usize) -> usize;
    fn sysv_signal(signal: i32, handler: usize) -> usize;
    fn ssignal(signal: i32, handler: usize) -> usize;
    fn sigset(signal: i32, handler: usize) -> usize;
    fn sigignore(signal: i32) -> i32;
    fn siginterrupt(signal: i32, interrupts: i32) -> i32;
    fn __sigaction(signal: i32, new: *const libc::sigaction, old: *mut libc::sigaction) -> i32;
}

pub(crate) fn rows() -> Vec<Row> {
    type Name = unsafe extern "C" fn(i32, usize) -> usize;
    let names: [(&str, Name); 5] = [
        ("signal", libc::signal),
        ("sysv_signal", sysv_signal),
        ("__sysv_signal", __sysv_signal),
        ("ssignal", ssignal),
        ("sigset", sigset),
    ];
    let mut rows = rows![siginterrupts, sigsets, sigignores, by_sigaction_s_other_name];
    for (name, call) in names {
        rows.push(Row::new(format!("by_{name}"), move |t| by(t, call)));
        let posts = move |t: &Trace| its_handler_wakes(t, call);
        rows.push(Row::new(format!("handler_by_{name}_wakes"), posts));
    }
    rows
}

extern "C" fn nothing(_: i32) {}

fn word(before: usize) -> &'static str {
    match before {
        libc::SIG_DFL => "default",
        libc::SIG_IGN => "ignored",
        libc::SIG_ERR => "error",
        2 => "hold",
        _ if before == nothing as *const () as usize => "the handler",
        _ => "something else",
    }
}

fn by(t: &Trace, call: unsafe extern "C" fn(i32, usize) -> usize) {
    let handler = nothing as *const () as usize;
    for signal in [libc::SIGUSR1, libc::SIGURG, libc::SIGFPE] {
        t.says("first", word(unsafe { call(signal, handler) }));
        t.says("action", action(signal));
        t.says("again", word(unsafe { call(signal, libc::SIG_IGN) }));
        t.says("default", word(unsafe { call(signal, libc::SIG_DFL) }));
    }
    for (signal, handler) in [
        (libc::SIGUSR1, libc::SIG_ERR),
        (0, handler),
        (65, handler),
        (-1, handler),
        (32, handler),
        (libc::SIGKILL, handler),
    ] {
        let before = unsafe { call(signal, handler) };
        let error = goroutines_twin_tests::say::errno_name(goroutines_twin_tests::say::errno());
        t.says(&format!("signal {signal}"), format!("{} {error}", word(before)));
    }
}

fn by_sigaction_s_other_name(t: &Trace) {
    let mut old: libc::sigaction = unsafe { std::mem::zeroed() };
    install(libc::SIGUSR1, nothing as *const () as usize, libc::SA_RESTART, &[libc::SIGHUP]);
    t.says("asked", ret(unsafe { __sigaction(libc::SIGUSR1, std::ptr::null(), &raw mut old) }));
    t.says("handler", word(old.sa_sigaction));
    t.says("set", ret(unsafe { __sigaction(libc::SIGUSR2, &raw const old, std::ptr::null_mut()) }));
    t.says("action", action(libc::SIGUSR2));
}

fn siginterrupts(t: &Trace) {
    for signal in [libc::SIGUSR1, libc::SIGURG] {
        install(signal, nothing as *const () as usize, libc::SA_RESTART, &[]);
        t.says("siginterrupt", ret(unsafe { siginterrupt(signal, 1) }));
        t.says("action", action(signal));
        unsafe { libc::signal(signal, nothing as *const () as usize) };
        t.says("signal", action(signal));
        t.says("siginterrupt", ret(unsafe { siginterrupt(signal, 0) }));
        t.says("action", action(signal));
        unsafe { libc::signal(signal, nothing as *const () as usize) };
        t.says("signal", action(signal));
    }
    t.says("none", ret(unsafe { siginterrupt(65, 1) }));
}

fn sigsets(t: &Trace) {
    let handler = nothing as *const () as usize;
    for disposition in [handler, 2, 2, handler, libc::SIG_IGN, libc::SIG_DFL] {
        t.says("sigset", word(unsafe { sigset(libc::SIGUSR1, disposition) }));
        t.says("action", action(libc::SIGUSR1));
    }
}

fn sigignores(t: &Trace) {
    for signal in [libc::SIGUSR1, libc::SIGURG, 65] {
        t.says("sigignore", ret(unsafe { sigignore(signal) }));
        t.says("raise", ret(unsafe { libc::raise(if signal == 65 { 0 } else { signal }) }));
    }
    t.says("action", action(libc::SIGUSR1));
}

static SEMAPHORE: AtomicUsize = AtomicUsize::new(0);

extern "C" fn posts(_: i32) {
    unsafe { libc::sem_post(SEMAPHORE.load(Ordering::Relaxed) as *mut libc::sem_t) };
}

/// Only the handler can wake the flow that waits: that is no deadlock.
fn its_handler_wakes(t: &Trace, call: unsafe extern "C" fn(i32, usize) -> usize) {
    let semaphore = Box::leak(Box::new(unsafe { std::mem::zeroed::<libc::sem_t>() }));
    unsafe { libc::sem_init(semaphore, 0, 0) };
    SEMAPHORE.store(std::ptr::from_mut(semaphore) as usize, Ordering::Relaxed);
    unsafe { call(libc::SIGUSR1, posts as *const () as usize) };
    let line = format!("sleep 0.5; kill -USR1 {}", std::process::id());
    let child = std::process::Command::new("sh").args(["-c", &line]).spawn();
    while unsafe { libc::sem_wait(semaphore) } != 0 {}
    t.line("posted");
    ms(10);
    t.says("child", child.and_then(|mut child| child.wait()).is_ok());
}
