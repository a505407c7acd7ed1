//! Signal frames that are moved before their handler runs.
//!
//! **The problem.** A handler that switches away leaves its frame where the kernel has put it. On
//! the thread's alternate stack that can't be: the next signal would be put over it. On the
//! interrupted stack, which the kernel takes without `SA_ONSTACK`, there may be no room: a frame
//! with its registers is some 3 KiB, and other libraries' flows (Go's are 2 KiB at first) have
//! stacks that are meant for code which takes its signals elsewhere.
//!
//! **Chosen.** The kernel puts the frame on the alternate stack, where there is always room. The
//! handler's first step decides where the frame belongs, and moves it: a frame is plain memory, in
//! which one address depends on its place.
//!
//! Rejected: a call that is put into the interrupted code, as Go does it. That code would have to
//! save all registers itself, of which there are more on each new processor; and an unwinder would
//! see a call where there is none.

use crate::arch;
use std::ffi::c_int;

/// A handler in two steps.
pub trait Placed {
    /// Decides where the frame, whose first word is at `frame`, is to be. Returns `frame`, or what
    /// [`copy`] has returned; in the lowest three bits a word for [`handle`](Self::handle).
    ///
    /// It runs where the kernel has put the frame.
    extern "C" fn place(
        signal: c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::ucontext_t,
        frame: usize,
    ) -> usize;

    /// Handles the signal, below the frame.
    extern "C" fn handle(
        signal: c_int,
        info: *mut libc::siginfo_t,
        context: *mut libc::ucontext_t,
        word: u32,
    );
}

/// The address for `sigaction`, with `SA_SIGINFO`.
#[must_use]
pub fn entry<P: Placed>() -> usize {
    arch::signal_entry::<P> as *const () as usize
}

/// What the kernel and the x86-64 ABI agree on: leaf functions may use this much below `rsp`.
const RED_ZONE: usize = 128;

/// Where the frame's stack begins: the frame is the first thing on it, so all up to there belongs
/// to it. (Not only what the kernel's frame has: valgrind keeps more behind it.)
fn top(context: &libc::ucontext_t) -> usize {
    context.uc_stack.ss_sp as usize + context.uc_stack.ss_size
}

/// Bytes that [`copy`] takes at most.
///
/// # Safety
/// * `context` is in a frame that is the first on its thread's alternate stack; its first word is
///   at `frame`.
#[must_use]
pub unsafe fn room(context: *const libc::ucontext_t, frame: usize) -> usize {
    // SAFETY: as above.
    ALIGN + top(unsafe { &*context }) - frame
}

/// The registers in a frame stand at a multiple of this.
const ALIGN: usize = 64;

/// Copies the frame to the stack of which all below `end` is unused: [`below`] what it interrupts,
/// or a whole stack. Returns where its first word is now.
///
/// # Safety
/// * As for [`room`], which the other stack has.
#[must_use]
pub unsafe fn copy(context: *mut libc::ucontext_t, frame: usize, end: usize) -> usize {
    // SAFETY: as above.
    let bytes = unsafe { top(&*context) } - frame;
    // As far from a multiple of ALIGN as before.
    let by = (end - bytes).wrapping_sub(frame) & !(ALIGN - 1);
    let to = frame.wrapping_add(by);
    // SAFETY: as above: the ranges are on two stacks.
    unsafe {
        std::ptr::copy_nonoverlapping(frame as *const u8, to as *mut u8, bytes);
        let moved = (context as usize).wrapping_add(by) as *mut libc::ucontext_t;
        let registers = &raw mut (*moved).uc_mcontext.fpregs;
        if !(*registers).is_null() {
            registers.write((*registers as usize).wrapping_add(by) as *mut _);
        }
    }
    to
}

/// Where the kernel would end the frame of a signal that interrupts code with the stack pointer
/// `sp`, without an alternate stack.
#[must_use]
pub fn below(sp: usize) -> usize {
    sp - RED_ZONE
}
