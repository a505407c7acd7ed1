//! What the Rust programs share: the command line, the clock, and the line they print.
//!
//! Each includes this file as a module, so that it needs no crate of its own.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// How many tasks `spawn_many` starts.
pub(crate) const MANY: u64 = 1_000_000;

/// How many tasks `parked_bytes` and `parked_ns` keep.
pub(crate) const PARKED: u64 = 100_000;

/// How many tasks yield in `yield_many`.
pub(crate) const YIELDERS: u64 = 1_000;

/// What a buffered channel holds.
pub(crate) const CAPACITY: usize = 128;

/// The senders and the receivers of a channel that is shared, and the channels of a select.
pub(crate) const FOUR: u64 = 4;

/// When what is called later would be called.
pub(crate) const LATER: Duration = Duration::from_secs(3_600);

/// Long enough that starting up and the clock don't show.
const LONG_ENOUGH: Duration = Duration::from_millis(300);

/// The case and the number of processors, from the command line.
pub(crate) fn arguments() -> (String, usize) {
    let mut args = std::env::args().skip(1);
    match (args.next(), args.next().and_then(|procs| procs.parse().ok())) {
        (Some(case), Some(procs)) => (case, procs),
        _ => {
            eprintln!("usage: PROGRAM CASE PROCS");
            std::process::exit(2)
        }
    }
}

/// Prints what one operation costs. `work(n)` does n of them; n is doubled until they take long enough,
/// so all but the last round warm up.
///
/// A third word on the command line, which the runner uses to count instructions, is how many are done.
pub(crate) fn ns_each(mut work: impl FnMut(u64)) {
    let fixed = std::env::args().nth(3).and_then(|n| n.parse().ok());
    if let Some(n) = fixed {
        work(n);
        return print("operations", n as f64);
    }
    doubled(2 * YIELDERS, 1, work);
}

/// Prints what one of the `n` operations costs that `work` does together: once to warm up, then 1, 2,
/// 4 … times, until they take long enough.
pub(crate) fn ns_of(n: u64, mut work: impl FnMut()) {
    work();
    doubled(1, n, |times| (0..times).for_each(|_| work()));
}

fn doubled(mut n: u64, operations: u64, mut work: impl FnMut(u64)) {
    loop {
        let start = Instant::now();
        work(n);
        let elapsed = start.elapsed();
        if elapsed >= LONG_ENOUGH {
            return print("ns", elapsed.as_nanos() as f64 / (n * operations) as f64);
        }
        n *= 2;
    }
}

/// Prints what one of `n` operations costs that are done once, cold.
pub(crate) fn ns_once(n: u64, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    print("ns", start.elapsed().as_nanos() as f64 / n as f64);
}

/// Prints how long `work` took, which is done once, cold.
pub(crate) fn ms_once(work: impl FnOnce()) {
    let start = Instant::now();
    work();
    print("ms", start.elapsed().as_secs_f64() * 1e3);
}

/// Prints what each of `n` tasks takes up, or took to make. `start_all` returns when all are parked.
pub(crate) fn parked(case: &str, n: u64, start_all: impl FnOnce()) {
    let before = resident_bytes();
    let start = Instant::now();
    start_all();
    let elapsed = start.elapsed();
    if case == "parked_bytes" {
        print("bytes", (resident_bytes() - before) as f64 / n as f64);
    } else {
        print("ns", elapsed.as_nanos() as f64 / n as f64);
    }
}

/// What each parked task holds.
#[inline(never)]
pub(crate) fn hold() -> Box<[u8; 64]> {
    black_box(Box::new([1; 64]))
}

/// `n` messages in rounds: so no more than 128,000 wait where nothing bounds their number.
pub(crate) fn rounds(n: u64) -> impl Iterator<Item = u64> {
    let round = n.min(1_000 * CAPACITY as u64);
    std::iter::repeat_n(round, (n / round) as usize)
}

pub(crate) fn print(unit: &str, value: f64) {
    println!("{unit} {value:.1}");
}

pub(crate) fn resident_bytes() -> i64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<i64>().ok());
    pages.expect("/proc/self/statm has the resident pages second") * 4096
}
