//! Connecting: `connect` has no flag that says "don't block", so `O_NONBLOCK` is set for the moment
//! of the call, unless the user has set it (`netpoll/moment.rs`).

use super::real::{result, take_over};
use super::socket::{held, word};
use super::wait::{AGAIN, Stopped, Waits, ready_now, socket_option, timeout};
use crate::g::G;
use crate::netpoll::moment::without_blocking;
use crate::netpoll::{self, Direction, Kind, Look, is_nonblocking};
use goroutines_switch::sys::raw;
use libc::{c_int, sockaddr, socklen_t};

const IN_PROGRESS: isize = -(libc::EINPROGRESS as isize);
const ALREADY: isize = -(libc::EALREADY as isize);

fn connect_one(gp: &'static G, fd: c_int, address: *const sockaddr, len: socklen_t) -> isize {
    let args = [word(fd), address as usize, len as usize, 0, 0, 0];
    let plain = || {
        loop {
            let word = held(gp, libc::SYS_connect, args);
            if !is_of_a_moment(fd, word) {
                return word;
            }
        }
    };
    let Some(desc) = netpoll::desc(fd) else { return plain() };
    if super::kind::kind_of(fd, desc) != Kind::Socket {
        return plain();
    }
    let mut kind: c_int = 0;
    socket_option(fd, libc::SO_TYPE, &mut kind);
    if kind == libc::SOCK_DGRAM {
        // SAFETY: the user's own call. It only notes the address.
        return unsafe { raw(libc::SYS_connect, args) };
    }
    let look = desc.look(Direction::Write);
    let word = without_blocking(fd, || {
        // SAFETY: the user's own call.
        unsafe { raw(libc::SYS_connect, args) }
    });
    match word {
        // The user has set it.
        None => plain(),
        // A local socket whose listener's queue is full: there is no event for room in it.
        Some(AGAIN) => plain(),
        // The connection is under way; with the second word, since a call before this one.
        Some(word @ (IN_PROGRESS | ALREADY)) => {
            let waits = Waits::new(gp, fd, desc, Direction::Write);
            finish(waits, fd, look, word, plain)
        }
        Some(other) => other,
    }
}

/// Waits for a connection that is under way. `in_time` is what the call returns after a time-out.
fn finish(
    mut waits: Waits,
    fd: c_int,
    mut look: Look,
    in_time: isize,
    plain: impl FnOnce() -> isize,
) -> isize {
    loop {
        if ready_now(fd, libc::POLLOUT) != 0 {
            // Connects once more, as the kernel does at the end of its wait: the call takes the
            // error, and the socket is as new then; or it finds that the connection is made.
            // (`SO_ERROR` would only take the error.)
            return match plain() {
                word if word == -(libc::EISCONN as isize) => 0,
                word => word,
            };
        }
        match waits.wait(look) {
            Ok(()) => look = waits.look(),
            // This is what the kernel returns when SO_SNDTIMEO has run out.
            Err(Stopped::Error(libc::EAGAIN)) => return in_time,
            Err(Stopped::Error(error)) => return -(error as isize),
            Err(Stopped::CantWait) => return plain(),
        }
    }
}

/// Whether a call that blocks has returned since another goroutine had set `O_NONBLOCK` for its
/// moment. (Where there is a time-out, that may be the reason as well, and is taken for it.)
fn is_of_a_moment(fd: c_int, word: isize) -> bool {
    matches!(word, IN_PROGRESS | ALREADY | AGAIN)
        && !is_nonblocking(fd)
        && timeout(fd, Direction::Write).is_none()
}

take_over! {
    fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int =
        |gp, real| result(connect_one(gp, fd, address, len)) as c_int;
}
