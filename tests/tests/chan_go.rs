//! Go's tests of channels and select: runtime/chan_test.go and runtime/chanbarrier_test.go of Go 1.27
//! (The Go Authors, BSD-3-Clause), ported. Where Go's test sleeps until another goroutine must have
//! blocked, this waits until it has; where it collects garbage, this stops the world and walks all stacks.
//!
//! Not here: what is about moving stacks only. The programs of Go's test/chan are in
//! `chan_go_programs.rs`.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails must end them")]

use goroutines::chan::{
    Receiver, RecvError, Select, SendError, Sender, TryRecvError, TrySendError, bounded, never,
    unbounded,
};
use goroutines::{WaitGroup, go, runtime, select};
use goroutines_tests::chans::parked;
use goroutines_tests::io::at_each;
use goroutines_tests::join_all;
use goroutines_tests::proc::at_procs;
use std::any::Any;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// `TestChan`: a law with each of its capacities. It has them at 4 processors; at 1 and 2 a few do.
fn at_each_capacity(law: impl Fn(usize) + Sync) {
    at_procs(4, || (0..200).for_each(&law));
    for procs in [1, 2] {
        at_procs(procs, || [0, 1, 2, 3, 10, 100, 199].into_iter().for_each(&law));
    }
}

/// Go: `TestChan`: to receive from an empty channel blocks, and without blocking fails.
#[test]
fn receiving_from_an_empty_channel_blocks() {
    at_each_capacity(|capacity| {
        let (s, r) = bounded(capacity);
        let receivers = [0, 1].map(|_| {
            let r = r.clone();
            go(move || r.recv().unwrap())
        });
        receivers.iter().for_each(parked);
        select! {
            recv(r) -> received => panic!("{received:?} from an empty channel of {capacity}"),
            default => {}
        }
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
        assert!(receivers.iter().all(|receiver| !receiver.is_finished()));
        s.send(1).unwrap();
        s.send(2).unwrap();
        let mut received = join_all(receivers);
        received.sort_unstable();
        assert_eq!(received, [1, 2]);
    });
}

/// Go: `TestChan`: to send to a full channel blocks, and without blocking fails. And what was sent by
/// one that had to wait comes after what was there.
#[test]
fn sending_to_a_full_channel_blocks() {
    at_each_capacity(|capacity| {
        let (s, r) = bounded(capacity);
        for i in 0..capacity {
            s.send(i).unwrap();
        }
        let waiting = s.clone();
        let sender = go(move || waiting.send(capacity));
        parked(&sender);
        select! {
            send(s, 999) -> sent => panic!("{sent:?} to a full channel of {capacity}"),
            default => {}
        }
        assert_eq!(s.try_send(999), Err(TrySendError::Full(999)));
        assert!(!sender.is_finished());
        for i in 0..=capacity {
            assert_eq!(r.recv(), Ok(i));
        }
        assert_eq!(sender.join().unwrap(), Ok(()));
        assert_eq!(r.try_recv(), Err(TryRecvError::Empty));
    });
}

/// Go: `TestChan`: of a closed channel the rest is received, then its end, as often as one asks.
#[test]
fn a_closed_channel_is_drained_then_ends() {
    at_each_capacity(|capacity| {
        let (s, r) = bounded(capacity);
        for i in 0..capacity {
            s.send(i).unwrap();
        }
        assert!(s.close());
        for i in 0..capacity {
            assert_eq!(r.recv(), Ok(i));
        }
        for _ in 0..2 {
            assert_eq!(r.recv(), Err(RecvError));
            assert_eq!(r.try_recv(), Err(TryRecvError::Disconnected));
            select! { recv(r) -> received => assert_eq!(received, Err(RecvError)) }
            assert_eq!(r.iter().next(), None);
        }
    });
}

/// Go: `TestChan`: closing wakes who waits to receive. And so does, here, dropping all senders.
#[test]
fn closing_ends_receiving() {
    at_each_capacity(|capacity| {
        for by_dropping in [false, true] {
            let (s, r) = bounded::<i32>(capacity);
            let receivers = [0, 1].map(|_| {
                let r = r.clone();
                go(move || r.recv())
            });
            receivers.iter().for_each(parked);
            if by_dropping {
                drop(s);
            } else {
                assert!(s.close());
            }
            assert_eq!(join_all(receivers), [Err(RecvError); 2]);
        }
    });
}

/// Not Go's, whose senders panic: closing wakes who waits to send, with the message. And so does dropping
/// all receivers.
#[test]
fn closing_ends_sending() {
    at_each_capacity(|capacity| {
        for by_dropping in [false, true] {
            let (s, r) = bounded(capacity);
            (0..capacity).for_each(|i| s.send(i).unwrap());
            let senders = [1000, 1001].map(|message| {
                let s = s.clone();
                go(move || s.send(message))
            });
            senders.iter().for_each(parked);
            if by_dropping {
                drop(r);
            } else {
                assert!(s.close());
                assert_eq!(r.iter().collect::<Vec<_>>(), (0..capacity).collect::<Vec<_>>());
            }
            assert_eq!(join_all(senders), [Err(SendError(1000)), Err(SendError(1001))]);
        }
    });
}

/// Go: `TestChan`: a hundred messages come in order.
#[test]
fn messages_come_in_order() {
    at_each_capacity(|capacity| {
        let (s, r) = bounded(capacity);
        for way in 0..3 {
            let s = s.clone();
            let sender = go(move || (0..100).for_each(|i| s.send(i).unwrap()));
            let received: Vec<i32> = match way {
                0 => (0..100).map(|_| r.recv().unwrap()).collect(),
                1 => (0..100).map(|_| select! { recv(r) -> i => i.unwrap() }).collect(),
                _ => r.iter().take(100).collect(),
            };
            assert!(received.iter().copied().eq(0..100), "capacity {capacity}: {received:?}");
            sender.join().unwrap();
        }
    });
}

/// Go: `TestChan`: four goroutines send, four receive: all that was sent comes, once.
#[test]
fn what_is_sent_is_received_once() {
    const EACH: usize = 1000;
    at_each_capacity(|capacity| {
        let (s, r) = bounded(capacity);
        let senders = [0; 4].map(|_| {
            let s = s.clone();
            go(move || (0..EACH).for_each(|i| s.send(i).unwrap()))
        });
        let receivers = [0; 4].map(|_| {
            let r = r.clone();
            go(move || {
                let mut received = HashMap::new();
                for _ in 0..EACH {
                    *received.entry(r.recv().unwrap()).or_insert(0) += 1;
                }
                received
            })
        });
        let mut received = HashMap::new();
        for (message, times) in join_all(receivers).into_iter().flatten() {
            *received.entry(message).or_insert(0) += times;
        }
        join_all(senders);
        assert_eq!(received.len(), EACH, "capacity {capacity}");
        assert!(received.values().all(|&times| times == 4), "capacity {capacity}: {received:?}");
        assert!(r.is_empty());
    });
}

/// Go: `TestChan`: length and capacity.
#[test]
fn length_and_capacity() {
    at_each_capacity(|capacity| {
        let (s, r) = bounded(capacity);
        for i in 0..=capacity {
            assert_eq!((s.len(), r.len()), (i, i));
            assert_eq!((s.capacity(), r.capacity()), (Some(capacity), Some(capacity)));
            assert_eq!((s.is_empty(), r.is_empty()), (i == 0, i == 0));
            assert_eq!((s.is_full(), r.is_full()), (i == capacity, i == capacity));
            if i < capacity {
                s.send(i).unwrap();
            }
        }
    });
    let (s, r) = unbounded::<i32>();
    assert_eq!((s.capacity(), r.capacity(), s.is_full()), (None, None, false));
}

/// Go: `TestNonblockRecvRace`: there is always something to receive, be it the end.
#[test]
fn nonblock_recv_race() {
    at_each(|_| {
        for round in 0..10_000 {
            let (s, r) = bounded(1);
            s.send(1).unwrap();
            let other = r.clone();
            let receiver = go(move || {
                if round % 2 == 0 {
                    select! {
                        recv(other) -> _ => {}
                        default => panic!("the channel is not ready"),
                    }
                } else {
                    assert_ne!(other.try_recv(), Err(TryRecvError::Empty));
                }
            });
            s.close();
            let _ = r.recv();
            receiver.join().unwrap();
        }
    });
}

/// A select acts on one moment's state of its channels. From the time when the goroutine is started one
/// of two channels can be received from, first the one, then the other: so it never chooses `default`.
fn nonblock_select_race(second: impl Fn(&Sender<i32>) + Sync) {
    at_each(|_| {
        let (done_s, done_r) = bounded(1);
        for round in 0..10_000 {
            let ((s1, r1), (s2, r2)) = (bounded(1), bounded(1));
            s1.send(1).unwrap();
            let (done, one, two) = (done_s.clone(), r1.clone(), r2.clone());
            go(move || {
                let ready = select! {
                    recv(one) -> _ => true,
                    recv(two) -> _ => true,
                    default => false,
                };
                done.send(ready).unwrap();
            });
            second(&s2);
            select! {
                recv(r1) -> _ => {}
                default => {}
            }
            assert_eq!(done_r.recv(), Ok(true), "no channel was ready in round {round}");
        }
    });
}

/// Go: `TestNonblockSelectRace`.
#[test]
fn nonblock_select_race_with_a_message() {
    nonblock_select_race(|s| s.send(1).unwrap());
}

/// Go: `TestNonblockSelectRace2`: the second channel is closed.
#[test]
fn nonblock_select_race_with_an_end() {
    nonblock_select_race(|s| assert!(s.close()));
}

/// The law of `TestNonblockSelectRace`, where a select that looks at one channel after the other is caught
/// soon: a token moves from one to the other all the time, and is put before it is taken. Between the two
/// there are arms to be looked at that are never ready.
#[test]
fn select_looks_at_one_moment() {
    const LOOKS: usize = 5_000;
    at_each(|_| {
        let [(s1, r1), (s2, r2)] = [(); 2].map(|()| unbounded());
        let (_idle_s, idle) = bounded::<()>(0);
        s1.send(()).unwrap();
        let (stop, stopped) = bounded::<()>(0);
        let (to, from) = ([s1.clone(), s2.clone()], [r2.clone(), r1.clone()]);
        let mover = go(move || {
            for turn in 1.. {
                if stopped.try_recv() == Err(TryRecvError::Disconnected) {
                    return;
                }
                to[turn % 2].send(()).unwrap();
                let _ = from[turn % 2].try_recv();
            }
        });
        let mut select = Select::new();
        let first = select.recv(&r1);
        for _ in 0..100 {
            select.recv(&idle);
        }
        select.recv(&r2);
        for look in 0..LOOKS {
            let Ok(operation) = select.try_select() else {
                panic!("no channel had a message, at look {look}");
            };
            // Only this one takes what it does not replace before.
            let (s, r) = if operation.index() == first { (&s1, &r1) } else { (&s2, &r2) };
            operation.recv(r).unwrap();
            s.send(()).unwrap();
        }
        drop(stop);
        mover.join().unwrap();
    });
}

/// Go: `TestSelfSelect`: a select that sends and receives on the same channel neither meets itself nor
/// hangs.
#[test]
fn self_select() {
    fn take_part(me: usize, capacity: usize, s: &Sender<usize>, r: &Receiver<usize>) {
        for i in 0..1000 {
            let received = if me == 0 || i % 2 == 0 {
                select! {
                    send(s, me) -> sent => { sent.unwrap(); None }
                    recv(r) -> who => Some(who.unwrap()),
                }
            } else {
                select! {
                    recv(r) -> who => Some(who.unwrap()),
                    send(s, me) -> sent => { sent.unwrap(); None }
                }
            };
            assert!(capacity > 0 || received != Some(me), "{me} received from itself");
        }
    }
    at_each(|_| {
        for capacity in [0, 10] {
            let (s, r) = bounded(capacity);
            let both = [0, 1].map(|me| {
                let (s, r) = (s.clone(), r.clone());
                go(move || take_part(me, capacity, &s, &r))
            });
            join_all(both);
        }
    });
}

/// How many messages each sender of `select_stress` sends on each channel, and each receiver receives.
const STRESS: usize = 10_000;

/// Go: `TestSelectStress`: on four channels, a sender and a receiver each, and one that sends to all and
/// one that receives from all with a select. An arm that has done its part is off.
#[test]
fn select_stress() {
    at_each(|_| {
        let channels = [0, 0, 2, 3].map(bounded::<usize>);
        let all = WaitGroup::new();
        for (s, r) in &channels {
            let (s, r) = (s.clone(), r.clone());
            all.go(move || (0..STRESS).for_each(|i| s.send(i).unwrap()));
            all.go(move || assert_eq!(r.iter().take(STRESS).count(), STRESS));
        }
        let (senders, receivers) = (
            channels.each_ref().map(|(s, _)| s.clone()),
            channels.each_ref().map(|(_, r)| r.clone()),
        );
        all.go(move || send_to_all(senders));
        all.go(move || receive_from_all(receivers));
        all.wait();
        assert!(channels.iter().all(|(s, _)| s.is_empty()));
    });
}

fn send_to_all(mut to: [Sender<usize>; 4]) {
    let (off, _nobody_receives) = bounded(0);
    let mut sent = [0; 4];
    for i in 0..4 * STRESS {
        let chosen = select! {
            send(to[3], i) -> sent => sent.map(|()| 3),
            send(to[2], i) -> sent => sent.map(|()| 2),
            send(to[0], i) -> sent => sent.map(|()| 0),
            send(to[1], i) -> sent => sent.map(|()| 1),
        };
        let chosen = chosen.unwrap();
        sent[chosen] += 1;
        if sent[chosen] == STRESS {
            to[chosen] = off.clone();
        }
    }
    assert_eq!(sent, [STRESS; 4]);
}

fn receive_from_all(mut from: [Receiver<usize>; 4]) {
    let mut received = [0; 4];
    for _ in 0..4 * STRESS {
        let chosen = select! {
            recv(from[0]) -> message => message.map(|_| 0),
            recv(from[1]) -> message => message.map(|_| 1),
            recv(from[2]) -> message => message.map(|_| 2),
            recv(from[3]) -> message => message.map(|_| 3),
        };
        let chosen = chosen.unwrap();
        received[chosen] += 1;
        if received[chosen] == STRESS {
            from[chosen] = never();
        }
    }
    assert_eq!(received, [STRESS; 4]);
}

/// Go: `TestSelectFairness`: of two arms that are always ready each is chosen about as often, beside two
/// that never are. Ten sigma from the mean are not chance.
#[test]
fn select_fairness() {
    const TRIALS: usize = 10_000;
    at_each(|_| {
        let [ones, twos] = [1, 2].map(|message| {
            let (s, r) = bounded(TRIALS + 1);
            (0..=TRIALS).for_each(|_| s.send(message).unwrap());
            (s, r)
        });
        let (empty, silent) = (bounded::<usize>(0), bounded::<usize>(0));
        let ((out_s, out_r), (done_s, done_r)) = (bounded(0), bounded::<()>(0));
        let (ones_r, twos_r, empty_r, silent_r) =
            (ones.1.clone(), twos.1.clone(), empty.1.clone(), silent.1.clone());
        let chooser = go(move || {
            loop {
                let message = select! {
                    recv(empty_r) -> message => message.unwrap(),
                    recv(silent_r) -> message => message.unwrap(),
                    recv(ones_r) -> message => message.unwrap(),
                    recv(twos_r) -> message => message.unwrap(),
                };
                select! {
                    send(out_s, message) -> sent => sent.unwrap(),
                    recv(done_r) -> _ => return,
                }
            }
        });
        let mut counts = [0_usize; 2];
        (0..TRIALS).for_each(|_| counts[out_r.recv().unwrap() - 1] += 1);
        let ten_sigma = 10.0 * (TRIALS as f64 * 0.25).sqrt();
        let off = (counts[0] as f64 - TRIALS as f64 / 2.0).abs();
        assert!(off <= ten_sigma, "chosen {counts:?} times of {TRIALS}");
        done_s.close();
        chooser.join().unwrap();
    });
}

/// Go: `TestChanSendInterface`: messages of a trait's type, in a select too.
#[test]
fn chan_send_interface() {
    type Message = Arc<dyn Any + Send + Sync>;
    struct Mt;
    at_each(|_| {
        let message: Message = Arc::new(Mt);
        let (s, r) = bounded::<Message>(1);
        s.send(Arc::clone(&message)).unwrap();
        select! {
            send(s, Arc::clone(&message)) -> _ => panic!("sent to a full channel"),
            default => {}
        }
        select! {
            send(s, Arc::clone(&message)) -> _ => panic!("sent to a full channel"),
            send(s, Arc::new(Mt)) -> _ => panic!("sent to a full channel"),
            default => {}
        }
        assert!(r.recv().unwrap().is::<Mt>());
        assert_eq!(Arc::strong_count(&message), 1, "what was not sent is dropped");
    });
}

/// Go: `TestPseudoRandomSend`: two arms of a select that send on the same channel are chosen at random,
/// whether there is room or someone waits.
#[test]
fn pseudo_random_send() {
    const N: usize = 100;
    at_each(|_| {
        for capacity in [0, N] {
            let (s, r) = bounded(capacity);
            let receiver = go(move || {
                let receive = || {
                    runtime::gosched();
                    r.recv().unwrap()
                };
                (0..N).map(|_| receive()).sum::<usize>()
            });
            for _ in 0..N {
                select! {
                    send(s, 1) -> sent => sent.unwrap(),
                    send(s, 0) -> sent => sent.unwrap(),
                }
            }
            let ones = receiver.join().unwrap();
            assert!(ones > N / 10 && N - ones > N / 10, "{ones} of {N} were ones, at {capacity}");
        }
    });
}

/// Go: `TestMultiConsumer`: 23 workers between two channels; closing the one ends them, and then closing
/// the other the consumer.
#[test]
fn multi_consumer() {
    const WORKERS: usize = 23;
    const MESSAGES: usize = if cfg!(debug_assertions) { 50_000 } else { 271_828 };
    const PRIMES: [usize; 10] = [2, 3, 7, 11, 13, 17, 19, 23, 27, 31];
    at_each(|_| {
        let ((work_s, work_r), (result_s, result_r)) = (bounded(WORKERS * 3), bounded(WORKERS * 3));
        let workers = WaitGroup::new();
        for w in 0..WORKERS {
            let (work, results) = (work_r.clone(), result_s.clone());
            workers.go(move || {
                for message in work {
                    if PRIMES[w % PRIMES.len()] == message {
                        runtime::gosched();
                    }
                    results.send(message).unwrap();
                }
            });
        }
        let feeder = go(move || {
            let mut sum = 0;
            for i in 0..MESSAGES {
                sum += PRIMES[i % PRIMES.len()];
                work_s.send(PRIMES[i % PRIMES.len()]).unwrap();
            }
            assert!(work_s.close());
            workers.wait();
            assert!(result_s.close());
            sum
        });
        let (mut n, mut sum) = (0, 0);
        for message in &result_r {
            n += 1;
            sum += message;
        }
        assert_eq!((n, sum), (MESSAGES, feeder.join().unwrap()));
    });
}

/// Touches a kibibyte of stack at each of `depth` levels.
#[inline(never)]
fn use_stack(depth: usize) -> usize {
    let frame = black_box([depth; 128]);
    let below = if depth == 0 { 0 } else { use_stack(depth - 1) };
    below + black_box(&frame).iter().sum::<usize>() / 128
}

/// Go: `TestShrinkStackDuringBlockedSend`. Stacks don't shrink here; but the message of one that waits
/// stays whole while its stack is walked, and deeper frames come and go in between.
#[test]
fn stacks_are_walked_during_a_blocked_send() {
    at_each(|_| {
        let (s, r) = bounded::<[usize; 100]>(0);
        let sender = go(move || {
            for i in 0..10 {
                s.send([i; 100]).unwrap();
                assert_eq!(use_stack(100), 5050);
            }
        });
        for i in 0..10 {
            parked(&sender);
            assert!(!runtime::stacks().is_empty());
            assert_eq!(r.recv(), Ok([i; 100]));
        }
        sender.join().unwrap();
    });
}

/// Go: `TestNoShrinkStackWhileParking`: the world is stopped and stacks are walked just when a sender
/// parks, and its receiver.
#[test]
fn stacks_are_walked_while_parking() {
    const N: usize = 10;
    at_each(|_| {
        for _ in 0..100 {
            let (s, r) = bounded::<[usize; 100]>(0);
            let receiver = go(move || {
                for i in 0..N {
                    goroutines::thread::sleep(std::time::Duration::from_micros(10));
                    assert_eq!(r.recv(), Ok([i; 100]));
                }
            });
            let sender = go(move || {
                for i in 0..N {
                    s.send([i; 100]).unwrap();
                    assert_eq!(use_stack(20), 210);
                }
            });
            while !receiver.is_finished() {
                assert!(!runtime::stacks().is_empty());
                runtime::gosched();
            }
            join_all([sender, receiver]);
        }
    });
}

/// Go: `TestSelectDuplicateChannel`: a select with two arms on one channel leaves its queue as it was.
#[test]
fn select_duplicate_channel() {
    at_each(|_| {
        let [(c_s, c_r), (d_s, d_r), (e_s, e_r)] = [(); 3].map(|()| bounded::<i32>(0));
        let c = c_r.clone();
        let twice = go(move || {
            select! {
                recv(c) -> message => panic!("{message:?}"),
                recv(c) -> message => panic!("{message:?}"),
                recv(d_r) -> message => assert_eq!(message, Ok(7)),
            }
            e_s.send(9).unwrap();
        });
        parked(&twice);
        let behind = go(move || c_r.recv());
        parked(&behind);
        d_s.send(7).unwrap();
        assert_eq!(e_r.recv(), Ok(9));
        c_s.send(8).unwrap();
        assert_eq!(behind.join().unwrap(), Ok(8), "the one behind is woken");
        twice.join().unwrap();
    });
}

/// Go: `TestSelectStackAdjust`. Stacks don't move here; but selects with channels that come twice, parked
/// while all stacks are walked, are woken by an end, and what the other arms would have written is as it
/// was.
#[test]
fn selects_are_woken_by_an_end() {
    at_each(|_| {
        let ((c_s, c_r), (d_s, d_r)) = (bounded::<usize>(0), bounded::<usize>(0));
        let selects = [false, true].map(|twice| {
            let (c, d) = (c_r.clone(), d_r.clone());
            let (c2, d2) = if twice { (c.clone(), d.clone()) } else { (never(), never()) };
            go(move || {
                use_stack(10);
                let mut value = 42;
                let ended = select! {
                    recv(c) -> message => { value = message.unwrap(); false }
                    recv(c2) -> _ => false,
                    recv(d) -> message => message.is_err(),
                    recv(d2) -> message => message.is_err(),
                };
                (ended, black_box(value))
            })
        });
        selects.iter().for_each(parked);
        assert!(!runtime::stacks().is_empty());
        d_s.close();
        assert_eq!(join_all(selects), [(true, 42); 2]);
        assert_eq!(c_s.try_send(1), Err(TrySendError::Full(1)), "nobody waits for it any more");
    });
}

/// Go: `TestChanSendSelectBarrier`, `TestChanSendBarrier`: what is sent is whole when it is received.
#[test]
fn chan_send_barrier() {
    const INNER: usize = if cfg!(debug_assertions) { 300 } else { 3_000 };
    struct Failed(Box<[usize; 4]>);
    fn request(n: usize, by_select: bool) -> Result<(), Failed> {
        let ((s, r), (_done_s, done_r)) = (bounded(0), bounded::<()>(0));
        go(move || {
            let answer = Err(Failed(Box::new([n; 4])));
            if by_select {
                select! {
                    send(s, answer) -> sent => assert!(sent.is_ok()),
                    recv(done_r) -> _ => panic!("it is not done"),
                }
            } else {
                assert!(s.send(answer).is_ok());
            }
        });
        let answer = r.recv().unwrap();
        runtime::gosched();
        answer
    }
    for by_select in [true, false] {
        at_each(|_| {
            let outer = (0..10).map(|i| {
                go(move || {
                    for j in 0..INNER {
                        let failed = request(i * j, by_select).err();
                        assert!(failed.is_some_and(|failed| *failed.0 == [i * j; 4]));
                        black_box(vec![0_u8; 1024]);
                    }
                })
            });
            join_all(outer.collect::<Vec<_>>());
        });
    }
}

/// Not one of Go's tests, but its rule (`runtime/chan.go`): those who wait on one channel are served in
/// the order in which they came; receivers and senders.
#[test]
fn who_waits_first_is_served_first() {
    const N: usize = 20;
    at_each(|_| {
        let (s, r) = bounded(0);
        let receivers: Vec<_> = (0..N)
            .map(|_| {
                let r = r.clone();
                let receiver = go(move || r.recv());
                parked(&receiver);
                receiver
            })
            .collect();
        (0..N).for_each(|i| s.send(i).unwrap());
        assert_eq!(join_all(receivers), (0..N).map(Ok).collect::<Vec<_>>());

        let sent = Arc::new(AtomicUsize::new(0));
        let senders: Vec<_> = (0..N)
            .map(|i| {
                let (s, sent) = (s.clone(), Arc::clone(&sent));
                let sender = go(move || {
                    s.send(i).unwrap();
                    sent.fetch_add(1, Ordering::Relaxed);
                });
                parked(&sender);
                sender
            })
            .collect();
        assert_eq!(sent.load(Ordering::Relaxed), 0);
        assert_eq!(r.iter().take(N).collect::<Vec<_>>(), (0..N).collect::<Vec<_>>());
        join_all(senders);
    });
}

/// Go: `BenchmarkChanPopular`, which is a test too: a thousand selects wait on one channel that nobody
/// uses, and are woken through another, one by one.
#[test]
fn chan_popular() {
    const N: usize = 300;
    at_each(|_| {
        let (_popular_s, popular_r) = bounded::<bool>(0);
        let woken = Arc::new(Mutex::new(0));
        let all: Vec<_> = (0..N)
            .map(|_| {
                let (own_s, own_r) = bounded::<bool>(0);
                let (popular, woken) = (popular_r.clone(), Arc::clone(&woken));
                let waiter = go(move || {
                    for _ in 0..10 {
                        select! {
                            recv(popular) -> message => panic!("{message:?}"),
                            recv(own_r) -> message => assert_eq!(message, Ok(true)),
                        }
                        *woken.lock().unwrap() += 1;
                    }
                });
                (own_s, waiter)
            })
            .collect();
        for _ in 0..10 {
            all.iter().for_each(|(own, _)| own.send(true).unwrap());
        }
        join_all(all.into_iter().map(|(_, waiter)| waiter));
        assert_eq!(*woken.lock().unwrap(), 10 * N);
    });
}
