//! What can be done at once is done although the context was cancelled; what was ended can be done again.

use crate::others::Sleeper;
use crate::{SOON, VERY_LONG, cancelled, expect_finished};
use goroutines::chan::{self, RecvError, Select, bounded, unbounded};
use goroutines::context::{self, Context};
use goroutines::thread::sleep;
use goroutines::{go, runtime, select};
use goroutines_tests::io::{self, PARKS, at_each, errno, ms, tcp_pair};
use std::fs::File;
use std::io::{Read, Write, pipe};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// In a context that was cancelled.
fn in_cancelled(body: impl Fn() + Sync) {
    at_each(|_| {
        cancelled().run(|| {
            assert!(context::current().err().is_some());
            body();
        });
    });
}

#[test]
fn messages_that_are_there() {
    in_cancelled(|| {
        for capacity in [1, 5] {
            let (send, receive) = bounded(capacity);
            for n in 0..capacity {
                send.send(n).unwrap();
            }
            assert!(send.send(9).is_err(), "there is no room");
            let mut all: Vec<_> = receive.iter().collect();
            assert_eq!(all, (0..capacity).collect::<Vec<_>>());
            assert!(receive.recv().is_err(), "there is none");
            send.send_timeout(1, VERY_LONG).unwrap();
            all = vec![receive.recv_timeout(VERY_LONG).unwrap()];
            assert_eq!(all, [1]);
        }
        let (send, receive) = unbounded();
        (0..3).for_each(|n| send.send(n).unwrap());
        assert_eq!(receive.iter().sum::<i32>(), 3);
        let past = Instant::now();
        assert_eq!(chan::at(past).recv(), Ok(past));
        let tick = chan::tick(Duration::from_nanos(1));
        while past.elapsed() < ms(1) {}
        assert!(tick.recv().unwrap() > past);
        // What is disconnected is so.
        drop(send);
        assert_eq!(receive.recv(), Err(RecvError));
        let (send, receive) = bounded(1);
        drop(receive);
        assert_eq!(send.send(7).unwrap_err().into_inner(), 7);
    });
}

/// From hand to hand, where the other is there.
#[test]
fn partners_that_wait() {
    in_cancelled(|| {
        let (send, receive) = bounded(0);
        let sends = go({
            let send = send.clone();
            move || (0..3).for_each(|n| send.send(n).unwrap())
        });
        for n in 0..3 {
            assert_eq!(at_last(|| receive.recv().ok()), n);
        }
        sends.join().unwrap();
        let receives = go({
            let receive = receive.clone();
            move || (0..3).map(|_| receive.recv().unwrap()).collect::<Vec<_>>()
        });
        for n in 0..3 {
            at_last(|| send.send(n).ok());
        }
        assert_eq!(receives.join().unwrap(), [0, 1, 2]);
    });
}

/// What `f` gives when it gives something: it fails as long as nobody waits.
fn at_last<T>(f: impl Fn() -> Option<T>) -> T {
    loop {
        match f() {
            Some(result) => return result,
            None => runtime::gosched(),
        }
    }
}

#[test]
fn selects_that_can_choose() {
    in_cancelled(|| {
        let (send, receive) = bounded(1);
        let (_full, none) = bounded::<u32>(0);
        for n in 0..50 {
            select! {
                send(send, n) -> sent => sent.unwrap(),
                recv(none) -> _ => panic!("nothing is there"),
            }
            let is_there = select! {
                recv(none) -> _ => panic!("nothing is there"),
                recv(receive) -> message => message == Ok(n),
                default(VERY_LONG) => false,
            };
            assert!(is_there);
            let mut select = Select::new();
            select.recv(&none);
            let sends = select.send(&send);
            assert_eq!(select.ready(), sends);
            select.select().send(&send, n).unwrap();
            let mut select = Select::new();
            select.recv(&none);
            let receives = select.recv(&receive);
            assert_eq!(select.ready(), receives);
            assert_eq!(select.select().recv(&receive), Ok(n));
            let by_default = select! {
                recv(receive) -> _ => false,
                default => true,
            };
            assert!(by_default, "`default` blocks at no time, so there is nothing to end");
        }
    });
}

#[test]
fn data_that_is_there() {
    if !PARKS {
        return;
    }
    in_cancelled(|| {
        let [mut one, mut other] = tcp_pair();
        one.write_all(b"hello").unwrap();
        let mut buf = [0; 5];
        io::poll(
            &mut [libc::pollfd { fd: other.as_raw_fd(), events: libc::POLLIN, revents: 0 }],
            -1,
        )
        .unwrap();
        other.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"hello");
        assert_eq!(errno(&other.read(&mut buf)), libc::ECANCELED);
        drop(one);
        assert_eq!(other.read(&mut buf).unwrap(), 0, "the end");
        let (mut reader, mut writer) = pipe().unwrap();
        writer.write_all(b"hello").unwrap();
        reader.read_exact(&mut buf).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(b"hello", socket.local_addr().unwrap()).unwrap();
        assert_eq!(socket.recv(&mut buf).unwrap(), 5);
        // Files don't wait.
        let mut text = String::new();
        File::open("/proc/self/stat").unwrap().read_to_string(&mut text).unwrap();
        assert!(!text.is_empty());
    });
}

#[test]
fn connections_and_children_that_are_there() {
    if !PARKS {
        return;
    }
    at_each(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _waits = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut child = Command::new("true").spawn().unwrap();
        // Ended, and not waited for.
        let path = format!("/proc/{}/stat", child.id());
        while !std::fs::read_to_string(&path).unwrap().contains(") Z ") {
            sleep(ms(1));
        }
        cancelled().run(|| {
            drop(listener.accept().unwrap());
            assert_eq!(errno(&listener.accept()), libc::ECANCELED);
            assert!(child.wait().unwrap().success());
        });
    });
}

/// What was ended can be done again, by whoever is not cancelled.
#[test]
fn what_was_ended_goes_on() {
    if !PARKS {
        return;
    }
    at_each(|_| {
        let [mut one, mut other] = tcp_pair();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sleeper = Sleeper::new();
        let (context, _cancel) = Context::background().with_timeout(ms(5));
        context.run(|| {
            assert_eq!(errno(&other.read(&mut [0; 9])), libc::ETIMEDOUT);
            assert_eq!(errno(&listener.accept()), libc::ETIMEDOUT);
            assert_eq!(errno(&sleeper.0.wait()), libc::ETIMEDOUT);
        });
        let sends = go(move || {
            sleep(ms(5));
            one.write_all(b"now").unwrap();
        });
        let mut text = String::new();
        other.read_to_string(&mut text).unwrap();
        assert_eq!(text, "now");
        sends.join().unwrap();
        let address = listener.local_addr().unwrap();
        let connects = go(move || {
            sleep(ms(5));
            TcpStream::connect(address).unwrap()
        });
        listener.accept().unwrap();
        connects.join().unwrap();
        let id = sleeper.id();
        go(move || {
            sleep(ms(5));
            // SAFETY: no memory is involved; a child that has not been waited for.
            unsafe { libc::kill(id, libc::SIGTERM) };
        });
        assert!(!sleeper.0.wait().unwrap().success());
    });
}

/// A write that is ended says how much it has written; what was written is received, and no more.
#[test]
fn a_write_in_pieces() {
    if !PARKS {
        return;
    }
    at_each(|_| {
        let [mut one, mut other] = tcp_pair();
        let (context, cancel) = Context::background().with_cancel();
        let writes = context.go(move || {
            let data: Vec<u8> = (0..50_000_000u32).map(|n| n as u8).collect();
            let n = one.write(&data).unwrap();
            assert!(n < data.len(), "all is written");
            assert_eq!(errno(&one.write(&data[n..])), libc::ECANCELED);
            n
        });
        sleep(ms(20));
        cancel.cancel();
        expect_finished(&writes, "a write");
        let mut all = Vec::new();
        other.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), writes.join().unwrap(), "what it says");
        assert!(all.iter().enumerate().all(|(i, b)| *b == i as u8));
    });
}

/// libc's `sleep`, the one sleep that can say so, says what is left of it: whole seconds, and one for the rest.
#[test]
fn what_is_left_of_a_sleep() {
    if !PARKS {
        return;
    }
    // SAFETY: no memory is involved.
    let sleep_for = |seconds| unsafe { libc::sleep(seconds) };
    at_each(|_| {
        let (context, cancel) = Context::background().with_cancel();
        let sleeper = context.go(move || sleep_for(60));
        sleep(ms(20));
        cancel.cancel();
        expect_finished(&sleeper, "a sleep");
        let left = sleeper.join().unwrap();
        assert!((50..=60).contains(&left), "{left} s are left");
    });
    at_each(|_| assert_eq!(sleep_for(0), 0));
}

/// Some accept at one listener, and some of them are ended, all the time: every connection is accepted.
#[test]
fn accepts_that_are_ended_lose_no_connection() {
    if PARKS {
        at_each(|_| {
            let listener = Arc::new(TcpListener::bind("127.0.0.1:0").unwrap());
            accept_all(&[(); 8].map(|()| Arc::clone(&listener)));
        });
    }
}

/// Where each has a clone of the listener, with a descriptor of its own, a connection wakes them all: one of
/// them takes it, and the others are ended all the same.
#[test]
fn accepts_at_clones_of_a_listener_are_ended() {
    if !PARKS {
        return;
    }
    at_each(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..200 {
            let (context, cancel) = Context::background().with_cancel();
            let (accepted, all) = unbounded();
            let accepters: Vec<_> = (0..8)
                .map(|_| {
                    let (listener, accepted) = (listener.try_clone().unwrap(), accepted.clone());
                    context.go(move || accepted.send(listener.accept().is_ok()))
                })
                .collect();
            runtime::gosched();
            let _stream = TcpStream::connect(address).unwrap();
            assert_eq!(all.recv_timeout(SOON), Ok(true));
            cancel.cancel();
            for accepter in accepters {
                expect_finished(&accepter, "one that accepts");
            }
            assert_eq!(all.try_iter().collect::<Vec<_>>(), [false; 7]);
        }
    });
}

fn accept_all(listeners: &[Arc<TcpListener>]) {
    const CONNECTIONS: usize = 200;
    let address = listeners[0].local_addr().unwrap();
    let (accepted, all) = unbounded();
    let (stop, cancel) = Context::background().with_cancel();
    let accepters: Vec<_> = (100..)
        .step_by(300)
        .zip(listeners)
        .map(|(micros, listener)| {
            let (listener, accepted) = (Arc::clone(listener), accepted.clone());
            let stop = stop.clone();
            go(move || {
                while stop.err().is_none() {
                    let (context, _cancel) = stop.with_timeout(Duration::from_micros(micros));
                    if let Ok((mut stream, _)) = context.run(|| listener.accept()) {
                        let mut text = String::new();
                        stream.read_to_string(&mut text).unwrap();
                        accepted.send(text.parse::<usize>().unwrap()).unwrap();
                    }
                }
            })
        })
        .collect();
    for n in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{n}").unwrap();
        if n % 7 == 0 {
            sleep(ms(1));
        }
    }
    let mut found: Vec<_> = (0..CONNECTIONS).map(|_| all.recv_timeout(SOON).unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, (0..CONNECTIONS).collect::<Vec<_>>());
    cancel.cancel();
    for accepter in accepters {
        expect_finished(&accepter, "one that accepts");
        accepter.join().unwrap();
    }
}
