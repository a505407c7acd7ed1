//! Stack overflow: a fault in a goroutine's guard page.
//!
//! The handler runs on the alternate stack, mostly the M's, as the goroutine's own stack has no
//! room. A fault elsewhere goes to the handler that was there before (std's own, a debugger's, or
//! the default).

use super::boot::{install_handler, signals};
use crate::base::sys;
use crate::g::{G, current};
use crate::m::altstack;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

static SEGV_BEFORE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static BUS_BEFORE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

fn before(signal: c_int) -> &'static AtomicUsize {
    if signal == libc::SIGBUS { &BUS_BEFORE } else { &SEGV_BEFORE }
}

/// The handler's address.
#[cfg(feature = "intercept")]
pub(crate) fn address() -> usize {
    handler as *const () as usize
}

/// Installs the handler for SIGSEGV and SIGBUS.
pub(crate) fn install() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        let flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: a handler that takes three arguments.
        let old = unsafe {
            install_handler(signal, handler as *const () as usize, flags, &signals(false))
        };
        // (Where it fails the action before is taken for the default one.)
        before(signal).store(old.map_or(libc::SIG_DFL, |old| old.sa_sigaction), Ordering::Relaxed);
    }
}

/// A handler of a fault is about to return: its frame is amended for the M that it is on now, which
/// may be another than the one that it came from. (From here on it stays there: the fault's signal
/// is blocked, PR5.)
pub(crate) fn amend(frame: &mut libc::ucontext_t) {
    if let Some(gp) = current::g() {
        current::raise(gp);
        if let Some(stack) = altstack::restored(gp, gp.m()) {
            frame.uc_stack = stack;
        }
        current::lower(gp);
    }
}

extern "C" fn handler(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel's siginfo; that of a fault has an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    // The signal was sent by `kill`, `raise` or `sigqueue`: no instruction faults.
    let is_sent = code <= 0;
    if !is_sent && let Some(gp) = current::g().or_else(crate::intercept::fork::forked) {
        let stack = gp.carrier().stack();
        let guard = stack.start - goroutines_switch::guard::GUARD_BYTES..stack.start;
        if guard.contains(&address) {
            overflow(gp);
        }
    }
    match before(signal).load(Ordering::Relaxed) {
        libc::SIG_IGN if is_sent => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // The instruction faults again, and the default is done.
            sys::set_default(signal, 0);
        }
        previous => {
            // SAFETY: a handler; one that takes fewer arguments ignores the rest.
            let f: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(previous) };
            f(signal, info, context);
            // SAFETY: the kernel's signal frame.
            amend(unsafe { &mut *context.cast::<libc::ucontext_t>() });
        }
    }
    // (std's handler, too, sets the default and trusts that the instruction faults again.)
    if is_sent && !sys::has_handler(signal) {
        // Blocked until this handler returns.
        sys::tgkill(sys::gettid(), signal);
    }
}

fn overflow(gp: &'static G) -> ! {
    let goid = gp.id();
    let mut out = sys::Text::<600>::new();
    out.push("\ngoroutine ").push_number(goid);
    // (The handle is the task's too: nothing is freed here.)
    let thread = gp.task().and_then(crate::thread::thread_if_made);
    if let Some(name) = thread.as_ref().and_then(|thread| thread.name()).filter(|_| goid != 1) {
        out.push(" \"").push(name).push("\"");
    }
    out.push(" [running]: stack overflow (");
    out.push_number(gp.carrier().class().stack_bytes() as u64 >> 10).push(" KiB)\n");
    if let Some(task) = gp.task() {
        out.push("created at ").push(task.location.file());
        out.push(":").push_number(u64::from(task.location.line())).push("\n");
    }
    if goid == 1 {
        out.push("Give main more with goroutines::runtime::Builder::main_stack_size.\n");
    } else {
        out.push("Give it more with goroutines::thread::Builder::stack_size, or all of them with ");
        out.push("goroutines::runtime::Builder::stack_size or GOROUTINES_STACK_SIZE (as in 1M).\n");
    }
    out.push("fatal error: stack overflow\n");
    sys::write_all(2, out.bytes());
    sys::set_default(libc::SIGABRT, 0);
    std::process::abort()
}
