//! The tables.

use crate::args::CASES;
use crate::peers::{FLOOR, GO, Kind, Peer, WRK};
use crate::rows::{Measured, Row};
use goroutines_bench::figures::{more_is_better, spread};
use std::fmt::Write;

/// More than this for others is worth a word.
const DISTURBED: f64 = 0.03;

/// The tables, what failed, and what was measured. `link` makes a row's name one.
pub(crate) fn markdown(
    peers: &[Peer],
    all: &[Measured],
    link: impl Fn(&str) -> String + Copy,
) -> String {
    let (floors, works): (Vec<_>, Vec<_>) =
        all.iter().partition(|measured| Kind::of(measured.case) == Kind::Floor);
    let mut text = table(peers, &works, true, link);
    if !works.is_empty() {
        text += "\nMedian (least–greatest). ↓: less is better; a ratio below 1 is in goroutines' favour. \
                 ↑: more is better; a ratio above 1 is.\n";
    }
    if !floors.is_empty() {
        text += "\nWhat the machine does without any of them:\n\n";
        text += &table(peers, &floors, false, link);
    }
    text.push('\n');
    for (case, what) in CASES.iter().filter(|(case, _)| all.iter().any(|of| of.case == *case)) {
        let _ = writeln!(text, "* `{case}`: {what}.");
    }
    text + &warnings(peers, all)
}

/// A table of all peers that have been there; nothing if there are no rows.
fn table(
    peers: &[Peer],
    all: &[&Measured],
    with_ratios: bool,
    link: impl Fn(&str) -> String,
) -> String {
    let columns: Vec<usize> =
        (0..peers.len()).filter(|at| all.iter().any(|measured| measured.knows(*at))).collect();
    let mut head = "| case | procs | unit |".to_owned();
    for &at in &columns {
        let Peer { name, version, .. } = &peers[at];
        let _ = write!(head, " {} |", format!("{name} {version}").trim());
    }
    let mut rule = "|---|---|---|".to_owned() + &"---|".repeat(columns.len());
    if with_ratios {
        head += " ÷ Go | ÷ best peer |";
        rule += "---|---|";
    }
    let mut lines = Vec::new();
    for measured in all {
        for row in &measured.rows {
            let arrow = if more_is_better(&row.unit) { '↑' } else { '↓' };
            let name = link(&row.name);
            let mut line = format!("| {name} | {} | {} {arrow} |", measured.procs, row.unit);
            for &at in &columns {
                let _ = write!(line, " {} |", cell(&row.values[at], measured.failures[at].len()));
            }
            if with_ratios {
                let _ = write!(line, " {} |", ratio(row, peers, GO).unwrap_or("—".to_owned()));
                let _ = write!(line, " {} |", to_best(row, peers).unwrap_or("—".to_owned()));
            }
            lines.push(line);
        }
    }
    if lines.is_empty() { String::new() } else { format!("{head}\n{rule}\n{}\n", lines.join("\n")) }
}

fn cell(values: &[f64], failures: usize) -> String {
    let failed = if failures > 0 { format!(" ({failures} failed)") } else { String::new() };
    spread(values) + &failed
}

fn ratio(row: &Row, peers: &[Peer], name: &str) -> Option<String> {
    row.ratio(peers, name).map(|ratio| format!("{ratio:.2}"))
}

fn to_best(row: &Row, peers: &[Peer]) -> Option<String> {
    let best = row.best_other(peers)?;
    Some(format!("{} ({best})", ratio(row, peers, best)?))
}

/// What is to be known before the figures are believed.
fn warnings(peers: &[Peer], all: &[Measured]) -> String {
    let mut text = String::new();
    for Measured { case, procs, failures, others, .. } in all {
        if *others > DISTURBED {
            let part = others * 100.0;
            let _ = write!(text, "\n* DISTURBED: {case}, {procs} procs: ");
            let _ = write!(text, "other programs had {part:.0} % of the CPUs.");
        }
        for (peer, failures) in peers.iter().zip(failures) {
            for why in failures {
                let _ = write!(text, "\n* FAILED: {}, {case}, {procs} procs: {why}", peer.name);
            }
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// What is missing from the tables, in a sentence.
pub(crate) fn missing(names: &[&str]) -> String {
    let hint = |name: &str| match name {
        GO => "Go (no `go` on PATH or in $GO)".to_owned(),
        FLOOR => "the floor".to_owned(),
        WRK => "wrk (Debian: apt-get install wrk), without which HTTP is left out".to_owned(),
        name => name.to_owned(),
    };
    let names: Vec<_> = names.iter().map(|name| hint(name)).collect();
    if names.is_empty() { String::new() } else { format!("Missing: {}.\n\n", names.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::{markdown, missing};
    use crate::peers::Peer;
    use crate::rows::Measured;
    use crate::rows::tests::{measured, peers};
    use crate::run::{Figure, Outcome};

    #[test]
    fn medians_and_ratios() {
        let table = markdown(&peers(), &[measured()], |name| format!("[{name}]({name}.svg)"));
        let cells = "**25.0** (10.0–40.0) | **50.0** (50.0–50.0) | **5.0** (5.0–5.0) (1 failed) | \
                     **90.0** (90.0–90.0) | 0.50 |";
        for line in [
            "| case | procs | unit | goroutines 1 | Go 1 | may 1 | floor 1 | ÷ Go | ÷ best peer |\n",
            &format!("| [http_64](http_64.svg) | 2 | req/s ↑ | {cells} 0.50 (Go) |\n"),
            &format!("| [http_64_p99](http_64_p99.svg) | 2 | ms ↓ | {cells} 5.00 (may) |\n"),
            "FAILED: may, http_64, 2 procs: hung",
        ] {
            assert!(table.contains(line), "{line}\nin\n{table}");
        }
    }

    #[test]
    fn floors_have_a_table_of_their_own() {
        let peers = [Peer::new("goroutines", "1"), Peer::new("floor", "")];
        let mut floor = Measured::new("floor_switch", 1, 2);
        floor.add(1, Outcome::Figures(vec![Figure::new("", "ns", 3.0)]));
        let table = markdown(&peers, &[floor], str::to_owned);
        let wanted = "\n\n| case | procs | unit | floor |\n|---|---|---|---|\n\
                      | floor_switch | 1 | ns ↓ | **3.0** (3.0–3.0) |\n";
        assert!(table.contains(wanted) && !table.contains("÷"), "{table}");
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(missing(&[]), "");
        assert!(missing(&["Go", "may"]).starts_with("Missing: Go (no `go` on PATH"));
    }
}
