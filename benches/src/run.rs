//! One run of one program.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

const AT_MOST: Duration = Duration::from_secs(60);

/// What a run came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The number it printed, and its unit.
    Value(f64, String),
    NoSuchCase,
    /// What went wrong.
    Failed(String),
    /// Killed after 60 s.
    Hung,
}

/// Runs `program case procs`.
pub(crate) fn once(program: &Path, case: &str, procs: u32) -> Outcome {
    let mut command = Command::new(program);
    command.arg(case).arg(procs.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    match command.spawn() {
        Ok(child) => watch(child, AT_MOST),
        Err(e) => Outcome::Failed(e.to_string()),
    }
}

/// Waits for its end, on the pipes: looking at it from time to time would disturb it.
fn watch(mut child: Child, at_most: Duration) -> Outcome {
    let out = child.stdout.take().map(read_all);
    let err = child.stderr.take().map(read_all);
    let text = |pipe: Option<Receiver<String>>, patience| {
        pipe.and_then(|pipe| pipe.recv_timeout(patience).ok())
    };
    let printed = text(out, at_most);
    if printed.is_none() {
        // It may have ended in this moment; then there is nothing to kill.
        let _ = child.kill();
    }
    let complaint = text(err, Duration::from_secs(1)).unwrap_or_default();
    match (child.wait(), printed) {
        (Err(e), _) => Outcome::Failed(e.to_string()),
        (Ok(_), None) => Outcome::Hung,
        (Ok(status), Some(printed)) => judge(status, &printed, &complaint),
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        // Nobody listens any more if it came too late.
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn judge(status: ExitStatus, printed: &str, complaint: &str) -> Outcome {
    if !status.success() {
        let first = complaint.lines().next().unwrap_or("no word on stderr");
        return Outcome::Failed(format!("{status}: {first}"));
    }
    let line = printed.trim();
    if line == "none" {
        return Outcome::NoSuchCase;
    }
    let parsed = line.split_once(' ').and_then(|(unit, value)| Some((value.parse().ok()?, unit)));
    match parsed {
        Some((value, unit)) => Outcome::Value(value, unit.to_owned()),
        None => Outcome::Failed(format!("printed {line:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, watch};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    fn shell(script: &str) -> Outcome {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdout(Stdio::piped()).stderr(Stdio::piped());
        watch(command.spawn().unwrap(), Duration::from_millis(500))
    }

    #[test]
    fn outcomes() {
        assert_eq!(shell("echo ns 12.5"), Outcome::Value(12.5, "ns".to_owned()));
        assert_eq!(shell("echo none"), Outcome::NoSuchCase);
        assert_eq!(shell("exec sleep 100"), Outcome::Hung);
        let Outcome::Failed(why) = shell("echo broken >&2; kill -ABRT $$") else { panic!() };
        assert!(why.contains("signal: 6") && why.ends_with(": broken"), "{why}");
        assert_eq!(shell("echo 12"), Outcome::Failed("printed \"12\"".to_owned()));
    }
}
