//! `poll` and `epoll`: what they say of everything, and when.

#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};
use libc::{c_int, epoll_event, pollfd, timespec};
use std::ptr::null_mut;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        times_of_poll,
        times_of_ppoll,
        times_of_epoll,
        numbers_that_are_none,
        the_same_number_twice,
        what_is_not_asked_for,
        a_listener,
        a_refused_connection,
        files_and_devices,
        counters_and_timers,
        children,
        errors_of_epoll_ctl,
        edges,
        once_only,
        nested,
        an_epoll_in_poll,
        many_wait_for_one_epoll,
        many_poll_one_descriptor,
        changed_meanwhile,
        added_meanwhile,
        room_for_few_events,
        masks,
    ];
    for (kind, make) in KINDS {
        for change in ["data", "end", "reset", "room", "closed", "own end"] {
            for call in ["poll", "ppoll", "select", "epoll", "edge"] {
                let name = format!("{call}_of_{kind}_{}", change.replace(' ', "_"));
                rows.push(Row::new(name, move |t| changes(t, make(), change, call)));
            }
        }
    }
    rows
}

type Make = fn() -> (i32, i32);

const KINDS: [(&str, Make); 7] = [
    ("tcp", make::tcp),
    ("udp", make::udp),
    ("stream", || make::socketpair(libc::SOCK_STREAM)),
    ("dgram", || make::socketpair(libc::SOCK_DGRAM)),
    ("seqpacket", || make::socketpair(libc::SOCK_SEQPACKET)),
    ("pipe_to_read", make::pipe),
    ("pipe_to_write", || {
        let (r, w) = make::pipe();
        (w, r)
    }),
];

const ALL: i16 = libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP;

/// One wait, as text.
fn wait(call: &str, fd: i32, events: i16, limit: c_int) -> String {
    let mut one = pollfd { fd, events, revents: 0x7777 };
    let time =
        timespec { tv_sec: (limit / 1000).into(), tv_nsec: i64::from(limit % 1000) * 1_000_000 };
    match call {
        "poll" => {
            let got = ret(unsafe { libc::poll(&raw mut one, 1, limit) });
            format!("{got} {:#x}", one.revents)
        }
        "ppoll" => {
            let got =
                ret(unsafe { libc::ppoll(&raw mut one, 1, &raw const time, std::ptr::null()) });
            format!("{got} {:#x}", one.revents)
        }
        "select" => {
            let mut sets = [0u64; 3];
            for (set, bit) in sets.iter_mut().zip([libc::POLLIN, libc::POLLOUT, libc::POLLPRI]) {
                if events & bit != 0 {
                    *set = 1 << fd;
                }
            }
            let mut time = libc::timeval { tv_sec: time.tv_sec, tv_usec: time.tv_nsec / 1000 };
            let [a, b, c] = sets.each_mut().map(|set| (&raw mut *set).cast());
            let got = ret(unsafe { libc::select(fd + 1, a, b, c, &raw mut time) });
            format!("{got} {:?}", sets.map(|set| set != 0))
        }
        _ => {
            let epoll = unsafe { libc::epoll_create1(0) };
            let edge = if call == "edge" { libc::EPOLLET as u32 } else { 0 };
            let mut event = epoll_event { events: events as u32 | edge, u64: 5 };
            let ctl =
                ret(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) });
            let mut got = epoll_event { events: 0, u64: 0 };
            let n = ret(unsafe { libc::epoll_wait(epoll, &raw mut got, 1, limit) });
            unsafe { libc::close(epoll) };
            let (events, data) = (got.events, got.u64);
            format!("{ctl} {n} {events:#x} {data}")
        }
    }
}

fn fill(fd: i32) {
    make::nonblocking(fd, true);
    let bytes = [7u8; 4096];
    while unsafe { libc::write(fd, bytes.as_ptr().cast(), 4096) } > 0 {}
    make::nonblocking(fd, false);
}

/// What each wait says before, and after something has happened in the middle of it.
fn changes(t: &Trace, (a, b): (i32, i32), change: &'static str, call: &'static str) {
    let is_pipe = unsafe { libc::recv(a, null_mut(), 0, libc::MSG_DONTWAIT) } < 0
        && say::errno() == libc::ENOTSOCK;
    if change == "room" {
        let is_udp = {
            let (mut domain, mut len) = (0, 4);
            let at = (&raw mut domain).cast();
            unsafe { libc::getsockopt(a, libc::SOL_SOCKET, libc::SO_PROTOCOL, at, &raw mut len) };
            domain == libc::IPPROTO_UDP || domain == libc::IPPROTO_TCP
        };
        if is_udp {
            return;
        }
        fill(a);
    }
    let events = match change {
        "room" => libc::POLLOUT,
        _ => libc::POLLIN | libc::POLLPRI | if call == "select" { 0 } else { libc::POLLRDHUP },
    };
    t.says("before", wait(call, a, ALL, 0));
    let other = t.spawn("other", move |_| {
        ms(150);
        unsafe {
            match change {
                "data" => {
                    libc::write(b, c"x".as_ptr().cast(), 1);
                }
                "end" => {
                    libc::shutdown(b, libc::SHUT_WR);
                }
                "reset" => {
                    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
                    let at = (&raw const linger).cast();
                    libc::setsockopt(b, libc::SOL_SOCKET, libc::SO_LINGER, at, 8);
                    libc::close(b);
                }
                "room" => {
                    make::nonblocking(b, true);
                    let mut bytes = [0u8; 4096];
                    while libc::read(b, bytes.as_mut_ptr().cast(), 4096) > 0 {}
                }
                "closed" => {
                    libc::close(b);
                }
                _ => {
                    libc::shutdown(a, libc::SHUT_RDWR);
                }
            }
        }
    });
    t.says("wait", wait(call, a, events, 600));
    other.join();
    t.says("after", wait(call, a, ALL, 0));
    if is_pipe {
        return;
    }
    let mut bytes = [0u8; 8];
    t.says("recv", ret(unsafe { libc::recv(a, bytes.as_mut_ptr().cast(), 8, libc::MSG_DONTWAIT) }));
    t.says("then", wait(call, a, ALL, 0));
}

fn times_of_poll(t: &Trace) {
    let (r, _w) = make::pipe();
    let mut one = pollfd { fd: r, events: libc::POLLIN, revents: 0x7777 };
    for limit in [0, 1, 200] {
        let got = t.timed("poll", 200, || ret(unsafe { libc::poll(&raw mut one, 1, limit) }));
        t.says(&format!("{limit}"), format!("{got} {:#x}", one.revents));
    }
    for limit in [-1, -2, c_int::MIN, c_int::MAX] {
        t.hangs_after(&format!("{limit}"), 300, move || {
            let mut one = pollfd { fd: r, events: libc::POLLIN, revents: 0 };
            ret(unsafe { libc::poll(&raw mut one, 1, limit) })
        });
    }
    let got = t.timed("none", 200, || ret(unsafe { libc::poll(null_mut(), 0, 200) }));
    t.says("none", got);
}

fn times_of_ppoll(t: &Trace) {
    let (r, _w) = make::pipe();
    let mut one = pollfd { fd: r, events: libc::POLLIN, revents: 0x7777 };
    for (tv_sec, tv_nsec) in
        [(0, 0), (0, 1), (0, 200_000_000), (-1, 0), (0, -1), (0, 1_000_000_000), (i64::MIN, 0)]
    {
        let time = timespec { tv_sec, tv_nsec };
        let got = t.timed("time", 200, || {
            ret(unsafe { libc::ppoll(&raw mut one, 1, &raw const time, std::ptr::null()) })
        });
        t.says(
            &format!("{tv_sec} {tv_nsec}"),
            format!("{got} {:#x} {}", one.revents, time.tv_nsec),
        );
    }
    for time in [None, Some(timespec { tv_sec: i64::MAX, tv_nsec: 999_999_999 })] {
        t.hangs_after(&format!("{:?}", time.is_some()), 300, move || {
            let at = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
            let mut one = pollfd { fd: r, events: libc::POLLIN, revents: 0 };
            ret(unsafe { libc::ppoll(&raw mut one, 1, at, std::ptr::null()) })
        });
    }
}

fn times_of_epoll(t: &Trace) {
    let epoll = unsafe { libc::epoll_create1(0) };
    let mut event = epoll_event { events: 7, u64: 7 };
    for limit in [0, 1, 200] {
        let got = t.timed("epoll", 200, || {
            ret(unsafe { libc::epoll_wait(epoll, &raw mut event, 1, limit) })
        });
        t.says(&format!("{limit}"), got);
    }
    let got = t.timed("pwait", 200, || {
        ret(unsafe { libc::epoll_pwait(epoll, &raw mut event, 1, 200, std::ptr::null()) })
    });
    t.says("pwait", got);
    for limit in [-1, -2, c_int::MIN, c_int::MAX] {
        t.hangs_after(&format!("{limit}"), 300, move || {
            let mut event = epoll_event { events: 7, u64: 7 };
            ret(unsafe { libc::epoll_wait(epoll, &raw mut event, 1, limit) })
        });
    }
    let (events, data) = (event.events, event.u64);
    t.says("untouched", format!("{events} {data}"));
}

fn numbers_that_are_none(t: &Trace) {
    let (r, _w) = make::pipe();
    for fd in [99, 1_000_000, c_int::MAX] {
        for events in [0, libc::POLLIN, libc::POLLOUT] {
            t.says(&format!("{fd} {events}"), wait("poll", fd, events, -1));
        }
    }
    for fd in [-1, -99, c_int::MIN] {
        let got = t.timed("negative", 200, || wait("poll", fd, libc::POLLIN, 200));
        t.says(&format!("{fd}"), got);
    }
    let mut two = [r, 99].map(|fd| pollfd { fd, events: libc::POLLIN, revents: 7 });
    t.says("one of two", ret(unsafe { libc::poll(two.as_mut_ptr(), 2, -1) }));
    t.says("events", format!("{:?}", two.map(|one| one.revents)));
}

fn the_same_number_twice(t: &Trace) {
    let (r, w) = make::pipe();
    let mut all = [r, r, w, r].map(|fd| pollfd { fd, events: libc::POLLIN, revents: 7 });
    all[1].events = libc::POLLIN | libc::POLLOUT;
    let other = t.spawn("other", move |_| {
        ms(150);
        unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
    });
    t.says("poll", ret(unsafe { libc::poll(all.as_mut_ptr(), 4, 5000) }));
    t.says("events", format!("{:?}", all.map(|one| one.revents)));
    other.join();
}

/// Hang-ups and errors are told unasked.
fn what_is_not_asked_for(t: &Trace) {
    for (kind, make) in KINDS {
        let (a, b) = make();
        drop(t.spawn(kind, move |_| {
            ms(150);
            unsafe { libc::close(b) };
        }));
        let got = t.timed(kind, 300, || wait("poll", a, 0, 300));
        t.says("nothing asked", got);
        t.says("after", wait("poll", a, 0, 0));
    }
}

fn a_listener(t: &Trace) {
    use std::os::fd::AsRawFd;
    let l = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let (fd, to) = (l.as_raw_fd(), l.local_addr().expect("its address"));
    for call in ["poll", "select", "epoll"] {
        t.says("before", wait(call, fd, libc::POLLIN | libc::POLLOUT, 0));
        let other = t.spawn(call, move |_| {
            ms(100);
            std::net::TcpStream::connect(to).expect("a connection")
        });
        t.says("somebody", wait(call, fd, libc::POLLIN | libc::POLLOUT, 3000));
        drop(other.join());
        drop(l.accept());
    }
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
    t.says("shut down", wait("poll", fd, libc::POLLIN | libc::POLLOUT, 0));
}

fn a_refused_connection(t: &Trace) {
    let port: u16 = 1; // no system gives it out by itself
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0) };
    t.says("new", wait("poll", fd, ALL, 0));
    t.says("new, select", wait("select", fd, ALL, 0));
    let to = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    t.says("connect", ret(unsafe { libc::connect(fd, (&raw const to).cast(), 16) }));
    t.says("refused", wait("poll", fd, libc::POLLOUT, 3000));
    t.says("refused, epoll", wait("epoll", fd, libc::POLLIN, 3000));
}

fn files_and_devices(t: &Trace) {
    let open = |path: &std::ffi::CStr| unsafe { libc::open(path.as_ptr(), libc::O_RDWR) };
    let file = make::file(b"abc");
    let dir = unsafe { libc::open(c"/".as_ptr(), libc::O_RDONLY) };
    for (what, fd) in [
        ("file", file),
        ("directory", dir),
        ("null", open(c"/dev/null")),
        ("zero", open(c"/dev/zero")),
    ] {
        for call in ["poll", "ppoll", "select", "epoll"] {
            t.says(&format!("{what} {call}"), wait(call, fd, libc::POLLIN | libc::POLLOUT, 100));
        }
        let got = t.timed(what, 200, || wait("poll", fd, libc::POLLPRI, 200));
        t.says("nothing urgent", got);
    }
}

fn counters_and_timers(t: &Trace) {
    let event = unsafe { libc::eventfd(0, 0) };
    let timer = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, 0) };
    let soon = libc::itimerspec {
        it_interval: timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: timespec { tv_sec: 0, tv_nsec: 200_000_000 },
    };
    unsafe { libc::timerfd_settime(timer, 0, &raw const soon, null_mut()) };
    let got = t.timed("timer", 200, || wait("poll", timer, libc::POLLIN, 3000));
    t.says("timer", got);
    for call in ["poll", "select", "epoll"] {
        t.says("counter", wait(call, event, libc::POLLIN | libc::POLLOUT, 0));
        let other = t.spawn(call, move |_| {
            ms(150);
            unsafe { libc::write(event, 1u64.to_ne_bytes().as_ptr().cast(), 8) };
        });
        t.says("counted", wait(call, event, libc::POLLIN, 3000));
        other.join();
        let mut n = [0u8; 8];
        unsafe { libc::read(event, n.as_mut_ptr().cast(), 8) };
    }
    let full = (u64::MAX - 1).to_ne_bytes();
    unsafe { libc::write(event, full.as_ptr().cast(), 8) };
    t.says("full", wait("poll", event, libc::POLLIN | libc::POLLOUT, 0));
}

fn children(t: &Trace) {
    let pid = make::child(|| {
        unsafe { libc::usleep(150_000) };
        3
    });
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32;
    for call in ["poll", "epoll", "select"] {
        t.says(call, wait(call, fd, libc::POLLIN, 5000));
    }
    t.says("end", make::end_of(pid));
    t.says("reaped", wait("poll", fd, libc::POLLIN, 100));
}

fn errors_of_epoll_ctl(t: &Trace) {
    let epoll = unsafe { libc::epoll_create1(0) };
    let (r, w) = make::pipe();
    let ctl = |op: c_int, fd: i32, events: c_int| {
        let mut event = epoll_event { events: events as u32, u64: 0 };
        ret(unsafe { libc::epoll_ctl(epoll, op, fd, &raw mut event) }).to_string()
    };
    let (add, change, del) = (libc::EPOLL_CTL_ADD, libc::EPOLL_CTL_MOD, libc::EPOLL_CTL_DEL);
    for (op, fd) in [
        (add, 99),
        (add, -1),
        (add, epoll),
        (change, r),
        (del, r),
        (add, r),
        (add, r),
        (change, r),
        (del, r),
        (del, r),
        (9, r),
        (add, make::file(b"x")),
    ] {
        t.says(&format!("{op}"), ctl(op, fd, libc::EPOLLIN));
    }
    let exclusive = libc::EPOLLIN | libc::EPOLLEXCLUSIVE;
    t.says("exclusive", ctl(add, w, exclusive));
    t.says("changed", ctl(change, w, exclusive));
    t.says("create", ret(unsafe { libc::epoll_create(0) }));
    t.says("create", ret(unsafe { libc::epoll_create1(1) }));
    let mut event = epoll_event { events: 1, u64: 0 };
    t.says("of a pipe", ret(unsafe { libc::epoll_ctl(r, add, w, &raw mut event) }));
    t.says("of nothing", ret(unsafe { libc::epoll_ctl(99, add, w, &raw mut event) }));
}

fn epoll_of(fd: i32, events: c_int) -> i32 {
    let epoll = unsafe { libc::epoll_create1(0) };
    let mut event = epoll_event { events: events as u32, u64: 5 };
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
    epoll
}

fn next(epoll: i32, limit: c_int) -> String {
    let mut got = epoll_event { events: 0, u64: 0 };
    let n = ret(unsafe { libc::epoll_wait(epoll, &raw mut got, 1, limit) });
    let (events, data) = (got.events, got.u64);
    format!("{n} {events:#x} {data}")
}

fn write_later(t: &Trace, name: &str, w: i32) {
    drop(t.spawn(name, move |_| {
        ms(150);
        unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
    }));
}

fn edges(t: &Trace) {
    let (r, w) = make::pipe();
    let epoll = epoll_of(r, libc::EPOLLIN | libc::EPOLLET);
    for i in 0..3 {
        write_later(t, &format!("{i}"), w);
        t.says("edge", next(epoll, 3000));
        t.says("no edge", next(epoll, 50));
    }
    let mut event = epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 6 };
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_MOD, r, &raw mut event) };
    t.says("renewed", next(epoll, 3000));
    t.says("no edge", next(epoll, 50));
}

fn once_only(t: &Trace) {
    let (r, w) = make::pipe();
    let epoll = epoll_of(r, libc::EPOLLIN | libc::EPOLLONESHOT);
    write_later(t, "first", w);
    t.says("once", next(epoll, 3000));
    t.says("no more", next(epoll, 50));
    unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
    t.says("no more", next(epoll, 50));
    let mut event = epoll_event { events: (libc::EPOLLIN | libc::EPOLLONESHOT) as u32, u64: 6 };
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_MOD, r, &raw mut event) };
    t.says("again", next(epoll, 3000));
}

fn nested(t: &Trace) {
    let (r, w) = make::pipe();
    let mut all = vec![epoll_of(r, libc::EPOLLIN)];
    let mut said = vec![];
    for _ in 0..6 {
        let outer = unsafe { libc::epoll_create1(0) };
        let mut event = epoll_event { events: libc::EPOLLIN as u32, u64: 9 };
        let inner = *all.last().expect("the first");
        said.push(
            ret(unsafe { libc::epoll_ctl(outer, libc::EPOLL_CTL_ADD, inner, &raw mut event) })
                .to_string(),
        );
        all.push(outer);
    }
    t.says("nested", said.join(", "));
    write_later(t, "other", w);
    let outermost = said.iter().filter(|one| *one == "0").count();
    t.says("outermost", next(all[outermost], 3000));
    t.says("innermost", next(all[0], 3000));
    // A circle.
    let mut event = epoll_event { events: libc::EPOLLIN as u32, u64: 9 };
    t.says(
        "circle",
        ret(unsafe { libc::epoll_ctl(all[0], libc::EPOLL_CTL_ADD, all[1], &raw mut event) }),
    );
}

fn an_epoll_in_poll(t: &Trace) {
    let (r, w) = make::pipe();
    let epoll = epoll_of(r, libc::EPOLLIN);
    write_later(t, "other", w);
    t.says("poll", wait("poll", epoll, libc::POLLIN | libc::POLLOUT, 3000));
    t.says("select", wait("select", epoll, libc::POLLIN | libc::POLLOUT, 3000));
    t.says("itself", next(epoll, 0));
}

fn many_wait_for_one_epoll(t: &Trace) {
    let (r, w) = make::pipe();
    let epoll = epoll_of(r, libc::EPOLLIN | libc::EPOLLONESHOT);
    let all: Vec<_> = (0..4)
        .map(|i| t.spawn(&format!("{i}"), move |_| next(epoll, 700).starts_with('1')))
        .collect();
    ms(200);
    unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
    t.says(
        "told",
        all.into_iter().filter(|_| true).map(|one| one.join()).filter(|told| *told).count(),
    );
}

fn many_poll_one_descriptor(t: &Trace) {
    let (r, w) = make::pipe();
    let all: Vec<_> = (0..6)
        .map(|i| {
            t.spawn(&format!("{i}"), move |t| t.says("poll", wait("poll", r, libc::POLLIN, 5000)))
        })
        .collect();
    ms(150);
    unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
    t.says("over", all.into_iter().filter(|one| one.over_within(2000)).count());
}

/// What an epoll waits for is changed while it waits.
fn changed_meanwhile(t: &Trace) {
    let (a, _b) = make::socketpair(libc::SOCK_STREAM);
    let epoll = epoll_of(a, libc::EPOLLIN);
    drop(t.spawn("other", move |_| {
        ms(200);
        let mut event = epoll_event { events: libc::EPOLLOUT as u32, u64: 6 };
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_MOD, a, &raw mut event) }
    }));
    let got = t.timed("time", 200, || next(epoll, 3000));
    t.says("got", got);
}

fn added_meanwhile(t: &Trace) {
    let (a, b) = make::socketpair(libc::SOCK_STREAM);
    unsafe { libc::write(b, c"x".as_ptr().cast(), 1) };
    let epoll = unsafe { libc::epoll_create1(0) };
    drop(t.spawn("other", move |_| {
        ms(200);
        let mut event = epoll_event { events: libc::EPOLLIN as u32, u64: 6 };
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, a, &raw mut event) }
    }));
    let got = t.timed("time", 200, || next(epoll, 3000));
    t.says("got", got);
}

fn room_for_few_events(t: &Trace) {
    let epoll = unsafe { libc::epoll_create1(0) };
    for i in 0..5 {
        let event_fd = unsafe { libc::eventfd(1, 0) };
        let mut event = epoll_event { events: libc::EPOLLIN as u32, u64: i };
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, event_fd, &raw mut event) };
    }
    for room in [2, 2, 2, 9] {
        let mut events = [epoll_event { events: 0, u64: 77 }; 9];
        let n = ret(unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), room, 1000) });
        t.says("events", format!("{n} {:?}", events.map(|one| one.u64)));
    }
}

/// With a signal mask.
fn masks(t: &Trace) {
    let (r, w) = make::pipe();
    let epoll = epoll_of(r, libc::EPOLLIN);
    let mut mask: libc::sigset_t = unsafe { std::mem::zeroed() };
    unsafe { libc::sigfillset(&raw mut mask) };
    for i in 0..3 {
        write_later(t, &format!("{i}"), w);
        let (mut one, mut event) =
            (pollfd { fd: r, events: libc::POLLIN, revents: 0 }, epoll_event { events: 0, u64: 0 });
        let time = timespec { tv_sec: 3, tv_nsec: 0 };
        let mut set = 1u64 << r;
        let got = unsafe {
            match i {
                0 => ret(libc::ppoll(&raw mut one, 1, &raw const time, &raw const mask)),
                1 => ret(libc::epoll_pwait(epoll, &raw mut event, 1, 3000, &raw const mask)),
                _ => ret(libc::pselect(
                    r + 1,
                    (&raw mut set).cast(),
                    null_mut(),
                    null_mut(),
                    &raw const time,
                    &raw const mask,
                )),
            }
        };
        t.says("got", got);
        unsafe { libc::read(r, [0u8; 9].as_mut_ptr().cast(), 1) };
    }
}
