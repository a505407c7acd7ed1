//! Contexts: deadlines, cancellation, and values that go with a task. (Go: package `context`.)
//!
//! A [`Context`] is made from another one and handed on to whatever works for the same end. When it
//! is cancelled, or its deadline passes, so are all that were made from it; each of them says so by
//! [`done`](Context::done), a channel for [`select!`](crate::select), and by [`err`](Context::err).
//!
//! # Code that knows nothing of contexts
//! In Go a context ends only what was written to look at it. Here [`Context::run`] makes it
//! *ambient* for a closure: whatever blocks in there, in whichever crate, ends early when the
//! context is cancelled.
//!
//! | What blocks | ends with |
//! |---|---|
//! | sockets, pipes, terminals: `read`, `write`, `accept`, `connect` and their kin; not what is written to descriptors 1 and 2 | [`io::Error`]: `TimedOut` for a deadline, else `ECANCELED` |
//! | `poll`, `select` (so `TcpStream::connect_timeout`) | the same |
//! | [`Child::wait`](std::process::Child::wait), `waitpid` | the same; the child goes on |
//! | [`Command::output`](std::process::Command::output), [`Child::wait_with_output`](std::process::Child::wait_with_output) | the same; what the child has said is lost. (With link-time optimisation these functions may not be recognised; std panics then.) |
//! | [`std::thread::sleep`], [`thread::sleep`](crate::thread::sleep) | it returns early |
//! | [`chan`](crate::chan): `send`, `recv`, `_timeout`, iteration | as on a disconnected channel: `Err`, `None` |
//! | [`select!`](crate::select), [`Select`](crate::chan::Select) | one of its operations fails so |
//!
//! What could be done at once is done all the same; what had begun, like a message already handed
//! over, is finished. The rows of `std` and libc need the feature `intercept`.
//!
//! A channel that fails does not say why: ask [`current`]`().`[`check`](Context::check)`()` after a
//! loop over messages, else a stream that was cut off looks complete.
//!
//! These are **not** ended:
//!
//! * Locks, condition variables, `std::thread::park`, `std::sync::mpsc`, and all that other crates
//!   build on a futex. They have no way to fail: a lock returns when it is held. Some may return
//!   for no reason, but then their callers ask again, and would do so as fast as they can.
//! * [`WaitGroup::wait`](crate::WaitGroup::wait), `join`, `thread::scope`: what they wait for has
//!   to end, and does, if it runs in the context too.
//! * [`Command::spawn`](std::process::Command::spawn): the child comes to its program soon.
//! * Files, DNS look-ups, `flock`, `wait` for any child, signals and queues of System V, and
//!   whatever else `src/intercept/table.rs` says is announced, or is inside
//!   [`runtime::blocking`](crate::runtime::blocking): there the kernel blocks an OS thread.
//! * [`Select::ready`](crate::chan::Select::ready) and its kin: they only look.
//! * `epoll_wait`: its caller is an event loop, and would take it for an error of its own.
//! * A goroutine that computes. It may ask: [`current`]`().err()`.
//!
//! # Examples
//! ```
//! # #[cfg(feature = "intercept")] {
//! use goroutines::{context::Context, go};
//! use std::io::Read;
//! use std::net::{TcpListener, TcpStream};
//! use std::time::Duration;
//!
//! let listener = TcpListener::bind("127.0.0.1:0").unwrap();
//! let address = listener.local_addr().unwrap();
//! let client = go(move || {
//!     let (context, _cancel) = Context::background().with_timeout(Duration::from_millis(20));
//!     context.run(|| {
//!         let mut stream = TcpStream::connect(address)?;
//!         stream.read(&mut [0; 16]) // nobody answers
//!     })
//! });
//! let error = client.join().unwrap().unwrap_err();
//! assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
//! # }
//! ```

mod node;

use crate::chan::{Receiver, never};
use crate::sched::ambient::Run;
use crate::{JoinHandle, go};
use node::Node;
use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Why a context was cancelled: any error.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a context is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextError {
    /// It was cancelled, or one that it was made from. (Go: `context.Canceled`.)
    Canceled,
    /// Its deadline has passed. (Go: `context.DeadlineExceeded`.)
    DeadlineExceeded,
}

impl ContextError {
    /// Whether it is about time.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::DeadlineExceeded)
    }

    fn errno(self) -> i32 {
        match self {
            Self::Canceled => libc::ECANCELED,
            Self::DeadlineExceeded => libc::ETIMEDOUT,
        }
    }
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Canceled => "context canceled",
            Self::DeadlineExceeded => "context deadline exceeded",
        })
    }
}

impl Error for ContextError {}

/// As a call that was ended fails.
impl From<ContextError> for io::Error {
    fn from(e: ContextError) -> Self {
        Self::from_raw_os_error(e.errno())
    }
}

/// What tasks that belong together have in common: when they are to end, and values. Cloning is
/// cheap.
///
/// See the [module](self).
///
/// # Examples
/// ```
/// use goroutines::{context::{Context, ContextError}, go, select};
///
/// let (context, cancel) = Context::background().with_cancel();
/// let worker = go(move || {
///     select! {
///         recv(context.done()) -> _ => context.err(),
///     }
/// });
/// cancel.cancel();
/// assert_eq!(worker.join().unwrap(), Some(ContextError::Canceled));
/// ```
#[derive(Clone)]
pub struct Context {
    /// None: it can't be cancelled.
    node: Option<Arc<Node>>,
    values: Option<Arc<Value>>,
}

// Its lock is held around nothing that panics: a context is as good after a panic as before.
impl std::panic::UnwindSafe for Context {}
impl std::panic::RefUnwindSafe for Context {}

const _: () = {
    const fn is_unwind_safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    is_unwind_safe::<Context>();
};

struct Value {
    is: TypeId,
    value: Box<dyn Any + Send + Sync>,
    outer: Option<Arc<Value>>,
}

impl Drop for Value {
    fn drop(&mut self) {
        // A loop, as the chain may be long.
        let mut next = self.outer.take();
        while let Some(mut value) = next.and_then(Arc::into_inner) {
            next = value.outer.take();
        }
    }
}

thread_local! {
    /// The ambient context of the goroutine.
    static AMBIENT: RefCell<Option<Context>> = const { RefCell::new(None) };
}

/// The context that is ambient here: that of the innermost [`Context::run`], or the background.
pub fn current() -> Context {
    AMBIENT.with_borrow(|ambient| ambient.clone()).unwrap_or_else(Context::background)
}

impl Context {
    /// The context that others are made from: never cancelled, without a deadline, without values.
    pub fn background() -> Self {
        Self { node: None, values: None }
    }

    fn child(&self, deadline: Option<Instant>) -> (Self, Arc<Node>) {
        let node = Node::new(self.node.clone(), deadline);
        (Self { node: Some(Arc::clone(&node)), values: self.values.clone() }, node)
    }

    /// Makes a context that can be cancelled.
    ///
    /// Dropping what cancels it does nothing; see [`Cancel::drop_guard`].
    pub fn with_cancel(&self) -> (Self, Cancel) {
        let (context, node) = self.child(None);
        (context, Cancel { node })
    }

    /// Makes a context that can be cancelled with a cause. (Go: `WithCancelCause`.)
    ///
    /// # Examples
    /// ```
    /// use goroutines::context::{Context, ContextError};
    ///
    /// let (context, cancel) = Context::background().with_cancel_cause();
    /// cancel.cancel(std::io::Error::other("the disk is full"));
    /// assert_eq!(context.err(), Some(ContextError::Canceled));
    /// assert_eq!(context.cause().unwrap().to_string(), "the disk is full");
    /// ```
    pub fn with_cancel_cause(&self) -> (Self, CancelCause) {
        let (context, node) = self.child(None);
        (context, CancelCause { node })
    }

    /// The old name of [`with_cancel_cause`](Self::with_cancel_cause).
    #[deprecated(since = "0.1.0", note = "use `with_cancel_cause`, as Go calls it")]
    pub fn with_cause(&self) -> (Self, CancelCause) {
        self.with_cancel_cause()
    }

    /// Makes a context that is cancelled when `deadline` has passed, or that of this one.
    pub fn with_deadline(&self, deadline: Instant) -> (Self, Cancel) {
        self.limited(Some(deadline), None)
    }

    /// Makes a context that is cancelled when `timeout` has passed, or this one's deadline.
    pub fn with_timeout(&self, timeout: Duration) -> (Self, Cancel) {
        self.limited(Instant::now().checked_add(timeout), None)
    }

    /// As [`with_deadline`](Self::with_deadline); then the cause is `cause`.
    pub fn with_deadline_cause<E>(&self, deadline: Instant, cause: E) -> (Self, Cancel)
    where
        E: Error + Send + Sync + 'static,
    {
        self.limited(Some(deadline), Some(Arc::new(cause)))
    }

    /// As [`with_timeout`](Self::with_timeout); then the cause is `cause`.
    pub fn with_timeout_cause<E>(&self, timeout: Duration, cause: E) -> (Self, Cancel)
    where
        E: Error + Send + Sync + 'static,
    {
        self.limited(Instant::now().checked_add(timeout), Some(Arc::new(cause)))
    }

    fn limited(&self, deadline: Option<Instant>, cause: Option<Cause>) -> (Self, Cancel) {
        let outer = self.deadline();
        let sooner = deadline.filter(|at| outer.is_none_or(|outer| *at < outer));
        let (context, node) = self.child(sooner.or(outer));
        if let Some(deadline) = sooner {
            node.end_at(deadline, cause);
        }
        (context, Cancel { node })
    }

    /// Makes a context with a value more. It hides one of the same type.
    ///
    /// Values are found by their type; make one of your own for each meaning. (Go: `WithValue`,
    /// whose keys are types of that kind.)
    ///
    /// # Examples
    /// ```
    /// use goroutines::context::Context;
    ///
    /// struct RequestId(u64);
    ///
    /// let context = Context::background().with_value(RequestId(7));
    /// assert_eq!(context.value::<RequestId>().unwrap().0, 7);
    /// assert!(context.value::<String>().is_none());
    /// ```
    #[must_use]
    pub fn with_value<T: Any + Send + Sync>(&self, value: T) -> Self {
        let (is, value) = (TypeId::of::<T>(), Box::new(value));
        let values = Some(Arc::new(Value { is, value, outer: self.values.clone() }));
        Self { node: self.node.clone(), values }
    }

    /// The value of that type.
    pub fn value<T: Any + Send + Sync>(&self) -> Option<&T> {
        let mut at = self.values.as_ref();
        while let Some(value) = at {
            if value.is == TypeId::of::<T>() {
                return value.value.downcast_ref();
            }
            at = value.outer.as_ref();
        }
        None
    }

    /// Makes a context with the same values that is not cancelled with this one, and has no
    /// deadline.
    #[must_use]
    pub fn without_cancel(&self) -> Self {
        Self { node: None, values: self.values.clone() }
    }

    /// A channel that is closed when the context is done. Nothing is ever sent on it.
    pub fn done(&self) -> &Receiver<()> {
        static NEVER: OnceLock<Receiver<()>> = OnceLock::new();
        match &self.node {
            Some(node) => node.done(),
            None => NEVER.get_or_init(never),
        }
    }

    /// Why it is done; none if it is not.
    pub fn err(&self) -> Option<ContextError> {
        self.node.as_ref()?.err()
    }

    /// Fails if it is done: for the middle of long work, with `?`.
    ///
    /// # Errors
    /// [`err`](Self::err), if it is done.
    ///
    /// # Examples
    /// ```
    /// use goroutines::context::{Context, ContextError};
    ///
    /// fn sum(context: &Context, numbers: &[u64]) -> Result<u64, ContextError> {
    ///     let mut sum = 0;
    ///     for chunk in numbers.chunks(1_000) {
    ///         context.check()?;
    ///         sum += chunk.iter().sum::<u64>();
    ///     }
    ///     Ok(sum)
    /// }
    /// assert_eq!(sum(&Context::background(), &[1, 2, 3]), Ok(6));
    /// ```
    pub fn check(&self) -> Result<(), ContextError> {
        self.err().map_or(Ok(()), Err)
    }

    /// Why it was cancelled: the cause that was given, the first to come, or [`err`](Self::err).
    /// None if it was not.
    pub fn cause(&self) -> Option<Cause> {
        self.node.as_ref()?.cause()
    }

    /// When it will be cancelled at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.node.as_ref()?.deadline
    }

    /// Calls `f` in a goroutine of its own when the context is done; at once, if it is.
    ///
    /// Until then `f` is kept as long as the context can be cancelled. What it returns can stop
    /// that; when it is dropped, `f` will still be called. (Go: `context.AfterFunc`.)
    ///
    /// # Panics
    /// If the runtime can't be started.
    ///
    /// # Examples
    /// ```
    /// use goroutines::{chan, context::Context};
    ///
    /// let (context, cancel) = Context::background().with_cancel();
    /// let (send, receive) = chan::bounded(1);
    /// let stopped = send.clone();
    /// context.after_func(move || send.send("cleaned up").unwrap());
    /// assert!(context.after_func(move || stopped.send("never").unwrap()).stop());
    /// cancel.cancel();
    /// assert_eq!(receive.recv(), Ok("cleaned up"));
    /// ```
    pub fn after_func<F: FnOnce() + Send + 'static>(&self, f: F) -> AfterFunc {
        let on = match &self.node {
            None => Calls::Never(AtomicBool::new(false)),
            Some(node) => match node.after_func(Box::new(f)) {
                Some((node, id)) => Calls::Later(node, id),
                None => Calls::Called,
            },
        };
        AfterFunc { on }
    }

    /// Calls `f` with this context as the ambient one: what blocks in `f` ends early when the
    /// context is cancelled. What ends how, and what doesn't end, is said in the [module](self).
    ///
    /// It is ambient on the calling goroutine only; for those that `f` starts there is
    /// [`go`](Self::go). Inside, another `run` counts instead: so
    /// `context::current().without_cancel().run(…)` is a stretch that is not to be cancelled. On an
    /// ordinary thread nothing is ended.
    pub fn run<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Restore(Option<Context>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let outer = self.0.take();
                // Not dropped while borrowed: a value's destructor may ask for the current one.
                drop(AMBIENT.with_borrow_mut(|ambient| std::mem::replace(ambient, outer)));
            }
        }
        let inner = Some(self.clone());
        let _restore =
            Restore(AMBIENT.with_borrow_mut(|ambient| std::mem::replace(ambient, inner)));
        let Some(run) = Run::new() else { return f() };
        node::running(self.node.as_ref(), &run, f)
    }

    /// Starts a goroutine in which this context is ambient. `context::current().go(…)` hands on the
    /// one that is ambient here.
    ///
    /// # Panics
    /// As [`go`].
    #[track_caller]
    pub fn go<F, T>(&self, f: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let context = self.clone();
        go(move || context.run(f))
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::background()
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("err", &self.err())
            .field("deadline", &self.deadline())
            .finish_non_exhaustive()
    }
}

/// Cancels a context. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Cancel {
    node: Arc<Node>,
}

impl Cancel {
    /// Cancels the context, and all that were made from it, if it is not done yet. They are done
    /// when this returns, whichever caller came first; it does not wait for what that ends.
    pub fn cancel(&self) {
        self.node.cancel(ContextError::Canceled, None);
    }

    /// Cancels it when dropped. (Go: `defer cancel()`.)
    ///
    /// # Examples
    /// ```
    /// use goroutines::context::Context;
    ///
    /// let (context, cancel) = Context::background().with_cancel();
    /// {
    ///     let _guard = cancel.drop_guard();
    ///     assert!(context.err().is_none());
    /// }
    /// assert!(context.err().is_some());
    /// ```
    pub fn drop_guard(self) -> CancelGuard {
        CancelGuard(self)
    }
}

/// Cancels a context when dropped. Made by [`Cancel::drop_guard`] and [`CancelCause::drop_guard`].
#[derive(Debug)]
#[must_use]
pub struct CancelGuard(Cancel);

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Cancels a context with a cause. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct CancelCause {
    node: Arc<Node>,
}

impl CancelCause {
    /// Cancels the context, and all that were made from it, if it is not done yet;
    /// [`Context::cause`] is `cause` then.
    pub fn cancel(&self, cause: impl Into<Box<dyn Error + Send + Sync>>) {
        self.node.cancel(ContextError::Canceled, Some(Arc::from(cause.into())));
    }

    /// Cancels it when dropped, without a cause of its own. (Go: `defer cancel(nil)`.)
    ///
    /// # Examples
    /// ```
    /// use goroutines::context::{Context, ContextError};
    ///
    /// let (context, cancel) = Context::background().with_cancel_cause();
    /// drop(cancel.clone().drop_guard());
    /// assert_eq!(context.err(), Some(ContextError::Canceled));
    /// cancel.cancel("too late");
    /// assert_eq!(context.cause().unwrap().to_string(), "context canceled");
    /// ```
    pub fn drop_guard(self) -> CancelGuard {
        CancelGuard(Cancel { node: self.node })
    }
}

/// A function that is called when a context is done. Made by [`Context::after_func`].
#[derive(Debug)]
pub struct AfterFunc {
    on: Calls,
}

#[derive(Debug)]
enum Calls {
    Later(Arc<Node>, u64),
    Called,
    /// It never will be; whether it was stopped.
    Never(AtomicBool),
}

impl AfterFunc {
    /// Stops it. True if this prevented the call; false if the function was called (it may still
    /// run), or stopped, before.
    pub fn stop(&self) -> bool {
        match &self.on {
            Calls::Later(node, id) => node.stop(*id),
            Calls::Called => false,
            Calls::Never(stopped) => !stopped.swap(true, Ordering::Relaxed),
        }
    }
}
