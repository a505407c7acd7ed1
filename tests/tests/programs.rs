//! The programs in `examples/`: what they print is what Go's print.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines_tests::{Ended, example, run_example as run, run_to_end};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What one goroutine prints: the alphabet from `first` on, three times.
fn letters(first: char) -> String {
    (0..3).flat_map(|_| (first..).take(26)).map(|letter| format!("{letter} ")).collect()
}

/// A program that must print the same on each of 100 runs.
fn prints_always(name: &str, golden: &[u8]) {
    for round in 0..100 {
        let ended = run(name, &[], 1 + round % 4);
        ended.expect_clean();
        assert!(ended.stdout == golden, "run {round} of {name} printed:\n{}", ended.text());
    }
}

#[test]
fn orchestration_prints_what_go_prints() {
    prints_always("orchestration", include_bytes!("../golden/orchestration.txt"));
}

#[test]
fn time_slicing_prints_what_go_prints() {
    prints_always("time_slicing", include_bytes!("../golden/time_slicing.txt"));
}

#[test]
fn forgot_wait_displays_no_letters() {
    prints_always("forgot_wait", b"Start Goroutines\nTerminating Program\n");
}

#[test]
fn wrong_count_skips_the_second_goroutine() {
    let wanted =
        format!("Start Goroutines\nWaiting To Finish\n{}\nTerminating Program\n", letters('A'));
    prints_always("wrong_count", wanted.as_bytes());
}

#[test]
fn forgot_done_ends_in_a_deadlock() {
    let (capitals, small) = (letters('A'), letters('a'));
    let wanted = format!("Start Goroutines\nWaiting To Finish\n{capitals}{small}");
    for round in 0..20 {
        let ended = run("forgot_done", &[], 1 + round % 4);
        ended.expect_status(2);
        assert_eq!(ended.text(), wanted);
        let text = "fatal error: all goroutines are asleep - deadlock!\n\n\
                    goroutine 1 [sync.WaitGroup.Wait]:\n";
        assert!(ended.stderr.starts_with(text), "{ended}");
        // Where in main, and nothing of the runtime's insides. (Names of inlined functions lack their path.)
        ended.expect_stderr("examples/forgot_done.rs:30\n");
        assert!(!ended.stderr.contains("/src/sched/"), "{ended}");
    }
}

/// The letters of the two may be mixed; each one's come in order, and none is lost.
#[test]
fn parallelism_displays_all_letters() {
    for round in 0..100 {
        let ended = run("parallelism", &[], 1 + round % 4);
        ended.expect_clean();
        let text = ended.text();
        let rest = text.strip_prefix("Start Goroutines\n").unwrap();
        let rest = rest.strip_suffix("\nTerminating Program\n").unwrap();
        let (before, after) = rest.split_once("Waiting To Finish\n").unwrap();
        let of = |is_its: fn(&char) -> bool| -> String {
            let all = before.chars().chain(after.chars()).filter(|c| *c != ' ');
            all.filter(is_its).map(|letter| format!("{letter} ")).collect()
        };
        assert_eq!(of(char::is_ascii_lowercase), letters('a'), "{ended}");
        assert_eq!(of(char::is_ascii_uppercase), letters('A'), "{ended}");
        assert_eq!(before.len() + after.len(), 6 * 26 * 2, "nothing else: {ended}");
    }
}

#[test]
fn time_slicing_takes_turns_when_there_is_much_to_do() {
    for _ in 0..3 {
        let ended = run("time_slicing", &["--count", "50000"], 1);
        ended.expect_clean();
        let text = ended.text();
        let mut next = [1, 1];
        let (mut turns, mut last) = (0, None);
        for line in text.lines() {
            let who = match line.as_bytes() {
                [b'A', b':', ..] => 0,
                [b'B', b':', ..] => 1,
                _ => continue,
            };
            assert_eq!(line[3..8].parse(), Ok(next[who]), "{line}");
            next[who] += 1;
            turns += usize::from(last.replace(who) != Some(who));
        }
        assert_eq!(next, [50_001, 50_001], "each hashes all numbers, in order");
        assert!(text.contains("\nCompleted A\n") && text.contains("\nCompleted B\n"));
        assert!(text.ends_with("\nTerminating Program\n"));
        assert!(turns >= 4, "they took {turns} turns");
    }
}

/// A directory for one test, removed afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("goroutines-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn write(&self, name: &[u8], contents: &[u8]) -> PathBuf {
        let path = self.0.join("tree").join(std::ffi::OsStr::from_bytes(name));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Files of many sizes, more than are opened at a time, and names that are no words.
fn make_tree(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    let names: [&[u8]; 6] =
        [b"two\nlines", b"back\\slash", b"car\rriage", b"a space", b"not utf-8 \xff\xfe", b"*"];
    for (i, name) in names.iter().enumerate() {
        scratch.write(name, format!("contents {i}").as_bytes());
    }
    scratch.write(b"empty", b"");
    scratch.write(b"deep/er/and\ndeeper/file", &vec![b'x'; 3_000_001]);
    for i in 0..300 {
        let text = format!("{i}\n").repeat(i * 10);
        scratch.write(format!("many/{}/{i}", i % 7).as_bytes(), text.as_bytes());
    }
    // Not files: passed over, as `find -type f` does.
    let tree = scratch.0.join("tree");
    std::os::unix::fs::symlink("/", tree.join("link to a directory")).unwrap();
    std::os::unix::fs::symlink("empty", tree.join("link to a file")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap());
    scratch
}

/// The lines of some output. A newline in a name is escaped, so a line is a file.
fn lines(output: &[u8]) -> BTreeSet<Vec<u8>> {
    output.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// Runs `sha1sum` on all files of the tree; `hash_tree` also prints a carriage return as `\r`, as
/// coreutils do from 9.0 on.
fn sha1sum(tree: &Path, ordinary_user: bool) -> Ended {
    let mut shell = Command::new("/bin/sh");
    let script = "find \"$0\" -type f -print0 2>/dev/null | xargs -0 sha1sum";
    shell.args(["-c", script]).arg(tree);
    run_to_end(as_user(&mut shell, ordinary_user))
}

/// Runs it as nobody where we are root, who may read everything.
fn as_user(command: &mut Command, ordinary_user: bool) -> &mut Command {
    // SAFETY: no memory is involved.
    if ordinary_user && unsafe { libc::geteuid() } == 0 {
        command.uid(65534).gid(65534);
    }
    command.env("LC_ALL", "C")
}

#[test]
fn hash_tree_prints_what_sha1sum_prints() {
    let scratch = make_tree("hash_tree");
    let tree = scratch.0.join("tree");
    let wanted = sha1sum(&tree, false);
    wanted.expect_clean();
    let wanted = lines(&wanted.stdout);
    assert_eq!(wanted.len(), 308);
    let mut first: Option<Vec<u8>> = None;
    for procs in [1, 2, 4, 16] {
        let ended = run("hash_tree", &[tree.to_str().unwrap()], procs);
        ended.expect_status(0);
        assert!(lines(&ended.stdout) == wanted, "on {procs} processors:\n{ended}");
        ended.expect_stderr("308 of 308 files\n");
        // In order, so the same each time.
        assert!(*first.get_or_insert_with(|| ended.stdout.clone()) == ended.stdout);
    }
}

#[test]
fn hash_tree_tells_what_it_can_not_read() {
    let scratch = make_tree("unreadable");
    let tree = scratch.0.join("tree");
    let secret = scratch.write(b"deep/secret", b"not to be read");
    let closed = scratch.write(b"closed/file", b"not to be found").parent().unwrap().to_owned();
    for path in [&secret, &closed] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    // Where others can execute it.
    let program = scratch.0.join("hash_tree");
    fs::copy(example("hash_tree"), &program).unwrap();
    let wanted = sha1sum(&tree, true);
    assert!(wanted.stderr.contains("Permission denied"), "the test's own precondition: {wanted}");
    for procs in ["1", "4"] {
        let mut command = Command::new(&program);
        let ended = run_to_end(as_user(command.arg(&tree).env("GOMAXPROCS", procs), true));
        ended.expect_status(1);
        assert!(lines(&ended.stdout) == lines(&wanted.stdout), "{ended}");
        assert_eq!(lines(&ended.stdout).len(), 308, "the others are hashed all the same");
        for path in [&secret, &closed] {
            let line = format!("hash_tree: {}: Permission denied", path.display());
            ended.expect_stderr(&line);
        }
    }
    let _ = fs::set_permissions(&closed, fs::Permissions::from_mode(0o755));
}

#[test]
fn the_examples_tell_how_they_are_used() {
    let (_, examples) =
        include_str!("../../examples/Cargo.toml").split_once("[[example]]").unwrap();
    let names: Vec<_> = examples
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .collect();
    assert!(names.len() >= 13, "{names:?}");
    for name in names {
        let ended = run(name, &["--help"], 2);
        ended.expect_clean();
        let text = ended.text();
        assert!(text.starts_with(&format!("{name}: ")), "{ended}");
        assert!(text.contains(&format!("usage: {name}")), "{ended}");
    }
    for args in [&["--count"][..], &["--count", "x"], &["--what"]] {
        let ended = run("time_slicing", args, 2);
        ended.expect_status(2);
        ended.expect_stderr("usage: time_slicing");
    }
    run("hash_tree", &[], 2).expect_status(2);
    let ended = run("hash_tree", &["/no/such/directory"], 2);
    ended.expect_status(1);
    ended.expect_stderr("hash_tree: /no/such/directory: No such file or directory");
}
