//! Waiting for any of several descriptors: `poll`, `select`, `epoll_wait` and their kin.
//!
//! `select` is in a file of its own.
//!
//! The call itself is made with a time-out of zero. If it has nothing to say, the goroutine becomes
//! a waiter of each descriptor, one that only looks, and makes the call again when it is woken.
//! Where a descriptor can't be waited for, the call blocks its thread, announced. A signal mask for
//! the time of the call is the goroutine's meanwhile. A handler that runs ends the call with
//! `EINTR`.

use super::mask::{fault, with_mask};
use super::real::{result, take_over};
use super::time::duration;
use super::unwraps;
use super::user_memory::{self, is_readable};
use super::wait::at_once;
use crate::g::reason::WaitReason;
use crate::g::wait::Cause;
use crate::g::wait_list::Waiting;
use crate::g::{G, current};
use crate::netpoll::{self, Desc, Direction, Enlisted, Look};
use crate::sched::ambient;
use crate::sched::syscall::announced_undisturbed as undisturbed;
use crate::sched::wait::{after, wait_unless_cancelled, wait_until_signal};
use crate::signals::deliver::Mark;
use crate::timer::alarm::NEVER;
use goroutines_switch::sys::raw;
use libc::{c_int, epoll_event, nfds_t, pollfd, sigset_t, size_t, timespec};
use std::time::Duration;

/// How many are entered in lists, or taken out, without a stop.
const PIECE: usize = 64;

/// One descriptor in one direction that is waited for.
#[derive(Clone, Copy)]
pub(super) struct Source {
    fd: i32,
    desc: &'static Desc,
    direction: Direction,
    look: Look,
}

impl Source {
    pub(super) fn new(fd: i32, direction: Direction) -> Option<Self> {
        let desc = netpoll::desc(fd)?;
        Some(Self { fd, desc, direction, look: desc.look(direction) })
    }
}

/// How waiting for several came out.
enum Outcome {
    /// Make the call again.
    Again,
    /// The time is over.
    Timeout,
    /// One of them can't be waited for.
    CantWait,
    /// The goroutine's context was cancelled, or a handler has run: the `errno` to end with.
    Ended(i32),
}

/// Waits for any of `sources` to have an edge since it was looked at. `room` is as long.
fn wait_for_any(
    gp: &'static G,
    sources: &[Source],
    room: &mut Vec<Waiting>,
    until: u64,
    (can_end, mark): (bool, Mark),
) -> Outcome {
    let mut section = Some(current::enter());
    let ticket = gp.wait.begin();
    // Within its capacity: nothing is allocated in a section.
    room.clear();
    for _ in sources {
        room.push(Waiting::new(gp, ticket, 0, 0));
    }
    let mut listed = 0;
    let mut early = None;
    for (source, one) in sources.iter().zip(room.iter()) {
        // SAFETY: it stays here until it is taken out below.
        let enlisted =
            unsafe { source.desc.enlist(source.fd, source.direction, Some(source.look), one) };
        match enlisted {
            Enlisted::Yes => listed += 1,
            Enlisted::Edge | Enlisted::Gone | Enlisted::Replaced => early = Some(Outcome::Again),
            Enlisted::Refused(_) => early = Some(Outcome::CantWait),
        }
        if early.is_some() {
            break;
        }
        if listed % PIECE == 0 {
            // Thousands of them take long. A goroutine whose wait is ended meanwhile finds out in
            // `wait`.
            drop(section.take());
            section = Some(current::enter());
        }
    }
    let outcome = match early {
        Some(outcome) => outcome,
        None => {
            let waits = if can_end { wait_unless_cancelled } else { wait_until_signal };
            match (waits(gp, WaitReason::Poll, ticket, until), ambient::error(gp)) {
                (Cause::Timeout, _) => Outcome::Timeout,
                (Cause::Cancelled, Some(error)) => Outcome::Ended(error),
                _ => Outcome::Again,
            }
        }
    };
    drop(section);
    for piece in 0..listed.div_ceil(PIECE) {
        let _section = current::enter();
        let these = sources.iter().zip(room.iter()).take(listed);
        for (source, one) in these.skip(piece * PIECE).take(PIECE) {
            source.desc.delist(source.direction, one);
        }
    }
    // Those that have run were run at the end of a section. (signal(7): never restarted.)
    match outcome {
        Outcome::Again if mark.has_run(gp) => Outcome::Ended(libc::EINTR),
        outcome => outcome,
    }
}

/// Makes `attempt`, which does not block, until it says something other than 0 or the time `until`
/// has come. `sources` says which descriptors to wait for; none: the call blocks, as `plain` does.
/// Where `can_end`, it ends with an error when the goroutine's context is cancelled.
pub(super) fn until_any(
    gp: &'static G,
    until: u64,
    mut attempt: impl FnMut() -> isize,
    mut sources: impl FnMut(&mut Vec<Source>) -> Option<()>,
    plain: impl FnOnce(Option<Duration>) -> isize,
    can_end: bool,
) -> isize {
    let mark = Mark::now(gp);
    let mut list = Vec::new();
    let mut room = Vec::new();
    loop {
        list.clear();
        // Looked at before the attempt (D1).
        let can_wait = sources(&mut list).is_some();
        let word = at_once(&mut attempt);
        if word != 0 {
            return word;
        }
        let left = remaining(until);
        if left == Some(Duration::ZERO) {
            return 0;
        }
        if !can_wait {
            return plain(left);
        }
        room.reserve(list.len());
        match wait_for_any(gp, &list, &mut room, until, (can_end, mark)) {
            Outcome::Again => {}
            Outcome::CantWait => return plain(remaining(until)),
            Outcome::Ended(error) => return -(error as isize),
            // A last attempt: what came with the time's end counts.
            Outcome::Timeout => return at_once(&mut attempt),
        }
    }
}

/// How long until the time `until`; none: for ever.
fn remaining(until: u64) -> Option<Duration> {
    if until == NEVER {
        return None;
    }
    Some(Duration::from_nanos(until.saturating_sub(crate::base::sys::nanotime())))
}

/// The time at which a call with the time-out `time` ends. None where the kernel, or libc, is to
/// say what is wrong with `time`.
pub(super) fn time_limit(gp: &'static G, time: *const timespec) -> Option<u64> {
    if time.is_null() {
        return Some(NEVER);
    }
    // SAFETY: two numbers.
    let time = unsafe { user_memory::read(gp, time) }.ok()?;
    duration(&time).map(after)
}

/// Milliseconds as `poll` takes them.
fn from_millis(timeout: c_int) -> u64 {
    match u64::try_from(timeout) {
        Ok(ms) => after(Duration::from_millis(ms)),
        Err(_) => NEVER,
    }
}

/// Microseconds would be cut off: never early.
fn millis(left: Option<Duration>) -> c_int {
    let up = |left: Duration| c_int::try_from(left.as_nanos().div_ceil(1_000_000));
    left.map_or(-1, |left| up(left).unwrap_or(c_int::MAX))
}

const READ: i16 =
    libc::POLLIN | libc::POLLPRI | libc::POLLRDNORM | libc::POLLRDBAND | libc::POLLRDHUP;
const WRITE: i16 = libc::POLLOUT | libc::POLLWRNORM | libc::POLLWRBAND;

fn poll_sources(list: impl Iterator<Item = pollfd>, out: &mut Vec<Source>) -> Option<()> {
    for one in list.filter(|one| one.fd >= 0) {
        if one.events & READ != 0 || one.events & WRITE == 0 {
            out.push(Source::new(one.fd, Direction::Read)?);
        }
        if one.events & WRITE != 0 {
            out.push(Source::new(one.fd, Direction::Write)?);
        }
    }
    Some(())
}

/// For lists up to this length the runtime itself asks whether they can be read.
const MOST_ASKED: usize = 1 << 12;

fn poll_until(gp: &'static G, fds: *mut pollfd, n: nfds_t, until: u64) -> isize {
    let attempt = || {
        // SAFETY: the user's own call.
        unsafe { raw(libc::SYS_poll, [fds as usize, n as usize, 0, 0, 0, 0]) }
    };
    // The kernel looks at only 32 bits of the number.
    let len = n as u32 as usize;
    if len > MOST_ASKED || is_readable(gp, fds as usize, len * size_of::<pollfd>()).is_err() {
        // The kernel looks at the list first: it may be too long, or not be there.
        let word = at_once(attempt);
        if word != 0 || until == 0 {
            return word;
        }
    }
    // SAFETY: UM1: the kernel could read the list.
    let list = || (0..len).map(|i| unsafe { fds.wrapping_add(i).read_unaligned() });
    let sources = |out: &mut Vec<Source>| poll_sources(list(), out);
    let plain = |left| {
        let args = [fds as usize, n as usize, millis(left) as usize, 0, 0, 0];
        // SAFETY: the user's own call.
        undisturbed(gp, || unsafe { raw(libc::SYS_poll, args) })
    };
    let word = until_any(gp, until, attempt, sources, plain, true);
    unwraps::of_poll(gp, fds, len, word)
}

fn epoll_until(gp: &'static G, epoll: c_int, at: *mut epoll_event, n: c_int, until: u64) -> isize {
    let call = |timeout: c_int| {
        let (epoll, n) = (epoll as isize as usize, n as isize as usize);
        // SAFETY: the user's own call.
        unsafe { raw(libc::SYS_epoll_wait, [epoll, at as usize, n, timeout as usize, 0, 0]) }
    };
    let sources = |out: &mut Vec<Source>| {
        out.push(Source::new(epoll, Direction::Read)?);
        Some(())
    };
    let plain = |left| undisturbed(gp, || call(millis(left)));
    // The caller is an event loop, which knows no such error.
    until_any(gp, until, || call(0), sources, plain, false)
}

take_over! {
    fn poll(fds: *mut pollfd, n: nfds_t, timeout: c_int) -> c_int =
        |gp, real| result(poll_until(gp, fds, n, from_millis(timeout))) as c_int;

    fn __poll_chk(fds: *mut pollfd, n: nfds_t, timeout: c_int, room: size_t) -> c_int =
        |gp, real| {
            if room / size_of::<pollfd>() < n as usize {
                return real();
            }
            result(poll_until(gp, fds, n, from_millis(timeout))) as c_int
        };

    fn ppoll(fds: *mut pollfd, n: nfds_t, time: *const timespec, mask: *const sigset_t) -> c_int =
        |gp, real| {
            match time_limit(gp, time) {
                Some(until) => {
                    let call = || result(poll_until(gp, fds, n, until)) as c_int;
                    with_mask(gp, mask, call).unwrap_or_else(fault)
                }
                None => undisturbed(gp, real),
            }
        };

    fn epoll_wait(epoll: c_int, at: *mut epoll_event, n: c_int, timeout: c_int) -> c_int =
        |gp, real| result(epoll_until(gp, epoll, at, n, from_millis(timeout))) as c_int;

    fn epoll_pwait(
        epoll: c_int, at: *mut epoll_event, n: c_int, timeout: c_int, mask: *const sigset_t,
    ) -> c_int = |gp, real| {
        let until = from_millis(timeout);
        let call = || result(epoll_until(gp, epoll, at, n, until)) as c_int;
        with_mask(gp, mask, call).unwrap_or_else(fault)
    };

    fn epoll_pwait2(
        epoll: c_int, at: *mut epoll_event, n: c_int, time: *const timespec, mask: *const sigset_t,
    ) -> c_int = |gp, real| {
        match time_limit(gp, time) {
            Some(until) => {
                let call = || result(epoll_until(gp, epoll, at, n, until)) as c_int;
                with_mask(gp, mask, call).unwrap_or_else(fault)
            }
            None => undisturbed(gp, real),
        }
    };
}
