//! Calls that are made once for all who want their result at the same time. (Go:
//! `golang.org/x/sync/singleflight`.)

use super::WaitGroup;
use crate::g::current;
use crate::runtime::goexit;
use crate::thread::Goexit;
use std::any::Any;
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Calls in flight, by key: a call that is wanted again while it goes on is not made twice. (Go:
/// `singleflight.Group`.)
///
/// # Examples
/// ```
/// use goroutines::sync::singleflight::Group;
///
/// let pages: Group<String, Result<String, String>> = Group::new();
/// goroutines::thread::scope(|s| {
///     for _ in 0..10 {
///         s.spawn(|| {
///             let page = pages.work("/index", || {
///                 // …fetched once for all that come meanwhile
///                 Ok("hello".to_owned())
///             });
///             assert_eq!(page.value.as_deref(), Ok("hello"));
///         });
///     }
/// });
/// ```
pub struct Group<K, V> {
    calls: Mutex<HashMap<K, Arc<Call<V>>>>,
}

/// What a call came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outcome<V> {
    /// What its function returned.
    pub value: V,
    /// Whether others have got the same value.
    pub shared: bool,
}

/// A call in flight, or over.
struct Call<V> {
    /// Those who wait for it.
    end: WaitGroup,
    /// Counted under the group's lock, and no more once the call is not in the map.
    followers: AtomicUsize,
    /// Set before the end.
    result: OnceLock<Ended<V>>,
}

/// How a call ended.
enum Ended<V> {
    Returned(V),
    Panicked(Text),
    /// By `goexit`.
    Exited,
}

/// What is known of a panic's payload.
#[derive(Clone)]
enum Text {
    Static(&'static str),
    Owned(String),
    None,
}

impl Text {
    fn of(payload: &(dyn Any + Send)) -> Self {
        match (payload.downcast_ref::<&'static str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => Self::Static(text),
            (None, Some(text)) => Self::Owned(text.clone()),
            (None, None) => Self::None,
        }
    }

    /// A payload that says the same, of the same type.
    fn payload(&self) -> Box<dyn Any + Send> {
        match self {
            Self::Static(text) => Box::new(*text),
            Self::Owned(text) => Box::new(text.clone()),
            Self::None => Box::new("singleflight: the call panicked, with a value that is no text"),
        }
    }
}

/// Lets those who wait go when it is dropped, whatever happens meanwhile.
struct EndOnDrop<'c>(&'c WaitGroup);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.done();
    }
}

impl<V> Call<V> {
    fn new() -> Self {
        let end = WaitGroup::new();
        end.add(1);
        Self { end, followers: AtomicUsize::new(0), result: OnceLock::new() }
    }
}

impl<V: Clone> Call<V> {
    /// What its function has returned, if it has.
    fn returned(&self) -> Option<V> {
        match self.result.get() {
            Some(Ended::Returned(value)) => Some(value.clone()),
            _ => None,
        }
    }

    /// Waits for the end, and fares as the one who makes the call.
    #[track_caller]
    fn follow(&self) -> Outcome<V> {
        self.end.wait();
        match self.result.get() {
            Some(Ended::Returned(value)) => Outcome { value: value.clone(), shared: true },
            Some(Ended::Panicked(text)) => resume_unwind(text.payload()),
            Some(Ended::Exited) if current::g().is_some() => goexit(),
            Some(Ended::Exited) | None => panic!("singleflight: the call ended by runtime::goexit"),
        }
    }
}

impl<K, V> Group<K, V> {
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Arc<Call<V>>>> {
        // A panic of a key's leaves a map behind that can be used.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash, V: Clone> Group<K, V> {
    /// A group without calls.
    #[must_use]
    pub fn new() -> Self {
        Self { calls: Mutex::new(HashMap::new()) }
    }

    /// Calls `f` and returns what it returned; where a call for `key` is going on already, waits
    /// for that instead, and returns a clone of what it returned. (Go: `Group.Do`.)
    ///
    /// `f` runs on the caller, and may borrow. Blocks the calling goroutine (or thread) while it
    /// waits. What happens in `f` happens before all who get its value return. A call that begins
    /// when the one before is over is made anew: nothing is cached.
    ///
    /// For Go's `DoChan`, do it in a goroutine: `go(move || group.work(…))` gives a handle to wait
    /// for.
    ///
    /// Keep errors in the value: `V` may be a [`Result`], whose error is `Clone`.
    ///
    /// # Panics
    /// As `f` does; also in those who wait for it, with the same text, which is reported once. (A
    /// payload that is no text does not reach them; they are told so.) If `f` ends its goroutine by
    /// [`goexit`], those who wait end theirs; an ordinary thread panics.
    ///
    /// # Deadlock
    /// If `f` wants the same key of the same group.
    ///
    /// # Examples
    /// ```
    /// use goroutines::sync::singleflight::Group;
    ///
    /// let squares = Group::new();
    /// let n: u64 = 12;
    /// let square = squares.work(&n, || n * n);
    /// assert_eq!(square.value, 144);
    /// assert!(!square.shared);
    /// ```
    #[track_caller]
    pub fn work<Q, F>(&self, key: &Q, f: F) -> Outcome<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
        F: FnOnce() -> V,
    {
        let (call, leads) = self.join(key);
        if leads { self.lead(key, call, f) } else { call.follow() }
    }

    /// The call for `key`, and whether it is the caller's to make.
    fn join<Q>(&self, key: &Q) -> (Arc<Call<V>>, bool)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let mut calls = self.lock();
        if let Some(call) = calls.get(key) {
            call.followers.fetch_add(1, Ordering::Relaxed);
            return (Arc::clone(call), false);
        }
        let call = Arc::new(Call::new());
        calls.insert(key.to_owned(), Arc::clone(&call));
        (call, true)
    }

    fn lead<Q, F>(&self, key: &Q, call: Arc<Call<V>>, f: F) -> Outcome<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        F: FnOnce() -> V,
    {
        let end = EndOnDrop(&call.end);
        let (ended, payload) = match catch_unwind(AssertUnwindSafe(f)) {
            Ok(value) => (Ended::Returned(value), None),
            Err(payload) if payload.is::<Goexit>() => (Ended::Exited, Some(payload)),
            Err(payload) => (Ended::Panicked(Text::of(&*payload)), Some(payload)),
        };
        // Nobody has set it before.
        let _ = call.result.set(ended);
        self.remove(key, &call);
        drop(end);
        if let Some(payload) = payload {
            resume_unwind(payload);
        }
        // Nobody joins it any more.
        let shared = call.followers.load(Ordering::Relaxed) > 0;
        let ended = match Arc::try_unwrap(call) {
            Ok(call) => call.result.into_inner(),
            Err(call) => call.returned().map(Ended::Returned),
        };
        match ended {
            Some(Ended::Returned(value)) => Outcome { value, shared },
            _ => unreachable!("it has returned"),
        }
    }

    /// Takes `call` out of the map, if it is still there.
    fn remove<Q>(&self, key: &Q, call: &Arc<Call<V>>)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let mut calls = self.lock();
        let is_there = calls.get(key).is_some_and(|there| Arc::ptr_eq(there, call));
        let removed = if is_there { calls.remove_entry(key) } else { None };
        drop(calls);
        drop(removed); // the key is the user's: not under the lock
    }

    /// Forgets the call for `key` that is going on, if there is one: a caller that asks for `key`
    /// from now on makes the call anew. Callers that already wait for it go on waiting. Does not
    /// block. (Go: `Group.Forget`.)
    pub fn forget<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let removed = self.lock().remove_entry(key);
        drop(removed); // not under the lock
    }
}

impl<K: Eq + Hash, V: Clone> Default for Group<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> std::fmt::Debug for Group<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("in_flight", &self.lock().len()).finish_non_exhaustive()
    }
}
