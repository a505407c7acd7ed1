//! What std takes for impossible, in a context that ends.
//!
//! **The problem.** `Command::output` and `Child::wait_with_output` unwrap what comes of waiting
//! for the child's pipes and of reading them: a context that ends these waits with an error makes
//! std panic. Only the last thing that they do, to wait for the child, may fail. And
//! `Command::spawn`, where it forks, panics if it can't read whether the child has come to its
//! program, or can't wait for one that has not.
//!
//! **Chosen.** Where a context has ended such a wait, the callers are looked at. Below `output` and
//! `wait_with_output` the pipes are at their end, without an error, and the wait for the child that
//! follows fails instead ([`Run`] notes that), even if the child has ended meanwhile: its output is
//! not whole. Below `spawn` the wait is not ended, which is short. The functions are known by their
//! addresses, and frames by the unwinder's tables, which are there without debug information. Where
//! link-time optimisation has put such a function into its caller, or a plug-in has a std of its
//! own, it is not found, and std panics.
//!
//! **Rejected**: not to end what waits for pipes; to end all pipes of children without an error,
//! which would make a part of the data seem the whole to callers that never wait for the child.
//!
//! [`Run`]: crate::sched::ambient::Run

use super::io::block;
use crate::base::unwind;
use crate::g::G;
use crate::netpoll::{self, Kind};
use crate::sched::ambient::{self, Cut};
use libc::{c_int, c_void, pollfd};
use std::io;
use std::ops::ControlFlow;
use std::process::{Child, Command, ExitStatus, Output};

/// What the child of a `spawn` that forks writes where it can't run its program: an `errno`, and
/// this.
const NO_PROGRAM: &[u8; 4] = b"NOEX";
/// How much that is.
const NO_PROGRAM_BYTES: usize = 8;

/// Frames that are looked at: std's own are few.
const FRAMES: u32 = 32;

/// Whether the caller was called, some frames above, by one of the functions at these addresses.
#[cold]
fn is_below(wanted: &[usize]) -> bool {
    let (mut left, mut found) = (FRAMES, false);
    unwind::each(|frame| {
        found = wanted.contains(&frame.function());
        left -= 1;
        if found || left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    found
}

fn reads_output() -> bool {
    let output: fn(&mut Command) -> io::Result<Output> = Command::output;
    let rest: fn(Child) -> io::Result<Output> = Child::wait_with_output;
    is_below(&[output as usize, rest as usize])
}

fn spawns() -> bool {
    let spawn: fn(&mut Command) -> io::Result<Child> = Command::spawn;
    let status: fn(&mut Command) -> io::Result<ExitStatus> = Command::status;
    let output: fn(&mut Command) -> io::Result<Output> = Command::output;
    is_below(&[spawn as usize, status as usize, output as usize])
}

fn is_pipe(fd: c_int) -> bool {
    netpoll::desc(fd).is_some_and(|desc| matches!(desc.kind(), Kind::Pipe | Kind::Fifo))
}

/// Whether a call that has come to `word` was ended by the goroutine's context.
fn was_ended(gp: &G, word: isize) -> bool {
    ambient::error(gp).is_some_and(|error| word == -(error as isize))
}

/// What a `recv` from `fd` into `n` bytes at `buf` comes to, which has come to `word`.
#[inline]
pub(super) fn of_recv(
    gp: &'static G,
    fd: c_int,
    (buf, n): (*mut c_void, usize),
    word: isize,
) -> isize {
    if n == NO_PROGRAM_BYTES && ambient::is_any(gp) { of_child(gp, fd, buf, word) } else { word }
}

/// The same for `read`.
#[inline]
pub(super) fn of_read(
    gp: &'static G,
    fd: c_int,
    (buf, n): (*mut c_void, usize),
    word: isize,
) -> isize {
    if n == NO_PROGRAM_BYTES {
        // (Where std makes a pipe for that, not a socket.)
        return of_recv(gp, fd, (buf, n), word);
    }
    if word < 0 && ambient::is_any(gp) && is_pipe(fd) { of_pipe(gp, word) } else { word }
}

/// The caller may read there what the child of a `spawn` has to tell.
#[cold]
fn of_child(gp: &'static G, fd: c_int, buf: *mut c_void, word: isize) -> isize {
    let n = NO_PROGRAM_BYTES;
    let mut word = word;
    if was_ended(gp, word) && spawns() {
        word = block(gp, libc::SYS_read, [fd as isize as usize, buf as usize, n, 0, 0, 0]);
    }
    if word == n as isize {
        // SAFETY: so many bytes have just been read to there.
        let read = unsafe { buf.cast::<[u8; NO_PROGRAM_BYTES]>().read_unaligned() };
        if read.ends_with(NO_PROGRAM) {
            ambient::set_cut(gp, Cut::NotEnded);
        }
    }
    word
}

/// A read from a pipe has failed.
#[cold]
fn of_pipe(gp: &'static G, word: isize) -> isize {
    let is_over = if word == -(libc::EAGAIN as isize) {
        // (`poll` has just said that its end has come.)
        ambient::cut(gp) == Cut::Output
    } else {
        was_ended(gp, word) && reads_output()
    };
    if !is_over {
        return word;
    }
    ambient::set_cut(gp, Cut::Output);
    0
}

/// What a `poll` of the `len` entries at `fds` comes to, which has come to `word`.
#[inline]
pub(super) fn of_poll(gp: &'static G, fds: *mut pollfd, len: usize, word: isize) -> isize {
    if word < 0 && len <= 2 && was_ended(gp, word) && reads_output() {
        for i in 0..len {
            // SAFETY: std's own list.
            unsafe { (*fds.add(i)).revents = libc::POLLHUP };
        }
        ambient::set_cut(gp, Cut::Output);
        return len as isize;
    }
    word
}

/// How a wait for a child is to be made.
pub(super) enum Wait {
    Usual,
    /// It fails with this `errno`, whatever the child does.
    Fails(c_int),
    /// No context ends it.
    NotEnded,
}

/// The goroutine is about to wait for a child.
#[inline]
pub(super) fn wait(gp: &G) -> Wait {
    if !ambient::is_any(gp) {
        return Wait::Usual;
    }
    match ambient::cut(gp) {
        Cut::No => return Wait::Usual,
        Cut::NotEnded => {
            ambient::set_cut(gp, Cut::No);
            return Wait::NotEnded;
        }
        Cut::Output => ambient::set_cut(gp, Cut::No),
    }
    ambient::error(gp).map_or(Wait::Usual, Wait::Fails)
}
