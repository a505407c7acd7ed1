//! Runs a row's sides, each in a process of its own, and compares.

use crate::child::{PAGE, PATIENCE, ROW, SIDE};
use crate::intended::{INTENDED, Intended};
use crate::page::{self, Page};
use crate::trace::{FIELD, Kind};
use crate::{Row, Side, say};
use std::fmt::Write;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How often a row is tried again if nothing but classes of time differs.
const AGAIN: usize = 2;

/// What came of a row.
#[derive(Debug)]
pub enum Verdict {
    /// All sides are as they are to be.
    Same,
    /// They are not: the text shows how.
    Differs(String),
    /// It can't be tried here.
    Skipped(String),
    /// It differs, and a row says that this is owed.
    Owed(String),
    /// A row says that it is owed, and it does not differ.
    Paid,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    party: String,
    text: String,
    kind: Kind,
}

struct Ran {
    lines: Vec<Line>,
    ended: String,
    output: String,
    skipped: Option<String>,
}

/// Runs a row of the test binary `family`, which this process is.
#[must_use]
pub fn examine(family: &str, row: &Row) -> Verdict {
    if let Some(why) = row.needs.iter().find_map(|needs| needs().err()) {
        return Verdict::Skipped(why);
    }
    let verdict = examine_sides(family, row);
    let owed = row.owed.filter(|_| std::env::var_os("TWIN_STRICT").is_none());
    match (verdict, owed) {
        (Verdict::Differs(text), Some(why)) => Verdict::Owed(format!("{why}\n{text}")),
        (Verdict::Same, Some(_)) => Verdict::Paid,
        (verdict, _) => verdict,
    }
}

fn examine_sides(family: &str, row: &Row) -> Verdict {
    let mut thread = run(row, Side::Thread, 1);
    if let Some(why) = thread.skipped {
        return Verdict::Skipped(why);
    }
    if let Some(text) = not_as_pinned(row, &thread) {
        return Verdict::Differs(text);
    }
    let intended =
        INTENDED.iter().find(|i| i.row.strip_prefix(family) == Some(&format!("::{}", row.name)));
    for side in Side::GOROUTINES {
        let mut tries = 0;
        loop {
            let goroutine = run(row, side, 1 + 3 * tries);
            let expected = replaced(&thread, intended);
            let Some((diff, only_time)) = compare(&expected, &goroutine) else { break };
            if !only_time || tries == AGAIN {
                return Verdict::Differs(explain(side, &diff, intended, &goroutine));
            }
            tries += 1;
            thread = run(row, Side::Thread, 1 + 3 * tries);
        }
    }
    Verdict::Same
}

/// What is wrong if the thread's lines don't have those that are expected, in order.
fn not_as_pinned(row: &Row, thread: &Ran) -> Option<String> {
    if thread.ended.starts_with("never") {
        let lines: Vec<_> = thread.lines.iter().map(|line| line.text.as_str()).collect();
        return Some(format!("the thread's side does not end; it said\n{}\n", lines.join("\n")));
    }
    let mut lines = thread.lines.iter();
    for expected in &row.expect {
        if !lines.any(|line| line.text == *expected) {
            let lines: Vec<_> = thread.lines.iter().map(|line| line.text.as_str()).collect();
            return Some(format!(
                "the thread does not say {expected:?} (in this order); it said\n{}\n{}",
                lines.join("\n"),
                thread.output
            ));
        }
    }
    None
}

/// What the goroutine is to say: the thread's lines, but for those that differ on purpose.
fn replaced(thread: &Ran, intended: Option<&Intended>) -> Vec<Line> {
    let mut lines = thread.lines.clone();
    for (threads, goroutines) in intended.map_or(&[][..], |intended| intended.instead) {
        let at = lines.iter().position(|line| line.text == *threads);
        match at {
            Some(at) if goroutines.is_empty() => drop(lines.remove(at)),
            Some(at) => (*goroutines).clone_into(&mut lines[at].text),
            None => {
                let (party, text) = (String::new(), (*goroutines).to_owned());
                lines.insert(lines.len() - 1, Line { party, text, kind: Kind::Value });
            }
        }
    }
    lines
}

/// The lines of both, marked, if they differ; and whether only classes of time do.
fn compare(expected: &[Line], goroutine: &Ran) -> Option<(String, bool)> {
    let given = &goroutine.lines;
    if expected == given {
        return None;
    }
    let only_time = expected.len() == given.len()
        && expected
            .iter()
            .zip(given)
            .all(|(a, b)| a == b || a.kind == Kind::Time && b.kind == Kind::Time);
    Some((diff(expected, given), only_time))
}

/// Lines of both in order; `-` is the thread's alone, `+` the goroutine's.
fn diff(thread: &[Line], goroutine: &[Line]) -> String {
    let (n, m) = (thread.len(), goroutine.len());
    // The length of the longest common subsequence of what follows.
    let mut longest = vec![vec![0usize; m + 1]; n + 1];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            longest[i][j] = if thread[i] == goroutine[j] {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < n || j < m {
        let (mark, line) = if i < n && j < m && thread[i] == goroutine[j] {
            (i, j) = (i + 1, j + 1);
            (' ', &thread[i - 1])
        } else if i < n && (j == m || longest[i + 1][j] >= longest[i][j + 1]) {
            i += 1;
            ('-', &thread[i - 1])
        } else {
            j += 1;
            ('+', &goroutine[j - 1])
        };
        writeln!(text, "  {mark} {}", line.text).expect("a String takes everything");
    }
    text
}

fn explain(side: Side, diff: &str, intended: Option<&Intended>, goroutine: &Ran) -> String {
    let Side::Goroutine(ps) = side else { return diff.to_owned() };
    let expected = intended.map_or(String::new(), |intended| {
        format!(" (with what differs on purpose: {})", intended.reason)
    });
    format!(
        "  - is the thread's{expected}, + the goroutine's, GOMAXPROCS={ps}\n{diff}{}",
        goroutine
            .output
            .lines()
            .take(30)
            .fold(String::new(), |all, line| all + "  | " + line + "\n")
    )
}

/// Runs one side, its limits longer by a factor.
fn run(row: &Row, side: Side, patience: usize) -> Ran {
    let (file, page) = Page::create().expect("a page to share");
    let mut output = page::memory().expect("a file for its output");
    let me = std::process::id();
    // What a row leaves behind goes with this directory.
    let room = std::env::temp_dir().join(format!("twin-{me}-{}", file.as_raw_fd()));
    std::fs::create_dir_all(&room).expect("room for temporary files");
    let mut command = Command::new("/proc/self/exe");
    command
        .env(ROW, &row.name)
        .env(SIDE, side.name())
        .env(PAGE, format!("/proc/{me}/fd/{}", file.as_raw_fd()))
        .env(PATIENCE, patience.to_string())
        .env("RUST_BACKTRACE", "0")
        .env("TMPDIR", &room)
        .stdin(Stdio::null())
        .stdout(appending(&output))
        .stderr(appending(&output));
    if let Side::Goroutine(ps) = side {
        command.env("GOMAXPROCS", ps.to_string());
    }
    // A session of its own: no terminal, and a group that can be killed with all its children.
    let session = || {
        // SAFETY: one system call.
        unsafe { libc::setsid() };
        Ok(())
    };
    // SAFETY: `session` makes one system call.
    unsafe { command.pre_exec(session) };
    let mut child = command.spawn().expect("this binary can be run");
    let ended = match end(&mut child, row.limit) {
        Some(status) => ending(status),
        None => format!("never (killed after {:?})", row.limit),
    };
    let mut ran = read(page, ended);
    output.rewind().expect("a file");
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes).expect("a file");
    ran.output = String::from_utf8_lossy(&bytes).into_owned();
    page.unmap();
    drop(std::fs::remove_dir_all(room));
    ran
}

fn appending(file: &File) -> Stdio {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options().append(true).open(path).expect("it is our own").into()
}

fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("killed by {}", say::signal_name(signal)),
        (None, None) => status.to_string(),
    }
}

/// Waits for the child's end; kills what is left of its group.
fn end(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let (start, mut pause) = (Instant::now(), Duration::from_micros(500));
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break Some(status);
        }
        if start.elapsed() > limit {
            break None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    };
    // SAFETY: a signal to a group whose number no other group can have as long as one of its processes lives; for the
    // number to be given out anew in between takes a whole round of numbers.
    unsafe { libc::kill(-child.id().cast_signed(), libc::SIGKILL) };
    if status.is_none() {
        drop(child.wait());
    }
    status
}

fn read(page: Page, ended: String) -> Ran {
    let (mut lines, mut skipped) = (Vec::new(), None);
    for record in page.records() {
        let mut fields = record.splitn(3, FIELD);
        let mut field = || fields.next().unwrap_or_default().to_owned();
        let (kind, party, text) = (Kind::parse(&field()), field(), field());
        match kind {
            Kind::Skip => skipped = Some(text),
            kind => lines.push(Line { party, text, kind }),
        }
    }
    // Party by party; each one's lines are in order.
    lines.sort_by(|a, b| a.party.cmp(&b.party));
    lines.push(Line { party: String::new(), text: format!("ended: {ended}"), kind: Kind::Value });
    Ran { lines, ended, output: String::new(), skipped }
}
