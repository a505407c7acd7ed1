//! The prime sieve of Go's first examples: a chain of goroutines, one for each prime, joined by channels
//! without capacity.
//!
//! The first goroutine sends 2, 3, 4 … to the second, and so on; each prime puts one more filter at the
//! chain's end. When main has enough it drops its receiver: the last filter's send fails, so it ends and
//! drops its own receiver, and so the whole chain ends. (In Go the chain goes on until main returns.)

use goroutines::chan::{Receiver, bounded};
use goroutines::go;
use goroutines_examples::{Args, Long, goroutines_left, report};
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

const HELP: &str = "prime_sieve: prints the first primes, found by a chain of goroutines
usage: prime_sieve [--count N]
  --count N   how many primes (default 100)
A goroutine a prime. Says on stderr how many there were, and how many are left at the end.";

#[goroutines::main]
fn main() -> ExitCode {
    let mut count = 100;
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("count") => count = args.number(0),
            _ => args.unknown(),
        }
    }

    let printed = print_primes(count);
    eprintln!("a chain of {} goroutines, {} left", count + 1, goroutines_left());
    report("prime_sieve", printed)
}

fn print_primes(count: usize) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut numbers = generate();
    for _ in 0..count {
        let prime = numbers.recv().map_err(io::Error::other)?;
        writeln!(out, "{prime}")?;
        numbers = filter(numbers, prime);
    }
    out.flush()
}

/// Sends 2, 3, 4 … until nobody receives.
fn generate() -> Receiver<u64> {
    let (send, numbers) = bounded(0);
    go(move || (2..).try_for_each(|n| send.send(n)));
    numbers
}

/// Passes on the numbers that `prime` does not divide, until nobody receives.
fn filter(numbers: Receiver<u64>, prime: u64) -> Receiver<u64> {
    let (send, rest) = bounded(0);
    go(move || numbers.iter().filter(|n| n % prime != 0).try_for_each(|n| send.send(n)));
    rest
}
