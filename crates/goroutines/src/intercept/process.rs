//! Waiting for a process, or for a thread of C's: by its pidfd, in the poller.
//!
//! Of several processes (`pid` -1 or a group), or for one to stop or go on, there is no descriptor
//! to wait for: announced, like everything on a kernel without pidfds.
//!
//! **A tracer** is told of its child's stops whether it asks for them or not, and the child may ask
//! to be traced at any time. So a wait looks again by itself, after a millisecond, two, four and so
//! on. The waits of a goroutine that traces (it has called `ptrace`) are announced.
//!
//! **Parents.** To the kernel the parent is a thread. So an M on which a process was made does not
//! end for want of work.

use super::fd;
use super::real::{Real, caller, real, result, take_over};
use super::unwraps;
use super::wait::{AGAIN, Stopped, Waits, ready_now};
use crate::g::G;
use crate::netpoll::{self, Direction};
use crate::sched::ambient;
use crate::sched::syscall::announced;
use crate::sched::wait::after;
use crate::signals::deliver::Mark;
use goroutines_switch::sys::raw;
use libc::{c_char, c_int, c_void, id_t, idtype_t, pid_t, pthread_t, rusage, siginfo_t, timespec};
use std::time::Duration;

/// For threads: Linux 6.9.
const PIDFD_THREAD: usize = libc::O_EXCL as usize;

/// Calls `f` with a pidfd; none if there is none to be had.
fn with_pidfd<R>(pid: pid_t, flags: usize, f: impl FnOnce(c_int) -> R) -> Option<R> {
    let args = [pid as isize as usize, flags, 0, 0, 0, 0];
    // SAFETY: no memory is involved.
    let opened = match unsafe { raw(libc::SYS_pidfd_open, args) } as c_int {
        number if number >= 0 => netpoll::raise(number),
        error => error,
    };
    if opened < 0 {
        return None;
    }
    fd::given_out(opened);
    let result = f(opened);
    fd::taken_back(opened);
    // SAFETY: ours.
    unsafe { raw(libc::SYS_close, [opened as usize, 0, 0, 0, 0, 0]) };
    Some(result)
}

/// Waits until the pidfd `fd` says that its process has ended, or `is_told` finds something else to
/// report of it. True: a handler has interrupted that.
fn until_told(gp: &'static G, fd: c_int, mut is_told: impl FnMut() -> bool) -> bool {
    let Some(desc) = netpoll::desc(fd) else { return false };
    let mark = Mark::now(gp);
    let mut delay = Duration::from_millis(1);
    loop {
        let attempt = || if ready_now(fd, libc::POLLIN) == 0 { AGAIN } else { 1 };
        let mut waits = Waits::new(gp, fd, desc, Direction::Read).until(after(delay));
        let timed_out = waits.done(attempt) == Err(Stopped::Error(libc::EAGAIN));
        if mark.is_broken(gp, false) {
            return !is_told();
        }
        if !timed_out || is_told() {
            return false;
        }
        delay *= 2;
    }
}

/// Waits until the pidfd `fd` says that its thread has ended. False if that can't be waited for.
fn until_ended(gp: &'static G, fd: c_int) -> bool {
    let Some(desc) = netpoll::desc(fd) else { return false };
    let attempt = || if ready_now(fd, libc::POLLIN) == 0 { AGAIN } else { 1 };
    Waits::new(gp, fd, desc, Direction::Read).done(attempt).is_ok()
}

/// The options of a wait. Which thread's children are meant makes no difference to goroutines that
/// move.
fn options_of(gp: &'static G, options: c_int) -> c_int {
    if gp.is_locked() { options } else { options & !libc::__WNOTHREAD }
}

fn wait_for(
    gp: &'static G,
    pid: pid_t,
    status: *mut c_int,
    options: c_int,
    usage: *mut rusage,
) -> isize {
    let options = options_of(gp, options);
    let call = |options: c_int| {
        let (pid, options) = (pid as isize as usize, options as isize as usize);
        let args = [pid, status as usize, options, usage as usize, 0, 0];
        // SAFETY: the user's own call.
        unsafe { raw(libc::SYS_wait4, args) }
    };
    if options & libc::WNOHANG != 0 {
        return call(options);
    }
    match unwraps::wait(gp) {
        unwraps::Wait::Usual => {}
        unwraps::Wait::Fails(error) => return -(error as isize),
        unwraps::Wait::NotEnded => return announced(gp, || call(options)),
    }
    if pid > 0 && options & (libc::WUNTRACED | libc::WCONTINUED) == 0 && !gp.traces.get() {
        let mut word = call(options | libc::WNOHANG);
        if word == 0 {
            let is_told = || {
                word = call(options | libc::WNOHANG);
                word != 0
            };
            if with_pidfd(pid, 0, |fd| until_told(gp, fd, is_told)) == Some(true) {
                return -(libc::EINTR as isize);
            }
        }
        if word != 0 {
            return word;
        }
        if let Some(error) = ambient::error(gp) {
            let last = call(options | libc::WNOHANG);
            return if last == 0 { -(error as isize) } else { last };
        }
    }
    announced(gp, || call(options))
}

fn wait_for_id(
    gp: &'static G,
    kind: idtype_t,
    id: id_t,
    options: c_int,
    real: impl FnOnce(c_int) -> c_int,
) -> c_int {
    let only_exits = options & libc::WEXITED != 0
        && options & (libc::WNOHANG | libc::WSTOPPED | libc::WCONTINUED) == 0;
    let how = if only_exits { unwraps::wait(gp) } else { unwraps::Wait::Usual };
    if let unwraps::Wait::Fails(error) = how {
        return result(-(error as isize)) as c_int;
    }
    if only_exits && !gp.traces.get() && matches!(how, unwraps::Wait::Usual) {
        // Is there something to report of the process? It is left to be reported again.
        let options = (options_of(gp, options) | libc::WNOHANG | libc::WNOWAIT) as usize;
        // SAFETY: our own info, zeroed for "nothing".
        let is_running = || unsafe {
            let mut info: siginfo_t = std::mem::zeroed();
            let args = [kind as usize, id as usize, &raw mut info as usize, options, 0, 0];
            raw(libc::SYS_waitid, args) == 0 && info.si_pid() == 0
        };
        if is_running() {
            let is_told = || !is_running();
            let is_interrupted = match kind {
                libc::P_PIDFD => until_told(gp, id as c_int, is_told),
                libc::P_PID => {
                    let told = |fd| until_told(gp, fd, is_told);
                    with_pidfd(id as pid_t, 0, told).unwrap_or(false)
                }
                _ => false,
            };
            if is_interrupted {
                return result(-(libc::EINTR as isize)) as c_int;
            }
            if let Some(error) = ambient::error(gp)
                && is_running()
            {
                return result(-(error as isize)) as c_int;
            }
        }
    }
    announced(gp, || real(options_of(gp, options)))
}

/// Makes a process by `real`.
fn made<R>(gp: &'static G, real: impl FnOnce() -> R) -> R {
    announced(gp, || {
        gp.m().is_parent.set(true);
        real()
    })
}

/// Joins a thread that libc has made, as far as that needs no wait: libc may refuse it (for a
/// thread that is detached, or is the caller), or the thread has ended. None if the thread was
/// running; then its end has been waited for.
fn joined_at_once(gp: &'static G, thread: pthread_t, value: *mut *mut c_void) -> Option<c_int> {
    static REAL: Real = Real::new(c"pthread_timedjoin_np");
    let join = real!(REAL as fn(pthread_t, *mut *mut c_void, *const timespec) -> c_int);
    let past = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the user's own call, until a time that is past.
    let joined = announced(gp, || unsafe { join(thread, value, &raw const past) });
    if joined != libc::ETIMEDOUT {
        return Some(joined);
    }
    let facts = goroutines_switch::thread_pointer::facts();
    // SAFETY: the user's thread, which has not been joined.
    let tid = unsafe { facts.tid_of(thread as usize) };
    if tid > 0 {
        with_pidfd(tid, PIDFD_THREAD, |fd| until_ended(gp, fd));
    }
    None
}

#[unsafe(no_mangle)]
unsafe extern "C" fn waitid(
    kind: idtype_t,
    id: id_t,
    info: *mut siginfo_t,
    options: c_int,
) -> c_int {
    static REAL: Real = Real::new(c"waitid");
    let real = |options| {
        let real = real!(REAL as fn(idtype_t, id_t, *mut siginfo_t, c_int) -> c_int);
        // SAFETY: forwarded.
        unsafe { real(kind, id, info, options) }
    };
    match caller() {
        None => real(options),
        Some(gp) => wait_for_id(gp, kind, id, options, real),
    }
}

take_over! {
    fn waitpid(pid: pid_t, status: *mut c_int, options: c_int) -> pid_t =
        |gp, real| result(wait_for(gp, pid, status, options, std::ptr::null_mut())) as pid_t;

    fn wait4(pid: pid_t, status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t =
        |gp, real| result(wait_for(gp, pid, status, options, usage)) as pid_t;

    fn wait(status: *mut c_int) -> pid_t =
        |gp, real| result(wait_for(gp, -1, status, 0, std::ptr::null_mut())) as pid_t;

    fn posix_spawn(
        pid: *mut pid_t, path: *const c_char, actions: *const c_void, attr: *const c_void,
        argv: *const *mut c_char, env: *const *mut c_char,
    ) -> c_int = |gp, real| made(gp, real);

    fn posix_spawnp(
        pid: *mut pid_t, file: *const c_char, actions: *const c_void, attr: *const c_void,
        argv: *const *mut c_char, env: *const *mut c_char,
    ) -> c_int = |gp, real| made(gp, real);

    fn popen(command: *const c_char, kind: *const c_char) -> *mut libc::FILE =
        |gp, real| made(gp, real);

    fn pthread_join(thread: pthread_t, value: *mut *mut libc::c_void) -> c_int = |gp, real| {
        match joined_at_once(gp, thread, value) {
            Some(joined) => joined,
            None => announced(gp, real),
        }
    };

    fn system(command: *const c_char) -> c_int = |gp, real| made(gp, real);
}
