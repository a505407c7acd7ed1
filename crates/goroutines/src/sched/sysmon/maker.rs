//! Threads that are kept ready, where making one may take long.
//!
//! **The problem.** `pthread_create` allocates, from `malloc`. Where that is the program's own (an
//! allocator linked into it), its lock may be held by a goroutine that was descheduled in it, and
//! waits for a P. The monitor that is to make a thread for that P would wait for the goroutine, and
//! the goroutine for the thread.
//!
//! **Chosen.** The monitor never makes a thread then. Another thread, the *maker*, does: it may
//! wait, and keeps [`STOCK`] threads ready, from before the first goroutine on. Where none is
//! ready, the P goes on waiting where an M that comes back finds it (`Shared::pwaiting`), as where
//! the system makes no further thread. So it takes more than [`STOCK`] goroutines that block their
//! threads, one after the other, before the one with the lock has had its turn, for a P to have to
//! wait.
//!
//! Rejected: waiting for the lock while no thread has the P (a deadlock on one P); threads that
//! libc does not know of (`setuid` and its kin would not reach them).

use crate::base::lock::Lock;
use crate::base::sys::{self, Note};
use crate::m::{M, thread};
use crate::sched::SCHED;
use goroutines_switch::thread_pointer::facts;
use std::ffi::c_void;
use std::io;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// How many threads are kept ready.
const STOCK: u32 = 8;

/// How long to wait before trying again, where the system makes no further thread.
const AGAIN: Duration = Duration::from_millis(10);

struct Ready {
    /// How many threads wait for an M.
    count: u32,
    /// Ms that these threads are to take, linked.
    first: *mut M,
}

// SAFETY: Ms are Sync and never freed.
unsafe impl Send for Ready {}

static READY: Lock<Ready> = Lock::new(Ready { count: 0, first: null_mut() });
/// Raised with each M that is to be taken. The threads that are ready sleep on it.
static GIVEN: AtomicU32 = AtomicU32::new(0);
/// The maker sleeps on it.
static WANTED: Note = Note::new();
/// The thread that starts the runtime waits for it.
static FILLED: Note = Note::new();
static STARTED: AtomicBool = AtomicBool::new(false);

/// Whether threads are to come from here.
pub(super) fn is_used() -> bool {
    facts().malloc_in_program()
}

/// How many of the process's threads are here.
pub(in crate::sched) fn threads() -> u32 {
    // A thread that the maker has made and that is not ready yet is not counted: one too few, and
    // no harm.
    u32::from(STARTED.load(Ordering::Relaxed)) + READY.lock().count
}

/// Starts the maker, and waits until the first threads are ready. Before there are goroutines:
/// nothing that has a lock of the program's is descheduled.
///
/// # Errors
/// The system's.
pub(super) fn start() -> io::Result<()> {
    thread::start_helper(main)?;
    STARTED.store(true, Ordering::Relaxed);
    FILLED.sleep(None);
    Ok(())
}

/// Gives `mp` to a thread that is ready.
///
/// # Errors
/// `EAGAIN` if none is: the monitor is told when one is.
pub(super) fn give(mp: &'static M) -> io::Result<()> {
    let mut ready = READY.lock();
    let is_one = ready.count > 0;
    if is_one {
        ready.count -= 1;
        mp.link.store(ready.first, Ordering::Relaxed);
        ready.first = mp.as_ptr();
        GIVEN.fetch_add(1, Ordering::Relaxed);
    }
    drop(ready);
    if is_one {
        sys::futex_wake(&raw const GIVEN, 1);
    }
    WANTED.wake();
    if is_one { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EAGAIN)) }
}

/// The maker: no P waits for it, so it may wait for the program's allocator.
extern "C" fn main(_: *mut c_void) -> *mut c_void {
    thread::name(c"goroutines-make");
    // Counts the threads that it has made; those that have not arrived yet are on their way.
    let mut made = 0u32;
    loop {
        let taken = GIVEN.load(Ordering::Relaxed);
        if made.wrapping_sub(taken) >= STOCK {
            WANTED.sleep(None);
        } else if thread::start(wait, null_mut()).is_ok() {
            made = made.wrapping_add(1);
        } else {
            FILLED.wake();
            WANTED.sleep(Some(AGAIN));
        }
    }
}

/// A thread that is ready.
extern "C" fn wait(_: *mut c_void) -> *mut c_void {
    thread::name(c"goroutines-m");
    let mut ready = READY.lock();
    ready.count += 1;
    if ready.count == STOCK {
        FILLED.wake();
    }
    drop(ready);
    SCHED.sysmon.make_thread();
    loop {
        let given = GIVEN.load(Ordering::Relaxed);
        let mut ready = READY.lock();
        // SAFETY: null, or an M, which is never freed.
        if let Some(mp) = unsafe { ready.first.as_ref() } {
            ready.first = mp.link.load(Ordering::Relaxed);
            drop(ready);
            return super::threads::m_main(mp.as_ptr().cast());
        }
        drop(ready);
        sys::futex_wait(&GIVEN, given, None);
    }
}
