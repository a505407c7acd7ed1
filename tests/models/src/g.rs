//! The twin of `goroutines::g`: a goroutine is a thread of the model.

pub(crate) use crate::real::{status, wait};

use loom::thread::{self, Thread};
use status::{State, Status};
use std::cell::Cell;
use std::ptr::{from_ref, null};
use wait::WaitWord;

pub(crate) struct G {
    thread: Thread,
    pub(crate) status: Status,
    pub(crate) wait: WaitWord,
}

impl G {
    /// The calling thread's.
    pub(crate) fn new() -> Self {
        Self {
            thread: thread::current(),
            status: Status::new(State::Running),
            wait: WaitWord::new(),
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut Self {
        from_ref(self).cast_mut()
    }

    /// What `sched::ready::ready` does.
    pub(crate) fn ready(&self) {
        assert!(self.status.ready(), "readying a goroutine, which does not wait");
        self.thread.unpark();
    }

    /// What `sched::park::park` does.
    pub(crate) fn park(&self, commit: impl FnOnce() -> bool) {
        self.status.set(State::Waiting);
        if !commit() {
            self.ready();
        }
        while self.status.get() != State::Runnable {
            thread::park();
        }
        self.status.set(State::Running);
    }
}

pub(crate) mod current {
    use super::{Cell, G, null};

    thread_local! {
        static CURRENT: Cell<*const G> = const { Cell::new(null()) };
    }

    /// Says which one [`g`] returns; it stays where it is while the model runs.
    pub(crate) fn set_g(gp: *const G) {
        CURRENT.set(gp);
    }

    pub(crate) fn g() -> Option<&'static G> {
        // SAFETY: as `set_g` says.
        unsafe { CURRENT.get().as_ref() }
    }

    /// Stands for a section; there is nothing to protect from.
    pub(crate) struct Section;

    pub(crate) fn enter() -> Section {
        Section
    }
}

pub(crate) mod reason {
    pub(crate) enum WaitReason {
        Park,
    }
}
