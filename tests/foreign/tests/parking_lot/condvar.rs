//! src/condvar.rs, parking_lot 0.13.0 (MIT OR Apache-2.0), on goroutines.
//! Its module `webkit_queue_test` is in webkit_queue.rs.

use goroutines::thread;
use goroutines::thread::{JoinHandle, sleep};
use parking_lot::{Condvar, Mutex, MutexGuard};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;
use std::time::Instant;

fn smoke() {
    let c = Condvar::new();
    c.notify_one();
    c.notify_all();
}

fn notify_one() {
    let m = Arc::new(Mutex::new(()));
    let m2 = m.clone();
    let c = Arc::new(Condvar::new());
    let c2 = c.clone();

    let mut g = m.lock();
    let _t = thread::spawn(move || {
        let _g = m2.lock();
        c2.notify_one();
    });
    c.wait(&mut g);
}

fn notify_all() {
    const N: usize = 10;

    let data = Arc::new((Mutex::new(0), Condvar::new()));
    let (tx, rx) = channel();
    for _ in 0..N {
        let data = data.clone();
        let tx = tx.clone();
        thread::spawn(move || {
            let (lock, cond) = &*data;
            let mut cnt = lock.lock();
            *cnt += 1;
            if *cnt == N {
                tx.send(()).unwrap();
            }
            while *cnt != 0 {
                cond.wait(&mut cnt);
            }
            tx.send(()).unwrap();
        });
    }
    drop(tx);

    let (lock, cond) = &*data;
    rx.recv().unwrap();
    let mut cnt = lock.lock();
    *cnt = 0;
    cond.notify_all();
    drop(cnt);

    for _ in 0..N {
        rx.recv().unwrap();
    }
}

fn notify_one_return_true() {
    let m = Arc::new(Mutex::new(()));
    let m2 = m.clone();
    let c = Arc::new(Condvar::new());
    let c2 = c.clone();

    let mut g = m.lock();
    let t = thread::spawn(move || {
        let _g = m2.lock();
        assert!(c2.notify_one());
    });
    c.wait(&mut g);
    t.join().unwrap();
}

fn notify_one_return_false() {
    assert!(!Condvar::new().notify_one());
}

fn notify_all_return() {
    const N: usize = 10;

    let data = Arc::new((Mutex::new(0), Condvar::new()));
    let (tx, rx) = channel();
    for _ in 0..N {
        let data = data.clone();
        let tx = tx.clone();
        thread::spawn(move || {
            let (lock, cond) = &*data;
            let mut cnt = lock.lock();
            *cnt += 1;
            if *cnt == N {
                tx.send(()).unwrap();
            }
            while *cnt != 0 {
                cond.wait(&mut cnt);
            }
            tx.send(()).unwrap();
        });
    }
    drop(tx);

    let (lock, cond) = &*data;
    rx.recv().unwrap();
    let mut cnt = lock.lock();
    *cnt = 0;
    assert_eq!(cond.notify_all(), N);
    drop(cnt);

    for _ in 0..N {
        rx.recv().unwrap();
    }

    assert_eq!(cond.notify_all(), 0);
}

fn wait_for() {
    let m = Arc::new(Mutex::new(()));
    let m2 = m.clone();
    let c = Arc::new(Condvar::new());
    let c2 = c.clone();

    let mut g = m.lock();
    let result = c.wait_for(&mut g, Duration::from_millis(1));
    assert!(result.timed_out());

    let t = thread::spawn(move || {
        let _g = m2.lock();
        c2.notify_one();
    });
    let result = c.wait_for(&mut g, Duration::from_millis(u32::MAX as u64));
    assert!(!result.timed_out());

    drop(g);
    t.join().unwrap();
}

fn wait_until() {
    let m = Arc::new(Mutex::new(()));
    let m2 = m.clone();
    let c = Arc::new(Condvar::new());
    let c2 = c.clone();

    let mut g = m.lock();
    let result = c.wait_until(&mut g, Instant::now() + Duration::from_millis(1));
    assert!(result.timed_out());
    let t = thread::spawn(move || {
        let _g = m2.lock();
        c2.notify_one();
    });
    let result = c.wait_until(&mut g, Instant::now() + Duration::from_millis(u32::MAX as u64));
    assert!(!result.timed_out());
    drop(g);
    t.join().unwrap();
}

fn spawn_wait_while_notifier(
    mutex: Arc<Mutex<u32>>,
    cv: Arc<Condvar>,
    num_iters: u32,
    timeout: Option<Instant>,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for epoch in 1..=num_iters {
            // spin to wait for main test thread to block
            // before notifying it to wake back up and check
            // its condition.
            let mut sleep_backoff = Duration::from_millis(1);
            let _mutex_guard = loop {
                let mutex_guard = mutex.lock();

                if let Some(timeout) = timeout
                    && Instant::now() >= timeout
                {
                    return;
                }

                if *mutex_guard == epoch {
                    break mutex_guard;
                }

                drop(mutex_guard);

                // give main test thread a good chance to
                // acquire the lock before this thread does.
                sleep(sleep_backoff);
                sleep_backoff *= 2;
            };

            cv.notify_one();
        }
    })
}

fn wait_while_does_not_wait_if_initially_false() {
    let mutex = Arc::new(Mutex::new(0));
    let cv = Arc::new(Condvar::new());

    let condition = |counter: &mut u32| {
        *counter += 1;
        false
    };

    let mut mutex_guard = mutex.lock();
    cv.wait_while(&mut mutex_guard, condition);
    assert!(*mutex_guard == 1);
}

fn wait_while_until_times_out_before_false() {
    let mutex = Arc::new(Mutex::new(0));
    let cv = Arc::new(Condvar::new());

    let num_iters = 3;
    let condition = |counter: &mut u32| {
        *counter += 1;
        true
    };

    let mut mutex_guard = mutex.lock();
    let timeout = Instant::now() + Duration::from_millis(500);
    let handle = spawn_wait_while_notifier(mutex.clone(), cv.clone(), num_iters, Some(timeout));

    let timeout_result = cv.wait_while_until(&mut mutex_guard, condition, timeout);

    assert!(timeout_result.timed_out());
    assert!(*mutex_guard == num_iters + 2);

    // prevent deadlock with notifier
    drop(mutex_guard);
    handle.join().unwrap();
}

fn wait_while_until_rechecks_condition_after_timeout() {
    let mutex = Mutex::new(());
    let cv = Condvar::new();
    let mut calls = 0;
    let condition = |_: &mut ()| {
        calls += 1;
        calls == 1
    };

    let mut mutex_guard = mutex.lock();
    let timeout_result = cv.wait_while_until(&mut mutex_guard, condition, Instant::now());

    assert!(!timeout_result.timed_out());
    assert_eq!(calls, 2);
}

fn wait_while() {
    let mutex = Arc::new(Mutex::new(0));
    let cv = Arc::new(Condvar::new());

    let num_iters = 4;

    let condition = |counter: &mut u32| {
        *counter += 1;
        *counter <= num_iters
    };

    let mut mutex_guard = mutex.lock();
    let handle = spawn_wait_while_notifier(mutex.clone(), cv.clone(), num_iters, None);

    cv.wait_while(&mut mutex_guard, condition);
    assert!(*mutex_guard == num_iters + 1);

    cv.wait_while(&mut mutex_guard, condition);
    handle.join().unwrap();

    assert!(*mutex_guard == num_iters + 2);
}

fn two_mutexes() {
    let m = Arc::new(Mutex::new(()));
    let m2 = m.clone();
    let m3 = Arc::new(Mutex::new(()));
    let c = Arc::new(Condvar::new());
    let c2 = c.clone();

    // Make sure we don't leave the child thread dangling
    struct PanicGuard<'a>(&'a Condvar);
    impl<'a> Drop for PanicGuard<'a> {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }

    let (tx, rx) = channel();
    let g = m.lock();
    let _t = thread::spawn(move || {
        let mut g = m2.lock();
        tx.send(()).unwrap();
        c2.wait(&mut g);
    });
    drop(g);
    rx.recv().unwrap();
    let _g = m.lock();
    let _guard = PanicGuard(&c);
    c.wait(&mut m3.lock());
}

fn two_mutexes_disjoint() {
    let m = Arc::new(Mutex::new(()));
    let m2 = m.clone();
    let m3 = Arc::new(Mutex::new(()));
    let c = Arc::new(Condvar::new());
    let c2 = c.clone();

    let mut g = m.lock();
    let _t = thread::spawn(move || {
        let _g = m2.lock();
        c2.notify_one();
    });
    c.wait(&mut g);
    drop(g);

    let _ = c.wait_for(&mut m3.lock(), Duration::from_millis(1));
}

fn test_debug_condvar() {
    let c = Condvar::new();
    assert_eq!(format!("{:?}", c), "Condvar { .. }");
}

fn test_condvar_requeue() {
    let m = Arc::new(Mutex::new(()));
    let m2 = m.clone();
    let c = Arc::new(Condvar::new());
    let c2 = c.clone();
    let t = thread::spawn(move || {
        let mut g = m2.lock();
        c2.wait(&mut g);
    });

    let mut g = m.lock();
    while !c.notify_one() {
        // Wait for the thread to get into wait()
        MutexGuard::bump(&mut g);
        // Yield, so the other thread gets a chance to do something.
        thread::yield_now();
    }
    // The thread should have been requeued to the mutex, which we wake up now.
    drop(g);
    t.join().unwrap();
}

fn test_issue_129() {
    let locks = Arc::new((Mutex::new(0), Condvar::new()));

    let (tx, rx) = channel();
    for _ in 0..4 {
        let locks = locks.clone();
        let tx = tx.clone();
        thread::spawn(move || {
            let mut guard = locks.0.lock();
            *guard += 1;
            locks.1.wait(&mut guard);
            locks.1.wait_for(&mut guard, Duration::from_millis(1));
            locks.1.notify_one();
            tx.send(()).unwrap();
        });
    }

    while *locks.0.lock() != 4 {
        thread::sleep(Duration::from_millis(100));
    }
    locks.1.notify_one();

    for _ in 0..4 {
        assert_eq!(rx.recv_timeout(Duration::from_millis(500)), Ok(()));
    }
}

goroutines_foreign_tests::goroutine_tests! {
    smoke,
    notify_one,
    notify_all,
    notify_one_return_true,
    notify_one_return_false,
    notify_all_return,
    wait_for,
    wait_until,
    wait_while_does_not_wait_if_initially_false,
    wait_while_until_times_out_before_false,
    wait_while_until_rechecks_condition_after_timeout,
    wait_while,
    two_mutexes: should_panic("attempted to use a condition variable with more than one mutex"),
    two_mutexes_disjoint,
    test_debug_condvar,
    test_condvar_requeue,
    test_issue_129,
}
