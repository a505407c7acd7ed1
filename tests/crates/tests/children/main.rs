//! Child processes as crates and an embedded interpreter make them: many at once, that end together. Signals as crates
//! take them.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

mod bursts;
#[cfg(feature = "intercept")]
mod nix;
mod procs;
#[cfg(feature = "intercept")]
mod profile;
mod python;
mod signals;

use goroutines::go;
use procs::at_each;
use std::io::{PipeWriter, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Runs `body` beside goroutines that compute, that wait in the kernel without a word, and that read pipes of their
/// own, which nobody else may close or read.
fn beside_others(body: impl FnOnce()) {
    let stop = Arc::new(AtomicBool::new(false));
    let until_stop = |step: fn()| {
        let stop = Arc::clone(&stop);
        go(move || {
            while !stop.load(Ordering::Relaxed) {
                step();
            }
        })
    };
    let mut others: Vec<_> = (0..2).map(|_| until_stop(std::hint::spin_loop)).collect();
    others.extend((0..2).map(|_| until_stop(sleep_in_the_kernel)));
    let (readers, writers): (Vec<_>, Vec<PipeWriter>) = (0..4)
        .map(|_| {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let read = move || {
                let mut byte = [0];
                reader.read_exact(&mut byte).unwrap();
                byte[0]
            };
            (go(read), writer)
        })
        .unzip();
    body();
    for (i, mut writer) in writers.into_iter().enumerate() {
        writer.write_all(&[i as u8]).unwrap();
    }
    for (i, reader) in readers.into_iter().enumerate() {
        assert_eq!(reader.join().unwrap(), i as u8);
    }
    stop.store(true, Ordering::Relaxed);
    others.into_iter().for_each(|one| one.join().unwrap());
}

/// By a raw system call, of which the runtime is not told.
fn sleep_in_the_kernel() {
    let time = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
    // SAFETY: the system call's number, a time to read, and no place for what is left of it.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") libc::SYS_nanosleep => _,
            in("rdi") &raw const time,
            in("rsi") 0,
            out("rcx") _,
            out("r11") _,
        );
    }
}
