//! What the tests of input, output and time share: a body at several numbers of processors, connected
//! pairs, and the words of C's calls.

use crate::proc::at_procs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Whether libc is taken over: then who waits costs no thread, and is told when its descriptor is closed.
pub const PARKS: bool = cfg!(feature = "intercept");

/// Runs `body` as a goroutine at `GOMAXPROCS` 1, 2 and 4, each time alone in the process.
///
/// # Panics
/// With the body's panic.
pub fn at_each(body: impl Fn(usize) + Sync) {
    for procs in [1, 2, 4] {
        at_procs(procs, || body(procs));
    }
}

/// `n` milliseconds.
#[must_use]
pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A connection over the loopback device.
///
/// # Panics
/// If there is none to be had.
#[must_use]
pub fn tcp_pair() -> [TcpStream; 2] {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let client = TcpStream::connect(address).expect("a connection");
    let (server, _) = listener.accept().expect("its other end");
    [client, server]
}

/// A listener that lets nobody in any more, as one has not been accepted: who connects is not answered.
///
/// # Panics
/// If there is none to be had.
#[must_use]
pub fn full_listener() -> (TcpListener, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    // SAFETY: no memory is involved.
    check(unsafe { libc::listen(listener.as_raw_fd(), 0) }).expect("a queue for one");
    let address = listener.local_addr().expect("its address");
    let waits = TcpStream::connect(address).expect("a connection");
    (listener, waits)
}

/// What a call of C's returned, with `errno` where that was -1.
///
/// # Errors
/// `errno`.
pub fn check(word: impl Into<i64>) -> io::Result<usize> {
    usize::try_from(word.into()).map_err(|_| io::Error::last_os_error())
}

/// The `errno` of a call that failed; 0 of one that did not.
#[must_use]
pub fn errno<T>(result: &io::Result<T>) -> i32 {
    result.as_ref().err().and_then(io::Error::raw_os_error).unwrap_or(0)
}

/// `read` of up to `buf.len()` bytes from a number.
///
/// # Errors
/// `errno`.
pub fn read(fd: i32, buf: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is ours.
    check(unsafe { libc::read(fd, buf.as_mut_ptr().cast(), buf.len()) } as i64)
}

/// `write` to a number.
///
/// # Errors
/// `errno`.
pub fn write(fd: i32, buf: &[u8]) -> io::Result<usize> {
    // SAFETY: the buffer is ours.
    check(unsafe { libc::write(fd, buf.as_ptr().cast(), buf.len()) } as i64)
}

/// `close` of a number, whoever owns it.
///
/// # Errors
/// `errno`.
pub fn close(fd: i32) -> io::Result<usize> {
    // SAFETY: no memory is involved; what it does to others is what is tested.
    check(unsafe { libc::close(fd) })
}

/// `poll`, for `time` milliseconds.
///
/// # Errors
/// `errno`.
pub fn poll(list: &mut [libc::pollfd], time: i32) -> io::Result<usize> {
    loop {
        // SAFETY: the list's entries.
        let n = unsafe { libc::poll(list.as_mut_ptr(), list.len() as libc::nfds_t, time) };
        let result = check(n);
        // The signal that ends a slice interrupts a thread's poll.
        if PARKS || errno(&result) != libc::EINTR {
            return result;
        }
    }
}

/// Writes to a pipe or a socket until it takes nothing any more, and will not until somebody reads.
///
/// # Panics
/// If it can't be written to.
pub fn fill(file: &impl AsRawFd) {
    let fd = file.as_raw_fd();
    set_nonblocking(file, true);
    loop {
        while write(fd, &[1; 65_536]).is_ok() {}
        while write(fd, &[1]).is_ok() {}
        // What is on its way will make room as it is acknowledged.
        if on_its_way(fd) == 0 && errno(&write(fd, &[1])) == libc::EAGAIN {
            break;
        }
        std::thread::sleep(ms(1));
    }
    set_nonblocking(file, false);
}

/// Segments of a TCP connection that are not acknowledged; none of anything else.
fn on_its_way(fd: i32) -> u32 {
    // SAFETY: plain data, of as many bytes as `len` says.
    unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut len = size_of_val(&info) as libc::socklen_t;
        let to = (&raw mut info).cast();
        match libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, to, &raw mut len) {
            0 => info.tcpi_unacked,
            _ => 0,
        }
    }
}

/// Sets or clears `O_NONBLOCK`.
///
/// # Panics
/// If that fails.
pub fn set_nonblocking(file: &impl AsRawFd, nonblocking: bool) {
    let fd = file.as_raw_fd();
    // SAFETY: no memory is involved.
    let result = unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        let flags = if nonblocking { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
        libc::fcntl(fd, libc::F_SETFL, flags)
    };
    check(result).expect("fcntl");
}

/// Sets an option of a socket.
///
/// # Panics
/// If that fails.
pub fn set_option<T>(socket: &impl AsRawFd, level: i32, option: i32, value: T) {
    let len = size_of::<T>() as libc::socklen_t;
    // SAFETY: `len` bytes to read.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), len)
    };
    check(result).expect("setsockopt");
}

/// What `f` returns, which must come within `limit`: what would take longer was not woken, but found by
/// chance.
///
/// # Panics
/// If it takes longer.
#[track_caller]
pub fn within<R>(limit: Duration, f: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = f();
    let took = start.elapsed();
    assert!(took <= limit, "it took {took:?}");
    result
}
