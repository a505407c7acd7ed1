//! Receiving from sockets, tried with `MSG_DONTWAIT`. (Sending: `send.rs`. `accept.rs`,
//! `connect.rs`: these calls know no such flag. Options, and the end of a connection: `mark.rs`.)

use super::fd;
use super::mark::{self, is_local};
use super::real::{result, take_over};
use super::unwraps;
use super::user_memory::{self, Buffers};
use super::wait::{Further, Moved, Stopped, Waits, is_stream, socket_option};
use crate::g::G;
use crate::netpoll::{self, Direction, Kind};
use crate::sched::syscall::announced_undisturbed as undisturbed;
use goroutines_switch::sys::raw;
use libc::{
    c_int, c_uint, c_void, iovec, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t, timespec,
};
use std::cell::Cell;

pub(super) const DONTWAIT: usize = libc::MSG_DONTWAIT as usize;
pub(super) fn word(fd: i32) -> usize {
    fd as isize as usize
}

pub(super) fn header(list: &[iovec]) -> msghdr {
    // SAFETY: plain old data.
    let mut header: msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = list.as_ptr().cast_mut();
    header.msg_iovlen = list.len();
    header
}

/// `readv` on a socket.
pub(super) fn receive_list(waits: &mut Waits, fd: i32, list: &[iovec]) -> Result<isize, Stopped> {
    if let [one] = list {
        let args = [word(fd), one.iov_base as usize, one.iov_len, DONTWAIT, 0, 0];
        // SAFETY: the user's buffer.
        let attempt = || unsafe { raw(libc::SYS_recvfrom, args) };
        if !mark::wait(waits, fd, one.iov_len)? {
            return Ok(attempt());
        }
        return waits.received(one.iov_len, attempt);
    }
    let mut header = header(list);
    let args = [word(fd), &raw mut header as usize, DONTWAIT, 0, 0, 0];
    // SAFETY: the user's buffers.
    let attempt = || unsafe { raw(libc::SYS_recvmsg, args) };
    let room = list.iter().fold(0usize, |sum, one| sum.saturating_add(one.iov_len));
    if !mark::wait(waits, fd, room)? {
        return Ok(attempt());
    }
    waits.done(attempt)
}

/// Makes a call that blocks the thread. Linux restarts no call with a time-out after a handler, so
/// our signal is kept away.
pub(super) fn held(gp: &'static G, number: libc::c_long, args: [usize; 6]) -> isize {
    // SAFETY: the user's own call.
    undisturbed(gp, || unsafe { raw(number, args) })
}

/// A call on a socket, whose number may come to stand for another file while the call waits.
pub(super) struct Call<A, P, R> {
    /// Makes it without blocking.
    pub(super) attempt: A,
    /// Makes it, and blocks.
    pub(super) plain: P,
    /// Makes the rest of it, after so many bytes or messages, and blocks: what has been done in
    /// all. Under the number that the file has now.
    pub(super) rest: R,
}

/// Makes a call on a socket.
pub(super) fn with_socket<A, P, R>(
    gp: &'static G,
    fd: i32,
    direction: Direction,
    call: Call<A, P, R>,
) -> isize
where
    A: Fn(&mut Waits, i32) -> Result<isize, Stopped>,
    P: Fn(i32) -> isize,
    R: Fn(i32, usize) -> isize,
{
    let mut fd = fd;
    // The file's new number, once another file was put under the number that the call was made
    // with.
    let mut _held: Option<Moved> = None;
    loop {
        let Some(desc) = netpoll::desc(fd) else { return (call.plain)(fd) };
        if desc.kind() != Kind::Socket {
            super::kind::kind_of(fd, desc);
        }
        let mut waits = Waits::movable(gp, fd, desc, direction);
        let came = (call.attempt)(&mut waits, fd);
        if let Some(moved) = waits.take_moved() {
            match came {
                Err(Stopped::CantWait) => {
                    drop(waits);
                    fd = moved.number();
                    _held = Some(moved);
                    continue;
                }
                Ok(done) if done > 0 => return (call.rest)(moved.number(), done as usize),
                _ => {}
            }
        }
        return match came {
            Ok(word) => word,
            Err(Stopped::Error(error)) => -(error as isize),
            Err(Stopped::CantWait) => (call.plain)(fd),
        };
    }
}

/// What a call has done in all, if its rest came to `more` after `done`.
pub(super) fn in_all(done: usize, more: isize) -> isize {
    done as isize + more.max(0)
}

/// Linux moves no more at a time.
const MOST: usize = 0x7fff_f000;

/// Flags with which most sockets never wait, and some do: datagram sockets know no urgent byte,
/// local ones no queue of errors.
const ASIDE: c_int = libc::MSG_ERRQUEUE | libc::MSG_OOB;

fn receive_from(
    gp: &'static G,
    fd: c_int,
    buf: *mut c_void,
    n: size_t,
    flags: c_int,
    from: (*mut sockaddr, *mut socklen_t),
) -> isize {
    let args = |fd: c_int, done: usize, flags: c_int| {
        let at = buf.wrapping_byte_add(done) as usize;
        [word(fd), at, n - done, flags as usize, from.0 as usize, from.1 as usize]
    };
    let tried = flags | libc::MSG_DONTWAIT;
    // SAFETY: the user's own call.
    let attempt =
        |fd: c_int, done: usize| unsafe { raw(libc::SYS_recvfrom, args(fd, done, tried)) };
    if flags & libc::MSG_DONTWAIT != 0 {
        return attempt(fd, 0);
    }
    let plain = |fd: c_int| held(gp, libc::SYS_recvfrom, args(fd, 0, flags));
    let is_whole = flags & libc::MSG_WAITALL != 0;
    // (A stream that is asked for nothing waits once, whatever comes.)
    if n == 0 || flags & ASIDE != 0 || is_whole && flags & libc::MSG_PEEK != 0 {
        return plain(fd);
    }
    let call = |waits: &mut Waits, fd: c_int| {
        if !is_whole && !mark::wait(waits, fd, n)? {
            return Ok(attempt(fd, 0));
        }
        if flags == 0 && from.0.is_null() {
            return waits.received(n, || attempt(fd, 0));
        }
        if is_whole && is_stream(fd) {
            let way = if from.0.is_null() { Way::of(fd) } else { Way::Kernel };
            return receive_whole(waits, fd, (buf, n.min(MOST)), way, |done| attempt(fd, done));
        }
        waits.done(|| attempt(fd, 0))
    };
    let rest = |fd: c_int, done: usize| {
        if !is_whole || done >= n || !is_stream(fd) {
            return done as isize;
        }
        in_all(done, held(gp, libc::SYS_recvfrom, args(fd, done, flags)))
    };
    with_socket(gp, fd, Direction::Read, Call { attempt: call, plain, rest })
}

/// How a stream is received from in steps.
enum Way {
    /// As it comes.
    Plain,
    /// From a local socket: descriptors end the call, though they are not asked for. That they are
    /// there shows only in a message's flags.
    Message,
    /// Not in steps: the kernel makes the whole call.
    Kernel,
}

impl Way {
    fn of(fd: c_int) -> Self {
        const SO_PASSPIDFD: c_int = 76;
        if !is_local(fd) {
            return Self::Plain;
        }
        let has = |option: c_int| {
            let mut on: c_int = 0;
            socket_option(fd, option, &mut on) == 0 && on != 0
        };
        // With these options there is ancillary data in each message.
        let always = [libc::SO_PASSCRED, libc::SO_PASSSEC, SO_PASSPIDFD];
        if always.into_iter().any(has) { Self::Kernel } else { Self::Message }
    }
}

/// `MSG_WAITALL` on a stream: receives until there are `n` bytes, or its end, an error,
/// descriptors, or the mark of an urgent byte.
fn receive_whole(
    waits: &mut Waits,
    fd: c_int,
    (buf, n): (*mut c_void, usize),
    way: Way,
    attempt: impl Fn(usize) -> isize,
) -> Result<isize, Stopped> {
    let goes_on = Cell::new(true);
    let step = |done: usize| {
        if !matches!(way, Way::Message) {
            return attempt(done);
        }
        let one = iovec { iov_base: buf.wrapping_byte_add(done), iov_len: n - done };
        let mut header = header(std::slice::from_ref(&one));
        let args = [word(fd), &raw mut header as usize, DONTWAIT, 0, 0, 0];
        // SAFETY: the user's buffer.
        let word = unsafe { raw(libc::SYS_recvmsg, args) };
        goes_on.set(word <= 0 || header.msg_flags & libc::MSG_CTRUNC == 0);
        word
    };
    if matches!(way, Way::Kernel) {
        return Err(Stopped::CantWait);
    }
    let first = waits.done(|| step(0))?;
    let mut done = first.max(0) as usize;
    while (1..n).contains(&done) && goes_on.get() {
        match waits.more(Further::Read, || step(done)) {
            Some(more) => done += more,
            None => break,
        }
    }
    Ok(if first < 0 { first } else { done as isize })
}

fn receive_message(gp: &'static G, fd: c_int, message: *mut msghdr, flags: c_int) -> isize {
    let args = |fd: c_int, flags: c_int| [word(fd), message as usize, flags as usize, 0, 0, 0];
    let tried = flags | libc::MSG_DONTWAIT;
    // SAFETY: the user's own call.
    let attempt = |fd: c_int| unsafe { raw(libc::SYS_recvmsg, args(fd, tried)) };
    if flags & libc::MSG_DONTWAIT != 0 {
        return attempt(fd);
    }
    let plain = |fd: c_int| held(gp, libc::SYS_recvmsg, args(fd, flags));
    if flags & (ASIDE | libc::MSG_WAITALL) != 0 {
        // There may be ancillary data at any place in the middle: the kernel knows best.
        return plain(fd);
    }
    let call = |waits: &mut Waits, fd: c_int| {
        if mark::are_any() {
            // SAFETY: addresses and numbers.
            let header = unsafe { user_memory::read(gp, message) }.ok();
            let list = header.and_then(|h| Buffers::of(gp, h.msg_iov, h.msg_iovlen));
            if !mark::wait(waits, fd, list.map_or(0, |list| list.bytes()))? {
                return Ok(attempt(fd));
            }
        }
        waits.done(|| attempt(fd))
    };
    let rest = |_: c_int, done: usize| done as isize;
    with_socket(gp, fd, Direction::Read, Call { attempt: call, plain, rest })
}

/// Several messages. The kernel receives as many as there are; more are waited for.
fn receive_messages(
    gp: &'static G,
    fd: c_int,
    list: *mut mmsghdr,
    n: c_uint,
    (flags, timeout): (c_int, *mut timespec),
) -> isize {
    let args = |fd: c_int, done: usize, flags: c_int| {
        let at = list.wrapping_add(done) as usize;
        [word(fd), at, n as usize - done, flags as usize, timeout as usize, 0]
    };
    let tried = flags | libc::MSG_DONTWAIT;
    // SAFETY: the user's own call.
    let attempt =
        |fd: c_int, done: usize| unsafe { raw(libc::SYS_recvmmsg, args(fd, done, tried)) };
    let plain = |fd: c_int| held(gp, libc::SYS_recvmmsg, args(fd, 0, flags));
    if !timeout.is_null() || flags & (ASIDE | libc::MSG_WAITALL) != 0 || mark::are_any() {
        return plain(fd);
    }
    if flags & libc::MSG_DONTWAIT != 0 {
        return attempt(fd, 0);
    }
    let is_whole = flags & libc::MSG_WAITFORONE == 0;
    let call = |waits: &mut Waits, fd: c_int| {
        let first = waits.done(|| attempt(fd, 0))?;
        let mut done = first.max(0) as usize;
        while done > 0 && done < n as usize && is_whole {
            match waits.more(Further::Messages, || attempt(fd, done)) {
                Some(more) => done += more,
                None => break,
            }
        }
        Ok(if first < 0 { first } else { done as isize })
    };
    let rest = |fd: c_int, done: usize| {
        if !is_whole || done >= n as usize {
            return done as isize;
        }
        in_all(done, held(gp, libc::SYS_recvmmsg, args(fd, done, flags)))
    };
    with_socket(gp, fd, Direction::Read, Call { attempt: call, plain, rest })
}

take_over! {
    fn recv(fd: c_int, buf: *mut c_void, n: size_t, flags: c_int) -> ssize_t = |gp, real| {
        let nowhere = (std::ptr::null_mut(), std::ptr::null_mut());
        let word = receive_from(gp, fd, buf, n, flags, nowhere);
        result(unwraps::of_recv(gp, fd, (buf, n), word))
    };

    fn recvfrom(
        fd: c_int, buf: *mut c_void, n: size_t, flags: c_int, from: *mut sockaddr, len: *mut socklen_t,
    ) -> ssize_t = |gp, real| result(receive_from(gp, fd, buf, n, flags, (from, len)));

    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t =
        |gp, real| result(receive_message(gp, fd, message, flags));

    fn recvmmsg(
        fd: c_int, list: *mut libc::mmsghdr, n: c_uint, flags: c_int, timeout: *mut libc::timespec,
    ) -> c_int = |gp, real| result(receive_messages(gp, fd, list, n, (flags, timeout))) as c_int;

    fn __recv_chk(fd: c_int, buf: *mut c_void, n: size_t, room: size_t, flags: c_int) -> ssize_t =
        |gp, real| {
            if n > room {
                return real();
            }
            let nowhere = (std::ptr::null_mut(), std::ptr::null_mut());
            result(receive_from(gp, fd, buf, n, flags, nowhere))
        };

    fn __recvfrom_chk(
        fd: c_int, buf: *mut c_void, n: size_t, room: size_t, flags: c_int, from: *mut sockaddr,
        len: *mut socklen_t,
    ) -> ssize_t = |gp, real| {
        if n > room { real() } else { result(receive_from(gp, fd, buf, n, flags, (from, len))) }
    };
}

fd::gives_out! {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int = |_gp, real| real();
}
