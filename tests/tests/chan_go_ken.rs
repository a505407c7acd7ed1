//! Go's test programs test/ken/chan.go, test/ken/chan1.go and test/closedchan.go (The Go Authors,
//! BSD-3-Clause), restated in Rust.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails must end them")]

use goroutines::chan::{
    Receiver, RecvError, SendError, Sender, TryRecvError, TrySendError, bounded, never, unbounded,
};
use goroutines::{JoinHandle, go, runtime, select};
use goroutines_tests::chans::parked;
use goroutines_tests::io::at_each;
use goroutines_tests::join_all;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// How many messages go over each channel of test/ken/chan.go.
const MESSAGES: u32 = 76;

/// Yields up to `n` times. The numbers are only to be different.
fn yield_some(random: &mut u32, n: u32) {
    *random = random.wrapping_mul(1_103_515_245).wrapping_add(12_345);
    for _ in 0..=(*random >> 16) % n {
        runtime::gosched();
    }
}

/// An end of a channel that numbers go over, and the next number.
struct End<E> {
    /// None once it has done its part: a nil channel.
    channel: Option<E>,
    next: u32,
}

impl<E> End<E> {
    fn off() -> Self {
        Self { channel: None, next: 0 }
    }

    /// `number` was sent, or came.
    fn count(&mut self, number: u32) {
        assert_eq!(number, self.next, "in order");
        self.next += 1;
        if self.next % 100 == MESSAGES {
            self.channel = None;
        }
    }
}

type SendEnd = End<Sender<u32>>;
type RecvEnd = End<Receiver<u32>>;

/// Channels, each with a hundred of numbers of its own.
fn channels<const N: usize>(capacity: usize) -> ([SendEnd; N], [RecvEnd; N]) {
    let mut number = 0;
    let both = [(); N].map(|()| {
        number += 100;
        (bounded(capacity), number)
    });
    let recv_ends =
        both.each_ref().map(|((_, r), next)| End { channel: Some(r.clone()), next: *next });
    (both.map(|((s, _), next)| End { channel: Some(s), next }), recv_ends)
}

/// Sends all, and says how many were sent and received.
fn send(mut end: SendEnd) -> JoinHandle<(u32, u32)> {
    go(move || {
        let (mut sent, mut random) = (0, end.next);
        while let Some(s) = end.channel.clone() {
            yield_some(&mut random, 10);
            s.send(end.next).unwrap();
            end.count(end.next);
            sent += 1;
        }
        (sent, 0)
    })
}

/// Receives all.
fn recv(mut end: RecvEnd) -> JoinHandle<(u32, u32)> {
    go(move || {
        let (mut received, mut random) = (0, end.next);
        while let Some(r) = end.channel.clone() {
            yield_some(&mut random, 10);
            end.count(r.recv().unwrap());
            received += 1;
        }
        (0, received)
    })
}

/// Receives from four and sends to four, in one select.
fn select_all(mut r: [RecvEnd; 4], mut s: [SendEnd; 4]) -> JoinHandle<(u32, u32)> {
    go(move || {
        let (nil_s, _nobody_receives) = bounded(0);
        let nil_r = never();
        let (mut sent, mut received, mut random) = (0, 0, r[0].next);
        while r.iter().any(|r| r.channel.is_some()) || s.iter().any(|s| s.channel.is_some()) {
            yield_some(&mut random, 5);
            let from = |i: usize| r[i].channel.as_ref().unwrap_or(&nil_r);
            let to = |i: usize| s[i].channel.as_ref().unwrap_or(&nil_s);
            let chosen = select! {
                recv(from(0)) -> number => Ok((0, number)),
                recv(from(1)) -> number => Ok((1, number)),
                recv(from(2)) -> number => Ok((2, number)),
                recv(from(3)) -> number => Ok((3, number)),
                send(to(0), s[0].next) -> result => Err((0, result)),
                send(to(1), s[1].next) -> result => Err((1, result)),
                send(to(2), s[2].next) -> result => Err((2, result)),
                send(to(3), s[3].next) -> result => Err((3, result)),
            };
            match chosen {
                Ok((i, number)) => {
                    r[i].count(number.unwrap());
                    received += 1;
                }
                Err((i, result)) => {
                    result.unwrap();
                    let next = s[i].next;
                    s[i].count(next);
                    sent += 1;
                }
            }
        }
        (sent, received)
    })
}

fn recv_off() -> [RecvEnd; 4] {
    [(); 4].map(|()| End::off())
}

fn send_off() -> [SendEnd; 4] {
    [(); 4].map(|()| End::off())
}

/// An array in parts of four.
fn fours<T, const N: usize, const PARTS: usize>(all: [T; N]) -> [[T; 4]; PARTS] {
    let mut all = all.into_iter();
    [(); PARTS].map(|()| [(); 4].map(|()| all.next().unwrap()))
}

/// All have ended, and all that was to go over `channels` channels was sent and received.
#[track_caller]
fn expect_all(channels: u32, ends: impl IntoIterator<Item = JoinHandle<(u32, u32)>>) {
    let add = |(a, b), (c, d)| (a + c, b + d);
    let total = join_all(ends).into_iter().fold((0, 0), add);
    assert_eq!(total, (channels * MESSAGES, channels * MESSAGES));
}

fn at_each_capacity(body: impl Fn(usize) + Sync) {
    at_each(|_| [0, 1, 10, 100].into_iter().for_each(&body));
}

/// Go: test/ken/chan.go, 1: those who send and those who receive.
#[test]
fn send_to_recv() {
    at_each_capacity(|capacity| {
        let (s, r) = channels::<4>(capacity);
        expect_all(4, s.map(send).into_iter().chain(r.map(recv)));
    });
}

/// Go: test/ken/chan.go, 2: those who send, and a select that receives.
#[test]
fn send_to_select() {
    at_each_capacity(|capacity| {
        let (s, r) = channels(capacity);
        expect_all(4, s.map(send).into_iter().chain([select_all(r, send_off())]));
    });
}

/// Go: test/ken/chan.go, 3: a select that sends, and those who receive.
#[test]
fn select_to_recv() {
    at_each_capacity(|capacity| {
        let (s, r) = channels(capacity);
        expect_all(4, r.map(recv).into_iter().chain([select_all(recv_off(), s)]));
    });
}

/// Go: test/ken/chan.go, 4: a select that sends, and one that receives.
#[test]
fn select_to_select() {
    at_each_capacity(|capacity| {
        let (s, r) = channels(capacity);
        expect_all(4, [select_all(recv_off(), s), select_all(r, send_off())]);
    });
}

/// Go: test/ken/chan.go, 5: two selects that send to each other and receive from each other.
#[test]
fn selects_both_ways() {
    at_each_capacity(|capacity| {
        let (s, r) = channels::<8>(capacity);
        let ([s0, s4], [r0, r4]) = (fours(s), fours(r));
        expect_all(8, [select_all(r4, s0), select_all(r0, s4)]);
    });
}

/// Go: test/ken/chan.go, 6: a ring of those who send, two selects, and those who receive.
#[test]
fn send_to_selects_to_recv() {
    at_each_capacity(|capacity| {
        let (s, r) = channels::<12>(capacity);
        let ([s0, s4, s8], [r0, r4, r8]) = (fours(s), fours(r));
        let plain = s4.map(send).into_iter().chain(r8.map(recv));
        expect_all(12, plain.chain([select_all(r4, s0), select_all(r0, s8)]));
    });
}

/// Go: test/ken/chan1.go: ten receive, each in a select with one arm, what one sends; each message is
/// received once, and after it was sent.
#[test]
fn each_message_once() {
    const N: usize = 1000;
    at_each(|_| {
        let marks: Arc<[AtomicU8]> = (0..N).map(|_| AtomicU8::new(0)).collect();
        let (s, r) = bounded(2);
        let receivers: Vec<_> = (0..10)
            .map(|_| {
                let (r, marks) = (r.clone(), Arc::clone(&marks));
                let receiver = go(move || {
                    loop {
                        select! {
                            recv(r) -> i => {
                                let Ok(i) = i else { return };
                                // Relaxed: sending comes before receiving.
                                let i: usize = i;
                                assert_eq!(marks[i].swap(2, Ordering::Relaxed), 1, "{i}");
                            }
                        }
                    }
                });
                runtime::gosched();
                receiver
            })
            .collect();
        for (i, mark) in marks.iter().enumerate() {
            assert_eq!(mark.swap(1, Ordering::Relaxed), 0);
            s.send(i).unwrap();
        }
        assert!(s.close());
        join_all(receivers);
        assert!(marks.iter().all(|mark| mark.load(Ordering::Relaxed) == 2));
    });
}

type Sent = Result<(), SendError<i32>>;

/// A way to send and receive.
struct Way {
    name: &'static str,
    send: fn(&Sender<i32>, i32) -> Sent,
    /// None: it would block.
    send_now: fn(&Sender<i32>, i32) -> Option<Sent>,
    recv: fn(&Receiver<i32>) -> Result<i32, RecvError>,
    recv_now: fn(&Receiver<i32>) -> Option<Result<i32, RecvError>>,
}

const WAYS: [Way; 3] = [
    Way {
        name: "operations",
        send: |s, x| s.send(x),
        send_now: |s, x| match s.try_send(x) {
            Ok(()) => Some(Ok(())),
            Err(TrySendError::Disconnected(x)) => Some(Err(SendError(x))),
            Err(TrySendError::Full(_)) => None,
        },
        recv: Receiver::recv,
        recv_now: |r| match r.try_recv() {
            Ok(x) => Some(Ok(x)),
            Err(TryRecvError::Disconnected) => Some(Err(RecvError)),
            Err(TryRecvError::Empty) => None,
        },
    },
    Way {
        name: "select",
        send: |s, x| select! { send(s, x) -> sent => sent },
        send_now: |s, x| select! { default => None, send(s, x) -> sent => Some(sent) },
        recv: |r| select! { recv(r) -> x => x },
        recv_now: |r| select! { default => None, recv(r) -> x => Some(x) },
    },
    Way {
        name: "select of two",
        send: |s, x| select! { send(s, x) -> sent => sent, recv(never::<()>()) -> _ => panic!() },
        send_now: |s, x| {
            select! {
                default => None,
                recv(never::<()>()) -> _ => panic!("it is never ready"),
                send(s, x) -> sent => Some(sent),
            }
        },
        recv: |r| select! { recv(never::<()>()) -> _ => panic!(), recv(r) -> x => x },
        recv_now: |r| {
            select! {
                recv(never::<()>()) -> _ => panic!("it is never ready"),
                default => None,
                recv(r) -> x => Some(x),
            }
        },
    },
];

/// What holds of each closed channel that is empty, each way.
fn expect_closed(way: &Way, s: &Sender<i32>, r: &Receiver<i32>) {
    for _ in 0..3 {
        assert_eq!((way.recv)(r), Err(RecvError), "{}", way.name);
        assert_eq!((way.recv_now)(r), Some(Err(RecvError)), "{}", way.name);
    }
    // Go panics. The message comes back, and is not received.
    assert_eq!((way.send_now)(s, 1), Some(Err(SendError(1))), "{}", way.name);
    assert_eq!((way.recv)(r), Err(RecvError), "{}", way.name);
    assert_eq!((way.send)(s, 2), Err(SendError(2)), "{}", way.name);
    assert_eq!((way.recv)(r), Err(RecvError), "{}", way.name);
    assert_eq!((r.len(), r.is_empty()), (0, true));
}

/// Go: test/closedchan.go. Go panics where a channel is closed twice, and this says so.
#[test]
fn closed_channels() {
    let close = |s: &Sender<i32>| {
        assert!(s.close());
        assert!(!s.close() && !s.clone().close(), "it is closed already");
    };
    for way in &WAYS {
        let (s, r) = bounded(0);
        close(&s);
        expect_closed(way, &s, &r);
        for without_blocking in [false, true] {
            for (s, r) in [bounded(2), bounded(1), unbounded()] {
                s.send(1).unwrap();
                close(&s);
                let last = if without_blocking { (way.recv_now)(&r) } else { Some((way.recv)(&r)) };
                assert_eq!(last, Some(Ok(1)), "{}", way.name);
                expect_closed(way, &s, &r);
            }
        }
    }
}

/// What Go's test/closedchan.go leaves to be done: to close a channel with those who wait, each way.
#[test]
fn closing_with_those_who_wait() {
    at_each(|_| {
        for way in &WAYS {
            let (s, r) = bounded(0);
            let receivers = [0, 1].map(|_| {
                let r = r.clone();
                go(move || (way.recv)(&r))
            });
            receivers.iter().for_each(parked);
            assert!(s.close());
            assert_eq!(join_all(receivers), [Err(RecvError); 2], "{}", way.name);
            expect_closed(way, &s, &r);

            let (s, r) = bounded(1);
            s.send(1).unwrap();
            let senders = [2, 3].map(|x| {
                let s = s.clone();
                go(move || (way.send)(&s, x))
            });
            senders.iter().for_each(parked);
            assert!(s.close());
            let expected = [Err(SendError(2)), Err(SendError(3))];
            assert_eq!(join_all(senders), expected, "{}", way.name);
            assert_eq!((way.recv)(&r), Ok(1), "{}", way.name);
            expect_closed(way, &s, &r);
        }
    });
}
