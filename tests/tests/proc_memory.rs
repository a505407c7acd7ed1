//! Memory after a burst is given back: that of stacks of all sizes, of those that lie on the free lists of processors too.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails must end them")]

use goroutines::{WaitGroup, go, runtime, thread};
use goroutines_tests::alloc::BYTES;
use goroutines_tests::io::ms;
use goroutines_tests::proc::{Hogs, burn_for, burn_until, in_child};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

/// How much memory the process has.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Touches `pages` pages of stack.
#[inline(never)]
fn deep(pages: usize) -> u8 {
    let page = [pages as u8; 4096];
    black_box(&page);
    if pages == 0 { 0 } else { deep(pages - 1).wrapping_add(page[7]) }
}

/// `count` goroutines, all at once, with stacks of `bytes` of which each touches most; how much memory they had.
fn burst(count: usize, bytes: Option<usize>) -> usize {
    let pages = bytes.unwrap_or(256 << 10) / 4096 * 2 / 3;
    let (gate, ready) = (WaitGroup::new(), WaitGroup::new());
    gate.add(1);
    let all: Vec<_> = (0..count)
        .map(|_| {
            let (gate, ready) = (gate.clone(), ready.clone());
            ready.add(1);
            let mut builder = thread::Builder::new();
            if let Some(bytes) = bytes {
                builder = builder.stack_size(bytes);
            }
            let body = move || {
                deep(pages);
                ready.done();
                gate.wait();
            };
            builder.spawn(body).unwrap()
        })
        .collect();
    ready.wait();
    let most = resident();
    gate.done();
    all.into_iter().for_each(|one| one.join().unwrap());
    most
}

/// Waits until the process has no more than `limit`.
fn expect_resident(limit: usize, what: &str) {
    let start = Instant::now();
    while resident() > limit {
        let now = resident() / MIB;
        assert!(start.elapsed() < Duration::from_secs(20), "{what}: {now} MiB, of {}", limit / MIB);
        std::thread::sleep(ms(50));
    }
    println!("{what}: {} MiB after {:?}", resident() / MIB, start.elapsed());
}

/// Stacks of all sizes, in bursts.
#[test]
fn stacks_of_all_sizes() {
    let child = in_child("stacks_of_all_sizes", &[("GOMAXPROCS", "2")], || {
        goroutines::run(|| {
            burst(10, None);
            let before = resident();
            for (bytes, count) in [(64 << 10, 800), (1 << 20, 100), (4 << 20, 50)] {
                let most = burst(count, Some(bytes));
                println!("{count} of {} KiB: {} MiB", bytes >> 10, most / MIB);
                // A page or two of each stay, and what the allocators keep.
                expect_resident(before + count * 16 * 1024 + 4 * MIB, "given back");
            }
        });
    });
    child.expect_clean();
    println!("{}", child.text());
}

/// What lies on the processors' own lists: of such as are idle, such as run one goroutine after the other, and such whose
/// goroutine never ends.
fn lists_of_processors(test: &str, others: &str) {
    let child = in_child(test, &[("GOMAXPROCS", "4"), ("OTHERS", others)], || {
        let others = std::env::var("OTHERS").unwrap();
        goroutines::run(|| {
            burst(100, None);
            let before = resident();
            let most = burst(250, None);
            println!("{others}: {} MiB before, {} MiB in use", before / MIB, most / MIB);
            let hogs = (others == "computing").then(|| Hogs::start(3));
            let players = (others == "busy").then(|| {
                let player = || {
                    go(|| {
                        loop {
                            runtime::gosched()
                        }
                    })
                };
                (player(), player())
            });
            expect_resident(16 * MIB, "given back");
            drop(hogs);
            drop(players);
            std::process::exit(0);
        });
    });
    child.expect_clean();
    println!("{}", child.text());
}

#[test]
fn lists_of_idle_processors() {
    lists_of_processors("lists_of_idle_processors", "idle");
}

#[test]
fn lists_of_busy_processors() {
    lists_of_processors("lists_of_busy_processors", "busy");
}

#[test]
fn lists_of_computing_processors() {
    lists_of_processors("lists_of_computing_processors", "computing");
}

/// The list of a processor whose goroutine goes on without an end, while nothing else happens.
#[test]
fn list_of_a_processor_in_use() {
    let child = in_child("list_of_a_processor_in_use", &[("GOMAXPROCS", "1")], || {
        goroutines::run(|| {
            // Later nothing else is to be given back.
            burst(60, None);
            runtime::gomaxprocs(2);
            std::thread::sleep(Duration::from_secs(6));
            let limit = resident() + 4 * MIB;
            runtime::gomaxprocs(1);
            let most = burst(60, None);
            assert!(most > limit, "there is something to give back");
            // The goroutines have ended here, and this one stays here.
            runtime::gomaxprocs(2);
            let is_over = Arc::new(AtomicBool::new(false));
            let check = {
                let is_over = Arc::clone(&is_over);
                move || {
                    let result = std::panic::catch_unwind(|| expect_resident(limit, "given back"));
                    is_over.store(true, Ordering::Relaxed);
                    result.unwrap();
                }
            };
            let checker = std::thread::spawn(check);
            burn_until(&is_over);
            checker.join().unwrap();
        });
    });
    child.expect_clean();
    println!("{}", child.text());
}

/// A hundred thousand at once: a page or two of each stay, and no more the next time.
#[test]
fn a_hundred_thousand() {
    let child = in_child("a_hundred_thousand", &[("GOMAXPROCS", "2")], || {
        goroutines::run(|| {
            let mut last = None;
            for _ in 0..2 {
                let count = 100_000;
                let (gate, ready, ended) = (WaitGroup::new(), WaitGroup::new(), WaitGroup::new());
                gate.add(1);
                ready.add(count);
                ended.add(count);
                for _ in 0..count {
                    let (gate, ready, ended) = (gate.clone(), ready.clone(), ended.clone());
                    drop(go(move || {
                        deep(2);
                        ready.done();
                        gate.wait();
                        ended.done();
                    }));
                }
                ready.wait();
                let most = resident();
                gate.done();
                ended.wait();
                let limit = last.unwrap_or(count as usize * 10 * 1024 + 60 * MIB);
                println!("{} MiB at once", most / MIB);
                assert!(most > limit, "there is something to give back");
                expect_resident(limit, "given back");
                last = Some(resident() + resident() / 8);
            }
        });
    });
    child.expect_clean();
    println!("{}", child.text());
}

/// Makes goroutines of many sizes on the processor that the caller runs on, where they run too.
fn of_all_sizes() {
    fn make<const WORDS: usize>() {
        let words = [WORDS; WORDS];
        let all: Vec<_> = (0..70).map(|_| go(move || black_box(words).len())).collect();
        all.into_iter().for_each(|one| drop(one.join()));
    }
    [make::<4>, make::<12>, make::<20>, make::<28>, make::<36>].into_iter().for_each(|make| make());
}

/// Processors that are no longer there keep no memory of goroutines that have ended.
#[test]
fn processors_that_have_gone() {
    let child = in_child("processors_that_have_gone", &[("GOMAXPROCS", "1")], || {
        goroutines::run(|| {
            of_all_sizes();
            std::thread::sleep(Duration::from_secs(4));
            let before = BYTES.load(Ordering::Relaxed);
            runtime::gomaxprocs(32);
            for _ in 0..2 {
                let all: Vec<_> = (0..32)
                    .map(|_| {
                        go(|| {
                            burn_for(ms(30));
                            of_all_sizes();
                        })
                    })
                    .collect();
                all.into_iter().for_each(|one| one.join().unwrap());
            }
            let most = BYTES.load(Ordering::Relaxed);
            runtime::gomaxprocs(1);
            let start = Instant::now();
            let more = || (BYTES.load(Ordering::Relaxed) - before) / 1024;
            while more() > 250 {
                let kib = more();
                assert!(start.elapsed() < Duration::from_secs(20), "{kib} KiB are left");
                std::thread::sleep(ms(50));
            }
            println!("{} KiB of {}", more(), (most - before) / 1024);
        });
    });
    child.expect_clean();
    println!("{}", child.text());
}
