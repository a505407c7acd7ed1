//! The twin of `goroutines::sched`: goroutines are threads of the model.

pub(crate) mod park {
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

    pub(crate) fn after(_: Duration) -> u64 {
        1
    }
}

pub(crate) mod ready {
    //! Of `sched/ready.rs`: who is readied runs.

    use crate::g::task::{RunList, Runnable};

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

/// Whoever runs here has no processor.
pub(crate) fn current_p() -> Option<&'static crate::p::P> {
    None
}

pub(crate) mod wake {
    pub(crate) fn wakep() {}
}

pub(crate) struct Sched {
    pub(crate) forked: std::sync::atomic::AtomicBool,
}

/// Nothing forks.
pub(crate) static SCHED: Sched = Sched { forked: std::sync::atomic::AtomicBool::new(false) };
