//! Tests that mostly sleep. One after the other they would take a minute in each mode, so all of a mode run
//! at once, in the first `#[test]` that asks for one of them; each then says what became of its own. The
//! bodies are started as a test's threads are: as goroutines, as threads, or in turn as either.

use crate::{Expect, Mode, run, thread};
use std::any::Any;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// What became of all sleepers, in a mode and on a number of processors.
struct Night {
    mode: Mode,
    at: &'static str,
    /// The texts of their panics.
    ended: Vec<(Sleeper, Option<String>)>,
    /// The text of the panic of what ran them.
    failed: Option<String>,
}

/// Runs the sleepers in this mode on as many processors as the test's name says, unless that is done, and
/// looks what became of the one whose test this is.
///
/// # Panics
/// If it panicked; and if nobody did, but something was not as expected of them all.
pub fn check(name: &'static str, mode: Mode, sleepers: &'static [&'static [Sleeper]]) {
    static NIGHTS: Mutex<Vec<Night>> = Mutex::new(Vec::new());
    let mut nights = lock(&NIGHTS);
    let (suite, at, name) = parts(name).expect("the test is in a module `together`");
    if !nights.iter().any(|night| night.mode == mode && night.at == at) {
        nights.push(Night::pass(mode, at, sleepers));
    }
    let night = nights.iter().find(|night| night.mode == mode && night.at == at);
    let night = night.expect("it has passed");
    let is_it = |sleeper: &Sleeper| sleeper.suite == suite && sleeper.name == name;
    let ended = night.ended.iter().find(|(sleeper, _)| is_it(sleeper));
    if let Some(text) = &ended.expect("the suite is among the crate's SLEEPERS").1 {
        panic!("{text}");
    }
    if let (Some(text), true) = (&night.failed, night.ended.iter().all(|(_, text)| text.is_none()))
    {
        panic!("all sleepers: {text}");
    }
}

/// `all::after`, `at_1` and `recv` of `all::after::together::mixed::at_1::recv`.
fn parts(name: &'static str) -> Option<(&'static str, &'static str, &'static str)> {
    let (suite, rest) = name.split_once("::together::")?;
    let (_, rest) = rest.split_once("::")?;
    let (at, name) = rest.split_once("::")?;
    Some((suite, at, name))
}

impl Night {
    fn pass(mode: Mode, at: &'static str, sleepers: &'static [&'static [Sleeper]]) -> Self {
        let ended = Arc::new(Mutex::new(Vec::new()));
        let all = {
            let ended = Arc::clone(&ended);
            move || {
                let beds: Vec<_> = sleepers
                    .iter()
                    .copied()
                    .flatten()
                    .map(|s| (*s, thread::spawn(s.body)))
                    .collect();
                let texts =
                    beds.into_iter().map(|(sleeper, bed)| (sleeper, bed.join().err().map(text_of)));
                *lock(&ended) = texts.collect();
            }
        };
        let name = String::leak(format!("sleepers::{mode:?}::{at}::"));
        let failed = catch_unwind(|| run(name, mode, Expect::default(), all)).err().map(text_of);
        let ended = std::mem::take(&mut *lock(&ended));
        Self { mode, at, ended, failed }
    }
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
