//! Who a goroutine is, in the eyes of std.

use goroutines::go;
use goroutines::thread::yield_now;
use goroutines_tests::{join_all, on_procs, work};
use std::collections::HashSet;

#[test]
fn the_std_thread_id_is_stable_and_the_goroutines_own() {
    on_procs("the_std_thread_id_is_stable_and_the_goroutines_own", |_| {
        let ids = join_all((0..32).map(|i| {
            go(move || {
                let id = std::thread::current().id();
                for _ in 0..40 {
                    work(i);
                    assert_eq!(std::thread::current().id(), id);
                    yield_now();
                    assert_eq!(std::thread::current().id(), id);
                }
                id
            })
        }));
        let distinct: HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len(), "two goroutines have one id");
        assert!(!distinct.contains(&std::thread::current().id()), "it is main's");
    });
}

/// What std's `park` waits for is per thread: each goroutine must get its own token. std parks on a
/// futex, which blocks the OS thread.
#[test]
fn std_park_and_unpark_reach_the_goroutine() {
    on_procs("std_park_and_unpark_reach_the_goroutine", |_| {
        let (send, parked) = std::sync::mpsc::channel();
        let handles: Vec<_> = (0..8)
            .map(|i| {
                let send = send.clone();
                go(move || {
                    send.send((i, std::thread::current())).unwrap();
                    std::thread::park();
                    i
                })
            })
            .collect();
        let mut threads: Vec<_> = (0..8).map(|_| parked.recv().unwrap()).collect();
        threads.sort_by_key(|(i, _)| *i);
        for (_, thread) in &threads {
            thread.unpark();
        }
        assert_eq!(join_all(handles), (0..8).collect::<Vec<_>>());
    });
}

#[test]
fn goroutine_ids_and_names() {
    use goroutines::{runtime, thread};
    on_procs("goroutine_ids_and_names", |_| {
        let named = thread::Builder::new().name("gopher".into());
        let handle = named
            .spawn(|| {
                let id = runtime::goroutine_id();
                let here = thread::current().id();
                for _ in 0..20 {
                    yield_now();
                    assert_eq!(runtime::goroutine_id(), id);
                    assert_eq!(thread::current().id(), here);
                }
                assert_eq!(thread::current().name(), Some("gopher"));
                id
            })
            .unwrap();
        let id = handle.id();
        assert_eq!(handle.join().unwrap(), Some(id));
    });
}
