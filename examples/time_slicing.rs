//! Two goroutines share one processor in time slices.

use goroutines::{WaitGroup, go, runtime};
use goroutines_examples::{Args, Long, hex};
use sha1::{Digest, Sha1};

const HELP: &str = "time_slicing: two goroutines hash numbers on one processor
usage: time_slicing [--count N]
  --count N   how many numbers each hashes (default 10; with 50000 the goroutines take turns)";

#[goroutines::main]
fn main() {
    let mut count = 10;
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("count") => count = args.number(0),
            _ => args.unknown(),
        }
    }

    // Allocate one logical processor for the scheduler to use.
    runtime::gomaxprocs(1);

    // wg is used to manage concurrency.
    let wg = WaitGroup::new();
    wg.add(2);

    println!("Create Goroutines");

    // Create two goroutines and manage their lifecycle here.
    for prefix in ["A", "B"] {
        let wg = wg.clone();
        go(move || {
            print_hashes(prefix, count);
            wg.done();
        });
    }

    // Wait for the goroutines to finish.
    println!("Waiting To Finish");
    wg.wait();

    println!("Terminating Program");
}

/// Calculates the SHA-1 hash of each number from 1 to `count` and prints it.
fn print_hashes(prefix: &str, count: usize) {
    for i in 1..=count {
        let sum = Sha1::digest(i.to_string());
        println!("{prefix}: {i:05}: {}", hex(&sum));
    }
    println!("Completed {prefix}");
}
