//! Running a program for a limited time.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How a program ended.
pub(crate) struct Ended {
    /// None: it took too long, and was killed.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) seconds: f64,
}

impl Ended {
    pub(crate) fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// In words.
    pub(crate) fn verdict(&self) -> String {
        match self.status {
            Some(status) if status.success() => "ok".into(),
            Some(status) => format!("FAILED ({status})"),
            None => "HANGS".into(),
        }
    }
}

/// Runs `command` with its output in `log`. If it takes longer than `limit`, `look` is called with its
/// process id, and it is killed.
pub(crate) fn limited(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    look: impl FnOnce(u32),
) -> io::Result<Ended> {
    let out = File::create(log)?;
    let err = out.try_clone()?;
    let begin = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()?;
    let status = wait(&mut child, begin + limit)?;
    if status.is_none() {
        look(child.id());
        child.kill()?;
        child.wait()?;
    }
    Ok(Ended { status, seconds: begin.elapsed().as_secs_f64() })
}

fn wait(child: &mut Child, until: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= until {
            return Ok(status);
        }
        sleep(LOOK_AGAIN);
    }
}

/// Prints the last `lines` of what `limited` left in `log`.
pub(crate) fn show_end(log: &Path, lines: usize) -> io::Result<()> {
    let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
    let skipped = text.lines().count().saturating_sub(lines);
    text.lines().skip(skipped).for_each(|line| println!("    {line}"));
    Ok(())
}

/// Runs a command that must succeed.
pub(crate) fn done(command: &mut Command) -> Result<(), Box<dyn Error>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{name}: {e}"))?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("{name}: {}: {}", output.status, text.trim()).into());
    }
    Ok(())
}
