//! Descriptors whose numbers are closed and given out again, seen by the library or not; and many who
//! wait for one.
//!
//! Each message carries the name of the file that it was written to, so that nobody gets another's unseen.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::{go, runtime};
use goroutines_tests::io::{self, PARKS, at_each, check, errno, ms, tcp_pair, within};
use goroutines_tests::proc::os_threads;
use goroutines_tests::{join_all, raw};
use std::collections::HashSet;
use std::io::{Read, Write, pipe};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

const SOON: Duration = ms(10_000);

/// How long it may take to find out what was not seen.
const FOUND_OUT: Duration = ms(5_000);

/// How many turns a storm has.
const TURNS: u64 = 200;

fn name() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

fn us(n: u64) -> Duration {
    Duration::from_micros(n)
}

/// Both ends of a new pipe or connection: who reads, and who writes.
fn ends(which: u64) -> (OwnedFd, OwnedFd) {
    match which % 3 {
        0 => {
            let (reader, writer) = pipe().unwrap();
            (reader.into(), writer.into())
        }
        1 => {
            let (one, other) = UnixStream::pair().unwrap();
            (one.into(), other.into())
        }
        _ => {
            let [one, other] = tcp_pair();
            (one.into(), other.into())
        }
    }
}

/// Reads a whole message; 0 at the end of data.
fn receive(fd: &impl AsRawFd) -> u64 {
    let mut buf = [0; 8];
    match io::read(fd.as_raw_fd(), &mut buf).unwrap() {
        0 => 0,
        8 => u64::from_le_bytes(buf),
        n => panic!("{n} bytes of a message"),
    }
}

fn send(fd: &impl AsRawFd, message: u64) {
    assert_eq!(io::write(fd.as_raw_fd(), &message.to_le_bytes()).unwrap(), 8);
}

/// How a storm closes what it has opened.
fn close_somehow(fd: OwnedFd, turn: u64) {
    let number = fd.into_raw_fd();
    match turn % 5 {
        0 | 1 => assert_eq!(io::close(number).unwrap(), 0),
        2 => {
            let first = number.cast_unsigned();
            // SAFETY: one number, which is ours.
            assert_eq!(unsafe { libc::close_range(first, first, 0) }, 0);
        }
        3 => close_raw(number),
        _ => {
            let (reader, _writer) = pipe().unwrap();
            // SAFETY: two numbers, which are ours.
            check(unsafe { libc::dup2(reader.as_raw_fd(), number) }).unwrap();
            io::close(number).unwrap();
        }
    }
}

/// Closes a number by a system call that nobody sees.
fn close_raw(number: i32) {
    // SAFETY: a number of ours.
    let word = unsafe { raw::call(libc::SYS_close, [number as usize, 0, 0, 0, 0, 0]) };
    assert_eq!(word, 0);
}

/// A pipe made by a system call that nobody sees.
fn pipe_raw() -> (OwnedFd, OwnedFd) {
    let mut pair = [0i32; 2];
    // SAFETY: two numbers to write, and to own.
    unsafe {
        let args = [pair.as_mut_ptr() as usize, libc::O_CLOEXEC as usize, 0, 0, 0, 0];
        assert_eq!(raw::call(libc::SYS_pipe2, args), 0);
        (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1]))
    }
}

/// Pipes and connections are opened, waited for and closed at full speed, in all ways, so that numbers go
/// round; each message arrives where it was sent, each end of data too.
#[test]
fn numbers_go_round() {
    at_each(|_| {
        let all = (0..12u64).map(|i| {
            go(move || {
                for turn in 0..TURNS {
                    let (reader, writer) = if turn % 7 == 6 { pipe_raw() } else { ends(turn + i) };
                    let me = name();
                    let sender = go(move || {
                        if turn % 4 == 0 {
                            sleep(us(turn % 90));
                        }
                        send(&writer, me);
                        if turn % 3 == 0 {
                            runtime::gosched();
                        }
                        send(&writer, me);
                        close_somehow(writer, turn / 3);
                    });
                    assert_eq!(receive(&reader), me);
                    assert_eq!(receive(&reader), me);
                    assert_eq!(receive(&reader), 0, "the end");
                    close_somehow(reader, turn);
                    sender.join().unwrap();
                }
            })
        });
        within(ms(40_000), || join_all(all.collect::<Vec<_>>()));
    });
}

/// One number stands for one file after another, by `dup2` over it: a reader that waits goes on with the file that there
/// was, one that begins after the change reads the new one. (The twin test has each kind of file.)
#[test]
fn one_number_many_files() {
    at_each(|_| {
        let (first, mut before) = ends(0);
        let number = first.into_raw_fd();
        for turn in 0..TURNS / 2 {
            let waits = go(move || {
                let mut buf = [0; 8];
                assert_eq!(io::read(number, &mut buf).unwrap(), 8);
                u64::from_le_bytes(buf)
            });
            if turn % 2 == 0 {
                sleep(us(turn % 60));
            }
            let (reader, writer) = ends(turn);
            // SAFETY: two numbers of ours.
            check(unsafe { libc::dup2(reader.as_raw_fd(), number) }).unwrap();
            drop(reader);
            let [old, new] = [name(), name()];
            // It goes to no reader, if the reader came after the change.
            let _ = io::write(before.as_raw_fd(), &old.to_le_bytes());
            send(&writer, new);
            let got = within(SOON, || waits.join().unwrap());
            if got != new {
                assert_eq!(got, old);
                let mut buf = [0; 8];
                assert_eq!(io::read(number, &mut buf).unwrap(), 8);
                assert_eq!(u64::from_le_bytes(buf), new);
            }
            before = writer;
        }
        io::close(number).unwrap();
        drop(before);
    });
}

/// What was closed by a raw system call is found out about: who waits is told within some seconds.
#[test]
fn raw_closed_under_those_who_wait() {
    if !PARKS {
        return;
    }
    at_each(|_| {
        let mut keep = Vec::new();
        let waits: Vec<_> = (0..9)
            .map(|i| {
                let (reader, writer) = ends(i);
                keep.push(writer);
                let number = reader.into_raw_fd();
                let poll = i % 2 == 0;
                (number, go(move || wait_somehow(number, poll)))
            })
            .collect();
        sleep(ms(20));
        waits.iter().for_each(|(number, _)| close_raw(*number));
        for (_, handle) in waits {
            let error = within(FOUND_OUT, || handle.join().unwrap());
            assert_eq!(error, libc::EBADF);
        }
    });
}

/// Reads, or polls; the error.
fn wait_somehow(number: i32, poll: bool) -> i32 {
    if !poll {
        return errno(&io::read(number, &mut [0]));
    }
    let mut one = [libc::pollfd { fd: number, events: libc::POLLIN, revents: 0 }];
    assert_eq!(io::poll(&mut one, -1).unwrap(), 1);
    if one[0].revents == libc::POLLNVAL { libc::EBADF } else { 0 }
}

/// A number that is closed and given out again by raw system calls, before or while somebody waits: who
/// waits on it afterwards gets what is written to the new file.
#[test]
fn raw_reopened_numbers_are_as_new() {
    at_each(|_| {
        let all = (0..8u64).map(|i| {
            go(move || {
                // Waited for through the library, so that it knows the number.
                let (reader, writer) = ends(i);
                let number = reader.into_raw_fd();
                let waits = go(move || io::read(number, &mut [0; 8]));
                sleep(ms(2));
                send(&writer, 1);
                assert_eq!(waits.join().unwrap().unwrap(), 8);
                // Another file under the same number, unseen; the one before goes, or lives on and speaks too.
                let keep = i % 2 == 0;
                // SAFETY: a new number of a file of ours.
                let old = keep.then(|| unsafe { OwnedFd::from_raw_fd(libc::dup(number)) });
                let (other, other_writer) = pipe_raw();
                let args = [other.as_raw_fd() as usize, number as usize, 0, 0, 0, 0];
                // SAFETY: two numbers of ours.
                assert!(unsafe { raw::call(libc::SYS_dup2, args) } >= 0);
                let me = name();
                let waits = go(move || {
                    let mut buf = [0; 8];
                    assert_eq!(io::read(number, &mut buf).unwrap(), 8);
                    u64::from_le_bytes(buf)
                });
                sleep(ms(5));
                if keep {
                    send(&writer, 2);
                }
                send(&other_writer, me);
                let got = within(FOUND_OUT, || waits.join().unwrap());
                assert_eq!(got, me);
                close_raw(number);
                if let Some(old) = old {
                    assert_eq!(receive(&old), 2);
                }
            })
        });
        join_all(all.collect::<Vec<_>>());
    });
}

/// Sends descriptors over a local socket, as ancillary data beside one byte.
fn send_descriptors(over: &UnixStream, fds: &[i32]) {
    // SAFETY: a header over buffers that are long enough.
    unsafe {
        let mut byte = 7u8;
        let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let mut control = [0u64; 32];
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of_val(fds) as u32) as usize;
        let one = libc::CMSG_FIRSTHDR(&raw const message);
        (*one).cmsg_level = libc::SOL_SOCKET;
        (*one).cmsg_type = libc::SCM_RIGHTS;
        (*one).cmsg_len = libc::CMSG_LEN(size_of_val(fds) as u32) as usize;
        let at = libc::CMSG_DATA(one).cast::<i32>();
        std::ptr::copy_nonoverlapping(fds.as_ptr(), at, fds.len());
        let sent = libc::sendmsg(over.as_raw_fd(), &raw const message, 0);
        assert_eq!(check(sent as i64).unwrap(), 1);
    }
}

/// Receives up to eight descriptors.
fn receive_descriptors(over: &UnixStream) -> Vec<OwnedFd> {
    // SAFETY: a header over buffers of that size; the numbers are new, and ours.
    unsafe {
        let mut byte = 0u8;
        let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let mut control = [0u64; 32];
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control);
        let got = libc::recvmsg(over.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC);
        assert_eq!((check(got as i64).unwrap(), byte), (1, 7));
        let one = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(!one.is_null());
        let n = ((*one).cmsg_len - libc::CMSG_LEN(0) as usize) / size_of::<i32>();
        let at = libc::CMSG_DATA(one).cast::<i32>();
        (0..n).map(|i| OwnedFd::from_raw_fd(at.add(i).read_unaligned())).collect()
    }
}

/// Descriptors that come with a message: numbers which nobody has opened. Numbers are closed unseen now and
/// then, so that what is known of them is old.
#[test]
fn descriptors_come_with_messages() {
    at_each(|_| {
        let all = (0..6u64).map(|i| {
            go(move || {
                let (one, other) = UnixStream::pair().unwrap();
                for turn in 0..60 {
                    let (reader, writer) = ends(turn + i);
                    let me = name();
                    send_descriptors(&one, &[reader.as_raw_fd()]);
                    drop(reader);
                    let sender = go(move || {
                        sleep(us(turn * 7 % 100));
                        send(&writer, me);
                    });
                    let mut got = receive_descriptors(&other);
                    let reader = got.pop().unwrap();
                    assert!(got.is_empty());
                    assert_eq!(within(SOON, || receive(&reader)), me);
                    assert_eq!(receive(&reader), 0);
                    close_somehow(reader, turn);
                    sender.join().unwrap();
                }
            })
        });
        join_all(all.collect::<Vec<_>>());
    });
}

/// 64 accept at one listener, and at a copy of it: each connection once, none lost.
#[test]
fn many_accept_at_one_listener() {
    for copies in [1, 2] {
        at_each(|_| many_accept(copies));
    }
}

fn many_accept(copies: usize) {
    const ACCEPTORS: usize = 64;
    const CONNECTIONS: usize = 400;
    let before = os_threads();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let all: Vec<_> = (0..copies).map(|_| Arc::new(listener.try_clone().unwrap())).collect();
    drop(listener);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let acceptors: Vec<_> = (0..ACCEPTORS)
        .map(|i| {
            let (listener, seen) = (Arc::clone(&all[i % copies]), Arc::clone(&seen));
            go(move || {
                loop {
                    let (stream, _) = listener.accept().unwrap();
                    let me = receive(&stream);
                    if me == u64::MAX {
                        break;
                    }
                    seen.lock().unwrap().push(me);
                    send(&stream, me);
                }
            })
        })
        .collect();
    let clients = (0..8).map(|i| {
        go(move || {
            for turn in 0..CONNECTIONS / 8 {
                let (stream, me) = (TcpStream::connect(address).unwrap(), i * CONNECTIONS + turn);
                send(&stream, me as u64);
                assert_eq!(receive(&stream), me as u64);
            }
        })
    });
    join_all(clients.collect::<Vec<_>>());
    let threads = os_threads();
    for _ in 0..ACCEPTORS {
        send(&TcpStream::connect(address).unwrap(), u64::MAX);
    }
    within(SOON, || join_all(acceptors));
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), CONNECTIONS);
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), CONNECTIONS, "some twice");
    if PARKS {
        assert!(threads < before + 12, "{threads} threads, {before} before");
    }
}

/// Of those who accept at copies of one listener several may see the connection, and some be too late: they
/// block in the kernel. When such a number is given to another listener, that one's acceptors don't mind.
#[test]
fn a_listener_after_one_in_which_somebody_is_stuck() {
    if !PARKS {
        return; // a thread would be stuck each time
    }
    at_each(|_| {
        let mut stuck = 0;
        for _ in 0..150 {
            stuck += accept_at_copies();
        }
        println!("{stuck} were stuck");
    });
}

/// Accepts a connection at a number. Where it comes from tells whether that number stood for another
/// listener when the call was made.
fn accept_at(fd: i32) -> goroutines::JoinHandle<std::io::Result<TcpStream>> {
    go(move || {
        // SAFETY: no address is wanted; the number is new, and ours.
        unsafe {
            let none = std::ptr::null_mut();
            let new = libc::accept(fd, none, none.cast());
            check(new).map(|_| TcpStream::from_raw_fd(new))
        }
    })
}

/// How many were stuck.
fn accept_at_copies() -> usize {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let copies = [0; 6].map(|_| listener.try_clone().unwrap().into_raw_fd());
    let strays = Arc::new(AtomicUsize::new(0));
    let acceptors = copies.map(|fd| {
        let (accepts, strays) = (accept_at(fd), Arc::clone(&strays));
        go(move || {
            let accepted = accepts.join().unwrap();
            if accepted.is_ok_and(|stream| stream.local_addr().unwrap() != address) {
                strays.fetch_add(1, Ordering::SeqCst);
            }
        })
    });
    sleep(us(300));
    let _client = TcpStream::connect(address).unwrap();
    let start = std::time::Instant::now();
    while acceptors.iter().all(|handle| !handle.is_finished()) {
        assert!(start.elapsed() < SOON, "it is not accepted");
        sleep(us(50));
    }
    sleep(us(300));
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other_address = other.local_addr().unwrap();
    for fd in copies {
        // SAFETY: two numbers of ours.
        check(unsafe { libc::dup2(other.as_raw_fd(), fd) }).unwrap();
    }
    sleep(ms(1));
    let stuck = acceptors.iter().filter(|handle| !handle.is_finished()).count();
    let mut seen = 0;
    for fd in copies {
        let accepts = accept_at(fd);
        let mut clients = vec![TcpStream::connect(other_address).unwrap()];
        let start = std::time::Instant::now();
        while !accepts.is_finished() {
            assert!(start.elapsed() < FOUND_OUT, "it is not accepted; {seen} strays before");
            // An acceptor of before, which had not come to its call when the number changed, took ours.
            while seen < strays.load(Ordering::SeqCst) {
                seen += 1;
                clients.push(TcpStream::connect(other_address).unwrap());
            }
            sleep(us(50));
        }
        accepts.join().unwrap().unwrap();
        io::close(fd).unwrap();
    }
    // SAFETY: no memory is involved.
    check(unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) }).unwrap();
    within(SOON, || join_all(acceptors));
    stuck
}

/// Sixteen read from one pipe, one datagram socket: each message once, none lost.
#[test]
fn many_read_from_one() {
    at_each(|_| {
        let (reader, writer) = pipe().unwrap();
        messages_are_read_once(OwnedFd::from(reader), OwnedFd::from(writer));
        let (one, other) = UnixDatagram::pair().unwrap();
        messages_are_read_once(OwnedFd::from(one), OwnedFd::from(other));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(socket.local_addr().unwrap()).unwrap();
        let copy = socket.try_clone().unwrap();
        messages_are_read_once(OwnedFd::from(socket), OwnedFd::from(copy));
    });
}

fn messages_are_read_once(reader: OwnedFd, writer: OwnedFd) {
    const READERS: u64 = 16;
    const MESSAGES: u64 = 400;
    let (reader, writer) = (Arc::new(reader), Arc::new(writer));
    let unread = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (reader, unread) = (Arc::clone(&reader), Arc::clone(&unread));
            go(move || {
                let mut got = Vec::new();
                loop {
                    let message = receive(&*reader);
                    unread.fetch_sub(1, Ordering::Relaxed);
                    if message == u64::MAX {
                        return got;
                    }
                    got.push(message);
                }
            })
        })
        .collect();
    let writers = (0..4).map(|i| {
        let (writer, unread) = (Arc::clone(&writer), Arc::clone(&unread));
        go(move || {
            for turn in 0..MESSAGES / 4 {
                // UDP drops what finds no room.
                while unread.fetch_add(1, Ordering::Relaxed) > 40 {
                    unread.fetch_sub(1, Ordering::Relaxed);
                    runtime::gosched();
                }
                send(&*writer, i * MESSAGES + turn);
            }
        })
    });
    join_all(writers.collect::<Vec<_>>());
    for _ in 0..READERS {
        unread.fetch_add(1, Ordering::Relaxed);
        send(&*writer, u64::MAX);
    }
    let got = within(SOON, || join_all(readers)).concat();
    assert_eq!(got.len(), MESSAGES as usize);
    assert_eq!(got.iter().collect::<HashSet<_>>().len(), MESSAGES as usize, "some twice");
}

/// Who polls and who reads wait for one descriptor: all who poll see what was written, one reads it.
#[test]
fn pollers_and_readers_of_one() {
    at_each(|_| {
        for which in 0..3 {
            let (reader, writer) = ends(which);
            let reader = Arc::new(reader);
            let poll = |reader: &Arc<OwnedFd>| {
                let reader = Arc::clone(reader);
                go(move || wait_somehow(reader.as_raw_fd(), true))
            };
            let pollers: Vec<_> = (0..8).map(|_| poll(&reader)).collect();
            sleep(ms(10));
            send(&writer, 1);
            // Nobody has read it yet.
            within(SOON, || join_all(pollers));
            assert_eq!(receive(&*reader), 1);
            let pollers: Vec<_> = (0..8).map(|_| poll(&reader)).collect();
            let reads = Arc::clone(&reader);
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    let reads = Arc::clone(&reads);
                    go(move || receive(&*reads))
                })
                .collect();
            sleep(ms(10));
            (2..6).for_each(|i| send(&writer, i));
            let mut got = within(SOON, || join_all(readers));
            got.sort_unstable();
            assert_eq!(got, [2, 3, 4, 5]);
            // It stays: each of those that still poll sees it.
            send(&writer, 6);
            within(SOON, || join_all(pollers));
        }
    });
}

/// A writer that waits for room, and a reader that makes some, of one connection each way; many of each.
#[test]
fn many_write_to_one() {
    at_each(|_| {
        for which in 0..3 {
            let (reader, writer) = ends(which);
            let writer = Arc::new(writer);
            let writers: Vec<_> = (0..8u8)
                .map(|i| {
                    let writer = Arc::clone(&writer);
                    go(move || {
                        let mut file = std::fs::File::from(writer.try_clone().unwrap());
                        file.write_all(&[i; 200_000]).unwrap();
                    })
                })
                .collect();
            drop(writer);
            let mut all = Vec::new();
            let mut file = std::fs::File::from(reader);
            within(ms(20_000), || file.read_to_end(&mut all)).unwrap();
            join_all(writers);
            for i in 0..8 {
                assert_eq!(all.iter().filter(|b| **b == i).count(), 200_000);
            }
        }
    });
}

/// `poll` over many that close, open and speak meanwhile: each message is seen.
#[test]
fn polling_many_that_change() {
    at_each(|_| {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        // Numbers around those of the list go round meanwhile.
        let storm = go(move || {
            while !told.load(Ordering::Relaxed) {
                let _ends: Vec<_> = (0..6).map(ends).collect();
                sleep(us(50));
            }
        });
        let (readers, writers): (Vec<_>, Vec<_>) = (0..30).map(ends).unzip();
        let sender = go(move || {
            for turn in 0..300usize {
                send(&writers[turn * 7 % 30], turn as u64);
                if turn % 5 == 0 {
                    sleep(us(100));
                }
            }
        });
        let mut seen = HashSet::new();
        let poll = |list: &mut [libc::pollfd], time| io::poll(list, time).unwrap();
        let mut list: Vec<_> = readers
            .iter()
            .map(|r| libc::pollfd { fd: r.as_raw_fd(), events: libc::POLLIN, revents: 0 })
            .collect();
        while seen.len() < 300 {
            assert!(within(SOON, || poll(&mut list, -1)) > 0);
            for one in list.iter().filter(|one| one.revents & libc::POLLIN != 0) {
                seen.insert(receive(&one.fd));
            }
        }
        sender.join().unwrap();
        assert_eq!(poll(&mut list, 0), 30, "their writers are gone: all hang up");
        stop.store(true, Ordering::Relaxed);
        storm.join().unwrap();
    });
}
