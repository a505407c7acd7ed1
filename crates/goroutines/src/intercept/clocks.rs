//! The clock of the calling thread's CPU time: in a goroutine it counts the goroutine's own.

use super::real::{Real, caller, real};
use crate::g::{G, current};
use crate::sched::cpu_time;
use libc::{c_int, clockid_t, rusage, timespec};

fn cpu_time(gp: &G) -> u64 {
    let _section = current::enter();
    cpu_time::of(gp)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    static REAL: Real = Real::new(c"clock_gettime");
    let real = real!(REAL as fn(clockid_t, *mut timespec) -> c_int);
    // SAFETY: forwarded.
    let result = unsafe { real(clock, time) };
    if clock == libc::CLOCK_THREAD_CPUTIME_ID
        && result == 0
        && let Some(gp) = caller()
    {
        let ns = cpu_time(gp);
        let (seconds, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
        // SAFETY: libc has written there.
        unsafe { time.write(timespec { tv_sec: seconds as _, tv_nsec: rest as _ }) };
    }
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getrusage(who: c_int, usage: *mut rusage) -> c_int {
    static REAL: Real = Real::new(c"getrusage");
    let real = real!(REAL as fn(c_int, *mut rusage) -> c_int);
    // SAFETY: forwarded.
    let result = unsafe { real(who, usage) };
    if who == libc::RUSAGE_THREAD
        && result == 0
        && let Some(gp) = caller()
    {
        let micros = cpu_time(gp) / 1_000;
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        // SAFETY: libc has written there.
        unsafe {
            (*usage).ru_utime = libc::timeval { tv_sec: seconds as _, tv_usec: rest as _ };
            // How much of it was spent in the kernel is not known.
            (*usage).ru_stime = libc::timeval { tv_sec: 0, tv_usec: 0 };
        }
    }
    result
}
