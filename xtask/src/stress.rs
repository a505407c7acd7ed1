//! `cargo xtask stress`: the stress test, on several numbers of processors.

use crate::args::{Args, Long, unknown, value};
use crate::cargo::{built, cargo, root};
use crate::{Outcome, run as running};
use std::fs;
use std::process::Command;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: cargo xtask stress [--seconds N] [--procs 1,2,4,8] [--release]

Runs tests/examples/stress with GOMAXPROCS as each of the list, N seconds each (default 10). One
that takes a minute longer is shown by gdb, if that is there, and killed.
";

/// How much longer than it should a run may take.
const GRACE: Duration = Duration::from_secs(60);
/// How much of a failed run's output is shown.
const LINES: usize = 200;

pub(crate) fn main(mut args: Args) -> Outcome {
    let (mut seconds, mut procs, mut release) = (10, "1,2,4,8".to_owned(), false);
    while let Some(arg) = args.next()? {
        match arg {
            Long("seconds") => seconds = value(&mut args)?.parse()?,
            Long("procs") => procs = value(&mut args)?,
            Long("release") => release = true,
            _ => return Err(unknown(arg)),
        }
    }
    run(seconds, &procs, release)
}

/// Runs it with GOMAXPROCS as each of the list; whether all is well.
pub(crate) fn run(seconds: u64, procs: &str, release: bool) -> Outcome {
    let procs: Vec<u32> = procs.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let mut build = cargo(&["build", "-p", "goroutines-tests", "--example", "stress"]);
    if release {
        build.arg("--release");
    }
    let programs = built(&mut build)?;
    let Some(program) = programs.last() else { return Err("no program was built".into()) };
    let logs = root().join("target/stress");
    fs::create_dir_all(&logs)?;

    let mut good = true;
    for procs in procs {
        let log = logs.join(format!("procs-{procs}.log"));
        let mut stress = Command::new(program);
        stress.args(["--seconds", &seconds.to_string()]).env("GOMAXPROCS", procs.to_string());
        let limit = Duration::from_secs(seconds) + GRACE;
        let ended = running::limited(&mut stress, &log, limit, show)?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let last = text.lines().next_back().unwrap_or_default();
        println!("procs {procs}: {}, {:.1} s: {last}", ended.verdict(), ended.seconds);
        if !ended.is_success() {
            good = false;
            running::show_end(&log, LINES)?;
        }
    }
    Ok(good)
}

/// Prints where all threads of a process are.
pub(crate) fn show(pid: u32) {
    println!("process {pid} takes too long");
    let pid = pid.to_string();
    let gdb =
        Command::new("gdb").args(["-p", &pid, "-batch", "-ex", "thread apply all bt"]).output();
    match gdb {
        Ok(output) => print!("{}", String::from_utf8_lossy(&output.stdout)),
        Err(e) => println!("no gdb: {e}"),
    }
}
