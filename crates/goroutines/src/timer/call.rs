//! Functions that are to be called at a time, each in a goroutine of its own.
//!
//! The goroutine is made when the call is armed, as a task that is in no queue (`g/task.rs`); when
//! its time comes it is queued like any other, so that nothing is allocated and no code of the
//! user's runs where timers are seen to. The side that takes the task decides: if that is the
//! heap's side, the task will run; if it is the owner, the task never will.
//!
//! A [`Call`] is never freed, since a heap may still have an entry for it (`alarm.rs`); it is used
//! again.
//!
//! * CA1: the alarm is set and cleared by the owner, one thread at a time. The task and its time
//!   change under the call's lock, which is taken last of all.

use super::alarm::{Alarm, NEVER};
use crate::base::lock::Lock;
use crate::g::task::Task;
use std::cell::Cell;
use std::ptr::null;

/// See the file's head.
#[repr(align(64))]
pub(crate) struct Call {
    pub(super) alarm: Alarm,
    state: Lock<State>,
    /// The next free one; under the lock of those.
    next: Cell<Option<&'static Call>>,
}

// SAFETY: `next` is touched under the lock of the free ones.
unsafe impl Sync for Call {}

struct State {
    when: u64,
    /// Null: not armed.
    task: *const Task,
    /// The owner is gone: free after the call.
    is_orphan: bool,
}

// SAFETY: a task passes from thread to thread.
unsafe impl Send for State {}

static FREE: [Shelf; SHELVES] = [const { Shelf(Lock::new(None)) }; SHELVES];

/// Free ones, by the processor that has used them: neither their lock nor they go from one to
/// another.
#[repr(align(128))]
struct Shelf(Lock<Option<&'static Call>>);

const SHELVES: usize = if cfg!(loom) { 1 } else { 16 };

/// That of the calling goroutine's processor. In a section.
fn shelf() -> usize {
    crate::sched::current_p().map_or(0, |pp| pp.id as usize) % SHELVES
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Call")
    }
}

impl Call {
    /// One for the caller to own. May allocate: outside a section.
    pub(crate) fn take() -> &'static Self {
        let section = crate::g::current::enter();
        let own = shelf();
        // Those that others have put back too: or where one takes and another gives, there would be
        // ever more.
        for at in own..own + SHELVES {
            let mut free = FREE[at % SHELVES].0.lock_static();
            if let Some(call) = *free {
                *free = call.next.take();
                return call;
            }
        }
        drop(section);
        let state = State { when: NEVER, task: null(), is_orphan: false };
        let call = Self { alarm: Alarm::new(), state: Lock::new(state), next: Cell::new(None) };
        Box::leak(Box::new(call))
    }

    fn free(&'static self) {
        let mut free = FREE[shelf()].0.lock_static();
        self.next.set(free.replace(self));
    }

    /// Sets what is called, and when; what was to be called before. By the owner, in a section.
    #[must_use]
    pub(crate) fn exchange(&'static self, when: u64, task: *const Task) -> *const Task {
        let mut state = self.state.lock_static();
        state.when = when;
        std::mem::replace(&mut state.task, task)
    }

    /// When it is to be called, if it is. In a section.
    pub(crate) fn armed(&'static self) -> Option<u64> {
        let state = self.state.lock_static();
        (!state.task.is_null()).then_some(state.when)
    }

    /// The alarm is not to go off. By the owner.
    pub(crate) fn silence(&self) {
        self.alarm.clear();
    }

    /// The owner has no more use for it; what is armed will still be called. In a section.
    pub(crate) fn abandon(&'static self) {
        let mut state = self.state.lock_static();
        if state.task.is_null() {
            drop(state);
            self.free();
        } else {
            state.is_orphan = true;
        }
    }

    /// The alarm went off: what is to be called, if its time has come. On the heap's side.
    pub(super) fn due(&'static self, now: u64) -> Option<*const Task> {
        let mut state = self.state.lock_static();
        if state.task.is_null() || state.when > now {
            return None; // the owner has been here
        }
        let task = std::mem::replace(&mut state.task, null());
        if std::mem::take(&mut state.is_orphan) {
            self.alarm.clear();
            drop(state);
            self.free();
        }
        Some(task)
    }
}
