//! Registers that not all threads have: what a signal frame holds of them, and what a switch can't
//! carry.
//!
//! **The problem.** The kernel sizes a signal frame by what its *thread* has used. A thread that
//! has used AMX, which is eight kilobytes of registers, has larger frames from then on; on a thread
//! that has not, the kernel finds such a frame too large when the handler returns, and takes
//! nothing from it but the oldest registers: the upper halves of the AVX ones are zero then. A
//! goroutine that is preempted on one thread and goes on on another would lose them silently.
//!
//! **Chosen.** A goroutine with such a frame goes on on its M: it is locked to that M for the time.
//! So threads that use AMX keep the goroutines that were preempted on them; all others move as
//! ever, at the cost of a look at a frame.
//!
//! Rejected: an AMX instruction on the thread that has used none, so that the kernel enlarges its
//! frames: it ends the process where that is not allowed, and each such thread would keep eight
//! kilobytes more.

use crate::base::sys;
use std::arch::x86_64::CpuidResult;
use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

/// Features that a thread has from their first use on: AMX's tiles.
const DYNAMIC: u64 = 1 << 18;

/// Bytes of the extended registers in the frame of a thread that has used no dynamic ones.
static USUAL: AtomicU32 = AtomicU32::new(u32::MAX);

/// What the kernel writes behind the 464 bytes of the oldest registers (`struct _fpx_sw_bytes`).
#[repr(C)]
#[derive(Clone, Copy)]
struct Described {
    magic: u32,
    extended_bytes: u32,
    features: u64,
    bytes: u32,
}
const DESCRIBED_AT: usize = 464;
const MAGIC: u32 = 0x4650_5853;

/// Bytes of the extended registers in a frame; none where it has none.
fn bytes_in(frame: &libc::ucontext_t) -> Option<u32> {
    let registers = frame.uc_mcontext.fpregs;
    if registers.is_null() {
        return None;
    }
    // SAFETY: the kernel's frame: 512 bytes of registers at least.
    let described =
        unsafe { registers.cast::<u8>().add(DESCRIBED_AT).cast::<Described>().read_unaligned() };
    (described.magic == MAGIC).then_some(described.bytes)
}

/// Whether the frame is larger than those of other threads may be: it can be returned from on this
/// thread only.
pub(crate) fn are_bound_to_thread(frame: &libc::ucontext_t) -> bool {
    let usual = USUAL.load(Ordering::Relaxed);
    usual != u32::MAX && bytes_in(frame).is_some_and(|bytes| bytes > usual)
}

/// What the processor says of itself.
fn cpuid(leaf: u32, sub_leaf: u32) -> CpuidResult {
    // Safe in newer versions of Rust, not so in the oldest that is supported: as this, in both.
    let ask: unsafe fn(u32, u32) -> CpuidResult = std::arch::x86_64::__cpuid_count;
    // SAFETY: every processor of 64 bits can be asked, and knows its leaf 1. For those that it does
    // not know it says something, no more.
    unsafe { ask(leaf, sub_leaf) }
}

/// The features that the kernel has enabled. None without XSAVE.
fn enabled() -> Option<u64> {
    const OSXSAVE: u32 = 1 << 27;
    if cpuid(1, 0).ecx & OSXSAVE == 0 {
        return None;
    }
    let (low, high): (u32, u32);
    // SAFETY: the processor has it, as it says.
    unsafe {
        std::arch::asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags));
    }
    Some(u64::from(high) << 32 | u64::from(low))
}

/// Bytes that `features` take in a frame: as the processor lays them out.
fn bytes_of(features: u64) -> u32 {
    /// The oldest registers, and the header of the others.
    const LEAST: u32 = 512 + 64;
    (2..63)
        .filter(|feature| features & 1 << feature != 0)
        .map(|feature| {
            let found = cpuid(0xd, feature);
            found.eax + found.ebx
        })
        .fold(LEAST, u32::max)
}

/// Looks at what the processor has.
///
/// # Errors
/// If shadow stacks are on: a switch would return to addresses that the shadow of another stack
/// holds.
pub(crate) fn look() -> io::Result<()> {
    may_start(sys::shadow_stacks())?;
    if let Some(features) = enabled().filter(|features| features & DYNAMIC != 0) {
        USUAL.store(bytes_of(features & !DYNAMIC), Ordering::Relaxed);
    }
    Ok(())
}

fn may_start(shadow_stacks: bool) -> io::Result<()> {
    if shadow_stacks {
        return Err(io::Error::other(
            "user shadow stacks are on, which goroutines' stacks have none of: \
             set GLIBC_TUNABLES=glibc.cpu.x86_shstk=off",
        ));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "as a program does")]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::time::{Duration, Instant};

    static SEEN: AtomicU32 = AtomicU32::new(0);

    extern "C" fn looks(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the kernel's frame.
        let frame = unsafe { &*context.cast::<libc::ucontext_t>() };
        SEEN.store(bytes_in(frame).unwrap_or(1), Ordering::Relaxed);
    }

    /// What is computed is what the kernel does, on a thread that has used nothing dynamic.
    #[test]
    fn a_frame_is_as_large_as_computed() {
        // SAFETY: a handler of the right type; nothing else here uses SIGUSR2.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = looks as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigaction(libc::SIGUSR2, &raw const action, std::ptr::null_mut());
            libc::raise(libc::SIGUSR2);
        }
        let expected = enabled().map_or(1, |features| bytes_of(features & !DYNAMIC));
        assert_eq!(SEEN.load(Ordering::Relaxed), expected);
    }

    /// A frame with registers described so.
    fn with_frame<R>(magic: u32, bytes: u32, f: impl FnOnce(&libc::ucontext_t) -> R) -> R {
        let mut registers = [0u64; 64];
        let described = Described { magic, extended_bytes: bytes + 4, features: 7, bytes };
        // SAFETY: plain old data, within the registers.
        unsafe {
            let at = registers.as_mut_ptr().cast::<u8>().add(DESCRIBED_AT);
            at.cast::<Described>().write_unaligned(described);
            let mut frame: libc::ucontext_t = std::mem::zeroed();
            frame.uc_mcontext.fpregs = registers.as_mut_ptr().cast();
            f(&frame)
        }
    }

    #[test]
    fn frames_are_parsed() {
        assert_eq!(with_frame(MAGIC, 2696, bytes_in), Some(2696));
        assert_eq!(with_frame(0, 2696, bytes_in), None);
        // SAFETY: plain old data.
        let none: libc::ucontext_t = unsafe { std::mem::zeroed() };
        assert_eq!(bytes_in(&none), None);
        assert!(!are_bound_to_thread(&none));
    }

    #[test]
    fn shadow_stacks_are_refused() {
        assert!(may_start(true).unwrap_err().to_string().contains("x86_shstk=off"));
        assert!(may_start(false).is_ok());
    }

    /// As if all threads had used AMX, and none knew it of the others: goroutines that are
    /// preempted go on where they were, and all get their turns.
    #[test]
    fn large_frames_go_on_on_their_threads() {
        crate::runtime::Builder::new().start().ok();
        let usual = USUAL.swap(0, Ordering::Relaxed);
        let stop = AtomicBool::new(false);
        let start = Instant::now();
        let moved = crate::thread::scope(|scope| {
            let all: Vec<_> = (0..6)
                .map(|_| {
                    scope.spawn(|| {
                        let (tid, mut turns) = (sys::gettid(), 0u64);
                        while !stop.load(Ordering::Relaxed) {
                            turns += 1;
                        }
                        (sys::gettid() != tid, turns)
                    })
                })
                .collect();
            while start.elapsed() < Duration::from_millis(300) {
                std::thread::sleep(Duration::from_millis(10));
            }
            stop.store(true, Ordering::Relaxed);
            all.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        USUAL.store(usual, Ordering::Relaxed);
        assert!(moved.iter().all(|(moved, turns)| !moved && *turns > 0), "{moved:?}");
    }
}
