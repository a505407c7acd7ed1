//! Making the OS threads that Ms are.
//!
//! With `pthread_create` rather than `std::thread`: nothing here may use the program's global
//! allocator, whose locks a descheduled goroutine may hold. (glibc's own allocator can't be: nobody
//! is descheduled inside libc, see `sched/preempt.rs`.) Only the monitor thread makes threads, so
//! they inherit nothing from whichever goroutine needed one.
//!
//! **Helpers** are the runtime's threads that are no Ms: the monitor and its onlooker. All
//! goroutines depend on them, so they depend on nothing of the program's:
//!
//! * HT1: no handler of the program's runs on them. They block all signals but those of faults from
//!   before their first instruction. (A handler may wait; and the onlooker has none of the
//!   program's descriptors.)
//! * HT2: they do not enter the program's allocator, whose lock a descheduled goroutine may hold.
//!   An allocator can ask [`is_helper`]: that of the tests ends the process then.

use super::M;
use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::sync::OnceLock;

/// Bytes of an M's own stack: the scheduler's, and of signal handlers that find it there. The
/// monitor's too, which prints dumps. (Addresses: memory is used as touched.)
const STACK_BYTES: usize = 1 << 20;

/// The signal mask that Ms run with: that of the thread that started the runtime.
static MASK: OnceLock<libc::sigset_t> = OnceLock::new();

/// Remembers the calling thread's signal mask for the Ms to come.
#[expect(clippy::disallowed_methods, reason = "not on a goroutine; libc keeps its own signals out")]
pub(crate) fn remember_mask() {
    MASK.get_or_init(|| {
        // SAFETY: plain old data, written by the call.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut set);
            libc::sigdelset(&raw mut set, libc::SIGURG);
            #[cfg(feature = "intercept")]
            crate::signals::masks::begin(word_of(&set));
            set
        }
    });
}

/// The kernel's 64 bits of a mask.
pub(crate) fn word_of(set: &libc::sigset_t) -> u64 {
    // SAFETY: a sigset_t begins with them; they are all that a frame fills in.
    unsafe { std::ptr::from_ref(set).cast::<u64>().read() }
}

/// Whether the code that was interrupted on `mp`, with `mask` in its signal frame, may go on
/// elsewhere: it is in no handler that we don't know (PR5).
pub(crate) fn may_leave(mp: &M, mask: &libc::sigset_t) -> bool {
    mp.kernel_mask.mask() == word_of(mask)
}

thread_local! {
    static IS_HELPER: Cell<bool> = const { Cell::new(false) };
}

/// Whether the calling thread is one of the runtime's helpers (HT2).
pub(crate) fn is_helper() -> bool {
    IS_HELPER.get()
}

/// Names the calling thread, which is a helper from now on.
pub(crate) fn become_helper(name: &CStr) {
    self::name(name);
    IS_HELPER.set(true);
}

/// The process ends on this thread: what is called now may do as it likes.
pub(crate) fn is_helper_no_more() {
    IS_HELPER.set(false);
}

/// Starts a helper (HT1).
///
/// # Errors
/// `EAGAIN` where the system allows no further thread.
#[expect(clippy::disallowed_methods, reason = "libc keeps its own signals out")]
pub(crate) fn start_helper(main: extern "C" fn(*mut c_void) -> *mut c_void) -> io::Result<()> {
    const FAULTS: [c_int; 6] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];
    // SAFETY: plain old data, written by the calls. (libc keeps the signals out that it needs
    // itself.)
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        for fault in FAULTS {
            libc::sigdelset(&raw mut all, fault);
        }
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let started = start(main, std::ptr::null_mut());
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut());
        started
    }
}

/// Starts a detached thread that calls `main(arg)`.
///
/// # Errors
/// `EAGAIN` where the system allows no further thread.
pub(crate) fn start(
    main: extern "C" fn(*mut c_void) -> *mut c_void,
    arg: *mut c_void,
) -> io::Result<()> {
    // SAFETY: attr is initialised before use; `arg` is what `main` expects.
    unsafe {
        let mut attr: libc::pthread_attr_t = std::mem::zeroed();
        libc::pthread_attr_init(&raw mut attr);
        libc::pthread_attr_setstacksize(&raw mut attr, STACK_BYTES);
        libc::pthread_attr_setdetachstate(&raw mut attr, libc::PTHREAD_CREATE_DETACHED);
        let mut thread: libc::pthread_t = 0;
        let error = libc::pthread_create(&raw mut thread, &raw const attr, main, arg);
        libc::pthread_attr_destroy(&raw mut attr);
        if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
    }
}

/// Names the calling thread, which is that of `mp`, for debuggers and `/proc`, and gives it a
/// signal mask. Its number is known to others.
pub(crate) fn settle(mp: &M, name: &CStr) {
    self::name(name);
    #[cfg(feature = "intercept")]
    crate::signals::masks::settle(mp);
    #[cfg(not(feature = "intercept"))]
    if let Some(mask) = MASK.get() {
        crate::base::sys::set_signals(word_of(mask));
        mp.kernel_mask.set(word_of(mask));
    }
}

/// Names the calling thread for debuggers and `/proc`.
pub(crate) fn name(name: &CStr) {
    // SAFETY: a NUL-terminated name.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}
