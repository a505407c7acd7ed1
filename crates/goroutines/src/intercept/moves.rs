//! Moving data from one descriptor to another: `splice`, `tee`, `vmsplice`, `sendfile`.
//!
//! These calls have no flag that keeps a *socket* from blocking, and the one they have
//! (`SPLICE_F_NONBLOCK`) is the user's. So the goroutine waits for both ends, as `poll` sees them,
//! and then makes the call, announced. It waits only where the call can be right, that is where it
//! moves some bytes, in the right directions, between two kinds of descriptor that are known to
//! allow it. With every other call the kernel says at once what is wrong, or it waits, and that
//! costs a thread.

use super::accept::listens;
use super::kind::{self, Contract, kind_of};
use super::real::{Real, caller, function, real, result, take_over};
use super::user_memory::{self, Buffers};
use super::wait::{Stopped, Waits, ready_now};
use crate::g::G;
use crate::netpoll::{self, Direction, Kind};
use crate::sched::syscall::announced;
use goroutines_switch::sys::raw;
use libc::{c_int, c_uint, iovec, off_t, off64_t, size_t, ssize_t};

/// Flags with which these calls wait.
const WAITING_FLAGS: c_uint = libc::SPLICE_F_MOVE | libc::SPLICE_F_MORE | libc::SPLICE_F_GIFT;

/// How much goes to a socket at a time, as the call itself can't be told not to block: mostly less
/// than a socket that is ready has room for.
const PIECE: size_t = 64 << 10;

/// Linux moves no more at a time.
const MOST: size_t = 0x7fff_f000;

fn word(fd: c_int) -> usize {
    fd as isize as usize
}

/// Waits until `fd` is ready for some bytes that come from `source`, if it is of a kind that can be
/// waited for. False: the call is to be made as it is.
///
/// # Errors
/// An `errno`.
fn until_ready(
    gp: &'static G,
    fd: c_int,
    direction: Direction,
    source: Option<c_int>,
) -> Result<bool, c_int> {
    let Some(desc) = netpoll::desc(fd) else { return Ok(false) };
    let events = if direction == Direction::Read { libc::POLLIN } else { libc::POLLOUT };
    let mut waits = Waits::new(gp, fd, desc, direction);
    let contract = |look| match (kind_of(fd, desc), direction) {
        // A pipe may be one that was opened by name: the trial that tells them apart is a read. So
        // both are taken for FIFOs.
        (Kind::Pipe | Kind::Fifo, Direction::Read) => {
            kind::reading(gp, fd, (desc, Kind::Fifo, look), 1)
        }
        // The kernel refuses it at once.
        (Kind::Socket, _) if listens(fd) => Contract::Make,
        // There is nothing to wait for room with.
        (Kind::Socket, Direction::Write) if source.is_some_and(is_ended) => Contract::Make,
        // Pages are never merged here.
        (Kind::Pipe | Kind::Fifo | Kind::Fed, Direction::Write) => kind::writing(fd, Kind::Fed, 0),
        (kind @ (Kind::Socket | Kind::Fed), Direction::Read) => {
            kind::reading(gp, fd, (desc, kind, look), 1)
        }
        (Kind::Socket, Direction::Write) => Contract::Edges,
        _ => Contract::Make,
    };
    match waits.until_ready(events, contract) {
        Ok(is_ready) => Ok(is_ready),
        // EAGAIN: O_NONBLOCK, or a time-out. The call itself knows what to say.
        Err(Stopped::CantWait | Stopped::Error(libc::EAGAIN)) => Ok(false),
        Err(Stopped::Error(error)) => Err(error),
    }
}

/// Whether a pipe is empty, and has no writers.
fn is_ended(fd: c_int) -> bool {
    ready_now(fd, libc::POLLIN) & (libc::POLLIN | libc::POLLHUP) == libc::POLLHUP
}

/// A call that moves data, as far as it can be judged before it is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Move {
    SendFile,
    Splice,
    Tee,
}

/// What a descriptor stands for, which file that is, and how long.
fn file_of(fd: c_int) -> Option<(Kind, libc::stat)> {
    // SAFETY: plain old data, written by the call.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: one stat to write.
    let done = unsafe { raw(libc::SYS_fstat, [word(fd), &raw mut stat as usize, 0, 0, 0, 0]) };
    (done == 0).then(|| (netpoll::desc(fd).map_or(Kind::File, |desc| kind_of(fd, desc)), stat))
}

fn is_regular(stat: &libc::stat) -> bool {
    stat.st_mode & libc::S_IFMT == libc::S_IFREG
}

/// Whether `fd` is open for what `other` (`O_WRONLY`, `O_RDONLY`) does not allow.
fn is_open_for(fd: c_int, other: c_int) -> bool {
    // SAFETY: no memory is involved.
    let flags = unsafe { raw(libc::SYS_fcntl, [word(fd), libc::F_GETFL as usize, 0, 0, 0, 0]) };
    flags >= 0 && flags as c_int & libc::O_ACCMODE != other
}

/// Whether a call can be right, so that it may wait.
fn can_be_right(what: Move, from: c_int, to: c_int) -> bool {
    let (Some(a), Some(b)) = (file_of(from), file_of(to)) else { return false };
    let is_pipe = |kind: Kind| matches!(kind, Kind::Pipe | Kind::Fifo | Kind::Fed);
    let ends =
        |kind: Kind, stat: &libc::stat| is_pipe(kind) || kind == Kind::Socket || is_regular(stat);
    let kinds = match what {
        Move::SendFile => is_regular(&a.1) && ends(b.0, &b.1),
        Move::Splice => (is_pipe(a.0) || is_pipe(b.0)) && (ends(a.0, &a.1) && ends(b.0, &b.1)),
        Move::Tee => is_pipe(a.0) && is_pipe(b.0),
    };
    kinds
        && (a.1.st_dev, a.1.st_ino) != (b.1.st_dev, b.1.st_ino)
        && is_open_for(from, libc::O_WRONLY)
        && is_open_for(to, libc::O_RDONLY)
}

/// Moves data from one descriptor to another: waits for both first.
fn moved(
    gp: &'static G,
    what: Move,
    (from, to): (c_int, c_int),
    call: impl FnOnce() -> ssize_t,
) -> ssize_t {
    if can_be_right(what, from, to) {
        let ends = [(from, Direction::Read, None), (to, Direction::Write, Some(from))];
        for (fd, direction, source) in ends {
            match until_ready(gp, fd, direction, source) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return result(-(error as isize)),
            }
        }
    }
    announced(gp, call)
}

/// Whether a call that moves data to `fd` waits again and again: to a socket it does. In a pipe it
/// takes what room there is.
fn is_socket(fd: c_int) -> bool {
    netpoll::desc(fd).is_some_and(|desc| kind_of(fd, desc) == Kind::Socket)
}

take_over! {
    fn tee(from: c_int, to: c_int, n: size_t, flags: c_uint) -> ssize_t = |gp, real| {
        if n == 0 || flags & !WAITING_FLAGS != 0 {
            announced(gp, real)
        } else {
            moved(gp, Move::Tee, (from, to), real)
        }
    };

    /// From memory to a pipe, or to memory where the pipe is open for reading only.
    fn vmsplice(fd: c_int, list: *const iovec, n: size_t, flags: c_uint) -> ssize_t = |gp, real| {
        let moves = flags & !WAITING_FLAGS == 0
            && Buffers::of(gp, list, n).is_some_and(|list| list.bytes() > 0)
            && file_of(fd).is_some_and(|(_, stat)| stat.st_mode & libc::S_IFMT == libc::S_IFIFO);
        let direction =
            if is_open_for(fd, libc::O_RDONLY) { Direction::Write } else { Direction::Read };
        match if moves { until_ready(gp, fd, direction, None) } else { Ok(false) } {
            Ok(_) => announced(gp, real),
            Err(error) => result(-(error as isize)),
        }
    };
}

/// Where in a file `sendfile` begins: at `at`, or at the file's own position.
fn position(gp: &'static G, from: c_int, at: *const i64) -> i64 {
    if at.is_null() {
        let args = [word(from), 0, libc::SEEK_CUR as usize, 0, 0, 0];
        // SAFETY: no memory is involved.
        return unsafe { raw(libc::SYS_lseek, args) as i64 };
    }
    // SAFETY: a number.
    unsafe { user_memory::read(gp, at) }.unwrap_or(-1)
}

/// Whether there is something for `sendfile` to move, as far as we see; else the kernel says at
/// once what is wrong.
fn has_more(gp: &'static G, from: c_int, at: *const i64) -> bool {
    let at = position(gp, from, at);
    at >= 0 && file_of(from).is_some_and(|(_, stat)| is_regular(&stat) && at < stat.st_size)
}

/// `sendfile`: to a socket it moves data in pieces that a ready socket has room for, until all is
/// moved, as on a thread.
fn send_file(
    gp: &'static G,
    (from, to): (c_int, c_int),
    at: *const i64,
    n: size_t,
    real: impl Fn(size_t) -> ssize_t,
) -> ssize_t {
    if n == 0 || !has_more(gp, from, at) {
        return announced(gp, || real(n));
    }
    if !is_socket(to) {
        return moved(gp, Move::SendFile, (from, to), || real(n));
    }
    let mut done = 0;
    while done < n.min(MOST) && (done == 0 || has_more(gp, from, at)) {
        let piece = PIECE.min(n - done);
        match usize::try_from(moved(gp, Move::SendFile, (from, to), || real(piece))) {
            Ok(0) => break,
            Ok(more) => done += more,
            Err(_) if done == 0 => return -1,
            Err(_) => break,
        }
    }
    done as ssize_t
}

/// Both names of `sendfile`.
macro_rules! piecewise {
    ($(fn $name:ident($at:ty);)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(to: c_int, from: c_int, at: $at, n: size_t) -> ssize_t {
            static REAL: Real = Real::of(concat!(stringify!($name), "\0"));
            let real = |n: size_t| {
                let f = real!(REAL as fn(c_int, c_int, $at, size_t) -> ssize_t);
                // SAFETY: forwarded.
                unsafe { f(to, from, at, n) }
            };
            match caller() {
                None => real(n),
                Some(gp) => send_file(gp, (from, to), at, n, real),
            }
        }
    )*};
}

piecewise! {
    fn sendfile(*mut off_t);
    fn sendfile64(*mut off64_t);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn splice(
    from: c_int,
    from_at: *mut off64_t,
    to: c_int,
    to_at: *mut off64_t,
    n: size_t,
    flags: c_uint,
) -> ssize_t {
    static REAL: Real = Real::new(c"splice");
    type Splice =
        unsafe extern "C" fn(c_int, *mut off64_t, c_int, *mut off64_t, size_t, c_uint) -> ssize_t;
    let real = |n: size_t| {
        // SAFETY: forwarded.
        unsafe { function::<Splice>(&REAL)(from, from_at, to, to_at, n, flags) }
    };
    let Some(gp) = caller() else { return real(n) };
    let is_wrong = [(from, from_at), (to, to_at)].iter().any(|(fd, at)| {
        // A pipe has no offset, and a bad one is known at once.
        !at.is_null()
            && (!file_of(*fd).is_some_and(|(_, stat)| is_regular(&stat))
                || user_memory::is_readable(gp, at.addr(), size_of::<off64_t>()).is_err())
    });
    // The call itself says that it would block, or what is wrong.
    if flags & !WAITING_FLAGS != 0 || n == 0 || is_wrong {
        return announced(gp, || real(n));
    }
    let n = if is_socket(to) { n.min(PIECE) } else { n };
    moved(gp, Move::Splice, (from, to), || real(n))
}
