//! Makes files of the library fit for the model checker that can't be compiled again as they are: those that
//! name std's atomics rather than those of `base/atomic.rs`, and those of which a weakened twin lacks a step.
//!
//! Each text that is replaced must be there, once: when the file has changed, so must this.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

const LIBRARY: &str = "../../crates/goroutines/src";
const ATOMICS: (&str, &str) = ("use std::sync::atomic::", "use crate::base::atomic::");
const CELLS: (&str, &str) = ("use std::cell::Cell;", "use crate::base::cell::Cell;");

/// A file, and what is replaced in it: steps that a weakened twin lacks (`base::steps`), among others.
struct File {
    path: &'static str,
    replaced: &'static [(&'static str, &'static str)],
}

const FILES: [File; 8] = [
    File { path: "thread/park.rs", replaced: &[ATOMICS, ("const fn new()", "fn new()")] },
    File {
        path: "g/wait.rs",
        replaced: &[
            (
                "let over = ticket.0",
                "let ticket = if crate::base::steps::lacks(\"numbers\") {
                    Ticket(self.0.load(Ordering::Relaxed) & !(STATE | CAUSE))
                } else {
                    ticket
                };
                let over = ticket.0",
            ),
            (
                "        // It goes from open",
                "        if crate::base::steps::lacks(\"one winner\") {
            return Claim::Parked;
        }
        // It goes from open",
            ),
            (
                "(OPEN, Claim::Awake), (PARKED, Claim::Parked)]",
                "(OPEN, Claim::Awake), (PARKED, Claim::Parked)]
                .into_iter()
                .take(if crate::base::steps::lacks(\"the third look\") { 2 } else { 3 })",
            ),
        ],
    },
    File {
        path: "timer/alarm.rs",
        replaced: &[
            (
                "if self.when.load(Ordering::Acquire) == when {",
                "if crate::base::steps::lacks(\"the second look\")
                || self.when.load(Ordering::Acquire) == when
            {",
            ),
            (
                "if queued != NONE && queued <= when {",
                "if queued != NONE
                && (queued <= when || crate::base::steps::lacks(\"another entry\"))
            {",
            ),
            (
                "let ours = self",
                "if crate::base::steps::lacks(\"what is put back\") {
                return Due::Off;
            }
            let ours = self",
            ),
        ],
    },
    File {
        path: "g/wait_list.rs",
        replaced: &[
            CELLS,
            (
                "Claim::Late => continue,",
                "Claim::Late => if !crate::base::steps::lacks(\"going on to the next\") { continue }",
            ),
        ],
    },
    File {
        path: "netpoll/desc.rs",
        replaced: &[
            ATOMICS,
            (
                "edges: self.edges[direction as usize].load(Ordering::Acquire),",
                "edges: if crate::base::steps::lacks(\"a count\") {
                    self.edges[direction as usize].swap(0, Ordering::Acquire);
                    0
                } else {
                    self.edges[direction as usize].load(Ordering::Acquire)
                },",
            ),
            (
                "if look.is_some_and(is_gone) {",
                "if !crate::base::steps::lacks(\"incarnations\") && look.is_some_and(is_gone) {",
            ),
            (
                "look.map_or(!state.accepting, |look| look.edges != edges)",
                "!crate::base::steps::lacks(\"the look\")
                    && look.map_or(!state.accepting, |look| look.edges != edges)",
            ),
            (
                "        if took {",
                "        if took && !crate::base::steps::lacks(\"the hand-over\") {",
            ),
        ],
    },
    File {
        path: "sync/queue.rs",
        replaced: &[
            CELLS,
            (
                "Claim::Late => return false, // Q1",
                "Claim::Late => return crate::base::steps::lacks(\"passing over who is late\"),",
            ),
        ],
    },
    File {
        path: "sync/semaphore.rs",
        replaced: &[
            ("pub const fn new(", "pub fn new("),
            (
                "let gave_up = self.change(|state| state.waiters.remove(&waiter));",
                "let gave_up = if crate::base::steps::lacks(\"letting in those behind\") {
                    self.0.lock().waiters.remove(&waiter)
                } else {
                    self.change(|state| state.waiters.remove(&waiter))
                };",
            ),
            (
                "!gave_up && waiter.is_served()",
                "!gave_up && !crate::base::steps::lacks(\"the last look\") && waiter.is_served()",
            ),
        ],
    },
    File {
        path: "sync/pool.rs",
        replaced: &[
            ATOMICS,
            (
                "const fn new() -> Self {
        Self {
            private:",
                "fn new() -> Self {
        Self {
            private:",
            ),
            ("pub const fn new(make: F)", "pub fn new(make: F)"),
            ("pub const fn with_period(", "pub fn with_period("),
            (
                "NonNull::new(self.private.swap(null_mut(), Ordering::Acquire))?",
                "NonNull::new(if crate::base::steps::lacks(\"the swap\") {
                    let at = self.private.load(Ordering::Acquire);
                    self.private.store(null_mut(), Ordering::Relaxed);
                    at
                } else {
                    self.private.swap(null_mut(), Ordering::Acquire)
                })?",
            ),
        ],
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var_os("OUT_DIR").ok_or("no OUT_DIR")?;
    let checks = env::var_os("CARGO_CFG_LOOM").is_some();
    for file in &FILES {
        let from = format!("{LIBRARY}/{}", file.path);
        println!("cargo::rerun-if-changed={from}");
        let text = fs::read_to_string(&from)?;
        // An included file can't have inner documentation.
        let mut text: String = text
            .lines()
            .filter(|line| !line.starts_with("//!"))
            .flat_map(|line| [line, "\n"])
            .collect();
        for (from, to) in file.replaced {
            if checks && text.matches(from).count() != 1 {
                return Err(format!("{}: {from:?} is not there once", file.path).into());
            }
            text = text.replace(from, to);
        }
        fs::write(Path::new(&out).join(file.path.replace('/', "_")), text)?;
    }
    Ok(())
}
