//! System calls that nobody sees: not libc's functions, which the library takes over.

use std::time::Duration;

/// Makes a system call. The kernel's word: `-errno` for an error.
///
/// # Safety
/// * As the call's manual page says.
pub unsafe fn call(number: libc::c_long, args: [usize; 6]) -> isize {
    let word: isize;
    // SAFETY: the kernel clobbers rcx and r11 only; validity is the caller's.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => word,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    word
}

/// Blocks the OS thread for a time. An interruption ends it early.
pub fn sleep(time: Duration) {
    let ts = libc::timespec {
        tv_sec: time.as_secs().cast_signed(),
        tv_nsec: time.subsec_nanos().into(),
    };
    // SAFETY: a time to read.
    unsafe { call(libc::SYS_nanosleep, [&raw const ts as usize, 0, 0, 0, 0, 0]) };
}
