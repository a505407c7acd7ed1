//! Children, and locks on files.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines::go;
use goroutines_tests::io::{PARKS, at_each, check, ms, within};
use goroutines_tests::join_all;
use goroutines_tests::proc::os_threads;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

const SOON: Duration = ms(30_000);

/// Much is written to both of its outputs, by many children at once.
#[test]
fn outputs() {
    at_each(|_| {
        let all: Vec<_> = (0..10)
            .map(|i| {
                go(move || {
                    let script = format!(
                        "head -c 200000 /dev/zero | tr '\\0' a; \
                         head -c 300000 /dev/zero | tr '\\0' b >&2; exit {i}"
                    );
                    let out = Command::new("sh").args(["-c", &script]).output().unwrap();
                    assert_eq!(out.status.code(), Some(i));
                    assert_eq!(out.stdout.len(), 200_000);
                    assert_eq!(out.stderr.len(), 300_000);
                    assert!(out.stdout.iter().all(|b| *b == b'a'));
                    assert!(out.stderr.iter().all(|b| *b == b'b'));
                })
            })
            .collect();
        within(SOON, || join_all(all));
    });
}

/// Much is written to a child, which writes it back; each end by a goroutine of its own.
#[test]
fn there_and_back() {
    at_each(|_| {
        let all: Vec<_> = (0..6)
            .map(|i| {
                go(move || {
                    let mut child = Command::new("cat")
                        .stdin(Stdio::piped())
                        .stdout(Stdio::piped())
                        .spawn()
                        .unwrap();
                    let mut input = child.stdin.take().unwrap();
                    let data: Vec<u8> =
                        (0..500_000usize).map(|n| ((n * (i + 3)) >> 4) as u8).collect();
                    let sent = data.clone();
                    let writes = go(move || input.write_all(&sent).unwrap());
                    let out = child.wait_with_output().unwrap();
                    writes.join().unwrap();
                    assert!(out.status.success());
                    assert!(out.stdout == data);
                })
            })
            .collect();
        within(SOON, || join_all(all));
    });
}

/// Many wait for their children at once, in few threads; who only looks does not wait.
#[test]
fn many_children_are_waited_for() {
    at_each(|_| {
        let before = os_threads();
        let go_on = Arc::new(AtomicBool::new(false));
        let all: Vec<_> = (0..30)
            .map(|i| {
                let go_on = Arc::clone(&go_on);
                go(move || {
                    let mut child = Command::new("cat")
                        .stdin(Stdio::piped())
                        .stdout(Stdio::null())
                        .spawn()
                        .unwrap();
                    assert!(child.try_wait().unwrap().is_none());
                    // It ends with its input.
                    let input = child.stdin.take();
                    let ends = go(move || {
                        while !go_on.load(Ordering::Relaxed) {
                            sleep(ms(1));
                        }
                        drop(input);
                    });
                    let status = child.wait().unwrap();
                    assert!(status.success(), "{i}: {status}");
                    assert_eq!(child.try_wait().unwrap(), Some(status));
                    ends.join().unwrap();
                })
            })
            .collect();
        sleep(ms(150));
        let threads = os_threads();
        go_on.store(true, Ordering::Relaxed);
        within(SOON, || join_all(all));
        if PARKS {
            assert!(threads < before + 12, "{threads} threads, {before} before");
        }
    });
}

/// Any child, a child that stops, and one that is not ours.
#[test]
fn children_of_any_kind() {
    at_each(|_| {
        let mut child = Command::new("sleep").arg("0.02").spawn().unwrap();
        let pid = child.id().cast_signed();
        let mut status = 0;
        // SAFETY: a status to write.
        let word = within(SOON, || unsafe { libc::waitpid(-1, &raw mut status, 0) });
        assert_eq!(word, pid);
        assert!(libc::WIFEXITED(status));
        // SAFETY: as above.
        let word = check(unsafe { libc::waitpid(pid, &raw mut status, 0) });
        assert_eq!(word.unwrap_err().raw_os_error(), Some(libc::ECHILD));
        assert_eq!(child.wait().unwrap_err().raw_os_error(), Some(libc::ECHILD));
        let mut child = Command::new("sleep").arg("100").spawn().unwrap();
        let pid = child.id().cast_signed();
        let stops = go(move || {
            let mut status = 0;
            // SAFETY: as above.
            let word = unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) };
            (word, libc::WIFSTOPPED(status))
        });
        sleep(ms(5));
        // SAFETY: no memory is involved.
        check(unsafe { libc::kill(pid, libc::SIGSTOP) }).unwrap();
        assert_eq!(within(SOON, || stops.join().unwrap()), (pid, true));
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
    });
}

/// How a lock is taken (true) and given back (false).
type LockBy = (&'static str, fn(&File, bool));

/// As `File::lock` does it.
fn flock(file: &File, take: bool) {
    let operation = if take { libc::LOCK_EX } else { libc::LOCK_UN };
    // SAFETY: no memory is involved.
    check(unsafe { libc::flock(file.as_raw_fd(), operation) }).unwrap();
}

const LOCKS: [LockBy; 2] = [
    ("flock", flock),
    ("fcntl", |file, take| {
        // SAFETY: plain data, to read.
        let word = unsafe {
            let mut lock: libc::flock = std::mem::zeroed();
            lock.l_type = if take { libc::F_WRLCK } else { libc::F_UNLCK } as i16;
            libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLKW, &raw const lock)
        };
        check(word).unwrap();
    }),
];

/// One at a time has the lock, of goroutines with a descriptor each.
#[test]
fn locks_on_files() {
    at_each(|_| {
        let path = std::env::temp_dir().join(format!("goroutines-lock-{}", std::process::id()));
        File::create(&path).unwrap();
        for (name, lock) in LOCKS {
            let inside = Arc::new(AtomicUsize::new(0));
            let turns = Arc::new(AtomicUsize::new(0));
            let all: Vec<_> = (0..8)
                .map(|_| {
                    let file = File::options().read(true).write(true).open(&path).unwrap();
                    let (inside, turns) = (Arc::clone(&inside), Arc::clone(&turns));
                    go(move || {
                        for turn in 0..20 {
                            lock(&file, true);
                            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "{name}");
                            if turn % 4 == 0 {
                                sleep(Duration::from_micros(300));
                            }
                            turns.fetch_add(1, Ordering::Relaxed);
                            inside.fetch_sub(1, Ordering::Relaxed);
                            lock(&file, false);
                        }
                    })
                })
                .collect();
            within(SOON, || join_all(all));
            assert_eq!(turns.load(Ordering::Relaxed), 160, "{name}");
        }
        std::fs::remove_file(&path).unwrap();
    });
}

/// A lock that another process holds, for as long as it lives.
#[test]
fn a_lock_of_another_process() {
    at_each(|_| {
        let path = std::env::temp_dir().join(format!("goroutines-held-{}", std::process::id()));
        let file = File::create(&path).unwrap();
        let held = file.try_clone().unwrap();
        flock(&held, true);
        // The child has the same open file, and so the lock.
        let mut child = Command::new("sh")
            .args(["-c", "echo has it; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(held))
            .spawn()
            .unwrap();
        let mut out = child.stdout.take().unwrap();
        assert_eq!(out.read(&mut [0; 20]).unwrap(), 7);
        drop(file);
        let waits = {
            let path = path.clone();
            go(move || flock(&File::open(path).unwrap(), true))
        };
        let ticks = go(|| (0..20).for_each(|_| sleep(ms(1))));
        within(SOON, || ticks.join().unwrap());
        assert!(!waits.is_finished());
        drop(child.stdin.take());
        child.wait().unwrap();
        within(SOON, || waits.join().unwrap());
        std::fs::remove_file(&path).unwrap();
    });
}
