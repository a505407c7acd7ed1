//! Two goroutines on two processors, at the same time.

use goroutines::{WaitGroup, go, runtime};
use goroutines_examples::{alphabet, args};

const HELP: &str = "parallelism: two goroutines display the alphabet on two processors
usage: parallelism [--help]
The letters of the two may come in any order, and mixed.";

#[goroutines::main]
fn main() {
    let _ = args(HELP);

    // Allocate two logical processors for the scheduler to use.
    runtime::gomaxprocs(2);

    // wg is used to wait for the program to finish: a count of two, one for each goroutine.
    let wg = WaitGroup::new();
    wg.add(2);

    println!("Start Goroutines");

    for first in ['a', 'A'] {
        let wg = wg.clone();
        go(move || {
            alphabet(first);

            // Tell main we are done.
            wg.done();
        });
    }

    // Wait for the goroutines to finish.
    println!("Waiting To Finish");
    wg.wait();

    println!("\nTerminating Program");
}
