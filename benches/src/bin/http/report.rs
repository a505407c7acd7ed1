//! The tables.

use crate::run::{Figures, Setting};
use crate::servers::{OURS, Server};
use goroutines_bench::figures::{machine, median, number, spread};
use std::fmt::Write;

/// More than this for others is worth a word.
const DISTURBED: f64 = 0.03;

/// A setting, and what its runs came to.
#[derive(Debug)]
pub(crate) struct Row {
    setting: Setting,
    /// One a server.
    cells: Vec<Cell>,
    /// The part of the CPUs that other programs had meanwhile.
    pub(crate) others: f64,
}

#[derive(Clone, Debug, Default)]
struct Cell {
    figures: Vec<Figures>,
    failures: Vec<String>,
}

impl Row {
    pub(crate) fn new(setting: Setting, servers: usize) -> Self {
        Self { setting, cells: vec![Cell::default(); servers], others: 0.0 }
    }

    pub(crate) fn add(&mut self, server: usize, outcome: Result<Figures, String>) {
        match outcome {
            Ok(figures) => self.cells[server].figures.push(figures),
            Err(why) => self.cells[server].failures.push(why),
        }
    }

    pub(crate) fn has_failures(&self) -> bool {
        self.cells.iter().any(|cell| !cell.failures.is_empty())
    }
}

impl Cell {
    fn values(&self, of: impl Fn(&Figures) -> Option<f64>) -> Vec<f64> {
        self.figures.iter().filter_map(of).collect()
    }
}

/// The tables, what failed, and what was measured.
pub(crate) fn markdown(servers: &[Server], rows: &[Row], runs: usize, seconds: u32) -> String {
    let mut text = machine(runs);
    let _ = writeln!(text, " wrk -t1, {seconds} s a run.");
    text += &table("Requests a second", servers, rows, |row| {
        let rate = |cell: &Cell| cell.values(|f| Some(f.requests_a_second));
        let medians: Vec<_> = row.cells.iter().map(|cell| median(&rate(cell))).collect();
        let cells = row.cells.iter().map(|cell| spread(&rate(cell)));
        cells.chain([ratio(servers, &medians)]).collect()
    });
    text += &table("Latency, p50 / p99 in ms", servers, rows, |row| {
        let ms = |cell: &Cell, of: fn(&Figures) -> Option<f64>| {
            median(&cell.values(of)).map_or("—".to_owned(), |ms| format!("{ms:.2}"))
        };
        let cell = |cell| format!("{} / **{}**", ms(cell, |f| f.p50_ms), ms(cell, |f| f.p99_ms));
        row.cells.iter().map(cell).collect()
    });
    text += &table("CPU time of the server in µs a request", servers, rows, |row| {
        let each = |cell: &Cell| median(&cell.values(|f| f.cpu_us_each));
        row.cells.iter().map(|cell| each(cell).map_or("—".to_owned(), number)).collect()
    });
    text += "\nMedians (least–greatest). A dash: nothing was answered. OS threads know nothing of procs.\n";
    text + &warnings(servers, rows)
}

/// The first table has one column more than the servers: the ratio.
fn table(
    what: &str,
    servers: &[Server],
    rows: &[Row],
    cells: impl Fn(&Row) -> Vec<String>,
) -> String {
    let mut text = format!("\n{what}:\n\n| procs | hogs | connections |");
    for server in servers {
        let head = format!("{} {}", server.name, server.version);
        let _ = write!(text, " {} |", head.trim());
    }
    let lines: Vec<_> = rows.iter().map(|row| (row.setting, cells(row))).collect();
    let columns = lines.first().map_or(0, |(_, cells)| cells.len());
    if columns > servers.len() {
        text += " ours ÷ best other |";
    }
    text += "\n|---|---|---|";
    text += &"---|".repeat(columns);
    for (Setting { procs, hogs, conns, .. }, cells) in lines {
        let _ = write!(text, "\n| {procs} | {hogs} | {conns} | {} |", cells.join(" | "));
    }
    text + "\n"
}

/// Ours by the greatest of the others, and whose that is.
fn ratio(servers: &[Server], medians: &[Option<f64>]) -> String {
    let all = || servers.iter().zip(medians).filter_map(|(s, median)| Some((s.name, (*median)?)));
    let ours = all().find(|(name, _)| *name == OURS);
    let best = all().filter(|(name, _)| *name != OURS).max_by(|a, b| a.1.total_cmp(&b.1));
    match (ours, best) {
        (Some((_, ours)), Some((name, best))) if best > 0.0 => {
            format!("{:.2} ({name})", ours / best)
        }
        _ => "—".to_owned(),
    }
}

/// What is to be known before the figures are believed.
fn warnings(servers: &[Server], rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        let setting = row.setting;
        if row.others > DISTURBED {
            let part = row.others * 100.0;
            let _ = write!(text, "\n* DISTURBED: {setting}: others had {part:.0} % of the CPUs.");
        }
        for (server, cell) in servers.iter().zip(&row.cells) {
            let name = server.name;
            let errors: u64 = cell.figures.iter().map(|f| f.errors).sum();
            if errors > 0 {
                let _ = write!(text, "\n* ERRORS: {name}, {setting}: {errors} timeouts or others.");
            }
            for why in &cell.failures {
                let _ = write!(text, "\n* FAILED: {name}, {setting}: {why}");
            }
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}
