//! Bad addresses: the kernel's errors, and no crash.

#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::make::{self, Edge};
use goroutines_twin_tests::{Row, Trace, code, ret, rows};
use libc::{epoll_event, iovec, mmsghdr, msghdr, pollfd, timespec};
use std::mem::zeroed;
use std::ptr::{null, null_mut};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![polls, epolls, sleeps, a_list_at_the_end_of_memory];
    for (kind, make) in KINDS {
        rows.push(Row::new(format!("messages_of_{kind}"), move |t| messages(t, make())));
        rows.push(Row::new(format!("many_messages_of_{kind}"), move |t| many(t, make())));
        rows.push(Row::new(format!("buffers_of_{kind}"), move |t| buffers(t, make())));
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

fn polls(t: &Trace) {
    for at in [null_mut(), make::bad::<pollfd>(), 0x1003 as *mut pollfd] {
        t.says("poll", ret(unsafe { libc::poll(at, 1, 0) }));
        t.says("poll for ever", ret(unsafe { libc::poll(at, 1, -1) }));
        t.says("poll of none", ret(unsafe { libc::poll(at, 0, 1) }));
        t.says("ppoll", ret(unsafe { libc::ppoll(at, 1, null(), null()) }));
    }
    let mut limit: libc::rlimit = unsafe { zeroed() };
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = 500;
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    let none = pollfd { fd: -1, events: 0, revents: 0 };
    let mut many = vec![none; 2000];
    for n in [499, 500, 501, 2000, 1 << 21, 1 << 40, (1 << 32) + 1, u64::MAX] {
        t.says(&format!("{n}"), ret(unsafe { libc::poll(many.as_mut_ptr(), n, 1) }));
    }
    t.timed("none, with a time", 200, || unsafe { libc::poll(many.as_mut_ptr(), 500, 200) });
}

/// More than a million, where the limit allows it.
fn a_list_at_the_end_of_memory(t: &Trace) {
    let (r, _w) = make::pipe();
    let edge = Edge::new(16);
    let at = edge.as_ptr::<pollfd>();
    for i in 0..2 {
        unsafe { at.add(i).write(pollfd { fd: r, events: libc::POLLIN, revents: 7 }) };
    }
    t.says("two", ret(unsafe { libc::poll(at, 2, 10) }));
    t.says("three", ret(unsafe { libc::poll(at, 3, 10) }));
    t.says("revents", unsafe { (*at).revents });
    let odd = unsafe { edge.as_ptr::<u8>().sub(3) }.cast::<pollfd>();
    unsafe { odd.write_unaligned(pollfd { fd: r, events: libc::POLLIN, revents: 7 }) };
    t.says("of no alignment", ret(unsafe { libc::poll(odd, 1, 10) }));
}

fn epolls(t: &Trace) {
    let (r, w) = make::pipe();
    let epoll = unsafe { libc::epoll_create1(0) };
    t.says("ctl", ret(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, r, make::bad()) }));
    let mut event = epoll_event { events: libc::EPOLLIN as u32, u64: 1 };
    t.says("ctl", ret(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, r, &raw mut event) }));
    let far = (1u64 << 63) as *mut epoll_event;
    t.says("nothing, far", ret(unsafe { libc::epoll_wait(epoll, far, 1, 1) }));
    for at in [null_mut(), make::bad(), far] {
        t.says("nothing", ret(unsafe { libc::epoll_wait(epoll, at, 1, 1) }));
        for n in [0, -1, i32::MAX, i32::MIN] {
            t.says(&format!("room for {n}"), ret(unsafe { libc::epoll_wait(epoll, at, n, 1) }));
        }
    }
    unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
    for at in [null_mut(), make::bad(), far] {
        t.says("ready", ret(unsafe { libc::epoll_wait(epoll, at, 1, -1) }));
        t.says("pwait", ret(unsafe { libc::epoll_pwait(epoll, at, 1, -1, null()) }));
    }
    t.says("good", ret(unsafe { libc::epoll_wait(epoll, &raw mut event, 1, -1) }));
    t.says("not an epoll", ret(unsafe { libc::epoll_wait(r, &raw mut event, 1, -1) }));
    t.says("no descriptor", ret(unsafe { libc::epoll_wait(99, &raw mut event, 1, -1) }));
    // glibc 2.35
    let pwait2 = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"epoll_pwait2".as_ptr()) };
    if !pwait2.is_null() {
        type Call =
            unsafe extern "C" fn(i32, *mut epoll_event, i32, *const timespec, *const ()) -> i32;
        let call = unsafe { std::mem::transmute::<*mut libc::c_void, Call>(pwait2) };
        t.says("time", ret(unsafe { call(epoll, &raw mut event, 1, make::bad(), null()) }));
        let time = timespec { tv_sec: 0, tv_nsec: -1 };
        t.says("time", ret(unsafe { call(epoll, &raw mut event, 1, &raw const time, null()) }));
    }
}

fn sleeps(t: &Trace) {
    let bad = make::bad::<timespec>();
    for at in [null_mut(), bad, 0x1001 as *mut timespec] {
        t.says("nanosleep", ret(unsafe { libc::nanosleep(at, null_mut()) }));
        for clock in
            [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC, libc::CLOCK_TAI, libc::CLOCK_BOOTTIME]
        {
            for flags in [0, libc::TIMER_ABSTIME] {
                let got = unsafe { libc::clock_nanosleep(clock, flags, at, null_mut()) };
                t.says(&format!("clock_nanosleep {clock} {flags}"), code(got));
            }
        }
    }
    // What is left is written when it is interrupted, else not.
    let time = timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    t.says("rest", ret(unsafe { libc::nanosleep(&raw const time, bad) }));
    t.says(
        "rest",
        code(unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &raw const time, bad) }),
    );
    let edge = Edge::new(16);
    unsafe { edge.as_ptr::<timespec>().write(time) };
    t.says("at the end", ret(unsafe { libc::nanosleep(edge.as_ptr(), edge.as_ptr()) }));
    t.says("its bytes", unsafe { edge.as_ptr::<timespec>().read() }.tv_nsec);
    let half = unsafe { edge.as_ptr::<u8>().add(8) }.cast::<timespec>();
    t.says("half", ret(unsafe { libc::nanosleep(half, null_mut()) }));
}

fn message(list: *mut iovec, n: usize) -> msghdr {
    let mut header: msghdr = unsafe { zeroed() };
    header.msg_iov = list;
    header.msg_iovlen = n;
    header
}

/// Messages that are wrong in one way each; some bytes can be received.
fn messages(t: &Trace, (a, b): (i32, i32)) {
    let byte = c"xyz".as_ptr().cast_mut().cast();
    let one = |base, len| iovec { iov_base: base, iov_len: len };
    let (mut good, mut nothing) = (one(byte, 3), one(make::bad(), 3));
    let (mut minus, mut none) = (one(byte, usize::MAX), one(null_mut(), 0));
    let wrong = [
        ("no list", message(null_mut(), 1)),
        ("a bad list", message(make::bad(), 1)),
        ("an odd list", message(0x1001 as *mut iovec, 2)),
        ("1024 of a bad list", message(make::bad(), 1024)),
        ("1025", message(&raw mut good, 1025)),
        ("SIZE_MAX", message(&raw mut good, usize::MAX)),
        ("a bad buffer", message(&raw mut nothing, 1)),
        ("a length of -1", message(&raw mut minus, 1)),
        ("nothing", message(&raw mut none, 0)),
        ("nothing, of one", message(&raw mut none, 1)),
    ];
    for header in [null(), make::bad::<msghdr>().cast_const(), 0x1001 as *const msghdr] {
        t.says("sendmsg", ret(unsafe { libc::sendmsg(a, header, 0) }));
        t.says("sendmsg", ret(unsafe { libc::sendmsg(a, header, libc::MSG_DONTWAIT) }));
    }
    for (what, mut header) in wrong {
        t.says(&format!("sendmsg, {what}"), ret(unsafe { libc::sendmsg(a, &raw const header, 0) }));
        header.msg_name = make::bad();
        header.msg_namelen = 16;
        t.says("... bad name", ret(unsafe { libc::sendmsg(a, &raw const header, 0) }));
        header.msg_name = null_mut();
        header.msg_control = make::bad();
        header.msg_controllen = 32;
        t.says("... bad control", ret(unsafe { libc::sendmsg(a, &raw const header, 0) }));
    }
    while unsafe { libc::recv(b, [0u8; 99].as_mut_ptr().cast(), 99, libc::MSG_DONTWAIT) } >= 0 {}
    for (what, mut header) in wrong {
        unsafe { libc::send(a, c"abc".as_ptr().cast(), 3, 0) };
        let flags = if what.starts_with("nothing") { libc::MSG_DONTWAIT } else { 0 };
        t.says(
            &format!("recvmsg, {what}"),
            ret(unsafe { libc::recvmsg(b, &raw mut header, flags) }),
        );
    }
    for header in [null_mut(), make::bad::<msghdr>(), 0x1001 as *mut msghdr] {
        t.says("recvmsg", ret(unsafe { libc::recvmsg(b, header, 0) }));
        t.says("recvmsg, all", ret(unsafe { libc::recvmsg(b, header, libc::MSG_WAITALL) }));
    }
}

/// The same for lists of messages.
fn many(t: &Trace, (a, b): (i32, i32)) {
    let mut good = iovec { iov_base: c"xyz".as_ptr().cast_mut().cast(), iov_len: 3 };
    for at in [null_mut(), make::bad::<mmsghdr>(), 0x1001 as *mut mmsghdr] {
        for n in [0, 1, 2, 1024, 1025, u32::MAX] {
            t.says(&format!("sendmmsg of {n}"), ret(unsafe { libc::sendmmsg(a, at, n, 0) }));
        }
    }
    let two = Edge::new(2 * size_of::<mmsghdr>());
    let at = two.as_ptr::<mmsghdr>();
    let fill = |list: *mut iovec| {
        for i in 0..2 {
            unsafe { at.add(i).write(mmsghdr { msg_hdr: message(list, 1), msg_len: 77 }) };
        }
    };
    let lens = || unsafe { ((*at).msg_len, (*at.add(1)).msg_len) };
    fill(&raw mut good);
    t.says("two of three sent", ret(unsafe { libc::sendmmsg(a, at, 3, 0) }));
    t.says("lengths", format!("{:?}", lens()));
    fill(null_mut());
    t.says("of no list", ret(unsafe { libc::sendmmsg(a, at, 2, 0) }));
    t.says("lengths", format!("{:?}", lens()));
    let mut buffer = [0u8; 3];
    let mut room = iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: 3 };
    fill(&raw mut room);
    t.says("two of three received", ret(unsafe { libc::recvmmsg(b, at, 3, 0, null_mut()) }));
    t.says("lengths", format!("{:?}", lens()));
    for at in [null_mut(), make::bad::<mmsghdr>(), 0x1001 as *mut mmsghdr] {
        unsafe { libc::send(a, c"abc".as_ptr().cast(), 3, 0) };
        t.says("recvmmsg of none", ret(unsafe { libc::recvmmsg(b, at, 0, 0, null_mut()) }));
        t.says("recvmmsg", ret(unsafe { libc::recvmmsg(b, at, 1, 0, null_mut()) }));
        t.says("recvmmsg, many", ret(unsafe { libc::recvmmsg(b, at, u32::MAX, 0, null_mut()) }));
    }
    unsafe { libc::send(a, c"abc".as_ptr().cast(), 3, 0) };
    t.says("bad time", ret(unsafe { libc::recvmmsg(b, at, 1, 0, make::bad()) }));
    let mut time = timespec { tv_sec: 0, tv_nsec: -1 };
    t.says("a wrong time", ret(unsafe { libc::recvmmsg(b, at, 1, 0, &raw mut time) }));
}

/// Bad buffers and addresses of the simple calls.
fn buffers(t: &Trace, (a, b): (i32, i32)) {
    let bad = make::bad::<libc::c_void>();
    let got = [
        ("send", ret(unsafe { libc::send(a, bad, 3, 0) })),
        ("send null", ret(unsafe { libc::send(a, null(), 3, 0) })),
        ("send nothing", ret(unsafe { libc::send(a, bad, 0, 0) })),
        ("sendto", ret(unsafe { libc::sendto(a, c"abc".as_ptr().cast(), 3, 0, bad.cast(), 16) })),
        (
            "sendto, huge",
            ret(unsafe { libc::sendto(a, c"abc".as_ptr().cast(), 3, 0, bad.cast(), 999) }),
        ),
        ("write", ret(unsafe { libc::write(a, bad, 3) })),
        ("connect", ret(unsafe { libc::connect(a, bad.cast(), 16) })),
        ("connect, huge", ret(unsafe { libc::connect(a, bad.cast(), 999) })),
        ("connect, short", ret(unsafe { libc::connect(a, bad.cast(), 0) })),
    ];
    for (what, got) in got {
        t.says(what, got);
    }
    for what in ["recv", "recv null", "read", "recvfrom"] {
        unsafe { libc::send(a, c"abc".as_ptr().cast(), 3, 0) };
        let mut byte = [0u8; 3];
        let at = byte.as_mut_ptr().cast();
        let got = match what {
            "recv" => unsafe { libc::recv(b, bad, 3, 0) },
            "recv null" => unsafe { libc::recv(b, null_mut(), 3, 0) },
            "read" => unsafe { libc::read(b, bad, 3) },
            _ => unsafe { libc::recvfrom(b, at, 3, 0, bad.cast(), bad.cast()) },
        };
        t.says(what, ret(got));
    }
    t.says("accept", ret(unsafe { libc::accept(a, bad.cast(), bad.cast()) }));
}
