//! All goroutines asleep. (Go: `checkdead`.)
//!
//! Looked at whenever an M goes idle. There is a deadlock if no M runs or is about to, no P is busy, no
//! goroutine is runnable, and the process has no other thread that could wake one. A goroutine that
//! blocks its thread keeps its M from being idle; so this never fires while anything in the process
//! could still end a wait. Where another thread exists, the monitor looks again from time to time: it
//! may end without waking anybody.

use super::{Guard, SCHED, Shared, exit};
use crate::base::{fatal, sys};
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends the process if all goroutines are asleep for ever. Takes the scheduler lock's guard, as it may
/// have to report without it.
pub(crate) fn check(shared: Guard<'_, Shared>) {
    let awake = shared.mcount - shared.nmidle - shared.nmidle_locked;
    let procs = SCHED.gomaxprocs.load(Ordering::Relaxed);
    let quiet = awake == 0
        && shared.runq.is_empty()
        && shared.pwaiting.is_null()
        && SCHED.idle.procs.load(Ordering::Relaxed) == procs
        && !SCHED.is_stopping()
        && !SCHED.forked.load(Ordering::Relaxed);
    if !quiet {
        return;
    }
    // Ours: the Ms, the monitor, and those that wait in `run`.
    let ours = shared.mcount as u64 + 1 + u64::from(SCHED.run_waiters.load(Ordering::SeqCst));
    // A directory of tasks has a link for each, and two of its own.
    match sys::links(b"/proc/self/task\0") {
        Some(links) if links.saturating_sub(2) <= ours => {}
        _ => {
            SCHED.sysmon.suspects_deadlock.store(true, Ordering::Relaxed);
            return;
        }
    }
    drop(shared);
    report();
}

#[cold]
fn report() {
    static REPORTED: AtomicBool = AtomicBool::new(false);
    if exit::alive() == 0 && !SCHED.main_gone.load(Ordering::Relaxed) {
        return; // main has just returned
    }
    if REPORTED.swap(true, Ordering::SeqCst) {
        return;
    }
    if exit::alive() == 0 {
        fatal::fatal("no goroutines (main called runtime.Goexit) - deadlock!");
    }
    sys::write_all(2, b"fatal error: all goroutines are asleep - deadlock!\n");
    crate::observe::dump::print_all();
    fatal::exit(2)
}
