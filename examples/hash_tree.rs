//! SHA-1 of every file under a directory, a goroutine a file.

use goroutines::runtime::{self, blocking};
use goroutines::{JoinHandle, go};
use goroutines_examples::{args, hex, usage};
use sha1::{Digest, Sha1};
use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const HELP: &str = "hash_tree: the SHA-1 of every file under a directory, as sha1sum prints it
usage: hash_tree DIR
A goroutine a file; files are read while other goroutines run. Progress goes to stderr. Files that can't
be read are reported and skipped, and make the exit status 1. Symbolic links are not followed.";

/// Files that are open at a time: descriptors are few, goroutines are not.
const OPEN: usize = 256;

#[goroutines::main]
fn main() -> ExitCode {
    let args = args(HELP);
    let [dir] = args.as_slice() else { usage("hash_tree takes one directory", HELP) };
    let mut problems = 0;
    let mut files = Vec::new();
    walk(Path::new(dir), &mut files, &mut problems);
    files.sort();

    let total = files.len();
    let hashed = Arc::new(AtomicUsize::new(0));
    let mut out = BufWriter::new(io::stdout().lock());
    for some in files.chunks(OPEN) {
        let running: Vec<(&PathBuf, JoinHandle<_>)> = some
            .iter()
            .map(|path| {
                let (file, hashed) = (path.clone(), Arc::clone(&hashed));
                let hash = go(move || {
                    let sum = sha1(&file);
                    hashed.fetch_add(1, Ordering::Relaxed);
                    sum
                });
                (path, hash)
            })
            .collect();
        for (path, hash) in running {
            match hash.join() {
                Ok(Ok(sum)) => {
                    if let Err(e) = print(&mut out, &sum, path) {
                        eprintln!("hash_tree: standard output: {e}");
                        return ExitCode::from(1);
                    }
                }
                Ok(Err(e)) => report(path, &e, &mut problems),
                Err(_) => report(path, &io::Error::other("its goroutine panicked"), &mut problems),
            }
        }
        eprintln!("{} of {total} files", hashed.load(Ordering::Relaxed));
    }
    if let Err(e) = out.flush() {
        eprintln!("hash_tree: standard output: {e}");
        problems += 1;
    }
    eprintln!("{total} files by goroutines on {} processors", runtime::gomaxprocs(0));
    ExitCode::from(u8::from(problems > 0))
}

fn report(path: &Path, e: &io::Error, problems: &mut usize) {
    eprintln!("hash_tree: {}: {e}", path.display());
    *problems += 1;
}

/// Collects the files under `dir`.
fn walk(dir: &Path, files: &mut Vec<PathBuf>, problems: &mut usize) {
    let entries = match blocking(|| std::fs::read_dir(dir)) {
        Ok(entries) => entries,
        Err(e) => return report(dir, &e, problems),
    };
    for entry in entries {
        match entry.and_then(|entry| Ok((entry.file_type()?, entry.path()))) {
            Ok((kind, path)) if kind.is_dir() => walk(&path, files, problems),
            Ok((kind, path)) if kind.is_file() => files.push(path),
            Ok(_) => {}
            Err(e) => report(dir, &e, problems),
        }
    }
}

/// The SHA-1 of a file's contents.
fn sha1(path: &Path) -> io::Result<[u8; 20]> {
    let mut file = blocking(|| File::open(path))?;
    let mut hash = Sha1::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match blocking(|| file.read(&mut buffer)) {
            Ok(0) => return Ok(hash.finalize().into()),
            Ok(n) => hash.update(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// A line as `sha1sum` prints it; a name with a newline, a return or a backslash is escaped.
fn print(out: &mut impl Write, sum: &[u8], path: &Path) -> io::Result<()> {
    let name = path.as_os_str().as_bytes();
    if name.iter().any(|b| matches!(b, b'\n' | b'\r' | b'\\')) {
        write!(out, "\\{}  ", hex(sum))?;
        for byte in name {
            match byte {
                b'\n' => out.write_all(b"\\n")?,
                b'\r' => out.write_all(b"\\r")?,
                b'\\' => out.write_all(b"\\\\")?,
                other => out.write_all(&[*other])?,
            }
        }
    } else {
        write!(out, "{}  ", hex(sum))?;
        out.write_all(name)?;
    }
    writeln!(out)
}
