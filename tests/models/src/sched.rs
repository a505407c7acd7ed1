//! The twin of `goroutines::sched`: goroutines are threads of the model.

use crate::p::P;
use loom::thread::JoinHandle;
use std::cell::{Cell, RefCell};

pub(crate) mod park {
    use crate::g::G;
    use crate::g::reason::WaitReason;
    use crate::real::status::{State, Status};
    use loom::thread::{self, Thread};
    use std::cell::Cell;

    /// What a weakened twin leaves out.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Without {
        Nothing,
        /// The status is set after the commit, not before it.
        StatusFirst,
    }

    thread_local! {
        static WITHOUT: Cell<Without> = const { Cell::new(Without::Nothing) };
    }

    /// Weakens [`block`] from now on.
    pub(crate) fn without(without: Without) {
        WITHOUT.set(without);
    }

    pub(crate) struct Waiter {
        gp: Thread,
        status: Status,
    }

    impl Waiter {
        fn ready(this: *const Self) {
            // SAFETY: the waiter is on the stack of somebody who waits, until `ready` has won.
            let (gp, won) = unsafe { ((*this).gp.clone(), (*this).status.ready()) };
            assert!(won, "readying a goroutine, which does not wait");
            gp.unpark();
        }

        /// # Safety
        /// * As in the library.
        pub(crate) unsafe fn wake(this: *const Self) {
            Self::ready(this);
        }
    }

    /// Parks a goroutine.
    pub(crate) fn park(gp: &'static G, _: WaitReason, commit: impl FnOnce() -> bool) {
        gp.park(commit, || {});
    }

    pub(crate) fn block(_: WaitReason, enlist: impl FnOnce(&Waiter) -> bool) {
        let waiter = Waiter { gp: thread::current(), status: Status::new(State::Running) };
        let late = WITHOUT.get() == Without::StatusFirst;
        if !late {
            waiter.status.set(State::Waiting);
        }
        let waits = enlist(&waiter);
        if late {
            waiter.status.set(State::Waiting);
        }
        if !waits {
            Waiter::ready(&raw const waiter);
        }
        while waiter.status.get() != State::Runnable {
            thread::park();
        }
    }
}

pub(crate) mod wait {
    //! The twin of `sched/wait.rs`.

    use super::ready::ready_all;
    use crate::base::steps::lacks;
    use crate::base::sys;
    use crate::g::G;
    use crate::g::reason::WaitReason;
    use crate::g::task::RunList;
    use crate::g::wait::{Cause, Claim, Ticket};
    use std::time::Duration;

    pub(crate) const NEVER: u64 = u64::MAX;

    /// Parks `gp`. With a time-out, the time is over at any moment.
    pub(crate) fn wait(gp: &'static G, _reason: WaitReason, ticket: Ticket, until: u64) -> Cause {
        if gp.wait.cause().is_none() {
            let time = || {
                if until != NEVER {
                    end(gp, ticket, Cause::Timeout);
                }
            };
            gp.park(|| gp.wait.park(ticket) || lacks("looking whether it is over"), time);
        }
        match gp.wait.cause() {
            Some(cause) => cause,
            None => panic!("a goroutine was woken, and its wait goes on"),
        }
    }

    pub(crate) fn end(gp: &'static G, ticket: Ticket, cause: Cause) {
        if gp.wait.claim(ticket, cause) == Claim::Parked {
            gp.ready();
        }
    }

    pub(crate) fn waking<R>(f: impl FnOnce(&mut RunList) -> R) -> R {
        let mut list = RunList::new();
        let result = f(&mut list);
        ready_all(&mut list);
        result
    }

    pub(crate) fn after(d: Duration) -> u64 {
        sys::nanotime() + d.as_nanos() as u64
    }
}

pub(crate) mod ready {
    //! Of `sched/ready.rs`: who is readied runs.

    use crate::g::G;
    use crate::g::task::{RunList, Runnable};

    pub(crate) fn ready(gp: &'static G) {
        gp.ready();
    }

    pub(crate) fn ready_all(list: &mut RunList) {
        while let Some(one) = pop_waiting(list) {
            enqueue(one);
        }
    }

    pub(crate) fn pop_waiting(list: &mut RunList) -> Option<Runnable> {
        list.pop_front()
    }

    pub(crate) fn enqueue(one: Runnable) {
        one.0.ready();
    }
}

loom::thread_local! {
    static CURRENT_P: Cell<Option<&'static P>> = Cell::new(None);
}

/// The P of the calling thread's M.
pub(crate) fn current_p() -> Option<&'static P> {
    CURRENT_P.with(Cell::get)
}

/// Gives it one.
pub(crate) fn set_p(pp: Option<&'static P>) {
    CURRENT_P.with(|at| at.set(pp));
}

thread_local! {
    // loom runs all threads of a model on the thread that checks it.
    static STARTS_ON: Cell<Option<&'static P>> = const { Cell::new(None) };
    static STARTED: RefCell<Vec<JoinHandle<()>>> = const { RefCell::new(Vec::new()) };
}

/// From now on goroutines are started on `pp`.
pub(crate) fn start_on(pp: &'static P) {
    STARTS_ON.set(Some(pp));
}

pub(crate) fn go(f: impl FnOnce() + 'static) {
    let pp = STARTS_ON.get();
    let one = loom::thread::spawn(move || {
        set_p(pp);
        f();
    });
    STARTED.with(|all| all.borrow_mut().push(one));
}

/// Waits for those that were started.
pub(crate) fn join_started() {
    while let Some(one) = STARTED.with(|all| all.borrow_mut().pop()) {
        one.join().unwrap();
    }
}

pub(crate) mod wake {
    pub(crate) fn wakep() {}
}

pub(crate) mod watch {
    use crate::p::P;

    pub(crate) fn announce(_: &P) {}

    pub(crate) fn needs_watcher(_: u64) -> bool {
        true
    }
}

pub(crate) mod ambient {
    include!(concat!(env!("OUT_DIR"), "/sched_ambient.rs"));
}

#[expect(dropping_copy_types, reason = "what `go` returns is a handle there")]
pub(crate) mod later {
    include!(concat!(env!("OUT_DIR"), "/sched_later.rs"));
}

pub(crate) mod starved {
    include!(concat!(env!("OUT_DIR"), "/sched_starved.rs"));
}

pub(crate) struct Sched;

/// Nothing forks.
pub(crate) static SCHED: Sched = Sched;

impl Sched {
    #[expect(clippy::unused_self, reason = "as the library's")]
    pub(crate) fn is_forked(&self) -> bool {
        false
    }
}
