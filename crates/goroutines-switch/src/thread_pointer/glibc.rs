//! Thread control blocks for glibc (2.35 and later).
//!
//! **The problem.** On x86-64 the thread pointer points at glibc's `struct pthread`; below it lies
//! the static TLS of every module loaded at start. glibc makes such blocks for its own threads
//! only, and the struct's layout is private.
//!
//! **Rejected.** Making a real pthread per carrier and stealing its block costs 16 µs and a kernel
//! thread's worth of memory. Copying a layout out of glibc's headers breaks with the next release.
//!
//! **Chosen.** `ld.so` exports what `libc.so` itself makes threads with (`_dl_allocate_tls`,
//! version `GLIBC_PRIVATE`), and `libc.so` exports, for debuggers, a description of the struct
//! (`_thread_db_*`). What neither tells, the kernel does (`get_robust_list`). So no offset is
//! guessed, and a library that lacks one of these is refused at start with a sentence. Seen to work
//! with glibc 2.36, 2.41 and 2.43 (`cargo xtask glibc-matrix`).
//!
//! **Invariants.**
//! * T1: words 0 and 2 of a block hold its own address; words 4–6 (`sysinfo`, stack guard, pointer
//!   guard) are the process's; word 3 says that the process has several threads.
//! * T2: `tid` is unique among carriers and above any kernel thread id (`PID_MAX_LIMIT` is 2²²),
//!   and within `FUTEX_TID_MASK`: recursive and error-checking mutexes compare it. Where the
//!   kernel, or another process, compares it as well, the caller puts the OS thread's there for the
//!   call ([`Facts::swap_tid`]).
//! * T3: a block is on libc's list of threads whose stacks it does not own (`block.rs`), and its
//!   list of robust mutexes is an empty ring. The kernel knows the latter only where it is told
//!   ([`Facts::robust_head`]); else `life.rs` does the kernel's part.
//! * T4: the rseq area says "not registered"; `sched_getcpu` then asks the kernel.
//! * T5: libc's and ld.so's own TLS survives a reset, and with it the carrier's malloc cache; all
//!   other modules' TLS is as in a new thread.
//!
//! **Compact.** glibc keeps some 1.7 KiB of static TLS free for libraries that are loaded later. A
//! carrier lays out only what is used, so that its first frames share a page with its thread block;
//! `room.rs` sees to it that libraries get no more. `keep_surplus` keeps all.

use super::modules::{Module, TEXTS, Walk};
use super::probe::Probe;
use super::quiet::Quiet;
use super::resolver::Resolver;
use super::room;
use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Thread ids of carriers start here (T2).
pub(super) const FIRST_TID: u32 = 1 << 29;

/// What was found out about the C library and the loaded modules.
#[derive(Debug)]
pub struct Facts {
    pub(crate) sizeof_pthread: usize,
    pub(super) tid_at: usize,
    pub(super) list_at: usize,
    pub(crate) robust_at: Option<usize>,
    pub(super) resolver: Option<Resolver>,
    /// Where the stack's lowest address and its size are noted.
    pub(super) stackblock_at: Option<usize>,
    /// See [`Probe`].
    pub(super) cancel_at: Option<[usize; 2]>,
    pub(super) dlerror_at: Option<usize>,
    pub(crate) specific_used_at: Option<usize>,
    pub(super) rseq_at: Option<isize>,
    /// Bytes to keep under the thread pointer.
    pub(crate) static_bytes: usize,
    pub(crate) align: usize,
    /// The modules with static TLS, but for libc's and ld.so's own (T5).
    pub(super) modules: Vec<Module>,
    /// Where libc's and ld.so's own TLS lies: bytes under the thread pointer.
    pub(super) kept_tls: Vec<Range<usize>>,
    /// How far under the thread pointer the program's own TLS begins.
    pub(super) program_tls: usize,
    /// The generation of the modules with TLS at start, if none of them has dynamic TLS: a thread
    /// of that generation has none allocated. Else a number that no generation has.
    pub(super) clean_generation: usize,
    pub(super) quiet: Option<Quiet>,
    text: [(usize, usize); TEXTS],
    pub(super) allocate_tls: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    pub(crate) call_tls_dtors: unsafe extern "C" fn(),
    malloc_in_program: bool,
    /// Whether libc's own threads have stacks that can be executed.
    pub(crate) executable_stacks: bool,
    /// The head of libc's list of threads whose stacks it does not own.
    pub(super) stack_user: usize,
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

/// Finds the facts. `keep_surplus` lays carriers out with glibc's reserve for later libraries.
///
/// To be called once before the first carrier is made, on an ordinary thread; later calls return
/// what the first found.
///
/// # Errors
/// [`Unsupported`] where the C library lacks something; the system's, where no thread can be made.
pub fn init(keep_surplus: bool) -> io::Result<&'static Facts> {
    if FACTS.get().is_none() {
        crate::arch::init();
        let facts = Facts::find(keep_surplus)?;
        let _ = FACTS.set(facts);
    }
    super::block::make_template()?;
    Ok(facts())
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

pub(super) fn symbol(name: &'static CStr) -> Result<*mut c_void, Unsupported> {
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
pub(super) fn field(name: &'static CStr) -> Result<usize, Unsupported> {
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
pub(super) fn generation(tp: usize) -> usize {
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
    if got != 0 {
        return super::robust::head_by_mutex(tp, sizeof_pthread); // A sandbox refuses it.
    }
    (at < sizeof_pthread && at >= 8).then_some(at)
}

impl Facts {
    /// The kernel's id of a thread of libc's; 0 if it has ended.
    ///
    /// # Safety
    /// * `thread` is a `pthread_t` that may be joined.
    #[must_use]
    pub unsafe fn tid_of(&self, thread: usize) -> i32 {
        let at = (thread + self.tid_at) as *const AtomicU32;
        // SAFETY: the thread block of a thread that was not joined; the kernel clears the word at
        // its end.
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

    /// Exchanges the thread id in the block at `tp`. What libc does on the block meanwhile it does
    /// as that thread (T2).
    ///
    /// # Safety
    /// * `tp` is the thread pointer of a carrier, and the caller runs on it.
    pub unsafe fn swap_tid(&self, tp: usize, tid: u32) -> u32 {
        // SAFETY: a field of struct pthread, in a block that is the caller's.
        unsafe { std::ptr::replace((tp + self.tid_at) as *mut u32, tid) }
    }

    /// Where the block at `tp` has the head of its list of robust mutexes; none where it was not
    /// found.
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
        let rseq_at = rseq_offset();
        let extra = rseq_at.map_or(0, |at| at.min(0).unsigned_abs());
        let used = walk.used.max(extra);
        let all = full - sizeof_pthread.min(full);
        let room = if keep_surplus { None } else { room::limit(full, used, sizeof_pthread) };
        let probe = Probe::ask(sizeof_pthread, full, walk.used)?;
        let specific = field(c"_thread_db_pthread_specific")?;
        let report_events = field(c"_thread_db_pthread_report_events")?;
        // Between the two stands `bool specific_used`, right behind 32 pointers.
        let specific_used_at = (report_events == specific + 257).then_some(specific + 256);
        // SAFETY: functions of ld.so and libc with these signatures since glibc 2.26 at least.
        let (allocate_tls, call_tls_dtors) = unsafe {
            (
                std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_void) -> *mut c_void>(
                    allocate,
                ),
                std::mem::transmute::<*mut c_void, unsafe extern "C" fn()>(symbol(
                    c"__call_tls_dtors",
                )?),
            )
        };
        let clean_generation = if walk.dynamic { usize::MAX } else { generation(tp) };
        Ok(Self {
            sizeof_pthread,
            tid_at: field(c"_thread_db_pthread_tid")?,
            list_at: field(c"_thread_db_pthread_list")?,
            robust_at: robust_offset(tp, sizeof_pthread),
            resolver: Resolver::new(probe, below(c"__resp", tp), sizeof_pthread),
            stackblock_at: probe.stackblock,
            cancel_at: probe.cancel,
            dlerror_at: probe.dlerror,
            specific_used_at,
            rseq_at,
            static_bytes: room.unwrap_or(all),
            align: align.max(64),
            modules: walk.modules,
            kept_tls: walk.kept,
            program_tls: walk.program_tls,
            clean_generation,
            quiet: Quiet::new(&probe, specific_used_at, clean_generation),
            text: walk.text,
            allocate_tls,
            call_tls_dtors,
            malloc_in_program: walk.malloc_in_program,
            executable_stacks: walk.executable_stacks,
            stack_user: stack_user()?,
        })
    }

    /// Has the kernel keep the calling thread's rseq area in the block `to` instead of in `from`.
    /// Does nothing where the area in `from` is not registered.
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

    /// Where the block `tp` says which CPU the kernel has written to its rseq area; negative: it
    /// writes none.
    fn rseq_cpu(&self, tp: usize) -> Option<*mut i32> {
        Some((tp.wrapping_add_signed(self.rseq_at?) as *mut i32).wrapping_add(1))
    }

    /// Whether the kernel keeps an rseq area in the block `tp`.
    ///
    /// # Safety
    /// * A block of libc's layout.
    #[must_use]
    pub unsafe fn has_rseq(&self, tp: usize) -> bool {
        // SAFETY: the area's second word.
        self.rseq_cpu(tp).is_some_and(|cpu| unsafe { cpu.read_volatile() } >= 0)
    }

    /// Calls `make`, which makes a thread. libc has that register an rseq area where its maker's is
    /// registered, so the maker's block `tp`, a carrier's, says so meanwhile.
    ///
    /// # Safety
    /// * The calling carrier's block, while its OS thread has an area.
    pub unsafe fn making_threads<R>(&self, tp: usize, make: impl FnOnce() -> R) -> R {
        let Some(cpu) = self.rseq_cpu(tp) else { return make() };
        // SAFETY: the area's second word; the kernel does not write it (T4).
        unsafe {
            let before = cpu.read_volatile();
            cpu.write_volatile(before.max(0));
            let made = make();
            cpu.write_volatile(before);
            made
        }
    }

    /// In the only thread of a forked child, which runs on the carrier's block `tp`: puts it where
    /// libc has the first thread's.
    ///
    /// `fork` has taken it for a thread whose stack is libc's own. The next fork, of another
    /// thread, would put it into the cache of free stacks, and libc aborts when it can't unmap it.
    ///
    /// # Safety
    /// * As above.
    pub unsafe fn adopt(&self, tp: usize) {
        let head = self.stack_user;
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
    /// A goroutine that is stopped there may hold a lock that the next allocation on any thread
    /// needs.
    #[inline]
    #[must_use]
    pub fn in_libc(&self, pc: usize) -> bool {
        self.text.iter().any(|&(from, to)| from <= pc && pc < to)
    }

    /// Whether `malloc` is the program's own (an allocator linked into it): then
    /// [`in_libc`](Self::in_libc) does not know its code from the rest of the program.
    #[must_use]
    pub fn malloc_in_program(&self) -> bool {
        self.malloc_in_program
    }

    /// Bytes of static TLS that carriers have room for.
    #[must_use]
    pub fn static_tls_bytes(&self) -> usize {
        self.static_bytes
    }

    /// Whether the thread pointer is written by an instruction rather than a system call.
    #[must_use]
    pub fn has_fsgsbase(&self) -> bool {
        crate::arch::has_fsgsbase()
    }
}

pub(super) fn static_info(f: *mut c_void) -> (usize, usize) {
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
fn stack_user() -> Result<usize, Unsupported> {
    let offset = field(c"_thread_db_rtld_global__dl_stack_user")?;
    Ok(symbol(c"_rtld_global")? as usize + offset)
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
