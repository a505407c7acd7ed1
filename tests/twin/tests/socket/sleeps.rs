//! Sleeping, by all clocks.

#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Row, Trace, code, make, ret, rows};
use libc::{c_int, clockid_t, timespec};
use std::ptr::null_mut;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![nanosleeps, short_sleeps, sleeps_of_posix, clocks_that_there_are_not];
    for (name, clock) in CLOCKS {
        rows.push(Row::new(format!("sleep_by_{name}"), move |t| by_clock(t, clock)));
        rows.push(Row::new(format!("sleep_until_by_{name}"), move |t| until(t, clock)));
        rows.push(Row::new(format!("wrong_times_by_{name}"), move |t| wrong(t, clock)));
    }
    rows
}

const CLOCKS: [(&str, clockid_t); 10] = [
    ("realtime", libc::CLOCK_REALTIME),
    ("monotonic", libc::CLOCK_MONOTONIC),
    ("process_cputime", libc::CLOCK_PROCESS_CPUTIME_ID),
    ("thread_cputime", libc::CLOCK_THREAD_CPUTIME_ID),
    ("monotonic_raw", libc::CLOCK_MONOTONIC_RAW),
    ("realtime_coarse", libc::CLOCK_REALTIME_COARSE),
    ("monotonic_coarse", libc::CLOCK_MONOTONIC_COARSE),
    ("boottime", libc::CLOCK_BOOTTIME),
    ("tai", libc::CLOCK_TAI),
    ("boottime_alarm", libc::CLOCK_BOOTTIME_ALARM),
];

fn is_cpu(clock: clockid_t) -> bool {
    clock == libc::CLOCK_PROCESS_CPUTIME_ID
}

fn by_clock(t: &Trace, clock: clockid_t) {
    if is_cpu(clock) {
        // Another thread is to use up CPU time.
        std::thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    let time = timespec { tv_sec: 0, tv_nsec: 250_000_000 };
    let mut rest = timespec { tv_sec: 77, tv_nsec: 77 };
    let mut sleep =
        || code(unsafe { libc::clock_nanosleep(clock, 0, &raw const time, &raw mut rest) });
    if is_cpu(clock) {
        t.says("sleep", sleep());
    } else {
        let got = t.timed("time", 250, sleep);
        t.says("sleep", got);
    }
    t.says("rest", format!("{} {}", rest.tv_sec, rest.tv_nsec));
    for flags in [2, 4, -1, c_int::MAX, c_int::MIN] {
        let time = timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let got = unsafe { libc::clock_nanosleep(clock, flags, &raw const time, null_mut()) };
        t.says(&format!("flags {flags}"), code(got));
    }
    let zero = timespec { tv_sec: 0, tv_nsec: 0 };
    t.says(
        "no time",
        code(unsafe { libc::clock_nanosleep(clock, 0, &raw const zero, null_mut()) }),
    );
}

fn until(t: &Trace, clock: clockid_t) {
    if is_cpu(clock) {
        std::thread::spawn(|| {
            loop {
                std::hint::spin_loop();
            }
        });
    }
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    t.says("now", ret(unsafe { libc::clock_gettime(clock, &raw mut now) }));
    let past = [(0, 0), (0, 1), (now.tv_sec - 1, now.tv_nsec.max(0)), (now.tv_sec, now.tv_nsec)];
    for (tv_sec, tv_nsec) in past {
        if tv_sec < 0 {
            continue;
        }
        let time = timespec { tv_sec, tv_nsec };
        let got = t.timed("past", 400, || {
            code(unsafe {
                libc::clock_nanosleep(clock, libc::TIMER_ABSTIME, &raw const time, null_mut())
            })
        });
        t.says("past", got);
    }
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    let nanos = now.tv_nsec + 250_000_000;
    let time =
        timespec { tv_sec: now.tv_sec + nanos / 1_000_000_000, tv_nsec: nanos % 1_000_000_000 };
    let mut rest = timespec { tv_sec: 77, tv_nsec: 77 };
    let flags = libc::TIMER_ABSTIME;
    let mut sleep =
        || code(unsafe { libc::clock_nanosleep(clock, flags, &raw const time, &raw mut rest) });
    let got = if is_cpu(clock) { sleep() } else { t.timed("time", 250, sleep) };
    t.says("until", got);
    let mut then = timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(clock, &raw mut then) };
    t.says("not early", (then.tv_sec, then.tv_nsec) >= (time.tv_sec, time.tv_nsec));
    t.says("rest", format!("{} {}", rest.tv_sec, rest.tv_nsec));
}

fn wrong(t: &Trace, clock: clockid_t) {
    for (tv_sec, tv_nsec) in [
        (-1, 0),
        (0, -1),
        (0, 1_000_000_000),
        (i64::MIN, 0),
        (0, i64::MIN),
        (0, i64::MAX),
        (-1, -1),
        (1, 1 << 32),
    ] {
        let time = timespec { tv_sec, tv_nsec };
        for flags in [0, libc::TIMER_ABSTIME] {
            let mut rest = timespec { tv_sec: 77, tv_nsec: 77 };
            let got =
                unsafe { libc::clock_nanosleep(clock, flags, &raw const time, &raw mut rest) };
            t.says(
                &format!("{tv_sec} {tv_nsec} {flags}"),
                format!("{} {}", code(got), rest.tv_sec),
            );
        }
    }
    for at in [null_mut(), make::bad()] {
        t.says("no time", code(unsafe { libc::clock_nanosleep(clock, 0, at, null_mut()) }));
    }
}

fn clocks_that_there_are_not(t: &Trace) {
    let time = timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    let mut all = vec![10, 12, 15, 16, 17, 100, c_int::MAX, -1];
    // Clocks of descriptors, and of a process that does not exist.
    all.extend([(!3 << 3) | 3, (!99 << 3) | 3, (!999_999_999 << 3) | 2]);
    for clock in all {
        for flags in [0, libc::TIMER_ABSTIME] {
            let got = unsafe { libc::clock_nanosleep(clock, flags, &raw const time, null_mut()) };
            t.says(&format!("{clock} {flags}"), code(got));
            let got = unsafe { libc::clock_nanosleep(clock, flags, make::bad(), null_mut()) };
            t.says(&format!("{clock} {flags}, no time"), code(got));
        }
    }
}

fn nanosleeps(t: &Trace) {
    for (tv_sec, tv_nsec) in [
        (-1, 0),
        (0, -1),
        (0, 1_000_000_000),
        (0, i64::MAX),
        (i64::MIN, 5),
        (-1, -1),
        (0, 0),
        (0, 1),
    ] {
        let time = timespec { tv_sec, tv_nsec };
        let mut rest = timespec { tv_sec: 77, tv_nsec: 77 };
        let got = ret(unsafe { libc::nanosleep(&raw const time, &raw mut rest) });
        t.says(&format!("{tv_sec} {tv_nsec}"), format!("{got} {} {}", rest.tv_sec, rest.tv_nsec));
    }
    let mut time = timespec { tv_sec: 0, tv_nsec: 250_000_000 };
    let at = &raw mut time;
    let got = t.timed("into itself", 250, || ret(unsafe { libc::nanosleep(at, at) }));
    t.says("into itself", format!("{got} {} {}", time.tv_sec, time.tv_nsec));
    let long = timespec { tv_sec: i64::MAX, tv_nsec: 999_999_999 };
    t.hangs_after("the longest", 300, move || {
        ret(unsafe { libc::nanosleep(&raw const long, null_mut()) })
    });
    let flags = libc::TIMER_ABSTIME;
    for (name, clock) in CLOCKS.into_iter().filter(|(_, clock)| [0, 1, 7, 11].contains(clock)) {
        t.hangs_after(&format!("{name}, the longest"), 300, move || {
            code(unsafe { libc::clock_nanosleep(clock, flags, &raw const long, null_mut()) })
        });
    }
}

fn short_sleeps(t: &Trace) {
    let start = std::time::Instant::now();
    for nanos in [1, 1000, 50_000, 1_000_000, 5_000_000] {
        let time = timespec { tv_sec: 0, tv_nsec: nanos };
        let start = std::time::Instant::now();
        t.says("sleep", ret(unsafe { libc::nanosleep(&raw const time, null_mut()) }));
        t.says("not early", start.elapsed().as_nanos() >= nanos as u128);
    }
    t.says("soon", start.elapsed().as_millis() < 1000);
}

fn sleeps_of_posix(t: &Trace) {
    for micros in [0, 1, 999_999] {
        let got = t.timed("usleep", 999, || ret(unsafe { libc::usleep(micros) }));
        t.says("usleep", got);
    }
    let got = t.timed("of a second", 1000, || ret(unsafe { libc::usleep(1_000_000) }));
    t.says("usleep", got);
    t.says("sleep", unsafe { libc::sleep(0) });
    let got = t.timed("sleep", 1000, || unsafe { libc::sleep(1) });
    t.says("sleep", got);
    t.hangs_after("the longest", 300, || unsafe { libc::sleep(u32::MAX) });
    t.says("yield", ret(unsafe { libc::sched_yield() }));
}
