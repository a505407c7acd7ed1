//! What the examples share.

use goroutines::runtime;
use lexopt::Arg::Short;
use lexopt::Parser;
use std::fmt::{Display, Write};
use std::process::{ExitCode, exit};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

pub use lexopt::Arg::{self, Long, Value};

/// Displays the alphabet from `first` on three times, a write a letter, as Go's `fmt.Printf` does.
pub fn alphabet(first: char) {
    for _ in 0..3 {
        for letter in (first..).take(26) {
            print!("{letter} ");
        }
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The arguments of the program; prints `help` and ends if they ask for it.
#[must_use]
pub fn args(help: &str) -> Vec<String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help" || arg == "-h") {
        println!("{help}");
        exit(0);
    }
    args
}

/// Ends the program with `problem` and `help` on stderr, and status 2.
pub fn usage(problem: &str, help: &str) -> ! {
    eprintln!("{problem}\n\n{help}");
    exit(2)
}

/// The command line, argument by argument.
#[derive(Debug)]
pub struct Args {
    parser: Parser,
    /// The argument that was read last, as it was written.
    last: String,
    help: &'static str,
}

impl Args {
    /// Prints `help` and ends the program if the command line asks for it.
    #[must_use]
    pub fn new(help: &'static str) -> Self {
        let words = args(help);
        Self { parser: Parser::from_args(words), last: String::new(), help }
    }

    /// The next argument: a word, or an option. The option's value, if it has one, is to be taken by
    /// [`Args::value`] or [`Args::number`].
    pub fn read(&mut self) -> Option<Arg<'_>> {
        match self.parser.next() {
            Ok(arg) => {
                self.last = match arg {
                    Some(Long(name)) => format!("--{name}"),
                    Some(Short(letter)) => format!("-{letter}"),
                    Some(Value(ref word)) => word.display().to_string(),
                    None => String::new(),
                };
                arg
            }
            Err(e) => usage(&e.to_string(), self.help),
        }
    }

    /// The value of the option that was read last, which is `what`.
    pub fn value<T: FromStr>(&mut self, what: &str) -> T {
        let value = self.parser.value().ok();
        match value.and_then(|value| value.to_str()?.parse().ok()) {
            Some(value) => value,
            None => usage(&format!("{} takes {what}", self.last), self.help),
        }
    }

    /// The number, at least `least`, that is the value of the option that was read last.
    pub fn number(&mut self, least: usize) -> usize {
        let what = format!("a whole number, at least {least}");
        let number = self.value(&what);
        if number < least {
            usage(&format!("{} takes {what}", self.last), self.help);
        }
        number
    }

    /// Ends the program, which has no use for what was read last.
    pub fn unknown(&self) -> ! {
        let what = if self.last.starts_with('-') { "option" } else { "argument" };
        usage(&format!("unknown {what} {:?}", self.last), self.help)
    }
}

/// The exit status; what went wrong is said on stderr.
pub fn report<E: Display>(program: &str, outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{program}: {e}");
            ExitCode::FAILURE
        }
    }
}

/// How many goroutines there are besides the caller. Who was waited for may still be on the way out: that is
/// waited for, some seconds at most.
#[must_use]
pub fn goroutines_left() -> usize {
    let start = Instant::now();
    while runtime::num_goroutine() > 1 && start.elapsed() < Duration::from_secs(5) {
        thread::sleep(Duration::from_millis(1));
    }
    runtime::num_goroutine() - 1
}
