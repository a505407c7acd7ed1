//! Storms of signals, directed at goroutines and sent to the process, beside all that goroutines do.
//!
//! Real-time signals are counted exactly; of standard ones, which the kernel keeps once, some handler runs after the last.
//! `SOAK_SECONDS` says how long each storm is, `PROCS` at which number of processors (`cargo xtask soak --only signals`).

#![cfg(feature = "intercept")]
#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::{go, runtime};
use goroutines_tests::io::ms;
use goroutines_tests::join_all;
use goroutines_tests::proc::in_child;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const TARGETS: usize = 8;

/// How often the handler of each signal has run, and how often where none may.
static RAN: [AtomicU64; 65] = [const { AtomicU64::new(0) }; 65];
/// How often one has posted the semaphore.
static POSTED: AtomicU64 = AtomicU64::new(0);
static ASTRAY: AtomicU64 = AtomicU64::new(0);
/// Handlers that ran on another goroutine than the one that they were sent to.
static MISTAKEN: AtomicU64 = AtomicU64::new(0);
static THEM: [AtomicUsize; TARGETS] = [const { AtomicUsize::new(0) }; TARGETS];

fn own() -> usize {
    // SAFETY: no memory is involved.
    unsafe { libc::pthread_self() as usize }
}

extern "C" fn counts(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let ran = RAN[signal as usize].fetch_add(1, Ordering::SeqCst);
    if signal == to_all() {
        // SAFETY: a semaphore that is never destroyed. It wakes a goroutine.
        unsafe { libc::sem_post(answers(0)) };
        POSTED.fetch_add(1, Ordering::SeqCst);
    }
    if signal == libc::SIGUSR2 && ran.is_multiple_of(32) {
        let short = libc::timespec { tv_sec: 0, tv_nsec: 200_000 };
        // SAFETY: a time to read. It blocks in the handler.
        unsafe { libc::nanosleep(&raw const short, std::ptr::null_mut()) };
    }
    if runtime::goroutine_id().is_none() && is_the_runtimes() {
        ASTRAY.fetch_add(1, Ordering::SeqCst);
    }
    if signal == directed() {
        // SAFETY: the kernel's siginfo, of a signal that was queued.
        let target = unsafe { (*info).si_value().sival_ptr } as usize;
        if THEM[target % TARGETS].load(Ordering::SeqCst) != own() {
            MISTAKEN.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Whether the calling thread is the runtime's, or waits in `run`. (The test program's main thread is neither.)
fn is_the_runtimes() -> bool {
    let mut name = [0u8; 16];
    // SAFETY: room for a name.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    // SAFETY: no memory is involved.
    let is_runner = unsafe { libc::gettid() } == RUNNER.load(Ordering::Relaxed);
    is_runner || name.starts_with(b"goroutines-m") || name.starts_with(b"sysmon")
}

/// The thread that waits in `run`.
static RUNNER: AtomicI32 = AtomicI32::new(0);

fn directed() -> i32 {
    libc::SIGRTMIN() + 1
}

fn to_all() -> i32 {
    libc::SIGRTMIN() + 2
}

fn install(signal: i32, flags: i32) {
    // SAFETY: zeroes are a valid start; a handler of the right type.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = counts as *const () as usize;
        new.sa_flags = libc::SA_SIGINFO | flags;
        assert_eq!(libc::sigaction(signal, &raw const new, std::ptr::null_mut()), 0);
    }
}

fn mask(how: i32, signals: &[i32]) {
    // SAFETY: a set of our own.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        assert_eq!(libc::pthread_sigmask(how, &raw const set, std::ptr::null_mut()), 0);
    }
}

fn all_of_them() -> [i32; 5] {
    [directed(), to_all(), libc::SIGUSR1, libc::SIGUSR2, libc::SIGURG]
}

/// What a goroutine does that signals are directed at.
fn lives(number: usize, stop: &AtomicBool) {
    THEM[number].store(own(), Ordering::SeqCst);
    let (mut one, mut other) = UnixStream::pair().unwrap();
    for turn in number.. {
        match turn % 7 {
            0 => sleep(Duration::from_micros(300)),
            1 => {
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(200) {
                    std::hint::spin_loop();
                }
            }
            2 => mask(libc::SIG_BLOCK, &[directed(), libc::SIGUSR1]),
            3 => {
                other.write_all(&[1]).unwrap();
                one.read_exact(&mut [0]).unwrap();
            }
            4 => mask(libc::SIG_UNBLOCK, &[directed(), libc::SIGUSR1]),
            5 => std::thread::yield_now(),
            _ => {
                let go_on = go(std::thread::yield_now);
                go_on.join().unwrap();
            }
        }
        if stop.load(Ordering::Relaxed) {
            mask(libc::SIG_UNBLOCK, &all_of_them());
            break;
        }
    }
    // Until the last has come.
    while !DONE.load(Ordering::Relaxed) {
        sleep(ms(1));
    }
}

static DONE: AtomicBool = AtomicBool::new(false);

/// How many were sent to the process so far.
static SENT: AtomicU64 = AtomicU64::new(0);

/// Sends for a while. How many of each kind.
fn sends(length: Duration) -> [u64; 2] {
    let start = Instant::now();
    let mut sent = [0; 2];
    let mut number = 0;
    while start.elapsed() < length {
        number += 1;
        let target = number % TARGETS;
        let thread = THEM[target].load(Ordering::SeqCst) as libc::pthread_t;
        let value = libc::sigval { sival_ptr: target as *mut libc::c_void };
        // SAFETY: goroutines that live; no memory is involved.
        unsafe {
            sent[0] += u64::from(libc::pthread_sigqueue(thread, directed(), value) == 0);
            sent[1] += u64::from(libc::sigqueue(libc::getpid(), to_all(), value) == 0);
            SENT.store(sent[1], Ordering::Relaxed);
            libc::kill(libc::getpid(), libc::SIGUSR1);
            libc::pthread_kill(thread, libc::SIGUSR2);
            libc::pthread_kill(thread, libc::SIGURG);
        }
        if number.is_multiple_of(64) {
            sleep(ms(1));
        }
    }
    sent
}

/// What goes on beside a storm, again and again.
fn starts() {
    assert!(std::process::Command::new("true").status().unwrap().success());
}

fn forks() {
    // SAFETY: the child does nothing but end.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(7);
        }
        let mut status = 0;
        while libc::waitpid(child, &raw mut status, 0) != child {
            assert_eq!(*libc::__errno_location(), libc::EINTR, "waitpid");
        }
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7, "a child: {status:#x}");
    }
    sleep(ms(1));
}

fn loads() {
    // SAFETY: a library whose constructors and destructors do nothing.
    unsafe {
        let library = libc::dlopen(c"libanl.so.1".as_ptr(), libc::RTLD_NOW);
        assert!(!library.is_null(), "libanl.so.1 is not there");
        assert_eq!(libc::dlclose(library), 0);
    }
    sleep(ms(1));
}

/// A semaphore that is never destroyed.
fn make_semaphore(which: usize, value: u32) {
    let semaphore = Box::leak(Box::new(std::mem::MaybeUninit::<libc::sem_t>::zeroed()));
    // SAFETY: room for a semaphore.
    assert_eq!(unsafe { libc::sem_init(semaphore.as_mut_ptr(), 0, value) }, 0);
    ANSWERS[which].store(semaphore.as_mut_ptr() as usize, Ordering::SeqCst);
}

fn storm(length: Duration) {
    make_semaphore(0, 0);
    for signal in all_of_them() {
        install(signal, if signal == libc::SIGUSR2 { 0 } else { libc::SA_RESTART });
    }
    let stop = Arc::new(AtomicBool::new(false));
    let targets: Vec<_> = (0..TARGETS)
        .map(|number| {
            let stop = Arc::clone(&stop);
            go(move || lives(number, &stop))
        })
        .collect();
    while THEM.iter().any(|one| one.load(Ordering::SeqCst) == 0) {
        sleep(ms(1));
    }
    let beside = [starts, forks, loads].map(|f| {
        let stop = Arc::clone(&stop);
        go(move || {
            while !stop.load(Ordering::Relaxed) {
                f();
            }
        })
    });
    let woken = go(|| {
        let mut woken = 0;
        while !DONE.load(Ordering::SeqCst) {
            // SAFETY: a semaphore that is never destroyed.
            woken += u64::from(unsafe { libc::sem_wait(answers(0)) } == 0);
        }
        // SAFETY: as above. What is left.
        while unsafe { libc::sem_trywait(answers(0)) } == 0 {
            woken += 1;
        }
        woken
    });
    let sender = std::thread::spawn(move || {
        mask(libc::SIG_BLOCK, &all_of_them());
        sends(length)
    });
    while !sender.is_finished() {
        sleep(ms(5));
        let behind = SENT.load(Ordering::Relaxed).saturating_sub(POSTED.load(Ordering::SeqCst));
        if behind > 50_000 {
            eprintln!("nobody takes what is pending for the process: {behind}");
            std::process::abort();
        }
    }
    let sent = sender.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    let ran = || [RAN[directed() as usize].load(Ordering::SeqCst), POSTED.load(Ordering::SeqCst)];
    let behind = [0, 1].map(|n| sent[n] - ran()[n]);
    let start = Instant::now();
    while ran() != sent && start.elapsed() < Duration::from_secs(20) {
        sleep(ms(5));
    }
    println!("{behind:?} were still to come; they took {:?}", start.elapsed());
    assert_eq!(ran(), sent, "queued signals that ran, and that were sent");
    DONE.store(true, Ordering::SeqCst);
    // SAFETY: as above.
    unsafe { libc::sem_post(answers(0)) };
    join_all(targets);
    join_all(beside);
    assert_eq!(woken.join().unwrap(), sent[1] + 1, "what handlers have posted");
    let standard = [libc::SIGUSR1, libc::SIGUSR2, libc::SIGURG];
    for signal in standard {
        assert!(RAN[signal as usize].load(Ordering::SeqCst) > 0, "no {signal}");
    }
    assert_eq!(ASTRAY.load(Ordering::SeqCst), 0, "handlers on no goroutine");
    assert_eq!(MISTAKEN.load(Ordering::SeqCst), 0, "handlers on another goroutine");
    println!("sent {sent:?}");
}

#[test]
fn storms_lose_nothing() {
    let one = std::env::var("PROCS");
    let all = one.as_ref().map_or(vec!["1", "2", "4", "8"], |one| vec![one.as_str()]);
    for procs in all {
        let child = in_child("storms_lose_nothing", &[("GOMAXPROCS", procs)], || {
            let seconds = std::env::var("SOAK_SECONDS").map_or(2, |text| text.parse().unwrap());
            // SAFETY: no memory is involved.
            RUNNER.store(unsafe { libc::gettid() }, Ordering::Relaxed);
            goroutines::run(move || storm(Duration::from_secs(seconds)));
        });
        child.expect_clean();
        let text = child.text();
        let sent = text.lines().filter(|line| line.contains("sent") || line.contains("to come"));
        let sent: Vec<_> = sent.collect();
        println!("GOMAXPROCS={procs}: {}", sent.join("; "));
    }
}

// Signals that are answered: each is sent when the handler of the one before has run. (One that is lost ends that.)

/// Semaphores that handlers post: here one for each of SIGUSR1 and SIGUSR2.
static ANSWERS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
static ANSWERED: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

fn answers(which: usize) -> *mut libc::sem_t {
    ANSWERS[which].load(Ordering::SeqCst) as *mut libc::sem_t
}

extern "C" fn answer(signal: i32) {
    let which = usize::from(signal == libc::SIGUSR2);
    ANSWERED[which].fetch_add(1, Ordering::SeqCst);
    // SAFETY: a semaphore that is never destroyed.
    unsafe { libc::sem_post(answers(which)) };
}

/// On an ordinary thread.
fn asks(which: usize, stop: &AtomicBool) {
    mask(libc::SIG_BLOCK, &all_of_them());
    let signal = [libc::SIGUSR1, libc::SIGUSR2][which];
    while !stop.load(Ordering::SeqCst) {
        // SAFETY: as above.
        unsafe {
            assert_eq!(libc::sem_wait(answers(which)), 0);
            assert_eq!(libc::kill(libc::getpid(), signal), 0);
        }
    }
}

fn each_is_answered(length: Duration) {
    for which in 0..2 {
        make_semaphore(which, 1);
        let handler = answer as extern "C" fn(i32);
        // SAFETY: a handler of the right type.
        unsafe { libc::signal([libc::SIGUSR1, libc::SIGUSR2][which], handler as usize) };
    }
    let stop = Arc::new(AtomicBool::new(false));
    // This one is in a call of the kernel's, and computes, in turn.
    let told = Arc::clone(&stop);
    let takes = go(move || {
        while !told.load(Ordering::SeqCst) {
            let quick = std::thread::spawn(|| {
                mask(libc::SIG_BLOCK, &all_of_them());
                sleep(Duration::from_micros(100));
            });
            quick.join().unwrap();
        }
        // Somebody has to be there for the last ones.
        while !DONE.load(Ordering::SeqCst) {
            sleep(ms(1));
        }
    });
    mask(libc::SIG_BLOCK, &all_of_them());
    let threads = [0, 1].map(|which| {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || asks(which, &stop))
    });
    sleep(length);
    stop.store(true, Ordering::SeqCst);
    let start = Instant::now();
    while !threads.iter().all(std::thread::JoinHandle::is_finished) {
        assert!(start.elapsed() < Duration::from_secs(10), "a signal is lost");
        sleep(ms(5));
    }
    DONE.store(true, Ordering::SeqCst);
    join_all([takes]);
    println!("answered {ANSWERED:?}");
}

/// A goroutine is told of a signal, in a call of the kernel's, while it runs the handler of the one before.
#[test]
fn signals_that_are_answered() {
    for procs in ["1", "2", "4"] {
        let child = in_child("signals_that_are_answered", &[("GOMAXPROCS", procs)], || {
            goroutines::run(|| each_is_answered(Duration::from_secs(3)));
        });
        child.expect_clean();
        println!(
            "GOMAXPROCS={procs}: {}",
            child.text().lines().find(|l| l.contains("answered [")).unwrap_or("")
        );
    }
}

/// One goroutine goes in and out of the runtime, beside others that want its processor: SIGURG is the runtime's
/// signal, too.
fn urgent_ones(length: Duration) -> u64 {
    install(libc::SIGURG, libc::SA_RESTART);
    let stop = Arc::new(AtomicBool::new(false));
    let until_stop = |f: fn()| {
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                f();
            }
        }
    };
    let hogs: Vec<_> = (0..6).map(|_| go(until_stop(std::hint::spin_loop))).collect();
    let body = until_stop(|| drop(runtime::lock_os_thread()));
    let target = go(move || {
        THEM[0].store(own(), Ordering::SeqCst);
        body();
    });
    let sender = std::thread::spawn(move || {
        mask(libc::SIG_BLOCK, &all_of_them());
        let begun = Instant::now();
        let ran = || RAN[libc::SIGURG as usize].load(Ordering::SeqCst);
        while begun.elapsed() < length {
            let thread = THEM[0].load(Ordering::SeqCst) as libc::pthread_t;
            if thread == 0 {
                continue;
            }
            let (before, start) = (ran(), Instant::now());
            // SAFETY: a goroutine that lives.
            assert_eq!(unsafe { libc::pthread_kill(thread, libc::SIGURG) }, 0);
            while ran() == before {
                assert!(start.elapsed() < Duration::from_secs(10), "a SIGURG is lost");
                std::hint::spin_loop();
            }
        }
        ran()
    });
    while !sender.is_finished() {
        sleep(ms(5));
    }
    let sent = sender.join();
    stop.store(true, Ordering::Relaxed);
    join_all(hogs);
    join_all([target]);
    sent.unwrap()
}

#[test]
fn urgent_signals_that_are_answered() {
    for procs in [1, 2, 4] {
        let child =
            in_child("urgent_signals_that_are_answered", &[("PROCS", &procs.to_string())], || {
                let procs = std::env::var("PROCS").unwrap().parse().unwrap();
                let slice = Duration::from_micros(50);
                let count = runtime::Builder::new()
                    .gomaxprocs(procs)
                    .time_slice(slice)
                    .run(|| urgent_ones(Duration::from_secs(3)));
                println!("answered {count}");
            });
        child.expect_clean();
        let text = child.text();
        let line = text.lines().find(|line| line.contains("answered ")).unwrap_or("");
        println!("GOMAXPROCS={procs}: {line}");
    }
}

// Signals of many kinds at once, for a goroutine that is in calls of the kernel's: their handlers interrupt each other.

const KINDS: usize = 8;

extern "C" fn counts_only(signal: i32) {
    RAN[signal as usize].fetch_add(1, Ordering::SeqCst);
}

/// Waits for the lock of `file`, in the kernel. False: a handler has ended that.
fn lock(file: &std::fs::File) -> bool {
    // SAFETY: no memory is involved.
    unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) == 0 }
}

fn unlock(file: &std::fs::File) {
    // SAFETY: no memory is involved.
    assert_eq!(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) }, 0);
}

fn each_is_taken_once(length: Duration) {
    let kinds = || (1..=KINDS as i32).map(|n| libc::SIGRTMIN() + n);
    for signal in kinds() {
        // SAFETY: a handler of the right type.
        unsafe { libc::signal(signal, counts_only as extern "C" fn(i32) as usize) };
    }
    let path = std::env::temp_dir().join(format!("goroutines-lock-{}", std::process::id()));
    let open = || std::fs::File::create(&path).unwrap();
    let (held, wanted) = (open(), open());
    std::fs::remove_file(&path).unwrap();
    let holder = std::thread::spawn(move || {
        mask(libc::SIG_BLOCK, &kinds().collect::<Vec<_>>());
        while !DONE.load(Ordering::SeqCst) {
            assert!(lock(&held));
            sleep(Duration::from_micros(200));
            unlock(&held);
            std::thread::yield_now();
        }
    });
    let target = go(move || {
        THEM[0].store(own(), Ordering::SeqCst);
        while !DONE.load(Ordering::SeqCst) {
            // It may end with EINTR.
            if lock(&wanted) {
                unlock(&wanted);
            }
        }
    });
    while THEM[0].load(Ordering::SeqCst) == 0 {
        sleep(ms(1));
    }
    let start = Instant::now();
    let senders = [0; 3].map(|_| {
        std::thread::spawn(move || {
            let thread = THEM[0].load(Ordering::SeqCst) as libc::pthread_t;
            let mut sent = [0; KINDS];
            while start.elapsed() < length {
                for (kind, signal) in kinds().enumerate() {
                    let value = libc::sigval { sival_ptr: std::ptr::null_mut() };
                    // SAFETY: a goroutine that lives.
                    let result = unsafe { libc::pthread_sigqueue(thread, signal, value) };
                    sent[kind] += u64::from(result == 0);
                }
                sleep(Duration::from_micros(100));
            }
            sent
        })
    });
    let sent: Vec<_> = senders.map(|one| one.join().unwrap()).to_vec();
    let sent: Vec<u64> = (0..KINDS).map(|kind| sent.iter().map(|of| of[kind]).sum()).collect();
    let ran = || kinds().map(|n| RAN[n as usize].load(Ordering::SeqCst)).collect::<Vec<_>>();
    let start = Instant::now();
    while ran() != sent && start.elapsed() < Duration::from_secs(10) {
        sleep(ms(5));
    }
    assert_eq!(ran(), sent, "signals that ran, and that were sent");
    DONE.store(true, Ordering::SeqCst);
    join_all([target]);
    holder.join().unwrap();
    println!("taken {sent:?}");
}

#[test]
fn many_kinds_in_calls() {
    for procs in ["1", "2", "4"] {
        let child = in_child("many_kinds_in_calls", &[("GOMAXPROCS", procs)], || {
            goroutines::run(|| each_is_taken_once(Duration::from_secs(3)));
        });
        child.expect_clean();
        let text = child.text();
        println!(
            "GOMAXPROCS={procs}: {}",
            text.lines().find(|l| l.contains("taken [")).unwrap_or("")
        );
    }
}
