//! library/std/tests/sync/rwlock.rs, Rust 1.95 (MIT OR Apache-2.0), on goroutines.
//! The `poison` halves of the tests that there are generated for both kinds of lock.

use super::result_unwrap as maybe_unwrap;
use goroutines::thread;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, RwLock};
use std::{hint, mem};

use rand::Rng;

#[derive(Eq, PartialEq, Debug)]
struct NonCopy(i32);

#[derive(Eq, PartialEq, Debug)]
struct NonCopyNeedsDrop(i32);

impl Drop for NonCopyNeedsDrop {
    fn drop(&mut self) {
        hint::black_box(());
    }
}

fn test_needs_drop() {
    assert!(!mem::needs_drop::<NonCopy>());
    assert!(mem::needs_drop::<NonCopyNeedsDrop>());
}

////////////////////////////////////////////////////////////////////////////////////////////////////
// Non-poison & Poison Tests
////////////////////////////////////////////////////////////////////////////////////////////////////
fn poison_smoke() {
    use std::sync::RwLock;

    let l = RwLock::new(());
    drop(maybe_unwrap(l.read()));
    drop(maybe_unwrap(l.write()));
    drop((maybe_unwrap(l.read()), maybe_unwrap(l.read())));
    drop(maybe_unwrap(l.write()));
}

fn poison_frob() {
    use std::sync::RwLock;

    const N: u32 = 10;
    const M: usize = if cfg!(miri) { 100 } else { 1000 };

    let r = Arc::new(RwLock::new(()));

    let (tx, rx) = channel::<()>();
    for _ in 0..N {
        let tx = tx.clone();
        let r = r.clone();
        thread::spawn(move || {
            let mut rng = rand::thread_rng();
            for _ in 0..M {
                if rng.gen_bool(1.0 / (N as f64)) {
                    drop(maybe_unwrap(r.write()));
                } else {
                    drop(maybe_unwrap(r.read()));
                }
            }
            drop(tx);
        });
    }
    drop(tx);
    let _ = rx.recv();
}

fn poison_test_rw_arc() {
    use std::sync::RwLock;

    let arc = Arc::new(RwLock::new(0));
    let arc2 = arc.clone();
    let (tx, rx) = channel();

    thread::spawn(move || {
        let mut lock = maybe_unwrap(arc2.write());
        for _ in 0..10 {
            let tmp = *lock;
            *lock = -1;
            thread::yield_now();
            *lock = tmp + 1;
        }
        tx.send(()).unwrap();
    });

    // Readers try to catch the writer in the act
    let mut children = Vec::new();
    for _ in 0..5 {
        let arc3 = arc.clone();
        children.push(thread::spawn(move || {
            let lock = maybe_unwrap(arc3.read());
            assert!(*lock >= 0);
        }));
    }

    // Wait for children to pass their asserts
    for r in children {
        assert!(r.join().is_ok());
    }

    // Wait for writer to finish
    rx.recv().unwrap();
    let lock = maybe_unwrap(arc.read());
    assert_eq!(*lock, 10);
}

fn poison_test_rw_arc_access_in_unwind() {
    use std::sync::RwLock;

    let arc = Arc::new(RwLock::new(1));
    let arc2 = arc.clone();
    let _ = thread::spawn(move || -> () {
        struct Unwinder {
            i: Arc<RwLock<isize>>,
        }
        impl Drop for Unwinder {
            fn drop(&mut self) {
                let mut lock = maybe_unwrap(self.i.write());
                *lock += 1;
            }
        }
        let _u = Unwinder { i: arc2 };
        panic!();
    })
    .join();
    let lock = maybe_unwrap(arc.read());
    assert_eq!(*lock, 2);
}

fn poison_test_rwlock_unsized() {
    use std::sync::RwLock;

    let rw: &RwLock<[i32]> = &RwLock::new([1, 2, 3]);
    {
        let b = &mut *maybe_unwrap(rw.write());
        b[0] = 4;
        b[2] = 5;
    }
    let comp: &[i32] = &[4, 2, 5];
    assert_eq!(&*maybe_unwrap(rw.read()), comp);
}

fn poison_test_into_inner() {
    use std::sync::RwLock;

    let m = RwLock::new(NonCopy(10));
    assert_eq!(maybe_unwrap(m.into_inner()), NonCopy(10));
}

fn poison_test_into_inner_drop() {
    use std::sync::RwLock;

    struct Foo(Arc<AtomicUsize>);
    impl Drop for Foo {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    let num_drops = Arc::new(AtomicUsize::new(0));
    let m = RwLock::new(Foo(num_drops.clone()));
    assert_eq!(num_drops.load(Ordering::SeqCst), 0);
    {
        let _inner = maybe_unwrap(m.into_inner());
        assert_eq!(num_drops.load(Ordering::SeqCst), 0);
    }
    assert_eq!(num_drops.load(Ordering::SeqCst), 1);
}

fn poison_test_get_mut() {
    use std::sync::RwLock;

    let mut m = RwLock::new(NonCopy(10));
    *maybe_unwrap(m.get_mut()) = NonCopy(20);
    assert_eq!(maybe_unwrap(m.into_inner()), NonCopy(20));
}

fn poison_test_read_guard_covariance() {
    use std::sync::{RwLock, RwLockReadGuard};

    fn do_stuff<'a>(_: RwLockReadGuard<'_, &'a i32>, _: &'a i32) {}
    let j: i32 = 5;
    let lock = RwLock::new(&j);
    {
        let i = 6;
        do_stuff(maybe_unwrap(lock.read()), &i);
    }
    drop(lock);
}

fn poison_test_downgrade_basic() {
    use std::sync::{RwLock, RwLockWriteGuard};

    let r = RwLock::new(());

    let write_guard = maybe_unwrap(r.write());
    let _read_guard = RwLockWriteGuard::downgrade(write_guard);
}

fn poison_test_downgrade_observe() {
    use std::sync::{RwLock, RwLockWriteGuard};

    // Inspired by the test `test_rwlock_downgrade` from:
    // https://github.com/Amanieu/parking_lot/blob/master/src/rwlock.rs

    const W: usize = 20;
    const N: usize = if cfg!(miri) { 40 } else { 100 };

    // This test spawns `W` writer threads, where each will increment a counter `N` times,
    // ensuring that the value they wrote has not changed after downgrading.

    let rw = Arc::new(RwLock::new(0));

    // Spawn the writers that will do `W * N` operations and checks.
    let handles: Vec<_> = (0..W)
        .map(|_| {
            let rw = rw.clone();
            thread::spawn(move || {
                for _ in 0..N {
                    // Increment the counter.
                    let mut write_guard = maybe_unwrap(rw.write());
                    *write_guard += 1;
                    let cur_val = *write_guard;

                    // Downgrade the lock to read mode, where the value protected cannot be
                    // modified.
                    let read_guard = RwLockWriteGuard::downgrade(write_guard);
                    assert_eq!(cur_val, *read_guard);
                }
            })
        })
        .collect();

    for handle in handles {
        handle.join().unwrap();
    }

    assert_eq!(*maybe_unwrap(rw.read()), W * N);
}

fn poison_test_downgrade_atomic() {
    use std::sync::{RwLock, RwLockWriteGuard};

    const NEW_VALUE: i32 = -1;

    // This test checks that `downgrade` is atomic, meaning as soon as a write lock has been
    // downgraded, the lock must be in read mode and no other threads can take the write lock to
    // modify the protected value.

    // `W` is the number of evil writer threads.
    const W: usize = 20;
    let rwlock = Arc::new(RwLock::new(0));

    // Spawns many evil writer threads that will try and write to the locked value before the
    // initial writer (who has the exclusive lock) can read after it downgrades.
    // If the `RwLock` behaves correctly, then the initial writer should read the value it wrote
    // itself as no other thread should be able to mutate the protected value.

    // Put the lock in write mode, causing all future threads trying to access this go to sleep.
    let mut main_write_guard = maybe_unwrap(rwlock.write());

    // Spawn all of the evil writer threads. They will each increment the protected value by 1.
    let handles: Vec<_> = (0..W)
        .map(|_| {
            let rwlock = rwlock.clone();
            thread::spawn(move || {
                // Will go to sleep since the main thread initially has the write lock.
                let mut evil_guard = maybe_unwrap(rwlock.write());
                *evil_guard += 1;
            })
        })
        .collect();

    // Wait for a good amount of time so that evil threads go to sleep.
    // Note: this is not strictly necessary...
    let eternity = std::time::Duration::from_millis(42);
    thread::sleep(eternity);

    // Once everyone is asleep, set the value to `NEW_VALUE`.
    *main_write_guard = NEW_VALUE;

    // Atomically downgrade the write guard into a read guard.
    let main_read_guard = RwLockWriteGuard::downgrade(main_write_guard);

    // If the above is not atomic, then it would be possible for an evil thread to get in front
    // of this read and change the value to be non-negative.
    assert_eq!(*main_read_guard, NEW_VALUE, "`downgrade` was not atomic");

    // Drop the main read guard and allow the evil writer threads to start incrementing.
    drop(main_read_guard);

    for handle in handles {
        handle.join().unwrap();
    }

    let final_check = maybe_unwrap(rwlock.read());
    assert_eq!(*final_check, W as i32 + NEW_VALUE);
}

fn poison_test_rwlock_try_write() {
    use std::sync::{RwLock, TryLockError};

    let lock = RwLock::new(0isize);
    let read_guard = lock.read().unwrap();

    let write_result = lock.try_write();
    match write_result {
        Err(TryLockError::WouldBlock) => (),
        Ok(_) => assert!(false, "try_write should not succeed while read_guard is in scope"),
        Err(_) => assert!(false, "unexpected error"),
    }

    drop(read_guard);
}

////////////////////////////////////////////////////////////////////////////////////////////////////
// Poison Tests
////////////////////////////////////////////////////////////////////////////////////////////////////

/// Creates a rwlock that is immediately poisoned.
fn new_poisoned_rwlock<T>(value: T) -> RwLock<T> {
    let lock = RwLock::new(value);

    let catch_unwind_result = panic::catch_unwind(AssertUnwindSafe(|| {
        let _guard = lock.write().unwrap();

        panic!("test panic to poison RwLock");
    }));

    assert!(catch_unwind_result.is_err());
    assert!(lock.is_poisoned());

    lock
}

fn test_into_inner_poison() {
    let m = new_poisoned_rwlock(NonCopy(10));

    match m.into_inner() {
        Err(e) => assert_eq!(e.into_inner(), NonCopy(10)),
        Ok(x) => panic!("into_inner of poisoned RwLock is Ok: {x:?}"),
    }
}

fn test_get_mut_poison() {
    let mut m = new_poisoned_rwlock(NonCopy(10));

    match m.get_mut() {
        Err(e) => assert_eq!(*e.into_inner(), NonCopy(10)),
        Ok(x) => panic!("get_mut of poisoned RwLock is Ok: {x:?}"),
    }
}

fn test_rw_arc_poison_wr() {
    let arc = Arc::new(RwLock::new(1));
    let arc2 = arc.clone();
    let _: Result<(), _> = thread::spawn(move || {
        let _lock = arc2.write().unwrap();
        panic!();
    })
    .join();
    assert!(arc.read().is_err());
}

fn test_rw_arc_poison_ww() {
    let arc = Arc::new(RwLock::new(1));
    assert!(!arc.is_poisoned());
    let arc2 = arc.clone();
    let _: Result<(), _> = thread::spawn(move || {
        let _lock = arc2.write().unwrap();
        panic!();
    })
    .join();
    assert!(arc.write().is_err());
    assert!(arc.is_poisoned());
}

fn test_rw_arc_no_poison_rr() {
    let arc = Arc::new(RwLock::new(1));
    let arc2 = arc.clone();
    let _: Result<(), _> = thread::spawn(move || {
        let _lock = arc2.read().unwrap();
        panic!();
    })
    .join();
    let lock = arc.read().unwrap();
    assert_eq!(*lock, 1);
}

fn test_rw_arc_no_poison_rw() {
    let arc = Arc::new(RwLock::new(1));
    let arc2 = arc.clone();
    let _: Result<(), _> = thread::spawn(move || {
        let _lock = arc2.read().unwrap();
        panic!()
    })
    .join();
    let lock = arc.write().unwrap();
    assert_eq!(*lock, 1);
}

goroutines_foreign_tests::goroutine_tests! {
    test_needs_drop,
    poison_smoke,
    poison_frob,
    poison_test_rw_arc,
    poison_test_rw_arc_access_in_unwind: panics(),
    poison_test_rwlock_unsized,
    poison_test_into_inner,
    poison_test_into_inner_drop,
    poison_test_get_mut,
    poison_test_read_guard_covariance,
    poison_test_downgrade_basic,
    poison_test_downgrade_observe,
    poison_test_downgrade_atomic,
    poison_test_rwlock_try_write,
    test_into_inner_poison: panics(),
    test_get_mut_poison: panics(),
    test_rw_arc_poison_wr: panics(),
    test_rw_arc_poison_ww: panics(),
    test_rw_arc_no_poison_rr: panics(),
    test_rw_arc_no_poison_rw: panics(),
}
