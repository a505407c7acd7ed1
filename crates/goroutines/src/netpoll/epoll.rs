//! The kernel's side of the poller: one epoll, edge-triggered, and an eventfd to interrupt it.
//!
//! Sleeps are as precise as the kernel's timers (`epoll_pwait2`, Linux 5.11; before that, and where
//! a sandbox refuses it, a timerfd; without that they are rounded up to a millisecond), not rounded
//! up as Go's are. Where there is no eventfd a pipe takes its place.
//!
//! **The descriptors live high** (`own.rs`). A program that puts a file of its own under one of
//! these numbers gets it: the runtime's moves ([`Epoll::make_way`]). What is taken away all the
//! same, by a system call that the runtime does not see, is made anew ([`Epoll::renew`]); `mod.rs`
//! registers all again.

use super::own::{close_own, own_number, raise};
use crate::base::fatal::throw;
use crate::base::lock::Lock;
use crate::base::sys;
use goroutines_switch::sys::raw;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, Ordering};

/// What is polled for: all, once. (Go: the same.)
const EVENTS: u32 =
    (libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET) as u32;

/// Data of the eventfd, and of the timerfd.
const OURS: u64 = u64::MAX;

/// How a sleep is timed.
const PRECISE: u8 = 0;
const BY_TIMER: u8 = 1;
const COARSE: u8 = 2;

pub(super) struct Epoll {
    epoll: AtomicI32,
    /// The descriptor that is written to.
    interrupts: AtomicI32,
    /// The end to read of a pipe that takes the place of an eventfd; -1 where there is none.
    reader: AtomicI32,
    /// The timerfd of [`BY_TIMER`]; -1 elsewhere.
    timerfd: AtomicI32,
    way: AtomicU8,
    /// It was interrupted, and no wait has seen that yet.
    broken: AtomicBool,
    /// The thread that sleeps, or slept last.
    sleeper: AtomicU32,
    /// Held while the descriptors are made anew, or one of them is moved.
    renewing: Lock<()>,
}

pub(super) type Event = libc::epoll_event;

/// What a wait came to.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Waited {
    /// This many events.
    Events(usize),
    /// The epoll is gone.
    Lost,
}

fn word(n: i32) -> usize {
    n as isize as usize
}

/// Makes a new descriptor of the runtime's own; the error says which call has failed, and how.
fn make(name: &'static str, number: libc::c_long, args: [usize; 6]) -> io::Result<i32> {
    // SAFETY: a call that makes a descriptor and touches no memory.
    let fd = unsafe { raw(number, args) };
    if fd < 0 {
        let error = io::Error::from_raw_os_error(-fd as i32);
        return Err(io::Error::new(error.kind(), format!("{name}: {error}")));
    }
    Ok(raise(fd as i32))
}

impl Epoll {
    pub(super) const fn new() -> Self {
        Self {
            epoll: AtomicI32::new(-1),
            interrupts: AtomicI32::new(-1),
            reader: AtomicI32::new(-1),
            timerfd: AtomicI32::new(-1),
            way: AtomicU8::new(PRECISE),
            broken: AtomicBool::new(false),
            sleeper: AtomicU32::new(0),
            renewing: Lock::new(()),
        }
    }

    /// Makes the descriptors.
    pub(super) fn open(&self) -> io::Result<()> {
        let flags = libc::EPOLL_CLOEXEC as usize;
        let epoll = make("epoll_create1", libc::SYS_epoll_create1, [flags, 0, 0, 0, 0, 0])?;
        self.epoll.store(epoll, Ordering::Release);
        let reader = match self.make_eventfd() {
            Ok(eventfd) => eventfd,
            Err(error) if !self.make_pipe() => {
                close_own(epoll);
                return Err(error);
            }
            Err(_) => self.reader.load(Ordering::Relaxed),
        };
        let added = -self.control(libc::EPOLL_CTL_ADD, reader, OURS) as i32;
        if added != 0 {
            let error = io::Error::from_raw_os_error(added);
            return Err(io::Error::new(error.kind(), format!("epoll_ctl: {error}")));
        }
        if self.way.load(Ordering::Relaxed) == BY_TIMER {
            self.make_timer();
        }
        Ok(())
    }

    fn make_eventfd(&self) -> io::Result<i32> {
        let flags = (libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) as usize;
        let eventfd = make("eventfd2", libc::SYS_eventfd2, [0, flags, 0, 0, 0, 0])?;
        self.reader.store(-1, Ordering::Relaxed);
        self.interrupts.store(eventfd, Ordering::Relaxed);
        Ok(eventfd)
    }

    #[cold]
    fn make_pipe(&self) -> bool {
        let mut ends = [0i32; 2];
        let flags = (libc::O_CLOEXEC | libc::O_NONBLOCK) as usize;
        // SAFETY: two numbers to write.
        let made = unsafe { raw(libc::SYS_pipe2, [ends.as_mut_ptr() as usize, flags, 0, 0, 0, 0]) };
        if made < 0 {
            return false;
        }
        self.reader.store(raise(ends[0]), Ordering::Relaxed);
        self.interrupts.store(raise(ends[1]), Ordering::Relaxed);
        true
    }

    /// Makes all descriptors anew, where the epoll that was `lost` is still the current one. The
    /// lost ones are not closed: their numbers may be the program's by now.
    #[cold]
    pub(super) fn renew(&self, lost: i32) {
        /// Code that takes numbers away may take the next one, too, while it is made.
        const TIMES: usize = 100;
        let _renewing = self.renewing.lock();
        if self.epoll.load(Ordering::Acquire) != lost {
            return;
        }
        if !(0..TIMES).any(|_| self.open().is_ok()) {
            throw!("the poller's descriptors are gone, and can't be made anew");
        }
    }

    /// The epoll's number.
    pub(super) fn number(&self) -> i32 {
        self.epoll.load(Ordering::Acquire)
    }

    /// Moves what stands under the number `fd`, if it is one of the poller's, to another number, as
    /// the program wants this one. What is registered stays registered, and a thread that sleeps in
    /// it sleeps on. False if there is no other number.
    pub(super) fn make_way(&self, fd: i32) -> bool {
        let _renewing = self.renewing.lock();
        for own in self.all() {
            if own.load(Ordering::Relaxed) == fd {
                let Some(other) = own_number(fd) else { return false };
                own.store(other, Ordering::Release);
            }
        }
        true
    }

    fn all(&self) -> [&AtomicI32; 4] {
        [&self.epoll, &self.interrupts, &self.reader, &self.timerfd]
    }

    /// Whether `fd` is one of the poller's own.
    pub(super) fn owns(&self, fd: i32) -> bool {
        fd >= 0 && self.own().contains(&fd)
    }

    /// Its descriptors; -1 for one that there is not.
    pub(super) fn own(&self) -> [i32; 4] {
        self.all().map(|own| own.load(Ordering::Relaxed))
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
            error if error < 0 && self.is_lost() => {
                self.lost();
                self.control(libc::EPOLL_CTL_ADD, fd, data)
            }
            result => result,
        }
    }

    /// Renews the registration: an edge comes for what is ready now.
    pub(super) fn again(&self, fd: i32, data: u64) -> isize {
        match self.control(libc::EPOLL_CTL_MOD, fd, data) {
            error if error < 0 && self.is_lost() => {
                self.lost();
                self.control(libc::EPOLL_CTL_ADD, fd, data)
            }
            result => result,
        }
    }

    /// Whether the epoll, or what interrupts it, is no longer there.
    #[cold]
    fn is_lost(&self) -> bool {
        let reader = match self.reader.load(Ordering::Relaxed) {
            -1 => self.interrupts.load(Ordering::Relaxed),
            reader => reader,
        };
        self.control(libc::EPOLL_CTL_MOD, reader, OURS) < 0
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
        let fd = word(self.interrupts.load(Ordering::Relaxed));
        // An eventfd is never read: each write is an edge, and 2^64 don't come. A pipe is, and a
        // full one has an edge that no wait has seen yet. SAFETY: eight bytes to read.
        let written = unsafe { raw(libc::SYS_write, [fd, &raw const one as usize, 8, 0, 0, 0]) };
        if written < 0 && written != -(libc::EAGAIN as isize) {
            self.lost();
        }
    }

    /// Makes what is gone anew. The thread that sleeps in the old epoll is woken by a signal, and
    /// finds out (`mod.rs`).
    #[cold]
    fn lost(&self) {
        self.broken.store(false, Ordering::SeqCst);
        self.renew(self.number());
        let sleeper = self.sleeper.load(Ordering::Relaxed);
        if sleeper != 0 {
            sys::tgkill(sleeper, libc::SIGURG);
        }
    }

    /// Waits for events, for `timeout_ns` at the most (none: for ever). May return early.
    pub(super) fn wait(&self, events: &mut [Event], timeout_ns: Option<u64>) -> Waited {
        let n = self.wait_raw(events, timeout_ns);
        if n < 0 {
            return match -n as i32 {
                libc::EINTR => Waited::Events(0),
                libc::EBADF | libc::EINVAL => Waited::Lost,
                error => throw!("epoll_wait: error {}", error),
            };
        }
        let mut kept = 0;
        for i in 0..n as usize {
            let event = events[i];
            if event.u64 == OURS {
                self.drain();
                // A swap: what was done before an interrupt that we answer is seen.
                self.broken.swap(false, Ordering::SeqCst);
            } else {
                events[kept] = event;
                kept += 1;
            }
        }
        Waited::Events(kept)
    }

    /// Empties the pipe that stands for an eventfd.
    fn drain(&self) {
        let reader = self.reader.load(Ordering::Relaxed);
        let mut room = [0u8; 512];
        let args = [word(reader), room.as_mut_ptr() as usize, room.len(), 0, 0, 0];
        // SAFETY: room to write.
        while reader >= 0 && unsafe { raw(libc::SYS_read, args) } == room.len() as isize {}
    }

    fn wait_raw(&self, events: &mut [Event], timeout_ns: Option<u64>) -> isize {
        let epoll = word(self.epoll.load(Ordering::Acquire));
        let (at, len) = (events.as_mut_ptr() as usize, events.len());
        // SAFETY: `len` events to write.
        let wait = |ms: usize| unsafe { raw(libc::SYS_epoll_wait, [epoll, at, len, ms, 0, 0]) };
        if timeout_ns == Some(0) {
            return wait(0);
        }
        self.sleeper.store(sys::gettid(), Ordering::Relaxed);
        if self.way.load(Ordering::Relaxed) == PRECISE {
            let ts = timeout_ns.map(|ns| libc::timespec {
                tv_sec: (ns / 1_000_000_000) as i64,
                tv_nsec: (ns % 1_000_000_000) as i64,
            });
            let ts = ts.as_ref().map_or(0, |ts| std::ptr::from_ref(ts) as usize);
            // SAFETY: as above; a timespec to read.
            let n = unsafe { raw(libc::SYS_epoll_pwait2, [epoll, at, len, ts, 0, 0]) };
            if n >= 0 || n == -(libc::EINTR as isize) || n == -(libc::EBADF as isize) {
                return n;
            }
            // Any other error is that of a call that is not here, or not allowed; unless there is
            // no epoll.
            match wait(0) {
                0 => self.make_timer(),
                n => return n,
            }
        }
        match timeout_ns {
            None => wait(usize::MAX),
            Some(ns) if self.way.load(Ordering::Relaxed) == COARSE => {
                wait(ns.div_ceil(1_000_000).min(i32::MAX as u64) as usize)
            }
            Some(ns) => {
                if !self.set_timer(ns) {
                    return wait(1);
                }
                wait(usize::MAX)
            }
        }
    }

    #[cold]
    fn make_timer(&self) {
        let flags = (libc::TFD_CLOEXEC | libc::TFD_NONBLOCK) as usize;
        let args = [libc::CLOCK_MONOTONIC as usize, flags, 0, 0, 0, 0];
        // SAFETY: no memory is involved.
        let fd = unsafe { raw(libc::SYS_timerfd_create, args) };
        if fd < 0 {
            self.way.store(COARSE, Ordering::Relaxed);
            return;
        }
        let fd = raise(fd as i32);
        self.timerfd.store(fd, Ordering::Relaxed);
        self.control(libc::EPOLL_CTL_ADD, fd, OURS);
        self.way.store(BY_TIMER, Ordering::Relaxed);
    }

    fn set_timer(&self, ns: u64) -> bool {
        let value = libc::timespec {
            tv_sec: (ns / 1_000_000_000) as i64,
            tv_nsec: (ns % 1_000_000_000) as i64,
        };
        let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let spec = libc::itimerspec { it_interval: never, it_value: value };
        let fd = word(self.timerfd.load(Ordering::Relaxed));
        // SAFETY: a timer's setting to read.
        let set =
            unsafe { raw(libc::SYS_timerfd_settime, [fd, 0, &raw const spec as usize, 0, 0, 0]) };
        if set < 0 {
            // Taken away, or not allowed: it might never fire.
            self.way.store(COARSE, Ordering::Relaxed);
        }
        set >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::{BY_TIMER, COARSE, Epoll, Event, Waited};
    use std::sync::atomic::Ordering;
    use std::time::{Duration, Instant};

    /// A wait that ends by its time, at most by some slack too late, and one that is interrupted.
    fn waits(epoll: &Epoll) {
        let mut events = [Event { events: 0, u64: 0 }; 4];
        for micros in [300, 2_500] {
            let time = Duration::from_micros(micros);
            let start = Instant::now();
            while start.elapsed() < time {
                let left = time.saturating_sub(start.elapsed()).as_nanos() as u64;
                let waited = epoll.wait(&mut events, Some(left.max(1)));
                assert_eq!(waited, Waited::Events(0), "nothing is registered");
            }
            assert!(start.elapsed() < time + Duration::from_millis(50), "{:?}", start.elapsed());
        }
        epoll.interrupt();
        epoll.interrupt();
        let start = Instant::now();
        assert_eq!(epoll.wait(&mut events, Some(60_000_000_000)), Waited::Events(0));
        assert!(start.elapsed() < Duration::from_secs(30), "not interrupted");
    }

    #[test]
    fn waits_to_the_microsecond() {
        let epoll = Epoll::new();
        epoll.open().expect("a poller");
        waits(&epoll);
    }

    /// As on Linux before 5.11.
    #[test]
    fn waits_with_a_timer_where_there_is_no_epoll_pwait2() {
        let epoll = Epoll::new();
        epoll.open().expect("a poller");
        epoll.make_timer();
        assert_eq!(epoll.way.load(Ordering::Relaxed), BY_TIMER);
        waits(&epoll);
    }

    /// As in a sandbox that refuses all of them.
    #[test]
    fn waits_by_milliseconds_and_a_pipe() {
        let epoll = Epoll::new();
        epoll.open().expect("a poller");
        assert!(epoll.make_pipe());
        assert_eq!(epoll.control(libc::EPOLL_CTL_ADD, epoll.own()[2], super::OURS), 0);
        epoll.way.store(COARSE, Ordering::Relaxed);
        for _ in 0..3 {
            waits(&epoll);
        }
    }

    /// The program wants the numbers; then they are taken away.
    #[test]
    fn the_numbers_are_others() {
        let epoll = Epoll::new();
        epoll.open().expect("a poller");
        for own in epoll.own().into_iter().filter(|own| *own >= 0) {
            assert!(epoll.owns(own) && epoll.make_way(own) && !epoll.owns(own));
            super::close_own(own);
        }
        waits(&epoll);
        let number = epoll.number();
        epoll.own().into_iter().for_each(super::close_own);
        let mut events = [Event { events: 0, u64: 0 }; 4];
        assert_eq!(epoll.wait(&mut events, None), Waited::Lost);
        epoll.renew(number);
        waits(&epoll);
    }
}
