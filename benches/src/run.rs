//! One run of one program.

use goroutines_bench::child::{Failure, output};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const AT_MOST: Duration = Duration::from_secs(60);

/// What a run came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The number it printed, and its unit.
    Value(f64, String),
    NoSuchCase,
    Failed(Failure),
}

impl Outcome {
    /// Whether there is no use in another run.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::NoSuchCase | Self::Failed(Failure::Hung(_)))
    }
}

/// Runs `program case procs`.
pub(crate) fn once(program: &Path, case: &str, procs: u32) -> Outcome {
    match output(Command::new(program).arg(case).arg(procs.to_string()), AT_MOST) {
        Ok(printed) => judge(&printed),
        Err(failure) => Outcome::Failed(failure),
    }
}

fn judge(printed: &str) -> Outcome {
    let line = printed.trim();
    if line == "none" {
        return Outcome::NoSuchCase;
    }
    let parsed = line.split_once(' ').and_then(|(unit, value)| Some((value.parse().ok()?, unit)));
    match parsed {
        Some((value, unit)) => Outcome::Value(value, unit.to_owned()),
        None => Outcome::Failed(Failure::Failed(format!("printed {line:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, judge};

    #[test]
    fn outcomes() {
        assert_eq!(judge("ns 12.5\n"), Outcome::Value(12.5, "ns".to_owned()));
        assert_eq!(judge("none\n"), Outcome::NoSuchCase);
        assert!(matches!(judge("12"), Outcome::Failed(_)));
    }
}
