//! What can go wrong: crossbeam-channel's errors, by name and by shape.

use std::error::Error;
use std::fmt::{self, Debug, Display};

/// [`send`](super::Sender::send) failed: nobody can receive any more, or the channel was closed.
/// Holds the message.
#[derive(PartialEq, Eq, Clone, Copy)]
pub struct SendError<T>(pub T);

/// [`try_send`](super::Sender::try_send) failed. Holds the message.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum TrySendError<T> {
    /// There is no room; without capacity: nobody waits for a message.
    Full(T),
    /// Nobody can receive any more, or the channel was closed.
    Disconnected(T),
}

/// [`send_timeout`](super::Sender::send_timeout) failed. Holds the message.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum SendTimeoutError<T> {
    /// There was no room (without capacity: nobody came for the message) in this time.
    Timeout(T),
    /// Nobody can receive any more, or the channel was closed.
    Disconnected(T),
}

/// [`recv`](super::Receiver::recv) failed: all messages were received, and nobody can send any
/// more, or the channel was closed.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct RecvError;

/// [`try_recv`](super::Receiver::try_recv) failed.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum TryRecvError {
    /// There is no message now.
    Empty,
    /// All messages were received, and nobody can send any more, or the channel was closed.
    Disconnected,
}

/// [`recv_timeout`](super::Receiver::recv_timeout) failed.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub enum RecvTimeoutError {
    /// No message came in this time.
    Timeout,
    /// All messages were received, and nobody can send any more, or the channel was closed.
    Disconnected,
}

/// [`try_select`](super::Select::try_select) failed: no operation could be done at once.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct TrySelectError;

/// [`select_timeout`](super::Select::select_timeout) failed: no operation could be done in this
/// time.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct SelectTimeoutError;

/// [`try_ready`](super::Select::try_ready) failed: no operation is ready.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct TryReadyError;

/// [`ready_timeout`](super::Select::ready_timeout) failed: no operation became ready in this time.
#[derive(PartialEq, Eq, Clone, Copy, Debug)]
pub struct ReadyTimeoutError;

macro_rules! texts {
    ($([$($generic:tt)*] $of:ty { $($this:pat => $text:literal,)* })*) => {$(
        impl<$($generic)*> Display for $of {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $($this => $text,)* })
            }
        }
    )*};
}

texts! {
    [T] SendError<T> { _ => "sending on a disconnected channel", }
    [T] TrySendError<T> {
        Self::Full(_) => "sending on a full channel",
        Self::Disconnected(_) => "sending on a disconnected channel",
    }
    [T] SendTimeoutError<T> {
        Self::Timeout(_) => "timed out waiting on send operation",
        Self::Disconnected(_) => "sending on a disconnected channel",
    }
    [] RecvError { _ => "receiving on an empty and disconnected channel", }
    [] TryRecvError {
        Self::Empty => "receiving on an empty channel",
        Self::Disconnected => "receiving on an empty and disconnected channel",
    }
    [] RecvTimeoutError {
        Self::Timeout => "timed out waiting on receive operation",
        Self::Disconnected => "channel is empty and disconnected",
    }
    [] TrySelectError { _ => "all operations in select would block", }
    [] SelectTimeoutError { _ => "timed out waiting on select", }
    [] TryReadyError { _ => "no operation in select is ready", }
    [] ReadyTimeoutError { _ => "timed out waiting for an operation to become ready", }
}

impl<T: Send> Error for SendError<T> {}
impl<T: Send> Error for TrySendError<T> {}
impl<T: Send> Error for SendTimeoutError<T> {}
impl Error for RecvError {}
impl Error for TryRecvError {}
impl Error for RecvTimeoutError {}
impl Error for TrySelectError {}
impl Error for SelectTimeoutError {}
impl Error for TryReadyError {}
impl Error for ReadyTimeoutError {}

impl<T> Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SendError(..)")
    }
}

impl<T> Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.is_full() { "Full(..)" } else { "Disconnected(..)" })
    }
}

impl<T> Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(if self.is_timeout() { "Timeout(..)" } else { "Disconnected(..)" })
    }
}

impl<T> SendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> TrySendError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(message) | Self::Disconnected(message) => message,
        }
    }

    /// Whether there was no room.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Whether there is no use in trying again.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected(_))
    }
}

impl<T> SendTimeoutError<T> {
    /// The message.
    pub fn into_inner(self) -> T {
        match self {
            Self::Timeout(message) | Self::Disconnected(message) => message,
        }
    }

    /// Whether the time was over.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Whether there is no use in trying again.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected(_))
    }
}

impl TryRecvError {
    /// Whether there was no message.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Whether there is no use in trying again.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected)
    }
}

impl RecvTimeoutError {
    /// Whether the time was over.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// Whether there is no use in trying again.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected)
    }
}

impl<T> From<SendError<T>> for TrySendError<T> {
    fn from(e: SendError<T>) -> Self {
        Self::Disconnected(e.0)
    }
}

impl<T> From<SendError<T>> for SendTimeoutError<T> {
    fn from(e: SendError<T>) -> Self {
        Self::Disconnected(e.0)
    }
}

impl From<RecvError> for TryRecvError {
    fn from(_: RecvError) -> Self {
        Self::Disconnected
    }
}

impl From<RecvError> for RecvTimeoutError {
    fn from(_: RecvError) -> Self {
        Self::Disconnected
    }
}
