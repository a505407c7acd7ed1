//! A plug-in that contains the runtime: `tests/libraries.rs` loads it, calls it, and unloads it; so does Python.

use goroutines::{WaitGroup, go};

/// How long it takes until `count` goroutines have slept for 20 ms, in microseconds.
#[unsafe(no_mangle)]
extern "C" fn plugin_sleeps(count: i32) -> i64 {
    let start = std::time::Instant::now();
    goroutines::run(|| {
        let done = WaitGroup::new();
        for _ in 0..count {
            done.go(|| std::thread::sleep(std::time::Duration::from_millis(20)));
        }
        done.wait();
    });
    i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// Has some goroutines run; how many have.
#[unsafe(no_mangle)]
extern "C" fn plugin_goroutines() -> i32 {
    goroutines::run(|| {
        let done = WaitGroup::new();
        let all: Vec<_> = (0..10)
            .map(|_| {
                done.add(1);
                let done = done.clone();
                go(move || {
                    goroutines::runtime::gosched();
                    // Not taken over in a library that was loaded by hand: it blocks its thread.
                    std::thread::sleep(std::time::Duration::from_millis(2));
                    done.done();
                })
            })
            .collect();
        done.wait();
        i32::try_from(all.len()).unwrap_or(-1)
    })
}
