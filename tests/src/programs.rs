//! The programs of `examples/`, built and run.

use crate::{Ended, run_to_end};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// The release build of an example.
///
/// # Panics
/// If the examples can't be built.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(build).join(name)
}

/// Builds all of them; where they are.
fn build() -> PathBuf {
    // target/PROFILE/deps/TEST-HASH
    let test = match std::env::current_exe() {
        Ok(test) => test,
        Err(e) => panic!("the test does not know where it is: {e}"),
    };
    let Some(target) = test.ancestors().nth(3) else { panic!("{} is no test", test.display()) };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "-q", "--release", "--examples", "-p", "goroutines-examples"]);
    cargo.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    match cargo.output() {
        Ok(built) if built.status.success() => target.join("release/examples"),
        Ok(built) => panic!("{}", String::from_utf8_lossy(&built.stderr)),
        Err(e) => panic!("{cargo:?}: {e}"),
    }
}

/// Runs an example on what `GOMAXPROCS` in the environment says; those of the first examples set their own.
///
/// # Panics
/// If it can't be started, or hangs.
#[must_use]
#[track_caller]
pub fn run_example(name: &str, args: &[&str], procs: usize) -> Ended {
    run_to_end(Command::new(example(name)).args(args).env("GOMAXPROCS", procs.to_string()))
}
