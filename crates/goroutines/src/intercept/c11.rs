//! Threads of C11: `mtx_*`, `cnd_*`, `call_once`, `thrd_*`. libc builds them on its pthread calls,
//! under internal names that can't be taken over; so the names of C11 are taken over, too, and lead
//! to our calls.
//!
//! (`tss_*` are keys, which don't wait. `mtx_init`, `cnd_init` and the like make pthread objects.)

use super::real::{Real, real};
use super::{cond, mutex, once};
use crate::g::current;
use libc::{c_int, c_void, pthread_cond_t, pthread_mutex_t, pthread_t, timespec};

const SUCCESS: c_int = 0;
const BUSY: c_int = 1;
const ERROR: c_int = 2;
const NOMEM: c_int = 3;
const TIMEDOUT: c_int = 4;

/// The value that C11's functions return for a pthread error.
fn said(error: c_int) -> c_int {
    match error {
        0 => SUCCESS,
        libc::ENOMEM => NOMEM,
        libc::ETIMEDOUT => TIMEDOUT,
        libc::EBUSY => BUSY,
        _ => ERROR,
    }
}

/// The pthread error for the value that libc's own C11 function has returned.
fn unsaid(result: c_int) -> c_int {
    match result {
        SUCCESS => 0,
        BUSY => libc::EBUSY,
        NOMEM => libc::ENOMEM,
        TIMEDOUT => libc::ETIMEDOUT,
        _ => libc::EINVAL,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mtx_lock(mutex: *mut pthread_mutex_t) -> c_int {
    said(mutex::lock(mutex))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mtx_trylock(mutex: *mut pthread_mutex_t) -> c_int {
    said(mutex::try_lock(mutex))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mtx_unlock(mutex: *mut pthread_mutex_t) -> c_int {
    said(mutex::unlock(mutex))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn mtx_timedlock(mutex: *mut pthread_mutex_t, time: *const timespec) -> c_int {
    static REAL: Real = Real::new(c"mtx_timedlock");
    // SAFETY: forwarded.
    said(mutex::lock_by(mutex, libc::CLOCK_REALTIME, time, || unsafe {
        unsaid(real!(REAL as fn(*mut pthread_mutex_t, *const timespec) -> c_int)(mutex, time))
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cnd_wait(cond: *mut pthread_cond_t, mutex: *mut pthread_mutex_t) -> c_int {
    static REAL: Real = Real::new(c"cnd_wait");
    // SAFETY: forwarded.
    said(cond::wait(cond, mutex, || unsafe {
        unsaid(real!(REAL as fn(*mut pthread_cond_t, *mut pthread_mutex_t) -> c_int)(cond, mutex))
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cnd_timedwait(
    cond: *mut pthread_cond_t,
    mutex: *mut pthread_mutex_t,
    time: *const timespec,
) -> c_int {
    static REAL: Real = Real::new(c"cnd_timedwait");
    // SAFETY: forwarded.
    said(cond::wait_by(cond, mutex, time, || unsafe {
        unsaid(real!(
            REAL as fn(*mut pthread_cond_t, *mut pthread_mutex_t, *const timespec) -> c_int
        )(cond, mutex, time))
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cnd_signal(cond: *mut pthread_cond_t) -> c_int {
    static REAL: Real = Real::new(c"cnd_signal");
    // SAFETY: forwarded.
    said(cond::signal(cond, || unsafe {
        unsaid(real!(REAL as fn(*mut pthread_cond_t) -> c_int)(cond))
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C" fn cnd_broadcast(cond: *mut pthread_cond_t) -> c_int {
    static REAL: Real = Real::new(c"cnd_broadcast");
    // SAFETY: forwarded.
    said(cond::broadcast(cond, || unsafe {
        unsaid(real!(REAL as fn(*mut pthread_cond_t) -> c_int)(cond))
    }))
}

#[unsafe(no_mangle)]
unsafe extern "C-unwind" fn call_once(control: *mut c_int, routine: once::Routine) {
    static REAL: Real = Real::new(c"call_once");
    once::once(control, || {
        // SAFETY: forwarded.
        unsafe { super::real::function::<once::Once<()>>(&REAL)(control, routine) };
        0
    });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn thrd_exit(result: c_int) -> ! {
    static REAL: Real = Real::new(c"thrd_exit");
    if current::g().is_some() {
        // SAFETY: it ends the process, and says why.
        unsafe { libc::pthread_exit(std::ptr::null_mut()) };
    }
    // SAFETY: forwarded.
    unsafe { real!(REAL as fn(c_int) -> !)(result) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn thrd_sleep(time: *const timespec, rest: *mut timespec) -> c_int {
    // SAFETY: the caller's times.
    match unsafe { libc::clock_nanosleep(libc::CLOCK_REALTIME, 0, time, rest) } {
        0 => 0,
        libc::EINTR => -1,
        _ => -2,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn thrd_join(thread: pthread_t, result: *mut c_int) -> c_int {
    let mut value: *mut c_void = std::ptr::null_mut();
    // SAFETY: a thread that the caller may join.
    let joined = said(unsafe { libc::pthread_join(thread, &raw mut value) });
    if !result.is_null() {
        // SAFETY: the caller's place for it. C11's threads return numbers.
        unsafe { *result = value as isize as c_int };
    }
    joined
}

#[unsafe(no_mangle)]
unsafe extern "C" fn thrd_yield() {
    // SAFETY: no memory is involved.
    unsafe { libc::sched_yield() };
}
