//! Channels beside a model of them (`goroutines_tests::chan_model`): some thousand random sequences of operations.
//!
//! A sequence that fails is done again with `CHAN_MODEL_SEED=N cargo test -p goroutines-tests --test chan_model`,
//! and with `CHAN_MODEL_SAYS=1` it says what is done. `CHAN_MODEL_SECONDS=N` goes on for so long.

use goroutines_tests::chan_model;
use goroutines_tests::proc::at_procs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

/// As many bytes as the seed says, at random.
fn bytes(seed: u64) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    };
    let len = 20 + next() % 600;
    (0..len).map(|_| next() as u8).collect()
}

fn run(seed: u64) {
    let done = catch_unwind(AssertUnwindSafe(|| chan_model::run(&bytes(seed))));
    if let Err(panic) = done {
        eprintln!("CHAN_MODEL_SEED={seed}");
        resume_unwind(panic);
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn channels_are_as_their_model() {
    if let Some(seed) = number("CHAN_MODEL_SEED") {
        return at_procs(1, || run(seed));
    }
    let seconds = number("CHAN_MODEL_SECONDS");
    let start = Instant::now();
    let time = Duration::from_secs(seconds.unwrap_or(3));
    let mut seed = 0;
    // Pieces, as each is watched.
    while start.elapsed() < time && (seconds.is_some() || seed < 4_000) {
        at_procs(1, || (seed..seed + 200).for_each(run));
        seed += 200;
    }
    println!("{seed} sequences");
}
