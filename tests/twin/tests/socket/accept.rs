//! `accept`: errors, turns, and other processes.

#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};
use libc::timeval;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        errors,
        flags_of_what_is_accepted,
        addresses,
        accept_not_waiting,
        no_number_left_and_nobody_comes,
        no_number_left_and_somebody_came,
        accept_with_a_time_limit,
        copies_of_a_listener,
        a_connection_that_was_reset,
        local_listeners,
    ];
    rows.push(Row::new("threads_are_faster", threads_are_faster).seconds(60));
    rows.push(Row::new("processes_are_faster", processes_are_faster).seconds(60));
    rows
}

fn listener() -> (i32, SocketAddr) {
    let l = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = l.local_addr().expect("its address");
    (l.into_raw_fd(), address)
}

fn accept(fd: i32) -> i32 {
    unsafe { libc::accept(fd, null_mut(), null_mut()) }
}

fn errors(t: &Trace) {
    let (r, _w) = make::pipe();
    let (a, _b) = make::tcp();
    let (u, _) = make::udp();
    let stream = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
    let local = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) };
    let (pair, _) = make::socketpair(libc::SOCK_STREAM);
    let (l, _) = listener();
    for fd in [-1, 99, r, a, u, stream, local, pair] {
        t.says("accept", ret(accept(fd)));
        t.says("accept4", ret(unsafe { libc::accept4(fd, null_mut(), null_mut(), 0) }));
    }
    for flags in [-1, 1, libc::SOCK_DGRAM, libc::SOCK_CLOEXEC | 4] {
        t.says("flags", ret(unsafe { libc::accept4(l, null_mut(), null_mut(), flags) }));
    }
}

fn flags_of_what_is_accepted(t: &Trace) {
    let (l, to) = listener();
    make::nonblocking(l, true);
    for flags in
        [0, libc::SOCK_CLOEXEC, libc::SOCK_NONBLOCK, libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK]
    {
        let _c = TcpStream::connect(to).expect("a connection");
        let fd = unsafe { libc::accept4(l, null_mut(), null_mut(), flags) };
        let (status, own) =
            unsafe { (libc::fcntl(fd, libc::F_GETFL), libc::fcntl(fd, libc::F_GETFD)) };
        t.says("flags", format!("{status:o} {own}"));
    }
}

fn addresses(t: &Trace) {
    let (l, to) = listener();
    for room in [0u32, 1, 2, 16, 17, 100, u32::MAX] {
        let _c = TcpStream::connect(to).expect("a connection");
        let mut name = [0xaau8; 128];
        let mut len = room;
        let fd = unsafe { libc::accept(l, name.as_mut_ptr().cast(), &raw mut len) };
        t.says(&format!("{room}"), format!("{} {len} {} {}", say::ok(fd), name[0], name[16]));
    }
    for len in [null_mut(), make::bad()] {
        let _c = TcpStream::connect(to).expect("a connection");
        let mut name = [0u8; 128];
        t.says("bad length", ret(unsafe { libc::accept(l, name.as_mut_ptr().cast(), len) }));
        let _c = TcpStream::connect(to).expect("a connection");
        let mut len = 16;
        t.says("bad name", ret(unsafe { libc::accept(l, make::bad(), &raw mut len) }));
    }
}

fn accept_not_waiting(t: &Trace) {
    let (l, to) = listener();
    make::nonblocking(l, true);
    t.says("nobody", ret(accept(l)));
    let _c = TcpStream::connect(to).expect("a connection");
    t.says("somebody", say::ok(accept(l)));
    t.says("nobody", ret(accept(l)));
}

fn take_all_numbers() {
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = 64;
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    while unsafe { libc::dup(0) } >= 0 {}
}

fn no_number_left_and_nobody_comes(t: &Trace) {
    let (l, _) = listener();
    let open: Vec<i32> =
        (0..64).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0).collect();
    take_all_numbers();
    t.hangs_after("accept", 2000, move || ret(accept(l)));
    make::nonblocking(l, true);
    t.says("not waiting", ret(accept(l)));
    for fd in 0..64 {
        if !open.contains(&fd) {
            unsafe { libc::close(fd) };
        }
    }
}

fn no_number_left_and_somebody_came(t: &Trace) {
    let (l, to) = listener();
    let _c = TcpStream::connect(to).expect("a connection");
    let open: Vec<i32> =
        (0..64).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0).collect();
    take_all_numbers();
    t.hangs_after("accept", 2000, move || ret(accept(l)));
    for fd in 0..64 {
        if !open.contains(&fd) {
            unsafe { libc::close(fd) };
        }
    }
    t.says("then", say::ok(accept(l)));
}

fn accept_with_a_time_limit(t: &Trace) {
    let (l, to) = listener();
    let limit = |tv_sec, tv_usec| {
        let time = timeval { tv_sec, tv_usec };
        let at = (&raw const time).cast();
        unsafe { libc::setsockopt(l, libc::SOL_SOCKET, libc::SO_RCVTIMEO, at, 16) };
    };
    limit(0, 200_000);
    let got = t.timed("time", 200, || ret(accept(l)));
    t.says("accept", got);
    limit(-1, 0);
    t.hangs_after("below zero", 1000, move || ret(accept(l)));
    limit(0, 200_000);
    let _c = TcpStream::connect(to).expect("a connection");
    t.says("somebody", say::ok(accept(l)));
}

fn copies_of_a_listener(t: &Trace) {
    let (l, to) = listener();
    let accepted = Arc::new(AtomicUsize::new(0));
    for i in 0..8 {
        let copy = if i % 2 == 0 { l } else { unsafe { libc::dup(l) } };
        let accepted = accepted.clone();
        drop(t.spawn(&format!("{i}"), move |_| {
            for _ in 0..10 {
                if accept(copy) >= 0 {
                    accepted.fetch_add(1, Ordering::Relaxed);
                }
            }
        }));
    }
    let all: Vec<_> = (0..80).map(|_| TcpStream::connect(to).expect("a connection")).collect();
    t.says("all", make::until(5000, || accepted.load(Ordering::Relaxed) == 80));
    drop(all);
}

fn a_connection_that_was_reset(t: &Trace) {
    let (l, to) = listener();
    let c = TcpStream::connect(to).expect("a connection");
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let at = (&raw const linger).cast();
    unsafe { libc::setsockopt(c.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, at, 8) };
    drop(c);
    let fd = accept(l);
    t.says("accept", say::ok(fd));
    let mut byte = 0u8;
    t.says("recv", ret(unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, 0) }));
    t.says("recv", ret(unsafe { libc::recv(fd, (&raw mut byte).cast(), 1, 0) }));
}

fn local_listeners(t: &Trace) {
    let path = make::path();
    let l = std::os::unix::net::UnixListener::bind(&path).expect("a listener");
    let fd = l.as_raw_fd();
    let to = path.clone();
    let other = t.spawn("other", move |_| {
        ms(200);
        std::os::unix::net::UnixStream::connect(to).expect("a connection")
    });
    let got = t.timed("time", 200, || say::ok(accept(fd)));
    t.says("accept", got);
    let (mut name, mut len) = ([0u8; 128], 128);
    let _c = std::os::unix::net::UnixStream::connect(&path).expect("a connection");
    let got = unsafe { libc::accept(fd, name.as_mut_ptr().cast(), &raw mut len) };
    t.says("nameless", format!("{} {len}", say::ok(got)));
    drop(other.join());
    let _ = std::fs::remove_file(path);
}

/// Whether other listeners accept, after connections to `to` that others may have taken.
fn others_accept(t: &Trace, to: SocketAddr) {
    for n in 0..3000 {
        drop(TcpStream::connect(to));
        if n % 100 == 99 {
            ms(5);
        }
    }
    let accepted = Arc::new(AtomicUsize::new(0));
    let others: Vec<_> = (0..130).map(|_| listener()).collect();
    let clients: Vec<_> = others
        .into_iter()
        .enumerate()
        .map(|(i, (l, to))| {
            let accepted = accepted.clone();
            drop(t.spawn(&format!("{i}"), move |_| {
                let fd = accept(l);
                accepted.fetch_add(1, Ordering::Relaxed);
                fd
            }));
            TcpStream::connect(to).expect("a connection")
        })
        .collect();
    make::until(3000, || accepted.load(Ordering::Relaxed) == 130);
    t.says("accepted", accepted.load(Ordering::Relaxed));
    drop(clients);
    unsafe { libc::_exit(0) };
}

fn threads_are_faster(t: &Trace) {
    let (l, to) = listener();
    for i in 0..4 {
        let take = move || loop {
            let fd = accept(l);
            unsafe { libc::close(fd) };
        };
        if i < 2 {
            std::thread::spawn(take);
        } else {
            drop(t.spawn(&format!("taker {i}"), move |_| take()));
        }
    }
    others_accept(t, to);
}

fn processes_are_faster(t: &Trace) {
    let (l, to) = listener();
    let _ = make::child(move || {
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        loop {
            let fd = accept(l);
            unsafe { libc::close(fd) };
        }
    });
    for i in 0..2 {
        drop(t.spawn(&format!("taker {i}"), move |_| {
            loop {
                let fd = accept(l);
                unsafe { libc::close(fd) };
            }
        }));
    }
    others_accept(t, to);
}
