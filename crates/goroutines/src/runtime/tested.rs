//! What `#[goroutines::test]` calls: a run with a limit, after which it is seen what is left.

use super::{GoroutineInfo, MAIN_STACK_BYTES, run, run_main, stacks};
use crate::base::sys;
use crate::g::current;
use crate::sched::boot;
use crate::sched::trial::{Family, Trial, Verdict};
use std::panic::{Location, resume_unwind};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is done about goroutines that outlive their test.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaks {
    /// Nothing.
    Ignore,
    /// They are named on stderr.
    Tell,
    /// The test fails.
    Fail,
}

/// The goroutines of a test that has ended, which have a moment to end as well.
fn left_of(family: Family) -> Vec<GoroutineInfo> {
    const PATIENCE: Duration = Duration::from_millis(100);
    let start = Instant::now();
    loop {
        let left = crate::observe::account::among(|task| family.has(task));
        if left.is_empty() || start.elapsed() >= PATIENCE {
            return left;
        }
        sys::sleep(Duration::from_millis(1));
    }
}

fn tell_of_leaks(name: &str, left: &[GoroutineInfo], fail: bool) {
    use std::fmt::Write;
    let mut text = format!("{name} has ended, and goroutines that it has started have not:");
    for one in left {
        let _ = write!(text, "\n{one}");
    }
    assert!(!fail, "{text}");
    eprintln!("{text}");
}

/// What `#[goroutines::test]` calls: as [`run`], but a test that has not ended after `limit`, or
/// that can't end as all goroutines are asleep, panics on the calling thread, when it has printed
/// the stacks of all goroutines.
#[doc(hidden)]
#[track_caller]
pub fn run_test<F>(name: &'static str, limit: Option<Duration>, leaks: Leaks, f: F) -> ExitCode
where
    F: FnOnce() -> ExitCode + Send + 'static,
{
    if current::g().is_some() {
        return run(f);
    }
    let (done, waits) = std::sync::mpsc::sync_channel(1);
    let at = Location::caller();
    let trial = Arc::new(Trial::new());
    let ended = Arc::clone(&trial);
    // The thread that waits in `run` can't leave it, so it is another one.
    let waiter = std::thread::Builder::new().name(name.into()).spawn(move || {
        let run = || {
            boot::ensure();
            let family = Family::new();
            let body = move || {
                family.begin();
                f()
            };
            let code = run_main(body, MAIN_STACK_BYTES, false, at);
            (code, if leaks == Leaks::Ignore { Vec::new() } else { left_of(family) })
        };
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let _ = done.send(result);
        ended.end();
    });
    if let Err(e) = waiter {
        panic!("no thread can be made for the test {name}: {e}");
    }
    match trial.wait(limit) {
        Verdict::Ended => match waits.recv() {
            Ok(Ok((code, left))) => {
                if !left.is_empty() {
                    tell_of_leaks(name, &left, leaks == Leaks::Fail);
                }
                code
            }
            Ok(Err(payload)) => resume_unwind(payload),
            Err(_) => panic!("the thread of the test {name} has gone without a result"),
        },
        Verdict::Asleep => {
            eprintln!("{name}: all goroutines are asleep - deadlock!\n\n{}", stacks());
            panic!("{name}: all goroutines are asleep - deadlock!");
        }
        Verdict::TimedOut => {
            let limit = limit.unwrap_or_default();
            eprintln!("{name} has not ended after {limit:?}; all goroutines:\n{}", stacks());
            panic!(
                "{name} has not ended after {limit:?} \
                 (#[goroutines::test(timeout = \"…\")] says how long it may take)"
            );
        }
    }
}
