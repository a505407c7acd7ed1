//! What calls say at once: `errno` to the letter, also of calls that would wait if they were right.
//!
//! Each is made by a goroutine and must return within a second: one that waits for what never comes hangs.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::go;
use goroutines_tests::io::{self, at_each, check, errno, ms, set_nonblocking, tcp_pair, within};
use std::io::{ErrorKind, Read, Write, pipe};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::ptr::null_mut;

/// A call, and what it is to say.
type Case = (&'static str, Box<dyn FnOnce() -> std::io::Result<usize> + Send>, i32);

/// Each case by a goroutine of its own; those that don't end in a second, or say another thing, are named.
#[track_caller]
fn say_at_once(cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for (name, call, wanted) in cases {
        let handle = go(call);
        let start = std::time::Instant::now();
        while !handle.is_finished() && start.elapsed() < ms(1_000) {
            std::thread::sleep(ms(1));
        }
        if !handle.is_finished() {
            wrong.push(format!("{name} waits"));
            continue;
        }
        let result = handle.join().unwrap();
        if errno(&result) != wanted {
            wrong.push(format!("{name}: {result:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A new descriptor.
fn owned(fd: i32) -> OwnedFd {
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: it is new, and ours.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn accept(fd: &impl AsRawFd) -> std::io::Result<usize> {
    // SAFETY: no address is wanted.
    check(unsafe { libc::accept(fd.as_raw_fd(), null_mut(), null_mut()) })
}

fn receive(fd: &impl AsRawFd, flags: i32) -> std::io::Result<usize> {
    let mut buf = [0u8; 8];
    // SAFETY: eight bytes to write.
    check(unsafe { libc::recv(fd.as_raw_fd(), buf.as_mut_ptr().cast(), 8, flags) } as i64)
}

fn send(fd: &impl AsRawFd, flags: i32) -> std::io::Result<usize> {
    // SAFETY: eight bytes to read.
    check(unsafe { libc::send(fd.as_raw_fd(), [0u8; 8].as_ptr().cast(), 8, flags) } as i64)
}

/// `accept` where there is nothing to accept from.
#[test]
fn accepting_from_what_is_no_listener() {
    at_each(|_| {
        let [one, other] = tcp_pair();
        let (local, local_other) = UnixStream::pair().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let datagram = UnixDatagram::unbound().unwrap();
        let (reader, writer) = pipe().unwrap();
        // SAFETY: no memory is involved.
        let unbound = owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        say_at_once(vec![
            ("accept of a connection", Box::new(move || accept(&one)), libc::EINVAL),
            ("accept of a local connection", Box::new(move || accept(&local)), libc::EINVAL),
            ("accept of an unbound socket", Box::new(move || accept(&unbound)), libc::EINVAL),
            ("accept of datagrams", Box::new(move || accept(&socket)), libc::EOPNOTSUPP),
            ("accept of local datagrams", Box::new(move || accept(&datagram)), libc::EOPNOTSUPP),
            ("accept of a pipe", Box::new(move || accept(&reader)), libc::ENOTSOCK),
            ("accept of no number", Box::new(|| accept(&-1)), libc::EBADF),
            ("accept of a closed number", Box::new(|| accept(&19_999)), libc::EBADF),
            (
                "accept4 with wrong flags",
                Box::new(move || {
                    // SAFETY: no address is wanted.
                    let fd = unsafe {
                        libc::accept4(listener.as_raw_fd(), null_mut(), null_mut(), 0x77)
                    };
                    check(fd)
                }),
                libc::EINVAL,
            ),
        ]);
        drop((other, local_other, writer));
    });
}

/// Reading and writing what can't be read or written, or not so.
#[test]
fn reading_and_writing_what_does_not() {
    at_each(|_| {
        let (reader, writer) = pipe().unwrap();
        // SAFETY: no memory is involved.
        let files = unsafe {
            [
                libc::eventfd(0, 0),
                libc::timerfd_create(libc::CLOCK_MONOTONIC, 0),
                libc::epoll_create1(0),
                libc::inotify_init1(0),
            ]
            .map(owned)
        };
        let [event, timer, epoll, notify] = files.each_ref().map(AsRawFd::as_raw_fd);
        let (read_end, write_end) = (reader.as_raw_fd(), writer.as_raw_fd());
        let read = |fd: i32, n: usize| Box::new(move || io::read(fd, &mut vec![0; n])) as Box<_>;
        let write = |fd: i32, n: usize| Box::new(move || io::write(fd, &vec![1; n])) as Box<_>;
        say_at_once(vec![
            ("read of a write end", read(write_end, 1), libc::EBADF),
            ("write to a read end", write(read_end, 1), libc::EBADF),
            ("short read of an eventfd", read(event, 4), libc::EINVAL),
            ("short write to an eventfd", write(event, 4), libc::EINVAL),
            ("short read of a timerfd", read(timer, 4), libc::EINVAL),
            ("write to a timerfd", write(timer, 8), libc::EINVAL),
            ("read of an epoll", read(epoll, 8), libc::EINVAL),
            ("write to an epoll", write(epoll, 8), libc::EINVAL),
            ("write to an inotify", write(notify, 8), libc::EBADF),
            ("read of no number", read(-1, 1), libc::EBADF),
            ("read of a closed number", read(19_999, 1), libc::EBADF),
            ("write to a closed number", write(19_999, 1), libc::EBADF),
        ]);
        // It is as usable as before.
        let reads = go(move || io::read(event, &mut [0; 8]));
        std::thread::sleep(ms(2));
        assert_eq!(io::write(event, &1u64.to_ne_bytes()).unwrap(), 8);
        assert_eq!(within(ms(1_000), || reads.join().unwrap()).unwrap(), 8);
    });
}

/// Moving data between what it can't be moved between.
#[test]
fn moving_what_does_not_move() {
    at_each(|_| {
        let [one, other] = tcp_pair();
        let (reader, writer) = pipe().unwrap();
        let (from, to) = (one.as_raw_fd(), other.as_raw_fd());
        let (read_end, write_end) = (reader.as_raw_fd(), writer.as_raw_fd());
        let splice = |from: i32, to: i32, flags: u32| {
            Box::new(move || {
                // SAFETY: no memory is involved.
                check(unsafe { libc::splice(from, null_mut(), to, null_mut(), 8, flags) } as i64)
            }) as Box<_>
        };
        let send_file = |to: i32, from: i32| {
            // SAFETY: no memory is involved.
            Box::new(move || check(unsafe { libc::sendfile(to, from, null_mut(), 8) } as i64))
                as Box<_>
        };
        let tee = |from: i32, to: i32| {
            // SAFETY: no memory is involved.
            Box::new(move || check(unsafe { libc::tee(from, to, 8, 0) } as i64)) as Box<_>
        };
        say_at_once(vec![
            ("splice between connections", splice(from, to, 0), libc::EINVAL),
            ("splice with wrong flags", splice(read_end, to, 0x100), libc::EINVAL),
            ("splice of a write end", splice(write_end, to, 0), libc::EBADF),
            ("splice of one pipe", splice(read_end, write_end, 0), libc::EINVAL),
            ("sendfile of a connection", send_file(to, from), libc::EINVAL),
            ("tee of a connection", tee(from, write_end), libc::EINVAL),
            ("tee of one pipe", tee(read_end, write_end), libc::EINVAL),
        ]);
    });
}

/// Sockets that are not connected, or not what the call is for.
#[test]
fn sockets_of_the_wrong_kind() {
    at_each(|_| {
        // SAFETY: no memory is involved.
        let unbound = || owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) });
        let (a, b, c) = (unbound(), unbound(), unbound());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let again = listener.try_clone().unwrap();
        let [connected, other] = tcp_pair();
        let address = other.local_addr().unwrap();
        let (reader, writer) = pipe().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let [oob, oob_other] = tcp_pair();
        say_at_once(vec![
            ("recv, not connected", Box::new(move || receive(&a, 0)), libc::ENOTCONN),
            ("send, not connected", Box::new(move || send(&b, libc::MSG_NOSIGNAL)), libc::EPIPE),
            ("recv of a listener", Box::new(move || receive(&listener, 0)), libc::ENOTCONN),
            ("send to a listener", Box::new(move || send(&again, libc::MSG_NOSIGNAL)), libc::EPIPE),
            ("recv of a pipe", Box::new(move || receive(&reader, 0)), libc::ENOTSOCK),
            ("send to a pipe", Box::new(move || send(&writer, 0)), libc::ENOTSOCK),
            ("send, no address", Box::new(move || send(&udp, 0)), libc::EDESTADDRREQ),
            ("no urgent data", Box::new(move || receive(&oob, libc::MSG_OOB)), libc::EINVAL),
            (
                "connect, connected",
                Box::new(move || connect(&connected, address.port())),
                libc::EISCONN,
            ),
            ("connect, refused", Box::new(move || connect(&c, refused_port())), libc::ECONNREFUSED),
            ("connect of a closed number", Box::new(|| connect(&19_999, 9)), libc::EBADF),
        ]);
        drop((other, oob_other));
    });
}

fn connect(fd: &impl AsRawFd, port: u16) -> std::io::Result<usize> {
    let to = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let len = size_of_val(&to) as libc::socklen_t;
    // SAFETY: an address to read.
    check(unsafe { libc::connect(fd.as_raw_fd(), (&raw const to).cast(), len) })
}

/// A port that was free a moment ago.
fn refused_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Buffers that are none.
#[test]
fn buffers_that_are_none() {
    at_each(|_| {
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(b"some").unwrap();
        let [one, mut other] = tcp_pair();
        other.write_all(b"some").unwrap();
        let read = |fd: i32| {
            // SAFETY: the kernel is to say what is wrong.
            Box::new(move || check(unsafe { libc::read(fd, 16 as *mut _, 4) } as i64)) as Box<_>
        };
        let write = |fd: i32| {
            // SAFETY: as above.
            Box::new(move || check(unsafe { libc::write(fd, 16 as *const _, 4) } as i64)) as Box<_>
        };
        let vector = |fd: i32, n: i32| {
            Box::new(move || {
                let list: Vec<_> = (0..n.max(1))
                    .map(|_| libc::iovec { iov_base: null_mut(), iov_len: 0 })
                    .collect();
                // SAFETY: empty buffers.
                check(unsafe { libc::readv(fd, list.as_ptr(), n) } as i64)
            }) as Box<_>
        };
        say_at_once(vec![
            ("read", read(reader.as_raw_fd()), libc::EFAULT),
            ("read of a connection", read(one.as_raw_fd()), libc::EFAULT),
            ("write", write(writer.as_raw_fd()), libc::EFAULT),
            ("write to a connection", write(one.as_raw_fd()), libc::EFAULT),
            ("readv of -1 buffers", vector(reader.as_raw_fd(), -1), libc::EINVAL),
            ("readv of 1025 buffers", vector(reader.as_raw_fd(), 1025), libc::EINVAL),
            ("readv of nothing", vector(reader.as_raw_fd(), 3), 0),
        ]);
    });
}

/// `O_NONBLOCK`, and `MSG_DONTWAIT`: nothing waits, and nothing is changed for others.
#[test]
fn nonblocking_says_so() {
    at_each(|_| {
        let (mut reader, mut writer) = pipe().unwrap();
        let [one, other] = tcp_pair();
        let (local, _local_other) = UnixStream::pair().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local_listener = UnixListener::bind_addr(&abstract_name()).unwrap();
        say_at_once(vec![
            ("recv", flagged(&one, false), libc::EAGAIN),
            ("recv of a datagram", flagged(&socket, false), libc::EAGAIN),
        ]);
        set_nonblocking(&reader, true);
        set_nonblocking(&writer, true);
        one.set_nonblocking(true).unwrap();
        local.set_nonblocking(true).unwrap();
        socket.set_nonblocking(true).unwrap();
        listener.set_nonblocking(true).unwrap();
        local_listener.set_nonblocking(true).unwrap();
        let kind = |result: std::io::Result<usize>| result.unwrap_err().kind();
        let would = ErrorKind::WouldBlock;
        within(ms(1_000), || {
            assert_eq!(kind(reader.read(&mut [0; 4])), would);
            assert_eq!(kind((&one).read(&mut [0; 4])), would);
            assert_eq!(kind(one.peek(&mut [0; 4])), would);
            assert_eq!(kind((&local).read(&mut [0; 4])), would);
            assert_eq!(kind(socket.recv(&mut [0; 4])), would);
            assert_eq!(listener.accept().unwrap_err().kind(), would);
            assert_eq!(local_listener.accept().unwrap_err().kind(), would);
            // As much as there is room for, then no more.
            let mut written = 0;
            while let Ok(n) = writer.write(&[1; 50_000]) {
                written += n;
            }
            assert_eq!(kind(writer.write(&[1; 4096])), would);
            set_nonblocking(&writer, false);
            let reads = go(move || {
                set_nonblocking(&reader, false);
                let mut all = Vec::new();
                reader.read_to_end(&mut all).unwrap();
                all.len()
            });
            writer.write_all(&[1; 100_000]).unwrap();
            drop(writer);
            assert_eq!(reads.join().unwrap(), written + 100_000);
            while (&one).write(&[1; 50_000]).is_ok() {}
            assert_eq!(kind((&one).write(&[1; 50_000])), would);
        });
        drop(other);
    });
}

fn abstract_name() -> std::os::unix::net::SocketAddr {
    use std::os::linux::net::SocketAddrExt;
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{} {}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap()
}

fn flagged(
    file: &impl AsRawFd,
    send_it: bool,
) -> Box<dyn FnOnce() -> std::io::Result<usize> + Send> {
    let fd = file.as_raw_fd();
    Box::new(
        move || {
            if send_it { send(&fd, libc::MSG_DONTWAIT) } else { receive(&fd, libc::MSG_DONTWAIT) }
        },
    )
}

/// `connect` to where the queue is full: at once with `O_NONBLOCK`, and again while it goes on.
#[test]
fn connecting_without_blocking() {
    at_each(|_| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // SAFETY: no memory is involved.
        check(unsafe { libc::listen(listener.as_raw_fd(), 0) }).unwrap();
        let port = listener.local_addr().unwrap().port();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, ms(50)) {
            waiting.push(stream);
        }
        // SAFETY: no memory is involved.
        let socket = owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) });
        set_nonblocking(&socket, true);
        within(ms(500), || {
            assert_eq!(errno(&connect(&socket, port)), libc::EINPROGRESS);
            assert_eq!(errno(&connect(&socket, port)), libc::EALREADY);
        });
        // Now it waits, as long as it is allowed to, for the connection that is under way.
        set_nonblocking(&socket, false);
        let time = libc::timeval { tv_sec: 0, tv_usec: 60_000 };
        io::set_option(&socket, libc::SOL_SOCKET, libc::SO_SNDTIMEO, time);
        let start = std::time::Instant::now();
        assert_eq!(errno(&connect(&socket, port)), libc::EALREADY);
        assert!(start.elapsed() >= ms(40), "{:?}: it did not wait", start.elapsed());
    });
}

/// What went well leaves `errno` as it was; who fails has his own, whoever fails beside him.
#[test]
fn errno_is_the_callers_own() {
    at_each(|_| {
        let all: Vec<_> = (0..8)
            .map(|i| {
                go(move || {
                    let [one, other] = tcp_pair();
                    let time = libc::timeval { tv_sec: 0, tv_usec: 1_000 };
                    io::set_option(&one, libc::SOL_SOCKET, libc::SO_RCVTIMEO, time);
                    for turn in 0..30 {
                        let (result, wanted) = match (i + turn) % 4 {
                            0 => (io::read(-1, &mut [0]), libc::EBADF),
                            1 => (io::read(one.as_raw_fd(), &mut [0]), libc::EAGAIN),
                            2 => (connect(&one, 9), libc::EISCONN),
                            _ => (accept(&pipe().unwrap().0), libc::ENOTSOCK),
                        };
                        assert_eq!(errno(&result), wanted);
                        // SAFETY: the caller's own.
                        unsafe { *libc::__errno_location() = 4_000 + i };
                        std::thread::sleep(std::time::Duration::from_micros(50));
                        io::write(other.as_raw_fd(), b"x").unwrap();
                        assert_eq!(io::read(one.as_raw_fd(), &mut [0]).unwrap(), 1);
                        let after = std::io::Error::last_os_error().raw_os_error();
                        assert_eq!(after, Some(4_000 + i), "after calls that went well");
                    }
                })
            })
            .collect();
        goroutines_tests::join_all(all);
    });
}
