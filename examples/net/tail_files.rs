//! Follows files as `tail -f` does: a goroutine a file, which sleeps between two looks.

use goroutines::go;
use goroutines_net_examples::{Args, Long, Value, report, usage};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

const HELP: &str = "tail_files: prints lines that are appended to files, with the file's name
usage: tail_files FILE... [--lines N] [--for SECONDS] [--interval MILLISECONDS]
  --lines N                ends after N lines (default: never)
  --for SECONDS            ends after this long (default: never)
  --interval MILLISECONDS  how long between two looks at a file (default 50)
A file that is cut short is read from its start; so is another file that takes its name. Begins by saying
on stderr that it follows them.";

/// A line, and the name of its file; or what went wrong there.
type Line = io::Result<(String, Vec<u8>)>;

#[goroutines::main]
fn main() -> ExitCode {
    let (mut lines, mut seconds, mut interval) = (usize::MAX, u32::MAX as usize, 50);
    let mut names = Vec::new();
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("lines") => lines = args.number(1),
            Long("for") => seconds = args.number(0),
            Long("interval") => interval = args.number(1) as u64,
            Value(name) => names.push(name.to_string_lossy().into_owned()),
            _ => args.unknown(),
        }
    }
    let interval = Duration::from_millis(interval);
    if names.is_empty() {
        usage("tail_files takes some files", HELP);
    }
    report("tail_files", run(names, lines, Duration::from_secs(seconds as u64), interval))
}

fn run(names: Vec<String>, most: usize, time: Duration, interval: Duration) -> io::Result<()> {
    let (start, count) = (Instant::now(), names.len());
    let (send, receive) = channel();
    for name in names {
        let send = send.clone();
        // Here, so that what is appended from now on is seen.
        let file = Followed::open(&name, SeekFrom::End(0)).map_err(|e| named(&name, &e))?;
        go(move || {
            if let Err(e) = follow(file, &name, interval, &send) {
                let _ = send.send(Err(named(&name, &e)));
            }
        });
    }
    eprintln!("following {count} files");
    let mut out = io::stdout().lock();
    for _ in 0..most {
        match receive.recv_timeout(time.saturating_sub(start.elapsed())) {
            Ok(line) => {
                let (name, line) = line?;
                out.write_all(format!("{name}: ").as_bytes())?;
                out.write_all(&line)?;
                out.flush()?;
            }
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => unreachable!("this end holds a sender too"),
        }
    }
    Ok(())
}

fn named(name: &str, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{name}: {e}"))
}

/// Sends each line of the file that is complete, until nobody listens any more.
fn follow(
    mut file: Followed,
    name: &str,
    interval: Duration,
    send: &Sender<Line>,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        while file.reader.read_until(b'\n', &mut line)? > 0 {
            if line.ends_with(b"\n")
                && send.send(Ok((name.to_owned(), std::mem::take(&mut line)))).is_err()
            {
                return Ok(());
            }
        }
        std::thread::sleep(interval);
        if file.begins_anew(name)? {
            line.clear();
        }
    }
}

struct Followed {
    reader: BufReader<File>,
    inode: u64,
}

impl Followed {
    fn open(name: &str, from: SeekFrom) -> io::Result<Self> {
        let mut file = File::open(name)?;
        file.seek(from)?;
        let inode = file.metadata()?.ino();
        Ok(Self { reader: BufReader::new(file), inode })
    }

    /// Goes back to the start if the file was cut short, and to the file that has its name now.
    fn begins_anew(&mut self, name: &str) -> io::Result<bool> {
        let position = self.reader.stream_position()?;
        let anew = match std::fs::metadata(name) {
            Ok(now) => now.ino() != self.inode || now.len() < position,
            // Between a rename and the new file.
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(e),
        };
        if anew {
            *self = Self::open(name, SeekFrom::Start(0))?;
        }
        Ok(anew)
    }
}
