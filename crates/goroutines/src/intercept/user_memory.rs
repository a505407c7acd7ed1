//! The caller's memory: looked at only where the kernel would not say `EFAULT`.
//!
//! **The problem.** A call with a bad pointer is an error to the kernel, and must not become a
//! crash because the runtime reads a list of buffers, a time or a set of descriptors before the
//! kernel does.
//!
//! **Chosen.** Before memory is touched the kernel is asked, once for each page, by calls that read
//! or write a word of it and do nothing else: `rt_sigprocmask` copies the new mask before it finds
//! that it does not know what to do with it; `futex(WAKE_OP)` adds nothing to a word. Both are
//! calls that no sandbox can refuse to a program with threads; where one does, the memory is taken
//! to be valid. A caller's own stack, where most lists are, is not asked about.
//!
//! Rejected: `process_vm_readv` of oneself, which sandboxes refuse, and which can't read a device's
//! memory; a pipe, which costs four system calls and two descriptors; a handler of `SIGSEGV`, which
//! is the program's.
//!
//! * UM1: memory that is unmapped by another thread between the question and the access is a crash,
//!   where a thread's call would say `EFAULT` most times. A program that does so has lost the race
//!   on a thread, too.
//!
//! Everything that is read or written here is plain old data of C, possibly unaligned, and shared
//! with threads that the runtime knows nothing of: it is copied once, by raw pointers. (Lists of
//! buffers are used in place.)

#![expect(dead_code, reason = "its users come one after the other")]

use crate::g::G;
use goroutines_switch::sys::raw;
use libc::iovec;
use std::mem::MaybeUninit;
use std::sync::atomic::AtomicU32;

const PAGE: usize = 4096;
const FAULT: isize = -(libc::EFAULT as isize);

/// A number of `errno`.
pub(super) type Errno = i32;

/// Whether the calling goroutine's own stack holds `[at, at + bytes)`, in frames that are in use.
#[inline]
fn is_on_stack(gp: &'static G, at: usize, bytes: usize) -> bool {
    let here = 0u8;
    let stack = gp.carrier().stack();
    let (low, high) = (&raw const here as usize, stack.end);
    stack.start <= low && low <= at && at <= high && bytes <= high - at
}

/// Calls `probe` with an address in each page of `[at, at + bytes)`.
fn each_page(at: usize, bytes: usize, probe: impl Fn(usize) -> bool) -> Result<(), Errno> {
    let Some(last) = at.checked_add(bytes) else { return Err(libc::EFAULT) };
    let mut next = at;
    while next < last {
        // The null pointer: the calls below take it for "nothing".
        if next & !7 == 0 || !probe(next & !7) {
            return Err(libc::EFAULT);
        }
        next = (next & !(PAGE - 1)) + PAGE;
    }
    Ok(())
}

/// Asks the kernel whether it can read `[at, at + bytes)`.
///
/// # Errors
/// `EFAULT`.
pub(super) fn is_readable(gp: &'static G, at: usize, bytes: usize) -> Result<(), Errno> {
    /// None of `SIG_BLOCK`, `SIG_UNBLOCK`, `SIG_SETMASK`.
    const NOTHING: usize = usize::MAX;
    if is_on_stack(gp, at, bytes) {
        return Ok(());
    }
    each_page(at, bytes, |at| {
        let args = [NOTHING, at, 0, size_of::<u64>(), 0, 0];
        // SAFETY: the kernel reads a word, or finds that it can't, and refuses what it is to do
        // with it.
        unsafe { raw(libc::SYS_rt_sigprocmask, args) != FAULT }
    })
}

/// Asks the kernel whether it can write `[at, at + bytes)`.
///
/// # Errors
/// `EFAULT`.
pub(super) fn is_writable(gp: &'static G, at: usize, bytes: usize) -> Result<(), Errno> {
    /// Nothing waits at this word.
    static NOBODY: AtomicU32 = AtomicU32::new(0);
    /// `FUTEX_OP(FUTEX_OP_ADD, 0, FUTEX_OP_CMP_EQ, 2047)`. (Were the word 2047, and a futex, one of
    /// its waiters would be woken for no reason, as futexes may be.)
    const ADD_NOTHING: usize = (libc::FUTEX_OP_ADD as usize) << 28 | 0x7ff;
    if is_on_stack(gp, at, bytes) {
        return Ok(());
    }
    let op = (libc::FUTEX_WAKE_OP | libc::FUTEX_PRIVATE_FLAG) as usize;
    each_page(at, bytes, |at| {
        let args = [NOBODY.as_ptr() as usize, op, 0, 0, at, ADD_NOTHING];
        // SAFETY: the kernel adds nothing to a word, or finds that it can't write it.
        unsafe { raw(libc::SYS_futex, args) != FAULT }
    })
}

/// Copies a `T` from the caller's memory.
///
/// # Errors
/// `EFAULT`.
///
/// # Safety
/// * Any bytes are a valid `T`.
pub(super) unsafe fn read<T: Copy>(gp: &'static G, at: *const T) -> Result<T, Errno> {
    is_readable(gp, at as usize, size_of::<T>())?;
    // SAFETY: UM1; any bytes are valid.
    Ok(unsafe { at.read_unaligned() })
}

/// Copies `n` values from the caller's memory to the beginning of `to`, which has room for them,
/// and returns them there.
///
/// # Errors
/// `EFAULT`.
///
/// # Safety
/// * Any bytes are a valid `T`.
pub(super) unsafe fn read_all<'t, T: Copy>(
    gp: &'static G,
    at: *const T,
    n: usize,
    to: &'t mut [MaybeUninit<T>],
) -> Result<&'t mut [T], Errno> {
    let to = &mut to[..n];
    is_readable(gp, at as usize, size_of_val(to))?;
    let first = to.as_mut_ptr().cast::<T>();
    if n != 0 {
        // SAFETY: UM1; bytes, whatever the source's alignment.
        unsafe {
            let bytes = n * size_of::<T>();
            std::ptr::copy(at.cast::<u8>(), first.cast::<u8>(), bytes);
        }
    }
    // SAFETY: `n` were filled in just now.
    Ok(unsafe { std::slice::from_raw_parts_mut(first, n) })
}

/// Copies `value` to the caller's memory.
///
/// # Errors
/// `EFAULT`.
pub(super) fn write<T: Copy>(gp: &'static G, at: *mut T, value: T) -> Result<(), Errno> {
    is_writable(gp, at as usize, size_of::<T>())?;
    // SAFETY: UM1; the caller of libc gave this place away for it.
    unsafe { at.write_unaligned(value) };
    Ok(())
}

/// Copies `values` to the caller's memory.
///
/// # Errors
/// `EFAULT`.
pub(super) fn write_all<T: Copy>(gp: &'static G, at: *mut T, values: &[T]) -> Result<(), Errno> {
    is_writable(gp, at as usize, size_of_val(values))?;
    if !values.is_empty() {
        // SAFETY: as above; bytes, whatever the place's alignment.
        unsafe {
            std::ptr::copy(values.as_ptr().cast::<u8>(), at.cast::<u8>(), size_of_val(values));
        }
    }
    Ok(())
}

/// A caller's list of buffers, which the kernel can read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffers {
    at: *const iovec,
    n: usize,
}

impl Buffers {
    /// Linux takes no more (`UIO_MAXIOV`).
    const MOST: usize = 1024;

    /// The list of `n` buffers at `at`. None where the kernel is to say what is wrong with it: it
    /// has too many buffers, or can't be read, or has an invalid length.
    pub(super) fn of(gp: &'static G, at: *const iovec, n: usize) -> Option<Self> {
        if n > Self::MOST || is_readable(gp, at as usize, n * size_of::<iovec>()).is_err() {
            return None;
        }
        let list = Self { at, n };
        list.iter().all(|one| isize::try_from(one.iov_len).is_ok()).then_some(list)
    }

    /// One buffer, whose entry stays where it is while this is in use.
    pub(super) fn one(one: &iovec) -> Self {
        Self { at: one, n: 1 }
    }

    /// The list's address, for the kernel.
    pub(super) fn as_ptr(&self) -> *const iovec {
        self.at
    }

    /// How many buffers there are.
    pub(super) fn len(&self) -> usize {
        self.n
    }

    /// The buffers, each copied when it is asked for.
    pub(super) fn iter(&self) -> impl Iterator<Item = iovec> + Clone {
        let at = self.at;
        // SAFETY: UM1: the kernel could read the list when this was made.
        (0..self.n).map(move |i| unsafe { at.wrapping_add(i).read_unaligned() })
    }

    /// The list in place; none if it is not aligned, as C's lists are.
    pub(super) fn as_slice(&self) -> Option<&[iovec]> {
        match self.n {
            0 => Some(&[]),
            // SAFETY: UM1: the kernel could read the list when this was made. One that is changed
            // meanwhile gives other numbers, each of which is good for the kernel.
            n if self.at.is_aligned() => Some(unsafe { std::slice::from_raw_parts(self.at, n) }),
            _ => None,
        }
    }

    /// How many bytes they hold, as far as one call goes.
    pub(super) fn bytes(&self) -> usize {
        /// Linux moves no more at a time.
        const MOST: usize = 0x7fff_f000;
        self.iter().fold(0usize, |sum, one| sum.saturating_add(one.iov_len)).min(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffers, is_readable, is_writable, read, read_all, write, write_all};
    use crate::g::{G, current};
    use goroutines_switch::sys::{map, raw, unmap};
    use std::mem::MaybeUninit;

    fn on_goroutine(f: impl FnOnce(&'static G) + Send) {
        crate::run(|| f(current::g().expect("a goroutine")));
    }

    /// Two pages: the first readable and writable, the second neither, or read-only.
    fn pages(second: i32) -> usize {
        let at = map(8192).expect("memory") as usize;
        let args = [at + 4096, 4096, second as usize, 0, 0, 0];
        // SAFETY: our own mapping.
        assert_eq!(unsafe { raw(libc::SYS_mprotect, args) }, 0);
        at
    }

    fn gone(at: usize) {
        // SAFETY: a mapping of `pages`.
        unsafe { unmap(at as *mut u8, 8192) };
    }

    #[test]
    fn bad_addresses_are_told() {
        on_goroutine(|gp| {
            let (none, only_read) = (pages(libc::PROT_NONE), pages(libc::PROT_READ));
            for bad in [0, 8, 0x1000, none + 4096, none + 4095, usize::MAX - 3, 1 << 63, 1 << 47] {
                assert_eq!(is_readable(gp, bad, 4), Err(libc::EFAULT), "{bad:#x}");
                assert_eq!(is_writable(gp, bad, 4), Err(libc::EFAULT), "{bad:#x}");
            }
            for good in [none, none + 1, none + 4092, only_read] {
                assert_eq!(is_readable(gp, good, 4), Ok(()), "{good:#x}");
                assert_eq!(is_writable(gp, good, 4), Ok(()), "{good:#x}");
            }
            assert_eq!(is_readable(gp, only_read + 4095, 4), Ok(()));
            assert_eq!(is_writable(gp, only_read + 4095, 4), Err(libc::EFAULT));
            assert_eq!(is_readable(gp, 0, 0), Ok(()), "nothing");
            assert_eq!(is_readable(gp, none, 4097), Err(libc::EFAULT), "its last byte");
            gone(none);
            gone(only_read);
        });
    }

    #[test]
    fn what_is_copied_is_what_is_there() {
        on_goroutine(|gp| {
            let mut words = vec![1u32, 2, 3];
            // (Nor does asking change anything.)
            assert_eq!(is_writable(gp, words.as_ptr() as usize, 12), Ok(()));
            let odd = words.as_mut_ptr().cast::<u8>().wrapping_add(1).cast::<u32>();
            // SAFETY: numbers.
            unsafe {
                assert_eq!(read(gp, odd), Ok(2 << 24), "of no alignment");
                assert_eq!(read(gp, words.as_ptr().wrapping_add(2)), Ok(3));
                let mut to = [const { MaybeUninit::uninit() }; 8];
                assert_eq!(read_all(gp, words.as_ptr(), 3, &mut to), Ok(&mut [1, 2, 3][..]));
                assert_eq!(read_all(gp, 8 as *const u32, 3, &mut to), Err(libc::EFAULT));
                assert_eq!(read_all(gp, 8 as *const u32, 0, &mut to), Ok(&mut [][..]));
            }
            assert_eq!(write(gp, odd, 0), Ok(()));
            assert_eq!(words, [1, 0, 3]);
            assert_eq!(write_all(gp, words.as_mut_ptr(), &[7, 8]), Ok(()));
            assert_eq!(words, [7, 8, 3]);
            assert_eq!(write(gp, 8 as *mut u32, 0), Err(libc::EFAULT));
        });
    }

    #[test]
    fn lists_that_the_kernel_would_refuse_are_none() {
        on_goroutine(|gp| {
            let one = |n: usize| libc::iovec { iov_base: 16 as *mut _, iov_len: n };
            let list = Box::new([one(3), one(0), one(isize::MAX as usize), one(usize::MAX)]);
            let of = |n| Buffers::of(gp, list.as_ptr(), n).map(|list| list.bytes());
            assert_eq!(
                [of(0), of(1), of(2), of(3)],
                [Some(0), Some(3), Some(3), Some(0x7fff_f000)]
            );
            assert_eq!([of(4), of(1025), of(usize::MAX)], [None; 3]);
            assert!(Buffers::of(gp, 16 as *const _, 1).is_none());
            assert!(Buffers::of(gp, std::ptr::null(), 0).is_some(), "no list");
        });
    }
}
