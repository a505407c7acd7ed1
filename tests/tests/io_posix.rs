//! Reading, writing, sending and receiving, to the letter of POSIX and of Linux's manual pages.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::{go, runtime};
use goroutines_tests::io::{self, at_each, check, errno, ms, tcp_pair, within};
use goroutines_tests::join_all;
use goroutines_tests::proc::in_child;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Seek, Write, pipe};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::thread::sleep;
use std::time::Duration;

const SOON: Duration = ms(10_000);

/// The linear congruence that all data here is made of: what is missing, doubled or swapped is seen.
fn pattern(seed: usize, n: usize) -> Vec<u8> {
    let mut state = seed as u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..n).map(next).collect()
}

fn temporary(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("goroutines-{}-{name}", std::process::id()))
}

/// A blocking write is whole, however much there is room for; a reader takes it in odd pieces.
#[test]
fn a_write_is_whole() {
    at_each(|_| {
        for n in [1, 4096, 4097, 65_536, 65_537, 1_000_000] {
            let (mut reader, writer) = pipe().unwrap();
            let (one, mut other) = UnixStream::pair().unwrap();
            let [tcp, mut tcp_other] = tcp_pair();
            let writers = [OwnedFd::from(writer), one.into(), tcp.into()].map(|fd| {
                go(move || {
                    // One call each.
                    assert_eq!(io::write(fd.as_raw_fd(), &pattern(n, n)).unwrap(), n);
                })
            });
            let readers: [&mut dyn Read; 3] = [&mut reader, &mut other, &mut tcp_other];
            for from in readers {
                let mut all = Vec::new();
                let mut piece = vec![0; 4_001];
                loop {
                    match from.read(&mut piece).unwrap() {
                        0 => break,
                        n => all.extend_from_slice(&piece[..n]),
                    }
                }
                assert!(all == pattern(n, n), "{} of {n} bytes", all.len());
            }
            join_all(writers);
        }
    });
}

/// Writes of up to `PIPE_BUF` bytes by many are not mixed, in a pipe that is full all the time.
#[test]
fn small_writes_are_atomic() {
    at_each(|_| {
        let (mut reader, writer) = pipe().unwrap();
        // SAFETY: no memory is involved.
        check(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, 8_192) }).unwrap();
        let writers: Vec<_> = (1..=10u8)
            .map(|i| {
                let mut writer = writer.try_clone().unwrap();
                go(move || {
                    for turn in 0..20usize {
                        let n = [libc::PIPE_BUF, 2, 1_000, 4_095][turn % 4];
                        let mut record = vec![i; n];
                        record[0] = (n >> 8) as u8 | 0x80;
                        record[1] = n as u8;
                        // Their parts too.
                        let (a, b) = record.split_at(n / 2);
                        let parts = [IoSlice::new(a), IoSlice::new(b)];
                        let written = writer.write_vectored(&parts).unwrap();
                        assert_eq!(written, n);
                    }
                })
            })
            .collect();
        drop(writer);
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        join_all(writers);
        let (mut at, mut records) = (0, 0);
        while at < all.len() {
            let n = usize::from(all[at] & 0x7f) << 8 | usize::from(all[at + 1]);
            assert!(all[at] & 0x80 != 0 && n >= 2, "a record begins at {at}");
            assert!(all[at + 2..at + n].windows(2).all(|w| w[0] == w[1]), "mixed at {at}");
            (at, records) = (at + n, records + 1);
        }
        assert_eq!(records, 200);
    });
}

/// Many buffers at a time, empty ones among them, in and out.
#[test]
fn many_buffers() {
    at_each(|_| {
        let (reader, writer) = pipe().unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        let [tcp, tcp_other] = tcp_pair();
        let pairs: [(OwnedFd, OwnedFd); 3] = [
            (reader.into(), writer.into()),
            (one.into(), other.into()),
            (tcp.into(), tcp_other.into()),
        ];
        for (reader, writer) in pairs {
            let writes = go(move || {
                let parts: Vec<_> = (0..100).map(|i| pattern(i, i * 37 % 5_000)).collect();
                let list: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
                let whole: usize = parts.iter().map(Vec::len).sum();
                let mut file = std::fs::File::from(writer);
                assert_eq!(file.write_vectored(&list).unwrap(), whole);
                parts.concat()
            });
            let mut file = std::fs::File::from(reader);
            let mut all = Vec::new();
            loop {
                let (mut a, mut b, mut c) = ([0; 7], [0; 1_000], [0; 30_000]);
                let mut list = [
                    IoSliceMut::new(&mut a),
                    IoSliceMut::new(&mut []),
                    IoSliceMut::new(&mut b),
                    IoSliceMut::new(&mut c),
                ];
                let n = file.read_vectored(&mut list).unwrap();
                if n == 0 {
                    break;
                }
                all.extend_from_slice(&[&a[..], &b, &c].concat()[..n]);
            }
            assert!(all == writes.join().unwrap());
        }
    });
}

fn receive(fd: &impl AsRawFd, buf: &mut [u8], flags: i32) -> std::io::Result<usize> {
    // SAFETY: the buffer is ours.
    let n = unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), buf.len(), flags) };
    check(n as i64)
}

/// `MSG_PEEK` leaves the data there, `MSG_WAITALL` waits for all of it, or the end.
#[test]
fn peeking_and_waiting_for_all() {
    at_each(|_| {
        let (local, local_other) = UnixStream::pair().unwrap();
        let [tcp, tcp_other] = tcp_pair();
        let pairs: [(OwnedFd, OwnedFd); 2] =
            [(local.into(), local_other.into()), (tcp.into(), tcp_other.into())];
        for (i, (one, other)) in pairs.into_iter().enumerate() {
            let peeks = go(move || {
                let mut buf = [0; 8];
                assert_eq!(receive(&one, &mut buf, libc::MSG_PEEK).unwrap(), 2);
                assert_eq!(receive(&one, &mut buf, libc::MSG_PEEK).unwrap(), 2);
                assert_eq!(receive(&one, &mut buf, 0).unwrap(), 2);
                assert_eq!(&buf[..2], b"ab");
                let mut all = [0; 10];
                assert_eq!(receive(&one, &mut all, libc::MSG_WAITALL).unwrap(), 10);
                assert_eq!(&all, b"0123456789");
                let flags = libc::MSG_WAITALL | libc::MSG_PEEK;
                // (A local socket's peek takes what is there, and does not wait for more.)
                let peeked = receive(&one, &mut all[..4], flags).unwrap();
                assert!(peeked == 4 || (i == 0 && peeked == 3), "{peeked} of 4");
                // The end comes before all of it has.
                assert_eq!(receive(&one, &mut all, libc::MSG_WAITALL).unwrap(), 7);
                assert_eq!(&all[..7], b"abcdefg");
                assert_eq!(receive(&one, &mut all, libc::MSG_WAITALL).unwrap(), 0);
            });
            for (part, pause) in
                [("ab", 5), ("0123", 5), ("45", 5), ("6789", 0), ("abc", 5), ("defg", 0)]
            {
                sleep(ms(pause));
                assert_eq!(io::write(other.as_raw_fd(), part.as_bytes()).unwrap(), part.len());
                if part == "ab" {
                    sleep(ms(5)); // two bytes are there, and no more
                }
            }
            drop(other);
            within(SOON, || peeks.join().unwrap());
        }
    });
}

/// `MSG_WAITALL` with a time-out: what has come by then.
#[test]
fn waiting_for_all_has_its_time() {
    at_each(|_| {
        let [one, mut other] = tcp_pair();
        one.set_read_timeout(Some(ms(40))).unwrap();
        other.write_all(b"abc").unwrap();
        within(ms(2_000), || {
            let mut buf = [0; 10];
            assert_eq!(receive(&one, &mut buf, libc::MSG_WAITALL).unwrap(), 3);
            let none = receive(&one, &mut buf, libc::MSG_WAITALL);
            assert_eq!(errno(&none), libc::EAGAIN);
        });
    });
}

/// One end says that it is done; the other answers all the same.
#[test]
fn half_closed() {
    at_each(|_| {
        let [mut one, mut other] = tcp_pair();
        let answers = go(move || {
            let mut all = Vec::new();
            other.read_to_end(&mut all).unwrap();
            other.write_all(&all).unwrap();
            all.len()
        });
        one.write_all(&pattern(1, 300_000)).unwrap();
        one.shutdown(Shutdown::Write).unwrap();
        assert_eq!(one.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut back = Vec::new();
        one.read_to_end(&mut back).unwrap();
        assert_eq!(answers.join().unwrap(), 300_000);
        assert!(back == pattern(1, 300_000));
    });
}

/// `SO_LINGER`: a close that waits until all has arrived, and only the closing goroutine waits.
#[test]
fn closing_lingers() {
    at_each(|_| {
        let [mut one, mut other] = tcp_pair();
        let linger = libc::linger { l_onoff: 1, l_linger: 20 };
        io::set_option(&one, libc::SOL_SOCKET, libc::SO_LINGER, linger);
        let closes = go(move || {
            one.write_all(&pattern(3, 100_000)).unwrap();
            drop(one);
        });
        sleep(ms(10));
        let mut all = Vec::new();
        within(SOON, || {
            other.read_to_end(&mut all).unwrap();
            closes.join().unwrap();
        });
        assert!(all == pattern(3, 100_000));
    });
}

/// No bytes at all.
#[test]
fn nothing_is_read_and_written() {
    at_each(|_| {
        within(ms(2_000), || {
            let (reader, writer) = pipe().unwrap();
            let [one, _other] = tcp_pair();
            for fd in [reader.as_raw_fd(), one.as_raw_fd()] {
                assert_eq!(io::read(fd, &mut []).unwrap(), 0);
            }
            for fd in [writer.as_raw_fd(), one.as_raw_fd()] {
                assert_eq!(io::write(fd, &[]).unwrap(), 0);
            }
        });
        // An empty datagram is one.
        let (one, other) = UnixDatagram::pair().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(socket.local_addr().unwrap()).unwrap();
        let copy = socket.try_clone().unwrap();
        let reads = go(move || (other.recv(&mut [0; 4]).unwrap(), copy.recv(&mut [0; 4]).unwrap()));
        sleep(ms(5));
        assert_eq!(one.send(&[]).unwrap(), 0);
        assert_eq!(socket.send(&[]).unwrap(), 0);
        assert_eq!(within(SOON, || reads.join().unwrap()), (0, 0));
    });
}

/// Datagrams come whole, or cut off, from whom they are.
#[test]
fn datagrams() {
    at_each(|_| {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        let answers = go(move || {
            let mut buf = [0; 2_000];
            for _ in 0..200 {
                let (n, from) = server.recv_from(&mut buf).unwrap();
                assert_eq!(server.send_to(&buf[..n], from).unwrap(), n);
            }
        });
        let clients: Vec<_> = (0..10usize)
            .map(|i| {
                go(move || {
                    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
                    let mut buf = [0; 2_000];
                    for turn in 0..20 {
                        let message = pattern(i * 100 + turn, 1 + turn * 71);
                        client.send_to(&message, to).unwrap();
                        let (n, from) = client.recv_from(&mut buf).unwrap();
                        assert_eq!((from, &buf[..n]), (to, &message[..]));
                    }
                    client.send_to(&[7; 100], client.local_addr().unwrap()).unwrap();
                    // MSG_TRUNC: as long as it was.
                    let n = receive(&client, &mut buf[..10], libc::MSG_TRUNC).unwrap();
                    assert_eq!(n, 100);
                })
            })
            .collect();
        within(SOON, || join_all(clients));
        answers.join().unwrap();
    });
}

/// A local datagram socket whose queue is full: who sends waits, whoever had filled it.
#[test]
fn a_full_queue_of_datagrams() {
    at_each(|_| {
        let path = temporary("datagrams");
        let _ = std::fs::remove_file(&path);
        let server = UnixDatagram::bind(&path).unwrap();
        let filler = UnixDatagram::unbound().unwrap();
        filler.set_nonblocking(true).unwrap();
        let mut filled = 0;
        while filler.send_to(&[0], &path).is_ok() {
            filled += 1;
        }
        let senders: Vec<_> = (1..=8u8)
            .map(|i| {
                let path = path.clone();
                go(move || {
                    let socket = UnixDatagram::unbound().unwrap();
                    if i % 2 == 0 {
                        socket.connect(&path).unwrap();
                        assert_eq!(socket.send(&[i]).unwrap(), 1);
                    } else {
                        assert_eq!(socket.send_to(&[i], &path).unwrap(), 1);
                    }
                })
            })
            .collect();
        sleep(ms(10));
        assert!(senders.iter().all(|sender| !sender.is_finished()), "there was room");
        let mut got = Vec::new();
        let mut buf = [0; 4];
        for _ in 0..filled + 8 {
            assert_eq!(within(ms(3_000), || server.recv(&mut buf).unwrap()), 1);
            got.push(buf[0]);
        }
        within(ms(3_000), || join_all(senders));
        std::fs::remove_file(&path).unwrap();
        got.retain(|i| *i > 0);
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3, 4, 5, 6, 7, 8]);
    });
}

/// A local listener whose queue is full: who connects waits until somebody is accepted.
#[test]
fn a_full_queue_of_connections() {
    at_each(|_| {
        let path = temporary("connections");
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        // SAFETY: no memory is involved.
        check(unsafe { libc::listen(listener.as_raw_fd(), 1) }).unwrap();
        let clients: Vec<_> = (0..12u8)
            .map(|i| {
                let path = path.clone();
                go(move || {
                    let mut stream = UnixStream::connect(path).unwrap();
                    stream.write_all(&[i]).unwrap();
                    stream.read_exact(&mut [0]).unwrap();
                })
            })
            .collect();
        sleep(ms(20));
        let mut got = Vec::new();
        for _ in 0..12 {
            let (mut stream, _) = within(SOON, || listener.accept().unwrap());
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            stream.write_all(&byte).unwrap();
            got.push(byte[0]);
        }
        within(SOON, || join_all(clients));
        std::fs::remove_file(&path).unwrap();
        got.sort_unstable();
        assert_eq!(got, (0..12).collect::<Vec<_>>());
    });
}

/// Who writes to what nobody reads is told, or killed.
#[test]
fn broken_pipes() {
    at_each(|_| {
        let (reader, mut writer) = pipe().unwrap();
        let fills = go(move || {
            let mut written = 0;
            loop {
                match writer.write(&[1; 10_000]) {
                    Ok(n) => written += n,
                    Err(e) => return (written, e.kind()),
                }
            }
        });
        sleep(ms(10));
        drop(reader);
        let (written, kind) = within(SOON, || fills.join().unwrap());
        assert!(written > 0);
        assert_eq!(kind, ErrorKind::BrokenPipe);
    });
    for what in ["pipe", "socket"] {
        let child = in_child("broken_pipes", &[("WHAT", what)], || {
            // SAFETY: no memory is involved.
            unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            goroutines::run(|| {
                let result = if std::env::var("WHAT").unwrap() == "pipe" {
                    let (reader, mut writer) = pipe().unwrap();
                    drop(reader);
                    go(move || writer.write(&[1])).join().unwrap()
                } else {
                    let (one, other) = UnixStream::pair().unwrap();
                    drop(other);
                    // Not std's send, which asks for no signal.
                    go(move || io::write(one.as_raw_fd(), &[1])).join().unwrap()
                };
                println!("not reached: {result:?}");
            });
        });
        child.expect_signal(libc::SIGPIPE);
    }
}

/// Many messages, with addresses and credentials beside the data.
#[test]
fn messages_with_more_than_data() {
    at_each(|_| {
        let (one, other) = UnixStream::pair().unwrap();
        io::set_option(&other, libc::SOL_SOCKET, libc::SO_PASSCRED, 1);
        let receives = go(move || {
            let mut all = Vec::new();
            let mut pids = 0;
            while all.len() < 200_000 {
                let (data, pid) = receive_with_credentials(&other);
                assert!(!data.is_empty());
                all.extend_from_slice(&data);
                pids += usize::from(pid == Some(std::process::id().cast_signed()));
            }
            (all, pids)
        });
        // One call, in eighty buffers, for which there is room only in parts.
        let data = pattern(9, 200_000);
        let list: Vec<_> = data
            .chunks(2_500)
            .map(|part| libc::iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            })
            .collect();
        // SAFETY: zeroes are a valid start; buffers to read.
        let sent = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = list.as_ptr().cast_mut();
            message.msg_iovlen = list.len();
            check(libc::sendmsg(one.as_raw_fd(), &raw const message, 0) as i64)
        };
        assert_eq!(sent.unwrap(), 200_000);
        let (all, pids) = within(SOON, || receives.join().unwrap());
        assert!(all == data);
        assert!(pids > 0, "nobody's credentials came");
    });
}

fn receive_with_credentials(from: &UnixStream) -> (Vec<u8>, Option<i32>) {
    let mut data = vec![0u8; 30_000];
    let (a, b) = data.split_at_mut(11_111);
    let mut parts = [
        libc::iovec { iov_base: a.as_mut_ptr().cast(), iov_len: a.len() },
        libc::iovec { iov_base: b.as_mut_ptr().cast(), iov_len: b.len() },
    ];
    let mut control = [0u64; 16];
    // SAFETY: buffers of those sizes to write.
    let (n, pid) = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = 2;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        let n = check(libc::recvmsg(from.as_raw_fd(), &raw mut message, 0) as i64).unwrap();
        let one = libc::CMSG_FIRSTHDR(&raw const message);
        let is_ours = !one.is_null() && (*one).cmsg_type == libc::SCM_CREDENTIALS;
        let pid = is_ours.then(|| libc::CMSG_DATA(one).cast::<libc::ucred>().read_unaligned().pid);
        (n, pid)
    };
    data.truncate(n);
    (data, pid)
}

/// `io::copy` between all that it knows special ways for: files, pipes, connections.
#[test]
fn copies() {
    at_each(|procs| {
        const N: usize = 400_000;
        let path = temporary(&format!("copied-{procs}"));
        let mut file = std::fs::File::create_new(&path).unwrap();
        file.write_all(&pattern(5, N)).unwrap();
        drop(file);
        // File to connection, connection to pipe, pipe to connection, connection to file.
        let [mut a, mut b] = tcp_pair();
        let (mut reader, mut writer) = pipe().unwrap();
        let (mut c, mut d) = UnixStream::pair().unwrap();
        let from = path.clone();
        let all = [
            go(move || std::io::copy(&mut std::fs::File::open(from).unwrap(), &mut a).unwrap()),
            go(move || std::io::copy(&mut b, &mut writer).unwrap()),
            go(move || std::io::copy(&mut reader, &mut c).unwrap()),
            go(move || {
                let mut file = tempfile_in(procs);
                let n = std::io::copy(&mut d, &mut file).unwrap();
                file.rewind().unwrap();
                let mut all = Vec::new();
                file.read_to_end(&mut all).unwrap();
                assert!(all == pattern(5, N));
                n
            }),
        ];
        let copied = within(ms(20_000), || join_all(all));
        std::fs::remove_file(&path).unwrap();
        assert_eq!(copied, [N as u64; 4]);
    });
}

/// A file without a name.
fn tempfile_in(procs: usize) -> std::fs::File {
    let path = temporary(&format!("copy-{procs}"));
    let file =
        std::fs::File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

/// A terminal: lines, and its hang-up.
#[test]
fn terminals() {
    at_each(|_| {
        let (mut master, mut slave) = (0, 0);
        let none = std::ptr::null_mut;
        // SAFETY: two numbers to write, and to own.
        let (master, slave) = unsafe {
            let word = libc::openpty(
                &raw mut master,
                &raw mut slave,
                none(),
                none().cast(),
                none().cast(),
            );
            check(word).unwrap();
            (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
        };
        let reads = go(move || {
            let mut buf = [0; 100];
            let mut lines = Vec::new();
            loop {
                match io::read(slave.as_raw_fd(), &mut buf).unwrap() {
                    0 => return lines,
                    n => lines.push(String::from_utf8_lossy(&buf[..n]).into_owned()),
                }
            }
        });
        for part in ["first", " line\n", "second\n", "\x04"] {
            sleep(ms(3));
            io::write(master.as_raw_fd(), part.as_bytes()).unwrap();
        }
        let lines = within(SOON, || reads.join().unwrap());
        assert_eq!(lines, ["first line\n", "second\n"]);
        // Its echo; then the hang-up, as the other end is closed.
        let mut echo = Vec::new();
        let mut buf = [0; 100];
        while let Ok(n) = io::read(master.as_raw_fd(), &mut buf) {
            echo.extend_from_slice(&buf[..n]);
        }
        assert!(echo.starts_with(b"first line\r\nsecond\r\n"), "{echo:?}");
    });
}

/// Counters, timers and watches of the kernel's that are read.
#[test]
fn counters_timers_and_watches() {
    at_each(|procs| {
        // SAFETY: no memory is involved.
        let files = unsafe {
            [
                libc::eventfd(0, libc::EFD_SEMAPHORE),
                libc::timerfd_create(libc::CLOCK_MONOTONIC, 0),
                libc::inotify_init1(0),
            ]
        };
        // SAFETY: new numbers, and ours.
        let [event, timer, notify] = files.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        let event = std::sync::Arc::new(event);
        let readers: Vec<_> = (0..8)
            .map(|_| {
                let event = event.clone();
                go(move || {
                    let mut buf = [0; 8];
                    io::read(event.as_raw_fd(), &mut buf).unwrap();
                    u64::from_ne_bytes(buf)
                })
            })
            .collect();
        sleep(ms(5));
        for n in [3u64, 1, 4] {
            io::write(event.as_raw_fd(), &n.to_ne_bytes()).unwrap();
            runtime::gosched();
        }
        assert_eq!(within(SOON, || join_all(readers)), [1; 8]);
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 2_000_000 },
            it_value: libc::timespec { tv_sec: 0, tv_nsec: 5_000_000 },
        };
        // SAFETY: a time to read.
        check(unsafe {
            libc::timerfd_settime(timer.as_raw_fd(), 0, &raw const spec, std::ptr::null_mut())
        })
        .unwrap();
        let mut ticks = 0;
        while ticks < 10 {
            let mut buf = [0; 8];
            assert_eq!(within(SOON, || io::read(timer.as_raw_fd(), &mut buf).unwrap()), 8);
            ticks += u64::from_ne_bytes(buf);
        }
        let path = temporary(&format!("watched-{procs}"));
        std::fs::create_dir(&path).unwrap();
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a path to read.
        check(unsafe {
            libc::inotify_add_watch(notify.as_raw_fd(), name.as_ptr(), libc::IN_CREATE)
        })
        .unwrap();
        let watches = go(move || io::read(notify.as_raw_fd(), &mut [0; 512]).unwrap());
        sleep(ms(5));
        std::fs::File::create(path.join("new")).unwrap();
        assert!(within(SOON, || watches.join().unwrap()) > size_of::<libc::inotify_event>());
        std::fs::remove_dir_all(path).unwrap();
    });
}

/// Names, asked for by many at once.
#[test]
fn names_of_hosts() {
    use std::net::ToSocketAddrs;
    at_each(|_| {
        let all: Vec<_> = (0..20u16)
            .map(|i| {
                go(move || ("localhost", 1_000 + i).to_socket_addrs().unwrap().collect::<Vec<_>>())
            })
            .collect();
        for (i, addresses) in within(ms(20_000), || join_all(all)).into_iter().enumerate() {
            let is_right = |a: &std::net::SocketAddr| {
                a.ip().is_loopback() && usize::from(a.port()) == 1_000 + i
            };
            assert!(!addresses.is_empty() && addresses.iter().all(is_right), "{addresses:?}");
        }
    });
}

/// A server of lines over the connection that `connect` makes anew each time: many short connections.
#[test]
fn many_short_connections() {
    at_each(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = go(move || {
            for _ in 0..300 {
                let (mut stream, _) = listener.accept().unwrap();
                go(move || {
                    let mut all = Vec::new();
                    stream.read_to_end(&mut all).unwrap();
                    stream.write_all(&all).unwrap();
                });
            }
        });
        let clients: Vec<_> = (0..10usize)
            .map(|i| {
                go(move || {
                    for turn in 0..30 {
                        let mut stream = TcpStream::connect(address).unwrap();
                        let data = pattern(i, 1 + turn * 100);
                        stream.write_all(&data).unwrap();
                        stream.shutdown(Shutdown::Write).unwrap();
                        let mut back = Vec::new();
                        stream.read_to_end(&mut back).unwrap();
                        assert!(back == data);
                    }
                })
            })
            .collect();
        within(ms(20_000), || join_all(clients));
        server.join().unwrap();
    });
}
