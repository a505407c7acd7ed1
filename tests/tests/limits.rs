//! What happens where the system gives no more: memory for stacks, threads.

use goroutines::runtime::{self, blocking};
use goroutines::{WaitGroup, go, thread};
use goroutines_tests::proc::in_child;
use goroutines_tests::{raw, sandbox};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Pages of addresses (0) or of memory (1) that the process has.
fn pages(which: usize) -> Option<usize> {
    std::fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(which)?.parse().ok()
}

/// Limits the process's addresses to `bytes` more than it has.
fn limit_addresses(bytes: u64) {
    let used = pages(0).expect("/proc") as u64 * 4096;
    let limit = libc::rlimit { rlim_cur: used + bytes, rlim_max: used + bytes };
    // SAFETY: a limit of this process.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

/// There is room for a thousand stacks or so; goroutines beyond wait for those of others that end.
#[test]
fn goroutines_wait_for_stacks() {
    for procs in ["1", "4"] {
        let name = "goroutines_wait_for_stacks";
        let child = in_child(name, &[("GOMAXPROCS", procs)], || {
            goroutines::run(|| {
                limit_addresses(300 << 20);
                let wg = WaitGroup::new();
                for _ in 0..5_000 {
                    wg.go(|| (0..20).for_each(|_| runtime::gosched()));
                }
                wg.wait();
                println!("all ended");
            });
        });
        child.expect_clean();
        assert!(child.text().contains("all ended"), "{child}");
    }
}

/// `Builder::spawn` says so where there is no memory for a stack.
#[test]
fn the_builder_returns_the_error() {
    let child = in_child("the_builder_returns_the_error", &[], || {
        goroutines::run(|| {
            limit_addresses(300 << 20);
            let gate = WaitGroup::new();
            gate.add(1);
            let mut started = Vec::new();
            let error = loop {
                let gate = gate.clone();
                match thread::Builder::new().spawn(move || gate.wait()) {
                    Ok(handle) => started.push(handle),
                    Err(e) => break e,
                }
            };
            assert_eq!(error.raw_os_error(), Some(libc::ENOMEM), "{error}");
            println!("{} started", started.len());
            gate.done();
            started.into_iter().for_each(|handle| handle.join().unwrap());
            assert_eq!(go(|| 7).join().unwrap(), 7, "and it goes on");
        });
    });
    child.expect_clean();
    let e = thread::Builder::new().stack_size(5 << 30).spawn(|| ()).unwrap_err();
    assert_eq!(e.kind(), std::io::ErrorKind::InvalidInput);
}

/// Where the system makes no further thread, the goroutines of a blocked one wait for a thread that comes
/// back.
#[test]
fn no_more_threads() {
    let child = in_child("no_more_threads", &[("GOMAXPROCS", "2")], || {
        goroutines::run(|| {
            // What a thread's stack needs is not to be had any more, after these.
            let warm: Vec<_> =
                (0..4).map(|_| go(|| blocking(|| raw::sleep(Duration::from_millis(50))))).collect();
            warm.into_iter().for_each(|handle| handle.join().unwrap());
            limit_addresses(4 << 20);
            let wg = WaitGroup::new();
            for _ in 0..40 {
                wg.go(|| blocking(|| raw::sleep(Duration::from_millis(20))));
            }
            wg.wait();
            println!("all ended");
        });
    });
    child.expect_clean();
    assert!(child.text().contains("all ended"), "{child}");
}

/// A million at once, and ten million in all with memory flat: a tenth of that here, all of it in
/// `cargo run --release -p goroutines-tests --example memory -- --count 1000000`.
#[test]
fn many_at_once_and_more_in_all() {
    let child = in_child("many_at_once_and_more_in_all", &[], || {
        goroutines::run(|| {
            let resident = || pages(1).unwrap() * 4096;
            let (count, before) = (100_000, resident());
            let (gate, started, ended) = (WaitGroup::new(), WaitGroup::new(), WaitGroup::new());
            gate.add(1);
            started.add(count);
            ended.add(count);
            for _ in 0..count {
                let (gate, started, ended) = (gate.clone(), started.clone(), ended.clone());
                drop(go(move || {
                    started.done();
                    gate.wait();
                    ended.done();
                }));
            }
            started.wait();
            assert!(runtime::num_goroutine() > count as usize);
            let each = (resident() - before) / count as usize;
            gate.done();
            ended.wait();
            let most = resident();
            for _ in 0..10 {
                let wg = WaitGroup::new();
                (0..count).for_each(|_| wg.go(|| ()));
                wg.wait();
            }
            println!(
                "{each} bytes each; resident {} MiB, then {} MiB",
                most >> 20,
                resident() >> 20
            );
            assert!(each < 12_000, "{each} bytes a parked goroutine (of a debug build)");
            assert!(resident() < most + most / 4, "memory grows");
        });
    });
    child.expect_clean();
    println!("{}", child.text());
}

/// No stack can be made any more, and goroutines come and go: each that waits for a stack gets that of another.
/// `ROUNDS` and `SOAK_SECONDS` make a long run of it.
#[test]
fn nobody_who_waits_for_a_stack_is_forgotten() {
    const GUARD_MARKERS: u32 = 102;
    let name = "nobody_who_waits_for_a_stack_is_forgotten";
    let setting = |name, usual| std::env::var(name).map_or(usual, |n| n.parse().unwrap_or(0));
    let (rounds, soak) = (setting("ROUNDS", 3_000), setting("SOAK_SECONDS", 0));
    let child = in_child(name, &[("GOMAXPROCS", "2")], || {
        goroutines::run(|| {
            let warm: Vec<_> =
                (0..20).map(|_| go(|| std::thread::sleep(Duration::from_millis(100)))).collect();
            warm.into_iter().for_each(|handle| handle.join().unwrap());
            sandbox::refuse(libc::SYS_madvise, Some(GUARD_MARKERS), libc::ENOMEM);
            let begun = Instant::now();
            let go_on =
                |round: &u64| *round < rounds || begun.elapsed() < Duration::from_secs(soak);
            let mut all = 0;
            for round in (0..).take_while(go_on) {
                all = round + 1;
                let done = Arc::new(AtomicU32::new(0));
                for i in 0..100 {
                    let done = Arc::clone(&done);
                    drop(go(move || {
                        if i % 2 == 0 {
                            runtime::gosched();
                        } else {
                            std::thread::sleep(Duration::from_micros(30));
                        }
                        done.fetch_add(1, Ordering::Relaxed);
                    }));
                }
                let start = Instant::now();
                while done.load(Ordering::Relaxed) < 100 {
                    std::thread::sleep(Duration::from_micros(100));
                    let waited = start.elapsed() > Duration::from_secs(20);
                    assert!(!waited, "round {round}: {done:?} of 100 have run");
                }
            }
            println!("all ended in {all} rounds");
        });
    });
    child.expect_clean();
    println!("{}", child.text());
    assert!(child.text().contains("all ended"), "{child}");
}

/// Guard pages that are mappings of their own (as before Linux 6.13) use up what the system allows. Threads, libraries
/// and the like need some too.
#[test]
fn stacks_leave_mappings_to_the_program() {
    const GUARD_MARKERS: u32 = 102;
    let child = in_child("stacks_leave_mappings_to_the_program", &[], || {
        sandbox::refuse(libc::SYS_madvise, Some(GUARD_MARKERS), libc::EINVAL);
        goroutines::run(|| {
            let gate = WaitGroup::new();
            gate.add(1);
            let mut started = Vec::new();
            let error = loop {
                let gate = gate.clone();
                match thread::Builder::new().spawn(move || gate.wait()) {
                    Ok(handle) => started.push(handle),
                    Err(e) => break e,
                }
            };
            assert!(error.to_string().contains("vm.max_map_count"), "{error}");
            println!("{} started", started.len());
            let threads: Vec<_> = (0..100)
                .map(|_| std::thread::Builder::new().spawn(|| 7).expect("a thread can be made"))
                .collect();
            threads.into_iter().for_each(|one| assert_eq!(one.join().unwrap(), 7));
            for i in 0..500 {
                let prot = if i % 2 == 0 { libc::PROT_READ } else { libc::PROT_NONE };
                let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                // SAFETY: a new mapping.
                let at = unsafe { libc::mmap(std::ptr::null_mut(), 4096, prot, flags, -1, 0) };
                assert_ne!(at, libc::MAP_FAILED, "no mapping is left");
            }
            gate.done();
            started.into_iter().for_each(|handle| handle.join().unwrap());
            assert_eq!(go(|| 7).join().unwrap(), 7, "and it goes on");
            println!("all ended");
        });
    });
    child.expect_clean();
    assert!(child.text().contains("all ended"), "{child}");
}
