//! Building the programs.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that was built.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    /// What it is a version of, for the table's head.
    pub(crate) version: String,
}

/// The name of ours, and of the one it is compared with by itself.
pub(crate) const OURS: &str = "goroutines";
pub(crate) const GO: &str = "Go";

/// Where this package lies.
const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// Builds what can be built, and says on stderr what can't.
pub(crate) fn build() -> Vec<Peer> {
    let target = target_dir();
    let peers_dir = target.join("peers");
    let here = Path::new(HERE);
    let mut peers = Vec::new();
    if cargo(here, &target, &["--bin", "goroutines-peer"]) {
        let program = target.join("release/goroutines-peer");
        peers.push(Peer { name: OURS, program, version: env!("CARGO_PKG_VERSION").to_owned() });
    }
    if let Some(go) = build_go(here, &peers_dir) {
        peers.push(go);
    }
    if cargo(&here.join("peers"), &peers_dir, &["--locked"]) {
        for name in ["tokio", "may", "threads"] {
            let program = peers_dir.join("release").join(name);
            peers.push(Peer { name, program, version: locked_version(here, name) });
        }
    }
    peers
}

/// This program is `target/release/goroutines-bench`, or `debug`.
fn target_dir() -> PathBuf {
    let exe = env::current_exe().unwrap_or_default();
    exe.ancestors().nth(2).map_or_else(|| Path::new(HERE).join("../target"), Path::to_owned)
}

fn cargo(package: &Path, target: &Path, more: &[&str]) -> bool {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--release", "--target-dir"]).arg(target).args(more);
    // What cargo said to this program is not for the other workspace's.
    command.current_dir(package).env_remove("CARGO_MANIFEST_DIR");
    succeeds(&mut command, &package.display().to_string())
}

fn build_go(here: &Path, into: &Path) -> Option<Peer> {
    let go = env::var_os("GO").unwrap_or_else(|| OsString::from("go"));
    let Ok(version) = Command::new(&go).arg("version").output() else {
        eprintln!("goroutines-bench: no Go: `go` is not on PATH, and $GO names no program");
        return None;
    };
    let version = String::from_utf8_lossy(&version.stdout);
    let version = version.split(' ').nth(2).unwrap_or("?").trim_start_matches("go").to_owned();
    let program = into.join("go-peer");
    let mut command = Command::new(&go);
    command.args(["build", "-o"]).arg(&program).arg(".").current_dir(here.join("peers/go"));
    succeeds(&mut command, "benches/peers/go").then_some(Peer { name: GO, program, version })
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
fn locked_version(here: &Path, name: &str) -> String {
    let lock = std::fs::read_to_string(here.join("peers/Cargo.lock")).unwrap_or_default();
    let after = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).map(|(_, rest)| rest);
    after.and_then(|rest| rest.split('"').next()).unwrap_or_default().to_owned()
}
