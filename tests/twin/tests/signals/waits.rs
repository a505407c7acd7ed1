//! Waiting for a handler; and calls that a signal ends, which the runtime's own must not.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::install;
use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn semtimedop(set: i32, list: *mut libc::sembuf, n: usize, time: *const libc::timespec) -> i32;
    fn __xpg_sigpause(signal: i32) -> i32;
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        pause_by_alarm,
        pause_by_kill_often,
        pause_by_raise_of_another_thread,
        sigsuspend_by_alarm,
        sigsuspend_takes_what_is_pending,
        sigsuspend_bad_mask,
        sigpause_takes_what_is_pending,
    ];
    let calls: [(&str, Call); 4] = [
        ("semtimedop", sem_times_out),
        ("mq_timedreceive", mq_receive_times_out),
        ("mq_timedsend", mq_send_times_out),
        ("aio_suspend", aio_times_out),
    ];
    for (name, call) in calls {
        rows.push(Row::new(format!("{name}_beside_slices"), move |t| beside_slices(t, call)));
    }
    rows
}

static RUNS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn counts(_: i32) {
    RUNS.fetch_add(1, Ordering::Relaxed);
}

fn pause() -> goroutines_twin_tests::say::Ret {
    ret(unsafe { libc::pause() })
}

fn pause_by_alarm(t: &Trace) {
    for flags in [0, libc::SA_RESTART] {
        install(libc::SIGALRM, counts as *const () as usize, flags, &[]);
        unsafe { libc::alarm(1) };
        let word = t.timed("pause", 1000, pause);
        t.says("pause", word);
        t.says("runs", RUNS.load(Ordering::Relaxed));
    }
}

fn pause_by_kill_often(t: &Trace) {
    install(libc::SIGUSR1, counts as *const () as usize, 0, &[]);
    let sends = std::thread::spawn(|| {
        // The row's thread must be in its call before: so one after the other, slowly, until all have come; and they
        // are not this thread's.
        let set = set(&[libc::SIGUSR1]);
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        while RUNS.load(Ordering::Relaxed) < 5 {
            std::thread::sleep(Duration::from_millis(200));
            unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
        }
    });
    while RUNS.load(Ordering::Relaxed) < 4 {
        t.says("pause", pause().to_string() == "-1 EINTR");
        if RUNS.load(Ordering::Relaxed) == 0 {
            t.line("ended by nothing");
        }
    }
    t.says("joins", sends.join().is_ok());
}

/// That is not for it.
fn pause_by_raise_of_another_thread(t: &Trace) {
    install(libc::SIGUSR1, counts as *const () as usize, 0, &[]);
    let other = std::thread::spawn(|| {
        std::thread::sleep(Duration::from_millis(100));
        unsafe { libc::raise(libc::SIGUSR1) };
    });
    t.hangs_after("pause", 600, pause);
    t.says("runs", RUNS.load(Ordering::Relaxed));
    t.says("joins", other.join().is_ok());
}

fn set(signals: &[i32]) -> libc::sigset_t {
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    for signal in signals {
        unsafe { libc::sigaddset(&raw mut set, *signal) };
    }
    set
}

fn sigsuspend_by_alarm(t: &Trace) {
    install(libc::SIGALRM, counts as *const () as usize, 0, &[]);
    unsafe { libc::alarm(1) };
    let none = set(&[]);
    let word = t.timed("sigsuspend", 1000, || ret(unsafe { libc::sigsuspend(&raw const none) }));
    t.says("sigsuspend", word);
    t.says("runs", RUNS.load(Ordering::Relaxed));
}

/// The goroutine keeps its thread, whose mask it is.
fn blocked(t: &Trace, f: impl Fn() -> goroutines_twin_tests::say::Ret) {
    let _locked = goroutines::runtime::lock_os_thread();
    install(libc::SIGUSR1, counts as *const () as usize, 0, &[]);
    let (one, mut before) = (set(&[libc::SIGUSR1]), set(&[]));
    let how = libc::SIG_BLOCK;
    unsafe { libc::pthread_sigmask(how, &raw const one, &raw mut before) };
    for _ in 0..3 {
        unsafe { libc::raise(libc::SIGUSR1) };
        t.says("runs", RUNS.load(Ordering::Relaxed));
        t.says("waits", f());
        t.says("runs", RUNS.load(Ordering::Relaxed));
    }
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
}

fn sigsuspend_takes_what_is_pending(t: &Trace) {
    blocked(t, || {
        let none = set(&[]);
        ret(unsafe { libc::sigsuspend(&raw const none) })
    });
}

fn sigpause_takes_what_is_pending(t: &Trace) {
    blocked(t, || ret(unsafe { __xpg_sigpause(libc::SIGUSR1) }));
    t.says("no signal", ret(unsafe { __xpg_sigpause(100) }));
}

fn sigsuspend_bad_mask(t: &Trace) {
    t.says("bad", ret(unsafe { libc::sigsuspend(make::bad()) }));
}

/// Waits three milliseconds in vain; the errno.
type Call = fn() -> i32;

const TIME: Duration = Duration::from_millis(3);

fn soon() -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    time.tv_nsec += TIME.as_nanos() as i64;
    time.tv_sec += time.tv_nsec / 1_000_000_000;
    time.tv_nsec %= 1_000_000_000;
    time
}

fn errno(word: i64) -> i32 {
    if word == -1 { unsafe { *libc::__errno_location() } } else { 0 }
}

fn sem_times_out() -> i32 {
    static SET: std::sync::OnceLock<i32> = std::sync::OnceLock::new();
    let set = *SET.get_or_init(|| unsafe { libc::semget(libc::IPC_PRIVATE, 1, 0o600) });
    let time = libc::timespec { tv_sec: 0, tv_nsec: TIME.as_nanos() as i64 };
    let mut one = libc::sembuf { sem_num: 0, sem_op: -1, sem_flg: 0 };
    errno(unsafe { semtimedop(set, &raw mut one, 1, &raw const time) }.into())
}

fn queue(name: &str, full: bool) -> i32 {
    let name = std::ffi::CString::new(format!("/twin-{name}")).unwrap_or_default();
    let mut attr: libc::mq_attr = unsafe { std::mem::zeroed() };
    attr.mq_maxmsg = 1;
    attr.mq_msgsize = 8;
    let flags = libc::O_CREAT | libc::O_RDWR;
    let queue = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw mut attr) };
    unsafe { libc::mq_unlink(name.as_ptr()) };
    if full {
        unsafe { libc::mq_send(queue, c"x".as_ptr(), 1, 0) };
    }
    queue
}

fn mq_receive_times_out() -> i32 {
    static QUEUE: std::sync::OnceLock<i32> = std::sync::OnceLock::new();
    let queue = *QUEUE.get_or_init(|| queue("empty", false));
    let (time, mut bytes) = (soon(), [0; 8]);
    let to = bytes.as_mut_ptr();
    errno(unsafe { libc::mq_timedreceive(queue, to, 8, std::ptr::null_mut(), &raw const time) }
        as i64)
}

fn mq_send_times_out() -> i32 {
    static QUEUE: std::sync::OnceLock<i32> = std::sync::OnceLock::new();
    let queue = *QUEUE.get_or_init(|| queue("full", true));
    let time = soon();
    errno(unsafe { libc::mq_timedsend(queue, c"x".as_ptr(), 1, 0, &raw const time) }.into())
}

fn aio_times_out() -> i32 {
    static FROM: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    let one = *FROM.get_or_init(|| {
        let (from, _to) = make::pipe();
        let one = Box::leak(Box::new(unsafe { std::mem::zeroed::<libc::aiocb>() }));
        one.aio_fildes = from;
        one.aio_buf = Box::leak(Box::new([0u8; 8])).as_mut_ptr().cast();
        one.aio_nbytes = 8;
        unsafe { libc::aio_read(one) };
        std::ptr::from_mut(one) as usize
    }) as *const libc::aiocb;
    let time = libc::timespec { tv_sec: 0, tv_nsec: TIME.as_nanos() as i64 };
    errno(unsafe { libc::aio_suspend(&raw const one, 1, &raw const time) }.into())
}

fn burn(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// The end of a slice meets the call that has just begun.
fn beside_slices(t: &Trace, call: Call) {
    let all: Vec<_> = (0..4u64)
        .map(|n| {
            t.spawn(&format!("{n}"), move |t| {
                let interrupted = (0..60u64)
                    .filter(|turn| {
                        burn(Duration::from_micros(9_000 + (turn * 37 + n * 211) % 2_500));
                        call() == libc::EINTR
                    })
                    .count();
                t.says("interrupted", interrupted);
            })
        })
        .collect();
    all.into_iter().for_each(|one| one.join());
    ms(1);
}
