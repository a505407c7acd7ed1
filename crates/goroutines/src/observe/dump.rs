//! Dumps: the stacks of goroutines, as Go prints them when a program can't go on.
//!
//! A suspended goroutine's stack is walked from its own point of view: its context is borrowed, and the
//! unwinder runs on top of its frames (see `goroutines_switch::borrow`). Only addresses are collected
//! there; names are looked up afterwards, on this stack.

use super::account::{GoroutineInfo, every_g, info};
use crate::base::sys;
use crate::g::G;
use crate::g::status::State;
use crate::sched::{exit, stw};
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

/// Walks the stack of a goroutine that is off its stack, and can't be resumed meanwhile.
fn stack_of(gp: &'static G) -> Walk {
    let mut found = Walk { at: [std::ptr::null_mut(); FRAMES], len: 0 };
    // SAFETY: suspended; the caller says that nobody continues it; `walk` neither unwinds nor switches.
    unsafe { borrow(gp.context.get(), walk, (&raw mut found).cast()) };
    found
}

/// One goroutine of a dump; no stack for one that runs.
struct Entry {
    info: GoroutineInfo,
    stack: Option<Walk>,
}

/// Looks at all goroutines that have begun, while none can be resumed. False if there is no room: it
/// does not allocate.
fn collect(all: &mut Vec<Entry>) -> bool {
    let now = sys::coarse_nanotime();
    for gp in every_g() {
        let Some(info) = info(gp, now) else { continue };
        if all.len() == all.capacity() {
            return false;
        }
        let is_off = matches!(gp.status.get(), State::Waiting | State::Runnable);
        all.push(Entry { info, stack: is_off.then(|| stack_of(gp)) });
    }
    true
}

/// Prints all goroutines to stderr. When nothing runs any more.
pub(crate) fn print_all() {
    let mut all = Vec::with_capacity(exit::alive() as usize + 64);
    collect(&mut all);
    all.sort_by_key(|entry| entry.info.id);
    for entry in &all {
        sys::write_all(2, text(entry).as_bytes());
    }
}

/// The stacks of all goroutines, as a dump shows them. (Go: `runtime.Stack` with `all`.)
pub(crate) fn stacks() -> String {
    let mut room = exit::alive() as usize + 64;
    loop {
        let mut all = Vec::with_capacity(room);
        if stw::stopped_world(|| (None, collect(&mut all))) {
            all.sort_by_key(|entry: &Entry| entry.info.id);
            return all.iter().map(text).collect();
        }
        room *= 2;
    }
}

fn text(entry: &Entry) -> String {
    let info = &entry.info;
    let header = info.to_string();
    let header = header.split_inclusive(']').next().unwrap_or("");
    let mut text = format!("\n{header}:\n");
    match &entry.stack {
        Some(stack) => print_frames(&mut text, stack),
        None => text.push_str("\tgoroutine running on another thread; stack unavailable\n"),
    }
    let _ = match info.creator {
        Some(id) => writeln!(text, "created by goroutine {id}\n\t{}", info.created_at),
        None => writeln!(text, "created at\n\t{}", info.created_at),
    };
    text
}

/// Frames of the runtime below the user's call, and of its start, say nothing.
fn is_ours(name: &str) -> bool {
    const HIDDEN: [&str; 18] = [
        "goroutines::sched::",
        "goroutines::chan::core::",
        "goroutines::chan::party::",
        "goroutines::chan::select::",
        "goroutines::chan::cases::",
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
    const STEPS: [&str; 5] =
        ["::recv_until", "::recv_timed", "::recv_limited", "::send_until", "::send_limited"];
    HIDDEN.iter().any(|hidden| name.starts_with(hidden))
        || name.starts_with("<alloc::boxed::Box")
        || (name.contains("goroutines::chan::") && STEPS.iter().any(|step| name.ends_with(step)))
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
