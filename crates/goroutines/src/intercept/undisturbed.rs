//! Calls that end with `EINTR` when a signal comes, and that Linux never restarts: the runtime's own signal must not
//! end them. All are announced, and the signal waits until they are over.
//!
//! **Waiting for a handler.** `pause` and `sigsuspend` wait in the kernel, on the goroutine's thread. But a signal to
//! the process may come to any thread, and mostly comes to the one that waits in `run`. So a handler that has run for
//! such a signal tells the goroutines that wait for one ([`handled`]), by the runtime's own signal.
//!
//! * PA1: a goroutine that waits has entered its M before it looks at [`HANDLED`] again, and our signal is blocked
//!   until it sleeps; a handler counts before it looks for goroutines that wait: one of them sees the other.

use super::real::{result, take_over};
use super::user_memory;
use crate::base::sys;
use crate::g::G;
use crate::m::M;
use crate::sched::preempt;
use crate::sched::syscall::{announced, announced_undisturbed};
use libc::{c_char, c_int, c_long, c_uint, c_void, siginfo_t, sigset_t, timespec};
use std::cell::Cell;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

/// Handlers that have run for signals to the process.
static HANDLED: AtomicU32 = AtomicU32::new(0);

/// Ms on which goroutines wait for a handler to run. Where the list is full, a goroutine waits for
/// handlers on its own thread only.
static WAITING: [AtomicPtr<M>; 32] = [const { AtomicPtr::new(null_mut()) }; 32];

thread_local! {
    /// Handlers that the calling flow has run.
    static HANDLED_HERE: Cell<u32> = const { Cell::new(0) };
}

/// A handler of the user's has run on this thread, for a signal with this code. Called in our own
/// handler.
pub(super) fn handled(code: c_int) {
    HANDLED_HERE.set(HANDLED_HERE.get().wrapping_add(1));
    if code == libc::SI_TKILL {
        return; // meant for this thread only
    }
    HANDLED.fetch_add(1, Ordering::SeqCst); // PA1
    for one in &WAITING {
        // SAFETY: null, or an M, which is never freed.
        if let Some(mp) = unsafe { one.load(Ordering::SeqCst).as_ref() } {
            preempt::signal(mp);
        }
    }
}

/// Enters `mp` in the list of Ms on which goroutines wait; none where it is full.
fn enter(mp: &'static M) -> Option<&'static AtomicPtr<M>> {
    WAITING.iter().find(|one| {
        one.compare_exchange(null_mut(), mp.as_ptr(), Ordering::SeqCst, Ordering::Relaxed).is_ok()
    })
}

/// Waits until a handler has run, with `mask` blocked, or the thread's own mask where there is none. Returns `-EINTR`,
/// always.
fn until_handled(gp: &'static G, mask: Option<u64>) -> isize {
    let before = HANDLED.load(Ordering::SeqCst);
    announced(gp, || {
        sys::block_signal(preempt::SIGNAL, true);
        let here = HANDLED_HERE.get();
        let place = enter(gp.m());
        let own = 1u64 << (preempt::SIGNAL - 1);
        let mask = mask.unwrap_or_else(|| sys::block_signals(0)) & !own;
        while HANDLED_HERE.get() == here && HANDLED.load(Ordering::SeqCst) == before {
            sys::suspend(mask);
        }
        if let Some(place) = place {
            place.store(null_mut(), Ordering::SeqCst);
        }
        sys::block_signal(preempt::SIGNAL, false);
    });
    -(libc::EINTR as isize)
}

/// `sigsuspend` with the kernel's mask at `mask`.
fn suspend(gp: &'static G, mask: *const sigset_t) -> isize {
    if user_memory::is_readable(gp, mask as usize, size_of::<u64>()).is_err() {
        return -(libc::EFAULT as isize);
    }
    // SAFETY: a sigset_t begins with the kernel's 64 bits, which can be read.
    until_handled(gp, Some(unsafe { mask.cast::<u64>().read_unaligned() }))
}

/// The mask of the calling thread without `signal`; none if that is no signal.
fn without(signal: c_int) -> Option<u64> {
    (1..=64).contains(&signal).then(|| sys::block_signals(0) & !(1 << (signal - 1)))
}

take_over! {
    fn pause() -> c_int = |gp, real| result(until_handled(gp, None)) as c_int;

    fn sigsuspend(mask: *const sigset_t) -> c_int = |gp, real| result(suspend(gp, mask)) as c_int;

    fn sigpause(mask: c_int) -> c_int =
        |gp, real| result(until_handled(gp, Some(mask as c_uint as u64))) as c_int;

    fn __xpg_sigpause(signal: c_int) -> c_int = |gp, real| match without(signal) {
        None => real(),
        mask => result(until_handled(gp, mask)) as c_int,
    };

    fn sigtimedwait(set: *const sigset_t, info: *mut siginfo_t, time: *const timespec) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

    fn sigwaitinfo(set: *const sigset_t, info: *mut siginfo_t) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

    fn sigwait(set: *const sigset_t, signal: *mut c_int) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

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
