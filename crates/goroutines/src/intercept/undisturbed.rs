//! Calls that end with `EINTR` when a signal comes, and that Linux never restarts: the runtime's
//! own signal must not end them. Those that wait for a queue of the kernel's are announced, and the
//! signal waits until they are over.
//!
//! **Waiting for a handler** (`pause`, `sigsuspend`): the goroutine is parked until one has run on
//! it.
//!
//! **Waiting for a signal** (`sigwait` and its kin): what is pending for the goroutine is taken;
//! else the call is made, announced, as what all goroutines block is pending in the kernel (SG1). A
//! signal that is directed at the goroutine meanwhile is told to it by a knock (`signals/post.rs`),
//! which ends the call.

use super::mask;
use super::real::{result, set_errno, take_over};
use super::time::duration;
use super::user_memory;
use crate::base::sys;
use crate::g::{G, current};
use crate::sched::syscall::announced_undisturbed;
use crate::sched::wait::after;
use crate::signals::deliver::{self, Mark};
use crate::signals::{bit, masks, post};
use crate::timer::alarm::NEVER;
use goroutines_switch::sys::raw;
use libc::{c_char, c_int, c_long, c_uint, c_void, siginfo_t, sigset_t, timespec};
use std::sync::atomic::{AtomicU32, Ordering};

const INTERRUPTED: isize = -(libc::EINTR as isize);

/// Goroutines that wait for a signal, which may come from outside at any time.
static PAUSING: AtomicU32 = AtomicU32::new(0);

/// Whether any goroutine waits for a signal.
pub(crate) fn anybody_pauses() -> bool {
    PAUSING.load(Ordering::SeqCst) != 0
}

/// Waits until a handler has run, with the mask `mask`, or the goroutine's own where there is none.
/// Returns `-EINTR`, always.
fn until_handled(gp: &'static G, mask: Option<u64>) -> isize {
    let mark = Mark::now(gp);
    PAUSING.fetch_add(1, Ordering::SeqCst);
    match mask {
        Some(mask) => mask::with(gp, mask, || deliver::until_handled(gp, mark)),
        None => deliver::until_handled(gp, mark),
    }
    PAUSING.fetch_sub(1, Ordering::SeqCst);
    INTERRUPTED
}

/// `sigsuspend` with the kernel's mask at `mask`.
fn suspend(gp: &'static G, mask: *const sigset_t) -> isize {
    // SAFETY: a sigset_t begins with the kernel's 64 bits.
    match unsafe { user_memory::read(gp, mask.cast::<u64>()) } {
        Ok(mask) => until_handled(gp, Some(mask)),
        Err(error) => -(error as isize),
    }
}

/// The mask of `gp` without `signal`; none if that is no signal.
fn without(gp: &G, signal: c_int) -> Option<u64> {
    (1..=64).contains(&signal).then(|| masks::of(gp) & !bit(signal))
}

/// While it lives, the goroutine waits for signals of `set`.
struct Awaiting(&'static G);

impl Awaiting {
    fn new(gp: &'static G, set: u64) -> Self {
        post::await_signals(gp, set);
        Self(gp)
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        post::await_signals(self.0, 0);
    }
}

/// Waits for a signal of `set` until the time `until`. The signal, or `-errno`.
fn wait_for_one(gp: &'static G, set: u64, until: u64) -> Result<siginfo_t, isize> {
    let mark = Mark::now(gp);
    let _awaiting = Awaiting::new(gp, set);
    loop {
        let taken = {
            let _section = current::enter();
            post::take(gp, set)
        };
        if let Some(info) = taken {
            return Ok(info);
        }
        let left = match until {
            NEVER => None,
            until => Some(until.saturating_sub(sys::nanotime())),
        };
        // SAFETY: plain old data.
        let mut info: siginfo_t = unsafe { std::mem::zeroed() };
        let time = left.map(|ns| timespec {
            tv_sec: (ns / 1_000_000_000) as i64,
            tv_nsec: (ns % 1_000_000_000) as i64,
        });
        let time = time.as_ref().map_or(0, |time| std::ptr::from_ref(time) as usize);
        let args = [&raw const set as usize, &raw mut info as usize, time, 8, 0, 0];
        // SAFETY: our own memory.
        let call = || (gp.m(), unsafe { raw(libc::SYS_rt_sigtimedwait, args) });
        let (mp, word) = announced_undisturbed(gp, call);
        match word {
            INTERRUPTED if mark.has_run(gp) => return Err(word),
            INTERRUPTED => {}
            error if error < 0 => return Err(error),
            _ if post::is_knock(Some(mp), &info) => {}
            _ => return Ok(info),
        }
    }
}

/// `sigtimedwait`, `sigwaitinfo`. The number of the signal, or `-errno`.
fn wait_for_info(
    gp: &'static G,
    set: *const sigset_t,
    to: *mut siginfo_t,
    time: *const timespec,
) -> isize {
    // SAFETY: the kernel's 64 bits, and two numbers.
    let read = unsafe {
        let time = (!time.is_null()).then(|| user_memory::read(gp, time)).transpose();
        time.and_then(|time| Ok((user_memory::read(gp, set.cast::<u64>())?, time)))
    };
    let (set, time) = match read {
        Ok(read) => read,
        Err(error) => return -(error as isize),
    };
    let until = match time.as_ref().map(duration) {
        None => NEVER,
        Some(Some(time)) => after(time),
        Some(None) => return -(libc::EINVAL as isize),
    };
    let mut info = match wait_for_one(gp, set, until) {
        Ok(info) => info,
        Err(error) => return error,
    };
    // As libc does it.
    if info.si_code == libc::SI_TKILL {
        info.si_code = libc::SI_USER;
    }
    if !to.is_null()
        && let Err(error) = user_memory::write(gp, to, info)
    {
        return -(error as isize);
    }
    info.si_signo as isize
}

/// `sigwait`. An error number.
fn wait_for_number(gp: &'static G, set: *const sigset_t, to: *mut c_int) -> c_int {
    // SAFETY: the kernel's 64 bits.
    let set = match unsafe { user_memory::read(gp, set.cast::<u64>()) } {
        Ok(set) => set,
        Err(error) => return error,
    };
    loop {
        match wait_for_one(gp, set, NEVER) {
            Ok(info) => {
                // SAFETY: the caller's number; libc writes it too.
                unsafe { *to = info.si_signo };
                return 0;
            }
            Err(INTERRUPTED) => {}
            Err(error) => return -error as c_int,
        }
    }
}

take_over! {
    fn pause() -> c_int = |gp, real| result(until_handled(gp, None)) as c_int;

    fn sigsuspend(mask: *const sigset_t) -> c_int = |gp, real| result(suspend(gp, mask)) as c_int;

    fn sigpause(mask: c_int) -> c_int =
        |gp, real| result(until_handled(gp, Some(mask as c_uint as u64))) as c_int;

    fn __xpg_sigpause(signal: c_int) -> c_int = |gp, real| match without(gp, signal) {
        None => real(),
        mask => result(until_handled(gp, mask)) as c_int,
    };

    fn sigtimedwait(set: *const sigset_t, info: *mut siginfo_t, time: *const timespec) -> c_int =
        |gp, real| result(wait_for_info(gp, set, info, time)) as c_int;

    fn sigwaitinfo(set: *const sigset_t, info: *mut siginfo_t) -> c_int =
        |gp, real| result(wait_for_info(gp, set, info, std::ptr::null())) as c_int;

    fn sigwait(set: *const sigset_t, signal: *mut c_int) -> c_int = |gp, real| {
        let before = super::real::errno();
        let error = wait_for_number(gp, set, signal);
        set_errno(before);
        error
    };

    fn mq_receive(queue: c_int, at: *mut c_char, n: usize, priority: *mut c_uint) -> c_long =
        |gp, real| announced_undisturbed(gp, real);

    fn mq_timedreceive(
        queue: c_int, at: *mut c_char, n: usize, priority: *mut c_uint, time: *const timespec,
    ) -> c_long = |gp, real| announced_undisturbed(gp, real);

    fn mq_send(queue: c_int, at: *const c_char, n: usize, priority: c_uint) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

    fn mq_timedsend(
        queue: c_int, at: *const c_char, n: usize, priority: c_uint, time: *const timespec,
    ) -> c_int = |gp, real| announced_undisturbed(gp, real);

    fn msgrcv(queue: c_int, at: *mut c_void, n: usize, kind: c_long, flags: c_int) -> isize =
        |gp, real| announced_undisturbed(gp, real);

    fn msgsnd(queue: c_int, at: *const c_void, n: usize, flags: c_int) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

    fn semop(set: c_int, list: *mut libc::sembuf, n: usize) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

    fn semtimedop(set: c_int, list: *mut libc::sembuf, n: usize, time: *const timespec) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

    fn aio_suspend(list: *const *const c_void, n: c_int, time: *const timespec) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

    fn aio_suspend64(list: *const *const c_void, n: c_int, time: *const timespec) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

    fn lio_listio(mode: c_int, list: *const *mut c_void, n: c_int, event: *mut c_void) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

    fn lio_listio64(mode: c_int, list: *const *mut c_void, n: c_int, event: *mut c_void) -> c_int =
        |gp, real| announced_undisturbed(gp, real);
}
