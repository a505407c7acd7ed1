//! Thread control blocks for glibc (2.35 and later).
//!
//! **The problem.** On x86-64 the thread pointer points at glibc's `struct pthread`; below it lies the
//! static TLS of every module loaded at start. glibc makes such blocks for its own threads only, and
//! the struct's layout is private.
//!
//! **Rejected.** Making a real pthread per carrier and stealing its block costs 16 µs and a kernel
//! thread's worth of memory. Copying a layout out of glibc's headers breaks with the next release.
//!
//! **Chosen.** `ld.so` exports what `libc.so` itself makes threads with (`_dl_allocate_tls`,
//! version `GLIBC_PRIVATE`), and `libc.so` exports, for debuggers, a description of the struct
//! (`_thread_db_*`). What neither tells, the kernel does (`get_robust_list`). So no offset is guessed,
//! and a library that lacks one of these is refused at start with a sentence. Seen to work with
//! glibc 2.36, 2.41 and 2.43 (`cargo xtask glibc-matrix`).
//!
//! **Invariants.**
//! * T1: words 0 and 2 of a block hold its own address; words 4–6 (`sysinfo`, stack guard, pointer
//!   guard) are the process's; word 3 says that the process has several threads.
//! * T2: `tid` is unique among carriers and above any kernel thread id (`PID_MAX_LIMIT` is 2²²), and
//!   within `FUTEX_TID_MASK`: recursive and error-checking mutexes compare it. Where the kernel, or another
//!   process, compares it as well, the caller puts the OS thread's there for the call ([`Facts::swap_tid`]).
//! * T3: the list node and the robust list are empty rings, so that `fork`'s child and robust mutexes
//!   may work on them. The kernel knows the robust list only where it is told ([`Facts::robust_head`]);
//!   else `life.rs` does its part.
//! * T4: the rseq area says "not registered"; `sched_getcpu` then asks the kernel.
//! * T5: libc's and ld.so's own TLS survives a reset, and with it the carrier's malloc cache; all
//!   other modules' TLS is as in a new thread.
//!
//! **Compact.** glibc keeps some 1.7 KiB of static TLS free for libraries that are `dlopen`ed later
//! and use the initial-exec model. A carrier lays out only what is used, so that its first frames
//! share a page with its thread block. [`Facts::library_loaded`] finds out when a later library needs
//! that room; `keep_surplus` gives it.

use super::modules::{EXTRA, MODULES, Module, TEXTS, Walk};
use super::probe::Probe;
use super::resolver::Resolver;
use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Thread ids of carriers start here (T2).
const FIRST_TID: u32 = 1 << 29;

/// What was found out about the C library and the loaded modules.
#[derive(Debug)]
pub struct Facts {
    pub(crate) sizeof_pthread: usize,
    tid_at: usize,
    list_at: usize,
    pub(crate) robust_at: Option<usize>,
    pub(super) resolver: Option<Resolver>,
    /// Where the stack's lowest address and its size are noted.
    stackblock_at: Option<usize>,
    pub(crate) specific_used_at: Option<usize>,
    rseq_at: Option<isize>,
    /// Bytes to keep under the thread pointer.
    pub(crate) static_bytes: usize,
    pub(crate) align: usize,
    modules: [Module; MODULES],
    module_count: usize,
    generation: usize,
    dynamic_modules: bool,
    text: [(usize, usize); TEXTS],
    allocate_tls: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    deallocate_tls: unsafe extern "C" fn(*mut c_void, bool),
    pub(crate) call_tls_dtors: unsafe extern "C" fn(),
    libc_tls: Option<(usize, usize)>,
    malloc_in_program: bool,
    /// Where `struct link_map` says how far under the thread pointer a module's TLS lies.
    tls_offset_at: usize,
    used_at_start: usize,
    /// The head of libc's list of threads whose stacks it does not own.
    stack_user: Option<usize>,
}

/// A C library that lacks something that carriers need.
#[derive(Debug, Clone, Copy)]
pub struct Unsupported(pub &'static str);

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "goroutines: this C library has no `{}`; glibc 2.35 or later is needed", self.0)
    }
}

impl std::error::Error for Unsupported {}

impl From<Unsupported> for io::Error {
    fn from(lack: Unsupported) -> Self {
        Self::other(lack)
    }
}

static FACTS: OnceLock<Facts> = OnceLock::new();
static NEXT_TID: AtomicU32 = AtomicU32::new(FIRST_TID);

/// Finds the facts. `keep_surplus` lays carriers out with glibc's reserve for later libraries.
///
/// To be called once before the first carrier is made, on an ordinary thread; later calls return
/// what the first found.
///
/// # Errors
/// [`Unsupported`] where the C library lacks something; the system's, where no thread can be made.
pub fn init(keep_surplus: bool) -> io::Result<&'static Facts> {
    if let Some(facts) = FACTS.get() {
        return Ok(facts);
    }
    crate::arch::init();
    let facts = Facts::find(keep_surplus)?;
    Ok(FACTS.get_or_init(|| facts))
}

/// The facts, after [`init`].
///
/// # Panics
/// Before [`init`].
#[inline]
#[must_use]
pub fn facts() -> &'static Facts {
    FACTS.get().expect("thread_pointer::init comes first")
}

fn symbol(name: &'static CStr) -> Result<*mut c_void, Unsupported> {
    // SAFETY: a NUL-terminated name.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if found.is_null() {
        return Err(Unsupported(name.to_str().unwrap_or("symbol")));
    }
    Ok(found)
}

/// How far under the thread pointer a thread-local of libc's lies.
fn below(name: &'static CStr, tp: usize) -> Option<usize> {
    let at = symbol(name).ok()? as usize;
    let below = tp.wrapping_sub(at);
    (below <= 1 << 20).then_some(below)
}

/// The offset in a `_thread_db_*` field descriptor: `{ bits, count, offset }`.
fn field(name: &'static CStr) -> Result<usize, Unsupported> {
    let at = symbol(name)?.cast::<[u32; 3]>();
    // SAFETY: libthread_db's DB_DESC format, three 32-bit words, fixed since glibc 2.3.3.
    Ok(unsafe { at.read() }[2] as usize)
}

/// The word at a `_thread_db_sizeof_*` symbol.
fn size(name: &'static CStr) -> Result<usize, Unsupported> {
    // SAFETY: libthread_db reads these as 32-bit words.
    Ok(unsafe { symbol(name)?.cast::<u32>().read() } as usize)
}

/// The generation counter at the head of the running thread's dynamic thread vector.
fn generation(tp: usize) -> usize {
    // SAFETY: T1's struct: word 1 is the vector, whose entry 0 begins with the counter.
    unsafe { *(*(tp as *const *const usize).add(1)) }
}

/// The offset of the robust list's head in `struct pthread`; the kernel was told where it is.
fn robust_offset(tp: usize, sizeof_pthread: usize) -> Option<usize> {
    let (mut head, mut len) = (0usize, 0usize);
    let args = [0, &raw mut head as usize, &raw mut len as usize, 0, 0, 0];
    // SAFETY: two words to write.
    let got = unsafe { crate::sys::raw(libc::SYS_get_robust_list, args) };
    let at = head.wrapping_sub(tp);
    (got == 0 && at < sizeof_pthread && at >= 8).then_some(at)
}

impl Facts {
    /// The kernel's id of a thread of libc's; 0 if it has ended.
    ///
    /// # Safety
    /// * `thread` is a `pthread_t` that may be joined.
    #[must_use]
    pub unsafe fn tid_of(&self, thread: usize) -> i32 {
        let at = (thread + self.tid_at) as *const AtomicU32;
        // SAFETY: the thread block of a thread that was not joined; the kernel clears the word at its end.
        unsafe { (*at).load(Ordering::Acquire) as i32 }
    }

    /// The id that libc knows the block at `tp` by.
    ///
    /// # Safety
    /// * A block of libc's layout.
    pub(super) unsafe fn tid_in(&self, tp: usize) -> u32 {
        // SAFETY: the caller's block.
        unsafe { *((tp + self.tid_at) as *const u32) }
    }

    /// Exchanges the thread id in the block at `tp`. What libc does on it meanwhile it does as that thread (T2).
    ///
    /// # Safety
    /// * `tp` is the thread pointer of a carrier, and the caller runs on it.
    pub unsafe fn swap_tid(&self, tp: usize, tid: u32) -> u32 {
        // SAFETY: a field of struct pthread, in a block that is the caller's.
        unsafe { std::ptr::replace((tp + self.tid_at) as *mut u32, tid) }
    }

    /// Where the block at `tp` has the head of its list of robust mutexes; none where it was not found.
    #[must_use]
    pub fn robust_head(&self, tp: usize) -> Option<usize> {
        Some(tp + self.robust_at?)
    }

    fn find(keep_surplus: bool) -> io::Result<Self> {
        let tp = crate::arch::thread_pointer();
        let sizeof_pthread = size(c"_thread_db_sizeof_pthread")?;
        let allocate = symbol(c"_dl_allocate_tls")?;
        let (full, align) = static_info(symbol(c"_dl_get_tls_static_info")?);
        let malloc = symbol(c"malloc")?;
        let marks = [symbol(c"getpid")? as usize, allocate as usize, malloc as usize];
        let walk = Walk::run(tp, full, marks);
        if walk.overflow {
            return Err(
                Unsupported("room for more than 32 modules with thread-local storage").into()
            );
        }
        let rseq_at = rseq_offset();
        let extra = rseq_at.map_or(0, |at| at.min(0).unsigned_abs());
        let used = walk.used.max(extra).next_multiple_of(64);
        let probe = Probe::ask(sizeof_pthread, full)?;
        let specific = field(c"_thread_db_pthread_specific")?;
        let report_events = field(c"_thread_db_pthread_report_events")?;
        // Between the two stands `bool specific_used`, right behind 32 pointers.
        let specific_used_at = (report_events == specific + 257).then_some(specific + 256);
        // SAFETY: functions of ld.so and libc with these signatures since glibc 2.26 at least.
        let (allocate_tls, deallocate_tls, call_tls_dtors) = unsafe {
            (
                std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void) -> *mut c_void>(
                    allocate,
                ),
                std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void, bool)>(
                    symbol(c"_dl_deallocate_tls")?,
                ),
                std::mem::transmute::<*mut c_void, unsafe extern "C" fn()>(symbol(
                    c"__call_tls_dtors",
                )?),
            )
        };
        let none = Module { below: 0, image: 0, image_bytes: 0, bytes: 0 };
        Ok(Self {
            sizeof_pthread,
            tid_at: field(c"_thread_db_pthread_tid")?,
            list_at: field(c"_thread_db_pthread_list")?,
            robust_at: robust_offset(tp, sizeof_pthread),
            resolver: Resolver::new(probe, below(c"__resp", tp), sizeof_pthread),
            stackblock_at: probe.stackblock,
            specific_used_at,
            rseq_at,
            static_bytes: if keep_surplus { full - sizeof_pthread.min(full) } else { used },
            align: align.max(64),
            modules: walk.modules.map(|m| m.unwrap_or(none)),
            module_count: walk.count,
            generation: generation(tp),
            dynamic_modules: walk.dynamic,
            text: walk.text,
            allocate_tls,
            deallocate_tls,
            call_tls_dtors,
            libc_tls: walk.libc_tls,
            malloc_in_program: walk.malloc_in_program,
            tls_offset_at: field(c"_thread_db_link_map_l_tls_offset")?,
            used_at_start: walk.used,
            stack_user: stack_user(),
        })
    }

    /// Has the kernel keep the calling thread's rseq area in the block `to` instead of in `from`. Does nothing
    /// where the area in `from` is not registered.
    ///
    /// # Safety
    /// * Both are blocks of libc's layout, and no other thread has its area in `to`.
    pub unsafe fn move_rseq(&self, from: usize, to: usize) {
        const SIGNATURE: usize = 0x5305_3053;
        const UNREGISTER: usize = 1;
        const REGISTRATION_FAILED: i32 = -2; // T4
        let Some(at) = self.rseq_at else { return };
        let (from, to) = (from.wrapping_add_signed(at), to.wrapping_add_signed(at));
        // SAFETY: the areas: the CPU's number twice, a pointer, flags.
        unsafe {
            if (from as *const i32).add(1).read_volatile() < 0 {
                return;
            }
            // The length it was registered with is private, and the kernel takes no other.
            static BYTES: AtomicUsize = AtomicUsize::new(32);
            let known = BYTES.load(Ordering::Relaxed);
            for bytes in std::iter::once(known).chain((32..=256).step_by(4)) {
                let rseq = |at: usize, flags: usize| {
                    crate::sys::raw(libc::SYS_rseq, [at, bytes, flags, SIGNATURE, 0, 0])
                };
                if rseq(from, UNREGISTER) != 0 {
                    continue;
                }
                BYTES.store(bytes, Ordering::Relaxed);
                (from as *mut i32).add(1).write_volatile(REGISTRATION_FAILED);
                (to as *mut u8).write_bytes(0, bytes);
                (to as *mut i32).add(1).write_volatile(-1);
                if rseq(to, 0) != 0 {
                    (to as *mut i32).add(1).write_volatile(REGISTRATION_FAILED);
                }
                return;
            }
        }
    }

    /// In the only thread of a forked child, which runs on the carrier's block `tp`: puts it where libc has the
    /// first thread's.
    ///
    /// `fork` has taken it for a thread whose stack is libc's own. The next fork, of another thread, would put it
    /// into the cache of free stacks, and libc aborts when it can't unmap it.
    ///
    /// # Safety
    /// * As above.
    pub unsafe fn adopt(&self, tp: usize) {
        let Some(head) = self.stack_user else { return };
        let node = (tp + self.list_at) as *mut [usize; 2]; // next, prev
        // SAFETY: libc's lists; there is no other thread.
        unsafe {
            let [next, prev] = node.read();
            (*(next as *mut [usize; 2]))[1] = prev;
            (*(prev as *mut [usize; 2]))[0] = next;
            let first = (*(head as *mut [usize; 2]))[0];
            node.write([first, head]);
            (*(first as *mut [usize; 2]))[1] = node as usize;
            (*(head as *mut [usize; 2]))[0] = node as usize;
        }
    }

    /// Whether `pc` lies in the text of libc, ld.so, or a shared library that provides `malloc`.
    ///
    /// Whoever is stopped there may hold a lock that the next allocation of anyone needs.
    #[inline]
    #[must_use]
    pub fn in_libc(&self, pc: usize) -> bool {
        self.text.iter().any(|&(from, to)| from <= pc && pc < to)
    }

    /// Whether `malloc` is the program's own (an allocator linked into it): then [`in_libc`](Self::in_libc)
    /// does not know its code from the rest of the program.
    #[must_use]
    pub fn malloc_in_program(&self) -> bool {
        self.malloc_in_program
    }

    /// Bytes of static TLS that carriers have room for.
    #[must_use]
    pub fn static_tls_bytes(&self) -> usize {
        self.static_bytes
    }

    /// To be called after a library was loaded, with its handle: gives the static TLS of all that came
    /// with it to the carriers there are, and to those that are used again.
    ///
    /// # Errors
    /// The number of bytes under the thread pointer that it needs, where carriers have less.
    ///
    /// # Safety
    /// * `handle` is of `dlopen`, which is not running on another thread now.
    pub unsafe fn library_loaded(&self, handle: *mut c_void) -> Result<(), usize> {
        // SAFETY: glibc's handles are link maps, which begin with these five words; what is loaded is
        // appended to their list.
        let mut map = handle.cast::<usize>().cast_const();
        while !map.is_null() {
            // SAFETY: as above; the offset of l_tls_offset is libthread_db's.
            let (base, below, next) = unsafe {
                let below = *map.cast::<u8>().add(self.tls_offset_at).cast::<usize>();
                (*map, below, *map.add(3) as *const usize)
            };
            let is_static = below != 0 && below < usize::MAX / 2;
            let is_known = below <= self.used_at_start || EXTRA.is_known(below);
            if is_static && !is_known {
                if below > self.static_bytes {
                    return Err(below);
                }
                if let Some(module) = Walk::tls_of(base, below) {
                    EXTRA.add(module);
                    // SAFETY: carriers keep these bytes free, and nobody uses the library yet.
                    crate::stack::each_thread_pointer(|tp| unsafe { module.renew(tp) });
                }
            }
            map = next;
        }
        Ok(())
    }

    /// Whether the thread pointer is written by an instruction rather than a system call.
    #[must_use]
    pub fn has_fsgsbase(&self) -> bool {
        crate::arch::has_fsgsbase()
    }
}

fn static_info(f: *mut c_void) -> (usize, usize) {
    let (mut bytes, mut align) = (0usize, 0usize);
    // SAFETY: void _dl_get_tls_static_info (size_t *sizep, size_t *alignp).
    unsafe {
        let f: unsafe extern "C" fn(*mut usize, *mut usize) = std::mem::transmute(f);
        f(&raw mut bytes, &raw mut align);
    }
    (bytes, align)
}

/// Where the rseq area lies from the thread pointer (public since glibc 2.35); none if size is 0.
fn rseq_offset() -> Option<isize> {
    let offset = symbol(c"__rseq_offset").ok()?;
    // SAFETY: `extern const ptrdiff_t __rseq_offset` (<sys/rseq.h>).
    Some(unsafe { offset.cast::<isize>().read() })
}

/// `_dl_stack_user` of ld.so, whose place libc tells debuggers (since glibc 2.34).
fn stack_user() -> Option<usize> {
    let offset = field(c"_thread_db_rtld_global__dl_stack_user").ok()?;
    Some(symbol(c"_rtld_global").ok()? as usize + offset)
}

/// A carrier's thread block, as its owner remembers it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tls {
    pub(crate) tp: usize,
    generation: usize,
}

/// Makes a thread block at `tp`, for the given stack.
///
/// # Safety
/// * `[tp − static_bytes, tp + sizeof_pthread)` is writable, zeroed, and belongs to the caller for ever.
/// * `tp` is aligned to `align`.
pub(crate) unsafe fn make_tls(tp: usize, stack: Range<usize>) -> std::io::Result<Tls> {
    let f = facts();
    // SAFETY: the caller's memory; ld.so writes within it and allocates the dynamic vector.
    if unsafe { (f.allocate_tls)(tp as *mut c_void) }.is_null() {
        return Err(std::io::ErrorKind::OutOfMemory.into());
    }
    // SAFETY: all offsets below lie in struct pthread (found above), which is ours.
    unsafe {
        let own = crate::arch::thread_pointer() as *const usize;
        let new = tp as *mut usize;
        new.write(tp); // T1
        new.add(2).write(tp);
        new.add(3).cast::<u32>().write(1);
        std::ptr::copy_nonoverlapping(own.add(4), new.add(4), 3);
        let at = |offset: usize| (tp + offset) as *mut usize;
        let tid = NEXT_TID.fetch_add(1, Ordering::Relaxed);
        at(f.tid_at).cast::<u32>().write(tid); // T2
        at(f.list_at).write(tp + f.list_at); // T3
        at(f.list_at).add(1).write(tp + f.list_at);
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
    Ok(Tls { tp, generation: generation(tp) })
}

/// Makes the thread-locals of a used block those of a new thread (T5).
///
/// # Safety
/// * The block was made by [`make_tls`], and nothing runs on it.
pub(crate) unsafe fn reset_tls(tls: &mut Tls) {
    let f = facts();
    let clean = !f.dynamic_modules && tls.generation == f.generation;
    // SAFETY: the block's own vector and static TLS; nothing runs on it.
    unsafe {
        if !(clean && generation(tls.tp) == f.generation) && has_dynamic_blocks(tls.tp) {
            remake(tls);
            return;
        }
        for m in f.modules[..f.module_count].iter().chain(EXTRA.iter()) {
            m.renew(tls.tp);
        }
    }
}

/// Whether a module's TLS was allocated outside the static area for this block.
///
/// # Safety
/// * As for [`reset_tls`].
unsafe fn has_dynamic_blocks(tp: usize) -> bool {
    const UNALLOCATED: usize = usize::MAX;
    // SAFETY: dtv[-1] holds the vector's length; entries are two words, the first the block.
    unsafe {
        let dtv = *(tp as *const *const [usize; 2]).add(1);
        let len = (*dtv.sub(1))[0];
        (1..=len).any(|i| {
            let block = (*dtv.add(i))[0];
            let is_static = block <= tp && tp - block <= 1 << 20;
            block != 0 && block != UNALLOCATED && !is_static
        })
    }
}

/// Gives the dynamic blocks back and makes the block anew, keeping libc's own TLS (T5).
///
/// # Safety
/// * As for [`reset_tls`].
#[cold]
unsafe fn remake(tls: &mut Tls) {
    let f = facts();
    let mut saved = [0u8; 512];
    let libc_tls = f.libc_tls.filter(|(_, bytes)| *bytes <= saved.len());
    // SAFETY: as in make_tls; struct pthread's fields are not touched by either call.
    unsafe {
        if let Some((below, bytes)) = libc_tls {
            std::ptr::copy_nonoverlapping((tls.tp - below) as *const u8, saved.as_mut_ptr(), bytes);
        }
        (f.deallocate_tls)(tls.tp as *mut c_void, false);
        (tls.tp as *mut u8).sub(f.static_bytes).write_bytes(0, f.static_bytes);
        let made = (f.allocate_tls)(tls.tp as *mut c_void);
        assert!(!made.is_null(), "no memory for a thread's dynamic vector");
        if let Some((below, bytes)) = libc_tls {
            std::ptr::copy_nonoverlapping(saved.as_ptr(), (tls.tp - below) as *mut u8, bytes);
        }
    }
    tls.generation = generation(tls.tp);
}

/// Fills `attr` for the carrier whose usable stack is `stack`, as `pthread_getattr_np` would.
///
/// # Safety
/// * `attr` is valid for writes.
pub unsafe fn pthread_getattr(attr: *mut libc::pthread_attr_t, stack: Range<usize>) -> c_int {
    // SAFETY: attr is the caller's; the stack range is the carrier's.
    unsafe {
        match libc::pthread_attr_init(attr) {
            0 => {}
            e => return e,
        }
        libc::pthread_attr_setguardsize(attr, crate::guard::GUARD_BYTES);
        libc::pthread_attr_setstack(attr, stack.start as *mut c_void, stack.end - stack.start)
    }
}
