//! The same work on goroutines, Go, tokio, smol, may and OS threads, in one interleaved run.
//!
//! Each peer is a program of its own, with the command line `PROGRAM CASE PROCS`; it prints one line,
//! `ns 12.3` or `bytes 4567.8` (or `none`, where it has no such case). For each case and number of
//! processors they run one after the other, A B C A B C …, so that what else the machine does meets
//! all of them. The table has medians; figures of different runs of this program don't compare.
//!
//! `args.rs`: the command line and the cases. `peers.rs`: building the programs. `run.rs`: one run of
//! one of them. `report.rs`: the table and the JSON. What other runners use too is in `lib.rs`.

mod args;
mod peers;
mod report;
mod run;

use args::Args;
use goroutines_bench::noise::Ticks;
use peers::Peer;
use report::Row;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
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
    let peers = peers::build();
    if peers.is_empty() {
        eprintln!("goroutines-bench: nothing to run");
        return ExitCode::FAILURE;
    }
    let mut rows = Vec::new();
    for &case in &args.cases {
        for &procs in &args.procs {
            rows.push(interleaved(&peers, case, procs, args.runs));
        }
    }
    print!("{}", report::markdown(&peers, &rows, args.runs));
    if let Some(path) = &args.json
        && let Err(e) = std::fs::write(path, report::json(&peers, &rows))
    {
        eprintln!("goroutines-bench: {path}: {e}");
        return ExitCode::FAILURE;
    }
    let failed = rows.iter().any(|row| row.cells.iter().any(|cell| !cell.failures.is_empty()));
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// All peers in turn, `runs` times. One that has no such case, or hung, is not started again.
fn interleaved(peers: &[Peer], case: &'static str, procs: u32, runs: usize) -> Row {
    let mut row = Row::new(case, procs, peers.len());
    let mut out = vec![false; peers.len()];
    let before = Ticks::now();
    for round in 1..=runs {
        eprintln!("{case}, {procs} procs: round {round} of {runs}");
        for (i, peer) in peers.iter().enumerate() {
            if out[i] {
                continue;
            }
            let outcome = run::once(&peer.program, case, procs);
            out[i] = outcome.is_final();
            row.add(i, outcome);
        }
    }
    row.others = before.map_or(0.0, Ticks::others_since);
    row
}
