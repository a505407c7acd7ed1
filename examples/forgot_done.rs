//! `wg.Done()` is forgotten: the counter never gets to zero, main waits for ever, and the
//! deadlock detector ends the program with exit status 2.

use goroutines::{WaitGroup, go, runtime};
use goroutines_examples::{alphabet, args};

const HELP: &str =
    "forgot_done: a forgotten done() is found by the deadlock detector (exit status 2)
usage: forgot_done [--help]";

#[goroutines::main]
fn main() {
    let _ = args(HELP);
    runtime::gomaxprocs(1);
    let wg = WaitGroup::new();
    wg.add(2);

    println!("Start Goroutines");
    let lowercase = wg.clone();
    go(move || {
        alphabet('a');
        lowercase.done();
    });
    go(|| {
        alphabet('A');
        // no done() here
    });

    println!("Waiting To Finish");
    wg.wait();

    println!("\nTerminating Program");
}
