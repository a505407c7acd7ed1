//! `cargo xtask test`: all tests, whatever the machine has, with a summary.
//!
//! It runs `cargo test --no-fail-fast` once and reads along: one line for each test program as it ends, the
//! whole output of those that fail, and at the end the counts, the names of what failed, and what was
//! skipped for want of a program, with the package that brings it (`goroutines-test-needs` notes those).

use crate::Outcome;
use crate::args::Args;
use crate::cargo::{cargo, root};
use goroutines_test_needs::NOTES;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Write, pipe};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub(crate) const USAGE: &str = "\
usage: cargo xtask test [--install] [CARGO-TEST-ARGUMENTS]

Runs the workspace's tests: all of them, also after a failure. A test that needs a server that is not
installed is skipped, and named at the end; where the variable CI is set it fails.

  --install  first installs what tests need and the machine lacks, with apt-get (as root, or by sudo)

Other arguments go to `cargo test`, for instance --release, or -p goroutines-tests --test io_go.
The whole output is left in target/test.log.
";

pub(crate) fn main(mut args: Args) -> Outcome {
    let begun = Instant::now();
    if args.flag("--install") {
        install()?;
    }
    let words = args.all();
    let target = root().join("target");
    fs::create_dir_all(&target)?;
    let (log, notes) = (target.join("test.log"), target.join("skipped-tests"));
    let _ = fs::remove_file(&notes);

    let one_package = words.iter().any(|word| word.starts_with("-p") || word == "--package");
    let scope: &[&str] = if one_package { &[] } else { &["--workspace"] };
    let mut command = cargo(&["test", "--no-fail-fast"]);
    command.args(scope).args(&words).env(NOTES, &notes);
    let mut report = Report::default();
    let good = follow(&mut command, &log, &mut report)?;
    report.end_program();
    print!("\n{}", report.summary(&skipped(&notes), begun.elapsed()));
    if !good && report.failed.is_empty() {
        println!("FAILED: see what cargo said above");
    }
    println!("The whole output: {}", log.display());
    Ok(good && report.failed.is_empty())
}

/// Runs `command`, and hands its output to the report, line by line, and to the log. Whether it succeeded.
fn follow(command: &mut Command, log: &Path, report: &mut Report) -> Outcome {
    let mut log = File::create(log)?;
    // One pipe for both, so that cargo's "Running" and what the program prints stay in order.
    let (out, end) = pipe()?;
    let mut child = command.stdout(end.try_clone()?).stderr(end).spawn()?;
    // The command holds the pipe's other ends, and reading would not end.
    *command = Command::new("true");
    for line in BufReader::new(out).split(b'\n') {
        let line = line?;
        log.write_all(&line)?;
        log.write_all(b"\n")?;
        report.line(&String::from_utf8_lossy(&line));
    }
    Ok(child.wait()?.success())
}

/// What the output of `cargo test` came to so far.
#[derive(Default)]
struct Report {
    /// The test program that runs: its name, its output, when it began.
    program: Option<(String, Vec<String>, Instant)>,
    programs: usize,
    /// Tests that passed, failed, were ignored.
    counts: [u64; 3],
    failed: Vec<String>,
}

impl Report {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["Running", .., last] if last.starts_with('(') && last.ends_with(')') => {
                self.begin_program(&words[1..]);
            }
            ["Doc-tests", _] => self.begin_program(&words),
            ["test", "result:", verdict, ..] => {
                let counts = counts_of(line);
                self.counts.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
                let result = format!("{} passed, {} ignored", counts[0], counts[2]);
                self.keep(line);
                self.result(verdict == "ok.", &result);
            }
            _ if self.program.is_none() && words.is_empty() => {}
            _ if self.program.is_none() => println!("{line}"),
            _ => self.keep(line),
        }
    }

    fn begin_program(&mut self, name: &[&str]) {
        self.end_program();
        if std::io::stdout().is_terminal() {
            // Overwritten by the line that says how it ended.
            print!("     {}\r", name.join(" "));
            let _ = std::io::stdout().flush();
        }
        self.program = Some((name.join(" "), Vec::new(), Instant::now()));
    }

    fn keep(&mut self, line: &str) {
        if let Some((_, output, _)) = &mut self.program {
            output.push(line.to_owned());
        }
    }

    /// The program has said what its tests came to.
    fn result(&mut self, good: bool, result: &str) {
        if !good {
            return self.end_program();
        }
        if let Some((name, _, begun)) = self.program.take() {
            self.programs += 1;
            println!("  ok {name}: {result}, {:.1} s", begun.elapsed().as_secs_f64());
        }
    }

    /// The program ended without a good result: it failed, crashed, or was one that reports nothing.
    fn end_program(&mut self) {
        let Some((name, output, begun)) = self.program.take() else { return };
        self.programs += 1;
        let of_tests = output.iter().any(|line| line.starts_with("running "));
        if !of_tests {
            return println!("  ok {name}: {:.1} s", begun.elapsed().as_secs_f64());
        }
        let mut failed: Vec<&str> = output.iter().filter_map(|line| failed_test(line)).collect();
        failed.dedup();
        if failed.is_empty() {
            self.failed.push(format!("{name}: it ended before it had run all tests"));
        }
        self.failed.extend(failed.iter().map(|test| format!("{name}: {test}")));
        println!("FAILED {name}, {:.1} s; it said:", begun.elapsed().as_secs_f64());
        output.iter().for_each(|line| println!("    {line}"));
    }

    /// The counts, what failed, and what was skipped.
    fn summary(&self, skipped: &Skipped, took: Duration) -> String {
        let [passed, failed, ignored] = self.counts;
        let skips: usize = skipped.values().map(BTreeSet::len).sum();
        let mut text = format!(
            "{} test programs in {} s: {} tests passed, {failed} failed, {ignored} ignored, {skips} skipped\n",
            self.programs,
            took.as_secs(),
            passed.saturating_sub(skips as u64),
        );
        for name in &self.failed {
            text += &format!("FAILED {name}\n");
        }
        for ((program, package), tests) in skipped {
            let names = tests.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            text += &format!("skipped, as {program} is not installed ({package}): {names}\n");
        }
        if !skipped.is_empty() {
            let packages: BTreeSet<&str> = skipped.keys().map(|(_, package)| &**package).collect();
            let packages = packages.into_iter().collect::<Vec<_>>().join(" ");
            text +=
                &format!("`cargo xtask test --install` runs these too: it installs {packages}\n");
        }
        text
    }
}

/// How many tests passed, failed, were ignored: of libtest's "test result:" line.
fn counts_of(line: &str) -> [u64; 3] {
    ["passed", "failed", "ignored"].map(|what| {
        let words: Vec<&str> =
            line.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        let at = words.iter().position(|word| *word == what);
        at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
    })
}

/// The test that failed, of libtest's "test NAME ... FAILED".
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// By program and package: the tests that were skipped.
type Skipped = BTreeMap<(String, String), BTreeSet<String>>;

fn skipped(notes: &Path) -> Skipped {
    let text = fs::read_to_string(notes).unwrap_or_default();
    let mut skipped = Skipped::new();
    for line in text.lines() {
        if let [test, program, package] = line.split('\t').collect::<Vec<_>>()[..] {
            let key = (program.to_owned(), package.to_owned());
            skipped.entry(key).or_default().insert(test.to_owned());
        }
    }
    skipped
}

/// Installs the packages of what is missing.
fn install() -> Result<(), Box<dyn Error>> {
    let missing: Vec<&str> = NEEDS
        .iter()
        .filter(|(program, _)| !is_there(program))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(" "));
    // SAFETY: no memory is involved.
    let root = unsafe { libc::geteuid() } == 0;
    let apt = |words: &[&str]| {
        let mut command = Command::new(if root { "apt-get" } else { "sudo" });
        if !root {
            command.arg("apt-get");
        }
        command.args(words).env("DEBIAN_FRONTEND", "noninteractive");
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{command:?}: {status}")),
            Err(e) => Err(format!("{command:?}: {e}")),
        }
    };
    apt(&["-qq", "update"])?;
    // The tests start servers of their own; those that the packages start do not matter.
    apt(&[&["-qq", "install", "-y"], &missing[..]].concat())?;
    Ok(())
}

/// Programs that tests look for, and the packages that bring them.
const NEEDS: [(&str, &str); 2] = [("redis-server", "redis-server"), ("postgres", "postgresql")];

fn is_there(program: &str) -> bool {
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut dirs: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    dirs.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    dirs.iter().any(|dir| dir.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::{Report, Skipped, counts_of, failed_test};
    use std::time::Duration;

    #[test]
    fn results_are_counted() {
        let line = "test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured; finished in 0.10s";
        assert_eq!(counts_of(line), [12, 0, 3]);
        assert_eq!(failed_test("test a::b ... FAILED"), Some("a::b"));
        assert_eq!(failed_test("test a::b ... ok"), None);
    }

    #[test]
    fn failures_crashes_and_skips_are_named() {
        let mut report = Report::default();
        let output = "\
     Running tests/a.rs (target/debug/deps/a-1)
running 2 tests
test one ... ok
test two ... FAILED
test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out
     Running tests/b.rs (target/debug/deps/b-1)
running 1 test
error: test failed, to rerun pass `--test b`
   Doc-tests goroutines
running 1 test
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        output.lines().for_each(|line| report.line(line));
        assert_eq!(report.programs, 3);
        assert_eq!(report.counts, [2, 1, 0]);
        let [two, crash] = &report.failed[..] else { panic!("{:?}", report.failed) };
        assert!(two.contains("tests/a.rs") && two.ends_with("two"), "{two}");
        assert!(crash.contains("tests/b.rs"), "{crash}");

        let key = ("postgres".to_owned(), "postgresql".to_owned());
        let skipped = Skipped::from([(key, ["x".to_owned()].into())]);
        let text = report.summary(&skipped, Duration::from_secs(3));
        assert!(text.contains("1 tests passed, 1 failed, 0 ignored, 1 skipped"), "{text}");
        assert!(text.contains("(postgresql): x"), "{text}");
        assert!(text.contains("`cargo xtask test --install`"), "{text}");
    }
}
