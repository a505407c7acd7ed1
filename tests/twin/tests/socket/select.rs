//! `select` and `pselect`: sets of any length, and what is written to them.

#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::make::{self, Edge};
use goroutines_twin_tests::{Row, Trace, ms, ret, rows, say};
use libc::{c_int, fd_set, timespec, timeval};
use std::ptr::null_mut;

pub(crate) fn rows() -> Vec<Row> {
    rows![
        neighbours_of_a_small_set,
        a_small_set_at_the_end_of_memory,
        sets_after_each_outcome,
        numbers_of_select,
        bad_sets,
        times_of_select,
        what_is_left_of_the_time,
        closed_numbers,
        pselect_is_the_same,
        longer_sets,
    ]
}

/// Calls it with sets of this many words.
fn select(n: c_int, sets: [*mut u64; 3], time: Option<(i64, i64)>) -> (String, timeval) {
    let mut time = time.map(|(tv_sec, tv_usec)| timeval { tv_sec, tv_usec });
    let [r, w, e] = sets.map(<*mut u64>::cast::<fd_set>);
    let at = time.as_mut().map_or(null_mut(), |time| &raw mut *time);
    let got = ret(unsafe { libc::select(n, r, w, e, at) }).to_string();
    (got, time.unwrap_or(timeval { tv_sec: -7, tv_usec: -7 }))
}

fn neighbours_of_a_small_set(t: &Trace) {
    static mut HEAP: [u64; 16] = [0; 16];
    let (r, w) = make::pipe();
    for wait in [0, 250_000] {
        let heap = &raw mut HEAP;
        unsafe { (*heap)[0] = 1 << r };
        let other = t.spawn("neighbour", |_| {
            ms(60);
            let heap = &raw mut HEAP;
            unsafe { (*heap)[5] = 42 };
        });
        let (got, _) = select(r + 1, [heap.cast(), null_mut(), null_mut()], Some((0, wait)));
        other.join();
        t.says("select", got);
        t.says("words", format!("{:?}", unsafe { *heap }));
        unsafe { (*heap)[5] = 0 };
    }
    unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
    let heap = &raw mut HEAP;
    unsafe { (*heap)[0] = 1 << r };
    t.says("ready", select(r + 1, [heap.cast(), null_mut(), null_mut()], None).0);
}

fn a_small_set_at_the_end_of_memory(t: &Trace) {
    let (r, w) = make::pipe();
    let edge = Edge::new(8);
    let other = t.spawn("writer", move |_| {
        ms(100);
        unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
    });
    unsafe { edge.as_ptr::<u64>().write(1 << r) };
    t.says("select", select(r + 1, [edge.as_ptr(), null_mut(), null_mut()], None).0);
    other.join();
    t.says("set", unsafe { edge.as_ptr::<u64>().read() } == 1 << r);
    t.says("neighbour is well", edge.neighbour_is_well());
}

fn sets_after_each_outcome(t: &Trace) {
    let (r, w) = make::pipe();
    let (r, w) = (r as usize, w as usize);
    let ones = |n: u64| (n.count_ones(), n >> r & 1, n >> w & 1);
    for (what, bits, close) in
        [("ready", 1 << w, false), ("time-out", 0, false), ("EBADF", 0, true)]
    {
        let mut sets = [1u64 << r, bits, 1 << r | 1 << w];
        let [a, b, c] = &mut sets;
        if close {
            *b = 1 << 50;
        }
        let (got, _) = select(64, [a, b, c].map(|x| &raw mut *x), Some((0, 1000)));
        t.says(what, got);
        t.says("sets", format!("{:?}", sets.map(ones)));
    }
}

fn numbers_of_select(t: &Trace) {
    let mut set = [0u64; 32];
    for n in [-1, c_int::MIN, 0, 1, 64, 65, 1023, 1024, 1025, 2048] {
        let at = set.as_mut_ptr();
        t.says(&format!("{n}"), select(n, [at, null_mut(), null_mut()], Some((0, 0))).0);
    }
    t.timed("no sets", 200, || select(0, [null_mut(); 3], Some((0, 200_000))));
    t.timed("no sets, many", 200, || select(1024, [null_mut(); 3], Some((0, 200_000))));
}

fn bad_sets(t: &Trace) {
    let only_read = unsafe {
        let (kind, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        libc::mmap(null_mut(), 4096, kind, flags, -1, 0)
    };
    for i in 0..3 {
        for (what, bad) in [
            ("nothing", make::bad::<u64>()),
            ("odd", 0x1001 as *mut u64),
            ("read-only", only_read.cast()),
        ] {
            let mut sets = [null_mut(); 3];
            sets[i] = bad;
            t.says(&format!("{what} {i}"), select(4, sets, Some((0, 1000))).0);
            t.says(&format!("{what} {i}, no numbers"), select(0, sets, Some((0, 1000))).0);
            t.says(&format!("{what} {i}, n of -1"), select(-1, sets, Some((0, 1000))).0);
            let [r, w, e] = sets.map(<*mut u64>::cast::<fd_set>);
            let time = timespec { tv_sec: 0, tv_nsec: 1_000_000 };
            let got = unsafe { libc::pselect(4, r, w, e, &raw const time, std::ptr::null()) };
            t.says(&format!("pselect {what} {i}"), ret(got));
        }
    }
    // The kernel reads no further than the process's table of descriptors is long; a high number
    // makes it long on both sides. (On goroutines it is, for the runtime's own are high.)
    let (r, _w) = make::pipe();
    unsafe { libc::dup2(r, 200) };
    let edge = Edge::new(8);
    t.says("half", select(65, [edge.as_ptr(), null_mut(), null_mut()], Some((0, 1000))).0);
}

fn times_of_select(t: &Trace) {
    for time in [(-1, 0), (0, -1), (0, 1_000_000), (0, 1_500_000), (-1, 1_000_001)] {
        let start = std::time::Instant::now();
        let (got, left) = select(0, [null_mut(); 3], Some(time));
        t.says(&format!("{time:?}"), got);
        t.says("left", format!("{} {}", left.tv_sec, left.tv_usec));
        t.says("a second and more", start.elapsed().as_millis() >= 1000);
    }
    for (tv_sec, tv_nsec) in [(-1, 0), (0, -1), (0, 1_000_000_000), (0, 999_999)] {
        let time = timespec { tv_sec, tv_nsec };
        let none = null_mut::<fd_set>();
        let got = unsafe { libc::pselect(0, none, none, none, &raw const time, std::ptr::null()) };
        t.says(&format!("pselect {tv_sec} {tv_nsec}"), ret(got));
    }
}

fn what_is_left_of_the_time(t: &Trace) {
    let (r, w) = make::pipe();
    let other = t.spawn("writer", move |_| {
        ms(200);
        unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
    });
    let mut set = 1u64 << r;
    let (got, left) = select(r + 1, [&raw mut set, null_mut(), null_mut()], Some((60, 0)));
    other.join();
    t.says("select", got);
    t.says("left", left.tv_sec);
    let (got, left) = select(r + 1, [null_mut(); 3], Some((0, 1000)));
    t.says("time-out", format!("{got}, left {} {}", left.tv_sec, left.tv_usec));
    let mut set = 1u64 << 50;
    let (got, left) = select(51, [&raw mut set, null_mut(), null_mut()], Some((60, 0)));
    t.says("error", format!("{got}, left {}", left.tv_sec >= 59));
}

fn closed_numbers(t: &Trace) {
    for n in [50, 63] {
        for i in 0..3 {
            let mut set = 1u64 << n;
            let mut sets = [null_mut(); 3];
            sets[i] = &raw mut set;
            t.says(&format!("{n} in {i}"), select(n + 1, sets, None).0);
            t.says("kept", set == 1 << n);
        }
    }
    // Beyond the numbers that are asked for.
    let mut set = 1u64 << 50;
    t.says("beyond", select(50, [&raw mut set, null_mut(), null_mut()], Some((0, 1000))).0);
    t.says("kept", set == 1 << 50);
}

fn pselect_is_the_same(t: &Trace) {
    let (r, _w) = make::pipe();
    let edge = Edge::new(8);
    unsafe { edge.as_ptr::<u64>().write(1 << r) };
    let time = timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    let (set, none) = (edge.as_ptr::<fd_set>(), null_mut());
    let got = t.timed("pselect", 200, || {
        ret(unsafe { libc::pselect(r + 1, set, none, none, &raw const time, std::ptr::null()) })
    });
    t.says("pselect", got);
    t.says("set", unsafe { edge.as_ptr::<u64>().read() });
    t.says("neighbour is well", edge.neighbour_is_well());
    t.says("time", format!("{} {}", time.tv_sec, time.tv_nsec));
}

fn longer_sets(t: &Trace) {
    let (r, w) = make::pipe();
    let high = unsafe { libc::fcntl(r, libc::F_DUPFD, 1500) };
    if high < 0 {
        t.skip("fewer numbers than 1500");
    }
    let mut set = vec![0u64; 40];
    set[high as usize / 64] |= 1 << (high % 64);
    set[39] = 77;
    let at = set.as_mut_ptr();
    t.says("nothing", select(high + 1, [at, null_mut(), null_mut()], Some((0, 1000))).0);
    t.says("words", format!("{:?}", (set[23], set[39])));
    unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
    set[high as usize / 64] |= 1 << (high % 64);
    t.says("ready", select(high + 1, [set.as_mut_ptr(), null_mut(), null_mut()], None).0);
    t.says("the bit", say::bytes(&set[high as usize / 64].to_ne_bytes()));
}
