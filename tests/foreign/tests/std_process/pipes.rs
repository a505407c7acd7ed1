//! library/std/tests/pipe_subprocess.rs, library/std/tests/process_spawning.rs,
//! library/std/src/io/pipe/tests.rs are small programs and
//! files: they are one here. Rust 1.95 (MIT OR Apache-2.0), on goroutines.

use goroutines_foreign_tests::tmpdir;
use std::io::{Read, Write, pipe};
use std::{env, fs, process, str};

/// There the whole program; so what its child prints is in the middle of the test harness's output.
fn pipe_subprocess() {
    if env::var("I_AM_THE_CHILD").is_ok() {
        child();
    } else {
        parent();
    }

    fn parent() {
        let me = env::current_exe().unwrap();
        let this = concat!(module_path!(), "::goroutine::pipe_subprocess");
        let this = this.split_once("::").unwrap().1;

        let (rx, tx) = pipe().unwrap();
        assert!(
            process::Command::new(me)
                .args(["--exact", this, "--nocapture"])
                .env("I_AM_THE_CHILD", "1")
                .stdout(tx)
                .status()
                .unwrap()
                .success()
        );

        let mut s = String::new();
        (&rx).read_to_string(&mut s).unwrap();
        drop(rx);
        assert!(s.contains("Heloo,\n"), "{s}");
    }

    fn child() {
        println!("Heloo,");
    }
}

fn issue_15149() {
    // If we're the parent, copy our own binary to a new directory.
    let my_path = env::current_exe().unwrap();

    let temp = tmpdir();
    let child_dir = temp.path().join("issue-15140-child");
    fs::create_dir_all(&child_dir).unwrap();

    let child_path = child_dir.join(&format!("mytest{}", env::consts::EXE_SUFFIX));
    fs::copy(&my_path, &child_path).unwrap();

    // Append the new directory to our own PATH.
    let path = {
        let mut paths: Vec<_> = env::split_paths(&env::var_os("PATH").unwrap()).collect();
        paths.push(child_dir.to_path_buf());
        env::join_paths(paths).unwrap()
    };

    let child_output =
        process::Command::new("mytest").env("PATH", &path).arg("child").output().unwrap();

    assert!(
        child_output.status.success(),
        "child assertion failed\n child stdout:\n {}\n child stderr:\n {}",
        str::from_utf8(&child_output.stdout).unwrap(),
        str::from_utf8(&child_output.stderr).unwrap()
    );
}

fn pipe_creation_clone_and_rw() {
    let (rx, tx) = pipe().unwrap();

    tx.try_clone().unwrap().write_all(b"12345").unwrap();
    drop(tx);

    let mut rx2 = rx.try_clone().unwrap();
    drop(rx);

    let mut s = String::new();
    rx2.read_to_string(&mut s).unwrap();
    drop(rx2);
    assert_eq!(s, "12345");
}

goroutines_foreign_tests::goroutine_tests! {
    pipe_subprocess,
    issue_15149,
    pipe_creation_clone_and_rw,
}
