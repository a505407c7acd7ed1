//! The examples of channels, contexts and groups, in `examples/chan/`: what they print, and how they end.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines_tests::{Ended, run_example as run};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const PROCS: [usize; 3] = [1, 2, 4];

/// Runs a program that must succeed; what it prints.
#[track_caller]
fn prints(name: &str, args: &[&str], procs: usize) -> String {
    let ended = run(name, args, procs);
    ended.expect_status(0);
    ended.text()
}

/// Checks that a program refused its arguments, and says why.
#[track_caller]
fn expect_refusal(name: &str, args: &[&str], problem: &str) {
    let ended = run(name, args, 2);
    ended.expect_status(2);
    assert!(ended.stdout.is_empty(), "{ended}");
    assert!(ended.stderr.starts_with(&format!("{problem}\n\n{name}: ")), "{ended}");
    ended.expect_stderr(&format!("usage: {name}"));
}

/// Checks that it ended in a deadlock, with so many goroutines that wait for that reason.
#[track_caller]
fn expect_deadlock(ended: &Ended, main: &str, others: usize, reason: &str) {
    ended.expect_status(2);
    let text =
        format!("fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1 [{main}]:\n");
    assert!(ended.stderr.starts_with(&text), "{ended}");
    assert_eq!(ended.stderr.matches(&format!(" [{reason}]:\n")).count(), others, "{ended}");
    assert_eq!(ended.stderr.matches("\ngoroutine ").count(), others + 1, "{ended}");
}

/// A file for one test, removed afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, contents: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("goroutines-{name}-{}", std::process::id()));
        fs::write(&path, contents).unwrap();
        Self(path)
    }

    fn name(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn wrong_usage_is_refused() {
    let whole = |flag, least| format!("{flag} takes a whole number, at least {least}");
    for (name, args, problem) in [
        ("pipeline", &["--workers", "0"][..], whole("--workers", 1)),
        ("pipeline", &["--timeout"], whole("--timeout", 0)),
        ("pipeline", &["a", "b"], "pipeline takes one file".to_owned()),
        ("pipeline", &["--what"], "unknown option \"--what\"".to_owned()),
        ("prime_sieve", &["--count", "-1"], whole("--count", 0)),
        ("prime_sieve", &["7"], "unknown argument \"7\"".to_owned()),
        ("worker_pool", &["--below", "1"], whole("--below", 2)),
        ("worker_pool", &["--bits", "0"], whole("--bits", 1)),
        ("worker_pool", &["--bits", "65"], "--bits takes a whole number, 64 at most".to_owned()),
        ("rate_limiter", &["--burst", "0"], whole("--burst", 1)),
        ("rate_limiter", &["--every", "x"], whole("--every", 1)),
        ("pubsub", &["--slow", "wait"], "--slow takes drop or disconnect".to_owned()),
        ("pubsub", &["--slow"], "--slow takes drop or disconnect".to_owned()),
        ("pubsub", &["--queue", "0"], whole("--queue", 1)),
        ("dining_philosophers", &["--philosophers", "1"], whole("--philosophers", 2)),
        (
            "dining_philosophers",
            &["--deadlock", "--order"],
            "dining_philosophers takes one of --order and --deadlock".to_owned(),
        ),
    ] {
        expect_refusal(name, args, &problem);
    }
}

#[test]
fn prime_sieve_finds_the_primes() {
    let is_prime = |n: &u32| (2..*n).all(|divisor| !n.is_multiple_of(divisor));
    let primes: Vec<_> = (2..).filter(is_prime).take(500).map(|n| format!("{n}\n")).collect();
    for procs in PROCS {
        for count in [0, 1, 2, 100, 500] {
            let ended = run("prime_sieve", &["--count", &count.to_string()], procs);
            ended.expect_status(0);
            assert_eq!(ended.text(), primes[..count].concat());
            assert_eq!(ended.stderr, format!("a chain of {} goroutines, 0 left\n", count + 1));
        }
        assert_eq!(prints("prime_sieve", &[], procs), primes[..100].concat(), "the default");
    }
}

#[test]
fn pipeline_factors_numbers_in_their_order() {
    for procs in PROCS {
        for workers in ["1", "4", "50"] {
            let ended = run("pipeline", &["--workers", workers], procs);
            ended.expect_status(0);
            assert_eq!(ended.text(), include_str!("../golden/pipeline.txt"));
            let workers: usize = workers.parse().unwrap();
            assert_eq!(ended.stderr, format!("{} goroutines, 0 left\n", workers + 1));
        }
        let numbers = Scratch::new("numbers", b"0\n1\n2\n 97 \n360\n18446744073709551615");
        let wanted = "0:\n1:\n2: 2\n97: 97\n360: 2 2 2 3 3 5\n\
                      18446744073709551615: 3 5 17 257 641 65537 6700417\n";
        assert_eq!(prints("pipeline", &[numbers.name()], procs), wanted);
        let empty = Scratch::new("empty", b"");
        assert_eq!(prints("pipeline", &[empty.name()], procs), "");
    }
}

/// Far more lines follow than fit between the stages, so all of them wait when it happens.
#[test]
fn pipeline_ends_with_the_first_error() {
    let some: String = (0..300).map(|n| format!("{n}\n")).collect();
    let more = "7\n".repeat(100_000);
    let no_number = Scratch::new("no_number", format!("{some}12x\n{more}").as_bytes());
    let no_text = Scratch::new("no_text", &[some.as_bytes(), b"\xff\n", more.as_bytes()].concat());
    for round in 0..60 {
        let (procs, workers) = (PROCS[round % 3], [1, 4][round / 3 % 2]);
        for (file, problem) in [
            (&no_number, "line 301: \"12x\" is no number"),
            (&no_text, "line 301: stream did not contain valid UTF-8"),
        ] {
            let args = [file.name(), "--workers", &workers.to_string()];
            let ended = run("pipeline", &args, procs);
            ended.expect_status(1);
            assert!(ended.stdout.is_empty(), "{ended}");
            let wanted = format!("{} goroutines, 0 left\npipeline: {problem}\n", workers + 1);
            assert_eq!(ended.stderr, wanted);
        }
    }
    let ended = run("pipeline", &["/no/such/file"], 1);
    ended.expect_status(1);
    assert!(ended.stderr.starts_with("pipeline: /no/such/file: No such file"), "{ended}");
}

/// The greatest prime of 64 bits takes many seconds, of which some are on each of the processors.
#[test]
fn pipeline_ends_when_its_time_is_over() {
    let prime = Scratch::new("prime", &b"18446744073709551557\n".repeat(1000));
    for procs in PROCS {
        for (timeout, workers) in [("0", "4"), ("50", "1"), ("50", "8")] {
            let args = [prime.name(), "--timeout", timeout, "--workers", workers];
            let ended = run("pipeline", &args, procs);
            ended.expect_status(1);
            assert!(ended.stdout.is_empty(), "{ended}");
            let workers: usize = workers.parse().unwrap();
            let wanted = "0 left\npipeline: context deadline exceeded\n";
            assert_eq!(ended.stderr, format!("{} goroutines, {wanted}", workers + 1));
            assert!(ended.took >= Duration::from_millis(timeout.parse().unwrap()), "{ended}");
        }
    }
}

/// The file is a pipe to which nobody writes any more: the reader hangs in `read`, which knows nothing of contexts.
#[test]
fn pipeline_ends_where_its_input_hangs() {
    let pipe = Scratch::new("pipe", b"");
    fs::remove_file(&pipe.0).unwrap();
    let made = Command::new("mkfifo").arg(&pipe.0).status().unwrap();
    assert!(made.success());
    // For both, so that neither waits for the other.
    let mut writer = fs::OpenOptions::new().read(true).write(true).open(&pipe.0).unwrap();
    for procs in PROCS {
        for workers in ["1", "4"] {
            writer.write_all(b"12\n13\n14\n15").unwrap();
            let args = [pipe.name(), "--timeout", "100", "--workers", workers];
            let ended = run("pipeline", &args, procs);
            ended.expect_status(1);
            assert!(ended.stdout.is_empty(), "{ended}");
            let wanted = " goroutines, 0 left\npipeline: context deadline exceeded\n";
            assert!(ended.stderr.ends_with(wanted), "{ended}");
        }
    }
}

/// The numbers are those of OEIS A006877 and A006878.
#[test]
fn worker_pool_finds_the_longest_sequence() {
    for procs in PROCS {
        for how in [&[][..], &["--group"]] {
            for (args, wanted) in [
                (&[][..], "837799 takes 524 steps\n"),
                (&["--below", "100000", "--workers", "1"], "77031 takes 350 steps\n"),
                (&["--below", "10001", "--workers", "50"], "6171 takes 261 steps\n"),
                (&["--below", "10000", "--size", "1"], "6171 takes 261 steps\n"),
                (&["--below", "1000", "--size", "7"], "871 takes 178 steps\n"),
                (&["--below", "2"], "1 takes 0 steps\n"),
                (&["--below", "159487", "--bits", "32"], "156159 takes 382 steps\n"),
            ] {
                let ended = run("worker_pool", &[args, how].concat(), procs);
                ended.expect_status(0);
                assert_eq!(ended.text(), wanted, "{args:?} {how:?}");
                assert_eq!(ended.stderr, "0 failed, 0 goroutines left\n");
            }
        }
    }
}

#[test]
fn worker_pool_tells_what_failed() {
    for procs in PROCS {
        for workers in ["1", "4"] {
            let of = |args: &[&str]| {
                let all = [&["--bits", "32", "--workers", workers], args].concat();
                let ended = run("worker_pool", &all, procs);
                ended.expect_status(1);
                (ended.text(), ended.stderr)
            };
            let error = |n| format!("worker_pool: the sequence of {n} does not fit into 32 bits\n");
            // In a pool the other jobs go on.
            let (out, err) = of(&["--below", "1000000"]);
            assert_eq!(out, "511935 takes 469 steps\n");
            let three = [error(159_487), error(212_649), error(239_231)].concat();
            assert_eq!(err, format!("{three}57 failed, 0 goroutines left\n"));
            // In a group they don't.
            let (out, err) = of(&["--below", "160000", "--group"]);
            assert_eq!(out, "");
            assert_eq!(err, format!("{}1 failed, 0 goroutines left\n", error(159_487)));
            let (out, err) = of(&["--below", "1000000", "--group"]);
            assert_eq!(out, "");
            assert!(err.ends_with(" bits\n1 failed, 0 goroutines left\n"), "{err}");
        }
    }
}

#[test]
fn rate_limiter_keeps_to_its_rate() {
    for procs in PROCS {
        for (requests, burst, every) in [(10, 3, 20), (5, 1, 30), (3, 50, 20), (0, 1, 20)] {
            let [r, b, e] = [requests, burst, every].map(|n: usize| n.to_string());
            let args = ["--requests", &r, "--burst", &b, "--every", &e, "--patience", "60000"];
            let ended = run("rate_limiter", &args, procs);
            ended.expect_status(0);
            assert_eq!(ended.text(), format!("{requests} let through, 0 gave up\n"));
            let lines: Vec<_> = ended.stderr.lines().collect();
            assert_eq!(lines.last(), Some(&"0 goroutines left"));
            assert_eq!(lines.len(), requests + 1, "{ended}");
            for (i, line) in lines[..requests].iter().enumerate() {
                let (time, number) = line.split_once(" ms: number ").unwrap();
                assert_eq!(number.parse(), Ok(i + 1), "{ended}");
                let time: usize = time.trim().parse().unwrap();
                assert!(time >= (i + 1).saturating_sub(burst) * every, "too early: {ended}");
            }
        }
    }
}

#[test]
fn rate_limiter_lets_requests_give_up() {
    for procs in PROCS {
        for patience in ["0", "100"] {
            let args = ["--requests", "1000", "--burst", "7", "--every", "3600000"];
            let ended =
                run("rate_limiter", &[&args[..], &["--patience", patience]].concat(), procs);
            ended.expect_status(0);
            assert_eq!(ended.text(), "7 let through, 993 gave up\n");
            ended.expect_stderr("\n0 goroutines left\n");
            assert!(ended.took >= Duration::from_millis(patience.parse().unwrap()), "{ended}");
        }
    }
}

#[test]
fn pubsub_serves_each_as_it_asked() {
    let others = |readers: usize, messages: usize| {
        let all = (1..=readers).map(|n| format!("reader {n} received {messages} messages\n"));
        let leaver = format!("leaver received {} messages\n", messages.div_ceil(2));
        all.chain([leaver, "other received \"sunny\"\n".to_owned()]).collect::<String>()
    };
    let last = |n: usize| format!("slow received \"number {n}\" last\n");
    for procs in PROCS {
        for (messages, readers, queue) in [(1000, 3, 10), (101, 20, 100), (10, 0, 1), (1, 1, 1)] {
            let [m, r, q] = [messages, readers, queue].map(|n: usize| n.to_string());
            let args = ["--messages", &m, "--readers", &r, "--queue", &q, "--slow"];
            let of = |when_full| {
                let ended = run("pubsub", &[&args[..], &[when_full]].concat(), procs);
                ended.expect_status(0);
                assert_eq!(ended.stderr, "0 goroutines left\n");
                ended.text()
            };
            let (others, last) = (others(readers, messages), last(queue.min(messages)));
            let (missed, cut_off) = if queue < messages {
                let missed = format!("slow missed {} messages\n", messages - queue);
                (missed, format!("slow is cut off before \"number {}\"\n", queue + 1))
            } else {
                (String::new(), String::new())
            };
            assert_eq!(of("drop"), [&*missed, &others, &last].concat());
            assert_eq!(of("disconnect"), [&*cut_off, &others, &last].concat());
        }
        let wanted = ["slow missed 990 messages\n", &others(3, 1000), &last(10)].concat();
        assert_eq!(prints("pubsub", &[], procs), wanted, "the defaults");
    }
}

#[test]
fn dining_philosophers_all_eat() {
    for procs in PROCS {
        for how in [&[][..], &["--order"], &["--mutex"], &["--order", "--mutex"]] {
            for (philosophers, meals) in [("5", "1000"), ("2", "300"), ("50", "20")] {
                let args = ["--philosophers", philosophers, "--meals", meals];
                let ended = run("dining_philosophers", &[&args[..], how].concat(), procs);
                ended.expect_clean();
                let [philosophers, meals]: [usize; 2] =
                    [philosophers, meals].map(|n| n.parse().unwrap());
                let line = |n| format!("fork {n} was used {} times\n", meals * 2);
                assert_eq!(ended.text(), (0..philosophers).map(line).collect::<String>());
            }
        }
    }
}

#[test]
fn dining_philosophers_may_starve() {
    for round in 0..5 {
        for procs in PROCS {
            for philosophers in [2, 5, 20] {
                let number = philosophers.to_string();
                let args = ["--deadlock", "--philosophers", &number, "--mutex"];
                for (args, reason) in [(&args[..3], "chan receive"), (&args[..], "futex")] {
                    let ended = run("dining_philosophers", args, procs);
                    assert_eq!(ended.text(), "each has taken the left fork\n", "run {round}");
                    expect_deadlock(&ended, "thread::scope", philosophers, reason);
                    ended.expect_stderr("eat_with");
                    assert!(!ended.stderr.contains("/src/sched/"), "{ended}");
                    assert!(!ended.stderr.contains("catch_unwind"), "{ended}");
                    ended.expect_stderr("examples/chan/dining_philosophers.rs:");
                }
            }
        }
    }
}
