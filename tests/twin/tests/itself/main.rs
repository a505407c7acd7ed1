//! The twin test, tested: what differs is found.

use goroutines_twin_tests::say::{errno, set_errno};
use goroutines_twin_tests::{Row, Side, Trace, Verdict, examine, make, ms, ret, rows};
use std::process::ExitCode;

fn is_thread(t: &Trace) -> bool {
    t.side() == Side::Thread
}

fn same(t: &Trace) {
    let (read, write) = make::pipe();
    let mut byte = [0u8; 2];
    let writer = t.spawn("writer", move |t| {
        ms(100);
        // SAFETY: a byte to read.
        t.says("write", ret(unsafe { libc::write(write, c"x".as_ptr().cast(), 1) }));
    });
    // SAFETY: room for two bytes.
    let got =
        t.timed("read", 100, || ret(unsafe { libc::read(read, byte.as_mut_ptr().cast(), 2) }));
    t.says("read", got);
    t.hangs_after("another read", 100, move || {
        let mut byte = 0u8;
        // SAFETY: room for a byte.
        ret(unsafe { libc::read(read, (&raw mut byte).cast(), 1) })
    });
    writer.join();
    // SAFETY: memory that can't be written.
    t.says("a bad address", ret(unsafe { libc::pipe(make::bad()) }));
    set_errno(libc::ENOTTY);
    t.spawn("other", |t| t.says("errno at first", errno())).join();
    t.says("errno", errno());
}

fn differs(t: &Trace) {
    t.line("first");
    t.says("value", if is_thread(t) { 1 } else { 2 });
    t.line("last");
}

fn differs_in_time(t: &Trace) {
    t.timed("sleep", 300, || ms(if is_thread(t) { 300 } else { 0 }));
}

fn crashes(t: &Trace) {
    if !is_thread(t) {
        std::process::abort();
    }
}

fn hangs(t: &Trace) {
    while !is_thread(t) {
        ms(1000);
    }
}

fn panics(t: &Trace) {
    assert!(is_thread(t), "not a thread");
}

fn leaks(t: &Trace) {
    if !is_thread(t) {
        let _left = make::pipe();
    }
}

fn skips(t: &Trace) {
    t.skip("no such kernel")
}

fn all() -> Vec<Row> {
    let mut rows = rows![same, differs, differs_in_time, crashes, panics, leaks, skips];
    rows.push(Row::new("hangs", hangs).seconds(1));
    rows.push(Row::new("pinned", same).expect(&["read: 1", "another read: HANGS"]));
    rows.push(Row::new("pinned_otherwise", same).expect(&["read: 2"]));
    rows.push(Row::new("needy", same).needs(|| Err("never".into())));
    rows.push(Row::new("owed", differs).owed("next year"));
    rows.push(Row::new("owed_no_more", same).owed("next year"));
    rows.push(Row::new("on_purpose", differs));
    rows.push(Row::new("on_purpose_no_more", same));
    rows
}

/// What is to come of each: a word of the verdict, and a part of its text.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("same", "Same", ""),
    ("differs", "Differs", "    first\n  - value: 1\n  + value: 2\n    last\n    ended: exit 0"),
    ("differs_in_time", "Differs", "- sleep: after the time set\n  + sleep: at once"),
    ("crashes", "Differs", "- ended: exit 0\n  + ended: killed by SIGABRT"),
    ("panics", "Differs", "+ ended: exit 101\n  | \n  | thread"),
    ("leaks", "Differs", "+ descriptors left: pipe, pipe"),
    ("skips", "Skipped", "no such kernel"),
    ("hangs", "Differs", "+ ended: never (killed after 1s)"),
    ("pinned", "Same", ""),
    ("pinned_otherwise", "Differs", "the thread does not say \"read: 2\""),
    ("needy", "Skipped", "never"),
    ("owed", "Owed", "next year"),
    ("owed_no_more", "Paid", ""),
    ("on_purpose", "Same", ""),
    ("on_purpose_no_more", "Differs", "- read: 7\n"),
];

fn main() -> ExitCode {
    let rows = all();
    if std::env::var_os("TWIN_ROW").is_some() {
        return goroutines_twin_tests::run_rows("itself", &rows);
    }
    println!("running {} tests", EXPECTED.len());
    let mut wrong = 0;
    for (name, word, text) in EXPECTED {
        let row = rows.iter().find(|row| row.is(name)).expect("a row of this name");
        let verdict = examine("itself", row);
        let (is, says) = match verdict {
            Verdict::Same => ("Same", String::new()),
            Verdict::Differs(text) => ("Differs", text),
            Verdict::Skipped(text) => ("Skipped", text),
            Verdict::Owed(text) => ("Owed", text),
            Verdict::Paid => ("Paid", String::new()),
        };
        let right = is == *word && says.contains(text);
        println!("test {name} ... {}", if right { "ok" } else { "FAILED" });
        if !right {
            println!("expected {word}, {text:?}\nwas {is}\n{says}");
            wrong += 1;
        }
    }
    let (word, passed) = (if wrong == 0 { "ok" } else { "FAILED" }, EXPECTED.len() - wrong);
    println!("test result: {word}. {passed} passed; {wrong} failed; 0 ignored");
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
