//! Read-write locks: each kind, and all that the calls may say of it.

use crate::c::{ODD_CLOCKS, ODD_TIMES, RwLock, after, in_ms};
use goroutines_twin_tests::{Flow, Row, Trace, make, ms};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in 0..3 {
        for shared in [false, true] {
            let name = ["reader", "writer", "writer_nonrecursive"][kind as usize];
            let name = format!("{name}{}", if shared { "_shared" } else { "" });
            let mut row = |what: &str, body: fn(&Trace, RwLock)| {
                rows.push(Row::new(format!("rwlock_{what}_{name}"), move |t| {
                    body(t, RwLock::new(kind, shared));
                }));
            };
            row("alone", alone);
            row("read_by_another", read_by_another);
            row("written_by_another", written_by_another);
            row("beside_threads", beside);
            row("readers_go_on", |t, l| readers_go_on(t, l, false));
            row("readers_of_threads_go_on", |t, l| readers_go_on(t, l, true));
            row("writer_waits", |t, l| writer_waits(t, l, false));
            row("writer_of_a_thread_waits", |t, l| writer_waits(t, l, true));
            row("writer_gives_up", |t, l| writer_gives_up(t, l, false));
            row("writer_of_a_thread_gives_up", |t, l| writer_gives_up(t, l, true));
            if shared {
                row("of_processes", processes);
            }
        }
    }
    rows
}

fn all_timed(t: &Trace, l: RwLock, unlock: bool) {
    let says = |what: String, result: String| {
        let got = result == "0";
        t.says(&what, result);
        if unlock && got {
            t.says("unlock", l.unlock());
        }
    };
    for (name, time) in ODD_TIMES {
        says(format!("timedrdlock by {name}"), l.timed_read(*time));
        says(format!("timedwrlock by {name}"), l.timed_write(*time));
        says(format!("clockrdlock by {name}"), l.clock_read(libc::CLOCK_MONOTONIC, *time));
        says(format!("clockwrlock by {name}"), l.clock_write(libc::CLOCK_MONOTONIC, *time));
    }
    for (name, clock) in ODD_CLOCKS {
        says(format!("clockrdlock on {name}"), l.clock_read(*clock, in_ms(1000)));
        says(format!("clockwrlock on {name}"), l.clock_write(*clock, in_ms(1000)));
    }
}

/// What one alone is told.
fn alone(t: &Trace, l: RwLock) {
    all_timed(t, l, true);
    t.says("wrlock", l.write());
    t.says("rdlock of one's own", l.read());
    t.says("wrlock of one's own", l.write());
    t.says("tryrdlock", l.try_read());
    t.says("trywrlock", l.try_write());
    t.says("timed", l.timed(in_ms(200)).join(" "));
    t.says("clock", l.clock_read(libc::CLOCK_MONOTONIC, after(libc::CLOCK_MONOTONIC, 200)));
    all_timed(t, l, false);
    t.says("unlock", l.unlock());
    t.says("rdlock", l.read());
    t.says("rdlock again", l.read());
    t.says("tryrdlock", l.try_read());
    t.says("trywrlock", l.try_write());
    t.timed("timedwrlock", 300, || t.says("timedwrlock", l.timed_write(in_ms(300))));
    t.says("unlock", l.unlock());
    t.says("unlock", l.unlock());
    t.says("unlock", l.unlock());
    t.says("trywrlock", l.try_write());
    t.says("unlock", l.unlock());
    t.says("destroy", l.destroy());
}

fn read_by_another(t: &Trace, l: RwLock) {
    t.says("rdlock", l.read());
    let other = t.spawn("other", move |t| {
        t.says("tryrdlock", l.try_read());
        t.says("unlock", l.unlock());
        t.says("trywrlock", l.try_write());
        all_timed(t, l, true);
        t.timed("timedwrlock", 300, || t.says("timedwrlock", l.timed_write(in_ms(300))));
        t.says("rdlock", l.read());
        t.says("unlock", l.unlock());
        t.says("wrlock", l.write());
        t.says("unlock", l.unlock());
    });
    ms(900);
    t.says("unlock", l.unlock());
    other.join();
    t.says("trywrlock", l.try_write());
    t.says("unlock", l.unlock());
    t.says("destroy", l.destroy());
}

fn written_by_another(t: &Trace, l: RwLock) {
    t.says("wrlock", l.write());
    let readers = (0..2).map(|i| {
        t.spawn(&format!("reader {i}"), move |t| {
            t.says("rdlock", l.read());
            ms(20);
            t.says("unlock", l.unlock());
        })
    });
    let readers: Vec<_> = readers.collect();
    let other = t.spawn("other", move |t| {
        t.says("tryrdlock", l.try_read());
        t.says("trywrlock", l.try_write());
        all_timed(t, l, false);
        t.timed("timedrdlock", 300, || t.says("timedrdlock", l.timed_read(in_ms(300))));
        t.timed("timedwrlock", 300, || t.says("timedwrlock", l.timed_write(in_ms(300))));
        t.says("wrlock", l.write());
        t.says("unlock", l.unlock());
    });
    ms(1200);
    t.says("unlock", l.unlock());
    other.join();
    readers.into_iter().for_each(Flow::join);
    t.says("trywrlock", l.try_write());
    t.says("unlock", l.unlock());
    t.says("destroy", l.destroy());
}

/// Turns of goroutines that move, and of threads, for reading and writing.
fn beside(t: &Trace, l: RwLock) {
    static INSIDE: AtomicI32 = AtomicI32::new(0);
    let turns = move || {
        let mut bad = 0;
        for i in 0..60 {
            let writes = i % 3 == 0;
            let got = match (writes, i % 4) {
                (true, 0) => l.timed_write(in_ms(20_000)),
                (true, _) => l.write(),
                (false, 1) => l.timed_read(in_ms(20_000)),
                (false, _) => l.read(),
            };
            bad += u32::from(got != "0");
            let step = if writes { -1_000 } else { 1 };
            let before = INSIDE.fetch_add(step, Ordering::SeqCst);
            bad += u32::from(if writes { before != 0 } else { before < 0 });
            if i % 5 == 0 {
                std::thread::yield_now();
            }
            if i % 8 == 0 {
                ms(1);
            }
            INSIDE.fetch_sub(step, Ordering::SeqCst);
            bad += u32::from(l.unlock() != "0");
            if i % 7 == 0 {
                ms(1);
            }
        }
        bad
    };
    let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(turns)).collect();
    let parties: Vec<_> = (0..4).map(|i| t.spawn(&format!("p{i}"), move |_| turns())).collect();
    t.says("bad", parties.into_iter().map(Flow::join).sum::<u32>());
    let bad = threads.into_iter().map(|thread| thread.join().expect("its end"));
    t.says("bad", bad.sum::<u32>());
    t.says("destroy", l.destroy());
}

/// Readers that overlap all the time, and one that wants to write: does it come to its turn?
fn readers_go_on(t: &Trace, l: RwLock, threads: bool) {
    static STOP: AtomicBool = AtomicBool::new(false);
    let reads = move |i: u64| {
        while !STOP.load(Ordering::SeqCst) {
            l.read();
            ms(3 + i % 4);
            l.unlock();
        }
    };
    let readers = 16;
    let mut handles = Vec::new();
    let mut flows = Vec::new();
    for i in 0..readers {
        if threads {
            handles.push(std::thread::spawn(move || reads(i)));
        } else {
            flows.push(t.spawn(&format!("reader {i}"), move |_| reads(i)));
        }
    }
    ms(100);
    let got = l.timed_write(in_ms(1500));
    if got == "0" {
        l.unlock();
    }
    STOP.store(true, Ordering::SeqCst);
    // A lock that prefers readers may let one in by chance.
    let prefers = unsafe { *l.0.cast::<u8>().add(48) } == 2;
    t.says("the writer of one that prefers it", if prefers { &got } else { "-" });
    flows.into_iter().for_each(Flow::join);
    handles.into_iter().for_each(|h| h.join().expect("its end"));
    t.says("destroy", l.destroy());
}

/// One waits to write: what readers are told, and which flow is next.
fn writer_waits(t: &Trace, l: RwLock, thread: bool) {
    static WRITTEN: AtomicU32 = AtomicU32::new(0);
    t.says("rdlock", l.read());
    let writes = move || {
        let got = l.write();
        WRITTEN.store(1, Ordering::SeqCst);
        ms(20);
        l.unlock();
        got
    };
    let handle = thread.then(|| std::thread::spawn(writes));
    let flow = (!thread).then(|| t.spawn("writer", move |t| t.says("wrlock", writes())));
    ms(200);
    let tried = l.try_read();
    t.says("tryrdlock", &tried);
    if tried == "0" {
        l.unlock();
    }
    let timed = l.timed_read(in_ms(200));
    t.says("timedrdlock", &timed);
    if timed == "0" {
        l.unlock();
    }
    t.says("trywrlock", l.try_write());
    let reader = t.spawn("reader", move |t| {
        t.says("rdlock", l.read());
        let first = WRITTEN.swap(2, Ordering::SeqCst);
        t.says("after the writer", first == 1);
        t.says("unlock", l.unlock());
    });
    ms(200);
    t.says("reader is in", reader.is_over());
    t.says("unlock", l.unlock());
    reader.join();
    if let Some(flow) = flow {
        flow.join();
    }
    if let Some(handle) = handle {
        t.says("wrlock", handle.join().expect("its end"));
    }
    t.says("destroy", l.destroy());
}

/// One waits to write, and gives up: readers that have waited for it go on.
fn writer_gives_up(t: &Trace, l: RwLock, thread: bool) {
    t.says("rdlock", l.read());
    let writes = move || l.timed_write(in_ms(400));
    let handle = thread.then(|| std::thread::spawn(writes));
    let flow = (!thread).then(|| t.spawn("writer", move |t| t.says("timedwrlock", writes())));
    ms(100);
    let readers = (0..3).map(|i| {
        t.spawn(&format!("reader {i}"), move |t| {
            t.says("rdlock", l.read());
            t.says("unlock", l.unlock());
        })
    });
    let readers: Vec<_> = readers.collect();
    let over = readers.into_iter().all(|r| r.over_within(5_000));
    t.says("readers go on", over);
    if let Some(flow) = flow {
        flow.join();
    }
    if let Some(handle) = handle {
        t.says("timedwrlock", handle.join().expect("its end"));
    }
    t.says("unlock", l.unlock());
    t.says("trywrlock", l.try_write());
}

/// Another process has it.
fn processes(t: &Trace, l: RwLock) {
    for writes in [false, true] {
        let child = make::child(move || {
            let got = if writes { l.write() } else { l.read() };
            ms(300);
            i32::from(got != "0" || l.unlock() != "0")
        });
        make::until(10_000, || {
            let busy = l.try_write() == "EBUSY";
            if !busy {
                l.unlock();
            }
            busy
        });
        let read = l.try_read();
        t.says("tryrdlock", &read);
        if read == "0" {
            l.unlock();
        }
        t.says("timedwrlock", l.timed_write(in_ms(20)));
        t.says("wrlock", l.write());
        t.says("wrlock again", l.write());
        t.says("child", make::end_of(child));
        let child = make::child(move || {
            i32::from(l.try_read() != "EBUSY" || l.timed_read(in_ms(20)) != "ETIMEDOUT")
        });
        t.says("child that tries", make::end_of(child));
        t.says("unlock", l.unlock());
        t.says("rdlock", l.read());
        t.says("rdlock", l.read());
        t.says("unlock", l.unlock());
        t.says("unlock", l.unlock());
    }
    t.says("destroy", l.destroy());
}
