//! `cargo xtask oldest`: the library with the oldest Rust and the oldest dependencies that it promises.
//!
//! Both are looked at among the packages (`package.rs`): cargo then chooses the dependencies as it does
//! for a user of the library, and what the tests of this repository need of Rust or of their own
//! dependencies moves nothing.

use crate::Outcome;
use crate::args::{Args, Long, unknown};
use crate::package::Packages;
use crate::run::done;
use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::process::{Command, Stdio};

pub(crate) const USAGE: &str = "\
usage: cargo xtask oldest [--install]

Checks the published crates, with each choice of their features and with warnings denied,

  under the Rust that their `rust-version` names, and the newest dependencies that take that Rust;
  under this Rust, with the oldest version of each dependency that their manifests allow.

  --install  first installs the old Rust, with rustup, where it is missing

The output is left in target/packages.
";

/// Of what comes from crates.io there are no warnings.
const DENY_WARNINGS: &str = "-Dwarnings";
/// Older compilers take for unused what is used where constants are asserted, and there only.
const BUT_UNUSED: &str = "-Adead_code";

pub(crate) fn main(mut args: Args) -> Outcome {
    let mut may_install = false;
    while let Some(arg) = args.next()? {
        match arg {
            Long("install") => may_install = true,
            _ => return Err(unknown(arg)),
        }
    }
    let packages = Packages::unpack("oldest")?;
    let oldest = packages.crates.iter().map(|one| one.rust_version.as_str()).collect::<Vec<_>>();
    let [oldest, others @ ..] = &oldest[..] else { return Err("no crate is published".into()) };
    if others.iter().any(|other| other != oldest) {
        return Err("the published crates don't all name the same rust-version".into());
    }
    let rustc = toolchain(oldest, may_install)?;
    println!("== {rustc}");
    done(&mut packages.cargo(&["generate-lockfile"]))?;
    let flags = [DENY_WARNINGS, BUT_UNUSED];
    let mut good = check(&packages, "rust", &flags, |words| {
        let mut command = Command::new("rustup");
        command.args(["run", oldest, "cargo"]).args(words);
        command
    })?;

    fs::remove_file(packages.folder.join("Cargo.lock"))?;
    let mut choose = packages.cargo(&["generate-lockfile", "-Zdirect-minimal-versions"]);
    // It is an option of nightly's cargo only.
    done(choose.env("RUSTC_BOOTSTRAP", "1"))?;
    println!("== {}", chosen(&packages)?);
    good &= check(&packages, "dependencies", &[DENY_WARNINGS], |words| packages.cargo(words))?;

    packages.end(good)
}

/// What the crates depend on, in the versions that cargo has chosen.
fn chosen(packages: &Packages) -> Result<String, Box<dyn Error>> {
    let mut tree =
        packages.cargo(&["tree", "--workspace", "--no-dedupe", "--depth", "1", "--prefix", "none"]);
    let text = String::from_utf8(tree.output()?.stdout)?;
    // The crates themselves have their folder behind them.
    let others = text.lines().filter(|line| line.contains(" v") && !line.contains('/'));
    Ok(others.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", "))
}

/// What the compiler of `version` says of itself; it is installed if need be and if it may.
fn toolchain(version: &str, may_install: bool) -> Result<String, Box<dyn Error>> {
    let ask = || Command::new("rustup").args(["run", version, "rustc", "--version"]).output();
    let install = ["toolchain", "install", version, "--profile", "minimal"];
    let mut answer = ask().map_err(|e| format!("rustup: {e}"))?;
    if !answer.status.success() && may_install {
        Command::new("rustup").args(install).stdout(Stdio::null()).status()?;
        answer = ask()?;
    }
    if answer.status.success() {
        return Ok(String::from_utf8(answer.stdout)?.trim().to_owned());
    }
    let how = install.join(" ");
    Err(format!("Rust {version} is not installed: rustup {how}, or --install").into())
}

/// Checks each crate with each choice of its features; whether all are good.
fn check(
    packages: &Packages,
    what: &str,
    flags: &[&str],
    cargo: impl Fn(&[&str]) -> Command,
) -> Outcome {
    let mut good = true;
    for one in &packages.crates {
        for features in choices(&one.features) {
            let list = features.join(",");
            let words = ["check", "--locked", "-p", &one.name, "--no-default-features"];
            let mut command = cargo(&words);
            packages.enter(&mut command);
            command
                .args(["--features", &list])
                .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
            let label = format!("{} [{list}]", one.name);
            let log = format!("{}.{what}.{}", one.name, features.join("-"));
            good &= packages.step(&label, &log, &mut command)?;
        }
    }
    Ok(good)
}

/// All choices of some of the features: none of them first, all of them last.
fn choices(features: &[String]) -> Vec<Vec<&str>> {
    let mut choices = vec![Vec::new()];
    for feature in features {
        let mut with = choices.clone();
        with.iter_mut().for_each(|choice| choice.push(feature.as_str()));
        choices.extend(with);
    }
    choices
}

#[cfg(test)]
mod tests {
    use super::choices;

    #[test]
    fn each_choice_once() {
        assert_eq!(choices(&[]), [Vec::<&str>::new()]);
        let features = ["a".to_owned(), "b".to_owned()];
        assert_eq!(choices(&features), [vec![], vec!["a"], vec!["b"], vec!["a", "b"]]);
    }
}
