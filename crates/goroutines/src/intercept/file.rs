//! Files: calls that may block the thread for as long as a disk, or somebody's lock, takes. The processor runs
//! others meanwhile.
//!
//! (`open` and its kin are in `fd.rs`; `read` and `write` in `io.rs`.)

use super::io::kind_of;
use super::real::take_over;
use super::wait::{AGAIN, Stopped, Waits, ready_now};
use crate::g::G;
use crate::netpoll::{self, Direction, Kind};
use crate::sched::syscall::announced;
use libc::{c_int, c_uint, c_void, iovec, off_t, off64_t, size_t, ssize_t};

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

/// Moves data from one descriptor to another: waits for both first.
fn moved(gp: &'static G, from: c_int, to: c_int, call: impl FnOnce() -> ssize_t) -> ssize_t {
    for (fd, direction) in [(from, Direction::Read), (to, Direction::Write)] {
        let error = until_ready(gp, fd, direction);
        if error != 0 {
            super::real::set_errno(error);
            return -1;
        }
    }
    announced(gp, call)
}

/// How much of `n` to move at a time to `to`.
fn piece(to: c_int, n: size_t) -> size_t {
    let is_file = netpoll::desc(to).is_none_or(|desc| kind_of(to, desc) == Kind::File);
    if is_file { n } else { n.min(PIECE) }
}

fn send_file(
    gp: &'static G,
    to: c_int,
    from: c_int,
    n: size_t,
    call: impl FnOnce(size_t) -> ssize_t,
) -> ssize_t {
    let n = piece(to, n);
    moved(gp, from, to, || call(n))
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
        |gp, real| moved(gp, from, to, real);
    fn vmsplice(to: c_int, list: *const iovec, n: size_t, flags: c_uint) -> ssize_t =
        |gp, real| moved(gp, -1, to, real);
}

/// Both names of `sendfile`, and `splice`: in pieces that a socket or pipe which is ready takes.
macro_rules! piecewise {
    ($(fn $name:ident($($before:ident: $before_ty:ty),*; $n:ident $(; $after:ident: $after_ty:ty)?)
        from $from:ident to $to:ident;)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($before: $before_ty,)* $n: size_t $(, $after: $after_ty)?) -> ssize_t {
            use super::real::{Real, caller, real};
            static REAL: Real = Real::of(concat!(stringify!($name), "\0"));
            let real = |$n: size_t| {
                let f = real!(REAL as fn($($before_ty,)* size_t $(, $after_ty)?) -> ssize_t);
                // SAFETY: forwarded.
                unsafe { f($($before,)* $n $(, $after)?) }
            };
            match caller() {
                None => real($n),
                Some(gp) => send_file(gp, $to, $from, $n, real),
            }
        }
    )*};
}

piecewise! {
    fn sendfile(to: c_int, from: c_int, at: *mut off_t; n) from from to to;
    fn sendfile64(to: c_int, from: c_int, at: *mut off64_t; n) from from to to;
    fn splice(from: c_int, from_at: *mut off64_t, to: c_int, to_at: *mut off64_t; n; flags: c_uint)
        from from to to;
}
