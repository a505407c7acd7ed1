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
    use crate::g::G;
    use crate::g::reason::WaitReason;
    use crate::g::wait::{Cause, Claim, Ticket};
    use loom::thread;
    use std::time::Duration;

    /// Any.
    pub(crate) fn after(_: Duration) -> u64 {
        0
    }

    pub(crate) fn end(gp: &G, ticket: Ticket, cause: Cause) {
        if gp.wait.claim(ticket, cause) == Claim::Parked {
            gp.ready();
        }
    }

    /// The time is over at any moment.
    pub(crate) fn wait(gp: &'static G, _: WaitReason, ticket: Ticket, _: u64) -> Cause {
        let timer = thread::spawn(move || end(gp, ticket, Cause::Timeout));
        if gp.wait.cause().is_none() {
            gp.park(|| gp.wait.park(ticket));
        }
        timer.join().unwrap();
        gp.wait.cause().unwrap()
    }
}
