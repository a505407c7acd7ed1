//! Lists of buffers: what the kernel refuses, and bad addresses.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::{read, write};
use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows};
use libc::{c_int, iovec};

/// A kind of descriptor that can be read and written.
type Ends = fn() -> (c_int, c_int);

const KINDS: [(&str, Ends); 7] = [
    ("a_pipe", make::pipe),
    ("tcp", make::tcp),
    ("a_local_stream", || make::socketpair(libc::SOCK_STREAM)),
    ("local_datagrams", || make::socketpair(libc::SOCK_DGRAM)),
    ("a_file", || {
        let fd = make::file(b"");
        (fd, fd)
    }),
    ("null", || {
        let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        (fd, fd)
    }),
    ("a_counter", || {
        let fd = unsafe { libc::eventfd(1, 0) };
        (fd, fd)
    }),
];

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![at_offsets, of_other_processes, a_list_at_the_edge, an_odd_list];
    for (kind, ends) in KINDS {
        rows.push(Row::new(format!("writev_of_{kind}"), move |t: &Trace| {
            let (_, fd) = ends();
            refused(t, |list, n| ret(unsafe { libc::writev(fd, list, n) }).to_string());
        }));
        rows.push(Row::new(format!("readv_of_{kind}"), move |t: &Trace| {
            let (fd, other) = ends();
            // So that no call waits.
            write(other, &1u64.to_ne_bytes());
            write(other, &1u64.to_ne_bytes());
            if kind == "a_file" {
                unsafe { libc::lseek(fd, 0, libc::SEEK_SET) };
            }
            refused(t, |list, n| ret(unsafe { libc::readv(fd, list, n) }).to_string());
        }));
        rows.push(Row::new(format!("buffers_of_{kind}"), move |t: &Trace| {
            let (fd, other) = ends();
            let bad = make::bad::<libc::c_void>();
            unsafe {
                t.says("write", ret(libc::write(other, bad, 8)));
                t.says("write nothing", ret(libc::write(other, bad, 0)));
                write(other, &1u64.to_ne_bytes());
                if kind == "a_file" {
                    libc::lseek(fd, 0, libc::SEEK_SET);
                }
                t.says("read nothing", ret(libc::read(fd, bad, 0)));
                t.says("read", ret(libc::read(fd, bad, 8)));
            }
        }));
    }
    for (kind, ends) in &KINDS[..3] {
        let ends = *ends;
        rows.push(Row::new(format!("pieces_of_{kind}"), move |t: &Trace| pieces(t, ends)));
    }
    rows
}

fn buffer(bytes: &mut [u8]) -> iovec {
    iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

fn refused(t: &Trace, call: impl Fn(*const iovec, c_int) -> String) {
    let mut bytes = [b'x'; 4];
    let good = buffer(&mut bytes);
    let none = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    let negative = iovec { iov_len: usize::MAX, ..good };
    let bad = iovec { iov_base: make::bad(), iov_len: 4 };
    let many = vec![good; 1025];
    t.says("no list", call(std::ptr::null(), 1));
    t.says("a bad list", call(make::bad(), 1));
    t.says("a bad list of many", call(make::bad(), 1000));
    t.says("a list that wraps", call(usize::MAX as *const iovec, 2));
    t.says("less than none", call(&raw const good, -1));
    t.says("the least number", call(make::bad(), c_int::MIN));
    t.says("too many", call(many.as_ptr(), 1025));
    t.says("too many, bad", call(make::bad(), 1025));
    t.says("a negative length", call([good, negative].as_ptr(), 2));
    t.says("a bad buffer", call([bad].as_ptr(), 1));
    t.says("of nothing", call([none, none].as_ptr(), 2));
    t.says("none", call(std::ptr::null(), 0));
    t.says("none, bad", call(make::bad(), 0));
    t.says("a good one", call([none, good, none].as_ptr(), 3));
}

fn at_offsets(t: &Trace) {
    let fd = make::file(b"hello");
    let mut bytes = [0u8; 4];
    let good = buffer(&mut bytes);
    unsafe {
        t.says("preadv", ret(libc::preadv(fd, make::bad(), 1, 0)));
        t.says("pwritev", ret(libc::pwritev(fd, make::bad(), 1, 0)));
        t.says("preadv, negative", ret(libc::preadv(fd, &raw const good, 1, -1)));
        t.says("pwritev, -1 of them", ret(libc::pwritev(fd, &raw const good, -1, 0)));
        t.says("preadv, good", ret(libc::preadv(fd, &raw const good, 1, 1)));
        t.says("preadv2, where it is", ret(libc::preadv2(fd, &raw const good, 1, -1, 0)));
        t.says("preadv2, bad flags", ret(libc::preadv2(fd, &raw const good, 1, -1, 1 << 20)));
        t.says("pwritev2, bad list", ret(libc::pwritev2(fd, make::bad(), 1, 0, 0)));
        t.says("pread", ret(libc::pread(fd, make::bad(), 1, 0)));
        let (reader, _writer) = make::pipe();
        t.says("preadv of a pipe", ret(libc::preadv(reader, &raw const good, 1, 0)));
        t.says("pread of a pipe", ret(libc::pread(reader, bytes.as_mut_ptr().cast(), 1, 0)));
    }
}

fn of_other_processes(t: &Trace) {
    let mut bytes = [1u8; 4];
    let mut other = [2u8; 4];
    let (to, from) = (buffer(&mut bytes), buffer(&mut other));
    unsafe {
        let pid = libc::getpid();
        t.says("bad", ret(libc::process_vm_readv(pid, &raw const to, 1, make::bad(), 1, 0)));
        t.says("bad", ret(libc::process_vm_writev(pid, make::bad(), 1, &raw const from, 1, 0)));
        t.says("good", ret(libc::process_vm_readv(pid, &raw const to, 1, &raw const from, 1, 0)));
    }
    t.says("bytes", format!("{bytes:?}"));
}

/// A list that ends where memory does, and one that goes on where there is none.
fn a_list_at_the_edge(t: &Trace) {
    let (fd, other) = make::pipe();
    let edge = make::Edge::new(size_of::<iovec>());
    let mut bytes = *b"hello";
    let list = edge.as_ptr::<iovec>();
    unsafe {
        list.write_unaligned(buffer(&mut bytes));
        t.says("writev", ret(libc::writev(other, list, 1)));
        t.says("writev, one more", ret(libc::writev(other, list, 2)));
        t.says("readv", ret(libc::readv(fd, list, 1)));
    }
    t.says("neighbour", edge.neighbour_is_well());
}

fn an_odd_list(t: &Trace) {
    let (fd, other) = make::pipe();
    let mut bytes = *b"hello";
    let mut room = [0u8; 64];
    unsafe {
        let list = room.as_mut_ptr().add(1).cast::<iovec>();
        list.write_unaligned(buffer(&mut bytes));
        t.says("writev", ret(libc::writev(other, list, 1)));
        t.says("readv", ret(libc::readv(fd, list, 1)));
    }
}

/// A list that is written in several pieces, as there is no room; then all that was written is read.
fn pieces(t: &Trace, ends: Ends) {
    let (fd, other) = ends();
    unsafe { libc::fcntl(other, libc::F_SETPIPE_SZ, 8192) };
    let writer = t.spawn("writer", move |t| {
        let mut all: Vec<Vec<u8>> = (0..200u8).map(|i| vec![i; 1 + usize::from(i) * 5]).collect();
        let list: Vec<iovec> = all.iter_mut().map(|one| buffer(one)).collect();
        t.says("writev", ret(unsafe { libc::writev(other, list.as_ptr(), 200) }));
        unsafe { libc::close(other) };
    });
    ms(100);
    let (mut n, mut sum) = (0, 0u64);
    while n < 99_700 {
        let mut bytes = [0u8; 3000];
        let mut more = [0u8; 3000];
        let list = [buffer(&mut bytes), buffer(&mut more)];
        let got = ret(unsafe { libc::readv(fd, list.as_ptr(), 2) });
        if got.value <= 0 {
            t.says("readv", got);
            break;
        }
        n += got.value as usize;
        let both = bytes.iter().chain(&more);
        sum += both.take(got.value as usize).map(|byte| u64::from(*byte)).sum::<u64>();
        if n < 20_000 {
            ms(1);
        }
    }
    writer.join();
    t.says("read", n);
    t.says("sum", sum);
    if n < 99_700 {
        t.says("the end", read(fd));
    }
}
