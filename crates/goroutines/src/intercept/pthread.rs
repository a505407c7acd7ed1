//! pthread calls that ask about, or end, the calling thread.

use super::real::{Real, caller, real};
use crate::base::{fatal, sys};
use crate::g::{G, current};
use libc::{
    c_int, c_long, c_void, clockid_t, cpu_set_t, pthread_attr_t, pthread_t, sched_param, size_t,
};

/// The calling goroutine, if `thread` is it.
fn is_self(thread: pthread_t) -> Option<&'static G> {
    current::g().filter(|gp| gp.carrier().thread_pointer() == thread as usize)
}

/// The goroutine that `thread` is.
pub(super) fn goroutine(thread: pthread_t) -> Option<&'static G> {
    is_self(thread).or_else(|| {
        crate::observe::account::every_g()
            .find(|gp| gp.id() != 0 && gp.carrier().thread_pointer() == thread as usize)
    })
}

/// Whether `thread` is any goroutine.
fn is_goroutine(thread: pthread_t) -> bool {
    goroutine(thread).is_some()
}

static GETATTR: Real = Real::new(c"pthread_getattr_np");
static EXIT: Real = Real::new(c"pthread_exit");
static CANCEL: Real = Real::new(c"pthread_cancel");
static GETAFFINITY: Real = Real::new(c"pthread_getaffinity_np");
static SETAFFINITY: Real = Real::new(c"pthread_setaffinity_np");
static GETSCHEDPARAM: Real = Real::new(c"pthread_getschedparam");
static SETSCHEDPARAM: Real = Real::new(c"pthread_setschedparam");
static GETCPUCLOCKID: Real = Real::new(c"pthread_getcpuclockid");

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getattr_np(thread: pthread_t, attr: *mut pthread_attr_t) -> c_int {
    let forked =
        || super::fork::forked().filter(|gp| gp.carrier().thread_pointer() == thread as usize);
    match is_self(thread).or_else(forked) {
        // SAFETY: attr is the caller's.
        Some(gp) => unsafe {
            goroutines_switch::thread_pointer::pthread_getattr(attr, gp.carrier().stack())
        },
        None => {
            let real = real!(GETATTR as fn(pthread_t, *mut pthread_attr_t) -> c_int);
            // SAFETY: forwarded.
            unsafe { real(thread, attr) }
        }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_exit(value: *mut c_void) -> ! {
    if current::g().is_some() {
        sys::write_all(2, b"pthread_exit ends a thread, and a goroutine has none: use goroutines::runtime::goexit\n");
        fatal::fatal("pthread_exit called on a goroutine");
    }
    if super::fork::forked().is_some() {
        // The first thread of a forked child: libc has no frame under it to return to.
        goroutines_switch::thread_pointer::leave();
        loop {
            // SAFETY: ends the thread, and the process if it was the last.
            unsafe { goroutines_switch::sys::raw(libc::SYS_exit, [0; 6]) };
        }
    }
    let real = real!(EXIT as fn(*mut c_void) -> !);
    // SAFETY: forwarded.
    unsafe { real(value) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cancel(thread: pthread_t) -> c_int {
    if is_self(thread).is_some() || is_goroutine(thread) {
        return libc::ESRCH;
    }
    let real = real!(CANCEL as fn(pthread_t) -> c_int);
    // SAFETY: forwarded.
    unsafe { real(thread) }
}

/// A system call whose error is the call's result.
fn error_of(word: isize) -> c_int {
    if word < 0 { -word as c_int } else { 0 }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getaffinity_np(
    thread: pthread_t,
    bytes: size_t,
    set: *mut cpu_set_t,
) -> c_int {
    if is_self(thread).is_none() {
        let real = real!(GETAFFINITY as fn(pthread_t, size_t, *mut cpu_set_t) -> c_int);
        // SAFETY: forwarded.
        return unsafe { real(thread, bytes, set) };
    }
    let args = [0, bytes, set as usize, 0, 0, 0];
    // SAFETY: the caller's set. The kernel writes what it returns; the rest is to be zero.
    unsafe {
        let n = goroutines_switch::sys::raw(libc::SYS_sched_getaffinity, args);
        if n >= 0 {
            set.cast::<u8>().add(n as usize).write_bytes(0, bytes - n as usize);
        }
        error_of(n)
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setaffinity_np(
    thread: pthread_t,
    bytes: size_t,
    set: *const cpu_set_t,
) -> c_int {
    let Some(gp) = is_self(thread) else {
        let real = real!(SETAFFINITY as fn(pthread_t, size_t, *const cpu_set_t) -> c_int);
        // SAFETY: forwarded.
        return unsafe { real(thread, bytes, set) };
    };
    change(gp, libc::SYS_sched_setaffinity, [0, bytes, set as usize, 0, 0, 0])
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getschedparam(
    thread: pthread_t,
    policy: *mut c_int,
    param: *mut sched_param,
) -> c_int {
    if is_self(thread).is_none() {
        let real = real!(GETSCHEDPARAM as fn(pthread_t, *mut c_int, *mut sched_param) -> c_int);
        // SAFETY: forwarded.
        return unsafe { real(thread, policy, param) };
    }
    // SAFETY: the caller's policy and param.
    unsafe {
        let got = goroutines_switch::sys::raw(libc::SYS_sched_getscheduler, [0; 6]);
        if got < 0 {
            return error_of(got);
        }
        *policy = got as c_int;
        let args = [0, param as usize, 0, 0, 0, 0];
        error_of(goroutines_switch::sys::raw(libc::SYS_sched_getparam, args))
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setschedparam(
    thread: pthread_t,
    policy: c_int,
    param: *const sched_param,
) -> c_int {
    let Some(gp) = is_self(thread) else {
        let real = real!(SETSCHEDPARAM as fn(pthread_t, c_int, *const sched_param) -> c_int);
        // SAFETY: forwarded.
        return unsafe { real(thread, policy, param) };
    };
    change(gp, libc::SYS_sched_setscheduler, [0, policy as usize, param as usize, 0, 0, 0])
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setschedprio(thread: pthread_t, priority: c_int) -> c_int {
    static REAL: Real = Real::new(c"pthread_setschedprio");
    let Some(gp) = is_self(thread) else {
        let real = real!(REAL as fn(pthread_t, c_int) -> c_int);
        // SAFETY: forwarded.
        return unsafe { real(thread, priority) };
    };
    let param = sched_param { sched_priority: priority };
    change(gp, libc::SYS_sched_setparam, [0, &raw const param as usize, 0, 0, 0, 0])
}

/// Changes the OS thread of the calling goroutine, which stays there.
fn change(gp: &'static G, number: c_long, args: [usize; 6]) -> c_int {
    // SAFETY: the caller's memory.
    let call = || error_of(unsafe { goroutines_switch::sys::raw(number, args) });
    match caller() {
        Some(_) => super::pinned::pinned(gp, call, |error| *error == 0),
        None => call(),
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getcpuclockid(thread: pthread_t, clock: *mut clockid_t) -> c_int {
    if is_self(thread).is_none() {
        let real = real!(GETCPUCLOCKID as fn(pthread_t, *mut clockid_t) -> c_int);
        // SAFETY: forwarded.
        return unsafe { real(thread, clock) };
    }
    // SAFETY: the caller's clock.
    unsafe { *clock = libc::CLOCK_THREAD_CPUTIME_ID };
    0
}
