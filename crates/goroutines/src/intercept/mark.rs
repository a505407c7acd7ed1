//! Settings of sockets that the kernel looks at only where a call waits: marks and time-outs. And
//! `shutdown`.

use super::fd::may_renew;
use super::real::{Real, real};
use super::wait::{Stopped, Waits, is_stream, ready_now, settings_changed, socket_option, unread};
use crate::base::sys::file_of;
use crate::netpoll::{self, Direction};
use crate::sched::wait::waking;
use libc::{c_int, c_void, socklen_t};
use std::sync::atomic::{AtomicBool, Ordering};

/// `SO_RCVLOWAT` of some socket was set. (A socket may have other numbers, and its connections have
/// its mark.)
static MARKS: AtomicBool = AtomicBool::new(false);

/// Whether any socket may have a mark.
#[inline]
pub(super) fn are_any() -> bool {
    MARKS.load(Ordering::Relaxed)
}

/// Waits until a stream has as many bytes as its mark (`SO_RCVLOWAT`) asks for in a call with so
/// much `room`, or has ended: a call that does not wait would take less. False: the call is not to
/// wait, and takes what there is.
#[inline]
pub(super) fn wait(waits: &mut Waits, fd: c_int, room: usize) -> Result<bool, Stopped> {
    if are_any() { wait_for_mark(waits, fd, room) } else { Ok(true) }
}

#[cold]
fn wait_for_mark(waits: &mut Waits, fd: c_int, room: usize) -> Result<bool, Stopped> {
    const ENDS: i16 = libc::POLLERR | libc::POLLHUP | libc::POLLRDHUP | libc::POLLPRI;
    let mut mark: c_int = 0;
    socket_option(fd, libc::SO_RCVLOWAT, &mut mark);
    let mark = (mark.max(0) as usize).min(room);
    if mark <= 1 || !is_stream(fd) {
        return Ok(true);
    }
    loop {
        let look = waits.look();
        if unread(fd) >= mark || ready_now(fd, ENDS) & ENDS != 0 {
            return Ok(true);
        }
        match waits.wait(look) {
            Ok(()) => {}
            Err(Stopped::Error(libc::EAGAIN)) => return Ok(false),
            Err(stopped) => return Err(stopped),
        }
    }
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
    /// `SO_RCVTIMEO_NEW`, `SO_SNDTIMEO_NEW`: those of programs with times of 64 bits on 32-bit
    /// machines.
    const NEW: [c_int; 2] = [66, 67];
    static REAL: Real = Real::new(c"setsockopt");
    let real = real!(REAL as fn(c_int, c_int, c_int, *const c_void, socklen_t) -> c_int);
    if (level, option) == (libc::SOL_SOCKET, libc::SO_RCVLOWAT) {
        MARKS.store(true, Ordering::Relaxed);
    }
    // SAFETY: forwarded.
    let result = unsafe { real(fd, level, option, value, len) };
    match (level, option) {
        (libc::SOL_SOCKET, libc::SO_RCVTIMEO | libc::SO_SNDTIMEO) => {
            if result == 0
                && let Some(desc) = netpoll::desc(fd)
            {
                let is_send = option == libc::SO_SNDTIMEO;
                let direction = if is_send { Direction::Write } else { Direction::Read };
                // SAFETY: the kernel has read a time there: seconds first.
                let seconds = unsafe { value.cast::<i64>().read_unaligned() };
                desc.set_hasty(direction, seconds < 0);
            }
            settings_changed();
        }
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

/// Whether it is a local socket (`AF_UNIX`).
pub(super) fn is_local(fd: c_int) -> bool {
    let mut domain: c_int = 0;
    socket_option(fd, libc::SO_DOMAIN, &mut domain) == 0 && domain == libc::AF_UNIX
}

/// Shutting a local socket down for writing makes no edge: goroutines that wait to write to it are
/// to look again.
#[unsafe(no_mangle)]
unsafe extern "C" fn shutdown(fd: c_int, how: c_int) -> c_int {
    static REAL: Real = Real::new(c"shutdown");
    // SAFETY: forwarded.
    let result = unsafe { real!(REAL as fn(c_int, c_int) -> c_int)(fd, how) };
    if result == 0 && how != libc::SHUT_RD && may_renew() && is_local(fd) {
        let file = file_of(fd);
        waking(|list| netpoll::shut_down(fd, |other| file_of(other) == file, list));
    }
    result
}
