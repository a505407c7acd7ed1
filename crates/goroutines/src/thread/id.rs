//! Names and handles of goroutines.

use super::park::ParkState;
use crate::g::current;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A unique identifier of a running goroutine or thread. Like [`std::thread::ThreadId`].
///
/// Never used again in this process. Not the same as `std::thread::current().id()`, which in a
/// goroutine is unique and stable as well.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ThreadId(Id);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Id {
    Goroutine(u64),
    Os(std::thread::ThreadId),
}

impl std::fmt::Debug for ThreadId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Id::Goroutine(id) => write!(f, "ThreadId(goroutine {id})"),
            Id::Os(id) => id.fmt(f),
        }
    }
}

/// What a goroutine's handles share.
pub(crate) struct Inner {
    id: AtomicU64,
    name: Option<String>,
    pub(super) park: ParkState,
}

impl Inner {
    /// What the handles of a goroutine share; the goroutine has a number.
    pub(super) fn of(id: u64) -> Self {
        Self { id: AtomicU64::new(id), name: None, park: ParkState::new() }
    }

    /// What the handles of a goroutine to come share: [`set_id`](Self::set_id) is called before it
    /// is queued.
    pub(super) fn new(name: Option<String>) -> Self {
        Self { id: AtomicU64::new(0), name, park: ParkState::new() }
    }

    pub(super) fn set_id(&self, id: u64) {
        self.id.store(id, Ordering::Relaxed);
    }
}

/// A handle to a goroutine or an ordinary thread. Like [`std::thread::Thread`].
#[derive(Clone)]
pub struct Thread(Kind);

#[derive(Clone)]
enum Kind {
    Goroutine(Arc<Inner>),
    Os(std::thread::Thread),
}

impl Thread {
    pub(crate) fn ours(inner: Arc<Inner>) -> Self {
        Self(Kind::Goroutine(inner))
    }

    pub(super) fn inner(&self) -> Option<&Inner> {
        match &self.0 {
            Kind::Goroutine(inner) => Some(inner),
            Kind::Os(_) => None,
        }
    }

    /// Makes available the token that [`park`](super::park()) waits for, and wakes the goroutine or
    /// thread if it is parked.
    ///
    /// Does not block. Everything before it happens before the `park` that takes the token returns.
    pub fn unpark(&self) {
        match &self.0 {
            Kind::Goroutine(inner) => inner.park.unpark(),
            Kind::Os(thread) => thread.unpark(),
        }
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> ThreadId {
        match &self.0 {
            Kind::Goroutine(inner) => ThreadId(Id::Goroutine(inner.id.load(Ordering::Relaxed))),
            Kind::Os(thread) => ThreadId(Id::Os(thread.id())),
        }
    }

    /// The name it was given by [`Builder::name`](super::Builder::name).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Kind::Goroutine(inner) => inner.name.as_deref(),
            Kind::Os(thread) => thread.name(),
        }
    }
}

impl std::fmt::Debug for Thread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Thread")
            .field("id", &self.id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// The handle of the calling goroutine, or ordinary thread.
///
/// # Panics
/// In a goroutine whose `thread_local!` destructors have run.
#[must_use]
pub fn current() -> Thread {
    let Some(gp) = current::running() else { return Thread(Kind::Os(std::thread::current())) };
    let task = gp.task.get();
    assert!(
        !task.is_null() && gp.task().is_some_and(|task| !task.is_system),
        "thread::current() in a goroutine that has ended (or in one of the runtime's own)"
    );
    // SAFETY: the goroutine's own reference, which it gives up at its very end; start() made the
    // task.
    unsafe { super::join::thread(&*task) }
}
