//! The twin of `goroutines::g`: a goroutine is a thread of the model.
//!
//! Its context is a cell: who leaves it writes it, who readies it does too.

pub(crate) mod current {
    use super::G;
    use std::cell::Cell;
    use std::ptr::null;

    /// Stands for a section; there is nothing to protect from.
    pub(crate) struct Section;

    pub(crate) fn enter() -> Section {
        Section
    }

    loom::thread_local! {
        static CURRENT: Cell<*const G> = Cell::new(null());
    }

    /// The goroutine whose thread calls.
    pub(crate) fn g() -> Option<&'static G> {
        // SAFETY: the goroutine outlives its threads.
        CURRENT.with(|at| unsafe { at.get().as_ref() })
    }

    /// The calling thread is that of `gp`.
    pub(crate) fn set_g(gp: &'static G) {
        gp.thread.set(loom::thread::current()).unwrap();
        CURRENT.with(|at| at.set(gp));
    }
}

pub(crate) mod reason {
    pub(crate) enum WaitReason {
        Park,
        Io,
        Semacquire,
    }
}

pub(crate) mod task {
    //! What runs.

    use super::G;
    use std::collections::VecDeque;

    pub(crate) struct Runnable(pub(crate) &'static G);

    impl Runnable {
        pub(crate) fn of_g(gp: &'static G) -> Self {
            Self(gp)
        }
    }

    /// A list through a link in each: nobody is in two.
    pub(crate) struct RunList(VecDeque<Runnable>);

    impl RunList {
        pub(crate) fn new() -> Self {
            Self(VecDeque::new())
        }

        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }

        pub(crate) fn push_back(&mut self, one: Runnable) {
            assert!(!one.0.runlink.replace(true), "a goroutine is in two lists");
            self.0.push_back(one);
        }

        pub(crate) fn pop_front(&mut self) -> Option<Runnable> {
            let first = self.0.pop_front()?;
            first.0.runlink.set(false);
            Some(first)
        }
    }
}

pub(crate) mod wait {
    include!(concat!(env!("OUT_DIR"), "/g_wait.rs"));
}

#[expect(dead_code, reason = "the models don't use all of it")]
pub(crate) mod wait_list {
    include!(concat!(env!("OUT_DIR"), "/g_wait_list.rs"));
}

use crate::base::cell::Cell;
use crate::real::status::{State, Status};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::Thread;
use std::sync::OnceLock;
use wait::WaitWord;

pub(crate) struct G {
    pub(crate) wait: WaitWord,
    status: Status,
    context: UnsafeCell<u32>,
    runlink: Cell<bool>,
    thread: OnceLock<Thread>,
}

impl std::fmt::Debug for G {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("G")
    }
}

// SAFETY: loom checks the use of the cells.
unsafe impl Sync for G {}
// SAFETY: as above.
unsafe impl Send for G {}

impl G {
    pub(crate) fn new() -> Self {
        Self {
            wait: WaitWord::new(),
            status: Status::new(State::Running),
            context: UnsafeCell::new(0),
            runlink: Cell::new(false),
            thread: OnceLock::new(),
        }
    }

    pub(crate) fn as_ptr(&'static self) -> *mut G {
        std::ptr::from_ref(self).cast_mut()
    }

    fn switch(&self) {
        // SAFETY: of whoever may run it, or loom finds it.
        self.context.with_mut(|at| unsafe { *at += 1 });
    }

    /// park.rs: leaves the goroutine, then runs `commit`; returns when it was readied.
    pub(crate) fn park(&'static self, commit: impl FnOnce() -> bool, meanwhile: impl FnOnce()) {
        self.switch();
        self.status.set(State::Waiting);
        if !commit() {
            self.ready();
        }
        meanwhile();
        while self.status.get() != State::Runnable {
            loom::thread::park();
        }
        self.status.set(State::Running);
        self.switch();
    }

    /// ready.rs
    pub(crate) fn ready(&self) {
        assert!(self.status.ready(), "readying a goroutine which does not wait");
        self.switch();
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

/// What lives as long as the model runs, and may be named so.
pub(crate) fn forever<T>(one: &Arc<T>) -> &'static T {
    // SAFETY: the model holds it until all its threads have ended.
    unsafe { &*std::ptr::from_ref::<T>(one) }
}
