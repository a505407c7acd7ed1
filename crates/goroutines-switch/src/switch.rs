//! Contexts, and going from one to another.

use crate::arch;

/// A suspended flow of control: its stack pointer and its thread pointer.
///
/// The same type saves an OS thread's own flow while carriers run on it.
#[derive(Debug)]
#[repr(transparent)]
pub struct Context([usize; 2]);

/// What runs on a fresh carrier: gets the owner's header and the word of the first switch to it.
///
/// It must not return, and must not unwind.
pub type Entry = extern "C" fn(header: *mut u8, word: usize) -> !;

impl Context {
    /// A context of nobody; switching to it is undefined.
    #[must_use]
    pub const fn empty() -> Self {
        Self([0, 0])
    }

    /// A context for the calling OS thread to save itself in. A switch saves the stack pointer
    /// only: the thread pointer of a flow does not change.
    #[must_use]
    pub fn of_this_thread() -> Self {
        Self([0, arch::thread_pointer()])
    }

    pub(crate) const fn new(stack_pointer: usize, thread_pointer: usize) -> Self {
        Self([stack_pointer, thread_pointer])
    }

    /// The thread pointer.
    #[must_use]
    pub fn thread_pointer(&self) -> usize {
        self.0[1]
    }

    /// The suspended stack pointer: all bytes of its stack below are dead.
    #[must_use]
    pub fn stack_pointer(&self) -> usize {
        self.0[0]
    }
}

/// Saves the running flow into `save` and continues `to`, which gets `word`.
///
/// Returns when somebody continues `save`, with that one's word, maybe on another OS thread. As the
/// thread pointer travels with the flow, nothing the compiler knows about thread-locals is outdated
/// by that.
///
/// # Safety
/// * `to` is suspended (made by [`Carrier::prepare`](crate::Carrier::prepare), or saved by a
///   switch), and nobody else continues it.
/// * `save` is the running flow's own context, with its thread pointer in it. It stays valid until
///   it is continued, and is read by nobody before this switch is done: the first thing that may
///   publish it is what runs after the switch.
/// * Both flows are at a point where a signal handler may see one's stack with the other's thread
///   pointer.
#[inline]
pub unsafe fn switch(save: *mut Context, to: *const Context, word: usize) -> usize {
    // SAFETY: Context is transparent over [usize; 2]; the rest is the caller's.
    unsafe { arch::switch_raw(save.cast(), to.cast(), word) }
}

/// Runs `f(data)` on the stack and thread pointer of the suspended context `on`, then comes back.
///
/// For looking at a suspended flow from its own point of view, as a backtrace does.
///
/// # Safety
/// * `on` is suspended, and nobody continues it meanwhile.
/// * There is room on its stack for `f`; `f` does not unwind and does not switch.
/// * The calling flow can't be stopped by a signal handler that switches.
pub unsafe fn borrow(on: *const Context, f: unsafe extern "C" fn(*mut u8), data: *mut u8) {
    // SAFETY: as above; forwarded to the caller.
    unsafe { arch::borrow_raw(on.cast(), f, data) }
}
