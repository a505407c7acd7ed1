//! Many tasks that sleep some milliseconds again and again, in one interleaved run: how late they wake,
//! and what that costs.
//!
//! Each peer is a program of its own, `PROGRAM TASKS PROCS`; it prints one line,
//! `late_us 12.3 wall_ms 456.7 cpu_ms 78.9`.

use goroutines_bench::build::{self, Go, locked_version};
use goroutines_bench::child::output;
use goroutines_bench::figures::{machine, spread};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

const HELP: &str = "\
usage: sleepers [--tasks N] [--procs N] [--runs K] [--only NAME,...] [--go PATH]

N tasks sleep five times each for 1 to 100 ms. Prints a Markdown table: how late they woke in the mean,
the time of all, and the CPU time.
  --tasks N        (default 100000)
  --procs N        processors or worker threads (default 2)
  --runs K         runs of each (default 3)
  --only NAME,...  of goroutines, go, tokio, smol
  --go PATH        the `go` program, if it is not on PATH or in $GO
Exit status: 0, 1 if a run failed, 2 for a wrong command line.";

const NAMES: [&str; 4] = ["goroutines", "go", "tokio", "smol"];

/// What each prints, and what that is.
const UNITS: [&str; 3] = ["late_us", "wall_ms", "cpu_ms"];
const HEADS: [&str; 3] = ["mean lateness, µs", "wall, ms", "CPU, ms"];

const AT_MOST: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Args {
    tasks: u32,
    procs: u32,
    runs: u32,
    only: Vec<String>,
    go: Option<OsString>,
}

impl Args {
    /// None if help was asked for.
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let only = NAMES.map(str::to_owned).to_vec();
        let mut args = Self { tasks: 100_000, procs: 2, runs: 3, only, go: None };
        while let Some(word) = words.next() {
            if word == "--help" || word == "-h" {
                return Ok(None);
            }
            let value = words.next().ok_or_else(|| format!("{word}: a value is missing"))?;
            let number = value.parse().ok().filter(|n| *n > 0);
            let number = number.ok_or_else(|| format!("{value}: not a number above 0"));
            match word.as_str() {
                "--tasks" => args.tasks = number?,
                "--procs" => args.procs = number?,
                "--runs" => args.runs = number?,
                "--only" => args.only = value.split(',').map(str::to_owned).collect(),
                "--go" => args.go = Some(value.into()),
                _ => return Err(format!("{word}: unknown option")),
            }
        }
        match args.only.iter().find(|name| !NAMES.contains(&name.as_str())) {
            Some(name) => Err(format!("{name}: no such peer")),
            None => Ok(Some(args)),
        }
    }
}

/// A program that was built, and its runs.
struct Peer {
    name: String,
    program: PathBuf,
    /// One list a unit.
    values: [Vec<f64>; 3],
    failures: Vec<String>,
}

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            eprintln!("sleepers: {e}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    let mut peers = build(&args);
    for round in 1..=args.runs {
        eprintln!("round {round} of {}", args.runs);
        for peer in &mut peers {
            match once(&peer.program, &args) {
                Ok(values) => {
                    peer.values.iter_mut().zip(values).for_each(|(all, one)| all.push(one));
                }
                Err(why) => peer.failures.push(why),
            }
        }
    }
    print!("{}", markdown(&args, &peers));
    let failed = peers.is_empty() || peers.iter().any(|peer| !peer.failures.is_empty());
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Builds what can be built, and says on stderr what can't.
fn build(args: &Args) -> Vec<Peer> {
    let wanted = |name: &str| args.only.iter().any(|only| only == name);
    let mut peers = Vec::new();
    let mut add = |name: &str, version: &str, program| {
        let name = format!("{name} {version}");
        peers.push(Peer { name, program, values: Default::default(), failures: Vec::new() });
    };
    if wanted("goroutines") && build::ours(&["--bin", "goroutines-sleepers"]) {
        let program = build::target_dir().join("release/goroutines-sleepers");
        add("goroutines", env!("CARGO_PKG_VERSION"), program);
    }
    if wanted("go")
        && let Some(go) = Go::find(args.go.as_deref())
        && let Some(program) = go.build("./sleepers", "go-sleepers")
    {
        add("Go", &go.version, program);
    }
    if (wanted("tokio") || wanted("smol")) && build::peers() {
        for name in ["tokio", "smol"].into_iter().filter(|name| wanted(name)) {
            let program = build::peers_dir().join("release").join(format!("sleepers_{name}"));
            add(name, &locked_version(name), program);
        }
    }
    peers
}

fn once(program: &Path, args: &Args) -> Result<[f64; 3], String> {
    let mut command = Command::new(program);
    command.arg(args.tasks.to_string()).arg(args.procs.to_string());
    let printed = output(&mut command, AT_MOST).map_err(|failure| failure.to_string())?;
    parse(&printed).ok_or_else(|| format!("printed {printed:?}"))
}

fn parse(line: &str) -> Option<[f64; 3]> {
    let mut values = [0.0; 3];
    let mut words = line.split_whitespace();
    for (unit, value) in UNITS.iter().zip(&mut values) {
        if words.next()? != *unit {
            return None;
        }
        *value = words.next()?.parse().ok()?;
    }
    Some(values)
}

fn markdown(args: &Args, peers: &[Peer]) -> String {
    let mut text = machine(args.runs as usize);
    text += &format!(" {} tasks × 5 sleeps of 1–100 ms, {} procs.\n\n", args.tasks, args.procs);
    text += &format!("| | {} |\n|---|---|---|---|\n", HEADS.join(" | "));
    for peer in peers {
        let cells: Vec<_> = peer.values.iter().map(|values| spread(values)).collect();
        text += &format!("| {} | {} |\n", peer.name, cells.join(" | "));
    }
    text += "\nMedian (least–greatest). Less is better.\n";
    for peer in peers {
        for why in &peer.failures {
            text += &format!("* FAILED: {}: {why}\n", peer.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{Args, parse};

    #[test]
    fn lines() {
        let line = "late_us 1.5 wall_ms 520.0 cpu_ms 300\n";
        assert_eq!(parse(line), Some([1.5, 520.0, 300.0]));
        assert_eq!(parse("late_us 1.5 wall_ms"), None);
    }

    #[test]
    fn command_lines() {
        let parse = |line: &str| Args::parse(line.split_whitespace().map(str::to_owned));
        let args = parse("--tasks 5 --only go,smol --go /go").unwrap().unwrap();
        assert_eq!(
            (args.tasks, args.only, args.go),
            (5, vec!["go".into(), "smol".into()], Some("/go".into()))
        );
        assert!(parse("--help").unwrap().is_none());
        for line in ["--tasks 0", "--runs", "--only x", "x 1"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
