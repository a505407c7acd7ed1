//! The kernel's side of the poller: one epoll, edge-triggered, and an eventfd to interrupt it.
//!
//! Sleeps are as precise as the kernel's timers (`epoll_pwait2`, Linux 5.11; before that a timerfd), not
//! rounded up to a millisecond as Go's are.

use crate::base::fatal::throw;
use goroutines_switch::sys::raw;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// What is polled for: all, once. (Go: the same.)
const EVENTS: u32 =
    (libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;

/// Data of the eventfd, and of the timerfd.
const OURS: u64 = u64::MAX;

pub(super) struct Epoll {
    epoll: AtomicI32,
    eventfd: AtomicI32,
    /// For kernels without `epoll_pwait2`; -1 elsewhere.
    timerfd: AtomicI32,
    /// The eventfd was written to, and nobody has seen it yet.
    broken: AtomicBool,
}

pub(super) type Event = libc::epoll_event;

fn word(n: i32) -> usize {
    n as isize as usize
}

impl Epoll {
    pub(super) const fn new() -> Self {
        Self {
            epoll: AtomicI32::new(-1),
            eventfd: AtomicI32::new(-1),
            timerfd: AtomicI32::new(-1),
            broken: AtomicBool::new(false),
        }
    }

    /// Makes the descriptors. `-errno`, or 0.
    pub(super) fn open(&self) -> isize {
        // SAFETY: no memory is involved.
        let epoll =
            unsafe { raw(libc::SYS_epoll_create1, [libc::EPOLL_CLOEXEC as usize, 0, 0, 0, 0, 0]) };
        if epoll < 0 {
            return epoll;
        }
        let flags = (libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) as usize;
        // SAFETY: as above.
        let eventfd = unsafe { raw(libc::SYS_eventfd2, [0, flags, 0, 0, 0, 0]) };
        if eventfd < 0 {
            // SAFETY: a descriptor of ours.
            unsafe { raw(libc::SYS_close, [epoll as usize, 0, 0, 0, 0, 0]) };
            return eventfd;
        }
        self.eventfd.store(eventfd as i32, Ordering::Relaxed);
        self.epoll.store(epoll as i32, Ordering::Release);
        self.control(libc::EPOLL_CTL_ADD, eventfd as i32, OURS)
    }

    /// Whether `fd` is one of the poller's own.
    pub(super) fn owns(&self, fd: i32) -> bool {
        fd >= 0 && self.own().contains(&fd)
    }

    /// Its descriptors; -1 for one that there is not.
    pub(super) fn own(&self) -> [i32; 3] {
        [&self.epoll, &self.eventfd, &self.timerfd].map(|own| own.load(Ordering::Relaxed))
    }

    fn control(&self, op: i32, fd: i32, data: u64) -> isize {
        let event = Event { events: EVENTS, u64: data };
        let epoll = word(self.epoll.load(Ordering::Acquire));
        let args = [epoll, op as usize, word(fd), &raw const event as usize, 0, 0];
        // SAFETY: an event to read.
        unsafe { raw(libc::SYS_epoll_ctl, args) }
    }

    /// Registers `fd`. An edge comes for what is ready already.
    pub(super) fn add(&self, fd: i32, data: u64) -> isize {
        match self.control(libc::EPOLL_CTL_ADD, fd, data) {
            // Of an incarnation whose end we have not seen, that lives on under this number.
            error if error == -(libc::EEXIST as isize) => self.again(fd, data),
            result => result,
        }
    }

    /// Renews the registration: an edge comes for what is ready now.
    pub(super) fn again(&self, fd: i32, data: u64) -> isize {
        self.control(libc::EPOLL_CTL_MOD, fd, data)
    }

    /// Ends the registration.
    pub(super) fn remove(&self, fd: i32) {
        self.control(libc::EPOLL_CTL_DEL, fd, 0);
    }

    /// Ends a [`wait`](Self::wait) that goes on, or the next one.
    pub(super) fn interrupt(&self) {
        // One is enough until somebody has seen it.
        if self.broken.swap(true, Ordering::SeqCst) {
            return;
        }
        let one = 1u64;
        let fd = word(self.eventfd.load(Ordering::Relaxed));
        // Never read: each write is an edge, and 2^64 don't come.
        // SAFETY: eight bytes to read.
        unsafe { raw(libc::SYS_write, [fd, &raw const one as usize, 8, 0, 0, 0]) };
    }

    /// Waits for events, for `timeout_ns` at the most (none: for ever); how many came. May return early.
    pub(super) fn wait(&self, events: &mut [Event], timeout_ns: Option<u64>) -> usize {
        let n = self.wait_raw(events, timeout_ns);
        if n < 0 {
            if n != -(libc::EINTR as isize) {
                throw!("epoll_wait: error {}", -n);
            }
            return 0;
        }
        let mut kept = 0;
        for i in 0..n as usize {
            let event = events[i];
            if event.u64 == OURS {
                // A swap: what was done before an interrupt that we answer is seen.
                self.broken.swap(false, Ordering::SeqCst);
            } else {
                events[kept] = event;
                kept += 1;
            }
        }
        kept
    }

    fn wait_raw(&self, events: &mut [Event], timeout_ns: Option<u64>) -> isize {
        let epoll = word(self.epoll.load(Ordering::Acquire));
        let (at, len) = (events.as_mut_ptr() as usize, events.len());
        if timeout_ns == Some(0) {
            // SAFETY: `len` events to write.
            return unsafe { raw(libc::SYS_epoll_wait, [epoll, at, len, 0, 0, 0]) };
        }
        if self.timerfd.load(Ordering::Relaxed) < 0 {
            let ts = timeout_ns.map(|ns| libc::timespec {
                tv_sec: (ns / 1_000_000_000) as i64,
                tv_nsec: (ns % 1_000_000_000) as i64,
            });
            let ts = ts.as_ref().map_or(0, |ts| std::ptr::from_ref(ts) as usize);
            // SAFETY: as above; a timespec to read.
            let n = unsafe { raw(libc::SYS_epoll_pwait2, [epoll, at, len, ts, 0, 0]) };
            if n != -(libc::ENOSYS as isize) {
                return n;
            }
            self.make_timer();
        }
        if let Some(ns) = timeout_ns {
            self.set_timer(ns);
        }
        // SAFETY: as above.
        unsafe { raw(libc::SYS_epoll_wait, [epoll, at, len, usize::MAX, 0, 0]) }
    }

    #[cold]
    fn make_timer(&self) {
        let flags = (libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) as usize;
        let args = [libc::CLOCK_MONOTONIC as usize, flags, 0, 0, 0, 0];
        // SAFETY: no memory is involved.
        let fd = unsafe { raw(libc::SYS_timerfd_create, args) };
        if fd < 0 {
            throw!("timerfd_create: error {}", -fd);
        }
        self.timerfd.store(fd as i32, Ordering::Relaxed);
        self.control(libc::EPOLL_CTL_ADD, fd as i32, OURS);
    }

    fn set_timer(&self, ns: u64) {
        let value = libc::timespec {
            tv_sec: (ns / 1_000_000_000) as i64,
            tv_nsec: (ns % 1_000_000_000) as i64,
        };
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = libc::itimerspec { it_interval: never, it_value: value };
        let fd = word(self.timerfd.load(Ordering::Relaxed));
        // SAFETY: a timer's setting to read.
        unsafe { raw(libc::SYS_timerfd_settime, [fd, 0, &raw const spec as usize, 0, 0, 0]) };
    }
}

#[cfg(test)]
mod tests {
    use super::{Epoll, Event};
    use std::time::{Duration, Instant};

    /// A wait that ends by its time, at most by some slack too late, and one that is interrupted.
    fn waits(epoll: &Epoll) {
        let mut events = [Event { events: 0, u64: 0 }; 4];
        for micros in [300, 2_500] {
            let time = Duration::from_micros(micros);
            let start = Instant::now();
            while start.elapsed() < time {
                let left = time.saturating_sub(start.elapsed()).as_nanos() as u64;
                assert_eq!(epoll.wait(&mut events, Some(left.max(1))), 0, "nothing is registered");
            }
            assert!(start.elapsed() < time + Duration::from_millis(50), "{:?}", start.elapsed());
        }
        epoll.interrupt();
        epoll.interrupt();
        let start = Instant::now();
        assert_eq!(epoll.wait(&mut events, Some(60_000_000_000)), 0);
        assert!(start.elapsed() < Duration::from_secs(30), "not interrupted");
    }

    #[test]
    fn waits_to_the_microsecond() {
        let epoll = Epoll::new();
        assert_eq!(epoll.open(), 0);
        waits(&epoll);
    }

    /// As on Linux before 5.11.
    #[test]
    fn waits_with_a_timer_where_there_is_no_epoll_pwait2() {
        let epoll = Epoll::new();
        assert_eq!(epoll.open(), 0);
        epoll.make_timer();
        waits(&epoll);
    }
}
