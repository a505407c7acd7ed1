//! SIGQUIT: the stacks of all goroutines, then the end, as Go and the JVM have it.
//!
//! Where the program leaves the signal's action as it is by default, which is to end the process.
//! A program that installs a handler, or ignores the signal, replaces this, and where calls are
//! taken over it never sees it: the action before reads as the default one.
//!
//! The handler may have interrupted anything, so it only leaves word. The monitor stops the world
//! and prints.

use super::SCHED;
use super::boot::{install_handler, signals};
use crate::base::{fatal, origin, sys};
use std::ffi::c_int;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long one part of the way to the end may take.
const PATIENCE: Duration = Duration::from_secs(10);

static ASKED: AtomicBool = AtomicBool::new(false);

/// The handler's address.
pub(crate) fn address() -> usize {
    handler as *const () as usize
}

/// Installs the handler, where the action is the default one.
pub(crate) fn install() {
    if sys::handler_of(libc::SIGQUIT) == libc::SIG_DFL {
        let flags = libc::SA_RESTART | libc::SA_ONSTACK;
        // SAFETY: a handler that takes the signal's number. (It is optional: where it can't be
        // installed, the default action stays.)
        let _ = unsafe { install_handler(libc::SIGQUIT, address(), flags, &signals(false)) };
    }
}

extern "C" fn handler(signal: c_int) {
    if !origin::is_here() {
        // A forked copy has nothing to show, and no monitor.
        sys::set_default(signal, 0);
        sys::tgkill(sys::gettid(), signal);
        return;
    }
    ASKED.store(true, Ordering::SeqCst);
    SCHED.sysmon.nudge();
}

/// Whether the handler is installed.
pub(crate) fn is_installed() -> bool {
    sys::handler_of(libc::SIGQUIT) == address()
}

/// What the monitor does in each of its rounds: nothing, mostly.
pub(crate) fn attend() {
    if ASKED.load(Ordering::Relaxed) {
        end();
    }
}

#[cold]
fn end() -> ! {
    sys::write_all(2, b"SIGQUIT: quit\n");
    // The dump allocates.
    crate::m::thread::is_helper_no_more();
    if fatal::watch(PATIENCE, 2) {
        let text = crate::observe::dump::stacks();
        fatal::going_on();
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
    fatal::exit(2)
}
