//! Calling a function later: arming and disarming a call (`timer/call.rs`).
//!
//! An alarm stands in the heap of a P, so a goroutine sets it; on an ordinary thread a goroutine is
//! started that does.

use super::{current_p, wake, watch};
use crate::base::sys;
use crate::g::current;
use crate::g::task::Task;
use crate::thread;
use crate::timer::alarm::NEVER;
use crate::timer::call::Call;
use std::panic::Location;
use std::ptr::null;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A function that may be called later. When dropped, what is armed will still be called.
#[derive(Debug)]
pub(crate) struct Later(Arc<Owned>);

#[derive(Debug)]
struct Owned {
    call: &'static Call,
    /// Held by the caller that sets or clears the alarm.
    alarm: Mutex<()>,
}

impl Drop for Owned {
    fn drop(&mut self) {
        let _section = current::enter();
        self.call.abandon();
    }
}

impl Later {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Owned { call: Call::take(), alarm: Mutex::new(()) }))
    }

    /// Has `f` called after `d`, in a goroutine of its own, and not what was to be called before.
    /// Whether there was such.
    pub(crate) fn arm(
        &self,
        d: Duration,
        location: &'static Location<'static>,
        f: impl FnOnce() + Send + 'static,
    ) -> bool {
        let task = thread::prepare(f, location);
        let owned = &*self.0;
        let before = {
            let _section = current::enter();
            owned.call.exchange(super::wait::after(d), task)
        };
        let on_p = {
            let _section = current::enter();
            current_p().is_some()
        };
        if on_p {
            owned.set_alarm();
        } else {
            let owned = Arc::clone(&self.0);
            drop(crate::go(move || owned.set_alarm()));
        }
        release(before)
    }

    /// Nothing is to be called. Whether something was.
    pub(crate) fn disarm(&self) -> bool {
        let owned = &*self.0;
        let _alarm = owned.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        let before = {
            let _section = current::enter();
            let before = owned.call.exchange(NEVER, null());
            owned.call.silence();
            before
        };
        release(before)
    }
}

impl Owned {
    /// Sets the alarm for the time of what is armed, if anything still is. On a goroutine.
    fn set_alarm(&self) {
        let _alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        let _section = current::enter();
        self.call.silence();
        let (Some(when), Some(pp)) = (self.call.armed(), current_p()) else { return };
        if pp.timers.set_call(self.call, when) {
            // This M goes on with something else.
            pp.new_timer.set(true);
            watch::announce(pp);
            if when > sys::nanotime() && watch::needs_watcher(when) {
                wake::wakep();
            }
        }
    }
}

/// Gives up what will not be called. Whether there was such.
fn release(task: *const Task) -> bool {
    if !task.is_null() {
        // SAFETY: the goroutine's reference, which was exchanged for another.
        unsafe { Task::release(task) };
    }
    !task.is_null()
}
