//! `cargo xtask bench`: the benchmarks.

use crate::Outcome;
use crate::args::{self, Args};
use crate::cargo::cargo;

/// The work, and the help, is that of the program in benches/.
pub(crate) fn main(args: Args) -> Outcome {
    let mut bench = cargo(&["run", "--quiet", "--release", "--package", "goroutines-bench", "--"]);
    let status = bench.args(args::all(args)?).status()?;
    if status.code() == Some(2) {
        return Err("wrong command line".into());
    }
    Ok(status.success())
}
