//! Running a program to its end, or to the end of our patience.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// Why a program gave no figures.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was killed after this long.
    Hung(Duration),
    /// What went wrong.
    Failed(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hung(after) => write!(f, "hung: killed after {} s", after.as_secs()),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// Runs `command`; gives what it printed.
///
/// # Errors
/// If it can't be started, takes longer than `at_most`, or ends with another status than 0.
pub fn output(command: &mut Command, at_most: Duration) -> Result<String, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    match command.spawn() {
        Ok(child) => watch(child, at_most),
        Err(e) => Err(Failure::Failed(format!("{}: {e}", command.get_program().display()))),
    }
}

/// Waits for its end, on the pipes: looking at it from time to time would disturb it.
fn watch(mut child: Child, at_most: Duration) -> Result<String, Failure> {
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
        (Err(e), _) => Err(Failure::Failed(e.to_string())),
        (Ok(_), None) => Err(Failure::Hung(at_most)),
        (Ok(status), Some(printed)) if status.success() => Ok(printed),
        (Ok(status), _) => {
            let first = complaint.lines().next().unwrap_or("no word on stderr");
            Err(Failure::Failed(format!("{status}: {first}")))
        }
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

#[cfg(test)]
mod tests {
    use super::{Failure, output};
    use std::process::Command;
    use std::time::Duration;

    fn shell(script: &str) -> Result<String, Failure> {
        output(Command::new("sh").args(["-c", script]), Duration::from_millis(500))
    }

    #[test]
    fn outcomes() {
        assert_eq!(shell("echo ns 12.5"), Ok("ns 12.5\n".to_owned()));
        assert_eq!(shell("exec sleep 100"), Err(Failure::Hung(Duration::from_millis(500))));
        let Err(Failure::Failed(why)) = shell("echo broken >&2; kill -ABRT $$") else { panic!() };
        assert!(why.contains("signal: 6") && why.ends_with(": broken"), "{why}");
        let none = output(&mut Command::new("/no/such"), Duration::from_secs(1));
        assert!(matches!(none, Err(Failure::Failed(why)) if why.starts_with("/no/such: ")));
    }
}
