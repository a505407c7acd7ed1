//! Where a sandbox refuses the system calls with which goroutines are descheduled: `membarrier`, and the signals.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails must end them")]

use goroutines::{go, runtime};
use goroutines_tests::io::ms;
use goroutines_tests::proc::{Hogs, in_child};
use goroutines_tests::{raw, sandbox};
use std::io::{Write, pipe};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// What those say that don't know a call, or refuse it.
const ERRORS: [(&str, i32); 4] = [
    ("ENOSYS", libc::ENOSYS),
    ("EPERM", libc::EPERM),
    ("EACCES", libc::EACCES),
    ("EINVAL", libc::EINVAL),
];

/// The error of this child.
fn refused() -> i32 {
    let wanted = std::env::var("REFUSED").unwrap();
    ERRORS.iter().find(|(name, _)| *name == wanted).unwrap().1
}

/// Whether the refusal comes when the runtime has been started.
const WHEN: [&str; 2] = ["before", "after"];

/// Blocks its thread until something can be read, and does not announce that.
fn blocks_in(fd: i32) {
    let mut byte = 0u8;
    let args = [fd as usize, &raw mut byte as usize, 1, 0, 0, 0];
    // SAFETY: a byte to write.
    unsafe { raw::call(libc::SYS_read, args) };
}

/// Goes on for so long at the most until something happens that should within milliseconds.
const LONG: Duration = ms(6_000);

/// A goroutine blocks its thread for as long as `LONG`, inside libc or not; others go on meanwhile, and the world can be
/// stopped.
fn others_go_on() {
    let (never, mut tell) = pipe().unwrap();
    let fd = never.as_raw_fd();
    std::thread::spawn(move || {
        raw::sleep(LONG);
        tell.write_all(b"xx").unwrap();
    });
    let start = Instant::now();
    drop(go(move || blocks_in(fd)));
    runtime::gosched();
    for _ in 0..3 {
        assert_eq!(go(|| 7).join().unwrap(), 7);
        assert!(runtime::goroutines().len() >= 2, "the blocked one is there");
    }
    println!("after {:?}", start.elapsed());
    assert!(start.elapsed() < LONG / 2, "others waited");
}

#[test]
fn no_membarrier() {
    for when in WHEN {
        for (name, _) in ERRORS {
            for procs in ["1", "2"] {
                let env = [("GOMAXPROCS", procs), ("REFUSED", name), ("WHEN", when)];
                let child = in_child("no_membarrier", &env, || {
                    let refuse = || sandbox::refuse(libc::SYS_membarrier, None, refused());
                    let when = std::env::var("WHEN").unwrap();
                    if when == "before" {
                        refuse();
                    }
                    goroutines::run(|| {
                        if when == "after" {
                            refuse();
                        }
                        others_go_on();
                        println!("all ended");
                        std::process::exit(0);
                    });
                });
                child.expect_clean();
                assert!(child.text().contains("all ended"), "{child}");
            }
        }
    }
}

/// Slices end all the same: a processor that can't be asked for is taken.
#[test]
fn no_signals() {
    for (name, _) in ERRORS {
        let env = [("GOMAXPROCS", "1"), ("REFUSED", name)];
        let child = in_child("no_signals", &env, || {
            sandbox::refuse(libc::SYS_tgkill, None, refused());
            sandbox::refuse(libc::SYS_rt_tgsigqueueinfo, None, refused());
            goroutines::run(|| {
                let start = Instant::now();
                let hogs = Hogs::start(2);
                assert_eq!(go(|| 7).join().unwrap(), 7);
                println!("after {:?}", start.elapsed());
                drop(hogs);
                println!("all ended");
            });
        });
        child.expect_clean();
        assert!(child.text().contains("all ended"), "{child}");
    }
}
