//! The steps that wait for descriptors, timers and futexes, through std as it is.

use goroutines::{go, thread};
use rand::RngExt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

fn us(n: u64) -> Duration {
    Duration::from_micros(n)
}

/// The `i`th byte of what `who` sends.
fn byte(who: usize, i: usize) -> u8 {
    (who.wrapping_mul(31) ^ i.wrapping_mul(7)) as u8
}

fn bytes(who: usize, n: usize) -> Vec<u8> {
    (0..n).map(|i| byte(who, i)).collect()
}

fn check(who: usize, from: usize, got: &[u8]) {
    for (i, b) in got.iter().enumerate() {
        assert_eq!(*b, byte(who, from + i), "byte {} is another's", from + i);
    }
}

/// A server that sends back what it gets, a goroutine a connection; as long as the process lives.
fn echo_server() -> SocketAddr {
    static ADDRESS: OnceLock<SocketAddr> = OnceLock::new();
    *ADDRESS.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // An ordinary thread: it is not waited for at the end.
        std::thread::spawn(move || accept(&listener));
        address
    })
}

fn accept(listener: &TcpListener) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        go(move || {
            let mut buf = [0; 2000];
            while let Ok(n @ 1..) = stream.read(&mut buf) {
                if stream.write_all(&buf[..n]).is_err() {
                    break;
                }
            }
        });
    }
}

/// Some rounds with the server, on a connection of its own.
pub(crate) fn tcp(me: usize) {
    let mut rng = rand::rng();
    let mut stream = TcpStream::connect(echo_server()).unwrap();
    for round in 0..rng.random_range(1..6) {
        let sent = bytes(me + round, rng.random_range(1..5000));
        let mut writer = stream.try_clone().unwrap();
        let copy = sent.clone();
        let writing = go(move || writer.write_all(&copy).unwrap());
        let mut got = vec![0; sent.len()];
        stream.read_exact(&mut got).unwrap();
        check(me + round, 0, &got);
        writing.join().unwrap();
    }
    if rng.random() {
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0, "nothing is left");
    }
}

/// More than the buffers hold, both ways at once.
pub(crate) fn bulk(me: usize) {
    let n = rand::rng().random_range(1..600_000);
    let (mut left, mut right) = UnixStream::pair().unwrap();
    let sending = go(move || {
        left.write_all(&bytes(me, n)).unwrap();
        left.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        left.read_to_end(&mut back).unwrap();
        back
    });
    let mut got = Vec::new();
    right.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), n, "what was sent");
    check(me, 0, &got);
    right.write_all(b"done").unwrap();
    drop(right);
    assert_eq!(sending.join().unwrap(), b"done");
}

/// Several writers of one pipe, whose lines stay whole.
pub(crate) fn pipe(me: usize) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let writers: Vec<_> = (0..3)
        .map(|i| {
            let mut writer = writer.try_clone().unwrap();
            go(move || {
                for j in 0..50 {
                    writer.write_all(&[(me + i) as u8, j, (me + i) as u8 ^ j, b'\n']).unwrap();
                    if j % 16 == 0 {
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    drop(writer);
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), 3 * 50 * 4, "all lines");
    assert!(got.chunks(4).all(|l| l[0] ^ l[1] == l[2] && l[3] == b'\n'), "a torn line");
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

/// A read that ends by its time-out, and one that does not.
pub(crate) fn read_timeout(me: usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let wait = us(rand::rng().random_range(1..3000));
    socket.set_read_timeout(Some(wait)).unwrap();
    let start = Instant::now();
    let error = socket.recv(&mut [0; 10]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    assert!(start.elapsed() >= wait, "too early: {:?} of {wait:?}", start.elapsed());
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let sender = go(move || {
        thread::sleep(us(100));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&[me as u8], address).unwrap();
    });
    let mut got = [0; 10];
    assert_eq!(socket.recv(&mut got).unwrap(), 1);
    assert_eq!(got[0], me as u8);
    sender.join().unwrap();
}

/// `poll` on some pipes of which one becomes ready.
pub(crate) fn poll() {
    let mut rng = rand::rng();
    let pipes: Vec<_> = (0..rng.random_range(1..20)).map(|_| std::io::pipe().unwrap()).collect();
    let chosen = rng.random_range(0..pipes.len());
    let mut writer = pipes[chosen].1.try_clone().unwrap();
    let writing = go(move || {
        thread::sleep(us(50));
        writer.write_all(b"x").unwrap();
    });
    let mut fds: Vec<_> = pipes
        .iter()
        .map(|(reader, _)| libc::pollfd {
            fd: reader.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    // SAFETY: as many entries as said.
    let n = unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, 60_000) };
    assert_eq!(n, 1, "one is ready");
    assert_eq!(fds.iter().position(|fd| fd.revents != 0), Some(chosen));
    writing.join().unwrap();
}

pub(crate) fn sleep() {
    let time = us(rand::rng().random_range(0..2000));
    let start = Instant::now();
    std::thread::sleep(time);
    assert!(start.elapsed() >= time, "too early: {:?} of {time:?}", start.elapsed());
}

/// A notification against a time-out, at about the same moment.
pub(crate) fn condvar() {
    let pair = Arc::new((Mutex::new(0u32), Condvar::new()));
    let other = Arc::clone(&pair);
    let time = us(rand::rng().random_range(0..300));
    let notifies = go(move || {
        std::thread::sleep(time);
        *other.0.lock().unwrap() += 1;
        other.1.notify_one();
    });
    let mut guard = pair.0.lock().unwrap();
    let mut rounds = 0;
    while *guard == 0 {
        (guard, _) = pair.1.wait_timeout(guard, us(150)).unwrap();
        rounds += 1;
        assert!(rounds < 100_000, "never notified");
    }
    drop(guard);
    notifies.join().unwrap();
}

/// A rendezvous channel: each value arrives once, in order, with time-outs in between.
pub(crate) fn rendezvous() {
    let (send, receive) = mpsc::sync_channel(0);
    let sender = go(move || {
        for i in 0..30u32 {
            if i % 10 == 0 {
                std::thread::sleep(us(120));
            }
            send.send(i).unwrap();
        }
    });
    let mut next = 0;
    loop {
        match receive.recv_timeout(us(100)) {
            Ok(i) => {
                assert_eq!(i, next, "out of order");
                next += 1;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    assert_eq!(next, 30);
    sender.join().unwrap();
}

/// Goroutines and ordinary threads meet at a barrier, and at a mutex.
pub(crate) fn with_threads() {
    let meet = Arc::new((Barrier::new(4), Mutex::new(0)));
    let work = |meet: &(Barrier, Mutex<u32>)| {
        meet.0.wait();
        for _ in 0..20 {
            *meet.1.lock().unwrap() += 1;
        }
        meet.0.wait();
    };
    let threads: Vec<_> = (0..2)
        .map(|_| Arc::clone(&meet))
        .map(|meet| std::thread::spawn(move || work(&meet)))
        .collect();
    let other = Arc::clone(&meet);
    let goroutine = go(move || work(&other));
    work(&meet);
    assert_eq!(*meet.1.lock().unwrap(), 80);
    goroutine.join().unwrap();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// A child process, waited for.
pub(crate) fn process(n: u32) {
    if n != 0 {
        return;
    }
    let mut child =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let writing = go(move || input.write_all(&[7; 100_000]).unwrap());
    let mut back = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut back).unwrap();
    assert!(back.len() == 100_000 && back.iter().all(|b| *b == 7), "what went in");
    writing.join().unwrap();
    assert!(child.wait().unwrap().success());
}
