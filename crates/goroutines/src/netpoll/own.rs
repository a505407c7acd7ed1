//! Descriptor numbers of the runtime's own.
//!
//! Programs like to name the low ones (`dup2(fd, 3)`, socket activation, shells' redirections), and
//! expect that an `open` gives the lowest that is free. So the runtime's own live high, where
//! programs don't meet them: from 1,000 on, or near the limit where that is lower; where it is very
//! low, wherever there is room.

use goroutines_switch::sys::raw;

/// Where the limit leaves room, the numbers from here on are the runtime's.
const HIGH: usize = 1_000;

fn lowest() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let args = [0, libc::RLIMIT_NOFILE as usize, 0, &raw mut limit as usize, 0, 0];
    // SAFETY: a limit to write.
    unsafe { raw(libc::SYS_prlimit64, args) };
    let limit = usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX);
    HIGH.min(limit.saturating_sub(24))
}

/// Another number of the runtime's own for the file that `fd` stands for, closed on `exec`. None if
/// there is none.
pub(crate) fn own_number(fd: i32) -> Option<i32> {
    let duplicate = |from: usize| {
        let args = [fd as isize as usize, libc::F_DUPFD_CLOEXEC as usize, from, 0, 0, 0];
        // SAFETY: no memory is involved.
        let number = unsafe { raw(libc::SYS_fcntl, args) };
        i32::try_from(number).ok().filter(|number| *number >= 0)
    };
    duplicate(lowest()).or_else(|| duplicate(0))
}

/// Closes one of the runtime's own descriptors.
pub(super) fn close_own(fd: i32) {
    // SAFETY: ours.
    unsafe { raw(libc::SYS_close, [fd as isize as usize, 0, 0, 0, 0, 0]) };
}

/// Moves a new descriptor of the runtime's own up, if there is room.
pub(crate) fn raise(fd: i32) -> i32 {
    match own_number(fd) {
        Some(number) if number > fd => {
            close_own(fd);
            number
        }
        Some(number) => {
            close_own(number);
            fd
        }
        None => fd,
    }
}
