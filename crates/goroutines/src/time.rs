//! Timers, tickers, and functions that are called later. (Go: package `time`.)
//!
//! To sleep, use [`std::thread::sleep`]; to wait for a message with a time-out, the `_timeout`
//! functions of [`chan`](crate::chan) or `default(timeout)` in [`select!`](crate::select). What is
//! here is for times that are changed or taken back.
//!
//! No goroutine is woken early. On an idle machine it is woken some tens of microseconds late, as
//! an OS thread is. Where many goroutines wait for times close to each other, those that wait for
//! more than half a millisecond may be woken together: up to a sixteenth of their time late, and at
//! most a millisecond. That holds for sleeps and time-outs alike.
//!
//! The laws are those of Go since 1.23: a timer's channel holds nothing (its `len` and `capacity`
//! are 0), so that no message of the time before `stop` or `reset` comes after it; and a timer or
//! ticker that is dropped is stopped.

use crate::chan::Receiver;
use crate::chan::clock::{Clock, Law};
use crate::sched::later::Later;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Delivers one message when its time has come.
///
/// A timer that nobody waits for takes no goroutine and no entry anywhere: it is two words of
/// memory. When it is dropped it is stopped: a receiver that still waits on a clone of its channel
/// waits for ever. (Go: `time.Timer`.)
///
/// # Examples
/// ```
/// use goroutines::time::Timer;
/// use std::time::Duration;
///
/// let timer = Timer::new(Duration::from_millis(1));
/// timer.channel().recv().unwrap();
/// assert!(!timer.stop(), "its message was received");
/// assert!(!timer.reset(Duration::from_secs(10)));
/// assert!(timer.stop(), "it was running");
/// ```
#[must_use = "a timer that is dropped is stopped"]
pub struct Timer {
    clock: Arc<Clock>,
    channel: Receiver<Instant>,
}

impl Timer {
    /// Makes one that delivers its message after `d`.
    pub fn new(d: Duration) -> Self {
        let clock = Arc::new(Clock::after(d).seeming_empty());
        Self { channel: Receiver::of_clock(Arc::clone(&clock)), clock }
    }

    /// Where the message comes: the time at which it was due.
    pub fn channel(&self) -> &Receiver<Instant> {
        &self.channel
    }

    /// Stops it. True if this prevented its message: it was running, or its time had come and
    /// nobody had received the message, and nobody will.
    pub fn stop(&self) -> bool {
        self.clock.reset(None, Duration::ZERO)
    }

    /// Has it deliver a message after `d`, counted from now, and none before. As
    /// [`stop`](Self::stop), whether this prevented another.
    pub fn reset(&self, d: Duration) -> bool {
        self.clock.reset(Some(d), Duration::ZERO)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Timer { .. }")
    }
}

/// Delivers messages at intervals.
///
/// At most one message waits. A receiver that comes late finds that one, and misses those in
/// between; the next comes at a multiple of the period, as if the receiver had not been late. When
/// a ticker is dropped it is stopped. (Go: `time.Ticker`. For ticks that keep their distance, see
/// [`chan::tick`](crate::chan::tick).)
///
/// # Examples
/// ```
/// use goroutines::time::Ticker;
/// use std::time::Duration;
///
/// let ticker = Ticker::new(Duration::from_millis(1));
/// let first = ticker.channel().recv().unwrap();
/// std::thread::sleep(Duration::from_micros(3_500));
/// // Those missed are not made up for.
/// let second = ticker.channel().recv().unwrap();
/// assert!(second > first);
/// ```
#[must_use = "a ticker that is dropped is stopped"]
pub struct Ticker {
    clock: Arc<Clock>,
    channel: Receiver<Instant>,
}

impl Ticker {
    /// Makes one that delivers a message every `period`, the first after one period.
    ///
    /// # Panics
    /// If `period` is zero.
    pub fn new(period: Duration) -> Self {
        assert!(!period.is_zero(), "non-positive interval for NewTicker");
        let clock = Arc::new(Clock::every(period, Law::OnTheBeat).seeming_empty());
        Self { channel: Receiver::of_clock(Arc::clone(&clock)), clock }
    }

    /// Where the messages come: the time at which each was due.
    pub fn channel(&self) -> &Receiver<Instant> {
        &self.channel
    }

    /// Stops it: no more messages come, not even one that was due. Its channel is not closed, so
    /// that nobody takes the end for a tick.
    pub fn stop(&self) {
        self.clock.reset(None, Duration::ZERO);
    }

    /// Starts it anew with another period, the first message after one period.
    ///
    /// # Panics
    /// If `period` is zero.
    pub fn reset(&self, period: Duration) {
        assert!(!period.is_zero(), "non-positive interval for Ticker.Reset");
        self.clock.reset(Some(period), period);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Ticker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Ticker { .. }")
    }
}

/// Calls `f` after `d`, in a goroutine of its own.
///
/// Until then it takes no stack, only memory. What it returns can stop it or start it anew; when
/// that is dropped, `f` will still be called. (Go: `time.AfterFunc`.)
///
/// # Panics
/// If the runtime can't be started.
///
/// # Examples
/// ```
/// use goroutines::{chan, time};
/// use std::time::Duration;
///
/// let (send, receive) = chan::unbounded();
/// let hello = send.clone();
/// let greeting = time::after_func(Duration::from_millis(1), move || hello.send("hello").unwrap());
/// let never = time::after_func(Duration::from_secs(60), move || send.send("too late").unwrap());
/// assert!(never.stop());
/// assert_eq!(receive.recv(), Ok("hello"));
/// assert!(!greeting.stop(), "it has been called");
/// ```
#[track_caller]
pub fn after_func<F: Fn() + Send + Sync + 'static>(d: Duration, f: F) -> AfterFunc {
    let location = Location::caller();
    let this = AfterFunc { later: Later::new(), f: Arc::new(f), location };
    this.reset(d);
    this
}

/// A function that is called later: what [`after_func`] returns.
pub struct AfterFunc {
    later: Later,
    f: Arc<dyn Fn() + Send + Sync>,
    location: &'static Location<'static>,
}

impl AfterFunc {
    /// Stops it. True if this prevented a call; then the function will not be called. False if it
    /// was called (it may still run: this does not wait for it), or stopped, before.
    pub fn stop(&self) -> bool {
        self.later.disarm()
    }

    /// Has the function called after `d`, counted from now, also if it was called before. As
    /// [`stop`](Self::stop), whether this prevented another call.
    ///
    /// # Panics
    /// If the runtime can't be started.
    pub fn reset(&self, d: Duration) -> bool {
        let f = Arc::clone(&self.f);
        self.later.arm(d, self.location, move || f())
    }
}

impl fmt::Debug for AfterFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("AfterFunc { .. }")
    }
}
