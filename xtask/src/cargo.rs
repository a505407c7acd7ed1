//! Calling cargo.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The workspace's directory.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Cargo, in the workspace.
pub(crate) fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(words);
    command
}

/// Runs `command`, which builds with `--message-format=json`; the programs that were built.
pub(crate) fn built(command: &mut Command) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let output = command.arg("--message-format=json").stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err("the build failed".into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().filter_map(executable).map(PathBuf::from).collect())
}

/// The program that a message of cargo's names. Paths with quotes or backslashes are not understood.
fn executable(message: &str) -> Option<&str> {
    let (_, after) = message.split_once("\"executable\":\"")?;
    after.split_once('"').map(|(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn messages_name_programs() {
        let message = r#"{"reason":"compiler-artifact","executable":"/t/deps/a-1","fresh":true}"#;
        assert_eq!(executable(message), Some("/t/deps/a-1"));
        assert_eq!(executable(r#"{"reason":"compiler-artifact","executable":null}"#), None);
    }
}
