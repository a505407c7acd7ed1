//! Go's test programs about channels, test/chan (The Go Authors, BSD-3-Clause), restated in Rust.
//! `chan_go_powser.rs` has test/chan/powser1.go, `chan_go_ken.rs` test/ken and test/closedchan.go.
//!
//! A nil channel is `never()` to receive from, and to send to a channel that nobody receives from. To
//! send on a closed channel is an error where Go panics.
//!
//! Not here: test/chan/perm.go, which is about what compiles, and test/chan/powser2.go, which is powser1
//! with other types.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails must end them")]

use goroutines::chan::{
    Receiver, RecvError, Select, SendError, Sender, TryRecvError, TrySendError, bounded, never,
    unbounded,
};
use goroutines::{WaitGroup, go, runtime, select};
use goroutines_tests::alloc::BYTES;
use goroutines_tests::chans::parked;
use goroutines_tests::io::{at_each, ms};
use goroutines_tests::join_all;
use goroutines_tests::proc::{in_child, wait_until};
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet, VecDeque};
use std::fmt::Debug;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Go: test/chan/doubleselect.go: of a select's four arms only one sends. Each channel has a goroutine
/// that passes on what comes; no number comes twice.
#[test]
fn doubleselect() {
    const N: usize = if cfg!(debug_assertions) { 10_000 } else { 100_000 };
    at_each(|_| {
        let channels = [(); 4].map(|()| bounded::<usize>(0));
        let (all_s, all_r) = bounded(0);
        let passing = WaitGroup::new();
        let senders = channels.map(|(s, r)| {
            let all = all_s.clone();
            passing.go(move || r.iter().for_each(|i| all.send(i).unwrap()));
            s
        });
        go(move || {
            for i in 0..N {
                select! {
                    send(senders[0], i) -> sent => sent.unwrap(),
                    send(senders[1], i) -> sent => sent.unwrap(),
                    send(senders[2], i) -> sent => sent.unwrap(),
                    send(senders[3], i) -> sent => sent.unwrap(),
                }
            }
            senders.iter().for_each(|s| assert!(s.close()));
        });
        go(move || {
            passing.wait();
            all_s.close();
        });
        let mut seen = HashSet::new();
        for i in all_r {
            assert!(seen.insert(i), "{i} comes twice");
        }
        assert_eq!(seen.len(), N);
    });
}

/// Go: test/chan/fifo.go: what waits in a channel is received in order; what waits to be sent, too, by
/// goroutines that take turns.
#[test]
fn fifo() {
    const N: usize = 10;
    at_each(|_| {
        let (s, r) = bounded(N);
        (0..N).for_each(|i| s.send(i).unwrap());
        (0..N).for_each(|i| assert_eq!(r.recv(), Ok(i)));

        let (s, r) = bounded(0);
        let (start, first) = bounded(0);
        let mut turn = first;
        let links: Vec<_> = (0..N)
            .map(|i| {
                let (done, next) = bounded(0);
                let (mine, messages) = (std::mem::replace(&mut turn, next), r.clone());
                go(move || {
                    mine.recv().unwrap();
                    assert_eq!(messages.recv(), Ok(i));
                    done.send(()).unwrap();
                })
            })
            .collect();
        start.send(()).unwrap();
        (0..N).for_each(|i| s.send(i).unwrap());
        turn.recv().unwrap();
        join_all(links);
    });
}

/// Go: test/chan/goroutines.go: a chain of ten thousand, each of which passes on one message.
#[test]
fn goroutines_in_a_chain() {
    const N: usize = 10_000;
    at_each(|_| {
        let (leftmost_s, leftmost) = bounded(0);
        let mut left = leftmost_s;
        for _ in 0..N {
            let (s, right) = bounded(0);
            let left = std::mem::replace(&mut left, s);
            go(move || left.send(right.recv().unwrap() + 1).unwrap());
        }
        go(move || left.send(1).unwrap());
        assert_eq!(leftmost.recv(), Ok(N + 1));
    });
}

/// A part of test/chan/nonblock.go, with one type of message.
fn nonblock_with<T: Clone + Debug + PartialEq + Send + 'static>(one: &T, other: &T) {
    for capacity in [0, 1] {
        let (s, r) = bounded::<T>(capacity);
        select! {
            recv(r) -> message => panic!("{message:?} from an empty channel"),
            default => {}
        }
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));

        let messages = r.clone();
        let receiver = go(move || messages.recv());
        parked(&receiver);
        select! {
            send(s, one.clone()) -> sent => sent.unwrap(),
            default => panic!("someone waits to receive; capacity {capacity}"),
        }
        assert_eq!(receiver.join().unwrap().as_ref(), Ok(one));

        let (message, sends) = (other.clone(), s.clone());
        let sender = go(move || sends.send(message));
        if capacity == 0 {
            parked(&sender);
        } else {
            wait_until(Duration::from_secs(20), "it is sent", || sender.is_finished());
        }
        select! {
            recv(r) -> message => assert_eq!(message.as_ref(), Ok(other)),
            default => panic!("someone waits to send, or has; capacity {capacity}"),
        }
        sender.join().unwrap().unwrap();

        if capacity == 0 {
            assert_eq!(s.try_send(one.clone()), Err(TrySendError::Full(one.clone())));
        } else {
            assert_eq!(s.try_send(one.clone()), Ok(()));
            assert_eq!(s.try_send(other.clone()), Err(TrySendError::Full(other.clone())));
            assert_eq!(r.try_recv().as_ref(), Ok(one));
        }
    }
}

/// Go: test/chan/nonblock.go: sending and receiving without blocking, with messages of several sizes.
#[test]
fn nonblock() {
    at_each(|_| {
        for _ in 0..5 {
            nonblock_with(&123_i32, &234);
            nonblock_with(&123_456_i64, &234_567);
            nonblock_with(&true, &false);
            nonblock_with(&"hello".to_owned(), &"hello again".to_owned());
            nonblock_with(&[7_u64; 100], &[8; 100]);
            nonblock_with(&(), &());
        }
    });
}

/// Go: test/chan/select.go: arms go off one by one, until only the default is left. Go makes every arm's
/// message each time, ten in all; here only that which is sent is made.
#[test]
fn select_until_nothing_is_left() {
    let (made, shift) = (Cell::new(0), Cell::new(0));
    let value = || {
        made.set(made.get() + 1);
        1_u32 << shift.get()
    };
    let (off, _nobody_receives) = bounded(0);
    let send_all = |mut a: Sender<u32>, mut b: Sender<u32>| {
        let mut sent = 0;
        loop {
            select! {
                send(a, value()) -> result => {
                    result.unwrap();
                    a = off.clone();
                }
                send(b, value()) -> result => {
                    result.unwrap();
                    b = off.clone();
                }
                default => return sent,
            }
            sent += 1;
            shift.set(shift.get() + 1);
        }
    };
    let ((a_s, a_r), (b_s, b_r)) = (bounded(1), bounded(1));
    assert_eq!(send_all(a_s.clone(), b_s), 2);
    assert_eq!(a_r.recv().unwrap() | b_r.recv().unwrap(), 3);
    assert_eq!(send_all(a_s, off.clone()), 1);
    assert_eq!(a_r.recv(), Ok(4));
    assert_eq!(made.get(), 3);
}

/// Go: test/chan/select2.go: a hundred thousand selects leave no memory in use.
#[test]
fn select2_memory() {
    const N: usize = if cfg!(debug_assertions) { 20_000 } else { 100_000 };
    fn send_and_receive() {
        let ((s, r), (_silent_s, silent_r)) = (bounded::<usize>(0), bounded::<usize>(0));
        let sender = go(move || (0..N).for_each(|i| s.send(i).unwrap()));
        for i in 0..N {
            select! {
                recv(r) -> message => assert_eq!(message, Ok(i)),
                recv(silent_r) -> message => panic!("{message:?}"),
            }
        }
        sender.join().unwrap();
    }
    at_each(|procs| {
        send_and_receive();
        let before = BYTES.load(Ordering::Relaxed);
        send_and_receive();
        let more = BYTES.load(Ordering::Relaxed) - before;
        assert!(more < 50_000, "{more} bytes more in use after {N} selects, at {procs}");
    });
}

type Case = (&'static str, fn());

fn full() -> (Sender<i32>, Receiver<i32>) {
    let (s, r) = bounded(1);
    s.send(1).unwrap();
    (s, r)
}

fn closed() -> (Sender<i32>, Receiver<i32>) {
    let (s, r) = bounded(1);
    assert!(s.close());
    (s, r)
}

fn nil() -> (Sender<i32>, Receiver<i32>) {
    let (s, r) = bounded(0);
    // Nobody receives from it, but somebody could.
    Box::leak(Box::new(r));
    (s, never())
}

/// Each blocks for ever. The other ends are kept by binding them.
const BLOCKS: [Case; 22] = [
    ("send to nil", || nil().0.send(7).unwrap()),
    ("receive from nil", || {
        nil().1.recv().unwrap();
    }),
    ("send to a full channel", || {
        let (s, _r) = full();
        s.send(7).unwrap();
    }),
    ("send to a channel without room", || {
        let (s, _r) = bounded(0);
        s.send(7).unwrap();
    }),
    ("receive from an empty channel without room", || {
        let (_s, r) = bounded::<i32>(0);
        r.recv().unwrap();
    }),
    ("receive from an empty channel with room", || {
        let (_s, r) = bounded::<i32>(1);
        r.recv().unwrap();
    }),
    ("receive from an empty channel without bounds", || {
        let (_s, r) = unbounded::<i32>();
        r.recv().unwrap();
    }),
    ("iterate over an empty channel", || {
        let (_s, r) = bounded::<i32>(1);
        assert_ne!(r.iter().next(), None);
    }),
    ("iterate over a channel that gets empty", || {
        let (_s, r) = full();
        assert_ne!(r.iter().count(), 1);
    }),
    ("select of nothing", || runtime::block_forever()),
    ("select: receive from nil", || select! { recv(nil().1) -> _ => {} }),
    ("select: send to nil", || select! { send(nil().0, 7) -> _ => {} }),
    ("select: send to and receive from nil", || {
        let (s, r) = nil();
        select! { send(s, 7) -> _ => {} recv(r) -> _ => {} }
    }),
    ("select: receive from an empty channel", || {
        let (_s, r) = bounded::<i32>(0);
        select! { recv(r) -> _ => {} }
    }),
    ("select: receive from an empty channel twice", || {
        let (_s, r) = bounded::<i32>(1);
        select! { recv(r) -> _ => {} recv(r) -> _ => {} }
    }),
    ("select: receive from an empty channel without bounds", || {
        let (_s, r) = unbounded::<i32>();
        select! { recv(r) -> _ => {} recv(nil().1) -> _ => {} }
    }),
    ("select: send to a full channel", || {
        let (s, _r) = full();
        select! { send(s, 7) -> _ => {} }
    }),
    ("select: send to a full one, receive from an empty one", || {
        let ((s, _r), (_s2, r2)) = (full(), bounded::<i32>(1));
        select! { send(s, 7) -> _ => {} recv(r2) -> _ => {} }
    }),
    ("select: send to and receive from itself", || {
        let (s, r) = bounded(0);
        select! { send(s, 7) -> _ => {} recv(r) -> _ => {} }
    }),
    ("select: send to and receive from itself, twice", || {
        let (s, r) = bounded(0);
        select! {
            recv(r) -> _ => {}
            send(s, 7) -> _ => {}
            recv(r) -> _ => {}
            send(s, 8) -> _ => {}
        }
    }),
    ("Select of an empty one", || {
        let (_s, r) = bounded::<i32>(1);
        let mut select = Select::new();
        select.recv(&r);
        drop(select.select());
    }),
    ("Select of an empty one and a full one: ready", || {
        let ((s, _r), (_s2, r2)) = (full(), bounded::<i32>(1));
        let mut select = Select::new();
        select.send(&s);
        select.recv(&r2);
        select.ready();
    }),
];

/// None blocks.
const GOES_ON: [Case; 23] = [
    ("send to a channel with room", || {
        let (s, _r) = bounded(1);
        s.send(7).unwrap();
    }),
    ("send to a channel without bounds", || {
        let (s, _r) = unbounded();
        (0..1000).for_each(|i| s.send(i).unwrap());
    }),
    ("receive from a full channel", || assert_eq!(full().1.recv(), Ok(1))),
    ("receive from a closed channel", || {
        let (_s, r) = closed();
        (0..10).for_each(|_| assert_eq!(r.recv(), Err(RecvError)));
    }),
    ("receive from a channel without bounds that is closed", || {
        let (s, r) = unbounded();
        s.send(7).unwrap();
        assert!(s.close());
        assert_eq!((r.recv(), r.recv(), r.recv()), (Ok(7), Err(RecvError), Err(RecvError)));
    }),
    ("iterate over a closed channel", || assert_eq!(closed().1.iter().next(), None)),
    // Go panics.
    ("send to a closed channel", || {
        let (s, _r) = closed();
        (0..10).for_each(|i| assert_eq!(s.send(i), Err(SendError(i))));
    }),
    ("send to a full channel that is closed", || {
        let (s, _r) = full();
        assert!(s.close());
        assert_eq!(s.send(7), Err(SendError(7)));
        assert_eq!(s.try_send(7), Err(TrySendError::Disconnected(7)));
    }),
    ("select: default only", || select! { default => {} }),
    ("select: nil, default", || {
        let (s, r) = nil();
        select! { recv(r) -> _ => panic!("nil is received from"), default => {} }
        select! { send(s, 7) -> _ => panic!("nil is sent to"), default => {} }
        select! {
            recv(r) -> _ => panic!("nil is received from"),
            send(s, 7) -> _ => panic!("nil is sent to"),
            default => {}
        }
    }),
    ("select: an empty channel, default", || {
        let (_s, r) = bounded::<i32>(1);
        select! { recv(r) -> _ => panic!("it is empty"), default => {} }
    }),
    ("select: a full channel, default", || {
        let (s, _r) = full();
        select! { send(s, 7) -> _ => panic!("it is full"), default => {} }
    }),
    ("select: itself, default", || {
        let (s, r) = bounded(0);
        select! {
            send(s, 7) -> _ => panic!("it sends to itself"),
            recv(r) -> _ => panic!("it receives from itself"),
            default => {}
        }
    }),
    ("select: an empty channel, default with a time", || {
        let (_s, r) = bounded::<i32>(1);
        select! { recv(r) -> _ => panic!("it is empty"), default(ms(5)) => {} }
    }),
    ("select: a channel with room, default", || {
        let (s, _r) = bounded(1);
        select! { send(s, 7) -> sent => sent.unwrap(), default => panic!("there is room") }
    }),
    ("select: a full channel, default", || {
        let (_s, r) = full();
        select! { recv(r) -> got => assert_eq!(got, Ok(1)), default => panic!("it is full") }
    }),
    ("select: a closed channel", || {
        let (_s, r) = closed();
        select! { recv(r) -> _ => {} }
        select! { recv(r) -> received => assert_eq!(received, Err(RecvError)) }
    }),
    ("select: a closed channel, nil", || {
        let (_s, r) = closed();
        select! {
            recv(r) -> received => assert_eq!(received, Err(RecvError)),
            recv(nil().1) -> _ => panic!("nil is received from"),
        }
    }),
    ("select: a closed channel, default", || {
        let (_s, r) = closed();
        select! {
            recv(r) -> received => assert_eq!(received, Err(RecvError)),
            default => panic!("it is closed"),
        }
    }),
    // Go panics.
    ("select: send to a closed channel", || {
        let (s, _r) = closed();
        select! { send(s, 7) -> sent => assert_eq!(sent, Err(SendError(7))) }
    }),
    ("select: send to a closed channel, default", || {
        let (s, _r) = closed();
        select! {
            send(s, 7) -> sent => assert_eq!(sent, Err(SendError(7))),
            default => panic!("it is closed"),
        }
    }),
    ("Select: a closed channel and an empty one", || {
        let ((_s, r), (_s2, r2)) = (closed(), bounded::<i32>(1));
        let mut select = Select::new();
        let (at_closed, _at_empty) = (select.recv(&r), select.recv(&r2));
        assert_eq!(select.ready(), at_closed);
        let operation = select.select();
        assert_eq!(operation.index(), at_closed);
        assert_eq!(operation.recv(&r), Err(RecvError));
    }),
    ("Select: nothing is ready", || {
        let ((s, _r), (_s2, r2)) = (full(), bounded::<i32>(1));
        let mut select = Select::new();
        assert!(select.try_select().is_err());
        select.send(&s);
        select.recv(&r2);
        assert!(select.try_select().is_err());
        assert!(select.try_ready().is_err());
        assert!(select.select_timeout(ms(5)).is_err());
        assert!(select.ready_timeout(ms(5)).is_err());
    }),
];

/// Go: test/chan/select3.go: what blocks and what does not, of sending, receiving and select with nil,
/// closed, full and empty channels.
#[test]
fn select3_blocks_or_not() {
    for procs in ["1", "2", "4"] {
        let child = in_child("select3_blocks_or_not", &[("GOMAXPROCS", procs)], || {
            goroutines::run(|| {
                // Those who block are left so, as in Go, until the process ends.
                let blocked = BLOCKS.map(|(name, f)| (name, go(f)));
                for (name, f) in GOES_ON {
                    let goes_on = go(f);
                    wait_until(Duration::from_secs(20), name, || goes_on.is_finished());
                    assert!(goes_on.join().is_ok(), "{name}: it panicked");
                }
                blocked.iter().for_each(|(_, blocked)| parked(blocked));
                std::thread::sleep(ms(100));
                for (name, blocked) in blocked {
                    assert!(!blocked.is_finished(), "{name}: it did not block");
                }
            });
        });
        child.expect_clean();
    }
}

/// Go: test/chan/select4.go: what an arm that is not chosen would do with its message is not done.
#[test]
fn select4_only_the_chosen_arm() {
    let ((s, r), (_silent_s, silent_r)) = (bounded(1), bounded::<i32>(0));
    s.send(42).unwrap();
    let place = || -> &'static Cell<i32> { panic!("it is not chosen") };
    let mut x = 0;
    select! {
        recv(silent_r) -> message => place().set(message.unwrap()),
        recv(r) -> message => x = message.unwrap(),
    }
    assert_eq!(x, 42);
}

/// Go: test/chan/select6.go: a select that ends in front of others who wait on one of its channels leaves
/// them in the queue.
#[test]
fn select6_queues_stay_whole() {
    at_each(|_| {
        let [(s1, r1), (s2, r2), (s3, r3)] = [(); 3].map(|()| bounded::<bool>(0));
        let first = r1.clone();
        let first = go(move || first.recv());
        parked(&first);
        let selecting = go(move || {
            select! {
                recv(r1) -> message => panic!("{message:?}"),
                recv(r2) -> message => s3.send(message.unwrap()).unwrap(),
            }
            r1.recv()
        });
        parked(&selecting);
        go(move || s2.send(true).unwrap());
        assert_eq!(r3.recv(), Ok(true));
        s1.send(true).unwrap();
        s1.send(true).unwrap();
        assert_eq!((first.join().unwrap(), selecting.join().unwrap()), (Ok(true), Ok(true)));
    });
}

/// Go: test/chan/select7.go: a message that is thrown away, received and sent in three ways each.
#[test]
fn select7_thrown_away() {
    fn receive_in_select(r: &Receiver<i32>) {
        select! { recv(r) -> _ => {} }
    }
    fn receive_in_select_of_two(r: &Receiver<i32>) {
        let (_s2, r2) = bounded::<i32>(0);
        select! { recv(r) -> _ => {} recv(r2) -> _ => panic!("nobody sends") }
    }
    fn send_in_select(s: &Sender<i32>) {
        select! { send(s, 1) -> sent => sent.unwrap() }
    }
    fn send_in_select_of_two(s: &Sender<i32>) {
        let (s2, _r2) = bounded(0);
        select! { send(s, 1) -> sent => sent.unwrap(), send(s2, 1) -> _ => panic!("nobody receives") }
    }
    let receive: [fn(&Receiver<i32>); 3] =
        [|r| assert_eq!(r.recv(), Ok(1)), receive_in_select, receive_in_select_of_two];
    let send: [fn(&Sender<i32>); 3] =
        [|s| s.send(1).unwrap(), send_in_select, send_in_select_of_two];
    at_each(|_| {
        for _ in 0..100 {
            for receive in receive {
                for send in send {
                    let (s, r) = bounded(0);
                    let receiver = go(move || receive(&r));
                    runtime::gosched();
                    send(&s);
                    receiver.join().unwrap();
                }
            }
        }
    });
}

/// Go: test/chan/select8.go: leaving a select of one, two and three arms. Here that leaves what is around
/// it: a loop, with a value, the one with the name, a function.
#[test]
#[expect(clippy::never_loop, reason = "it is the point")]
fn select8_breaking_out() {
    fn returns(r: &Receiver<i32>) -> Result<i32, RecvError> {
        select! {
            recv(r) -> message => return Ok(message? + 1),
            recv(never::<i32>()) -> _ => {}
        }
        panic!("it did not return");
    }
    at_each(|_| {
        let (s, r) = bounded(0);
        let sender = go(move || while s.send(5).is_ok() {});
        loop {
            select! { recv(r) -> _ => break }
        }
        loop {
            select! { default => break }
        }
        let mut turns = 0;
        let value = loop {
            turns += 1;
            select! {
                recv(r) -> message => break message.unwrap(),
                default => {
                    runtime::gosched();
                    continue;
                }
            }
        };
        assert!(value == 5 && turns > 0);
        'outer: loop {
            loop {
                select! {
                    recv(r) -> _ => break 'outer,
                    recv(never::<i32>()) -> _ => panic!("it is never ready"),
                    default => {
                        runtime::gosched();
                        continue 'outer;
                    }
                }
            }
        }
        assert_eq!(returns(&r), Ok(6));
        drop(r);
        sender.join().unwrap();
    });
}

/// Go: test/chan/sendstmt.go: the channel to send to is received from another; the message is an
/// expression.
#[test]
fn sendstmt() {
    let ((channels_s, channels_r), (s, r)) = (bounded(1), bounded(1));
    channels_s.send(s).unwrap();
    select! {
        send(channels_r.recv().unwrap(), 1 + 1) -> sent => sent.unwrap(),
        default => panic!("there is room"),
    }
    assert_eq!(r.recv(), Ok(2));
    let (s, r) = bounded(1);
    s.send(r.is_full() || r.is_empty()).unwrap();
    assert_eq!(r.recv(), Ok(true));
}

/// The primes below 100.
const PRIMES: [usize; 25] = [
    2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
];

/// A goroutine that sends until nobody receives.
fn generate(
    capacity: usize,
    f: impl FnOnce(&Sender<usize>) -> Result<(), SendError<usize>> + Send + 'static,
) -> Receiver<usize> {
    let (s, r) = bounded(capacity);
    go(move || f(&s).is_ok());
    r
}

/// Go: test/chan/sieve1.go: the primes come out of a chain of filters, one goroutine for each prime
/// found. When nobody wants more, all end.
#[test]
fn sieve1() {
    at_each(|_| {
        let numbers = generate(0, |s| (2..).try_for_each(|i| s.send(i)));
        let primes = generate(0, move |primes| {
            let mut numbers = numbers;
            loop {
                let Ok(prime) = numbers.recv() else { return Ok(()) };
                primes.send(prime)?;
                let of = numbers;
                numbers = generate(0, move |s| {
                    of.iter().filter(|i| i % prime != 0).try_for_each(|i| s.send(i))
                });
            }
        });
        assert_eq!(primes.iter().take(PRIMES.len()).collect::<Vec<_>>(), PRIMES);
        drop(primes);
        runtime::wait_all(Duration::from_secs(20)).unwrap();
    });
}

/// A goroutine that takes whatever is sent, however much, and passes it on: sending to it blocks for a
/// short time only.
fn without_bounds(out: Sender<usize>) -> Sender<usize> {
    let (s, r) = bounded(10);
    go(move || {
        let (off, _nobody_receives) = bounded(0);
        let mut queue = VecDeque::new();
        loop {
            let (to, next) = match queue.front() {
                Some(&next) => (&out, next),
                None => (&off, 0),
            };
            select! {
                recv(r) -> message => match message {
                    Ok(message) => queue.push_back(message),
                    Err(RecvError) => return,
                },
                send(to, next) -> sent => match sent {
                    Ok(()) => drop(queue.pop_front()),
                    Err(SendError(_)) => return,
                },
            }
        }
    });
    s
}

/// The odd numbers that are not prime, in order: the multiples of each prime from its square on, merged.
/// The first of a prime's goes out at once, or the next prime would never come.
fn composites(primes: Receiver<usize>) -> Receiver<usize> {
    generate(50, move |s| {
        let (mut heads, mut streams) = (BinaryHeap::new(), Vec::new());
        let mut last = 0;
        for prime in primes {
            let multiples = generate(10, move |s| {
                (prime * prime..).step_by(2 * prime).try_for_each(|n| s.send(n))
            });
            heads.push(Reverse((multiples.recv().unwrap(), streams.len())));
            streams.push(multiples);
            while let Some(Reverse((head, of))) = heads.pop() {
                heads.push(Reverse((streams[of].recv().unwrap(), of)));
                if head != last {
                    s.send(head)?;
                    last = head;
                }
                if head == prime * prime {
                    break;
                }
            }
        }
        Ok(())
    })
}

/// Go: test/chan/sieve2.go: primes are what is odd and not composite; and composites are made of primes,
/// so that the channels form a ring.
#[test]
fn sieve2() {
    at_each(|_| {
        let (ring_s, ring_r) = bounded(10);
        ring_s.send(3).unwrap();
        let composites = composites(ring_r);
        let primes = generate(10, move |primes| {
            [2, 3].into_iter().try_for_each(|prime| primes.send(prime))?;
            let ring = without_bounds(ring_s);
            let odds = generate(50, |s| (5..).step_by(2).try_for_each(|n| s.send(n)));
            let mut candidate = odds.recv().unwrap();
            for composite in composites {
                while candidate < composite {
                    ring.send(candidate).unwrap();
                    primes.send(candidate)?;
                    candidate = odds.recv().unwrap();
                }
                if candidate == composite {
                    candidate = odds.recv().unwrap();
                }
            }
            Ok(())
        });
        assert_eq!(primes.iter().take(PRIMES.len()).collect::<Vec<_>>(), PRIMES);
        drop(primes);
        runtime::wait_all(Duration::from_secs(20)).unwrap();
    });
}

/// Go: test/chan/zerosize.go, with messages.
#[test]
fn zero_sized_messages() {
    at_each(|_| {
        for capacity in [0, 1, 1000] {
            let ((s, r), (done_s, done_r)) =
                (bounded::<[u8; 0]>(capacity), bounded::<()>(capacity));
            let sender = go(move || (0..1000).for_each(|_| s.send([]).unwrap()));
            let receiver = go(move || {
                assert_eq!(r.iter().count(), 1000);
                done_s.send(()).unwrap();
            });
            assert_eq!(done_r.recv(), Ok(()));
            join_all([sender, receiver]);
        }
    });
}

/// How `select5` sends one message and receives it.
struct Five {
    s: Sender<i32>,
    r: Receiver<i32>,
    /// Nobody is at its other end.
    silent: (Sender<i32>, Receiver<i32>),
    nil: (Sender<i32>, Receiver<i32>),
    /// What `at` and `what` were last called with.
    step: Cell<usize>,
    cases: Cell<usize>,
}

impl Five {
    fn new() -> Self {
        let (s, r) = bounded(1);
        let (step, cases) = (Cell::new(0), Cell::new(0));
        Self { s, r, silent: bounded(0), nil: nil(), step, cases }
    }

    /// `channel`, and checks that the select's channels are looked at in order, each once.
    fn at<'a, T>(&self, step: usize, channel: &'a T) -> &'a T {
        assert!(self.step.get() < step, "{step} after {}", self.step.get());
        self.step.set(step);
        channel
    }

    /// The message is made when its arm was chosen, after all channels were looked at.
    fn what(&self, message: i32) -> i32 {
        self.at(100, &());
        message
    }

    fn next(&self) {
        self.step.set(0);
        self.cases.set(self.cases.get() + 1);
    }
}

/// A select with each choice of the arms in parentheses, between those in brackets; after it, `$after`.
macro_rules! each_choice {
    (then $after:block: [$($arm:tt)*] [$($last:tt)*]) => {{
        select! { $($arm)* $($last)* }
        $after
    }};
    (then $after:block: [$($arm:tt)*] ($($maybe:tt)*) $($rest:tt)*) => {
        each_choice!(then $after: [$($arm)*] $($rest)*);
        each_choice!(then $after: [$($arm)* $($maybe)*] $($rest)*);
    };
}

/// A select with each choice of four arms that are never ready; sixteen in all.
macro_rules! beside_idle_arms {
    ($five:ident then $after:block: [$($first:tt)*] [$($last:tt)*]) => {
        each_choice! {
            then $after:
            [$($first)*]
            (send($five.at(2, &$five.silent.0), $five.what(1)) -> _ => panic!("sent to nobody"),)
            (recv($five.at(3, &$five.silent.1)) -> _ => panic!("received from nobody"),)
            (send($five.at(4, &$five.nil.0), $five.what(1)) -> _ => panic!("sent to nil"),)
            (recv($five.at(5, &$five.nil.1)) -> _ => panic!("received from nil"),)
            [$($last)*]
        }
    };
}

/// Go: test/chan/select5.go, which generates this: one message is received, in a select without a
/// default, and with one before or behind.
#[test]
fn select5_receiving() {
    let five = Five::new();
    five.s.send(7).unwrap();
    let next = || {
        assert_eq!(five.r.try_recv(), Err(TryRecvError::Empty));
        five.s.send(7).unwrap();
        five.next();
    };
    beside_idle_arms! {
        five then { next(); }:
        [recv(five.at(1, &five.r)) -> message => assert_eq!(message, Ok(7)),] []
    }
    beside_idle_arms! {
        five then { next(); }:
        [recv(five.at(1, &five.r)) -> message => assert_eq!(message, Ok(7)),]
        [default => panic!("the default")]
    }
    beside_idle_arms! {
        five then { next(); }:
        [default => panic!("the default"),
        recv(five.at(1, &five.r)) -> message => assert_eq!(message, Ok(7)),] []
    }
    assert_eq!(five.cases.get(), 48);
}

/// Go: test/chan/select5.go: the same with one message that is sent.
#[test]
fn select5_sending() {
    let five = Five::new();
    let next = || {
        assert_eq!(five.r.try_recv(), Ok(7));
        five.next();
    };
    beside_idle_arms! {
        five then { next(); }:
        [send(five.at(1, &five.s), five.what(7)) -> sent => assert_eq!(sent, Ok(())),] []
    }
    beside_idle_arms! {
        five then { next(); }:
        [send(five.at(1, &five.s), five.what(7)) -> sent => assert_eq!(sent, Ok(())),]
        [default => panic!("the default")]
    }
    beside_idle_arms! {
        five then { next(); }:
        [default => panic!("the default"),
        send(five.at(1, &five.s), five.what(7)) -> sent => assert_eq!(sent, Ok(())),] []
    }
    assert_eq!(five.cases.get(), 48);
}

/// Go: test/chan/select5.go: nothing is ready, and the default is chosen, wherever it stands. No message
/// is made.
#[test]
fn select5_nothing_is_ready() {
    let (five, chosen) = (Five::new(), Cell::new(0));
    let choose = || {
        assert!(five.step.get() < 100, "a message was made");
        chosen.set(chosen.get() + 1);
    };
    beside_idle_arms! { five then { five.next(); }: [default => choose(),] [] }
    beside_idle_arms! { five then { five.next(); }: [] [default => choose()] }
    assert_eq!((five.cases.get(), chosen.get()), (32, 32));
}
