//! Dumps: the stacks of goroutines, as Go prints them when a program can't go on.
//!
//! A suspended goroutine's stack is walked from its own point of view: its context is borrowed, and
//! the unwinder runs on top of its frames (see `goroutines_switch::borrow`). Only addresses are
//! collected there; names are looked up afterwards, on this stack.

use super::account::{GoroutineInfo, every_g, info};
use super::frames::{self, Frame};
use crate::base::{fatal, sys, unwind};
use crate::g::status::State;
use crate::g::{G, current};
use crate::sched::{exit, stw};
use goroutines_switch::borrow;
use std::fmt::Write;
use std::ops::ControlFlow;

const FRAMES: usize = 100;

/// The addresses of a stack's frames.
struct Walk {
    at: [usize; FRAMES],
    len: usize,
}

impl Walk {
    const fn new() -> Self {
        Self { at: [0; FRAMES], len: 0 }
    }

    /// The caller's stack.
    fn here(&mut self) {
        unwind::each(|frame| {
            self.at[self.len] = frame.ip();
            self.len += 1;
            if self.len < FRAMES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
    }
}

unsafe extern "C" fn walk(data: *mut u8) {
    // SAFETY: the Walk that `stack_of` passes.
    unsafe { &mut *data.cast::<Walk>() }.here();
}

/// Walks the stack of a goroutine that is off its stack, and can't be resumed meanwhile.
fn stack_of(gp: &'static G) -> Walk {
    let mut found = Walk::new();
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

/// The stacks of all goroutines, as a dump shows them, the caller's first. (Go: `runtime.Stack`
/// with `all`.)
pub(crate) fn stacks() -> String {
    let own = current::g().map(G::id);
    let mut here = Walk::new();
    here.here();
    let mut here = Some(here);
    let mut room = exit::alive() as usize + 64;
    loop {
        let mut all = Vec::with_capacity(room);
        if stw::stopped_world(|| (None, collect(&mut all))) {
            all.sort_by_key(|entry: &Entry| (Some(entry.info.id) != own, entry.info.id));
            if let Some(first) = all.first_mut().filter(|entry| Some(entry.info.id) == own) {
                first.stack = here.take();
            }
            return all.iter().map(text).collect();
        }
        room *= 2;
    }
}

fn text(entry: &Entry) -> String {
    let info = &entry.info;
    let mut text = format!("\n{}:\n", info.header());
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

/// From the user's call into the runtime to where the goroutine began. The runtime's frames below
/// and above say nothing.
fn print_frames(text: &mut String, walk: &Walk) {
    let frames = frames::of(&walk.at[..walk.len]);
    let first = frames.iter().position(|frame| !frame.is_ours());
    let last = frames.iter().rposition(|frame| !frame.is_ours());
    match (first, last) {
        (Some(first), Some(last)) => {
            // What the user called, if it has a name that tells. Its own frame may be gone, where
            // its last act was to call the scheduler.
            let called = first.checked_sub(1).filter(|at| frames[*at].tells());
            frames[called.unwrap_or(first)..=last].iter().for_each(|frame| frame.print(text));
        }
        // Inlined into what started it, and without debug information; or without names at all.
        _ => {
            let any = frames.iter().any(Frame::is_of_the_runtime);
            let tells = |frame: &&Frame| frame.is_of_the_runtime() || !any && frame.is_unnamed();
            frames.iter().filter(tells).for_each(|frame| frame.print(text));
        }
    }
}
