//! The three ways to give up.
//!
//! * `panic!` — documented misuse of a function, which the caller can catch.
//! * [`fatal!`](crate::base::fatal::fatal) — a user program that can't go on (deadlock, too many
//!   threads): Go's text, exit status 2.
//! * [`throw!`](crate::base::fatal::throw) — one of our own invariants is broken: says which, without
//!   allocating, and aborts.

use super::sys;

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
    let watchdog = std::thread::Builder::new().name("exit".into()).spawn(move || {
        sys::sleep(std::time::Duration::from_secs(1));
        sys::exit_group(status)
    });
    if watchdog.is_err() {
        sys::exit_group(status);
    }
    std::process::exit(status)
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
    // SAFETY: no memory is involved. abort() would run handlers on a stack we no longer trust.
    unsafe {
        let dfl = libc::SIG_DFL;
        libc::signal(libc::SIGABRT, dfl);
        libc::raise(libc::SIGABRT);
    }
    sys::exit_group(134)
}

/// One of our own invariants is broken.
macro_rules! throw {
    ($($text:tt)*) => { $crate::base::fatal::throw_args(format_args!($($text)*)) };
}
pub(crate) use throw;
