//! A plug-in that contains the runtime: `tests/libraries.rs` loads it, calls it, and unloads it.

use goroutines::{WaitGroup, go};

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
