//! Shutting down what others wait for.

#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Flow, Row, Trace, make, ms, ret, rows};
use libc::{c_int, iovec, mmsghdr, msghdr, timeval};
use std::mem::zeroed;
use std::ptr::null_mut;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        many_waiters_end,
        an_end_that_came_before,
        data_first_then_the_end,
        a_listener_is_shut_down,
        an_unconnected_socket,
        what_shutdown_says,
    ];
    for (kind, make) in KINDS {
        for call in ["recv", "recvfrom", "read", "readv", "recvmsg", "recvmmsg", "peek", "all"] {
            for how in [libc::SHUT_RD, libc::SHUT_RDWR] {
                let name = format!("shutdown_{how}_ends_{call}_of_{kind}");
                rows.push(Row::new(name, move |t| {
                    ends_receiving(t, make(), call, how, Who::Party)
                }));
            }
        }
        // (UDP always takes it.)
        let sends = if kind == "udp" {
            &[][..]
        } else {
            &["send", "sendmsg", "write", "writev", "sendto"][..]
        };
        for call in sends {
            let name = format!("shutdown_ends_{call}_of_{kind}");
            rows.push(Row::new(name, move |t| ends_sending(t, make(), call, Who::Party)));
        }
        for (by, who) in
            [("a_copy", Who::Copy), ("a_thread", Who::Thread), ("a_process", Who::Process)]
        {
            let name = format!("shutdown_by_{by}_ends_recv_of_{kind}");
            rows.push(Row::new(name, move |t| {
                ends_receiving(t, make(), "recv", libc::SHUT_RD, who)
            }));
            if kind == "udp" {
                continue;
            }
            let name = format!("shutdown_by_{by}_ends_send_of_{kind}");
            rows.push(Row::new(name, move |t| ends_sending(t, make(), "send", who)));
        }
    }
    rows
}

type Make = fn() -> (i32, i32);

const KINDS: [(&str, Make); 5] = [
    ("tcp", make::tcp),
    ("udp", make::udp),
    ("stream", || make::socketpair(libc::SOCK_STREAM)),
    ("dgram", || make::socketpair(libc::SOCK_DGRAM)),
    ("seqpacket", || make::socketpair(libc::SOCK_SEQPACKET)),
];

/// What shuts it down.
#[derive(Clone, Copy)]
enum Who {
    /// Another thread, or goroutine.
    Party,
    /// The same, by another number.
    Copy,
    /// An OS thread.
    Thread,
    /// A child.
    Process,
}

/// Shuts `fd` down in 200 ms. What is to be joined: it says so in the trace.
#[must_use]
fn later(t: &Trace, fd: i32, how: c_int, who: Who) -> Option<Flow<()>> {
    let shut = move |fd| unsafe { libc::shutdown(fd, how) };
    match who {
        Who::Party | Who::Copy => {
            let fd = if matches!(who, Who::Copy) { unsafe { libc::dup(fd) } } else { fd };
            return Some(t.spawn("other", move |t| {
                ms(200);
                t.says("shutdown", ret(shut(fd)));
            }));
        }
        Who::Thread => drop(std::thread::spawn(move || {
            ms(200);
            shut(fd)
        })),
        Who::Process => {
            let _ = make::child(move || {
                unsafe { libc::usleep(200_000) };
                shut(fd)
            });
        }
    }
    None
}

fn receive(call: &str, fd: i32) -> String {
    let mut bytes = [0u8; 8];
    let at = bytes.as_mut_ptr().cast();
    let mut list = iovec { iov_base: at, iov_len: 8 };
    let mut header: msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut list;
    header.msg_iovlen = 1;
    let mut many = mmsghdr { msg_hdr: header, msg_len: 77 };
    let got = unsafe {
        match call {
            "recv" => ret(libc::recv(fd, at, 8, 0)),
            "recvfrom" => {
                let (mut name, mut len) = ([0u8; 128], 128);
                ret(libc::recvfrom(fd, at, 8, 0, name.as_mut_ptr().cast(), &raw mut len))
            }
            "read" => ret(libc::read(fd, at, 8)),
            "readv" => ret(libc::readv(fd, [list, list].as_ptr(), 2)),
            "recvmsg" => ret(libc::recvmsg(fd, &raw mut header, 0)),
            "recvmmsg" => ret(libc::recvmmsg(fd, &raw mut many, 1, 0, null_mut())),
            "peek" => ret(libc::recv(fd, at, 8, libc::MSG_PEEK)),
            _ => ret(libc::recv(fd, at, 8, libc::MSG_WAITALL)),
        }
    };
    format!("{got}, a message of {}", many.msg_len)
}

fn ends_receiving(t: &Trace, (a, _b): (i32, i32), call: &'static str, how: c_int, who: Who) {
    let other = later(t, a, how, who);
    // Another process's is seen a little later.
    let got = t.timed("time", 200, || t.within("receive", 3000, move || receive(call, a)));
    t.says(call, got.unwrap_or_default());
    t.says("again", t.within("again", 1000, move || receive(call, a)).unwrap_or_default());
    other.into_iter().for_each(Flow::join);
}

/// Fills what there is room for.
fn fill(fd: i32) {
    let bytes = [7u8; 4096];
    let full = || {
        let send = |n| unsafe { libc::send(fd, bytes.as_ptr().cast(), n, libc::MSG_DONTWAIT) } <= 0;
        send(4096) && send(1)
    };
    // The other end's window grows for a while, and its first probe comes after 200 ms.
    let mut rounds = 0;
    while rounds < 300 {
        rounds = if full() { rounds + 1 } else { 0 };
        if rounds > 0 {
            ms(1);
        }
    }
}

fn ends_sending(t: &Trace, (a, _b): (i32, i32), call: &'static str, who: Who) {
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    fill(a);
    let other = later(t, a, libc::SHUT_WR, who);
    let send = move || {
        let bytes = [7u8; 4096];
        let at = bytes.as_ptr().cast::<libc::c_void>();
        let mut list = iovec { iov_base: at.cast_mut(), iov_len: 4096 };
        let mut header: msghdr = unsafe { zeroed() };
        header.msg_iov = &raw mut list;
        header.msg_iovlen = 1;
        unsafe {
            match call {
                "send" => ret(libc::send(a, at, 4096, 0)),
                "sendmsg" => ret(libc::sendmsg(a, &raw const header, 0)),
                "write" => ret(libc::write(a, at, 4096)),
                "writev" => ret(libc::writev(a, [list, list].as_ptr(), 2)),
                _ => ret(libc::sendto(a, at, 4096, libc::MSG_NOSIGNAL, std::ptr::null(), 0)),
            }
        }
        .to_string()
    };
    let got = t.within("send", 3000, send);
    t.says(call, got.unwrap_or_default());
    other.into_iter().for_each(Flow::join);
}

fn many_waiters_end(t: &Trace) {
    for (kind, make) in KINDS {
        let (a, b) = make();
        let timed = timeval { tv_sec: 10, tv_usec: 0 };
        unsafe {
            libc::setsockopt(b, libc::SOL_SOCKET, libc::SO_RCVTIMEO, (&raw const timed).cast(), 16);
        }
        for (fd, what) in [(a, "one that waits"), (b, "with a time-out")] {
            let all: Vec<_> = (0..5)
                .map(|i| {
                    t.spawn(&format!("{kind} {what} {i}"), move |t| {
                        t.says("recv", receive("recv", fd))
                    })
                })
                .collect();
            ms(100);
            unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
            let over = all.into_iter().filter(|one| one.over_within(2000)).count();
            t.says(&format!("{kind}, over"), over);
        }
    }
}

fn an_end_that_came_before(t: &Trace) {
    for (kind, make) in KINDS {
        let (a, _b) = make();
        unsafe { libc::shutdown(a, libc::SHUT_RD) };
        for call in ["recv", "read", "recvmsg", "recvmmsg"] {
            t.says(kind, t.within(call, 1000, move || receive(call, a)).unwrap_or_default());
        }
    }
}

fn data_first_then_the_end(t: &Trace) {
    for (kind, make) in KINDS {
        let (a, b) = make();
        for _ in 0..2 {
            unsafe { libc::send(b, c"abc".as_ptr().cast(), 3, 0) };
        }
        unsafe { libc::shutdown(a, libc::SHUT_RD) };
        for _ in 0..3 {
            t.says(kind, t.within("recv", 1000, move || receive("recv", a)).unwrap_or_default());
        }
        t.says(
            "sent to it",
            ret(unsafe { libc::send(b, c"abc".as_ptr().cast(), 3, libc::MSG_NOSIGNAL) }),
        );
        t.says(kind, t.within("recv", 1000, move || receive("recv", a)).unwrap_or_default());
    }
}

fn a_listener_is_shut_down(t: &Trace) {
    let l = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&l);
    let other = later(t, fd, libc::SHUT_RD, Who::Party);
    let accept = move || ret(unsafe { libc::accept(fd, null_mut(), null_mut()) });
    let got = t.timed("time", 200, || t.within("accept", 3000, accept));
    t.says("accept", got.map_or(String::new(), |got| got.to_string()));
    t.says("again", accept());
    other.into_iter().for_each(Flow::join);
}

fn an_unconnected_socket(t: &Trace) {
    let u = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&u);
    let other = later(t, fd, libc::SHUT_RDWR, Who::Party);
    let got = t.timed("time", 200, || t.within("recv", 3000, move || receive("recvfrom", fd)));
    t.says("recv", got.unwrap_or_default());
    other.into_iter().for_each(Flow::join);
}

fn what_shutdown_says(t: &Trace) {
    let (r, _w) = make::pipe();
    for (kind, fd) in [("none", 99), ("a pipe", r), ("minus", -1)] {
        t.says(kind, ret(unsafe { libc::shutdown(fd, libc::SHUT_RDWR) }));
    }
    for (kind, make) in KINDS {
        let (a, _b) = make();
        for how in [3, -1, 0, 0, 1, 2, 2] {
            t.says(&format!("{kind} {how}"), ret(unsafe { libc::shutdown(a, how) }));
        }
    }
    for ty in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
        for domain in [libc::AF_UNIX, libc::AF_INET] {
            let fd = unsafe { libc::socket(domain, ty, 0) };
            t.says("as made", ret(unsafe { libc::shutdown(fd, libc::SHUT_RDWR) }));
        }
    }
}
