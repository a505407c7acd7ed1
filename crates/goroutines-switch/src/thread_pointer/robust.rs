//! Robust mutexes that a goroutine holds when it ends.
//!
//! At a thread's end the kernel goes through the list that libc keeps in the thread's block, marks
//! each lock as one whose owner has died, and wakes a waiter. A carrier's list outlives the
//! goroutine, so the same is done here. (Those that wait for a lock with priority inheritance are
//! woken by the kernel: the OS thread that such a goroutine is on ends with it.)

use std::sync::atomic::{AtomicU32, Ordering};

/// `struct robust_list_head` of the kernel's.
#[repr(C)]
struct Head {
    first: usize,
    /// From a node to the word of its lock.
    to_lock: isize,
    pending: usize,
}

const WAITERS: u32 = 1 << 31;
const OWNER_DIED: u32 = 1 << 30;
const TID_MASK: u32 = OWNER_DIED - 1;

/// As many nodes as the kernel looks at.
const LIMIT: usize = 2048;

/// Where the block at `tp`, the caller's, of `bytes` bytes, has its head: a robust mutex, once it
/// is locked, is linked to it. (A caller that has locked others has the newest of them, not the
/// head, in the link forth.)
pub(super) fn head_by_mutex(tp: usize, bytes: usize) -> Option<usize> {
    // SAFETY: plain data for which zeroes are a start; initialised before use.
    unsafe {
        let (mut attr, mut mutex) =
            (std::mem::zeroed(), std::mem::zeroed::<libc::pthread_mutex_t>());
        libc::pthread_mutexattr_init(&raw mut attr);
        libc::pthread_mutexattr_setrobust(&raw mut attr, libc::PTHREAD_MUTEX_ROBUST);
        libc::pthread_mutex_init(&raw mut mutex, &raw const attr);
        libc::pthread_mutex_lock(&raw mut mutex);
        let words = (&raw const mutex).cast::<usize>();
        let n = size_of::<libc::pthread_mutex_t>() / size_of::<usize>();
        let offsets = (0..n).map(|i| words.add(i).read().wrapping_sub(tp));
        // The link forth; the one back stands before it, and points to the head less a word, or to
        // it.
        let head = offsets.filter(|at| *at >= 8 && *at < bytes).max();
        libc::pthread_mutex_unlock(&raw mut mutex);
        libc::pthread_mutex_destroy(&raw mut mutex);
        head
    }
}

/// Whether the list with its head at `head` is not empty.
///
/// # Safety
/// * The list is of the calling flow's block.
#[inline]
pub(super) unsafe fn has_any(head: usize) -> bool {
    // SAFETY: the block's own list head.
    unsafe { *(head as *const usize) != head }
}

/// Gives up what the list with its head at `head` holds in the name of one of the threads `tids`.
///
/// # Safety
/// * The list is of the calling flow's block. (Its nodes are the program's mutexes.)
#[cold]
pub(super) unsafe fn leave(head: usize, tids: [u32; 2]) {
    let head = head as *mut Head;
    // SAFETY: the caller's list; a node lies in a mutex that is locked by the caller, so it is
    // there.
    unsafe {
        let mut node = (*head).first;
        for _ in 0..LIMIT {
            // The lowest bit marks a mutex with priority inheritance.
            let at = node & !1;
            if at == head as usize {
                break;
            }
            let next = *(at as *const usize);
            die(
                &*(at.wrapping_add_signed((*head).to_lock) as *const AtomicU32),
                tids,
                node & 1 == 0,
            );
            node = next;
        }
        (*head).first = head as usize;
        (*head).pending = 0;
        // libc's link back to the last node stands in front of the head.
        *head.cast::<usize>().sub(1) = head as usize;
    }
}

fn die(lock: &AtomicU32, tids: [u32; 2], wake: bool) {
    let mark = |word: u32| tids.contains(&(word & TID_MASK)).then_some(word & WAITERS | OWNER_DIED);
    // Release: pairs with the Acquire of the next owner, which sees what the dead one did.
    let Ok(before) = lock.fetch_update(Ordering::Release, Ordering::Relaxed, mark) else { return };
    if wake && before & WAITERS != 0 {
        let args = [std::ptr::from_ref(lock) as usize, libc::FUTEX_WAKE as usize, 1, 0, 0, 0];
        // SAFETY: a wake-up looks at no memory. Robust locks are waited for as shared ones.
        let _ = unsafe { crate::sys::raw(libc::SYS_futex, args) };
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_mutex_tells_where_the_kernel_was_told() {
        let facts = crate::thread_pointer::init(false).expect("the facts");
        let tp = crate::arch::thread_pointer();
        let head = super::head_by_mutex(tp, facts.sizeof_pthread);
        assert_eq!(head.map(|at| tp + at), facts.robust_head(tp));
        assert!(head.is_some(), "no list");
    }
}
