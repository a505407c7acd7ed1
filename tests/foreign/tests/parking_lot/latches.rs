//! src/parking_lot.rs, parking_lot_core 0.10.0 (MIT OR Apache-2.0), on goroutines.
//! The originals look at the queues; here a thread is known by its park token. Repeats
//! are fewer where a comment has the original number.

use super::parked;
use goroutines::thread;
use parking_lot_core::{DEFAULT_UNPARK_TOKEN, ParkToken};
use std::{
    sync::{
        Arc,
        atomic::{AtomicIsize, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// Calls a closure for the token of everybody currently parked on a given key
fn for_each(key: &AtomicIsize, f: impl FnMut(ParkToken)) {
    parked(key).into_iter().for_each(f);
}

macro_rules! test {
    ( $( $name:ident(
        repeats: $repeats:expr,
        latches: $latches:expr,
        delay: $delay:expr,
        threads: $threads:expr,
        single_unparks: $single_unparks:expr);
    )* ) => {
        $(fn $name() {
            let delay = Duration::from_micros($delay);
            for _ in 0..$repeats {
                run_parking_test($latches, delay, $threads, $single_unparks);
            }
        })*
    };
}

test! {
    unpark_all_one_fast(
        repeats: 1000, latches: 1, delay: 0, threads: 1, single_unparks: 0
    );
    unpark_all_hundred_fast(
        repeats: 20, /* 100 */ latches: 1, delay: 0, threads: 100, single_unparks: 0
    );
    unpark_one_one_fast(
        repeats: 1000, latches: 1, delay: 0, threads: 1, single_unparks: 1
    );
    unpark_one_hundred_fast(
        repeats: 10, /* 20 */ latches: 1, delay: 0, threads: 100, single_unparks: 100
    );
    unpark_one_fifty_then_fifty_all_fast(
        repeats: 20, /* 50 */ latches: 1, delay: 0, threads: 100, single_unparks: 50
    );
    unpark_all_one(
        repeats: 100, latches: 1, delay: 10000, threads: 1, single_unparks: 0
    );
    unpark_all_hundred(
        repeats: 30, /* 100 */ latches: 1, delay: 10000, threads: 100, single_unparks: 0
    );
    unpark_one_one(
        repeats: 10, latches: 1, delay: 10000, threads: 1, single_unparks: 1
    );
    unpark_one_fifty(
        repeats: 1, latches: 1, delay: 10000, threads: 50, single_unparks: 50
    );
    unpark_one_fifty_then_fifty_all(
        repeats: 2, latches: 1, delay: 10000, threads: 100, single_unparks: 50
    );
    hundred_unpark_all_one_fast(
        repeats: 20, /* 100 */ latches: 100, delay: 0, threads: 1, single_unparks: 0
    );
    hundred_unpark_all_one(
        repeats: 1, latches: 100, delay: 10000, threads: 1, single_unparks: 0
    );
}

fn run_parking_test(
    num_latches: usize,
    delay: Duration,
    num_threads: usize,
    num_single_unparks: usize,
) {
    let mut tests = Vec::with_capacity(num_latches);

    for _ in 0..num_latches {
        let test = Arc::new(SingleLatchTest::new(num_threads));
        let mut threads = Vec::with_capacity(num_threads);
        for index in 0..num_threads {
            let test = test.clone();
            threads.push(thread::spawn(move || test.run(ParkToken(index))));
        }
        tests.push((test, threads));
    }

    for unpark_index in 0..num_single_unparks {
        thread::sleep(delay);
        for (test, _) in &tests {
            test.unpark_one(unpark_index);
        }
    }

    for (test, threads) in tests {
        test.finish(num_single_unparks);
        for thread in threads {
            thread.join().expect("Test thread panic");
        }
    }
}

/// No token.
const NOBODY: usize = usize::MAX;

struct SingleLatchTest {
    semaphore: AtomicIsize,
    num_awake: AtomicUsize,
    /// Holds the token of the last *unprocessed* woken up thread.
    last_awoken: AtomicUsize,
    /// Total number of threads participating in this test.
    num_threads: usize,
}

impl SingleLatchTest {
    fn new(num_threads: usize) -> Self {
        Self {
            // This implements a fair (FIFO) semaphore, and it starts out unavailable.
            semaphore: AtomicIsize::new(0),
            num_awake: AtomicUsize::new(0),
            last_awoken: AtomicUsize::new(NOBODY),
            num_threads,
        }
    }

    fn run(&self, this_thread: ParkToken) {
        // Get one slot from the semaphore
        self.down(this_thread);

        // Report back to the test verification code that this thread woke up
        self.last_awoken.store(this_thread.0, Ordering::SeqCst);
        self.num_awake.fetch_add(1, Ordering::SeqCst);
    }

    fn unpark_one(&self, single_unpark_index: usize) {
        // last_awoken should be nobody at all times except between self.up() and at the bottom
        // of this method where it's reset to nobody again
        assert_eq!(self.last_awoken.load(Ordering::SeqCst), NOBODY);

        let mut queue: Vec<ParkToken> = Vec::with_capacity(self.num_threads);
        for_each(&self.semaphore, |token| {
            queue.push(token);
        });
        assert!(queue.len() <= self.num_threads - single_unpark_index);

        let num_awake_before_up = self.num_awake.load(Ordering::SeqCst);

        self.up();

        // Wait for a parked thread to wake up and update num_awake + last_awoken.
        while self.num_awake.load(Ordering::SeqCst) != num_awake_before_up + 1 {
            thread::yield_now();
        }

        // At this point the other thread should have set last_awoken inside the run() method
        let last_awoken = self.last_awoken.load(Ordering::SeqCst);
        assert_ne!(last_awoken, NOBODY);
        if !queue.is_empty() && queue[0].0 != last_awoken {
            panic!("Woke up wrong thread:\n\tqueue: {:?}\n\tlast awoken: {:?}", queue, last_awoken);
        }
        self.last_awoken.store(NOBODY, Ordering::SeqCst);
    }

    fn finish(&self, num_single_unparks: usize) {
        // The amount of threads not unparked via unpark_one
        let mut num_threads_left = self.num_threads.checked_sub(num_single_unparks).unwrap();

        // Wake remaining threads up with unpark_all. Has to be in a loop, because there might
        // still be threads that has not yet parked.
        while num_threads_left > 0 {
            let mut num_waiting_on_address = 0;
            for_each(&self.semaphore, |_token| {
                num_waiting_on_address += 1;
            });
            assert!(num_waiting_on_address <= num_threads_left);

            let num_awake_before_unpark = self.num_awake.load(Ordering::SeqCst);

            let num_unparked = unsafe {
                parking_lot_core::unpark_all(self.semaphore_addr(), DEFAULT_UNPARK_TOKEN)
            };
            assert!(num_unparked >= num_waiting_on_address);
            assert!(num_unparked <= num_threads_left);

            // Wait for all unparked threads to wake up and update num_awake + last_awoken.
            while self.num_awake.load(Ordering::SeqCst) != num_awake_before_unpark + num_unparked {
                thread::yield_now()
            }

            num_threads_left = num_threads_left.checked_sub(num_unparked).unwrap();
        }
        // By now, all threads should have been woken up
        assert_eq!(self.num_awake.load(Ordering::SeqCst), self.num_threads);

        // Make sure no thread is parked on our semaphore address
        let mut num_waiting_on_address = 0;
        for_each(&self.semaphore, |_token| {
            num_waiting_on_address += 1;
        });
        assert_eq!(num_waiting_on_address, 0);
    }

    fn down(&self, this_thread: ParkToken) {
        let old_semaphore_value = self.semaphore.fetch_sub(1, Ordering::SeqCst);

        if old_semaphore_value > 0 {
            // We acquired the semaphore. Done.
            return;
        }

        // We need to wait.
        let validate = || true;
        let before_sleep = || {};
        let timed_out = |_, _| {};
        unsafe {
            parking_lot_core::park(
                self.semaphore_addr(),
                validate,
                before_sleep,
                timed_out,
                this_thread,
                None,
            );
        }
    }

    fn up(&self) {
        let old_semaphore_value = self.semaphore.fetch_add(1, Ordering::SeqCst);

        // Check if anyone was waiting on the semaphore. If they were, then pass ownership to them.
        if old_semaphore_value < 0 {
            // We need to continue until we have actually unparked someone. It might be that
            // the thread we want to pass ownership to has decremented the semaphore counter,
            // but not yet parked.
            loop {
                match unsafe {
                    parking_lot_core::unpark_one(self.semaphore_addr(), |_| DEFAULT_UNPARK_TOKEN)
                        .unparked_threads
                } {
                    1 => break,
                    0 => (),
                    i => panic!("Should not wake up {} threads", i),
                }
            }
        }
    }

    fn semaphore_addr(&self) -> usize {
        core::ptr::from_ref(&self.semaphore).addr()
    }
}

goroutines_foreign_tests::goroutine_tests! {
    unpark_all_one_fast,
    unpark_all_hundred_fast,
    unpark_one_one_fast,
    unpark_one_hundred_fast,
    unpark_one_fifty_then_fifty_all_fast,
    unpark_all_one,
    unpark_all_hundred,
    unpark_one_one,
    unpark_one_fifty,
    unpark_one_fifty_then_fifty_all,
    hundred_unpark_all_one_fast,
    hundred_unpark_all_one,
}
