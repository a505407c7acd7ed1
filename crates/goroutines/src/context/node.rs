//! The tree of contexts: who is cancelled with whom.
//!
//! A node keeps its parent alive, so that cancelling an ancestor reaches it; a parent knows its children without
//! keeping them, so that those which are dropped are gone. A node with functions to call keeps itself,
//! until it is done or they are stopped.
//!
//! * CX1: `error` is set once, under the lock, before the channel is closed, before children are cancelled,
//!   and before functions are called.
//! * CX2: who is added under the lock (a child, a function, a run) is either seen by who cancels, or finds
//!   `error` set.
//! * CX3: no lock of a node is held while another's is taken, or while foreign code runs.

use super::{Cause, ContextError};
use crate::chan::{Receiver, Sender, bounded};
use crate::go;
use crate::sched::ambient::Run;
use crate::sched::later::Later;
use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

type Function = Box<dyn FnOnce() + Send>;

pub(super) struct Node {
    parent: Option<Arc<Node>>,
    id: u64,
    pub(super) deadline: Option<Instant>,
    /// 0, or a [`ContextError`] and one.
    error: AtomicU8,
    state: Mutex<State>,
    done: OnceLock<(Sender<()>, Receiver<()>)>,
    /// Cancels it at its deadline.
    alarm: OnceLock<Later>,
}

#[derive(Default)]
struct State {
    cause: Option<Cause>,
    children: BTreeMap<u64, Weak<Node>>,
    functions: BTreeMap<u64, Function>,
    /// Those who run in it.
    runs: Vec<Running>,
    /// Itself, as long as there are functions.
    keep: Option<Arc<Node>>,
}

struct Running(*const Run);

// SAFETY: a run is there as long as it is in the list (AM4), and all of it is atomic.
unsafe impl Send for Running {}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

impl Node {
    pub(super) fn new(parent: Option<Arc<Self>>, deadline: Option<Instant>) -> Arc<Self> {
        let node = Arc::new(Self {
            parent,
            id: next_id(),
            deadline,
            error: AtomicU8::new(0),
            state: Mutex::default(),
            done: OnceLock::new(),
            alarm: OnceLock::new(),
        });
        if let Some(parent) = &node.parent {
            let mut state = parent.lock();
            match parent.err() {
                None => {
                    state.children.insert(node.id, Arc::downgrade(&node));
                }
                Some(error) => {
                    let cause = state.cause.clone();
                    drop(state);
                    node.cancel(error, cause);
                }
            }
        }
        node
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn err(&self) -> Option<ContextError> {
        // Acquire: what came before the cancellation.
        match self.error.load(Ordering::Acquire) {
            0 => None,
            1 => Some(ContextError::Canceled),
            _ => Some(ContextError::DeadlineExceeded),
        }
    }

    pub(super) fn cause(&self) -> Option<Cause> {
        let error = self.err()?;
        Some(self.lock().cause.clone().unwrap_or_else(|| Arc::new(error)))
    }

    pub(super) fn done(&self) -> &Receiver<()> {
        let mut is_new = false;
        let (sender, receiver) = self.done.get_or_init(|| {
            is_new = true;
            bounded(0)
        });
        if is_new {
            // Who cancels sees the channel, or we see the error: the lock orders the two.
            drop(self.lock());
            if self.err().is_some() {
                sender.close();
            }
        }
        receiver
    }

    /// Cancels it, and all below it.
    pub(super) fn cancel(&self, error: ContextError, cause: Option<Cause>) {
        let (children, functions, _keep) = {
            let mut state = self.lock();
            if self.err().is_some() {
                return;
            }
            state.cause.clone_from(&cause);
            let number = if error == ContextError::Canceled { 1 } else { 2 };
            self.error.store(number, Ordering::Release);
            for run in &state.runs {
                // SAFETY: in the list, under the lock.
                unsafe { (*run.0).cancel(error.errno()) };
            }
            let children = std::mem::take(&mut state.children);
            (children, std::mem::take(&mut state.functions), state.keep.take())
        };
        if let Some((sender, _)) = self.done.get() {
            sender.close();
        }
        for child in children.into_values().filter_map(|child| child.upgrade()) {
            child.cancel(error, cause.clone());
        }
        for f in functions.into_values() {
            drop(go(f));
        }
        if let Some(alarm) = self.alarm.get() {
            alarm.disarm();
        }
        self.leave_parent();
    }

    fn leave_parent(&self) {
        if let Some(parent) = &self.parent {
            parent.lock().children.remove(&self.id);
        }
    }

    /// Has it cancelled at `deadline`.
    pub(super) fn end_at(self: &Arc<Self>, deadline: Instant, cause: Option<Cause>) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return self.cancel(ContextError::DeadlineExceeded, cause);
        }
        if self.err().is_some() {
            return;
        }
        let alarm = self.alarm.get_or_init(Later::new);
        let this = Arc::downgrade(self);
        alarm.arm(left, Location::caller(), move || {
            if let Some(this) = this.upgrade() {
                this.cancel(ContextError::DeadlineExceeded, cause);
            }
        });
        // It may have been cancelled meanwhile, and found nothing to disarm.
        if self.err().is_some() {
            alarm.disarm();
        }
    }

    /// Has `f` called when it is done. Itself and a number by which that can be stopped; none if it is done.
    pub(super) fn after_func(self: &Arc<Self>, f: Function) -> Option<(Arc<Self>, u64)> {
        let mut state = self.lock();
        if self.err().is_some() {
            drop(state);
            drop(go(f));
            return None;
        }
        let id = next_id();
        state.functions.insert(id, f);
        state.keep = Some(Arc::clone(self));
        Some((Arc::clone(self), id))
    }

    /// Has a function not called. Whether it would have been.
    pub(super) fn stop(&self, id: u64) -> bool {
        let mut state = self.lock();
        let stopped = state.functions.remove(&id);
        let keep = if state.functions.is_empty() { state.keep.take() } else { None };
        drop(state);
        drop(keep);
        stopped.is_some()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(alarm) = self.alarm.get() {
            alarm.disarm();
        }
        if self.err().is_none() {
            self.leave_parent();
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("err", &self.err()).finish_non_exhaustive()
    }
}

/// Calls `f` while `run` is the calling goroutine's innermost one, and cancelled with `node`.
pub(super) fn running<R>(node: Option<&Arc<Node>>, run: &Run, f: impl FnOnce() -> R) -> R {
    struct Leave<'r>(Option<&'r Arc<Node>>, &'r Run);
    impl Drop for Leave<'_> {
        fn drop(&mut self) {
            self.1.leave();
            if let Some(node) = self.0 {
                node.lock().runs.retain(|run| !std::ptr::eq(run.0, self.1));
            }
        }
    }
    run.enter();
    let _leave = Leave(node, run);
    if let Some(node) = node {
        let mut state = node.lock();
        match node.err() {
            None => state.runs.push(Running(run)),
            Some(error) => run.cancel(error.errno()),
        }
    }
    f()
}
