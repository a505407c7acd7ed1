//! Runs tests that were written for `std::thread` on goroutines; the README lists them.
//!
//! A suite is a file whose functions are the tests as their authors wrote them, with `goroutines::thread`
//! in the place of `std::thread` and without `#[test]`. At its end [`goroutine_tests!`] names them, and
//! makes a test of each: its body runs as the main goroutine, alone in the process, and more is expected
//! of it than by its author, who could not know when a detached thread has ended:
//!
//! * it ends within a minute;
//! * whatever it started ends too, unless it is named with [`Expect::leaves_some`];
//! * nothing panics, in a detached goroutine neither, unless named with [`Expect::panics`] or
//!   [`Expect::may_panic`].
//!
//! Each program has its suites twice, in modules `at_1` and `at_2` for that many processors: some tests have
//! `static`s, and can run only once.

use goroutines::{runtime, thread};
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError, mpsc};
use std::time::{Duration, Instant};

/// How long a goroutine runs while others wait.
const TIME_SLICE: Duration = Duration::from_micros(100);

/// A body that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// What was started and has not ended this long after the body will not end.
const LEFT_LIMIT: Duration = Duration::from_secs(20);

/// Panics since the current test began, of whatever goroutine or thread.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Whether the current test's panics are not to be reported.
static QUIET: AtomicBool = AtomicBool::new(false);

/// What a test is expected to do, beside to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expect {
    panics: Panics,
    leaves_some: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Panics {
    #[default]
    Never,
    Maybe,
    Always,
    /// The body itself, with a text that contains this.
    Body(&'static str),
}

impl Expect {
    /// Something panics, and the body is prepared for it.
    #[must_use]
    pub fn panics(self) -> Self {
        Self { panics: Panics::Always, ..self }
    }

    /// Something may panic, depending on who comes first.
    #[must_use]
    pub fn may_panic(self) -> Self {
        Self { panics: Panics::Maybe, ..self }
    }

    /// The body panics. (`#[should_panic]`.)
    #[must_use]
    pub fn should_panic(self, text: &'static str) -> Self {
        Self { panics: Panics::Body(text), ..self }
    }

    /// Goroutines are left behind that do not end soon.
    #[must_use]
    pub fn leaves_some(self) -> Self {
        Self { leaves_some: true, ..self }
    }

    /// Whether some may be left behind.
    #[must_use]
    pub fn may_leave_some(self) -> bool {
        self.leaves_some
    }
}

/// Makes tests of functions, each of which may be followed by what is expected of it: `sleep_very_long: leaves_some()`.
#[macro_export]
macro_rules! goroutine_tests {
    ($($name:ident $(: $expect:ident($($text:literal)?))?),+ $(,)?) => {
        mod goroutine {
            $(
                #[test]
                fn $name() {
                    let expect = $crate::Expect::default()$(.$expect($($text)?))?;
                    let name = concat!(module_path!(), "::", stringify!($name));
                    $crate::run(name, expect, super::$name);
                }
            )+
        }
    };
}

/// Runs `body` as the main goroutine, alone in the process, its goroutines preempted every 100 µs.
/// The number of processors is the number in the module `at_` of its name.
///
/// # Panics
/// With the body's panic, and where it does something that is not expected.
pub fn run(name: &'static str, expect: Expect, body: impl FnOnce() + Send) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    start();
    let procs = name.split("::at_").nth(1).and_then(|rest| rest.split("::").next()?.parse().ok());
    runtime::gomaxprocs(
        procs.expect("the suites are in modules named by the number of processors"),
    );
    let _watched = watch(name);
    QUIET.store(expect.panics != Panics::Never, Ordering::SeqCst);
    PANICS.store(0, Ordering::SeqCst);
    let (ended, left) = goroutines::run(|| {
        let before: Vec<u64> = runtime::goroutines().iter().map(|g| g.id).collect();
        let ended = catch_unwind(AssertUnwindSafe(body));
        let left = if expect.leaves_some {
            wait_for_rest(LEFT_LIMIT);
            String::new()
        } else {
            left_over(&before, LEFT_LIMIT)
        };
        (ended, left)
    });
    QUIET.store(false, Ordering::SeqCst);
    let panics = PANICS.load(Ordering::SeqCst);
    match (expect.panics, ended) {
        (Panics::Body(text), Err(payload)) => {
            let found = text_of(&*payload);
            assert!(found.contains(text), "it panicked with {found:?}, not {text:?}");
        }
        (Panics::Body(_), Ok(())) => panic!("it did not panic"),
        (_, Err(payload)) => resume_unwind(payload),
        (Panics::Never, Ok(())) => assert_eq!(panics, 0, "panics of goroutines nobody waits for"),
        (Panics::Always, Ok(())) => assert_ne!(panics, 0, "nothing panicked"),
        (Panics::Maybe, Ok(())) => {}
    }
    assert!(left.is_empty(), "goroutines that do not end:\n{left}");
}

/// Starts the runtime, and counts panics from now on.
fn start() {
    static START: Once = Once::new();
    START.call_once(|| {
        if let Err(e) = runtime::Builder::new().time_slice(TIME_SLICE).start() {
            panic!("{e}");
        }
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            if !QUIET.load(Ordering::SeqCst) && text_of(info.payload()) != "expected" {
                report(info);
            }
        }));
    });
}

/// Waits until all other goroutines wait: what they start on their way there is not the next test's.
fn wait_for_rest(limit: Duration) {
    let start = Instant::now();
    let moves = |g: &runtime::GoroutineInfo| g.state != runtime::GoroutineState::Waiting;
    while runtime::goroutines().iter().filter(|g| moves(g)).count() > 1 && start.elapsed() < limit {
        thread::sleep(Duration::from_micros(200));
    }
}

/// Waits until no goroutines are there but those of before, some of which may end meanwhile. Returns the
/// account of them if that does not happen.
fn left_over(before: &[u64], limit: Duration) -> String {
    let start = Instant::now();
    loop {
        if runtime::num_goroutine() <= before.len() {
            let mut all = runtime::goroutines();
            all.retain(|g| !before.contains(&g.id));
            if all.is_empty() {
                return String::new();
            }
        }
        if start.elapsed() > limit {
            return runtime::goroutines().iter().map(|g| format!("{g}\n")).collect();
        }
        thread::sleep(Duration::from_micros(200));
    }
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> &str {
    match (payload.downcast_ref::<String>(), payload.downcast_ref::<&str>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "",
    }
}

/// A new directory for a test's files, removed when dropped. (library/std/src/test_helpers.rs.)
///
/// # Panics
/// If it can't be made.
#[must_use]
pub fn tmpdir() -> TempDir {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("goroutines-{}-{count}", std::process::id()));
    if let Err(e) = std::fs::create_dir(&dir) {
        panic!("{}: {e}", dir.display());
    }
    TempDir(dir)
}

/// A directory that is removed when this is dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Shows goroutines and threads and aborts the process if what it returns is not dropped in time.
fn watch(name: &'static str) -> mpsc::Sender<()> {
    let (done, waits) = mpsc::channel();
    std::thread::spawn(move || {
        if waits.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            say(&format!("{name} hangs; its goroutines:"));
            show_goroutines();
            say(&threads());
            std::process::abort();
        }
    });
    done
}

/// Parked ones have no thread that a debugger could show. To show them the world must stop, which may hang
/// too.
fn show_goroutines() {
    let (done, waits) = mpsc::channel();
    std::thread::spawn(move || {
        say(&runtime::stacks());
        done.send(())
    });
    let _ = waits.recv_timeout(Duration::from_secs(5));
}

/// The stacks of this process's threads.
fn threads() -> String {
    let pid = std::process::id().to_string();
    let args = ["-p", &pid, "-batch", "-ex", "thread apply all bt 12"];
    match Command::new("gdb").args(args).stdin(Stdio::null()).output() {
        Ok(out) => String::from_utf8_lossy(&out.stdout).into_owned(),
        Err(e) => format!("(no gdb: {e})"),
    }
}

/// Not by eprintln, which the test harness captures.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(format!("\n{text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text of the panic with which [`run`] says what it found.
    fn found(expect: Expect, body: fn()) -> Option<String> {
        let ended = catch_unwind(|| run("the harness::at_1::", expect, body));
        ended.err().map(|payload| text_of(&*payload).to_owned())
    }

    #[test]
    fn what_the_harness_finds() {
        let no = Expect::default();
        assert_eq!(found(no, || {}), None);
        assert_eq!(found(no, || panic!("expected")), Some("expected".into()));
        let detached: fn() = || drop(thread::spawn(|| panic!("expected")));
        assert!(found(no, detached).is_some_and(|text| text.contains("nobody waits for")));
        assert_eq!(found(no.panics(), detached), None);
        assert_eq!(found(no.may_panic(), detached), None);
        assert_eq!(found(no.may_panic(), || {}), None);
        assert!(found(no.panics(), || {}).is_some_and(|text| text.contains("nothing panicked")));
        let body: fn() = || panic!("one text");
        assert_eq!(found(no.should_panic("text"), body), None);
        assert!(found(no.should_panic("other"), body).is_some());
        assert!(found(no.should_panic(""), || {}).is_some());
    }

    #[test]
    fn what_is_left_over() {
        run("the harness::at_1::", Expect::default(), || {
            let before = runtime::goroutines().iter().map(|g| g.id).collect::<Vec<_>>();
            let parked = thread::spawn(thread::park);
            let left = left_over(&before, Duration::from_millis(50));
            assert!(left.contains("thread::park"), "{left}");
            parked.thread().unpark();
            assert_eq!(left_over(&before, Duration::from_secs(10)), "");
        });
    }
}
