//! Terminals: when a read ends without a line, and who may read and write.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::{read, write};
use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};
use libc::c_int;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        a_line_that_comes_later,
        a_short_read_with_a_large_minimum,
        a_terminal_that_hangs_up,
        nonblocking_reads,
        the_master_waits_for_output,
        stopped_output_goes_on,
    ];
    for (min, time) in [(0, 0), (0, 3), (1, 0), (1, 3), (3, 0), (3, 3)] {
        for keys in [0, 1, 2, 5] {
            if min == 0 || keys > 0 {
                let body = move |t: &Trace| raw_mode(t, min, time, keys);
                rows.push(Row::new(format!("min_{min}_time_{time}_keys_{keys}"), body));
            }
        }
    }
    for (name, call) in [
        ("read", Call::Read),
        ("write", Call::Write),
        ("write_tostop", Call::WriteToStop),
        ("read_of_the_master", Call::ReadMaster),
    ] {
        for ignores in [false, true] {
            let body = move |t: &Trace| in_background(t, call, ignores);
            let how = if ignores { "ignoring" } else { "stopped" };
            rows.push(Row::new(format!("background_{name}_{how}"), body));
        }
    }
    rows
}

fn attributes(fd: c_int) -> libc::termios {
    unsafe {
        let mut all: libc::termios = std::mem::zeroed();
        libc::tcgetattr(fd, &raw mut all);
        all
    }
}

fn set_raw(fd: c_int, min: u8, time: u8) {
    let mut all = attributes(fd);
    unsafe {
        libc::cfmakeraw(&raw mut all);
        all.c_cc[libc::VMIN] = min;
        all.c_cc[libc::VTIME] = time;
        libc::tcsetattr(fd, libc::TCSANOW, &raw const all);
    }
}

/// `keys` are there, or come after 300 ms where the read waits without a time of its own.
fn raw_mode(t: &Trace, min: u8, time: u8, keys: usize) {
    let (master, slave) = make::terminal();
    set_raw(slave, min, time);
    if min == 0 {
        write(master, &b"abcde"[..keys]);
        ms(20);
        let set = if time > 0 && keys == 0 { u64::from(time) * 100 } else { 200 };
        let got = t.timed("read", set, || read(slave));
        t.says("read", got);
        return;
    }
    let typist = t.spawn("typist", move |_| {
        ms(200);
        write(master, &b"abcde"[..keys]);
    });
    if time == 0 && keys < usize::from(min) {
        t.hangs_after("read", 800, move || read(slave));
    } else {
        let got = t.timed("read", 200, || read(slave));
        t.says("read", got);
    }
    typist.join();
}

/// `MIN` is more than there is room for: the room counts.
fn a_short_read_with_a_large_minimum(t: &Trace) {
    let (master, slave) = make::terminal();
    set_raw(slave, 6, 0);
    let typist = t.spawn("typist", move |_| {
        ms(200);
        write(master, b"abc");
    });
    let got = t.within("read", 3_000, move || {
        let mut bytes = [0u8; 2];
        ret(unsafe { libc::read(slave, bytes.as_mut_ptr().cast(), 2) })
    });
    t.says("read", got.map_or(String::new(), |got| got.to_string()));
    typist.join();
}

fn a_line_that_comes_later(t: &Trace) {
    let (master, slave) = make::terminal();
    let typist = t.spawn("typist", move |_| {
        for part in ["ab", "c\n", "d\n", "\x04"] {
            ms(60);
            write(master, part.as_bytes());
        }
    });
    for _ in 0..3 {
        t.says("read", read(slave));
    }
    typist.join();
}

fn a_terminal_that_hangs_up(t: &Trace) {
    let (master, slave) = make::terminal();
    // Which of EIO and the end a thread is told is chance.
    let reader = t.spawn("reader", move |t| t.says("read", read(slave).value <= 0));
    ms(100);
    unsafe { libc::close(master) };
    reader.join();
    t.says("read", read(slave));
    t.says("write", write(slave, b"x"));
}

fn nonblocking_reads(t: &Trace) {
    let (_master, slave) = make::terminal();
    make::nonblocking(slave, true);
    t.says("lines", read(slave));
    for (min, time) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        set_raw(slave, min, time);
        t.says(&format!("{min} {time}"), read(slave));
    }
}

fn the_master_waits_for_output(t: &Trace) {
    let (master, slave) = make::terminal();
    let other = t.spawn("program", move |t| {
        ms(200);
        t.says("write", write(slave, b"out"));
    });
    let got = t.timed("read", 200, || read(master));
    t.says("read", got);
    other.join();
}

fn stopped_output_goes_on(t: &Trace) {
    let (master, slave) = make::terminal();
    t.says("stop", ret(unsafe { libc::tcflow(slave, libc::TCOOFF) }));
    let writer = t.spawn("writer", move |t| t.says("write", write(slave, b"out")));
    t.says("is over", writer.over_within(300));
    t.says("start", ret(unsafe { libc::tcflow(slave, libc::TCOON) }));
    writer.join();
    t.says("read", read(master));
}

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Read,
    Write,
    WriteToStop,
    ReadMaster,
}

/// A process of a session of its own with a terminal: what its background group is told. The row's own side is
/// the background group; the group in front is a child.
fn in_background(t: &Trace, call: Call, ignores: bool) {
    unsafe {
        let (master, slave) = make::terminal();
        // A leader of a group can't begin a session: the row's process is moved to one by its parent's side.
        if libc::setsid() < 0 {
            t.line("setsid failed: a leader already");
        }
        if libc::ioctl(slave, libc::TIOCSCTTY, 1usize) < 0 {
            t.skip("no terminal of its own");
        }
        let front = make::child(|| {
            libc::pause();
            0
        });
        libc::setpgid(front, front);
        // The process in the background may not change which group is in front, unless it ignores
        // this.
        libc::signal(libc::SIGTTOU, libc::SIG_IGN);
        t.says("tcsetpgrp", ret(libc::tcsetpgrp(slave, front)));
        libc::signal(libc::SIGTTOU, if ignores { libc::SIG_IGN } else { libc::SIG_DFL });
        if ignores {
            libc::signal(libc::SIGTTIN, libc::SIG_IGN);
        }
        if call == Call::WriteToStop {
            let mut all = attributes(slave);
            all.c_lflag |= libc::TOSTOP;
            libc::signal(libc::SIGTTOU, libc::SIG_IGN);
            libc::tcsetattr(slave, libc::TCSANOW, &raw const all);
            libc::signal(libc::SIGTTOU, if ignores { libc::SIG_IGN } else { libc::SIG_DFL });
        }
        write(if call == Call::ReadMaster { slave } else { -1 }, b"out");
        let got = t.within("call", 3_000, move || match call {
            Call::Read => read(slave),
            Call::Write | Call::WriteToStop => write(slave, b"x"),
            Call::ReadMaster => read(master),
        });
        t.says("call", got.map_or(String::new(), |got| got.to_string()));
        libc::kill(front, libc::SIGKILL);
        t.says("the one in front", say::ok(libc::waitpid(front, std::ptr::null_mut(), 0)));
    }
}
