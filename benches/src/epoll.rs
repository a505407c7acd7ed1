//! As much of epoll as the load and the floor need.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// How many descriptors are told of at a time.
const AT_ONCE: usize = 256;

/// Tells which descriptors can be read.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// One that knows of no descriptor yet.
    ///
    /// # Errors
    /// Where the kernel has none left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: it was made just now, and nobody else has it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Tells of `fd`, by its number, as long as there is something to read, until it is closed.
    ///
    /// # Errors
    /// The kernel's.
    pub fn add(&self, fd: RawFd) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: fd as u64 };
        // SAFETY: the event lives as long as the call.
        let added =
            unsafe { libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        checked(added).map(drop)
    }

    /// Waits until something can be read, or for so long; calls `ready` with each descriptor.
    ///
    /// # Errors
    /// The kernel's, or what `ready` says.
    pub fn wait(
        &self,
        at_most: Option<Duration>,
        mut ready: impl FnMut(RawFd) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; AT_ONCE];
        let ms = at_most.map_or(-1, |time| time.as_millis() as i32 + 1);
        // SAFETY: the kernel writes as many events as there is room for.
        let count = unsafe {
            libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), AT_ONCE as i32, ms)
        };
        for event in &events[..checked(count)? as usize] {
            ready(event.u64 as RawFd)?;
        }
        Ok(())
    }
}

fn checked(returned: i32) -> io::Result<i32> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}
