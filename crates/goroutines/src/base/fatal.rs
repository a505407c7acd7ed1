//! The three ways to give up.
//!
//! * `panic!` — documented misuse of a function, which the caller can catch.
//! * [`fatal!`](crate::base::fatal::fatal) — a user program that can't go on (deadlock, too many
//!   threads): Go's text, exit status 2.
//! * [`throw!`](crate::base::fatal::throw) — one of our own invariants is broken: says which,
//!   without allocating, and aborts.

use super::sys;
use goroutines_switch::sys::start_bare;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Prints `fatal error: <text>` and ends the process with status 2.
pub(crate) fn fatal(text: &str) -> ! {
    let mut out = sys::Text::<256>::new();
    out.push("fatal error: ").push(text).push("\n");
    sys::write_all(2, out.bytes());
    exit(2)
}

/// Ends the process with `status`, flushing what std has buffered for stdout, but never hanging in
/// somebody's exit handler.
pub(crate) fn exit(status: i32) -> ! {
    crate::m::thread::is_helper_no_more();
    if !watch(Duration::from_secs(1), status) {
        sys::exit_group(status);
    }
    std::process::exit(status)
}

/// Raised by code that makes progress on the way to the end.
static PROGRESS: AtomicU32 = AtomicU32::new(0);

/// What a watchdog is to do, and its stack.
#[repr(C, align(16))]
struct Watchdog {
    stack: [u8; 16 << 10],
    patience: Duration,
    status: i32,
}

/// From now on the process ends with `status` where nothing is [`going_on`] for `patience`. False
/// if no thread can be made that sees to it.
///
/// That thread is made without libc: the lock that is never given back may be an allocator's.
#[must_use]
pub(crate) fn watch(patience: Duration, status: i32) -> bool {
    let Ok(at) = goroutines_switch::sys::map(size_of::<Watchdog>()) else { return false };
    let at: *mut Watchdog = at.cast();
    // SAFETY: a new mapping, for ever the watchdog's.
    unsafe {
        (&raw mut (*at).patience).write(patience);
        (&raw mut (*at).status).write(status);
        let top = (&raw mut (*at).patience).cast::<u8>();
        start_bare(top.map_addr(|top| top & !15), watchdog, at as usize).is_ok()
    }
}

/// Tells the watchdog that the way to the end goes on.
pub(crate) fn going_on() {
    PROGRESS.fetch_add(1, Ordering::Relaxed);
}

/// On a bare thread: system calls only.
extern "C" fn watchdog(at: usize) -> ! {
    // SAFETY: what watch() has filled in.
    let (patience, status) = unsafe {
        let at = at as *const Watchdog;
        ((*at).patience, (*at).status)
    };
    let mut before = PROGRESS.load(Ordering::Relaxed);
    loop {
        // (No signal ends it early.)
        sys::futex_wait(&AtomicU32::new(0), 0, Some(patience));
        let now = PROGRESS.load(Ordering::Relaxed);
        if now == before {
            sys::exit_group(status);
        }
        before = now;
    }
}

/// Prints `runtime: <text>` and aborts; for broken invariants of ours.
#[cold]
#[inline(never)]
pub(crate) fn throw_args(args: std::fmt::Arguments<'_>) -> ! {
    use std::fmt::Write;
    let mut out = sys::Text::<512>::new();
    let _ = write!(
        out,
        "runtime: {args}\nfatal error: this is a bug in goroutines, please report it\n"
    );
    sys::write_all(2, out.bytes());
    // abort() would run handlers on a stack we no longer trust.
    sys::set_default(libc::SIGABRT, 0);
    sys::tgkill(sys::gettid(), libc::SIGABRT);
    sys::exit_group(134)
}

/// One of our own invariants is broken.
macro_rules! throw {
    ($($text:tt)*) => { $crate::base::fatal::throw_args(format_args!($($text)*)) };
}
pub(crate) use throw;
