//! `fork` in a goroutine, and its kin.
//!
//! The child has one thread: the one that called, which is the goroutine's. The child goes on as
//! that goroutine alone, an ordinary thread: the scheduler's threads are not in the child, so it is
//! not preempted, waiting blocks the thread, and starting another goroutine is an error. It may
//! make threads, fork, `exec`, or exit; when its function returns the child ends with status 0. A
//! child that no handler has told so finds it out when it first asks which goroutine it is
//! (`base/origin.rs`).
//!
//! **The thread block.** libc's `fork` knows one thread block in the child, the one under the
//! thread pointer, which is the goroutine's. There it notes the thread's id, has the kernel clear
//! it at the end, and registers the list of robust mutexes. The M's own block and stack are free
//! memory in the child: given to new threads, and unmapped.
//! * FO1: so the kernel's rseq area moves to the goroutine's block for the time of the fork, before
//!   the copy is made: a handler that runs in the child may make threads.
//! * FO2: in the child the block goes where libc has the first thread's, see [`Facts::adopt`]; and
//!   again in each child of the child.
//!
//! **Other handlers.** A handler of `pthread_atfork` may want a lock that a preempted goroutine
//! holds (an allocator's). So it must not run in a section, where the processor would be kept from
//! that goroutine. But between FO1's move and the copy the goroutine must stay on its M. Taking
//! `fork` over would not do: `daemon` and `forkpty` call it inside libc. So our handlers are
//! registered when the program is loaded, as the first ones. "Prepare" handlers run in the reverse
//! order of their registration, the others in that order, so ours run next to the copy. Handlers
//! that are older nevertheless (a preloaded library's) run while the call is *announced*: the
//! goroutine stays on its M, whatever they call is libc's own and may block the thread, and the P
//! runs others meanwhile.
//!
//! [`Facts::adopt`]: goroutines_switch::thread_pointer::Facts::adopt

#[cfg(feature = "intercept")]
use super::real::{Real, real};
use crate::base::origin;
use crate::g::{Forking, G, current};
use crate::sched::syscall::{call_begins, call_ends};
use goroutines_switch::thread_pointer::facts;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// The goroutine that is the first thread of this process, a forked child.
static FORKED: AtomicPtr<G> = AtomicPtr::new(std::ptr::null_mut());

/// Run before all constructors that have no number, and so before an allocator in the program
/// registers its handlers.
#[used]
#[unsafe(link_section = ".init_array.00101")]
static AT_LOAD: extern "C" fn() = at_load;

extern "C" fn at_load() {
    watch();
}

/// Has libc call us at each fork.
pub(crate) fn watch() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if !DONE.swap(true, Ordering::Relaxed) {
        // SAFETY: three functions that may be called at any fork, before the runtime is started
        // too.
        unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) };
    }
}

/// The goroutine's thread block, and that of the M it is on. To be called while the goroutine stays
/// there.
fn blocks(gp: &'static G) -> (usize, usize) {
    // SAFETY: switches write only the stack pointer of an M's own context.
    let own = unsafe { (*gp.m().g0.get()).thread_pointer() };
    (gp.carrier().thread_pointer(), own)
}

/// The goroutine stays on its M until [`parent`].
extern "C" fn before() {
    let Some(gp) = current::g() else { return };
    let Forking { depth, announced } = gp.forking.get();
    if depth > 0 {
        gp.forking.set(Forking { depth: depth + 1, announced });
        return;
    }
    // In a signal handler, and in a call that is announced, it is in a section already.
    let announced = gp.nopreempt.load(Ordering::Relaxed) == 0;
    if announced {
        let _lasts = std::mem::ManuallyDrop::new(current::enter());
        call_begins(gp);
    }
    gp.forking.set(Forking { depth: 1, announced });
    let (tp, own) = blocks(gp);
    // SAFETY: this thread's blocks, and the goroutine stays on it (FO1).
    unsafe { facts().move_rseq(own, tp) };
}

extern "C" fn parent() {
    let Some(gp) = current::g() else { return };
    let Forking { depth, announced } = gp.forking.get();
    if depth != 1 {
        gp.forking.set(Forking { depth: depth.saturating_sub(1), announced });
        return;
    }
    gp.forking.set(Forking::default());
    gp.m().is_parent.set(true);
    let (tp, own) = blocks(gp);
    // SAFETY: as above.
    unsafe { facts().move_rseq(tp, own) };
    if announced {
        call_ends(gp);
        current::leave(gp);
    }
}

/// Async-signal-safe.
extern "C" fn child() {
    origin::unmark();
    let _ = current::g(); // asked for the sake of `is_copy`
    if let Some(gp) = forked() {
        adopt(gp);
    }
}

/// The caller, which was the goroutine `gp`, runs in a copy of the process. From here on it is what
/// the kernel takes it for, the process's only thread: all that asks for the current goroutine
/// finds none, and does what it does on ordinary threads. Async-signal-safe.
#[cold]
pub(crate) fn is_copy(gp: &'static G) {
    let (tp, own) = blocks(gp);
    current::unset_g();
    FORKED.store(gp.as_ptr(), Ordering::Relaxed);
    // SAFETY: this thread's blocks. Nothing is done where the area has moved before the copy was
    // made (FO1).
    unsafe { facts().move_rseq(own, tp) };
    adopt(gp);
    #[cfg(feature = "intercept")]
    if let Some(name) = gp.name.get() {
        let args = [libc::PR_SET_NAME as usize, name.as_ptr() as usize, 0, 0, 0, 0];
        // SAFETY: a name to read.
        unsafe { goroutines_switch::sys::raw(libc::SYS_prctl, args) };
    }
}

/// Makes the block of `gp` that of the process's first thread (FO2).
fn adopt(gp: &'static G) {
    // SAFETY: the calling thread's block; there is no other thread.
    unsafe { facts().adopt(gp.carrier().thread_pointer()) };
    // A thread that joins it gets EINVAL; libc would take the block for a free stack.
    // SAFETY: the calling thread.
    unsafe { libc::pthread_detach(libc::pthread_self()) };
}

/// The goroutine whose block the calling thread, one of a forked child, has.
pub(crate) fn forked() -> Option<&'static G> {
    // SAFETY: null, or a G, which is never freed.
    let gp = unsafe { FORKED.load(Ordering::Relaxed).as_ref() };
    gp.filter(|gp| gp.carrier().thread_pointer() == goroutines_switch::thread_pointer())
}

/// A thread that a goroutine makes is like one that any thread makes.
#[cfg(feature = "intercept")]
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut libc::pthread_t,
    attr: *const libc::pthread_attr_t,
    main: extern "C" fn(*mut libc::c_void) -> *mut libc::c_void,
    argument: *mut libc::c_void,
) -> libc::c_int {
    static REAL: Real = Real::new(c"pthread_create");
    let call = || {
        let real = real!(
            REAL as fn(
                *mut libc::pthread_t,
                *const libc::pthread_attr_t,
                extern "C" fn(*mut libc::c_void) -> *mut libc::c_void,
                *mut libc::c_void,
            ) -> libc::c_int
        );
        // SAFETY: forwarded.
        unsafe { real(thread, attr, main, argument) }
    };
    let Some(gp) = super::real::caller() else { return call() };
    let (tp, has_rseq) = {
        let _section = current::enter();
        let (tp, own) = blocks(gp);
        // SAFETY: the block of the M, on which the goroutine stays in the section.
        (tp, unsafe { facts().has_rseq(own) })
    };
    if !has_rseq {
        return call();
    }
    // SAFETY: the goroutine's block. One thread has an area if all do.
    unsafe { facts().making_threads(tp, call) }
}

/// `fork` without handlers.
#[cfg(feature = "intercept")]
#[unsafe(no_mangle)]
unsafe extern "C" fn _Fork() -> libc::pid_t {
    static REAL: Real = Real::new(c"_Fork");
    let real = real!(REAL as fn() -> libc::pid_t);
    before();
    // SAFETY: forwarded.
    let pid = unsafe { real() };
    if pid == 0 {
        child()
    } else {
        parent()
    }
    pid
}

/// In a goroutine `vfork` is `fork`: a child on the parent's memory would park the goroutine and
/// run others, and tell the parent's waiters of what it closes.
#[cfg(feature = "intercept")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
unsafe extern "C" fn vfork() -> libc::pid_t {
    // It returns twice to its caller, so there is to be no frame of ours.
    core::arch::naked_asm!("sub rsp, 8", "call {which}", "add rsp, 8", "jmp rax", which = sym which_fork)
}

#[cfg(feature = "intercept")]
extern "C" fn which_fork() -> usize {
    static VFORK: Real = Real::new(c"vfork");
    match current::g() {
        Some(_) => libc::fork as *const () as usize,
        None => VFORK.get(),
    }
}
