//! Jumps: `siglongjmp` and its other names set the mask that `sigsetjmp` has noted, by a system
//! call that no symbol stands for. So a goroutine's mask is set before the jump is made.
//!
//! A jump out of a handler is found out afterwards (SH3 in `signal.rs`).

use super::mask;
use super::real::{Real, real};
use super::signal;
use crate::g::current;
use crate::m::thread::word_of;
use crate::sched::preempt;
use crate::signals::{bit, masks};
use libc::{c_int, sigset_t};

/// The beginning of libc's `jmp_buf`: registers, whether the mask was noted, and the mask.
#[repr(C)]
struct Buffer {
    registers: [usize; 8],
    has_mask: c_int,
    mask: sigset_t,
}

fn before_jump(to: *const Buffer) {
    let Some(gp) = current::g().filter(|_| !signal::in_handler()) else { return };
    // SAFETY: the caller's buffer, which was filled in.
    let noted = unsafe { ((*to).has_mask != 0).then(|| word_of(&(*to).mask)) };
    let Some(noted) = noted else { return };
    let own = bit(preempt::SIGNAL);
    let now = masks::of(gp);
    let wanted = noted & !own | now & own;
    if wanted != now {
        let _section = current::enter();
        mask::change(gp, wanted);
    }
}

macro_rules! jumps {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(to: *mut Buffer, value: c_int) -> ! {
            static REAL: Real = Real::of(concat!(stringify!($name), "\0"));
            before_jump(to);
            let real = real!(REAL as fn(*mut Buffer, c_int) -> !);
            // SAFETY: forwarded. What lies between has no destructors.
            unsafe { real(to, value) }
        }
    )*};
}

jumps! { siglongjmp longjmp _longjmp __longjmp_chk }
