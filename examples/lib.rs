//! What the examples share.

use goroutines::runtime;
use std::fmt::{Display, Write};
use std::process::{ExitCode, exit};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

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

/// The words of the command line, taken out one by one.
#[derive(Debug)]
pub struct Args {
    words: Vec<String>,
    help: &'static str,
}

impl Args {
    /// Prints `help` and ends the program if the command line asks for it.
    #[must_use]
    pub fn new(help: &'static str) -> Self {
        Self { words: args(help), help }
    }

    /// Whether `flag` is there.
    pub fn flag(&mut self, flag: &str) -> bool {
        let at = self.words.iter().position(|word| word == flag);
        at.map(|at| self.words.remove(at)).is_some()
    }

    /// The value after `flag`, which is `what`.
    pub fn value<T: FromStr>(&mut self, flag: &str, what: &str) -> Option<T> {
        let at = self.words.iter().position(|word| word == flag)?;
        self.words.remove(at);
        let value = (at < self.words.len()).then(|| self.words.remove(at));
        match value.and_then(|value| value.parse().ok()) {
            Some(value) => Some(value),
            None => usage(&format!("{flag} takes {what}"), self.help),
        }
    }

    /// The number after `flag`, at least `least`, or else `default`.
    pub fn number(&mut self, flag: &str, least: usize, default: usize) -> usize {
        let what = format!("a whole number, at least {least}");
        let number = self.value(flag, &what).unwrap_or(default);
        if number < least {
            usage(&format!("{flag} takes {what}"), self.help);
        }
        number
    }

    /// The words that are left and are no options.
    #[must_use]
    pub fn rest(self) -> Vec<String> {
        if let Some(option) = self.words.iter().find(|word| word.starts_with('-')) {
            usage(&format!("unknown option {option:?}"), self.help);
        }
        self.words
    }

    /// Nothing may be left.
    pub fn finish(self) {
        let help = self.help;
        if let Some(word) = self.rest().first() {
            usage(&format!("unknown argument {word:?}"), help);
        }
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
