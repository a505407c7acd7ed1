//! Waiting for children: what a tracer is told, bad addresses, whose children they are.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};
use std::ptr::null_mut;

/// The options of `wait4` and `waitid` that Linux alone has.
const ALL: i32 = libc::__WALL;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![wait4_with_bad_addresses, waitid_with_a_bad_address, own_children_only];
    rows.push(traced("waitpid", |pid, status| unsafe { libc::waitpid(pid, status, 0) }));
    rows.push(traced("waitpid_all", |pid, status| unsafe { libc::waitpid(pid, status, ALL) }));
    rows.push(traced("wait4", |pid, status| unsafe { libc::wait4(pid, status, 0, null_mut()) }));
    rows.push(traced("waitid", |pid, status| unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let got = libc::waitid(libc::P_PID, pid as u32, &raw mut info, libc::WEXITED);
        *status = info.si_status();
        if got == 0 { info.si_pid() } else { got }
    }));
    rows
}

/// A child that asks to be traced, and stops: its parent is told so without having asked for stops.
fn traced(name: &str, wait: fn(i32, *mut i32) -> i32) -> Row {
    Row::new(format!("a_traced_child_stops_{name}"), move |t: &Trace| {
        let child = make::child(|| unsafe {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0usize, 0usize);
            libc::usleep(50_000);
            libc::raise(libc::SIGSTOP);
            7
        });
        let mut status = -1;
        let told = wait(child, &raw mut status);
        t.says("told of it", told == child);
        t.says("status", status);
        t.says("kill", ret(unsafe { libc::kill(child, libc::SIGKILL) }));
        t.says("end", make::end_of(child));
    })
    .expect(&["told of it: true"])
}

fn wait4_with_bad_addresses(t: &Trace) {
    for (what, status, usage) in
        [("status", make::bad(), null_mut()), ("usage", null_mut(), make::bad())]
    {
        let child = make::child(|| unsafe { libc::usleep(50_000) });
        t.says(what, ret(unsafe { libc::wait4(child, status, 0, usage) }));
        t.says("again", ret(unsafe { libc::wait4(child, null_mut(), 0, null_mut()) }));
    }
}

fn waitid_with_a_bad_address(t: &Trace) {
    let child = make::child(|| unsafe { libc::usleep(50_000) });
    let id = child as u32;
    t.says("waitid", ret(unsafe { libc::waitid(libc::P_PID, id, make::bad(), libc::WEXITED) }));
    let child = make::child(|| unsafe { libc::usleep(50_000) });
    let id = child as u32;
    t.says("none", ret(unsafe { libc::waitid(libc::P_PID, id, null_mut(), libc::WEXITED) }));
    t.says("gone", ret(unsafe { libc::waitid(libc::P_PID, id, null_mut(), libc::WEXITED) }));
}

/// A thread waits for its own children, wherever it has been meanwhile.
fn own_children_only(t: &Trace) {
    let child = make::child(|| unsafe { libc::usleep(300_000) });
    let others: Vec<_> = (0..4).map(|i| t.spawn(&format!("other {i}"), |_| ms(50))).collect();
    ms(100);
    let mut status = -1;
    let got = unsafe { libc::waitpid(child, &raw mut status, libc::__WNOTHREAD) };
    t.says("told of it", got == child);
    t.says("status", say::status(status));
    others.into_iter().for_each(|other| other.join());
}
