//! Numbers that are closed while a call waits for them. Linux goes on waiting for what had the number; a goroutine is
//! told at once (`EBADF`), as it could wait for ever otherwise, and so could a thread.

#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Flow, Row, Trace, make, ms, ret, rows};
use libc::{epoll_event, pollfd};

pub(crate) fn rows() -> Vec<Row> {
    rows![polled_and_closed, an_epoll_closed, a_descriptor_of_an_epoll_closed]
}

fn close_later(t: &Trace, fd: i32) -> Flow<()> {
    t.spawn("other", move |t| {
        ms(200);
        t.says("close", ret(unsafe { libc::close(fd) }));
    })
}

fn polled_and_closed(t: &Trace) {
    let (r, _w) = make::pipe();
    let other = close_later(t, r);
    let mut one = pollfd { fd: r, events: libc::POLLIN, revents: 0 };
    t.says("poll", ret(unsafe { libc::poll(&raw mut one, 1, 600) }));
    t.says("events", one.revents);
    other.join();
}

fn an_epoll_closed(t: &Trace) {
    let (r, _w) = make::pipe();
    let epoll = unsafe { libc::epoll_create1(0) };
    let mut event = epoll_event { events: libc::EPOLLIN as u32, u64: 5 };
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, r, &raw mut event) };
    let other = close_later(t, epoll);
    t.says("epoll", ret(unsafe { libc::epoll_wait(epoll, &raw mut event, 1, 600) }));
    other.join();
}

fn a_descriptor_of_an_epoll_closed(t: &Trace) {
    let (r, w) = make::pipe();
    let epoll = unsafe { libc::epoll_create1(0) };
    let mut event = epoll_event { events: libc::EPOLLIN as u32, u64: 5 };
    unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, r, &raw mut event) };
    let other = close_later(t, r);
    t.says("epoll", ret(unsafe { libc::epoll_wait(epoll, &raw mut event, 1, 600) }));
    t.says("write", ret(unsafe { libc::write(w, c"x".as_ptr().cast(), 0) }));
    other.join();
}
