//! Peers that reset, dribble or are gone; descriptors and threads that are not to be had.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::runtime::blocking;
use goroutines::{WaitGroup, go};
use goroutines_tests::io::{self, at_each, ms, tcp_pair, within};
use goroutines_tests::proc::in_child;
use goroutines_tests::{join_all, raw};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write, pipe};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SOON: Duration = ms(10_000);

/// Closes so that the peer sees a reset.
fn reset(stream: TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    io::set_option(&stream, libc::SOL_SOCKET, libc::SO_LINGER, linger);
    drop(stream);
}

/// Who reads, writes or polls when the peer resets is told.
#[test]
fn peers_that_reset() {
    at_each(|_| {
        for _ in 0..20 {
            let [reader, peer] = tcp_pair();
            let [writer, writer_peer] = tcp_pair();
            let [polled, polled_peer] = tcp_pair();
            let reads = go(move || (&reader).read(&mut [0; 10]));
            let writes = go(move || {
                loop {
                    if let Err(e) = (&writer).write(&[0; 100_000]) {
                        return e.kind();
                    }
                }
            });
            let polls = go(move || {
                let fd = std::os::fd::AsRawFd::as_raw_fd(&polled);
                let mut one = [libc::pollfd { fd, events: 0, revents: 0 }];
                io::poll(&mut one, -1).unwrap();
                one[0].revents
            });
            sleep(ms(1));
            [peer, writer_peer, polled_peer].into_iter().for_each(reset);
            within(SOON, || {
                let error = reads.join().unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                let kind = writes.join().unwrap();
                assert!(
                    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                    "{kind:?}"
                );
                assert_ne!(polls.join().unwrap() & (libc::POLLERR | libc::POLLHUP), 0);
            });
        }
    });
}

/// A reset that comes between two steps of a large write is told as a reset, by the next write: the kernel says it
/// once, and a broken pipe afterwards.
#[test]
fn a_reset_in_the_midst_of_writes() {
    const ROUNDS: u64 = if cfg!(debug_assertions) { 150 } else { 400 };
    at_each(|_| {
        for round in 0..ROUNDS {
            let [writer, mut peer] = tcp_pair();
            let writes = go(move || {
                let bytes = vec![0; 1 << 20];
                loop {
                    if let Err(e) = (&writer).write(&bytes) {
                        return e.kind();
                    }
                }
            });
            let reads = std::thread::spawn(move || {
                let mut bytes = vec![0; 64 << 10];
                let end = Instant::now() + Duration::from_micros(500 + round * 37 % 1000);
                while Instant::now() < end {
                    let _ = peer.read(&mut bytes).unwrap();
                }
                reset(peer);
            });
            let kind = within(SOON, || writes.join().unwrap());
            assert_eq!(kind, ErrorKind::ConnectionReset, "in round {round}");
            reads.join().unwrap();
        }
    });
}

/// A connection that is reset before it is accepted.
#[test]
fn reset_before_it_is_accepted() {
    at_each(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        for _ in 0..20 {
            reset(TcpStream::connect(address).unwrap());
        }
        let accepts = go(move || {
            let mut good = 0;
            while good < 5 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut byte = [0];
                match stream.read(&mut byte) {
                    Ok(1) => good += 1,
                    result => assert_eq!(result.unwrap_err().kind(), ErrorKind::ConnectionReset),
                }
            }
        });
        for _ in 0..5 {
            TcpStream::connect(address).unwrap().write_all(&[1]).unwrap();
        }
        within(SOON, || accepts.join().unwrap());
    });
}

/// A peer that says nothing and is not gone: the others don't mind, and its time is over some time.
#[test]
fn half_open_peers() {
    at_each(|_| {
        let (silent, _kept): (Vec<_>, Vec<_>) =
            (0..20).map(|_| tcp_pair()).map(|[a, b]| (a, b)).unzip();
        let waits: Vec<_> = silent
            .into_iter()
            .map(|stream| {
                go(move || {
                    stream.set_read_timeout(Some(ms(150))).unwrap();
                    (&stream).read(&mut [0]).unwrap_err().kind()
                })
            })
            .collect();
        let [mut one, mut other] = tcp_pair();
        let echo = go(move || {
            let mut buf = [0; 1];
            while other.read(&mut buf).unwrap() > 0 {
                other.write_all(&buf).unwrap();
            }
        });
        for i in 0..200 {
            one.write_all(&[i]).unwrap();
            let mut back = [0];
            one.read_exact(&mut back).unwrap();
            assert_eq!(back, [i]);
        }
        drop(one);
        echo.join().unwrap();
        assert_eq!(within(SOON, || join_all(waits)), [ErrorKind::WouldBlock; 20]);
    });
}

/// A byte at a time, by and to goroutines in the middle of bigger calls.
#[test]
fn one_byte_at_a_time() {
    at_each(|_| {
        let all: Vec<_> = (0..10)
            .map(|i| {
                go(move || {
                    let [mut one, other] = tcp_pair();
                    one.set_nodelay(true).unwrap();
                    let text: String = (0..40).map(|line| format!("{i} line {line}\n")).collect();
                    let sent = text.clone();
                    let dribbles = go(move || {
                        for (n, byte) in sent.bytes().enumerate() {
                            one.write_all(&[byte]).unwrap();
                            if n % 50 == 0 {
                                sleep(Duration::from_micros(200));
                            }
                        }
                    });
                    let lines: Result<Vec<_>, _> = BufReader::new(other).lines().collect();
                    assert_eq!(lines.unwrap().join("\n") + "\n", text);
                    dribbles.join().unwrap();
                })
            })
            .collect();
        within(ms(20_000), || join_all(all));
    });
}

/// Nobody listens.
#[test]
fn refused() {
    at_each(|_| {
        let all: Vec<_> = (0..20)
            .map(|_| {
                go(|| {
                    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
                    let address = listener.local_addr().unwrap();
                    drop(listener);
                    for _ in 0..10 {
                        let error = TcpStream::connect(address).unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                        let error = TcpStream::connect_timeout(&address, SOON).unwrap_err();
                        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                    }
                    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                    socket.connect(address).unwrap();
                    socket.send(&[1]).unwrap();
                    let error = socket.recv(&mut [0]).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                    let none = UnixStream::connect("/nonexistent").unwrap_err();
                    assert_eq!(none.kind(), ErrorKind::NotFound);
                })
            })
            .collect();
        within(SOON, || join_all(all));
    });
}

/// Takes all descriptors there are.
fn exhaust() -> Vec<std::fs::File> {
    let mut taken = Vec::new();
    loop {
        match std::fs::File::open("/dev/null") {
            Ok(file) => taken.push(file),
            Err(e) => {
                assert_eq!(e.raw_os_error(), Some(libc::EMFILE));
                return taken;
            }
        }
    }
}

/// No more descriptors: `EMFILE` reaches the caller, who goes on when there are some again. Those who wait
/// for what they have don't notice.
#[test]
fn no_more_descriptors() {
    for procs in ["1", "2", "4"] {
        let child = in_child("no_more_descriptors", &[("GOMAXPROCS", procs)], || {
            let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
            // SAFETY: a limit of this process.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
            goroutines::run(without_descriptors);
            println!("all served");
        });
        child.expect_clean();
        assert!(child.text().contains("all served"), "{child}");
    }
}

fn without_descriptors() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let refused = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&refused);
    let server = go(move || {
        let mut served = 0;
        while served < 10 {
            match listener.accept() {
                Ok((mut stream, _)) => {
                    stream.write_all(b"served").unwrap();
                    served += 1;
                }
                Err(e) => {
                    assert_eq!(e.raw_os_error(), Some(libc::EMFILE), "{e}");
                    counts.fetch_add(1, Ordering::Relaxed);
                    sleep(ms(2));
                }
            }
        }
    });
    let (mut reader, mut writer) = pipe().unwrap();
    let waits = go(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    // The clients' own are had before.
    let mut clients: Vec<_> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
    clients.iter_mut().for_each(|c| assert_eq!(c.read(&mut [0; 6]).unwrap(), 6));
    let mut taken = exhaust();
    taken.pop();
    clients.push(TcpStream::connect(address).unwrap());
    while refused.load(Ordering::Relaxed) < 3 {
        sleep(ms(1));
    }
    // Processes, names, pipes: whoever needs one is told.
    assert!(std::process::Command::new("true").output().is_err());
    assert!(pipe().is_err() && UdpSocket::bind("127.0.0.1:0").is_err());
    writer.write_all(b"still here").unwrap();
    drop(writer);
    assert_eq!(within(SOON, || waits.join().unwrap()), "still here");
    drop(taken);
    let mut last = clients.pop().unwrap();
    assert_eq!(within(SOON, || last.read(&mut [0; 6]).unwrap()), 6);
    for _ in 0..7 {
        let mut client = TcpStream::connect(address).unwrap();
        assert_eq!(client.read(&mut [0; 6]).unwrap(), 6);
    }
    within(SOON, || server.join().unwrap());
}

/// A child is waited for, where there is no descriptor to wait with.
#[test]
fn a_child_is_waited_for_without_descriptors() {
    let name = "a_child_is_waited_for_without_descriptors";
    let child = in_child(name, &[("GOMAXPROCS", "1")], || {
        goroutines::run(|| {
            let mut children: Vec<_> = (0..5)
                .map(|_| std::process::Command::new("sleep").arg("0.2").spawn().unwrap())
                .collect();
            let limit = libc::rlimit { rlim_cur: 64, rlim_max: 64 };
            // SAFETY: a limit of this process.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
            let taken = exhaust();
            let waits: Vec<_> = children
                .drain(..)
                .map(|mut child| go(move || child.wait().unwrap().success()))
                .collect();
            let ticks = go(|| (0..20).for_each(|_| sleep(ms(5))));
            within(SOON, || ticks.join().unwrap());
            assert_eq!(within(SOON, || join_all(waits)), [true; 5]);
            drop(taken);
            println!("all waited for");
        });
    });
    child.expect_clean();
    assert!(child.text().contains("all waited for"), "{child}");
}

/// No more threads: who waits for descriptors and times is not concerned, and nothing is lost while others
/// block all threads there are.
#[test]
fn no_more_threads_while_others_wait() {
    for procs in ["1", "2", "4"] {
        let name = "no_more_threads_while_others_wait";
        let child = in_child(name, &[("GOMAXPROCS", procs)], || {
            goroutines::run(without_threads);
            println!("all ended");
        });
        child.expect_clean();
        assert!(child.text().contains("all ended"), "{child}");
    }
}

fn without_threads() {
    let warm = (0..4).map(|_| go(|| blocking(|| raw::sleep(ms(50)))));
    join_all(warm.collect::<Vec<_>>());
    // Room for what is measured in kilobytes; a thread's stack is not.
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').next().unwrap().parse().unwrap();
    let most = pages * 4096 + (6 << 20);
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: a limit of this process.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
    let wg = WaitGroup::new();
    for _ in 0..30 {
        wg.go(|| blocking(|| raw::sleep(ms(20))));
    }
    for i in 0..10u8 {
        let (mut reader, mut writer) = pipe().unwrap();
        wg.go(move || {
            for turn in 0..10 {
                sleep(ms(2));
                writer.write_all(&[i ^ turn]).unwrap();
            }
        });
        wg.go(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            assert_eq!(all, (0..10).map(|turn| i ^ turn).collect::<Vec<_>>());
        });
    }
    within(ms(20_000), || wg.wait());
}

/// A peer that vanishes with its process, in the middle of its answer.
#[test]
fn peers_that_are_killed() {
    at_each(|_| {
        let all: Vec<_> = (0..5)
            .map(|_| {
                go(|| {
                    let mut child = std::process::Command::new("sh")
                        .args(["-c", "echo begun; exec sleep 100"])
                        .stdout(std::process::Stdio::piped())
                        .spawn()
                        .unwrap();
                    let mut out = child.stdout.take().unwrap();
                    let mut buf = [0; 100];
                    assert_eq!(out.read(&mut buf).unwrap(), 6);
                    let reads = go(move || out.read(&mut [0; 100]).unwrap());
                    sleep(ms(5));
                    assert!(child.try_wait().unwrap().is_none());
                    child.kill().unwrap();
                    assert_eq!(reads.join().unwrap(), 0);
                    let status = child.wait().unwrap();
                    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
                    assert_eq!(signal, Some(libc::SIGKILL));
                })
            })
            .collect();
        within(SOON, || join_all(all));
    });
}
