//! The resolver's state: settings, and the sockets of a look-up that is under way.
//!
//! libc's functions find it through a thread-local pointer, `__resp`. Its first value is the state
//! of the process's first thread; a new thread sets it to the state in its own block, first of all.
//! A carrier does the same, else look-ups of several goroutines close and read each other's
//! sockets.

use super::probe::Probe;
use std::ffi::c_int;

/// How `struct __res_state` begins (`<resolv.h>`).
#[repr(C)]
pub(super) struct State {
    retrans: c_int,
    retry: c_int,
    options: libc::c_ulong,
    /// How many servers there are; not 0 once it was used.
    nscount: c_int,
}

/// The size of `struct __res_state`, which is a part of the public ABI.
const BYTES: usize = 568;

unsafe extern "C" {
    fn __res_state() -> *mut State;
    fn __res_nclose(state: *mut State);
}

/// The calling thread's.
pub(super) fn of_caller() -> *mut State {
    // SAFETY: no arguments.
    unsafe { __res_state() }
}

/// Where the state and the pointer to it are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolver {
    /// Above the thread pointer.
    state: usize,
    /// Below the thread pointer.
    pointer: usize,
}

/// Where a thread's state has its options (a word), and the number of its servers, from the thread
/// pointer. Both are 0 until the state is used.
pub(super) fn marks(probe: &Probe) -> Option<(usize, usize)> {
    let state = probe.resolver;
    (state < probe.sizeof_pthread && probe.sizeof_pthread - state >= BYTES && state >= 64)
        .then_some((
            state + std::mem::offset_of!(State, options),
            state + std::mem::offset_of!(State, nscount),
        ))
}

impl Resolver {
    /// None, if this libc keeps it in another way.
    pub(super) fn new(probe: Probe, pointer: Option<usize>, sizeof_pthread: usize) -> Option<Self> {
        let state = probe.resolver;
        let fits = state < sizeof_pthread && sizeof_pthread - state >= BYTES && state >= 64;
        pointer.filter(|_| fits).map(|pointer| Self { state, pointer })
    }

    /// Gives the block at `tp` its own.
    ///
    /// # Safety
    /// * A block of libc's layout, on which nothing runs but the caller.
    pub(super) unsafe fn start(self, tp: usize) {
        // SAFETY: the thread-local of that block.
        unsafe { ((tp - self.pointer) as *mut usize).write(tp + self.state) };
    }

    /// Closes what the state of the block at `tp` holds, and leaves it as in a new thread.
    ///
    /// # Safety
    /// * As for [`start`](Self::start).
    pub(super) unsafe fn leave(self, tp: usize) {
        let state = (tp + self.state) as *mut State;
        // SAFETY: the block's own state.
        unsafe {
            if (*state).nscount != 0 {
                __res_nclose(state);
            } else if (*state).options == 0 {
                return;
            }
            state.cast::<u8>().write_bytes(0, BYTES);
        }
    }
}
