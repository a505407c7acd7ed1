//! `cargo xtask glibc-matrix`: the tests under other versions of glibc.
//!
//! The thread blocks that goroutines-switch makes depend on glibc's insides. Debian's packages of newer
//! versions are unpacked under `target/glibc`, and the tests are linked so that they use that loader and
//! that libc. (Started by hand, as `ld.so PROGRAM`, a program's own name would be the loader's, and what
//! it starts would have the system's libc.)

use crate::Outcome;
use crate::args::{Args, Long, unknown, value};
use crate::cargo::{cargo, root};
use crate::run::done;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) const USAGE: &str = "\
usage: cargo xtask glibc-matrix [--suite NAME] [--test NAME]

Fetches libc6 of Debian's suites with apt, into target/glibc, and runs the workspace's tests under
each. Where it can't be fetched, the suite is left out.

  --suite NAME  one suite (default: trixie and sid)
  --test NAME   one test program, and no examples
";

const SUITES: [&str; 2] = ["trixie", "sid"];
const TARGET: &str = "x86_64-unknown-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";
/// Where the package has the libraries.
const LIBRARIES: [&str; 2] = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
const EXAMPLES: [&str; 2] = ["orchestration", "time_slicing"];

pub(crate) fn main(mut args: Args) -> Outcome {
    let (mut suite, mut test) = (None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Long("suite") => suite = Some(value(&mut args)?),
            Long("test") => test = Some(value(&mut args)?),
            _ => return Err(unknown(arg)),
        }
    }
    if !cfg!(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")) {
        println!("glibc-matrix: only for {TARGET}; left out");
        return Ok(true);
    }
    let mut good = true;
    for suite in suite.as_deref().map_or(SUITES.to_vec(), |suite| vec![suite]) {
        match Glibc::fetch(suite) {
            Ok(glibc) => good &= glibc.run(test.as_deref())?,
            Err(e) => println!("{suite}: left out: {e}"),
        }
    }
    Ok(good)
}

/// An unpacked libc6.
struct Glibc {
    suite: String,
    /// Where its loader and libraries are.
    libraries: PathBuf,
}

impl Glibc {
    /// Fetches and unpacks the package, unless it is there.
    fn fetch(suite: &str) -> Result<Self, Box<dyn Error>> {
        if !suite.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err("that is no name of a suite".into());
        }
        let place = root().join("target/glibc").join(suite);
        let unpacked = place.join("root");
        if find_libraries(&unpacked).is_none() {
            let package = Apt::new(&place, suite)?.download("libc6")?;
            let mut unpack = Command::new("dpkg-deb");
            done(unpack.arg("-x").arg(package).arg(&unpacked))?;
        }
        let libraries = find_libraries(&unpacked).ok_or("the package has no loader")?;
        Ok(Self { suite: suite.to_owned(), libraries })
    }

    /// Runs the tests, or one of them; whether they passed.
    fn run(&self, test: Option<&str>) -> Outcome {
        println!("== {}: {}", self.suite, self.version());
        let mut tests = self.cargo(&["test", "--no-fail-fast"]);
        match test {
            Some(name) => tests.args(["--workspace", "--test", name]),
            None => tests.args(["--workspace", "--tests", "--examples"]),
        };
        let mut good = tests.status()?.success();
        if test.is_none() {
            for example in EXAMPLES {
                good &= self.compare(example)?;
            }
        }
        println!("== {}: {}", self.suite, if good { "ok" } else { "FAILED" });
        Ok(good)
    }

    /// Cargo, building for this glibc.
    fn cargo(&self, words: &[&str]) -> Command {
        let libraries = self.libraries.display();
        let flags = [
            format!("-Clink-arg=-Wl,--dynamic-linker={libraries}/{LOADER}"),
            format!("-Clink-arg=-Wl,-rpath,{libraries}"),
        ];
        let mut command = cargo(words);
        command
            .args(["--target", TARGET])
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env("CARGO_TARGET_DIR", root().join("target/glibc").join(&self.suite).join("build"));
        command
    }

    /// Whether an example prints what it should.
    fn compare(&self, example: &str) -> Outcome {
        let golden = root().join("tests/golden").join(format!("{example}.txt"));
        let Ok(golden) = fs::read(golden) else { return Ok(true) };
        let mut run = self.cargo(&["run", "--quiet", "--release", "--example", example]);
        let output = run.stderr(Stdio::inherit()).output()?;
        let good = output.status.success() && output.stdout == golden;
        println!("{example}: {}", if good { "ok" } else { "prints something else: FAILED" });
        Ok(good)
    }

    /// What the loader says of itself.
    fn version(&self) -> String {
        let output = Command::new(self.libraries.join(LOADER)).arg("--version").output();
        let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        text.ok().and_then(|text| text.lines().next().map(str::to_owned)).unwrap_or_default()
    }
}

fn find_libraries(unpacked: &Path) -> Option<PathBuf> {
    LIBRARIES.iter().map(|at| unpacked.join(at)).find(|at| at.join(LOADER).exists())
}

/// apt with lists, cache and sources of its own, apart from the system's.
struct Apt {
    place: PathBuf,
}

impl Apt {
    fn new(place: &Path, suite: &str) -> Result<Self, Box<dyn Error>> {
        for directory in ["state/lists/partial", "cache/archives/partial", "packages"] {
            fs::create_dir_all(place.join(directory))?;
        }
        fs::write(place.join("status"), "")?;
        let sources = format!(
            "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: {suite}\nComponents: main\n\
             Architectures: amd64\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        );
        fs::write(place.join("suite.sources"), sources)?;
        Ok(Self { place: place.to_owned() })
    }

    fn apt(&self) -> Command {
        let at = |name: &str| self.place.join(name).display().to_string();
        let mut apt = Command::new("apt-get");
        for (option, value) in [
            ("Dir::State", at("state")),
            ("Dir::State::status", at("status")),
            ("Dir::Cache", at("cache")),
            ("Dir::Etc::sourcelist", at("suite.sources")),
            ("Dir::Etc::sourceparts", "/dev/null".into()),
            ("APT::Sandbox::User", "root".into()),
            ("Acquire::Languages", "none".into()),
            ("Acquire::IndexTargets::deb::DEP-11::DefaultEnabled", "false".into()),
        ] {
            apt.arg("-o").arg(format!("{option}={value}"));
        }
        apt.args(["-o", "Acquire::Retries=2", "-q"]).current_dir(self.place.join("packages"));
        apt
    }

    /// Fetches a package.
    fn download(&self, name: &str) -> Result<PathBuf, Box<dyn Error>> {
        done(self.apt().arg("update"))?;
        done(self.apt().args(["download", name]))?;
        let packages = fs::read_dir(self.place.join("packages"))?.flatten().map(|file| file.path());
        let mut debs = packages.filter(|path| path.extension().is_some_and(|e| e == "deb"));
        debs.next().ok_or_else(|| "apt has fetched nothing".into())
    }
}
