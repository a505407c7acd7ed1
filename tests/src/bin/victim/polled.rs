//! Main waits, beside descriptors and times that are, or were, waited for.

use goroutines::{WaitGroup, go, run};
use std::io::{Read, Write, pipe};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const WHILE: Duration = Duration::from_millis(300);

/// `before`, by a goroutine, and then nobody ends main's wait.
fn sleeps_after(before: fn()) {
    run(move || {
        go(before).join().unwrap();
        let never = WaitGroup::new();
        never.add(1);
        never.wait();
    });
}

/// After Go's `NetpollDeadlock` (runtime/testdata/testprognet/net.go, BSD-3-Clause).
pub(crate) fn after_a_connection() {
    sleeps_after(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = go(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.read_exact(&mut [0; 5]).unwrap();
            stream.write_all(b"hello").unwrap();
        });
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(HOUR)).unwrap();
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        server.join().unwrap();
    });
}

/// Who waited for a descriptor was told that it is closed.
pub(crate) fn after_a_close() {
    sleeps_after(|| {
        let (reader, _writer) = pipe().unwrap();
        let fd = reader.into_raw_fd();
        let reads = go(move || {
            // SAFETY: a byte to write.
            unsafe { libc::read(fd, (&raw mut *Box::new(0u8)).cast(), 1) }
        });
        std::thread::sleep(Duration::from_millis(20));
        // SAFETY: no memory is involved.
        unsafe { libc::close(fd) };
        assert_eq!(reads.join().unwrap(), -1);
    });
}

/// An hour that was not needed.
pub(crate) fn after_a_message_in_time() {
    sleeps_after(|| {
        let (send, receive) = mpsc::channel();
        go(move || {
            std::thread::sleep(Duration::from_millis(20));
            send.send(1).unwrap();
        });
        assert_eq!(receive.recv_timeout(HOUR), Ok(1));
    });
}

pub(crate) fn after_an_unpark_in_time() {
    sleeps_after(|| {
        let me = std::thread::current();
        go(move || {
            std::thread::sleep(Duration::from_millis(20));
            me.unpark();
        });
        std::thread::park_timeout(HOUR);
    });
}

pub(crate) fn after_a_signal_in_time() {
    sleeps_after(|| {
        let pair = Arc::new((Mutex::new(false), Condvar::new()));
        let told = Arc::clone(&pair);
        go(move || {
            std::thread::sleep(Duration::from_millis(20));
            *told.0.lock().unwrap() = true;
            told.1.notify_all();
        });
        let held = pair.0.lock().unwrap();
        drop(pair.1.wait_timeout_while(held, HOUR, |done| !*done).unwrap());
    });
}

/// Polled with a time-out, and ready before.
pub(crate) fn after_a_poll_in_time() {
    sleeps_after(|| {
        let (reader, mut writer) = pipe().unwrap();
        go(move || {
            std::thread::sleep(Duration::from_millis(20));
            writer.write_all(b"x").unwrap();
        });
        let mut one = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry.
        assert_eq!(unsafe { libc::poll(&raw mut one, 1, 3_600_000) }, 1);
    });
}

/// Main waits for a goroutine that does `sleeper`.
fn waits_for(sleeper: fn()) {
    run(move || go(sleeper).join().unwrap());
}

pub(crate) fn recv_times_out() {
    waits_for(|| {
        let (_send, receive) = mpsc::channel::<()>();
        assert!(receive.recv_timeout(WHILE).is_err());
    });
}

pub(crate) fn poll_times_out() {
    waits_for(|| {
        let (reader, _writer) = pipe().unwrap();
        let mut one = libc::pollfd { fd: reader.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry.
        assert_eq!(unsafe { libc::poll(&raw mut one, 1, 300) }, 0);
    });
}

pub(crate) fn read_times_out() {
    waits_for(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(WHILE)).unwrap();
        assert!(stream.read(&mut [0]).is_err());
    });
}

pub(crate) fn child_is_waited_for() {
    waits_for(|| {
        let mut child = std::process::Command::new("sleep").arg("0.3").spawn().unwrap();
        assert!(child.wait().unwrap().success());
    });
}

/// Has the process end by `SIGALRM` in a second.
fn alarm() {
    // SAFETY: no memory is involved.
    unsafe { libc::alarm(1) };
}

/// Nobody will connect, as far as anybody can know.
pub(crate) fn accepts_for_ever() {
    alarm();
    waits_for(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _ = listener.accept();
    });
}

pub(crate) fn reads_for_ever() {
    alarm();
    waits_for(|| {
        let (mut reader, _writer) = pipe().unwrap();
        let _ = reader.read(&mut [0]);
    });
}

pub(crate) fn sleeps_for_ever() {
    alarm();
    waits_for(|| std::thread::sleep(Duration::MAX));
}
