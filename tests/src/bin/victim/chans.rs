//! Channels and timers that nobody serves.

use goroutines::chan::{self, Receiver, Sender, bounded, never};
use goroutines::time::{Ticker, Timer, after_func};
use goroutines::{go, run, select};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

#[inline(never)]
fn receives(r: &Receiver<i32>) {
    r.recv().unwrap();
    std::hint::black_box(());
}

#[inline(never)]
fn sends(s: &Sender<i32>) {
    s.send(1).unwrap();
    std::hint::black_box(());
}

#[inline(never)]
fn selects(s: &Sender<i32>, r: &Receiver<i32>) {
    select! {
        send(s, 1) -> sent => sent.unwrap(),
        recv(r) -> received => assert!(received.is_ok()),
    }
}

pub(crate) fn receive() {
    run(|| {
        let (_s, r) = bounded(1);
        receives(&r);
    });
}

pub(crate) fn send() {
    run(|| {
        let (s, _r) = bounded(1);
        s.send(1).unwrap();
        sends(&s);
    });
}

pub(crate) fn selecting() {
    run(|| {
        let (s, r) = bounded(0);
        selects(&s, &r);
    });
}

pub(crate) fn receive_from_nil() {
    run(|| receives(&never()));
}

/// Three wait for each other in a ring, and main for one of them.
pub(crate) fn ring() {
    run(|| {
        let ends = [(); 4].map(|()| bounded(0));
        let [(s0, r0), (s1, r1), (s2, r2), (s3, r3)] = ends;
        for (r, s) in [(r1, s0), (r2, s1), (r3, s2)] {
            go(move || {
                receives(&r);
                sends(&s);
            });
        }
        receives(&r0);
        sends(&s3);
    });
}

/// Timers that nobody waits for wake nobody. (Go: since 1.23.)
pub(crate) fn beside_forgotten_timers() {
    run(|| {
        let (_ticker, _timer) = (Ticker::new(MS), Timer::new(MS * 100_000));
        let (_after, _tick) = (chan::after(MS * 100_000), chan::tick(MS));
        let (_s, r) = bounded(0);
        receives(&r);
    });
}

#[inline(never)]
fn waits_for(timer: &Timer) {
    timer.channel().recv().unwrap();
    std::hint::black_box(());
}

pub(crate) fn stopped_timer() {
    run(|| {
        let timer = Timer::new(MS * 100_000);
        timer.stop();
        waits_for(&timer);
    });
}

/// The second receipt of a timer.
pub(crate) fn timer_that_has_come() {
    run(|| {
        let timer = Timer::new(MS);
        waits_for(&timer);
        println!("it has come");
        waits_for(&timer);
    });
}

/// A function that is yet to be called could wake somebody.
pub(crate) fn after_the_last_func() {
    run(|| {
        let _function = after_func(MS * 50, || println!("called"));
        let (_s, r) = bounded(0);
        receives(&r);
    });
}

/// Timers and tickers that are waited for.
pub(crate) fn timers_wake() {
    run(|| {
        let (_s, r) = bounded::<i32>(0);
        let ticker = Ticker::new(MS * 5);
        for _ in 0..3 {
            select! {
                recv(ticker.channel()) -> tick => assert!(tick.is_ok()),
                recv(r) -> received => panic!("{received:?}"),
            }
        }
        chan::after(MS * 5).recv().unwrap();
        let (s, r) = bounded(0);
        let _function = after_func(MS * 5, move || s.send(7).unwrap());
        receives(&r);
        println!("done");
    });
}
