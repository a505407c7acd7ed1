//! The same work on goroutines, Go, tokio, smol, may and OS threads, in one interleaved run:
//! `cargo xtask bench`.
//!
//! Each peer has programs of its own. Most have the command line `PROGRAM CASE PROCS` and print a line a
//! figure, `ns 12.3` or `late µs 4.5` (or `none`, where they have no such case); some are servers. For each case and
//! number of processors they run one after the other, A B C A B C …, so that what else the machine does
//! meets all of them. The table has medians; figures of different runs of this program don't compare.
//!
//! `args.rs`: the command line and the cases. `peers.rs`: building the programs. `run.rs`: one run of
//! one of them; `served.rs`: of a server. `rows.rs`: what was measured; `report.rs`, `chart.rs`, `json.rs`: as Markdown, pictures
//! and JSON. `docs.rs`: in docs/benchmarks.md. `instructions.rs`: counting
//! instead of measuring. `lib.rs`: what knows nothing of cases.

mod args;
mod chart;
mod docs;
mod instructions;
mod json;
mod peers;
mod report;
mod rows;
mod run;
mod served;

use args::Args;
use goroutines_bench::machine::Machine;
use goroutines_bench::noise::Ticks;
use peers::{Built, Peer};
use rows::Measured;
use std::path::Path;
use std::process::ExitCode;
use std::{fs, io};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let args = match Args::parse(words.iter().cloned()) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{}", args::help());
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            eprintln!("goroutines-bench: {e}\n\n{}", args::help());
            return ExitCode::from(2);
        }
    };
    let command = format!("cargo xtask bench {}", words.join(" "));
    let outcome = if args.instructions {
        instructions::measure(args.docs)
    } else {
        measure(&args, command.trim())
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("goroutines-bench: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and reports; whether nothing failed.
fn measure(args: &Args, command: &str) -> io::Result<bool> {
    let Built { peers, missing } = peers::build(&args.cases);
    if peers.is_empty() {
        return Err(io::Error::other("nothing to run"));
    }
    let machine = Machine::look();
    let mut all = Vec::new();
    for &case in &args.cases {
        for &procs in &args.procs {
            all.push(interleaved(&peers, case, procs, args.runs));
            // A long series that is ended early has left something.
            write(&args.json, &json::json(&machine, command, &peers, &all)?)?;
        }
    }
    let Machine { date, commit, .. } = &machine;
    let head = format!(
        "`{command}` on {date}, at {commit}; runs of each: {}, interleaved; {}\n\n{}",
        args.runs,
        machine.sentence(),
        report::missing(&missing),
    );
    print!("{head}{}", report::markdown(&peers, &all, str::to_owned));
    docs::write_charts(&args.charts, &peers, &all)?;
    if args.docs {
        docs::write(&head, &peers, &all)?;
    }
    Ok(!all.iter().any(Measured::has_failures))
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text).map_err(|e| io::Error::other(format!("{}: {e}", path.display())))
}

/// All peers in turn, `runs` times. One that has no such case, or hung, is not started again.
fn interleaved(peers: &[Peer], case: &'static str, procs: u32, runs: usize) -> Measured {
    let mut measured = Measured::new(case, procs, peers.len());
    let mut out = vec![false; peers.len()];
    let before = Ticks::now();
    for round in 1..=runs {
        eprintln!("{case}, {procs} procs: round {round} of {runs}");
        for (i, peer) in peers.iter().enumerate() {
            if out[i] {
                continue;
            }
            let outcome = run::once(peer, case, procs);
            out[i] = outcome.is_final();
            measured.add(i, outcome);
        }
    }
    measured.others = before.map_or(0.0, Ticks::others_since);
    measured
}
