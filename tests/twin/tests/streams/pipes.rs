//! Pipes: order, parts, ends, sizes, many at once.

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    rows![
        reader_waits,
        writer_waits_for_room,
        large_write_is_whole,
        large_write_then_end,
        vectors_larger_than_the_pipe,
        reader_goes_midway,
        reader_goes_midway_with_a_signal,
        sigpipe_kills,
        small_writes_are_whole,
        parts_of_a_large_write_mix,
        packets,
        many_readers,
        many_pipes_in_a_ring,
        writers_end_one_by_one,
        nonblocking_parts,
        nonblocking_set_while_waiting,
        waits_shared_with_a_child,
        waits_shared_with_a_thread,
        bytes_left_are_told,
        standard_pipe_of_std,
        readv_takes_what_is_there,
        resized_while_full,
        over_an_edge,
        ping_pong
    ]
}

fn read(fd: i32, room: &mut [u8]) -> say::Ret {
    ret(unsafe { libc::read(fd, room.as_mut_ptr().cast(), room.len()) })
}

fn write(fd: i32, bytes: &[u8]) -> say::Ret {
    ret(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
}

fn pattern(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

fn all_of(fd: i32) -> Vec<u8> {
    let (mut all, mut room) = (Vec::new(), [0u8; 4096]);
    while let Ok(n @ 1..) = usize::try_from(read(fd, &mut room).value) {
        all.extend(&room[..n]);
    }
    all
}

fn ignore_sigpipe() {
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

fn reader_waits(t: &Trace) {
    let (from, to) = make::pipe();
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("write", write(to, b"hello"));
    });
    let mut room = [0u8; 8];
    let n = t.timed("read", 300, || read(from, &mut room));
    t.says("read", format!("{n} {}", say::bytes(&room)));
    other.join();
    make::close([from, to]);
}

fn writer_waits_for_room(t: &Trace) {
    let (from, to) = make::pipe();
    make::nonblocking(to, true);
    while write(to, &[b'.'; 4096]).value > 0 {}
    make::nonblocking(to, false);
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("read", read(from, &mut [0u8; 8192]));
    });
    let n = t.timed("write", 300, || write(to, b"hello"));
    t.says("write", n);
    other.join();
    make::close([from, to]);
}

fn large_write_is_whole(t: &Trace) {
    let (from, to) = make::pipe();
    let other = t.spawn("reader", move |t| {
        let all = all_of(from);
        t.says("came", format!("{} {}", all.len(), all == pattern(500_000)));
    });
    t.says("write", write(to, &pattern(500_000)));
    make::close([to]);
    other.join();
    make::close([from]);
}

fn large_write_then_end(t: &Trace) {
    let (from, to) = make::pipe();
    let writer = t.spawn("writer", move |t| {
        t.says("write", write(to, &pattern(100_000)));
        make::close([to]);
    });
    ms(100);
    t.says("came", all_of(from) == pattern(100_000));
    t.says("end", read(from, &mut [0u8; 8]));
    writer.join();
    make::close([from]);
}

fn vectors_larger_than_the_pipe(t: &Trace) {
    let (from, to) = make::pipe();
    let reader = t.spawn("reader", move |t| t.says("came", all_of(from) == pattern(300_000)));
    let mut bytes = pattern(300_000);
    let parts: Vec<_> = bytes
        .chunks_mut(7777)
        .map(|part| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() })
        .collect();
    t.says("writev", ret(unsafe { libc::writev(to, parts.as_ptr(), parts.len() as i32) }));
    make::close([to]);
    reader.join();
    make::close([from]);
}

fn reader_goes_midway(t: &Trace) {
    ignore_sigpipe();
    let (from, to) = make::pipe();
    let reader = t.spawn("reader", move |_| {
        read(from, &mut [0u8; 4096]);
        ms(200);
        make::close([from]);
    });
    let n = write(to, &pattern(500_000));
    // A pipe's pages are taken one by one.
    t.says("a part", (65_536..=69_632).contains(&n.value));
    t.says("the next", write(to, b"x"));
    reader.join();
    make::close([to]);
}

static SIGPIPES: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: i32) {
    SIGPIPES.fetch_add(1, Ordering::Relaxed);
}

fn reader_goes_midway_with_a_signal(t: &Trace) {
    unsafe { libc::signal(libc::SIGPIPE, count as *const () as usize) };
    let (from, to) = make::pipe();
    let reader = t.spawn("reader", move |_| {
        read(from, &mut [0u8; 4096]);
        ms(200);
        make::close([from]);
    });
    t.says("a part", write(to, &pattern(500_000)).value > 0);
    t.says("signals", SIGPIPES.load(Ordering::Relaxed));
    t.says("the next", write(to, b"x"));
    t.says("signals", SIGPIPES.load(Ordering::Relaxed));
    reader.join();
    make::close([to]);
}

fn sigpipe_kills(t: &Trace) {
    let (from, to) = make::pipe();
    make::close([from]);
    let child = make::child(|| {
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        write(to, b"x");
        0
    });
    t.says("child", make::end_of(child));
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    t.line("now oneself");
    write(to, b"x");
    t.line("not reached");
}

fn small_writes_are_whole(t: &Trace) {
    let (from, to) = make::pipe();
    let all: Vec<_> = (0..6u8)
        .map(|i| {
            t.spawn(&format!("writer {i}"), move |_| {
                for _ in 0..100 {
                    write(to, &[b'a' + i; 512]);
                }
            })
        })
        .collect();
    let reader = t.spawn("reader", move |t| {
        let all = all_of(from);
        t.says("bytes", all.len());
        t.says("whole", all.chunks(512).all(|c| c.iter().all(|b| *b == c[0])));
    });
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
    make::close([to]);
    reader.join();
    make::close([from]);
}

fn parts_of_a_large_write_mix(t: &Trace) {
    let (from, to) = make::pipe();
    let all: Vec<_> = (0..3u8)
        .map(|i| {
            t.spawn(&format!("writer {i}"), move |t| {
                t.says("write", write(to, &vec![b'a' + i; 200_000]))
            })
        })
        .collect();
    let reader = t.spawn("reader", move |t| {
        let all = all_of(from);
        for i in 0..3u8 {
            t.says("of each", all.iter().filter(|b| **b == b'a' + i).count());
        }
    });
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
    make::close([to]);
    reader.join();
    make::close([from]);
}

fn packets(t: &Trace) {
    let mut fds = [0; 2];
    unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_DIRECT) };
    let [from, to] = fds;
    write(to, b"one");
    write(to, b"three");
    write(to, &[b'x'; 5000]);
    let mut room = [0u8; 4];
    t.says("first", format!("{} {}", read(from, &mut room), say::bytes(&room)));
    t.says("second, cut", format!("{} {}", read(from, &mut room), say::bytes(&room)));
    let mut room = [0u8; 8192];
    t.says("a page", read(from, &mut room));
    t.says("the rest", read(from, &mut room));
    make::close(fds);
}

fn many_readers(t: &Trace) {
    let (from, to) = make::pipe();
    let all: Vec<_> = (0..20)
        .map(|i| {
            t.spawn(&format!("reader {i:02}"), move |t| t.says("read", read(from, &mut [0u8; 1])))
        })
        .collect();
    ms(100);
    t.says("write", write(to, &[b'x'; 15]));
    let over = || all.iter().filter(|flow| flow.is_over()).count();
    make::until(5_000, || over() >= 15);
    t.says("over", over());
    t.says("write", write(to, &[b'x'; 5]));
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
    make::close([from, to]);
}

fn many_pipes_in_a_ring(t: &Trace) {
    let pipes: Vec<_> = (0..30).map(|_| make::pipe()).collect();
    let all: Vec<_> = (0..30)
        .map(|i| {
            let (from, to) = (pipes[i].0, pipes[(i + 1) % 30].1);
            t.spawn(&format!("station {i:02}"), move |_| {
                for _ in 0..10 {
                    let mut byte = [0u8; 1];
                    read(from, &mut byte);
                    write(to, &[byte[0].wrapping_add(1)]);
                }
            })
        })
        .collect();
    write(pipes[0].1, &[0]);
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
    let mut byte = [0u8; 1];
    t.says("read", read(pipes[0].0, &mut byte));
    t.says("byte", byte[0]);
    for (from, to) in pipes {
        make::close([from, to]);
    }
}

fn writers_end_one_by_one(t: &Trace) {
    let (from, to) = make::pipe();
    let copies: Vec<_> = (0..3).map(|_| unsafe { libc::dup(to) }).collect();
    make::close([to]);
    let other = t.spawn("other", move |_| {
        for copy in copies {
            ms(100);
            make::close([copy]);
        }
    });
    let n = t.timed("end", 300, || read(from, &mut [0u8; 1]));
    t.says("end", n);
    other.join();
    make::close([from]);
}

fn nonblocking_parts(t: &Trace) {
    let (from, to) = make::pipe();
    make::nonblocking(to, true);
    t.says("a part", write(to, &pattern(100_000)));
    t.says("none", write(to, b"x"));
    t.says("read", read(from, &mut [0u8; 100]));
    t.says("less than a page is free", write(to, b"x"));
    t.says("read", read(from, &mut [0u8; 4096]));
    t.says("a page is free", write(to, &pattern(5000)));
    make::close([from, to]);
}

fn nonblocking_set_while_waiting(t: &Trace) {
    let (from, to) = make::pipe();
    let reader = t.spawn("reader", move |t| t.says("read", read(from, &mut [0u8; 1])));
    ms(100);
    make::nonblocking(from, true);
    ms(100);
    t.says("waits still", !reader.is_over());
    t.says("another read", read(from, &mut [0u8; 1]));
    write(to, b"x");
    reader.join();
    make::close([from, to]);
}

fn waits_shared_with_a_child(t: &Trace) {
    let (from, to) = make::pipe();
    let child = make::child(|| read(from, &mut [0u8; 1]).value as i32);
    let reader = t.spawn("reader", move |t| t.says("read", read(from, &mut [0u8; 1])));
    ms(100);
    write(to, b"xy");
    reader.join();
    t.says("child", make::end_of(child));
    make::close([from, to]);
}

fn waits_shared_with_a_thread(t: &Trace) {
    let (from, to) = make::pipe();
    let thread = std::thread::spawn(move || read(from, &mut [0u8; 1]).value);
    let reader = t.spawn("reader", move |t| t.says("read", read(from, &mut [0u8; 1])));
    ms(100);
    write(to, b"x");
    ms(50);
    write(to, b"y");
    reader.join();
    t.says("thread", thread.join().unwrap_or(-2));
    make::close([from, to]);
}

fn bytes_left_are_told(t: &Trace) {
    let (from, to) = make::pipe();
    let left = || {
        let mut n = -1i32;
        unsafe { libc::ioctl(from, libc::FIONREAD, &raw mut n) };
        n
    };
    t.says("none", left());
    write(to, b"hello");
    t.says("five", left());
    read(from, &mut [0u8; 2]);
    t.says("three", left());
    make::close([to]);
    t.says("still", left());
    make::close([from]);
}

fn standard_pipe_of_std(t: &Trace) {
    use std::io::{BufRead, BufReader, Write};
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let other = t.spawn("writer", move |t| {
        for i in 0..3 {
            ms(50);
            t.says("write", say::io(writeln!(writer, "line {i}")));
        }
    });
    for line in BufReader::new(reader).lines() {
        t.says("line", say::io(line));
    }
    other.join();
}

fn readv_takes_what_is_there(t: &Trace) {
    let (from, to) = make::pipe();
    let other = t.spawn("other", move |_| {
        ms(100);
        write(to, b"hello");
    });
    let (mut a, mut b) = ([0u8; 3], [0u8; 9]);
    let parts = [(a.as_mut_ptr(), 3), (b.as_mut_ptr(), 9)]
        .map(|(at, n)| libc::iovec { iov_base: at.cast(), iov_len: n });
    t.says("readv", ret(unsafe { libc::readv(from, parts.as_ptr(), 2) }));
    t.says("parts", format!("{} {}", say::bytes(&a), say::bytes(&b)));
    other.join();
    make::close([from, to]);
}

fn resized_while_full(t: &Trace) {
    let (from, to) = make::pipe();
    t.says("smaller", ret(unsafe { libc::fcntl(to, libc::F_SETPIPE_SZ, 4096) }));
    t.says("write", write(to, &[b'.'; 4096]));
    let writer = t.spawn("writer", move |t| t.says("write", write(to, b"x")));
    ms(100);
    t.says("waits", !writer.is_over());
    t.says("larger", ret(unsafe { libc::fcntl(to, libc::F_SETPIPE_SZ, 65_536) }));
    writer.join();
    t.says("too small for what is there", {
        write(to, &[b'.'; 20_000]);
        ret(unsafe { libc::fcntl(to, libc::F_SETPIPE_SZ, 4096) })
    });
    make::close([from, to]);
}

fn over_an_edge(t: &Trace) {
    let (from, to) = make::pipe();
    let edge = make::Edge::new(10);
    write(to, &[b'x'; 30]);
    let n = ret(unsafe { libc::read(from, edge.as_ptr(), 20) });
    t.says("read over the edge", n);
    t.says("the neighbour is well", edge.neighbour_is_well());
    let mut left = -1i32;
    unsafe { libc::ioctl(from, libc::FIONREAD, &raw mut left) };
    t.says("left", left);
    t.says("write over the edge", ret(unsafe { libc::write(to, edge.as_ptr(), 20) }));
    make::close([from, to]);
}

fn ping_pong(t: &Trace) {
    let ((a, b), (c, d)) = (make::pipe(), make::pipe());
    let other = t.spawn("other", move |_| {
        let mut byte = [0u8; 1];
        for _ in 0..500 {
            read(a, &mut byte);
            write(d, &byte);
        }
    });
    let mut sum = 0u32;
    for i in 0..500u32 {
        write(b, &[(i % 200) as u8]);
        let mut byte = [0u8; 1];
        read(c, &mut byte);
        sum += u32::from(byte[0]);
    }
    t.says("sum", sum);
    other.join();
    make::close([a, b, c, d]);
}
