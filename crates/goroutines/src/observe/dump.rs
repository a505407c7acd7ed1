//! Dumps: the stacks of goroutines, as Go prints them when a program can't go on.
//!
//! A suspended goroutine's stack is walked from its own point of view: its context is borrowed, and
//! the unwinder runs on top of its frames (see `goroutines_switch::borrow`). Only addresses are
//! collected there; names are looked up afterwards, on this stack.

use super::account::{GoroutineInfo, every_g, info};
use crate::base::{fatal, sys};
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
    // SAFETY: suspended; the caller says that nobody continues it; `walk` neither unwinds nor
    // switches.
    unsafe { borrow(gp.context.get(), walk, (&raw mut found).cast()) };
    found
}

/// One goroutine of a dump; no stack for one that runs.
struct Entry {
    info: GoroutineInfo,
    stack: Option<Walk>,
}

/// Looks at all goroutines that have begun, while none can be resumed. False if there is no room:
/// it does not allocate.
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
        fatal::going_on();
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

/// One function of a stack, perhaps inlined into the next.
struct Frame {
    name: String,
    file: Option<String>,
    line: Option<u32>,
}

impl Frame {
    fn print(&self, text: &mut String) {
        let _ = writeln!(text, "{}()", self.name);
        if let (Some(file), Some(line)) = (&self.file, self.line) {
            let _ = writeln!(text, "\t{file}:{line}");
        }
    }

    /// Whether its name says where it is: that of an inlined function may be bare, but for its type
    /// arguments.
    fn has_path(&self) -> bool {
        let bare =
            self.name.find('<').filter(|at| *at > 0).map_or(&*self.name, |at| &self.name[..at]);
        bare.contains("::")
    }

    /// Whether it is something that users call, by a name that says where it is.
    fn tells(&self) -> bool {
        self.has_path() && !self.name.starts_with("goroutines::sched::")
    }

    /// Whether it is the runtime's, and not of the walk itself.
    fn is_of_the_runtime(&self) -> bool {
        self.name.contains("goroutines::") && !self.name.starts_with("goroutines::observe::")
    }

    /// Whether it is the runtime's or std's: by its file, where that is known (names of inlined
    /// functions may lack their path), else by its name.
    fn is_ours(&self) -> bool {
        const NAMES: [&str; 12] = [
            "goroutines::",
            "goroutines_switch::",
            "backtrace::",
            "std::panicking::",
            "std::panic::",
            "core::panic::",
            "core::ops::function::",
            "__rust_try",
            "_Unwind_Backtrace",
            "<core::panic::unwind_safe::AssertUnwindSafe",
            "<alloc::boxed::Box",
            "<goroutines::",
        ];
        if NAMES[2..11].iter().any(|name| self.name.starts_with(name)) {
            return true;
        }
        match &self.file {
            Some(file) => {
                let ours = [file!(), goroutines_switch::SOURCE].map(directory);
                let others = ["/library/std/src/", "/library/core/src/", "/library/alloc/src/"];
                ours.iter().chain(&others).any(|part| file.contains(part))
                    || file.contains("/backtrace-")
            }
            None => NAMES.iter().any(|name| self.name.starts_with(name)),
        }
    }
}

/// The directory `src` of the crate that `file` is in, with the name of the crate's own.
fn directory(file: &'static str) -> &'static str {
    file.find("src/").map_or(file, |at| &file[..at + 4])
}

/// From the user's call into the runtime to where the goroutine began. The runtime's frames below
/// and above say nothing.
fn print_frames(text: &mut String, walk: &Walk) {
    let mut frames = Vec::new();
    for ip in &walk.at[..walk.len] {
        backtrace::resolve(*ip, |symbol| {
            if let Some(name) = symbol.name() {
                let name = format!("{name:#}");
                let file = symbol.filename().map(|file| file.display().to_string());
                frames.push(Frame { name, file, line: symbol.lineno() });
            }
        });
    }
    let first = frames.iter().position(|frame| !frame.is_ours());
    let last = frames.iter().rposition(|frame| !frame.is_ours());
    match (first, last) {
        (Some(first), Some(last)) => {
            // What the user called, if it has a name that tells. Its own frame may be gone, where
            // its last act was to call the scheduler.
            let called = first.checked_sub(1).filter(|at| frames[*at].tells());
            frames[called.unwrap_or(first)..=last].iter().for_each(|frame| frame.print(text));
        }
        // Inlined into what started it, and without debug information: all there is.
        _ => frames.iter().filter(|frame| frame.is_of_the_runtime()).for_each(|frame| {
            frame.print(text);
        }),
    }
}
