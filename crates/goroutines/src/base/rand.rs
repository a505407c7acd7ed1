//! Small, fast random numbers for scheduling decisions (xorshift64*; Vigna, 2016).

use std::cell::Cell;

/// A generator; one per M, so it needs no atomics.
#[derive(Debug)]
pub(crate) struct Rand(Cell<u64>);

impl Rand {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Cell::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1))
    }

    pub(crate) fn next(&self) -> u32 {
        let mut x = self.0.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0.set(x);
        (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }
}
