//! The table and the JSON.

use crate::args::CASES;
use crate::peers::{GO, OURS, Peer};
use crate::run::Outcome;
use goroutines_bench::figures::{machine, median, spread};
use std::fmt::Write;

/// More than this for others is worth a word.
const DISTURBED: f64 = 0.03;

/// A case on a number of processors.
#[derive(Debug)]
pub(crate) struct Row {
    case: &'static str,
    procs: u32,
    unit: String,
    /// One a peer.
    pub(crate) cells: Vec<Cell>,
    /// The part of the CPUs that other programs had meanwhile.
    pub(crate) others: f64,
}

/// What the runs of one peer came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    /// In ascending order.
    values: Vec<f64>,
    pub(crate) failures: Vec<String>,
}

impl Row {
    pub(crate) fn new(case: &'static str, procs: u32, peers: usize) -> Self {
        Self { case, procs, unit: String::new(), cells: vec![Cell::default(); peers], others: 0.0 }
    }

    pub(crate) fn add(&mut self, peer: usize, outcome: Outcome) {
        let cell = &mut self.cells[peer];
        match outcome {
            Outcome::Value(value, unit) => {
                let at = cell.values.partition_point(|other| *other < value);
                cell.values.insert(at, value);
                self.unit = unit;
            }
            Outcome::NoSuchCase => {}
            Outcome::Failed(why) => cell.failures.push(why.to_string()),
        }
    }

    /// The median of the peer of that name.
    fn median_of(&self, peers: &[Peer], name: &str) -> Option<f64> {
        let at = peers.iter().position(|peer| peer.name == name)?;
        self.cells[at].median()
    }

    /// The least median of the others, and whose it is.
    fn best_other<'a>(&self, peers: &'a [Peer]) -> Option<(f64, &'a str)> {
        let others = peers.iter().zip(&self.cells).filter(|(peer, _)| peer.name != OURS);
        let medians = others.filter_map(|(peer, cell)| Some((cell.median()?, peer.name)));
        medians.min_by(|a, b| a.0.total_cmp(&b.0))
    }
}

impl Cell {
    fn median(&self) -> Option<f64> {
        median(&self.values)
    }

    fn text(&self) -> String {
        let mut text = spread(&self.values);
        if !self.failures.is_empty() {
            let _ = write!(text, " ({} failed)", self.failures.len());
        }
        text
    }
}

/// The table, what failed, and what was measured.
pub(crate) fn markdown(peers: &[Peer], rows: &[Row], runs: usize) -> String {
    let mut text = machine(runs);
    text += "\n\n| case | procs | unit |";
    for peer in peers {
        let _ = write!(text, " {} |", format!("{} {}", peer.name, peer.version).trim());
    }
    text += " ÷ Go | ÷ best peer |\n|---|---|---|";
    text += &"---|".repeat(peers.len() + 2);
    for row in rows {
        let _ = write!(text, "\n| {} | {} | {} |", row.case, row.procs, row.unit);
        for cell in &row.cells {
            let _ = write!(text, " {} |", cell.text());
        }
        let _ = write!(text, " {} |", ratio(row, peers, row.median_of(peers, GO)));
        let best = row.best_other(peers);
        let _ = write!(text, " {}", ratio(row, peers, best.map(|(median, _)| median)));
        let _ = write!(text, "{} |", best.map_or(String::new(), |(_, name)| format!(" ({name})")));
    }
    text += "\n\nMedian (least–greatest). Less is better; a ratio below 1 means goroutines need less.\n";
    for (case, what) in CASES.iter().filter(|(case, _)| rows.iter().any(|row| row.case == *case)) {
        let _ = writeln!(text, "* `{case}`: {what}.");
    }
    text + &warnings(peers, rows)
}

fn ratio(row: &Row, peers: &[Peer], other: Option<f64>) -> String {
    match (row.median_of(peers, OURS), other) {
        (Some(ours), Some(other)) => format!("{:.2}", ours / other),
        _ => "—".to_owned(),
    }
}

/// What is to be known before the figures are believed.
fn warnings(peers: &[Peer], rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        if row.others > DISTURBED {
            let (case, procs, part) = (row.case, row.procs, row.others * 100.0);
            let _ = write!(text, "\n* DISTURBED: {case}, {procs} procs: ");
            let _ = write!(text, "other programs had {part:.0} % of the CPUs.");
        }
        for (peer, cell) in peers.iter().zip(&row.cells) {
            for why in &cell.failures {
                let (name, case, procs) = (peer.name, row.case, row.procs);
                let _ = write!(text, "\n* FAILED: {name}, {case}, {procs} procs: {why}");
            }
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// All values, for other programs.
pub(crate) fn json(peers: &[Peer], rows: &[Row]) -> String {
    let mut objects = Vec::new();
    for row in rows {
        for (peer, cell) in peers.iter().zip(&row.cells) {
            let values: Vec<String> = cell.values.iter().map(f64::to_string).collect();
            let failures: Vec<String> = cell.failures.iter().map(|why| quoted(why)).collect();
            objects.push(format!(
                "{{\"case\": {}, \"procs\": {}, \"peer\": {}, \"version\": {}, \"unit\": {}, \
                 \"values\": [{}], \"failures\": [{}]}}",
                quoted(row.case),
                row.procs,
                quoted(peer.name),
                quoted(&peer.version),
                quoted(&row.unit),
                values.join(", "),
                failures.join(", ")
            ));
        }
    }
    format!("[\n  {}\n]\n", objects.join(",\n  "))
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::{Row, json, markdown, quoted};
    use crate::peers::Peer;
    use crate::run::Outcome;
    use goroutines_bench::child::Failure;
    use std::time::Duration;

    #[test]
    fn quotes() {
        assert_eq!(quoted("a\"\\\n"), "\"a\\\"\\\\\\u000a\"");
    }

    #[test]
    fn medians_and_ratios() {
        let peer = |name| Peer { name, program: "x".into(), version: "1".to_owned() };
        let peers = [peer("goroutines"), peer("Go"), peer("may")];
        let mut row = Row::new("spawn_join", 2, 3);
        for (i, values) in [[30.0, 10.0, 20.0, 40.0], [50.0; 4], [5.0; 4]].iter().enumerate() {
            for value in values {
                row.add(i, Outcome::Value(*value, "ns".to_owned()));
            }
        }
        row.add(2, Outcome::Failed(Failure::Hung(Duration::from_secs(60))));
        let rows = [row];
        let table = markdown(&peers, &rows, 4);
        let line = "| spawn_join | 2 | ns | **25.0** (10.0–40.0) | **50.0** (50.0–50.0) | \
                    **5.0** (5.0–5.0) (1 failed) | 0.50 | 5.00 (may) |";
        assert!(table.contains(line), "{table}");
        assert!(table.contains("FAILED: may, spawn_join, 2 procs: hung"), "{table}");
        assert!(json(&peers, &rows).contains("\"values\": [10, 20, 30, 40]"));
    }
}
