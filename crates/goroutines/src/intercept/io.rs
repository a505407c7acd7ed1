//! Reading and writing: `read`, `write`, `readv`, `writev`, on whatever the descriptor stands for.
//!
//! What that is, how a call on it is tried, and when a goroutine may park for it, is said in
//! `kind.rs`. The kind is found out once for each descriptor number, and forgotten with its
//! incarnation. Where it was forgotten too late, the kernel says so (`ENOTSOCK`, `EOPNOTSUPP`), and
//! we look again.

use super::kind::{self, kind_of};
use super::real::{result, take_over};
use super::socket;
use super::unwraps;
use super::user_memory::Buffers;
use super::wait::{Moved, Stopped, Waits};
use crate::base::optional::Optional;
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

/// `preadv2` and `pwritev2`, with `RWF_NOWAIT`.
static NOWAIT: [Optional; 2] = [const { Optional::new() }; 2];

/// Whether pipes can be tried without blocking.
fn has_nowait(direction: Direction) -> bool {
    let number = [libc::SYS_preadv2, libc::SYS_pwritev2][direction as usize];
    NOWAIT[direction as usize].is_here(|| try_vector(number, -1, &[]))
}

/// A trial has failed with `error`, with which a sandbox may refuse every trial. True: it does
/// refuse them.
#[cold]
fn is_refused(direction: Direction, error: isize) -> bool {
    let number = [libc::SYS_preadv2, libc::SYS_pwritev2][direction as usize];
    NOWAIT[direction as usize].refuses(error, || try_vector(number, -1, &[]))
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

/// What became of a call on a descriptor of some kind.
enum Came {
    /// The call has ended with this result.
    To(Result<isize, Stopped>),
    /// The descriptor was of another kind: look again.
    Again,
}

/// The kind of `fd`; a pipe that can't be tried counts as a FIFO.
fn kind_to_try(fd: i32, desc: &Desc, direction: Direction) -> Kind {
    match kind_of(fd, desc) {
        Kind::Pipe if !has_nowait(direction) => Kind::Fifo,
        kind => kind,
    }
}

/// Reads into a list of buffers. The word of the kernel.
fn read_list(gp: &'static G, fd: i32, list: &[iovec], plain: impl Fn(i32) -> isize) -> isize {
    let mut fd = fd;
    // The file's new number, once another file was put under the number that the call was made
    // with.
    let mut _held: Option<Moved> = None;
    loop {
        let Some(desc) = netpoll::desc(fd) else { return plain(fd) };
        let mut waits = Waits::movable(gp, fd, desc, Direction::Read);
        let came = read_kind(gp, &mut waits, (fd, desc), list, || plain(fd));
        if let Some(moved) = waits.take_moved()
            && matches!(came, Came::To(Err(Stopped::CantWait)))
        {
            drop(waits);
            fd = moved.number();
            _held = Some(moved);
            continue;
        }
        return match came {
            Came::Again => continue,
            Came::To(Ok(word)) => word,
            Came::To(Err(Stopped::Error(error))) => -(error as isize),
            Came::To(Err(Stopped::CantWait)) => plain(fd),
        };
    }
}

fn read_kind(
    gp: &'static G,
    waits: &mut Waits,
    (fd, desc): (i32, &'static Desc),
    list: &[iovec],
    plain: impl Fn() -> isize,
) -> Came {
    let look = desc.look(Direction::Read);
    let kind = kind_to_try(fd, desc, Direction::Read);
    match kind {
        Kind::Socket => {
            let word = socket::receive_list(waits, fd, list);
            if word == Ok(NOT_SOCKET) {
                desc.set_kind(Kind::Unknown, look);
                return Came::Again;
            }
            return Came::To(word);
        }
        Kind::Pipe | Kind::Event if has_nowait(Direction::Read) => {
            match waits.done(|| try_vector(libc::SYS_preadv2, fd, list)) {
                Ok(NOT_SUPPORTED) if kind == Kind::Pipe => {
                    desc.set_kind(Kind::Fifo, look);
                    return Came::Again;
                }
                Ok(NOT_SUPPORTED) => {}
                Ok(word) if word < 0 && is_refused(Direction::Read, word) => return Came::Again,
                Ok(INVALID) => return Came::To(Ok(plain())),
                other => return Came::To(other),
            }
        }
        Kind::File | Kind::Memory | Kind::Unknown => return Came::To(Ok(plain())),
        _ => {}
    }
    let bytes = length(list);
    let ready =
        waits.until_ready(libc::POLLIN, |look| kind::reading(gp, fd, (desc, kind, look), bytes));
    Came::To(ready.map(|_| plain()))
}

/// Writes a list of buffers whole, as a blocking call does. The word of the kernel.
fn write_list(gp: &'static G, fd: i32, list: &[iovec], plain: impl Fn(i32) -> isize) -> isize {
    let mut fd = fd;
    let mut _held: Option<Moved> = None;
    loop {
        let Some(desc) = netpoll::desc(fd) else { return plain(fd) };
        let mut waits = Waits::movable(gp, fd, desc, Direction::Write);
        let came = write_kind(gp, &mut waits, (fd, desc), list, || plain(fd));
        if let Some(moved) = waits.take_moved() {
            match came {
                Came::To(Err(Stopped::CantWait)) => {
                    drop(waits);
                    fd = moved.number();
                    _held = Some(moved);
                    continue;
                }
                Came::To(Ok(done)) if done > 0 => {
                    return write_rest(gp, moved.number(), list, done as usize);
                }
                _ => {}
            }
        }
        return match came {
            Came::Again => continue,
            Came::To(Ok(word)) => word,
            Came::To(Err(Stopped::Error(error))) => -(error as isize),
            Came::To(Err(Stopped::CantWait)) => plain(fd),
        };
    }
}

fn write_kind(
    gp: &'static G,
    waits: &mut Waits,
    (fd, desc): (i32, &'static Desc),
    list: &[iovec],
    plain: impl Fn() -> isize,
) -> Came {
    let look = desc.look(Direction::Write);
    let kind = kind_to_try(fd, desc, Direction::Write);
    match kind {
        Kind::Socket => {
            let word = super::send::send_list(waits, fd, list);
            if word == Ok(NOT_SOCKET) {
                desc.set_kind(Kind::Unknown, look);
                return Came::Again;
            }
            Came::To(word)
        }
        Kind::Pipe => {
            let step = |rest: &[iovec]| try_vector(libc::SYS_pwritev2, fd, rest);
            match write_whole(waits, list, step) {
                Ok(NOT_SUPPORTED) => {
                    desc.set_kind(Kind::Fifo, look);
                    Came::Again
                }
                Ok(word) if word < 0 && is_refused(Direction::Write, word) => Came::Again,
                Ok(INVALID) => Came::To(Ok(plain())),
                other => Came::To(other),
            }
        }
        Kind::Fifo | Kind::Fed | Kind::Pty | Kind::Master => {
            let bytes = length(list);
            let ready = waits.until_ready(libc::POLLOUT, |_| kind::writing(fd, kind, bytes));
            Came::To(ready.map(|_| plain()))
        }
        Kind::Event => {
            let ready = waits.until_ready(libc::POLLOUT, |_| kind::adding(gp, fd, list));
            Came::To(ready.map(|_| plain()))
        }
        _ => Came::To(Ok(plain())),
    }
}

/// Writes what is left of a list after `done` bytes, to the file's own number; blocks the thread.
/// Returns how much of the list was written in all.
fn write_rest(gp: &'static G, fd: i32, list: &[iovec], mut done: usize) -> isize {
    while done < length(list) {
        let more = rest_of(list, done, |rest| {
            let args = [word(fd), rest.as_ptr() as usize, rest.len(), 0, 0, 0];
            block(gp, libc::SYS_writev, args)
        });
        match usize::try_from(more) {
            Ok(more) if more > 0 => done += more,
            _ => break,
        }
    }
    done as isize
}

/// How many bytes a list of buffers holds, as far as one call goes.
pub(super) fn length(list: &[iovec]) -> usize {
    list.iter().fold(0usize, |sum, one| sum.saturating_add(one.iov_len)).min(MOST)
}

/// Writes step by step until all is written or an error comes; what was written before an error
/// counts.
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
        } else if !waits.goes_on() {
            return Ok(done as isize);
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

fn read_one(gp: &'static G, fd: c_int, buf: *mut c_void, n: size_t) -> isize {
    let plain = |fd| block(gp, libc::SYS_read, [word(fd), buf as usize, n, 0, 0, 0]);
    if n == 0 {
        return plain(fd);
    }
    read_list(gp, fd, &[iovec { iov_base: buf, iov_len: n }], plain)
}

/// Whether calls on it never wait, as those on `/dev/null`.
fn is_memory(fd: c_int) -> bool {
    netpoll::desc(fd).is_some_and(|desc| kind_of(fd, desc) == Kind::Memory)
}

fn write_one(gp: &'static G, fd: c_int, buf: *const c_void, n: size_t) -> isize {
    let plain = |fd| block(gp, libc::SYS_write, [word(fd), buf as usize, n, 0, 0, 0]);
    if n == 0 {
        return plain(fd);
    }
    if is_memory(fd) {
        // SAFETY: the user's own call.
        return unsafe { raw(libc::SYS_write, [word(fd), buf as usize, n, 0, 0, 0]) };
    }
    write_list(gp, fd, &[iovec { iov_base: buf.cast_mut(), iov_len: n }], plain)
}

/// What to do with a caller's list.
type OnList = fn(&'static G, i32, &[iovec], &dyn Fn(i32) -> isize) -> isize;

/// `readv`, `writev`: as `on_list` does it, where the kernel has nothing to refuse in the list.
fn with_list(
    gp: &'static G,
    number: libc::c_long,
    fd: c_int,
    (list, n): (*const iovec, c_int),
    on_list: OnList,
) -> isize {
    let plain = |fd| block(gp, number, [word(fd), list as usize, n as isize as usize, 0, 0, 0]);
    let buffers = usize::try_from(n).ok().and_then(|n| Buffers::of(gp, list, n));
    match buffers.as_ref().and_then(Buffers::as_slice) {
        Some(list) if length(list) > 0 => on_list(gp, fd, list, &plain),
        _ => plain(fd),
    }
}

take_over! {
    fn read(fd: c_int, buf: *mut c_void, n: size_t) -> ssize_t =
        |gp, real| result(unwraps::of_read(gp, fd, (buf, n), read_one(gp, fd, buf, n)));

    fn write(fd: c_int, buf: *const c_void, n: size_t) -> ssize_t =
        |gp, real| result(write_one(gp, fd, buf, n));

    fn readv(fd: c_int, list: *const iovec, n: c_int) -> ssize_t = |gp, real| {
        let on_list: OnList = |gp, fd, list, plain| read_list(gp, fd, list, plain);
        result(with_list(gp, libc::SYS_readv, fd, (list, n), on_list))
    };

    fn writev(fd: c_int, list: *const iovec, n: c_int) -> ssize_t = |gp, real| {
        let on_list: OnList = |gp, fd, list, plain| write_list(gp, fd, list, plain);
        result(with_list(gp, libc::SYS_writev, fd, (list, n), on_list))
    };

    /// What C compiled with `_FORTIFY_SOURCE` calls.
    fn __read_chk(fd: c_int, buf: *mut c_void, n: size_t, room: size_t) -> ssize_t = |gp, real| {
        if n > room { real() } else { result(read_one(gp, fd, buf, n)) }
    };
}
