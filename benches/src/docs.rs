//! The generated parts of docs/benchmarks.md, and its charts.

use crate::chart::charts;
use crate::peers::Peer;
use crate::report;
use crate::rows::Measured;
use goroutines_bench::build::folder;
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

/// The parts, by what is between `begin` and `end` in the page.
const FIGURES: &str = "cargo xtask bench --docs";
const INSTRUCTIONS: &str = "cargo xtask bench --instructions --docs";

/// Rewrites the part with instructions.
pub(crate) fn write_instructions(text: &str) -> io::Result<()> {
    rewrite(INSTRUCTIONS, text)
}

fn rewrite(part: &str, text: &str) -> io::Result<()> {
    let page = folder("../docs/benchmarks.md");
    let old = fs::read_to_string(&page)?;
    let new = replaced(&old, part, text);
    fs::write(page, new.ok_or_else(|| io::Error::other(format!("no markers of {part}")))?)
}

/// Rewrites the part with figures, and the charts; `head` goes in front of the tables.
pub(crate) fn write(head: &str, peers: &[Peer], all: &[Measured]) -> io::Result<()> {
    let mut text = head.to_owned();
    text += &report::markdown(peers, all, |name| format!("[{name}](bench/{name}.svg)"));
    text += "\n<details><summary>Charts</summary>\n\n";
    for (name, _) in charts(peers, all) {
        let _ = writeln!(text, "![{name}](bench/{name}.svg)");
    }
    text += "\n</details>\n";
    rewrite(FIGURES, &text)?;
    let directory = folder("../docs/bench");
    // Charts of rows that there are no more.
    for file in fs::read_dir(&directory).into_iter().flatten().flatten() {
        if file.path().extension().is_some_and(|extension| extension == "svg") {
            fs::remove_file(file.path())?;
        }
    }
    write_charts(&directory, peers, all)
}

/// Writes a chart of each row to `directory`.
pub(crate) fn write_charts(directory: &Path, peers: &[Peer], all: &[Measured]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    for (name, svg) in charts(peers, all) {
        fs::write(directory.join(format!("{name}.svg")), svg)?;
    }
    Ok(())
}

/// The page with another text between the markers of a part; none if they are not there.
fn replaced(page: &str, part: &str, text: &str) -> Option<String> {
    let [begin, end] = ["begin", "end"].map(|side| format!("<!-- {part}: {side} -->\n"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{}\n\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::{FIGURES, INSTRUCTIONS, replaced};
    use goroutines_bench::build::folder;

    #[test]
    fn what_is_between_the_markers() {
        let page = "a\n<!-- x: begin -->\nold\n<!-- x: end -->\nb\n";
        let new = replaced(page, "x", "new\n").unwrap();
        assert_eq!(new, "a\n<!-- x: begin -->\n\nnew\n\n<!-- x: end -->\nb\n");
        assert_eq!(replaced(&new, "x", "new"), Some(new));
        assert_eq!(replaced(page, "y", "new"), None);
    }

    #[test]
    fn the_page_has_markers() {
        let page = std::fs::read_to_string(folder("../docs/benchmarks.md")).unwrap();
        for part in [FIGURES, INSTRUCTIONS] {
            assert!(replaced(&page, part, "").is_some(), "{part}");
        }
    }
}
