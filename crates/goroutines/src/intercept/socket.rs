//! Sockets: tried with `MSG_DONTWAIT`; `accept` and `connect`, which know no such flag, as they say below.

use super::fd;
use super::io::{block, length, write_whole};
use super::real::{Real, real, result, take_over};
use super::wait::{AGAIN, Stopped, Waits, ready_now, settings_changed, socket_option};
use crate::g::reason::WaitReason;
use crate::g::{G, current};
use crate::netpoll::{self, Accept, Desc, Direction, Kind, is_nonblocking};
use crate::sched::ambient;
use crate::sched::syscall::announced;
use crate::sched::wait::{after, wait, waking};
use goroutines_switch::sys::raw;
use libc::{c_int, c_uint, c_void, iovec, msghdr, size_t, sockaddr, socklen_t, ssize_t};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DONTWAIT: usize = libc::MSG_DONTWAIT as usize;
const IN_PROGRESS: isize = -(libc::EINPROGRESS as isize);
const ALREADY: isize = -(libc::EALREADY as isize);

fn word(fd: i32) -> usize {
    fd as isize as usize
}

fn header(list: &[iovec]) -> msghdr {
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
        return waits.received(one.iov_len, || unsafe { raw(libc::SYS_recvfrom, args) });
    }
    let mut header = header(list);
    let args = [word(fd), &raw mut header as usize, DONTWAIT, 0, 0, 0];
    // SAFETY: the user's buffers.
    waits.done(|| unsafe { raw(libc::SYS_recvmsg, args) })
}

/// `writev` on a socket.
pub(super) fn send_list(waits: &mut Waits, fd: i32, list: &[iovec]) -> Result<isize, Stopped> {
    write_whole(waits, list, |rest| send_some(fd, rest, 0))
}

fn send_some(fd: i32, list: &[iovec], flags: c_int) -> isize {
    let flags = flags as usize | DONTWAIT;
    if let [one] = list {
        let args = [word(fd), one.iov_base as usize, one.iov_len, flags, 0, 0];
        // SAFETY: the user's buffer.
        return unsafe { raw(libc::SYS_sendto, args) };
    }
    let header = header(list);
    // SAFETY: the user's buffers.
    unsafe { raw(libc::SYS_sendmsg, [word(fd), &raw const header as usize, flags, 0, 0, 0]) }
}

/// Makes a call on a socket: `attempt` does not block, `plain` does.
fn with_socket(
    gp: &'static G,
    fd: i32,
    direction: Direction,
    call: impl FnOnce(&mut Waits) -> Result<isize, Stopped>,
    plain: impl FnOnce() -> isize,
) -> isize {
    let Some(desc) = netpoll::desc(fd) else { return plain() };
    if desc.kind() != Kind::Socket {
        super::io::kind_of(fd, desc);
    }
    match call(&mut Waits::new(gp, fd, desc, direction)) {
        Ok(word) => word,
        Err(Stopped::Error(error)) => -(error as isize),
        Err(Stopped::CantWait) => plain(),
    }
}

/// Flags with which a call never blocks, or says so itself.
const AT_ONCE: c_int = libc::MSG_DONTWAIT | libc::MSG_ERRQUEUE | libc::MSG_OOB;

fn receive_from(
    gp: &'static G,
    fd: c_int,
    buf: *mut c_void,
    n: size_t,
    flags: c_int,
    from: (*mut sockaddr, *mut socklen_t),
) -> isize {
    let args = |done: usize, flags: c_int| {
        let at = buf.wrapping_byte_add(done) as usize;
        [word(fd), at, n - done, flags as usize, from.0 as usize, from.1 as usize]
    };
    if flags & AT_ONCE != 0 {
        // SAFETY: the user's own call.
        return unsafe { raw(libc::SYS_recvfrom, args(0, flags)) };
    }
    let plain = || block(gp, libc::SYS_recvfrom, args(0, flags));
    if flags & libc::MSG_WAITALL != 0 && flags & libc::MSG_PEEK != 0 {
        return plain();
    }
    let flags = flags | libc::MSG_DONTWAIT;
    let call = |waits: &mut Waits| {
        if flags == libc::MSG_DONTWAIT && from.0.is_null() {
            // SAFETY: the user's buffer.
            return waits.received(n, || unsafe { raw(libc::SYS_recvfrom, args(0, flags)) });
        }
        // SAFETY: the user's buffers.
        let mut step = |done| waits.done(|| unsafe { raw(libc::SYS_recvfrom, args(done, flags)) });
        let first = step(0)?;
        if flags & libc::MSG_WAITALL == 0 || first <= 0 || !is_stream(fd) {
            return Ok(first);
        }
        let mut done = first as usize;
        while done < n {
            match step(done) {
                Ok(more) if more > 0 => done += more as usize,
                _ => break,
            }
        }
        Ok(done as isize)
    };
    with_socket(gp, fd, Direction::Read, call, plain)
}

fn is_stream(fd: i32) -> bool {
    let mut kind: c_int = 0;
    socket_option(fd, libc::SO_TYPE, &mut kind) == 0 && kind == libc::SOCK_STREAM
}

fn receive_message(gp: &'static G, fd: c_int, message: *mut msghdr, flags: c_int) -> isize {
    let args = |flags: c_int| [word(fd), message as usize, flags as usize, 0, 0, 0];
    if flags & AT_ONCE != 0 {
        // SAFETY: the user's own call.
        return unsafe { raw(libc::SYS_recvmsg, args(flags)) };
    }
    let plain = || block(gp, libc::SYS_recvmsg, args(flags));
    if flags & libc::MSG_WAITALL != 0 {
        // With ancillary data at any place in the middle: the kernel knows best.
        return plain();
    }
    let flags = flags | libc::MSG_DONTWAIT;
    // SAFETY: the user's own call.
    let call = |waits: &mut Waits| waits.done(|| unsafe { raw(libc::SYS_recvmsg, args(flags)) });
    with_socket(gp, fd, Direction::Read, call, plain)
}

fn send_to(
    gp: &'static G,
    fd: c_int,
    buf: *const c_void,
    n: size_t,
    flags: c_int,
    to: (*const sockaddr, socklen_t),
) -> isize {
    let args =
        |flags: c_int| [word(fd), buf as usize, n, flags as usize, to.0 as usize, to.1 as usize];
    if flags & libc::MSG_DONTWAIT != 0 {
        // SAFETY: the user's own call.
        return unsafe { raw(libc::SYS_sendto, args(flags)) };
    }
    let plain = || block(gp, libc::SYS_sendto, args(flags));
    let call = |waits: &mut Waits| {
        if !to.0.is_null() || n == 0 {
            // A datagram goes whole or not at all. (A stream ignores the address, or refuses it.)
            // SAFETY: the user's own call.
            let first = waits
                .done(|| unsafe { raw(libc::SYS_sendto, args(flags | libc::MSG_DONTWAIT)) })?;
            if first <= 0 || first as usize >= n {
                return Ok(first);
            }
            let rest = iovec {
                iov_base: buf.cast_mut().wrapping_byte_add(first as usize),
                iov_len: n - first as usize,
            };
            let more = write_whole(waits, &[rest], |rest| send_some(fd, rest, flags));
            return Ok(first + more.unwrap_or(0).max(0));
        }
        let whole = [iovec { iov_base: buf.cast_mut(), iov_len: n }];
        write_whole(waits, &whole, |rest| send_some(fd, rest, flags))
    };
    with_socket(gp, fd, Direction::Write, call, plain)
}

fn send_message(gp: &'static G, fd: c_int, message: *const msghdr, flags: c_int) -> isize {
    let args = |flags: c_int| [word(fd), message as usize, flags as usize, 0, 0, 0];
    if flags & libc::MSG_DONTWAIT != 0 || message.is_null() {
        // SAFETY: the user's own call.
        return unsafe { raw(libc::SYS_sendmsg, args(flags)) };
    }
    let plain = || block(gp, libc::SYS_sendmsg, args(flags));
    // SAFETY: the user's message.
    let list = unsafe {
        let n = (*message).msg_iovlen;
        if n == 0 { &[] } else { std::slice::from_raw_parts((*message).msg_iov, n) }
    };
    let call = |waits: &mut Waits| {
        let mut is_first = true;
        write_whole(waits, list, |rest| {
            if !is_first {
                // Address and ancillary data have gone with the first part.
                return send_some(fd, rest, flags);
            }
            // SAFETY: the user's own call.
            let n = unsafe { raw(libc::SYS_sendmsg, args(flags | libc::MSG_DONTWAIT)) };
            is_first = n <= 0;
            n
        })
    };
    if length(list) == 0 {
        let one = |waits: &mut Waits| {
            // SAFETY: as above.
            waits.done(|| unsafe { raw(libc::SYS_sendmsg, args(flags | libc::MSG_DONTWAIT)) })
        };
        return with_socket(gp, fd, Direction::Write, one, plain);
    }
    with_socket(gp, fd, Direction::Write, call, plain)
}

/// Time-outs are asked for and remembered (`wait.rs`).
#[unsafe(no_mangle)]
unsafe extern "C" fn setsockopt(
    fd: c_int,
    level: c_int,
    option: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    /// `SO_RCVTIMEO_NEW`, `SO_SNDTIMEO_NEW`: those of programs with times of 64 bits on 32-bit machines.
    const NEW: [c_int; 2] = [66, 67];
    static REAL: Real = Real::new(c"setsockopt");
    let real = real!(REAL as fn(c_int, c_int, c_int, *const c_void, socklen_t) -> c_int);
    // SAFETY: forwarded.
    let result = unsafe { real(fd, level, option, value, len) };
    match (level, option) {
        (libc::SOL_SOCKET, libc::SO_RCVTIMEO | libc::SO_SNDTIMEO) => settings_changed(),
        (libc::SOL_SOCKET, option) if NEW.contains(&option) => settings_changed(),
        // TLS in the kernel: a read is a record.
        (libc::IPPROTO_TCP, libc::TCP_ULP) => {
            if let Some(desc) = netpoll::desc(fd) {
                desc.is_odd();
            }
        }
        _ => {}
    }
    result
}

/// Who is about to take a connection from a listener: one at a time, by whatever number of it, as each number has
/// an event for each connection.
struct Turn(&'static AtomicBool);

impl Turn {
    /// None if somebody else's is.
    fn take(fd: c_int) -> Option<Self> {
        /// By the listener's inode; those of several may be the same.
        static TURNS: [AtomicBool; 64] = [const { AtomicBool::new(false) }; 64];
        // SAFETY: plain old data, which the call fills in; a descriptor that is none leaves it zeroed.
        let inode = unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            raw(libc::SYS_fstat, [word(fd), &raw mut stat as usize, 0, 0, 0, 0]);
            stat.st_ino
        };
        let turn = &TURNS[inode as usize % TURNS.len()];
        // (Not `then_some`: one that is made and dropped would end the other's.)
        (!turn.swap(true, Ordering::Acquire)).then(|| Self(turn))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Until another has taken his connection.
const A_TURN: Duration = Duration::from_micros(50);

/// After so many somebody is stuck, whose connection another process has taken.
const TURNS_AT_MOST: u32 = 200;

/// Lets others go first, for a moment.
fn doze(gp: &'static G, d: Duration) {
    let _section = current::enter();
    let ticket = gp.wait.begin();
    wait(gp, WaitReason::Io, ticket, after(d));
}

/// Accepting knows no flag that says "don't block". So one at a time of those who accept here asks `poll`
/// whether there is a connection, and takes it; the others wait (`netpoll::Desc::begin_accept`). If
/// somebody outside this process was faster, the call blocks its thread, which is announced.
fn accept_one(
    gp: &'static G,
    fd: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
    flags: c_int,
) -> isize {
    let args = [word(fd), address as usize, len as usize, flags as usize, 0, 0];
    let plain = || block(gp, libc::SYS_accept4, args);
    let Some(desc) = netpoll::desc(fd) else { return plain() };
    let mut waits = Waits::new(gp, fd, desc, Direction::Read);
    if super::io::kind_of(fd, desc) != Kind::Socket {
        return plain();
    }
    let mut turns = 0;
    loop {
        let look = desc.look(Direction::Read);
        let stopped = match desc.begin_accept() {
            Accept::Busy => waits.wait_for_accept(),
            Accept::Begun(begun) if ready_now(fd, libc::POLLIN) != 0 => {
                let turn = Turn::take(fd);
                if turn.is_none() || ready_now(fd, libc::POLLIN) == 0 {
                    drop(turn);
                    waking(|list| desc.end_accept(begun, false, list));
                    doze(gp, A_TURN);
                    turns += 1;
                    // A connection that is there is accepted in a context that was cancelled, too.
                    if turns > TURNS_AT_MOST
                        && let Some(error) = ambient::error(gp)
                    {
                        return -(error as isize);
                    }
                    continue;
                }
                let word = plain();
                drop(turn);
                waking(|list| desc.end_accept(begun, true, list));
                waits.forget();
                return word;
            }
            Accept::Begun(begun) => {
                waking(|list| desc.end_accept(begun, false, list));
                if !may_wait(fd, flags) {
                    // The kernel says what is wrong, at once.
                    return plain();
                }
                waits.wait(look)
            }
        };
        match stopped {
            Ok(()) => {}
            Err(Stopped::Error(error)) => return -(error as isize),
            Err(Stopped::CantWait) => return plain(),
        }
    }
}

/// Whether an `accept` that finds nobody is one that waits: on a socket that listens, with flags that there are.
fn may_wait(fd: c_int, flags: c_int) -> bool {
    let mut listens: c_int = 0;
    flags & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) == 0
        && socket_option(fd, libc::SO_ACCEPTCONN, &mut listens) == 0
        && listens != 0
}

/// Connecting knows no such flag either: `O_NONBLOCK` is set for the moment of the call, unless the user has.
fn connect_one(gp: &'static G, fd: c_int, address: *const sockaddr, len: socklen_t) -> isize {
    let args = [word(fd), address as usize, len as usize, 0, 0, 0];
    let plain = || block(gp, libc::SYS_connect, args);
    let Some(desc) = netpoll::desc(fd) else { return plain() };
    if super::io::kind_of(fd, desc) != Kind::Socket || is_nonblocking(fd) {
        // SAFETY: the user's own call.
        return unsafe { raw(libc::SYS_connect, args) };
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
        // A local socket whose listener's queue is full: there is no event for room in it.
        AGAIN => plain(),
        // Under way; the second one: since a call before this.
        word if word == IN_PROGRESS || word == ALREADY => {
            finish_connect(gp, fd, desc, look, args, word).unwrap_or_else(plain)
        }
        other => other,
    }
}

/// Waits for a connection under way. None if that can't be done without blocking. `in_time` is the word for a
/// time-out.
fn finish_connect(
    gp: &'static G,
    fd: c_int,
    desc: &'static Desc,
    mut look: netpoll::Look,
    args: [usize; 6],
    in_time: isize,
) -> Option<isize> {
    let mut waits = Waits::new(gp, fd, desc, Direction::Write);
    loop {
        if ready_now(fd, libc::POLLOUT) != 0 {
            let mut error: c_int = 0;
            let word = socket_option(fd, libc::SO_ERROR, &mut error);
            if word < 0 || error != 0 {
                return Some(if word < 0 { word } else { -(error as isize) });
            }
            // Once more, or the kernel would still take it for under way.
            // SAFETY: the user's own call; it does not wait.
            return Some(match unsafe { raw(libc::SYS_connect, args) } {
                word if word == -(libc::EISCONN as isize) => 0,
                word => word,
            });
        }
        match waits.wait(look) {
            Ok(()) => look = desc.look(Direction::Write),
            // As the kernel says when SO_SNDTIMEO is over.
            Err(Stopped::Error(libc::EAGAIN)) => return Some(in_time),
            Err(Stopped::Error(error)) => return Some(-(error as isize)),
            Err(Stopped::CantWait) => return None,
        }
    }
}

fn without_blocking(fd: c_int, call: impl FnOnce() -> isize) -> isize {
    let control = |command: c_int, value: usize| {
        // SAFETY: no memory is involved.
        unsafe { raw(libc::SYS_fcntl, [word(fd), command as usize, value, 0, 0, 0]) }
    };
    let _section = crate::g::current::enter();
    let flags = control(libc::F_GETFL, 0);
    if flags < 0 {
        return flags;
    }
    control(libc::F_SETFL, flags as usize | libc::O_NONBLOCK as usize);
    let word = call();
    control(libc::F_SETFL, flags as usize);
    word
}

/// Several messages. Like the kernel, it waits for each in turn, and returns those it has when an error
/// comes.
fn several(n: c_uint, only_first_waits: bool, mut one: impl FnMut(usize, bool) -> isize) -> isize {
    let mut done = 0;
    while done < n as usize {
        let word = one(done, done == 0 || !only_first_waits);
        if word < 0 {
            return if done == 0 { word } else { done as isize };
        }
        done += 1;
    }
    done as isize
}

take_over! {
    fn recv(fd: c_int, buf: *mut c_void, n: size_t, flags: c_int) -> ssize_t = |gp, real| {
        let nowhere = (std::ptr::null_mut(), std::ptr::null_mut());
        result(receive_from(gp, fd, buf, n, flags, nowhere))
    };

    fn recvfrom(
        fd: c_int, buf: *mut c_void, n: size_t, flags: c_int, from: *mut sockaddr, len: *mut socklen_t,
    ) -> ssize_t = |gp, real| result(receive_from(gp, fd, buf, n, flags, (from, len)));

    fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t =
        |gp, real| result(receive_message(gp, fd, message, flags));

    fn send(fd: c_int, buf: *const c_void, n: size_t, flags: c_int) -> ssize_t =
        |gp, real| result(send_to(gp, fd, buf, n, flags, (std::ptr::null(), 0)));

    fn sendto(
        fd: c_int, buf: *const c_void, n: size_t, flags: c_int, to: *const sockaddr, len: socklen_t,
    ) -> ssize_t = |gp, real| result(send_to(gp, fd, buf, n, flags, (to, len)));

    fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t =
        |gp, real| result(send_message(gp, fd, message, flags));

    fn recvmmsg(
        fd: c_int, list: *mut libc::mmsghdr, n: c_uint, flags: c_int, timeout: *mut libc::timespec,
    ) -> c_int = |gp, real| {
        if !timeout.is_null() || flags & AT_ONCE != 0 {
            return announced(gp, real);
        }
        let first_only = flags & libc::MSG_WAITFORONE != 0;
        let flags = flags & !libc::MSG_WAITFORONE;
        let word = several(n, first_only, |i, waits| {
            let flags = if waits { flags } else { flags | libc::MSG_DONTWAIT };
            // SAFETY: one of the user's `n` messages.
            unsafe {
                let at = list.add(i);
                let word = receive_message(gp, fd, &raw mut (*at).msg_hdr, flags);
                (*at).msg_len = word.max(0) as c_uint;
                word
            }
        });
        result(word) as c_int
    };

    fn sendmmsg(fd: c_int, list: *mut libc::mmsghdr, n: c_uint, flags: c_int) -> c_int =
        |gp, real| {
            let word = several(n, false, |i, _| {
                // SAFETY: one of the user's `n` messages.
                unsafe {
                    let at = list.add(i);
                    let word = send_message(gp, fd, &raw const (*at).msg_hdr, flags);
                    (*at).msg_len = word.max(0) as c_uint;
                    word
                }
            });
            result(word) as c_int
        };

    fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int =
        |gp, real| result(connect_one(gp, fd, address, len)) as c_int;

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
    fn accept(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int =
        |gp, real| result(accept_one(gp, fd, address, len, 0)) as c_int;

    fn accept4(fd: c_int, address: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int =
        |gp, real| result(accept_one(gp, fd, address, len, flags)) as c_int;

    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int = |_gp, real| real();
}
