//! What the tests of channels share.

use goroutines::JoinHandle;
use goroutines::runtime::{GoroutineState, goroutines, gosched};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Waits until a goroutine waits for something: what it does now blocks.
///
/// # Panics
/// If it goes on running, or ends.
#[track_caller]
pub fn parked<T>(goroutine: &JoinHandle<T>) {
    let (id, start) = (goroutine.id(), Instant::now());
    gosched();
    while !goroutines().iter().any(|g| g.id == id && g.state == GoroutineState::Waiting) {
        assert!(!goroutine.is_finished(), "goroutine {id} did not block");
        assert!(start.elapsed() < Duration::from_secs(20), "goroutine {id} runs on");
        // A look stops the world, and so keeps others from getting there.
        sleep(Duration::from_micros(50));
    }
}
