//! What a signal does to each call that waits: signal(7)'s lists, and what Linux does.

#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::install;
use goroutines_twin_tests::{Row, Trace, code, make, ms, ret};
use libc::{c_int, c_void, timespec, timeval};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

unsafe extern "C" {
    fn semtimedop(set: c_int, list: *mut libc::sembuf, n: usize, time: *const timespec) -> c_int;
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for case in cases() {
        for how in HOWS {
            // (One to the process that is ignored interrupts a call on a thread, as main blocks it there: the kernel then
            // looks at what is to become of it only where it comes.)
            let is_nothing = matches!(how, How::Ignored | How::Harmless);
            for directed in [true, false].into_iter().filter(|directed| *directed || !is_nothing) {
                let way = if directed { "directed" } else { "to_process" };
                let name = format!("{}_{}_{way}", case.name, how.name());
                let (call, release) = (case.call, case.release);
                rows.push(Row::new(name, move |t| interrupted(t, how, directed, call, release)));
            }
        }
        let how = How::Plain;
        let (call, release) = (case.call, case.release);
        let row = |name: &str, before: fn(&Trace)| {
            let name = format!("{}_{}_{name}", case.name, how.name());
            Row::new(name, move |t| interrupted(t, how, true, call, release)).before(before)
        };
        rows.push(row("where_signals_have_no_values", |_| {
            make::refuse(&[(libc::SYS_rt_tgsigqueueinfo, None)], libc::EPERM);
        }));
        rows.push(row("where_signals_lose_their_values", |_| {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_SIGPENDING, &raw const none) }, 0);
        }));
    }
    rows
}

/// What is set for the signal.
#[derive(Clone, Copy)]
enum How {
    Restart,
    Plain,
    Ignored,
    Harmless,
    Masked,
}

const HOWS: [How; 5] = [How::Restart, How::Plain, How::Ignored, How::Harmless, How::Masked];

impl How {
    fn name(self) -> &'static str {
        match self {
            Self::Restart => "with_restart",
            Self::Plain => "without_restart",
            Self::Ignored => "ignored",
            Self::Harmless => "harmless",
            Self::Masked => "masked",
        }
    }

    fn signal(self) -> c_int {
        if matches!(self, Self::Harmless) { libc::SIGWINCH } else { libc::SIGUSR1 }
    }
}

/// What a call works with.
struct Things {
    /// Descriptors: the call's, and the other end.
    at: c_int,
    other: c_int,
    /// Objects.
    words: usize,
}

type Call = fn(&Things) -> String;

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    call: Call,
    release: fn(&Things),
}

static RAN: AtomicU32 = AtomicU32::new(0);
static HERE: AtomicUsize = AtomicUsize::new(0);
static ELSEWHERE: AtomicU32 = AtomicU32::new(0);
/// The call is about to be made.
static CALLS: AtomicBool = AtomicBool::new(false);

extern "C" fn handler(_: c_int) {
    RAN.fetch_add(1, Ordering::SeqCst);
    if unsafe { libc::pthread_self() } as usize != HERE.load(Ordering::SeqCst) {
        ELSEWHERE.fetch_add(1, Ordering::SeqCst);
    }
}

fn interrupted(t: &Trace, how: How, directed: bool, call: Call, release: fn(&Things)) {
    let signal = how.signal();
    let function = handler as *const () as usize;
    match how {
        How::Restart => drop(install(signal, function, libc::SA_RESTART, &[])),
        How::Plain => drop(install(signal, function, 0, &[])),
        How::Ignored => drop(install(signal, libc::SIG_IGN, 0, &[])),
        How::Harmless => {}
        How::Masked => unsafe {
            install(signal, function, 0, &[]);
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&raw mut set, signal);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, null_mut());
        },
    }
    let (at, other) = make::socketpair(libc::SOCK_STREAM);
    let words = Box::leak(Box::new([0u64; 64])).as_mut_ptr() as usize;
    let me = unsafe { libc::pthread_self() };
    HERE.store(me as usize, Ordering::SeqCst);
    let party = t.spawn("sender", move |t| {
        unsafe {
            // A signal to the process is the waiting one's.
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigaddset(&raw mut set, signal);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, null_mut());
        }
        while !CALLS.load(Ordering::SeqCst) {
            ms(1);
        }
        ms(200);
        let sent = match directed {
            true => code(unsafe { libc::pthread_kill(me, signal) }),
            false => ret(unsafe { libc::kill(libc::getpid(), signal) }).to_string(),
        };
        t.says("sent", sent);
        match how {
            How::Restart | How::Plain => {
                make::until(3000, || RAN.load(Ordering::SeqCst) > 0);
            }
            How::Ignored | How::Harmless | How::Masked => ms(200),
        }
        t.says("ran while it waited", RAN.load(Ordering::SeqCst));
        release(&Things { at, other, words });
    });
    let things = Things { at, other, words };
    CALLS.store(true, Ordering::SeqCst);
    t.says("call", call(&things));
    party.join();
    t.says("ran", RAN.load(Ordering::SeqCst));
    t.says("elsewhere", ELSEWHERE.load(Ordering::SeqCst));
}

fn write_byte(things: &Things) {
    unsafe { libc::write(things.other, c"x".as_ptr().cast(), 1) };
}

fn nothing(_: &Things) {}

fn bytes() -> *mut c_void {
    Box::leak(Box::new([0u8; 4096])).as_mut_ptr().cast()
}

fn time_limit(fd: c_int, option: c_int) {
    let time = timeval { tv_sec: 20, tv_usec: 0 };
    let at = (&raw const time).cast();
    unsafe {
        libc::setsockopt(fd, libc::SOL_SOCKET, option, at, size_of::<timeval>() as libc::socklen_t)
    };
}

fn fill(fd: c_int) {
    make::nonblocking(fd, true);
    while unsafe { libc::write(fd, bytes(), 4096) } > 0 {}
    while unsafe { libc::write(fd, bytes(), 1) } > 0 {}
    make::nonblocking(fd, false);
}

fn drain(things: &Things) {
    for _ in 0..200 {
        let n = unsafe { libc::recv(things.other, bytes(), 4096, libc::MSG_DONTWAIT) };
        if n <= 0 {
            break;
        }
    }
}

fn later(after_ms: i64) -> timespec {
    let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    let ns = now.tv_nsec + after_ms * 1_000_000;
    timespec { tv_sec: now.tv_sec + ns / 1_000_000_000, tv_nsec: ns % 1_000_000_000 }
}

/// The signal comes at 200 ms.
static SHORT: timespec = timespec { tv_sec: 1, tv_nsec: 500_000_000 };

fn slept(word: c_int, rest: &timespec) -> String {
    let left = rest.tv_sec * 1000 + rest.tv_nsec / 1_000_000;
    format!("{word}, {}", if (300..=1400).contains(&left) { "some rest" } else { "no rest" })
}

fn case(name: &'static str, call: Call, release: fn(&Things)) -> Case {
    Case { name, call, release }
}

fn cases() -> Vec<Case> {
    [streams(), polls(), sleeps(), semaphores(), locks(), others()].concat()
}

fn streams() -> Vec<Case> {
    vec![
        case("read", |a| ret(unsafe { libc::read(a.at, bytes(), 9) }).to_string(), write_byte),
        case("recv", |a| ret(unsafe { libc::recv(a.at, bytes(), 9, 0) }).to_string(), write_byte),
        case(
            "recv_with_limit",
            |a| {
                time_limit(a.at, libc::SO_RCVTIMEO);
                ret(unsafe { libc::recv(a.at, bytes(), 9, 0) }).to_string()
            },
            write_byte,
        ),
        case(
            "write",
            |a| {
                fill(a.at);
                ret(unsafe { libc::write(a.at, bytes(), 1) }).to_string()
            },
            drain,
        ),
        case(
            "send_with_limit",
            |a| {
                fill(a.at);
                time_limit(a.at, libc::SO_SNDTIMEO);
                ret(unsafe { libc::send(a.at, bytes(), 1, 0) }).to_string()
            },
            drain,
        ),
        case(
            "accept",
            |_| unsafe {
                let listener = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
                libc::listen(listener, 5);
                time_limit(listener, libc::SO_RCVTIMEO);
                let time = timeval { tv_sec: 1, tv_usec: 500_000 };
                let (level, len) = (libc::SOL_SOCKET, size_of::<timeval>() as libc::socklen_t);
                let at = (&raw const time).cast();
                libc::setsockopt(listener, level, libc::SO_RCVTIMEO, at, len);
                ret(libc::accept(listener, null_mut(), null_mut())).to_string()
            },
            nothing,
        ),
    ]
}

fn polls() -> Vec<Case> {
    vec![
        case(
            "poll",
            |a| {
                let mut one = libc::pollfd { fd: a.at, events: libc::POLLIN, revents: 0 };
                ret(unsafe { libc::poll(&raw mut one, 1, 20_000) }).to_string()
            },
            write_byte,
        ),
        case(
            "ppoll",
            |a| {
                let mut one = libc::pollfd { fd: a.at, events: libc::POLLIN, revents: 0 };
                ret(unsafe { libc::ppoll(&raw mut one, 1, null(), null()) }).to_string()
            },
            write_byte,
        ),
        case(
            "ppoll_that_opens_all",
            |a| {
                let mut one = libc::pollfd { fd: a.at, events: libc::POLLIN, revents: 0 };
                unsafe {
                    let none: libc::sigset_t = std::mem::zeroed();
                    ret(libc::ppoll(&raw mut one, 1, null(), &raw const none)).to_string()
                }
            },
            write_byte,
        ),
        case(
            "select",
            |a| {
                let mut set = [0u64; 16];
                set[a.at as usize / 64] |= 1 << (a.at % 64);
                let at = set.as_mut_ptr().cast();
                let mut time = timeval { tv_sec: 20, tv_usec: 0 };
                let (none, time) = (null_mut(), &raw mut time);
                ret(unsafe { libc::select(a.at + 1, at, none, none, time) }).to_string()
            },
            write_byte,
        ),
        case(
            "epoll_wait",
            |a| unsafe {
                let epoll = libc::epoll_create1(0);
                let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
                libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, a.at, &raw mut event);
                ret(libc::epoll_wait(epoll, &raw mut event, 1, -1)).to_string()
            },
            write_byte,
        ),
    ]
}

fn sleeps() -> Vec<Case> {
    vec![
        case(
            "nanosleep",
            |_| {
                let mut rest = timespec { tv_sec: 0, tv_nsec: 0 };
                let word = unsafe { libc::nanosleep(&raw const SHORT, &raw mut rest) };
                format!("{} {}", ret(word), slept(word, &rest))
            },
            nothing,
        ),
        case(
            "clock_nanosleep_until",
            |_| {
                let (clock, until) = (libc::CLOCK_REALTIME, later(1500));
                let flags = libc::TIMER_ABSTIME;
                code(unsafe { libc::clock_nanosleep(clock, flags, &raw const until, null_mut()) })
            },
            nothing,
        ),
        case("usleep", |_| ret(unsafe { libc::usleep(1_500_000) }).to_string(), nothing),
        case("sleep", |_| unsafe { libc::sleep(3) }.to_string(), nothing),
    ]
}

fn semaphores() -> Vec<Case> {
    vec![
        case(
            "sem_wait",
            |a| unsafe {
                libc::sem_init(a.words as *mut libc::sem_t, 0, 0);
                ret(libc::sem_wait(a.words as *mut libc::sem_t)).to_string()
            },
            |a| {
                unsafe { libc::sem_post(a.words as *mut libc::sem_t) };
            },
        ),
        case(
            "sem_timedwait",
            |a| unsafe {
                libc::sem_init(a.words as *mut libc::sem_t, 0, 0);
                let until = later(20_000);
                let word = libc::sem_timedwait(a.words as *mut libc::sem_t, &raw const until);
                ret(word).to_string()
            },
            |a| {
                unsafe { libc::sem_post(a.words as *mut libc::sem_t) };
            },
        ),
        case(
            "semop",
            |_| unsafe {
                let set = libc::semget(libc::IPC_PRIVATE, 1, 0o600);
                let mut one = libc::sembuf { sem_num: 0, sem_op: -1, sem_flg: 0 };
                let got = ret(semtimedop(set, &raw mut one, 1, &raw const SHORT)).to_string();
                libc::semctl(set, 0, libc::IPC_RMID);
                got
            },
            nothing,
        ),
        case(
            "futex",
            |a| {
                let op = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
                let none = null::<timespec>();
                let word = unsafe { libc::syscall(libc::SYS_futex, a.words, op, 0, none) };
                ret(word).to_string()
            },
            |a| {
                let op = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
                unsafe { libc::syscall(libc::SYS_futex, a.words, op, 1) };
            },
        ),
        case(
            "futex_with_limit",
            |a| {
                let op = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
                let time = timespec { tv_sec: 20, tv_nsec: 0 };
                let word =
                    unsafe { libc::syscall(libc::SYS_futex, a.words, op, 0, &raw const time) };
                ret(word).to_string()
            },
            |a| {
                let op = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
                unsafe { libc::syscall(libc::SYS_futex, a.words, op, 1) };
            },
        ),
    ]
}

fn locks() -> Vec<Case> {
    vec![
        case(
            "mutex",
            |a| unsafe {
                let mutex = a.words as *mut libc::pthread_mutex_t;
                libc::pthread_mutex_lock(mutex);
                let until = later(1500);
                code(libc::pthread_mutex_timedlock(mutex, &raw const until))
            },
            nothing,
        ),
        case(
            "cond",
            |a| unsafe {
                let mutex = a.words as *mut libc::pthread_mutex_t;
                let cond = (a.words + 256) as *mut libc::pthread_cond_t;
                libc::pthread_mutex_lock(mutex);
                code(libc::pthread_cond_wait(cond, mutex))
            },
            |a| {
                unsafe { libc::pthread_cond_signal((a.words + 256) as *mut _) };
            },
        ),
        case(
            "cond_timedwait",
            |a| unsafe {
                let mutex = a.words as *mut libc::pthread_mutex_t;
                let cond = (a.words + 256) as *mut libc::pthread_cond_t;
                libc::pthread_mutex_lock(mutex);
                let until = later(1500);
                code(libc::pthread_cond_timedwait(cond, mutex, &raw const until))
            },
            nothing,
        ),
    ]
}

fn others() -> Vec<Case> {
    vec![
        case(
            "waitpid",
            |_| {
                let pid = make::child(|| {
                    ms(1500);
                    3
                });
                let mut status = 0;
                let word = unsafe { libc::waitpid(pid, &raw mut status, 0) };
                if word == pid { format!("it, {status}") } else { ret(word).to_string() }
            },
            nothing,
        ),
        case(
            "wait",
            |_| {
                let pid = make::child(|| {
                    ms(1500);
                    3
                });
                let mut status = 0;
                let word = unsafe { libc::wait(&raw mut status) };
                if word == pid { format!("it, {status}") } else { ret(word).to_string() }
            },
            nothing,
        ),
        case(
            "sigtimedwait",
            |_| unsafe {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigaddset(&raw mut set, libc::SIGUSR2);
                ret(libc::sigtimedwait(&raw const set, null_mut(), &raw const SHORT)).to_string()
            },
            nothing,
        ),
        case(
            "sigtimedwait_for_it",
            |_| unsafe {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigaddset(&raw mut set, libc::SIGUSR1);
                let mut info: libc::siginfo_t = std::mem::zeroed();
                let word = libc::sigtimedwait(&raw const set, &raw mut info, &raw const SHORT);
                format!("{} code {}", ret(word), info.si_code)
            },
            nothing,
        ),
    ]
}
