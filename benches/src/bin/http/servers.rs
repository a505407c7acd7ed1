//! Building the servers.

use crate::args::Args;
use goroutines_bench::build::{self, Go, locked_version};
use std::path::PathBuf;
use std::process::Command;

pub(crate) const OURS: &str = "goroutines";

/// All of them, in the order of the tables' columns.
pub(crate) const NAMES: [&str; 6] = [OURS, "go-http", "go-raw", "tokio", "may", "threads"];

/// A server that was built.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    program: PathBuf,
    pub(crate) version: String,
}

impl Server {
    /// What starts it.
    pub(crate) fn command(&self, procs: u32, hogs: u32) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--addr", "127.0.0.1:0", "--hogs"]).arg(hogs.to_string());
        if self.name == OURS {
            command.env("GOMAXPROCS", procs.to_string());
        } else {
            command.arg("--procs").arg(procs.to_string());
        }
        command
    }
}

/// Builds what can be built, and says on stderr what can't.
pub(crate) fn build(args: &Args) -> Vec<Server> {
    let wanted = |names: &[&str]| args.only.iter().any(|name| names.contains(name));
    let example = ["-p", "goroutines-net-examples", "--example", "http_hello"];
    let ours = wanted(&[OURS]) && build::ours(&example);
    let go = wanted(&["go-http", "go-raw"]).then(|| Go::find(args.go.as_deref())).flatten();
    let peers = wanted(&["tokio", "may", "threads"]) && build::peers();
    let built = |name: &'static str| match name {
        OURS => ours.then(|| {
            let program = build::target_dir().join("release/examples/http_hello");
            (program, env!("CARGO_PKG_VERSION").to_owned())
        }),
        "go-http" | "go-raw" => go.as_ref().and_then(|go| {
            let package = if name == "go-http" { "./http" } else { "./http_raw" };
            Some((go.build(package, name)?, go.version.clone()))
        }),
        _ => peers.then(|| {
            let program = build::peers_dir().join("release").join(format!("http_{name}"));
            (program, locked_version(name))
        }),
    };
    let wanted = NAMES.into_iter().filter(|name| args.only.contains(name));
    let found = wanted.filter_map(|name| Some((name, built(name)?)));
    found.map(|(name, (program, version))| Server { name, program, version }).collect()
}
