//! The command line.

use crate::servers::NAMES;
use std::ffi::OsString;

pub(crate) const HELP: &str = "\
usage: http [--seconds S] [--conns 64,1000] [--hogs 0,4] [--procs 1,2] [--runs K] [--only NAME,...]
            [--go PATH]

Builds the example http_hello and the servers of benches/peers, drives each with wrk, in turn, and
prints Markdown tables of requests a second, latency and CPU time.
  --seconds S       of each run (default 5)
  --conns N,...     connections (default 64,1000)
  --hogs N,...      tasks in the server that burn CPU and never yield (default 0,4)
  --procs N,...     processors or worker threads of the server (default 1,2)
  --runs K          runs of each (default 3)
  --only NAME,...   of goroutines, go-http, go-raw, tokio, may, threads
  --go PATH         the `go` program, if it is not on PATH or in $GO
Exit status: 0, 1 if a run failed, 2 for a wrong command line.";

/// What to measure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    pub(crate) seconds: u32,
    pub(crate) conns: Vec<u32>,
    pub(crate) hogs: Vec<u32>,
    pub(crate) procs: Vec<u32>,
    pub(crate) runs: usize,
    pub(crate) only: Vec<&'static str>,
    pub(crate) go: Option<OsString>,
}

impl Args {
    /// None if help was asked for.
    pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let (conns, hogs, procs) = (vec![64, 1000], vec![0, 4], vec![1, 2]);
        let only = NAMES.to_vec();
        let mut args = Self { seconds: 5, conns, hogs, procs, runs: 3, only, go: None };
        while let Some(word) = words.next() {
            if word == "--help" || word == "-h" {
                return Ok(None);
            }
            let mut value = || words.next().ok_or_else(|| format!("{word}: a value is missing"));
            match word.as_str() {
                "--seconds" => args.seconds = number(&value()?, 1)?,
                "--conns" => args.conns = list(&value()?, |n| number(n, 1))?,
                "--hogs" => args.hogs = list(&value()?, |n| number(n, 0))?,
                "--procs" => args.procs = list(&value()?, |n| number(n, 1))?,
                "--runs" => args.runs = number(&value()?, 1)? as usize,
                "--only" => args.only = list(&value()?, name)?,
                "--go" => args.go = Some(value()?.into()),
                _ => return Err(format!("{word}: unknown option")),
            }
        }
        Ok(Some(args))
    }
}

fn list<T>(text: &str, item: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    text.split(',').map(item).collect()
}

fn name(text: &str) -> Result<&'static str, String> {
    let found = NAMES.iter().find(|name| **name == text);
    found.copied().ok_or_else(|| format!("{text}: no such server"))
}

fn number(text: &str, least: u32) -> Result<u32, String> {
    let n = text.parse().ok().filter(|n| (least..=10_000).contains(n));
    n.ok_or_else(|| format!("{text}: not a number from {least} to 10000"))
}

#[cfg(test)]
mod tests {
    use super::Args;

    fn parse(line: &str) -> Result<Option<Args>, String> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn all_options() {
        let line = "--seconds 2 --conns 1,2 --hogs 0 --procs 4 --runs 3 --only may,tokio --go /go";
        let args = parse(line).unwrap().unwrap();
        assert_eq!((args.seconds, args.conns, args.hogs), (2, vec![1, 2], vec![0]));
        assert_eq!((args.procs, args.runs, args.only), (vec![4], 3, vec!["may", "tokio"]));
        assert_eq!(args.go, Some("/go".into()));
    }

    #[test]
    fn wrong_ones() {
        for line in ["--only nothing", "--procs 0", "--runs", "--conns 1,", "x"] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert_eq!(parse("--runs 2 --help"), Ok(None));
    }
}
