//! Reading and writing: `read`, `write`, `readv`, `writev`, on whatever the descriptor stands for.
//!
//! How a call is tried without blocking depends on that ([`Kind`]), which is found out once a number and
//! forgotten with its incarnation. Where it was forgotten too late, the kernel says so (`ENOTSOCK`,
//! `EOPNOTSUPP`), and we look again.

use super::real::{result, take_over};
use super::socket;
use super::wait::{AGAIN, Stopped, Waits, ready_now};
use crate::g::G;
use crate::netpoll::{self, Desc, Direction, Kind};
use crate::sched::syscall::announced;
use goroutines_switch::sys::raw;
use libc::{c_int, c_void, iovec, size_t, ssize_t};

const RWF_NOWAIT: usize = 8;
const NOT_SOCKET: isize = -(libc::ENOTSOCK as isize);
const INVALID: isize = -(libc::EINVAL as isize);
const NOT_SUPPORTED: isize = -(libc::EOPNOTSUPP as isize);
/// Linux writes no more at a time.
const MOST: usize = 0x7fff_f000;

fn word(fd: i32) -> usize {
    fd as isize as usize
}

/// What `fd` stands for, as far as waiting is concerned.
#[inline]
pub(super) fn kind_of(fd: i32, desc: &Desc) -> Kind {
    match desc.kind() {
        Kind::Unknown => find_kind(fd, desc),
        kind => kind,
    }
}

#[cold]
fn find_kind(fd: i32, desc: &Desc) -> Kind {
    // SAFETY: plain old data, written by the call.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: one stat to write.
    if unsafe { raw(libc::SYS_fstat, [word(fd), &raw mut stat as usize, 0, 0, 0, 0]) } < 0 {
        return Kind::File;
    }
    let kind = match stat.st_mode & libc::S_IFMT {
        libc::S_IFSOCK => Kind::Socket,
        libc::S_IFIFO => Kind::Nowait,
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => Kind::File,
        // /dev/null, zero, full.
        libc::S_IFCHR if libc::major(stat.st_rdev) == 1 => match libc::minor(stat.st_rdev) {
            3 | 5 | 7 => Kind::Memory,
            _ => Kind::PollFirst,
        },
        libc::S_IFCHR => Kind::PollFirst,
        // eventfd, timerfd, inotify and the like.
        _ => Kind::Nowait,
    };
    desc.set_kind(kind);
    kind
}

/// A read or a write with a list of buffers, tried without blocking.
fn try_vector(number: libc::c_long, fd: i32, list: &[iovec]) -> isize {
    let args = [word(fd), list.as_ptr() as usize, list.len(), usize::MAX, 0, RWF_NOWAIT];
    // SAFETY: the caller's buffers.
    unsafe { raw(number, args) }
}

/// A call that blocks the thread.
pub(super) fn block(gp: &'static G, number: libc::c_long, args: [usize; 6]) -> isize {
    // SAFETY: the user's own call.
    announced(gp, || unsafe { raw(number, args) })
}

/// Reads into a list of buffers. The word of the kernel.
fn read_list(gp: &'static G, fd: i32, list: &[iovec], plain: impl Fn() -> isize) -> isize {
    let Some(desc) = netpoll::desc(fd) else { return plain() };
    loop {
        let mut waits = Waits::new(gp, fd, desc, Direction::Read);
        let done = match kind_of(fd, desc) {
            Kind::Socket => {
                let word = socket::receive_list(&mut waits, fd, list);
                if word == Ok(NOT_SOCKET) {
                    desc.set_kind(Kind::Unknown);
                    continue;
                }
                word
            }
            Kind::Nowait | Kind::Memory => {
                match waits.done(|| try_vector(libc::SYS_preadv2, fd, list)) {
                    Ok(NOT_SUPPORTED) => {
                        desc.set_kind(Kind::PollFirst);
                        continue;
                    }
                    Ok(INVALID) => Ok(plain()),
                    other => other,
                }
            }
            Kind::PollFirst => match waits.done(|| readable(fd)) {
                Ok(_) => Ok(plain()),
                stopped => stopped,
            },
            Kind::File | Kind::Unknown => Ok(plain()),
        };
        return match done {
            Ok(word) => word,
            Err(Stopped::Error(error)) => -(error as isize),
            Err(Stopped::CantWait) => plain(),
        };
    }
}

fn readable(fd: i32) -> isize {
    if ready_now(fd, libc::POLLIN) == 0 { AGAIN } else { 1 }
}

fn writable(fd: i32) -> isize {
    if ready_now(fd, libc::POLLOUT) == 0 { AGAIN } else { 1 }
}

/// Writes a list of buffers whole, as a blocking call does. The word of the kernel.
fn write_list(gp: &'static G, fd: i32, list: &[iovec], plain: impl Fn() -> isize) -> isize {
    let Some(desc) = netpoll::desc(fd) else { return plain() };
    loop {
        let mut waits = Waits::new(gp, fd, desc, Direction::Write);
        let done = match kind_of(fd, desc) {
            Kind::Socket => {
                let word = super::send::send_list(&mut waits, fd, list);
                if word == Ok(NOT_SOCKET) {
                    desc.set_kind(Kind::Unknown);
                    continue;
                }
                word
            }
            Kind::Nowait | Kind::Memory => {
                let step = |rest: &[iovec]| try_vector(libc::SYS_pwritev2, fd, rest);
                match write_whole(&mut waits, list, step) {
                    // An eventfd's reads know RWF_NOWAIT, its writes don't.
                    Ok(NOT_SUPPORTED) => waits.done(|| writable(fd)).map(|_| plain()),
                    Ok(INVALID) => Ok(plain()),
                    other => other,
                }
            }
            Kind::PollFirst => match waits.done(|| writable(fd)) {
                Ok(_) => Ok(plain()),
                stopped => stopped,
            },
            Kind::File | Kind::Unknown => Ok(plain()),
        };
        return match done {
            Ok(word) => word,
            Err(Stopped::Error(error)) => -(error as isize),
            Err(Stopped::CantWait) => plain(),
        };
    }
}

/// How many bytes a list of buffers holds, as far as one call goes.
pub(super) fn length(list: &[iovec]) -> usize {
    list.iter().fold(0usize, |sum, one| sum.saturating_add(one.iov_len)).min(MOST)
}

/// Writes step by step until all is written or an error comes; what was written before an error counts.
pub(super) fn write_whole(
    waits: &mut Waits,
    list: &[iovec],
    mut step: impl FnMut(&[iovec]) -> isize,
) -> Result<isize, Stopped> {
    let whole = length(list);
    let mut done = 0;
    loop {
        let word = if done == 0 {
            waits.done(|| step(list))
        } else {
            rest_of(list, done, |rest| waits.done(|| step(rest)))
        };
        match word {
            Ok(n) if n > 0 => {
                done += n as usize;
                if done >= whole {
                    return Ok(done as isize);
                }
            }
            _ if done > 0 => return Ok(done as isize),
            other => return other,
        }
    }
}

/// Calls `f` with what remains of a list after `done` bytes: its first sixteen buffers.
fn rest_of<R>(list: &[iovec], mut done: usize, f: impl FnOnce(&[iovec]) -> R) -> R {
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
    f(&rest[..n])
}

/// The caller's list of buffers.
///
/// # Safety
/// * As the call's manual page says.
unsafe fn list_of<'l>(list: *const iovec, n: c_int) -> Option<&'l [iovec]> {
    // The kernel is to say what is wrong with other numbers.
    let n = usize::try_from(n).ok().filter(|n| (1..=1024).contains(n))?;
    // SAFETY: the caller's promise.
    Some(unsafe { std::slice::from_raw_parts(list, n) })
}

fn read_one(gp: &'static G, fd: c_int, buf: *mut c_void, n: size_t) -> isize {
    let plain = || block(gp, libc::SYS_read, [word(fd), buf as usize, n, 0, 0, 0]);
    if n == 0 {
        return plain();
    }
    read_list(gp, fd, &[iovec { iov_base: buf, iov_len: n }], plain)
}

/// Whether calls on it never wait, as those on `/dev/null`.
fn is_memory(fd: c_int) -> bool {
    netpoll::desc(fd).is_some_and(|desc| kind_of(fd, desc) == Kind::Memory)
}

fn write_one(gp: &'static G, fd: c_int, buf: *const c_void, n: size_t) -> isize {
    let plain = || block(gp, libc::SYS_write, [word(fd), buf as usize, n, 0, 0, 0]);
    if n == 0 {
        return plain();
    }
    if is_memory(fd) {
        // SAFETY: the user's own call.
        return unsafe { raw(libc::SYS_write, [word(fd), buf as usize, n, 0, 0, 0]) };
    }
    write_list(gp, fd, &[iovec { iov_base: buf.cast_mut(), iov_len: n }], plain)
}

take_over! {
    fn read(fd: c_int, buf: *mut c_void, n: size_t) -> ssize_t =
        |gp, real| result(read_one(gp, fd, buf, n));

    fn write(fd: c_int, buf: *const c_void, n: size_t) -> ssize_t =
        |gp, real| result(write_one(gp, fd, buf, n));

    fn readv(fd: c_int, list: *const iovec, n: c_int) -> ssize_t = |gp, real| {
        let plain =
            || block(gp, libc::SYS_readv, [word(fd), list as usize, n as usize, 0, 0, 0]);
        // SAFETY: the user's own call.
        match unsafe { list_of(list, n) } {
            Some(list) if length(list) > 0 => result(read_list(gp, fd, list, plain)),
            _ => result(plain()),
        }
    };

    fn writev(fd: c_int, list: *const iovec, n: c_int) -> ssize_t = |gp, real| {
        let plain =
            || block(gp, libc::SYS_writev, [word(fd), list as usize, n as usize, 0, 0, 0]);
        // SAFETY: the user's own call.
        match unsafe { list_of(list, n) } {
            Some(list) if length(list) > 0 => result(write_list(gp, fd, list, plain)),
            _ => result(plain()),
        }
    };

    /// What C compiled with `_FORTIFY_SOURCE` calls.
    fn __read_chk(fd: c_int, buf: *mut c_void, n: size_t, room: size_t) -> ssize_t = |gp, real| {
        if n > room { real() } else { result(read_one(gp, fd, buf, n)) }
    };
}
