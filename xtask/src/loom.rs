//! `cargo xtask loom`: the models.

use crate::args::{Args, Value, unknown};
use crate::cargo::{built, cargo, root};
use crate::{Outcome, run};
use std::fs;
use std::process::Command;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: cargo xtask loom [NAME]

Checks the models in tests/models, one after another, or those with NAME in their name.

  LOOM_MAX_PREEMPTIONS  how often a thread may be preempted (default 3); each more takes ten times
                        as long
";

/// A model that takes longer has too many states.
const LIMIT: Duration = Duration::from_secs(600);

pub(crate) fn main(mut args: Args) -> Outcome {
    let mut wanted = String::new();
    while let Some(arg) = args.next()? {
        match arg {
            Value(name) if wanted.is_empty() => wanted = name.to_string_lossy().into_owned(),
            _ => return Err(unknown(arg)),
        }
    }
    let target = root().join("target/loom");
    let mut build = cargo(&["test", "--release", "-p", "goroutines-models", "--lib", "--no-run"]);
    build.env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", &target);
    let programs = built(&mut build)?;
    let Some(program) = programs.first() else { return Err("no program was built".into()) };

    let list = Command::new(program).args(["--list", "--format", "terse"]).output()?;
    let list = String::from_utf8(list.stdout)?;
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    let names: Vec<&str> = names.filter(|name| name.contains(&wanted)).collect();
    if names.is_empty() {
        return Err(format!("no model is named like {wanted:?}").into());
    }
    let preemptions = std::env::var("LOOM_MAX_PREEMPTIONS").unwrap_or_else(|_| "3".into());
    let log = target.join("model.log");
    let mut failed = 0;
    for name in &names {
        let mut model = Command::new(program);
        model.args(["--exact", name]).env("LOOM_MAX_PREEMPTIONS", &preemptions);
        model.env("RUST_BACKTRACE", "0");
        let ended = run::limited(&mut model, &log, LIMIT, |_| {})?;
        println!("{:8.1} s  {name}: {}", ended.seconds, ended.verdict());
        if !ended.is_success() {
            failed += 1;
            print!("{}", fs::read_to_string(&log)?);
        }
    }
    println!("{} models, {failed} failed", names.len());
    Ok(failed == 0)
}
