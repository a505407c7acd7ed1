//! The tree of contexts: which of them are cancelled with which.
//!
//! A node keeps its parent alive, so that cancelling an ancestor reaches it; a parent knows its
//! children without keeping them, so that those which are dropped are gone. One with functions to
//! call is kept by its parent, and by its alarm. (A parent that can't be cancelled any more, as all
//! its handles were dropped, and a child of it that has functions keep each other: those are never
//! freed.) Of one that is gone the channel may be left, in somebody's hands: it passes to the
//! parent, and to the alarm.
//!
//! * CX1: `error` is set once, under the lock; [`err`](Node::err) gives it when the channel is
//!   closed too. Then runs are ended, children are cancelled, and functions are called.
//! * CX2: what is added under the lock (a child, a function, a run) is either seen by the caller
//!   that cancels, or finds `error` set.
//! * CX3: no lock of a node is held while another's is taken, or while foreign code runs. But for
//!   `descent`: a caller that cancels holds it, from the node that it cancels to the last below,
//!   and takes it downwards; so the caller that comes second returns when all below are cancelled.

use super::{Cause, ContextError};
use crate::chan::{Receiver, Sender, bounded};
use crate::go;
use crate::sched::ambient::Run;
use crate::sched::later::Later;
use crate::sched::park::ParkingLock;
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
    /// 0, or a [`ContextError`] and one; [`CLOSING`] until the channel is closed.
    error: AtomicU8,
    state: Mutex<State>,
    descent: ParkingLock,
    done: OnceLock<(Sender<()>, Receiver<()>)>,
    /// Cancels it at its deadline.
    alarm: OnceLock<Later>,
}

const CLOSING: u8 = 0x80;

#[derive(Default)]
struct State {
    cause: Option<Cause>,
    children: BTreeMap<u64, Child>,
    functions: BTreeMap<u64, Function>,
    /// Those who run in it.
    runs: Vec<Running>,
    /// Channels of children that are gone.
    orphans: Vec<Sender<()>>,
    /// Itself, until its deadline, as long as there are functions.
    keep: Option<Arc<Node>>,
}

struct Child {
    node: Weak<Node>,
    /// As long as it has functions.
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
            descent: ParkingLock::new(),
            done: OnceLock::new(),
            alarm: OnceLock::new(),
        });
        if let Some(parent) = &node.parent {
            let mut state = parent.lock();
            match parent.err() {
                None => {
                    let child = Child { node: Arc::downgrade(&node), keep: None };
                    state.children.insert(node.id, child);
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
        let error = self.error.load(Ordering::Acquire);
        if error & CLOSING != 0 {
            drop(self.lock());
        }
        match error & !CLOSING {
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
            // The caller that cancels sees the channel, or we see the error: the lock orders the
            // two.
            drop(self.lock());
            if self.err().is_some() {
                sender.close();
            }
        }
        receiver
    }

    /// Cancels it, and all below it.
    pub(super) fn cancel(self: &Arc<Self>, error: ContextError, cause: Option<Cause>) {
        let mut all = vec![Arc::clone(self)];
        let mut at = 0;
        while let Some(node) = all.get(at).cloned() {
            // Another caller that is cancelling this node has cancelled all below it when `descent`
            // is ours.
            node.descent.lock();
            node.cancel_one(error, cause.clone(), &mut all);
            at += 1;
        }
        for node in &all {
            node.descent.unlock();
        }
        for node in all {
            if let Some(alarm) = node.alarm.get() {
                alarm.disarm();
            }
            node.leave_parent();
        }
    }

    /// Cancels it alone; its children go to `below`.
    fn cancel_one(&self, error: ContextError, cause: Option<Cause>, below: &mut Vec<Arc<Self>>) {
        let (functions, orphans, _keep);
        {
            let mut state = self.lock();
            if self.err().is_some() {
                return;
            }
            state.cause = cause;
            let number = if error == ContextError::Canceled { 1 } else { 2 };
            self.error.store(number | CLOSING, Ordering::Release);
            if let Some((sender, _)) = self.done.get() {
                sender.close();
            }
            self.error.store(number, Ordering::Release);
            for run in &state.runs {
                // SAFETY: in the list, under the lock.
                unsafe { (*run.0).cancel(error.errno()) };
            }
            let children = std::mem::take(&mut state.children).into_values();
            below.extend(children.filter_map(|child| child.node.upgrade()));
            functions = std::mem::take(&mut state.functions);
            orphans = std::mem::take(&mut state.orphans);
            _keep = state.keep.take();
        }
        close_all(&orphans);
        for f in functions.into_values() {
            drop(go(f));
        }
    }

    fn leave_parent(&self) {
        if let Some(parent) = &self.parent {
            let child = parent.lock().children.remove(&self.id);
            drop(child);
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

    /// Has `f` called when it is done. Itself and a number by which that can be stopped; none if it
    /// is done.
    pub(super) fn after_func(self: &Arc<Self>, f: Function) -> Option<(Arc<Self>, u64)> {
        let mut state = self.lock();
        if self.err().is_some() {
            drop(state);
            drop(go(f));
            return None;
        }
        let id = next_id();
        state.functions.insert(id, f);
        if self.alarm.get().is_some() {
            state.keep = Some(Arc::clone(self));
        }
        drop(state);
        self.kept_by_parent(Some(self));
        Some((Arc::clone(self), id))
    }

    /// Has the parent keep it, or not.
    fn kept_by_parent(&self, keep: Option<&Arc<Self>>) {
        let Some(parent) = &self.parent else { return };
        let mut state = parent.lock();
        let Some(child) = state.children.get_mut(&self.id) else { return };
        let before = std::mem::replace(&mut child.keep, keep.cloned());
        drop(state);
        drop(before);
    }

    /// Has a function not called. Whether it would have been.
    pub(super) fn stop(&self, id: u64) -> bool {
        let mut state = self.lock();
        let stopped = state.functions.remove(&id);
        let is_last = stopped.is_some() && state.functions.is_empty();
        let keep = if is_last { state.keep.take() } else { None };
        drop(state);
        drop(keep);
        if is_last {
            // Another may be added meanwhile, and want to be kept: then it asks for that
            // afterwards.
            self.kept_by_parent(None);
            let again = self.lock().functions.is_empty();
            if !again && let Some(this) = self.parent.as_ref().and_then(|p| p.child(self.id)) {
                self.kept_by_parent(Some(&this));
            }
        }
        stopped.is_some()
    }

    fn child(&self, id: u64) -> Option<Arc<Self>> {
        self.lock().children.get(&id)?.node.upgrade()
    }

    /// It is gone: its channel, if somebody has it, is its parent's, and its alarm's.
    fn end(&mut self) {
        let alarm = self.alarm.take();
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut orphans = std::mem::take(&mut state.orphans);
        if *self.error.get_mut() != 0 {
            return;
        }
        if let Some(alarm) = &alarm {
            alarm.disarm();
        }
        if let Some((sender, receiver)) = self.done.take() {
            drop(receiver);
            orphans.push(sender);
        }
        orphans.retain(Sender::has_receivers);
        if let (Some(alarm), Some(deadline), false) = (alarm, self.deadline, orphans.is_empty()) {
            let orphans = orphans.clone();
            let left = deadline.saturating_duration_since(Instant::now());
            alarm.arm(left, Location::caller(), move || close_all(&orphans));
        }
        let Some(parent) = &self.parent else {
            // Nobody will ever close them; and they are not to seem closed.
            orphans.into_iter().for_each(Sender::leave_open);
            return;
        };
        let mut state = parent.lock();
        let child = state.children.remove(&self.id);
        if !orphans.is_empty() && parent.err().is_none() {
            state.orphans.retain(Sender::has_receivers);
            state.orphans.append(&mut orphans);
        }
        drop(state);
        // Cancelled before they came.
        close_all(&orphans);
        drop(child);
    }
}

fn close_all(orphans: &[Sender<()>]) {
    for orphan in orphans {
        orphan.close();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.end();
        // A loop, as the chain may be long.
        let mut next = self.parent.take();
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            node.end();
            next = node.parent.take();
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
