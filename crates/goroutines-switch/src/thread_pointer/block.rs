//! A carrier's thread block: made, and made anew for the next goroutine.
//!
//! **The problem.** Libraries with static TLS are loaded and unloaded at any time, by any code,
//! libc's own too. Each thread must have the initial image under its thread pointer before the
//! library's constructors run, and a carrier that is used again must have it too.
//!
//! **Rejected.** Walking over what is loaded, and copying images: after `dlclose` they are not
//! there; loads by libc itself go unnoticed; what a constructor has done to its thread's values is
//! undone; and a running goroutine's thread-locals are laid out anew behind its back.
//!
//! **Chosen.** ld.so does it all. Carriers are on its list of threads, those whose stacks libc does
//! not own. So it lays out their TLS as it does every thread's, once, before the constructors run.
//! And on that list, in front of the carriers, is a block on which nothing ever runs: the
//! *template*. What a new goroutine begins with is a copy of it.
//!
//! **Invariants.**
//! * B1: a carrier is on the list before its TLS is first laid out: a library that is loaded
//!   meanwhile is seen by ld.so's walk over the list, or when the block is laid out.
//! * B2: the template is the last on libc's list, and carriers are behind it, so libc (which adds
//!   in front) and carriers never write the same links. Carriers are never taken off.
//! * B3: ld.so writes the template before the carriers. So a carrier that equals the template, once
//!   all that was written to it is seen by all, is right: what ld.so writes later, it writes to the
//!   carrier too.
//! * B4: what lies no further under the thread pointer than the program's own TLS was laid out
//!   before `main`, for modules that are never unloaded, and is not written again: it is copied
//!   without a look.

use super::glibc::{FIRST_TID, Facts, facts, generation};
use crate::arch::{copy_and_publish, equal};
use std::io;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

static NEXT_TID: AtomicU32 = AtomicU32::new(FIRST_TID);
static TEMPLATE: OnceLock<Template> = OnceLock::new();

/// The block that new ones are copies of.
#[derive(Debug)]
struct Template {
    tp: usize,
    /// What is copied, and what is zeroed as a whole: bytes under the thread pointer, far to near.
    parts: Vec<Part>,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    from: usize,
    to: usize,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Zeroed,
    /// B4.
    Copied,
    /// B3.
    Compared,
}

/// A carrier's thread block, as its owner remembers it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tls {
    pub(crate) tp: usize,
}

/// Makes the template, once, after the facts are found.
///
/// # Errors
/// `OutOfMemory`.
pub(super) fn make_template() -> io::Result<()> {
    let f = facts();
    if TEMPLATE.get().is_some() {
        return Ok(());
    }
    let below = f.static_bytes.next_multiple_of(4096);
    let memory = crate::sys::map(below + f.sizeof_pthread.next_multiple_of(4096))? as usize;
    let tp = memory + below;
    // SAFETY: a new mapping, zeroed, page-aligned.
    unsafe {
        let node = list_node(f, tp);
        let head = f.stack_user as *mut Node;
        let last = (*head).prev.load(Ordering::Relaxed) as *mut Node;
        node.next.store(head as usize, Ordering::Relaxed);
        node.prev.store(last as usize, Ordering::Relaxed);
        // Release: code that walks the list finds the node's links.
        (*last).next.store(std::ptr::from_ref(node) as usize, Ordering::Release);
        (*head).prev.store(std::ptr::from_ref(node) as usize, Ordering::Release);
        fill(f, tp, 0..0)?;
    }
    let _ = TEMPLATE.set(Template { tp, parts: parts(f) });
    Ok(())
}

/// A link of libc's lists.
#[repr(C)]
struct Node {
    next: AtomicUsize,
    prev: AtomicUsize,
}

unsafe fn list_node(f: &Facts, tp: usize) -> &'static Node {
    // SAFETY: the caller's block, which lives as long as the process.
    unsafe { &*((tp + f.list_at) as *const Node) }
}

/// Puts the block behind the template (B2). Of two calls at once each mends the link back to its
/// own block.
unsafe fn enlist(f: &Facts, tp: usize, template: usize) {
    // SAFETY: blocks that are never freed.
    unsafe {
        let (node, first) = (list_node(f, tp), list_node(f, template));
        let own = std::ptr::from_ref(node) as usize;
        node.prev.store(std::ptr::from_ref(first) as usize, Ordering::Relaxed);
        let mut next = first.next.load(Ordering::Acquire);
        loop {
            node.next.store(next, Ordering::Relaxed);
            // Release: pairs with the loads of code that walks the list, and of the next call that
            // enlists a block.
            match first.next.compare_exchange(next, own, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(now) => next = now,
            }
        }
        (*(next as *const Node)).prev.store(own, Ordering::Release);
    }
}

/// Makes a thread block at `tp`, for the given stack.
///
/// # Safety
/// * `[tp − static_bytes, tp + sizeof_pthread)` is writable, zeroed, and belongs to the caller for
///   ever.
/// * `tp` is aligned to `align`.
pub(crate) unsafe fn make_tls(tp: usize, stack: Range<usize>) -> io::Result<Tls> {
    let f = facts();
    let template = TEMPLATE.get().ok_or(io::ErrorKind::NotFound)?;
    // SAFETY: the caller's block. A block that could not be filled stays on the list: its memory
    // stays.
    unsafe {
        // A read of a page that is not there yet would be a fault of its own.
        (tp as *mut usize).write(tp); // T1
        if list_node(f, tp).next.load(Ordering::Relaxed) == 0 {
            enlist(f, tp, template.tp); // B1
        }
        fill(f, tp, stack)?;
    }
    Ok(Tls { tp })
}

/// All of a block but its place in the list.
///
/// # Safety
/// * As for [`make_tls`].
unsafe fn fill(f: &Facts, tp: usize, stack: Range<usize>) -> io::Result<()> {
    // SAFETY: all offsets below lie in struct pthread (found in `Facts`), which is ours. ld.so
    // writes within the block, and allocates the dynamic vector.
    unsafe {
        if (f.allocate_tls)(tp as *mut std::ffi::c_void).is_null() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let own = crate::arch::thread_pointer() as *const usize;
        let new = tp as *mut usize;
        new.write(tp); // T1
        new.add(2).write(tp);
        new.add(3).cast::<u32>().write(1);
        std::ptr::copy_nonoverlapping(own.add(4), new.add(4), 3);
        let at = |offset: usize| (tp + offset) as *mut usize;
        let tid = NEXT_TID.fetch_add(1, Ordering::Relaxed);
        at(f.tid_at).cast::<u32>().write(tid); // T2
        if let Some(robust) = f.robust_at {
            let from = (own as usize + robust) as *const usize;
            at(robust).write(tp + robust); // head
            at(robust).add(1).write(from.add(1).read()); // futex_offset
            at(robust - 8).write(tp + robust); // prev
        }
        if let Some(stackblock) = f.stackblock_at {
            at(stackblock).write(stack.start);
            at(stackblock).add(1).write(stack.end - stack.start);
        }
        if let Some(rseq) = f.rseq_at {
            const REGISTRATION_FAILED: i32 = -2; // T4
            (tp.wrapping_add_signed(rseq + 4) as *mut i32).write(REGISTRATION_FAILED);
        }
    }
    Ok(())
}

/// What of the static area is made anew: all but libc's own (T5). The large zeroed ends of modules,
/// which only modules have that were there at start and stay, are not copied.
fn parts(f: &Facts) -> Vec<Part> {
    /// More than glibc has room for later.
    const LARGE: usize = 4096;
    // First, as sorting keeps it there before a range that ends at the same place.
    let mut cuts = vec![(f.program_tls..f.program_tls, false)];
    cuts.extend(f.kept_tls.iter().cloned().map(|range| (range, false)));
    for module in f.modules.iter().filter(|m| m.bytes - m.image_bytes >= LARGE) {
        cuts.push((module.below - module.bytes..module.below - module.image_bytes, true));
    }
    cuts.sort_by_key(|(range, _)| std::cmp::Reverse(range.end));
    let mut parts = Vec::new();
    let mut from = f.static_bytes;
    let copied = |from: usize, to: usize| {
        let how = if from <= f.program_tls { How::Copied } else { How::Compared };
        Part { from, to, how }
    };
    for (range, is_zero) in cuts {
        if from > range.end {
            parts.push(copied(from, range.end));
        }
        if is_zero {
            parts.push(Part { from: range.end, to: range.start, how: How::Zeroed });
        }
        from = range.start;
    }
    if from > 0 {
        parts.push(copied(from, 0));
    }
    parts
}

/// Makes the thread-locals of a used block those of a new thread (T5).
///
/// # Safety
/// * The block was made by [`make_tls`], and nothing runs on it.
#[inline]
pub(crate) unsafe fn reset_tls(tls: Tls) {
    let Some(template) = TEMPLATE.get() else { return };
    for part in &template.parts {
        let (to, from) = (tls.tp - part.from, template.tp - part.from);
        let bytes = part.from - part.to;
        // SAFETY: the block's own static TLS, and the template's; nothing runs on either. ld.so may
        // write what is compared meanwhile (B3).
        unsafe {
            match part.how {
                How::Copied => {
                    std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes);
                }
                How::Compared => follow(from as *const u8, to as *mut u8, bytes),
                How::Zeroed => zero(to as *mut u8, bytes),
            }
        }
    }
}

/// Makes `to` equal to `from`, which ld.so may write meanwhile, and `to` after it (B3).
///
/// Mostly it is, and is left alone. A copy is compared once the other processors have seen it: one
/// that ld.so's next write to `to` had overtaken, on its way out of the processor's store buffer,
/// would undo that, and look right here.
///
/// # Safety
/// * Both ranges are valid, and don't overlap.
#[inline]
unsafe fn follow(from: *const u8, to: *mut u8, bytes: usize) {
    // SAFETY: the caller's ranges.
    unsafe {
        while !is_equal(from, to, bytes) {
            copy_and_publish(from, to, bytes);
        }
    }
}

#[inline]
unsafe fn is_equal(from: *const u8, to: *const u8, bytes: usize) -> bool {
    // SAFETY: the caller's ranges.
    unsafe {
        if bytes >= 16 {
            return equal(from, to, bytes);
        }
        (0..bytes).all(|i| to.add(i).read_volatile() == from.add(i).read_volatile())
    }
}

/// Zeroes; large whole pages are dropped, so that a big `thread_local!` array costs what it uses.
///
/// # Safety
/// * The range is writable and ours, in a private anonymous mapping.
unsafe fn zero(start: *mut u8, bytes: usize) {
    const LARGE: usize = 64 * 1024;
    // SAFETY: the caller's range.
    unsafe {
        if bytes < LARGE {
            start.write_bytes(0, bytes);
            return;
        }
        let from = (start as usize).next_multiple_of(4096);
        let to = (start as usize + bytes) & !4095;
        start.write_bytes(0, from - start as usize);
        if crate::sys::madvise(from as *mut u8, to - from, libc::MADV_DONTNEED).is_err() {
            (from as *mut u8).write_bytes(0, to - from);
        }
        (to as *mut u8).write_bytes(0, start as usize + bytes - to);
    }
}

/// An entry of the dynamic vector: the block, and what is to be freed with it.
type Entry = [usize; 2];

const UNALLOCATED: usize = usize::MAX;

/// The entries whose blocks were allocated outside the static area.
///
/// # Safety
/// * A block that was made by [`make_tls`]; its vector does not change meanwhile.
unsafe fn dynamic_entries(f: &Facts, tp: usize) -> impl Iterator<Item = *mut Entry> {
    // SAFETY: dtv[-1] holds the vector's length.
    let (dtv, len) = unsafe {
        let dtv = *(tp as *const *mut Entry).add(1);
        (dtv, (*dtv.sub(1))[0])
    };
    (1..=len).map(move |i| dtv.wrapping_add(i)).filter(move |entry| {
        // SAFETY: within the vector.
        let block = unsafe { (**entry)[0] };
        let is_static = block <= tp && tp - block <= f.static_bytes;
        block != 0 && block != UNALLOCATED && !is_static
    })
}

/// Whether a goroutine that begins on the block would find thread-locals of the goroutine before,
/// which only [`free_dynamic`] clears.
///
/// # Safety
/// * The block was made by [`make_tls`], and nothing runs on it.
#[inline]
pub(crate) unsafe fn has_dynamic(tp: usize) -> bool {
    generation(tp) != facts().clean_generation && finds_dynamic(tp)
}

#[cold]
fn finds_dynamic(tp: usize) -> bool {
    // SAFETY: the block of the caller of `has_dynamic`.
    unsafe { dynamic_entries(facts(), tp).next().is_some() }
}

/// Gives the thread-locals back that were allocated when they were first used, as a thread's end
/// does. Calls `free`.
///
/// # Safety
/// * Nothing runs on the block but the caller.
#[cold]
pub(crate) unsafe fn free_dynamic(tp: usize) {
    // SAFETY: what ld.so itself does when a module has gone: first the entry, as a signal handler
    // may use the thread-local meanwhile.
    unsafe {
        for entry in dynamic_entries(facts(), tp) {
            let to_free = (*entry)[1];
            entry.write_volatile([UNALLOCATED, 0]);
            libc::free(to_free as *mut std::ffi::c_void);
        }
    }
}
