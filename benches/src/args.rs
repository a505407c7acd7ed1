//! The command line.

use goroutines_bench::build::target_dir;
use lexopt::prelude::{Long, Short};
use lexopt::{Error, Parser};
use std::path::PathBuf;

/// The cases: name, what is measured. What begins with `floor_` is run on the program `floor` alone.
pub(crate) const CASES: &[(&str, &str)] = &[
    ("spawn_join", "start one task and wait for it, again and again; ns a task"),
    ("spawn_many", "start a million tasks, then wait for all; ns a task, cold (threads: 20,000)"),
    ("yield_two", "two tasks yield; time / all yields"),
    ("yield_many", "1,000 tasks yield; time / all yields"),
    (
        "chan_rendezvous",
        "two tasks send one message to and fro over two channels without capacity; ns a round trip \
         (tokio, smol: capacity 1; may: no bound)",
    ),
    ("chan_one_one", "one sender, one receiver, capacity 128; ns a message (may: no bound)"),
    (
        "chan_four_four",
        "4 senders, 4 receivers, a channel of capacity 128; ns a message (tokio: async-channel's; \
         may: no bound)",
    ),
    ("chan_unbounded", "one sender, one receiver, no bound; ns a message"),
    (
        "select_rendezvous",
        "4 senders, each with a channel without capacity, and one that selects; ns a message \
         (tokio, smol: capacity 1)",
    ),
    ("select_buffered", "the same with capacity 128 (may: no bound, and a `cqueue` that selects)"),
    (
        "after_func",
        "one task a processor arms a call an hour off and stops it; time / all (tokio, smol, may: \
         a task that sleeps, cancelled)",
    ),
    (
        "timer_new",
        "one task a processor arms a timer an hour off and stops it; time / all (tokio, smol: a \
         future polled once, dropped; threads: `after()`, dropped)",
    ),
    ("parked_bytes", "resident bytes a parked task that called one function and holds 64 bytes"),
    ("parked_ns", "making and parking each of those 100,000 (may: 10,000; threads: 2,000)"),
    (
        "parked_million_bytes",
        "a million such tasks, which wait at one gate: resident bytes each (may, threads: none, it \
         is too many)",
    ),
    ("parked_million_create", "starting them until all wait; ms in all, cold"),
    ("parked_million_wake", "opening the gate until all have ended; ms in all"),
    (
        "skynet",
        "a tree of tasks with 10 children each, which send their sums up through channels of \
         capacity 10, one a family; ns a leaf of a million (may: 10,000 leaves, no bound; threads: \
         1,000)",
    ),
    (
        "fib",
        "the 30th Fibonacci number: each call from 2 on starts a task for the one term, computes \
         the other and joins; ns a start of 1.3 million (may: the 20th; threads: the 16th; Go \
         joins by a channel)",
    ),
    (
        "mutex_eight",
        "8 tasks lock one mutex and add 1; ns a lock (goroutines, threads: std's; Go: sync's; \
         tokio, smol: the async one; may: its own)",
    ),
    (
        "sha1",
        "the program of `examples/time_slicing.rs`: two tasks hash 50,000 numbers each and print them into \
         /dev/null, a write a line; ms in all (Rust: the crate sha1, `println!`; Go: crypto/sha1, \
         `fmt.Printf`)",
    ),
    ("sha1_many", "the same by 50,000 tasks, a number each; ms in all, cold"),
    (
        "blocking",
        "64 tasks each make a foreign call that blocks its thread for 100 ms; ms in all, cold \
         (goroutines: `runtime::blocking`; tokio: `spawn_blocking`; smol: `unblock`; may: a \
         thread each, waited for; Go knows of the call)",
    ),
    ("floor_switch", "a bare switch of stack and thread pointer; ns"),
    (
        "floor_futex",
        "one thread wakes another, which sleeps in a futex; ns one way (1 processor: both on one \
         CPU; else on two)",
    ),
    ("floor_page", "the first touch of a page of 4 KiB; ns"),
    ("floor_syscall", "an empty system call; ns"),
    (
        "http_64",
        "an HTTP server on 64 connections, loaded with wrk for 2 s; `_p99`: latency, `_cpu`: a request",
    ),
    ("http_1000", "`http_64` on 1,000 connections"),
    (
        "http_hogs_64",
        "`http_64`, and in the server 4 tasks that compute and never yield (floor, threads: \
         OS threads)",
    ),
    (
        "echo_100",
        "64 bytes to a server and back, over and over on each of 100 connections, for 2 s",
    ),
    ("echo_1000", "`echo_100` on 1,000 connections"),
    ("sleepers_1k", "1,000 tasks sleep five times each for 1 to 100 ms; `_late` in the mean"),
    ("sleepers_10k", "`sleepers_1k` with 10,000 tasks"),
    ("sleepers_100k", "`sleepers_1k` with 100,000 tasks"),
];

/// What to measure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) cases: Vec<&'static str>,
    pub(crate) procs: Vec<u32>,
    pub(crate) runs: usize,
    pub(crate) json: PathBuf,
    pub(crate) charts: PathBuf,
    /// Whether `docs/benchmarks.md` is rewritten.
    pub(crate) docs: bool,
    /// Whether instructions are counted, and nothing else done.
    pub(crate) instructions: bool,
}

impl Args {
    /// None if help was asked for.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let cases = CASES.iter().map(|(name, _)| *name).collect();
        let charts = target_dir().join("bench");
        let json = charts.join("bench.json");
        let (docs, instructions) = (false, false);
        let mut args = Self { cases, procs: vec![1, 2], runs: 5, json, charts, docs, instructions };
        let mut parser = Parser::from_args(words);
        while let Some(arg) = parser.next().map_err(problem)? {
            match arg {
                Long("help") | Short('h') => return Ok(None),
                Long("only") => args.cases = list(&value(&mut parser)?, case)?,
                Long("procs") => {
                    args.procs = list(&value(&mut parser)?, |n| positive(n).map(|n| n as u32))?;
                }
                Long("runs") => args.runs = positive(&value(&mut parser)?)?,
                Long("json") => args.json = value(&mut parser)?.into(),
                Long("charts") => args.charts = value(&mut parser)?.into(),
                Long("docs") => args.docs = true,
                Long("instructions") => args.instructions = true,
                other => return Err(problem(other.unexpected())),
            }
        }
        Ok(Some(args))
    }
}

/// The value of the option that was read last.
fn value(parser: &mut Parser) -> Result<String, String> {
    parser.value().and_then(|value| Ok(value.into_string()?)).map_err(problem)
}

/// What is wrong with the command line.
fn problem(e: Error) -> String {
    match e {
        Error::MissingValue { option: Some(option) } => format!("{option}: a value is missing"),
        Error::UnexpectedOption(option) => format!("{option}: unknown option"),
        Error::UnexpectedArgument(word) => format!("{}: unknown option", word.display()),
        e => e.to_string(),
    }
}

fn list<T>(text: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(item).collect()
}

fn case(name: &str) -> Result<&'static str, String> {
    let found = CASES.iter().find(|(case, _)| *case == name);
    found.map(|(case, _)| *case).ok_or_else(|| format!("{name}: unknown case"))
}

fn positive(text: &str) -> Result<usize, String> {
    let n = text.parse().ok().filter(|n| (1..=1000).contains(n));
    n.ok_or_else(|| format!("{text}: not a number from 1 to 1000"))
}

/// What `--help` prints.
pub(crate) fn help() -> String {
    let mut text = "\
usage: cargo xtask bench [--only CASE,...] [--procs 1,2] [--runs K] [--json FILE] [--charts DIR]
                         [--docs]
       cargo xtask bench --instructions [--docs]

Builds the programs of benches/peers (Go's if `go` is on PATH or in $GO), runs them in turn K times
(5 unless said) for each case and number of processors, and prints a Markdown table: medians, least
and greatest, and goroutines' figure divided by Go's and by the best of the others. All values go to
FILE, and a chart of each row to DIR (target/bench/bench.json and target/bench unless said). A run of
more than 60 s is killed.
  --docs  rewrites the generated part of docs/benchmarks.md, and the charts in docs/bench
  --instructions  prints how many instructions some operations take, counted by valgrind
Exit status: 0, 1 if a run failed, 2 for a wrong command line.

Cases:"
        .to_owned();
    for (name, what) in CASES {
        text += &format!("\n  {name:21}  {what}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Args;

    fn parse(line: &str) -> Result<Option<Args>, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn all_options() {
        let line = "--only yield_two,spawn_join --procs 4 --runs 3 --json x --charts y --docs --instructions";
        let cases = vec!["yield_two", "spawn_join"];
        let (json, charts) = ("x".into(), "y".into());
        let (docs, instructions, procs) = (true, true, vec![4]);
        let wanted = Args { cases, procs, runs: 3, json, charts, docs, instructions };
        assert_eq!(parse(line), Ok(Some(wanted)));
    }

    #[test]
    fn wrong_ones() {
        for (line, problem) in [
            ("--only nothing", "nothing: unknown case"),
            ("--procs 0", "0: not a number from 1 to 1000"),
            ("--runs", "--runs: a value is missing"),
            ("--runs x", "x: not a number from 1 to 1000"),
            ("x", "x: unknown option"),
            ("--y", "--y: unknown option"),
            ("-z", "-z: unknown option"),
        ] {
            assert_eq!(parse(line), Err(problem.to_owned()), "{line}");
        }
        assert_eq!(parse("--runs 2 --help"), Ok(None));
    }
}
