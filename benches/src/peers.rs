//! Building the programs.

use crate::served::there_is_wrk;
use goroutines_bench::build::{self, Go, folder, locked_version};
use std::path::PathBuf;

/// What is compared: a way to write concurrent programs.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// What it is a version of, for the table's head.
    pub(crate) version: String,
    programs: Vec<(Kind, PathBuf)>,
}

/// What a case asks of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `PROGRAM CASE PROCS` measures itself.
    Work,
    /// The same; it shows what the machine can do, and there is but one.
    Floor,
    /// A server that answers HTTP requests.
    Http,
    /// A server that sends back what comes.
    Echo,
    /// `PROGRAM TASKS PROCS`, with many tasks that sleep, measures itself.
    Sleepers,
}

impl Kind {
    pub(crate) fn of(case: &str) -> Self {
        match case.split('_').next() {
            Some("floor") => Self::Floor,
            Some("http") => Self::Http,
            Some("echo") => Self::Echo,
            Some("sleepers") => Self::Sleepers,
            _ => Self::Work,
        }
    }
}

/// The name of ours, and of the one it is compared with by itself.
pub(crate) const OURS: &str = "goroutines";
pub(crate) const GO: &str = "Go";
/// The name of the one that is nobody's rival.
pub(crate) const FLOOR: &str = "floor";

/// What HTTP servers are loaded with; missing, it is told beside the peers.
pub(crate) const WRK: &str = "wrk";

/// Where a program comes from.
enum Source {
    /// This package.
    Bin(&'static str),
    /// An example of this workspace's package.
    Example(&'static str, &'static str),
    /// A package of `peers/go`.
    Go(&'static str),
    /// The Rust package `peers`.
    Peers(&'static str),
}

/// All programs, in the order of the table's columns.
#[rustfmt::skip]
const PROGRAMS: &[(&str, Kind, Source)] = &[
    (OURS, Kind::Work, Source::Bin("goroutines-peer")),
    (OURS, Kind::Http, Source::Example("goroutines-net-examples", "http_hello")),
    (OURS, Kind::Echo, Source::Bin("goroutines-echo")),
    (OURS, Kind::Sleepers, Source::Bin("goroutines-sleepers")),
    (GO, Kind::Work, Source::Go(".")),
    (GO, Kind::Http, Source::Go("http_raw")),
    (GO, Kind::Echo, Source::Go("echo")),
    (GO, Kind::Sleepers, Source::Go("sleepers")),
    // It does more than the others: it is there as what Go programs use.
    ("Go net/http", Kind::Http, Source::Go("http")),
    ("tokio", Kind::Work, Source::Peers("tokio")),
    ("tokio", Kind::Http, Source::Peers("http_tokio")),
    ("tokio", Kind::Echo, Source::Peers("echo_tokio")),
    ("tokio", Kind::Sleepers, Source::Peers("sleepers_tokio")),
    ("smol", Kind::Work, Source::Peers("smol")),
    ("smol", Kind::Echo, Source::Peers("echo_smol")),
    ("smol", Kind::Sleepers, Source::Peers("sleepers_smol")),
    ("may", Kind::Work, Source::Peers("may")),
    ("may", Kind::Http, Source::Peers("http_may")),
    ("may", Kind::Echo, Source::Peers("echo_may")),
    ("threads", Kind::Work, Source::Peers("threads")),
    ("threads", Kind::Http, Source::Peers("http_threads")),
    ("threads", Kind::Echo, Source::Peers("echo_threads")),
    (FLOOR, Kind::Floor, Source::Bin("floor")),
    (FLOOR, Kind::Http, Source::Bin("floor_epoll")),
];

impl Peer {
    pub(crate) fn new(name: &'static str, version: &str) -> Self {
        Self { name, version: version.to_owned(), programs: Vec::new() }
    }

    /// What runs cases of that kind, if there is something.
    pub(crate) fn program(&self, kind: Kind) -> Option<&PathBuf> {
        self.programs.iter().find(|(of, _)| *of == kind).map(|(_, program)| program)
    }
}

/// The peers, and what could not be built or found.
#[derive(Debug, Default)]
pub(crate) struct Built {
    pub(crate) peers: Vec<Peer>,
    pub(crate) missing: Vec<&'static str>,
}

/// Builds what `cases` need and can be built, and says on stderr what can't.
pub(crate) fn build(cases: &[&str]) -> Built {
    let mut built = Built::default();
    let mut wanted: Vec<Kind> = cases.iter().map(|case| Kind::of(case)).collect();
    if wanted.contains(&Kind::Http) && !there_is_wrk() {
        built.missing.push(WRK);
        wanted.retain(|kind| *kind != Kind::Http);
    }
    if wanted.contains(&Kind::Echo) && !build::ours(&["--bin", "echo-load"]) {
        built.missing.push("echo-load");
        wanted.retain(|kind| *kind != Kind::Echo);
    }
    let mut tools = Tools::default();
    for (name, kind, source) in PROGRAMS.iter().filter(|(_, kind, _)| wanted.contains(kind)) {
        match tools.build(name, source) {
            Some((program, version)) => built.add(name, &version, *kind, program),
            None if built.missing.contains(name) => {}
            None => built.missing.push(name),
        }
    }
    built
}

impl Built {
    fn add(&mut self, name: &'static str, version: &str, kind: Kind, program: PathBuf) {
        let at = self.peers.iter().position(|peer| peer.name == name).unwrap_or_else(|| {
            self.peers.push(Peer::new(name, version));
            self.peers.len() - 1
        });
        self.peers[at].programs.push((kind, program));
    }
}

/// What is looked for, or built, when it is needed, and once.
#[derive(Default)]
struct Tools {
    go: Option<Option<Go>>,
    peers: Option<bool>,
}

impl Tools {
    /// The program and what it is a version of.
    fn build(&mut self, peer: &str, source: &Source) -> Option<(PathBuf, String)> {
        match *source {
            Source::Bin(name) => {
                let path = build::target_dir().join("release").join(name);
                let version = if peer == OURS { env!("CARGO_PKG_VERSION") } else { "" };
                let there_is = [format!("src/bin/{name}.rs"), format!("src/bin/{name}/main.rs")]
                    .iter()
                    .any(|source| folder(source).exists());
                (there_is && build::ours(&["--bin", name])).then(|| (path, version.to_owned()))
            }
            Source::Example(package, name) => {
                let path = build::target_dir().join("release/examples").join(name);
                let there_is = build::ours(&["--package", package, "--example", name]);
                there_is.then(|| (path, env!("CARGO_PKG_VERSION").to_owned()))
            }
            Source::Go(package) => {
                let go = self.go.get_or_insert_with(Go::find).as_ref()?;
                let name = if package == "." { "go-peer" } else { &format!("go-{package}") };
                Some((go.build(&format!("./{package}"), name)?, go.version.clone()))
            }
            Source::Peers(name) => {
                let there_are = *self.peers.get_or_insert_with(build::peers);
                let path = build::peers_dir().join("release").join(name);
                there_are.then(|| (path, locked_version(peer)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, PROGRAMS};

    #[test]
    fn kinds() {
        assert_eq!(["floor_switch", "yield_two"].map(Kind::of), [Kind::Floor, Kind::Work]);
        assert_eq!(["http_hogs_64", "echo_100"].map(Kind::of), [Kind::Http, Kind::Echo]);
    }

    /// All programs of a peer make one column.
    #[test]
    fn peers_and_kinds_are_unique() {
        for (i, (name, kind, _)) in PROGRAMS.iter().enumerate() {
            let twice = PROGRAMS[..i].iter().any(|(other, of, _)| other == name && of == kind);
            assert!(!twice, "{name}, {kind:?}");
        }
    }
}
