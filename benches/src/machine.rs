//! What the figures were measured on.

use crate::build::folder;
use std::fs::read_to_string;
use std::process::{Command, Stdio};

/// The machine, the tools and the moment. A field is `?` where nobody says.
#[derive(Debug)]
pub struct Machine {
    /// The CPUs' model.
    pub cpu: String,
    /// How many of them may be used.
    pub cores: usize,
    /// Linux' version.
    pub kernel: String,
    /// For instance `glibc 2.36`.
    pub libc: String,
    /// For instance `rustc 1.95.0 (…)`.
    pub rustc: String,
    /// Year, month and day, in UTC.
    pub date: String,
    /// The commit, with `-dirty` if something has been changed since.
    pub commit: String,
}

impl Machine {
    /// This one, now.
    #[must_use]
    pub fn look() -> Self {
        let or = |text: Option<String>| text.unwrap_or_else(|| "?".to_owned());
        let file = |path| read_to_string(path).ok();
        Self {
            cpu: or(file("/proc/cpuinfo").as_deref().and_then(model)),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: or(file("/proc/sys/kernel/osrelease").map(|text| text.trim().to_owned())),
            libc: or(says("getconf", &["GNU_LIBC_VERSION"])),
            rustc: or(says("rustc", &["--version"])),
            date: or(says("date", &["-u", "+%F"])),
            commit: or(says("git", &["describe", "--always", "--dirty", "--exclude=*"])),
        }
    }

    /// In a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { cpu, cores, kernel, libc, rustc, .. } = self;
        format!("{cores} CPUs ({cpu}), Linux {kernel}, {libc}, {rustc}; nothing is pinned.")
    }
}

fn model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(": ")?.1.trim().to_owned())
}

/// The line that a program prints.
fn says(program: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let output = command.args(args).current_dir(folder(".")).stderr(Stdio::null()).output().ok()?;
    let line = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::{Machine, model};

    #[test]
    fn models() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n";
        assert_eq!(model(text).as_deref(), Some("Some CPU @ 2 GHz"));
    }

    #[test]
    fn this_machine() {
        let machine = Machine::look();
        assert!(machine.cores > 0 && machine.kernel.contains('.'), "{machine:?}");
        assert!(machine.sentence().contains(" CPUs (") && machine.libc != "?", "{machine:?}");
    }
}
