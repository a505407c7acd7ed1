//! Goroutines that borrow from the stack of the caller that starts them.

use super::Thread;
use super::join::{JoinHandle, Options, start};
use crate::base::limits;
use crate::base::lock::Lock;
use crate::g::current;
use crate::g::reason::WaitReason;
use crate::sched::park::{Waiter, block};
use std::io;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a scope and its goroutines share.
#[derive(Debug)]
pub(crate) struct ScopeData {
    /// Goroutines that run, and the scope if it waits for them.
    state: Lock<(usize, Option<*const Waiter>)>,
    panicked: AtomicBool,
}

// SAFETY: the waiter is on the stack of the scope's goroutine, which waits.
unsafe impl Send for ScopeData {}
// SAFETY: as above; all else is behind the lock.
unsafe impl Sync for ScopeData {}

impl ScopeData {
    pub(super) fn begin(&self) {
        let _section = current::enter();
        self.state.lock().0 += 1;
    }

    pub(super) fn end(&self) {
        let _section = current::enter();
        let waiter = {
            let mut state = self.state.lock();
            state.0 -= 1;
            if state.0 == 0 { state.1.take() } else { None }
        };
        if let Some(waiter) = waiter {
            // SAFETY: it waits, and was taken out just now.
            unsafe { Waiter::wake(waiter) };
        }
    }

    pub(super) fn set_panicked(&self) {
        self.panicked.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        let _section = current::enter();
        self.state.lock().0 == 0
    }

    fn wait(&self) {
        if self.is_over() {
            return;
        }
        block(WaitReason::Scope, |waiter| {
            let mut state = self.state.lock();
            if state.0 == 0 {
                return false;
            }
            state.1 = Some(waiter);
            true
        });
    }
}

/// A scope in which goroutines may borrow. Like [`std::thread::Scope`]; see [`scope`].
#[derive(Debug)]
pub struct Scope<'scope, 'env: 'scope> {
    data: Arc<ScopeData>,
    /// Invariant over both, as std's.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Runs `f` with a scope, waits for all goroutines started in it, and returns what `f` returned.
/// Like [`std::thread::scope`].
///
/// # Panics
/// If `f` panics, or a goroutine of the scope that was not joined did.
///
/// # Examples
/// ```
/// let mut numbers = vec![1, 2, 3];
/// let (mut sum, mut product) = (0, 1);
/// goroutines::thread::scope(|s| {
///     s.spawn(|| sum = numbers.iter().sum());
///     s.spawn(|| product = numbers.iter().product());
/// });
/// numbers.push(sum + product);
/// assert_eq!(numbers, [1, 2, 3, 12]);
/// ```
#[track_caller]
pub fn scope<'env, F, T>(f: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope {
        data: Arc::new(ScopeData { state: Lock::new((0, None)), panicked: AtomicBool::new(false) }),
        scope: PhantomData,
        env: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.data.wait();
    match result {
        Err(payload) => resume_unwind(payload),
        Ok(_) if scope.data.panicked.load(Ordering::Relaxed) => {
            panic!("a scoped goroutine panicked")
        }
        Ok(result) => result,
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Starts a goroutine that may borrow from outside the scope.
    ///
    /// # Panics
    /// If no goroutine can be made; [`Builder::spawn_scoped`](super::Builder::spawn_scoped) returns
    /// the error instead.
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedJoinHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        match self.start(Options::default(), f, Location::caller()) {
            Ok(handle) => handle,
            Err(e) => panic!("failed to start a goroutine: {e}{}", limits::hint(&e).as_str()),
        }
    }

    pub(super) fn start<F, T>(
        &'scope self,
        options: Options,
        f: F,
        location: &'static Location<'static>,
    ) -> io::Result<ScopedJoinHandle<'scope, T>>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let options = Options { scope: Some(Arc::clone(&self.data)), ..options };
        // SAFETY: `scope` does not return before the goroutine is done with what it borrows.
        let handle = unsafe { start(f, options, location)? };
        Ok(ScopedJoinHandle { handle, scope: PhantomData })
    }
}

/// Owned permission to join a goroutine of a scope. Like [`std::thread::ScopedJoinHandle`].
#[derive(Debug)]
pub struct ScopedJoinHandle<'scope, T> {
    handle: JoinHandle<T>,
    scope: PhantomData<&'scope ()>,
}

impl<T> ScopedJoinHandle<'_, T> {
    /// The goroutine's handle.
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.handle.thread()
    }

    /// Waits for it and returns its result.
    ///
    /// # Errors
    /// The payload of its panic.
    pub fn join(self) -> super::Result<T> {
        self.handle.join()
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }
}
