//! What the Rust programs share for the cases that are small programs.
//!
//! Each includes this file as a module, as it does `measure.rs`.

use crate::measure::ms_once;
use sha1::{Digest, Sha1};
use std::fs::File;
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;
use std::ptr::from_mut;

/// The leaves of `skynet`'s tree.
pub(crate) const LEAVES: u64 = 1_000_000;

/// The children of each task in it that is none.
pub(crate) const CHILDREN: u64 = 10;

/// How many tasks lock in `mutex_eight`.
pub(crate) const LOCKERS: u64 = 8;

/// What `fib` is computed of.
pub(crate) const FIB: u64 = 30;

/// How many numbers are hashed, and how many tasks hash one in `sha1_many`.
pub(crate) const HASHES: u64 = 50_000;

/// Who hashes in `sha1`.
pub(crate) const PREFIXES: [&str; 2] = ["A", "B"];

/// How many calls block in `blocking`.
pub(crate) const CALLS: usize = 64;

/// What all leaves below `leaves` come to.
pub(crate) fn check_skynet(sum: u64, leaves: u64) {
    assert_eq!(sum, leaves * (leaves - 1) / 2);
}

/// Each call of `fib(n)` from 2 on starts a task; their number grows as the result does.
pub(crate) fn fib_spawns(n: u64) -> u64 {
    fibonacci(n + 1) - 1
}

/// As `fib` should have it.
pub(crate) fn check_fib(result: u64, n: u64) {
    assert_eq!(result, fibonacci(n));
}

fn fibonacci(n: u64) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

/// Hashes numbers, and prints each hash, as `examples/time_slicing.rs` does.
pub(crate) fn print_hashes(prefix: &str, numbers: RangeInclusive<u64>) {
    for i in numbers {
        let sum = Sha1::digest(i.to_string());
        println!("{prefix}: {i:05}: {sum:x}");
    }
}

/// Prints how long `work` took, which prints into /dev/null: as any program prints, a write a line.
pub(crate) fn ms_to_null(work: impl FnOnce()) {
    let null = File::options().write(true).open("/dev/null").expect("there is a /dev/null");
    // SAFETY: no memory is involved, and the standard output is there again before the result is printed.
    let stdout = unsafe { libc::dup(1) };
    ms_once(|| {
        // SAFETY: as above.
        unsafe { libc::dup2(null.as_raw_fd(), 1) };
        work();
        // SAFETY: as above.
        unsafe { libc::dup2(stdout, 1) };
    });
}

/// What a foreign library might do: blocks its thread for 100 ms. By number, which nobody intercepts.
pub(crate) fn foreign_call() {
    let mut left = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    let left = from_mut(&mut left);
    // SAFETY: the kernel reads it, and writes what is left if a signal came.
    while unsafe { libc::syscall(libc::SYS_nanosleep, left, left) } != 0 {}
}
