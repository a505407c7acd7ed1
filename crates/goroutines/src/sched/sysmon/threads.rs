//! Making threads for Ps that have none: the Ms, and their memory.
//!
//! Previous: `sched/wake.rs`, which found no idle M. Next: `sched/run.rs`, in which an M's thread
//! lives.

use super::{Monitor, SETTLE_NS, maker};
use crate::base::sys;
use crate::m::{M, Seen, altstack};
use crate::p::P;
use crate::sched::{SCHED, Shared, run, stw, wake, watch};
use std::ffi::c_void;
use std::io;
use std::ptr::null_mut;
use std::sync::atomic::Ordering;

/// How long there may be no thread for goroutines, before the process ends.
const THREADLESS_NS: u64 = 1_000_000_000;

impl Monitor {
    /// Makes threads for the Ps that wait for one. Whether there was one.
    pub(super) fn make_threads(&mut self) -> bool {
        self.retry = false;
        let mut made = false;
        loop {
            let mut shared = SCHED.lock();
            if self.waits_for_settling(&shared) {
                return made;
            }
            // SAFETY: null, or a static P.
            let Some(pp) = (unsafe { shared.pwaiting.as_ref() }) else { return made };
            shared.pwaiting = pp.link.load(Ordering::Relaxed);
            if wake::start_idle(&mut shared, pp) {
                continue;
            }
            let limit = SCHED.max_threads.load(Ordering::Relaxed) as i32;
            if shared.mcount > limit {
                drop(shared);
                let mut out = sys::Text::<80>::new();
                out.push("runtime: program exceeds ")
                    .push_number(limit as u64)
                    .push("-thread limit\n");
                sys::write_all(2, out.bytes());
                crate::base::fatal::fatal("thread exhaustion");
            }
            let mp = self.new_m(&mut shared);
            drop(shared);
            mp.spinning.set(pp.wants_spinning.get());
            mp.nextp.store(pp.as_ptr(), Ordering::Release);
            let started = if maker::is_used() {
                maker::give(mp)
            } else {
                crate::m::thread::start(m_main, mp.as_ptr().cast())
            };
            if let Err(error) = started {
                self.give_back(mp, pp, &error);
                return made;
            }
            self.threadless_since_ns = None;
            made = true;
        }
    }

    /// Whether all Ps that wait for a thread wait for Ms that are on their way to sleep, and have
    /// not for long.
    fn waits_for_settling(&mut self, shared: &Shared) -> bool {
        if shared.expected == 0 || shared.pwaiting.is_null() {
            self.settling_since_ns = None;
            return false;
        }
        let mut waiting = 0;
        let mut at = shared.pwaiting;
        // SAFETY: the list is of static Ps.
        while let Some(pp) = unsafe { at.as_ref() } {
            waiting += 1;
            at = pp.link.load(Ordering::Relaxed);
        }
        let now = sys::nanotime();
        let (since, starts) = *self.settling_since_ns.get_or_insert((now, shared.starts));
        if starts != shared.starts {
            // Others than those of the look before.
            self.settling_since_ns = Some((now, shared.starts));
            return waiting <= shared.expected;
        }
        waiting <= shared.expected && now - since < SETTLE_NS
    }

    /// The system makes no further thread: the P waits among the idle ones, for an M that comes
    /// back.
    fn give_back(&mut self, mp: &'static M, pp: &'static P, error: &io::Error) {
        self.retry = true;
        self.give_up_without_threads(error);
        if mp.spinning.replace(false) {
            SCHED.idle.stop_spinning();
        }
        mp.nextp.store(null_mut(), Ordering::Relaxed);
        let mut shared = SCHED.lock();
        bury(&mut shared, mp);
        if SCHED.is_stopping() {
            stw::stopped(&mut shared, pp);
        } else if pp.is_empty() && !is_wanted() {
            wake::put_idle(&mut shared, pp);
            drop(shared);
            // Somebody may have counted on the M that was to spin.
            if SCHED.procs().iter().any(|pp| !pp.is_empty()) {
                wake::wakep();
            }
        } else {
            // Goroutines wait with it, or for it: it goes on waiting for a thread.
            pp.wants_spinning.set(false);
            pp.link.store(shared.pwaiting, Ordering::Relaxed);
            shared.pwaiting = pp.as_ptr();
            shared.mcount += 1;
        }
    }

    /// Where no M has a thread none comes back: the process ends if that lasts.
    fn give_up_without_threads(&mut self, error: &io::Error) {
        // The one that was to have a thread is counted.
        if SCHED.lock().mcount > 1 {
            self.threadless_since_ns = None;
            return;
        }
        let now = sys::nanotime();
        let since = *self.threadless_since_ns.get_or_insert(now);
        if now - since < THREADLESS_NS {
            return;
        }
        let have = sys::links(b"/proc/self/task\0").map_or(0, |links| links.saturating_sub(2));
        let errno = error.raw_os_error().unwrap_or(0);
        let mut out = sys::Text::<256>::new();
        out.push("runtime: failed to create new OS thread (have ")
            .push_number(have)
            .push(" already; errno=")
            .push_number(errno.unsigned_abs().into())
            .push(")\n");
        if errno == libc::EAGAIN {
            out.push(
                "runtime: may need to increase max user processes \
                 (ulimit -u, or pids.max of the cgroup)\n",
            );
        }
        sys::write_all(2, out.bytes());
        crate::base::fatal::fatal("newosproc");
    }

    /// A dead M, or a new one.
    fn new_m(&mut self, shared: &mut Shared) -> &'static M {
        // SAFETY: null, or an M, which is never freed.
        if let Some(mp) = unsafe { shared.mdead.as_ref() } {
            shared.mdead = mp.link.load(Ordering::Relaxed);
            // SAFETY: only this thread looks at it. It will have another thread, with another
            // clock.
            unsafe { *mp.seen.get() = Seen::default() };
            return mp;
        }
        if self.room == 0 {
            let bytes = 64 * size_of::<M>();
            match goroutines_switch::sys::map(bytes) {
                Ok(at) => (self.spare, self.room) = (at.cast(), 64),
                Err(_) => crate::base::fatal::throw!("no memory for an M"),
            }
        }
        let at = self.spare;
        self.spare = at.wrapping_add(1);
        self.room -= 1;
        // SAFETY: our mapping, unused so far, never unmapped.
        let mp: &'static M = unsafe {
            at.write(M::new(shared.next_mid));
            &*at
        };
        shared.next_mid += 1;
        mp.alllink.store(SCHED.allm.load(Ordering::Relaxed), Ordering::Relaxed);
        SCHED.allm.store(mp.as_ptr(), Ordering::Release);
        mp
    }
}

/// Whether something waits for an M, and not in a P's queue. Under the scheduler lock.
fn is_wanted() -> bool {
    SCHED.runq_size.load(Ordering::Relaxed) > 0 || watch::needs_watcher(watch::earliest())
}

/// The dead M is to be used again. Under the scheduler lock.
fn bury(shared: &mut Shared, mp: &'static M) {
    mp.tid.store(0, Ordering::Relaxed);
    #[cfg(feature = "intercept")]
    mp.robust_list.set(0);
    mp.link.store(shared.mdead, Ordering::Relaxed);
    shared.mdead = mp.as_ptr();
    shared.mcount -= 1;
}

/// The life of an M's thread.
pub(super) extern "C" fn m_main(arg: *mut c_void) -> *mut c_void {
    // SAFETY: make_threads gives an M, which is never freed.
    let mp: &'static M = unsafe { &*arg.cast::<M>() };
    // SAFETY: no memory is involved. Timers are this thread's sleeps, and would be 50 µs late.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    mp.odd.set(0);
    mp.tid.store(sys::gettid(), Ordering::SeqCst);
    crate::g::current::set_m(mp);
    crate::m::thread::settle(mp, c"goroutines-m");
    // SAFETY: nothing has switched on this M yet.
    unsafe { *mp.g0.get() = goroutines_switch::Context::of_this_thread() };
    altstack::install(mp);
    wake::take_nextp(mp);
    run::main_loop(mp);
    mp.dying.set(false);
    mp.is_parent.set(false);
    // SG2: a thread that ends runs no handler.
    sys::set_signals(u64::MAX);
    crate::g::current::set_m(std::ptr::null());
    altstack::remove(mp);
    let mut shared = SCHED.lock();
    bury(&mut shared, mp);
    null_mut()
}
