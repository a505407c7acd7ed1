//! What tests need of the machine beyond Rust and a C compiler: programs that a package brings.
//!
//! A test that does not find its program ends at once, and is *skipped*: it says so, and notes it for
//! `cargo xtask test`, which counts the skipped ones and names the packages. Where the variable `CI` is set
//! a test that does not find its program fails.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// The variable that names the file in which skipped tests are noted, one line each: the test, the program
/// and the package, with tabs between them.
pub const NOTES: &str = "GOROUTINES_SKIPPED_TESTS";

/// The variable that says that all examples of the workspace have just been built, with the test's profile: by
/// `cargo xtask test`. A test that built them once more would build what they depend on, too, as other
/// features are chosen for a single package.
pub const BUILT: &str = "GOROUTINES_EXAMPLES_BUILT";

/// The path of `program`, which the Debian package `package` brings: in one of `dirs`, the last one first, or
/// in `PATH`. `None`: the calling test is to return at once, as it is noted as skipped.
///
/// # Panics
/// If the program is not there, and the variable `CI` is set.
#[must_use]
pub fn program(program: &str, package: &str, dirs: &[PathBuf]) -> Option<PathBuf> {
    let mut dirs = dirs.to_vec();
    dirs.sort();
    dirs.reverse();
    dirs.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let found = dirs.into_iter().map(|dir| dir.join(program)).find(|path| path.is_file());
    if found.is_none() {
        skip(program, package);
    }
    found
}

fn skip(program: &str, package: &str) {
    let missing = format!("{program} is not installed: apt-get install {package}");
    assert!(!is_set("CI"), "{missing} (where CI is set, no test may be skipped)");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    eprintln!("{test} is skipped: {missing}");
    let Some(notes) = std::env::var_os(NOTES) else { return };
    let line = format!("{test}\t{program}\t{package}\n");
    // One write, so that the lines of several processes don't mix.
    let noted = OpenOptions::new().append(true).create(true).open(notes);
    if let Err(e) = noted.and_then(|mut notes| notes.write_all(line.as_bytes())) {
        eprintln!("{test}: the note of it can't be written: {e}");
    }
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| value != OsStr::new(""))
}
