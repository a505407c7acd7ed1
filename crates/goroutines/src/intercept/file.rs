//! Files: calls that may block the thread for as long as a disk, or somebody's lock, takes. The processor runs
//! others meanwhile.
//!
//! (`open` and its kin are in `fd.rs`; `read` and `write` in `io.rs`.)

use super::io::kind_of;
use super::real::{Real, caller, function, real, take_over};
use super::wait::{AGAIN, Stopped, Waits, ready_now};
use crate::g::G;
use crate::netpoll::{self, Direction, Kind};
use crate::sched::syscall::announced;
use goroutines_switch::sys::raw;
use libc::{c_int, c_uint, c_void, iovec, off_t, off64_t, size_t, ssize_t};

/// Flags of `splice` with which it waits.
const WAITING_FLAGS: c_uint = libc::SPLICE_F_MOVE | libc::SPLICE_F_MORE | libc::SPLICE_F_GIFT;

/// What goes to a socket at a time, where the call itself can't be told not to block: less than what a
/// socket that is ready has room for, mostly.
const PIECE: size_t = 64 << 10;

/// Waits until `fd` is ready, if it is of a kind that can be waited for. An error number, or 0.
fn until_ready(gp: &'static G, fd: c_int, direction: Direction) -> c_int {
    let Some(desc) = netpoll::desc(fd) else { return 0 };
    if matches!(kind_of(fd, desc), Kind::File | Kind::Unknown) {
        return 0;
    }
    let events = if direction == Direction::Read { libc::POLLIN } else { libc::POLLOUT };
    let attempt = || if ready_now(fd, events) == 0 { AGAIN } else { 1 };
    match Waits::new(gp, fd, desc, direction).done(attempt) {
        Ok(_) | Err(Stopped::CantWait) => 0,
        // O_NONBLOCK: the call itself knows what to say.
        Err(Stopped::Error(libc::EAGAIN)) => 0,
        Err(Stopped::Error(error)) => error,
    }
}

/// A call that moves data, as far as it can be judged before it is made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Move {
    SendFile,
    Splice,
    Tee,
}

/// What a descriptor stands for: is it a pipe, and which file.
fn file_of(fd: c_int) -> Option<(bool, u64, u64)> {
    // SAFETY: plain old data, written by the call.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: one stat to write.
    let word =
        unsafe { raw(libc::SYS_fstat, [fd as isize as usize, &raw mut stat as usize, 0, 0, 0, 0]) };
    (word == 0).then_some((stat.st_mode & libc::S_IFMT == libc::S_IFIFO, stat.st_dev, stat.st_ino))
}

/// Whether `fd` is open for what `other` (`O_WRONLY`, `O_RDONLY`) does not allow.
fn is_open_for(fd: c_int, other: c_int) -> bool {
    let args = [fd as isize as usize, libc::F_GETFL as usize, 0, 0, 0, 0];
    // SAFETY: no memory is involved.
    let flags = unsafe { raw(libc::SYS_fcntl, args) };
    flags >= 0 && flags as c_int & libc::O_ACCMODE != other
}

/// Whether a call can be right. One that can't does not wait: the kernel says at once what is wrong.
fn can_be_right(what: Move, from: c_int, to: c_int) -> bool {
    let (Some(a), Some(b)) = (file_of(from), file_of(to)) else { return false };
    let kinds = match what {
        Move::SendFile => netpoll::desc(from).is_none_or(|desc| kind_of(from, desc) == Kind::File),
        Move::Splice => a.0 || b.0,
        Move::Tee => a.0 && b.0,
    };
    kinds
        && (a.1, a.2) != (b.1, b.2)
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
        for (fd, direction) in [(from, Direction::Read), (to, Direction::Write)] {
            let error = until_ready(gp, fd, direction);
            if error != 0 {
                super::real::set_errno(error);
                return -1;
            }
        }
    }
    announced(gp, call)
}

/// How much of `n` to move at a time to `to`.
fn piece(to: c_int, n: size_t) -> size_t {
    let is_file = netpoll::desc(to).is_none_or(|desc| kind_of(to, desc) == Kind::File);
    if is_file { n } else { n.min(PIECE) }
}

take_over! {
    fn pread(fd: c_int, buf: *mut c_void, n: size_t, at: off_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn pread64(fd: c_int, buf: *mut c_void, n: size_t, at: off64_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn pwrite(fd: c_int, buf: *const c_void, n: size_t, at: off_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn pwrite64(fd: c_int, buf: *const c_void, n: size_t, at: off64_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn preadv(fd: c_int, list: *const iovec, n: c_int, at: off_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn preadv64(fd: c_int, list: *const iovec, n: c_int, at: off64_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn pwritev(fd: c_int, list: *const iovec, n: c_int, at: off_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn pwritev64(fd: c_int, list: *const iovec, n: c_int, at: off64_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn fsync(fd: c_int) -> c_int = |gp, real| announced(gp, real);
    fn fdatasync(fd: c_int) -> c_int = |gp, real| announced(gp, real);
    fn sync_file_range(fd: c_int, at: off64_t, n: off64_t, flags: c_uint) -> c_int =
        |gp, real| announced(gp, real);
    fn msync(at: *mut c_void, n: size_t, flags: c_int) -> c_int = |gp, real| announced(gp, real);
    fn ftruncate(fd: c_int, len: off_t) -> c_int = |gp, real| announced(gp, real);
    fn ftruncate64(fd: c_int, len: off64_t) -> c_int = |gp, real| announced(gp, real);
    fn fallocate(fd: c_int, mode: c_int, at: off_t, len: off_t) -> c_int =
        |gp, real| announced(gp, real);
    fn fallocate64(fd: c_int, mode: c_int, at: off64_t, len: off64_t) -> c_int =
        |gp, real| announced(gp, real);
    fn posix_fallocate(fd: c_int, at: off_t, len: off_t) -> c_int = |gp, real| announced(gp, real);
    fn posix_fallocate64(fd: c_int, at: off64_t, len: off64_t) -> c_int =
        |gp, real| announced(gp, real);
    fn copy_file_range(
        from: c_int, from_at: *mut off64_t, to: c_int, to_at: *mut off64_t, n: size_t, flags: c_uint,
    ) -> ssize_t = |gp, real| announced(gp, real);

    fn tee(from: c_int, to: c_int, n: size_t, flags: c_uint) -> ssize_t =
        |gp, real| moved(gp, Move::Tee, (from, to), real);
    fn vmsplice(to: c_int, list: *const iovec, n: size_t, flags: c_uint) -> ssize_t = |gp, real| {
        until_ready(gp, to, Direction::Write);
        announced(gp, real)
    };
}

/// Both names of `sendfile`: in pieces that a socket or pipe which is ready takes.
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
                Some(gp) => {
                    let n = piece(to, n);
                    moved(gp, Move::SendFile, (from, to), || real(n))
                }
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
    match caller() {
        None => real(n),
        // It says itself that it would block, or what is wrong.
        Some(gp) if flags & !WAITING_FLAGS != 0 => announced(gp, || real(n)),
        Some(gp) => {
            let n = piece(to, n);
            moved(gp, Move::Splice, (from, to), || real(n))
        }
    }
}
