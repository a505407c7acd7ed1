//! Sockets, pipes, terminals; `poll` and its kin.

use crate::{Wait, check, failed};
use goroutines_tests::io::{self, PARKS, full_listener, set_option, tcp_pair};
use std::fs::File;
use std::io::{IoSliceMut, Read, Write, pipe};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

/// Less than any other time here, should what it limits not be ended.
const MINUTES: Duration = Duration::from_secs(600);

#[test]
fn reads_are_ended() {
    if !PARKS {
        return;
    }
    check(&[
        ("read of TCP", || tcp(|mut stream| failed(stream.read(&mut [0; 16])))),
        ("read_vectored of TCP", || {
            tcp(|mut stream| {
                let (mut a, mut b) = ([0; 8], [0; 8]);
                failed(
                    stream.read_vectored(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)]),
                )
            })
        }),
        ("peek of TCP", || tcp(|stream| failed(stream.peek(&mut [0; 16])))),
        ("read_exact of TCP", || tcp(|mut stream| failed(stream.read_exact(&mut [0; 16])))),
        ("read of TCP, with a time-out", || {
            tcp(|mut stream| {
                stream.set_read_timeout(Some(MINUTES)).unwrap();
                failed(stream.read(&mut [0; 16]))
            })
        }),
        ("recv of UDP", || udp(|socket| failed(socket.recv(&mut [0; 16])))),
        ("recv_from of UDP", || udp(|socket| failed(socket.recv_from(&mut [0; 16])))),
        ("recvmsg of UDP", || {
            udp(|socket| {
                // SAFETY: plain old data; without buffers.
                let word = unsafe {
                    let mut message: libc::msghdr = std::mem::zeroed();
                    libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0)
                };
                failed(io::check(word as i64))
            })
        }),
        ("read of a Unix stream", || {
            let (one, other) = UnixStream::pair().unwrap();
            Box::new(move || keeping(&other, failed((&one).read(&mut [0; 16]))))
        }),
        ("recv of a Unix datagram socket", || {
            let (one, other) = UnixDatagram::pair().unwrap();
            Box::new(move || keeping(&other, failed(one.recv(&mut [0; 16]))))
        }),
        ("read of a pipe", || {
            let (mut reader, writer) = pipe().unwrap();
            Box::new(move || keeping(&writer, failed(reader.read(&mut [0; 16]))))
        }),
        ("read of an eventfd", || {
            // SAFETY: no memory is involved; the descriptor is ours.
            let mut file = unsafe { File::from_raw_fd(libc::eventfd(0, 0)) };
            Box::new(move || failed(file.read(&mut [0; 8])))
        }),
        ("read of a terminal", || {
            let [mut one, other] = terminal();
            Box::new(move || keeping(&other, failed(one.read(&mut [0; 16]))))
        }),
    ]);
}

/// `end`, which came while `_kept` was there.
fn keeping<T, E>(_kept: &T, end: E) -> E {
    end
}

fn tcp(mut wait: impl FnMut(&TcpStream) -> crate::End + Send + 'static) -> Wait {
    let [stream, other] = tcp_pair();
    Box::new(move || keeping(&other, wait(&stream)))
}

fn udp(mut wait: impl FnMut(&UdpSocket) -> crate::End + Send + 'static) -> Wait {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    Box::new(move || wait(&socket))
}

/// The two ends of a terminal.
fn terminal() -> [File; 2] {
    let mut ends = [-1; 2];
    let [one, other] = &mut ends;
    let none = std::ptr::null_mut();
    // SAFETY: two numbers to write; no name, no settings.
    let word = unsafe { libc::openpty(one, other, none, none.cast(), none.cast()) };
    io::check(word).unwrap();
    // SAFETY: ours.
    ends.map(|fd| unsafe { File::from_raw_fd(fd) })
}

#[test]
fn writes_are_ended() {
    if !PARKS {
        return;
    }
    /// Writes until it is full, and beyond.
    fn fill(mut to: impl Write) -> crate::End {
        loop {
            if let Err(error) = to.write_all(&[7; 100_000]) {
                return crate::End::Failed(error);
            }
        }
    }
    check(&[
        ("write to TCP", || {
            let [stream, other] = tcp_pair();
            set_option(&stream, libc::SOL_SOCKET, libc::SO_SNDBUF, 20_000);
            Box::new(move || keeping(&other, fill(&stream)))
        }),
        ("write to a Unix stream", || {
            let (one, other) = UnixStream::pair().unwrap();
            Box::new(move || keeping(&other, fill(&one)))
        }),
        ("send to a Unix datagram socket", || {
            let (one, other) = UnixDatagram::pair().unwrap();
            Box::new(move || {
                loop {
                    if let Err(error) = keeping(&other, one.send(&[7; 1_000])) {
                        return crate::End::Failed(error);
                    }
                }
            })
        }),
        ("write to a pipe", || {
            let (reader, writer) = pipe().unwrap();
            Box::new(move || keeping(&reader, fill(&writer)))
        }),
        ("write to an eventfd", || {
            // SAFETY: no memory is involved; the descriptor is ours.
            let mut file = unsafe { File::from_raw_fd(libc::eventfd(0, 0)) };
            file.write_all(&(u64::MAX - 1).to_ne_bytes()).unwrap();
            Box::new(move || failed(file.write_all(&1u64.to_ne_bytes())))
        }),
        ("io::copy from a pipe to TCP", || {
            let (mut reader, writer) = pipe().unwrap();
            let [mut stream, other] = tcp_pair();
            Box::new(move || {
                keeping(&(&writer, &other), failed(std::io::copy(&mut reader, &mut stream)))
            })
        }),
        ("io::copy from a file to TCP", || {
            let [mut stream, other] = tcp_pair();
            let mut file = File::open(std::env::current_exe().unwrap()).unwrap();
            assert!(file.metadata().unwrap().len() > 10_000_000, "more than a socket holds");
            Box::new(move || keeping(&other, failed(std::io::copy(&mut file, &mut stream))))
        }),
    ]);
}

#[test]
fn connections_are_ended() {
    if !PARKS {
        return;
    }
    check(&[
        ("accept of TCP", || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            Box::new(move || failed(listener.accept()))
        }),
        ("accept of TCP, by two", || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let other = listener.try_clone().unwrap();
            let waits = goroutines::go(move || other.accept());
            Box::new(move || keeping(&waits, failed(listener.accept())))
        }),
        ("incoming of TCP", || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            Box::new(move || failed(listener.incoming().next().unwrap()))
        }),
        ("accept of a Unix listener", || {
            let path = format!("goroutines-{}-{}", std::process::id(), unique());
            let path = std::env::temp_dir().join(path);
            let listener = UnixListener::bind(&path).unwrap();
            std::fs::remove_file(&path).unwrap();
            Box::new(move || failed(listener.accept()))
        }),
        ("connect of TCP", || {
            let full = full_listener();
            Box::new(move || {
                keeping(&full, failed(TcpStream::connect(full.0.local_addr().unwrap())))
            })
        }),
        ("connect_timeout of TCP", || {
            let full = full_listener();
            let address = full.0.local_addr().unwrap();
            Box::new(move || keeping(&full, failed(TcpStream::connect_timeout(&address, MINUTES))))
        }),
    ]);
}

fn unique() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// An entry of a list for `poll`.
fn entry(fd: &impl AsRawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

#[test]
fn polls_are_ended() {
    if !PARKS {
        return;
    }
    check(&[
        ("poll of one", || tcp(|stream| failed(io::poll(&mut [entry(stream, libc::POLLIN)], -1)))),
        ("poll of several, for a time", || {
            let all: Vec<_> = (0..100).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
            Box::new(move || {
                let mut list: Vec<_> = all.iter().map(|one| entry(one, libc::POLLIN)).collect();
                failed(io::poll(&mut list, 600_000))
            })
        }),
        ("poll of none", || Box::new(|| failed(io::poll(&mut [], 600_000)))),
        ("ppoll", || {
            tcp(|stream| {
                let mut one = entry(stream, libc::POLLIN);
                // SAFETY: one entry; no time, no mask.
                let word =
                    unsafe { libc::ppoll(&raw mut one, 1, std::ptr::null(), std::ptr::null()) };
                failed(io::check(word))
            })
        }),
        ("select", || {
            tcp(|stream| {
                let none = std::ptr::null_mut();
                // SAFETY: a set with a number below its size; no time.
                let word = unsafe {
                    let mut set: libc::fd_set = std::mem::zeroed();
                    libc::FD_SET(stream.as_raw_fd(), &raw mut set);
                    let n = stream.as_raw_fd() + 1;
                    libc::select(n, &raw mut set, none, none, none.cast())
                };
                failed(io::check(word))
            })
        }),
        ("select of none", || {
            Box::new(|| {
                let none = std::ptr::null_mut();
                let mut time = libc::timeval { tv_sec: 600, tv_usec: 0 };
                // SAFETY: a time to read and write.
                failed(io::check(unsafe { libc::select(0, none, none, none, &raw mut time) }))
            })
        }),
    ]);
}

/// `epoll_wait` is not ended, as its caller is an event loop: see `not_ended`. A `poll` of an epoll is.
#[test]
fn a_poll_of_an_epoll_is_ended() {
    if !PARKS {
        return;
    }
    check(&[("poll of an epoll", || {
        // SAFETY: no memory is involved; the descriptor is ours.
        let epoll = unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(0)) };
        Box::new(move || failed(io::poll(&mut [entry(&epoll, libc::POLLIN)], -1)))
    })]);
}
