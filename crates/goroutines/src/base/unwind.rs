//! The frames of a stack, as the unwinder that std brings along finds them.

use std::ffi::{c_int, c_void};
use std::ops::ControlFlow;

unsafe extern "C" {
    safe fn _Unwind_Backtrace(
        step: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIP(frame: *mut c_void) -> usize;
    fn _Unwind_GetRegionStart(frame: *mut c_void) -> usize;
}

/// A frame that the unwinder shows.
pub(crate) struct Frame(*mut c_void);

impl Frame {
    /// Where it goes on.
    pub(crate) fn ip(&self) -> usize {
        // SAFETY: a frame that the unwinder shows.
        unsafe { _Unwind_GetIP(self.0) }
    }

    /// Where its function begins.
    #[cfg(feature = "intercept")]
    pub(crate) fn function(&self) -> usize {
        // SAFETY: a frame that the unwinder shows.
        unsafe { _Unwind_GetRegionStart(self.0) }
    }
}

/// Calls `f`, which may not unwind, for each frame of the caller's stack, innermost first.
pub(crate) fn each<F: FnMut(Frame) -> ControlFlow<()>>(mut f: F) {
    extern "C" fn step<F: FnMut(Frame) -> ControlFlow<()>>(
        frame: *mut c_void,
        f: *mut c_void,
    ) -> c_int {
        const GO_ON: c_int = 0;
        const STOP: c_int = 4;
        // SAFETY: the caller's function, which waits below.
        let f = unsafe { &mut *f.cast::<F>() };
        if f(Frame(frame)).is_continue() { GO_ON } else { STOP }
    }
    _Unwind_Backtrace(step::<F>, (&raw mut f).cast());
}
