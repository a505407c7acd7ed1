//! `signal-hook` and `ctrlc`: signals that wake, and that end a program.

use crate::{at_each, beside_others};
use goroutines::{chan, go};
use signal_hook::consts::{SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

fn send(signal: i32) {
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
}

fn wait_until(mut is_so: impl FnMut() -> bool, what: &str) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A goroutine that waits for signals, as daemons do; each that is sent is told of.
#[test]
fn signal_hooks_iterator() {
    const EACH: usize = 300;
    at_each(|procs| {
        beside_others(|| {
            let mut signals = Signals::new([SIGUSR1, SIGTERM]).unwrap();
            let handle = signals.handle();
            let seen: Arc<[AtomicUsize; 2]> = Arc::default();
            let counts = Arc::clone(&seen);
            let reader = go(move || {
                for signal in signals.forever() {
                    counts[usize::from(signal == SIGTERM)].fetch_add(1, Ordering::SeqCst);
                }
            });
            let start = Instant::now();
            for count in 1..=EACH {
                // One after the other: of those that are pending the kernel keeps one.
                send(SIGUSR1);
                wait_until(|| seen[0].load(Ordering::SeqCst) >= count, "a SIGUSR1");
                send(SIGTERM);
                wait_until(|| seen[1].load(Ordering::SeqCst) >= count, "a SIGTERM");
            }
            println!("{} signals at {procs}: {:?}", 2 * EACH, start.elapsed());
            handle.close();
            reader.join().unwrap();
            assert_eq!([&seen[0], &seen[1]].map(|n| n.load(Ordering::SeqCst)), [EACH; 2]);
        });
    });
}

/// A flag that a goroutine which computes looks at.
#[test]
fn signal_hooks_flag() {
    at_each(|_| {
        let flag = Arc::new(AtomicBool::new(false));
        let id = signal_hook::flag::register(SIGUSR2, Arc::clone(&flag)).unwrap();
        let looks = Arc::clone(&flag);
        let computes = go(move || {
            while !looks.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        send(SIGUSR2);
        computes.join().unwrap();
        assert!(signal_hook::low_level::unregister(id));
    });
}

/// Ctrl-C ends what a goroutine waits for. (`ctrlc` has a thread of its own, which waits for a semaphore.)
#[test]
fn ctrl_c() {
    static TOLD: OnceLock<(chan::Sender<()>, chan::Receiver<()>)> = OnceLock::new();
    let (sender, receiver) = TOLD.get_or_init(|| chan::bounded(16));
    ctrlc::set_handler(|| sender.send(()).unwrap()).unwrap();
    at_each(|_| {
        for _ in 0..20 {
            send(libc::SIGINT);
            let told = receiver.recv_timeout(Duration::from_secs(20));
            assert_eq!(told, Ok(()), "Ctrl-C was not told");
        }
    });
}

/// tokio's runtime on a goroutine, with its own streams of signals and signal-hook's.
#[test]
fn signals_of_tokio() {
    use tokio::signal::unix::{SignalKind, signal};
    const EACH: usize = 100;
    at_each(|_| {
        beside_others(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let mut own = signal(SignalKind::user_defined1()).unwrap();
                let mut hooked = signal_hook_tokio::Signals::new([SIGUSR2]).unwrap();
                let limit = Duration::from_secs(20);
                for _ in 0..EACH {
                    send(SIGUSR1);
                    tokio::time::timeout(limit, own.recv()).await.unwrap().unwrap();
                    send(SIGUSR2);
                    let next = tokio::time::timeout(limit, next(&mut hooked)).await.unwrap();
                    assert_eq!(next, Some(SIGUSR2));
                }
            });
        });
    });
}

async fn next(signals: &mut signal_hook_tokio::Signals) -> Option<i32> {
    use futures_core::Stream;
    std::future::poll_fn(|cx| std::pin::Pin::new(&mut *signals).poll_next(cx)).await
}
