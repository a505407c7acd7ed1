//! Two goroutines, one processor, a wait group.
//!
//! On one processor the goroutine started last runs first: it is in `runnext`, the slot in front of the
//! run queue. So the capitals come first, every time, as they do in Go.

use goroutines::{WaitGroup, go, runtime};
use goroutines_examples::{alphabet, args};

const HELP: &str = "orchestration: two goroutines display the alphabet on one processor
usage: orchestration [--help]";

#[goroutines::main]
fn main() {
    let _ = args(HELP);

    // Allocate one logical processor for the scheduler to use.
    runtime::gomaxprocs(1);

    // wg is used to manage concurrency.
    let wg = WaitGroup::new();
    wg.add(2);

    println!("Start Goroutines");

    // Create a goroutine for the lowercase letters.
    let lowercase = wg.clone();
    go(move || {
        alphabet('a');
        lowercase.done();
    });

    // Create a goroutine for the uppercase letters.
    let uppercase = wg.clone();
    go(move || {
        alphabet('A');
        uppercase.done();
    });

    // Wait for the goroutines to finish.
    println!("Waiting To Finish");
    wg.wait();

    println!("\nTerminating Program");
}
