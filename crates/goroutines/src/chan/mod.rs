//! Channels: Go's, with the interface of `crossbeam-channel`.
//!
//! [`bounded`] and [`unbounded`] make a channel; its [`Sender`] and [`Receiver`] can be cloned and
//! used from any goroutine and any thread. Item for item this is crossbeam-channel 0.5's API, so
//! `use goroutines::chan as crossbeam_channel;` is the whole port of a program, with two
//! differences:
//!
//! * **Blocking parks the goroutine.** An operation that blocks takes no thread with it. On an
//!   ordinary thread it blocks the thread.
//! * **Messages are handed over.** A message goes straight to the receiver that has waited longest,
//!   which then runs next; a receiver that makes room in a full channel lets the sender in that has
//!   waited longest. So waiters are served in their order, and no other can come between. (Go: the
//!   same.)
//!
//! And one thing more: [`Sender::close`], as Go's `close`.
//!
//! # A channel's laws
//! * Messages of one sender are received in the order in which they were sent.
//! * A send happens before the receipt of its message; the *k*th receipt of a channel with capacity
//!   *c* happens before the (*k*+*c*)th send is over; closing happens before a receipt that fails
//!   for it. (Go's memory model.)
//! * A channel is *disconnected* when all its senders, or all its receivers, were dropped, or it
//!   was closed. What was sent before can still be received; sending fails and gives the message
//!   back.
//!
//! # Examples
//! ```
//! use goroutines::{chan, go, select};
//!
//! let (results, receiver) = chan::bounded(0);
//! for n in 0..3u64 {
//!     let results = results.clone();
//!     go(move || results.send(n * n));
//! }
//! drop(results);
//! assert_eq!(receiver.iter().sum::<u64>(), 0 + 1 + 4);
//!
//! let (send, receive) = chan::unbounded();
//! go(move || send.send("hello"));
//! select! {
//!     recv(receive) -> message => assert_eq!(message, Ok("hello")),
//!     default(std::time::Duration::from_secs(10)) => panic!("nobody said anything"),
//! }
//! ```

mod buffer;
#[doc(hidden)]
pub mod cases;
pub(crate) mod clock;
mod core;
mod dynamic;
mod err;
mod party;
mod receiver;
mod select;
mod sender;
mod shared;

pub use dynamic::{Select, SelectedOperation};
pub use err::{
    ReadyTimeoutError, RecvError, RecvTimeoutError, SelectTimeoutError, SendError,
    SendTimeoutError, TryReadyError, TryRecvError, TrySelectError, TrySendError,
};
pub use receiver::{IntoIter, Iter, Receiver, TryIter};
pub use sender::Sender;

#[doc(no_inline)]
#[cfg(feature = "macros")]
pub use crate::{select, select_biased};

use crate::base::sys;
use crate::sched::wait;
use crate::timer::alarm::NEVER;
use clock::{Clock, Law};
use std::time::{Duration, Instant};

/// How long an operation may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    Now,
    Forever,
    After(Duration),
    At(Instant),
}

impl Limit {
    /// The time as the scheduler has it.
    fn until(self) -> u64 {
        match self {
            Self::Now => 0,
            Self::Forever => NEVER,
            Self::After(d) => wait::after(d),
            Self::At(at) => wait::after(at.saturating_duration_since(Instant::now())),
        }
    }

    /// Whether `until`, which it is, has passed.
    fn is_over(self, until: u64) -> bool {
        match self {
            Self::Now => true,
            Self::Forever => false,
            Self::After(_) | Self::At(_) => until <= sys::nanotime(),
        }
    }
}

/// Makes a channel that holds any number of messages: sending never blocks.
///
/// # Examples
/// ```
/// let (send, receive) = goroutines::chan::unbounded();
/// goroutines::go(move || (1..=3).try_for_each(|n| send.send(n)));
/// assert_eq!(receive.iter().collect::<Vec<_>>(), [1, 2, 3]);
/// ```
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    shared::pair(core::UNBOUNDED)
}

/// Makes a channel that holds up to `capacity` messages; sending blocks while there are as many.
///
/// With a capacity of 0 nothing is held: a send and a receipt meet (a *rendezvous*), and the first
/// to come waits for the other. (Go: `make(chan T, capacity)`.)
///
/// # Panics
/// If there can't be so much memory.
///
/// # Examples
/// ```
/// let (send, receive) = goroutines::chan::bounded(1);
/// send.send("first").unwrap();
/// assert!(send.try_send("second").is_err(), "no room");
/// assert_eq!(receive.recv(), Ok("first"));
/// ```
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    assert!(
        capacity
            .checked_mul(size_of::<T>().max(1))
            .is_some_and(|bytes| bytes <= isize::MAX as usize),
        "makechan: size out of range"
    );
    shared::pair(capacity)
}

/// Makes a channel that delivers one message after `duration`: the time it is.
///
/// It takes no goroutine, and no timer until somebody waits for it. It is never disconnected; after
/// its message was received, receiving blocks for ever. (Go: `time.After`.)
///
/// # Examples
/// ```
/// use goroutines::{chan, select};
/// use std::time::Duration;
///
/// let (_send, receive) = chan::bounded::<()>(0);
/// select! {
///     recv(receive) -> _ => unreachable!("nobody sends"),
///     recv(chan::after(Duration::from_millis(1))) -> _ => println!("that was a millisecond"),
/// }
/// ```
pub fn after(duration: Duration) -> Receiver<Instant> {
    match Instant::now().checked_add(duration) {
        Some(_) => Receiver::of_clock(Clock::after(duration)),
        None => never(),
    }
}

/// Makes a channel that delivers one message at the time `when`: that time. See [`after`].
pub fn at(when: Instant) -> Receiver<Instant> {
    Receiver::of_clock(Clock::at(when))
}

/// Makes a channel that never delivers a message, and is never disconnected.
///
/// In a [`select!`](crate::select) it is an operation that is switched off. (Go: a nil channel.)
///
/// # Examples
/// ```
/// use goroutines::{chan, select};
///
/// let (send, receive) = chan::bounded(1);
/// send.send(1).unwrap();
/// let stopped = true;
/// let receive = if stopped { chan::never() } else { receive };
/// select! {
///     recv(receive) -> _ => unreachable!("it is off"),
///     default => {}
/// }
/// ```
pub fn never<T>() -> Receiver<T> {
    Receiver::never()
}

/// Makes a channel that delivers a message every `duration`: the time at which it was due.
///
/// At most one message waits: a slow receiver misses some, and the next comes `duration` after the
/// late one was received. (For Go's rule, see [`time::Ticker`](crate::time::Ticker).)
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let tick = goroutines::chan::tick(Duration::from_millis(2));
/// tick.recv().unwrap();
/// tick.recv().unwrap();
/// assert!(start.elapsed() >= Duration::from_millis(4));
/// ```
pub fn tick(duration: Duration) -> Receiver<Instant> {
    match Instant::now().checked_add(duration) {
        Some(_) => Receiver::of_clock(Clock::every(duration, Law::FromReceipt)),
        None => never(),
    }
}
