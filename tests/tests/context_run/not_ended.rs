//! What is not ended: it comes back when what it waits for has come, and uses no CPU until then.

use crate::others::Sleeper;
use crate::{SOON, VERY_LONG, all_at_once, cancelled, expect_finished};
use goroutines::chan::{Select, Sender, bounded};
use goroutines::context::{self, Context};
use goroutines::{WaitGroup, go, runtime, thread};
use goroutines_tests::io::{self, PARKS, at_each, ms};
use goroutines_tests::proc::cpu_time;
use goroutines_tests::{join_all, raw};
use std::fmt::Debug;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, OnceLock, RwLock, mpsc};
use std::time::{Duration, Instant};

/// Both sides of a wait: who waits, and who ends it.
type Both = (Box<dyn FnOnce() + Send>, Box<dyn FnOnce()>);

/// A way to block: its name, and what makes a wait of it.
type Row = (&'static str, fn() -> Both);

fn both(wait: impl FnOnce() + Send + 'static, end: impl FnOnce() + 'static) -> Both {
    (Box::new(wait), Box::new(end))
}

/// Long enough for one that spins to be noticed.
const WHILE: Duration = ms(120);

/// Each of `rows` waits in a context that is cancelled before, or while it waits.
fn check(rows: &[Row]) {
    at_each(|procs| {
        for before in [true, false] {
            check_once(rows, before, procs);
        }
    });
}

fn check_once(rows: &[Row], before: bool, procs: usize) {
    let (context, cancel) = Context::background().with_cancel();
    if before {
        cancel.cancel();
    }
    let mut ends = Vec::new();
    for (name, row) in rows {
        let (wait, end) = row();
        let waiter = context.go(move || {
            wait();
            // What follows is still cancelled.
            assert!(context::current().err().is_some());
            thread::sleep(VERY_LONG);
        });
        ends.push((name, waiter, end));
    }
    thread::sleep(ms(10));
    cancel.cancel();
    let used = cpu_time();
    thread::sleep(WHILE);
    let used = cpu_time() - used;
    for (name, waiter, end) in ends {
        assert!(!waiter.is_finished(), "{name} was ended, at {procs}");
        end();
        expect_finished(&waiter, name);
        assert!(waiter.join().is_ok(), "{name} at {procs}");
    }
    assert!(used < WHILE / 2, "{used:?} of CPU time in {WHILE:?} of waiting, at {procs}");
}

#[test]
fn locks_are_not_ended() {
    check(&[
        ("Mutex::lock", || {
            let lock = Arc::new(Mutex::new(()));
            let release = held(&lock, |lock, hold| hold(&lock.lock()));
            both(move || drop(lock.lock().unwrap()), move || drop(release))
        }),
        ("RwLock::write", || {
            let lock = Arc::new(RwLock::new(()));
            let release = held(&lock, |lock, hold| hold(&lock.read()));
            both(move || drop(lock.write().unwrap()), move || drop(release))
        }),
        ("RwLock::read", || {
            let lock = Arc::new(RwLock::new(()));
            let release = held(&lock, |lock, hold| hold(&lock.write()));
            both(move || drop(lock.read().unwrap()), move || drop(release))
        }),
        ("OnceLock::get_or_init", || {
            let cell = Arc::new(OnceLock::new());
            let release = held(&cell, |cell, hold| *cell.get_or_init(|| hold(&())));
            both(move || *cell.get_or_init(|| unreachable!()), move || drop(release))
        }),
    ]);
}

/// Keeps what it is given until it is told to release it.
type Hold<'h> = &'h dyn Fn(&dyn Debug);

/// Calls `take` in a goroutine, which holds what it takes until what this gives is dropped.
fn held<L: Send + Sync + 'static>(lock: &Arc<L>, take: fn(&L, Hold<'_>)) -> mpsc::Sender<()> {
    let lock = Arc::clone(lock);
    let (release, released) = mpsc::channel::<()>();
    let (holds, is_held) = mpsc::channel();
    go(move || {
        take(&lock, &|_| {
            holds.send(()).unwrap();
            released.recv().unwrap_err();
        });
    });
    is_held.recv().unwrap();
    release
}

#[test]
fn condition_variables_are_not_ended() {
    check(&[
        ("Condvar::wait_while", || {
            let pair = Arc::new((Mutex::new(false), Condvar::new()));
            let other = Arc::clone(&pair);
            both(
                move || drop(pair.1.wait_while(pair.0.lock().unwrap(), |done| !*done).unwrap()),
                move || {
                    *other.0.lock().unwrap() = true;
                    other.1.notify_one();
                },
            )
        }),
        ("Condvar::wait_timeout_while", || {
            let pair = Arc::new((Mutex::new(false), Condvar::new()));
            let other = Arc::clone(&pair);
            both(
                move || {
                    let held = pair.0.lock().unwrap();
                    let waited = pair.1.wait_timeout_while(held, VERY_LONG, |done| !*done);
                    assert!(!waited.unwrap().1.timed_out());
                },
                move || {
                    *other.0.lock().unwrap() = true;
                    other.1.notify_one();
                },
            )
        }),
        ("Barrier::wait", || {
            let barrier = Arc::new(Barrier::new(2));
            let other = Arc::clone(&barrier);
            both(
                move || {
                    barrier.wait();
                },
                move || {
                    other.wait();
                },
            )
        }),
    ]);
}

#[test]
fn parks_and_std_channels_are_not_ended() {
    check(&[
        ("recv of std's mpsc", || {
            let (send, receive) = mpsc::channel();
            both(move || assert_eq!(receive.recv(), Ok(7)), move || send.send(7).unwrap())
        }),
        ("recv_timeout of std's mpsc", || {
            let (send, receive) = mpsc::channel();
            both(
                move || assert_eq!(receive.recv_timeout(VERY_LONG), Ok(7)),
                move || send.send(7).unwrap(),
            )
        }),
        ("send of std's mpsc", || {
            let (send, receive) = mpsc::sync_channel(0);
            both(move || send.send(7).unwrap(), move || assert_eq!(receive.recv(), Ok(7)))
        }),
        ("std::thread::park", || {
            let (here, thread) = mpsc::channel();
            let done = Arc::new(AtomicBool::new(false));
            let set = Arc::clone(&done);
            both(
                move || {
                    here.send(std::thread::current()).unwrap();
                    while !done.load(Ordering::Acquire) {
                        std::thread::park();
                    }
                },
                move || {
                    set.store(true, Ordering::Release);
                    thread.recv().unwrap().unpark();
                },
            )
        }),
        ("goroutines::thread::park", || {
            let (here, handle) = mpsc::channel();
            both(
                move || {
                    here.send(thread::current()).unwrap();
                    thread::park();
                },
                move || handle.recv().unwrap().unpark(),
            )
        }),
    ]);
}

#[test]
fn waits_for_others_are_not_ended() {
    check(&[
        ("WaitGroup::wait", || {
            let wg = WaitGroup::new();
            wg.add(1);
            let other = wg.clone();
            both(move || wg.wait(), move || other.done())
        }),
        ("JoinHandle::join", || {
            let (send, receive) = mpsc::channel::<()>();
            let other = go(move || receive.recv().is_err());
            both(move || assert!(other.join().unwrap()), move || drop(send))
        }),
        ("JoinHandle::join of a thread", || {
            let (send, receive) = mpsc::channel::<()>();
            let other = std::thread::spawn(move || receive.recv().is_err());
            both(move || assert!(other.join().unwrap()), move || drop(send))
        }),
        ("thread::scope", || {
            let (send, receive) = mpsc::channel::<()>();
            both(
                move || {
                    thread::scope(|scope| {
                        scope.spawn(move || receive.recv().unwrap_err());
                    });
                },
                move || drop(send),
            )
        }),
        ("std::thread::scope", || {
            let (send, receive) = mpsc::channel::<()>();
            both(
                move || {
                    std::thread::scope(|scope| {
                        scope.spawn(move || receive.recv().unwrap_err());
                    });
                },
                move || drop(send),
            )
        }),
        ("block_on", || {
            let (send, receive) = tokio::sync::oneshot::channel();
            both(
                move || assert_eq!(goroutines::block_on(receive), Ok(7)),
                move || send.send(7).unwrap(),
            )
        }),
    ]);
}

/// They only look: one that is told that it can receive, tries, and fails, would look again.
#[test]
fn looks_are_not_ended() {
    check(&[
        ("Select::ready", || {
            let (send, receive) = bounded(1);
            let looks = move || {
                let mut select = Select::new();
                select.recv(&receive);
                assert_eq!(select.ready(), 0);
                assert_eq!(receive.try_recv(), Ok(7));
            };
            both(looks, move || send.send(7).unwrap())
        }),
        ("Select::ready_timeout", || {
            let (send, receive) = bounded(0);
            send_later(&send);
            let looks = move || {
                let mut select = Select::new();
                let sends = select.send(&send);
                assert_eq!(select.ready_timeout(VERY_LONG), Ok(sends));
            };
            both(looks, move || assert_eq!(receive.recv_timeout(SOON), Ok(7)))
        }),
    ]);
}

/// Sends 7 when somebody waits for it.
fn send_later(to: &Sender<i32>) {
    let to = to.clone();
    go(move || {
        while to.try_send(7).is_err() {
            thread::sleep(ms(1));
        }
    });
}

fn flock(file: &File, operation: i32) {
    loop {
        // SAFETY: no memory is involved.
        match io::check(unsafe { libc::flock(file.as_raw_fd(), operation) }) {
            Ok(_) => return,
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::Interrupted),
        }
    }
}

/// There the kernel blocks an OS thread.
#[test]
fn the_kernels_waits_are_not_ended() {
    check(&[
        ("flock", || {
            let name = format!("goroutines-{}-flock", std::process::id());
            let path = std::env::temp_dir().join(name);
            let [one, other] = [(); 2].map(|()| File::create(&path).unwrap());
            std::fs::remove_file(&path).unwrap_or_default();
            flock(&one, libc::LOCK_EX);
            both(move || flock(&other, libc::LOCK_EX), move || flock(&one, libc::LOCK_UN))
        }),
        ("wait for any child of a group", || {
            let mut command = Command::new("sleep");
            #[expect(clippy::zombie_processes, reason = "waited for as one of its group")]
            let mut child = command.arg("60").process_group(0).spawn().unwrap();
            let group = child.id() as libc::pid_t;
            both(
                move || {
                    // SAFETY: no status is asked for.
                    let waited =
                        || io::check(unsafe { libc::waitpid(-group, std::ptr::null_mut(), 0) });
                    assert_eq!(waited().unwrap(), group as usize);
                },
                move || child.kill().unwrap(),
            )
        }),
        ("runtime::blocking", || {
            let [one, other] = goroutines_tests::io::tcp_pair();
            both(
                move || {
                    let mut buf = [0u8; 1];
                    let args = [one.as_raw_fd() as usize, buf.as_mut_ptr() as usize, 1, 0, 0, 0];
                    // SAFETY: a byte to write.
                    let word = runtime::blocking(|| unsafe { raw::call(libc::SYS_recvfrom, args) });
                    assert_eq!(word, 0, "the end");
                },
                move || drop(other),
            )
        }),
    ]);
}

/// Who calls it is an event loop.
#[test]
fn epoll_wait_is_not_ended() {
    fn epoll() -> Both {
        // SAFETY: no memory is involved; the descriptors are ours.
        let [epoll, event] = unsafe { [libc::epoll_create1(0), libc::eventfd(0, 0)] }
            .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        let mut entry = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
        let add = libc::EPOLL_CTL_ADD;
        // SAFETY: an entry to read.
        io::check(unsafe {
            libc::epoll_ctl(epoll.as_raw_fd(), add, event.as_raw_fd(), &raw mut entry)
        })
        .unwrap();
        // A descriptor that is closed is in no epoll: both keep it.
        let event = Arc::new(event);
        let kept = Arc::clone(&event);
        let wait = move || {
            let _kept = &kept;
            let mut one = libc::epoll_event { events: 0, u64: 0 };
            loop {
                // SAFETY: an entry to write.
                let word = unsafe { libc::epoll_wait(epoll.as_raw_fd(), &raw mut one, 1, -1) };
                match io::check(word) {
                    Ok(n) => break assert_eq!(n, 1),
                    // The signal that ends a slice.
                    Err(e) => assert!(!PARKS && e.kind() == std::io::ErrorKind::Interrupted, "{e}"),
                }
            }
        };
        both(wait, move || {
            io::write(event.as_raw_fd(), &1u64.to_ne_bytes()).unwrap();
        })
    }
    check(&[("epoll_wait", epoll)]);
}

/// An executor and its event loop go on in a context that is cancelled.
#[test]
fn tokio_is_not_ended() {
    at_each(|_| {
        let runs = cancelled().go(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = { runtime }.worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                let start = Instant::now();
                tokio::time::sleep(ms(20)).await;
                assert!(start.elapsed() >= ms(20));
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let connects = tokio::spawn(tokio::net::TcpStream::connect(address));
                listener.accept().await.unwrap();
                connects.await.unwrap().unwrap();
            });
        });
        expect_finished(&runs, "tokio's runtime");
        runs.join().unwrap();
    });
}

/// Timed waits that are not ended last as long as they are to.
#[test]
fn timed_waits_are_not_ended() {
    const TIME: Duration = ms(30);
    fn lasting(wait: impl FnOnce()) {
        cancelled().run(|| {
            let start = Instant::now();
            wait();
            assert!(start.elapsed() >= TIME, "it was ended");
        });
    }
    at_each(|_| {
        all_at_once([
            ("park_timeout of std's", || {
                lasting(|| {
                    let start = Instant::now();
                    while start.elapsed() < TIME {
                        std::thread::park_timeout(TIME.saturating_sub(start.elapsed()));
                    }
                });
            }),
            ("park_timeout", || {
                lasting(|| {
                    let start = Instant::now();
                    while start.elapsed() < TIME {
                        thread::park_timeout(TIME.saturating_sub(start.elapsed()));
                    }
                });
            }),
            ("wait_timeout", || {
                lasting(|| {
                    let (lock, condvar) = (Mutex::new(()), Condvar::new());
                    let held = lock.lock().unwrap();
                    let waited = condvar.wait_timeout_while(held, TIME, |()| true).unwrap();
                    assert!(waited.1.timed_out());
                });
            }),
            ("recv_timeout of std's mpsc", || {
                lasting(|| {
                    let (_send, receive) = mpsc::channel::<()>();
                    let result = receive.recv_timeout(TIME);
                    assert_eq!(result, Err(mpsc::RecvTimeoutError::Timeout));
                });
            }),
        ]);
    });
}

/// Who computes is not ended, and may ask.
#[test]
fn who_computes_may_ask() {
    at_each(|_| {
        let (context, cancel) = Context::background().with_cancel();
        let computes = context.go(|| {
            let mut n = 0u64;
            while context::current().err().is_none() {
                n += 1;
            }
            n
        });
        thread::sleep(ms(5));
        cancel.cancel();
        expect_finished(&computes, "one that asks");
        assert!(computes.join().unwrap() > 0);
    });
}

/// On an ordinary thread nothing is ended.
#[test]
fn on_a_thread_nothing_is_ended() {
    at_each(|_| {
        let thread = std::thread::spawn(|| {
            cancelled().run(|| {
                assert!(context::current().err().is_some(), "it is the current one");
                for wait in [
                    (|| std::thread::sleep(ms(10))) as fn(),
                    || thread::sleep(ms(10)),
                    || {
                        let (_send, receive) = goroutines::chan::bounded::<()>(0);
                        assert!(receive.recv_timeout(ms(10)).unwrap_err().is_timeout());
                    },
                    || assert!(goroutines::chan::after(ms(10)).recv().is_ok()),
                    || {
                        let (_send, receive) = bounded::<()>(0);
                        let mut select = Select::new();
                        select.recv(&receive);
                        assert!(select.select_timeout(ms(10)).is_err());
                        assert!(select.ready_timeout(ms(10)).is_err());
                    },
                    || {
                        let [mut one, _other] = io::tcp_pair();
                        one.set_read_timeout(Some(ms(10))).unwrap();
                        let error = std::io::Read::read(&mut one, &mut [0]).unwrap_err();
                        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
                    },
                ] {
                    let start = Instant::now();
                    wait();
                    assert!(start.elapsed() >= ms(9), "it was ended");
                }
            });
            assert!(context::current().err().is_none());
        });
        let start = Instant::now();
        thread.join().unwrap();
        assert!(start.elapsed() < SOON);
    });
}

/// While one waits for its child another waits for its own, and is ended.
#[test]
fn one_of_two_is_ended() {
    if !PARKS {
        return;
    }
    at_each(|_| {
        let (context, cancel) = Context::background().with_cancel();
        let [mut one, mut other] = [Sleeper::new(), Sleeper::new()];
        let id = other.id();
        let ended = context.go(move || (one.0.wait().unwrap_err(), one));
        let waits = go(move || {
            assert!(!other.0.wait().unwrap().success());
            // Waited for: there is nothing left to kill.
            other
        });
        thread::sleep(ms(10));
        cancel.cancel();
        expect_finished(&ended, "the one in the context");
        let (error, one) = ended.join().unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
        assert!(!waits.is_finished());
        // SAFETY: no memory is involved; a child that is being waited for.
        unsafe { libc::kill(id, libc::SIGTERM) };
        join_all([waits]);
        drop(one);
    });
}
