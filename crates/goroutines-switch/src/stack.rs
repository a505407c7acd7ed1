//! Carriers: mappings that hold a stack, a thread block and their owner's header.
//!
//! **The problem.** A million stacks, each guarded, each with its thread block, made in a few
//! microseconds and kept in about a page.
//!
//! **Chosen.** Stacks of one size come from large slabs (one mapping for some 64 MiB of addresses,
//! reserved but not committed). A carrier is one stride of a slab and stays one for the life of the
//! process; what it gives back are pages, never addresses. So a pointer to a header can always be
//! read: when nothing lives there it says so. The first frames, the used static TLS, the thread
//! block and the header share the top page.
//!
//! **Colours.** A stride is a stack plus a guard page: the top pages of neighbours differ in the
//! address bits that choose a cache set, which a power of two as stride would not do.
//!
//! **Invariants.**
//! * S1: carrier `i` of a class lies at `slab(i / n) + (i % n) · stride`; slabs are never unmapped.
//! * S2: a stride that was never made reads as zeroes, its header too.
//! * S3: between the guard and the suspended stack pointer of a carrier nothing is alive.

use crate::switch::{Context, Entry};
use crate::thread_pointer::{self, Tls};
use crate::{arch, guard, sys};
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Bytes for the owner, above the thread block.
pub const HEADER_BYTES: usize = 320;

/// Smallest and largest stack sizes, in bytes (powers of two).
pub const STACK_BYTES: Range<usize> = 16 << 10..(4 << 30) + 1;

const SLAB_BYTES: usize = 64 << 20;
const SLABS: usize = 1 << 16;
const CLASSES: usize = 19;
const TAIL_BYTES: usize = 64;

/// What the crate itself remembers of a carrier, at the very top of it.
#[repr(C)]
struct Tail {
    class: &'static Class,
    tls: Tls,
    /// Where its first frame ends.
    top: usize,
    /// The carrier was run on since its thread-locals were new.
    used: bool,
    /// libc's per-thread start is still to be done.
    fresh: bool,
}
const _: () = assert!(size_of::<Tail>() <= TAIL_BYTES);

/// All carriers of one stack size.
#[derive(Debug)]
pub struct Class {
    stack_bytes: usize,
    per_slab: usize,
    next: AtomicUsize,
    /// A number that was taken and could not be made, plus one.
    unmade: AtomicUsize,
    /// A table of SLABS pointers, mapped at first need.
    slabs: AtomicPtr<AtomicPtr<u8>>,
}

impl Class {
    const fn new(index: usize) -> Self {
        let stack_bytes = STACK_BYTES.start << index;
        let stride = stack_bytes + guard::GUARD_BYTES;
        let per_slab = if stride < SLAB_BYTES { SLAB_BYTES / stride } else { 1 };
        Self {
            stack_bytes,
            per_slab,
            next: AtomicUsize::new(0),
            unmade: AtomicUsize::new(0),
            slabs: AtomicPtr::new(std::ptr::null_mut()),
        }
    }

    /// The class whose stacks have at least `bytes` (rounded up to a power of two from 16 KiB).
    ///
    /// # Errors
    /// `InvalidInput` above 4 GiB.
    pub fn of(bytes: usize) -> io::Result<&'static Self> {
        let wanted = bytes.max(STACK_BYTES.start);
        if wanted >= STACK_BYTES.end {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a goroutine's stack can have 4 GiB at the most",
            ));
        }
        let index =
            wanted.next_power_of_two().trailing_zeros() - STACK_BYTES.start.trailing_zeros();
        Ok(&CLASS[index as usize])
    }

    /// All classes, small to large.
    pub fn all() -> &'static [Self] {
        &CLASS
    }

    /// Bytes between the guard and the top, thread block included.
    #[must_use]
    pub fn stack_bytes(&self) -> usize {
        self.stack_bytes
    }

    /// A small number for this class.
    #[must_use]
    pub fn index(&self) -> usize {
        (self.stack_bytes / STACK_BYTES.start).trailing_zeros() as usize
    }

    fn stride(&self) -> usize {
        self.stack_bytes + guard::GUARD_BYTES
    }

    /// How many carriers were begun; all their headers can be read.
    pub fn count(&self) -> usize {
        self.next.load(Ordering::Acquire)
    }

    /// The header of carrier `number`; none if its slab is not mapped (yet).
    #[must_use]
    pub fn header(&self, number: usize) -> Option<NonNull<u8>> {
        let slab = self.table()?.get(number / self.per_slab)?.load(Ordering::Acquire);
        let base = NonNull::new(slab)?.as_ptr() as usize + number % self.per_slab * self.stride();
        NonNull::new((base + self.stride() - TAIL_BYTES - HEADER_BYTES) as *mut u8)
    }

    /// Makes a new carrier, with its guard and its thread block.
    ///
    /// Allocates (the thread's dynamic vector, from `malloc`).
    ///
    /// # Errors
    /// The kernel's, where memory, addresses or mappings are used up.
    pub fn make(&'static self) -> io::Result<Carrier> {
        let number = match self.unmade.swap(0, Ordering::Relaxed) {
            0 => self.next.fetch_add(1, Ordering::AcqRel),
            n => n - 1,
        };
        let made = self.make_number(number);
        if made.is_err() {
            self.unmade.store(number + 1, Ordering::Relaxed);
        }
        made
    }

    fn make_number(&'static self, number: usize) -> io::Result<Carrier> {
        let base =
            self.slab(number / self.per_slab)? as usize + number % self.per_slab * self.stride();
        // SAFETY: S1: this stride is this number's, and nobody has it yet.
        unsafe { guard::install(base as *mut u8)? };
        let tail = (base + self.stride() - TAIL_BYTES) as *mut Tail;
        let header = tail as usize - HEADER_BYTES;
        let f = thread_pointer::facts();
        let tp = (header - f.sizeof_pthread) & !(f.align - 1);
        // SAFETY: within the stride; zeroed (S2); aligned just above.
        unsafe {
            let low = base + guard::GUARD_BYTES;
            let tls = thread_pointer::make_tls(tp, low..tp)?;
            let top = (tp - f.static_bytes) & !15;
            tail.write(Tail { class: self, tls, top, used: false, fresh: true });
            Ok(Carrier { header: NonNull::new_unchecked(header as *mut u8) })
        }
    }

    fn table(&self) -> Option<&'static [AtomicPtr<u8>]> {
        let table = NonNull::new(self.slabs.load(Ordering::Acquire))?;
        // SAFETY: make_table stored a mapping of SLABS pointers that is never unmapped.
        Some(unsafe { std::slice::from_raw_parts(table.as_ptr(), SLABS) })
    }

    #[cold]
    fn make_table(&self) -> io::Result<&'static [AtomicPtr<u8>]> {
        let bytes = SLABS * size_of::<usize>();
        let new: *mut AtomicPtr<u8> = sys::map(bytes)?.cast();
        let null = std::ptr::null_mut();
        // Release: zeroed memory is SLABS null pointers; pairs with `table`.
        if self.slabs.compare_exchange(null, new, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: ours, and nobody saw it.
            unsafe { sys::unmap(new.cast(), bytes) };
        }
        self.table().ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// The slab `index`, mapped if need be.
    fn slab(&self, index: usize) -> io::Result<*mut u8> {
        let slabs = self.table().map_or_else(|| self.make_table(), Ok)?;
        let Some(slot) = slabs.get(index) else {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "too many stacks of this size"));
        };
        let there = slot.load(Ordering::Acquire);
        if !there.is_null() {
            return Ok(there);
        }
        let bytes = self.per_slab * self.stride();
        let new = sys::map(bytes)?;
        // SAFETY: our new mapping. Kernels without huge pages answer EINVAL.
        let _ = unsafe { sys::madvise(new, bytes, libc::MADV_NOHUGEPAGE) };
        if thread_pointer::facts().executable_stacks {
            let bits = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
            // SAFETY: our new mapping. Where it is refused, stacks are as they are elsewhere.
            let _ = unsafe {
                sys::raw(libc::SYS_mprotect, [new as usize, bytes, bits as usize, 0, 0, 0])
            };
        }
        // Release: pairs with the Acquire loads; zeroed contents are the kernel's anyway.
        let won =
            slot.compare_exchange(std::ptr::null_mut(), new, Ordering::AcqRel, Ordering::Acquire);
        match won {
            Ok(_) => Ok(new),
            Err(other) => {
                // SAFETY: nobody saw it.
                unsafe { sys::unmap(new, bytes) };
                Ok(other)
            }
        }
    }
}

static CLASS: [Class; CLASSES] = {
    let mut classes = [const { Class::new(0) }; CLASSES];
    let mut i = 0;
    while i < CLASSES {
        classes[i] = Class::new(i);
        i += 1;
    }
    classes
};

/// One stack with its thread block; a handle, as cheap as a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carrier {
    header: NonNull<u8>,
}

impl Carrier {
    /// The carrier of a header.
    ///
    /// # Safety
    /// * `header` is that of a carrier that [`Class::make`] has returned.
    #[must_use]
    pub unsafe fn of_header(header: NonNull<u8>) -> Self {
        Self { header }
    }

    /// [`HEADER_BYTES`] for the owner, zeroed at first and never touched by this crate; 64-aligned.
    #[must_use]
    pub fn header(self) -> NonNull<u8> {
        self.header
    }

    fn tail(self) -> *mut Tail {
        self.header.as_ptr().wrapping_add(HEADER_BYTES).cast()
    }

    /// The class it belongs to.
    #[must_use]
    pub fn class(self) -> &'static Class {
        // SAFETY: make_number wrote the tail.
        unsafe { (*self.tail()).class }
    }

    /// The addresses between the guard and the thread block.
    #[must_use]
    pub fn stack(self) -> Range<usize> {
        // SAFETY: make_number wrote the tail.
        let tail = unsafe { &*self.tail() };
        let low = self.tail() as usize + TAIL_BYTES - tail.class.stack_bytes;
        low..tail.tls.tp - thread_pointer::facts().static_bytes
    }

    /// The thread pointer that code on it sees.
    #[must_use]
    pub fn thread_pointer(self) -> usize {
        // SAFETY: make_number wrote the tail.
        unsafe { (*self.tail()).tls.tp }
    }

    /// Whether thread-locals of the flow before are still allocated, which [`clean`](Self::clean)
    /// frees.
    #[inline]
    #[must_use]
    pub fn needs_cleaning(self) -> bool {
        // SAFETY: a block that was made; the vector is asked about while nothing runs on it, or by
        // the flow on it.
        unsafe { thread_pointer::has_dynamic(self.thread_pointer()) }
    }

    /// Frees thread-locals that the flow before has had allocated. Calls `free`.
    ///
    /// # Safety
    /// * Nothing runs on the carrier.
    pub unsafe fn clean(self) {
        // SAFETY: the caller's promise.
        unsafe { thread_pointer::free_dynamic(self.thread_pointer()) };
    }

    /// Lays out a first frame that will call `entry`, with a floating-point environment of
    /// [`float_words`](crate::float_words). Thread-locals are those of a new thread afterwards.
    ///
    /// # Safety
    /// * Nothing runs on the carrier, and nothing will run on it again but what this sets up.
    #[inline]
    pub unsafe fn prepare(self, entry: Entry, float: u64) -> Context {
        // SAFETY: the tail was written; nothing runs here (caller).
        let tail = unsafe { &mut *self.tail() };
        if tail.used {
            // SAFETY: nothing runs on it.
            unsafe { thread_pointer::reset_tls(tail.tls) };
        }
        tail.used = true;
        // SAFETY: 16-aligned, and S3: all below is dead.
        let sp =
            unsafe { arch::init_frame(tail.top as *mut u8, entry, self.header.as_ptr(), float) };
        Context::new(sp, tail.tls.tp)
    }

    /// To be called on the carrier when it begins to run: libc's part of a thread's start.
    ///
    /// # Safety
    /// * The calling flow runs on this carrier.
    #[inline]
    pub unsafe fn start(self) {
        // SAFETY: the tail was written, and only the flow on the carrier is here.
        let tail = unsafe { &mut *self.tail() };
        if std::mem::replace(&mut tail.fresh, false) {
            thread_pointer::start();
        }
    }

    /// Gives the pages of the dead part of the stack back to the kernel: all below `alive_from`
    /// (an address of this stack), but for the page that holds it.
    ///
    /// # Safety
    /// * Nothing runs on the carrier meanwhile, and nothing below `alive_from` is needed.
    pub unsafe fn drop_pages(self, alive_from: usize) {
        let low = self.stack().start;
        let to = alive_from & !4095;
        if to > low {
            // SAFETY: S3. Guard markers survive MADV_DONTNEED.
            let _ = unsafe { sys::madvise(low as *mut u8, to - low, libc::MADV_DONTNEED) };
        }
    }
}
