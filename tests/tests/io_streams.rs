//! TCP streams that are read again and again: what is remembered of them (that they block, have no time-out, and
//! were read empty) is never wrong for long.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::{WaitGroup, go, runtime};
use goroutines_tests::io::{PARKS, at_each, errno, ms, set_nonblocking, tcp_pair, within};
use goroutines_tests::{join_all, raw};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

const SOON: Duration = ms(10_000);

/// Room for more than there is.
fn read_some(stream: &mut TcpStream) -> std::io::Result<usize> {
    stream.read(&mut [0; 4096])
}

/// A pair whose first one has waited for data, and read it by a short read: all that can be remembered is.
fn remembered() -> [TcpStream; 2] {
    let [mut reader, mut writer] = tcp_pair();
    // Each is read before the next is written: two would come as one.
    let (told, tells) = std::sync::mpsc::channel();
    let done = go(move || {
        for _ in 0..3 {
            assert_eq!(read_some(&mut reader).unwrap(), 5);
            told.send(()).unwrap();
        }
        reader
    });
    for _ in 0..3 {
        sleep(ms(2));
        writer.write_all(b"hello").unwrap();
        tells.recv().unwrap();
    }
    [done.join().unwrap(), writer]
}

/// `body` says how long something took: it takes no time, at the first try or the fifth, as this machine has other things
/// to do. (What is found out only when registrations are verified takes 0.1 s each time.)
fn at_once(body: impl Fn() -> Duration + Sync) {
    at_each(|_| assert!((0..5).any(|_| body() < ms(80)), "not at once, in five tries"));
}

/// How long `f` takes, and what it returns.
fn timed<R>(f: impl FnOnce() -> R) -> (Duration, R) {
    let start = Instant::now();
    let result = within(SOON, f);
    (start.elapsed(), result)
}

/// To and fro, with and without pauses: nothing is lost, nobody waits for what is there.
#[test]
fn to_and_fro() {
    at_each(|_| {
        let pairs: Vec<_> = (0..20u8)
            .map(|i| {
                let [mut one, mut other] = tcp_pair();
                one.set_nodelay(true).unwrap();
                other.set_nodelay(true).unwrap();
                let echo = go(move || {
                    let mut buf = [0; 64];
                    while let Ok(n @ 1..) = one.read(&mut buf) {
                        one.write_all(&buf[..n]).unwrap();
                    }
                });
                go(move || {
                    for turn in 0..300 {
                        let n = 1 + (turn * 7 + usize::from(i)) % 150;
                        other.write_all(&vec![i; n]).unwrap();
                        let mut back = vec![0; n];
                        other.read_exact(&mut back).unwrap();
                        assert!(back.iter().all(|b| *b == i), "somebody else's");
                        if turn % 50 == 0 {
                            sleep(ms(1));
                        }
                    }
                    drop(other);
                    echo.join().unwrap();
                })
            })
            .collect();
        within(SOON, || join_all(pairs));
    });
}

/// The end is there at once, whether it comes with data, after it, or while somebody waits.
#[test]
fn ends_are_seen() {
    at_each(|_| {
        for pause in [None, Some(ms(0)), Some(ms(3))] {
            for _ in 0..30 {
                let [mut reader, mut writer] = remembered_fast();
                let read = go(move || {
                    let mut all = Vec::new();
                    loop {
                        match read_some(&mut reader).unwrap() {
                            0 => return all.len(),
                            n => all.resize(all.len() + n, 0),
                        }
                    }
                });
                if pause == Some(ms(3)) {
                    sleep(ms(1));
                }
                writer.write_all(b"last").unwrap();
                if let Some(pause) = pause {
                    sleep(pause);
                }
                writer.shutdown(Shutdown::Write).unwrap();
                assert_eq!(within(SOON, || read.join().unwrap()), 4);
            }
        }
    });
}

/// As [`remembered`], without a pause.
fn remembered_fast() -> [TcpStream; 2] {
    let [mut reader, mut writer] = tcp_pair();
    let done = go(move || {
        assert_eq!(read_some(&mut reader).unwrap(), 5);
        reader
    });
    runtime::gosched();
    writer.write_all(b"hello").unwrap();
    [done.join().unwrap(), writer]
}

/// A read stops before an urgent byte: there is more, although it was short.
#[test]
fn urgent_bytes_stop_reads() {
    at_once(|| {
        let [mut reader, writer] = remembered();
        let send = |bytes: &[u8], flags| {
            // SAFETY: bytes to read.
            let n = unsafe {
                libc::send(writer.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags)
            };
            assert_eq!(n, bytes.len().cast_signed());
        };
        send(b"before", 0);
        send(b"!", libc::MSG_OOB);
        send(b"after", 0);
        sleep(ms(5));
        let mut all = Vec::new();
        let (time, ()) = timed(|| {
            while all.len() < 11 {
                let mut buf = [0; 64];
                let n = reader.read(&mut buf).unwrap();
                all.extend_from_slice(&buf[..n]);
            }
        });
        assert_eq!(all, b"beforeafter");
        time
    });
}

/// A reset is an error at once.
#[test]
fn resets_are_seen() {
    at_once(|| {
        let [mut reader, writer] = remembered();
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        goroutines_tests::io::set_option(&writer, libc::SOL_SOCKET, libc::SO_LINGER, linger);
        drop(writer);
        let (time, error) = timed(|| read_some(&mut reader).unwrap_err());
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        time
    });
}

/// `O_NONBLOCK`, set by whatever name of the socket, is respected at once: also where nothing was to be read.
#[test]
fn nonblocking_from_now_on() {
    at_once(|| {
        let [mut reader, mut writer] = remembered();
        let mut longest = Duration::ZERO;
        for by_clone in [false, true] {
            let clone = reader.try_clone().unwrap();
            let set = |nonblocking| {
                if by_clone {
                    set_nonblocking(&clone, nonblocking);
                } else {
                    reader.set_nonblocking(nonblocking).unwrap();
                }
            };
            set(true);
            let mut reader = &reader;
            let (time, again) = timed(|| reader.read(&mut [0; 64]));
            longest = longest.max(time);
            assert_eq!(errno(&again), libc::EAGAIN);
            writer.write_all(b"data").unwrap();
            let start = Instant::now();
            while errno(&reader.read(&mut [0; 64])) == libc::EAGAIN {
                assert!(start.elapsed() < SOON, "the data does not come");
            }
            set(false);
        }
        // And blocking again.
        let late = go(move || {
            sleep(ms(5));
            writer.write_all(b"data").unwrap();
        });
        assert_eq!(read_some(&mut reader).unwrap(), 4);
        late.join().unwrap();
        longest
    });
}

/// Time-outs, too, and by `setsockopt` itself.
#[test]
fn time_outs_from_now_on() {
    at_each(|_| {
        let [mut reader, mut writer] = remembered();
        for _ in 0..2 {
            reader.set_read_timeout(Some(ms(10))).unwrap();
            let start = Instant::now();
            let error = within(SOON, || read_some(&mut reader).unwrap_err());
            assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
            assert!(start.elapsed() >= ms(10), "{:?}", start.elapsed());
            reader.set_read_timeout(None).unwrap();
            let (waits, came) = (WaitGroup::new(), Instant::now());
            let mut writer = writer.try_clone().unwrap();
            waits.go(move || {
                sleep(ms(30));
                writer.write_all(b"data").unwrap();
            });
            assert_eq!(read_some(&mut reader).unwrap(), 4);
            assert!(came.elapsed() >= ms(30), "it timed out");
            waits.wait();
        }
        writer.write_all(b"more").unwrap();
        assert_eq!(read_some(&mut reader).unwrap(), 4);
    });
}

/// Set by a raw system call, it is found out, before somebody waits and while he does.
#[test]
fn what_was_set_unseen() {
    if !PARKS {
        return;
    }
    at_each(|_| {
        for early in [true, false] {
            let [mut reader, mut writer] = remembered();
            let fd = reader.as_raw_fd();
            let set = move || {
                let args = |command: i32, value: usize| {
                    [fd.cast_unsigned() as usize, command.cast_unsigned() as usize, value, 0, 0, 0]
                };
                // SAFETY: no memory is involved.
                unsafe {
                    let flags = raw::call(libc::SYS_fcntl, args(libc::F_GETFL, 0));
                    let flags = flags.cast_unsigned() | libc::O_NONBLOCK as usize;
                    assert_eq!(raw::call(libc::SYS_fcntl, args(libc::F_SETFL, flags)), 0);
                }
            };
            if early {
                set();
            }
            let read = go(move || (errno(&read_some(&mut reader)), reader));
            sleep(ms(5));
            if !early {
                set();
            }
            let (error, mut reader) = within(SOON, || read.join().unwrap());
            assert_eq!(error, libc::EAGAIN, "early: {early}");
            // From now on it is known.
            let start = Instant::now();
            assert_eq!(errno(&read_some(&mut reader)), libc::EAGAIN);
            assert!(start.elapsed() < ms(2_000), "{:?}", start.elapsed());
            writer.write_all(b"data").unwrap();
            while errno(&read_some(&mut reader)) == libc::EAGAIN {
                assert!(start.elapsed() < SOON, "the data does not come");
            }
        }
    });
}

/// Many read from one stream, by one name or a name each: every byte is somebody's.
#[test]
fn many_readers_of_one_stream() {
    const BYTES: usize = 60_000;
    at_each(|_| {
        for names in [false, true] {
            let [reader, mut writer] = tcp_pair();
            let reader = Arc::new(reader);
            let readers: Vec<_> = (0..8)
                .map(|_| {
                    let reader = if names {
                        Arc::new(reader.try_clone().unwrap())
                    } else {
                        Arc::clone(&reader)
                    };
                    go(move || {
                        let mut sum = 0;
                        while let n @ 1.. = (&*reader).read(&mut [0; 100]).unwrap() {
                            sum += n;
                        }
                        sum
                    })
                })
                .collect();
            let writes = go(move || {
                for i in 0..BYTES / 30 {
                    writer.write_all(&[1; 30]).unwrap();
                    if i % 64 == 0 {
                        sleep(ms(1));
                    }
                }
            });
            let sum: usize = within(SOON, || join_all(readers)).into_iter().sum();
            writes.join().unwrap();
            assert_eq!(sum, BYTES);
        }
    });
}

/// A number that was read empty, closed and given out again, is another.
#[test]
fn numbers_are_given_out_again() {
    at_each(|_| {
        for _ in 0..50 {
            let [reader, writer] = remembered_fast();
            let number = reader.into_raw_fd();
            let [other, mut its_writer] = tcp_pair();
            its_writer.write_all(b"for the other").unwrap();
            // SAFETY: what the number stood for is closed with that.
            assert_eq!(unsafe { libc::dup2(other.as_raw_fd(), number) }, number);
            // SAFETY: nobody else owns it.
            let mut again = TcpStream::from(unsafe { OwnedFd::from_raw_fd(number) });
            drop(other);
            assert_eq!(within(SOON, || read_some(&mut again).unwrap()), 13);
            drop(writer);
        }
    });
}
