//! Sleeps, and children.

use crate::{End, VERY_LONG, Wait, cancelled, check, failed};
use goroutines_tests::io::at_each;
use goroutines_tests::io::{self as calls, PARKS};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

#[test]
fn goroutines_sleep_is_ended() {
    check(&[
        ("sleep", || early(|| goroutines::thread::sleep(VERY_LONG))),
        ("sleep for ever", || early(|| goroutines::thread::sleep(Duration::MAX))),
    ]);
}

fn early(mut wait: impl FnMut() + Send + 'static) -> Wait {
    Box::new(move || {
        wait();
        End::Early
    })
}

fn clock_nanosleep(clock: libc::clockid_t, flags: i32) {
    // SAFETY: a time to write, and to read.
    let word = unsafe {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        if flags != 0 {
            libc::clock_gettime(clock, &raw mut time);
        }
        time.tv_sec += 3_600;
        libc::clock_nanosleep(clock, flags, &raw const time, std::ptr::null_mut())
    };
    assert_eq!(word, 0, "an error would be tried again");
}

#[test]
fn sleeps_are_ended() {
    if !PARKS {
        return;
    }
    check(&[
        ("std::thread::sleep", || early(|| std::thread::sleep(VERY_LONG))),
        ("std::thread::sleep for ever", || early(|| std::thread::sleep(Duration::MAX))),
        ("usleep", || {
            early(|| {
                // SAFETY: no memory is involved.
                unsafe { libc::usleep(3_600_000_000) };
            })
        }),
        ("sleep of C", || {
            early(|| {
                // SAFETY: no memory is involved.
                unsafe { libc::sleep(3_600) };
            })
        }),
        ("clock_nanosleep", || early(|| clock_nanosleep(libc::CLOCK_MONOTONIC, 0))),
        ("clock_nanosleep until a time", || {
            early(|| clock_nanosleep(libc::CLOCK_MONOTONIC, libc::TIMER_ABSTIME))
        }),
        ("clock_nanosleep until a time of the day", || {
            early(|| clock_nanosleep(libc::CLOCK_REALTIME, libc::TIMER_ABSTIME))
        }),
    ]);
}

/// A child that sleeps; killed, by its id, when dropped.
pub(crate) struct Sleeper(pub(crate) Child);

impl Sleeper {
    pub(crate) fn new() -> Self {
        let mut command = Command::new("sleep");
        command.arg("60").stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    pub(crate) fn id(&self) -> libc::pid_t {
        self.0.id() as libc::pid_t
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        // Not waited for, or it went on.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn child(mut wait: impl FnMut(&mut Sleeper) -> End + Send + 'static) -> Wait {
    let mut sleeper = Sleeper::new();
    Box::new(move || {
        let end = wait(&mut sleeper);
        assert!(sleeper.0.try_wait().unwrap().is_none(), "the child goes on");
        end
    })
}

#[test]
fn waits_for_a_child_are_ended() {
    if !PARKS {
        return;
    }
    check(&[
        ("Child::wait", || child(|sleeper| failed(sleeper.0.wait()))),
        ("read of its output", || {
            child(|sleeper| {
                let mut text = String::new();
                let output = sleeper.0.stdout.as_mut().unwrap();
                failed(std::io::Read::read_to_string(output, &mut text))
            })
        }),
        ("waitpid", || {
            child(|sleeper| {
                let mut status = 0;
                // SAFETY: a status to write.
                failed(calls::check(unsafe { libc::waitpid(sleeper.id(), &raw mut status, 0) }))
            })
        }),
        ("wait4", || {
            child(|sleeper| {
                let (mut status, none) = (0, std::ptr::null_mut());
                // SAFETY: a status to write.
                failed(calls::check(unsafe { libc::wait4(sleeper.id(), &raw mut status, 0, none) }))
            })
        }),
    ]);
}

/// What is waited for by `waitid` is one process too, as long as it is not "any".
#[test]
fn waitid_is_ended() {
    if !PARKS {
        return;
    }
    check(&[("waitid", || {
        child(|sleeper| {
            // SAFETY: plain old data to write.
            let word = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                libc::waitid(libc::P_PID, sleeper.id() as u32, &raw mut info, libc::WEXITED)
            };
            failed(calls::check(word))
        })
    })]);
}

/// A shell that says something, and then goes on for seconds.
fn shell(text: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", text]);
    command
}

const LONG: &str = "echo said; exec sleep 5";

/// The child is made by `fork`.
fn forked(mut command: Command) -> Command {
    // SAFETY: the function does nothing.
    unsafe { command.pre_exec(|| Ok(())) };
    command
}

fn outputs(make: impl Fn() -> io::Result<Output> + Send + 'static) -> Wait {
    Box::new(move || failed(make()))
}

/// Std takes an error of reading the pipes for impossible. The callers get one all the same, and std does not panic.
#[test]
fn outputs_of_children_are_ended() {
    if !PARKS {
        return;
    }
    check(&[
        ("output", || outputs(|| shell(LONG).output())),
        ("output of one pipe", || outputs(|| shell(LONG).stderr(Stdio::null()).output())),
        ("output of a child that says nothing", || outputs(|| shell("sleep 5").output())),
        ("output of a child that was forked", || outputs(|| forked(shell(LONG)).output())),
        ("status", || {
            outputs(|| {
                let status = forked(shell("sleep 5")).status()?;
                Ok(Output { status, stdout: Vec::new(), stderr: Vec::new() })
            })
        }),
        ("wait_with_output", || {
            outputs(|| {
                let mut child = shell(LONG);
                child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?.wait_with_output()
            })
        }),
        // What comes of the pipes is not all, and nobody is to think so.
        ("output of a child that has ended", || {
            outputs(|| shell("echo said; sleep 5 & exit 0").output())
        }),
    ]);
}

/// A context that has ended changes nothing about a child that can't run its program.
#[test]
fn programs_that_are_not_there() {
    at_each(|_| {
        cancelled().run(|| {
            for _ in 0..10 {
                let error = forked(Command::new("/no/such/program")).output().unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::NotFound);
                let error = Command::new("/no/such/program").status().unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::NotFound);
            }
            // What waits by itself is told of the context's end.
            let mut child = shell(LONG).stdout(Stdio::piped()).spawn().unwrap();
            let mut text = String::new();
            let mut output = child.stdout.take().unwrap();
            let read = std::io::Read::read_to_string(&mut output, &mut text);
            if PARKS {
                assert_eq!(read.unwrap_err().raw_os_error(), Some(libc::ECANCELED));
            }
            child.kill().unwrap();
            let _ = child.wait();
        });
    });
}
