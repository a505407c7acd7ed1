//! `nix`: what its documentation shows of signals, with the goroutine in the thread's place.

use crate::{at_each, beside_others};
use nix::sys::signal::{
    SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, raise, sigaction,
};
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

static RAN: AtomicUsize = AtomicUsize::new(0);
static LAST: AtomicI32 = AtomicI32::new(0);

extern "C" fn notes(signal: i32) {
    LAST.store(signal, Ordering::SeqCst);
    RAN.fetch_add(1, Ordering::SeqCst);
}

fn install(signal: Signal) {
    let action = SigAction::new(SigHandler::Handler(notes), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: a handler that only counts.
    unsafe { sigaction(signal, &action) }.unwrap();
}

/// Blocks a signal, raises it, waits for it: what comes back, and that no handler has run.
fn waits() {
    install(Signal::SIGUSR1);
    let before = RAN.load(Ordering::SeqCst);
    let mut set = SigSet::empty();
    set.add(Signal::SIGUSR1);
    set.thread_block().unwrap();
    raise(Signal::SIGUSR1).unwrap();
    assert_eq!(set.wait().unwrap(), Signal::SIGUSR1);
    assert_eq!(RAN.load(Ordering::SeqCst), before);
    assert!(SigSet::thread_get_mask().unwrap().contains(Signal::SIGUSR1));
    set.thread_unblock().unwrap();
    raise(Signal::SIGUSR1).unwrap();
    assert_eq!(RAN.load(Ordering::SeqCst), before + 1);
    assert_eq!(LAST.load(Ordering::SeqCst), Signal::SIGUSR1 as i32);
}

/// A timer that sends a signal.
fn is_timed() {
    const TIMES: usize = 20;
    install(Signal::SIGALRM);
    let before = RAN.load(Ordering::SeqCst);
    let signal = SigevNotify::SigevSignal { signal: Signal::SIGALRM, si_value: 0 };
    let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, SigEvent::new(signal)).unwrap();
    let every = Expiration::Interval(TimeSpec::from(Duration::from_millis(2)));
    timer.set(every, TimerSetTimeFlags::empty()).unwrap();
    let begun = Instant::now();
    while RAN.load(Ordering::SeqCst) < before + TIMES {
        assert!(begun.elapsed() < Duration::from_secs(20), "a timer's signal");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_nix_documents() {
    at_each(|_| {
        beside_others(|| {
            waits();
            is_timed();
        });
    });
}
