//! Code that has little stack left: at the end of its own stack, and on one that is small, as another library's
//! flows have it. Neither a signal nor the end of a time slice may need more of it than on a thread.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::install;
use goroutines_twin_tests::{Row, Trace, ms, ret, rows};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub(crate) fn rows() -> Vec<Row> {
    rows![
        computes_at_the_end_of_its_stack,
        computes_on_a_small_stack,
        computes_on_a_small_stack_with_an_altstack,
        signals_on_a_small_stack,
    ]
}

/// Long enough for many slices' ends.
const TIME: Duration = Duration::from_millis(300);

/// What is left at the end: less than a signal's frame with all registers.
const LEFT: usize = 2048;

/// The small stack; below it stand bytes that nothing may write.
const SMALL: usize = 3 << 10;
const BELOW: usize = 61 << 10;
const FILL: u8 = 0xa5;

fn compute() {
    let begun = Instant::now();
    while begun.elapsed() < TIME {
        for _ in 0..1000 {
            std::hint::spin_loop();
        }
    }
}

/// Others that want processors, for as long as `f` runs.
fn beside_others(t: &Trace, f: impl FnOnce()) {
    static STOP: AtomicBool = AtomicBool::new(false);
    STOP.store(false, Ordering::Relaxed);
    let other = |_: &Trace| {
        while !STOP.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    };
    let others: Vec<_> = (0..5).map(|n| t.spawn(&format!("{n}"), other)).collect();
    f();
    STOP.store(true, Ordering::Relaxed);
    others.into_iter().for_each(|other| other.join());
}

/// The lowest address of the calling flow's stack.
fn lowest() -> usize {
    unsafe {
        let mut attributes = std::mem::zeroed();
        libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes);
        let (mut at, mut bytes) = (std::ptr::null_mut(), 0);
        libc::pthread_attr_getstack(&raw const attributes, &raw mut at, &raw mut bytes);
        libc::pthread_attr_destroy(&raw mut attributes);
        at as usize
    }
}

#[inline(never)]
fn descend(to: usize) -> u8 {
    let here = black_box([1u8; 256]);
    if here.as_ptr() as usize > to {
        return descend(to).wrapping_add(here[100]);
    }
    compute();
    here[0]
}

fn computes_at_the_end_of_its_stack(t: &Trace) {
    let body = |_: &Trace| {
        black_box(descend(lowest() + LEFT));
    };
    beside_others(t, || {
        let all: Vec<_> = (0..3).map(|n| t.spawn(&format!("at the end {n}"), body)).collect();
        all.into_iter().for_each(|one| one.join());
    });
    t.says("computed", true);
}

/// Runs `f` on the stack that ends at `end`.
unsafe fn on_stack(end: usize, f: extern "C" fn()) {
    unsafe {
        std::arch::asm!(
            "mov r12, rsp",
            "mov rsp, {end}",
            "call {f}",
            "mov rsp, r12",
            end = in(reg) end,
            f = in(reg) f,
            out("r12") _,
            clobber_abi("C"),
        );
    }
}

extern "C" fn compute_there() {
    compute();
}

/// Memory that is `FILL`ed, for a stack at its end.
fn filled() -> Vec<u128> {
    vec![u128::from_ne_bytes([FILL; 16]); (BELOW + SMALL) / 16]
}

/// Whether the first `bytes` are as they were.
fn is_whole(memory: &[u128], bytes: usize) -> bool {
    memory[..bytes / 16].iter().all(|word| *word == u128::from_ne_bytes([FILL; 16]))
}

fn on_a_small_stack(f: extern "C" fn()) -> bool {
    let mut memory = filled();
    let end = memory.as_mut_ptr() as usize + BELOW + SMALL;
    unsafe { on_stack(end, f) };
    is_whole(&memory, BELOW)
}

fn computes_on_a_small_stack(t: &Trace) {
    beside_others(t, || {
        let all: Vec<_> = (0..3)
            .map(|n| t.spawn(&format!("there {n}"), |_| on_a_small_stack(compute_there)))
            .collect();
        for one in all {
            t.says("nothing below it was written", one.join());
        }
    });
}

/// Sets an alternate stack that has room for a frame and a small handler; the memory below is `filled`.
fn set_small_altstack() -> Vec<u128> {
    let mut memory = filled();
    let bytes = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize + 2048;
    let end = memory.as_mut_ptr() as usize + BELOW + SMALL;
    let stack = libc::stack_t { ss_sp: (end - bytes) as *mut _, ss_flags: 0, ss_size: bytes };
    unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) };
    memory
}

fn unset_altstack() {
    let stack =
        libc::stack_t { ss_sp: std::ptr::null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };
    unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) };
}

fn computes_on_a_small_stack_with_an_altstack(t: &Trace) {
    beside_others(t, || {
        let body = |_: &Trace| {
            let alternate = set_small_altstack();
            let whole = on_a_small_stack(compute_there);
            unset_altstack();
            whole && is_whole(&alternate, BELOW)
        };
        let all: Vec<_> = (0..3).map(|n| t.spawn(&format!("there {n}"), body)).collect();
        for one in all {
            t.says("nothing below it, and below the other, was written", one.join());
        }
    });
}

static RUNS: AtomicUsize = AtomicUsize::new(0);
static READY: AtomicUsize = AtomicUsize::new(0);
static DONE: AtomicBool = AtomicBool::new(false);

extern "C" fn compute_until_told() {
    while !DONE.load(Ordering::Relaxed) {
        std::hint::spin_loop();
    }
}

extern "C" fn counts(_: i32) {
    RUNS.fetch_add(1, Ordering::Relaxed);
}

/// Handlers on its alternate stack, for signals that are sent to it.
fn signals_on_a_small_stack(t: &Trace) {
    install(libc::SIGUSR1, counts as *const () as usize, libc::SA_ONSTACK, &[]);
    RUNS.store(0, Ordering::Relaxed);
    READY.store(0, Ordering::Relaxed);
    DONE.store(false, Ordering::Relaxed);
    beside_others(t, || {
        let body = |_: &Trace| {
            let alternate = set_small_altstack();
            READY.store(unsafe { libc::pthread_self() } as usize, Ordering::Release);
            let whole = on_a_small_stack(compute_until_told);
            unset_altstack();
            whole && is_whole(&alternate, BELOW)
        };
        let one = t.spawn("there", body);
        while READY.load(Ordering::Acquire) == 0 {
            ms(1);
        }
        for n in 1..=5 {
            let it = READY.load(Ordering::Acquire) as libc::pthread_t;
            t.says("sent", ret(unsafe { libc::pthread_kill(it, libc::SIGUSR1) }));
            let begun = Instant::now();
            while RUNS.load(Ordering::Relaxed) < n && begun.elapsed() < 30 * TIME {
                ms(1);
            }
            t.says("handlers", RUNS.load(Ordering::Relaxed));
        }
        DONE.store(true, Ordering::Relaxed);
        t.says("nothing below it, and below the other, was written", one.join());
    });
}
