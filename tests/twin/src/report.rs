//! The test binary's `main`: libtest's manners.

use crate::intended::INTENDED;
use crate::{Row, Verdict, child, examine};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// What the command line says.
struct Args {
    filters: Vec<String>,
    skip: Vec<String>,
    exact: bool,
    list: bool,
    jobs: usize,
    times: usize,
}

/// Runs the rows of the test binary `family`: those that the command line selects, as libtest's does
/// (`FILTER…`, `--exact`, `--skip`, `--list`, `--test-threads`). `TWIN_TIMES=20` runs each twenty
/// times.
#[must_use]
pub fn run_rows(family: &str, rows: &[Row]) -> ExitCode {
    run_rows_by(10, family, rows)
}

/// The same, for rows that wait even more than they compute.
#[must_use]
pub fn run_waiting_rows(family: &str, rows: &[Row]) -> ExitCode {
    run_rows_by(15, family, rows)
}

/// `jobs` rows for each CPU run at the same time.
fn run_rows_by(jobs: usize, family: &str, rows: &[Row]) -> ExitCode {
    if let Some(code) = child::main(rows) {
        return code;
    }
    let args = args(jobs);
    let chosen: Vec<&Row> = rows.iter().filter(|row| args.wants(&row.name)).collect();
    if args.list {
        for row in &chosen {
            println!("{}: test", row.name);
        }
        return ExitCode::SUCCESS;
    }
    let mut wrong = misnamed(family, rows);
    println!("\nrunning {} tests", chosen.len() + wrong.len());
    let start = Instant::now();
    let verdicts = examine_all(family, &chosen, &args);
    let mut count = [0; 4];
    for (row, verdict) in chosen.iter().zip(verdicts) {
        let at = match verdict {
            Verdict::Same => 0,
            Verdict::Paid | Verdict::Owed(_) => 3,
            Verdict::Skipped(_) => 2,
            Verdict::Differs(text) => {
                wrong.push((row.name.clone(), text));
                1
            }
        };
        count[at] += 1;
    }
    for (name, text) in &wrong {
        println!("\n---- {name} ----\n{text}");
    }
    let [passed, _, skipped, owed] = count;
    let word = if wrong.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {} failed; {skipped} ignored; {owed} owed; {} filtered out; \
         finished in {:.2}s\n",
        wrong.len(),
        rows.len() - chosen.len(),
        start.elapsed().as_secs_f32()
    );
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(101) }
}

/// Names that two rows have, and entries in the table of what is intended that no row has.
fn misnamed(family: &str, rows: &[Row]) -> Vec<(String, String)> {
    let twice =
        rows.iter().enumerate().filter(|(i, row)| rows[..*i].iter().any(|r| r.name == row.name));
    let twice = twice.map(|(_, row)| (row.name.clone(), "two rows have this name".to_owned()));
    let ours = INTENDED.iter().filter_map(|i| i.row.strip_prefix(family)?.strip_prefix("::"));
    let nobodys = ours.filter(|name| !rows.iter().any(|row| row.name == **name));
    twice
        .chain(nobodys.map(|name| (name.to_owned(), "intended, but there is no such row".into())))
        .collect()
}

fn examine_all(family: &str, rows: &[&Row], args: &Args) -> Vec<Verdict> {
    let verdicts: Vec<OnceLock<Verdict>> = rows.iter().map(|_| OnceLock::new()).collect();
    let examine = |at: &usize| {
        let verdict = examine_often(family, rows[*at], args.times);
        println!("test {} ... {}", rows[*at].name, word(&verdict));
        let again = verdicts[*at].set(verdict);
        assert!(again.is_ok(), "a row is examined once");
    };
    let (alone, beside): (Vec<_>, Vec<_>) = (0..rows.len()).partition(|at| rows[*at].alone);
    let (next, turns) = (AtomicUsize::new(0), turns(rows, &beside));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs {
            scope.spawn(|| {
                while let Some(turn) = turns.get(next.fetch_add(1, Ordering::Relaxed)) {
                    turn.iter().for_each(examine);
                }
            });
        }
    });
    alone.iter().for_each(examine);
    verdicts.into_iter().map(|v| v.into_inner().expect("each row was examined")).collect()
}

/// What one job examines in turn: the rows of a series, which come first as they take longest, or one row.
fn turns(rows: &[&Row], beside: &[usize]) -> Vec<Vec<usize>> {
    let mut series = BTreeMap::<&str, Vec<usize>>::new();
    let mut single = Vec::new();
    for at in beside {
        match rows[*at].series {
            Some(name) => series.entry(name).or_default().push(*at),
            None => single.push(vec![*at]),
        }
    }
    series.into_values().chain(single).collect()
}

fn examine_often(family: &str, row: &Row, times: usize) -> Verdict {
    let mut verdict = examine(family, row);
    for _ in 1..times {
        if !matches!(verdict, Verdict::Same | Verdict::Paid) {
            break;
        }
        verdict = examine(family, row);
    }
    verdict
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Same => "ok".into(),
        Verdict::Differs(_) => "FAILED".into(),
        Verdict::Skipped(why) => format!("ignored, {why}"),
        Verdict::Owed(text) => format!("owed: {}", text.lines().next().unwrap_or_default()),
        Verdict::Paid => "owed, but it is right".into(),
    }
}

impl Args {
    fn wants(&self, name: &str) -> bool {
        let is = |filter: &String| if self.exact { name == filter } else { name.contains(filter) };
        (self.filters.is_empty() || self.filters.iter().any(is)) && !self.skip.iter().any(is)
    }
}

/// The command line's; rows mostly sleep, so there are `jobs` for each CPU.
fn args(jobs: usize) -> Args {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let times = std::env::var("TWIN_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    let (filters, skip) = (Vec::new(), Vec::new());
    let mut args = Args { filters, skip, exact: false, list: false, jobs: cpus * jobs, times };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--exact" => args.exact = true,
            "--list" => args.list = true,
            "--skip" => args.skip.extend(words.next()),
            "--test-threads" => args.jobs = words.next().and_then(|n| n.parse().ok()).unwrap_or(1),
            "--format" | "--color" | "--logfile" | "-Z" => drop(words.next()),
            _ => match word.strip_prefix("--test-threads=") {
                Some(jobs) => args.jobs = jobs.parse().unwrap_or(1),
                None if word.starts_with('-') => (),
                None => args.filters.push(word),
            },
        }
    }
    args
}
