//! What the machine charges by itself: no runtime can be quicker.
//!
//! `floor CASE PROCS`, as the peers; where PROCS matters, 1 means one CPU and else two.

#[expect(dead_code, reason = "the peers' cases are no business of this program")]
#[path = "../measure.rs"]
mod measure;

use goroutines_switch::{Class, Context, switch, sys, thread_pointer};
use measure::{arguments, ns_each, print};
use std::mem::{MaybeUninit, size_of};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn main() {
    let (case, procs) = arguments();
    match case.as_str() {
        "floor_switch" => switches(),
        "floor_futex" => match two_cpus(procs) {
            Some(cpus) => ns_each(|n| wakes(n, cpus)),
            None => println!("none"),
        },
        "floor_page" => pages(),
        "floor_syscall" => ns_each(|n| (0..n).for_each(|_| empty_call())),
        _ => println!("none"),
    }
}

/// To and fro between this thread and a flow that does nothing else.
fn switches() {
    thread_pointer::init(false).expect("a glibc that is supported");
    let class = Class::of(64 << 10).expect("a size that there is");
    let carrier = class.make().expect("memory for a stack");
    let mut here = Context::of_this_thread();
    // SAFETY: nothing runs on the new carrier. What will run there needs nothing of libc: no `start`.
    let mut there = unsafe { carrier.prepare(to_and_fro, goroutines_switch::FLOAT_DEFAULT) };
    let mut both = [&raw mut here, &raw mut there];
    ns_each(|n| {
        for _ in 0..n / 2 {
            // SAFETY: `there` is suspended; no handler of a signal is installed. The other saves itself in
            // `there` before it comes back.
            unsafe { switch(both[0], both[1], both.as_mut_ptr() as usize) };
        }
    });
}

/// The other flow. `both` has the two contexts: whose turn it is first, and its own.
extern "C" fn to_and_fro(_header: *mut u8, both: usize) -> ! {
    // SAFETY: `switches` gives an address of two contexts, and they live as long as it goes on.
    let [back, own] = unsafe { *(both as *const [*mut Context; 2]) };
    loop {
        // SAFETY: as in `switches`.
        unsafe { switch(own, back, 0) };
    }
}

/// Two threads that wake each other, each asleep meanwhile; so it takes `n` one-way wakes.
fn wakes(n: u64, cpus: [usize; 2]) {
    static TURN: AtomicU32 = AtomicU32::new(0);
    TURN.store(0, Ordering::Relaxed);
    let turns = move |own: u32| {
        pin(cpus[own as usize]);
        for _ in 0..n / 2 {
            while TURN.load(Ordering::Acquire) != own {
                futex(&TURN, libc::FUTEX_WAIT, 1 - own);
            }
            TURN.store(1 - own, Ordering::Release);
            futex(&TURN, libc::FUTEX_WAKE, 1);
        }
    };
    thread::scope(|s| {
        s.spawn(move || turns(0));
        s.spawn(move || turns(1));
    });
}

fn futex(word: &AtomicU32, op: i32, value: u32) {
    let op = (op | libc::FUTEX_PRIVATE_FLAG) as usize;
    // SAFETY: the word lives; a wait ends at once if its value is another.
    unsafe { sys::raw(libc::SYS_futex, [word.as_ptr() as usize, op, value as usize, 0, 0, 0]) };
}

/// Where the two threads run: on one CPU, or on two, if this process has them.
fn two_cpus(procs: usize) -> Option<[usize; 2]> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: zeroes are a set of no CPUs, and the kernel writes no more than its size.
    let set = unsafe {
        libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr());
        set.assume_init()
    };
    // SAFETY: every number is below the set's size.
    let ours = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    let mut cpus = (0..libc::CPU_SETSIZE as usize).filter(ours);
    let first = cpus.next()?;
    Some([first, if procs == 1 { first } else { cpus.next()? }])
}

/// Keeps the calling thread on a CPU.
fn pin(cpu: usize) {
    // SAFETY: zeroes are a set of no CPUs, and the number is below its size.
    let done = unsafe {
        let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    assert_eq!(done, 0, "CPU {cpu} was ours");
}

/// The first touch of pages that were never touched. Getting and giving back the addresses doesn't count.
fn pages() {
    const PAGE: usize = 4096;
    const EACH: usize = 16 << 10;
    let (mut elapsed, mut touched) = (Duration::ZERO, 0);
    while elapsed < Duration::from_millis(300) {
        let base = sys::map(EACH * PAGE).expect("64 MiB of addresses");
        // SAFETY: our new mapping. Kernels without huge pages need not be told.
        let _ = unsafe { sys::madvise(base, EACH * PAGE, libc::MADV_NOHUGEPAGE) };
        let start = Instant::now();
        for i in 0..EACH {
            // SAFETY: within the mapping, which is ours.
            unsafe { base.add(i * PAGE).write_volatile(1) };
        }
        elapsed += start.elapsed();
        touched += EACH;
        // SAFETY: nobody uses it any more.
        unsafe { sys::unmap(base, EACH * PAGE) };
    }
    print("ns", elapsed.as_nanos() as f64 / touched as f64);
}

fn empty_call() {
    // SAFETY: no memory is involved.
    unsafe { sys::raw(libc::SYS_getppid, [0; 6]) };
}
