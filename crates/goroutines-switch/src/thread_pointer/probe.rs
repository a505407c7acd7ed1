//! What only a thread of libc's own can tell: one is made, looks at itself, and ends.
//!
//! The first thread's block is no model: its resolver state is the process's, and it may be the caller.

use std::ffi::c_void;
use std::io;

/// Offsets from the thread pointer, as a thread of libc's own has them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probe {
    /// Its resolver state (`struct __res_state`).
    pub(super) resolver: usize,
    /// Two words: the lowest address of its stack, and the size.
    pub(super) stackblock: Option<usize>,
    sizeof_pthread: usize,
    /// Bytes of its stack: a number that occurs nowhere else in its block.
    stack_bytes: usize,
}

/// Bytes of its stack beside the static TLS.
const STACK_BYTES: usize = (1 << 20) + (5 << 12);

impl Probe {
    /// Asks a thread.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub(super) fn ask(sizeof_pthread: usize, static_tls: usize) -> io::Result<Self> {
        let stack_bytes = STACK_BYTES + static_tls.next_multiple_of(4096);
        let mut probe = Self { sizeof_pthread, stack_bytes, ..Self::default() };
        // SAFETY: attr is initialised before use. The thread gets the Probe, which outlives it, as it
        // is joined.
        let error = unsafe {
            let mut attr: libc::pthread_attr_t = std::mem::zeroed();
            libc::pthread_attr_init(&raw mut attr);
            libc::pthread_attr_setstacksize(&raw mut attr, stack_bytes);
            let mut thread: libc::pthread_t = 0;
            let arg = (&raw mut probe).cast();
            let error = libc::pthread_create(&raw mut thread, &raw const attr, look, arg);
            libc::pthread_attr_destroy(&raw mut attr);
            if error == 0 { libc::pthread_join(thread, std::ptr::null_mut()) } else { error }
        };
        if error == 0 { Ok(probe) } else { Err(io::Error::from_raw_os_error(error)) }
    }

    /// The place of two words that say where a stack is that contains both the block and `here`.
    fn find_stackblock(&self, tp: usize, here: usize) -> Option<usize> {
        // SAFETY: the words of the calling thread's block.
        let words =
            unsafe { std::slice::from_raw_parts(tp as *const usize, self.sizeof_pthread / 8) };
        let is_stack = |pair: &[usize]| {
            let [low, bytes] = *pair else { return false };
            (self.stack_bytes..2 * self.stack_bytes).contains(&bytes)
                && low & 4095 == 0
                && (low..low.saturating_add(bytes)).contains(&here)
                && low.saturating_add(bytes) > tp
        };
        words.windows(2).position(is_stack).map(|index| index * 8)
    }
}

extern "C" fn look(probe: *mut c_void) -> *mut c_void {
    let tp = crate::arch::thread_pointer();
    let here = &raw const tp as usize;
    // SAFETY: the Probe of `ask`, which waits.
    let probe = unsafe { &mut *probe.cast::<Probe>() };
    probe.resolver = (super::resolver::of_caller() as usize).wrapping_sub(tp);
    probe.stackblock = probe.find_stackblock(tp, here);
    std::ptr::null_mut()
}
