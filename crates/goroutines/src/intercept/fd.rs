//! Descriptor numbers: given out, and taken back.
//!
//! Whatever we know of a number ends with its `close`, and begins anew with the call that gives it
//! out again (`netpoll/desc.rs`, "Incarnations"). Both are watched on all threads; a number that
//! was never waited for costs a load.

use super::real::{Real, caller, errno, real, result, set_errno, take_over};
use super::wait::settings_changed;
use crate::netpoll::{self, moment};
use crate::sched::SCHED;
use crate::sched::syscall::announced;
use crate::sched::wait::waking;
use goroutines_switch::sys::raw;
use libc::{c_char, c_int, c_uint, c_ulong, mode_t};

/// `fd`, if it is one, was just given out.
#[inline]
pub(super) fn given_out(fd: c_int) -> c_int {
    if fd >= 0 && netpoll::is_touched(fd) && may_renew() {
        waking(|list| netpoll::opened(fd, list));
    }
    fd
}

/// `fd` is about to be closed.
#[inline]
pub(super) fn taken_back(fd: c_int) {
    if netpoll::is_touched(fd) && may_renew() {
        waking(|list| netpoll::closing(fd, list));
    }
}

/// False in a signal handler, which may have interrupted the code that holds the descriptor's lock
/// (the monitor finds out, as with a raw system call), and in a forked child.
pub(super) fn may_renew() -> bool {
    !is_forked() && !super::signal::in_handler()
}

/// A forked child shares the poller with its parent, and must not touch what is registered there.
fn is_forked() -> bool {
    SCHED.is_forked()
}

/// The poller's own descriptors are nobody's to close, while it lives.
fn is_ours(fd: c_int) -> bool {
    netpoll::owns(fd) && !is_forked()
}

/// As `take_over!`, for functions that return a new descriptor.
macro_rules! gives_out {
    ($($(#[$meta:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $ret:ty
        = |$gp:pat_param, $real:ident| $body:expr;)*) => {$(
        $(#[$meta])*
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $ty),*) -> $ret {
            static REAL: $crate::intercept::real::Real =
                $crate::intercept::real::Real::of(concat!(stringify!($name), "\0"));
            let $real = || {
                let real = $crate::intercept::real::real!(REAL as fn($($ty),*) -> $ret);
                // SAFETY: the arguments are forwarded.
                unsafe { real($($arg),*) }
            };
            $crate::intercept::fd::given_out(match $crate::intercept::real::caller() {
                None => $real(),
                Some($gp) => $body,
            })
        }
    )*};
}
pub(super) use gives_out;

gives_out! {
    // The mode is a variable argument, which is passed as any other here.
    fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int = |gp, real| announced(gp, real);
    fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int = |gp, real| announced(gp, real);
    fn openat(at: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int =
        |gp, real| announced(gp, real);
    fn openat64(at: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int =
        |gp, real| announced(gp, real);
    fn creat(path: *const c_char, mode: mode_t) -> c_int = |gp, real| announced(gp, real);
    fn creat64(path: *const c_char, mode: mode_t) -> c_int = |gp, real| announced(gp, real);
    fn dup(fd: c_int) -> c_int = |_gp, real| real();
    fn eventfd(value: c_uint, flags: c_int) -> c_int = |_gp, real| real();
    fn epoll_create(size: c_int) -> c_int = |_gp, real| real();
    fn epoll_create1(flags: c_int) -> c_int = |_gp, real| real();
    fn timerfd_create(clock: c_int, flags: c_int) -> c_int = |_gp, real| real();
    fn inotify_init() -> c_int = |_gp, real| real();
    fn inotify_init1(flags: c_int) -> c_int = |_gp, real| real();
    fn memfd_create(name: *const c_char, flags: c_uint) -> c_int = |_gp, real| real();
    fn signalfd(fd: c_int, mask: *const libc::sigset_t, flags: c_int) -> c_int = |_gp, real| real();
}

/// Both of a pair were just given out.
unsafe fn given_out_pair(result: c_int, pair: *const c_int) -> c_int {
    if result == 0 {
        // SAFETY: the call has filled them in.
        unsafe {
            given_out(*pair);
            given_out(*pair.add(1));
        }
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pipe(pair: *mut c_int) -> c_int {
    static REAL: Real = Real::new(c"pipe");
    // SAFETY: forwarded.
    unsafe { given_out_pair(real!(REAL as fn(*mut c_int) -> c_int)(pair), pair) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pipe2(pair: *mut c_int, flags: c_int) -> c_int {
    static REAL: Real = Real::new(c"pipe2");
    // SAFETY: forwarded.
    unsafe { given_out_pair(real!(REAL as fn(*mut c_int, c_int) -> c_int)(pair, flags), pair) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn socketpair(a: c_int, b: c_int, c: c_int, pair: *mut c_int) -> c_int {
    static REAL: Real = Real::new(c"socketpair");
    let real = real!(REAL as fn(c_int, c_int, c_int, *mut c_int) -> c_int);
    // SAFETY: forwarded.
    unsafe { given_out_pair(real(a, b, c, pair), pair) }
}

/// Closes `fd`, by `real`.
pub(super) fn close_by_number<R: From<i32>>(fd: c_int, real: impl FnOnce() -> R) -> R {
    if is_ours(fd) {
        set_errno(libc::EBADF);
        return R::from(-1);
    }
    taken_back(fd);
    let result = match caller() {
        // SO_LINGER, a file on a network: it may block.
        Some(gp) => announced(gp, real),
        None => real(),
    };
    now_closed(fd);
    result
}

/// `fd` has been closed: a goroutine that has begun to wait since it was taken back would wait for
/// ever. (One that polls does begin to: it was told to look again, and found `fd` open.)
fn now_closed(fd: c_int) {
    if netpoll::is_touched(fd) && may_renew() {
        let before = errno();
        waking(|list| netpoll::closed(fd, list));
        set_errno(before);
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn close(fd: c_int) -> c_int {
    static REAL: Real = Real::new(c"close");
    close_by_number(fd, || {
        // SAFETY: forwarded.
        unsafe { real!(REAL as fn(c_int) -> c_int)(fd) }
    })
}

fn is_open(fd: c_int) -> bool {
    // SAFETY: no memory is involved.
    unsafe { raw(libc::SYS_fcntl, [fd as isize as usize, libc::F_GETFD as usize, 0, 0, 0, 0]) >= 0 }
}

/// `real` puts another file under the number `to`. A read or a write that waits there goes on with
/// the file that was there before.
pub(super) fn duplicated<R: From<i32>>(from: c_int, to: c_int, real: impl FnOnce() -> R) -> R {
    if from == to {
        return real();
    }
    if is_ours(to) && is_open(from) && !waking(|_| netpoll::make_way(to)) {
        set_errno(libc::EMFILE);
        return R::from(-1);
    }
    let is_touched = netpoll::is_touched(to) && may_renew();
    if is_touched {
        waking(|list| netpoll::replacing(to, list));
    }
    let result = real();
    if is_touched || netpoll::is_touched(to) && may_renew() {
        let before = errno();
        waking(|list| netpoll::replaced(to, list));
        set_errno(before);
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup2(from: c_int, to: c_int) -> c_int {
    static REAL: Real = Real::new(c"dup2");
    // SAFETY: forwarded.
    duplicated(from, to, || unsafe { real!(REAL as fn(c_int, c_int) -> c_int)(from, to) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn dup3(from: c_int, to: c_int, flags: c_int) -> c_int {
    static REAL: Real = Real::new(c"dup3");
    // SAFETY: forwarded.
    let real = || unsafe { real!(REAL as fn(c_int, c_int, c_int) -> c_int)(from, to, flags) };
    duplicated(from, to, real)
}

/// Closes descriptor numbers, by `real`, all but the poller's own.
pub(super) fn close_range_by<R: From<i32> + PartialOrd>(
    (first, last): (c_uint, c_uint),
    flags: c_int,
    real: impl Fn(c_uint, c_uint) -> R,
) -> R {
    if flags & libc::CLOSE_RANGE_CLOEXEC as c_int != 0 || first > last || is_forked() {
        return real(first, last);
    }
    netpoll::numbers_used(first, last).for_each(taken_back);
    // In pieces, around the poller's own.
    let mut from = first;
    for ours in netpoll::own() {
        if (from..=last).contains(&ours) {
            if ours > from && real(from, ours - 1) < R::from(0) {
                return R::from(-1);
            }
            from = ours + 1;
        }
    }
    let result = if from > last { R::from(0) } else { real(from, last) };
    netpoll::numbers_used(first, last).for_each(now_closed);
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    static REAL: Real = Real::new(c"close_range");
    close_range_by((first, last), flags, |first, last| {
        // SAFETY: forwarded.
        unsafe { real!(REAL as fn(c_uint, c_uint, c_int) -> c_int)(first, last, flags) }
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn closefrom(first: c_int) {
    let first = first.max(0) as c_uint;
    // SAFETY: as libc's own does it.
    if unsafe { close_range(first, c_uint::MAX, 0) } < 0 {
        close_each_from(first);
    }
}

/// For systems where `close_range` does not exist, or is not allowed: closes the numbers one by
/// one, up to the limit.
#[cold]
fn close_each_from(first: c_uint) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a limit to write.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let end = limit.rlim_cur.max(u64::from(NUMBERS)).min(u64::from(i32::MAX.cast_unsigned()));
    for fd in u64::from(first)..end {
        if is_open(fd as c_int) && !is_ours(fd as c_int) {
            // SAFETY: what the caller wants.
            unsafe { close(fd as c_int) };
        }
    }
}

/// At least this many numbers are looked at, whatever the limit is by now.
const NUMBERS: u32 = 4_096;

/// `fcntl`, either name of it: a new number is watched, a lock that is waited for is announced, and
/// flags are the user's.
fn control(fd: c_int, command: c_int, argument: usize, real: impl FnOnce() -> c_int) -> c_int {
    match (command, caller()) {
        (libc::F_DUPFD | libc::F_DUPFD_CLOEXEC, _) => given_out(real()),
        (libc::F_SETLKW | libc::F_OFD_SETLKW, Some(gp)) => announced(gp, real),
        (libc::F_GETFL, Some(_)) => result(moment::flags(fd)) as c_int,
        (libc::F_SETFL, caller) => {
            let word = match caller {
                Some(_) => result(moment::set_flags(fd, argument)) as c_int,
                None => real(),
            };
            settings_changed();
            word
        }
        _ => real(),
    }
}

/// For the sake of `FIONBIO`, which sets `O_NONBLOCK`.
#[unsafe(no_mangle)]
unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: usize) -> c_int {
    static REAL: Real = Real::new(c"ioctl");
    // SAFETY: forwarded; the argument is a variable one, passed as any other here.
    let real =
        || unsafe { real!(REAL as fn(c_int, c_ulong, usize) -> c_int)(fd, request, argument) };
    if request != libc::FIONBIO {
        return real();
    }
    let word = match caller() {
        Some(_) => result(moment::set_by_ioctl(fd, argument)) as c_int,
        None => real(),
    };
    settings_changed();
    word
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: usize) -> c_int {
    static REAL: Real = Real::new(c"fcntl");
    // SAFETY: forwarded; the argument is a variable one, passed as any other here.
    control(fd, command, argument, || unsafe {
        real!(REAL as fn(c_int, c_int, usize) -> c_int)(fd, command, argument)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: usize) -> c_int {
    static REAL: Real = Real::new(c"fcntl64");
    // SAFETY: as above.
    control(fd, command, argument, || unsafe {
        real!(REAL as fn(c_int, c_int, usize) -> c_int)(fd, command, argument)
    })
}

take_over! {
    fn flock(fd: c_int, operation: c_int) -> c_int = |gp, real| announced(gp, real);
    fn lockf(fd: c_int, operation: c_int, len: libc::off_t) -> c_int = |gp, real| announced(gp, real);
    fn lockf64(fd: c_int, operation: c_int, len: libc::off64_t) -> c_int =
        |gp, real| announced(gp, real);
}
