//! Terminals, devices, splicing, lists of buffers, numbers that are replaced.

mod devices;
mod fifos;
mod lists;
mod moves;
mod numbers;
mod replaced;
mod sandboxes;
mod terminals;

use goroutines_twin_tests::{Row, run_rows};
use std::process::ExitCode;

fn rows() -> Vec<Row> {
    let families: &[fn() -> Vec<Row>] = &[
        devices::rows,
        fifos::rows,
        lists::rows,
        moves::rows,
        numbers::rows,
        replaced::rows,
        sandboxes::rows,
        terminals::rows,
    ];
    families.iter().flat_map(|rows| rows()).collect()
}

fn main() -> ExitCode {
    run_rows("io", &rows())
}

/// `read` of up to eight bytes.
fn read(fd: i32) -> goroutines_twin_tests::say::Ret {
    let mut bytes = [0u8; 8];
    // SAFETY: the buffer is ours.
    goroutines_twin_tests::ret(unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) })
}

/// `write` of some bytes.
fn write(fd: i32, bytes: &[u8]) -> goroutines_twin_tests::say::Ret {
    // SAFETY: the bytes are ours.
    goroutines_twin_tests::ret(unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) })
}

/// Writes until nothing more is taken.
fn fill(fd: i32) {
    goroutines_twin_tests::make::nonblocking(fd, true);
    for n in [4096, 1] {
        while write(fd, &[b'.'; 4096][..n]).value > 0 {}
    }
    goroutines_twin_tests::make::nonblocking(fd, false);
}
