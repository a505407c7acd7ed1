//! Sleeping, and yielding.

use super::real::{result, take_over};
use super::user_memory;
use crate::base::sys;
use crate::g::{G, current};
use crate::sched::wait::{after, sleep_while};
use crate::sched::{ambient, park};
use crate::signals::deliver::Mark;
use crate::timer::alarm::NEVER;
use libc::{c_int, c_uint, clockid_t, timespec};
use std::time::Duration;

/// The longest step of a sleep until a time of day, which somebody may set.
const STEP: Duration = Duration::from_secs(1);

/// A time as the kernel takes it.
pub(super) fn duration(time: &timespec) -> Option<Duration> {
    let nanos = u32::try_from(time.tv_nsec).ok().filter(|n| *n < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, nanos))
}

/// How long until `time` on `clock`; zero if it is past. None for a clock that there is not.
pub(super) fn until(clock: clockid_t, time: Duration) -> Option<Duration> {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a timespec to write.
    if unsafe { libc::clock_gettime(clock, &raw mut now) } != 0 {
        return None;
    }
    Some(time.saturating_sub(duration(&now)?))
}

/// The caller's time. None where the kernel is to say what is wrong with it.
fn given(gp: &'static G, time: *const timespec) -> Option<Duration> {
    // SAFETY: two numbers.
    duration(&unsafe { user_memory::read(gp, time) }.ok()?)
}

/// Sleeps. False if a handler has ended the sleep, which is never restarted (signal(7)).
fn sleep_for(gp: &'static G, time: Duration) -> bool {
    let mark = Mark::now(gp);
    time.is_zero() || sleep_while(gp, after(time), || !mark.has_run(gp))
}

/// `nanosleep`: 0, or the number of an error. What is left of the time is written where a handler
/// has ended it.
fn sleep_or_rest(gp: &'static G, time: Duration, rest: *mut timespec) -> c_int {
    let start = sys::nanotime();
    if sleep_for(gp, time) {
        return 0;
    }
    let left = time.saturating_sub(Duration::from_nanos(sys::nanotime().saturating_sub(start)));
    let left = timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
    if !rest.is_null() && user_memory::write(gp, rest, left).is_err() {
        return libc::EFAULT;
    }
    libc::EINTR
}

/// Sleeps until `time` on `clock`. An error number, or 0.
fn sleep_until_time(gp: &'static G, clock: clockid_t, time: Duration) -> c_int {
    loop {
        let Some(left) = until(clock, time) else { return libc::EINVAL };
        if left.is_zero() || ambient::error(gp).is_some() {
            return 0;
        }
        // A monotonic clock goes as the runtime's does.
        let steady = clock == libc::CLOCK_MONOTONIC;
        if !sleep_for(gp, if steady { left } else { left.min(STEP) }) {
            return libc::EINTR;
        }
    }
}

/// The clocks of which an hour is an hour: others (of CPU time, that go on in suspend) are left to
/// the kernel.
fn is_plain(clock: clockid_t) -> bool {
    matches!(clock, libc::CLOCK_MONOTONIC | libc::CLOCK_REALTIME | libc::CLOCK_TAI)
}

/// The deadline of a timed wait on `clock`, in the runtime's time. An error number if it is none.
pub(super) fn deadline(clock: clockid_t, time: *const timespec) -> Result<u64, c_int> {
    if time.is_null() {
        return Ok(NEVER);
    }
    // SAFETY: the user's time.
    let time = duration(unsafe { &*time }).ok_or(libc::EINVAL)?;
    Ok(after(until(clock, time).ok_or(libc::EINVAL)?))
}

take_over! {
    fn nanosleep(time: *const timespec, rest: *mut timespec) -> c_int = |gp, real| {
        match given(gp, time) {
            Some(time) => match sleep_or_rest(gp, time, rest) {
                0 => 0,
                error => result(-(error as isize)) as c_int,
            },
            None => real(),
        }
    };

    fn clock_nanosleep(
        clock: clockid_t, flags: c_int, time: *const timespec, rest: *mut timespec,
    ) -> c_int = |gp, real| {
        let wanted = given(gp, time).filter(|_| is_plain(clock));
        match wanted {
            Some(time) if flags & libc::TIMER_ABSTIME != 0 => sleep_until_time(gp, clock, time),
            Some(time) => sleep_or_rest(gp, time, rest),
            None => crate::sched::syscall::announced_undisturbed(gp, real),
        }
    };

    fn usleep(micros: c_uint) -> c_int = |gp, real| {
        match sleep_for(gp, Duration::from_micros(micros.into())) {
            true => 0,
            false => result(-(libc::EINTR as isize)) as c_int,
        }
    };

    fn sleep(seconds: c_uint) -> c_uint = |gp, real| {
        let (start, time) = (sys::nanotime(), Duration::from_secs(seconds.into()));
        sleep_for(gp, time);
        // What is left, where a context or a handler has ended it, in whole seconds, as libc says
        // it.
        let slept = Duration::from_nanos(sys::nanotime().saturating_sub(start));
        let left = time.saturating_sub(slept);
        // A signal comes a moment late, which makes no second.
        (left + Duration::from_micros(300)).as_secs().min(seconds.into()) as c_uint
    };

    fn sched_yield() -> c_int = |gp, real| {
        let has_yielded = {
            let _section = current::enter();
            park::yield_now(gp)
        };
        if !has_yielded {
            // The goroutine it spins for may be on another thread, which waits for this one's CPU.
            sys::os_yield();
        }
        0
    };
}
