//! Calls that change what the kernel keeps for the OS thread.
//!
//! A namespace, a capability, a priority, an affinity is a thread's. A goroutine that has changed
//! one stays on that thread from then on, as if it had locked it (`runtime::lock_os_thread`), and
//! the thread ends with the goroutine: no other goroutine finds itself with a setting that it did
//! not ask for.
//!
//! Which calls those are is a list, for functions of libc and for `syscall`. A raw system call is
//! not seen.

use super::names;
use super::real::{Real, caller, errno, real, set_errno, take_over};
use crate::base::sys;
use crate::g::{G, current};
use crate::sched::locked;
use libc::{c_char, c_int, c_long, c_uint, c_ulong, c_void, id_t, pid_t, sched_param};

/// Makes a call that changes the OS thread: if it `worked`, `gp` stays there.
pub(super) fn pinned<R>(
    gp: &'static G,
    call: impl FnOnce() -> R,
    worked: impl FnOnce(&R) -> bool,
) -> R {
    if gp.is_pinned.get() {
        return call();
    }
    {
        let _section = current::enter();
        locked::lock(gp);
    }
    let result = call();
    if worked(&result) {
        gp.is_pinned.set(true);
    } else {
        let before = errno();
        let _section = current::enter();
        locked::unlock(gp);
        set_errno(before);
    }
    result
}

/// The same, for a call that says 0 or something positive when it worked.
fn changed<R: PartialOrd + From<i8>>(gp: &'static G, call: impl FnOnce() -> R) -> R {
    pinned(gp, call, |result| *result >= R::from(0))
}

/// The same, if the change is to the calling thread, which means that `id` is 0 or the thread's
/// own.
fn changed_if_self<R: PartialOrd + From<i8>>(
    gp: &'static G,
    id: u32,
    call: impl FnOnce() -> R,
) -> R {
    // (The thread id that a goroutine asked for a while ago may be that of an M which it has left
    // by now.)
    if is_self(id) { changed(gp, call) } else { call() }
}

fn is_self(id: u32) -> bool {
    id == 0 || id == sys::gettid()
}

/// Whether `option` of `prctl` changes the calling thread.
fn is_of_thread(option: c_int) -> bool {
    const IO_FLUSHER: c_int = 57;
    const SCHED_CORE: c_int = 62;
    matches!(
        option,
        libc::PR_SET_PDEATHSIG
            | libc::PR_SET_UNALIGN
            | libc::PR_SET_KEEPCAPS
            | libc::PR_SET_FPEMU
            | libc::PR_SET_FPEXC
            | libc::PR_SET_TIMING
            | libc::PR_SET_ENDIAN
            | libc::PR_SET_SECCOMP
            | libc::PR_CAPBSET_DROP
            | libc::PR_SET_TSC
            | libc::PR_SET_SECUREBITS
            | libc::PR_SET_TIMERSLACK
            | libc::PR_MCE_KILL
            | libc::PR_SET_NO_NEW_PRIVS
            | libc::PR_CAP_AMBIENT
            | libc::PR_SET_SPECULATION_CTRL
            | IO_FLUSHER
            | SCHED_CORE
    )
}

/// Whether the system call changes the calling thread.
fn is_of_thread_by_number(number: c_long, a: &[usize; 6]) -> bool {
    const IOPRIO_WHO_PROCESS: usize = 1;
    match number {
        libc::SYS_unshare
        | libc::SYS_setns
        | libc::SYS_setfsuid
        | libc::SYS_setfsgid
        | libc::SYS_capset
        | libc::SYS_setuid
        | libc::SYS_setgid
        | libc::SYS_setreuid
        | libc::SYS_setregid
        | libc::SYS_setresuid
        | libc::SYS_setresgid
        | libc::SYS_setgroups
        | libc::SYS_personality
        | libc::SYS_iopl
        | libc::SYS_ioperm
        | libc::SYS_set_mempolicy
        | libc::SYS_landlock_restrict_self => true,
        libc::SYS_sched_setaffinity
        | libc::SYS_sched_setscheduler
        | libc::SYS_sched_setparam
        | libc::SYS_sched_setattr => is_self(a[0] as u32),
        libc::SYS_setpriority => a[0] == libc::PRIO_PROCESS as usize && is_self(a[1] as u32),
        libc::SYS_ioprio_set => a[0] == IOPRIO_WHO_PROCESS && is_self(a[1] as u32),
        libc::SYS_prctl => is_of_thread(a[0] as c_int),
        libc::SYS_seccomp => {
            a[0] != libc::SECCOMP_GET_ACTION_AVAIL as usize
                && a[1] as c_ulong & libc::SECCOMP_FILTER_FLAG_TSYNC == 0
        }
        _ => false,
    }
}

/// A call by `syscall` that is none of the known ones.
pub(super) fn by_number(number: c_long, a: &[usize; 6], real: impl FnOnce() -> c_long) -> c_long {
    match caller() {
        Some(gp) if is_of_thread_by_number(number, a) => changed(gp, real),
        _ => real(),
    }
}

take_over! {
    fn unshare(flags: c_int) -> c_int = |gp, real| changed(gp, real);

    fn setns(fd: c_int, kind: c_int) -> c_int = |gp, real| changed(gp, real);

    // These two return the id before, whether they worked or not.
    fn setfsuid(id: libc::uid_t) -> c_int = |gp, real| changed(gp, real);
    fn setfsgid(id: libc::gid_t) -> c_int = |gp, real| changed(gp, real);

    fn capset(header: *mut c_void, data: *const c_void) -> c_int = |gp, real| changed(gp, real);

    fn personality(persona: c_ulong) -> c_int = |gp, real| {
        // This value only asks.
        if persona == 0xffff_ffff { real() } else { changed(gp, real) }
    };

    fn iopl(level: c_int) -> c_int = |gp, real| changed(gp, real);
    fn ioperm(from: c_ulong, n: c_ulong, on: c_int) -> c_int = |gp, real| changed(gp, real);

    // To Linux a nice value is the thread's. What the call returns when it worked may be negative.
    fn nice(by: c_int) -> c_int = |gp, real| pinned(gp, real, |_| true);

    fn setpriority(which: libc::__priority_which_t, who: id_t, nice: c_int) -> c_int =
        |gp, real| match which {
            libc::PRIO_PROCESS => changed_if_self(gp, who, real),
            _ => real(),
        };

    fn sched_setaffinity(pid: pid_t, bytes: usize, set: *const libc::cpu_set_t) -> c_int =
        |gp, real| changed_if_self(gp, pid as u32, real);

    fn sched_setparam(pid: pid_t, param: *const sched_param) -> c_int =
        |gp, real| changed_if_self(gp, pid as u32, real);

    fn sched_setscheduler(pid: pid_t, policy: c_int, param: *const sched_param) -> c_int =
        |gp, real| changed_if_self(gp, pid as u32, real);

    // Its arguments vary, and are passed as these.
    fn ptrace(request: c_uint, pid: pid_t, at: *mut c_void, data: *mut c_void) -> c_long =
        |gp, real| {
            gp.traces.set(true);
            // A tracee's tracer is a thread. What the call returns when it worked may be negative.
            pinned(gp, real, |_| request != libc::PTRACE_TRACEME)
        };
}

/// Its arguments vary, and are passed as these.
#[unsafe(no_mangle)]
unsafe extern "C" fn prctl(option: c_int, a: c_ulong, b: c_ulong, c: c_ulong, d: c_ulong) -> c_int {
    static REAL: Real = Real::new(c"prctl");
    let real = || {
        let real = real!(REAL as fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int);
        // SAFETY: forwarded.
        unsafe { real(option, a, b, c, d) }
    };
    match caller() {
        Some(gp) if option == libc::PR_SET_NAME => names::set(gp, a as *const c_char, real),
        Some(gp) if option == libc::PR_GET_NAME => names::get(gp, a as *mut c_char, real),
        Some(gp) if is_of_thread(option) => changed(gp, real),
        _ => real(),
    }
}
