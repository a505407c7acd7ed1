//! What handlers do: wait, wake, leave by `siglongjmp`, compute.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::install;
use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, sleep};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

pub(crate) fn rows() -> Vec<Row> {
    rows![
        handler_waits_for_another,
        handler_computes,
        handler_sleeps,
        left_by_siglongjmp,
        left_from_deep_below,
        left_out_of_a_read,
        inner_handler_left,
        handler_unparks,
        handlers_unpark_all_the_time,
        faults_are_sent_to_handlers,
        faults_that_are_ignored,
        queued_before_the_limit,
    ]
}

static RUNS: AtomicUsize = AtomicUsize::new(0);
static FROM: AtomicI32 = AtomicI32::new(-1);

fn write_later(t: &Trace, to: i32) -> goroutines_twin_tests::Flow<()> {
    t.spawn("writes", move |t| {
        ms(50);
        t.says("write", ret(unsafe { libc::write(to, c"x".as_ptr().cast(), 1) }));
    })
}

fn read(from: i32) -> goroutines_twin_tests::say::Ret {
    let mut byte = 0u8;
    ret(unsafe { libc::read(from, (&raw mut byte).cast(), 1) })
}

extern "C" fn reads(_: i32) {
    if read(FROM.load(Ordering::Relaxed)).to_string() == "1" {
        RUNS.fetch_add(1, Ordering::Relaxed);
    }
}

fn handler_waits_for_another(t: &Trace) {
    let (from, to) = make::pipe();
    FROM.store(from, Ordering::Relaxed);
    install(libc::SIGUSR1, reads as *const () as usize, 0, &[]);
    for turn in 0..5 {
        let writes = write_later(t, to);
        t.says("raise", ret(unsafe { libc::raise(libc::SIGUSR1) }));
        t.says("runs", RUNS.load(Ordering::Relaxed) == turn + 1);
        writes.join();
    }
}

static OTHER_RAN: AtomicBool = AtomicBool::new(false);

extern "C" fn computes(_: i32) {
    let start = Instant::now();
    while !OTHER_RAN.load(Ordering::Relaxed) && start.elapsed() < Duration::from_secs(5) {
        std::hint::spin_loop();
    }
}

fn handler_computes(t: &Trace) {
    install(libc::SIGUSR1, computes as *const () as usize, 0, &[]);
    let other = t.spawn("other", |_| {
        ms(20);
        OTHER_RAN.store(true, Ordering::Relaxed);
    });
    unsafe { libc::raise(libc::SIGUSR1) };
    t.says("the other ran meanwhile", OTHER_RAN.load(Ordering::Relaxed));
    other.join();
}

extern "C" fn sleeps(_: i32) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: 400_000_000 };
    unsafe { libc::nanosleep(&raw const time, std::ptr::null_mut()) };
}

fn handler_sleeps(t: &Trace) {
    install(libc::SIGUSR1, sleeps as *const () as usize, 0, &[]);
    let other = t.spawn("other", |t| t.timed("others run", 200, || sleep(200)));
    t.timed("raise", 400, || unsafe { libc::raise(libc::SIGUSR1) });
    other.join();
}

unsafe extern "C" {
    fn __sigsetjmp(to: *mut u64, mask: i32) -> i32;
    fn siglongjmp(to: *mut u64, value: i32) -> !;
}

static mut BACK: [u64; 64] = [0; 64];

extern "C" fn jumps(_: i32) {
    RUNS.fetch_add(1, Ordering::Relaxed);
    unsafe { siglongjmp((&raw mut BACK).cast(), 1) }
}

/// Calls `f`, out of which a handler jumps; whether it did.
#[inline(never)]
fn left(f: fn()) -> bool {
    if unsafe { __sigsetjmp((&raw mut BACK).cast(), 1) } == 0 {
        f();
        return false;
    }
    true
}

fn raise_usr1() {
    unsafe { libc::raise(libc::SIGUSR1) };
}

/// Waits for others, several times: as before, and slices end.
fn goes_on(t: &Trace) {
    let (from, to) = make::pipe();
    let writes = write_later(t, to);
    t.says("read", read(from));
    writes.join();
    let burns: Vec<_> = (0..3)
        .map(|n| {
            t.spawn(&format!("burns {n}"), |_| {
                let start = Instant::now();
                while start.elapsed() < Duration::from_secs(2) {}
            })
        })
        .collect();
    t.timed("sleeps", 200, || sleep(200));
    burns.into_iter().for_each(|burns| burns.join());
}

fn left_by_siglongjmp(t: &Trace) {
    install(libc::SIGUSR1, jumps as *const () as usize, 0, &[]);
    for _ in 0..3 {
        t.says("left", left(raise_usr1));
        goes_on(t);
    }
    t.says("runs", RUNS.load(Ordering::Relaxed));
}

#[inline(never)]
fn deep(t: &Trace, n: u64) -> u64 {
    let room = std::hint::black_box([n; 32]);
    if n == 0 {
        goes_on(t);
        return room[0];
    }
    deep(t, n - 1) + std::hint::black_box(room)[31]
}

/// What comes after stands deeper than the handler stood.
fn left_from_deep_below(t: &Trace) {
    install(libc::SIGUSR1, jumps as *const () as usize, 0, &[]);
    t.says("left", left(raise_usr1));
    t.says("deep", deep(t, 40));
}

fn reads_a_file_that_blocks() {
    // A descriptor for which the runtime waits in the kernel: that of a file which another has
    // locked.
    let fd = FROM.load(Ordering::Relaxed);
    unsafe { libc::flock(fd, libc::LOCK_EX) };
}

/// A time-out of the old school, by a timer of the thread's own.
fn left_out_of_a_read(t: &Trace) {
    let path = std::env::temp_dir().join(format!("twin-left-{}", std::process::id()));
    let path =
        std::ffi::CString::new(path.into_os_string().into_encoded_bytes()).unwrap_or_default();
    let open = || unsafe { libc::open(path.as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o600) };
    let (one, other) = (open(), open());
    t.says("held", ret(unsafe { libc::flock(one, libc::LOCK_EX) }));
    FROM.store(other, Ordering::Relaxed);
    install(libc::SIGUSR1, jumps as *const () as usize, 0, &[]);
    let tid = unsafe { libc::syscall(libc::SYS_gettid) };
    let (sent, done) = (std::sync::Arc::new(AtomicBool::new(false)), AtomicBool::new(false));
    let ask = sent.clone();
    let thread = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(200));
        ask.store(true, Ordering::Relaxed);
        unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR1) };
    });
    t.says("left", left(reads_a_file_that_blocks));
    done.store(true, Ordering::Relaxed);
    t.says("sent", sent.load(Ordering::Relaxed));
    t.says("thread", thread.join().is_ok());
    unsafe { libc::unlink(path.as_ptr()) };
    unsafe { libc::close(one) };
    unsafe { libc::close(other) };
    goes_on(t);
}

extern "C" fn has_an_inner(_: i32) {
    let is_left = left(|| {
        unsafe { libc::raise(libc::SIGUSR2) };
    });
    RUNS.fetch_add(10 * usize::from(is_left), Ordering::Relaxed);
}

fn inner_handler_left(t: &Trace) {
    install(libc::SIGUSR1, has_an_inner as *const () as usize, 0, &[]);
    install(libc::SIGUSR2, jumps as *const () as usize, 0, &[]);
    unsafe { libc::raise(libc::SIGUSR1) };
    t.says("runs", RUNS.load(Ordering::Relaxed));
    goes_on(t);
}

static WAITS: OnceLock<Thread> = OnceLock::new();
static SEEN: AtomicBool = AtomicBool::new(false);

extern "C" fn unparks(_: i32) {
    RUNS.fetch_add(1, Ordering::Relaxed);
    SEEN.store(true, Ordering::SeqCst);
    if let Some(thread) = WAITS.get() {
        thread.unpark();
    }
}

/// There is no other flow: that is no deadlock.
fn handler_unparks(t: &Trace) {
    WAITS.get_or_init(std::thread::current);
    install(libc::SIGALRM, unparks as *const () as usize, libc::SA_RESTART, &[]);
    unsafe { libc::alarm(1) };
    while !SEEN.load(Ordering::SeqCst) {
        std::thread::park();
    }
    t.line("woken");
}

/// The signal comes in the middle of a wait.
fn handlers_unpark_all_the_time(t: &Trace) {
    WAITS.get_or_init(std::thread::current);
    install(libc::SIGUSR1, unparks as *const () as usize, libc::SA_RESTART, &[]);
    // (The thread on which it is now: a goroutine would go to others.)
    let _locked = goroutines::runtime::lock_os_thread();
    let tid = unsafe { libc::syscall(libc::SYS_gettid) };
    let start = Instant::now();
    let storm = std::thread::spawn(move || {
        while start.elapsed() < Duration::from_secs(3) {
            unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, libc::SIGUSR1) };
        }
    });
    while start.elapsed() < Duration::from_secs(2) {
        std::thread::park();
    }
    t.says("joins", storm.join().is_ok());
    t.says("many", RUNS.load(Ordering::Relaxed) > 100);
}

extern "C" fn counts(_: i32) {
    RUNS.fetch_add(1, Ordering::Relaxed);
}

/// Signals of faults that are sent by a call.
const FAULTS: [i32; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL];

fn faults_are_sent_to_handlers(t: &Trace) {
    for signal in FAULTS {
        install(signal, counts as *const () as usize, 0, &[]);
        let before = RUNS.load(Ordering::Relaxed);
        t.says("raise", ret(unsafe { libc::raise(signal) }));
        t.says("runs", RUNS.load(Ordering::Relaxed) - before);
        install(signal, libc::SIG_IGN, 0, &[]);
        t.says("raise", ret(unsafe { libc::raise(signal) }));
    }
}

fn faults_that_are_ignored(t: &Trace) {
    for signal in FAULTS {
        install(signal, libc::SIG_IGN, 0, &[]);
        t.says("raise", ret(unsafe { libc::raise(signal) }));
        t.says("raise", ret(unsafe { libc::raise(signal) }));
    }
}

static VALUES: AtomicUsize = AtomicUsize::new(0);

extern "C" fn adds_its_value(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let value = unsafe { (*info).si_value() };
    VALUES.fetch_add(value.sival_ptr as usize, Ordering::Relaxed);
    RUNS.fetch_add(1, Ordering::Relaxed);
}

/// Signals that wait, with their values, are not lost when no more may be queued.
fn queued_before_the_limit(t: &Trace) {
    let all = [libc::SIGUSR1, libc::SIGRTMIN() + 3];
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        for signal in all {
            let handler = adds_its_value as *const () as usize;
            install(signal, handler, libc::SA_SIGINFO, &[]);
            libc::sigaddset(&raw mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        for n in 1..=3 {
            for signal in all {
                let value = libc::sigval { sival_ptr: n as *mut libc::c_void };
                let sent = libc::pthread_sigqueue(libc::pthread_self(), signal, value);
                t.says("sent", sent);
            }
        }
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        t.says("limit", ret(libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const none)));
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
    }
    t.says("runs", RUNS.load(Ordering::Relaxed));
    t.says("values", VALUES.load(Ordering::Relaxed));
}
