//! Contexts under stress: many goroutines block in all kinds of ways in contexts that are cancelled at random
//! moments, which race with what they wait for; time slices of 100 µs.
//!
//! * No message is lost or doubled: each was received once, or its send failed and gave it back.
//! * What comes over a socket is what was sent, whole, however often its reads and writes were ended.
//! * Nothing hangs, and nobody is left.
//! * What a goroutine waits for after a `run` is not ended by what ended the `run`.
//!
//! `CONTEXT_STRESS_SECONDS` says how long each part takes at each number of processors, `CONTEXT_STRESS_SEED`
//! what the random numbers come from, `CONTEXT_STRESS_PROCS` the numbers of processors ("1,2,8").

#![expect(clippy::unwrap_used, reason = "a stress test: what fails must end it")]

use goroutines::chan::{Receiver, Select, Sender, bounded, unbounded};
use goroutines::context::{self, Cancel, Context};
use goroutines::{WaitGroup, go, runtime, select, thread};
use goroutines_tests::io::{PARKS, full_listener, ms, set_option, tcp_pair};
use goroutines_tests::proc::{at_procs, wait_until};
use goroutines_tests::{TIME_SLICE, join_all};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

const SOON: Duration = ms(30_000);
const VERY_LONG: Duration = Duration::from_secs(3_600);

fn us(n: u64) -> Duration {
    Duration::from_micros(n)
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

/// Runs `body` with a seed, at each number of processors, until its time is over; then nobody may be left.
fn stress(name: &str, body: impl Fn(u64) + Sync) {
    static START: Once = Once::new();
    START.call_once(|| runtime::Builder::new().time_slice(TIME_SLICE).start().unwrap());
    let seconds = setting("CONTEXT_STRESS_SECONDS").map_or(0.5, |text| text.parse().unwrap());
    let procs = setting("CONTEXT_STRESS_PROCS").unwrap_or("1,2,4,8".to_owned());
    for procs in procs.split(',').map(|text| text.parse().unwrap()) {
        let mut seed =
            setting("CONTEXT_STRESS_SEED").map_or_else(rand::random, |text| text.parse().unwrap());
        let (start, mut rounds) = (Instant::now(), 0);
        while rounds == 0 || start.elapsed().as_secs_f64() < seconds {
            println!("{name}: GOMAXPROCS={procs}, seed {seed}");
            at_procs(procs, || {
                body(seed);
                wait_until(SOON, "nobody is left", || runtime::num_goroutine() <= 1);
            });
            rounds += 1;
            seed = seed.wrapping_add(1);
        }
        println!("{name}: {rounds} rounds at GOMAXPROCS={procs}");
    }
}

fn rng(seed: u64, of: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(of))
}

/// A context that ends at some random moment, most often soon: by its deadline, by another goroutine, by its
/// parent. It ends at the latest when `ends` is dropped.
struct Ending {
    context: Context,
    cancel: Cancel,
    /// Who cancels it, if it is another.
    other: Option<thread::JoinHandle<()>>,
}

impl Ending {
    fn new(rng: &mut StdRng) -> Self {
        let background = Context::background();
        let time = us(rng.random_range(0..400));
        match rng.random_range(0..5) {
            0 => {
                let (context, cancel) = background.with_timeout(time);
                Self { context, cancel, other: None }
            }
            1 => {
                let (parent, cancel) = background.with_timeout(time);
                Self { context: parent.with_value(time).with_cancel().0, cancel, other: None }
            }
            2 => {
                let (context, cancel) = background.with_cancel();
                let cancels = cancel.clone();
                let other = go(move || cancels.cancel());
                Self { context, cancel, other: Some(other) }
            }
            3 => {
                let (parent, cancel) = background.with_cancel();
                let context = parent.with_timeout(VERY_LONG).0;
                let cancels = cancel.clone();
                let turns = rng.random_range(0..20);
                let other = go(move || {
                    (0..turns).for_each(|_| runtime::gosched());
                    cancels.cancel();
                });
                Self { context, cancel, other: Some(other) }
            }
            _ => {
                let (context, cancel) = background.with_cancel();
                let cancels = cancel.clone();
                let other = go(move || {
                    thread::sleep(time);
                    cancels.cancel();
                });
                Self { context, cancel, other: Some(other) }
            }
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.cancel.cancel();
        if let Some(other) = self.other.take() {
            other.join().unwrap();
        }
    }
}

/// Calls `f` in a context that ends at a random moment, at times within others, or with a stretch of others
/// within it.
fn ending<R>(rng: &mut StdRng, f: impl FnOnce() -> R) -> R {
    let one = Ending::new(rng);
    match rng.random_range(0..6) {
        0 => {
            let inner = Ending::new(rng);
            one.context.run(|| inner.context.run(f))
        }
        1 => one.context.run(|| {
            let inner = context::current().with_timeout(us(rng.random_range(0..400))).0;
            inner.run(f)
        }),
        2 => one.context.run(|| {
            // What is cancelled around it does not end it.
            context::current().without_cancel().run(|| lasts(rng));
            f()
        }),
        _ => one.context.run(f),
    }
}

/// A wait that is ended by nobody.
#[track_caller]
fn lasts(rng: &mut StdRng) {
    let (start, time) = (Instant::now(), us(rng.random_range(1..80)));
    match rng.random_range(0..4) {
        0 => thread::sleep(time),
        1 if PARKS => std::thread::sleep(time),
        2 => {
            let (_send, receive) = bounded::<()>(0);
            assert!(receive.recv_timeout(time).unwrap_err().is_timeout(), "it was ended");
        }
        _ => {
            let (_send, receive) = bounded::<()>(0);
            select! {
                recv(receive) -> _ => panic!("it was ended"),
                default(time) => {}
            }
        }
    }
    assert!(start.elapsed() >= time, "it was ended");
}

/// A message: of a sender, and its number there. It knows whether it was dropped.
struct Message {
    id: u64,
    dropped: Arc<AtomicU64>,
}

impl Drop for Message {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// How a send in a context ended: none if the message was sent.
fn send_somehow(rng: &mut StdRng, to: &[Sender<Message>], message: Message) -> Option<Message> {
    let mut message = Some(message);
    let at = &to[rng.random_range(0..to.len())];
    let kind = rng.random_range(0..6);
    let time = us(rng.random_range(0..200));
    ending(rng, || match kind {
        0 => at.send(message.take()?).err().map(|e| e.into_inner()),
        1 => at.send_timeout(message.take()?, time).err().map(|e| e.into_inner()),
        2 => {
            let never = goroutines::chan::never::<()>();
            select! {
                send(at, message.take()?) -> sent => sent.err().map(|e| e.into_inner()),
                recv(never) -> _ => message.take(),
            }
        }
        3 => select! {
            send(to[0], message.take()?) -> sent => sent.err().map(|e| e.into_inner()),
            send(to[to.len() - 1], message.take()?) -> sent => sent.err().map(|e| e.into_inner()),
            default(time) => message.take(),
        },
        4 => {
            let mut select = Select::new();
            to.iter().for_each(|one| {
                select.send(one);
            });
            let chosen = select.select();
            let at = &to[chosen.index()];
            chosen.send(at, message.take()?).err().map(|e| e.into_inner())
        }
        _ => at.try_send(message.take()?).err().map(|e| e.into_inner()),
    })
}

/// What a receipt in a context came to.
fn receive_somehow(rng: &mut StdRng, from: &[Receiver<Message>]) -> Option<Message> {
    let at = &from[rng.random_range(0..from.len())];
    let kind = rng.random_range(0..7);
    let time = us(rng.random_range(0..200));
    ending(rng, || match kind {
        0 => at.recv().ok(),
        1 => at.recv_timeout(time).ok(),
        2 => at.iter().next(),
        3 => select! {
            recv(from[0]) -> message => message.ok(),
            recv(from[from.len() - 1]) -> message => message.ok(),
        },
        4 => select! {
            recv(from[0]) -> message => message.ok(),
            recv(at) -> message => message.ok(),
            recv(goroutines::chan::after(time)) -> _ => None,
        },
        5 => {
            let mut select = Select::new();
            from.iter().for_each(|one| {
                select.recv(one);
            });
            let chosen = select.select();
            let at = &from[chosen.index()];
            chosen.recv(at).ok()
        }
        _ => {
            let mut select = Select::new();
            let index = from.iter().map(|one| select.recv(one)).last();
            // Looking is not ended by a context.
            assert!(select.ready_timeout(time).ok()? <= index?);
            at.try_recv().ok()
        }
    })
}

/// Senders and receivers on some channels of several capacities.
fn messages(seed: u64) {
    const SENDERS: u64 = 12;
    const EACH: u64 = 40;
    let mut random = rng(seed, 0);
    let capacities = [0, 1, [0, 2, 7][random.random_range(0..3)]];
    let (to, from): (Vec<_>, Vec<_>) = capacities.map(bounded).into_iter().unzip();
    let dropped = Arc::new(AtomicU64::new(0));
    let (sent, received) = (WaitGroup::new(), WaitGroup::new());
    let all_are_sent = Arc::new(AtomicBool::new(false));
    let found = Arc::new(Mutex::new(Vec::new()));
    let given_back = Arc::new(AtomicU64::new(0));
    for sender in 0..SENDERS {
        let (to, dropped, mut rng) = (to.clone(), Arc::clone(&dropped), rng(seed, 100 + sender));
        let given_back = Arc::clone(&given_back);
        sent.go(move || {
            for n in 0..EACH {
                let id = sender * EACH + n;
                let mut message = Message { id, dropped: Arc::clone(&dropped) };
                // Until it is sent.
                while let Some(back) = send_somehow(&mut rng, &to, message) {
                    assert_eq!(back.id, id, "another was given back");
                    given_back.fetch_add(1, Ordering::Relaxed);
                    message = back;
                    if rng.random_range(0..4) == 0 {
                        lasts(&mut rng);
                    }
                }
            }
        });
    }
    for receiver in 0..10 {
        let (from, mut rng) = (from.clone(), rng(seed, 200 + receiver));
        let (all_are_sent, found) = (Arc::clone(&all_are_sent), Arc::clone(&found));
        received.go(move || {
            loop {
                let over = all_are_sent.load(Ordering::Acquire);
                match receive_somehow(&mut rng, &from) {
                    Some(message) => found.lock().unwrap().push(message.id),
                    None if over && from.iter().all(Receiver::is_empty) => break,
                    None if rng.random_range(0..4) == 0 => lasts(&mut rng),
                    None => {}
                }
            }
        });
    }
    sent.wait();
    all_are_sent.store(true, Ordering::Release);
    received.wait();
    let found = std::mem::take(&mut *found.lock().unwrap());
    let all: BTreeSet<_> = found.iter().copied().collect();
    assert_eq!(all.len(), found.len(), "received twice, seed {seed}");
    assert_eq!(all, (0..SENDERS * EACH).collect(), "lost, seed {seed}");
    assert_eq!(dropped.load(Ordering::Relaxed), SENDERS * EACH, "dropped, seed {seed}");
    let given_back = given_back.load(Ordering::Relaxed);
    println!("  {} messages, {given_back} times given back", found.len());
}

#[test]
fn messages_are_neither_lost_nor_doubled() {
    stress("messages", messages);
}

/// An echo of what comes, over a stream whose reads and writes are ended all the time, until its end.
fn echo<S>(mut stream: S, rng: &mut StdRng)
where
    S: Read + Write,
{
    let mut buf = vec![0; rng.random_range(500..3_000)];
    loop {
        let n = match ending(rng, || stream.read(&mut buf)) {
            Ok(0) => return,
            Ok(n) => n,
            Err(e) => {
                expect_ended(&e);
                continue;
            }
        };
        write_all(&mut stream, &buf[..n], rng);
    }
}

/// All of it, in as many calls as it takes.
fn write_all(stream: &mut impl Write, mut data: &[u8], rng: &mut StdRng) {
    while !data.is_empty() {
        match ending(rng, || stream.write(data)) {
            Ok(n) => data = &data[n..],
            Err(e) => expect_ended(&e),
        }
    }
}

#[track_caller]
fn expect_ended(e: &std::io::Error) {
    let is_ended = matches!(e.raw_os_error(), Some(libc::ECANCELED | libc::ETIMEDOUT));
    assert!(is_ended, "{e:?}");
}

/// Sends and receives over `stream`, whose other end is echoed; both halves at once.
fn check_echo<S>(stream: S, seed: u64, of: u64, end: fn(&S))
where
    S: Send + Sync + 'static,
    for<'s> &'s S: Read + Write,
{
    let mut random = rng(seed, of);
    let data: Vec<u8> = (0..random.random_range(1..100_000)).map(|_| random.random()).collect();
    let (stream, expected) = (Arc::new(stream), data.clone());
    let writes = {
        let stream = Arc::clone(&stream);
        go(move || {
            let mut rng = rng(seed, of + 1);
            write_all(&mut &*stream, &data, &mut rng);
            end(&stream);
        })
    };
    let mut all = Vec::new();
    let mut buf = vec![0; 5_000];
    loop {
        match ending(&mut random, || (&*stream).read(&mut buf)) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&buf[..n]),
            Err(e) => expect_ended(&e),
        }
        if random.random_range(0..10) == 0 {
            lasts(&mut random);
        }
    }
    writes.join().unwrap();
    assert!(all == expected, "{} of {} bytes, seed {seed}", all.len(), expected.len());
}

fn echoes(seed: u64) {
    let all = (0..8u64).map(|i| {
        go(move || {
            let of = 1_000 + 10 * i;
            let mut random = rng(seed, of + 5);
            if i % 2 == 0 {
                let [one, other] = tcp_pair();
                // Who writes has to wait. (A small SO_RCVBUF has the kernel drop and repeat, for minutes.)
                for stream in [&one, &other] {
                    set_option(stream, libc::SOL_SOCKET, libc::SO_SNDBUF, 4_096);
                }
                let echoes = go(move || echo(other, &mut random));
                check_echo(one, seed, of, |stream| stream.shutdown(Shutdown::Write).unwrap());
                echoes.join().unwrap();
            } else {
                let (one, other) = UnixStream::pair().unwrap();
                for stream in [&one, &other] {
                    set_option(stream, libc::SOL_SOCKET, libc::SO_SNDBUF, 4_096);
                }
                let echoes = go(move || echo(other, &mut random));
                check_echo(one, seed, of, |stream| stream.shutdown(Shutdown::Write).unwrap());
                echoes.join().unwrap();
            }
        })
    });
    join_all(all.collect::<Vec<_>>());
}

#[test]
fn echoes_are_whole() {
    if PARKS {
        stress("echoes", echoes);
    }
}

/// Connections are made and accepted, both ended all the time: each that was made whole is served.
fn connections(seed: u64) {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
    let address = listener.local_addr().unwrap();
    // Here they wait until they are ended.
    let full = full_listener();
    let addresses = [address, address, full.0.local_addr().unwrap()];
    let over = Arc::new(AtomicBool::new(false));
    let served = Arc::new(AtomicUsize::new(0));
    let servers: Vec<_> = (0..4)
        .map(|i| {
            let (listener, over) = (Arc::clone(&listener), Arc::clone(&over));
            let served = Arc::clone(&served);
            let mut rng = rng(seed, 2_000 + i);
            go(move || {
                while !over.load(Ordering::Acquire) {
                    match ending(&mut rng, || listener.accept()) {
                        // Its client may have been ended before it said anything.
                        Ok((mut stream, _)) => {
                            let mut text = String::new();
                            stream.read_to_string(&mut text).unwrap();
                            if text == "hello" {
                                stream.write_all(b"served").unwrap();
                                served.fetch_add(1, Ordering::Relaxed);
                            } else {
                                assert_eq!(text, "");
                            }
                        }
                        Err(e) => expect_ended(&e),
                    }
                }
            })
        })
        .collect();
    let clients = (0..8).map(|i| {
        let mut rng = rng(seed, 2_100 + i);
        go(move || {
            let mut made = 0;
            for _ in 0..10 {
                let with_timeout = rng.random_range(0..2) == 0;
                let to = addresses[rng.random_range(0..3)];
                let connected = ending(&mut rng, || match with_timeout {
                    false => TcpStream::connect(to),
                    true => TcpStream::connect_timeout(&to, SOON),
                });
                match connected {
                    Ok(mut stream) => {
                        assert_eq!(to, address, "nobody is let in at the other");
                        made += 1;
                        stream.write_all(b"hello").unwrap();
                        stream.shutdown(Shutdown::Write).unwrap();
                        let mut text = String::new();
                        stream.set_read_timeout(Some(SOON)).unwrap();
                        stream.read_to_string(&mut text).unwrap();
                        assert_eq!(text, "served");
                    }
                    Err(e) => expect_ended(&e),
                }
            }
            made
        })
    });
    let made: usize = join_all(clients.collect::<Vec<_>>()).into_iter().sum();
    over.store(true, Ordering::Release);
    join_all(servers);
    assert_eq!(served.load(Ordering::Relaxed), made);
    println!("  {made} of 80 connections were made");
}

#[test]
fn connections_are_served() {
    if PARKS {
        stress("connections", connections);
    }
}

/// One goroutine after another kind of wait, each ended at a random moment, and waits that are not: with locks,
/// condition variables and std's channels among them, which are never ended, whatever the context.
fn mixture(seed: u64) {
    let lock = Arc::new(Mutex::new(0u64));
    let taken = Arc::new(AtomicU64::new(0));
    let [socket, _other] = tcp_pair();
    let socket = Arc::new(socket);
    let all = (0..24u64).map(|i| {
        let (lock, taken, socket) = (Arc::clone(&lock), Arc::clone(&taken), Arc::clone(&socket));
        let mut rng = rng(seed, 3_000 + i);
        go(move || {
            for _ in 0..30 {
                let kind = rng.random_range(0..7);
                ending(&mut rng, || match kind {
                    0 => thread::sleep(VERY_LONG),
                    1 if PARKS => std::thread::sleep(VERY_LONG),
                    2 if PARKS => expect_ended(&(&*socket).read(&mut [0]).unwrap_err()),
                    3 => {
                        let (_send, receive) = bounded::<u32>(0);
                        assert!(receive.recv().is_err());
                    }
                    4 => {
                        *lock.lock().unwrap() += 1;
                        taken.fetch_add(1, Ordering::Relaxed);
                    }
                    5 => {
                        // Of a goroutine that is in no context.
                        let answers = go(|| {
                            runtime::gosched();
                            7
                        });
                        assert_eq!(answers.join().unwrap(), 7);
                    }
                    _ => {
                        let (send, receive) = std::sync::mpsc::channel();
                        go(move || send.send(7).unwrap());
                        assert_eq!(receive.recv(), Ok(7));
                    }
                });
                lasts(&mut rng);
            }
        })
    });
    join_all(all.collect::<Vec<_>>());
    assert_eq!(*lock.lock().unwrap(), taken.load(Ordering::Relaxed));
}

#[test]
fn all_kinds_of_waits() {
    stress("mixture", mixture);
}

/// A tree of contexts; goroutines run in its nodes while it is cancelled here and there, grown, and dropped.
/// Each ends when its node or one above is cancelled, and each function is called or stopped.
fn trees(seed: u64) {
    let mut random = rng(seed, 4_000);
    let mut nodes = vec![Context::background().with_cancel()];
    let (called, calls) = unbounded();
    let mut functions = Vec::new();
    let runs: Vec<_> = (0..120u64)
        .map(|i| {
            let parent = nodes[random.random_range(0..nodes.len())].0.clone();
            let node = match random.random_range(0..3) {
                0 => parent.with_timeout(us(random.random_range(0..5_000))),
                1 => parent.with_value(i).with_cancel(),
                _ => parent.with_cancel(),
            };
            nodes.push(node.clone());
            if random.random_range(0..2) == 0 {
                let called = called.clone();
                functions.push(node.0.after_func(move || called.send(i).unwrap()));
            }
            if random.random_range(0..8) == 0 {
                nodes[random.random_range(1..nodes.len())].1.cancel();
            }
            if random.random_range(0..8) == 0 {
                // What is dropped is cancelled with those above it.
                nodes.swap_remove(random.random_range(1..nodes.len()));
            }
            let mut rng = rng(seed, 4_100 + i);
            go(move || {
                let (context, _cancel) = node;
                context.run(|| match rng.random_range(0..3) {
                    0 => thread::sleep(VERY_LONG),
                    1 => {
                        let (_send, receive) = bounded::<()>(0);
                        receive.recv().unwrap_err();
                    }
                    _ => {
                        context.done().recv().unwrap_err();
                    }
                });
                assert!(context.err().is_some());
                lasts(&mut rng);
            })
        })
        .collect();
    let stops = functions.iter().filter(|_| random.random_range(0..3) == 0);
    let stopped = stops.filter(|one| one.stop()).count();
    nodes[0].1.cancel();
    join_all(runs);
    drop(called);
    // Those that were stopped have dropped their senders.
    let calls: Vec<_> = calls.iter().collect();
    assert_eq!(calls.len() + stopped, functions.len(), "called or stopped, seed {seed}");
    assert_eq!(calls.iter().collect::<BTreeSet<_>>().len(), calls.len(), "called twice");
}

#[test]
fn trees_are_cancelled_here_and_there() {
    stress("trees", trees);
}
