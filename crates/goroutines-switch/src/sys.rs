//! System calls made without the C library.
//!
//! The runtime takes over some of libc's symbols, so that blocking calls block a goroutine; its own
//! calls must not come back through those. These few lines are the way around: no symbol, no
//! `errno`, no cancellation point, safe in a signal handler. (A crate would do, were its back end
//! not a Cargo feature that any other crate of the program can turn to libc.)

use std::io;

/// A system call with six arguments; returns the kernel's word, `-errno` for an error.
///
/// # Safety
/// * The arguments are valid for the call `number`, as its manual page says.
#[inline]
pub unsafe fn raw(number: libc::c_long, args: [usize; 6]) -> isize {
    let result: isize;
    // SAFETY: the kernel clobbers rcx and r11 only; validity is the caller's.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2],
            in("r10") args[3], in("r8") args[4], in("r9") args[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Turns the kernel's word into a result.
///
/// # Errors
/// The error of the call, where the word is one.
#[inline]
pub fn check(word: isize) -> io::Result<usize> {
    if word < 0 { Err(io::Error::from_raw_os_error(-word as i32)) } else { Ok(word as usize) }
}

/// Gives advice on `[start, start + bytes)`.
///
/// # Errors
/// The kernel's, `EINVAL` where it does not know the advice.
///
/// # Safety
/// * The range belongs to the caller, and losing its contents (where the advice says so) is right.
pub unsafe fn madvise(start: *mut u8, bytes: usize, advice: i32) -> io::Result<()> {
    // SAFETY: forwarded to the caller.
    check(unsafe { raw(libc::SYS_madvise, [start as usize, bytes, advice as usize, 0, 0, 0]) })
        .map(|_| ())
}

/// Maps anonymous, private, unreserved memory.
///
/// # Errors
/// `ENOMEM` where the address space, or the number of mappings, is used up.
pub fn map(bytes: usize) -> io::Result<*mut u8> {
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE) as usize;
    // SAFETY: a new anonymous mapping touches nothing that exists.
    check(unsafe { raw(libc::SYS_mmap, [0, bytes, prot, flags, usize::MAX, 0]) })
        .map(|at| at as *mut u8)
}

/// Unmaps what [`map`] gave.
///
/// # Safety
/// * `[start, start + bytes)` is a whole mapping of the caller's, not used afterwards.
pub unsafe fn unmap(start: *mut u8, bytes: usize) {
    // SAFETY: forwarded to the caller. The only errors are those of bad arguments.
    let _ = unsafe { raw(libc::SYS_munmap, [start as usize, bytes, 0, 0, 0, 0]) };
}

/// Starts a thread that libc knows nothing of: neither its allocator nor any lock of libc's is
/// needed for it.
///
/// It has the caller's thread pointer, so it may make raw system calls and touch memory that is
/// given to it, and nothing else: no thread-local, no function of libc's. All signals are blocked
/// on it.
///
/// # Errors
/// `EAGAIN` where the system allows no further thread; a sandbox's.
///
/// # Safety
/// * `stack_top`, a multiple of 16, is the end of writable memory of the thread's own, for ever.
/// * `main` keeps to what is said above.
pub unsafe fn start_bare(
    stack_top: *mut u8,
    main: extern "C" fn(usize) -> !,
    arg: usize,
) -> io::Result<()> {
    let flags = libc::CLONE_VM
        | libc::CLONE_FS
        | libc::CLONE_FILES
        | libc::CLONE_SIGHAND
        | libc::CLONE_THREAD
        | libc::CLONE_SYSVSEM;
    let (all, mut before) = (u64::MAX, 0u64);
    let set = libc::SIG_SETMASK as usize;
    let result: isize;
    // SAFETY: the child begins at the label on a stack of its own; the parent goes on behind it,
    // with only the registers changed that are named. The mask is put back.
    unsafe {
        raw(
            libc::SYS_rt_sigprocmask,
            [set, &raw const all as usize, &raw mut before as usize, 8, 0, 0],
        );
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone as isize => result,
            in("rdi") flags as usize, in("rsi") stack_top, in("rdx") 0, in("r10") 0, in("r8") 0,
            in("r12") main, in("r13") arg,
            lateout("rcx") _, lateout("r11") _,
        );
        raw(libc::SYS_rt_sigprocmask, [set, &raw const before as usize, 0, 8, 0, 0]);
    }
    check(result).map(|_| ())
}
