//! Building the programs that are compared.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where this package lies.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A folder of this package.
#[must_use]
pub fn folder(name: &str) -> PathBuf {
    Path::new(HERE).join(name)
}

/// Where cargo builds: this program is `target/release/NAME`, or `debug`.
#[must_use]
pub fn target_dir() -> PathBuf {
    let exe = env::current_exe().unwrap_or_default();
    exe.ancestors().nth(2).map_or_else(|| Path::new(HERE).join("../target"), Path::to_owned)
}

/// Where the peers are built.
#[must_use]
pub fn peers_dir() -> PathBuf {
    target_dir().join("peers")
}

/// Builds something of this workspace, optimized; says on stderr if it can't.
#[must_use]
pub fn ours(what: &[&str]) -> bool {
    cargo(Path::new(HERE), &target_dir(), what)
}

/// Builds the peers in Rust, optimized; says on stderr if it can't.
#[must_use]
pub fn peers() -> bool {
    cargo(&folder("peers"), &peers_dir(), &["--locked"])
}

fn cargo(package: &Path, target: &Path, more: &[&str]) -> bool {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "--target-dir"]).arg(target).args(more);
    // What cargo said to this program is not for the other workspace's.
    command.current_dir(package).env_remove("CARGO_MANIFEST_DIR");
    succeeds(&mut command, &package.display().to_string())
}

/// A Go toolchain.
#[derive(Debug)]
pub struct Go {
    program: OsString,
    /// For instance `1.27.3`.
    pub version: String,
}

impl Go {
    /// The one in `$GO`, else on PATH; says on stderr if there is none.
    #[must_use]
    pub fn find() -> Option<Self> {
        let program = env::var_os("GO").unwrap_or_else(|| OsString::from("go"));
        let Ok(version) = Command::new(&program).arg("version").output() else {
            eprintln!("goroutines-bench: no Go: {} can't be run", program.display());
            return None;
        };
        let version = String::from_utf8_lossy(&version.stdout);
        let version = version.split(' ').nth(2).unwrap_or("?").trim_start_matches("go").to_owned();
        Some(Self { program, version })
    }

    /// Builds a package of `peers/go` as the program `name`; says on stderr if it can't.
    #[must_use]
    pub fn build(&self, package: &str, name: &str) -> Option<PathBuf> {
        let program = peers_dir().join(name);
        let mut command = Command::new(&self.program);
        command.args(["build", "-o"]).arg(&program).arg(package);
        command.current_dir(folder("peers/go"));
        succeeds(&mut command, &format!("benches/peers/go, {package}")).then_some(program)
    }
}

fn succeeds(command: &mut Command, what: &str) -> bool {
    match command.status() {
        Ok(status) if status.success() => return true,
        Ok(status) => eprintln!("goroutines-bench: {what} was not built: {status}"),
        Err(e) => eprintln!("goroutines-bench: {what} was not built: {e}"),
    }
    false
}

/// The version of a crate in the peers' Cargo.lock; nothing for what is no crate.
#[must_use]
pub fn locked_version(name: &str) -> String {
    let lock = std::fs::read_to_string(folder("peers/Cargo.lock")).unwrap_or_default();
    let after = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).map(|(_, rest)| rest);
    after.and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
}
