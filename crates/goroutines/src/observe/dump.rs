//! Dumps: the stacks of goroutines, as Go prints them when a program can't go on.
//!
//! A suspended goroutine's stack is walked from its own point of view: its context is borrowed, and the
//! unwinder runs on top of its frames (see `goroutines_switch::borrow`). Only addresses are collected
//! there; names are looked up afterwards, on this stack.

use super::account::{every_g, info};
use crate::base::sys;
use crate::g::G;
use crate::g::status::State;
use goroutines_switch::borrow;
use std::ffi::c_void;
use std::fmt::Write;

const FRAMES: usize = 100;

/// The addresses of a stack's frames.
struct Walk {
    at: [*mut c_void; FRAMES],
    len: usize,
}

unsafe extern "C" fn walk(data: *mut u8) {
    // SAFETY: the Walk that `stack_of` passes.
    let walk = unsafe { &mut *data.cast::<Walk>() };
    // SAFETY: without synchronization it must not run twice at once: a dump is alone.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            walk.at[walk.len] = frame.ip();
            walk.len += 1;
            walk.len < FRAMES
        });
    }
}

/// Walks the stack of a goroutine that waits, and can't be readied meanwhile.
fn stack_of(gp: &'static G) -> Walk {
    let mut found = Walk { at: [std::ptr::null_mut(); FRAMES], len: 0 };
    // SAFETY: suspended; the caller says that nobody continues it; `walk` neither unwinds nor switches.
    unsafe { borrow(gp.context.get(), walk, (&raw mut found).cast()) };
    found
}

/// Prints all goroutines that wait to stderr. When nothing runs any more.
pub(crate) fn print_all() {
    let now = sys::coarse_nanotime();
    let mut waiting: Vec<&'static G> =
        every_g().filter(|gp| gp.status.get() == State::Waiting).collect();
    waiting.sort_by_key(|gp| gp.id());
    for gp in waiting {
        let mut text = String::new();
        let Some(info) = info(gp, now) else { continue };
        let header = info.to_string();
        let header = header.split_inclusive(']').next().unwrap_or("");
        let _ = write!(text, "\n{header}:\n");
        print_frames(&mut text, &stack_of(gp));
        let _ = match info.creator {
            Some(id) => writeln!(text, "created by goroutine {id}\n\t{}", info.created_at),
            None => writeln!(text, "created at\n\t{}", info.created_at),
        };
        sys::write_all(2, text.as_bytes());
    }
}

/// Frames of the runtime below the user's call, and of its start, say nothing.
fn is_ours(name: &str) -> bool {
    const HIDDEN: [&str; 14] = [
        "goroutines::sched::",
        "goroutines::observe::",
        "goroutines::g::",
        "goroutines::thread::join::",
        "goroutines_switch::",
        "goroutines::runtime::run_main",
        "backtrace::",
        "std::panicking::",
        "std::panic::",
        "core::panic::",
        "core::ops::function::",
        "__rust_try",
        "_Unwind_Backtrace",
        "<core::panic::unwind_safe::AssertUnwindSafe",
    ];
    HIDDEN.iter().any(|hidden| name.starts_with(hidden)) || name.starts_with("<alloc::boxed::Box")
}

fn print_frames(text: &mut String, walk: &Walk) {
    for ip in &walk.at[..walk.len] {
        backtrace::resolve(*ip, |symbol| {
            let Some(name) = symbol.name() else { return };
            let name = format!("{name:#}");
            if is_ours(&name) {
                return;
            }
            let _ = writeln!(text, "{name}()");
            if let (Some(file), Some(line)) = (symbol.filename(), symbol.lineno()) {
                let _ = writeln!(text, "\t{}:{line}", file.display());
            }
        });
    }
}
