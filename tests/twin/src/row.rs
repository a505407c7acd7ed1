//! A row of the table: a situation, and what it needs.

use crate::Trace;
use std::sync::Arc;
use std::time::Duration;

type Body = dyn Fn(&Trace) + Send + Sync;

/// What runs a situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// An OS thread.
    Thread,
    /// A goroutine, and this many Ps.
    Goroutine(usize),
}

impl Side {
    /// The goroutine's.
    pub const GOROUTINES: [Self; 3] = [Self::Goroutine(1), Self::Goroutine(2), Self::Goroutine(4)];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Thread => "thread".into(),
            Self::Goroutine(ps) => format!("g{ps}"),
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name.strip_prefix('g') {
            Some(ps) => ps.parse().ok().map(Self::Goroutine),
            None => (name == "thread").then_some(Self::Thread),
        }
    }
}

/// A situation.
#[derive(Clone)]
pub struct Row {
    pub(crate) name: String,
    pub(crate) body: Arc<Body>,
    pub(crate) before: Option<fn(&Trace)>,
    pub(crate) needs: Vec<fn() -> Result<(), String>>,
    pub(crate) expect: Vec<String>,
    pub(crate) owed: Option<&'static str>,
    pub(crate) limit: Duration,
    pub(crate) alone: bool,
    pub(crate) series: Option<&'static str>,
}

impl Row {
    /// A situation. The [`rows!`](crate::rows) macro takes the name from the function.
    pub fn new(name: impl Into<String>, body: impl Fn(&Trace) + Send + Sync + 'static) -> Self {
        Self {
            name: name.into(),
            body: Arc::new(body),
            before: None,
            needs: Vec::new(),
            expect: Vec::new(),
            owed: None,
            limit: Duration::from_secs(20),
            alone: false,
            series: None,
        }
    }

    /// Whether this is its name.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// Lines that the *thread's* trace must have in this order, so that a broken machine is not the measure.
    #[must_use]
    pub fn expect(mut self, lines: &[&str]) -> Self {
        self.expect.extend(lines.iter().map(|line| (*line).to_owned()));
        self
    }

    /// What runs first, on the process's main thread, before there is another thread or a runtime: a name
    /// space, a limit, a filter of system calls. May `skip`.
    #[must_use]
    pub fn before(mut self, prepare: fn(&Trace)) -> Self {
        self.before = Some(prepare);
        self
    }

    /// What must be `Ok`, else the row is skipped with that reason.
    #[must_use]
    pub fn needs(mut self, needs: fn() -> Result<(), String>) -> Self {
        self.needs.push(needs);
        self
    }

    /// The row is skipped for ordinary users.
    #[must_use]
    pub fn root(self) -> Self {
        // SAFETY: asks for a number.
        self.needs(
            || if unsafe { libc::geteuid() } == 0 { Ok(()) } else { Err("needs root".into()) },
        )
    }

    /// The goroutine differs by a fault that is not mended yet. Such a row does not fail, whatever it gives; it is
    /// counted and named, also when it has come right.
    #[must_use]
    pub fn owed(mut self, why: &'static str) -> Self {
        self.owed = Some(why);
        self
    }

    /// How long a side may take before it counts as one that never ends.
    #[must_use]
    pub fn seconds(mut self, limit: u64) -> Self {
        self.limit = Duration::from_secs(limit);
        self
    }

    /// No other row of this binary runs meanwhile.
    #[must_use]
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Rows of one series run one after the other, beside the other rows: for what there is little of.
    #[must_use]
    pub fn series(mut self, name: &'static str) -> Self {
        self.series = Some(name);
        self
    }
}
