//! All goroutines asleep. (Go: `checkdead`.)
//!
//! Looked at by the monitor when it is about to sleep because all Ps are idle. (Go looks whenever
//! an M goes idle; here that costs the Ms nothing, and a deadlock is found some milliseconds
//! later.) There is a deadlock if no M runs or is about to, no goroutine is runnable, and the
//! process has no other thread that could wake one: all of them sleep too, until another wakes them
//! (`others.rs`). A goroutine that blocks its thread keeps its M from being idle; so this never
//! fires while anything in the process could still end a wait. Where another thread is not asleep,
//! the monitor looks again from time to time: it may end without waking anybody.
//!
//! Tests that wait for their main goroutine fail (`trial.rs`); else the process ends.

use super::sysmon::{maker, onlooker};
use super::{SCHED, Shared, StaticGuard, exit, others, trial};
use crate::base::{fatal, sys};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long one goroutine's part of a dump may take, debug information that must be read included.
const PATIENCE: Duration = Duration::from_secs(10);

/// What looking came to, if it was no deadlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is nobody who could be in one, or somebody waits for a timer or a descriptor.
    Nobody,
    /// There is none as long as some thread lives that may end without waking anybody: look again.
    NotYet,
}

/// Ends the process if all goroutines are asleep for ever. Takes the scheduler lock's guard, as it
/// has to report without it.
pub(crate) fn check(shared: StaticGuard<Shared>) -> Verdict {
    if super::watch::anybody_waits() {
        return Verdict::Nobody;
    }
    let before = stillness(&shared);
    drop(shared);
    if exit::alive() == 0 && !SCHED.main_gone.load(Ordering::Relaxed) {
        return Verdict::Nobody;
    }
    let Some(before) = before else { return Verdict::NotYet };
    // A directory of tasks has a link for each, and two of its own.
    match sys::links(b"/proc/self/task\0") {
        Some(links) if links.saturating_sub(2) <= before.threads => {}
        Some(_) if others::are_asleep() => {}
        _ => return Verdict::NotYet,
    }
    // A thread that has just ended may have readied a goroutine before; one that ran since may have
    // started a thread. If all is as still as before, and nothing has moved, neither was so.
    let anybody_waits = super::watch::anybody_waits();
    if handler_may_wake() {
        return Verdict::NotYet;
    }
    if anybody_waits || stillness(&SCHED.lock()) != Some(before) {
        return Verdict::NotYet;
    }
    if !trial::fail_all() {
        report();
    }
    Verdict::NotYet
}

/// Whether the program has a handler that might wake a goroutine, by whatever name it was
/// installed: a handler of any signal but those of faults, which the runtime and std have handlers
/// for.
fn handler_may_wake() -> bool {
    let is_fault = |signal| {
        matches!(
            signal,
            libc::SIGSEGV
                | libc::SIGBUS
                | libc::SIGFPE
                | libc::SIGILL
                | libc::SIGTRAP
                | libc::SIGSYS
        )
    };
    // 32 and 33 are libc's own.
    let others = (1..=64).filter(|signal| {
        let is_own = match *signal {
            libc::SIGQUIT => super::quit::is_installed(),
            signal => signal == super::preempt::SIGNAL,
        };
        !is_own && !is_fault(*signal) && !(32..=33).contains(signal)
    });
    #[cfg(feature = "intercept")]
    if crate::intercept::undisturbed::anybody_pauses() {
        return true;
    }
    super::preempt::is_users_too() || others.into_iter().any(sys::has_handler)
}

/// A moment in which nothing of the runtime moves.
#[derive(PartialEq, Eq)]
struct Stillness {
    /// The runtime's threads: the Ms, the monitor and its onlooker, and those that wait in `run`.
    threads: u64,
    /// How often a P has become busy so far.
    starts: u64,
}

/// Whether no M runs or is about to, and no goroutine is runnable.
fn stillness(shared: &Shared) -> Option<Stillness> {
    let watching = i32::from(!shared.polling.is_null() && super::watch::is_asleep());
    let awake = shared.mcount - shared.nmidle - shared.nmidle_locked - watching;
    let procs = SCHED.gomaxprocs.load(Ordering::Relaxed);
    let still = awake == 0
        && shared.runq.is_empty()
        && !SCHED.starved.any()
        && shared.pwaiting.is_null()
        && SCHED.idle.procs.load(Ordering::Relaxed) == procs
        && !SCHED.is_stopping();
    let waiters = SCHED.run_waiters.load(Ordering::SeqCst).max(0);
    let threads =
        (shared.mcount + 1 + waiters) as u64 + u64::from(onlooker::threads() + maker::threads());
    still.then_some(Stillness { threads, starts: shared.starts })
}

#[cold]
fn report() -> ! {
    if exit::alive() == 0 {
        fatal::fatal("no goroutines (main called runtime.Goexit) - deadlock!");
    }
    sys::write_all(2, b"fatal error: all goroutines are asleep - deadlock!\n");
    // The dump allocates. Where an allocator's lock is among those that are never given back, the
    // process ends all the same.
    crate::m::thread::is_helper_no_more();
    if fatal::watch(PATIENCE, 2) {
        crate::observe::dump::print_all();
    }
    fatal::exit(2)
}
