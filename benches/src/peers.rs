//! Building the programs.

use goroutines_bench::build::{self, Go, locked_version};
use std::path::PathBuf;

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

/// Builds what can be built, and says on stderr what can't.
pub(crate) fn build() -> Vec<Peer> {
    let mut peers = Vec::new();
    if build::ours(&["--bin", "goroutines-peer"]) {
        let program = build::target_dir().join("release/goroutines-peer");
        peers.push(Peer { name: OURS, program, version: env!("CARGO_PKG_VERSION").to_owned() });
    }
    if let Some(go) = Go::find(None)
        && let Some(program) = go.build(".", "go-peer")
    {
        peers.push(Peer { name: GO, program, version: go.version });
    }
    if build::peers() {
        for name in ["tokio", "smol", "may", "threads"] {
            let program = build::peers_dir().join("release").join(name);
            peers.push(Peer { name, program, version: locked_version(name) });
        }
    }
    if build::ours(&["--bin", "floor"]) {
        let program = build::target_dir().join("release/floor");
        peers.push(Peer { name: "floor", program, version: String::new() });
    }
    peers
}
