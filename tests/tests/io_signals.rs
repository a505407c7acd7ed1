//! Signals that come all the time, while goroutines sleep, read, write and lock; and handlers that do
//! something.
//!
//! Each case is a child process: handlers and signals are the process's.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::go;
use goroutines_tests::io::{self, PARKS, check, errno, ms, tcp_pair, within};
use goroutines_tests::join_all;
use goroutines_tests::proc::{Hogs, in_child};
use goroutines_tests::sandbox;
use signal_hook::iterator::Signals;
use std::cell::UnsafeCell;
use std::io::{Read, Write, pipe};
use std::os::fd::{AsRawFd, IntoRawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread::sleep;
use std::time::{Duration, Instant};

const SOON: Duration = ms(20_000);

/// How often a handler has run.
static RUNS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn counts(_: libc::c_int) {
    RUNS.fetch_add(1, Ordering::Relaxed);
}

/// Installs a handler, and returns what was there before.
fn install(signal: i32, handler: usize, flags: i32) -> libc::sigaction {
    // SAFETY: zeroes are a valid start; a handler of the right type.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = handler;
        new.sa_flags = flags;
        let mut old: libc::sigaction = std::mem::zeroed();
        check(libc::sigaction(signal, &raw const new, &raw mut old)).unwrap();
        old
    }
}

/// Blocks a signal for the calling goroutine.
fn block(signal: i32) {
    // SAFETY: a set of our own.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

fn raise(signal: i32) {
    // SAFETY: no memory is involved.
    check(unsafe { libc::kill(libc::getpid(), signal) }).unwrap();
}

/// Signals the process all the time, from a thread, until dropped.
struct Storm(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Storm {
    fn of(signal: i32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                raise(signal);
                sleep(Duration::from_micros(60));
            }
        });
        Self(stop, Some(thread))
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

/// What goroutines do while signals come: nothing is early, lost or interrupted.
fn everything() {
    let _hogs = Hogs::start(1);
    let mut all = Vec::new();
    for i in 0..6u64 {
        all.push(go(move || {
            for turn in 0..20 {
                let (start, time) = (Instant::now(), ms(1 + (i + turn) % 4));
                sleep(time);
                assert!(start.elapsed() >= time, "early");
                let (_send, receive) = mpsc::channel::<()>();
                assert!(receive.recv_timeout(time).is_err());
                assert!(start.elapsed() >= 2 * time, "early");
            }
        }));
        let [mut one, mut other] = tcp_pair();
        let (mut reader, mut writer) = pipe().unwrap();
        all.push(go(move || {
            for turn in 0..30u8 {
                one.write_all(&[turn; 30_000]).unwrap();
                writer.write_all(&[turn; 70_000]).unwrap();
                sleep(Duration::from_micros(500));
            }
        }));
        all.push(go(move || {
            let mut buf = vec![0; 70_000];
            for turn in 0..30 {
                other.read_exact(&mut buf[..30_000]).unwrap();
                assert!(buf[..30_000].iter().all(|b| *b == turn));
                reader.read_exact(&mut buf).unwrap();
                assert!(buf.iter().all(|b| *b == turn));
            }
        }));
    }
    let pair = Arc::new((Mutex::new(0), Condvar::new()));
    for i in 0..4 {
        let pair = Arc::clone(&pair);
        all.push(go(move || {
            for _ in 0..300 {
                let held = pair.0.lock().unwrap();
                let mut held = pair.1.wait_while(held, |turn| *turn % 4 != i).unwrap();
                *held += 1;
                pair.1.notify_all();
            }
        }));
    }
    within(SOON, || join_all(all));
    assert_eq!(*pair.0.lock().unwrap(), 1_200);
}

/// C's own calls, in goroutines that block the signal: the runtime's own must not show as `EINTR`. (On a thread a handler
/// that runs ends some of them, and on a goroutine too: `twin signals`.)
fn calls_of_c() {
    let mut all = Vec::new();
    for _ in 0..4 {
        all.push(go(|| {
            block(libc::SIGUSR1);
            for _ in 0..20 {
                let time = libc::timespec { tv_sec: 0, tv_nsec: 3_000_000 };
                // SAFETY: a time to read.
                let word = unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
                assert_eq!(errno(&check(word)), 0, "nanosleep");
                // SAFETY: no descriptors.
                let word = unsafe { libc::poll(std::ptr::null_mut(), 0, 3) };
                assert_eq!(errno(&check(word)), 0, "poll");
            }
        }));
        let (reader, mut writer) = pipe().unwrap();
        let (one, mut other) = UnixStream::pair().unwrap();
        all.push(go(move || {
            for _ in 0..30 {
                sleep(ms(1));
                writer.write_all(&[1]).unwrap();
                other.write_all(&[1]).unwrap();
            }
        }));
        all.push(go(move || {
            block(libc::SIGUSR1);
            one.set_read_timeout(Some(SOON)).unwrap();
            for _ in 0..30 {
                assert_eq!(errno(&io::read(reader.as_raw_fd(), &mut [0])), 0, "read");
                assert_eq!(errno(&io::read(one.as_raw_fd(), &mut [0])), 0, "read in time");
            }
        }));
        all.push(go(|| {
            block(libc::SIGUSR1);
            let mut child = std::process::Command::new("sleep").arg("0.05").spawn().unwrap();
            let mut status = 0;
            // SAFETY: a status to write.
            let word = unsafe { libc::waitpid(child.id().cast_signed(), &raw mut status, 0) };
            assert_eq!(errno(&check(word)), 0, "waitpid");
            let _ = child.try_wait();
        }));
    }
    within(SOON, || join_all(all));
}

/// By C's `sigaction`, with and without `SA_RESTART`.
#[test]
fn a_storm_of_signals() {
    for procs in ["1", "2", "4"] {
        for flags in [libc::SA_RESTART, 0] {
            let text = flags.to_string();
            let env = [("GOMAXPROCS", procs), ("FLAGS", &text)];
            let child = in_child("a_storm_of_signals", &env, || {
                let flags = std::env::var("FLAGS").unwrap().parse().unwrap();
                goroutines::run(move || {
                    let old = install(libc::SIGUSR1, counts as *const () as usize, flags);
                    assert_eq!(old.sa_sigaction, libc::SIG_DFL);
                    let storm = Storm::of(libc::SIGUSR1);
                    everything();
                    if PARKS {
                        calls_of_c();
                    }
                    drop(storm);
                    // The caller gets its own handler back. Not by SIG_DFL: a signal may be on its way to a
                    // thread that has no CPU yet, and to ignore it drops it.
                    let own = install(libc::SIGUSR1, libc::SIG_IGN, 0);
                    assert_eq!(own.sa_sigaction, counts as *const () as usize);
                    assert_eq!(own.sa_flags & libc::SA_RESTART, flags & libc::SA_RESTART);
                });
                println!("ran {}", RUNS.load(Ordering::Relaxed) > 100);
            });
            child.expect_clean();
            assert!(child.text().contains("ran true"), "{child}");
        }
    }
}

/// By the crate signal-hook: a flag, a pipe, and an iterator that a goroutine waits in.
#[test]
fn a_storm_of_signals_through_signal_hook() {
    for procs in ["1", "2", "4"] {
        let name = "a_storm_of_signals_through_signal_hook";
        let child = in_child(name, &[("GOMAXPROCS", procs)], || {
            goroutines::run(|| {
                let flag = Arc::new(AtomicBool::new(false));
                signal_hook::flag::register(libc::SIGUSR1, Arc::clone(&flag)).unwrap();
                let (mut told, tells) = UnixStream::pair().unwrap();
                signal_hook::low_level::pipe::register(libc::SIGUSR1, tells).unwrap();
                let mut signals = Signals::new([libc::SIGUSR1, libc::SIGUSR2]).unwrap();
                let handle = signals.handle();
                let iterates = go(move || {
                    let mut seen = [0; 2];
                    for signal in &mut signals {
                        seen[usize::from(signal == libc::SIGUSR2)] += 1;
                    }
                    seen
                });
                let storm = Storm::of(libc::SIGUSR1);
                everything();
                drop(storm);
                assert!(told.read(&mut [0; 4]).unwrap() > 0);
                assert!(flag.load(Ordering::Relaxed));
                raise(libc::SIGUSR2);
                sleep(ms(20));
                handle.close();
                let seen = within(SOON, || iterates.join().unwrap());
                assert!(seen[0] > 10 && seen[1] == 1, "{seen:?}");
            });
        });
        child.expect_clean();
    }
}

static PIPE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn writes(_: libc::c_int) {
    RUNS.fetch_add(1, Ordering::Relaxed);
    let byte = 1u8;
    // SAFETY: a byte to read.
    unsafe { libc::write(PIPE.load(Ordering::Relaxed), (&raw const byte).cast(), 1) };
}

/// A handler writes to a pipe that a goroutine reads: each byte comes, and soon.
#[test]
fn a_handler_that_writes() {
    for procs in ["1", "4"] {
        let child = in_child("a_handler_that_writes", &[("GOMAXPROCS", procs)], || {
            goroutines::run(|| {
                let (mut reader, writer) = pipe().unwrap();
                PIPE.store(writer.into_raw_fd(), Ordering::Relaxed);
                install(libc::SIGUSR1, writes as *const () as usize, libc::SA_RESTART);
                for turn in 1..=200 {
                    raise(libc::SIGUSR1);
                    within(ms(2_000), || reader.read_exact(&mut [0]).unwrap());
                    assert_eq!(RUNS.load(Ordering::Relaxed), turn);
                }
                let _hogs = Hogs::start(2);
                for _ in 0..50 {
                    let reads = go(move || {
                        reader.read_exact(&mut [0]).unwrap();
                        reader
                    });
                    sleep(Duration::from_micros(100));
                    raise(libc::SIGUSR1);
                    reader = within(ms(2_000), || reads.join().unwrap());
                }
            });
        });
        child.expect_clean();
    }
}

/// A semaphore of C's.
struct Semaphore(UnsafeCell<libc::sem_t>);

// SAFETY: that is what it is for.
unsafe impl Sync for Semaphore {}

static SEMAPHORE: Semaphore =
    // SAFETY: plain data, initialised before it is used.
    Semaphore(UnsafeCell::new(unsafe { std::mem::zeroed() }));

impl Semaphore {
    fn call(&self, f: unsafe extern "C" fn(*mut libc::sem_t) -> i32) -> i32 {
        // SAFETY: initialised at the head of the test.
        unsafe { f(self.0.get()) }
    }
}

extern "C" fn posts(_: libc::c_int) {
    SEMAPHORE.call(libc::sem_post);
}

/// A handler posts a semaphore that goroutines wait for; the only thing of which POSIX says that it may.
#[test]
fn a_handler_that_posts() {
    for procs in ["1", "4"] {
        let child = in_child("a_handler_that_posts", &[("GOMAXPROCS", procs)], || {
            // SAFETY: nobody uses it yet.
            unsafe { libc::sem_init(SEMAPHORE.0.get(), 0, 0) };
            goroutines::run(|| {
                install(libc::SIGUSR1, posts as *const () as usize, libc::SA_RESTART);
                let waits = || go(|| SEMAPHORE.call(libc::sem_wait));
                for hogs in [0, 2] {
                    let _hogs = Hogs::start(hogs);
                    for turn in 0..40 {
                        let all = [waits(), waits(), waits()];
                        if turn % 2 == 0 {
                            sleep(ms(1));
                        }
                        for handle in all {
                            // Signals that are pending are one.
                            while !handle.is_finished() {
                                raise(libc::SIGUSR1);
                                sleep(Duration::from_micros(300));
                            }
                            assert_eq!(handle.join().unwrap(), 0);
                        }
                        while SEMAPHORE.call(libc::sem_trywait) == 0 {}
                    }
                }
                // One post, one waiter, and nobody else who does anything.
                for _ in 0..20 {
                    let handle = waits();
                    sleep(ms(2));
                    raise(libc::SIGUSR1);
                    assert_eq!(within(ms(2_000), || handle.join().unwrap()), 0);
                }
            });
        });
        child.expect_clean();
    }
}

/// The signal that ends time slices is the user's too.
#[test]
fn the_slices_signal_is_the_users_too() {
    let name = "the_slices_signal_is_the_users_too";
    let child = in_child(name, &[("GOMAXPROCS", "2")], || {
        goroutines::run(|| {
            install(libc::SIGURG, counts as *const () as usize, libc::SA_RESTART);
            {
                let _hogs = Hogs::start(4);
                sleep(ms(100));
            }
            assert_eq!(RUNS.load(Ordering::Relaxed), 0, "slices' ends are not the user's");
            for turn in 1..=20 {
                raise(libc::SIGURG);
                // It is some thread's, and that thread may be asleep.
                within(ms(5_000), || {
                    while RUNS.load(Ordering::Relaxed) < turn {
                        sleep(ms(1));
                    }
                });
                assert_eq!(RUNS.load(Ordering::Relaxed), turn);
            }
            let storm = Storm::of(libc::SIGURG);
            everything();
            drop(storm);
        });
    });
    child.expect_clean();
}

/// `kill -SEGV` ends the process, though no instruction faults.
#[test]
fn faults_that_others_send_end_the_process() {
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        let text = signal.to_string();
        let name = "faults_that_others_send_end_the_process";
        let child = in_child(name, &[("SIGNAL", &text)], || {
            let signal = std::env::var("SIGNAL").unwrap().parse().unwrap();
            goroutines::run(move || {
                raise(signal);
                sleep(ms(500));
            });
        });
        assert_eq!(child.status.signal(), Some(signal), "{child}");
    }
}

/// Six compute on one processor, and each gets its turns; the user's handler hears nothing of it.
fn slices_end() {
    install(libc::SIGURG, counts as *const () as usize, libc::SA_RESTART);
    let _hogs = Hogs::start(5);
    for _ in 0..5 {
        within(ms(2_000), || sleep(ms(20)));
    }
    assert_eq!(RUNS.load(Ordering::Relaxed), 0, "the runtime's signals are not the user's");
}

/// A sandbox refuses to queue signals with a value: slices end by plain ones.
#[test]
fn slices_end_where_signals_have_no_value() {
    for error in [libc::EPERM, libc::ENOSYS, libc::EACCES, libc::EINVAL] {
        let text = error.to_string();
        let name = "slices_end_where_signals_have_no_value";
        let child = in_child(name, &[("GOMAXPROCS", "1"), ("ERROR", &text)], || {
            let error = std::env::var("ERROR").unwrap().parse().unwrap();
            sandbox::refuse(libc::SYS_rt_tgsigqueueinfo, None, error);
            goroutines::run(slices_end);
        });
        child.expect_clean();
    }
}

/// The kernel keeps no more signals' values for the user: slices end by those that have lost theirs.
#[test]
fn slices_end_where_signals_lose_their_values() {
    let name = "slices_end_where_signals_lose_their_values";
    let child = in_child(name, &[("GOMAXPROCS", "1")], || {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a limit to read.
        check(unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const none) }).unwrap();
        goroutines::run(slices_end);
    });
    child.expect_clean();
}

extern "C" fn swallows(_: i32) {
    RUNS.fetch_add(1, Ordering::Relaxed);
}

/// A library takes SIGURG past what is taken over, and keeps what comes: the runtime takes it again, and passes on
/// what is not its own.
#[test]
fn slices_end_where_a_library_takes_the_signal() {
    type Install = unsafe extern "C" fn(i32, *const libc::sigaction, *mut libc::sigaction) -> i32;
    let name = "slices_end_where_a_library_takes_the_signal";
    let child = in_child(name, &[("GOMAXPROCS", "1")], || {
        goroutines::run(|| {
            // SAFETY: libc's own function, and a handler of the right type.
            let install: Install = unsafe {
                let libc = libc::dlopen(c"libc.so.6".as_ptr(), libc::RTLD_NOW);
                std::mem::transmute::<*mut libc::c_void, Install>(libc::dlsym(
                    libc,
                    c"sigaction".as_ptr(),
                ))
            };
            // SAFETY: room for an action.
            let now = || unsafe {
                let mut now: libc::sigaction = std::mem::zeroed();
                install(libc::SIGURG, std::ptr::null(), &raw mut now);
                now.sa_sigaction
            };
            let before = now();
            let others = swallows as extern "C" fn(i32) as usize;
            // SAFETY: zeroes are a valid start; a handler of the right type.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = others;
                action.sa_flags = libc::SA_RESTART;
                assert_eq!(install(libc::SIGURG, &raw const action, std::ptr::null_mut()), 0);
            }
            assert_eq!(now(), others);
            let _hogs = Hogs::start(5);
            within(ms(10_000), || {
                while now() != before {
                    sleep(ms(20));
                }
            });
            let heard = RUNS.load(Ordering::Relaxed);
            for _ in 0..5 {
                within(ms(2_000), || sleep(ms(20)));
            }
            assert_eq!(
                RUNS.load(Ordering::Relaxed),
                heard,
                "the runtime's signals are the library's"
            );
            // SAFETY: no memory is involved.
            unsafe { libc::raise(libc::SIGURG) };
            assert_eq!(RUNS.load(Ordering::Relaxed), heard + 1, "a signal of the program's is not");
        });
    });
    child.expect_clean();
}

/// A timer of the process's, by real time and by CPU time, as profilers have it.
#[test]
fn profiling_timers() {
    for (which, signal) in [(libc::ITIMER_REAL, libc::SIGALRM), (libc::ITIMER_PROF, libc::SIGPROF)]
    {
        let text = format!("{which} {signal}");
        let child = in_child("profiling_timers", &[("GOMAXPROCS", "2"), ("TIMER", &text)], || {
            let text = std::env::var("TIMER").unwrap();
            let (which, signal) = text.split_once(' ').unwrap();
            let (which, signal): (i32, i32) = (which.parse().unwrap(), signal.parse().unwrap());
            goroutines::run(move || {
                install(signal, counts as *const () as usize, libc::SA_RESTART);
                let every = libc::timeval { tv_sec: 0, tv_usec: 500 };
                let mut time = libc::itimerval { it_interval: every, it_value: every };
                // SAFETY: a time to read.
                let set = |time: &libc::itimerval| unsafe {
                    libc::syscall(libc::SYS_setitimer, which, std::ptr::from_ref(time), 0usize)
                };
                assert_eq!(set(&time), 0);
                everything();
                time.it_value.tv_usec = 0;
                assert_eq!(set(&time), 0);
            });
            println!("ran {}", RUNS.load(Ordering::Relaxed) > 10);
        });
        child.expect_clean();
        assert!(child.text().contains("ran true"), "{child}");
    }
}
