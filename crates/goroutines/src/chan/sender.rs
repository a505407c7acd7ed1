//! The side that sends.

use super::Limit;
use super::core::Stop;
use super::err::{SendError, SendTimeoutError, TrySendError};
use super::select::Operand;
use super::shared::End;
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};

/// The sending side of a channel. Clones send to the same channel.
pub struct Sender<T> {
    end: End<T, true>,
}

impl<T> UnwindSafe for Sender<T> {}
impl<T> RefUnwindSafe for Sender<T> {}

impl<T> Sender<T> {
    pub(super) fn new(end: End<T, true>) -> Self {
        Self { end }
    }

    pub(super) fn operand(&self) -> &dyn Operand {
        self.end.chan()
    }

    pub(super) fn chan(&self) -> &super::core::Chan<T> {
        self.end.chan()
    }

    #[inline]
    fn send_until(&self, message: T, limit: Limit) -> Result<(), (T, Stop)> {
        let message = ManuallyDrop::new(message);
        // SAFETY: the message moves with success, and only then.
        match unsafe { self.end.chan().send(&raw const *message, limit) } {
            Ok(()) => Ok(()),
            Err(stop) => Err((ManuallyDrop::into_inner(message), stop)),
        }
    }

    /// Sends a message; blocks while the channel is full (without capacity: until somebody receives
    /// it).
    ///
    /// Blocked senders are let in in the order in which they came. (Go: `ch <- message`.)
    ///
    /// # Errors
    /// If the channel is disconnected, also while it waits. The error holds the message.
    ///
    /// # Deadlock
    /// If nobody receives, and a receiver is kept.
    ///
    /// # Examples
    /// ```
    /// let (send, receive) = goroutines::chan::bounded(0);
    /// goroutines::go(move || send.send(1));
    /// assert_eq!(receive.recv(), Ok(1));
    /// ```
    #[inline]
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.send_until(message, Limit::Forever).map_err(|(message, _)| SendError(message))
    }

    /// Sends a message if that is possible at once. Does not block; where the channel is full,
    /// takes no lock.
    ///
    /// (Go: a `select` with `default`.)
    ///
    /// # Errors
    /// If the channel is full (without capacity: nobody waits for a message), or disconnected. The
    /// error holds the message.
    ///
    /// # Examples
    /// ```
    /// use goroutines::chan::{bounded, TrySendError};
    ///
    /// let (send, receive) = bounded(1);
    /// assert_eq!(send.try_send(1), Ok(()));
    /// assert_eq!(send.try_send(2), Err(TrySendError::Full(2)));
    /// drop(receive);
    /// assert_eq!(send.try_send(3), Err(TrySendError::Disconnected(3)));
    /// ```
    #[inline]
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        self.send_until(message, Limit::Now).map_err(|(message, stop)| match stop {
            Stop::Closed => TrySendError::Disconnected(message),
            Stop::Timeout => TrySendError::Full(message),
        })
    }

    /// As [`send`](Self::send), for `timeout` at most.
    ///
    /// # Errors
    /// If the time is over, or the channel is disconnected. The error holds the message.
    pub fn send_timeout(&self, message: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.send_limited(message, Limit::After(timeout))
    }

    /// As [`send`](Self::send), until `deadline` at most.
    ///
    /// # Errors
    /// If the time is over, or the channel is disconnected. The error holds the message.
    pub fn send_deadline(&self, message: T, deadline: Instant) -> Result<(), SendTimeoutError<T>> {
        self.send_limited(message, Limit::At(deadline))
    }

    fn send_limited(&self, message: T, limit: Limit) -> Result<(), SendTimeoutError<T>> {
        self.send_until(message, limit).map_err(|(message, stop)| match stop {
            Stop::Closed => SendTimeoutError::Disconnected(message),
            Stop::Timeout => SendTimeoutError::Timeout(message),
        })
    }

    /// Closes the channel: nobody can send any more, not even with another sender; what was sent
    /// can be received, and then receiving fails. All that wait are woken. Whether it was open
    /// until now.
    ///
    /// (Go: `close(ch)`. Where Go panics, closing twice is `false` here, and sending afterwards an
    /// error.)
    ///
    /// # Examples
    /// ```
    /// let (send, receive) = goroutines::chan::unbounded();
    /// let other = send.clone();
    /// send.send(1).unwrap();
    /// assert!(send.close());
    /// assert!(!other.close());
    /// assert!(other.send(2).is_err());
    /// assert_eq!(receive.iter().collect::<Vec<_>>(), [1]);
    /// ```
    pub fn close(&self) -> bool {
        self.end.chan().close()
    }

    /// Whether the channel holds no message. Without capacity: always. A snapshot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the channel has no room for a message. Without capacity: always. A snapshot.
    pub fn is_full(&self) -> bool {
        self.end.chan().is_full()
    }

    /// The number of messages in the channel. A snapshot.
    pub fn len(&self) -> usize {
        self.end.chan().len()
    }

    /// How many messages the channel holds at most; none for an unbounded one.
    pub fn capacity(&self) -> Option<usize> {
        self.end.chan().capacity()
    }

    /// Whether there is a receiver. A snapshot.
    pub(crate) fn has_receivers(&self) -> bool {
        self.end.has_others()
    }

    /// Drops it, and does not disconnect the channel: as if somebody had another.
    pub(crate) fn leave_open(self) {
        self.end.leave_open();
    }

    /// Whether both send to the same channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        self.end.same(&other.end)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { end: self.end.clone() }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Sender { .. }")
    }
}
