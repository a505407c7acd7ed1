//! Deadlocks beside the threads of other crates.

use std::process::{Command, Output};

fn run(how: &str) -> (Output, String) {
    let program = std::env::current_exe().expect("this program's path");
    let output = Command::new(program.with_file_name("../examples/pools"))
        .arg(how)
        .output()
        .expect("the example, which cargo builds with the tests");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, text)
}

#[test]
fn goroutines_asleep_beside_idle_pools_are_told() {
    for how in ["rayon", "tokio"] {
        let (output, text) = run(how);
        assert_eq!(output.status.code(), Some(2), "{how}: {text}");
        let begin = "fatal error: all goroutines are asleep - deadlock!\n";
        assert!(text.starts_with(begin), "{how}: {text}");
        assert!(text.contains("pools::waits_for_nothing"), "{how}: {text}");
    }
}

#[test]
fn tokio_wakes_them() {
    let (output, text) = run("tokio wakes");
    assert!(output.status.success(), "{text}");
    assert_eq!((&*output.stdout, &*text), (&b"woken\n"[..], ""));
}
