//! The switch on x86-64, System V ABI.
//!
//! A suspended context is its stack pointer, pointing at this frame, and its thread pointer:
//!
//! ```text
//!   rsp -> +0   mxcsr (4 bytes), x87 control word (2), 2 unused
//!          +8   r15
//!          +16  r14
//!          +24  r13
//!          +32  r12
//!          +40  rbx
//!          +48  rbp
//!          +56  return address into the caller of `switch_raw`
//!          +64  = CFA; the caller's frame, 16-aligned
//! ```
//!
//! All else is caller-saved. The control words are callee-saved by the ABI, and a goroutine is a
//! thread: rounding modes must not leak from one into the next, and a thread finds the exceptions
//! that its floating point has raised (bits 0–5 of mxcsr) after a wait, too. Loading the words is
//! dear, so each is loaded only where it differs. (The x87's own status, which `long double` sets,
//! is not kept.)
//!
//! A thread begins with the floating-point environment of the one that made it: [`float_words`].
//!
//! All switches return by `ret` to the same few call sites, so the return predictor is mostly right
//! although the stack changed under it.
//!
//! **Signals.** A signal may arrive between any two of these instructions. Its frame goes below
//! `rsp`, on the old stack or on the new one; both are whole at each instruction. Its handler may
//! see the new stack with the old thread pointer; both belong to flows that are inside the
//! scheduler then, and a handler that looks at the scheduler's no-preempt count leaves again.
//!
//! **Unwinding.** The switch frame is described to the unwinder, so a backtrace of a suspended
//! context is an ordinary one ([`borrow_raw`] makes use of that). The outermost frame says that it
//! has no caller (`.cfi_undefined rip`), so backtraces and panics end there.
//!
//! **FSGSBASE.** `wrfsbase` is used where the kernel announces it (`AT_HWCAP2` bit 1), else
//! `arch_prctl`: 20 times dearer, and safe at any instruction too.

#![expect(clippy::too_many_lines, reason = "one instruction or directive a line")]

use crate::signal::Placed;
use std::arch::naked_asm;
use std::ffi::c_int;
use std::sync::atomic::{AtomicU8, Ordering};

/// Size of the frame that a suspended context's stack pointer points at.
pub const FRAME_BYTES: usize = 64;

/// 1 where `wrfsbase` may be used. Read by the assembly below.
static FSGSBASE: AtomicU8 = AtomicU8::new(0);

/// Finds out how the thread pointer is written. Called once, before the first switch.
pub(crate) fn init() {
    const HWCAP2_FSGSBASE: u64 = 1 << 1;
    // SAFETY: getauxval reads a vector that the kernel laid out at exec.
    let announced = unsafe { libc::getauxval(libc::AT_HWCAP2) } & HWCAP2_FSGSBASE != 0;
    let used = announced && !cfg!(goroutines_no_fsgsbase);
    FSGSBASE.store(used as u8, Ordering::Relaxed);
}

/// Whether the thread pointer is written by an instruction (else by a system call).
pub(crate) fn has_fsgsbase() -> bool {
    FSGSBASE.load(Ordering::Relaxed) == 1
}

/// The running thread's (or carrier's) thread pointer.
#[inline]
#[must_use]
pub fn thread_pointer() -> usize {
    let tp: usize;
    // SAFETY: on x86-64 the ABI puts the thread pointer's own value at fs:0.
    unsafe {
        std::arch::asm!("mov {}, fs:0", out(reg) tp, options(nostack, preserves_flags, readonly));
    }
    tp
}

/// What a thread has by the ABI when it begins: mxcsr, and above it the x87 control word.
pub const FLOAT_DEFAULT: u64 = 0x1f80 | 0x037f << 32;

/// The running flow's floating-point control and status (mxcsr), and above it the x87 control word.
#[inline]
#[must_use]
pub fn float_words() -> u64 {
    // Each is loaded as wide as it was stored: else the processor waits for the store to reach the
    // cache.
    let (mut mxcsr, mut x87) = (0u32, 0u16);
    // SAFETY: two stores to memory of ours.
    unsafe {
        std::arch::asm!(
            "stmxcsr dword ptr [{mxcsr}]",
            "fnstcw word ptr [{x87}]",
            mxcsr = in(reg) &raw mut mxcsr,
            x87 = in(reg) &raw mut x87,
            options(nostack, preserves_flags),
        );
    }
    u64::from(mxcsr) | u64::from(x87) << 32
}

/// Whether both are equal, of 16 `bytes` or more. Another thread may write to either meanwhile, so
/// the compiler is told nothing of what is read; `to` is read first, in each block.
///
/// # Safety
/// * Both ranges are valid.
#[inline]
pub(crate) unsafe fn equal(from: *const u8, to: *const u8, bytes: usize) -> bool {
    debug_assert!(bytes >= 16);
    let blocks = bytes & !63;
    let equal: usize;
    // SAFETY: accesses within the caller's ranges. The last block may lie over the one before.
    unsafe {
        std::arch::asm!(
            // Equal bytes leave zeroes in {sum}.
            "pxor {sum}, {sum}",
            "xor {i:e}, {i:e}",
            "test {blocks}, {blocks}",
            "jz 3f",
            "2:",
            "movdqu {b}, [{to} + {i}]",
            "movdqu {d}, [{to} + {i} + 16]",
            "movdqu {a}, [{from} + {i}]",
            "movdqu {c}, [{from} + {i} + 16]",
            "pxor {a}, {b}",
            "pxor {c}, {d}",
            "por {sum}, {a}",
            "por {sum}, {c}",
            "movdqu {b}, [{to} + {i} + 32]",
            "movdqu {d}, [{to} + {i} + 48]",
            "movdqu {a}, [{from} + {i} + 32]",
            "movdqu {c}, [{from} + {i} + 48]",
            "pxor {a}, {b}",
            "pxor {c}, {d}",
            "por {sum}, {a}",
            "por {sum}, {c}",
            "add {i}, 64",
            "cmp {i}, {blocks}",
            "jb 2b",
            "3:",
            "cmp {i}, {last}",
            "jge 5f",
            "4:",
            "movdqu {b}, [{to} + {i}]",
            "movdqu {a}, [{from} + {i}]",
            "pxor {a}, {b}",
            "por {sum}, {a}",
            "add {i}, 16",
            "cmp {i}, {last}",
            "jl 4b",
            "5:",
            "movdqu {b}, [{to} + {last}]",
            "movdqu {a}, [{from} + {last}]",
            "pxor {a}, {b}",
            "por {sum}, {a}",
            "pxor {a}, {a}",
            "pcmpeqb {sum}, {a}",
            "pmovmskb {equal:e}, {sum}",
            from = in(reg) from,
            to = in(reg) to,
            last = in(reg) bytes - 16,
            blocks = in(reg) blocks,
            i = out(reg) _,
            equal = out(reg) equal,
            a = out(xmm_reg) _,
            b = out(xmm_reg) _,
            c = out(xmm_reg) _,
            d = out(xmm_reg) _,
            sum = out(xmm_reg) _,
            options(nostack, readonly),
        );
    }
    equal == 0xffff
}

/// Copies. Another thread may write to either meanwhile; what is written is seen by it before the
/// caller reads anything else.
///
/// # Safety
/// * Both ranges are valid, and don't overlap.
pub(crate) unsafe fn copy_and_publish(from: *const u8, to: *mut u8, bytes: usize) {
    // SAFETY: accesses within the caller's ranges; the word on the stack keeps its value.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            "lock or dword ptr [rsp], 0",
            inout("rcx") bytes => _,
            inout("rsi") from => _,
            inout("rdi") to => _,
        );
    }
}

/// Saves the running context in `save`, continues `to`, and hands it `word`.
/// Returns the word that is handed over by the switch that continues `save`.
///
/// # Safety
/// * `to` is suspended: made by [`init_frame`] or saved by a switch, and continued by nobody else.
/// * `save` is valid for writes until this context is continued.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn switch_raw(
    save: *mut [usize; 2],
    to: *const [usize; 2],
    word: usize,
) -> usize {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "push rbx",
        ".cfi_def_cfa_offset 24",
        ".cfi_offset rbx, -24",
        "push r12",
        ".cfi_def_cfa_offset 32",
        ".cfi_offset r12, -32",
        "push r13",
        ".cfi_def_cfa_offset 40",
        ".cfi_offset r13, -40",
        "push r14",
        ".cfi_def_cfa_offset 48",
        ".cfi_offset r14, -48",
        "push r15",
        ".cfi_def_cfa_offset 56",
        ".cfi_offset r15, -56",
        "sub rsp, 8",
        ".cfi_def_cfa_offset 64",
        "stmxcsr dword ptr [rsp]",
        "fnstcw word ptr [rsp + 4]",
        // Two loads, as two stores made them: one of 8 bytes would wait for both to leave the
        // buffer.
        "mov r8d, dword ptr [rsp]",
        "movzx r11d, word ptr [rsp + 4]",
        "mov rcx, qword ptr [rsi + 8]",
        "mov r9, rdx",
        "mov qword ptr [rdi], rsp",
        "mov rsp, qword ptr [rsi]",
        "cmp byte ptr [rip + {fsgsbase}], 0",
        "je 2f",
        "wrfsbase rcx",
        "3:",
        "cmp r8d, dword ptr [rsp]",
        "jne 4f",
        "6:",
        "cmp r11w, word ptr [rsp + 4]",
        "jne 7f",
        "5:",
        "mov rax, r9",
        "add rsp, 8",
        ".cfi_remember_state",
        ".cfi_def_cfa_offset 56",
        "pop r15",
        ".cfi_def_cfa_offset 48",
        "pop r14",
        ".cfi_def_cfa_offset 40",
        "pop r13",
        ".cfi_def_cfa_offset 32",
        "pop r12",
        ".cfi_def_cfa_offset 24",
        "pop rbx",
        ".cfi_def_cfa_offset 16",
        "pop rbp",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_restore_state",
        "2:",
        "mov r10, r11", // the call clobbers r11 and rcx
        "mov eax, 158", // SYS_arch_prctl
        "mov edi, 0x1002", // ARCH_SET_FS
        "mov rsi, rcx",
        "syscall",
        "mov r11, r10",
        "jmp 3b",
        "4:",
        "ldmxcsr dword ptr [rsp]",
        "jmp 6b",
        "7:",
        "fldcw word ptr [rsp + 4]",
        "jmp 5b",
        ".cfi_endproc",
        fsgsbase = sym FSGSBASE,
    )
}

/// Runs `f(data)` on top of the suspended context `on`, with that context's thread pointer, and
/// comes back. The context stays suspended; `f` sees its frames below its own.
///
/// # Safety
/// * As for [`switch_raw`], and nobody continues `on` meanwhile.
/// * `f` does not unwind, and does not switch.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn borrow_raw(
    on: *const [usize; 2],
    f: unsafe extern "C" fn(*mut u8),
    data: *mut u8,
) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        // While on the borrowed stack, the frame is the suspended one's: CFA = rsp + 64.
        ".cfi_def_cfa rsp, 64",
        ".cfi_offset rbp, -16",
        ".cfi_offset rbx, -24",
        ".cfi_offset r12, -32",
        ".cfi_offset r13, -40",
        ".cfi_offset r14, -48",
        ".cfi_offset r15, -56",
        "mov rbx, rsp",
        "mov r12, fs:0",
        "mov r13, rsi",
        "mov r14, rdx",
        "mov rsp, qword ptr [rdi]",
        "mov rsi, qword ptr [rdi + 8]",
        "call 6f",
        "mov rdi, r14",
        "call r13",
        "mov rsi, r12",
        "call 6f",
        "mov rsp, rbx",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        // Writes rsi to the thread pointer.
        "6:",
        "cmp byte ptr [rip + {fsgsbase}], 0",
        "je 7f",
        "wrfsbase rsi",
        "ret",
        "7:",
        "mov eax, 158",
        "mov edi, 0x1002",
        "syscall",
        "ret",
        ".cfi_endproc",
        fsgsbase = sym FSGSBASE,
    )
}

/// What the kernel calls for a signal: see [`signal::entry`](crate::signal::entry).
///
/// At its start `rsp` is the frame's first word, the address of the code that returns from it, as
/// if that had called. Nothing in the frame but the address of its registers
/// ([`signal::copy`](crate::signal::copy)) depends on where it is.
#[unsafe(naked)]
pub(crate) unsafe extern "C" fn signal_entry<P: Placed>(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut libc::ucontext_t,
) {
    naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_def_cfa_offset 16",
        "push rsi",
        ".cfi_def_cfa_offset 24",
        "push rdx",
        ".cfi_def_cfa_offset 32",
        "lea rcx, [rsp + 24]",
        "call {place}",
        "pop rdx",
        ".cfi_def_cfa_offset 24",
        "pop rsi",
        ".cfi_def_cfa_offset 16",
        "pop rdi",
        ".cfi_def_cfa_offset 8",
        // The frame's address is 8 mod 16; the lowest bits are place()'s word.
        "mov rcx, rax",
        "and ecx, 7",
        "and rax, -8",
        "mov r8, rax",
        "sub r8, rsp",
        "add rsi, r8",
        "add rdx, r8",
        "mov rsp, rax",
        "jmp {handle}",
        ".cfi_endproc",
        place = sym P::place,
        handle = sym P::handle,
    )
}

/// Where a fresh context begins: r12 is the owner's header, r13 the entry function, rax the word.
#[unsafe(naked)]
unsafe extern "C" fn trampoline() {
    naked_asm!(
        ".cfi_startproc",
        ".cfi_undefined rip",
        "mov rdi, r12",
        "mov rsi, rax",
        "call r13",
        "ud2",
        ".cfi_endproc",
    )
}

/// Lays the first frame of a context under `top`; returns its stack pointer.
///
/// # Safety
/// * `top` is 16-aligned, and the [`FRAME_BYTES`] + 16 bytes below it are writable and nobody's.
pub(crate) unsafe fn init_frame(
    top: *mut u8,
    entry: extern "C" fn(*mut u8, usize) -> !,
    header: *mut u8,
    float: u64,
) -> usize {
    let frame = top.wrapping_sub(FRAME_BYTES).cast::<usize>();
    let words = [
        float as usize,
        0,               // r15
        0,               // r14
        entry as usize,  // r13
        header as usize, // r12
        0,               // rbx
        0,               // rbp: ends walks by frame pointer
        trampoline as *const () as usize,
    ];
    // SAFETY: the caller gives FRAME_BYTES below top; 8 words are those.
    unsafe { frame.cast::<[usize; 8]>().write(words) };
    frame as usize
}
