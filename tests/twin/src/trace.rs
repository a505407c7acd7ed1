//! What a situation writes down, and what it starts.

use crate::Side;
use crate::page::Page;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the limits after which a call counts as hanging are multiplied by: more where a row is tried again.
static PATIENCE: AtomicU64 = AtomicU64::new(1);

pub(crate) fn set_patience(times: u64) {
    PATIENCE.store(times, Ordering::Relaxed);
}

fn patience() -> u64 {
    PATIENCE.load(Ordering::Relaxed)
}

/// Separates a record's fields: kind, party, text.
pub(crate) const FIELD: char = '\u{1f}';

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A value.
    Value,
    /// A class of time: on a busy machine it may be wrong once.
    Time,
    /// The row can't be tried here.
    Skip,
}

impl Kind {
    const fn letter(self) -> char {
        match self {
            Self::Value => 'v',
            Self::Time => 't',
            Self::Skip => 's',
        }
    }

    pub(crate) fn parse(field: &str) -> Self {
        match field {
            "t" => Self::Time,
            "s" => Self::Skip,
            _ => Self::Value,
        }
    }
}

/// Where a situation writes what it sees. Each party (what [`spawn`](Trace::spawn) starts) has lines of its
/// own: they are compared party by party, so it does not matter which of two is faster.
#[derive(Clone)]
pub struct Trace {
    side: Side,
    page: Option<Page>,
    party: Arc<str>,
}

/// A thread or goroutine that [`Trace::spawn`] has started.
pub struct Flow<R> {
    name: String,
    trace: Trace,
    end: Arc<End<R>>,
}

/// A wait of so many milliseconds. It is made of short sleeps, and as many of them as take that long on an idle
/// machine: on a busy one they take longer, as all does that is waited for.
struct Limit {
    until: Instant,
    sleeps: u64,
}

impl Limit {
    fn new(milliseconds: u64) -> Self {
        let until = Instant::now() + Duration::from_millis(milliseconds);
        Self { until, sleeps: milliseconds * 3 / 4 }
    }

    /// Sleeps a millisecond, if the wait is not over.
    fn lasts(&mut self) -> bool {
        if self.sleeps == 0 && Instant::now() >= self.until {
            return false;
        }
        self.sleeps = self.sleeps.saturating_sub(1);
        ms(1);
        true
    }
}

/// A call that gives its result as text.
pub type Call = Box<dyn FnOnce() -> String + Send>;

struct End<R> {
    over: AtomicBool,
    result: Mutex<Option<std::thread::Result<R>>>,
}

/// Sleeps this many milliseconds, with std's sleep, so a goroutine parks. A long sleep is made of short ones: on a
/// busy machine it takes longer, as does what others are to have done meanwhile.
pub fn ms(milliseconds: u64) {
    const PIECE: u64 = 20;
    for _ in 0..milliseconds / PIECE {
        sleep(PIECE);
    }
    sleep(milliseconds % PIECE);
}

/// Sleeps this many milliseconds, with one sleep of std's: where the sleep is what a row is about.
pub fn sleep(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

impl Trace {
    pub(crate) fn new(side: Side, page: Option<Page>) -> Self {
        Self { side, page, party: "".into() }
    }

    fn record(&self, kind: Kind, text: &str) {
        let text =
            if self.party.is_empty() { text.into() } else { format!("{}: {text}", self.party) };
        match self.page {
            Some(page) => {
                page.add(format!("{}{FIELD}{}{FIELD}{text}", kind.letter(), self.party).as_bytes());
            }
            None => println!("{text}"),
        }
    }

    /// Writes a line: `what: value`.
    pub fn says(&self, what: &str, value: impl Display) {
        self.record(Kind::Value, &format!("{what}: {value}"));
    }

    /// Writes a line.
    pub fn line(&self, text: impl Display) {
        self.record(Kind::Value, &text.to_string());
    }

    /// Calls `f` and writes how long it took, as a class: at once, or after the time set. `set` is in
    /// milliseconds; below 200 a busy machine makes the classes unsure.
    pub fn timed<R>(&self, what: &str, set: u64, f: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = f();
        let took = start.elapsed().as_millis() as u64;
        let class = match took {
            _ if took < set / 2 => "at once",
            _ if took < set - set / 10 => "too early",
            _ if took < set * 2 + 1000 => "after the time set",
            _ => "too late",
        };
        self.record(Kind::Time, &format!("{what}: {class}"));
        result
    }

    /// Calls `f` in a party of its own, and gives its result. If it takes more than `limit`
    /// milliseconds, writes that it hangs, and leaves it behind.
    pub fn within<R, F>(&self, what: &str, limit: u64, f: F) -> Option<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let flow = self.spawn(what, |_| f());
        if flow.over_within(limit * patience()) {
            return Some(flow.join());
        }
        self.record(Kind::Value, &format!("{what}: HANGS"));
        None
    }

    /// Whether `f` does not return within `limit` milliseconds: writes its result or `HANGS`.
    pub fn hangs_after<R, F>(&self, what: &str, limit: u64, f: F)
    where
        F: FnOnce() -> R + Send + 'static,
        R: Display + Send + 'static,
    {
        if let Some(result) = self.within(what, limit, f) {
            self.says(what, result);
        }
    }

    /// Makes all these calls at once, each in a party of its own, and writes each one's result, in their order. Calls
    /// that have not returned `quiet` milliseconds after the last one that did count as hanging.
    pub fn each(&self, quiet: u64, calls: Vec<(String, Call)>) {
        let flows: Vec<_> =
            calls.into_iter().map(|(name, call)| (self.spawn(&name, |_| call()), name)).collect();
        let over = || flows.iter().filter(|(flow, _)| flow.is_over()).count();
        let (mut limit, mut count) = (Limit::new(quiet * patience()), over());
        while count < flows.len() && limit.lasts() {
            let now = over();
            if now > count {
                (limit, count) = (Limit::new(quiet * patience()), now);
            }
        }
        for (flow, name) in flows {
            if flow.is_over() { self.says(&name, flow.join()) } else { self.says(&name, "HANGS") }
        }
    }

    /// Starts a thread on the thread's side and a goroutine on the other's. Its lines stand under `party`, which no
    /// other party should have as its name.
    ///
    /// # Panics
    /// If no thread can be made.
    pub fn spawn<R, F>(&self, party: &str, f: F) -> Flow<R>
    where
        F: FnOnce(&Self) -> R + Send + 'static,
        R: Send + 'static,
    {
        let end = Arc::new(End { over: AtomicBool::new(false), result: Mutex::new(None) });
        let (trace, its) = (Self { party: party.into(), ..self.clone() }, end.clone());
        let body = move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(&trace)));
            *its.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            its.over.store(true, Ordering::Release);
        };
        match self.side {
            Side::Thread => {
                let builder = std::thread::Builder::new().stack_size(1 << 20);
                builder.spawn(body).expect("a thread can be made");
            }
            Side::Goroutine(_) => drop(goroutines::go(body)),
        }
        Flow { name: party.to_owned(), trace: self.clone(), end }
    }

    /// What runs the situation: for what only one side has.
    #[must_use]
    pub fn side(&self) -> Side {
        self.side
    }

    /// Ends the process: the row can't be tried here.
    pub fn skip(&self, why: impl Display) -> ! {
        self.record(Kind::Skip, &why.to_string());
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) }
    }
}

impl<R> Flow<R> {
    /// Whether it has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        // Acquire: with the Release at its end.
        self.end.over.load(Ordering::Acquire)
    }

    /// Waits this many milliseconds for its end.
    #[must_use]
    pub fn over_within(&self, limit: u64) -> bool {
        let mut limit = Limit::new(limit);
        while !self.is_over() {
            if !limit.lasts() {
                return false;
            }
        }
        true
    }

    /// Waits for its end. A panic is written down, and goes on here.
    ///
    /// # Panics
    /// If it has panicked.
    pub fn join(self) -> R {
        while !self.is_over() {
            ms(1);
        }
        let result = self.end.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        match result.expect("a result is joined once") {
            Ok(result) => result,
            Err(panic) => {
                self.trace.says(&self.name, "panicked");
                std::panic::resume_unwind(panic)
            }
        }
    }
}
