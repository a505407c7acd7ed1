//! src/recursive_rwlock.rs, parking_lot 0.13.0 (MIT OR Apache-2.0), on goroutines.

use goroutines::thread;
use parking_lot::{RecursiveRwLock, RecursiveRwLockReadGuard, RecursiveRwLockUpgradableReadGuard};
use rand::Rng;
use std::sync::Arc;

fn frob() {
    const N: u32 = 10;
    const M: u32 = if cfg!(miri) { 100 } else { 1000 };

    let lock = Arc::new(RecursiveRwLock::new(()));
    let mut threads = Vec::new();
    for _ in 0..N {
        let lock = Arc::clone(&lock);
        threads.push(thread::spawn(move || {
            let mut rng = rand::thread_rng();
            for _ in 0..M {
                if rng.gen_bool(1.0 / N as f64) {
                    drop(lock.write());
                } else {
                    drop(lock.read());
                }
            }
        }));
    }
    for thread in threads {
        thread.join().unwrap();
    }
}

fn recursive_read_with_waiting_writer() {
    let lock = Arc::new(RecursiveRwLock::new(()));
    let first = lock.read();
    let second = lock.read();

    let lock2 = Arc::clone(&lock);
    let writer = thread::spawn(move || drop(lock2.write()));
    while super::parked_at(std::ptr::from_ref(unsafe { lock.raw() }).addr() + 1).is_empty() {
        thread::yield_now();
    }

    assert!(lock.try_read().is_some());
    let mut second = second;
    RecursiveRwLockReadGuard::bump(&mut second);

    drop(first);
    drop(second);
    writer.join().unwrap();
}

fn upgrade() {
    let lock = RecursiveRwLock::new(1);
    let upgradable = lock.upgradable_read();
    let read = lock.read();
    drop(read);
    let mut write = RecursiveRwLockUpgradableReadGuard::upgrade(upgradable);
    *write = 2;
    drop(write);
    assert_eq!(*lock.read(), 2);
}

goroutines_foreign_tests::goroutine_tests! {
    frob,
    recursive_read_with_waiting_writer,
    upgrade,
}
