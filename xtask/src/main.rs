//! The project's tools: `cargo xtask COMMAND`.

mod args;
mod bench;
mod cargo;
mod deps;
mod glibc;
mod loom;
mod metadata;
mod oldest;
mod package;
mod run;
mod soak;
mod stress;
mod test;
mod tidy;

use args::Args;
use std::process::{Command, ExitCode};

/// What a command came to: whether all is well, or why it could not be done.
type Outcome = Result<bool, Box<dyn std::error::Error>>;

const USAGE: &str = "\
usage: cargo xtask COMMAND [--help]

  test          run all tests, with a summary
  loom          check the models of the lock-free parts
  glibc-matrix  run the tests under other versions of glibc
  stress        run the stress test on several numbers of processors
  soak          run for long what goes wrong seldom
  package       build and test the crates as they are published, outside of the repository
  oldest        check the library with the oldest Rust and dependencies that it promises
  deps          look at the licences and sources of what the workspace depends on
  tidy          look at what the compiler does not check of the source text
  bench         measure goroutines beside Go, tokio, smol, may and OS threads
  ci            run all that must pass before a change lands
";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let words: Vec<String> = words.collect();
    let asks_for_help = words.iter().any(|word| word == "--help" || word == "-h");
    let args = Args::from_args(words);
    let (usage, tool): (&str, fn(Args) -> Outcome) = match command.as_str() {
        "test" => (test::USAGE, test::main),
        "loom" => (loom::USAGE, loom::main),
        "glibc-matrix" => (glibc::USAGE, glibc::main),
        "stress" => (stress::USAGE, stress::main),
        "soak" => (soak::USAGE, soak::main),
        "package" => (package::USAGE, package::main),
        "oldest" => (oldest::USAGE, oldest::main),
        "deps" => (deps::USAGE, deps::main),
        "tidy" => (tidy::USAGE, tidy::main),
        "bench" => ("", bench::main),
        "ci" => ("usage: cargo xtask ci\n\nRuns .ci/run.\n", ci),
        "--help" | "-h" | "help" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    if asks_for_help && !usage.is_empty() {
        print!("{usage}");
        return ExitCode::SUCCESS;
    }
    match tool(args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("xtask {command}: {e}");
            ExitCode::from(2)
        }
    }
}

fn ci(args: Args) -> Outcome {
    args::none(args)?;
    Ok(Command::new(cargo::root().join(".ci/run")).status()?.success())
}
