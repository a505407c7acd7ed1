//! Tests that mostly sleep. One after the other they would take a minute in each mode, so all of all modes run
//! at once, in the first `#[test]` that asks for one of them; each then says what became of its own. The
//! bodies are started as a test's threads are: as goroutines, as threads, or in turn as either.
//!
//! Their authors gave them windows: one sleeps for a second, the other comes after half of it. On a machine
//! that stands still for that long they say nothing. So witnesses sleep beside them, ordinary threads, and if
//! these were woken `TOO_LATE` those that failed are asked again. If they were not, they have failed.

use crate::{Expect, Mode, family, run, thread};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Half of the narrowest window.
const TOO_LATE: Duration = Duration::from_millis(50);

/// How often those that failed are asked at most.
const NIGHTS: u32 = 5;

/// A test that mostly sleeps.
#[derive(Clone, Copy, Debug)]
pub struct Sleeper {
    /// The module that it is in.
    pub suite: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub body: fn(),
}

/// What became of all sleepers, on a number of processors.
struct Night {
    at: &'static str,
    ended: Vec<End>,
    /// The text of the panic of what ran them.
    failed: Option<String>,
}

/// What became of one: the text of its panic.
#[derive(Clone)]
struct End {
    mode: Mode,
    of: Sleeper,
    panic: Option<String>,
}

/// Runs the sleepers on as many processors as the test's name says, unless that is done, and
/// looks what became of the one whose test this is.
///
/// # Panics
/// If it panicked; and if nobody did, but something was not as expected of them all.
pub fn check(name: &'static str, mode: Mode, sleepers: &'static [&'static [Sleeper]]) {
    static PASSED: Mutex<Vec<Night>> = Mutex::new(Vec::new());
    let (suite, at, name) = parts(name).expect("the test is in a module `together`");
    let mut passed = lock(&PASSED);
    if !passed.iter().any(|night| night.at == at) {
        passed.push(Night::pass(at, sleepers));
    }
    let night = passed.iter().find(|night| night.at == at).expect("it has passed");
    let is_it = |end: &&End| end.mode == mode && end.of.suite == suite && end.of.name == name;
    let ended = night.ended.iter().find(is_it);
    if let Some(text) = &ended.expect("the suite is among the crate's SLEEPERS").panic {
        fail(text);
    }
    if let (Some(text), true) = (&night.failed, night.ended.iter().all(|end| end.panic.is_none())) {
        fail(&format!("all sleepers: {text}"));
    }
}

/// Panics, but not so that it is counted for the test that runs now.
fn fail(text: &str) -> ! {
    eprintln!("{text}");
    resume_unwind(Box::new(text.to_owned()))
}

/// `all::after`, `at_1` and `recv` of `all::after::together::mixed::at_1::recv`.
fn parts(name: &'static str) -> Option<(&'static str, &'static str, &'static str)> {
    let (suite, rest) = name.split_once("::together::")?;
    let (_, rest) = rest.split_once("::")?;
    let (at, name) = rest.split_once("::")?;
    Some((suite, at, name))
}

impl Night {
    fn pass(at: &'static str, sleepers: &'static [&'static [Sleeper]]) -> Self {
        let modes = [Mode::Goroutines, Mode::Threads, Mode::Mixed];
        let all = modes
            .iter()
            .flat_map(|mode| sleepers.iter().copied().flatten().map(|sleeper| (*mode, *sleeper)));
        let (mut night, mut late) = Self::of(at, all.collect());
        for _ in 1..NIGHTS {
            let awake: Vec<_> = night.ended.extract_if(.., |end| end.panic.is_some()).collect();
            if awake.is_empty() {
                break;
            }
            if late < TOO_LATE {
                night.ended.extend(awake);
                break;
            }
            let names: Vec<_> =
                awake.iter().map(|end| (end.mode, end.of.suite, end.of.name)).collect();
            eprintln!("the machine was {late:?} late; once more: {names:?}");
            let again;
            (again, late) = Self::of(at, awake.iter().map(|end| (end.mode, end.of)).collect());
            night.ended.extend(again.ended);
            night.failed = again.failed;
        }
        night
    }

    /// Runs these; and how late witnesses were woken meanwhile.
    fn of(at: &'static str, sleepers: Vec<(Mode, Sleeper)>) -> (Self, Duration) {
        let ended = Arc::new(Mutex::new(Vec::new()));
        let all = {
            let ended = Arc::clone(&ended);
            move || {
                // Each is the first of a family, whose threads it waits for.
                let beds = sleepers.into_iter().map(|(mode, of)| {
                    let sleep = move || {
                        let family = family::begin(mode);
                        let result = thread::spawn(of.body).join();
                        family.wait_for_threads();
                        result
                    };
                    (mode, of, goroutines::go(sleep))
                });
                let beds: Vec<_> = beds.collect();
                let ends = beds.into_iter().map(|(mode, of, bed)| {
                    let result = bed.join().and_then(|result| result);
                    End { mode, of, panic: result.err().map(text_of) }
                });
                *lock(&ended) = ends.collect();
            }
        };
        let name = String::leak(format!("sleepers::{at}::"));
        let (failed, late) = witnessed(|| {
            let run = || run(name, Mode::Goroutines, Expect::default(), all);
            catch_unwind(AssertUnwindSafe(run)).err().map(text_of)
        });
        let ended = std::mem::take(&mut *lock(&ended));
        (Self { at, ended, failed }, late)
    }
}

/// Runs `f`, and measures how much too late ordinary threads that sleep were woken meanwhile, at most.
fn witnessed<R>(f: impl FnOnce() -> R) -> (R, Duration) {
    const NAP: Duration = Duration::from_millis(5);
    let over = AtomicBool::new(false);
    let watch = || {
        let mut late = Duration::ZERO;
        while !over.load(Ordering::Relaxed) {
            let start = Instant::now();
            std::thread::sleep(NAP);
            late = late.max(start.elapsed() - NAP);
        }
        late
    };
    std::thread::scope(|scope| {
        let witnesses = [0; 3].map(|_| scope.spawn(watch));
        let result = f();
        over.store(true, Ordering::Relaxed);
        let late = witnesses.map(|one| one.join().expect("it only sleeps"));
        (result, late.into_iter().max().unwrap_or_default())
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text_of(payload: Box<dyn Any + Send>) -> String {
    match (payload.downcast_ref::<String>(), payload.downcast_ref::<&str>()) {
        (Some(text), _) => text.clone(),
        (None, Some(text)) => (*text).to_owned(),
        (None, None) => "a panic without a text".to_owned(),
    }
}
