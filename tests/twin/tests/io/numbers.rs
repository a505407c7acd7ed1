//! The numbers that programs name, and those that they don't know.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::{read, write};
use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows};
use libc::{c_int, c_uint};

pub(crate) fn rows() -> Vec<Row> {
    let take: [(&str, Take); 7] = [
        ("dup2", |n| unsafe { i64::from(libc::dup2(1, n)) }),
        ("dup3", |n| unsafe { i64::from(libc::dup3(1, n, 0)) }),
        ("sys_dup2", |n| unsafe { libc::syscall(libc::SYS_dup2, 1, n) }),
        ("raw_dup2", |n| raw(libc::SYS_dup2, 1, n as usize)),
        ("close", |n| unsafe { i64::from(libc::close(n)) }),
        ("sys_close", |n| unsafe { libc::syscall(libc::SYS_close, n) }),
        ("raw_close", |n| raw(libc::SYS_close, n as usize, 0).min(0)),
    ];
    let mut rows = rows![low_numbers, ranges_by_number, a_range_that_nobody_sees, all_from];
    for (name, take) in take {
        rows.push(Row::new(format!("numbers_of_nobody_{name}"), move |t| of_nobody(t, name, take)));
    }
    rows
}

/// Puts something under a number, or closes it.
type Take = fn(c_int) -> i64;

/// A system call that the runtime does not see.
fn raw(number: libc::c_long, a: usize, b: usize) -> i64 {
    let word: i64;
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number => word, in("rdi") a, in("rsi") b,
            in("rdx") 0, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    word
}

/// All that waits still works: sleeping, a pipe that is read later, by several.
fn all_is_well(t: &Trace) {
    for i in 0..3 {
        let (fd, other) = make::pipe();
        let reader = t.spawn(&format!("reader {i}"), move |t| t.says("read", read(fd)));
        ms(30);
        write(other, b"hello");
        reader.join();
        unsafe { (libc::close(fd), libc::close(other)) };
    }
    ms(30);
}

fn low_numbers(t: &Trace) {
    for _ in 0..3 {
        t.says("open", ret(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY) }));
    }
    for n in 40..60 {
        t.says("dup2", ret(unsafe { libc::dup2(1, n) }));
        t.says("close", ret(unsafe { libc::close(n) }));
    }
    all_is_well(t);
}

/// While one waits for what it knows.
fn of_nobody(t: &Trace, name: &str, take: Take) {
    let (fd, other) = make::pipe();
    let reader = t.spawn("reader", move |t| t.says("read", read(fd)));
    ms(50);
    for n in 998..1020 {
        let word = take(n);
        // A call that the runtime does not see closes what is there.
        if name != "raw_close" {
            t.says("take", ret(word));
        }
    }
    all_is_well(t);
    write(other, b"hello");
    reader.join();
}

fn ranges_by_number(t: &Trace) {
    let (fd, other) = make::pipe();
    let reader = t.spawn("reader", move |t| t.says("read", read(fd)));
    ms(50);
    let close = |first: c_uint, last: c_uint, flags: c_uint| unsafe {
        ret(libc::syscall(libc::SYS_close_range, first, last, flags))
    };
    t.says("close", close(900, c_uint::MAX, 0));
    t.says("close, libc's", ret(unsafe { libc::close_range(900, c_uint::MAX, 0) }));
    t.says("bad flags", close(900, c_uint::MAX, 1 << 20));
    t.says("bad range", close(900, 800, 0));
    all_is_well(t);
    write(other, b"hello");
    reader.join();
}

fn a_range_that_nobody_sees(t: &Trace) {
    let (fd, other) = make::pipe();
    let reader = t.spawn("reader", move |t| t.says("read", read(fd)));
    ms(50);
    t.says("close", raw(libc::SYS_close_range, 900, u32::MAX as usize));
    all_is_well(t);
    write(other, b"hello");
    reader.join();
}

fn all_from(t: &Trace) {
    unsafe extern "C" {
        fn closefrom(first: c_int);
    }
    unsafe { closefrom(900) };
    all_is_well(t);
}
