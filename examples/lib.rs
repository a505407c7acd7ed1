//! What the examples share.

use std::fmt::Write;
use std::process::exit;

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

/// The number after `flag`, or `default`.
#[must_use]
pub fn number(args: &[String], flag: &str, default: usize, help: &str) -> usize {
    let Some(at) = args.iter().position(|arg| arg == flag) else {
        if let Some(other) = args.first() {
            usage(&format!("unknown argument {other:?}"), help);
        }
        return default;
    };
    match args.get(at + 1).and_then(|value| value.parse().ok()) {
        Some(number) if args.len() == 2 => number,
        _ => usage(&format!("{flag} takes one whole number"), help),
    }
}
