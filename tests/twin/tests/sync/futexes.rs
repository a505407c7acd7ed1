//! `futex`, through `syscall`: what it refuses, whom it wakes, and whom it moves.

use goroutines_twin_tests::say::Ret;
use goroutines_twin_tests::{Flow, Row, Trace, make, ms, ret, rows};
use libc::timespec;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        futex_counts,
        futex_masks,
        futex_newer_wait,
        futex_newer_requeue,
        futex_waitv,
        futex_of_processes,
        futex_unmapped_later,
    ];
    for (name, op) in OPS {
        for private in [0, libc::FUTEX_PRIVATE_FLAG] {
            let kind = if private == 0 { "shared" } else { "private" };
            let op = op | private;
            let mut row = |what: &str, body: fn(&Trace, i32)| {
                rows.push(Row::new(format!("futex_{what}_{name}_{kind}"), move |t| body(t, op)));
            };
            row("addresses", addresses);
            row("times", times);
        }
    }
    rows.push(Row::new("futex_operations", operations));
    for private in [0, libc::FUTEX_PRIVATE_FLAG] {
        let kind = if private == 0 { "shared" } else { "private" };
        for compare in [false, true] {
            let name = if compare { "cmp_requeue" } else { "requeue" };
            let row = move |t: &Trace| requeue(t, private, compare);
            rows.push(Row::new(format!("futex_moves_{name}_{kind}"), row));
        }
        for op in 0..6 {
            let row = move |t: &Trace| wake_op(t, private, op);
            rows.push(Row::new(format!("futex_wake_op_{op}_{kind}"), row));
        }
    }
    rows
}

const OPS: &[(&str, i32)] = &[
    ("wait", libc::FUTEX_WAIT),
    ("wait_bitset", libc::FUTEX_WAIT_BITSET),
    ("wake", libc::FUTEX_WAKE),
    ("wake_bitset", libc::FUTEX_WAKE_BITSET),
    ("requeue", libc::FUTEX_REQUEUE),
    ("cmp_requeue", libc::FUTEX_CMP_REQUEUE),
    ("wake_op", libc::FUTEX_WAKE_OP),
    ("trylock_pi", libc::FUTEX_TRYLOCK_PI),
    ("unlock_pi", libc::FUTEX_UNLOCK_PI),
];

fn futex(at: usize, op: i32, value: u32, time: usize, at2: usize, value3: u32) -> Ret {
    ret(unsafe { libc::syscall(libc::SYS_futex, at, op, value, time, at2, value3) })
}

/// A word that is never freed.
fn word(value: u32) -> &'static AtomicU32 {
    Box::leak(Box::new(AtomicU32::new(value)))
}

fn at(word: &'static AtomicU32) -> usize {
    word.as_ptr() as usize
}

fn page(protection: i32) -> usize {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) as usize }
}

/// Words that can't be read, or can't be a futex; as the first word, and as the second.
fn addresses(t: &Trace, op: i32) {
    let good = word(7);
    let none = page(libc::PROT_NONE);
    let read_only = page(libc::PROT_READ);
    let odd = [
        ("null", 0),
        ("1", 1),
        ("0x1000", 0x1000),
        ("no multiple of 4", at(good) + 2),
        ("the kernel's", usize::MAX - 0xfff),
        ("no address", 1 << 47),
        ("the last", (1 << 47) - 4096),
        ("not readable", none),
        ("read-only", read_only),
    ];
    for (name, address) in odd {
        for value in [0, 5] {
            if name == "read-only" && value == 0 {
                continue; // It would wait.
            }
            t.says(&format!("{name}, {value}"), futex(address, op, value, 0, at(good), 1));
        }
        // The count to move stands where the time does.
        if !matches!(op & 127, libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET) {
            for value3 in [7, 0x7fff_ffff, 0x0a00_0007, 0xf000_0000] {
                t.says(
                    &format!("second: {name}, {value3:#x}"),
                    futex(at(good), op, 1, 1, address, value3),
                );
            }
        }
    }
    t.says("value", good.load(Ordering::SeqCst));
}

/// Times that can't be read, or are invalid; masks of zero; the clock's flag.
fn times(t: &Trace, op: i32) {
    if !matches!(op & 127, libc::FUTEX_WAIT | libc::FUTEX_WAIT_BITSET) {
        t.says("realtime", futex(at(word(0)), op | libc::FUTEX_CLOCK_REALTIME, 1, 0, 0, 1));
        t.says("no mask", futex(at(word(0)), op, 1, 0, at(word(0)), 0));
        return;
    }
    let w = word(7);
    let absolute = op & 127 == libc::FUTEX_WAIT_BITSET;
    for value in [7, 8] {
        for flag in [0, libc::FUTEX_CLOCK_REALTIME] {
            let says = |what: &str, time: usize, mask: u32| {
                let what = format!("{what}, {value}, {}", flag != 0);
                t.says(&what, futex(at(w), op | flag, value, time, 0, mask));
            };
            says("0x1000", 0x1000, 1);
            says("odd address", 0x1001, 1);
            says("the kernel's", usize::MAX - 7, 1);
            for (name, time) in crate::c::ODD_TIMES {
                says(name, &raw const *time as usize, u32::MAX);
            }
            let past = timespec { tv_sec: i64::from(absolute), tv_nsec: 1 };
            if absolute {
                says("past", &raw const past as usize, 4);
            }
            says("no mask", &raw const past as usize, u32::from(!absolute));
        }
    }
    let clock = libc::CLOCK_MONOTONIC;
    let later = if absolute {
        crate::c::after(clock, 200)
    } else {
        timespec { tv_sec: 0, tv_nsec: 200_000_000 }
    };
    t.timed("waits", 200, || t.says("waits", futex(at(w), op, 7, &raw const later as usize, 0, 1)));
}

/// Operations and flags that don't exist.
fn operations(t: &Trace) {
    let w = word(7);
    let second = word(0);
    for op in (13..20).chain([64, 127, 512, 1024, i32::MIN]) {
        for flag in [0, libc::FUTEX_PRIVATE_FLAG, libc::FUTEX_CLOCK_REALTIME] {
            if op == 13 && flag == 0 {
                continue; // FUTEX_LOCK_PI2 of what another thread has.
            }
            t.says(&format!("{op} {flag}"), futex(at(w), op | flag, 8, 0, at(second), 1));
        }
    }
    for (name, op) in OPS {
        t.says(name, futex(at(w), op | 512 | libc::FUTEX_PRIVATE_FLAG, 8, 0, at(second), 1));
    }
}

/// Waits until `n` parties have said that they are about to wait, and then some.
fn asleep(ready: &AtomicU32, n: u32) {
    make::until(10_000, || ready.load(Ordering::SeqCst) == n);
    ms(60);
}

/// Parties that wait at `w`, in order: the first stands first.
fn sleepers(
    t: &Trace,
    w: &'static AtomicU32,
    n: usize,
    mask: fn(usize) -> u32,
    private: i32,
) -> Vec<Flow<()>> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static READY: AtomicU32 = AtomicU32::new(0);
    (0..n)
        .map(|i| {
            let op = libc::FUTEX_WAIT_BITSET | private;
            let flow = t.spawn(&format!("s{}", NEXT.fetch_add(1, Ordering::SeqCst)), move |t| {
                READY.fetch_add(1, Ordering::SeqCst);
                t.says("wait", futex(at(w), op, 7, 0, 0, mask(i)));
            });
            asleep(&READY, NEXT.load(Ordering::SeqCst));
            flow
        })
        .collect()
}

fn over(flows: &[Flow<()>]) -> String {
    ms(100);
    format!("{} of {}", flows.iter().filter(|f| f.is_over()).count(), flows.len())
}

fn futex_counts(t: &Trace) {
    for private in [libc::FUTEX_PRIVATE_FLAG, 0] {
        let w = word(7);
        t.says("nobody", futex(at(w), libc::FUTEX_WAKE | private, 1, 0, 0, 0));
        let all = sleepers(t, w, 6, |_| u32::MAX, private);
        for count in [0, u32::MAX, 1, 2, i32::MAX as u32] {
            t.says(&format!("{count}"), futex(at(w), libc::FUTEX_WAKE | private, count, 0, 0, 0));
            t.says("over", over(&all));
        }
        all.into_iter().for_each(Flow::join);
    }
}

fn futex_masks(t: &Trace) {
    for private in [libc::FUTEX_PRIVATE_FLAG, 0] {
        let w = word(7);
        let all = sleepers(t, w, 5, |i| 1 << (i % 3), private);
        for mask in [8, 0, 4, 2, 7] {
            let op = libc::FUTEX_WAKE_BITSET | private;
            t.says(&format!("{mask}"), futex(at(w), op, 1000, 0, 0, mask));
            t.says("over", over(&all));
        }
        all.into_iter().for_each(Flow::join);
    }
}

/// A waiter that is moved waits on, for the other word.
fn requeue(t: &Trace, private: i32, compare: bool) {
    let (a, b) = (word(7), word(9));
    let op = private | if compare { libc::FUTEX_CMP_REQUEUE } else { libc::FUTEX_REQUEUE };
    let call = |wake: u32, most: u32, expected: u32| {
        futex(at(a), op, wake, most as usize, at(b), expected)
    };
    let wake = |w: &'static AtomicU32, n: u32| futex(at(w), libc::FUTEX_WAKE | private, n, 0, 0, 0);
    t.says("nobody", call(1, 1, 7));
    t.says("negative", call(u32::MAX, 1, 7));
    t.says("negative", call(1, u32::MAX, 7));
    let all = sleepers(t, a, 6, |_| u32::MAX, private);
    t.says("another value", call(1, 1, 8));
    if compare {
        t.says("over", over(&all));
    }
    t.says("none", call(0, 0, 7));
    t.says("one each", call(1, 1, 7));
    t.says("over", over(&all));
    t.says("two", call(0, 2, 7));
    t.says("over", over(&all));
    t.says("wake there", wake(b, 1));
    t.says("over", over(&all));
    t.says("wake here", wake(a, 100));
    t.says("over", over(&all));
    t.says("wake there", wake(b, 100));
    t.says("over", over(&all));
    t.says("to itself", futex(at(a), op, 1, 1, at(a), 7));
    all.into_iter().for_each(Flow::join);
    // One that is moved gives up.
    static READY: AtomicU32 = AtomicU32::new(0);
    let later = timespec { tv_sec: 1, tv_nsec: 0 };
    let one = t.spawn("gives up", move |t| {
        READY.store(1, Ordering::SeqCst);
        t.says(
            "wait",
            futex(at(a), libc::FUTEX_WAIT | private, 7, &raw const later as usize, 0, 0),
        );
    });
    asleep(&READY, 1);
    t.says("move", call(0, 1, 7));
    one.join();
    t.says("nobody there", wake(b, 1));
}

fn wake_op(t: &Trace, private: i32, op: u32) {
    for shift in [0, 8] {
        for comparison in 0..7 {
            let (a, b) = (word(7), word(7));
            let encoded = (op | shift) << 28 | comparison << 24 | 3 << 12 | 7;
            let first = sleepers(t, a, 2, |_| u32::MAX, private);
            let second = sleepers(t, b, 2, |_| u32::MAX, private);
            let op = libc::FUTEX_WAKE_OP | private;
            t.says("wake", futex(at(a), op, 1, 1, at(b), encoded));
            t.says("now", b.load(Ordering::SeqCst));
            t.says("over", format!("{} {}", over(&first), over(&second)));
            for w in [a, b] {
                futex(at(w), libc::FUTEX_WAKE | private, 100, 0, 0, 0);
            }
            first.into_iter().chain(second).for_each(Flow::join);
            if comparison % 2 == 1 && shift == 8 {
                break;
            }
        }
    }
}

const FUTEX_WAITV: i64 = 449;
const FUTEX_WAKE: i64 = 454;
const FUTEX_WAIT: i64 = 455;
const FUTEX_REQUEUE: i64 = 456;

fn newer(number: i64, a: [usize; 6]) -> Ret {
    ret(unsafe { libc::syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]) })
}

fn futex_newer_wait(t: &Trace) {
    let w = word(7);
    let past = timespec { tv_sec: 1, tv_nsec: 0 };
    let bad = timespec { tv_sec: 1, tv_nsec: -1 };
    for flags in [0x82, 2, 0x80, 0, 0x83, 0x86, 0x182] {
        for value in [7, 8, 7 | 1 << 32] {
            for mask in [0, 1, u32::MAX as usize, 1 << 32] {
                for (name, time, clock) in [
                    ("none", 0, 77),
                    ("past", &raw const past as usize, 0),
                    ("past", &raw const past as usize, 1),
                    ("past", &raw const past as usize, 7),
                    ("bad", &raw const bad as usize, 1),
                    ("not there", 0x1000, 1),
                ] {
                    if name == "none" && value == 7 && mask != 0 && mask <= u32::MAX as usize {
                        continue; // It would wait.
                    }
                    let got = newer(FUTEX_WAIT, [at(w), value, mask, flags, time, clock]);
                    t.says(&format!("{flags:#x} {value} {mask:#x} {name} {clock}"), got);
                }
            }
        }
        for (n, mask) in [(0, 1), (1, 0), (usize::MAX, 1), (1, 1), (1, 1 << 32)] {
            t.says("wake", newer(FUTEX_WAKE, [at(w), mask, n, flags, 0, 0]));
        }
    }
    for address in [0, 1, 0x1000, at(w) + 2, 1 << 47] {
        t.says("wait", newer(FUTEX_WAIT, [address, 7, 1, 0x82, 0, 0]));
        t.says("wake", newer(FUTEX_WAKE, [address, 1, 1, 0x82, 0, 0]));
    }
    let all: Vec<_> = (0..3)
        .map(|i| {
            let flow = t.spawn(&format!("waits {i}"), move |t| {
                t.says("wait", newer(FUTEX_WAIT, [at(w), 7, 1 << i, 0x82, 0, 0]));
            });
            ms(40);
            flow
        })
        .collect();
    for (n, mask) in [(0, 7), (5, 8), (1, 6), (5, 7)] {
        t.says("wake", newer(FUTEX_WAKE, [at(w), mask, n, 0x82, 0, 0]));
        t.says("over", over(&all));
    }
    all.into_iter().for_each(Flow::join);
}

#[repr(C)]
struct WaitV {
    value: u64,
    at: u64,
    flags: u32,
    reserved: u32,
}

fn one(w: &'static AtomicU32, value: u64, flags: u32) -> WaitV {
    WaitV { value, at: at(w) as u64, flags, reserved: 0 }
}

fn futex_newer_requeue(t: &Trace) {
    let (a, b) = (word(7), word(9));
    let pair = |value: u64, flags: u32| [one(a, value, flags), one(b, 0, flags)];
    let call = |pair: &[WaitV; 2], flags: usize, wake: usize, most: usize| {
        newer(FUTEX_REQUEUE, [pair.as_ptr() as usize, flags, wake, most, 0, 0])
    };
    t.says("nobody", call(&pair(7, 0x82), 0, 1, 1));
    t.says("flags", call(&pair(7, 0x82), 1, 1, 1));
    t.says("flags", call(&pair(7, 0x1), 0, 1, 1));
    t.says("not there", newer(FUTEX_REQUEUE, [0x1000, 0, 1, 1, 0, 0]));
    let all = sleepers(t, a, 4, |_| u32::MAX, libc::FUTEX_PRIVATE_FLAG);
    t.says("another value", call(&pair(8, 0x82), 0, 1, 1));
    t.says("one each", call(&pair(7, 0x82), 0, 1, 1));
    t.says("over", over(&all));
    t.says("there", newer(FUTEX_WAKE, [at(b), 1, 5, 0x82, 0, 0]));
    t.says("here", newer(FUTEX_WAKE, [at(a), 1, 5, 0x82, 0, 0]));
    t.says("over", over(&all));
    all.into_iter().for_each(Flow::join);
}

fn futex_waitv(t: &Trace) {
    let (a, b) = (word(7), word(9));
    let call = |list: &[WaitV], n: usize, flags: usize, time: usize| {
        newer(FUTEX_WAITV, [list.as_ptr() as usize, n, flags, time, 1, 0])
    };
    let list = |x: u64, y: u64| [one(a, x, 0x82), one(b, y, 0x82)];
    t.says("others", call(&list(8, 9), 2, 0, 0));
    t.says("others", call(&list(7, 8), 2, 0, 0));
    t.says("none", call(&list(7, 9), 0, 0, 0));
    t.says("flags", call(&list(7, 9), 2, 1, 0));
    let past = timespec { tv_sec: 1, tv_nsec: 0 };
    t.says("past", call(&list(7, 9), 2, 0, &raw const past as usize));
    for w in [a, b] {
        let waits = t.spawn("waits", move |t| {
            let list = [one(a, 7, 0x82), one(b, 9, 0x82)];
            t.says("wait", newer(FUTEX_WAITV, [list.as_ptr() as usize, 2, 0, 0, 1, 0]));
        });
        // It may take its time to get there.
        let wake = || futex(at(w), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 3, 0, 0, 0);
        let woken = || {
            ms(100);
            wake().to_string()
        };
        let woken = std::iter::repeat_with(woken).find(|woken| woken != "0");
        t.says("wake", woken.unwrap_or_default());
        waits.join();
    }
}

fn futex_of_processes(t: &Trace) {
    let w: &'static AtomicU32 = unsafe { &*crate::c::shared_memory::<AtomicU32>() };
    w.store(7, Ordering::SeqCst);
    let child = make::child(move || {
        let got = futex(at(w), libc::FUTEX_WAIT, 7, 0, 0, 0).to_string();
        w.store(8, Ordering::SeqCst);
        futex(at(w), libc::FUTEX_WAKE, 1, 0, 0, 0);
        i32::from(got != "0")
    });
    ms(200);
    t.says("wake", futex(at(w), libc::FUTEX_WAKE, 1, 0, 0, 0));
    while w.load(Ordering::SeqCst) == 7 {
        futex(at(w), libc::FUTEX_WAIT, 7, 0, 0, 0);
    }
    t.says("child", make::end_of(child));
}

/// A word is unmapped while one waits for it: it waits on.
fn futex_unmapped_later(t: &Trace) {
    let page = page(libc::PROT_READ | libc::PROT_WRITE);
    let waits = t.spawn("waits", move |t| {
        t.says("wait", futex(page, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 0, 0, 0, 0));
    });
    ms(100);
    unsafe { libc::munmap(page as *mut _, 4096) };
    t.says("wake", futex(page, libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1, 0, 0, 0));
    waits.join();
}
