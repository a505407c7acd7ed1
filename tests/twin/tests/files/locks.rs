//! Locks of files: `flock`, `fcntl`, `lockf`, open file descriptions; which of them wait for which, and what ends the
//! wait.

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};
use std::ffi::CString;

pub(crate) fn rows() -> Vec<Row> {
    rows![
        flock_waits_for_another_description,
        flock_shared_and_exclusive,
        flock_is_the_descriptions,
        flock_ends_with_close,
        flock_ends_with_a_process,
        fcntl_waits_for_a_process,
        fcntl_of_one_process_does_not_wait,
        fcntl_ends_with_any_close,
        fcntl_asks,
        fcntl_deadlock_is_found,
        fcntl_ranges,
        open_descriptions_wait,
        lockf_waits_for_a_process,
        lockf_from_a_position,
        lease_is_broken,
        many_wait_in_turn
    ]
}

fn named() -> CString {
    let path = make::path();
    std::fs::write(&path, b"0123456789").expect("a file");
    make::c(&path)
}

fn open(path: &CString) -> i32 {
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDWR) };
    assert!(fd >= 0, "the file");
    fd
}

fn close(fd: i32) {
    unsafe { libc::close(fd) };
}

fn flock(fd: i32, how: i32) -> say::Ret {
    ret(unsafe { libc::flock(fd, how) })
}

fn range(kind: i32, start: i64, len: i64) -> libc::flock {
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    (lock.l_type, lock.l_whence) = (kind as i16, libc::SEEK_SET as i16);
    (lock.l_start, lock.l_len) = (start, len);
    lock
}

fn fcntl(fd: i32, call: i32, kind: i32, start: i64, len: i64) -> say::Ret {
    let lock = range(kind, start, len);
    ret(unsafe { libc::fcntl(fd, call, &raw const lock) })
}

fn flock_waits_for_another_description(t: &Trace) {
    let path = named();
    let (a, b) = (open(&path), open(&path));
    t.says("first", flock(a, libc::LOCK_EX));
    t.says("second, at once", flock(b, libc::LOCK_EX | libc::LOCK_NB));
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("unlock", flock(a, libc::LOCK_UN));
    });
    let got = t.timed("second", 300, || flock(b, libc::LOCK_EX));
    t.says("second", got);
    other.join();
    make::close([a, b]);
}

fn flock_shared_and_exclusive(t: &Trace) {
    let path = named();
    let (a, b, c) = (open(&path), open(&path), open(&path));
    t.says("shared", flock(a, libc::LOCK_SH));
    t.says("shared", flock(b, libc::LOCK_SH | libc::LOCK_NB));
    t.says("exclusive", flock(c, libc::LOCK_EX | libc::LOCK_NB));
    t.says("upgrade", flock(a, libc::LOCK_EX | libc::LOCK_NB));
    t.says("unlock", flock(b, libc::LOCK_UN));
    t.says("upgrade", flock(a, libc::LOCK_EX | libc::LOCK_NB));
    t.says("downgrade", flock(a, libc::LOCK_SH));
    t.says("shared", flock(b, libc::LOCK_SH | libc::LOCK_NB));
    t.says("both", flock(b, libc::LOCK_SH | libc::LOCK_EX));
    make::close([a, b, c]);
}

fn flock_is_the_descriptions(t: &Trace) {
    let path = named();
    let a = open(&path);
    let copy = unsafe { libc::dup(a) };
    t.says("first", flock(a, libc::LOCK_EX));
    t.says("copy", flock(copy, libc::LOCK_EX | libc::LOCK_NB));
    let child = make::child(|| (flock(copy, libc::LOCK_UN).value != 0).into());
    t.says("child", make::end_of(child));
    let b = open(&path);
    t.says("another, after the child has unlocked", flock(b, libc::LOCK_EX | libc::LOCK_NB));
    make::close([a, b, copy]);
}

fn flock_ends_with_close(t: &Trace) {
    let path = named();
    let (a, b) = (open(&path), open(&path));
    flock(a, libc::LOCK_EX);
    let other = t.spawn("other", move |_| {
        ms(300);
        close(a);
    });
    let got = t.timed("second", 300, || flock(b, libc::LOCK_EX));
    t.says("second", got);
    other.join();
    close(b);
}

fn flock_ends_with_a_process(t: &Trace) {
    let path = named();
    let (ready, set) = make::pipe();
    let its = path.clone();
    let child = make::child(move || {
        let fd = open(&its);
        flock(fd, libc::LOCK_EX);
        unsafe { libc::write(set, c"x".as_ptr().cast(), 1) };
        ms(400);
        0
    });
    let (fd, mut byte) = (open(&path), 0u8);
    unsafe { libc::read(ready, (&raw mut byte).cast(), 1) };
    let got = t.timed("lock", 350, || flock(fd, libc::LOCK_SH));
    t.says("lock", got);
    t.says("child", make::end_of(child));
    make::close([ready, set, fd]);
}

fn fcntl_waits_for_a_process(t: &Trace) {
    let path = named();
    let (ready, set) = make::pipe();
    let its = path.clone();
    let child = make::child(move || {
        let fd = open(&its);
        fcntl(fd, libc::F_SETLK, libc::F_WRLCK, 0, 4);
        unsafe { libc::write(set, c"x".as_ptr().cast(), 1) };
        ms(400);
        fcntl(fd, libc::F_SETLK, libc::F_UNLCK, 0, 4);
        ms(100);
        0
    });
    let (fd, mut byte) = (open(&path), 0u8);
    unsafe { libc::read(ready, (&raw mut byte).cast(), 1) };
    t.says("at once", fcntl(fd, libc::F_SETLK, libc::F_RDLCK, 2, 4));
    t.says("beside", fcntl(fd, libc::F_SETLK, libc::F_WRLCK, 4, 4));
    let got = t.timed("wait", 350, || fcntl(fd, libc::F_SETLKW, libc::F_RDLCK, 2, 4));
    t.says("wait", got);
    t.says("child", make::end_of(child));
    make::close([ready, set, fd]);
}

fn fcntl_of_one_process_does_not_wait(t: &Trace) {
    let path = named();
    let (a, b) = (open(&path), open(&path));
    t.says("first", fcntl(a, libc::F_SETLKW, libc::F_WRLCK, 0, 0));
    t.says("second", fcntl(b, libc::F_SETLKW, libc::F_WRLCK, 0, 0));
    t.spawn("other", move |t| t.says("third", fcntl(b, libc::F_SETLKW, libc::F_RDLCK, 0, 0)))
        .join();
    make::close([a, b]);
}

fn fcntl_ends_with_any_close(t: &Trace) {
    let path = named();
    let (a, b) = (open(&path), open(&path));
    fcntl(a, libc::F_SETLK, libc::F_WRLCK, 0, 0);
    let probe = |path: &CString| {
        let path = path.clone();
        make::end_of(make::child(move || {
            let fd = open(&path);
            i32::from(fcntl(fd, libc::F_SETLK, libc::F_WRLCK, 0, 0).value == 0)
        }))
    };
    t.says("another process has it (1: yes)", probe(&path));
    close(b);
    t.says("another process has it (1: yes)", probe(&path));
    close(a);
}

fn fcntl_asks(t: &Trace) {
    let path = named();
    let fd = open(&path);
    fcntl(fd, libc::F_SETLK, libc::F_WRLCK, 3, 2);
    let me = std::process::id().cast_signed();
    let child = make::child(|| {
        let mut lock = range(libc::F_RDLCK, 0, 0);
        let answer = unsafe { libc::fcntl(fd, libc::F_GETLK, &raw mut lock) };
        let right = answer == 0
            && lock.l_type == libc::F_WRLCK as i16
            && (lock.l_start, lock.l_len, lock.l_pid) == (3, 2, me);
        i32::from(right)
    });
    t.says("a child sees whose it is (1: yes)", make::end_of(child));
    let mut lock = range(libc::F_RDLCK, 0, 0);
    t.says("one's own", ret(unsafe { libc::fcntl(fd, libc::F_GETLK, &raw mut lock) }));
    t.says("is nobody's", lock.l_type == libc::F_UNLCK as i16);
    close(fd);
}

fn fcntl_deadlock_is_found(t: &Trace) {
    let path = named();
    let fd = open(&path);
    let (ready, set) = make::pipe();
    fcntl(fd, libc::F_SETLK, libc::F_WRLCK, 0, 1);
    let child = make::child(|| {
        fcntl(fd, libc::F_SETLK, libc::F_WRLCK, 1, 1);
        unsafe { libc::write(set, c"x".as_ptr().cast(), 1) };
        // Waits for the parent's, and gets it at its end.
        i32::from(fcntl(fd, libc::F_SETLKW, libc::F_WRLCK, 0, 1).value != 0)
    });
    let mut byte = 0u8;
    unsafe { libc::read(ready, (&raw mut byte).cast(), 1) };
    ms(200);
    t.says("the circle", fcntl(fd, libc::F_SETLKW, libc::F_WRLCK, 1, 1));
    t.says("unlock", fcntl(fd, libc::F_SETLK, libc::F_UNLCK, 0, 1));
    t.says("child", make::end_of(child));
    make::close([ready, set, fd]);
}

fn fcntl_ranges(t: &Trace) {
    let path = named();
    let fd = open(&path);
    for (start, len) in [(-1, 1), (5, -3), (2, -3), (0, i64::MAX), (i64::MAX, 2), (100, 0)] {
        t.says(&format!("{start} {len}"), fcntl(fd, libc::F_SETLKW, libc::F_WRLCK, start, len));
    }
    t.says("kind 77", fcntl(fd, libc::F_SETLKW, 77, 0, 0));
    let read = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) };
    t.says("to write where one reads", fcntl(read, libc::F_SETLKW, libc::F_WRLCK, 0, 0));
    make::close([fd, read]);
}

fn open_descriptions_wait(t: &Trace) {
    let path = named();
    let (a, b) = (open(&path), open(&path));
    t.says("first", fcntl(a, libc::F_OFD_SETLK, libc::F_WRLCK, 0, 4));
    t.says("second, at once", fcntl(b, libc::F_OFD_SETLK, libc::F_WRLCK, 2, 4));
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("unlock", fcntl(a, libc::F_OFD_SETLK, libc::F_UNLCK, 0, 4));
    });
    let got = t.timed("second", 300, || fcntl(b, libc::F_OFD_SETLKW, libc::F_WRLCK, 2, 4));
    t.says("second", got);
    other.join();
    let mut lock = range(libc::F_RDLCK, 0, 0);
    let asked = ret(unsafe { libc::fcntl(a, libc::F_OFD_GETLK, &raw mut lock) });
    t.says("asked", format!("{asked}: {} at {} by {}", lock.l_type, lock.l_start, lock.l_pid));
    make::close([a, b]);
}

fn lockf_waits_for_a_process(t: &Trace) {
    let path = named();
    let (ready, set) = make::pipe();
    let its = path.clone();
    let child = make::child(move || {
        let fd = open(&its);
        unsafe { libc::lockf(fd, libc::F_LOCK, 0) };
        unsafe { libc::write(set, c"x".as_ptr().cast(), 1) };
        ms(400);
        0
    });
    let (fd, mut byte) = (open(&path), 0u8);
    unsafe { libc::read(ready, (&raw mut byte).cast(), 1) };
    t.says("test", ret(unsafe { libc::lockf(fd, libc::F_TEST, 0) }));
    t.says("try", ret(unsafe { libc::lockf(fd, libc::F_TLOCK, 0) }));
    let got = t.timed("lock", 350, || ret(unsafe { libc::lockf(fd, libc::F_LOCK, 0) }));
    t.says("lock", got);
    t.says("child", make::end_of(child));
    make::close([ready, set, fd]);
}

fn lockf_from_a_position(t: &Trace) {
    let path = named();
    let fd = open(&path);
    t.says("seek", ret(unsafe { libc::lseek(fd, 4, libc::SEEK_SET) }));
    for (what, len) in
        [(libc::F_LOCK, 2), (libc::F_LOCK, -2), (libc::F_TEST, 0), (libc::F_ULOCK, 1)]
    {
        t.says(&format!("{what} {len}"), ret(unsafe { libc::lockf(fd, what, len) }));
    }
    t.says("before the file", ret(unsafe { libc::lockf(fd, libc::F_LOCK, -9) }));
    t.says("no such operation", ret(unsafe { libc::lockf(fd, 9, 0) }));
    close(fd);
}

fn lease_is_broken(t: &Trace) {
    let path = named();
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY) };
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    t.says("lease", ret(unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) }));
    let at_once = libc::O_WRONLY | libc::O_NONBLOCK;
    t.says("open, at once", say::ok(unsafe { libc::open(path.as_ptr(), at_once) }));
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("let go", ret(unsafe { libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) }));
    });
    let opened = t.timed("open", 300, || unsafe { libc::open(path.as_ptr(), libc::O_WRONLY) });
    t.says("open", say::ok(opened));
    other.join();
    make::close([fd, opened]);
}

fn many_wait_in_turn(t: &Trace) {
    let path = named();
    let a = open(&path);
    flock(a, libc::LOCK_EX);
    let all: Vec<_> = (0..12)
        .map(|i| {
            let path = path.clone();
            t.spawn(&format!("number {i:02}"), move |t| {
                let fd = open(&path);
                t.says("lock", flock(fd, libc::LOCK_EX));
                ms(2);
                close(fd);
            })
        })
        .collect();
    ms(100);
    t.says("over before", all.iter().filter(|flow| flow.is_over()).count());
    close(a);
    for flow in all {
        flow.join();
    }
}
