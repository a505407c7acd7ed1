//! What each thread has of its own: its mask, what is pending for it, and what is directed at it.

#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::install;
use goroutines_twin_tests::{Row, Trace, code, make, ms, ret, rows, say};
use libc::{c_int, c_void, siginfo_t, sigset_t};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn rows() -> Vec<Row> {
    rows![
        a_mask_stays_with_its_owner,
        a_mask_is_inherited,
        masks_of_two_that_take_turns,
        raised_while_blocked,
        directed_while_blocked,
        directed_at_one_that_computes,
        directed_at_one_that_waits_for_a_lock,
        directed_in_turn,
        queued_in_order,
        standard_ones_are_one,
        what_comes_with_it,
        what_comes_with_a_queued_one,
        killed_by_oneself_at_once,
        blocked_everywhere_and_waited_for,
        blocked_by_the_waiter_only,
        a_broken_pipe_while_blocked,
        a_broken_pipe_left_at_the_end,
        suspended,
        suspended_with_one_pending,
        paused,
        alarmed_in_a_read,
        a_child_has_the_mask,
        a_child_sends_to_itself,
        sent_on_by_a_handler,
        a_started_program_has_the_mask,
        nobody_there,
        numbers_that_are_none,
        the_mask_in_a_handler,
        a_mask_that_a_handler_changes,
        jumped_out_of_a_read,
        a_jump_restores_the_mask,
        once_only,
        terminated_by_a_directed_one,
        two_handlers,
    ]
}

static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());
static RAN: AtomicU32 = AtomicU32::new(0);
static WHERE: AtomicUsize = AtomicUsize::new(0);

fn self_() -> libc::pthread_t {
    unsafe { libc::pthread_self() }
}

extern "C" fn count(_: c_int) {
    WHERE.store(self_() as usize, Ordering::SeqCst);
    RAN.fetch_add(1, Ordering::SeqCst);
}

fn ran() -> u32 {
    RAN.load(Ordering::SeqCst)
}

fn counted(signal: c_int) {
    install(signal, count as *const () as usize, libc::SA_RESTART, &[]);
}

fn set_of(signals: &[c_int]) -> sigset_t {
    unsafe {
        let mut set: sigset_t = std::mem::zeroed();
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

fn mask(how: c_int, signals: &[c_int]) {
    let set = set_of(signals);
    assert_eq!(unsafe { libc::pthread_sigmask(how, &raw const set, null_mut()) }, 0);
}

fn numbers(set: &sigset_t) -> String {
    let all: Vec<c_int> = (1..=64).filter(|n| unsafe { libc::sigismember(set, *n) } == 1).collect();
    format!("{all:?}")
}

fn blocked() -> String {
    let mut set = set_of(&[]);
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, null(), &raw mut set) };
    numbers(&set)
}

fn pending() -> String {
    let mut set = set_of(&[]);
    unsafe { libc::sigpending(&raw mut set) };
    numbers(&set)
}

const BLOCK: c_int = libc::SIG_BLOCK;
const UNBLOCK: c_int = libc::SIG_UNBLOCK;

fn a_mask_stays_with_its_owner(t: &Trace) {
    mask(BLOCK, &[libc::SIGUSR1]);
    let other = t.spawn("other", |t| {
        mask(BLOCK, &[libc::SIGUSR2, libc::SIGURG]);
        for _ in 0..50 {
            goroutines_or_threads_yield();
        }
        t.says("blocks", blocked());
    });
    for _ in 0..50 {
        goroutines_or_threads_yield();
    }
    t.says("blocks", blocked());
    other.join();
    t.says("blocks", blocked());
    mask(UNBLOCK, &[libc::SIGUSR1]);
    t.says("blocks", blocked());
}

fn goroutines_or_threads_yield() {
    unsafe { libc::sched_yield() };
    ms(1);
}

fn a_mask_is_inherited(t: &Trace) {
    mask(BLOCK, &[libc::SIGUSR1, libc::SIGTERM, libc::SIGRTMIN() + 3]);
    let other = t.spawn("other", |t| {
        t.says("blocks", blocked());
        mask(UNBLOCK, &[libc::SIGTERM]);
        t.spawn("its own", |t| t.says("blocks", blocked())).join();
    });
    other.join();
    t.says("blocks", blocked());
}

fn masks_of_two_that_take_turns(t: &Trace) {
    let (a, b) = make::socketpair(libc::SOCK_STREAM);
    let turns = |fd: c_int, first: bool, signal: c_int| {
        let mut byte = [0u8; 1];
        if first {
            unsafe { libc::write(fd, byte.as_ptr().cast(), 1) };
        }
        let mut wrong = 0;
        for turn in 0..200 {
            mask(if turn % 2 == 0 { BLOCK } else { UNBLOCK }, &[signal]);
            let wanted = blocked();
            unsafe { libc::read(fd, byte.as_mut_ptr().cast(), 1) };
            wrong += u32::from(blocked() != wanted);
            unsafe { libc::write(fd, byte.as_ptr().cast(), 1) };
        }
        wrong
    };
    let other = t.spawn("other", move |_| turns(b, true, libc::SIGUSR2));
    t.says("wrong", turns(a, false, libc::SIGUSR1));
    t.says("wrong", other.join());
}

fn raised_while_blocked(t: &Trace) {
    for signal in [libc::SIGUSR1, libc::SIGURG, libc::SIGSEGV, libc::SIGRTMIN()] {
        RAN.store(0, Ordering::SeqCst);
        counted(signal);
        mask(BLOCK, &[signal]);
        t.says("raise", ret(unsafe { libc::raise(signal) }));
        t.says("pending", pending());
        ms(20);
        t.says("ran", ran());
        let other = t.spawn("other", move |t| {
            t.says("pending", pending());
            mask(UNBLOCK, &[signal]);
        });
        other.join();
        t.says("ran", ran());
        mask(UNBLOCK, &[signal]);
        t.says("ran", ran());
        t.says("pending", pending());
    }
}

fn directed_while_blocked(t: &Trace) {
    counted(libc::SIGUSR1);
    mask(BLOCK, &[libc::SIGUSR1]);
    let me = self_();
    t.spawn("sender", move |t| {
        t.says("kill", code(unsafe { libc::pthread_kill(me, libc::SIGUSR1) }));
        t.says("kill", code(unsafe { libc::pthread_kill(me, libc::SIGUSR1) }));
        t.says("pending", pending());
        mask(UNBLOCK, &[libc::SIGUSR1]);
        t.says("ran", ran());
    })
    .join();
    t.says("pending", pending());
    mask(UNBLOCK, &[libc::SIGUSR1]);
    t.says("ran", ran());
    t.says("here", WHERE.load(Ordering::SeqCst) == me as usize);
}

fn directed_at_one_that_computes(t: &Trace) {
    counted(libc::SIGUSR1);
    let me = self_();
    let other = t.spawn("sender", move |t| {
        ms(50);
        t.says("kill", code(unsafe { libc::pthread_kill(me, libc::SIGUSR1) }));
    });
    let comes = make::until(5000, || ran() == 1);
    t.says("comes", comes);
    t.says("here", WHERE.load(Ordering::SeqCst) == me as usize);
    other.join();
}

fn directed_at_one_that_waits_for_a_lock(t: &Trace) {
    counted(libc::SIGUSR1);
    static LOCK: Mutex<()> = Mutex::new(());
    let held = LOCK.lock();
    let other = t.spawn("waiter", |_| {
        WHERE.store(0, Ordering::SeqCst);
        let me = self_() as usize;
        let (send, receive) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || {
            ms(100);
            unsafe { libc::pthread_kill(me as libc::pthread_t, libc::SIGUSR1) };
            drop(send);
        });
        drop(receive);
        drop(LOCK.lock());
        WHERE.load(Ordering::SeqCst) == me
    });
    let comes = make::until(5000, || ran() == 1);
    t.says("while it waits", comes);
    drop(held);
    t.says("here", other.join());
}

fn directed_in_turn(t: &Trace) {
    counted(libc::SIGUSR1);
    static STOP: AtomicBool = AtomicBool::new(false);
    let (r, w) = make::pipe();
    let parties: Vec<_> = (0..3)
        .map(|i| {
            t.spawn(&format!("party {i}"), move |_| {
                let mut byte = [0u8; 1];
                let me = self_() as usize;
                unsafe { libc::write(w, (&raw const me).cast(), 8) };
                while !STOP.load(Ordering::SeqCst) {
                    ms(5);
                    let _ = &mut byte;
                }
            })
        })
        .collect();
    let mut them = [0usize; 3];
    for one in &mut them {
        unsafe { libc::read(r, std::ptr::from_mut(one).cast(), 8) };
    }
    let mut right = 0;
    for i in 0..30 {
        let before = ran();
        let it = them[i % 3];
        unsafe { libc::pthread_kill(it as libc::pthread_t, libc::SIGUSR1) };
        let came = make::until(5000, || ran() > before);
        right += u32::from(came && WHERE.load(Ordering::SeqCst) == it);
    }
    t.says("right", right);
    STOP.store(true, Ordering::SeqCst);
    parties.into_iter().for_each(goroutines_twin_tests::Flow::join);
}

extern "C" fn log(signal: c_int, info: *mut siginfo_t, _: *mut c_void) {
    let info = unsafe { &*info };
    let value = unsafe { info.si_value().sival_ptr } as usize;
    let first = libc::SIGRTMIN();
    let name = if signal >= first { format!("rt{}", signal - first) } else { signal.to_string() };
    if let Ok(mut log) = LOG.lock() {
        log.push(format!("{name}:{value}"));
    }
}

fn lines() -> MutexGuard<'static, Vec<String>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

fn logged(signals: &[c_int]) {
    for signal in signals {
        install(*signal, log as *const () as usize, libc::SA_SIGINFO, signals);
    }
}

fn queued_in_order(t: &Trace) {
    let (a, b) = (libc::SIGRTMIN() + 1, libc::SIGRTMIN() + 2);
    logged(&[a, b]);
    mask(BLOCK, &[a, b]);
    let me = self_();
    t.spawn("sender", move |_| {
        for i in 0..10usize {
            let value = libc::sigval { sival_ptr: i as *mut c_void };
            unsafe { libc::pthread_sigqueue(me, if i % 3 == 0 { b } else { a }, value) };
        }
    })
    .join();
    mask(UNBLOCK, &[a, b]);
    t.says("came", format!("{:?}", lines()));
}

fn standard_ones_are_one(t: &Trace) {
    counted(libc::SIGUSR1);
    mask(BLOCK, &[libc::SIGUSR1]);
    for _ in 0..5 {
        unsafe { libc::raise(libc::SIGUSR1) };
    }
    mask(UNBLOCK, &[libc::SIGUSR1]);
    t.says("ran", ran());
}

extern "C" fn tell(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let info = unsafe { &*info };
    let own = unsafe { info.si_pid() } == std::process::id() as i32;
    let user = unsafe { info.si_uid() } == unsafe { libc::getuid() };
    let value = unsafe { info.si_value().sival_ptr } as usize;
    let text = format!(
        "{signal} {} errno {} code {} own {own} user {user} value {} context {}",
        info.si_signo,
        info.si_errno,
        info.si_code,
        if info.si_code == libc::SI_QUEUE { value } else { 0 },
        !context.is_null()
    );
    if let Ok(mut log) = LOG.lock() {
        log.push(text);
    }
}

fn what_comes_with_it(t: &Trace) {
    let signal = libc::SIGUSR1;
    install(signal, tell as *const () as usize, libc::SA_SIGINFO, &[]);
    let me = self_();
    unsafe { libc::raise(signal) };
    unsafe { libc::pthread_kill(me, signal) };
    unsafe { libc::kill(libc::getpid(), signal) };
    mask(BLOCK, &[signal]);
    unsafe { libc::raise(signal) };
    mask(UNBLOCK, &[signal]);
    t.spawn("sender", move |_| {
        mask(BLOCK, &[signal]);
        unsafe { libc::pthread_kill(me, signal) };
    })
    .join();
    make::until(2000, || lines().len() >= 5);
    for line in lines().iter() {
        t.line(line);
    }
}

fn what_comes_with_a_queued_one(t: &Trace) {
    let signal = libc::SIGRTMIN() + 4;
    install(signal, tell as *const () as usize, libc::SA_SIGINFO, &[]);
    let me = self_();
    let value = |n: usize| libc::sigval { sival_ptr: n as *mut c_void };
    t.says("to itself", code(unsafe { libc::pthread_sigqueue(me, signal, value(7)) }));
    t.says("to the process", ret(unsafe { libc::sigqueue(libc::getpid(), signal, value(8)) }));
    t.spawn("sender", move |t| {
        mask(BLOCK, &[signal]);
        t.says("by another", code(unsafe { libc::pthread_sigqueue(me, signal, value(9)) }));
    })
    .join();
    make::until(2000, || lines().len() >= 3);
    for line in lines().iter() {
        t.line(line);
    }
}

fn killed_by_oneself_at_once(t: &Trace) {
    counted(libc::SIGUSR1);
    let mut late = 0;
    for i in 0..100 {
        unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
        late += u32::from(ran() != i + 1);
    }
    t.says("late", late);
    counted(libc::SIGUSR2);
    t.says(
        "queue",
        ret(unsafe {
            libc::sigqueue(libc::getpid(), libc::SIGUSR2, libc::sigval { sival_ptr: null_mut() })
        }),
    );
    t.says("ran", ran());
}

fn blocked_everywhere_and_waited_for(t: &Trace) {
    let set = [libc::SIGTERM, libc::SIGINT, libc::SIGUSR1, libc::SIGCHLD];
    for round in 0..300 {
        mask(BLOCK, &set);
        let waiter = t.spawn(&format!("waiter {round}"), move |_| {
            let set = set_of(&set);
            let mut got = 0;
            unsafe { libc::sigwait(&raw const set, &raw mut got) };
            got
        });
        if round % 20 == 0 {
            ms(5);
        }
        let signal = set[round % 3];
        unsafe { libc::kill(libc::getpid(), signal) };
        assert_eq!(waiter.join(), signal);
        mask(UNBLOCK, &set);
    }
    t.line("all came");
}

fn blocked_by_the_waiter_only(t: &Trace) {
    counted(libc::SIGUSR1);
    let (r, w) = make::pipe();
    let waiter = t.spawn("waiter", move |_| {
        mask(BLOCK, &[libc::SIGUSR1]);
        unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
        ms(300);
        pending()
    });
    let mut byte = [0u8; 1];
    unsafe { libc::read(r, byte.as_mut_ptr().cast(), 1) };
    unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
    t.says("comes", make::until(2000, || ran() == 1));
    t.says("pending there", waiter.join());
}

fn a_broken_pipe_while_blocked(t: &Trace) {
    // (What libpq does around each send.)
    install(libc::SIGPIPE, libc::SIG_DFL, 0, &[]);
    let parties: Vec<_> = (0..4)
        .map(|i| {
            t.spawn(&format!("party {i}"), |t| {
                let mut taken = 0;
                for _ in 0..20 {
                    mask(BLOCK, &[libc::SIGPIPE]);
                    let (r, w) = make::pipe();
                    unsafe { libc::close(r) };
                    let wrote = unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
                    assert_eq!((wrote, say::errno()), (-1, libc::EPIPE));
                    unsafe { libc::close(w) };
                    ms(1);
                    if pending().contains("13") {
                        let set = set_of(&[libc::SIGPIPE]);
                        let mut got = 0;
                        unsafe { libc::sigwait(&raw const set, &raw mut got) };
                        taken += u32::from(got == libc::SIGPIPE);
                    }
                    mask(UNBLOCK, &[libc::SIGPIPE]);
                }
                t.says("taken", taken);
            })
        })
        .collect();
    parties.into_iter().for_each(goroutines_twin_tests::Flow::join);
}

/// What a write has caused, and its writer has not taken, ends with the writer.
fn a_broken_pipe_left_at_the_end(t: &Trace) {
    install(libc::SIGPIPE, libc::SIG_DFL, 0, &[]);
    for waits in [false, true] {
        for i in 0..20 {
            let writer = t.spawn(&format!("writer {waits} {i}"), move |_| {
                mask(BLOCK, &[libc::SIGPIPE]);
                let (r, w) = make::pipe();
                unsafe { libc::close(r) };
                let wrote = unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
                assert_eq!((wrote, say::errno()), (-1, libc::EPIPE));
                if waits {
                    ms(1);
                }
                pending()
            });
            let left = writer.join();
            let next = t.spawn(&format!("next {waits} {i}"), |_| {
                ms(1);
                mask(BLOCK, &[libc::SIGPIPE]);
                pending()
            });
            assert_eq!((left.contains("13"), next.join().contains("13")), (true, false));
        }
    }
    t.line("all live");
}

fn suspended(t: &Trace) {
    counted(libc::SIGUSR1);
    mask(BLOCK, &[libc::SIGUSR1, libc::SIGUSR2]);
    let me = self_();
    for directed in [true, false] {
        let other = t.spawn(if directed { "sender" } else { "other sender" }, move |_| {
            ms(200);
            match directed {
                true => unsafe { libc::pthread_kill(me, libc::SIGUSR1) },
                false => unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) },
            };
        });
        let set = set_of(&[libc::SIGUSR2]);
        let got = t.timed("sigsuspend", 200, || ret(unsafe { libc::sigsuspend(&raw const set) }));
        t.says("sigsuspend", got);
        t.says("ran", ran());
        t.says("blocks", blocked());
        other.join();
    }
}

fn suspended_with_one_pending(t: &Trace) {
    counted(libc::SIGUSR1);
    mask(BLOCK, &[libc::SIGUSR1]);
    unsafe { libc::raise(libc::SIGUSR1) };
    let set = set_of(&[]);
    t.says("sigsuspend", ret(unsafe { libc::sigsuspend(&raw const set) }));
    t.says("ran", ran());
    unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
    t.says("pending", pending());
    t.says("sigsuspend", ret(unsafe { libc::sigsuspend(&raw const set) }));
    t.says("ran", ran());
}

fn paused(t: &Trace) {
    install(libc::SIGUSR1, count as *const () as usize, libc::SA_RESTART, &[]);
    let me = self_();
    let other = t.spawn("sender", move |_| {
        mask(BLOCK, &[libc::SIGUSR1]);
        ms(400);
        unsafe { libc::pthread_kill(me, libc::SIGUSR1) };
        ms(400);
        unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
    });
    for _ in 0..2 {
        let got = t.timed("pause", 200, || ret(unsafe { libc::pause() }));
        t.says("pause", got);
    }
    other.join();
    t.says("ran", ran());
}

fn alarmed_in_a_read(t: &Trace) {
    install(libc::SIGALRM, count as *const () as usize, 0, &[]);
    let (r, _w) = make::pipe();
    unsafe { libc::alarm(1) };
    let mut byte = [0u8; 1];
    let got = t.timed("read", 1000, || ret(unsafe { libc::read(r, byte.as_mut_ptr().cast(), 1) }));
    t.says("read", got);
    unsafe { libc::alarm(1) };
    t.says("sleep", (3..=4).contains(&unsafe { libc::sleep(5) }));
}

fn kernels_mask(pid: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines().filter(|l| l.starts_with("SigBlk") || l.starts_with("SigIgn")).collect()
}

fn a_child_has_the_mask(t: &Trace) {
    mask(BLOCK, &[libc::SIGUSR1, libc::SIGTERM]);
    counted(libc::SIGUSR1);
    unsafe { libc::raise(libc::SIGUSR1) };
    let pid = make::child(|| {
        let right = blocked() == "[10, 15]" && pending() == "[]";
        let real = kernels_mask("self").contains("0000000000004200");
        mask(UNBLOCK, &[libc::SIGUSR1]);
        i32::from(right) + 2 * i32::from(real) + 4 * ran() as i32
    });
    t.says("child", make::end_of(pid));
    mask(UNBLOCK, &[libc::SIGUSR1]);
    t.says("ran", ran());
}

fn a_child_sends_to_itself(t: &Trace) {
    counted(libc::SIGUSR1);
    let pid = make::child(|| {
        let sent = unsafe { libc::pthread_kill(self_(), libc::SIGUSR1) };
        mask(BLOCK, &[libc::SIGUSR1]);
        unsafe { libc::raise(libc::SIGUSR1) };
        unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
        let before = ran();
        mask(UNBLOCK, &[libc::SIGUSR1]);
        sent + 10 * before.cast_signed() + ran().cast_signed()
    });
    t.says("child", make::end_of(pid));
}

static TARGET: AtomicUsize = AtomicUsize::new(0);

extern "C" fn sends_on(_: c_int) {
    unsafe { libc::pthread_kill(TARGET.load(Ordering::SeqCst) as libc::pthread_t, libc::SIGUSR2) };
}

fn sent_on_by_a_handler(t: &Trace) {
    install(libc::SIGUSR1, sends_on as *const () as usize, libc::SA_RESTART, &[]);
    counted(libc::SIGUSR2);
    let other = t.spawn("other", |t| {
        TARGET.store(self_() as usize, Ordering::SeqCst);
        let came = make::until(5000, || ran() == 1);
        t.says("comes", came);
        t.says("here", WHERE.load(Ordering::SeqCst) == self_() as usize);
    });
    make::until(5000, || TARGET.load(Ordering::SeqCst) != 0);
    unsafe { libc::raise(libc::SIGUSR1) };
    other.join();
}

fn a_started_program_has_the_mask(t: &Trace) {
    mask(BLOCK, &[libc::SIGUSR1, libc::SIGTERM]);
    for i in 0..3 {
        ms(1);
        let out = std::process::Command::new("grep").args(["SigBlk", "/proc/self/status"]).output();
        t.says(&format!("started {i}"), say::bytes(&out.expect("grep runs").stdout));
    }
}

fn nobody_there(t: &Trace) {
    t.says("nothing", code(unsafe { libc::pthread_kill(self_(), 0) }));
    let (r, w) = make::pipe();
    let other = t.spawn("other", move |_| {
        let mut byte = [0u8; 1];
        unsafe { libc::read(r, byte.as_mut_ptr().cast(), 1) };
    });
    unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
    other.join();
}

fn numbers_that_are_none(t: &Trace) {
    let me = self_();
    for signal in [-1, 65, 1000] {
        t.says("kill", code(unsafe { libc::pthread_kill(me, signal) }));
        t.says("raise", ret(unsafe { libc::raise(signal) }));
    }
    for signal in [32, 33] {
        t.says("kill", code(unsafe { libc::pthread_kill(me, signal) }));
    }
}

extern "C" fn tell_mask(_: c_int) {
    if let Ok(mut log) = LOG.lock() {
        log.push(blocked());
    }
}

fn the_mask_in_a_handler(t: &Trace) {
    let function = tell_mask as *const () as usize;
    install(libc::SIGUSR1, function, 0, &[libc::SIGUSR2]);
    install(libc::SIGUSR2, function, libc::SA_NODEFER, &[]);
    mask(BLOCK, &[libc::SIGWINCH]);
    unsafe { libc::raise(libc::SIGUSR1) };
    unsafe { libc::raise(libc::SIGUSR2) };
    // Those that are kept first.
    mask(BLOCK, &[libc::SIGUSR1, libc::SIGUSR2]);
    unsafe { libc::raise(libc::SIGUSR1) };
    unsafe { libc::raise(libc::SIGUSR2) };
    mask(UNBLOCK, &[libc::SIGUSR1]);
    mask(UNBLOCK, &[libc::SIGUSR2]);
    for line in lines().iter() {
        t.line(line);
    }
    t.says("afterwards", blocked());
}

extern "C" fn change_mask(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    unsafe { libc::sigaddset(&raw mut context.uc_sigmask, libc::SIGHUP) };
    mask(BLOCK, &[libc::SIGUSR2]);
}

fn a_mask_that_a_handler_changes(t: &Trace) {
    install(libc::SIGUSR1, change_mask as *const () as usize, libc::SA_SIGINFO, &[]);
    unsafe { libc::raise(libc::SIGUSR1) };
    t.says("blocks", blocked());
    ms(5);
    t.says("blocks", blocked());
    t.spawn("other", |t| t.says("blocks", blocked())).join();
}

unsafe extern "C" {
    fn __sigsetjmp(to: *mut u64, mask: i32) -> i32;
    fn siglongjmp(to: *mut u64, value: i32) -> !;
}

static mut BUFFER: [u64; 64] = [0; 64];

extern "C" fn jump(_: c_int) {
    unsafe { siglongjmp((&raw mut BUFFER).cast(), 1) };
}

fn jumped_out_of_a_read(t: &Trace) {
    install(libc::SIGALRM, jump as *const () as usize, 0, &[]);
    let (r, w) = make::pipe();
    for round in 0..2 {
        // (Nothing between the two needs to be dropped.)
        let came = unsafe {
            if __sigsetjmp((&raw mut BUFFER).cast(), 1) == 0 {
                libc::alarm(1);
                let mut byte = 0u8;
                libc::read(r, (&raw mut byte).cast(), 1);
                false
            } else {
                true
            }
        };
        t.says(&format!("jumped {round}"), came);
        t.says("blocks", blocked());
    }
    // Everything works afterwards.
    let other = t.spawn("writer", move |_| {
        ms(50);
        unsafe { libc::write(w, c"x".as_ptr().cast(), 1) };
    });
    let mut byte = [0u8; 1];
    t.says("read", ret(unsafe { libc::read(r, byte.as_mut_ptr().cast(), 1) }));
    other.join();
}

fn a_jump_restores_the_mask(t: &Trace) {
    mask(BLOCK, &[libc::SIGUSR1]);
    unsafe {
        if __sigsetjmp((&raw mut BUFFER).cast(), 1) == 0 {
            mask(BLOCK, &[libc::SIGUSR2]);
            mask(UNBLOCK, &[libc::SIGUSR1]);
            siglongjmp((&raw mut BUFFER).cast(), 1);
        }
    }
    t.says("blocks", blocked());
    ms(5);
    t.says("blocks", blocked());
}

fn once_only(t: &Trace) {
    install(libc::SIGWINCH, count as *const () as usize, libc::SA_RESETHAND, &[]);
    mask(BLOCK, &[libc::SIGWINCH]);
    unsafe { libc::raise(libc::SIGWINCH) };
    mask(UNBLOCK, &[libc::SIGWINCH]);
    t.says("ran", ran());
    t.says("action", crate::action(libc::SIGWINCH));
    unsafe { libc::raise(libc::SIGWINCH) };
    t.says("ran", ran());
}

fn terminated_by_a_directed_one(t: &Trace) {
    mask(BLOCK, &[libc::SIGTERM]);
    let other = t.spawn("other", |_| {
        mask(UNBLOCK, &[libc::SIGTERM]);
        ms(5000);
    });
    unsafe { libc::raise(libc::SIGTERM) };
    t.says("pending", pending());
    ms(100);
    t.line("alive");
    mask(UNBLOCK, &[libc::SIGTERM]);
    t.line("not reached");
    other.join();
}

fn two_handlers(t: &Trace) {
    let signals = [libc::SIGUSR1, libc::SIGUSR2];
    logged(&signals);
    mask(BLOCK, &signals);
    unsafe { libc::raise(libc::SIGUSR2) };
    unsafe { libc::raise(libc::SIGUSR1) };
    mask(UNBLOCK, &signals);
    t.says("came", lines().len());
}
