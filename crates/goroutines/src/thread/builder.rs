//! Starting goroutines the way threads are started.

use super::join::{JoinHandle, Options, start};
use super::scope::{Scope, ScopedJoinHandle};
use crate::base::sys;
use crate::g::current;
use crate::sched::{park, wait};
use std::io;
use std::panic::Location;
use std::time::Duration;

/// Properties of a new goroutine. Like [`std::thread::Builder`].
///
/// # Examples
/// ```
/// let big = goroutines::thread::Builder::new()
///     .name("deep".into())
///     .stack_size(16 << 20)
///     .spawn(|| goroutines::thread::current().name().map(str::to_owned))
///     .unwrap();
/// assert_eq!(big.join().unwrap().as_deref(), Some("deep"));
/// ```
#[derive(Debug, Default)]
#[must_use = "must eventually spawn the goroutine"]
pub struct Builder {
    name: Option<String>,
    stack_bytes: Option<usize>,
}

impl Builder {
    /// A builder with no name and the default stack size.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the goroutine, for dumps and [`Thread::name`](super::Thread::name). As in std,
    /// starting it panics if the name contains a NUL.
    pub fn name(mut self, name: String) -> Self {
        self.name = Some(name);
        self
    }

    /// Gives it a stack of `bytes` (of addresses; memory is used as touched), rounded up to a power
    /// of two from 16 KiB to 4 GiB. As with glibc's threads, the thread block and static
    /// thread-locals (some 3 KiB) are taken out of it.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_bytes = Some(bytes);
        self
    }

    pub(super) fn options(self) -> Options {
        assert!(
            !self.name.as_ref().is_some_and(|name| name.contains('\0')),
            "thread name may not contain interior null bytes"
        );
        Options { name: self.name, stack_bytes: self.stack_bytes, scope: None, at_once: true }
    }

    /// Starts the goroutine. Like [`std::thread::Builder::spawn`].
    ///
    /// # Errors
    /// `InvalidInput` for a stack above 4 GiB; the kernel's where memory, addresses or mappings are
    /// used up.
    ///
    /// # Panics
    /// If the runtime can't be started; if the name contains a NUL.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: f and its result borrow nothing.
        unsafe { start(f, self.options(), Location::caller()) }
    }

    /// Starts a goroutine of which the caller says that it outlives nothing it borrows. Like
    /// [`std::thread::Builder::spawn_unchecked`].
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    ///
    /// # Safety
    /// * The goroutine has ended (been joined) before anything its closure borrows is invalidated.
    #[track_caller]
    pub unsafe fn spawn_unchecked<F, T>(self, f: F) -> io::Result<JoinHandle<T>>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        // SAFETY: the caller's promise.
        unsafe { start(f, self.options(), Location::caller()) }
    }

    /// Starts a goroutine in a scope. Like [`std::thread::Builder::spawn_scoped`].
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    #[track_caller]
    pub fn spawn_scoped<'scope, 'env, F, T>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        f: F,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        scope.start(self.options(), f, Location::caller())
    }
}

/// Starts a goroutine. Like [`std::thread::spawn`]; the same as [`go`](crate::go).
///
/// # Panics
/// If no goroutine can be made; [`Builder::spawn`] returns the error instead.
#[track_caller]
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    crate::go(f)
}

/// Lets other goroutines run: the caller goes behind all that wait in the global run queue, or
/// returns at once if nobody else is at hand. On an ordinary thread, [`std::thread::yield_now`].
/// (Go: `runtime.Gosched`.)
pub fn yield_now() {
    let section = current::enter();
    match section.g() {
        Some(gp) => {
            park::yield_now(gp);
        }
        None => sys::os_yield(),
    }
}

/// Blocks the calling goroutine for at least `duration`. Like [`std::thread::sleep`].
///
/// To the precision of the kernel's timers where the processor is idle, and as soon as it is its
/// turn where it is not. Does nothing but let others run for a duration of zero.
pub fn sleep(duration: Duration) {
    match current::g() {
        #[expect(clippy::disallowed_methods, reason = "of an ordinary thread")]
        None => std::thread::sleep(duration),
        Some(_) if duration.is_zero() => yield_now(),
        Some(gp) => wait::sleep_until(gp, wait::after(duration)),
    }
}
