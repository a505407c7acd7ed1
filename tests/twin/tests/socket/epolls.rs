//! Epolls that watch what others watch, and each other: the runtime's own watching takes nothing away from the program.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows};
use libc::{c_int, epoll_event};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        many_watch_one,
        many_watch_one_from_the_start,
        many_in_one_watch_one,
        a_deep_nest,
        refused_for_other_reasons,
    ];
    type Add = fn(c_int, c_int, u32) -> c_int;
    let by_syscall: Add = |epoll, fd, events| {
        let mut event = epoll_event { events, u64: 0 };
        let add = libc::EPOLL_CTL_ADD;
        unsafe { libc::syscall(libc::SYS_epoll_ctl, epoll, add, fd, &raw mut event) as c_int }
    };
    for (name, add, is_late) in [
        ("exclusive", add as Add, false),
        ("exclusive_by_syscall", by_syscall, false),
        ("exclusive_late", add, true),
    ] {
        rows.push(Row::new(name, move |t| exclusive(t, add, is_late)));
    }
    rows
}

fn new() -> c_int {
    unsafe { libc::epoll_create1(0) }
}

fn close(epolls: &[c_int]) {
    epolls.iter().for_each(|epoll| make::close([*epoll]));
}

fn counter() -> c_int {
    unsafe { libc::eventfd(0, 0) }
}

fn add(epoll: c_int, fd: c_int, events: u32) -> c_int {
    let mut event = epoll_event { events, u64: 0 };
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) }
}

const IN: u32 = libc::EPOLLIN as u32;

fn wait(epoll: c_int, limit: c_int) -> c_int {
    let mut event = epoll_event { events: 0, u64: 0 };
    unsafe { libc::epoll_wait(epoll, &raw mut event, 1, limit) }
}

/// More than the kernel allows at two steps' distance.
const MANY: usize = 540;

/// How many of `epolls` can't watch `fd`, and how many say that it is ready, when it is.
fn all_watch(t: &Trace, epolls: &[c_int], fd: c_int) {
    let failed = epolls.iter().filter(|epoll| add(**epoll, fd, IN) != 0).count();
    t.says("failed", failed);
    t.says("not yet", epolls.iter().filter(|epoll| wait(**epoll, 1) != 0).count());
    let one = 1u64;
    unsafe { libc::write(fd, (&raw const one).cast(), 8) };
    t.says("woken", epolls.iter().filter(|epoll| wait(**epoll, 100) == 1).count());
    close(epolls);
}

fn many_watch_one(t: &Trace) {
    let epolls: Vec<_> = (0..MANY).map(|_| new()).collect();
    // Each was waited for before there was anything in it.
    t.says("empty", epolls.iter().filter(|epoll| wait(**epoll, 1) != 0).count());
    all_watch(t, &epolls, counter());
}

fn many_watch_one_from_the_start(t: &Trace) {
    let epolls: Vec<_> = (0..MANY).map(|_| new()).collect();
    all_watch(t, &epolls, counter());
}

/// The limit is that of the paths, whichever epoll is added to.
fn many_in_one_watch_one(t: &Trace) {
    let outer: Vec<_> = (0..105).map(|_| new()).collect();
    let inner = new();
    for epoll in &outer {
        add(*epoll, inner, IN);
        wait(*epoll, 1);
    }
    let fd = counter();
    t.says("add", ret(add(inner, fd, IN)));
    let one = 1u64;
    unsafe { libc::write(fd, (&raw const one).cast(), 8) };
    t.says("woken", outer.iter().filter(|epoll| wait(**epoll, 100) == 1).count());
    close(&outer);
}

fn a_deep_nest(t: &Trace) {
    let epolls: Vec<_> = (0..8).map(|_| new()).collect();
    for (i, pair) in epolls.windows(2).enumerate() {
        t.says(&format!("{i}: empty"), wait(epolls[0], 1));
        t.says(&format!("{i}: nested"), ret(add(pair[0], pair[1], IN)));
    }
    let fd = counter();
    for (i, epoll) in epolls.iter().enumerate() {
        t.says(&format!("{i}: watches"), ret(add(*epoll, fd, IN)));
    }
    t.says("not yet", wait(epolls[0], 1));
}

/// Errors that have nothing to do with it, and after them the epoll is waited for as before.
fn refused_for_other_reasons(t: &Trace) {
    let (epoll, fd) = (new(), counter());
    wait(epoll, 1);
    t.says("itself", ret(add(epoll, epoll, IN)));
    t.says("no epoll", ret(add(fd, epoll, IN)));
    let inner = new();
    t.says("inner", ret(add(epoll, inner, IN)));
    t.says("round", ret(add(inner, epoll, IN)));
    t.says("exclusive and more", ret(add(inner, epoll, IN | libc::EPOLLEXCLUSIVE as u32)));
    t.says("add", ret(add(epoll, fd, IN)));
    let waiter = t.spawn("waiter", move |t| {
        let got = t.timed("woken", 200, || wait(epoll, 5_000));
        t.says("woken", got);
    });
    ms(200);
    let one = 1u64;
    unsafe { libc::write(fd, (&raw const one).cast(), 8) };
    waiter.join();
}

/// Eight wait, each with an epoll of its own, for one listener. How many wake for one connection?
fn exclusive(t: &Trace, add: fn(c_int, c_int, u32) -> c_int, is_late: bool) {
    let to = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let (listener, address) = (to.as_raw_fd(), to.local_addr().expect("its address"));
    let woken = Arc::new(AtomicU32::new(0));
    let events = IN | libc::EPOLLEXCLUSIVE as u32;
    let epolls: Vec<_> = (0..8).map(|_| new()).collect();
    if !is_late {
        t.says("added", epolls.iter().filter(|epoll| add(**epoll, listener, events) == 0).count());
    }
    let waiters: Vec<_> = epolls
        .iter()
        .enumerate()
        .map(|(i, &epoll)| {
            let woken = woken.clone();
            t.spawn(&format!("waiter {i}"), move |_| {
                woken.fetch_add(u32::from(wait(epoll, 1_500) == 1), Ordering::Relaxed);
            })
        })
        .collect();
    ms(300);
    if is_late {
        t.says("added", epolls.iter().filter(|epoll| add(**epoll, listener, events) == 0).count());
        ms(200);
    }
    let _client = TcpStream::connect(address).expect("a connection");
    ms(300);
    t.says("woken", woken.load(Ordering::Relaxed));
    waiters.into_iter().for_each(|waiter| waiter.join());
}
