//! HTTP servers that answer 'Hello, World!', driven by `wrk`, in one interleaved run.
//!
//! Each server is a program of its own that prints where it listens; all give the same bytes (what
//! `run.rs` checks first). For each number of processors, of CPU-burning tasks beside the server, and
//! of connections, they run one after the other, A B C A B C …; a server is started anew for each run.
//! `wrk` has one thread, on the same CPUs.
//!
//! `args.rs`: the command line. `servers.rs`: building the servers. `run.rs`: one run of one of them.
//! `report.rs`: the tables.

mod args;
mod report;
mod run;
mod servers;

use args::Args;
use goroutines_bench::noise::Ticks;
use report::Row;
use run::Setting;
use servers::Server;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{}", args::HELP);
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            eprintln!("http: {e}\n\n{}", args::HELP);
            return ExitCode::from(2);
        }
    };
    if !run::there_is_wrk() {
        eprintln!("http: there is no `wrk` on PATH (Debian: apt-get install wrk)");
        return ExitCode::FAILURE;
    }
    let servers = servers::build(&args);
    if servers.is_empty() {
        eprintln!("http: nothing to run");
        return ExitCode::FAILURE;
    }
    let mut rows = Vec::new();
    for &procs in &args.procs {
        for &hogs in &args.hogs {
            for &conns in &args.conns {
                let setting = Setting { procs, hogs, conns, seconds: args.seconds };
                rows.push(interleaved(&servers, setting, args.runs));
            }
        }
    }
    print!("{}", report::markdown(&servers, &rows, args.runs, args.seconds));
    if rows.iter().any(Row::has_failures) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// All servers in turn, `runs` times.
fn interleaved(servers: &[Server], setting: Setting, runs: usize) -> Row {
    let mut row = Row::new(setting, servers.len());
    let before = Ticks::now();
    for round in 1..=runs {
        eprintln!("{setting}: round {round} of {runs}");
        for (i, server) in servers.iter().enumerate() {
            row.add(i, run::once(server, setting));
        }
    }
    row.others = before.map_or(0.0, Ticks::others_since);
    row
}
