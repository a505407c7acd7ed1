//! FIFOs, and pipes that are opened again by name: their ends come and go.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::{fill, read, write};
use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};
use libc::c_int;

/// Moves from one to another.
type Move = fn(c_int, c_int) -> isize;

pub(crate) fn rows() -> Vec<Row> {
    rows![
        never_a_writer,
        never_a_writer_nonblocking,
        never_a_writer_splice,
        a_writer_that_comes_and_goes,
        a_writer_that_waits,
        both_ways,
        opened_again,
        small_writes_fit_where_poll_says_full,
        a_full_one_is_written_later,
        a_full_one_loses_its_reader,
        empty_and_full_nonblocking,
        sixteen_wait_for_one,
    ]
}

/// A FIFO without a name, opened so; more of it can be had by `again`.
fn fifo(flags: c_int) -> c_int {
    let path = make::path();
    let name = make::c(&path);
    unsafe {
        assert_eq!(libc::mkfifo(name.as_ptr(), 0o600), 0, "a FIFO");
        let fd = libc::open(name.as_ptr(), flags);
        libc::unlink(name.as_ptr());
        fd
    }
}

fn again(fd: c_int, flags: c_int) -> c_int {
    let name = make::c(format!("/proc/self/fd/{fd}").as_ref());
    unsafe { libc::open(name.as_ptr(), flags) }
}

fn never_a_writer_nonblocking(t: &Trace) {
    let fd = fifo(libc::O_RDONLY | libc::O_NONBLOCK);
    t.says("read", read(fd));
    let _writer = again(fd, libc::O_WRONLY);
    t.says("with a writer", read(fd));
}

fn never_a_writer(t: &Trace) {
    let fd = fifo(libc::O_RDONLY | libc::O_NONBLOCK);
    make::nonblocking(fd, false);
    for what in ["read", "once more"] {
        let got = t.within(what, 3_000, move || read(fd));
        t.says(what, got.map_or(String::new(), |got| got.to_string()));
    }
    let mut bytes = [0u8; 8];
    let list = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 8 };
    t.says("readv", ret(unsafe { libc::readv(fd, &raw const list, 1) }));
}

fn never_a_writer_splice(t: &Trace) {
    let fd = fifo(libc::O_RDONLY | libc::O_NONBLOCK);
    make::nonblocking(fd, false);
    let (_reader, writer) = make::pipe();
    let none = std::ptr::null_mut();
    let calls: [(_, Move); 2] = [
        ("splice", |from, to| unsafe {
            libc::splice(from, std::ptr::null_mut(), to, std::ptr::null_mut(), 9, 0)
        }),
        ("tee", |from, to| unsafe { libc::tee(from, to, 9, 0) }),
    ];
    for (what, call) in calls {
        let got = t.within(what, 3_000, move || ret(call(fd, writer)));
        t.says(what, got.map_or(String::new(), |got| got.to_string()));
    }
    let file = make::file(b"");
    t.says("to a file", ret(unsafe { libc::splice(fd, none, file, none, 9, 0) }));
}

fn a_writer_that_comes_and_goes(t: &Trace) {
    let fd = fifo(libc::O_RDONLY | libc::O_NONBLOCK);
    make::nonblocking(fd, false);
    for _ in 0..2 {
        let writer = again(fd, libc::O_WRONLY);
        let other = t.spawn("writer", move |t| {
            ms(200);
            t.says("write", write(writer, b"hello"));
            ms(100);
            unsafe { libc::close(writer) };
        });
        let got = t.timed("read", 200, || read(fd));
        t.says("read", got);
        t.says("then", read(fd));
        other.join();
        t.says("after it", read(fd));
    }
}

fn a_writer_that_waits(t: &Trace) {
    let path = make::path();
    let name = make::c(&path);
    unsafe { assert_eq!(libc::mkfifo(name.as_ptr(), 0o600), 0, "a FIFO") };
    let its = name.clone();
    let other = t.spawn("writer", move |t| {
        let fd = unsafe { libc::open(its.as_ptr(), libc::O_WRONLY) };
        t.says("write", write(fd, b"hello"));
        ms(200);
        unsafe { libc::close(fd) };
    });
    let fd = unsafe { libc::open(name.as_ptr(), libc::O_RDONLY) };
    t.says("read", read(fd));
    let got = t.timed("the end", 200, || read(fd));
    t.says("the end", got);
    other.join();
    let _ = std::fs::remove_file(path);
}

fn both_ways(t: &Trace) {
    let fd = fifo(libc::O_RDWR);
    let other = t.spawn("writer", move |t| {
        ms(200);
        t.says("write", write(fd, b"hello"));
    });
    let got = t.timed("read", 200, || read(fd));
    t.says("read", got);
    other.join();
}

fn opened_again(t: &Trace) {
    let (reader, writer) = make::pipe();
    let (reader2, writer2) = (again(reader, libc::O_RDONLY), again(reader, libc::O_WRONLY));
    let other = t.spawn("writer", move |t| {
        ms(200);
        t.says("write", write(writer2, b"hello"));
    });
    let got = t.timed("read", 200, || read(reader2));
    t.says("read", got);
    other.join();
    unsafe { libc::close(writer) };
    unsafe { libc::close(writer2) };
    t.says("the end", read(reader2));
    t.says("the other's end", read(reader));
}

fn small_writes_fit_where_poll_says_full(t: &Trace) {
    let fd = fifo(libc::O_RDWR);
    t.says("size", ret(unsafe { libc::fcntl(fd, libc::F_SETPIPE_SZ, 4096) }));
    t.says("write", write(fd, b"hello"));
    let got = t.within("more", 3_000, move || write(fd, b"there"));
    t.says("more", got.map_or(String::new(), |got| got.to_string()));
    let list = libc::iovec { iov_base: b"you".as_ptr().cast_mut().cast(), iov_len: 3 };
    t.says("and more", ret(unsafe { libc::writev(fd, &raw const list, 1) }));
    t.says("read", read(fd));
}

fn a_full_one_is_written_later(t: &Trace) {
    let fd = fifo(libc::O_RDWR);
    fill(fd);
    let reader = t.spawn("reader", move |_| {
        ms(200);
        let mut bytes = vec![0u8; 65_536];
        unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) };
    });
    let got = t.timed("write", 200, || write(fd, b"hello"));
    t.says("write", got);
    reader.join();
    t.says("read", read(fd));
}

fn a_full_one_loses_its_reader(t: &Trace) {
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let reader = fifo(libc::O_RDONLY | libc::O_NONBLOCK);
    let writer = again(reader, libc::O_WRONLY);
    fill(writer);
    let other = t.spawn("other", move |_| {
        ms(200);
        unsafe { libc::close(reader) };
    });
    let got = t.timed("write", 200, || write(writer, b"hello"));
    t.says("write", got);
    other.join();
}

fn empty_and_full_nonblocking(t: &Trace) {
    let fd = fifo(libc::O_RDWR | libc::O_NONBLOCK);
    t.says("read", read(fd));
    while write(fd, &[b'.'; 4096]).value > 0 {}
    t.says("write", write(fd, b"x"));
}

fn sixteen_wait_for_one(t: &Trace) {
    let fd = fifo(libc::O_RDWR);
    let readers: Vec<_> =
        (0..16).map(|i| t.spawn(&format!("reader {i}"), move |_| read(fd).value)).collect();
    ms(100);
    for _ in 0..16 {
        say::ok(write(fd, b"a word!!").value);
    }
    let sum: i64 = readers.into_iter().map(|reader| reader.join()).sum();
    t.says("sum", sum);
}
