//! A program that makes the mistake that its argument names.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::chan::{Select, bounded};
use goroutines::group::ErrGroup;
use goroutines::runtime::{Builder, goexit};
use goroutines::sync::Semaphore;
use goroutines::time::Ticker;
use goroutines::{WaitGroup, go, run, thread};
use std::time::Duration;

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("in drop");
    }
}

fn forks() {
    run(|| {
        // SAFETY: the child ends by exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let result = std::panic::catch_unwind(|| go(|| ()));
            // SAFETY: ends the child.
            unsafe { libc::_exit(if result.is_err() { 7 } else { 0 }) };
        }
        let mut status = 0;
        // SAFETY: a status to write.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        println!("{}", libc::WEXITSTATUS(status));
    });
}

fn changes_the_limit() {
    let group = ErrGroup::<()>::new();
    group.set_limit(Some(2));
    let (send, receive) = bounded::<()>(0);
    group.go(move || receive.recv().map_err(|_| ()));
    let change = std::panic::AssertUnwindSafe(|| group.set_limit(Some(1)));
    let result = std::panic::catch_unwind(change);
    drop(send);
    let _ = group.wait();
    std::panic::resume_unwind(result.unwrap_err());
}

fn main() {
    match &*std::env::args().nth(1).unwrap_or_default() {
        "done too often" => WaitGroup::new().done(),
        "builds late" => {
            go(|| ()).join().unwrap();
            Builder::new().run(|| ());
        }
        "goes in a fork" => forks(),
        "goexit on a thread" => goexit(),
        "a name with a NUL" => drop(thread::Builder::new().name("a\0b".into()).spawn(|| ())),
        "a panic in a scope" => thread::scope(|s| {
            s.spawn(|| panic!("inside"));
        }),
        "changes the limit" => changes_the_limit(),
        "too many permits" => Semaphore::new(u64::MAX).release(1),
        "a ticker of zero" => drop(Ticker::new(Duration::ZERO)),
        "a large channel" => drop(bounded::<[u8; 1 << 20]>(usize::MAX / 2)),
        "an empty select" => drop(Select::new().select()),
        "a large stack" => drop(thread::Builder::new().stack_size(8 << 30).spawn(|| ()).unwrap()),
        "a result that panics" => run(|| {
            drop(go(|| Bomb));
            std::thread::sleep(Duration::from_secs(5));
        }),
        "nothing" => {
            // Neither is a mistake: that runs nest, and that a thread starts goroutines before them.
            assert_eq!(run(|| run(|| 5)), 5);
            let all: Vec<_> = (0..100).map(|i| go(move || i)).collect();
            let sum: i32 = all.into_iter().map(|one| one.join().unwrap()).sum();
            println!("{sum}");
        }
        other => panic!("{other}: no such case"),
    }
}
