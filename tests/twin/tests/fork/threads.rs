//! Threads that the caller makes.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Row, Trace, rows};

pub(crate) fn rows() -> Vec<Row> {
    rows![a_thread_has_its_rseq_area]
}

/// What the kernel has written to the calling thread's area: whether that is a CPU's number.
fn is_registered() -> bool {
    unsafe {
        let offset = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()).cast::<isize>();
        let tp: *const u8;
        std::arch::asm!("mov {}, fs:0", out(reg) tp);
        tp.wrapping_offset(*offset).cast::<i32>().add(1).read_volatile() >= 0
    }
}

fn a_thread_has_its_rseq_area(t: &Trace) {
    for _ in 0..3 {
        let thread = std::thread::spawn(is_registered);
        t.says("registered", thread.join().unwrap_or(false));
    }
    let nested = std::thread::spawn(|| std::thread::spawn(is_registered).join().unwrap_or(false));
    t.says("a thread's thread", nested.join().unwrap_or(false));
}
