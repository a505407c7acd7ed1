//! What a program's epolls watch, as far as it changes how they are waited for.
//!
//! A goroutine that waits for an epoll waits in the runtime's poller, which watches the epoll. Two
//! things can't be so:
//!
//! * **`EPOLLEXCLUSIVE`**: of several epolls that watch one descriptor the kernel wakes the one
//!   that a thread sleeps in. An epoll that is watched by another one is no sleeper, so all of them
//!   would be woken.
//! * **Limits**: the kernel allows 500 paths of two steps to one file, and epolls in epolls up to a
//!   depth. Where the poller's watching uses them up, it is the program's own call that is refused.
//!
//! In both cases the poller no longer watches the epoll ([`netpoll::bar`]): waits for it are
//! announced, and hold a thread.

use super::fd::may_renew;
use super::kind::is_epoll;
use super::real::{Real, errno, real, set_errno};
use crate::netpoll;
use crate::sched::wait::waking;
use libc::{c_int, epoll_event};

/// `epoll_ctl` with the numbers (`epoll`, `op`, `fd`), by `real`.
pub(super) fn control<R: From<i32> + PartialEq>(
    (epoll, op, fd): (c_int, c_int, c_int),
    event: *const epoll_event,
    real: impl Fn() -> R,
) -> R {
    let result = real();
    if op != libc::EPOLL_CTL_ADD {
        return result;
    }
    if result != R::from(0) {
        let in_the_way = matches!(errno(), libc::EINVAL | libc::ELOOP);
        return if in_the_way && epoll != fd && may_renew() {
            unwatched(epoll, result, real)
        } else {
            result
        };
    }
    // SAFETY: the kernel has just read it.
    let events = unsafe { (&raw const (*event).events).read_unaligned() };
    if events & libc::EPOLLEXCLUSIVE as u32 != 0 && may_renew() {
        let before = errno();
        waking(|list| netpoll::bar(epoll, list));
        set_errno(before);
    }
    result
}

/// A call was refused with `refused`, and the poller may be the reason: makes it again without the
/// poller's watching of `epoll`, then without its watching of any epoll.
#[cold]
fn unwatched<R: From<i32> + PartialEq>(epoll: c_int, refused: R, real: impl Fn() -> R) -> R {
    let (error, mut barred) = (errno(), Vec::new());
    let mut bar = |fd: c_int| {
        let is_watched = waking(|_| netpoll::is_registered(fd)) && is_epoll(fd);
        if is_watched {
            waking(|list| netpoll::bar(fd, list));
            barred.push(fd);
        }
        is_watched
    };
    let one = bar(epoll);
    if one && real() == R::from(0) {
        return R::from(0);
    }
    let more = netpoll::numbers_used(0, u32::MAX).filter(|fd| bar(*fd)).count();
    if more > 0 && real() == R::from(0) {
        return R::from(0);
    }
    // It was not the poller.
    for fd in barred {
        waking(|list| netpoll::unbar(fd, list));
    }
    set_errno(error);
    refused
}

#[unsafe(no_mangle)]
unsafe extern "C" fn epoll_ctl(
    epoll: c_int,
    op: c_int,
    fd: c_int,
    event: *mut epoll_event,
) -> c_int {
    static REAL: Real = Real::new(c"epoll_ctl");
    // SAFETY: forwarded.
    control((epoll, op, fd), event, || unsafe {
        real!(REAL as fn(c_int, c_int, c_int, *mut epoll_event) -> c_int)(epoll, op, fd, event)
    })
}
