//! The twin of `goroutines::g`: a goroutine is a thread of the model.
//!
//! Its context is a cell: who leaves it writes it, who readies it does too.

pub(crate) mod current {
    use super::G;
    use std::cell::Cell;
    use std::ptr::null;

    /// Stands for a section; there is nothing to protect from.
    pub(crate) struct Section(Option<&'static G>);

    pub(crate) fn enter() -> Section {
        Section(g())
    }

    impl Section {
        pub(crate) fn g(&self) -> Option<&'static G> {
            self.0
        }
    }

    loom::thread_local! {
        static CURRENT: Cell<*const G> = Cell::new(null());
    }

    /// The goroutine whose thread calls. There are no copies of a model.
    pub(crate) fn running() -> Option<&'static G> {
        g()
    }

    /// The goroutine whose thread calls.
    pub(crate) fn g() -> Option<&'static G> {
        // SAFETY: the goroutine outlives its threads.
        CURRENT.with(|at| unsafe { at.get().as_ref() })
    }

    /// The calling thread is that of `gp`.
    pub(crate) fn set_g(gp: &'static G) {
        CURRENT.with(|at| at.set(gp));
    }
}

#[expect(dead_code, reason = "the models don't use all of it")]
#[path = "../../../crates/goroutines/src/g/reason.rs"]
pub(crate) mod reason;

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
        pub(crate) const fn new() -> Self {
            Self(VecDeque::new())
        }

        pub(crate) fn len(&self) -> usize {
            self.0.len()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.0.is_empty()
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

    /// A goroutine that has not begun.
    pub(crate) struct Task(Box<dyn FnOnce()>);

    impl Task {
        pub(crate) fn boxed(f: impl FnOnce() + 'static) -> *const Self {
            Box::into_raw(Box::new(Self(Box::new(f))))
        }

        /// Runs it.
        ///
        /// # Safety
        /// * The caller has the reference.
        pub(crate) unsafe fn run(this: *const Self) {
            // SAFETY: as the caller says.
            (unsafe { Box::from_raw(this.cast_mut()) }.0)();
        }

        /// # Safety
        /// * As in the library.
        pub(crate) unsafe fn release(this: *const Self) {
            // SAFETY: as the caller says.
            drop(unsafe { Box::from_raw(this.cast_mut()) });
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

use crate::base::atomic::{AtomicPtr, AtomicU64};
use crate::base::cell::Cell;
use crate::base::lock::Lock;
use crate::base::rand::Rand;
use crate::p::P;
use crate::real::status::{State, Status};
use crate::sched::ambient::Run;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread::JoinHandle;
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::Mutex;
use wait::WaitWord;

pub(crate) struct G {
    pub(crate) wait: WaitWord,
    pub(crate) alarm: Alarm,
    pub(crate) ambient: AtomicPtr<Run>,
    pub(crate) cancel_ticket: AtomicU64,
    status: Status,
    context: UnsafeCell<u32>,
    runlink: Cell<bool>,
    /// Closed while it waits. (loom's `unpark` wakes a thread whatever it waits for.)
    gate: Lock<()>,
    mp: M,
    others: Mutex<Vec<JoinHandle<()>>>,
}

/// Its M, which has a P.
pub(crate) struct M {
    p: P,
    pub(crate) rand: Rand,
}

impl M {
    pub(crate) fn p(&self) -> Option<&P> {
        Some(&self.p)
    }
}

/// One that goes off though it was taken back: the wait is over then, whose number it has.
pub(crate) struct Alarm;

impl Alarm {
    pub(crate) fn clear(&self) {}
}

thread_local! {
    // loom runs all threads of a model on the thread that checks it.
    static ELSEWHERE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// From now on the commit of a park is run by another thread, while the goroutine may go on already.
pub(crate) fn commit_elsewhere(elsewhere: bool) {
    ELSEWHERE.set(elsewhere);
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
            alarm: Alarm,
            ambient: AtomicPtr::new(null_mut()),
            cancel_ticket: AtomicU64::new(0),
            status: Status::new(State::Running),
            context: UnsafeCell::new(0),
            runlink: Cell::new(false),
            gate: Lock::new(()),
            mp: M { p: P::new(), rand: Rand::new(0) },
            others: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn as_ptr(&'static self) -> *mut G {
        std::ptr::from_ref(self).cast_mut()
    }

    pub(crate) fn m(&self) -> &M {
        &self.mp
    }

    pub(crate) fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn switch(&self) {
        // SAFETY: of whoever may run it, or loom finds it.
        self.context.with_mut(|at| unsafe { *at += 1 });
    }

    /// park.rs: leaves the goroutine, then runs `commit`; returns when it was readied.
    pub(crate) fn park(&'static self, commit: impl FnOnce() -> bool, meanwhile: impl FnOnce()) {
        self.switch();
        self.gate.lock().leave_locked();
        self.status.set(State::Waiting);
        let commit = move || {
            if !commit() {
                self.ready();
            }
        };
        if ELSEWHERE.get() {
            let commit: Box<dyn FnOnce() + '_> = Box::new(commit);
            // SAFETY: whether it looks at what is gone is the question.
            let commit = unsafe { transmute::<Box<dyn FnOnce() + '_>, Box<dyn FnOnce()>>(commit) };
            self.start(commit);
        } else {
            commit();
        }
        meanwhile();
        drop(self.gate.lock());
        assert_eq!(self.status.get(), State::Runnable);
        self.status.set(State::Running);
        self.switch();
    }

    /// ready.rs
    pub(crate) fn ready(&self) {
        assert!(self.status.ready(), "readying a goroutine which does not wait");
        self.switch();
        // SAFETY: closed by park().
        drop(unsafe { self.gate.locked() });
    }

    /// Something goes on beside it.
    pub(crate) fn start(&self, f: impl FnOnce() + 'static) {
        let other = loom::thread::spawn(f);
        self.others.lock().unwrap().push(other);
    }

    /// Waits for all that was started beside it.
    pub(crate) fn join_others(&self) {
        let others = std::mem::take(&mut *self.others.lock().unwrap());
        others.into_iter().for_each(|other| other.join().unwrap());
    }
}

/// What lives as long as the model runs, and may be named so.
pub(crate) fn forever<T>(one: &Arc<T>) -> &'static T {
    // SAFETY: the model holds it until all its threads have ended.
    unsafe { &*std::ptr::from_ref::<T>(one) }
}
