//! `connect`: refusals, connections under way, and connecting again.

#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows};
use libc::{c_int, sockaddr_in, sockaddr_in6, sockaddr_storage, sockaddr_un, timeval};
use std::mem::zeroed;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    rows![
        refused_again_and_again,
        refused_then_let_in,
        connected_already,
        under_way,
        not_waiting,
        datagrams_to_many,
        local_streams,
        local_datagrams,
        a_full_local_queue,
        of_version_six,
        a_wrong_family,
        a_listener_connects,
        two_at_once,
        flags_amid_connects,
        a_time_limit,
        fast_open,
        fast_open_of_connect,
        what_is_no_socket,
        closed_by_the_other_end_first,
        an_error_is_told_once,
        raw_and_netlink,
    ]
}

fn address(port: u16) -> sockaddr_in {
    sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    }
}

fn socket(ty: c_int) -> i32 {
    unsafe { libc::socket(libc::AF_INET, ty, 0) }
}

fn connect<T>(fd: i32, to: &T) -> String {
    let at = std::ptr::from_ref(to).cast();
    ret(unsafe { libc::connect(fd, at, size_of::<T>() as u32) }).to_string()
}

/// A port at which no socket listens, and which no other row may get meanwhile: no system gives it out by itself.
fn nobody() -> u16 {
    1
}

fn listener() -> (TcpListener, u16) {
    let l = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = l.local_addr().expect("its address").port();
    (l, port)
}

fn so_error(fd: i32) -> c_int {
    let (mut error, mut len) = (77, 4);
    unsafe {
        let at = (&raw mut error).cast();
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_ERROR, at, &raw mut len);
    }
    error
}

/// What `poll` says of it now.
fn polled(fd: i32) -> i16 {
    let mut one = libc::pollfd { fd, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
    unsafe { libc::poll(&raw mut one, 1, 0) };
    one.revents
}

fn refused_again_and_again(t: &Trace) {
    let (fd, to) = (socket(libc::SOCK_STREAM), address(nobody()));
    t.says("new", polled(fd));
    for _ in 0..4 {
        t.says("connect", connect(fd, &to));
        t.says("error", so_error(fd));
        t.says("poll", polled(fd));
    }
    t.says("send", ret(unsafe { libc::send(fd, c"x".as_ptr().cast(), 1, libc::MSG_NOSIGNAL) }));
    t.says("recv", ret(unsafe { libc::recv(fd, null_mut(), 0, 0) }));
}

fn refused_then_let_in(t: &Trace) {
    let (l, port) = listener();
    let fd = socket(libc::SOCK_STREAM);
    t.says("refused", connect(fd, &address(nobody())));
    t.says("let in", connect(fd, &address(port)));
    t.says("again", connect(fd, &address(port)));
    t.says("poll", polled(fd));
    drop(l);
}

fn connected_already(t: &Trace) {
    let (_l, port) = listener();
    let fd = socket(libc::SOCK_STREAM);
    for _ in 0..3 {
        t.says("connect", connect(fd, &address(port)));
    }
    let none: sockaddr_storage = unsafe { zeroed() };
    t.says("to nobody", connect(fd, &none));
    t.says("again", connect(fd, &address(port)));
    t.says("short", ret(unsafe { libc::connect(fd, (&raw const none).cast(), 1) }));
}

/// A listener that answers no more connections.
fn deaf() -> (TcpListener, Vec<i32>, u16) {
    let (l, port) = listener();
    unsafe { libc::listen(l.as_raw_fd(), 0) };
    let waiting = (0..2)
        .map(|_| {
            let fd = socket(libc::SOCK_STREAM | libc::SOCK_NONBLOCK);
            connect(fd, &address(port));
            ms(50);
            fd
        })
        .collect();
    (l, waiting, port)
}

fn time_limit(fd: i32, milliseconds: i64) {
    let time = timeval { tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000 };
    let at = (&raw const time).cast();
    unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_SNDTIMEO, at, 16) };
}

fn under_way(t: &Trace) {
    let (l, _waiting, port) = deaf();
    let fd = socket(libc::SOCK_STREAM | libc::SOCK_NONBLOCK);
    t.says("begun", connect(fd, &address(port)));
    t.says("again", connect(fd, &address(port)));
    t.says("poll", polled(fd));
    make::nonblocking(fd, false);
    time_limit(fd, 200);
    let got = t.timed("time", 200, || connect(fd, &address(port)));
    t.says("waiting", got);
    t.says("send", ret(unsafe { libc::send(fd, c"x".as_ptr().cast(), 1, libc::MSG_NOSIGNAL) }));
    t.says("shutdown", ret(unsafe { libc::shutdown(fd, libc::SHUT_RDWR) }));
    t.says("after", connect(fd, &address(port)) != "0");
    drop(l);
}

fn a_time_limit(t: &Trace) {
    let (l, _waiting, port) = deaf();
    let fd = socket(libc::SOCK_STREAM);
    time_limit(fd, 200);
    for _ in 0..2 {
        let got = t.timed("time", 200, || connect(fd, &address(port)));
        t.says("connect", got);
    }
    time_limit(fd, -1000);
    t.says("below zero", connect(fd, &address(port)));
    drop(l);
}

fn not_waiting(t: &Trace) {
    let (_l, port) = listener();
    let fd = socket(libc::SOCK_STREAM | libc::SOCK_NONBLOCK);
    t.says("begun", connect(fd, &address(port)));
    ms(50);
    for _ in 0..2 {
        t.says("again", connect(fd, &address(port)));
    }
    let fd = socket(libc::SOCK_STREAM | libc::SOCK_NONBLOCK);
    let to = address(nobody());
    for _ in 0..4 {
        t.says("refused", connect(fd, &to));
        ms(30);
    }
    t.says("flags", unsafe { libc::fcntl(fd, libc::F_GETFL) } & libc::O_NONBLOCK != 0);
}

fn datagrams_to_many(t: &Trace) {
    let fd = socket(libc::SOCK_DGRAM);
    let to = address(nobody());
    let send = || ret(unsafe { libc::send(fd, c"x".as_ptr().cast(), 1, 0) });
    t.says("unconnected", send());
    for _ in 0..2 {
        t.says("connect", connect(fd, &to));
        t.says("send", send());
        ms(20);
        t.says("refused", send());
        t.says("then", send());
        ms(20);
        t.says("recv", ret(unsafe { libc::recv(fd, null_mut(), 0, 0) }));
    }
    let none: sockaddr_storage = unsafe { zeroed() };
    t.says("to nobody", connect(fd, &none));
    t.says("send", send());
    t.says("error", so_error(fd));
}

fn local(name: &str) -> sockaddr_un {
    let mut at: sockaddr_un = unsafe { zeroed() };
    at.sun_family = libc::AF_UNIX as u16;
    for (to, from) in at.sun_path.iter_mut().zip(name.as_bytes()) {
        *to = *from as libc::c_char;
    }
    at
}

fn local_streams(t: &Trace) {
    let path = make::path();
    let to = local(path.to_str().expect("a name"));
    for ty in [libc::SOCK_STREAM, libc::SOCK_SEQPACKET] {
        let fd = unsafe { libc::socket(libc::AF_UNIX, ty, 0) };
        t.says("nothing there", connect(fd, &to));
        let l = unsafe { libc::socket(libc::AF_UNIX, ty, 0) };
        let at = std::ptr::from_ref(&to).cast();
        unsafe { libc::bind(l, at, size_of::<sockaddr_un>() as u32) };
        t.says("nobody listens", connect(fd, &to));
        unsafe { libc::listen(l, 1) };
        let other = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0) };
        t.says("of another type", connect(other, &to));
        for _ in 0..2 {
            t.says("connect", connect(fd, &to));
        }
        let got = unsafe { libc::accept(l, null_mut(), null_mut()) };
        t.says("accepted", got >= 0);
        unsafe { libc::close(l) };
        t.says("again", connect(fd, &to));
        let fd = unsafe { libc::socket(libc::AF_UNIX, ty, 0) };
        t.says("gone", connect(fd, &to));
        let _ = std::fs::remove_file(&path);
    }
}

fn local_datagrams(t: &Trace) {
    let path = make::path();
    let to = local(path.to_str().expect("a name"));
    let [a, b] = [0, 1].map(|_| unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0) });
    let send = || ret(unsafe { libc::send(a, c"x".as_ptr().cast(), 1, libc::MSG_NOSIGNAL) });
    t.says("nothing there", connect(a, &to));
    t.says("send", send());
    let at = std::ptr::from_ref(&to).cast();
    unsafe { libc::bind(b, at, size_of::<sockaddr_un>() as u32) };
    for _ in 0..2 {
        t.says("connect", connect(a, &to));
        t.says("send", send());
    }
    unsafe { libc::close(b) };
    t.says("gone", send());
    t.says("then", send());
    t.says("connect", connect(a, &to));
    let none: sockaddr_storage = unsafe { zeroed() };
    t.says("to nobody", connect(a, &none));
    let _ = std::fs::remove_file(&path);
}

fn a_full_local_queue(t: &Trace) {
    for ty in [libc::SOCK_STREAM, libc::SOCK_SEQPACKET] {
        let path = make::path();
        let to = local(path.to_str().expect("a name"));
        let l = unsafe { libc::socket(libc::AF_UNIX, ty, 0) };
        let at = std::ptr::from_ref(&to).cast();
        unsafe {
            libc::bind(l, at, size_of::<sockaddr_un>() as u32);
            libc::listen(l, 0);
        }
        let new = |flags| unsafe { libc::socket(libc::AF_UNIX, ty | flags, 0) };
        t.says("first", connect(new(0), &to));
        t.says("not waiting", connect(new(libc::SOCK_NONBLOCK), &to));
        let late = new(0);
        time_limit(late, 200);
        let got = t.timed("time", 200, || connect(late, &to));
        t.says("too late", got);
        let fd = new(0);
        let other = t.spawn(&format!("other {ty}"), move |_| {
            ms(200);
            unsafe { libc::accept(l, null_mut(), null_mut()) };
        });
        let got = t.timed("room", 200, || connect(fd, &to));
        t.says("room", got);
        other.join();
        let fd = new(0);
        let other = t.spawn(&format!("closes {ty}"), move |_| {
            ms(200);
            unsafe { libc::shutdown(l, libc::SHUT_RDWR) };
            unsafe { libc::close(l) };
        });
        let got = t.within("gone", 3000, move || connect(fd, &to));
        t.says("gone", got.unwrap_or_default());
        other.join();
        let _ = std::fs::remove_file(&path);
    }
}

fn of_version_six(t: &Trace) {
    let Ok(l) = TcpListener::bind("[::1]:0") else { t.skip("no IPv6") };
    let port = l.local_addr().expect("its address").port();
    let to = |port: u16| {
        let mut to: sockaddr_in6 = unsafe { zeroed() };
        to.sin6_family = libc::AF_INET6 as u16;
        to.sin6_port = port.to_be();
        to.sin6_addr.s6_addr[15] = 1;
        to
    };
    let fd = unsafe { libc::socket(libc::AF_INET6, libc::SOCK_STREAM, 0) };
    for _ in 0..3 {
        t.says("refused", connect(fd, &to(1)));
    }
    for _ in 0..2 {
        t.says("let in", connect(fd, &to(port)));
    }
    let dgram = unsafe { libc::socket(libc::AF_INET6, libc::SOCK_DGRAM, 0) };
    t.says("datagrams", connect(dgram, &to(1)));
    t.says("of version four", connect(dgram, &address(1)));
}

fn a_wrong_family(t: &Trace) {
    let fd = socket(libc::SOCK_STREAM);
    let mut wrong = address(9);
    wrong.sin_family = 77;
    for len in [0, 1, 2, 8, 15, 16, 17, 128, 129, u32::MAX] {
        let mut all: [sockaddr_in; 16] = [wrong; 16];
        t.says(
            &format!("family, {len}"),
            ret(unsafe { libc::connect(fd, all.as_ptr().cast(), len) }),
        );
        all[0] = address(nobody());
        if len < 16 {
            t.says(
                &format!("good, {len}"),
                ret(unsafe { libc::connect(fd, all.as_ptr().cast(), len) }),
            );
        }
    }
    t.says("null", ret(unsafe { libc::connect(fd, null(), 16) }));
}

fn a_listener_connects(t: &Trace) {
    let (l, port) = listener();
    t.says("connect", connect(l.as_raw_fd(), &address(port)));
    t.says("recv", ret(unsafe { libc::recv(l.as_raw_fd(), null_mut(), 0, 0) }));
    t.says("send", ret(unsafe { libc::send(l.as_raw_fd(), null(), 0, libc::MSG_NOSIGNAL) }));
}

/// Two flows connect one socket, and the listener accepts late.
fn two_at_once(t: &Trace) {
    let (l, waiting, port) = deaf();
    let fd = socket(libc::SOCK_STREAM);
    let all: Vec<_> = (0..2)
        .map(|i| t.spawn(&format!("{i}"), move |t| t.says("connect", connect(fd, &address(port)))))
        .collect();
    ms(150);
    t.says("poll", polled(fd));
    for _ in waiting {
        drop(l.accept());
    }
    let over = all.into_iter().filter(|one| one.over_within(8000)).count();
    t.says("over", over);
    t.says("poll", polled(fd));
}

/// Nobody sees a flag that the user has not set, nor is one lost that the user sets.
fn flags_amid_connects(t: &Trace) {
    static OVER: AtomicBool = AtomicBool::new(false);
    static ODD: AtomicU32 = AtomicU32::new(0);
    let fd = socket(libc::SOCK_STREAM);
    let to = nobody();
    let all: Vec<_> = (0..2)
        .map(|i| {
            t.spawn(&format!("{i}"), move |_| {
                while !OVER.load(Ordering::Relaxed) {
                    let result = connect(fd, &address(to));
                    if result.contains("EINPROGRESS") || result.contains("EALREADY") {
                        ODD.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let flags = || unsafe { libc::fcntl(fd, libc::F_GETFL) } & libc::O_NONBLOCK;
    t.says("flags", (0..5000).filter(|_| flags() != 0).count());
    t.says("odd", ODD.load(Ordering::Relaxed));
    let lost = |round: &i32| {
        make::nonblocking(fd, round % 2 == 0);
        (flags() != 0) != (round % 2 == 0)
    };
    t.says("lost", (0..5000).filter(lost).count());
    OVER.store(true, Ordering::Relaxed);
    all.into_iter().for_each(|one| one.join());
}

fn fast_open(t: &Trace) {
    let (l, port) = listener();
    let on: c_int = 16;
    let at = (&raw const on).cast();
    unsafe { libc::setsockopt(l.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN, at, 4) };
    let mut list = libc::iovec { iov_base: c"hello".as_ptr().cast_mut().cast(), iov_len: 5 };
    let to = address(port);
    for round in 0..4 {
        let fd = socket(libc::SOCK_STREAM);
        let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
        let at = (&raw const to).cast::<libc::sockaddr>();
        let got = if round % 2 == 0 {
            unsafe { libc::sendto(fd, list.iov_base, 5, flags, at, 16) }
        } else {
            let mut header: libc::msghdr = unsafe { zeroed() };
            header.msg_iov = &raw mut list;
            header.msg_iovlen = 1;
            header.msg_name = at.cast_mut().cast();
            header.msg_namelen = 16;
            unsafe { libc::sendmsg(fd, &raw const header, flags) }
        };
        t.says("sent", ret(got));
        let other = l.accept().expect("a connection").0.into_raw_fd();
        let mut bytes = [0u8; 8];
        t.says("got", ret(unsafe { libc::recv(other, bytes.as_mut_ptr().cast(), 8, 0) }));
        t.says("again", ret(unsafe { libc::sendto(fd, list.iov_base, 5, flags, at, 16) }));
    }
    let fd = socket(libc::SOCK_STREAM);
    let to = address(nobody());
    for _ in 0..2 {
        let at = (&raw const to).cast();
        let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
        t.says("refused", ret(unsafe { libc::sendto(fd, list.iov_base, 5, flags, at, 16) }));
    }
    let fd = socket(libc::SOCK_STREAM | libc::SOCK_NONBLOCK);
    let at = (&raw const to).cast();
    let flags = libc::MSG_FASTOPEN | libc::MSG_NOSIGNAL;
    t.says("not waiting", ret(unsafe { libc::sendto(fd, list.iov_base, 5, flags, at, 16) }));
}

fn fast_open_of_connect(t: &Trace) {
    const TCP_FASTOPEN_CONNECT: c_int = 30;
    let (l, port) = listener();
    let on: c_int = 16;
    let at = (&raw const on).cast();
    unsafe { libc::setsockopt(l.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_FASTOPEN, at, 4) };
    for _ in 0..3 {
        let fd = socket(libc::SOCK_STREAM);
        unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, TCP_FASTOPEN_CONNECT, at, 4) };
        t.says("connect", connect(fd, &address(port)));
        t.says("again", connect(fd, &address(port)));
        t.says("sent", ret(unsafe { libc::send(fd, c"hello".as_ptr().cast(), 5, 0) }));
        let other = l.accept().expect("a connection").0.into_raw_fd();
        let mut bytes = [0u8; 8];
        t.says("got", ret(unsafe { libc::recv(other, bytes.as_mut_ptr().cast(), 8, 0) }));
        t.says("again", connect(fd, &address(port)));
    }
    let fd = socket(libc::SOCK_STREAM);
    unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, TCP_FASTOPEN_CONNECT, at, 4) };
    t.says("nobody", connect(fd, &address(nobody())));
    let send = || ret(unsafe { libc::send(fd, c"hello".as_ptr().cast(), 5, libc::MSG_NOSIGNAL) });
    t.says("sent", send());
    t.says("sent", send());
}

fn what_is_no_socket(t: &Trace) {
    let (r, _w) = make::pipe();
    for fd in [r, make::file(b"abc"), 99, -1] {
        t.says("connect", connect(fd, &address(9)));
    }
}

fn closed_by_the_other_end_first(t: &Trace) {
    let (l, port) = listener();
    let fd = socket(libc::SOCK_STREAM);
    t.says("connect", connect(fd, &address(port)));
    drop(l.accept());
    ms(30);
    t.says("recv", ret(unsafe { libc::recv(fd, null_mut(), 1, 0) }));
    t.says("again", connect(fd, &address(port)));
    drop(l);
}

fn an_error_is_told_once(t: &Trace) {
    let s = TcpStream::connect(("127.0.0.1", nobody()));
    t.says("std", format!("{:?}", s.map_err(|e| e.kind()).err()));
    let fd = socket(libc::SOCK_STREAM | libc::SOCK_NONBLOCK);
    t.says("begun", connect(fd, &address(nobody())));
    ms(30);
    t.says("error", so_error(fd));
    make::nonblocking(fd, false);
    for _ in 0..3 {
        t.says("waiting", connect(fd, &address(nobody())));
    }
}

fn raw_and_netlink(t: &Trace) {
    let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE) };
    let mut to: libc::sockaddr_nl = unsafe { zeroed() };
    to.nl_family = libc::AF_NETLINK as u16;
    t.says("netlink", connect(fd, &to));
    time_limit(fd, 200);
    let time = timeval { tv_sec: 0, tv_usec: 200_000 };
    let at = (&raw const time).cast();
    unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, at, 16) };
    let got = t.timed("time", 200, || ret(unsafe { libc::recv(fd, null_mut(), 0, 0) }));
    t.says("recv", got);
    // A protocol for experiments, as in families.rs: nothing is sent with it.
    let raw = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, 253) };
    if raw >= 0 {
        t.says("raw", connect(raw, &address(0)));
        unsafe { libc::setsockopt(raw, libc::SOL_SOCKET, libc::SO_RCVTIMEO, at, 16) };
        let got = t.timed("time", 200, || ret(unsafe { libc::recv(raw, null_mut(), 0, 0) }));
        t.says("recv", got);
    }
}
