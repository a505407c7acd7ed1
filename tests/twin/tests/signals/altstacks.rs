//! Alternate signal stacks: each thread's and each goroutine's own.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::install;
use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        altstack_is_kept,
        altstack_arguments,
        altstack_in_its_handler,
        altstack_disarmed_in_its_handler,
        altstack_of_each,
        altstack_of_none,
        altstack_left_by_siglongjmp,
        altstack_handler_waits,
        altstack_fault_handler_waits,
        altstack_unmapped_and_forgotten,
        altstack_on_the_stack,
        altstack_of_the_runtimes_signal,
        altstack_of_the_runtimes_signal_on_a_thread,
        overflow_with_an_altstack,
        overflow_after_others_altstack,
    ];
    for (name, leaves) in [("traps_leak", true), ("traps_disable", false)] {
        rows.push(Row::new(name, move |t| traps(t, leaves)));
    }
    rows
}

const BYTES: usize = 64 << 10;
const SS_AUTODISARM: i32 = 1 << 31;

fn map() -> usize {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    unsafe { libc::mmap(std::ptr::null_mut(), BYTES, protection, flags, -1, 0) as usize }
}

fn stack(at: usize, flags: i32) -> libc::stack_t {
    libc::stack_t { ss_sp: at as *mut libc::c_void, ss_flags: flags, ss_size: BYTES }
}

fn set(at: usize, flags: i32) -> goroutines_twin_tests::say::Ret {
    let stack = stack(at, flags);
    ret(unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) })
}

/// What is set now, beside the stack at `at`.
fn now(at: usize) -> String {
    let mut now = stack(0, 0);
    unsafe { libc::sigaltstack(std::ptr::null(), &raw mut now) };
    let which = if now.ss_sp as usize == at { "that" } else { "another" };
    match now.ss_flags {
        libc::SS_DISABLE => "none".into(),
        flags => format!("{which} of {} bytes, flags {flags:#x}", now.ss_size),
    }
}

static AT: AtomicUsize = AtomicUsize::new(0);
static SEEN: AtomicUsize = AtomicUsize::new(0);
static RUNS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn notes_where(_: i32) {
    let here = 0u8;
    SEEN.store(&raw const here as usize, Ordering::Relaxed);
    RUNS.fetch_add(1, Ordering::Relaxed);
}

fn is_on(at: usize) -> bool {
    (at..at + BYTES).contains(&SEEN.load(Ordering::Relaxed))
}

/// SIGURG, whose handler the kernel does not call itself where the runtime has its own.
fn altstack_of_the_runtimes_signal(t: &Trace) {
    let at = map();
    for flags in [libc::SA_ONSTACK, 0] {
        install(libc::SIGURG, notes_where as *const () as usize, flags, &[]);
        t.says("set", set(at, 0));
        let before = RUNS.load(Ordering::Relaxed);
        for _ in 0..3 {
            SEEN.store(0, Ordering::Relaxed);
            t.says("raised", ret(unsafe { libc::raise(libc::SIGURG) }));
            t.says("on it", is_on(at));
        }
        t.says("runs", RUNS.load(Ordering::Relaxed) - before);
    }
    t.says("unset", set(0, libc::SS_DISABLE));
}

/// The same on an OS thread beside what the row runs on.
fn altstack_of_the_runtimes_signal_on_a_thread(t: &Trace) {
    std::thread::scope(|scope| {
        scope.spawn(|| altstack_of_the_runtimes_signal(t));
    });
}

fn altstack_is_kept(t: &Trace) {
    let at = map();
    install(libc::SIGUSR1, notes_where as *const () as usize, libc::SA_ONSTACK, &[]);
    t.says("set", set(at, 0));
    let others: Vec<_> = (0..4).map(|n| t.spawn(&format!("{n}"), |_| ms(100))).collect();
    for _ in 0..20 {
        ms(2);
        t.says("now", now(at));
        unsafe { libc::raise(libc::SIGUSR1) };
        t.says("on it", is_on(at));
    }
    others.into_iter().for_each(|other| other.join());
    t.says("off", set(at, libc::SS_DISABLE));
    t.says("now", now(at));
    unsafe { libc::raise(libc::SIGUSR1) };
    t.says("on it", is_on(at));
}

fn altstack_arguments(t: &Trace) {
    let at = map();
    t.says("flags", set(at, 4));
    t.says("on", set(at, libc::SS_ONSTACK));
    t.says("now", now(at));
    t.says("disarms", set(at, SS_AUTODISARM));
    t.says("now", now(at));
    let small = libc::stack_t { ss_size: 100, ..stack(at, 0) };
    t.says("small", ret(unsafe { libc::sigaltstack(&raw const small, std::ptr::null_mut()) }));
    let bad: *mut libc::stack_t = make::bad();
    t.says("bad", ret(unsafe { libc::sigaltstack(bad, std::ptr::null_mut()) }));
    t.says("bad old", ret(unsafe { libc::sigaltstack(std::ptr::null(), bad) }));
    t.says("now", now(at));
    let mut both = stack(at, 0);
    t.says("both", ret(unsafe { libc::sigaltstack(&raw const both, &raw mut both) }));
    t.says("flags of before", both.ss_flags);
    t.says("nothing", ret(unsafe { libc::sigaltstack(std::ptr::null(), std::ptr::null_mut()) }));
    t.says("now", now(at));
    t.says("off", set(0, libc::SS_DISABLE));
    t.says("now", now(at));
}

thread_local! {
    static LINES: Cell<Option<[i32; 4]>> = const { Cell::new(None) };
}

extern "C" fn asks(_: i32) {
    let at = AT.load(Ordering::Relaxed);
    let mut now = stack(0, 0);
    unsafe { libc::sigaltstack(std::ptr::null(), &raw mut now) };
    let other = stack(at + BYTES, 0);
    let other = libc::stack_t { ss_size: BYTES / 2, ..other };
    let word = unsafe { libc::sigaltstack(&raw const other, std::ptr::null_mut()) };
    let errno = if word == 0 { 0 } else { unsafe { *libc::__errno_location() } };
    LINES.set(Some([now.ss_flags, i32::from(now.ss_sp as usize == at), word, errno]));
}

fn in_its_handler(t: &Trace, flags: i32) {
    let at = map();
    AT.store(at, Ordering::Relaxed);
    install(libc::SIGUSR1, asks as *const () as usize, libc::SA_ONSTACK, &[]);
    t.says("set", set(at, flags));
    for _ in 0..3 {
        unsafe { libc::raise(libc::SIGUSR1) };
        t.says("inside", format!("{:?}", LINES.take()));
        ms(2);
        t.says("afterwards", now(at));
    }
}

fn altstack_in_its_handler(t: &Trace) {
    in_its_handler(t, 0);
}

fn altstack_disarmed_in_its_handler(t: &Trace) {
    in_its_handler(t, SS_AUTODISARM);
}

fn yield_often() {
    for _ in 0..20 {
        std::thread::yield_now();
    }
}

thread_local! {
    static OWN: Cell<usize> = const { Cell::new(0) };
    static WRONG: Cell<u32> = const { Cell::new(0) };
}

extern "C" fn is_on_own(_: i32) {
    let here = 0u8;
    let own = OWN.get();
    if !(own..own + BYTES).contains(&(&raw const here as usize)) {
        WRONG.set(WRONG.get() + 1);
    }
    RUNS.fetch_add(1, Ordering::Relaxed);
}

fn altstack_of_each(t: &Trace) {
    install(libc::SIGUSR1, is_on_own as *const () as usize, libc::SA_ONSTACK, &[]);
    let all: Vec<_> = (0..8)
        .map(|n| {
            t.spawn(&format!("{n}"), move |t| {
                let at = map();
                OWN.set(at);
                set(at, if n % 2 == 0 { 0 } else { SS_AUTODISARM });
                for turn in 0..50 {
                    unsafe { libc::raise(libc::SIGUSR1) };
                    if turn % 10 == 0 {
                        ms(1);
                    }
                    yield_often();
                }
                t.says("wrong", WRONG.get());
                t.says("now", now(at));
            })
        })
        .collect();
    all.into_iter().for_each(|one| one.join());
    t.says("runs", RUNS.load(Ordering::Relaxed));
}

/// Those that come afterwards, or run beside, have no part in it.
fn altstack_of_none(t: &Trace) {
    let at = map();
    install(libc::SIGUSR1, notes_where as *const () as usize, libc::SA_ONSTACK, &[]);
    set(at, 0);
    for n in 0..10 {
        let one = t.spawn(&format!("{n}"), move |t| {
            unsafe { libc::raise(libc::SIGUSR1) };
            t.says("on the other's", is_on(at));
            let mut now = stack(0, 0);
            unsafe { libc::sigaltstack(std::ptr::null(), &raw mut now) };
            t.says("has the other's", now.ss_sp as usize == at);
        });
        one.join();
    }
    t.says("now", now(at));
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

fn traps_once() {
    unsafe { std::arch::asm!("ud2") };
}

fn altstack_left_by_siglongjmp(t: &Trace) {
    let at = map();
    for (signal, f) in [(libc::SIGUSR1, raise_usr1 as fn()), (libc::SIGILL, traps_once)] {
        for flags in [0, SS_AUTODISARM] {
            install(signal, jumps as *const () as usize, libc::SA_ONSTACK, &[]);
            t.says("set", set(at, flags));
            for _ in 0..3 {
                t.says("left", left(f));
                t.says("now", now(at));
                let (from, to) = make::pipe();
                let writes = t.spawn(&format!("writes {signal} {flags}"), move |_| {
                    ms(20);
                    unsafe { libc::write(to, c"x".as_ptr().cast(), 1) };
                });
                let mut byte = 0u8;
                t.says("read", ret(unsafe { libc::read(from, (&raw mut byte).cast(), 1) }));
                writes.join();
                unsafe { libc::close(from) };
                unsafe { libc::close(to) };
            }
            set(0, libc::SS_DISABLE);
        }
    }
    t.says("runs", RUNS.load(Ordering::Relaxed));
}

static FROM: AtomicUsize = AtomicUsize::new(0);

extern "C" fn reads(_: i32) {
    let mut byte = 0u8;
    for _ in 0..3 {
        unsafe { libc::read(FROM.load(Ordering::Relaxed) as i32, (&raw mut byte).cast(), 1) };
    }
    notes_where(0);
}

extern "C" fn reads_and_skips(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    reads(0);
    let context: *mut libc::ucontext_t = context.cast();
    unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] += 2 };
}

/// Its handler waits on it while others, which have alternate stacks, too, go on.
fn waits(t: &Trace, f: fn()) {
    let at = map();
    let (from, to) = make::pipe();
    FROM.store(from as usize, Ordering::Relaxed);
    install(libc::SIGUSR2, is_on_own as *const () as usize, libc::SA_ONSTACK, &[]);
    for flags in [0, SS_AUTODISARM] {
        t.says("set", set(at, flags));
        let others: Vec<_> = (0..3)
            .map(|n| {
                t.spawn(&format!("other {n} {flags}"), move |t| {
                    let at = map();
                    OWN.set(at);
                    set(at, 0);
                    for _ in 0..10 {
                        unsafe { libc::raise(libc::SIGUSR2) };
                        ms(5);
                    }
                    t.says("wrong", WRONG.get());
                    unsafe { libc::write(to, c"x".as_ptr().cast(), 1) };
                })
            })
            .collect();
        f();
        t.says("on it", is_on(at));
        t.says("now", now(at));
        others.into_iter().for_each(|other| other.join());
        t.says("now", now(at));
    }
}

fn altstack_handler_waits(t: &Trace) {
    install(libc::SIGUSR1, reads as *const () as usize, libc::SA_ONSTACK, &[]);
    waits(t, raise_usr1);
}

fn altstack_fault_handler_waits(t: &Trace) {
    let flags = libc::SA_ONSTACK | libc::SA_SIGINFO;
    install(libc::SIGILL, reads_and_skips as *const () as usize, flags, &[]);
    waits(t, traps_once);
}

fn altstack_unmapped_and_forgotten(t: &Trace) {
    install(libc::SIGUSR1, notes_where as *const () as usize, libc::SA_ONSTACK, &[]);
    for n in 0..20 {
        let one = t.spawn(&format!("{n}"), |t| {
            let at = map();
            set(at, 0);
            unsafe { libc::raise(libc::SIGUSR1) };
            t.says("on it", is_on(at));
            unsafe { libc::munmap(at as *mut libc::c_void, BYTES) };
        });
        one.join();
        let other = t.spawn(&format!("after {n}"), |_| unsafe {
            libc::raise(libc::SIGUSR1);
        });
        other.join();
    }
    t.says("runs", RUNS.load(Ordering::Relaxed));
}

/// An array on the stack itself.
fn altstack_on_the_stack(t: &Trace) {
    let mut room = [0u8; 32 << 10];
    let at = room.as_mut_ptr() as usize;
    let own = libc::stack_t { ss_size: room.len(), ..stack(at, 0) };
    t.says("set", ret(unsafe { libc::sigaltstack(&raw const own, std::ptr::null_mut()) }));
    let (from, to) = make::pipe();
    FROM.store(from as usize, Ordering::Relaxed);
    install(libc::SIGUSR1, reads as *const () as usize, libc::SA_ONSTACK, &[]);
    for n in 0..3 {
        let writes = t.spawn(&format!("writes {n}"), move |_| {
            ms(20);
            unsafe { libc::write(to, c"xxx".as_ptr().cast(), 3) };
        });
        unsafe { libc::raise(libc::SIGUSR1) };
        t.says("on it", (at..at + (32 << 10)).contains(&SEEN.load(Ordering::Relaxed)));
        writes.join();
    }
    t.says("off", set(0, libc::SS_DISABLE));
    std::hint::black_box(&mut room);
}

fn deep(n: u64) -> u64 {
    let room = std::hint::black_box([n; 64]);
    if n == u64::MAX { 0 } else { deep(n + 1) + room[3] }
}

/// It is told, and ends the process as it does without.
fn overflow_with_an_altstack(t: &Trace) {
    t.says("set", set(map(), 0));
    ms(5);
    t.says("deep", deep(0));
}

fn overflow_after_others_altstack(t: &Trace) {
    for n in 0..4 {
        let one = t.spawn(&format!("{n}"), |t| {
            let at = map();
            t.says("set", set(at, 0));
            t.says("off", set(at, libc::SS_DISABLE));
            unsafe { libc::munmap(at as *mut libc::c_void, BYTES) };
        });
        one.join();
    }
    let other = t.spawn("deep", |t| t.says("deep", deep(0)));
    other.join();
}

extern "C" fn skips(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    is_on_own(0);
    let context: *mut libc::ucontext_t = context.cast();
    unsafe { (*context).uc_mcontext.gregs[libc::REG_RIP as usize] += 3 };
}

/// A thread's alternate stack as engines of WebAssembly keep it: set with the first trap, unmapped with the
/// thread-locals.
struct Kept(usize);

impl Drop for Kept {
    fn drop(&mut self) {
        unsafe { libc::munmap(self.0 as *mut libc::c_void, BYTES) };
    }
}

thread_local! {
    static KEPT: Cell<Option<Kept>> = const { Cell::new(None) };
}

/// 2,000 faults that are a part of the work, on 200 threads, beside others that wait.
fn traps(t: &Trace, leaves: bool) {
    install(libc::SIGSEGV, skips as *const () as usize, libc::SA_ONSTACK | libc::SA_SIGINFO, &[]);
    for round in 0..20 {
        let all: Vec<_> = (0..10)
            .map(|n| {
                t.spawn(&format!("{round} {n}"), move |t| {
                    let at = map();
                    OWN.set(at);
                    KEPT.set(Some(Kept(at)));
                    set(at, 0);
                    for turn in 0..10 {
                        // SAFETY: it faults, and the handler goes on behind it.
                        unsafe { std::arch::asm!("mov rax, [rdi]", in("rdi") 16, out("rax") _) };
                        yield_often();
                        if turn % 5 == 0 {
                            ms(1);
                        }
                    }
                    t.says("wrong", WRONG.get());
                    if !leaves {
                        set(0, libc::SS_DISABLE);
                    }
                })
            })
            .collect();
        all.into_iter().for_each(|one| one.join());
    }
    t.says("traps", RUNS.load(Ordering::Relaxed));
}
