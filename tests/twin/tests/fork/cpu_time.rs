//! The CPU time that the caller has had never goes back, and is its own.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows};
use std::time::Instant;

type Clock = fn() -> u64;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![bad_addresses];
    let clocks: [(&str, Clock); 3] =
        [("clock", by_clock), ("usage", by_usage), ("pthread", by_pthread)];
    for (name, clock) in clocks {
        rows.push(Row::new(format!("never_goes_back_{name}"), move |t| never_goes_back(t, clock)));
        rows.push(Row::new(format!("is_its_own_{name}"), move |t| is_its_own(t, clock)));
    }
    rows
}

fn read(clock: i32) -> u64 {
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(clock, &raw mut time);
        time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
    }
}

fn by_clock() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn by_pthread() -> u64 {
    unsafe {
        let mut clock = 0;
        libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock);
        read(clock)
    }
}

fn by_usage() -> u64 {
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage);
        let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
        micros(usage.ru_utime) + micros(usage.ru_stime)
    }
}

fn never_goes_back(t: &Trace, clock: Clock) {
    let all: Vec<_> = (0..6u64)
        .map(|i| {
            t.spawn(&format!("one {i}"), move |t| {
                let mut last = clock();
                let back = (0..60)
                    .filter(|k| {
                        for x in 0..20_000 * (1 + (i + k) % 5) {
                            std::hint::black_box(x);
                        }
                        let before = clock();
                        std::thread::sleep(std::time::Duration::from_micros(300 * (i + 1)));
                        let now = clock();
                        let back = before < last || now < before;
                        last = now;
                        back
                    })
                    .count();
                t.says("back", back);
            })
        })
        .collect();
    all.into_iter().for_each(|one| one.join());
}

/// One that computes has had about as much as it has taken, however long; one that sleeps beside it, next to nothing.
fn is_its_own(t: &Trace, clock: Clock) {
    let computes = t.spawn("computes", move |t| {
        let begun = clock();
        let until = Instant::now();
        while clock() - begun < 60_000 && until.elapsed().as_secs() < 20 {
            std::hint::black_box(begun);
        }
        t.says("took less than it had", until.elapsed().as_millis() < 50);
    });
    let sleeps = t.spawn("sleeps", move |t| {
        let begun = clock();
        for _ in 0..20 {
            ms(5);
        }
        t.says("had much", clock() - begun > 30_000);
    });
    computes.join();
    sleeps.join();
}

fn bad_addresses(t: &Trace) {
    unsafe {
        t.says("usage", ret(libc::getrusage(libc::RUSAGE_THREAD, make::bad())));
        t.says("no clock", ret(libc::clock_gettime(99_999, std::ptr::null_mut())));
    }
}
