//! `cargo xtask tidy`: what the compiler doesn't check of the source text.

use crate::Outcome;
use crate::args::{self, Args};
use crate::cargo::root;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const USAGE: &str = "\
usage: cargo xtask tidy

Looks at the source text, and prints each fault with its place:

  files     a file that a comment or a document names is there
  laws      an invariant that is named (SC1, LW2 …) is written down somewhere
  symbols   intercept/table.rs lists each function that is taken over, and no other
  strange   no comment refers to something that is not in the repository
  ratchets  circles of modules, wide comments, headless \"who\"s: none more than xtask/tidy.txt says
";

/// Words that refer to something that is not in the repository.
const STRANGE: [&str; 3] = ["the mission", "shared/study", "shared/cases"];
/// Comments are to be no wider, in columns.
const WIDTH: usize = 100;

/// A file's text, by its path in the repository.
struct Text {
    path: String,
    text: String,
}

impl Text {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(at, line)| (at + 1, line))
    }

    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|end| end == "rs")
    }

    /// Lines of comments; all lines of a document.
    fn comments(&self) -> impl Iterator<Item = (usize, &str)> {
        let all = !self.is_rust();
        self.lines().filter(move |(_, line)| all || line.trim_start().starts_with("//"))
    }
}

/// What was found.
#[derive(Default)]
struct Found(Vec<String>);

impl Found {
    fn fault(&mut self, text: &Text, line: usize, what: &str) {
        self.0.push(format!("{}:{line}: {what}", text.path));
    }
}

pub(crate) fn main(args: Args) -> Outcome {
    args::none(args)?;
    let texts = texts()?;
    let library: Vec<&Text> =
        texts.iter().filter(|text| text.path.starts_with("crates/")).collect();
    let mut found = Found::default();
    files(&texts, &mut found);
    laws(&texts, &mut found);
    symbols(&library, &mut found)?;
    strange(&texts, &mut found);
    for fault in &found.0 {
        println!("{fault}");
    }
    let good = ratchets(&library)? && found.0.is_empty();
    println!("tidy: {} files, {} faults", texts.len(), found.0.len());
    Ok(good)
}

/// The repository's sources and documents.
fn texts() -> Result<Vec<Text>, Box<dyn std::error::Error>> {
    let root = root();
    let mut texts = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if name.ends_with(".rs") || name.ends_with(".md") {
                let text = fs::read_to_string(&path)?;
                let path = path.strip_prefix(&root)?.to_string_lossy().into_owned();
                texts.push(Text { path, text });
            }
        }
    }
    texts.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(texts)
}

/// What stands in a line between backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn files(texts: &[Text], found: &mut Found) {
    let is_there = |name: &str| {
        let end = format!("/{name}");
        texts.iter().any(|text| text.path == name || text.path.ends_with(&end))
    };
    let is_name = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-/.".contains(c);
        name.ends_with(".rs") && name.len() > 3 && name.chars().all(plain)
    };
    for text in texts {
        // Ported tests name their originals. What a changelog says was so then.
        if text.path.starts_with("tests/") || text.path == "CHANGELOG.md" {
            continue;
        }
        for (line, comment) in text.comments() {
            for name in quoted(comment).filter(|name| is_name(name) && !is_there(name)) {
                found.fault(text, line, &format!("`{name}` is not there"));
            }
        }
    }
}

/// The names of laws in a line: one to three capitals and a number.
fn laws_in(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| {
        let letters = word.chars().take_while(char::is_ascii_uppercase).count();
        let digits = &word[letters..];
        *word != "C11"
            && (1..=3).contains(&letters)
            && (1..=2).contains(&digits.len())
            && digits.chars().all(|c| c.is_ascii_digit())
    })
}

fn laws(texts: &[Text], found: &mut Found) {
    let library = || texts.iter().filter(|text| text.path.starts_with("crates/"));
    let mut written = BTreeSet::new();
    let mut families = BTreeSet::new();
    for text in library() {
        for (_, comment) in text.comments() {
            let Some(rest) = comment.trim_start_matches(['/', '!', ' ']).strip_prefix("* ") else {
                continue;
            };
            let Some((name, _)) = rest.split_once(':') else { continue };
            if laws_in(name).next() == Some(name) {
                written.insert(name.to_owned());
                families.insert(name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned());
            }
        }
    }
    for text in library() {
        for (line, comment) in text.comments() {
            for name in laws_in(comment) {
                let family = name.trim_end_matches(|c: char| c.is_ascii_digit());
                if families.contains(family) && !written.contains(name) {
                    found.fault(text, line, &format!("{name} is written down nowhere"));
                }
            }
        }
    }
}

/// The functions that a file of `intercept` exports.
fn exported(text: &Text) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    let (mut is_next, mut in_list, mut are_signals) = (false, false, false);
    for (at, line) in text.lines() {
        let code = line.trim_start();
        in_list |= ["take_over! {", "gives_out! {", "piecewise! {"]
            .iter()
            .any(|begin| line.ends_with(begin));
        // Names alone: `jumps! { a b }`, and `signals! {` with `a = how;` in each line.
        if let Some(names) = line.strip_prefix("jumps! {") {
            let names = names.trim_end_matches('}').split_whitespace();
            all.extend(names.map(|name| (name.to_owned(), at)));
        }
        are_signals = line == "signals! {" || are_signals && line != "}";
        if let Some((name, _)) = code.split_once(" = ").filter(|_| are_signals) {
            all.insert(name.to_owned(), at);
        }
        in_list &= line != "}";
        is_next |= code.starts_with("#[unsafe(no_mangle)]");
        let name = code.split_once("fn ").and_then(|(_, rest)| rest.split_once('('));
        if let Some((name, _)) = name.filter(|_| is_next || in_list && line.starts_with("    fn "))
        {
            if !name.starts_with('$') {
                all.insert(name.to_owned(), at);
            }
            is_next = false;
        }
    }
    all
}

/// `a{b,c}d` as `abd` and `acd`.
fn expanded(name: &str) -> Vec<String> {
    match name.split_once('{').and_then(|(a, rest)| Some((a, rest.split_once('}')?))) {
        Some((begin, (middle, end))) => {
            middle.split(',').flat_map(|part| expanded(&format!("{begin}{part}{end}"))).collect()
        }
        None => vec![name.to_owned()],
    }
}

/// Whether `name` is meant by `pattern`, in which `*` is any text. One that begins with `_` is an end.
fn matches(pattern: &str, name: &str) -> bool {
    if pattern == name {
        return true;
    }
    if pattern.starts_with('_') && !pattern.starts_with("__") {
        return name.ends_with(pattern);
    }
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut last = "";
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
        last = part;
    }
    pattern.contains('*') && (last.is_empty() || rest.is_empty())
}

fn symbols(library: &[&Text], found: &mut Found) -> Result<(), Box<dyn std::error::Error>> {
    let folder = "crates/goroutines/src/intercept/";
    let is_table = |text: &&&Text| text.path == format!("{folder}table.rs");
    let table = library.iter().find(is_table).ok_or("no intercept/table.rs")?;
    let is_c = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_*{},".contains(c);
        name.chars().all(plain) && !name.starts_with(|c: char| c.is_ascii_uppercase())
    };
    let is_wild = |name: &str| name.contains(['*', '{']) || name.starts_with('_');
    let mut listed = BTreeMap::new();
    for (line, row) in table.lines().filter(|(_, row)| row.starts_with("//! | ")) {
        let symbols = row.split('|').nth(1).unwrap_or_default();
        let is_none = row.contains("not taken over");
        for word in quoted(symbols) {
            let name = word.split('(').next().unwrap_or_default();
            if is_c(name) {
                listed.insert(
                    name.to_owned(),
                    (line, is_none || is_wild(name) || word.contains('(')),
                );
            }
        }
    }
    let patterns: Vec<String> = listed.keys().flat_map(|name| expanded(name)).collect();
    let mut all = BTreeSet::new();
    for text in library.iter().filter(|text| text.path.starts_with(folder)) {
        for (name, line) in exported(text) {
            if !patterns.iter().any(|pattern| matches(pattern, &name)) {
                found.fault(text, line, &format!("`{name}` is not in intercept/table.rs"));
            }
            all.insert(name);
        }
    }
    for (name, (line, _)) in listed.iter().filter(|(_, (_, is_loose))| !is_loose) {
        if !all.contains(name) {
            found.fault(table, *line, &format!("`{name}` is not taken over"));
        }
    }
    Ok(())
}

fn strange(texts: &[Text], found: &mut Found) {
    for text in texts.iter().filter(|text| text.path != "xtask/src/tidy.rs") {
        for (line, comment) in text.comments() {
            for word in STRANGE.iter().filter(|word| comment.to_lowercase().contains(*word)) {
                found.fault(text, line, &format!("{word:?} is not in the repository"));
            }
        }
    }
}

// Ratchets.

/// The modules of the library that are in a circle with others: each is reached from one that it reaches.
fn in_circles(library: &[&Text]) -> usize {
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for text in library {
        let Some(path) = text.path.strip_prefix("crates/goroutines/src/") else { continue };
        let module = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let of = imports.entry(module).or_default();
        for (_, line) in text.lines().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for rest in line.split("crate::").skip(1) {
                let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
                of.insert(&rest[..end.unwrap_or(rest.len())]);
            }
        }
    }
    let reaches = |from: &str, to: &str| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&str> = imports[from].iter().copied().collect();
        while let Some(module) = next.pop() {
            if module == to {
                return true;
            }
            if seen.insert(module)
                && let Some(more) = imports.get(module)
            {
                next.extend(more.iter().filter(|more| **more != module));
            }
        }
        false
    };
    let others = |a: &str| imports.keys().copied().filter(move |b| *b != a).collect::<Vec<_>>();
    let is_in = |a: &&&str| others(a).into_iter().any(|b| reaches(a, b) && reaches(b, a));
    imports.keys().filter(is_in).count()
}

/// But for the rows of tables, which can't be broken.
fn wide_comments(library: &[&Text]) -> usize {
    let comments = library.iter().flat_map(|text| text.comments());
    let is_table = |line: &str| line.trim_start_matches(['/', '!', ' ']).starts_with('|');
    comments.filter(|(_, line)| line.chars().count() > WIDTH && !is_table(line)).count()
}

/// "Who" and "whoever" that stand for a noun: at a sentence's or a clause's beginning, and after a preposition.
fn headless(library: &[&Text]) -> usize {
    let words_of = |line: &str| -> Vec<String> {
        line.trim_start_matches(['/', '!', ' ', '*'])
            .split_whitespace()
            .map(str::to_lowercase)
            .collect()
    };
    let before =
        ["for", "by", "of", "to", "from", "and", "or", "that", "than", "see", "sees", "so", "as"];
    let is_headless = |words: &[String], at: usize| {
        let word = words[at].trim_matches(|c: char| !c.is_alphanumeric());
        let begins = at == 0 || {
            let last = &words[at - 1];
            last.ends_with(['.', ',', ';', ':', '(']) || before.contains(&last.as_str())
        };
        ["who", "whoever"].contains(&word) && begins
    };
    let comments = library.iter().flat_map(|text| text.comments());
    comments
        .map(|(_, line)| {
            let words = words_of(line);
            (0..words.len()).filter(|at| is_headless(&words, *at)).count()
        })
        .sum()
}

/// Compares counts with those of `xtask/tidy.txt`. One that has sunk is to be written there, so that it stays down.
fn ratchets(library: &[&Text]) -> Outcome {
    let path: PathBuf = root().join("xtask/tidy.txt");
    let counts = [
        ("modules in circles", in_circles(library)),
        ("comments wider than 100 columns", wide_comments(library)),
        ("headless who", headless(library)),
    ];
    let limits = fs::read_to_string(&path)?;
    let mut good = true;
    for (what, count) in counts {
        let line = limits.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(": "));
        let limit: usize = line.ok_or(format!("xtask/tidy.txt does not say {what:?}"))?.parse()?;
        println!("{what}: {count}, of {limit}");
        if count != limit {
            let how = if count > limit { "more than" } else { "fewer now than" };
            println!("xtask/tidy.txt: {how} it says: {what}: {count}");
            good = false;
        }
    }
    Ok(good)
}
