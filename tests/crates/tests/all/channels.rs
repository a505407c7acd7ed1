//! `crossbeam-channel` and `flume`: what is sent comes once and in order, from channels without room,
//! with some and with all; choices, timeouts and ends.

use crate::harness::{each, nothing, on_procs};
use goroutines::thread;
use std::time::{Duration, Instant};

const SENDERS: usize = 16;
const RECEIVERS: usize = 8;
const EACH: usize = 150;
const WAIT: Duration = Duration::from_millis(100);

/// Sends from `SENDERS` goroutines, each by a sender of its own, and receives in `RECEIVERS` until the
/// channel's end.
fn pass<S, R>(sender: S, receiver: R, send: fn(&S, (usize, usize)), next: fn(&R) -> Next)
where
    S: Clone + Send + Sync,
    R: Send + Sync,
{
    let got = thread::scope(|scope| {
        let receiver = &receiver;
        let receivers: Vec<_> = (0..RECEIVERS)
            .map(|_| scope.spawn(move || std::iter::from_fn(|| next(receiver)).collect::<Vec<_>>()))
            .collect();
        for i in 0..SENDERS {
            let sender = sender.clone();
            scope.spawn(move || (0..EACH).for_each(|n| send(&sender, (i, n))));
        }
        drop(sender);
        receivers.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    for items in &got {
        let mut last = [None; SENDERS];
        for &(i, n) in items {
            assert!(last[i] < Some(n), "({i}, {n}) after {:?}", last[i]);
            last[i] = Some(n);
        }
    }
    let mut all: Vec<_> = got.into_iter().flatten().collect();
    all.sort_unstable();
    let expected: Vec<_> = (0..SENDERS).flat_map(|i| (0..EACH).map(move |n| (i, n))).collect();
    assert!(all == expected, "{} items of {}", all.len(), expected.len());
}

/// The next item, or the end.
type Next = Option<(usize, usize)>;

#[test]
fn crossbeam_channels_pass_each_item_once() {
    on_procs("crossbeam_channels", nothing, |(), _| {
        for capacity in [Some(0), Some(3), None] {
            let (sender, receiver) = match capacity {
                Some(capacity) => crossbeam_channel::bounded(capacity),
                None => crossbeam_channel::unbounded(),
            };
            pass(sender, receiver, |s, item| s.send(item).unwrap(), |r| r.recv().ok());
        }
    });
}

#[test]
fn flume_channels_pass_each_item_once() {
    on_procs("flume_channels", nothing, |(), _| {
        for capacity in [Some(0), Some(3), None] {
            let (sender, receiver) = match capacity {
                Some(capacity) => flume::bounded(capacity),
                None => flume::unbounded(),
            };
            pass(sender, receiver, |s, item| s.send(item).unwrap(), |r| r.recv().ok());
        }
    });
}

/// Each of several takes from two channels what comes first, and stops when both have ended.
#[test]
fn crossbeam_select_takes_from_all() {
    on_procs("crossbeam_select_takes_from_all", nothing, |(), _| {
        let (left, from_left) = crossbeam_channel::bounded::<usize>(0);
        let (right, from_right) = crossbeam_channel::bounded::<usize>(2);
        let sums = thread::scope(|scope| {
            let takers: Vec<_> = (0..RECEIVERS)
                .map(|_| {
                    let (left, right) = (from_left.clone(), from_right.clone());
                    scope.spawn(move || take_both(left, right))
                })
                .collect();
            for i in 0..SENDERS {
                let to = if i % 2 == 0 { left.clone() } else { right.clone() };
                scope.spawn(move || (1..=EACH).for_each(|n| to.send(n).unwrap()));
            }
            drop((left, right));
            takers.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        let sum = |of: fn(&(usize, usize)) -> usize| sums.iter().map(of).sum::<usize>();
        let expected = SENDERS / 2 * EACH * (EACH + 1) / 2;
        assert_eq!((sum(|s| s.0), sum(|s| s.1)), (expected, expected));
    });
}

fn take_both(
    mut left: crossbeam_channel::Receiver<usize>,
    mut right: crossbeam_channel::Receiver<usize>,
) -> (usize, usize) {
    let (mut sums, mut open) = ((0, 0), 2);
    while open > 0 {
        crossbeam_channel::select! {
            recv(left) -> n => match n {
                Ok(n) => sums.0 += n,
                Err(_) => (left, open) = (crossbeam_channel::never(), open - 1),
            },
            recv(right) -> n => match n {
                Ok(n) => sums.1 += n,
                Err(_) => (right, open) = (crossbeam_channel::never(), open - 1),
            },
        }
    }
    sums
}

/// All wait at once, each in another way; each wait ends when it should.
#[test]
fn channel_timeouts_end_in_time() {
    on_procs("channel_timeouts_end_in_time", nothing, |(), _| {
        let (to_nobody, nothing) = crossbeam_channel::bounded::<()>(0);
        let (to_nobody_by_flume, nothing_by_flume) = flume::bounded::<()>(0);
        each(30, |i| {
            let start = Instant::now();
            match i % 6 {
                0 => assert!(nothing.recv_timeout(WAIT).unwrap_err().is_timeout()),
                1 => assert!(crossbeam_channel::after(WAIT).recv().unwrap() >= start + WAIT),
                2 => crossbeam_channel::select! {
                    recv(nothing) -> _ => panic!("nothing was sent"),
                    default(WAIT) => {}
                },
                3 => {
                    let ticks = crossbeam_channel::tick(WAIT / 4);
                    assert_eq!(ticks.iter().take(4).count(), 4);
                }
                4 => {
                    let error = nothing_by_flume.recv_timeout(WAIT);
                    assert_eq!(error, Err(flume::RecvTimeoutError::Timeout));
                }
                _ => {
                    let deadline = nothing_by_flume.recv_deadline(start + WAIT);
                    assert_eq!(deadline, Err(flume::RecvTimeoutError::Timeout));
                }
            }
            let took = start.elapsed();
            assert!(took >= WAIT, "{i}: it took only {took:?}");
            assert!(took < WAIT * 20, "{i}: it took {took:?}");
        });
        drop((to_nobody, to_nobody_by_flume));
    });
}

/// Flume's own way to choose. A waiting selector lets both senders go on, even without room, so there is
/// an order only within each channel.
#[test]
fn flume_selector_takes_from_both() {
    on_procs("flume_selector_takes_from_both", nothing, |(), _| {
        each(SENDERS, |i| {
            let (left, from_left) = flume::bounded(0);
            let (right, from_right) = flume::bounded(0);
            let is_left = move |n: &usize| (i + n).is_multiple_of(3);
            let sender = goroutines::go(move || {
                for n in 0..EACH {
                    if is_left(&n) { left.send(n).unwrap() } else { right.send(n).unwrap() }
                }
                (left, right)
            });
            let mut got = (Vec::new(), Vec::new());
            for _ in 0..EACH {
                flume::Selector::new()
                    .recv(&from_left, |n| got.0.push(n.unwrap()))
                    .recv(&from_right, |n| got.1.push(n.unwrap()))
                    .wait();
            }
            sender.join().unwrap();
            let expected: (Vec<_>, Vec<_>) = (0..EACH).partition(is_left);
            assert_eq!(got, expected);
        });
    });
}

#[cfg(feature = "intercept")]
#[test]
fn channels_need_few_threads() {
    const WAITING: usize = 64;
    on_procs("channels_need_few_threads", nothing, |(), _| {
        let (one, from_one) = crossbeam_channel::bounded::<()>(0);
        let (other, from_other) = flume::bounded::<()>(0);
        let wait = |i| match i % 3 {
            0 => assert!(from_one.recv().is_err()),
            1 => assert!(from_other.recv().is_err()),
            _ => crossbeam_channel::select! { recv(from_one) -> end => assert!(end.is_err()) },
        };
        crate::harness::expect_few_threads(WAITING, wait, || drop((one, other)));
    });
}
