//! `cargo xtask soak`: what goes wrong once in a million times, for as long as it takes.

use crate::args::{Args, Long, unknown, value};
use crate::cargo::{built, cargo, root};
use crate::{Outcome, run, stress};
use std::fs;
use std::process::Command;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: cargo xtask soak [--seconds N] [--procs 1,2,4] [--parked N] [--only NAMES]

Optimised builds, N seconds each (default 720), one after another; their output is in target/soak.

  jemalloc    children beside goroutines that allocate and others that are parked (--parked, default
              100000), with jemalloc, with GOMAXPROCS as each of the list
  signals     storms of signals beside all that goroutines do, with GOMAXPROCS as each of the list
  starvation  goroutines that wait for a stack where none can be made any more
  stress      the stress test, with GOMAXPROCS as each of the list

  --only NAMES  some of them, with commas between
";

/// How much longer than it should a run may take.
const GRACE: Duration = Duration::from_secs(300);

pub(crate) fn main(mut args: Args) -> Outcome {
    let (mut seconds, mut procs, mut parked) = (720, "1,2,4".to_owned(), 100_000);
    let mut only = "jemalloc,signals,starvation,stress".to_owned();
    while let Some(arg) = args.next()? {
        match arg {
            Long("seconds") => seconds = value(&mut args)?.parse()?,
            Long("procs") => procs = value(&mut args)?,
            Long("parked") => parked = value(&mut args)?.parse()?,
            Long("only") => only = value(&mut args)?,
            _ => return Err(unknown(arg)),
        }
    }
    let mut good = true;
    for name in only.split(',') {
        good &= match name {
            "jemalloc" => jemalloc(seconds, &procs, parked)?,
            "signals" => signals(seconds, &procs)?,
            "starvation" => {
                let name = "nobody_who_waits_for_a_stack_is_forgotten";
                test("goroutines-tests", "limits", name)?.run("starvation", seconds, &[])?
            }
            "stress" => stress::run(seconds, &procs, true)?,
            _ => return Err(format!("there is no {name:?} to run. See --help").into()),
        };
    }
    Ok(good)
}

fn jemalloc(seconds: u64, procs: &str, parked: u32) -> Outcome {
    let name = "children_beside_many_that_are_parked";
    let test = test("goroutines-crates-tests", "jemalloc", name)?;
    let mut good = true;
    for procs in procs.split(',') {
        let env = [("PROCS", procs.to_owned()), ("PARKED", parked.to_string())];
        good &= test.run(&format!("jemalloc-{procs}"), seconds, &env)?;
    }
    Ok(good)
}

fn signals(seconds: u64, procs: &str) -> Outcome {
    let test = test("goroutines-tests", "proc_signals", "storms_lose_nothing")?;
    let mut good = true;
    for procs in procs.split(',') {
        let env = [("PROCS", procs.to_owned())];
        good &= test.run(&format!("signals-{procs}"), seconds, &env)?;
    }
    Ok(good)
}

/// A test that goes on for as long as `SOAK_SECONDS` says.
struct Test {
    command: std::path::PathBuf,
    name: &'static str,
}

/// Builds the program with the test `name`.
fn test(
    package: &str,
    program: &str,
    name: &'static str,
) -> Result<Test, Box<dyn std::error::Error>> {
    let words = ["test", "--release", "--no-run", "-p", package, "--test", program];
    let programs = built(&mut cargo(&words))?;
    let command = programs.into_iter().next_back().ok_or("no program was built")?;
    Ok(Test { command, name })
}

impl Test {
    /// Runs it; whether it passed.
    fn run(&self, what: &str, seconds: u64, env: &[(&str, String)]) -> Outcome {
        let logs = root().join("target/soak");
        fs::create_dir_all(&logs)?;
        let log = logs.join(format!("{what}.log"));
        let mut command = Command::new(&self.command);
        command.args(["--exact", self.name, "--nocapture"]).envs(env.iter().cloned());
        command.env("SOAK_SECONDS", seconds.to_string());
        let limit = Duration::from_secs(seconds) + GRACE;
        let ended = run::limited(&mut command, &log, limit, stress::show)?;
        println!("{what}: {}, {:.1} s; {}", ended.verdict(), ended.seconds, log.display());
        Ok(ended.is_success())
    }
}
