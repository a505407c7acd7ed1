//! The side that receives.

use super::Limit;
use super::clock::Clock;
use super::core::Stop;
use super::err::{RecvError, RecvTimeoutError, TryRecvError};
use super::party::Outcome;
use super::select::{Case, Nothing, Operand, select_as};
use super::shared::End;
use crate::g::reason::WaitReason;
use std::fmt;
use std::iter::FusedIterator;
use std::mem::MaybeUninit;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The receiving side of a channel. Clones receive from the same channel: each message goes to one
/// of them.
pub struct Receiver<T> {
    from: From<T>,
}

enum From<T> {
    Chan(End<T, false>),
    /// T is Instant.
    Clock(Arc<Clock>),
    Never,
}

impl<T> UnwindSafe for Receiver<T> {}
impl<T> RefUnwindSafe for Receiver<T> {}

impl Receiver<Instant> {
    pub(crate) fn of_clock(clock: impl Into<Arc<Clock>>) -> Self {
        Self { from: From::Clock(clock.into()) }
    }
}

impl<T> Receiver<T> {
    pub(super) fn of_chan(end: End<T, false>) -> Self {
        Self { from: From::Chan(end) }
    }

    pub(super) fn never() -> Self {
        Self { from: From::Never }
    }

    pub(super) fn operand(&self) -> &dyn Operand {
        match &self.from {
            From::Chan(end) => end.chan(),
            From::Clock(clock) => &**clock,
            From::Never => &Nothing,
        }
    }

    #[inline]
    fn recv_until(&self, limit: Limit) -> Result<T, Stop> {
        match &self.from {
            From::Chan(end) => end.chan().recv(limit),
            _ => self.recv_timed(limit),
        }
    }

    /// From a clock, or from nothing.
    #[cold]
    fn recv_timed(&self, limit: Limit) -> Result<T, Stop> {
        let mut value = MaybeUninit::<T>::uninit();
        let case = Case::new(self.operand(), false);
        case.sudog.value.set(value.as_mut_ptr().cast());
        let reason = match self.from {
            From::Never => WaitReason::ChanReceiveNil,
            _ => WaitReason::ChanReceive,
        };
        match select_as(reason, &[&case][..], limit, true).map(|_| case.sudog.outcome.get()) {
            // SAFETY: a value was received.
            Some(Outcome::Done) => Ok(unsafe { value.assume_init() }),
            // The context was cancelled.
            Some(_) => Err(Stop::Closed),
            None => Err(Stop::Timeout),
        }
    }

    /// Receives a message; blocks until there is one.
    ///
    /// Blocked receivers are served in the order in which they came. (Go: `<-ch`.)
    ///
    /// # Errors
    /// If the channel is empty and disconnected, also while it waits.
    ///
    /// # Deadlock
    /// If nobody sends, and a sender is kept.
    #[inline]
    pub fn recv(&self) -> Result<T, RecvError> {
        self.recv_until(Limit::Forever).map_err(|_| RecvError)
    }

    /// Receives a message if there is one. Does not block; where there is none, takes no lock.
    ///
    /// (Go: a `select` with `default`.) Without capacity: if somebody waits to send.
    ///
    /// # Errors
    /// If the channel is empty, or empty and disconnected.
    ///
    /// # Examples
    /// ```
    /// use goroutines::chan::{unbounded, TryRecvError};
    ///
    /// let (send, receive) = unbounded();
    /// assert_eq!(receive.try_recv(), Err(TryRecvError::Empty));
    /// send.send(1).unwrap();
    /// drop(send);
    /// assert_eq!(receive.try_recv(), Ok(1));
    /// assert_eq!(receive.try_recv(), Err(TryRecvError::Disconnected));
    /// ```
    #[inline]
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.recv_until(Limit::Now).map_err(|stop| match stop {
            Stop::Closed => TryRecvError::Disconnected,
            Stop::Timeout => TryRecvError::Empty,
        })
    }

    /// As [`recv`](Self::recv), for `timeout` at most.
    ///
    /// # Errors
    /// If the time is over, or the channel is empty and disconnected.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.recv_limited(Limit::After(timeout))
    }

    /// As [`recv`](Self::recv), until `deadline` at most.
    ///
    /// # Errors
    /// If the time is over, or the channel is empty and disconnected.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<T, RecvTimeoutError> {
        self.recv_limited(Limit::At(deadline))
    }

    fn recv_limited(&self, limit: Limit) -> Result<T, RecvTimeoutError> {
        self.recv_until(limit).map_err(|stop| match stop {
            Stop::Closed => RecvTimeoutError::Disconnected,
            Stop::Timeout => RecvTimeoutError::Timeout,
        })
    }

    /// Whether the channel holds no message. Without capacity: always. A snapshot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the channel has no room for a message. Without capacity: always. A snapshot.
    pub fn is_full(&self) -> bool {
        match &self.from {
            From::Chan(end) => end.chan().is_full(),
            From::Clock(clock) => clock.seems_empty || clock.is_due(),
            From::Never => true,
        }
    }

    /// The number of messages in the channel. A snapshot.
    pub fn len(&self) -> usize {
        match &self.from {
            From::Chan(end) => end.chan().len(),
            From::Clock(clock) => usize::from(!clock.seems_empty && clock.is_due()),
            From::Never => 0,
        }
    }

    /// How many messages the channel holds at most; none for an unbounded one.
    pub fn capacity(&self) -> Option<usize> {
        match &self.from {
            From::Chan(end) => end.chan().capacity(),
            From::Clock(clock) => Some(usize::from(!clock.seems_empty)),
            From::Never => Some(0),
        }
    }

    /// The messages, one after another; blocks for each, and ends when the channel is empty and
    /// disconnected.
    ///
    /// (Go: `for message := range ch`.)
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { receiver: self }
    }

    /// The messages that are there, one after another; does not block.
    pub fn try_iter(&self) -> TryIter<'_, T> {
        TryIter { receiver: self }
    }

    /// Whether both receive from the same channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        match (&self.from, &other.from) {
            (From::Chan(a), From::Chan(b)) => a.same(b),
            (From::Clock(a), From::Clock(b)) => Arc::ptr_eq(a, b),
            (From::Never, From::Never) => true,
            _ => false,
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        let from = match &self.from {
            From::Chan(end) => From::Chan(end.clone()),
            From::Clock(clock) => From::Clock(Arc::clone(clock)),
            From::Never => From::Never,
        };
        Self { from }
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Receiver { .. }")
    }
}

impl<'a, T> IntoIterator for &'a Receiver<T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter { receiver: self }
    }
}

/// The messages of a channel, until it is empty and disconnected. Made by [`Receiver::iter`].
pub struct Iter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T> FusedIterator for Iter<'_, T> {}

impl<T> Iterator for Iter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Iter { .. }")
    }
}

/// The messages that are in a channel. Made by [`Receiver::try_iter`].
pub struct TryIter<'a, T> {
    receiver: &'a Receiver<T>,
}

impl<T> Iterator for TryIter<'_, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.try_recv().ok()
    }
}

impl<T> fmt::Debug for TryIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("TryIter { .. }")
    }
}

/// The messages of a channel whose receiver it owns, until it is empty and disconnected.
pub struct IntoIter<T> {
    receiver: Receiver<T>,
}

impl<T> FusedIterator for IntoIter<T> {}

impl<T> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.receiver.recv().ok()
    }
}

impl<T> fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("IntoIter { .. }")
    }
}
