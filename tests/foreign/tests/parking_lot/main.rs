//! parking_lot's and parking_lot_core's tests, on goroutines.

#[path = "suites.rs"]
mod at_1;
#[path = "suites.rs"]
mod at_2;

use parking_lot_core::{DEFAULT_UNPARK_TOKEN, FilterOp, ParkToken};

/// The tokens of those that are parked at `on`, in order. (The originals look into the locks.)
fn parked<T>(on: &T) -> Vec<ParkToken> {
    parked_at(std::ptr::from_ref(on).addr())
}

fn parked_at(key: usize) -> Vec<ParkToken> {
    let mut tokens = Vec::new();
    let note = |token| {
        tokens.push(token);
        FilterOp::Skip
    };
    // SAFETY: the key is the test's own, and nobody is woken.
    unsafe { parking_lot_core::unpark_filter(key, note, |_| DEFAULT_UNPARK_TOKEN) };
    tokens
}
