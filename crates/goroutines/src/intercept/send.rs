//! Sending all there is to send, as a blocking call does.
//!
//! A stream takes what there is room for; the rest follows when there is more. What comes in
//! between (an end, a reset) is reported by the *next* call, as in the kernel. So before each
//! further attempt the runtime looks whether the connection is over ([`Waits::more`]), as the
//! attempt would take the error away (an error that comes in between is kept for the next call:
//! `Desc::leave_error`); and a further attempt raises no `SIGPIPE`.

use super::real::{result, take_over};
use super::socket::{Call, DONTWAIT, header, held, in_all, with_socket, word};
use super::user_memory::{self, Buffers};
use super::wait::{Further, Stopped, Waits};
use crate::g::G;
use crate::netpoll::Direction;
use goroutines_switch::sys::raw;
use libc::{c_int, c_uint, c_void, iovec, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t};

/// Linux moves no more at a time.
const MOST: usize = 0x7fff_f000;

/// `writev` on a socket.
pub(super) fn send_list(waits: &mut Waits, fd: i32, list: &[iovec]) -> Result<isize, Stopped> {
    if let [one] = list {
        return send_buffer(waits, fd, (one.iov_base, one.iov_len), 0, (std::ptr::null(), 0));
    }
    let whole = list.iter().fold(0usize, |sum, one| sum.saturating_add(one.iov_len));
    let first = waits.done(|| send_some(fd, list, 0))?;
    send_rest(waits, fd, list.iter().copied(), (first, whole), 0)
}

fn send_some(fd: i32, list: &[iovec], flags: c_int) -> isize {
    let header = header(list);
    let args = [word(fd), &raw const header as usize, flags as usize | DONTWAIT, 0, 0, 0];
    // SAFETY: the user's buffers.
    unsafe { raw(libc::SYS_sendmsg, args) }
}

/// Sends one buffer.
fn send_buffer(
    waits: &mut Waits,
    fd: i32,
    (buf, n): (*const c_void, usize),
    flags: c_int,
    to: (*const sockaddr, socklen_t),
) -> Result<isize, Stopped> {
    let send = |done: usize, flags: c_int| {
        let at = buf.wrapping_byte_add(done) as usize;
        let flags = flags as usize | DONTWAIT;
        // SAFETY: the user's buffer and address.
        unsafe {
            raw(libc::SYS_sendto, [word(fd), at, n - done, flags, to.0 as usize, to.1 as usize])
        }
    };
    let first = waits.done(|| send(0, flags))?;
    let mut done = first.max(0) as usize;
    while (1..n.min(MOST)).contains(&done) {
        match waits.more(Further::Written, || send(done, flags | libc::MSG_NOSIGNAL)) {
            Some(more) => done += more,
            None => break,
        }
    }
    Ok(if first < 0 { first } else { done as isize })
}

/// Sends what is left of a list of which `first` of `whole` bytes were sent. Returns how much was
/// sent in all, or `first` if that is an error.
fn send_rest(
    waits: &mut Waits,
    fd: i32,
    list: impl Iterator<Item = iovec> + Clone,
    (first, whole): (isize, usize),
    flags: c_int,
) -> Result<isize, Stopped> {
    let mut done = first.max(0) as usize;
    while (1..whole.min(MOST)).contains(&done) {
        let (rest, n) = rest_of(list.clone(), done);
        match waits.more(Further::Written, || send_some(fd, &rest[..n], flags | libc::MSG_NOSIGNAL))
        {
            Some(more) => done += more,
            None => break,
        }
    }
    Ok(if first < 0 { first } else { done as isize })
}

/// What remains of a list after `done` bytes: its first sixteen buffers, and how many these are.
fn rest_of(list: impl Iterator<Item = iovec>, mut done: usize) -> ([iovec; 16], usize) {
    let mut rest = [iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; 16];
    let mut n = 0;
    for one in list {
        if done >= one.iov_len {
            done -= one.iov_len;
            continue;
        }
        if n == rest.len() {
            break;
        }
        rest[n].iov_base = one.iov_base.wrapping_byte_add(done);
        rest[n].iov_len = one.iov_len - done;
        done = 0;
        n += 1;
    }
    (rest, n)
}

/// Flags with which the call is left to the kernel: one that never waits, and one that connects
/// first, as `connect` does.
const KERNELS: c_int = libc::MSG_DONTWAIT | libc::MSG_FASTOPEN;

fn send_to(
    gp: &'static G,
    fd: c_int,
    buf: *const c_void,
    n: size_t,
    flags: c_int,
    to: (*const sockaddr, socklen_t),
) -> isize {
    let args = |fd: c_int, done: usize, flags: c_int| {
        let at = buf.wrapping_byte_add(done) as usize;
        [word(fd), at, n - done, flags as usize, to.0 as usize, to.1 as usize]
    };
    if flags & libc::MSG_DONTWAIT != 0 {
        // SAFETY: the user's own call.
        return unsafe { raw(libc::SYS_sendto, args(fd, 0, flags)) };
    }
    let plain = |fd: c_int| held(gp, libc::SYS_sendto, args(fd, 0, flags));
    if flags & KERNELS != 0 {
        return plain(fd);
    }
    let attempt = |waits: &mut Waits, fd: c_int| send_buffer(waits, fd, (buf, n), flags, to);
    let rest = |fd: c_int, done: usize| {
        if done >= n.min(MOST) {
            return done as isize;
        }
        let rest = args(fd, done, flags | libc::MSG_NOSIGNAL);
        in_all(done, held(gp, libc::SYS_sendto, rest))
    };
    with_socket(gp, fd, Direction::Write, Call { attempt, plain, rest })
}

/// What was sent of a message, and how long it is as far as that is known.
fn send_message(gp: &'static G, fd: c_int, message: *const msghdr, flags: c_int) -> (isize, usize) {
    let args = |fd: c_int, flags: c_int| [word(fd), message as usize, flags as usize, 0, 0, 0];
    let plain = |fd: c_int| held(gp, libc::SYS_sendmsg, args(fd, flags));
    // SAFETY: addresses and numbers.
    let list = unsafe { user_memory::read(gp, message) }
        .ok()
        .and_then(|header| Buffers::of(gp, header.msg_iov, header.msg_iovlen));
    let Some(list) = list else { return (plain(fd), 0) };
    let whole = list.bytes();
    if flags & libc::MSG_DONTWAIT != 0 {
        // SAFETY: the user's own call.
        return (unsafe { raw(libc::SYS_sendmsg, args(fd, flags)) }, whole);
    }
    if flags & KERNELS != 0 {
        return (plain(fd), whole);
    }
    let attempt = |waits: &mut Waits, fd: c_int| {
        let first = waits.done(|| {
            // SAFETY: the user's own call.
            unsafe { raw(libc::SYS_sendmsg, args(fd, flags | libc::MSG_DONTWAIT)) }
        })?;
        // Address and ancillary data have gone with the first part.
        send_rest(waits, fd, list.iter(), (first, whole), flags)
    };
    let rest = |fd: c_int, done: usize| {
        let mut done = done;
        while done < whole.min(MOST) {
            let (rest, n) = rest_of(list.iter(), done);
            let header = header(&rest[..n]);
            let flags = (flags | libc::MSG_NOSIGNAL) as usize;
            let args = [word(fd), &raw const header as usize, flags, 0, 0, 0];
            match usize::try_from(held(gp, libc::SYS_sendmsg, args)) {
                Ok(more) if more > 0 => done += more,
                _ => break,
            }
        }
        done as isize
    };
    (with_socket(gp, fd, Direction::Write, Call { attempt, plain, rest }), whole)
}

/// Several messages. Like the kernel, it waits for each in turn, and returns those it has sent when
/// an error comes.
fn send_messages(gp: &'static G, fd: c_int, list: *mut mmsghdr, n: c_uint, flags: c_int) -> isize {
    /// The kernel takes no more at a time (`UIO_MAXIOV`).
    const MOST: usize = 1024;
    if n == 0 || flags & libc::MSG_DONTWAIT != 0 {
        let args = [word(fd), list as usize, n as usize, flags as usize, 0, 0];
        // SAFETY: the user's own call.
        return unsafe { raw(libc::SYS_sendmmsg, args) };
    }
    for done in 0..(n as usize).min(MOST) {
        let at = list.wrapping_add(done);
        let (sent, whole) = send_message(gp, fd, at.cast(), flags);
        let len = at.wrapping_byte_add(std::mem::offset_of!(mmsghdr, msg_len)).cast::<c_uint>();
        let error = match sent {
            ..0 => sent,
            sent => match user_memory::write(gp, len, sent as c_uint) {
                Err(error) => -(error as isize),
                Ok(()) if (sent as usize) < whole => return done as isize + 1,
                Ok(()) => 0,
            },
        };
        if error < 0 {
            return if done == 0 { error } else { done as isize };
        }
    }
    (n as usize).min(MOST) as isize
}

take_over! {
    fn send(fd: c_int, buf: *const c_void, n: size_t, flags: c_int) -> ssize_t =
        |gp, real| result(send_to(gp, fd, buf, n, flags, (std::ptr::null(), 0)));

    fn sendto(
        fd: c_int, buf: *const c_void, n: size_t, flags: c_int, to: *const sockaddr, len: socklen_t,
    ) -> ssize_t = |gp, real| result(send_to(gp, fd, buf, n, flags, (to, len)));

    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t =
        |gp, real| result(send_message(gp, fd, message, flags).0);

    fn sendmmsg(fd: c_int, list: *mut mmsghdr, n: c_uint, flags: c_int) -> c_int =
        |gp, real| result(send_messages(gp, fd, list, n, flags)) as c_int;
}
