//! Numbers that stand for another file while a call waits: the wait goes on with the old one.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::{fill, read, write};
use goroutines_twin_tests::{Row, Trace, make, ms, ret, say};
use libc::c_int;
use std::io::Write;

/// Puts the first over the second.
type Replace = fn(c_int, c_int) -> c_int;

const WAYS: [(&str, Replace); 4] = [
    ("dup2", |from, to| unsafe { libc::dup2(from, to) }),
    ("dup3", |from, to| unsafe { libc::dup3(from, to, libc::O_CLOEXEC) }),
    ("sys_dup2", |from, to| unsafe { libc::syscall(libc::SYS_dup2, from, to) as c_int }),
    ("sys_dup3", |from, to| unsafe { libc::syscall(libc::SYS_dup3, from, to, 0) as c_int }),
];

type Ends = fn() -> (c_int, c_int);

const KINDS: [(&str, Ends); 4] = [
    ("a_pipe", make::pipe),
    ("tcp", make::tcp),
    ("a_local_stream", || make::socketpair(libc::SOCK_STREAM)),
    ("udp", make::udp),
];

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (way, replace) in WAYS {
        for (kind, ends) in KINDS {
            rows.push(Row::new(format!("{way}_over_a_reader_of_{kind}"), move |t: &Trace| {
                over_a_reader(t, replace, ends);
            }));
            if kind != "udp" {
                rows.push(Row::new(format!("{way}_over_a_writer_of_{kind}"), move |t: &Trace| {
                    over_a_writer(t, replace, ends);
                }));
            }
        }
    }
    for (kind, ends) in &KINDS[1..] {
        for (call, receive) in RECEIVERS {
            if *kind == "udp" && call == "recv_whole" {
                continue;
            }
            rows.push(Row::new(format!("dup2_over_{call}_of_{kind}"), move |t| {
                over_a_receiver(t, receive, *ends);
            }));
        }
        for (call, send) in SENDERS {
            if *kind != "udp" {
                rows.push(Row::new(format!("dup2_over_{call}_of_{kind}"), move |t| {
                    over_a_sender(t, send, *ends);
                }));
            }
        }
    }
    rows.push(Row::new("standard_streams", standard_streams));
    rows.push(Row::new("several_wait_for_one", several));
    rows.push(Row::new("a_copy_that_fails", a_copy_that_fails));
    rows.push(Row::new("replaced_and_closed", replaced_and_closed));
    rows
}

fn over_a_reader(t: &Trace, replace: Replace, ends: Ends) {
    let ((fd, other), (new, its_other)) = (ends(), ends());
    let reader = t.spawn("reader", move |t| {
        t.says("read", read(fd));
        t.says("again", read(fd));
    });
    ms(300);
    t.says("replace", say::ok(replace(new, fd)));
    t.says("is over", reader.over_within(100));
    write(its_other, b"new one");
    t.says("is over", reader.over_within(100));
    write(other, b"old");
    reader.join();
}

/// A call that receives six bytes, or what there is.
type Receive = fn(c_int) -> String;

const RECEIVERS: [(&str, Receive); 5] = [
    ("recv", |fd| received(fd, 0)),
    ("recv_whole", |fd| received(fd, libc::MSG_WAITALL)),
    ("recvfrom", |fd| unsafe {
        let mut room = [0u8; 6];
        let (mut from, mut len) = (std::mem::zeroed::<libc::sockaddr_storage>(), 128);
        let (at, from) = (room.as_mut_ptr().cast(), (&raw mut from).cast());
        let got = ret(libc::recvfrom(fd, at, 6, 0, from, &raw mut len)).to_string();
        format!("{got} {}", say::bytes(&room))
    }),
    ("recvmsg", |fd| unsafe {
        let mut room = [0u8; 6];
        let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: 6 };
        let mut header: libc::msghdr = std::mem::zeroed();
        (header.msg_iov, header.msg_iovlen) = (&raw mut part, 1);
        let got = ret(libc::recvmsg(fd, &raw mut header, 0)).to_string();
        format!("{got} {}", say::bytes(&room))
    }),
    ("recvmmsg", |fd| unsafe {
        let mut room = [[0u8; 3]; 2];
        let mut parts = room
            .each_mut()
            .map(|one| libc::iovec { iov_base: one.as_mut_ptr().cast(), iov_len: 3 });
        let mut list: [libc::mmsghdr; 2] = std::mem::zeroed();
        for (one, part) in list.iter_mut().zip(&mut parts) {
            (one.msg_hdr.msg_iov, one.msg_hdr.msg_iovlen) = (&raw mut *part, 1);
        }
        let got = ret(libc::recvmmsg(fd, list.as_mut_ptr(), 2, 0, std::ptr::null_mut()));
        format!("{got} {}", say::bytes(room.as_flattened()))
    }),
];

fn received(fd: c_int, flags: c_int) -> String {
    let mut room = [0u8; 6];
    let got = ret(unsafe { libc::recv(fd, room.as_mut_ptr().cast(), 6, flags) }).to_string();
    format!("{got} {}", say::bytes(&room))
}

fn over_a_receiver(t: &Trace, receive: Receive, ends: Ends) {
    let ((fd, other), (new, its_other)) = (ends(), ends());
    let receiver = t.spawn("receiver", move |t| {
        t.says("receive", receive(fd));
        t.says("again", receive(fd));
    });
    ms(300);
    t.says("replace", say::ok(unsafe { libc::dup2(new, fd) }));
    write(its_other, b"new");
    t.says("is over", receiver.over_within(200));
    write(other, b"old");
    ms(100);
    write(other, b"OLD");
    ms(100);
    write(its_other, b"NEW");
    receiver.join();
}

type SendAll = fn(c_int, &[u8]) -> String;

const SENDERS: [(&str, SendAll); 4] = [
    ("send", |fd, all| {
        ret(unsafe { libc::send(fd, all.as_ptr().cast(), all.len(), 0) }).to_string()
    }),
    ("sendto", |fd, all| {
        let nobody = (std::ptr::null(), 0);
        let at = all.as_ptr().cast();
        ret(unsafe { libc::sendto(fd, at, all.len(), 0, nobody.0, nobody.1) }).to_string()
    }),
    ("sendmsg", |fd, all| unsafe {
        let mut parts = in_two(all);
        let mut header: libc::msghdr = std::mem::zeroed();
        (header.msg_iov, header.msg_iovlen) = (parts.as_mut_ptr(), 2);
        ret(libc::sendmsg(fd, &raw const header, 0)).to_string()
    }),
    ("writev", |fd, all| ret(unsafe { libc::writev(fd, in_two(all).as_ptr(), 2) }).to_string()),
];

fn in_two(all: &[u8]) -> [libc::iovec; 2] {
    let (a, b) = all.split_at(all.len() / 3);
    [a, b].map(|one| libc::iovec { iov_base: one.as_ptr().cast_mut().cast(), iov_len: one.len() })
}

fn over_a_writer(t: &Trace, replace: Replace, ends: Ends) {
    replaced_in_the_middle(t, replace, ends, |fd, all| write(fd, all).to_string());
}

fn over_a_sender(t: &Trace, send: SendAll, ends: Ends) {
    replaced_in_the_middle(t, WAYS[0].1, ends, send);
}

fn replaced_in_the_middle(t: &Trace, replace: Replace, ends: Ends, send: SendAll) {
    let ((other, fd), (its_other, new)) = (ends(), ends());
    // So much that it has not all gone when the number is replaced.
    let all: Vec<u8> = (0..8_000_000u32).map(|i| (i % 251) as u8).collect();
    let writer = t.spawn("writer", move |t| {
        t.says("write", send(fd, &all));
        t.says("again", write(fd, b"new"));
    });
    // Until it waits, on a busy machine too.
    ms(500);
    t.says("replace", say::ok(replace(new, fd)));
    let (mut n, mut is_right) = (0, true);
    let mut piece = vec![0u8; 100_000];
    while n < 8_000_000 {
        let got = unsafe { libc::read(other, piece.as_mut_ptr().cast(), piece.len()) };
        if got <= 0 {
            t.says("read", ret(got));
            break;
        }
        for byte in &piece[..got as usize] {
            is_right &= *byte == (n % 251) as u8;
            n += 1;
        }
    }
    writer.join();
    t.says("all is there", (n, is_right) == (8_000_000, true));
    t.says("the new one has", read(its_other));
}

/// A line is read from what was standard input, one is written to what was standard output.
fn standard_streams(t: &Trace) {
    let (r0, w0) = make::pipe();
    let (r1, w1) = make::pipe();
    unsafe {
        libc::dup2(r0, 0);
        libc::dup2(w1, 1);
    }
    fill(1);
    let reader = t.spawn("reader", |t| {
        let mut line = String::new();
        let n = std::io::stdin().read_line(&mut line);
        t.says("read_line", format!("{} {line:?}", say::io(n)));
    });
    let writer = t.spawn("writer", |t| {
        let mut out = std::io::stdout();
        t.says("write", say::io(out.write_all(b"PRECIOUS\n").and_then(|()| out.flush())));
    });
    ms(100);
    let (n0, m0) = make::pipe();
    let file = make::file(b"");
    unsafe {
        libc::dup2(n0, 0);
        libc::dup2(file, 1);
    }
    write(w0, b"old\n");
    write(m0, b"new\n");
    let mut all = Vec::new();
    while !all.ends_with(b"PRECIOUS\n") {
        let mut piece = [0u8; 65_536];
        let n = unsafe { libc::read(r1, piece.as_mut_ptr().cast(), piece.len()) };
        all.extend_from_slice(&piece[..n.max(0) as usize]);
        if n <= 0 {
            break;
        }
    }
    t.says("it is in the old one", all.ends_with(b"PRECIOUS\n"));
    reader.join();
    writer.join();
    t.says("the file's length", ret(unsafe { libc::lseek(file, 0, libc::SEEK_END) }));
}

fn several(t: &Trace) {
    let ((fd, other), (new, _its_other)) = (make::pipe(), make::pipe());
    let readers: Vec<_> =
        (0..5).map(|i| t.spawn(&format!("reader {i}"), move |_| read(fd).value)).collect();
    ms(200);
    t.says("replace", say::ok(unsafe { libc::dup2(new, fd) }));
    for _ in 0..5 {
        write(other, b"a word!!");
    }
    let sum: i64 = readers.into_iter().map(|reader| reader.join()).sum();
    t.says("sum", sum);
}

fn a_copy_that_fails(t: &Trace) {
    let (fd, other) = make::pipe();
    let reader = t.spawn("reader", move |t| t.says("read", read(fd)));
    ms(100);
    t.says("of no number", ret(unsafe { libc::dup2(-1, fd) }));
    t.says("of itself", say::ok(unsafe { libc::dup2(fd, fd) }));
    t.says("of itself, dup3", ret(unsafe { libc::dup3(fd, fd, 0) }));
    t.says("is over", reader.over_within(200));
    write(other, b"hello");
    reader.join();
}

fn replaced_and_closed(t: &Trace) {
    let ((fd, other), (new, _its_other)) = (make::pipe(), make::pipe());
    let reader = t.spawn("reader", move |t| t.says("read", read(fd)));
    ms(100);
    t.says("replace", say::ok(unsafe { libc::dup2(new, fd) }));
    t.says("close", ret(unsafe { libc::close(fd) }));
    t.says("is over", reader.over_within(200));
    write(other, b"hello");
    reader.join();
}
