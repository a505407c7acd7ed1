//! What `select!` expands to. Not for use by hand.

use super::Limit;
use super::core::Promise;
use super::err::{RecvError, SendError};
use super::party::Outcome;
use super::receiver::Receiver;
use super::select::{Case, select};
use super::sender::Sender;
use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::time::Duration;

/// An operation `recv(receiver)`.
pub struct Recv<'a, T> {
    case: Case<'a>,
    value: MaybeUninit<T>,
}

impl<'a, T> Recv<'a, T> {
    #[inline]
    pub fn new(receiver: &'a Receiver<T>) -> Self {
        Self { case: Case::new(receiver.operand(), false), value: MaybeUninit::uninit() }
    }

    /// It stays where it is from now on.
    #[inline]
    pub fn case(&mut self) -> &Case<'a> {
        self.case.sudog.value.set(self.value.as_mut_ptr().cast());
        &self.case
    }

    /// What was received. To be called once, after the operation was selected.
    ///
    /// # Panics
    /// If it was not, or has been called.
    #[inline]
    pub fn result(&mut self) -> Result<T, RecvError> {
        match self.case.sudog.outcome.replace(Outcome::Waiting) {
            // SAFETY: a value was written; the outcome is taken, so it is read once.
            Outcome::Done => Ok(unsafe { self.value.assume_init_read() }),
            Outcome::Closed => Err(RecvError),
            _ => panic!("the operation was not selected"),
        }
    }
}

/// An operation `send(sender, message)`.
pub struct Send<'a, T> {
    case: Case<'a>,
    sender: &'a Sender<T>,
}

impl<'a, T> Send<'a, T> {
    #[inline]
    pub fn new(sender: &'a Sender<T>) -> Self {
        Self { case: Case::new(sender.operand(), true), sender }
    }

    /// It stays where it is from now on.
    #[inline]
    pub fn case(&mut self) -> &Case<'a> {
        &self.case
    }

    /// The room for the message. To be called once, after the operation was selected.
    ///
    /// # Panics
    /// If it was not, or has been called.
    #[inline]
    pub fn room(&mut self) -> Room<'a, T> {
        let promise = match self.case.sudog.outcome.replace(Outcome::Waiting) {
            Outcome::Promised => Some(self.case.promise()),
            Outcome::Closed => None,
            _ => panic!("the operation was not selected"),
        };
        Room { sender: self.sender, promise }
    }
}

/// Room for a message that was promised. Taken back if none comes.
pub struct Room<'a, T> {
    sender: &'a Sender<T>,
    /// None: the channel is disconnected.
    promise: Option<Promise>,
}

impl<'a, T> Room<'a, T> {
    pub(super) fn new(sender: &'a Sender<T>, promise: Option<Promise>) -> Self {
        Self { sender, promise }
    }

    /// Sends the message.
    ///
    /// # Errors
    /// If the channel is disconnected.
    #[inline]
    pub fn send(mut self, message: T) -> Result<(), SendError<T>> {
        let Some(promise) = self.promise.take() else { return Err(SendError(message)) };
        let message = ManuallyDrop::new(message);
        // SAFETY: promised by this channel, and taken out; the message moves with success, and only
        // then.
        match unsafe { self.sender.chan().keep(promise, &raw const *message) } {
            Ok(()) => Ok(()),
            Err(_) => Err(SendError(ManuallyDrop::into_inner(message))),
        }
    }
}

impl<T> Drop for Room<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(promise) = self.promise.take() {
            // SAFETY: promised by this channel, and taken out.
            unsafe { self.sender.chan().take_back(promise) };
        }
    }
}

/// How long to wait.
#[derive(Clone, Copy, Debug)]
pub enum Default {
    /// There is no `default`.
    None,
    /// `default`.
    Now,
    /// `default(timeout)`.
    After(Duration),
}

/// Does one of the operations; which. None: the default.
#[inline]
pub fn choose(cases: &[&Case<'_>], default: Default, biased: bool) -> Option<usize> {
    let limit = match default {
        Default::None => Limit::Forever,
        Default::Now => Limit::Now,
        Default::After(d) => Limit::After(d),
    };
    select(cases, limit, biased)
}

impl<T> fmt::Debug for Recv<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Recv { .. }")
    }
}

impl<T> fmt::Debug for Send<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Send { .. }")
    }
}

impl<T> fmt::Debug for Room<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Room { .. }")
    }
}
