//! `waitpid`, `wait4`, `waitid`, `wait`: each with each option for a child in each state.

use goroutines_twin_tests::{Call, Row, Trace, make, ms, ret, rows, say};
use std::ptr::null_mut;

/// What a child is doing when it is waited for.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Runs,
    EndsLater,
    Ended,
    Killed,
    KilledLater,
    Stopped,
    StopsLater,
    Continued,
    Reaped,
    Nobodys,
}

const STATES: &[(&str, State)] = &[
    ("runs", State::Runs),
    ("ends_later", State::EndsLater),
    ("ended", State::Ended),
    ("killed", State::Killed),
    ("killed_later", State::KilledLater),
    ("stopped", State::Stopped),
    ("stops_later", State::StopsLater),
    ("continued", State::Continued),
    ("reaped", State::Reaped),
    ("nobodys", State::Nobodys),
];

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        wait_for_any,
        wait_for_any_of_none,
        wait_for_a_group,
        another_reaps,
        two_wait_for_one,
        each_for_its_own,
        ignored_children,
        bad_places,
        usage_is_filled,
        waits_leave_the_rest,
        pidfd_is_readable,
        pidfd_signals,
        waitid_by_pidfd,
        odd_arguments,
        grandchildren,
        many_children,
        end_of_the_waiters_brother
    ];
    for (name, state) in STATES {
        rows.push(Row::new(format!("wait_for_one_that_{name}"), move |t: &Trace| each(t, *state)));
    }
    rows
}

/// Sends a signal, and waits until the kernel has done with it.
fn signal(pid: i32, signal: i32) {
    unsafe { libc::kill(pid, signal) };
    ms(30);
}

fn after(milliseconds: u64, pid: i32, number: i32) {
    // An OS thread on both sides.
    std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        unsafe { libc::kill(pid, number) };
    });
}

fn in_state(state: State) -> i32 {
    let sleeper = || {
        make::child(|| {
            loop {
                ms(1000)
            }
        })
    };
    match state {
        State::Runs => sleeper(),
        State::EndsLater => make::child(|| {
            ms(700);
            7
        }),
        State::Ended => {
            let pid = make::child(|| 7);
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            let leave = libc::WEXITED | libc::WNOWAIT;
            unsafe { libc::waitid(libc::P_PID, pid as u32, &raw mut info, leave) };
            pid
        }
        State::Killed => {
            let pid = sleeper();
            signal(pid, libc::SIGKILL);
            pid
        }
        State::KilledLater => {
            let pid = sleeper();
            after(700, pid, libc::SIGTERM);
            pid
        }
        State::Stopped => {
            let pid = sleeper();
            signal(pid, libc::SIGSTOP);
            pid
        }
        State::StopsLater => {
            let pid = sleeper();
            after(700, pid, libc::SIGSTOP);
            pid
        }
        State::Continued => {
            let pid = sleeper();
            signal(pid, libc::SIGSTOP);
            let mut status = 0;
            unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) };
            signal(pid, libc::SIGCONT);
            pid
        }
        State::Reaped => {
            let pid = make::child(|| 7);
            let _ = make::end_of(pid);
            pid
        }
        State::Nobodys => 1,
    }
}

/// What a wait gave, without the number.
fn outcome(n: i32, pid: i32, status: i32) -> String {
    let ret = ret(n);
    match n {
        n if n == pid => format!("it, {}", say::status(status)),
        _ => ret.to_string(),
    }
}

fn each(t: &Trace, state: State) {
    let options = [
        ("0", 0),
        ("NOHANG", libc::WNOHANG),
        ("UNTRACED", libc::WUNTRACED),
        ("CONTINUED", libc::WCONTINUED),
        ("NOHANG UNTRACED CONTINUED", libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED),
        ("WALL", libc::__WALL),
        ("WCLONE", libc::__WCLONE),
        ("unknown", 1 << 20),
    ];
    let mut calls: Vec<(String, Call)> = Vec::new();
    for (name, option) in options {
        let pid = in_state(state);
        calls.push((
            format!("waitpid {name}"),
            Box::new(move || {
                let mut status = 0;
                outcome(unsafe { libc::waitpid(pid, &raw mut status, option) }, pid, status)
            }),
        ));
        let pid = in_state(state);
        calls.push((
            format!("wait4 {name}"),
            Box::new(move || {
                let mut status = 0;
                outcome(
                    unsafe { libc::wait4(pid, &raw mut status, option, null_mut()) },
                    pid,
                    status,
                )
            }),
        ));
    }
    let options = [
        ("EXITED", libc::WEXITED),
        ("EXITED NOHANG", libc::WEXITED | libc::WNOHANG),
        ("EXITED NOWAIT", libc::WEXITED | libc::WNOWAIT),
        ("STOPPED", libc::WSTOPPED),
        ("CONTINUED NOHANG", libc::WCONTINUED | libc::WNOHANG),
        ("all", libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED),
        ("nothing", 0),
    ];
    for (name, option) in options {
        let pid = in_state(state);
        calls.push((
            format!("waitid {name}"),
            Box::new(move || {
                let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
                let n = unsafe { libc::waitid(libc::P_PID, pid as u32, &raw mut info, option) };
                let n = ret(n);
                let (whose, status) = unsafe { (info.si_pid(), info.si_status()) };
                let whose = if whose == pid { "its" } else { "nobody's" };
                format!("{n} code {} status {status} {whose}", info.si_code)
            }),
        ));
    }
    t.each(1200, calls);
    // SAFETY: ends the process; its children are killed with its group.
    unsafe { libc::_exit(0) };
}

fn wait_for_any(t: &Trace) {
    let pids = [3, 4].map(|code| {
        make::child(move || {
            ms(code * 100 - 200);
            code as i32
        })
    });
    for (i, pid) in pids.into_iter().enumerate() {
        let mut status = 0;
        let n = match i {
            0 => unsafe { libc::wait(&raw mut status) },
            _ => unsafe { libc::waitpid(-1, &raw mut status, 0) },
        };
        t.says("wait", outcome(n, pid, status));
    }
    t.says("no more", ret(unsafe { libc::wait(null_mut()) }));
}

fn wait_for_any_of_none(t: &Trace) {
    unsafe {
        t.says("wait", ret(libc::wait(null_mut())));
        t.says("waitpid -1", ret(libc::waitpid(-1, null_mut(), 0)));
        t.says("waitpid 0", ret(libc::waitpid(0, null_mut(), 0)));
        t.says("waitpid -77777", ret(libc::waitpid(-77777, null_mut(), 0)));
        t.says("waitpid lowest", ret(libc::waitpid(i32::MIN, null_mut(), 0)));
        t.says("waitpid oneself", ret(libc::waitpid(libc::getpid(), null_mut(), 0)));
        t.says("waitid all", ret(libc::waitid(libc::P_ALL, 0, null_mut(), libc::WEXITED)));
    }
}

fn wait_for_a_group(t: &Trace) {
    let pid = make::child(|| {
        ms(300);
        5
    });
    unsafe { libc::setpgid(pid, pid) };
    let other = make::child(|| 6);
    let mut status = 0;
    let n = t.timed("group", 300, || unsafe { libc::waitpid(-pid, &raw mut status, 0) });
    t.says("group", outcome(n, pid, status));
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let n = unsafe { libc::waitid(libc::P_PGID, 0, &raw mut info, libc::WEXITED) };
    t.says("own group", format!("{} {}", ret(n), unsafe { info.si_status() }));
    t.says("the other's gone", ret(unsafe { libc::waitpid(other, null_mut(), 0) }));
}

fn another_reaps(t: &Trace) {
    let pid = make::child(|| {
        ms(200);
        5
    });
    let waiter = t.spawn("waiter", move |t| {
        let mut status = 0;
        let n = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        t.says("has it or ECHILD", n == pid || say::errno() == libc::ECHILD);
        n == pid
    });
    let mut status = 0;
    let n = unsafe { libc::waitpid(-1, &raw mut status, 0) };
    let mine = n == pid;
    t.says("one of two has it", mine != waiter.join());
}

fn two_wait_for_one(t: &Trace) {
    let pid = make::child(|| {
        ms(300);
        5
    });
    let wait = move || unsafe { libc::waitpid(pid, null_mut(), 0) } == pid;
    let all: Vec<_> = (0..4).map(|i| t.spawn(&format!("waiter {i}"), move |_| wait())).collect();
    let have = all.into_iter().map(goroutines_twin_tests::Flow::join).filter(|has| *has).count();
    t.says("have it", have);
}

fn each_for_its_own(t: &Trace) {
    let all: Vec<_> = (0..8)
        .map(|i| {
            t.spawn(&format!("parent {i}"), move |t| {
                let pid = make::child(move || {
                    ms(100 + 20 * i);
                    i as i32
                });
                t.says("child", make::end_of(pid));
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
}

fn ignored_children(t: &Trace) {
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let pid = make::child(|| {
        ms(300);
        5
    });
    let gone = t.timed("wait", 300, || ret(unsafe { libc::waitpid(pid, null_mut(), 0) }));
    t.says("wait", gone);
    let pid = make::child(|| {
        ms(200);
        5
    });
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let n = unsafe { libc::waitid(libc::P_PID, pid as u32, &raw mut info, libc::WEXITED) };
    t.says("waitid", ret(n));
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    t.says("afterwards", make::end_of(make::child(|| 6)));
}

fn bad_places(t: &Trace) {
    let pid = make::child(|| 5);
    ms(100);
    t.says("waitpid", ret(unsafe { libc::waitpid(pid, make::bad(), 0) }).errno == libc::EFAULT);
    t.says("it is gone all the same", ret(unsafe { libc::waitpid(pid, null_mut(), 0) }));
    let pid = make::child(|| 5);
    ms(100);
    let n = ret(unsafe { libc::waitid(libc::P_PID, pid as u32, make::bad(), libc::WEXITED) });
    t.says("waitid", n);
    let pid = make::child(|| 5);
    ms(100);
    let n = ret(unsafe { libc::waitid(libc::P_PID, pid as u32, null_mut(), libc::WEXITED) });
    t.says("waitid, no place", n);
    let pid = make::child(|| 5);
    ms(100);
    t.says("wait4", ret(unsafe { libc::wait4(pid, null_mut(), 0, make::bad()) }));
    let later = make::child(|| {
        ms(200);
        5
    });
    t.says(
        "waitpid, later",
        ret(unsafe { libc::waitpid(later, make::bad(), 0) }).errno == libc::EFAULT,
    );
}

fn usage_is_filled(t: &Trace) {
    let pid = make::child(|| {
        let mut own: libc::rusage = unsafe { std::mem::zeroed() };
        while own.ru_utime.tv_usec < 20_000 {
            unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut own) };
        }
        5
    });
    let (mut status, mut usage) = (0, unsafe { std::mem::zeroed::<libc::rusage>() });
    let n = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    t.says("wait4", outcome(n, pid, status));
    t.says("its time", usage.ru_utime.tv_usec + usage.ru_stime.tv_usec > 10_000);
}

fn waits_leave_the_rest(t: &Trace) {
    let edge = make::Edge::new(4);
    let pid = make::child(|| 0x55);
    t.says("waitpid", unsafe { libc::waitpid(pid, edge.as_ptr(), 0) } == pid);
    t.says("bytes", say::bytes(&edge.bytes()));
    t.says("the neighbour is well", edge.neighbour_is_well());
    let edge = make::Edge::new(128);
    let pid = make::child(|| 0x55);
    let n = unsafe { libc::waitid(libc::P_PID, pid as u32, edge.as_ptr(), libc::WEXITED) };
    t.says("waitid", ret(n));
    t.says("the neighbour is well", edge.neighbour_is_well());
}

fn pidfd(pid: i32) -> i32 {
    unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) as i32 }
}

fn pidfd_is_readable(t: &Trace) {
    let pid = make::child(|| {
        ms(300);
        5
    });
    let fd = pidfd(pid);
    let mut p = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let n = t.timed("poll", 300, || ret(unsafe { libc::poll(&raw mut p, 1, -1) }));
    t.says("poll", format!("{n} {:#x}", p.revents));
    t.says("read", ret(unsafe { libc::read(fd, [0u8; 8].as_mut_ptr().cast(), 8) }));
    t.says("child", make::end_of(pid));
    t.says("of nobody", ret(pidfd(pid)));
    make::close([fd]);
}

fn pidfd_signals(t: &Trace) {
    let pid = make::child(|| {
        loop {
            ms(1000)
        }
    });
    let fd = pidfd(pid);
    let send =
        |signal: i32| unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, 0, 0) };
    t.says("nothing", ret(send(0)));
    t.says("a signal", ret(send(libc::SIGTERM)));
    t.says("child", make::end_of(pid));
    t.says("to nobody", ret(send(0)));
    make::close([fd]);
}

fn waitid_by_pidfd(t: &Trace) {
    let pid = make::child(|| {
        ms(300);
        5
    });
    let fd = pidfd(pid) as u32;
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let at_once = libc::WEXITED | libc::WNOHANG;
    t.says("at once", ret(unsafe { libc::waitid(libc::P_PIDFD, fd, &raw mut info, at_once) }));
    let n = t.timed("waitid", 300, || unsafe {
        ret(libc::waitid(libc::P_PIDFD, fd, &raw mut info, libc::WEXITED))
    });
    t.says("waitid", format!("{n} {}", unsafe { info.si_status() }));
    t.says("again", ret(unsafe { libc::waitid(libc::P_PIDFD, fd, &raw mut info, libc::WEXITED) }));
    t.says("of 0", ret(unsafe { libc::waitid(libc::P_PIDFD, 0, &raw mut info, libc::WEXITED) }));
    make::close([fd as i32]);
}

fn odd_arguments(t: &Trace) {
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let place = &raw mut info;
    unsafe {
        t.says("waitid of kind 9", ret(libc::waitid(9, 0, place, libc::WEXITED)));
        t.says("waitid of 0", ret(libc::waitid(libc::P_PID, 0, place, libc::WEXITED)));
        let options = libc::WEXITED | 1 << 20;
        t.says("waitid, unknown option", ret(libc::waitid(libc::P_ALL, 0, place, options)));
        t.says("waitid, UNTRACED only", ret(libc::waitid(libc::P_ALL, 0, place, libc::WUNTRACED)));
        t.says("wait4, unknown option", ret(libc::wait4(-1, null_mut(), 1 << 20, null_mut())));
    }
}

fn grandchildren(t: &Trace) {
    let (read, write) = make::pipe();
    let pid = make::child(move || {
        let grandchild = make::child(|| 4);
        unsafe { libc::write(write, (&raw const grandchild).cast(), 4) };
        ms(200);
        i32::from(make::end_of(grandchild) != "exit 4")
    });
    let mut grandchild = 0;
    unsafe { libc::read(read, (&raw mut grandchild).cast(), 4) };
    t.says("is not one's own", ret(unsafe { libc::waitpid(grandchild, null_mut(), 0) }));
    t.says("child", make::end_of(pid));
    make::close([read, write]);
}

fn many_children(t: &Trace) {
    let pids: Vec<_> = (0..30).map(|i| make::child(move || i)).collect();
    let all: Vec<_> = pids
        .into_iter()
        .map(|pid| t.spawn(&format!("waiter {pid}"), move |_| make::end_of(pid)))
        .collect();
    let mut ends: Vec<_> = all.into_iter().map(goroutines_twin_tests::Flow::join).collect();
    ends.sort();
    t.says("ends", ends.join(", "));
}

fn end_of_the_waiters_brother(t: &Trace) {
    // A child of another flow is the process's child.
    let pid = t.spawn("parent", |_| make::child(|| 5)).join();
    t.says("child", make::end_of(pid));
    let other = t.spawn("waiter", move |t| {
        let pid = make::child(|| {
            ms(200);
            6
        });
        t.says("parent", unsafe { libc::getppid() } != 0);
        pid
    });
    t.says("child", make::end_of(other.join()));
    t.says("nobody left", ret(unsafe { libc::waitpid(-1, null_mut(), libc::WNOHANG) }));
}
