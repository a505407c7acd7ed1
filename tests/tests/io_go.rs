//! Pipes and connections that are waited for, closed and timed out, as std uses them.
//!
//! Cases that name one are after Go's tests os/{os,pipe}_test.go and net/timeout_test.go of Go 1.27 (The Go
//! Authors, BSD-3-Clause). Go's deadlines are points of time that another goroutine may move; std's
//! time-outs are of a call, so what moves them here counts for the next call.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::{WaitGroup, go};
use goroutines_tests::io::{self, PARKS, at_each, check, errno, ms, tcp_pair, within};
use goroutines_tests::join_all;
use goroutines_tests::proc::os_threads;
use std::io::{ErrorKind, Read, Write, pipe};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SOON: Duration = ms(5_000);

/// Go: `TestPipeThreads`. A hundred goroutines that read from a hundred pipes need no hundred threads.
#[test]
fn readers_of_pipes_need_no_threads() {
    at_each(|_| {
        let before = os_threads();
        let (readers, mut writers): (Vec<_>, Vec<_>) = (0..100).map(|_| pipe().unwrap()).unzip();
        let reading = WaitGroup::new();
        reading.add(100);
        let all: Vec<_> = readers
            .into_iter()
            .map(|mut reader| {
                let reading = reading.clone();
                go(move || {
                    reading.done();
                    let mut text = String::new();
                    reader.read_to_string(&mut text).unwrap();
                    text
                })
            })
            .collect();
        reading.wait();
        sleep(ms(30));
        let threads = os_threads();
        if PARKS {
            assert!(threads < before + 10, "{threads} threads, {before} before");
        }
        for (i, writer) in writers.iter_mut().enumerate() {
            write!(writer, "to {i}").unwrap();
        }
        drop(writers);
        for (i, text) in join_all(all).into_iter().enumerate() {
            assert_eq!(text, format!("to {i}"));
        }
    });
}

/// The same with connections, listeners, datagrams, sleepers, and locks.
#[test]
fn waiting_in_any_way_needs_no_threads() {
    if !PARKS {
        return;
    }
    at_each(|_| {
        let before = os_threads();
        let mut all = Vec::new();
        let mut ends: Vec<Box<dyn FnOnce()>> = Vec::new();
        for _ in 0..20 {
            let [mut client, server] = tcp_pair();
            all.push(go(move || assert_eq!(client.read(&mut [0; 9]).unwrap(), 0)));
            ends.push(Box::new(|| drop(server)));
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            all.push(go(move || drop(listener.accept().unwrap())));
            ends.push(Box::new(move || drop(TcpStream::connect(address).unwrap())));
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let address = socket.local_addr().unwrap();
            all.push(go(move || assert_eq!(socket.recv(&mut [0; 9]).unwrap(), 3)));
            ends.push(Box::new(move || {
                UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"abc", address).unwrap();
            }));
            let (one, other) = UnixDatagram::pair().unwrap();
            all.push(go(move || assert_eq!(one.recv(&mut [0; 9]).unwrap(), 2)));
            ends.push(Box::new(move || assert_eq!(other.send(b"ab").unwrap(), 2)));
            all.push(go(|| sleep(ms(100))));
        }
        sleep(ms(50));
        let threads = os_threads();
        assert!(threads < before + 10, "{threads} threads for 100 that wait, {before} before");
        ends.into_iter().for_each(|end| end());
        join_all(all);
    });
}

/// A call that blocks on a descriptor, and what it returns: the kernel's number, or `errno`.
type Blocked = (&'static str, OwnedFd, Box<dyn FnOnce(i32) -> std::io::Result<usize> + Send>);

fn receive(fd: i32) -> std::io::Result<usize> {
    io::read(fd, &mut [0; 8])
}

fn accept(fd: i32) -> std::io::Result<usize> {
    let none = std::ptr::null_mut();
    // SAFETY: no address is wanted.
    check(unsafe { libc::accept(fd, none, none.cast()) })
}

/// More than a full connection ever takes: where its window is not quite closed, the kernel sends some of what waits at
/// the next probe, after a fifth of a second.
const MORE: usize = 4 << 20;

/// Writes more than a full connection takes. What it took before it was ended does not count as an end.
fn write_more(fd: i32) -> std::io::Result<usize> {
    match io::write(fd, &vec![0; MORE]) {
        Ok(n) if n < MORE => io::write(fd, &[1]),
        result => result,
    }
}

/// Each kind of call that waits for a descriptor, with what must stay open beside it.
fn blocked_calls(keep: &mut Vec<OwnedFd>) -> Vec<Blocked> {
    let mut all: Vec<Blocked> = Vec::new();
    let (reader, writer) = pipe().unwrap();
    keep.push(writer.into());
    all.push(("read of a pipe", reader.into(), Box::new(receive)));
    let (reader, writer) = pipe().unwrap();
    keep.push(reader.into());
    io::fill(&writer);
    all.push(("write to a pipe", writer.into(), Box::new(|fd| io::write(fd, &[1; 100]))));
    let [one, other] = tcp_pair();
    keep.push(other.into());
    all.push(("read of a connection", one.into(), Box::new(receive)));
    let [one, other] = tcp_pair();
    keep.push(other.into());
    io::fill(&one);
    all.push(("write to a connection", one.into(), Box::new(write_more)));
    let (one, other) = UnixStream::pair().unwrap();
    keep.push(other.into());
    all.push(("read of a local connection", one.into(), Box::new(receive)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    all.push(("accept", listener.into(), Box::new(accept)));
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    all.push(("read of a datagram", socket.into(), Box::new(receive)));
    // SAFETY: no memory is involved; a new descriptor.
    let event = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, 0)) };
    all.push(("read of an eventfd", event, Box::new(receive)));
    // SAFETY: as above.
    let timer = unsafe { OwnedFd::from_raw_fd(libc::timerfd_create(libc::CLOCK_MONOTONIC, 0)) };
    all.push(("read of a timerfd", timer, Box::new(receive)));
    // SAFETY: as above.
    let epoll = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(0)) };
    all.push((
        "epoll_wait",
        epoll,
        Box::new(|fd| {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            // SAFETY: one event to write.
            check(unsafe { libc::epoll_wait(fd, &raw mut event, 1, -1) })
        }),
    ));
    all
}

/// Ways to close a number under somebody.
/// A way to close a descriptor, and its name.
type Close = (&'static str, fn(i32));

const CLOSES: [Close; 3] = [
    ("close", |fd| assert_eq!(errno(&io::close(fd)), 0)),
    ("close by a thread", |fd| {
        let thread = std::thread::spawn(move || io::close(fd));
        assert_eq!(errno(&thread.join().unwrap()), 0);
    }),
    ("close_range", |fd| {
        let fd = fd.cast_unsigned();
        // SAFETY: one number, which is ours.
        assert_eq!(unsafe { libc::close_range(fd, fd, 0) }, 0);
    }),
];

/// Go: `TestClosedPipeRaceRead`, `TestClosedPipeRaceWrite`, and net's of the kind. Whose descriptor is closed
/// while it waits is told so: `EBADF`.
#[test]
fn closing_ends_whoever_waits() {
    if !PARKS {
        return; // a thread would wait on
    }
    at_each(|procs| {
        for (way, close) in CLOSES {
            let mut keep = Vec::new();
            let all: Vec<_> = blocked_calls(&mut keep)
                .into_iter()
                .map(|(name, fd, call)| {
                    let fd = fd.into_raw_fd();
                    (name, fd, go(move || call(fd)))
                })
                .collect();
            sleep(ms(10));
            for (name, fd, handle) in all {
                assert!(!handle.is_finished(), "{name} did not wait");
                close(fd);
                let result = within(ms(1_000), || handle.join().unwrap());
                let is_told = errno(&result) == libc::EBADF;
                assert!(is_told, "{name}, {way}, at {procs}: {result:?}");
            }
        }
    });
}

/// The same at any moment: before the call, while it is tried, when it waits.
#[test]
fn closing_races_with_reading() {
    if !PARKS {
        return;
    }
    at_each(|_| {
        for round in 0..300u64 {
            let (reader, _writer) = pipe().unwrap();
            let [connection, _other] = tcp_pair();
            let fds = [reader.into_raw_fd(), connection.into_raw_fd()];
            let all = fds.map(|fd| go(move || receive(fd)));
            sleep(Duration::from_micros(round % 50));
            fds.iter().for_each(|fd| assert_eq!(io::close(*fd).unwrap(), 0));
            for result in within(SOON, || join_all(all)) {
                assert_eq!(errno(&result), libc::EBADF, "{result:?}");
            }
        }
    });
}

/// What is shut down ends in the kernel's way: data's end, `EPIPE`, `EINVAL`.
#[test]
fn shutting_down_ends_whoever_waits() {
    at_each(|_| {
        let [one, other] = tcp_pair();
        let reader = one.try_clone().unwrap();
        let reads = go(move || receive(reader.as_raw_fd()));
        let (local, local_other) = UnixStream::pair().unwrap();
        let local_reader = local.try_clone().unwrap();
        let local_reads = go(move || receive(local_reader.as_raw_fd()));
        let [full, full_other] = tcp_pair();
        io::fill(&full);
        let writer = full.try_clone().unwrap();
        let writes = go(move || write_more(writer.as_raw_fd()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let acceptor = listener.try_clone().unwrap();
        let accepts = go(move || accept(acceptor.as_raw_fd()));
        let peer = full_other.try_clone().unwrap();
        let polls = go(move || {
            let mut one =
                libc::pollfd { fd: peer.as_raw_fd(), events: libc::POLLRDHUP, revents: 0 };
            // SAFETY: one entry.
            let n = check(unsafe { libc::poll(&raw mut one, 1, -1) });
            (n, one.revents & libc::POLLRDHUP)
        });
        sleep(ms(10));
        one.shutdown(Shutdown::Read).unwrap();
        local.shutdown(Shutdown::Read).unwrap();
        full.shutdown(Shutdown::Write).unwrap();
        // SAFETY: no memory is involved.
        check(unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RD) }).unwrap();
        within(SOON, || {
            assert_eq!(reads.join().unwrap().unwrap(), 0);
            assert_eq!(local_reads.join().unwrap().unwrap(), 0);
            assert_eq!(errno(&writes.join().unwrap()), libc::EPIPE);
            assert_eq!(errno(&accepts.join().unwrap()), libc::EINVAL);
            // Behind all that was written.
            drain(&full_other);
            let (n, hang_up) = polls.join().unwrap();
            assert_eq!((n.unwrap(), hang_up), (1, libc::POLLRDHUP));
        });
        drop((other, local_other));
    });
}

fn drain(mut from: &TcpStream) {
    let mut buf = [0; 65_536];
    while from.read(&mut buf).unwrap() > 0 {}
}

/// Go: `testCloseWithBlockingRead`. A blocked reader does not keep its number from being closed.
#[test]
fn a_blocked_reader_does_not_keep_close_waiting() {
    at_each(|_| {
        let (reader, writer) = pipe().unwrap();
        let fd = reader.into_raw_fd();
        let reads = go(move || receive(fd));
        sleep(ms(10));
        within(ms(1_000), || io::close(fd).unwrap());
        drop(writer);
        match within(SOON, || reads.join().unwrap()) {
            Ok(n) => assert_eq!(n, 0),
            e => assert_eq!(errno(&e), libc::EBADF),
        }
    });
}

/// Reads until the time-out; how long that took.
fn time_out(mut stream: impl Read) -> Duration {
    let start = Instant::now();
    let error = whole(|| stream.read(&mut [0])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    start.elapsed()
}

/// Without interception the runtime's signal may meet a call with a time-out, which Linux does not restart: it says
/// `EINTR`, as anywhere where signals are handled.
fn whole<R>(mut call: impl FnMut() -> std::io::Result<R>) -> std::io::Result<R> {
    loop {
        let result = call();
        if PARKS || errno(&result) != libc::EINTR {
            return result;
        }
    }
}

/// Go: `TestVariousDeadlines`, `…1Proc`, `…4Proc`. Never early, and the best of three nearly in time.
#[test]
fn various_time_outs() {
    // The kernel counts in jiffies, and rounds up what is set; without interception, it also waits so.
    let early = if PARKS { Duration::ZERO } else { ms(10) };
    at_each(|procs| {
        for micros in [1, 5, 25, 250, 500, 1_000, 5_000, 100_000] {
            let time = Duration::from_micros(micros);
            let mut best = Duration::MAX;
            for _ in 0..3 {
                let [client, _server] = tcp_pair();
                client.set_read_timeout(Some(time)).unwrap();
                let took = time_out(&client);
                assert!(took + early >= time, "{took:?} instead of {time:?}");
                best = best.min(took);
            }
            let late = best.saturating_sub(time);
            assert!(late < ms(100), "{late:?} late for {time:?} at {procs}");
        }
    });
}

/// Go: `TestReadTimeout`, `TestReadTimeoutFluctuation`, `TestReadFromTimeout`, `TestAcceptTimeout`. Time after
/// time; what comes then is read, and what comes within the time too.
#[test]
fn read_time_outs() {
    at_each(|_| {
        let [client, mut server] = tcp_pair();
        client.set_read_timeout(Some(ms(10))).unwrap();
        let (local, mut local_server) = UnixStream::pair().unwrap();
        local.set_read_timeout(Some(ms(10))).unwrap();
        for _ in 0..5 {
            time_out(&client);
            time_out(&local);
        }
        server.write_all(b"x").unwrap();
        local_server.write_all(b"y").unwrap();
        let mut buf = [0; 4];
        assert_eq!(((&client).read(&mut buf).unwrap(), buf[0]), (1, b'x'));
        assert_eq!(((&local).read(&mut buf).unwrap(), buf[0]), (1, b'y'));
        client.set_read_timeout(Some(ms(20_000))).unwrap();
        let writes = go(move || {
            sleep(ms(20));
            server.write_all(b"z").unwrap();
            server
        });
        assert_eq!(within(SOON, || (&client).read(&mut buf).unwrap()), 1);
        drop(writes.join().unwrap());

        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(ms(10))).unwrap();
        for _ in 0..3 {
            assert_eq!(errno(&whole(|| socket.recv_from(&mut buf))), libc::EAGAIN);
        }
        socket.send_to(b"abc", socket.local_addr().unwrap()).unwrap();
        assert_eq!(socket.recv_from(&mut buf).unwrap(), (3, socket.local_addr().unwrap()));

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let time = libc::timeval { tv_sec: 0, tv_usec: 10_000 };
        io::set_option(&listener, libc::SOL_SOCKET, libc::SO_RCVTIMEO, time);
        for _ in 0..3 {
            assert_eq!(errno(&listener.accept()), libc::EAGAIN);
        }
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.accept().unwrap();
    });
}

/// Go: `TestReadTimeoutMustNotReturn`, `TestAcceptTimeoutMustNotReturn`, `TestWriteTimeoutMustNotReturn`.
/// A time-out that was taken back, or is long, does not come.
#[test]
fn no_time_out_where_none_is_set() {
    at_each(|_| {
        for time in [None, Some(ms(3_600_000))] {
            let [client, server] = tcp_pair();
            let [full, full_server] = tcp_pair();
            io::fill(&full);
            for stream in [&client, &full] {
                stream.set_read_timeout(Some(ms(10))).unwrap();
                stream.set_write_timeout(Some(ms(10))).unwrap();
                stream.set_read_timeout(time).unwrap();
                stream.set_write_timeout(time).unwrap();
            }
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let reads = go(move || (&client).read(&mut [0]).unwrap());
            let writes = go(move || (&full).write_all(&[0; MORE]).unwrap());
            let accepts = go(move || drop(listener.accept().unwrap()));
            sleep(ms(60));
            assert!(!reads.is_finished() && !writes.is_finished() && !accepts.is_finished());
            drop(server);
            assert_eq!(within(SOON, || reads.join().unwrap()), 0);
            full_server.set_read_timeout(Some(ms(100))).unwrap();
            while (&full_server).read(&mut [0; 65_536]).is_ok_and(|n| n > 0) {}
            within(SOON, || writes.join().unwrap());
            drop(TcpStream::connect(address).unwrap());
            within(SOON, || accepts.join().unwrap());
        }
    });
}

/// Go: `TestWriteTimeout`, `TestWriteTimeoutFluctuation`, `TestWriteToTimeout`. What was written before counts.
#[test]
fn write_time_outs() {
    at_each(|_| {
        let [client, server] = tcp_pair();
        let (local, local_server) = UnixStream::pair().unwrap();
        client.set_write_timeout(Some(ms(20))).unwrap();
        local.set_write_timeout(Some(ms(20))).unwrap();
        let written = [&mut &client as &mut dyn Write, &mut &local].map(|stream| {
            let mut written = 0;
            loop {
                let start = Instant::now();
                match stream.write(&[7; 1 << 20]) {
                    Ok(n) => written += n,
                    Err(e) => {
                        assert_eq!(e.kind(), ErrorKind::WouldBlock);
                        let early = if PARKS { Duration::ZERO } else { ms(10) };
                        assert!(start.elapsed() + early >= ms(20), "{:?}", start.elapsed());
                        break written;
                    }
                }
            }
        });
        let [written, local_written] = written;
        drop((client, local));
        let mut all = Vec::new();
        (&server).read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), written);
        all.clear();
        (&local_server).read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), local_written);
    });
}

/// A listener whose queue is full: whoever connects waits. (The first connection fills it.)
fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // SAFETY: no memory is involved.
    check(unsafe { libc::listen(listener.as_raw_fd(), 0) }).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, ms(100)) {
        waiting.push(stream);
    }
    (listener, waiting)
}

/// Go: `TestDialTimeout`, `TestDialTimeoutMaxDuration`.
#[test]
fn connecting_times_out() {
    at_each(|_| {
        let (listener, waiting) = full_listener();
        assert!(!waiting.is_empty());
        let address = listener.local_addr().unwrap();
        let all: Vec<_> = (0..10)
            .map(|i| {
                go(move || {
                    let (start, time) = (Instant::now(), ms(20 + i));
                    let error = TcpStream::connect_timeout(&address, time).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
                    assert!(start.elapsed() >= time);
                    assert!(start.elapsed() < ms(2_000), "{:?}", start.elapsed());
                })
            })
            .collect();
        join_all(all);
        // SO_SNDTIMEO, by the call that blocks.
        let (took, error) = connect_with_time_out(address, 30_000);
        assert_eq!(error, libc::EINPROGRESS);
        assert!(took >= ms(20) && took < ms(2_000), "{took:?}");
        // Not for ever: as far as there is time.
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        TcpStream::connect_timeout(&open.local_addr().unwrap(), Duration::MAX).unwrap();
    });
}

fn connect_with_time_out(address: SocketAddr, micros: i64) -> (Duration, i32) {
    // SAFETY: a new descriptor.
    let socket = unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        OwnedFd::from_raw_fd(fd)
    };
    let time = libc::timeval { tv_sec: 0, tv_usec: micros };
    io::set_option(&socket, libc::SOL_SOCKET, libc::SO_SNDTIMEO, time);
    let to = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let start = Instant::now();
    let len = size_of_val(&to) as libc::socklen_t;
    // SAFETY: an address to read.
    let word = check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const to).cast(), len) });
    (start.elapsed(), errno(&word))
}

/// Go: `TestReadWriteDeadlineRace`, `TestConcurrentSetDeadline`. Time-outs are set at any moment beside those
/// who read and write.
#[test]
fn time_outs_are_set_beside_readers_and_writers() {
    at_each(|_| {
        let [client, server] = tcp_pair();
        // Before the first read, which would wait for ever without.
        client.set_read_timeout(Some(ms(1))).unwrap();
        let client = Arc::new(client);
        let stop = Arc::new(AtomicBool::new(false));
        let mut all = Vec::new();
        for i in 0..4u64 {
            let (client, stop) = (Arc::clone(&client), Arc::clone(&stop));
            all.push(go(move || {
                for j in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let time = Duration::from_micros(1 + i * j % 9_000);
                    client.set_read_timeout(Some(time)).unwrap();
                    client.set_write_timeout(Some(time)).unwrap();
                    sleep(Duration::from_micros(20));
                }
            }));
        }
        let (reads, writes) = (Arc::clone(&client), Arc::clone(&client));
        let reader = go(move || {
            let ends = (0..150).filter(|_| (&*reads).read(&mut [0]).is_err());
            ends.count()
        });
        let writer = go(move || (0..1_000).filter(|_| (&*writes).write(&[1]).is_ok()).count());
        let timed_out = within(ms(20_000), || reader.join().unwrap());
        assert_eq!(timed_out, 150, "nobody writes");
        let written = writer.join().unwrap();
        stop.store(true, Ordering::Relaxed);
        join_all(all);
        drop(client);
        let mut all = Vec::new();
        (&server).read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), written);
    });
}

/// Go: `TestReadWriteProlongedTimeout`. Both directions of one connection, by different goroutines.
#[test]
fn both_directions_at_once() {
    at_each(|_| {
        const BYTES: usize = 2_000_000;
        let [client, server] = tcp_pair();
        let mut all = Vec::new();
        for stream in [client, server] {
            let stream = Arc::new(stream);
            stream.set_read_timeout(Some(ms(3_600_000))).unwrap();
            let (reads, writes) = (Arc::clone(&stream), stream);
            all.push(go(move || {
                let mut bytes = Vec::new();
                (&*reads).read_to_end(&mut bytes).unwrap();
                assert!(bytes.iter().enumerate().all(|(i, b)| *b == i as u8), "in order");
                bytes.len()
            }));
            all.push(go(move || {
                let bytes: Vec<u8> = (0..BYTES).map(|i| i as u8).collect();
                for part in bytes.chunks(7_777) {
                    (&*writes).write_all(part).unwrap();
                }
                writes.shutdown(Shutdown::Write).unwrap();
                BYTES
            }));
        }
        assert_eq!(join_all(all), [BYTES; 4]);
    });
}

/// A server with a goroutine a connection, and clients: each is answered what it asked.
#[test]
fn echo_for_many() {
    at_each(|_| {
        let directory =
            std::env::temp_dir().join(format!("goroutines-echo-{}", std::process::id()));
        let _ = std::fs::remove_file(&directory);
        let listener = UnixListener::bind(&directory).unwrap();
        let server = go(move || {
            for stream in listener.incoming().take(200) {
                let mut stream = stream.unwrap();
                go(move || {
                    let mut copy = stream.try_clone().unwrap();
                    std::io::copy(&mut stream, &mut copy).unwrap();
                });
            }
        });
        let answered = Arc::new(AtomicUsize::new(0));
        let clients = (0..200).map(|i| {
            let (path, answered) = (directory.clone(), Arc::clone(&answered));
            go(move || {
                let mut stream = UnixStream::connect(path).unwrap();
                for turn in 0..10 {
                    let text = format!("{i} {turn}");
                    stream.write_all(text.as_bytes()).unwrap();
                    let mut buf = vec![0; text.len()];
                    stream.read_exact(&mut buf).unwrap();
                    assert_eq!(buf, text.as_bytes());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        join_all(clients.collect::<Vec<_>>());
        server.join().unwrap();
        std::fs::remove_file(&directory).unwrap();
        assert_eq!(answered.load(Ordering::Relaxed), 2_000);
    });
}

/// Go: `TestPipeEOF`. Each line comes when it was written, and the end when it is.
#[test]
fn lines_come_one_by_one() {
    at_each(|_| {
        let (reader, mut writer) = pipe().unwrap();
        let (send, lines) = mpsc::channel();
        let reads = go(move || {
            for line in std::io::BufRead::lines(std::io::BufReader::new(reader)) {
                send.send(line.unwrap()).unwrap();
            }
        });
        for i in 0..100 {
            writeln!(writer, "line {i}").unwrap();
            let line = lines.recv_timeout(SOON).unwrap();
            assert_eq!(line, format!("line {i}"));
        }
        assert!(lines.recv_timeout(ms(5)).is_err());
        drop(writer);
        within(SOON, || reads.join().unwrap());
    });
}
