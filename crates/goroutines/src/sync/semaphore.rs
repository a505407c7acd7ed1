//! `Semaphore`.

use super::queue::{Queue, Waiter, Woken};
use crate::base::lock::Lock;
use crate::g::current;
use crate::g::reason::WaitReason;
use crate::sched::wait::after;
use crate::timer::alarm::NEVER;
use std::sync::Arc;
use std::time::Duration;

/// A number of permits that are taken, several at a time, and given back. (Go:
/// `golang.org/x/sync/semaphore.Weighted`.)
///
/// A caller that asks for more permits than there are blocks until enough have been given back.
/// Callers are served strictly in the order in which they come: a later one waits behind the
/// earlier ones, even if there are enough permits for it, and so a request for many is not starved
/// by requests for few. A caller that gives permits back hands them to the first in line; nobody
/// overtakes it meanwhile.
///
/// Works on ordinary threads too, and between threads and goroutines. Permits belong to nobody:
/// they may be given back by another goroutine or thread than the one that took them.
///
/// What happens before permits are given back happens before the acquisition that gets them
/// returns.
///
/// A semaphore does not know how many permits there will be, as [`release`](Self::release) can add
/// some. So a request for more than there are in all waits until they are added, and those behind
/// it wait too. (Go's knows its size, and lets others pass such a request.)
///
/// # Examples
/// At most two at a time:
/// ```
/// use goroutines::sync::Semaphore;
/// use goroutines::thread;
///
/// static WORKERS: Semaphore = Semaphore::new(2);
///
/// thread::scope(|s| {
///     for i in 0..5 {
///         let permit = WORKERS.acquire(1);
///         s.spawn(move || {
///             println!("{i}");
///             drop(permit);
///         });
///     }
/// });
/// assert_eq!(WORKERS.available(), 2);
/// ```
pub struct Semaphore(Lock<State>);

struct State {
    permits: u64,
    waiters: Queue,
}

/// A panic can't leave it in a state that it should not be seen in.
impl std::panic::RefUnwindSafe for Semaphore {}
impl std::panic::UnwindSafe for Semaphore {}

impl State {
    /// Takes `n` permits, if they are there and nobody waits.
    fn take(&mut self, n: u64) -> bool {
        let can = n <= self.permits && self.waiters.is_empty();
        if can {
            self.permits -= n;
        }
        can
    }

    /// Gives those in front what they wait for, as far as the permits go.
    fn hand_out(&mut self, woken: &mut Woken) {
        while let Some(n) = self.waiters.first_wants()
            && n <= self.permits
        {
            if self.waiters.serve_first(woken) {
                self.permits -= n;
            }
        }
    }
}

impl Semaphore {
    /// A semaphore with `permits` permits.
    #[must_use]
    pub const fn new(permits: u64) -> Self {
        Self(Lock::new(State { permits, waiters: Queue::new() }))
    }

    /// Changes the state, and hands out what can be handed out then.
    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let _section = current::enter();
        let mut woken = Woken::new();
        let result = {
            let mut state = self.0.lock();
            let result = change(&mut state);
            state.hand_out(&mut woken);
            result
        };
        woken.wake();
        result
    }

    fn try_take(&self, n: u64) -> bool {
        let _section = current::enter();
        self.0.lock().take(n)
    }

    /// Waits for `n` permits, at the latest until the time `until`. Whether it got them.
    #[cold]
    fn wait(&self, n: u64, until: u64) -> bool {
        let _section = current::enter();
        let waiter = Waiter::new(n);
        {
            let mut state = self.0.lock();
            if state.take(n) {
                return true;
            }
            // SAFETY: it stays here until it was served, or is taken out below.
            unsafe { state.waiters.push(&waiter) };
        }
        if waiter.wait(WaitReason::Semacquire, until) {
            return true;
        }
        // Those behind it may be satisfied with what is there.
        let gave_up = self.change(|state| state.waiters.remove(&waiter));
        !gave_up && waiter.is_served()
    }

    fn take(&self, n: u64) {
        if !self.try_take(n) {
            self.wait(n, NEVER);
        }
    }

    fn take_timeout(&self, n: u64, timeout: Duration) -> bool {
        self.try_take(n) || !timeout.is_zero() && self.wait(n, after(timeout))
    }

    /// Gives `n` permits back. Saturates: a caller that holds permits can't help what others have
    /// added.
    fn give_back(&self, n: u64) {
        if n > 0 {
            self.change(|state| state.permits = state.permits.saturating_add(n));
        }
    }

    /// Takes `n` permits; they are given back when the [`Permit`] is dropped.
    ///
    /// Blocks the calling goroutine (or thread) until they are there and all earlier callers have
    /// theirs. A request for none waits for its turn too.
    ///
    /// # Deadlock
    /// If there are never that many permits, or their holder waits for the caller.
    ///
    /// # Examples
    /// ```
    /// use goroutines::sync::Semaphore;
    ///
    /// let memory = Semaphore::new(1 << 30); // bytes
    /// let permit = memory.acquire(300 << 20);
    /// assert_eq!(permit.count(), 300 << 20);
    /// ```
    pub fn acquire(&self, n: u64) -> Permit<'_> {
        self.take(n);
        Permit { semaphore: self, count: n }
    }

    /// Takes `n` permits if they are there and nobody waits. Does not block.
    ///
    /// # Examples
    /// ```
    /// use goroutines::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(1);
    /// let permit = semaphore.try_acquire(1);
    /// assert!(permit.is_some());
    /// assert!(semaphore.try_acquire(1).is_none());
    /// ```
    #[must_use = "the permits are given back when the result is dropped"]
    pub fn try_acquire(&self, n: u64) -> Option<Permit<'_>> {
        self.try_take(n).then(|| Permit { semaphore: self, count: n })
    }

    /// Takes `n` permits as [`acquire`](Self::acquire) does, but waits for `timeout` at the most.
    /// None if the time was over first: then it is as if nobody had asked, and those behind that
    /// can have what they want get it.
    ///
    /// With a timeout of zero it is [`try_acquire`](Self::try_acquire).
    ///
    /// # Examples
    /// ```
    /// use goroutines::sync::Semaphore;
    /// use std::time::Duration;
    ///
    /// let semaphore = Semaphore::new(1);
    /// assert!(semaphore.acquire_timeout(2, Duration::from_millis(1)).is_none());
    /// assert!(semaphore.acquire_timeout(1, Duration::from_millis(1)).is_some());
    /// ```
    #[must_use = "the permits are given back when the result is dropped"]
    pub fn acquire_timeout(&self, n: u64, timeout: Duration) -> Option<Permit<'_>> {
        self.take_timeout(n, timeout).then(|| Permit { semaphore: self, count: n })
    }

    /// As [`acquire`](Self::acquire), for a permit that does not borrow.
    ///
    /// # Deadlock
    /// As there.
    ///
    /// # Examples
    /// ```
    /// use goroutines::sync::Semaphore;
    /// use std::sync::Arc;
    ///
    /// let semaphore = Arc::new(Semaphore::new(2));
    /// let permit = semaphore.acquire_owned(1);
    /// goroutines::go(move || {
    ///     // at most two of us at a time
    ///     drop(permit);
    /// });
    /// ```
    pub fn acquire_owned(self: &Arc<Self>, n: u64) -> OwnedPermit {
        self.take(n);
        OwnedPermit { semaphore: Arc::clone(self), count: n }
    }

    /// As [`try_acquire`](Self::try_acquire), for a permit that does not borrow.
    #[must_use = "the permits are given back when the result is dropped"]
    pub fn try_acquire_owned(self: &Arc<Self>, n: u64) -> Option<OwnedPermit> {
        self.try_take(n).then(|| OwnedPermit { semaphore: Arc::clone(self), count: n })
    }

    /// As [`acquire_timeout`](Self::acquire_timeout), for a permit that does not borrow.
    #[must_use = "the permits are given back when the result is dropped"]
    pub fn acquire_timeout_owned(
        self: &Arc<Self>,
        n: u64,
        timeout: Duration,
    ) -> Option<OwnedPermit> {
        self.take_timeout(n, timeout).then(|| OwnedPermit { semaphore: Arc::clone(self), count: n })
    }

    /// Adds `n` permits: those of a permit that was [forgotten](Permit::forget), or new ones. Does
    /// not block.
    ///
    /// Go's `Release` panics with `semaphore: released more than held`. Here permits give
    /// themselves back, and once only, so it needs nobody who counts; and a semaphore that begins
    /// with none may count events.
    ///
    /// # Panics
    /// `sync: too many Semaphore permits` if there would be more than [`u64::MAX`]; there are as
    /// many as before then.
    ///
    /// # Examples
    /// ```
    /// use goroutines::sync::Semaphore;
    ///
    /// let done = Semaphore::new(0);
    /// goroutines::thread::scope(|s| {
    ///     for _ in 0..3 {
    ///         s.spawn(|| done.release(1));
    ///     }
    ///     done.acquire(3).forget();
    /// });
    /// assert_eq!(done.available(), 0);
    /// ```
    pub fn release(&self, n: u64) {
        let added = self.change(|state| {
            let sum = state.permits.checked_add(n);
            state.permits = sum.unwrap_or(state.permits);
            sum.is_some()
        });
        assert!(added, "sync: too many Semaphore permits");
    }

    /// How many permits are there now. Somebody may wait all the same, for more.
    #[must_use]
    pub fn available(&self) -> u64 {
        let _section = current::enter();
        self.0.lock().permits
    }
}

impl std::fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Semaphore").field("available", &self.available()).finish()
    }
}

/// Permits of a [`Semaphore`], given back when this is dropped. (Go: what is to be `Release`d.)
#[derive(Debug)]
#[must_use = "the permits are given back when this is dropped"]
pub struct Permit<'s> {
    semaphore: &'s Semaphore,
    count: u64,
}

/// As [`Permit`], with a share in the semaphore instead of a borrow.
#[derive(Debug)]
#[must_use = "the permits are given back when this is dropped"]
pub struct OwnedPermit {
    semaphore: Arc<Semaphore>,
    count: u64,
}

impl Permit<'_> {
    /// How many they are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Does not give them back: they are gone, until somebody [releases](Semaphore::release) as
    /// many.
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl OwnedPermit {
    /// How many they are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Does not give them back: they are gone, until somebody [releases](Semaphore::release) as
    /// many.
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.semaphore.give_back(self.count);
    }
}

impl Drop for OwnedPermit {
    fn drop(&mut self) {
        self.semaphore.give_back(self.count);
    }
}
