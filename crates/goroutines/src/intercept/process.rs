//! Waiting for a process, or for a thread of C's: by its pidfd, in the poller.
//!
//! Of several processes (`pid` -1 or a group), or for one to stop or go on, there is no descriptor to wait
//! for: announced, like everything on a kernel without pidfds.

use super::fd;
use super::real::{result, take_over};
use super::wait::{AGAIN, Waits, ready_now};
use crate::g::G;
use crate::netpoll::{self, Direction};
use crate::sched::ambient;
use crate::sched::syscall::{announced, announced_undisturbed};
use goroutines_switch::sys::raw;
use libc::{c_int, c_long, id_t, idtype_t, pid_t, pthread_t, rusage, siginfo_t};

/// For threads: Linux 6.9.
const PIDFD_THREAD: usize = libc::O_EXCL as usize;

/// Calls `f` with a pidfd; none if there is none to be had.
fn with_pidfd<R>(pid: pid_t, flags: usize, f: impl FnOnce(c_int) -> R) -> Option<R> {
    let args = [pid as isize as usize, flags, 0, 0, 0, 0];
    // SAFETY: no memory is involved.
    let opened = unsafe { raw(libc::SYS_pidfd_open, args) } as c_int;
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

/// Waits until the pidfd `fd` says that its process has ended. False if that can't be waited for.
fn until_ended(gp: &'static G, fd: c_int) -> bool {
    let Some(desc) = netpoll::desc(fd) else { return false };
    let attempt = || if ready_now(fd, libc::POLLIN) == 0 { AGAIN } else { 1 };
    Waits::new(gp, fd, desc, Direction::Read).done(attempt).is_ok()
}

fn wait_for(
    gp: &'static G,
    pid: pid_t,
    status: *mut c_int,
    options: c_int,
    usage: *mut rusage,
) -> isize {
    let call = |options: c_int| {
        let (pid, options) = (pid as isize as usize, options as isize as usize);
        let args = [pid, status as usize, options, usage as usize, 0, 0];
        // SAFETY: the user's own call.
        unsafe { raw(libc::SYS_wait4, args) }
    };
    if options & libc::WNOHANG != 0 {
        return call(options);
    }
    if pid > 0 && options & (libc::WUNTRACED | libc::WCONTINUED) == 0 {
        let first = call(options | libc::WNOHANG);
        if first != 0 {
            return first;
        }
        with_pidfd(pid, 0, |fd| until_ended(gp, fd));
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
    info: *mut siginfo_t,
    options: c_int,
    real: impl FnOnce() -> c_int,
) -> c_int {
    let only_exits = options & libc::WEXITED != 0
        && options & (libc::WNOHANG | libc::WSTOPPED | libc::WCONTINUED) == 0;
    if only_exits && !info.is_null() {
        // Has it ended? Left as it is.
        let args = [
            kind as usize,
            id as usize,
            info as usize,
            (options | libc::WNOHANG | libc::WNOWAIT) as usize,
            0,
            0,
        ];
        // SAFETY: the user's info, which is zeroed for "none".
        let is_running = || unsafe {
            info.write(std::mem::zeroed());
            raw(libc::SYS_waitid, args) == 0 && (*info).si_pid() == 0
        };
        if is_running() {
            match kind {
                libc::P_PIDFD => {
                    until_ended(gp, id as c_int);
                }
                libc::P_PID => {
                    with_pidfd(id as pid_t, 0, |fd| until_ended(gp, fd));
                }
                _ => {}
            }
            if let Some(error) = ambient::error(gp)
                && is_running()
            {
                return result(-(error as isize)) as c_int;
            }
        }
    }
    announced(gp, real)
}

/// The end of a thread that libc has made.
fn until_thread_ended(gp: &'static G, thread: pthread_t) {
    let facts = goroutines_switch::thread_pointer::facts();
    // SAFETY: the user's thread, which has not been joined.
    let tid = unsafe { facts.tid_of(thread as usize) };
    if tid > 0 {
        with_pidfd(tid, PIDFD_THREAD, |fd| until_ended(gp, fd));
    }
}

take_over! {
    fn waitpid(pid: pid_t, status: *mut c_int, options: c_int) -> pid_t =
        |gp, real| result(wait_for(gp, pid, status, options, std::ptr::null_mut())) as pid_t;

    fn wait4(pid: pid_t, status: *mut c_int, options: c_int, usage: *mut rusage) -> pid_t =
        |gp, real| result(wait_for(gp, pid, status, options, usage)) as pid_t;

    fn wait(status: *mut c_int) -> pid_t =
        |gp, real| result(wait_for(gp, -1, status, 0, std::ptr::null_mut())) as pid_t;

    fn waitid(kind: idtype_t, id: id_t, info: *mut siginfo_t, options: c_int) -> c_int =
        |gp, real| wait_for_id(gp, kind, id, info, options, real);

    fn pthread_join(thread: pthread_t, value: *mut *mut libc::c_void) -> c_int = |gp, real| {
        until_thread_ended(gp, thread);
        announced(gp, real)
    };

    fn system(command: *const libc::c_char) -> c_int = |gp, real| announced(gp, real);

    fn sigtimedwait(
        set: *const libc::sigset_t, info: *mut siginfo_t, time: *const libc::timespec,
    ) -> c_int = |gp, real| announced_undisturbed(gp, real);

    fn sigwaitinfo(set: *const libc::sigset_t, info: *mut siginfo_t) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

    fn sigwait(set: *const libc::sigset_t, signal: *mut c_int) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

    fn pause() -> c_int = |gp, real| announced_undisturbed(gp, real);

    fn mq_receive(queue: c_int, at: *mut libc::c_char, n: usize, priority: *mut libc::c_uint) -> c_long =
        |gp, real| announced_undisturbed(gp, real);

    fn mq_send(queue: c_int, at: *const libc::c_char, n: usize, priority: libc::c_uint) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

    fn msgrcv(queue: c_int, at: *mut libc::c_void, n: usize, kind: c_long, flags: c_int) -> isize =
        |gp, real| announced_undisturbed(gp, real);

    fn msgsnd(queue: c_int, at: *const libc::c_void, n: usize, flags: c_int) -> c_int =
        |gp, real| announced_undisturbed(gp, real);

    fn semop(set: c_int, list: *mut libc::sembuf, n: usize) -> c_int = |gp, real| announced_undisturbed(gp, real);
}
