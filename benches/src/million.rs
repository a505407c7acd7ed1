//! What `parked_million_…` is for the Rust programs that can park a million tasks.

use crate::measure::{print, resident_bytes};
use std::time::Instant;

/// `create` returns when all `n` are parked; what it returns wakes them, and returns when all have ended.
pub(crate) fn parked_million<W: FnOnce()>(case: &str, n: u64, create: impl FnOnce() -> W) {
    let before = resident_bytes();
    let mut start = Instant::now();
    let wake = create();
    match case {
        "parked_million_bytes" => {
            return print("bytes", (resident_bytes() - before) as f64 / n as f64);
        }
        "parked_million_wake" => {
            start = Instant::now();
            wake();
        }
        _ => {}
    }
    print("ms", start.elapsed().as_secs_f64() * 1e3);
}
