//! `wg.Add(1)` for two goroutines: main goes on after the first has finished, and the other
//! is skipped.

use goroutines::{WaitGroup, go, runtime};
use goroutines_examples::{alphabet, args};

const HELP: &str = "wrong_count: a count of 1 for two goroutines: the second is skipped
usage: wrong_count [--help]";

#[goroutines::main]
fn main() {
    let _ = args(HELP);
    runtime::gomaxprocs(1);
    let wg = WaitGroup::new();
    wg.add(1);

    println!("Start Goroutines");
    for first in ['a', 'A'] {
        let wg = wg.clone();
        go(move || {
            alphabet(first);
            wg.done();
        });
    }

    println!("Waiting To Finish");
    wg.wait();

    println!("\nTerminating Program");
}
