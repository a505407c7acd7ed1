//! Sending signals: to oneself, to a goroutine, to the process.
//!
//! What is directed at a goroutine never goes through the kernel's queue of the thread that it
//! happens to be on, where it would stay behind. Only a signal that the calling goroutine lets
//! through, and has a handler for, is sent as ever: it comes at once.

use super::real::{Real, real, result};
use super::signal;
use crate::base::sys;
use crate::g::{G, current};
use crate::sched::{SCHED, preempt, quit};
use crate::signals::{bit, info_of, masks, post};
use goroutines_switch::sys::raw;
use libc::{c_int, pid_t, pthread_t, siginfo_t, sigval};

fn is_signal(signal: c_int) -> bool {
    // libc's own are refused by libc.
    (1..=64).contains(&signal) && signal != 32 && signal != 33
}

/// The goroutine that `thread` is. In a forked child none is: the one that is left is an ordinary
/// thread.
fn goroutine(thread: pthread_t) -> Option<&'static G> {
    if SCHED.is_forked() { None } else { super::pthread::goroutine(thread) }
}

/// Directs a signal at `gp`. An error number.
fn direct(gp: &'static G, info: &siginfo_t) -> c_int {
    let (signal, is_in_handler) = (info.si_signo, signal::in_handler());
    let is_blocked = masks::of(gp) & bit(signal) != 0;
    match Action::of(signal) {
        // Whole processes are ended and stopped, whichever thread is meant.
        _ if matches!(signal, libc::SIGKILL | libc::SIGSTOP) => to_process(signal),
        Action::Default if !is_blocked => to_process(signal),
        Action::Nothing if !is_blocked => 0,
        _ => {
            let _section = current::enter();
            let is_self = current::running().is_some_and(|own| std::ptr::eq(own, gp));
            let kept = if is_self {
                post::keep(gp, info)
            } else if is_in_handler {
                // SG5: the handler may have interrupted code that holds a lock of the runtime.
                post::keep_and_ring(gp, info)
            } else {
                post::send(gp, info)
            };
            // Its own comes with the section's end.
            if kept { 0 } else { libc::EAGAIN }
        }
    }
}

/// The default action, on the process. An error number.
fn to_process(signal: c_int) -> c_int {
    // SAFETY: no memory is involved.
    let word =
        unsafe { raw(libc::SYS_kill, [sys::own_pid() as usize, signal as usize, 0, 0, 0, 0]) };
    -word as c_int
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_kill(thread: pthread_t, signal: c_int) -> c_int {
    static REAL: Real = Real::new(c"pthread_kill");
    match goroutine(thread) {
        Some(_) if signal == 0 => 0,
        Some(gp) if is_signal(signal) => direct(gp, &info_of(signal, libc::SI_TKILL)),
        Some(_) => libc::EINVAL,
        None => {
            let real = real!(REAL as fn(pthread_t, c_int) -> c_int);
            // SAFETY: forwarded.
            unsafe { real(thread, signal) }
        }
    }
}

fn raise_here(signal: c_int, real: impl FnOnce() -> c_int) -> c_int {
    match current::g() {
        Some(gp) if is_signal(signal) && masks::of(gp) & bit(signal) != 0 => {
            match direct(gp, &info_of(signal, libc::SI_TKILL)) {
                0 => 0,
                error => result(-(error as isize)) as c_int,
            }
        }
        _ => real(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn raise(signal: c_int) -> c_int {
    static REAL: Real = Real::new(c"raise");
    // SAFETY: forwarded.
    raise_here(signal, || unsafe { real!(REAL as fn(c_int) -> c_int)(signal) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gsignal(signal: c_int) -> c_int {
    static REAL: Real = Real::new(c"gsignal");
    // SAFETY: forwarded.
    raise_here(signal, || unsafe { real!(REAL as fn(c_int) -> c_int)(signal) })
}

fn with_value(signal: c_int, value: sigval) -> siginfo_t {
    let mut info = info_of(signal, libc::SI_QUEUE);
    // SAFETY: the value stands behind the sender and its user.
    unsafe { (&raw mut info).cast::<usize>().add(3).write(value.sival_ptr as usize) };
    info
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_sigqueue(thread: pthread_t, signal: c_int, value: sigval) -> c_int {
    static REAL: Real = Real::new(c"pthread_sigqueue");
    match goroutine(thread) {
        Some(_) if signal == 0 => 0,
        Some(gp) if is_signal(signal) => direct(gp, &with_value(signal, value)),
        Some(_) => libc::EINVAL,
        None => {
            let real = real!(REAL as fn(pthread_t, c_int, sigval) -> c_int);
            // SAFETY: forwarded.
            unsafe { real(thread, signal, value) }
        }
    }
}

/// Where a goroutine sends a signal to its own process, and is itself the one that is to take it,
/// it has taken it when the call returns (POSIX, `kill`).
fn for_oneself(pid: pid_t, signal: c_int) -> Option<&'static G> {
    let gp = current::g()?;
    let is_own = pid > 0 && pid as u32 == sys::own_pid() && is_signal(signal);
    let takes = || {
        masks::of(gp) & bit(signal) == 0
            && Action::of(signal) == Action::Handler
            && !post::main_takes(gp, signal)
    };
    (is_own && takes()).then_some(gp)
}

/// Sends it to the own thread, as from the kernel.
fn to_oneself(gp: &'static G, info: &siginfo_t) -> c_int {
    let _section = current::enter();
    post::keep(gp, info);
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn kill(pid: pid_t, signal: c_int) -> c_int {
    static REAL: Real = Real::new(c"kill");
    match for_oneself(pid, signal) {
        Some(gp) => to_oneself(gp, &info_of(signal, libc::SI_USER)),
        None => {
            let real = real!(REAL as fn(pid_t, c_int) -> c_int);
            // SAFETY: forwarded.
            unsafe { real(pid, signal) }
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sigqueue(pid: pid_t, signal: c_int, value: sigval) -> c_int {
    static REAL: Real = Real::new(c"sigqueue");
    match for_oneself(pid, signal) {
        Some(gp) => to_oneself(gp, &with_value(signal, value)),
        None => {
            let real = real!(REAL as fn(pid_t, c_int, sigval) -> c_int);
            // SAFETY: forwarded.
            unsafe { real(pid, signal, value) }
        }
    }
}

/// What a signal does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// It is ignored.
    Nothing,
    /// What the kernel does.
    Default,
    /// It calls a function of the program's.
    Handler,
}

impl Action {
    fn of(number: c_int) -> Self {
        let is_harmless =
            matches!(number, libc::SIGCHLD | libc::SIGURG | libc::SIGWINCH | libc::SIGCONT);
        let handler = if number == preempt::SIGNAL && preempt::is_installed() {
            signal::users(number)
        } else {
            sys::handler_of(number)
        };
        match handler {
            libc::SIG_IGN => Self::Nothing,
            libc::SIG_DFL if is_harmless => Self::Nothing,
            libc::SIG_DFL => Self::Default,
            handler if handler == quit::address() => Self::Default,
            _ => Self::Handler,
        }
    }
}
