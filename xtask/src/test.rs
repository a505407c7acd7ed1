//! `cargo xtask test`: all tests, whatever the machine has, with a summary.
//!
//! It runs `cargo test --no-fail-fast` once and reads along: one line for each test program as it ends, the
//! whole output of those that fail, and at the end the counts, the names of what failed, and what was
//! skipped for want of a program, with the package that brings it (`goroutines-test-needs` notes those).

use crate::Outcome;
use crate::args::{self, Args};
use crate::cargo::{cargo, root};
use goroutines_test_needs::{BUILT, NOTES};
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::ffi::OsString;
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

/// Cargo's variable.
const INCREMENTAL: &str = "CARGO_INCREMENTAL";

pub(crate) fn main(args: Args) -> Outcome {
    let begun = Instant::now();
    let mut words = args::all(args)?;
    if let Some(at) = words.iter().position(|word| word == "--install") {
        words.remove(at);
        install()?;
    }
    let target = root().join("target");
    fs::create_dir_all(&target)?;
    let (log, notes) = (target.join("test.log"), target.join("skipped-tests"));
    let _ = fs::remove_file(&notes);

    let names_package = |word: &OsString| {
        word == "--package" || word.to_str().is_some_and(|word| word.starts_with("-p"))
    };
    let one_package = words.iter().any(names_package);
    let scope: &[&str] = if one_package { &[] } else { &["--workspace"] };
    let mut command = cargo(&["test", "--no-fail-fast"]);
    command.args(scope).args(&words).env(NOTES, &notes);
    if std::env::var_os(INCREMENTAL).is_none() {
        // What it would save the next build costs this one a fifth of its time.
        command.env(INCREMENTAL, "0");
    }
    if words.iter().all(|word| word == "--release") {
        // Cargo builds the examples, too.
        command.env(BUILT, "1");
    }
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
    /// The test program that runs.
    program: Option<Program>,
    programs: usize,
    /// Tests that passed, failed, were ignored.
    counts: [u64; 3],
    failed: Vec<String>,
}

/// A test program and what it said so far. It may show what test programs said that it has started: they look
/// the same, so a result is its own if it comes last and is about as many tests as it announced.
struct Program {
    name: String,
    begun: Instant,
    output: Vec<String>,
    /// How many tests it said that it runs; rustdoc says so several times.
    announced: Vec<u64>,
    results: Vec<(String, Instant)>,
    /// Cargo said that it failed.
    failed: bool,
}

impl Program {
    fn line(&mut self, line: &str) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["running", n, "test" | "tests"] => self.announced.extend(n.parse::<u64>()),
            ["test", "result:", ..] => self.results.push((line.to_owned(), Instant::now())),
            ["error:", "test" | "doctest", "failed,", ..] => self.failed = true,
            _ => {}
        }
        self.output.push(line.to_owned());
    }

    /// Its own results: one, but for rustdoc.
    fn results(&self) -> &[(String, Instant)] {
        let of_rustdoc = self.name.starts_with("Doc-tests");
        match &self.results[..] {
            results if of_rustdoc => results,
            [.., last] if self.announced.first() == Some(&tests_of(&last.0)) => {
                std::slice::from_ref(last)
            }
            _ => &[],
        }
    }

    /// What is wrong with it: names of tests, or what else; nothing if it is well.
    fn wrong(&self) -> Vec<String> {
        let are_good = self.results().iter().all(|(line, _)| line.starts_with("test result: ok."));
        let is_over = self.announced.is_empty() || !self.results().is_empty();
        if are_good && is_over && !self.failed {
            return Vec::new();
        }
        let mut failed: Vec<_> =
            self.output.iter().filter_map(|line| failed_test(line)).map(str::to_owned).collect();
        failed.dedup();
        if failed.is_empty() {
            let when = if is_over { "after its last test" } else { "before it had run all tests" };
            failed.push(format!("it failed {when}"));
        }
        failed
    }

    /// What its tests came to: passed, failed, ignored.
    fn counts(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        for (line, _) in self.results() {
            counts.iter_mut().zip(counts_of(line)).for_each(|(sum, n)| *sum += n);
        }
        counts
    }
}

impl Report {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (&words[..], &mut self.program) {
            (["Running", .., last], _) if last.starts_with('(') && last.ends_with(')') => {
                self.begin_program(&words[1..]);
            }
            (["Doc-tests", _], _) => self.begin_program(&words),
            (_, Some(program)) => program.line(line),
            ([], None) => {}
            (_, None) => println!("{line}"),
        }
    }

    fn begin_program(&mut self, name: &[&str]) {
        self.end_program();
        let name = name.join(" ");
        if std::io::stdout().is_terminal() {
            // Overwritten by the line that says how it ended.
            print!("     {name}\r");
            let _ = std::io::stdout().flush();
        }
        self.program = Some(Program {
            name,
            begun: Instant::now(),
            output: Vec::new(),
            announced: Vec::new(),
            results: Vec::new(),
            failed: false,
        });
    }

    /// The program has ended: another one begins, or there is no more.
    fn end_program(&mut self) {
        let Some(program) = self.program.take() else { return };
        self.programs += 1;
        let counts @ [passed, _, ignored] = program.counts();
        self.counts.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        let end = program.results().last().map_or_else(Instant::now, |(_, at)| *at);
        let (name, took) = (&program.name, (end - program.begun).as_secs_f64());
        let wrong = program.wrong();
        if wrong.is_empty() {
            return println!("  ok {name}: {passed} passed, {ignored} ignored, {took:.1} s");
        }
        self.failed.extend(wrong.iter().map(|test| format!("{name}: {test}")));
        println!("FAILED {name}, {took:.1} s; it said:");
        program.output.iter().for_each(|line| println!("    {line}"));
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
pub(crate) fn counts_of(line: &str) -> [u64; 3] {
    ["passed", "failed", "ignored"].map(|what| count_of(line, what))
}

/// How many tests a "test result:" line is about. Those that were filtered out were not announced.
fn tests_of(line: &str) -> u64 {
    let others = ["measured", "owed"].map(|what| count_of(line, what));
    counts_of(line).iter().chain(&others).sum()
}

fn count_of(line: &str, what: &str) -> u64 {
    let words: Vec<&str> = line.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| *word == what);
    at.and_then(|at| words.get(at.checked_sub(1)?)?.parse().ok()).unwrap_or(0)
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

/// Programs and libraries that tests look for, and the packages that bring them.
const NEEDS: [(&str, &str); 5] = [
    ("redis-server", "redis-server"),
    ("postgres", "postgresql"),
    ("libpython3", "libpython3-dev"),
    ("go", "golang-go"),
    ("python3", "python3"),
];

fn is_there(program: &str) -> bool {
    if program.starts_with("lib") {
        // Of whatever version.
        let begin = format!("{program}.");
        let names = fs::read_dir("/usr/lib/x86_64-linux-gnu").into_iter().flatten().flatten();
        let mut names = names.map(|name| name.file_name().to_string_lossy().into_owned());
        return names.any(|name| name.starts_with(&begin) && name.ends_with(".so.1.0"));
    }
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
error: test failed, to rerun pass `--test a`
     Running tests/b.rs (target/debug/deps/b-1)
running 1 test
error: test failed, to rerun pass `--test b`
   Doc-tests goroutines
running 1 test
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        output.lines().for_each(|line| report.line(line));
        report.end_program();
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

    /// A report of these lines.
    fn report(output: &str) -> Report {
        let mut report = Report::default();
        output.lines().for_each(|line| report.line(line));
        report.end_program();
        report
    }

    const RESULT: &str = "0 ignored; 0 measured; 3 filtered out";

    #[test]
    fn results_of_a_programs_children_are_not_its_own() {
        let report = report(&format!(
            "\
     Running tests/a.rs (target/debug/deps/a-1)
running 2 tests
running 1 test
test result: ok. 1 passed; 0 failed; {RESULT}
test two ... ok
test one ... FAILED
the child said:
running 1 test
test child ... ok
test result: FAILED. 0 passed; 1 failed; {RESULT}
test result: FAILED. 1 passed; 1 failed; {RESULT}
error: test failed, to rerun pass `--test a`
     Running tests/b.rs (target/debug/deps/b-1)
running 2 tests
running 1 test
test result: ok. 1 passed; 0 failed; {RESULT}
test result: ok. 1 passed; 0 failed; 1 ignored; 0 owed; 0 filtered out"
        ));
        assert_eq!(report.programs, 2);
        assert_eq!(report.counts, [2, 1, 1]);
        let [one] = &report.failed[..] else { panic!("{:?}", report.failed) };
        assert!(one.contains("tests/a.rs") && one.ends_with("one"), "{one}");
    }

    #[test]
    fn a_childs_good_result_does_not_hide_a_crash() {
        let report = report(&format!(
            "\
     Running tests/a.rs (target/debug/deps/a-1)
running 2 tests
running 1 test
test result: ok. 1 passed; 0 failed; {RESULT}
error: test failed, to rerun pass `--test a`
Caused by: process didn't exit successfully (signal: 11)
     Running tests/b.rs (target/debug/deps/b-1)
running 1 test
test result: ok. 1 passed; 0 failed; {RESULT}
error: test failed, to rerun pass `--test b`
     Running tests/c.rs (target/debug/deps/c-1)"
        ));
        assert_eq!(report.counts, [1, 0, 0]);
        let [early, late] = &report.failed[..] else { panic!("{:?}", report.failed) };
        assert!(early.contains("tests/a.rs") && early.ends_with("before it had run all tests"));
        assert!(late.contains("tests/b.rs") && late.ends_with("after its last test"));
    }

    #[test]
    fn rustdoc_has_several_results() {
        let report = report(&format!(
            "\
   Doc-tests goroutines
running 2 tests
test result: ok. 2 passed; 0 failed; {RESULT}
running 1 test
test result: ok. 1 passed; 0 failed; {RESULT}
   Doc-tests goroutines_needs"
        ));
        assert_eq!(report.counts, [3, 0, 0]);
        assert!(report.failed.is_empty(), "{:?}", report.failed);
    }
}
