//! Factors numbers in a pipeline, as in Go's blog "Pipelines and cancellation": a goroutine reads lines, some
//! factor them, and main collects the results.
//!
//! The stages are joined by bounded channels, so none gets far ahead of the next. Each ends when the channel
//! that it receives from does, which is when the stage before has ended and dropped its sender. They run in
//! their group's context: when one of them fails, or the time is over, whatever the others wait for ends. So
//! however it ends, all of it ends.

use goroutines::chan::{Receiver, Sender, bounded};
use goroutines::context::{self, Context, ContextError};
use goroutines::group::ErrGroup;
use goroutines_examples::{Args, Long, Value, goroutines_left, report, usage};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Cursor, Write};
use std::process::ExitCode;
use std::time::Duration;

const HELP: &str = "pipeline: the prime factors of numbers, as factor(1) prints them
usage: pipeline [FILE] [--workers N] [--timeout MILLISECONDS]
  FILE                    a number a line (default: 100 numbers from 1000000000000 on)
  --workers N             goroutines that factor (default 4)
  --timeout MILLISECONDS  how long it may take (default 60000)
The first line that is no number ends it all, and so does the time. Says on stderr how many goroutines
there were, and how many are left at the end.";

/// Messages that may wait between two stages.
const AHEAD: usize = 16;

/// The number of a line, and what is in it.
type Line = (usize, String);

type Problem = Box<dyn Error + Send + Sync>;

#[goroutines::main]
fn main() -> ExitCode {
    let (mut workers, mut timeout, mut names) = (4, 60_000, Vec::new());
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("workers") => workers = args.number(1),
            Long("timeout") => timeout = args.number(0) as u64,
            Value(name) => names.push(name),
            _ => args.unknown(),
        }
    }
    let timeout = Duration::from_millis(timeout);
    let input = match names.as_slice() {
        [] => some_numbers(),
        [name] => match File::open(name) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(e) => return report("pipeline", Err(format!("{}: {e}", name.display()))),
        },
        _ => usage("pipeline takes one file", HELP),
    };

    let outcome = run(input, workers, timeout).and_then(|found| print(&found));
    eprintln!("{} goroutines, {} left", workers + 1, goroutines_left());
    report("pipeline", outcome)
}

fn some_numbers() -> Box<dyn BufRead + Send> {
    let text: String = (0..100).map(|n| format!("{}\n", 1_000_000_000_000_u64 + n)).collect();
    Box::new(Cursor::new(text))
}

/// The results by line. The first error of any stage, when all have ended.
fn run(
    input: Box<dyn BufRead + Send>,
    workers: usize,
    timeout: Duration,
) -> Result<BTreeMap<usize, String>, Problem> {
    let (in_time, _) = Context::background().with_timeout(timeout);
    let (group, _) = ErrGroup::with_context(&in_time);

    let (send_lines, lines) = bounded(AHEAD);
    group.go(move || read(input, &send_lines));

    let (send_results, results) = bounded(AHEAD);
    for _ in 0..workers {
        let (lines, send_results) = (lines.clone(), send_results.clone());
        group.go(move || factor_lines(&lines, &send_results));
    }
    // The workers have their own: when they have ended, the results end.
    drop((lines, send_results));

    let found = results.iter().collect();
    group.wait()?;
    Ok(found)
}

/// The first stage.
fn read(input: impl BufRead, lines: &Sender<Line>) -> Result<(), Problem> {
    for (i, line) in input.lines().enumerate() {
        let line = line.or_else(|e| {
            going_on()?; // if the context is done, that is why
            Err(Problem::from(format!("line {}: {e}", i + 1)))
        })?;
        if lines.send((i + 1, line)).is_err() {
            break;
        }
    }
    going_on()
}

/// The second stage, a worker's part of it.
fn factor_lines(lines: &Receiver<Line>, results: &Sender<Line>) -> Result<(), Problem> {
    for (i, line) in lines {
        let number = line.trim().parse().map_err(|_| format!("line {i}: {line:?} is no number"))?;
        let factors = factors(number)?;
        let text = factors.iter().map(|factor| format!(" {factor}")).collect::<String>();
        if results.send((i, format!("{number}:{text}"))).is_err() {
            break;
        }
    }
    going_on()
}

/// Where something has ended: whether that is because the context is done.
fn going_on() -> Result<(), Problem> {
    Ok(context::current().check()?)
}

/// The prime factors of a number. Computing is not ended by a context: it has to ask.
fn factors(mut number: u64) -> Result<Vec<u64>, ContextError> {
    let context = context::current();
    let (mut found, mut divisor) = (Vec::new(), 2);
    while number > 1 {
        if divisor % 65_536 == 2 {
            context.check()?;
        }
        if divisor > number / divisor {
            divisor = number; // which is prime
        }
        if number.is_multiple_of(divisor) {
            found.push(divisor);
            number /= divisor;
        } else {
            divisor += 1;
        }
    }
    Ok(found)
}

fn print(found: &BTreeMap<usize, String>) -> Result<(), Problem> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    for line in found.values() {
        writeln!(out, "{line}")?;
    }
    Ok(out.flush()?)
}
