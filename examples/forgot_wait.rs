//! `wg.Wait()` is forgotten: main returns, and the process ends at once.

use goroutines::{WaitGroup, runtime};
use goroutines_examples::{alphabet, args};

const HELP: &str = "forgot_wait: main returns without waiting, and the letters are never displayed
usage: forgot_wait [--help]";

#[goroutines::main]
fn main() {
    let _ = args(HELP);
    runtime::gomaxprocs(1);
    let wg = WaitGroup::new();

    println!("Start Goroutines");
    wg.go(|| alphabet('a'));
    wg.go(|| alphabet('A'));

    println!("Terminating Program");
}
