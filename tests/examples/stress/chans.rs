//! The steps that use channels, selects, timers and contexts.
//!
//! Each message is counted when it was sent and when it was received: at the end of a step none is lost,
//! none was received twice, and a send that failed gave its message back.

use goroutines::chan::{self, Receiver, Sender};
use goroutines::context::{Context, ContextError};
use goroutines::group::ErrGroup;
use goroutines::time::{Ticker, Timer, after_func};
use goroutines::{JoinHandle, go, select, select_biased};
use rand::RngExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn us(n: u64) -> Duration {
    Duration::from_micros(n)
}

fn random(below: u64) -> u64 {
    rand::rng().random_range(0..below)
}

/// A message that is counted, and whose content is checked.
struct Message {
    n: u64,
    text: String,
    alive: Arc<AtomicUsize>,
}

impl Message {
    fn new(n: u64, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self { n, text: n.to_string(), alive: Arc::clone(alive) }
    }

    fn open(self) -> u64 {
        assert_eq!(self.text, self.n.to_string(), "a message was torn");
        self.n
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

fn make(kind: u64) -> (Sender<Message>, Receiver<Message>) {
    match kind {
        0..=3 => chan::bounded(kind as usize),
        _ => chan::unbounded(),
    }
}

/// Sends `n`, in one of the ways there are; whether it was sent.
fn send(sender: &Sender<Message>, n: u64, alive: &Arc<AtomicUsize>) -> bool {
    let message = Message::new(n, alive);
    let back = match random(5) {
        0 => sender.send(message).err().map(|e| e.0),
        1 => sender.try_send(message).err().map(|e| e.into_inner()),
        2 => sender.send_timeout(message, us(random(200))).err().map(|e| e.into_inner()),
        3 => {
            let mut message = Some(message);
            select! {
                send(sender, message.take().unwrap()) -> sent => message = sent.err().map(|e| e.0),
                default(us(random(100))) => {}
            }
            message
        }
        _ => {
            let mut select = chan::Select::new();
            select.send(sender);
            match select.select_timeout(us(random(200))) {
                Ok(chosen) => chosen.send(sender, message).err().map(|e| e.0),
                Err(_) => Some(message),
            }
        }
    };
    match back {
        None => true,
        Some(message) => {
            assert_eq!(message.open(), n, "another message came back");
            false
        }
    }
}

/// Receives in one of the ways there are. `Err` at the end.
fn receive(receiver: &Receiver<Message>) -> Result<Option<Message>, ()> {
    match random(5) {
        0 => receiver.recv().map(Some).map_err(drop),
        1 => match receiver.try_recv() {
            Ok(message) => Ok(Some(message)),
            Err(e) if e.is_empty() => {
                goroutines::runtime::gosched();
                Ok(None)
            }
            Err(_) => Err(()),
        },
        2 => match receiver.recv_timeout(us(random(200))) {
            Ok(message) => Ok(Some(message)),
            Err(e) if e.is_timeout() => Ok(None),
            Err(_) => Err(()),
        },
        3 => select! {
            recv(receiver) -> message => message.map(Some).map_err(drop),
            recv(chan::never::<()>()) -> _ => unreachable!(),
            recv(chan::after(us(random(300)))) -> _ => Ok(None),
        },
        _ => {
            let mut select = chan::Select::new();
            let other = receiver.clone();
            select.recv(receiver);
            select.recv(&other);
            match select.select_timeout(us(random(200))) {
                Ok(chosen) if chosen.index() == 0 => chosen.recv(receiver).map(Some).map_err(drop),
                Ok(chosen) => chosen.recv(&other).map(Some).map_err(drop),
                Err(_) => Ok(None),
            }
        }
    }
}

/// Several send and several receive, on goroutines and on a thread now and then; nothing is lost.
pub(crate) fn many_to_many() {
    let alive = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = make(random(5));
    let (sent, received) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let senders = (0..random(4) + 1).map(|_| {
        let (sender, sent, alive) = (sender.clone(), Arc::clone(&sent), Arc::clone(&alive));
        go(move || {
            for n in 0..random(20) {
                if send(&sender, n + 1, &alive) {
                    sent.fetch_add(n + 1, Ordering::Relaxed);
                }
            }
        })
    });
    let senders: Vec<JoinHandle<()>> = senders.collect();
    let take = |receiver: Receiver<Message>| {
        let received = Arc::clone(&received);
        move || {
            while let Ok(message) = receive(&receiver) {
                received.fetch_add(message.map_or(0, Message::open), Ordering::Relaxed);
            }
        }
    };
    let receivers: Vec<_> = (0..random(3) + 1).map(|_| go(take(receiver.clone()))).collect();
    let thread = (random(8) == 0).then(|| std::thread::spawn(take(receiver.clone())));
    drop((sender, receiver));
    senders.into_iter().for_each(|handle| handle.join().unwrap());
    receivers.into_iter().for_each(|handle| handle.join().unwrap());
    thread.into_iter().for_each(|handle| handle.join().unwrap());
    assert_eq!(sent.load(Ordering::Relaxed), received.load(Ordering::Relaxed), "messages");
    assert_eq!(alive.load(Ordering::Relaxed), 0, "messages were lost or forgotten");
}

/// Selects in both directions on the same channels, against each other.
pub(crate) fn selects() {
    let channels: [_; 3] = std::array::from_fn(|i| chan::bounded::<u64>(i % 2));
    let others = channels.clone();
    let run = move |channels: [(Sender<u64>, Receiver<u64>); 3]| {
        let [(s0, r0), (s1, r1), (s2, r2)] = channels;
        let (mut sent, mut received) = (0, 0);
        for n in 0..30 {
            select! {
                send(s0, n) -> r => { r.unwrap(); sent += n }
                recv(r1) -> n => received += n.unwrap(),
                send(s1, n) -> r => { r.unwrap(); sent += n }
                recv(r0) -> n => received += n.unwrap(),
                send(s2, n) -> r => { r.unwrap(); sent += n }
                recv(r2) -> n => received += n.unwrap(),
                default(us(300)) => {}
            }
        }
        (sent, received)
    };
    let handles = [others.clone(), others].map(|channels| go(move || run(channels)));
    let (mut sent, mut received) = (0, 0);
    for handle in handles {
        let (s, r) = handle.join().unwrap();
        sent += s;
        received += r;
    }
    received += channels.iter().map(|(_, r)| r.try_iter().sum::<u64>()).sum::<u64>();
    assert_eq!(sent, received, "messages");
}

/// Closing while others send, receive and wait.
pub(crate) fn close() {
    let (sender, receiver) = chan::bounded::<u64>(random(3) as usize);
    let sends = {
        let sender = sender.clone();
        go(move || (1..).take_while(|n| sender.send(*n).is_ok()).sum::<u64>())
    };
    let receives = go(move || receiver.iter().sum::<u64>());
    std::thread::sleep(us(random(200)));
    assert!(sender.close());
    assert!(!sender.close());
    assert_eq!(sends.join().unwrap(), receives.join().unwrap());
}

/// Timers that are stopped, set anew and waited for.
pub(crate) fn timers() {
    let timer = Timer::new(us(random(100)));
    let ticker = Ticker::new(us(50 + random(100)));
    let calls = Arc::new(AtomicU64::new(0));
    let called = {
        let calls = Arc::clone(&calls);
        after_func(us(random(100)), move || {
            calls.fetch_add(1, Ordering::Relaxed);
        })
    };
    let mut prevented = 0;
    let mut armed = 1;
    for _ in 0..random(6) {
        match random(4) {
            0 => {
                timer.reset(us(random(100)));
                timer.channel().recv().unwrap();
                assert!(!timer.stop(), "its message was received");
            }
            1 => drop(ticker.channel().recv().unwrap()),
            2 => {
                prevented += u64::from(called.reset(us(random(100))));
                armed += 1;
            }
            _ => std::thread::sleep(us(random(100))),
        }
    }
    prevented += u64::from(called.stop());
    drop(called);
    let start = Instant::now();
    while calls.load(Ordering::Relaxed) + prevented < armed {
        assert!(start.elapsed() < Duration::from_secs(20), "a call does not come");
        std::thread::sleep(us(50));
    }
    assert_eq!(calls.load(Ordering::Relaxed) + prevented, armed, "calls");
}

/// Contexts that end while others wait in them.
pub(crate) fn contexts() {
    let (context, cancel) = Context::background().with_cancel();
    let (inner, _keep) = context.with_timeout(us(random(400)));
    let (sender, receiver) = chan::bounded::<u64>(random(2) as usize);
    let sends = {
        let sender = sender.clone();
        context.go(move || (1..).take_while(|n| sender.send(*n).is_ok()).sum::<u64>())
    };
    let waits = inner.go(|| {
        std::thread::sleep(Duration::from_secs(3600));
        assert!(chan::never::<()>().recv().is_err());
    });
    let got = {
        let inner = inner.clone();
        go(move || {
            let mut sum = 0;
            loop {
                select_biased! {
                    recv(receiver) -> n => match n {
                        Ok(n) => sum += n,
                        Err(_) => return sum,
                    },
                    recv(inner.done()) -> _ => return sum + receiver.iter().sum::<u64>(),
                }
            }
        })
    };
    std::thread::sleep(us(random(400)));
    cancel.cancel();
    waits.join().unwrap();
    assert!(inner.err().is_some() && context.err() == Some(ContextError::Canceled));
    let sent = sends.join().unwrap();
    sender.close();
    assert_eq!(sent, got.join().unwrap(), "messages");
    // What comes after a context is not ended by it.
    let start = Instant::now();
    std::thread::sleep(us(50));
    assert!(start.elapsed() >= us(50));
}

/// A group in which one may fail.
pub(crate) fn group() {
    let (group, context) = ErrGroup::with_context(&Context::background());
    group.set_limit((random(2) == 0).then_some(2));
    let fails = random(6);
    let flag = Arc::new(AtomicBool::new(false));
    for n in 0..4 {
        let (context, flag) = (context.clone(), Arc::clone(&flag));
        group.go(move || {
            if n == fails {
                flag.store(true, Ordering::Relaxed);
                return Err("expected");
            }
            select! {
                recv(context.done()) -> _ => {}
                recv(chan::after(us(random(100)))) -> _ => {}
            }
            Ok(())
        });
    }
    assert_eq!(group.wait().is_err(), flag.load(Ordering::Relaxed));
    assert!(context.err().is_some());
}
