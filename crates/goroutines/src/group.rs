//! Groups of goroutines that work on one task and may fail. (Go: `golang.org/x/sync/errgroup`.)
//!
//! For goroutines that can't fail there is [`WaitGroup`]; for those that borrow from their
//! caller, [`thread::scope`](crate::thread::scope).
//!
//! Where the goroutines of a group are connected by channels, keep a receiver of each outside the
//! group until [`wait`](ErrGroup::wait) has returned, or take `SendError` for success. For a
//! goroutine that fails drops its receivers, and a goroutine that sends to it fails too, maybe
//! first: then `wait` returns the sender's error, and not the one that caused it.

use crate::chan::{Receiver, Sender, bounded};
use crate::context::{CancelCause, Context, ContextError};
use crate::thread::Goexit;
use crate::{WaitGroup, go};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// A group of goroutines each of which succeeds or fails. Cloning is cheap, and gives the same
/// group.
///
/// The first error counts: [`wait`](Self::wait) returns it, and the context of the group, if it has
/// one, is cancelled with it as its cause. A panic counts as an error for the context, and comes
/// out of `wait`. (In Go it ends the process.)
///
/// # Examples
/// ```
/// use goroutines::group::ErrGroup;
/// use std::num::ParseIntError;
///
/// let group = ErrGroup::<ParseIntError>::new();
/// group.set_limit(Some(2));
/// for text in ["1", "two", "3"] {
///     group.go(move || text.parse::<u32>().map(|n| assert!(n > 0)));
/// }
/// assert!(group.wait().is_err());
/// ```
pub struct ErrGroup<E> {
    shared: Arc<Shared<E>>,
}

struct Shared<E> {
    running: WaitGroup,
    /// A message in it for each that runs; none: no limit.
    limit: RwLock<Option<(Sender<()>, Receiver<()>)>>,
    outcome: Mutex<Option<Outcome<E>>>,
    context: Option<Cancels<E>>,
}

/// How the group's context is cancelled.
struct Cancels<E> {
    context: Context,
    cancel: CancelCause,
    text: fn(&E) -> String,
}

enum Outcome<E> {
    Error(E),
    Panic(Box<dyn Any + Send>),
}

impl<E: Send + 'static> ErrGroup<E> {
    /// Makes an empty group without a limit.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// Makes an empty group with a context, made from `parent`, that is cancelled when a goroutine
    /// of the group fails or panics, and when [`wait`](Self::wait) returns. The cause is the first
    /// error's text, as the error itself is what `wait` returns.
    ///
    /// The group's goroutines run in the context ([`Context::run`]): with the first error whatever
    /// they wait for ends. What has to be done all the same, a goroutine does in
    /// `context::current().without_cancel().run(…)`.
    ///
    /// # Examples
    /// ```
    /// use goroutines::{context::Context, group::ErrGroup};
    ///
    /// let (group, context) = ErrGroup::with_context(&Context::background());
    /// group.go(|| {
    ///     std::thread::sleep(std::time::Duration::from_secs(3600)); // ends when the other has failed
    ///     Ok(())
    /// });
    /// group.go(|| Err("no luck"));
    /// assert_eq!(group.wait(), Err("no luck"));
    /// assert_eq!(context.cause().unwrap().to_string(), "no luck");
    /// ```
    pub fn with_context(parent: &Context) -> (Self, Context)
    where
        E: fmt::Display,
    {
        let (context, cancel) = parent.with_cancel_cause();
        (
            Self::with(Some(Cancels { context: context.clone(), cancel, text: E::to_string })),
            context,
        )
    }

    fn with(context: Option<Cancels<E>>) -> Self {
        let (running, outcome) = (WaitGroup::new(), Mutex::new(None));
        Self { shared: Arc::new(Shared { running, limit: RwLock::new(None), outcome, context }) }
    }

    /// Sets how many goroutines of the group may run at once: [`go`](Self::go) waits until there
    /// are fewer. None: any number. With 0, `go` waits for ever.
    ///
    /// # Panics
    /// If some are running.
    pub fn set_limit(&self, limit: Option<usize>) {
        let mut current = self.shared.limit.write().unwrap_or_else(PoisonError::into_inner);
        let running = current.as_ref().map_or(0, |(slots, _)| slots.len());
        assert!(
            running == 0,
            "errgroup: modify limit while {running} goroutines in the group are still active"
        );
        *current = limit.map(bounded);
    }

    fn slots(&self) -> Option<(Sender<()>, Receiver<()>)> {
        self.shared.limit.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Starts a goroutine of the group. Blocks while as many run as the limit allows, also in an
    /// ambient context that was cancelled.
    ///
    /// # Panics
    /// As [`go`](crate::go()).
    #[track_caller]
    pub fn go<F>(&self, f: F)
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        let slots = self.slots();
        if let Some((slots, _)) = &slots {
            // The limit holds in a context that was cancelled, too.
            let _ = Context::background().run(|| slots.send(()));
        }
        self.start(f, slots);
    }

    /// Starts a goroutine of the group if the limit allows. Does not block. Whether it was started.
    ///
    /// # Panics
    /// As [`go`](crate::go()).
    #[track_caller]
    pub fn try_go<F>(&self, f: F) -> bool
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        let slots = self.slots();
        if slots.as_ref().is_some_and(|(slots, _)| slots.try_send(()).is_err()) {
            return false;
        }
        self.start(f, slots);
        true
    }

    #[track_caller]
    fn start<F>(&self, f: F, slots: Option<(Sender<()>, Receiver<()>)>)
    where
        F: FnOnce() -> Result<(), E> + Send + 'static,
    {
        /// Counted until it is over, however it ends.
        struct Running<E> {
            shared: Arc<Shared<E>>,
            slots: Option<(Sender<()>, Receiver<()>)>,
        }
        impl<E> Drop for Running<E> {
            fn drop(&mut self) {
                if let Some((_, slots)) = &self.slots {
                    let _ = slots.try_recv();
                }
                self.shared.running.done();
            }
        }
        self.shared.running.add(1);
        let running = Running { shared: Arc::clone(&self.shared), slots };
        drop(go(move || {
            let shared = &running.shared;
            let run = || match &shared.context {
                Some(own) => own.context.run(f),
                None => f(),
            };
            match catch_unwind(AssertUnwindSafe(run)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => shared.fail(Outcome::Error(error)),
                Err(payload) if payload.is::<Goexit>() => resume_unwind(payload),
                Err(payload) => shared.fail(Outcome::Panic(payload)),
            }
        }));
    }

    /// Waits until all goroutines of the group have ended, and cancels the group's context. The
    /// first error, if there was one. Afterwards the group can be used again; its context can't.
    ///
    /// # Errors
    /// The first of the group's goroutines.
    ///
    /// # Panics
    /// If a goroutine of the group panicked, before any failed: with its payload.
    pub fn wait(&self) -> Result<(), E> {
        self.shared.running.wait();
        if let Some(context) = &self.shared.context {
            context.cancel.cancel(ContextError::Canceled);
        }
        let outcome = self.shared.lock().take();
        match outcome {
            None => Ok(()),
            Some(Outcome::Error(error)) => Err(error),
            Some(Outcome::Panic(payload)) => resume_unwind(payload),
        }
    }
}

impl<E> Shared<E> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Outcome<E>>> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, outcome: Outcome<E>) {
        let text = self.context.as_ref().map(|context| match &outcome {
            Outcome::Error(error) => (context.text)(error),
            Outcome::Panic(_) => "a goroutine of the group panicked".to_owned(),
        });
        let mut first = self.lock();
        if first.is_some() {
            drop(first);
            return; // what came later is dropped
        }
        *first = Some(outcome);
        drop(first);
        if let (Some(context), Some(text)) = (&self.context, text) {
            context.cancel.cancel(text);
        }
    }
}

impl<E: Send + 'static> Default for ErrGroup<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Clone for ErrGroup<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<E> fmt::Debug for ErrGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("ErrGroup { .. }")
    }
}
