//! Waiting for any of several: `poll`, `select`, `epoll`, one inside the other.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::go;
use goroutines_tests::io::{self, at_each, check, errno, ms, tcp_pair, within};
use goroutines_tests::join_all;
use std::collections::HashSet;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SOON: Duration = ms(5_000);

fn one(fd: &impl AsRawFd, events: i16) -> libc::pollfd {
    libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }
}

/// Each of the times there are: none, some, for ever; and what comes before they are over.
#[test]
fn poll_and_its_times() {
    at_each(|_| {
        let (reader, mut writer) = pipe().unwrap();
        let mut list = [one(&reader, libc::POLLIN), one(&-1, libc::POLLIN), one(&-7, 0)];
        assert_eq!(io::poll(&mut list, 0).unwrap(), 0);
        let start = Instant::now();
        assert_eq!(io::poll(&mut list, 30).unwrap(), 0);
        assert!(start.elapsed() >= ms(30), "{:?}", start.elapsed());
        for time in [5_000, -1] {
            let writes = go(move || {
                sleep(ms(5));
                writer.write_all(&[1]).unwrap();
                writer
            });
            list[1].revents = 0x77;
            assert_eq!(within(ms(2_000), || io::poll(&mut list, time).unwrap()), 1);
            assert_eq!(list.map(|one| one.revents), [libc::POLLIN, 0, 0]);
            assert_eq!(io::read(reader.as_raw_fd(), &mut [0; 4]).unwrap(), 1);
            writer = writes.join().unwrap();
        }
        // Nothing at all is polled.
        let start = Instant::now();
        assert_eq!(io::poll(&mut [], 20).unwrap(), 0);
        assert!(start.elapsed() >= ms(20));
    });
}

/// What is no descriptor is told at once, beside those that wait.
#[test]
fn poll_of_what_is_not_open() {
    at_each(|_| {
        let (reader, writer) = pipe().unwrap();
        let mut list = [one(&reader, libc::POLLIN), one(&19_999, libc::POLLIN), one(&writer, 0)];
        assert_eq!(within(ms(1_000), || io::poll(&mut list, -1).unwrap()), 1);
        assert_eq!(list.map(|one| one.revents), [0, libc::POLLNVAL, 0]);
        // A file is always ready; who asks for nothing hears of the hang-up.
        let file = File::open("/proc/self/exe").unwrap();
        let both = libc::POLLIN | libc::POLLOUT;
        let mut list = [one(&file, both), one(&reader, libc::POLLIN)];
        assert_eq!(within(ms(1_000), || io::poll(&mut list, -1).unwrap()), 1);
        assert_eq!(list[0].revents, both);
        let hangs_up = go(move || {
            let mut list = [one(&reader, 0)];
            assert_eq!(io::poll(&mut list, -1).unwrap(), 1);
            list[0].revents
        });
        sleep(ms(5));
        drop(writer);
        assert_eq!(within(SOON, || hangs_up.join().unwrap()), libc::POLLHUP);
    });
}

/// For room to write, and for what may be read, of one descriptor twice.
#[test]
fn poll_in_both_directions() {
    at_each(|_| {
        let [client, mut server] = tcp_pair();
        io::fill(&client);
        let (told, first_is_known) = std::sync::mpsc::channel();
        let polls = go(move || {
            let mut list = [one(&client, libc::POLLOUT), one(&client, libc::POLLIN)];
            assert_eq!(io::poll(&mut list, -1).unwrap(), 1);
            let first = list.map(|one| one.revents);
            told.send(()).unwrap();
            while io::poll(&mut list, -1).unwrap() < 2 {
                sleep(ms(1));
            }
            (first, list.map(|one| one.revents))
        });
        sleep(ms(5));
        server.write_all(b"x").unwrap();
        within(SOON, || first_is_known.recv().unwrap());
        server.set_read_timeout(Some(ms(100))).unwrap();
        while server.read(&mut [0; 65_536]).is_ok() {}
        let (first, last) = within(SOON, || polls.join().unwrap());
        assert_eq!(first, [0, libc::POLLIN]);
        assert_eq!(last, [libc::POLLOUT, libc::POLLIN]);
    });
}

fn set_of(fds: &[i32]) -> libc::fd_set {
    // SAFETY: plain data; numbers that fit.
    unsafe {
        let mut set = std::mem::zeroed();
        fds.iter().for_each(|fd| libc::FD_SET(*fd, &raw mut set));
        set
    }
}

fn select(n: i32, read: &mut libc::fd_set, write: &mut libc::fd_set, us: i64) -> (usize, i64) {
    let mut time = libc::timeval { tv_sec: us / 1_000_000, tv_usec: us % 1_000_000 };
    let time_at = if us < 0 { std::ptr::null_mut() } else { &raw mut time };
    let none = std::ptr::null_mut();
    // SAFETY: sets and a time to read and write.
    let n = check(unsafe { libc::select(n, read, write, none, time_at) }).unwrap();
    (n, time.tv_sec * 1_000_000 + time.tv_usec)
}

/// `select`: its sets, and what it leaves of its time.
#[test]
fn select_and_its_sets() {
    at_each(|_| {
        let (reader, mut writer) = pipe().unwrap();
        let (other, other_writer) = pipe().unwrap();
        let fds = [&reader, &other].map(AsRawFd::as_raw_fd);
        let has = |set: &libc::fd_set, fd: i32| {
            // SAFETY: a number that fits.
            unsafe { libc::FD_ISSET(fd, set) }
        };
        let most = 1 + fds[0].max(fds[1]).max(other_writer.as_raw_fd());
        let (mut read, mut none) = (set_of(&fds), set_of(&[]));
        assert_eq!(select(most, &mut read, &mut none, 20_000), (0, 0));
        assert!(!has(&read, fds[0]) && !has(&read, fds[1]));
        let writes = go(move || {
            sleep(ms(10));
            writer.write_all(&[1]).unwrap();
            writer
        });
        let mut read = set_of(&fds);
        let (n, left) = within(SOON, || select(most, &mut read, &mut none, 4_000_000));
        assert_eq!(n, 1);
        assert!((1..3_999_000).contains(&left), "{left}");
        assert!(has(&read, fds[0]) && !has(&read, fds[1]));
        drop(writes.join().unwrap());
        let (mut read, mut write) = (set_of(&fds), set_of(&[other_writer.as_raw_fd()]));
        assert_eq!(select(most, &mut read, &mut write, -1).0, 2);
        assert!(has(&write, other_writer.as_raw_fd()));
        // A number that is not open.
        let closed = reader.try_clone().unwrap().as_raw_fd();
        let mut read = set_of(&[fds[1], closed]);
        // SAFETY: a set to read and write.
        let n = unsafe {
            let none = std::ptr::null_mut();
            libc::select(closed + 1, &raw mut read, none, none, none.cast())
        };
        assert_eq!(errno(&check(n)), libc::EBADF);
    });
}

/// An epoll of the user's own.
struct Epoll(OwnedFd);

impl Epoll {
    fn new() -> Self {
        // SAFETY: a new number, which is ours.
        Self(unsafe { OwnedFd::from_raw_fd(libc::epoll_create1(libc::EPOLL_CLOEXEC)) })
    }

    fn add(&self, fd: &impl AsRawFd, events: i32, data: u64) -> std::io::Result<usize> {
        let mut event = libc::epoll_event { events: events.cast_unsigned(), u64: data };
        let (epoll, fd) = (self.0.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: an event to read.
        check(unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) })
    }

    /// The data of up to `most` events.
    fn wait(&self, most: usize, time: i32) -> Vec<u64> {
        let mut events = vec![libc::epoll_event { events: 0, u64: 0 }; most];
        loop {
            // SAFETY: events to write.
            let n = check(unsafe {
                libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), most as i32, time)
            });
            if !io::PARKS && errno(&n) == libc::EINTR {
                continue; // by the signal that ends a slice
            }
            events.truncate(n.unwrap());
            return events.iter().map(|event| event.u64).collect();
        }
    }
}

fn pipes(n: usize) -> (Vec<PipeReader>, Vec<PipeWriter>) {
    (0..n).map(|_| pipe().unwrap()).unzip()
}

/// Level-triggered: as long as there is something, whoever asks; edge-triggered: once.
#[test]
fn levels_and_edges() {
    at_each(|_| {
        let (mut readers, mut writers) = pipes(2);
        let epoll = Epoll::new();
        epoll.add(&readers[0], libc::EPOLLIN, 0).unwrap();
        epoll.add(&readers[1], libc::EPOLLIN | libc::EPOLLET, 1).unwrap();
        assert_eq!(errno(&epoll.add(&readers[0], 0, 0)), libc::EEXIST);
        assert_eq!(epoll.wait(4, 0), []);
        assert_eq!(epoll.wait(4, 10), []);
        let writes = go(move || {
            sleep(ms(5));
            writers.iter_mut().for_each(|writer| writer.write_all(&[1]).unwrap());
            writers
        });
        let mut seen = HashSet::new();
        while seen.len() < 2 {
            seen.extend(within(SOON, || epoll.wait(4, -1)));
        }
        writers = writes.join().unwrap();
        assert_eq!(epoll.wait(4, 10), [0], "the level is still there, the edge is not");
        writers[1].write_all(&[2]).unwrap();
        let mut again = epoll.wait(4, -1);
        again.sort_unstable();
        assert_eq!(again, [0, 1]);
        readers[0].read_exact(&mut [0]).unwrap();
        assert_eq!(epoll.wait(4, 5), []);
        drop(writers);
        let mut hang_ups = epoll.wait(4, -1);
        hang_ups.sort_unstable();
        assert_eq!(hang_ups, [0, 1]);
    });
}

/// Many wait at one epoll; each piece of work is done once. `EPOLLONESHOT`, as thread pools have it.
#[test]
fn a_pool_at_one_epoll() {
    at_each(|_| {
        const PIPES: usize = 20;
        const TURNS: usize = 20;
        let (readers, mut writers) = pipes(PIPES);
        let epoll = Arc::new(Epoll::new());
        let once = libc::EPOLLIN | libc::EPOLLONESHOT;
        for (i, reader) in readers.iter().enumerate() {
            epoll.add(reader, once, i as u64).unwrap();
        }
        let readers = Arc::new(readers.into_iter().map(Mutex::new).collect::<Vec<_>>());
        let done = Arc::new(AtomicUsize::new(0));
        let (stop, mut stopper) = pipe().unwrap();
        epoll.add(&stop, libc::EPOLLIN, u64::MAX).unwrap();
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let (epoll, readers, done) =
                    (Arc::clone(&epoll), Arc::clone(&readers), Arc::clone(&done));
                go(move || {
                    loop {
                        for i in epoll.wait(3, -1) {
                            if i == u64::MAX {
                                return;
                            }
                            let Ok(mut reader) = readers[i as usize].try_lock() else {
                                panic!("two at {i}, which is for one");
                            };
                            reader.read_exact(&mut [0]).unwrap();
                            done.fetch_add(1, Ordering::Relaxed);
                            let mut event =
                                libc::epoll_event { events: once.cast_unsigned(), u64: i };
                            let fd = reader.as_raw_fd();
                            drop(reader);
                            // SAFETY: an event to read.
                            check(unsafe {
                                let at = epoll.0.as_raw_fd();
                                libc::epoll_ctl(at, libc::EPOLL_CTL_MOD, fd, &raw mut event)
                            })
                            .unwrap();
                        }
                    }
                })
            })
            .collect();
        for turn in 0..TURNS {
            writers.iter_mut().for_each(|writer| writer.write_all(&[turn as u8]).unwrap());
            if turn % 5 == 0 {
                sleep(ms(1));
            }
        }
        let start = Instant::now();
        while done.load(Ordering::Relaxed) < PIPES * TURNS {
            assert!(start.elapsed() < SOON, "{} done", done.load(Ordering::Relaxed));
            sleep(ms(1));
        }
        stopper.write_all(&[1]).unwrap();
        within(SOON, || join_all(workers));
        assert_eq!(done.load(Ordering::Relaxed), PIPES * TURNS);
    });
}

/// An epoll in an epoll in a `poll`, and in a `select`.
#[test]
fn nested() {
    at_each(|_| {
        for edge in [0, libc::EPOLLET] {
            let (mut reader, mut writer) = pipe().unwrap();
            let (inner, outer) = (Epoll::new(), Epoll::new());
            inner.add(&reader, libc::EPOLLIN | edge, 1).unwrap();
            outer.add(&inner.0, libc::EPOLLIN, 2).unwrap();
            for turn in 0..20u64 {
                let epoll = outer.0.as_raw_fd();
                let polls = go(move || io::poll(&mut [one(&epoll, libc::POLLIN)], -1).unwrap());
                let selects = go(move || {
                    let (mut read, mut none) = (set_of(&[epoll]), set_of(&[]));
                    select(epoll + 1, &mut read, &mut none, -1).0
                });
                sleep(Duration::from_micros(turn * 50));
                writer.write_all(&[1]).unwrap();
                assert_eq!(within(SOON, || polls.join().unwrap()), 1);
                assert_eq!(within(SOON, || selects.join().unwrap()), 1);
                assert_eq!(outer.wait(4, -1), [2]);
                assert_eq!(inner.wait(4, -1), [1]);
                reader.read_exact(&mut [0]).unwrap();
                assert_eq!(inner.wait(4, 0), []);
            }
        }
    });
}

/// What is added to an epoll, changed or closed while somebody waits at it.
#[test]
fn epolls_that_change_meanwhile() {
    at_each(|_| {
        let epoll = Arc::new(Epoll::new());
        let waits = |time| {
            let epoll = Arc::clone(&epoll);
            go(move || epoll.wait(4, time))
        };
        let (reader, mut writer) = pipe().unwrap();
        writer.write_all(&[1]).unwrap();
        let handle = waits(-1);
        sleep(ms(5));
        epoll.add(&reader, libc::EPOLLIN | libc::EPOLLET, 5).unwrap();
        assert_eq!(within(SOON, || handle.join().unwrap()), [5]);
        let handle = waits(-1);
        sleep(ms(5));
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 6 };
        // SAFETY: an event to read.
        check(unsafe {
            let (at, fd) = (epoll.0.as_raw_fd(), reader.as_raw_fd());
            libc::epoll_ctl(at, libc::EPOLL_CTL_MOD, fd, &raw mut event)
        })
        .unwrap();
        assert_eq!(within(SOON, || handle.join().unwrap()), [6]);
        drop(reader);
        let handle = waits(40);
        assert_eq!(within(SOON, || handle.join().unwrap()), [], "closed, and so no more in it");
    });
}

/// A hundred poll the same hundred: all wake, each time.
#[test]
fn a_hundred_poll_a_hundred() {
    at_each(|_| {
        let (readers, mut writers) = pipes(100);
        let readers = Arc::new(readers);
        for turn in 0..3 {
            let polls: Vec<_> = (0..100)
                .map(|_| {
                    let readers = Arc::clone(&readers);
                    go(move || {
                        let mut list: Vec<_> =
                            readers.iter().map(|reader| one(reader, libc::POLLIN)).collect();
                        io::poll(&mut list, -1).unwrap()
                    })
                })
                .collect();
            sleep(ms(20));
            writers[turn * 30].write_all(&[1]).unwrap();
            let all = within(SOON, || join_all(polls));
            assert_eq!(all, [1; 100]);
            assert_eq!(io::read(readers[turn * 30].as_raw_fd(), &mut [0; 4]).unwrap(), 1);
        }
    });
}
