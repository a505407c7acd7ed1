//! How many instructions an operation takes: `cargo xtask bench --instructions`.
//!
//! Counts don't drift with what else the machine does, as times do. valgrind's cachegrind counts all that a
//! program executes, in all its threads, but not in the kernel. (callgrind follows calls and returns, and
//! dies of stacks that are switched.) Each case is run twice, with two numbers
//! of operations; the difference is what the operations took, as starting up and ending drops out.
//!
//! valgrind hides `wrfsbase` from programs: goroutines write the thread pointer by `arch_prctl` here, which
//! is a handful of instructions more a switch (and the kernel's, which are not counted). Go's and OS
//! threads' programs are left out: one has a clock of its own, the others are the kernel's work.

use crate::docs;
use crate::peers::{self, Built, Kind, Peer};
use goroutines_bench::build::target_dir;
use goroutines_bench::child::output;
use goroutines_bench::figures::number;
use goroutines_bench::machine::Machine;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

/// Hot paths: a case of the programs, and what one operation is.
const PATHS: [(&str, &str); 7] = [
    ("yield_two", "a yield, of two: the switch, and the choice of who is next"),
    ("spawn_join", "start one and wait for it"),
    ("park_ready", "wake the other and park, of two"),
    ("chan_one_one", "send and receive, capacity 128"),
    ("chan_rendezvous", "there and back over two channels without capacity"),
    ("select_rendezvous", "a select of four channels without capacity, and the send"),
    ("select_buffered", "the same, capacity 128"),
];

/// The two numbers of operations. All rounds and shares of a case come out even.
const FEW: u64 = 20_000;
const MANY: u64 = 120_000;

const AT_MOST: Duration = Duration::from_secs(120);

/// Whether there is what counts.
fn there_is_valgrind() -> bool {
    Command::new("valgrind").arg("--version").output().is_ok()
}

/// Counts and prints the table, which goes to the page too if `docs`; whether nothing failed.
///
/// What cachegrind wrote stays in target/bench/instructions; `cg_annotate` shows it, function by function.
pub(crate) fn measure(docs: bool) -> io::Result<bool> {
    if !there_is_valgrind() {
        println!("Missing: valgrind (Debian: apt-get install valgrind).");
        return Ok(false);
    }
    let Built { peers, .. } = peers::build(&["yield_two"]);
    let peers: Vec<_> = peers.into_iter().filter(|peer| COUNTED.contains(&peer.name)).collect();
    let directory = target_dir().join("bench/instructions");
    fs::create_dir_all(&directory)?;
    let mut lines = Vec::new();
    let mut failures = Vec::new();
    for (case, what) in PATHS {
        eprintln!("{case}");
        let mut cells = Vec::new();
        for peer in &peers {
            let file = directory.join(format!("{}.{case}", peer.name));
            cells.push(each(peer, case, &file).unwrap_or_else(|why| {
                failures.push(format!("* FAILED: {}, {case}: {why}\n", peer.name));
                None
            }));
        }
        lines.push((case, what, cells));
    }
    let table = markdown(&peers, &lines) + &failures.concat();
    print!("{table}");
    if docs {
        let Machine { date, commit, rustc, libc, .. } = Machine::look();
        docs::write_instructions(&format!("{table}\nOn {date}, at {commit}; {rustc}, {libc}."))?;
    }
    Ok(failures.is_empty())
}

/// Those whose programs take a number of operations.
const COUNTED: [&str; 4] = [peers::OURS, "tokio", "smol", "may"];

/// Instructions an operation; none if the peer has no such case.
fn each(peer: &Peer, case: &str, file: &Path) -> Result<Option<f64>, String> {
    let Some(program) = peer.program(Kind::Work) else { return Ok(None) };
    let count = |n: u64| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--tool=cachegrind", "--cache-sim=no"]);
        valgrind.arg(format!("--cachegrind-out-file={}", file.display()));
        valgrind.arg(program).args([case, "1", &n.to_string()]);
        let printed = output(&mut valgrind, AT_MOST).map_err(|failure| failure.to_string())?;
        if printed.trim() == "none" {
            return Ok(None);
        }
        let counted = fs::read_to_string(file).map_err(|e| e.to_string())?;
        total(&counted).map(Some).ok_or_else(|| "cachegrind has counted nothing".to_owned())
    };
    let (few, many) = (count(FEW)?, count(MANY)?);
    Ok(few.zip(many).map(|(few, many)| (many - few) / (MANY - FEW) as f64))
}

/// What cachegrind has counted in all.
fn total(file: &str) -> Option<f64> {
    let line = file.lines().find_map(|line| line.strip_prefix("summary: "))?;
    line.trim().parse().ok()
}

fn markdown(peers: &[Peer], lines: &[(&str, &str, Vec<Option<f64>>)]) -> String {
    let mut text = "| instructions | an operation is |".to_owned();
    for Peer { name, version, .. } in peers {
        let _ = write!(text, " {} |", format!("{name} {version}").trim());
    }
    text += "\n|---|---|";
    text += &"---|".repeat(peers.len());
    for (case, what, cells) in lines {
        let _ = write!(text, "\n| {case} | {what} |");
        for cell in cells {
            let _ = write!(text, " {} |", cell.map_or("—".to_owned(), number));
        }
    }
    let _ = writeln!(
        text,
        "\n\nOf all threads of a program on one processor, in user mode, counted by valgrind: the difference \
         of {MANY} and {FEW} operations, by their number."
    );
    text
}

#[cfg(test)]
mod tests {
    use super::{markdown, total};
    use crate::peers::Peer;

    #[test]
    fn what_cachegrind_writes() {
        let file =
            "desc: Trace cache: none\ncmd: x\nevents: Ir\nfl=a\nfn=b\n0 3\nsummary: 360512\n";
        assert_eq!(total(file), Some(360_512.0));
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn a_line_a_path() {
        let peers = [Peer::new("goroutines", "1"), Peer::new("may", "2")];
        let table = markdown(&peers, &[("yield_two", "a yield", vec![Some(212.14), None])]);
        let wanted = "| instructions | an operation is | goroutines 1 | may 2 |\n|---|---|---|---|\n\
                      | yield_two | a yield | 212 | — |\n";
        assert!(table.starts_with(wanted), "{table}");
    }
}
