//! Programs as child processes: their text, exit status and time.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Where a child has not ended after this long, it hangs.
const LIMIT: Duration = Duration::from_secs(40);

/// The limit: `SOAK_SECONDS` is how much longer than usual a child is to run.
fn limit() -> Duration {
    let soak = std::env::var("SOAK_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    LIMIT + Duration::from_secs(soak.unwrap_or(0))
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Ended {
    /// Standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Checks the exit status.
    ///
    /// # Panics
    /// If it is another.
    #[track_caller]
    pub fn expect_status(&self, code: i32) {
        assert_eq!(self.status.code(), Some(code), "exit status; it said:\n{self}");
    }

    /// Checks that a signal ended it.
    ///
    /// # Panics
    /// If it ended otherwise.
    #[track_caller]
    pub fn expect_signal(&self, signal: i32) {
        assert_eq!(self.status.signal(), Some(signal), "signal; it said:\n{self}");
    }

    /// Checks that standard error contains `text`.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn expect_stderr(&self, text: &str) {
        assert!(self.stderr.contains(text), "stderr lacks {text:?}; it said:\n{self}");
    }

    /// Checks that it ended well: status 0, nothing on standard error.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn expect_clean(&self) {
        self.expect_status(0);
        assert!(self.stderr.is_empty(), "unexpected stderr:\n{self}");
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (status, took) = (self.status, self.took);
        write!(f, "[{status} after {took:?}]\n--- stdout\n{}\n--- stderr\n", self.text())?;
        f.write_str(&self.stderr)
    }
}

/// Runs `command` to its end.
///
/// # Panics
/// If it can't be started, or hangs: then the stacks of its threads are shown (by gdb, if there is one)
/// and it is killed.
#[track_caller]
pub fn run_to_end(command: &mut Command) -> Ended {
    let start = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.process_group(0);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => panic!("{command:?}: {e}"),
    };
    let (send, receive) = mpsc::channel();
    // Both pipes end with the process.
    collect(child.stdout.take(), 0, send.clone());
    collect(child.stderr.take(), 1, send);
    let mut found = [Vec::new(), Vec::new()];
    for _ in 0..2 {
        let Ok((which, bytes)) = receive.recv_timeout(limit().saturating_sub(start.elapsed()))
        else {
            let stacks = stacks_of(child.id());
            // With its own children, if there are any.
            let group = i32::try_from(child.id()).unwrap_or(i32::MAX);
            // SAFETY: no memory is involved; the group is the child's, which has not been waited for.
            unsafe { libc::kill(-group, libc::SIGKILL) };
            let _ = child.wait();
            panic!("{command:?} hangs; its threads:\n{stacks}");
        };
        found[which] = bytes;
    }
    let [stdout, stderr] = found;
    let status = match child.wait() {
        Ok(status) => status,
        Err(e) => panic!("waiting for {command:?}: {e}"),
    };
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    Ended { status, stdout, stderr, took: start.elapsed() }
}

/// Sends all that comes out of a pipe, when it ends.
fn collect(
    pipe: Option<impl Read + Send + 'static>,
    which: usize,
    send: mpsc::Sender<(usize, Vec<u8>)>,
) {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = send.send((which, bytes));
    });
}

fn stacks_of(pid: u32) -> String {
    let pid = pid.to_string();
    let args = ["-p", &pid, "-batch", "-ex", "thread apply all bt 12"];
    match Command::new("gdb").args(args).stdin(Stdio::null()).output() {
        Ok(out) => String::from_utf8_lossy(&out.stdout).into_owned(),
        Err(e) => format!("(no gdb: {e})"),
    }
}
