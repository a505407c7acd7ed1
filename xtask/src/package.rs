//! `cargo xtask package`: the published crates, as their users get them.
//!
//! What builds in the repository need not build from crates.io: a package has the files that cargo put
//! into it and no others, no workspace above it, and no settings of the workspace's. So the packages are
//! made, unpacked in an empty folder outside of the repository, and built there. Each finds the others
//! there (`[patch.crates-io]`), as on crates.io there may be none yet, or older ones.

use crate::Outcome;
use crate::args::{Args, Long, unknown, value};
use crate::cargo::{cargo, root};
use crate::metadata::{Crate, published};
use crate::run::{self, done};
use crate::test::counts_of;
use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: cargo xtask package [--only CRATE]

Packs the crates that are published, unpacks them in an empty folder outside of the repository, and
for each of them

  files  compares the package with the crate's folder in the repository: all that git knows of is in
         it, with the texts of both licences and the readme, and nothing else
  build  builds it there, beside the other packages
  tests  runs its tests, those in its documentation too, ten minutes at most
  docs   builds its documentation as docs.rs does: for the targets and with the features that
         `[package.metadata.docs.rs]` names, with `--cfg docsrs`

  --only CRATE  one crate

If all is well the folder is removed. The output is left in target/packages.
";

/// Tests that take longer hang.
const LIMIT: Duration = Duration::from_secs(600);
/// How much of the output of what failed is shown.
const LINES: usize = 100;
/// What each package must have, whatever is in the crate's folder.
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];
/// What cargo adds to a package, or rewrites in it.
const OF_CARGO: [&str; 4] = [".cargo_vcs_info.json", "Cargo.lock", "Cargo.toml", "Cargo.toml.orig"];
const README: &str = "README.md";
/// docs.rs builds for this one where a crate names none.
const DOCS_TARGET: &str = "x86_64-unknown-linux-gnu";

pub(crate) fn main(mut args: Args) -> Outcome {
    let mut only = None;
    while let Some(arg) = args.next()? {
        match arg {
            Long("only") => only = Some(value(&mut args)?),
            _ => return Err(unknown(arg)),
        }
    }
    let packages = Packages::unpack("packages")?;
    let is_wanted = |one: &&Crate| only.as_ref().is_none_or(|only| *only == one.name);
    let wanted: Vec<&Crate> = packages.crates.iter().filter(is_wanted).collect();
    if wanted.is_empty() {
        return Err("no crate of that name is published".into());
    }
    let mut good = true;
    for one in wanted {
        println!("== {} {}", one.name, one.version);
        good &= packages.files(one)?;
        good &= packages.build(one)?;
        good &= packages.tests(one)?;
        good &= packages.docs(one)?;
    }
    packages.end(good)
}

/// The published crates, packed and unpacked again.
pub(crate) struct Packages {
    /// A workspace of theirs.
    pub(crate) folder: PathBuf,
    pub(crate) crates: Vec<Crate>,
}

impl Packages {
    /// Packs the crates, and unpacks them in an empty folder, whose name begins with `name`.
    pub(crate) fn unpack(name: &str) -> Result<Self, Box<dyn Error>> {
        let crates = published()?;
        // One place for each clone of the repository: what was built for it is used again.
        let mut hasher = DefaultHasher::new();
        root().hash(&mut hasher);
        let folder = std::env::temp_dir().join(format!("goroutines-{name}-{:x}", hasher.finish()));
        let packages = Self { folder, crates };
        packages.remove()?;
        fs::create_dir(&packages.folder)?;
        fs::create_dir_all(target())?;

        // Not built by cargo, which would do without the tests and the documentation.
        let mut pack = cargo(&["package", "--no-verify", "--allow-dirty", "--quiet"]);
        pack.arg("--target-dir").arg(target());
        for one in &packages.crates {
            pack.args(["-p", &one.name]);
        }
        done(&mut pack)?;
        for one in &packages.crates {
            let file = target().join("package").join(format!("{}.crate", one.full_name()));
            // The times of packed files don't change with their contents, and cargo looks at times.
            let mut unpack = Command::new("tar");
            done(unpack.arg("-xzmf").arg(file).arg("-C").arg(&packages.folder))?;
        }
        fs::write(packages.folder.join("Cargo.toml"), manifest(&packages.crates))?;
        Ok(packages)
    }

    /// Removes what was unpacked, unless something is wrong with it.
    pub(crate) fn end(self, good: bool) -> Outcome {
        if good {
            self.remove()?;
        } else {
            println!("What was unpacked stays in {}", self.folder.display());
        }
        Ok(good)
    }

    fn remove(&self) -> std::io::Result<()> {
        if self.folder.exists() { fs::remove_dir_all(&self.folder) } else { Ok(()) }
    }

    /// Cargo, among the packages.
    pub(crate) fn cargo(&self, words: &[&str]) -> Command {
        let mut command = cargo(words);
        self.enter(&mut command);
        command
    }

    /// Lets a command run among the packages.
    pub(crate) fn enter(&self, command: &mut Command) {
        command.current_dir(&self.folder).env("CARGO_TARGET_DIR", target());
    }

    /// Runs a step with its output in the file `log`, which is shown if it fails; whether it is good.
    pub(crate) fn step(&self, name: &str, log: &str, command: &mut Command) -> Outcome {
        let log = target().join(format!("{log}.log"));
        // What cargo has started is to end with it.
        let end = |pid: u32| {
            // SAFETY: no memory is involved.
            unsafe { libc::kill(-(pid as i32), libc::SIGKILL) };
        };
        let ended = run::limited(command.process_group(0), &log, LIMIT, end)?;
        println!("{name:8} {}, {:.1} s", ended.verdict(), ended.seconds);
        if !ended.is_success() {
            run::show_end(&log, LINES)?;
        }
        Ok(ended.is_success())
    }

    /// Whether the package has the files that it should have.
    fn files(&self, one: &Crate) -> Outcome {
        let unpacked = self.folder.join(one.full_name());
        let packed = files(&unpacked, &unpacked)?;
        let mut git = Command::new("git");
        let known = git.args(["ls-files", "-z"]).current_dir(&one.folder).output()?;
        let known = String::from_utf8(known.stdout)?;
        let known: Vec<&str> = known.split_terminator('\0').collect();
        if known.is_empty() {
            return Err(format!("git knows no file of {}", one.folder.display()).into());
        }
        let mut faults = differences(&known, &packed);
        for name in known.iter().filter(|name| !OF_CARGO.contains(name)) {
            faults.extend(same(&one.folder.join(name), &unpacked.join(name)));
        }
        for name in LICENCES {
            faults.extend(same(&root().join(name), &unpacked.join(name)));
        }
        faults.extend(same(&one.folder.join(&one.readme), &unpacked.join(README)));
        faults.sort();
        faults.dedup();
        let verdict = if faults.is_empty() { "ok" } else { "FAILED" };
        println!("{:8} {verdict}, {} files", "files", packed.len());
        faults.iter().for_each(|fault| println!("    {fault}"));
        Ok(faults.is_empty())
    }

    fn build(&self, one: &Crate) -> Outcome {
        let mut build = self.cargo(&["build", "-p", &one.name]);
        self.step("build", &format!("{}.build", one.name), &mut build)
    }

    /// Runs the crate's tests, and says how many passed: that might be none.
    fn tests(&self, one: &Crate) -> Outcome {
        let log = format!("{}.tests", one.name);
        let good = self.step("tests", &log, &mut self.cargo(&["test", "-p", &one.name]))?;
        let text = fs::read_to_string(target().join(format!("{log}.log")))?;
        let results = text.lines().filter(|line| line.starts_with("test result:"));
        let passed: u64 = results.map(|line| counts_of(line)[0]).sum();
        println!("{:8} {passed} passed", "");
        Ok(good)
    }

    /// Builds the documentation as docs.rs does.
    fn docs(&self, one: &Crate) -> Outcome {
        let mut targets = one.docs_rs_list("targets");
        targets.extend(one.docs_rs["default-target"].as_str().map(str::to_owned));
        if targets.is_empty() {
            targets.push(DOCS_TARGET.to_owned());
        }
        let mut good = true;
        for target in targets {
            let mut rustdoc = self.cargo(&["rustdoc", "--lib", "-p", &one.name]);
            let flags = [vec!["--cfg".into(), "docsrs".into()], one.docs_rs_list("rustc-args")];
            rustdoc
                .args(["--target", &target])
                .args(one.docs_rs_list("cargo-args"))
                .env("CARGO_ENCODED_RUSTFLAGS", flags.concat().join("\u{1f}"))
                // docs.rs has nightly.
                .env("RUSTC_BOOTSTRAP", "1");
            let features = one.docs_rs_list("features");
            if !features.is_empty() {
                rustdoc.args(["--features", &features.join(",")]);
            }
            for switch in ["all-features", "no-default-features"] {
                if one.docs_rs[switch] == true {
                    rustdoc.arg(format!("--{switch}"));
                }
            }
            rustdoc.args(["--", "--cfg", "docsrs", "-D", "warnings"]);
            rustdoc.args(one.docs_rs_list("rustdoc-args"));
            good &= self.step("docs", &format!("{}.docs", one.name), &mut rustdoc)?;
        }
        Ok(good)
    }
}

impl Crate {
    /// As packages and their folders are called.
    fn full_name(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

/// Where packages are made and built.
fn target() -> PathBuf {
    root().join("target/packages")
}

/// Of the workspace of what was unpacked.
fn manifest(crates: &[Crate]) -> String {
    let mut text = String::from("[workspace]\nresolver = \"3\"\nmembers = [\"goroutines*\"]\n");
    text += "\n[patch.crates-io]\n";
    for one in crates {
        let _ = writeln!(text, "{} = {{ path = {:?} }}", one.name, one.full_name());
    }
    text
}

/// The files in a folder, by their paths from `base`.
fn files(folder: &Path, base: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            all.extend(files(&path, base)?);
        } else {
            all.push(path.strip_prefix(base)?.to_string_lossy().into_owned());
        }
    }
    Ok(all)
}

/// What a package lacks of what git knows, and what it has beyond that.
fn differences(known: &[&str], packed: &[String]) -> Vec<String> {
    let is_packed = |name: &str| packed.iter().any(|packed| packed == name);
    let missing = known.iter().copied().chain(LICENCES).chain([README]);
    let missing = missing.filter(|name| !is_packed(name));
    let is_known = |name: &str| known.contains(&name) || OF_CARGO.contains(&name) || name == README;
    let unknown = packed.iter().filter(|name| !is_known(name));
    let missing = missing.map(|name| format!("{name} is not in the package"));
    missing.chain(unknown.map(|name| format!("{name} is in the package, and not in git"))).collect()
}

/// Complains if two files are there and differ.
fn same(original: &Path, packed: &Path) -> Option<String> {
    let differ = fs::read(original).ok()? != fs::read(packed).ok()?;
    let name = packed.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
    differ.then(|| format!("{name} differs from {}", original.display()))
}

#[cfg(test)]
mod tests {
    use super::differences;

    #[test]
    fn what_is_missing_and_what_is_too_much() {
        let packed =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let known = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "guide/one.md", "src/lib.rs"];
        let whole = packed(&[&known[..], &["README.md", "Cargo.lock"]].concat());
        assert!(differences(&known, &whole).is_empty());
        let wrong = packed(&["Cargo.toml", "LICENSE-MIT", "README.md", "notes", "src/lib.rs"]);
        assert_eq!(
            differences(&known, &wrong),
            [
                "LICENSE-APACHE is not in the package",
                "guide/one.md is not in the package",
                "LICENSE-APACHE is not in the package",
                "notes is in the package, and not in git",
            ]
        );
    }
}
