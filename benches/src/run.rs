//! One run of one program.

use crate::peers::{Kind, Peer};
use crate::served;
use goroutines_bench::child::{Failure, output};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const AT_MOST: Duration = Duration::from_secs(60);

/// Something that was measured.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    /// What it is called beside the case's other figures; nothing for the only one.
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) value: f64,
}

impl Figure {
    pub(crate) fn new(name: &str, unit: &str, value: f64) -> Self {
        Self { name: name.to_owned(), unit: unit.to_owned(), value }
    }
}

/// What a run came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    Figures(Vec<Figure>),
    NoSuchCase,
    Failed(Failure),
}

impl Outcome {
    /// Whether there is no use in another run.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::NoSuchCase | Self::Failed(Failure::Hung(_)))
    }
}

/// Runs a case on a peer.
pub(crate) fn once(peer: &Peer, case: &str, procs: u32) -> Outcome {
    let kind = Kind::of(case);
    let Some(program) = peer.program(kind) else { return Outcome::NoSuchCase };
    let figures = match kind {
        Kind::Work | Kind::Floor => printed(program, case, procs),
        Kind::Sleepers => printed(program, &tasks(case), procs),
        Kind::Http | Kind::Echo => served::once(peer, program, case, procs),
    };
    match figures {
        Ok(figures) if figures.is_empty() => Outcome::NoSuchCase,
        Ok(figures) => Outcome::Figures(figures),
        Err(failure) => Outcome::Failed(failure),
    }
}

/// The number of tasks: `sleepers_10k` has 10000.
fn tasks(case: &str) -> String {
    case.trim_start_matches("sleepers_").replace('k', "000")
}

fn printed(program: &Path, what: &str, procs: u32) -> Result<Vec<Figure>, Failure> {
    let mut command = Command::new(program);
    judge(&output(command.arg(what).arg(procs.to_string()), AT_MOST)?)
}

/// Reads what a program prints: `none`, or a line a figure: `UNIT VALUE` or `NAME UNIT VALUE`. A
/// unit's `_` is a blank.
pub(crate) fn judge(printed: &str) -> Result<Vec<Figure>, Failure> {
    if printed.trim() == "none" {
        return Ok(Vec::new());
    }
    let figures: Option<Vec<_>> = printed.lines().map(figure).collect();
    let figures = figures.filter(|figures| !figures.is_empty());
    figures.ok_or_else(|| Failure::Failed(format!("printed {printed:?}")))
}

fn figure(line: &str) -> Option<Figure> {
    let words: Vec<_> = line.split_whitespace().collect();
    let (name, unit, value) = match words[..] {
        [unit, value] => ("", unit, value),
        [name, unit, value] => (name, unit, value),
        _ => return None,
    };
    let value = value.parse().ok().filter(|value: &f64| value.is_finite())?;
    Some(Figure::new(name, &unit.replace('_', " "), value))
}

#[cfg(test)]
mod tests {
    use super::{Figure, judge, tasks};

    #[test]
    fn what_programs_print() {
        assert_eq!(judge("ns 12.5\n"), Ok(vec![Figure::new("", "ns", 12.5)]));
        let (late, rate) =
            (Figure::new("late", "µs", 1.5), Figure::new("", "round trips/s", 300.0));
        assert_eq!(judge("late µs 1.5\nround_trips/s 300\n"), Ok(vec![late, rate]));
        assert_eq!(judge("none\n"), Ok(Vec::new()));
        for wrong in ["", "12", "ns x", "ns NaN", "ns 1\nthat was it", "\n"] {
            assert!(judge(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn numbers_of_sleepers() {
        assert_eq!(["sleepers_1k", "sleepers_100k"].map(tasks), ["1000", "100000"]);
    }
}
