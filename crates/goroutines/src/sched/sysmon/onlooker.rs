//! Whether a thread is blocked in the kernel, or could run and is not let.
//!
//! **The problem.** Only a file in `/proc` says so, and to open one takes the lowest free number of
//! the process for as long as it is read. A program may count on that number: `close(0)` and `open`
//! redirect its input, and a read of what was just closed is to fail, not to meet a file of ours.
//! And while the kernel enlarges the process's table, for milliseconds, any thread that wants a
//! number is blocked: the very threads that are to be found.
//!
//! **The onlooker** is a thread with a table of descriptors of its own (`CLOSE_RANGE_UNSHARE`,
//! Linux 5.9), empty but for what it reads. Where the kernel does not give it a table of its own it
//! reads all the same. The monitor waits for it for a moment only, and finds the [`answer`] when it
//! looks again.
//!
//! It is started with the runtime, before there are goroutines: the kernel empties the table only
//! after it has copied the first 64 places, and what is closed meanwhile stays open for that long.
//! (Started when somebody first asked, it kept pipes open whose writers were to get `EPIPE`.) Where
//! the system then allows no further thread, it is started later.
//!
//! Asked by: `sched/sysmon/retake.rs`, `sched/stw.rs`.

use crate::base::gather::Gather;
use crate::base::lock::Lock;
use crate::base::sys::{self, Note, Text};
use crate::m::{M, thread};
use crate::sched::SCHED;
use goroutines_switch::sys::raw;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// Ms about which somebody has asked; the question is in their `state`.
static ASKED: Gather<M> = Gather::new(|mp| &mp.asked);

/// There are some.
static CALL: Note = Note::new();

/// There is one. Written under its lock.
static STARTED: AtomicBool = AtomicBool::new(false);

/// An M's `state`: the question, and the answer where there is none; else the letter that `/proc`
/// has for it.
const QUESTION: u32 = 1;
const UNKNOWN: u32 = 0;

/// How many threads that makes.
pub(in crate::sched) fn threads() -> u32 {
    u32::from(STARTED.load(Ordering::Relaxed))
}

/// Asks whether the thread of `mp` is blocked in the kernel (rather than running, or waiting for a
/// CPU).
pub(super) fn ask(mp: &'static M) {
    let can = (STARTED.load(Ordering::Relaxed) || start()) && !SCHED.is_forked();
    mp.state.store(if can { QUESTION } else { UNKNOWN }, Ordering::Release);
    if can {
        ASKED.add(mp);
        CALL.wake();
    }
}

/// What is so, where that can be told.
pub(super) enum Answer {
    NotYet,
    Told(Option<bool>),
}

/// What came of the last question.
pub(super) fn answer(mp: &M) -> Answer {
    // Acquire: pairs with main(). Where two threads ask at once it may be the answer to the first:
    // a caller that acts on it checks for itself what must be so (`retake::take`, `m/lease.rs`),
    // and a wrong guess costs a hand-over.
    match mp.state.load(Ordering::Acquire) {
        QUESTION => Answer::NotYet,
        UNKNOWN => Answer::Told(None),
        letter => Answer::Told(Some(letter != u32::from(b'R'))),
    }
}

/// The same, after a wait for it of `timeout` at the most (none: for ever).
pub(super) fn await_answer(mp: &M, timeout: Option<Duration>) -> Answer {
    loop {
        match answer(mp) {
            Answer::NotYet if sys::futex_wait(&mp.state, QUESTION, timeout) => {}
            answer => return answer,
        }
    }
}

/// Asks, and waits for the answer. On a thread that can't be descheduled.
pub(in crate::sched) fn is_blocked(mp: &'static M) -> Option<bool> {
    ask(mp);
    match await_answer(mp, None) {
        Answer::Told(blocked) => blocked,
        Answer::NotYet => None,
    }
}

/// It has its table.
static SETTLED: AtomicU32 = AtomicU32::new(0);

/// Starts it, if the system allows, and waits until it has its table.
pub(super) fn settle() {
    while start() && SETTLED.load(Ordering::Acquire) == 0 {
        let _ = sys::futex_wait(&SETTLED, 0, None);
    }
}

#[cold]
fn start() -> bool {
    static STARTING: Lock<()> = Lock::new(());
    let starting = STARTING.lock();
    let mut started = STARTED.load(Ordering::Relaxed);
    if !started && thread::start_helper(main).is_ok() {
        // Only now: a thread too many puts off finding a deadlock, one too few would find one that
        // is none.
        STARTED.store(true, Ordering::Relaxed);
        started = true;
    }
    drop(starting);
    started
}

extern "C" fn main(_: *mut c_void) -> *mut c_void {
    thread::become_helper(c"goroutines-look");
    own_table();
    SETTLED.store(1, Ordering::Release);
    sys::futex_wake(&raw const SETTLED, i32::MAX);
    loop {
        CALL.sleep(None);
        for mp in ASKED.take() {
            if mp.state.load(Ordering::Acquire) == QUESTION {
                let state = state_of(mp.tid.load(Ordering::Relaxed)).map_or(UNKNOWN, u32::from);
                // Release: pairs with the Acquire in answer().
                mp.state.store(state, Ordering::Release);
                sys::futex_wake(&raw const mp.state, i32::MAX);
            }
        }
    }
}

/// Gives the calling thread a table of descriptors of its own, with nothing in it, if the kernel
/// does.
fn own_table() {
    let args = [0, u32::MAX as usize, libc::CLOSE_RANGE_UNSHARE as usize, 0, 0, 0];
    // SAFETY: none is closed but in a table that only this thread has.
    unsafe { raw(libc::SYS_close_range, args) };
}

/// The letter of the thread's state.
fn state_of(tid: u32) -> Option<u8> {
    let mut path = Text::<40>::new();
    path.push("/proc/self/task/").push_number(u64::from(tid)).push("/stat\0");
    let mut buf = [0u8; 128];
    let stat = sys::read_file(path.bytes(), &mut buf)?;
    // `tid (name) S …`: the name may hold any byte, so the state follows the last ')'.
    let after = stat.iter().rposition(|b| *b == b')')?;
    stat.get(after + 2).copied()
}
