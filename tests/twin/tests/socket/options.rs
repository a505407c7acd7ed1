//! What is set of a socket, and flags of a call: how long it waits, and for how much.

#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};
use libc::{c_int, iovec, msghdr, sockaddr_un, timeval};
use std::mem::zeroed;
use std::ptr::null_mut;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        marks,
        a_mark_and_a_time_out,
        a_mark_and_an_end,
        a_mark_of_a_listener,
        time_outs_below_zero,
        time_outs_of_sending,
        peeking_from_an_offset,
        urgent_bytes,
        lengths_of_cut_messages,
        queues_of_errors,
        a_receiver_without_room,
        a_receiver_that_goes,
        a_receiver_without_room_and_a_time_out,
        many_send_to_one_receiver,
        nothing_is_sent,
        nothing_is_received,
        nonblocking_while_one_waits,
        ancillary_data,
    ];
    for (kind, make) in KINDS {
        rows.push(Row::new(format!("time_outs_of_{kind}"), move |t| time_outs(t, make())));
        rows.push(Row::new(format!("peeks_of_{kind}"), move |t| peeks(t, make())));
        rows.push(Row::new(format!("flags_of_{kind}"), move |t| flags(t, make())));
        rows.push(Row::new(format!("the_other_end_of_{kind}"), move |t| other_end(t, make())));
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

const STREAMS: [(&str, Make); 2] = [KINDS[0], KINDS[2]];

fn set<T>(fd: i32, option: c_int, value: T) -> String {
    let at = (&raw const value).cast();
    ret(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, at, size_of::<T>() as u32) })
        .to_string()
}

fn time(milliseconds: i64) -> timeval {
    timeval { tv_sec: milliseconds.div_euclid(1000), tv_usec: milliseconds.rem_euclid(1000) * 1000 }
}

fn send(fd: i32, text: &str) -> String {
    let flags = libc::MSG_NOSIGNAL;
    ret(unsafe { libc::send(fd, text.as_ptr().cast(), text.len(), flags) }).to_string()
}

fn recv(fd: i32, n: usize, flags: c_int) -> String {
    let mut bytes = vec![b'.'; n];
    let got = ret(unsafe { libc::recv(fd, bytes.as_mut_ptr().cast(), n, flags) });
    format!("{got} {}", say::bytes(&bytes))
}

/// Sends parts, one every 100 ms.
fn parts(t: &Trace, fd: i32, name: &str, parts: &'static [&'static str]) {
    drop(t.spawn(name, move |_| {
        for part in parts {
            ms(100);
            send(fd, part);
        }
    }));
}

fn marks(t: &Trace) {
    for (kind, make) in STREAMS {
        for call in ["recv", "read", "readv", "recvmsg", "recvfrom"] {
            let (a, b) = make();
            t.says("set", set(a, libc::SO_RCVLOWAT, 10));
            parts(t, b, &format!("{kind} {call}"), &["abc", "defghij", "k", "lmn", "opqrstuvw"]);
            let mut bytes = [b'.'; 16];
            let at = bytes.as_mut_ptr().cast();
            let mut list = iovec { iov_base: at, iov_len: 16 };
            let mut header: msghdr = unsafe { zeroed() };
            header.msg_iov = &raw mut list;
            header.msg_iovlen = 1;
            let got = unsafe {
                match call {
                    "recv" => ret(libc::recv(a, at, 16, 0)),
                    "read" => ret(libc::read(a, at, 16)),
                    "readv" => ret(libc::readv(a, [list, list].as_ptr(), 2)),
                    "recvmsg" => ret(libc::recvmsg(a, &raw mut header, 0)),
                    _ => {
                        let (mut name, mut len) = ([0u8; 128], 128);
                        ret(libc::recvfrom(a, at, 16, 0, name.as_mut_ptr().cast(), &raw mut len))
                    }
                }
            };
            t.says(call, got);
            // Fewer than the mark are wanted.
            t.says("then", recv(a, 2, 0));
            t.says("then", recv(a, 16, 0));
        }
        // Some is there at the beginning.
        let (a, b) = make();
        set(a, libc::SO_RCVLOWAT, 10);
        send(b, "abc");
        ms(100);
        parts(t, b, &format!("{kind} later"), &["defg", "hijklmnopqr"]);
        t.says("later", recv(a, 16, 0));
        set(a, libc::SO_RCVLOWAT, 1);
        send(b, "abc");
        t.says("no mark", recv(a, 16, 0));
    }
    for (kind, make) in [KINDS[1], KINDS[3], KINDS[4]] {
        let (a, b) = make();
        t.says(kind, set(a, libc::SO_RCVLOWAT, 10));
        send(b, "abc");
        t.says(kind, recv(a, 16, 0));
    }
}

fn a_mark_and_a_time_out(t: &Trace) {
    for (kind, make) in STREAMS {
        let (a, b) = make();
        set(a, libc::SO_RCVLOWAT, 10);
        set(a, libc::SO_RCVTIMEO, time(300));
        send(b, "abc");
        for _ in 0..2 {
            let got = t.timed(kind, 300, || recv(a, 16, 0));
            t.says("got", got);
        }
        send(b, "abc");
        ms(50);
        t.says("at once", recv(a, 16, libc::MSG_DONTWAIT));
        make::nonblocking(a, true);
        send(b, "abc");
        ms(50);
        t.says("not waiting", recv(a, 16, 0));
        t.says("not waiting", recv(a, 16, 0));
    }
}

fn a_mark_and_an_end(t: &Trace) {
    for (kind, make) in STREAMS {
        for how in [libc::SHUT_WR, libc::SHUT_RDWR] {
            let (a, b) = make();
            set(a, libc::SO_RCVLOWAT, 10);
            send(b, "abc");
            drop(t.spawn(&format!("{kind} {how}"), move |_| {
                ms(200);
                unsafe { libc::shutdown(b, how) }
            }));
            let got = t.timed(kind, 200, || recv(a, 16, 0));
            t.says("got", got);
            t.says("then", recv(a, 16, 0));
        }
    }
}

fn a_mark_of_a_listener(t: &Trace) {
    use std::os::fd::AsRawFd;
    let l = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    set(l.as_raw_fd(), libc::SO_RCVLOWAT, 10);
    let c =
        std::net::TcpStream::connect(l.local_addr().expect("its address")).expect("a connection");
    let (s, _) = l.accept().expect("its other end");
    parts(t, c.as_raw_fd(), "other", &["abc", "defghijk"]);
    t.says("got", recv(s.as_raw_fd(), 16, 0));
    let copy = unsafe { libc::dup(s.as_raw_fd()) };
    parts(t, c.as_raw_fd(), "again", &["abc", "defghijk"]);
    t.says("by a copy", recv(copy, 16, 0));
}

fn time_outs_below_zero(t: &Trace) {
    for (kind, make) in KINDS {
        let (a, b) = make();
        t.says(kind, set(a, libc::SO_RCVTIMEO, timeval { tv_sec: -1, tv_usec: 0 }));
        t.hangs_after(&format!("{kind} recv"), 1000, move || recv(a, 4, 0));
        t.hangs_after(&format!("{kind} read"), 1000, move || {
            ret(unsafe { libc::read(a, [0u8; 4].as_mut_ptr().cast(), 4) })
        });
        send(b, "abc");
        ms(30);
        t.says("there", recv(a, 4, 0));
        t.says("back", set(a, libc::SO_RCVTIMEO, time(200)));
        let got = t.timed("time", 200, || recv(a, 4, 0));
        t.says("recv", got);
        for wrong in [(0, -1), (0, 1_000_000), (1, 1 << 40)] {
            let time = timeval { tv_sec: wrong.0, tv_usec: wrong.1 };
            t.says("wrong", set(a, libc::SO_RCVTIMEO, time));
        }
        let got = t.timed("as before", 200, || recv(a, 4, 0));
        t.says("recv", got);
    }
}

fn time_outs(t: &Trace, (a, _b): (i32, i32)) {
    set(a, libc::SO_RCVTIMEO, time(200));
    for call in 0..6 {
        let mut bytes = [0u8; 8];
        let at = bytes.as_mut_ptr().cast();
        let mut list = iovec { iov_base: at, iov_len: 8 };
        let mut header: msghdr = unsafe { zeroed() };
        header.msg_iov = &raw mut list;
        header.msg_iovlen = 1;
        let mut many = libc::mmsghdr { msg_hdr: header, msg_len: 7 };
        let got = t.timed(&format!("{call}"), 200, || unsafe {
            match call {
                0 => ret(libc::recv(a, at, 8, 0)),
                1 => ret(libc::read(a, at, 8)),
                2 => ret(libc::recvmsg(a, &raw mut header, 0)),
                3 => ret(libc::recvmmsg(a, &raw mut many, 1, 0, null_mut())),
                4 => ret(libc::recv(a, at, 8, libc::MSG_PEEK)),
                _ => ret(libc::recv(a, at, 8, libc::MSG_WAITALL)),
            }
        });
        t.says("recv", got);
        t.says("length", many.msg_len);
    }
    // The shortest there is.
    set(a, libc::SO_RCVTIMEO, timeval { tv_sec: 0, tv_usec: 1 });
    t.says("a moment", recv(a, 8, 0));
}

fn fill(fd: i32) {
    let bytes = [7u8; 1000];
    while unsafe { libc::send(fd, bytes.as_ptr().cast(), 1000, libc::MSG_DONTWAIT) } > 0 {}
}

fn time_outs_of_sending(t: &Trace) {
    for (kind, make) in [KINDS[2], KINDS[3], KINDS[4]] {
        let (a, _b) = make();
        set(a, libc::SO_SNDTIMEO, time(200));
        fill(a);
        let got = t.timed(kind, 200, || send(a, "abc"));
        t.says("send", got);
        set(a, libc::SO_SNDTIMEO, timeval { tv_sec: -5, tv_usec: 0 });
        t.hangs_after(&format!("{kind} below zero"), 1000, move || send(a, "abc"));
    }
    let (a, _b) = make::socketpair(libc::SOCK_STREAM);
    set(a, libc::SO_SNDTIMEO, time(300));
    let bytes = vec![7u8; 4 << 20];
    let sent =
        t.timed("a part", 300, || unsafe { libc::send(a, bytes.as_ptr().cast(), 4 << 20, 0) });
    t.says("a part", sent > 0 && sent < 4 << 20);
}

fn peeks(t: &Trace, (a, b): (i32, i32)) {
    parts(t, b, "other", &["abcdef", "ghi"]);
    for (n, flags) in
        [(3, libc::MSG_PEEK), (8, libc::MSG_PEEK), (2, 0), (8, libc::MSG_PEEK | libc::MSG_DONTWAIT)]
    {
        t.says("peek", recv(a, n, flags));
    }
    ms(300);
    t.says("all", recv(a, 8, libc::MSG_DONTWAIT));
    t.says("all", recv(a, 8, libc::MSG_DONTWAIT));
    let is_tcp = matches!(recv(a, 8, libc::MSG_DONTWAIT).as_str(), "-1 EAGAIN \"........\"");
    t.says("empty", is_tcp);
    parts(t, b, "whole", &["abc", "defgh", "ijk"]);
    t.says("whole", recv(a, 3, libc::MSG_PEEK | libc::MSG_WAITALL));
}

fn peeking_from_an_offset(t: &Trace) {
    for (kind, make) in KINDS {
        let (a, b) = make();
        t.says(kind, set(a, libc::SO_PEEK_OFF, 2));
        send(b, "abcdef");
        ms(30);
        t.says("peek", recv(a, 2, libc::MSG_PEEK | libc::MSG_DONTWAIT));
        t.says("peek", recv(a, 2, libc::MSG_PEEK | libc::MSG_DONTWAIT));
        set(a, libc::SO_RCVTIMEO, time(300));
        parts(t, b, &format!("{kind}, more"), &["ghijkl"]);
        t.says("behind", recv(a, 2, libc::MSG_PEEK));
        t.says("take", recv(a, 3, 0));
        t.says("peek", recv(a, 2, libc::MSG_PEEK | libc::MSG_DONTWAIT));
    }
}

fn flags(t: &Trace, (a, b): (i32, i32)) {
    set(a, libc::SO_RCVTIMEO, time(250));
    for (what, flag) in [
        ("oob", libc::MSG_OOB),
        ("errqueue", libc::MSG_ERRQUEUE),
        ("trunc", libc::MSG_TRUNC),
        ("dontroute", libc::MSG_DONTROUTE),
        ("ctrunc", libc::MSG_CTRUNC),
        ("eor", libc::MSG_EOR),
        ("cmsg_cloexec", libc::MSG_CMSG_CLOEXEC),
        ("waitforone", libc::MSG_WAITFORONE),
        ("nosignal", libc::MSG_NOSIGNAL),
        ("more", libc::MSG_MORE),
        ("fastopen", libc::MSG_FASTOPEN),
        ("confirm", libc::MSG_CONFIRM),
    ] {
        let got = t.timed(what, 250, || recv(a, 4, flag));
        t.says("nothing there", got);
        t.says(
            "send",
            ret(unsafe { libc::send(b, c"abcdef".as_ptr().cast(), 6, flag | libc::MSG_NOSIGNAL) }),
        );
        ms(20);
        t.says("recv", recv(a, 4, flag));
        while unsafe { libc::recv(a, [0u8; 9].as_mut_ptr().cast(), 9, libc::MSG_DONTWAIT) } > 0 {}
    }
}

fn urgent_bytes(t: &Trace) {
    for (kind, make) in STREAMS {
        let (a, b) = make();
        drop(t.spawn(&format!("{kind} other"), move |_| {
            ms(200);
            unsafe { libc::send(b, c"!".as_ptr().cast(), 1, libc::MSG_OOB) };
            ms(100);
            send(b, "abc");
        }));
        let mut one = libc::pollfd { fd: a, events: libc::POLLPRI, revents: 0 };
        let got = t.timed(kind, 200, || ret(unsafe { libc::poll(&raw mut one, 1, 3000) }));
        t.says("poll", format!("{got} {:#x}", one.revents));
        t.says("urgent", recv(a, 1, libc::MSG_OOB));
        t.says("again", recv(a, 1, libc::MSG_OOB));
        t.says("data", recv(a, 8, 0));
        // In line.
        set(a, libc::SO_OOBINLINE, 1);
        unsafe { libc::send(b, c"x!".as_ptr().cast(), 2, libc::MSG_OOB) };
        ms(50);
        t.says("in line", recv(a, 8, 0));
        t.says("in line", recv(a, 8, libc::MSG_DONTWAIT));
    }
}

fn lengths_of_cut_messages(t: &Trace) {
    for (kind, make) in KINDS {
        let (a, b) = make();
        for flags in [0, libc::MSG_TRUNC, libc::MSG_TRUNC | libc::MSG_PEEK] {
            send(b, "abcdefgh");
            ms(20);
            t.says(kind, recv(a, 3, flags));
            let mut bytes = [b'.'; 4];
            let mut list = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 4 };
            send(b, "ijklmnop");
            ms(20);
            let mut header: msghdr = unsafe { zeroed() };
            header.msg_iov = &raw mut list;
            header.msg_iovlen = 1;
            header.msg_flags = 77;
            let got = ret(unsafe { libc::recvmsg(a, &raw mut header, flags) });
            t.says("message", format!("{got} {:#x} {}", header.msg_flags, say::bytes(&bytes)));
            while unsafe { libc::recv(a, [0u8; 99].as_mut_ptr().cast(), 99, libc::MSG_DONTWAIT) }
                > 0
            {}
        }
    }
}

fn queues_of_errors(t: &Trace) {
    let (a, b) = make::udp();
    let on: c_int = 1;
    let at = (&raw const on).cast();
    unsafe { libc::setsockopt(a, libc::IPPROTO_IP, libc::IP_RECVERR, at, 4) };
    t.says("none", recv(a, 8, libc::MSG_ERRQUEUE));
    unsafe { libc::close(b) };
    t.says("send", send(a, "abc"));
    ms(50);
    let mut one = libc::pollfd { fd: a, events: libc::POLLIN, revents: 0 };
    t.says("poll", ret(unsafe { libc::poll(&raw mut one, 1, 1000) }));
    t.says("events", one.revents);
    t.says("error", recv(a, 8, 0));
    set(a, libc::SO_RCVTIMEO, time(200));
    let got = t.timed("the queue is not empty", 200, || recv(a, 8, 0));
    t.says("recv", got);
    t.says("queue", recv(a, 8, libc::MSG_ERRQUEUE));
    t.says("queue", recv(a, 8, libc::MSG_ERRQUEUE));
}

fn bound(path: &std::path::Path) -> (i32, sockaddr_un) {
    let mut at: sockaddr_un = unsafe { zeroed() };
    at.sun_family = libc::AF_UNIX as u16;
    for (to, from) in at.sun_path.iter_mut().zip(path.to_str().expect("a name").as_bytes()) {
        *to = *from as libc::c_char;
    }
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0) };
    unsafe { libc::bind(fd, (&raw const at).cast(), size_of::<sockaddr_un>() as u32) };
    (fd, at)
}

fn send_to(fd: i32, to: &sockaddr_un, flags: c_int) -> String {
    let at = std::ptr::from_ref(to).cast();
    let (text, len) = (c"abc".as_ptr().cast(), size_of::<sockaddr_un>() as u32);
    ret(unsafe { libc::sendto(fd, text, 3, flags, at, len) }).to_string()
}

fn a_receiver_without_room(t: &Trace) {
    let path = make::path();
    let (to, at) = bound(&path);
    let [full, late] = [0, 1].map(|_| unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0) });
    let mut n = 0;
    while send_to(full, &at, libc::MSG_DONTWAIT) == "3" {
        n += 1;
    }
    t.says("room for", n);
    let other = t.spawn("reader", move |_| {
        ms(250);
        recv(to, 8, 0)
    });
    // Whose messages are not those that are taken out.
    let got = t.timed("time", 250, || send_to(late, &at, 0));
    t.says("send", got);
    other.join();
    let at = (&raw const at).cast();
    t.says("connect", ret(unsafe { libc::connect(late, at, size_of::<sockaddr_un>() as u32) }));
    let other = t.spawn("reader again", move |_| {
        ms(250);
        recv(to, 8, 0)
    });
    let got = t.timed("connected", 250, || send(late, "abc"));
    t.says("send", got);
    other.join();
    let _ = std::fs::remove_file(path);
}

fn a_receiver_that_goes(t: &Trace) {
    for connected in [false, true] {
        let path = make::path();
        let (to, at) = bound(&path);
        let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0) };
        if connected {
            let at = (&raw const at).cast();
            unsafe { libc::connect(fd, at, size_of::<sockaddr_un>() as u32) };
        }
        while send_to(fd, &at, libc::MSG_DONTWAIT) == "3" {}
        let other = t.spawn(&format!("closer {connected}"), move |_| {
            ms(250);
            unsafe { libc::close(to) };
        });
        let got =
            t.timed("time", 250, || if connected { send(fd, "abc") } else { send_to(fd, &at, 0) });
        t.says("send", got);
        other.join();
        let _ = std::fs::remove_file(path);
    }
}

fn a_receiver_without_room_and_a_time_out(t: &Trace) {
    let path = make::path();
    let (_to, at) = bound(&path);
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0) };
    set(fd, libc::SO_SNDTIMEO, time(250));
    while send_to(fd, &at, libc::MSG_DONTWAIT) == "3" {}
    let got = t.timed("time", 250, || send_to(fd, &at, 0));
    t.says("send", got);
    make::nonblocking(fd, true);
    t.says("not waiting", send_to(fd, &at, 0));
    let _ = std::fs::remove_file(path);
}

fn many_send_to_one_receiver(t: &Trace) {
    let path = make::path();
    let (to, at) = bound(&path);
    let all: Vec<_> = (0..8)
        .map(|i| {
            t.spawn(&format!("{i}"), move |t| {
                let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM, 0) };
                let sent = (0..100).filter(|_| send_to(fd, &at, 0) == "3").count();
                t.says("sent", sent);
                unsafe { libc::close(fd) };
            })
        })
        .collect();
    let reader = t.spawn("reader", move |t| {
        t.says("received", (0..800).filter(|_| recv(to, 3, 0) == "3 \"abc\"").count());
    });
    t.says("over", all.into_iter().chain([reader]).filter(|one| one.over_within(5000)).count());
    let _ = std::fs::remove_file(path);
}

fn nothing_is_sent(t: &Trace) {
    for (kind, make) in KINDS {
        let (a, b) = make();
        t.says(kind, send(a, ""));
        t.says("write", ret(unsafe { libc::write(a, c"".as_ptr().cast(), 0) }));
        set(b, libc::SO_RCVTIMEO, time(200));
        let got = t.timed("time", 200, || recv(b, 4, 0));
        t.says("recv", got);
    }
}

fn nothing_is_received(t: &Trace) {
    for (kind, make) in KINDS {
        let (a, b) = make();
        set(b, libc::SO_RCVTIMEO, time(200));
        let got = t.timed(kind, 200, || recv(b, 0, 0));
        t.says("nothing there", got);
        t.says("read", ret(unsafe { libc::read(b, null_mut(), 0) }));
        send(a, "abc");
        ms(20);
        t.says("there", recv(b, 0, 0));
        t.says("still", recv(b, 4, libc::MSG_DONTWAIT));
    }
}

/// `O_NONBLOCK` does not end what waits.
fn nonblocking_while_one_waits(t: &Trace) {
    for (kind, make) in KINDS {
        let (a, b) = make();
        let other = t.spawn(kind, move |t| t.says("recv", recv(a, 4, 0)));
        ms(100);
        make::nonblocking(a, true);
        ms(300);
        t.says("waits", !other.is_over());
        send(b, "abc");
        t.says("over", other.over_within(2000));
    }
}

fn ancillary_data(t: &Trace) {
    #[repr(C, align(8))]
    struct Control([u8; 64]);
    let (a, b) = make::socketpair(libc::SOCK_STREAM);
    set(b, libc::SO_PASSCRED, 1);
    send(a, "abc");
    for room in [64, 8, 0] {
        let mut control = Control([0; 64]);
        let mut bytes = [b'.'; 8];
        let mut list = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 8 };
        let mut header: msghdr = unsafe { zeroed() };
        header.msg_iov = &raw mut list;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = room;
        send(a, "abc");
        let got = ret(unsafe { libc::recvmsg(b, &raw mut header, 0) });
        t.says("message", format!("{got} {:#x} {}", header.msg_flags, header.msg_controllen));
    }
}

fn other_end(t: &Trace, (a, b): (i32, i32)) {
    set(a, libc::SO_RCVTIMEO, time(300));
    send(b, "abc");
    ms(20);
    unsafe { libc::close(b) };
    for _ in 0..3 {
        t.says("recv", recv(a, 8, 0));
    }
    for _ in 0..3 {
        t.says("send", send(a, "abc"));
        ms(20);
    }
    t.says("at once", recv(a, 8, libc::MSG_DONTWAIT));
    t.says("at once", recv(a, 8, libc::MSG_DONTWAIT));
}
