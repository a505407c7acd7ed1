//! Sandboxes that refuse what a program can do without.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::make::refuse;
use goroutines_twin_tests::{Row, Trace, make, ms, say, sleep};
use std::io::{Read, Write};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

/// `MADV_GUARD_INSTALL`.
const GUARD: u32 = 102;

macro_rules! refuse {
    ($($errno:ident),*; $calls:expr) => {
        [$((stringify!($errno), (|_: &Trace| refuse($calls, libc::$errno)) as fn(&Trace))),*]
    };
}

pub(crate) fn rows() -> Vec<Row> {
    let all = [
        ("epoll_pwait2", refuse!(ENOSYS, EPERM, EACCES, EINVAL; &[(libc::SYS_epoll_pwait2, None)])),
        ("preadv2", refuse!(ENOSYS, EPERM, EACCES, EINVAL; &[(libc::SYS_preadv2, None)])),
        ("pwritev2", refuse!(ENOSYS, EPERM, EACCES, EINVAL; &[(libc::SYS_pwritev2, None)])),
        ("eventfd2", refuse!(ENOSYS, EPERM, EACCES, EINVAL; &[(libc::SYS_eventfd2, None)])),
        (
            "timers",
            refuse!(ENOSYS, EPERM, EACCES, EINVAL;
            &[(libc::SYS_epoll_pwait2, None), (libc::SYS_timerfd_create, None)]),
        ),
        ("pidfd_open", refuse!(ENOSYS, EPERM, EACCES, EINVAL; &[(libc::SYS_pidfd_open, None)])),
        ("close_range", refuse!(ENOSYS, EPERM, EACCES, EINVAL; &[(libc::SYS_close_range, None)])),
        ("guards", refuse!(ENOSYS, EPERM, EACCES, EINVAL; &[(libc::SYS_madvise, Some(GUARD))])),
        (
            "tee",
            refuse!(ENOSYS, EPERM, EACCES, EINVAL;
            &[(libc::SYS_tee, None), (libc::SYS_preadv2, None), (libc::SYS_pwritev2, None)]),
        ),
        (
            "all",
            refuse!(ENOSYS, EPERM, EACCES, EINVAL; &[
                (libc::SYS_epoll_pwait2, None), (libc::SYS_timerfd_create, None),
                (libc::SYS_preadv2, None), (libc::SYS_pwritev2, None), (libc::SYS_eventfd2, None),
                (libc::SYS_pidfd_open, None), (libc::SYS_close_range, None),
                (libc::SYS_madvise, Some(GUARD)),
            ]),
        ),
    ];
    let mut rows = Vec::new();
    for (what, answers) in all {
        for (errno, before) in answers {
            rows.push(Row::new(format!("sandbox_{what}_{errno}"), core).before(before));
        }
    }
    rows.push(Row::new("sandbox_entered_later", entered_later));
    rows
}

/// The core of what is done: sleeping, a pipe, a connection, a child, a file, a lock, goroutines.
fn core(t: &Trace) {
    t.timed("sleep", 200, || sleep(200));
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    let reads = t.spawn("reader", move |t| {
        let mut all = Vec::new();
        t.says("pipe", say::io(reader.read_to_end(&mut all)));
    });
    ms(30);
    t.says("write", say::io(writer.write_all(&vec![1; 200_000])));
    drop(writer);
    reads.join();
    let (fd, other) = make::tcp();
    let reads = t.spawn("server", move |t| {
        let mut byte = [0u8; 9];
        t.says("tcp", say::ret(unsafe { libc::recv(fd, byte.as_mut_ptr().cast(), 9, 0) }));
    });
    ms(30);
    t.says("send", say::ret(unsafe { libc::send(other, c"hello".as_ptr().cast(), 5, 0) }));
    reads.join();
    let output = Command::new("sh").args(["-c", "sleep 0.1; echo hello"]).output();
    t.says(
        "child",
        say::io(output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())),
    );
    let file = make::file(b"hello");
    t.says("file", crate::read(file));
    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    let all: Vec<_> = (0..10)
        .map(|i| {
            let pair = Arc::clone(&pair);
            t.spawn(&format!("one {i}"), move |_| {
                ms(5);
                *pair.0.lock().expect("a lock") += 1;
                pair.1.notify_all();
            })
        })
        .collect();
    let ten = pair.1.wait_while(pair.0.lock().expect("a lock"), |n| *n < 10);
    t.says("lock", ten.is_ok());
    all.into_iter().for_each(|one| one.join());
}

/// What was there before is refused from now on.
fn entered_later(t: &Trace) {
    core(t);
    refuse(
        &[
            (libc::SYS_epoll_pwait2, None),
            (libc::SYS_preadv2, None),
            (libc::SYS_pwritev2, None),
            (libc::SYS_eventfd2, None),
            (libc::SYS_pidfd_open, None),
            (libc::SYS_madvise, Some(GUARD)),
        ],
        libc::EPERM,
    );
    core(t);
}
