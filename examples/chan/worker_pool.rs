//! Jobs, results, and a number of workers, in two ways.
//!
//! * As a pool: N goroutines receive jobs from one channel and send results to another. A job that fails is
//!   a result too, and the others go on.
//! * With `--group`: a goroutine a job, of which an `ErrGroup` lets N run at a time. The first that fails
//!   ends it all.

use goroutines::chan::{bounded, unbounded};
use goroutines::context::Context;
use goroutines::go;
use goroutines::group::ErrGroup;
use goroutines_examples::{Args, Long, goroutines_left, usage};
use std::cmp::Reverse;
use std::fmt;
use std::ops::Range;
use std::process::ExitCode;

const HELP: &str = "worker_pool: finds the number with the longest Collatz sequence
usage: worker_pool [--below N] [--workers N] [--size N] [--bits N] [--group]
  --below N    of the numbers below this one (default 1000000)
  --workers N  how many jobs are worked on at a time (default 4)
  --size N     numbers a job (default 10000)
  --bits N     a number with more bits is an error, 64 at most (default 64; try 32)
  --group      a goroutine a job, in an ErrGroup, which the first error ends
A number is followed by its half if it is even, else by three times itself and one, until it is 1.";

/// Errors that are told in full.
const SHOWN: usize = 3;

/// The numbers to look at.
type Job = Range<u64>;

/// A number, and how many steps it takes to 1. The greatest is the longest, the first of them if several.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sequence {
    steps: u32,
    start: Reverse<u64>,
}

/// A sequence comes to a number that has more bits than allowed.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct TooLarge {
    start: u64,
    bits: u32,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the sequence of {} does not fit into {} bits", self.start, self.bits)
    }
}

#[goroutines::main]
fn main() -> ExitCode {
    let (mut below, mut workers, mut size, mut bits) = (1_000_000, 4, 10_000, 64);
    let mut in_group = false;
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("below") => below = args.number(2) as u64,
            Long("workers") => workers = args.number(1),
            Long("size") => size = args.number(1) as u64,
            Long("bits") => bits = args.number(1),
            Long("group") => in_group = true,
            _ => args.unknown(),
        }
    }
    let Some(bits) = u32::try_from(bits).ok().filter(|bits| *bits <= 64) else {
        usage("--bits takes a whole number, 64 at most", HELP);
    };

    let jobs = (1..below)
        .step_by(size as usize)
        .map(move |from| from..below.min(from.saturating_add(size)));
    let (longest, mut failed) = if in_group {
        match group(jobs, workers, bits) {
            Ok(longest) => (longest, Vec::new()),
            Err(e) => (None, vec![e]),
        }
    } else {
        pool(jobs, workers, bits)
    };

    if let Some(Sequence { steps, start: Reverse(start) }) = longest {
        println!("{start} takes {steps} steps");
    }
    failed.sort();
    for e in failed.iter().take(SHOWN) {
        eprintln!("worker_pool: {e}");
    }
    eprintln!("{} failed, {} goroutines left", failed.len(), goroutines_left());
    ExitCode::from(u8::from(!failed.is_empty()))
}

/// The longest of the jobs that succeeded, and the errors of those that failed.
fn pool<J>(mut jobs: J, workers: usize, bits: u32) -> (Option<Sequence>, Vec<TooLarge>)
where
    J: Iterator<Item = Job> + Send + 'static,
{
    let (send_jobs, to_do) = bounded(0);
    let (send_results, results) = bounded(workers);
    for _ in 0..workers {
        let (to_do, send_results) = (to_do.clone(), send_results.clone());
        go(move || to_do.iter().try_for_each(|job| send_results.send(longest(job, bits))));
    }
    // The workers have their own: when they have ended, the results end.
    drop(send_results);
    go(move || jobs.try_for_each(|job| send_jobs.send(job)));

    let (mut best, mut failed) = (None, Vec::new());
    for result in results {
        match result {
            Ok(sequence) => best = best.max(Some(sequence)),
            Err(e) => failed.push(e),
        }
    }
    (best, failed)
}

/// The longest, or the first error.
fn group<J>(jobs: J, workers: usize, bits: u32) -> Result<Option<Sequence>, TooLarge>
where
    J: Iterator<Item = Job>,
{
    let (group, context) = ErrGroup::with_context(&Context::background());
    group.set_limit(Some(workers));
    let (send_results, results) = unbounded();
    for job in jobs {
        if context.err().is_some() {
            break; // one has failed
        }
        let send_results = send_results.clone();
        // Waits while so many are worked on.
        group.go(move || {
            let _ = send_results.send(longest(job, bits)?);
            Ok(())
        });
    }
    group.wait()?;
    Ok(results.try_iter().max())
}

/// The longest sequence of those that start with one of the job's numbers.
fn longest(job: Job, bits: u32) -> Result<Sequence, TooLarge> {
    let first = Sequence { steps: 0, start: Reverse(job.start) };
    job.map(|start| collatz(start, bits)).try_fold(first, |best, one| Ok(best.max(one?)))
}

fn collatz(start: u64, bits: u32) -> Result<Sequence, TooLarge> {
    let most = u64::MAX >> (64 - bits);
    let (mut n, mut steps) = (start, 0);
    while n != 1 {
        n = if n % 2 == 0 {
            n / 2
        } else {
            let next = n.checked_mul(3).and_then(|n| n.checked_add(1));
            next.filter(|n| *n <= most).ok_or(TooLarge { start, bits })?
        };
        steps += 1;
    }
    Ok(Sequence { steps, start: Reverse(start) })
}
