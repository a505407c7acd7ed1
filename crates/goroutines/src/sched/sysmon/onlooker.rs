//! Whether a thread is blocked in the kernel, or could run and is not let.
//!
//! **The problem.** Only a file in `/proc` says so, and to open one takes the lowest free number of the process for as
//! long as it is read. A program may count on that number: `close(0)` and `open` redirect its input, and a read of what
//! was just closed is to fail, not to meet a file of ours.
//!
//! **The onlooker** is a thread with a table of descriptors of its own (`CLOSE_RANGE_UNSHARE`, Linux 5.9), empty but for
//! what it reads. It is started when somebody first asks. Who asks waits for it, two wake-ups. Where the kernel does not
//! give it a table of its own it reads all the same.
//!
//! Asked by: `sched/sysmon/retake.rs`, `sched/stw.rs`.

use crate::base::lock::Lock;
use crate::base::sys::{self, Note, Text};
use crate::m::thread;
use crate::sched::SCHED;
use goroutines_switch::sys::raw;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Questions and answers, one at a time.
struct Desk {
    asked: Note,
    answered: Note,
    /// Whose state is asked for.
    tid: AtomicU32,
    /// The letter of the state; 0: `/proc` can't tell.
    state: AtomicU32,
}

static DESK: Desk = Desk {
    asked: Note::new(),
    answered: Note::new(),
    tid: AtomicU32::new(0),
    state: AtomicU32::new(0),
};

/// Who holds it asks.
static TURN: Lock<()> = Lock::new(());

/// There is one. Written under [`TURN`].
static STARTED: AtomicBool = AtomicBool::new(false);

/// How many threads that makes.
pub(in crate::sched) fn threads() -> u32 {
    u32::from(STARTED.load(Ordering::Relaxed))
}

/// Whether the thread `tid` of this process is blocked in the kernel (rather than running, or waiting for a CPU). None
/// where that can't be told. Waits for the answer; on a thread that can't be descheduled.
pub(in crate::sched) fn thread_blocked(tid: u32) -> Option<bool> {
    if SCHED.forked.load(Ordering::Relaxed) {
        return None;
    }
    let turn = TURN.lock();
    if !STARTED.load(Ordering::Relaxed) {
        thread::start(main, null_mut()).ok()?;
        // Only now: a thread too many puts off finding a deadlock, one too few would find one that is none.
        STARTED.store(true, Ordering::Relaxed);
    }
    DESK.tid.store(tid, Ordering::Relaxed);
    DESK.asked.wake();
    DESK.answered.sleep(None);
    let state = DESK.state.load(Ordering::Relaxed);
    drop(turn);
    (state != 0).then_some(state != u32::from(b'R'))
}

extern "C" fn main(_: *mut c_void) -> *mut c_void {
    thread::settle(c"goroutines-look");
    own_table();
    loop {
        DESK.asked.sleep(None);
        let state = state_of(DESK.tid.load(Ordering::Relaxed)).unwrap_or(0);
        DESK.state.store(u32::from(state), Ordering::Relaxed);
        DESK.answered.wake();
    }
}

/// Gives the calling thread a table of descriptors of its own, with nothing in it, if the kernel does.
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
