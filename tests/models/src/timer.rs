//! The twin of `goroutines::timer`: functions are named as there.

pub(crate) use crate::real::alarm;

pub(crate) mod call {
    include!(concat!(env!("OUT_DIR"), "/timer_call.rs"));
}

use crate::base::lock::Lock;
use crate::base::sys;
use crate::g::G;
use crate::g::task::Task;
use crate::g::wait::{Cause, Ticket};
use crate::sched::wait::end;
use alarm::{Due, Set};
use call::Call;

/// The timers of a P.
pub(crate) struct Timers {
    /// Those of calls.
    heap: Lock<Vec<(u64, &'static Call)>>,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self { heap: Lock::new(Vec::new()) }
    }

    /// The time comes, at any moment.
    pub(crate) fn set(&self, gp: &'static G, when: u64, ticket: Ticket) -> bool {
        gp.start(move || {
            sys::pass(when);
            end(gp, ticket, Cause::Timeout);
        });
        false
    }

    pub(crate) fn set_call(&self, call: &'static Call, when: u64) -> bool {
        let is_new = call.alarm.set(when, Ticket(0)) != Set::Standing;
        if is_new {
            self.heap.lock().push((when, call));
        }
        is_new
    }

    /// Calls what is due at the time `now`.
    pub(crate) fn expire(&self, now: u64) {
        let mut out = Vec::new();
        let mut heap = self.heap.lock();
        while let Some(at) = heap.iter().position(|(when, _)| *when <= now) {
            let (entry, call) = heap.swap_remove(at);
            match call.alarm.take(entry, now) {
                Due::Stale | Due::Off => {}
                Due::Later(when) => heap.push((when, call)),
                Due::Now(_) => out.extend(call.due(now)),
            }
        }
        drop(heap);
        // SAFETY: the goroutine's reference, which the call had.
        out.into_iter().for_each(|task| unsafe { Task::run(task) });
    }
}
