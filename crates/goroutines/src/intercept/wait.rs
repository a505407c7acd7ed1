//! Waiting for a descriptor in the middle of a call.
//!
//! A call is tried in a way that does not block; if it would, the goroutine waits for an edge and
//! tries again. What the user has set is asked for then: `O_NONBLOCK` (the answer is `EAGAIN`),
//! `SO_RCVTIMEO` and `SO_SNDTIMEO` (the time is that of the whole call). Where the trial's "would
//! block" is not what the blocking call would do, `kind.rs` says so.
//!
//! **A TCP stream that is read again and again** would be asked the same each time, and tried in
//! vain first: three system calls per wait. That it is blocking and has no time-out is remembered
//! until anybody in the process changes such a setting of any descriptor ([`settings_changed`]:
//! `fcntl`, `ioctl`, `setsockopt`), and with it goes what the kernel would say where the last read
//! was short (`netpoll/desc.rs`, D4), unless edges are seen late now, as all Ps compute: the data
//! may be there before its edge. A change by a raw system call, or by another process, is seen when
//! the registration is verified: a read that waits may go on to do so for 0.2 s.

use super::kind::Contract;
use crate::g::reason::WaitReason;
use crate::g::wait::Cause;
use crate::g::wait_list::Waiting;
use crate::g::{G, current};
use crate::netpoll::{
    BACK, CHANGES, Desc, Direction, Enlisted, Kind, Look, MOVES, TAKES, is_nonblocking,
};
use crate::sched::ambient;
use crate::sched::wait::{after, wait_unless_cancelled, wait_until_signal, waking};
use crate::sched::watch;
use crate::signals::deliver::Mark;
use crate::timer::alarm::NEVER;
use goroutines_switch::sys::raw;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// `O_NONBLOCK` or a time-out of some descriptor has been changed.
pub(super) fn settings_changed() {
    // Release: pairs with Waits::ask(): a goroutine that asked before has noted an earlier count.
    CHANGES.fetch_add(1, Ordering::Release);
}

/// `-errno`, in the kernel's way.
pub(super) const AGAIN: isize = -(libc::EAGAIN as isize);

/// Why a call can't go on as it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// With this `errno`.
    Error(i32),
    /// The descriptor can't be waited for: the call has to block the thread.
    CantWait,
}

/// The waits of one call.
pub(super) struct Waits {
    gp: &'static G,
    fd: i32,
    desc: &'static Desc,
    direction: Direction,
    /// The user's settings were asked for, and are not known to be the plain ones.
    asked: bool,
    until: u64,
    /// News was taken that others may be waiting for.
    woken: bool,
    /// Bits of its [`Waiting`].
    bits: u32,
    /// It counts as awake (D5 in `netpoll/desc.rs`), in this incarnation.
    awake: Option<u32>,
    /// The incarnation in which the first step of a call with several was made.
    begun: u32,
    /// Where the call goes on, as another file was put under its number; -1: nowhere else.
    moved: i32,
    /// Whether a context ends the wait.
    can_end: bool,
    /// Handlers that had run as the call began; and whether it is one that is never restarted after
    /// one.
    mark: Mark,
    is_never_restarted: bool,
}

impl Waits {
    pub(super) fn new(gp: &'static G, fd: i32, desc: &'static Desc, direction: Direction) -> Self {
        // What is printed is not cut off, as std would panic.
        let can_end = direction == Direction::Read || !(1..=2).contains(&fd);
        let (until, moved) = (NEVER, -1);
        Self {
            gp,
            fd,
            desc,
            direction,
            asked: false,
            until,
            woken: false,
            bits: TAKES,
            awake: None,
            begun: 0,
            moved,
            can_end,
            mark: Mark::now(gp),
            is_never_restarted: false,
        }
    }

    /// The waits of a call that goes on with its file where another is put under its number. The
    /// call is stopped then (with `CantWait`, or with what it has done), and
    /// [`take_moved`](Self::take_moved) says under which number it goes on.
    pub(super) fn movable(
        gp: &'static G,
        fd: i32,
        desc: &'static Desc,
        direction: Direction,
    ) -> Self {
        let mut waits = Self::new(gp, fd, desc, direction);
        waits.bits |= MOVES;
        waits
    }

    /// Whether another file was put under the number since the call began to wait: then it goes on
    /// under another number.
    #[inline]
    fn is_moved(&mut self, look: Look) -> bool {
        self.awake.is_some_and(|incarnation| look.is_after(incarnation)) && self.find_moved()
    }

    #[cold]
    fn find_moved(&mut self) -> bool {
        let _section = current::enter();
        let kept = self.awake.take().and_then(|incarnation| self.desc.take_kept(incarnation));
        self.moved = kept.unwrap_or(-1);
        kept.is_some()
    }

    /// The call has moved a part, and goes on with the same file: until its next step, and its end,
    /// it counts as awake. False: the file is there no more (or, where
    /// [`take_moved`](Self::take_moved) has one, under another number).
    pub(super) fn goes_on(&mut self) -> bool {
        if self.bits & MOVES == 0 {
            return true;
        }
        if self.awake.is_none() {
            let _section = current::enter();
            if !self.desc.stay(self.begun) {
                return false;
            }
            self.awake = Some(self.begun);
        }
        let look = self.look();
        if self.awake.is_some_and(|incarnation| look.is_after(incarnation)) {
            self.find_moved();
            return false;
        }
        true
    }

    /// The number under which the call is to go on, which is the caller's from now on.
    pub(super) fn take_moved(&mut self) -> Option<Moved> {
        let number = std::mem::replace(&mut self.moved, -1);
        // Not `then_some`, which would make one first, and drop it: a system call in each read and
        // write.
        if number >= 0 { Some(Moved(number)) } else { None }
    }

    /// Waits until `poll` says that one of `events` is there: true; or until the call is to be made
    /// without that, as `contract` says.
    pub(super) fn until_ready(
        &mut self,
        events: i16,
        mut contract: impl FnMut(Look) -> Contract,
    ) -> Result<bool, Stopped> {
        loop {
            let look = self.desc.look(self.direction);
            if self.is_moved(look) {
                return Err(Stopped::CantWait);
            }
            let is_ready = ready_now(self.fd, events) != 0;
            if is_ready || contract(look) == Contract::Make {
                self.pass_on();
                return Ok(is_ready);
            }
            self.wait(look)?;
        }
    }

    /// The same waits, but until the time `until`, whatever the user has set.
    pub(super) fn until(self, until: u64) -> Self {
        Self { asked: true, until, ..self }
    }

    /// Asks `attempt` until it says something else than `EAGAIN`. Several times for one call, if
    /// that has several steps.
    pub(super) fn done(&mut self, mut attempt: impl FnMut() -> isize) -> Result<isize, Stopped> {
        if let Some(error) = self.desc.take_error() {
            return Ok(-(error as isize));
        }
        loop {
            let look = self.desc.look(self.direction);
            if self.is_moved(look) {
                return Err(Stopped::CantWait);
            }
            self.begun = look.incarnation();
            let word = at_once(&mut attempt);
            if word != AGAIN {
                self.pass_on();
                return Ok(word);
            }
            if self.has_no_edge() {
                return Err(Stopped::CantWait);
            }
            self.wait(look)?;
        }
    }

    /// Makes a further step of a call on a socket that has moved something, and returns how much
    /// more it has moved. None: the call is over. What ended it stays for the next call, where
    /// `attempt` would take it away; and an error that came so late that `attempt` has taken it is
    /// left for that call.
    pub(super) fn more(
        &mut self,
        of: Further,
        mut attempt: impl FnMut() -> isize,
    ) -> Option<usize> {
        // A call that writes has just been told that there is no more room.
        let mut may_be_over = of != Further::Written;
        loop {
            // Before the step, and each time that it has waited.
            let look = self.look();
            if !self.goes_on() {
                return None;
            }
            if may_be_over && of.is_over(self.fd) {
                return None;
            }
            let word = at_once(&mut attempt);
            if word != AGAIN {
                self.pass_on_and_stay();
                if of_the_network(-word) {
                    self.desc.leave_error(-word as i32, look);
                }
                return usize::try_from(word).ok().filter(|n| *n > 0);
            }
            self.wait(look).ok()?;
            may_be_over = true;
        }
    }

    /// Notes what is so now, before an attempt.
    pub(super) fn look(&self) -> Look {
        self.desc.look(self.direction)
    }

    /// Whether a call that would wait on a socket waits for something that makes no edge of that
    /// socket, so that the kernel is to wait for it.
    ///
    /// * A datagram socket that was shut down for reading: the kernel looks at that only where it
    ///   would wait.
    /// * A datagram for which its receiver has no room, while its sender has: only the receiver's
    ///   side shows when there is room. (In a context the goroutine is parked, and looks again when
    ///   the registration is verified.)
    fn has_no_edge(&self) -> bool {
        match self.direction {
            Direction::Read => {
                self.desc.was_odd()
                    && self.desc.kind() == Kind::Socket
                    && ready_now(self.fd, libc::POLLRDHUP) & libc::POLLRDHUP != 0
            }
            Direction::Write => {
                self.desc.kind() == Kind::Socket
                    && !is_stream(self.fd)
                    && ready_now(self.fd, libc::POLLOUT) & libc::POLLOUT != 0
                    && !ambient::is_any(self.gp)
            }
        }
    }

    /// The same for a read from a stream to `room` bytes, if it is one: it need not be tried where
    /// the one before has taken all.
    pub(super) fn received(
        &mut self,
        room: usize,
        mut attempt: impl FnMut() -> isize,
    ) -> Result<isize, Stopped> {
        if let Some(error) = self.desc.take_error() {
            return Ok(-(error as isize));
        }
        loop {
            let look = self.desc.look(Direction::Read);
            if self.is_moved(look) {
                return Err(Stopped::CantWait);
            }
            if watch::is_late() || !(self.is_plain() && self.desc.is_drained(look)) {
                let word = at_once(&mut attempt);
                if word != AGAIN {
                    if word > 0 && (word as usize) < room {
                        self.desc.was_drained(look);
                    }
                    self.pass_on();
                    return Ok(word);
                }
                if self.has_no_edge() {
                    return Err(Stopped::CantWait);
                }
            }
            self.wait(look)?;
        }
    }

    fn is_plain(&self) -> bool {
        self.direction == Direction::Read && self.desc.is_plain(CHANGES.load(Ordering::Relaxed))
    }

    /// The next goroutine that waits too may have a look now.
    pub(super) fn pass_on(&mut self) {
        if std::mem::take(&mut self.woken) || self.awake.is_some() {
            let awake = self.awake.take();
            let kept = waking(|list| self.desc.pass_on(self.direction, awake, list));
            drop(kept.map(Moved));
        }
    }

    /// The same, in the middle of a call: it still counts as awake.
    fn pass_on_and_stay(&mut self) {
        if std::mem::take(&mut self.woken) {
            let kept = waking(|list| self.desc.pass_on(self.direction, None, list));
            drop(kept.map(Moved));
        }
    }

    /// What the user has set: an error if the call is not to wait.
    pub(super) fn ask(&mut self) -> Result<(), Stopped> {
        if self.asked || self.is_plain() {
            return Ok(());
        }
        self.asked = true;
        // Acquire: what is asked for is as of then, or later.
        let changes = CHANGES.load(Ordering::Acquire);
        let look = self.desc.look(self.direction);
        if is_nonblocking(self.fd) {
            return Err(Stopped::Error(libc::EAGAIN));
        }
        if self.desc.kind() == Kind::Socket {
            if self.desc.is_hasty(self.direction) {
                return Err(Stopped::Error(libc::EAGAIN));
            }
            match timeout(self.fd, self.direction) {
                Some(timeout) => {
                    self.until = after(timeout);
                    self.is_never_restarted = true; // signal(7)
                }
                None if self.direction == Direction::Read && is_tcp(self.fd) => {
                    self.desc.set_plain(changes, look);
                    self.asked = false;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Waits for an edge after `look`.
    pub(super) fn wait(&mut self, look: Look) -> Result<(), Stopped> {
        self.wait_for(Some(look))
    }

    /// Waits until the goroutine that accepts here has done so.
    pub(super) fn wait_for_accept(&mut self) -> Result<(), Stopped> {
        self.wait_for(None)
    }

    /// The news was passed on.
    pub(super) fn forget(&mut self) {
        self.woken = false;
    }

    /// A handler has run since the call began: an error if that ends it.
    fn look_at_handlers(&self) -> Result<(), Stopped> {
        match self.mark.is_broken(self.gp, self.is_never_restarted) {
            true => Err(Stopped::Error(libc::EINTR)),
            false => Ok(()),
        }
    }

    fn wait_for(&mut self, look: Option<Look>) -> Result<(), Stopped> {
        self.ask()?;
        self.look_at_handlers()?;
        // The section's end runs handlers.
        self.wait_in_section(look)?;
        self.look_at_handlers()
    }

    fn wait_in_section(&mut self, look: Option<Look>) -> Result<(), Stopped> {
        let gp = self.gp;
        let _section = current::enter();
        let ticket = gp.wait.begin();
        let is_back = look.zip(self.awake).is_some_and(|(look, awake)| !look.is_after(awake));
        let bits = if is_back { self.bits | BACK } else { self.bits };
        let one = Waiting::new(gp, ticket, 0, bits);
        // SAFETY: it stays here until its wait has ended, or `delist`.
        match unsafe { self.desc.enlist(self.fd, self.direction, look, &one) } {
            Enlisted::Yes => self.awake = None,
            Enlisted::Edge | Enlisted::Replaced => return Ok(()),
            Enlisted::Gone => return Err(Stopped::Error(libc::EBADF)),
            Enlisted::Refused(error) => return Err(self.refused(error)),
        }
        let wait = if self.can_end { wait_unless_cancelled } else { wait_until_signal };
        let cause = wait(gp, WaitReason::Io, ticket, self.until);
        let is_out = matches!(cause, Cause::Cancelled | Cause::Timeout | Cause::Signal)
            && self.desc.delist(self.direction, &one);
        if !is_out && self.bits & MOVES != 0 {
            self.awake = look.map(Look::incarnation);
        }
        match cause {
            // If there is no error, that was the end of another context's stretch.
            Cause::Cancelled => {
                self.woken |= !is_out;
                ambient::error(gp).map_or(Ok(()), |error| Err(Stopped::Error(error)))
            }
            Cause::Ready => {
                self.woken = true;
                Ok(())
            }
            Cause::Signal => {
                self.woken |= !is_out;
                Ok(())
            }
            Cause::Gone => Err(Stopped::Error(libc::EBADF)),
            Cause::Timeout => {
                self.woken |= !is_out;
                Err(Stopped::Error(libc::EAGAIN))
            }
        }
    }

    #[cold]
    fn refused(&self, error: i32) -> Stopped {
        match error {
            libc::EBADF => Stopped::Error(error),
            libc::EPERM => {
                self.desc.set_kind(Kind::File, self.desc.look(self.direction));
                Stopped::CantWait
            }
            _ => Stopped::CantWait,
        }
    }
}

/// What a call on a socket goes on with after it has moved a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Further {
    /// The rest of what is sent to a stream.
    Written,
    /// The rest of what is wanted from a stream.
    Read,
    /// The next messages: an error comes before they do.
    Messages,
}

impl Further {
    /// Whether a further step would find an end, or an error, and nothing else.
    fn is_over(self, fd: i32) -> bool {
        const ENDS: i16 = libc::POLLERR | libc::POLLHUP | libc::POLLRDHUP;
        match self {
            Self::Written => ready_now(fd, libc::POLLOUT) & libc::POLLHUP != 0,
            Self::Read => {
                is_at_urgent_mark(fd) || ready_now(fd, ENDS) & ENDS != 0 && unread(fd) == 0
            }
            Self::Messages => ready_now(fd, libc::POLLERR) & libc::POLLERR != 0,
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.pass_on();
        drop(self.take_moved());
    }
}

/// A number of a call's own for a file that is no longer under the number that the call was made
/// with.
pub(super) struct Moved(i32);

impl Moved {
    /// The number.
    pub(super) fn number(&self) -> i32 {
        self.0
    }
}

impl Drop for Moved {
    fn drop(&mut self) {
        debug_assert!(self.0 >= 0, "there is no such number to close");
        super::fd::close_by_number(self.0, || {
            // SAFETY: its own.
            unsafe { raw(libc::SYS_close, [self.0 as usize, 0, 0, 0, 0, 0]) as i32 }
        });
    }
}

pub(super) fn is_stream(fd: i32) -> bool {
    let mut kind = 0;
    socket_option(fd, libc::SO_TYPE, &mut kind) == 0 && kind == libc::SOCK_STREAM
}

/// How many bytes of a stream can be read; where the kernel does not tell, as many as are wanted.
pub(super) fn unread(fd: i32) -> usize {
    let mut n: libc::c_int = 0;
    let args = [fd as isize as usize, libc::FIONREAD as usize, &raw mut n as usize, 0, 0, 0];
    // SAFETY: a number to write.
    match unsafe { raw(libc::SYS_ioctl, args) } {
        0 => n.max(0) as usize,
        _ => usize::MAX,
    }
}

/// Whether what comes next is behind an urgent byte: a call that has received something ends there.
fn is_at_urgent_mark(fd: i32) -> bool {
    const SIOCATMARK: usize = 0x8905;
    let mut is: libc::c_int = 0;
    let args = [fd as isize as usize, SIOCATMARK, &raw mut is as usize, 0, 0, 0];
    // SAFETY: a number to write.
    unsafe { raw(libc::SYS_ioctl, args) };
    is != 0
}

fn is_tcp(fd: i32) -> bool {
    let mut protocol = 0;
    socket_option(fd, libc::SO_PROTOCOL, &mut protocol) == 0 && protocol == libc::IPPROTO_TCP
}

/// The user's time-out on a socket.
pub(super) fn timeout(fd: i32, direction: Direction) -> Option<Duration> {
    let option = match direction {
        Direction::Read => libc::SO_RCVTIMEO,
        Direction::Write => libc::SO_SNDTIMEO,
    };
    let mut time = libc::timeval { tv_sec: 0, tv_usec: 0 };
    if socket_option(fd, option, &mut time) < 0 || (time.tv_sec == 0 && time.tv_usec == 0) {
        return None;
    }
    Some(Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1_000))
}

/// Whether a socket keeps this error until a call takes it away.
fn of_the_network(error: isize) -> bool {
    const ALL: [i32; 9] = [
        libc::ECONNRESET,
        libc::ECONNABORTED,
        libc::ECONNREFUSED,
        libc::ETIMEDOUT,
        libc::EHOSTUNREACH,
        libc::EHOSTDOWN,
        libc::ENETUNREACH,
        libc::ENETDOWN,
        libc::EPROTO,
    ];
    ALL.iter().any(|one| *one as isize == error)
}

/// An option of the socket level. 0, or `-errno`.
pub(super) fn socket_option<T>(fd: i32, option: i32, value: &mut T) -> isize {
    let mut len = size_of::<T>() as libc::socklen_t;
    let args = [
        fd as isize as usize,
        libc::SOL_SOCKET as usize,
        option as usize,
        std::ptr::from_mut(value) as usize,
        &raw mut len as usize,
        0,
    ];
    // SAFETY: `len` bytes of plain data to write.
    unsafe { raw(libc::SYS_getsockopt, args) }
}

/// Makes a call that does not wait. The kernel may say `EINTR` all the same, as `poll` does when a
/// signal (the runtime's own, say) comes in the middle of it: to take that for "not ready" would be
/// to miss an edge.
pub(super) fn at_once(mut call: impl FnMut() -> isize) -> isize {
    loop {
        let word = call();
        if word != -(libc::EINTR as isize) {
            return word;
        }
    }
}

/// What `poll` says of one descriptor right now; 0: nothing.
pub(super) fn ready_now(fd: i32, events: i16) -> i16 {
    let mut one = libc::pollfd { fd, events, revents: 0 };
    let n = at_once(|| {
        // SAFETY: one entry to read and write.
        unsafe { raw(libc::SYS_poll, [&raw mut one as usize, 1, 0, 0, 0, 0]) }
    });
    if n > 0 { one.revents } else { 0 }
}
