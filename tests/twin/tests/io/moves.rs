//! `splice`, `tee`, `vmsplice`, `sendfile`: flags, nothing to move, directions, and what can't be moved.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::{fill, read, write};
use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows};
use libc::{c_int, c_uint, iovec, off_t, off64_t};
use std::ptr::null_mut;

/// Moves from one to another.
type Move = fn(c_int, c_int) -> isize;

/// Makes a descriptor.
type Make = fn() -> c_int;

/// One of each kind of descriptor, to move from, and to move to.
const KINDS: [(&str, Make); 10] = [
    ("an_empty_pipe", || keep(make::pipe()).0),
    ("a_write_end", || keep(make::pipe()).1),
    ("a_stream", || keep(make::socketpair(libc::SOCK_STREAM)).0),
    ("a_file", || make::file(b"hello")),
    ("null", || unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) }),
    ("a_counter", || unsafe { libc::eventfd(0, 0) }),
    ("an_epoll", || unsafe { libc::epoll_create1(0) }),
    ("signals", || unsafe {
        let set: libc::sigset_t = std::mem::zeroed();
        libc::signalfd(-1, &raw const set, 0)
    }),
    ("a_directory", || unsafe { libc::open(c"/".as_ptr(), libc::O_RDONLY) }),
    ("no_number", || -1),
];

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        nothing_to_move,
        not_to_wait,
        offsets_of_pipes,
        a_pipe_and_itself,
        memory_from_a_pipe,
        memory_from_an_empty_pipe,
        memory_to_a_full_pipe,
        lists_that_are_bad,
        tee_waits_for_both,
        splice_waits_for_data,
        splice_to_a_full_pipe,
        a_whole_file_to_a_socket,
        a_whole_file_to_a_pipe,
        a_file_at_its_end,
        sendfile_offsets,
        sendfile_nonblocking,
        sendfile_to_a_file,
    ];
    for (from, make_from) in KINDS {
        for (to, make_to) in KINDS {
            // A pipe whose other end lives is empty for ever, and what can be moved from it is waited for.
            let waits = from == "an_empty_pipe"
                && matches!(to, "a_write_end" | "a_stream" | "a_file" | "null")
                || from == "a_stream" && to == "a_write_end";
            if !waits {
                rows.push(Row::new(format!("from_{from}_to_{to}"), move |t: &Trace| {
                    can_not_be_moved(t, make_from, make_to);
                }));
            }
        }
    }
    rows
}

/// The other end stays open.
fn keep<T>(ends: T) -> T {
    ends
}

fn splice(from: c_int, to: c_int, n: usize, flags: c_uint) -> isize {
    unsafe { libc::splice(from, null_mut(), to, null_mut(), n, flags) }
}

fn can_not_be_moved(t: &Trace, from: fn() -> c_int, to: fn() -> c_int) {
    let calls: [(_, Move); 3] = [
        ("splice", |from, to| splice(from, to, 9, 0)),
        ("tee", |from, to| unsafe { libc::tee(from, to, 9, 0) }),
        ("sendfile", |from, to| unsafe { libc::sendfile(to, from, null_mut(), 9) }),
    ];
    for (what, call) in calls {
        let (from, to) = (from(), to());
        let got = t.within(what, 3_000, move || ret(call(from, to)));
        t.says(what, got.map_or(String::new(), |got| got.to_string()));
    }
}

fn nothing_to_move(t: &Trace) {
    let (from, _writer) = make::pipe();
    let (_reader, to) = make::pipe();
    let (socket, _other) = make::socketpair(libc::SOCK_STREAM);
    let file = make::file(b"hello");
    fill(to);
    fill(socket);
    let calls: [(_, Box<dyn FnOnce() -> isize + Send>); 6] = [
        ("splice", Box::new(move || splice(from, to, 0, 0))),
        ("tee", Box::new(move || unsafe { libc::tee(from, to, 0, 0) })),
        ("vmsplice", Box::new(move || unsafe { libc::vmsplice(to, null_mut(), 0, 0) })),
        (
            "vmsplice of nothing",
            Box::new(move || unsafe {
                let none = iovec { iov_base: null_mut(), iov_len: 0 };
                libc::vmsplice(to, &raw const none, 1, 0)
            }),
        ),
        (
            "vmsplice to memory",
            Box::new(move || unsafe {
                let none = iovec { iov_base: null_mut(), iov_len: 0 };
                libc::vmsplice(from, &raw const none, 1, 0)
            }),
        ),
        ("sendfile", Box::new(move || unsafe { libc::sendfile(socket, file, null_mut(), 0) })),
    ];
    for (what, call) in calls {
        let got = t.within(what, 3_000, move || ret(call()));
        t.says(what, got.map_or(String::new(), |got| got.to_string()));
    }
}

fn not_to_wait(t: &Trace) {
    let (from, _writer) = make::pipe();
    let (_reader, to) = make::pipe();
    let flags = libc::SPLICE_F_NONBLOCK;
    t.says("splice", ret(splice(from, to, 9, flags)));
    t.says("tee", ret(unsafe { libc::tee(from, to, 9, flags) }));
    let mut bytes = [0u8; 8];
    let list = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 8 };
    t.says("vmsplice from", ret(unsafe { libc::vmsplice(from, &raw const list, 1, flags) }));
    fill(to);
    t.says("vmsplice to", ret(unsafe { libc::vmsplice(to, &raw const list, 1, flags) }));
    t.says("bad flags", ret(splice(from, to, 9, 1 << 20)));
    t.says("bad flags, tee", ret(unsafe { libc::tee(from, to, 9, 1 << 20) }));
    t.says("bad flags, vmsplice", ret(unsafe { libc::vmsplice(to, &raw const list, 1, 1 << 20) }));
    make::nonblocking(from, true);
    t.says("a pipe that does not wait", ret(splice(from, to, 9, 0)));
    t.says("tee of one", ret(unsafe { libc::tee(from, to, 9, 0) }));
    // It does not say so.
    let list = &raw const list as usize;
    t.hangs_after("vmsplice of one", 500, move || {
        ret(unsafe { libc::vmsplice(from, list as *const iovec, 1, 0) })
    });
}

fn offsets_of_pipes(t: &Trace) {
    let (from, _writer) = make::pipe();
    let file = make::file(b"hello");
    let mut at: off64_t = 0;
    let at = &raw mut at;
    unsafe {
        t.says("of the first", ret(libc::splice(from, at, file, null_mut(), 9, 0)));
        t.says("of the second", ret(libc::splice(file, null_mut(), from, at, 9, 0)));
        t.says("bad, of the second", ret(libc::splice(from, null_mut(), file, make::bad(), 9, 0)));
    }
}

fn a_pipe_and_itself(t: &Trace) {
    let (from, to) = make::pipe();
    t.says("splice", ret(splice(from, to, 9, 0)));
    t.says("tee", ret(unsafe { libc::tee(from, to, 9, 0) }));
}

fn memory_from_a_pipe(t: &Trace) {
    let (from, to) = make::pipe();
    write(to, b"hello");
    let mut bytes = [0u8; 8];
    let list = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 8 };
    let at = &raw const list as usize;
    let got = t.within("vmsplice", 3_000, move || {
        ret(unsafe { libc::vmsplice(from, at as *const iovec, 1, 0) })
    });
    t.says("vmsplice", got.map_or(String::new(), |got| got.to_string()));
    t.says("bytes", format!("{bytes:?}"));
}

fn memory_from_an_empty_pipe(t: &Trace) {
    let (from, to) = make::pipe();
    let other = t.spawn("writer", move |_| {
        ms(200);
        write(to, b"hello");
        ms(200);
        unsafe { libc::close(to) };
    });
    let mut bytes = [0u8; 8];
    let list = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 8 };
    for what in ["vmsplice", "at its end"] {
        let got =
            t.timed(what, 200, || ret(unsafe { libc::vmsplice(from, &raw const list, 1, 0) }));
        t.says(what, got);
    }
    other.join();
}

fn memory_to_a_full_pipe(t: &Trace) {
    let (from, to) = make::pipe();
    fill(to);
    let other = t.spawn("reader", move |_| {
        ms(200);
        let mut all = vec![0u8; 65_536];
        unsafe { libc::read(from, all.as_mut_ptr().cast(), all.len()) };
    });
    let list = iovec { iov_base: b"hello".as_ptr().cast_mut().cast(), iov_len: 5 };
    let got =
        t.timed("vmsplice", 200, || ret(unsafe { libc::vmsplice(to, &raw const list, 1, 0) }));
    t.says("vmsplice", got);
    other.join();
    t.says("read", read(from));
}

fn lists_that_are_bad(t: &Trace) {
    let (from, to) = make::pipe();
    let (_reader, full) = make::pipe();
    fill(full);
    for (what, fd) in [("from", from), ("to", to), ("full", full), ("none", -1)] {
        let got = t.within(what, 3_000, move || unsafe {
            let bad = ret(libc::vmsplice(fd, make::bad(), 1, 0));
            let many = ret(libc::vmsplice(fd, make::bad(), 1025, 0));
            let negative = iovec { iov_base: make::bad(), iov_len: usize::MAX };
            let negative = ret(libc::vmsplice(fd, &raw const negative, 1, 0));
            format!("{bad}, {many}, {negative}")
        });
        t.says(what, got.unwrap_or_default());
    }
}

fn tee_waits_for_both(t: &Trace) {
    let (from, writer) = make::pipe();
    let (reader, to) = make::pipe();
    fill(to);
    let other = t.spawn("other", move |_| {
        ms(200);
        write(writer, b"hello");
        ms(200);
        let mut all = vec![0u8; 65_536];
        unsafe { libc::read(reader, all.as_mut_ptr().cast(), all.len()) };
    });
    let got = t.timed("tee", 400, || ret(unsafe { libc::tee(from, to, 9, 0) }));
    t.says("tee", got);
    other.join();
    t.says("read", read(reader));
    t.says("it is still there", read(from));
}

fn splice_waits_for_data(t: &Trace) {
    let (from, writer) = make::pipe();
    let other = t.spawn("writer", move |_| {
        for _ in 0..3 {
            ms(200);
            write(writer, b"hello");
        }
        ms(200);
        unsafe { libc::close(writer) };
    });
    let (socket, its_other) = make::socketpair(libc::SOCK_STREAM);
    let (_reader, pipe) = make::pipe();
    for (what, to) in [("a pipe", pipe), ("a stream", socket), ("a file", make::file(b""))] {
        let got = t.timed(what, 200, || ret(splice(from, to, 9, 0)));
        t.says(what, got);
    }
    let got = t.timed("the end", 200, || ret(splice(from, socket, 9, 0)));
    t.says("the end", got);
    other.join();
    t.says("what came", read(its_other));
}

fn splice_to_a_full_pipe(t: &Trace) {
    let (reader, to) = make::pipe();
    fill(to);
    let other = t.spawn("reader", move |_| {
        ms(200);
        let mut all = vec![0u8; 65_536];
        unsafe { libc::read(reader, all.as_mut_ptr().cast(), all.len()) };
    });
    let file = make::file(b"hello");
    let got = t.timed("splice", 200, || ret(splice(file, to, 9, 0)));
    t.says("splice", got);
    other.join();
}

/// Sends a file of 3 MB, whose reader is slow.
fn send_whole(t: &Trace, (fd, other): (c_int, c_int)) {
    let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let file = make::file(&bytes);
    let sender = t.spawn("sender", move |t| {
        t.says("sendfile", ret(unsafe { libc::sendfile(other, file, null_mut(), 5_000_000) }));
        t.says("position", ret(unsafe { libc::lseek(file, 0, libc::SEEK_CUR) }));
        unsafe { libc::close(other) };
    });
    ms(100);
    let mut all = Vec::new();
    let mut piece = vec![0u8; 100_000];
    loop {
        let n = unsafe { libc::read(fd, piece.as_mut_ptr().cast(), piece.len()) };
        if n <= 0 {
            break;
        }
        all.extend_from_slice(&piece[..n as usize]);
    }
    sender.join();
    t.says("all is there", all == bytes);
}

fn a_whole_file_to_a_socket(t: &Trace) {
    send_whole(t, make::tcp());
    send_whole(t, make::socketpair(libc::SOCK_STREAM));
}

fn a_whole_file_to_a_pipe(t: &Trace) {
    send_whole(t, make::pipe());
}

fn a_file_at_its_end(t: &Trace) {
    let (socket, _other) = make::socketpair(libc::SOCK_STREAM);
    let (_reader, pipe) = make::pipe();
    for (what, to) in [("a socket", socket), ("a pipe", pipe)] {
        fill(to);
        let got = t.within(what, 3_000, move || {
            let file = make::file(b"hello");
            unsafe { libc::lseek(file, 5, libc::SEEK_SET) };
            let mut at: off_t = 7;
            let there = ret(unsafe { libc::sendfile(to, file, null_mut(), 9) });
            let beyond = ret(unsafe { libc::sendfile(to, file, &raw mut at, 9) });
            let bad = ret(unsafe { libc::sendfile(to, file, make::bad(), 9) });
            format!("{there}, {beyond}, {bad}")
        });
        t.says(what, got.unwrap_or_default());
    }
}

fn sendfile_offsets(t: &Trace) {
    let (fd, other) = make::tcp();
    let file = make::file(b"hello, you");
    let mut at: off_t = 7;
    t.says("at 7", ret(unsafe { libc::sendfile(other, file, &raw mut at, 2) }));
    t.says("then", at);
    t.says("position", ret(unsafe { libc::lseek(file, 0, libc::SEEK_CUR) }));
    at = -1;
    t.says("negative", ret(unsafe { libc::sendfile(other, file, &raw mut at, 2) }));
    t.says("read", read(fd));
    let (pipe, _writer) = make::pipe();
    t.says("from a pipe", ret(unsafe { libc::sendfile(other, pipe, &raw mut at, 2) }));
}

fn sendfile_nonblocking(t: &Trace) {
    let (reader, to) = make::pipe();
    make::nonblocking(to, true);
    let file = make::file(&[1; 200_000]);
    t.says("sendfile", ret(unsafe { libc::sendfile(to, file, null_mut(), 200_000) }));
    t.says("full", ret(unsafe { libc::sendfile(to, file, null_mut(), 200_000) }));
    t.says("read", read(reader));
}

fn sendfile_to_a_file(t: &Trace) {
    let (from, to) = (make::file(&[1; 200_000]), make::file(b""));
    t.says("sendfile", ret(unsafe { libc::sendfile(to, from, null_mut(), 300_000) }));
    t.says("again", ret(unsafe { libc::sendfile(to, from, null_mut(), 300_000) }));
}
