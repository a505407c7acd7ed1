//! What the network examples share: the command line, accepting connections, the process's limits.

pub mod http;

use goroutines::go;
use std::fmt::Display;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

pub use goroutines_examples::usage;

/// The words of the command line, taken out one by one.
#[derive(Debug)]
pub struct Args {
    words: Vec<String>,
    help: &'static str,
}

impl Args {
    /// Prints `help` and ends the program if the command line asks for it.
    #[must_use]
    pub fn new(help: &'static str) -> Self {
        Self { words: goroutines_examples::args(help), help }
    }

    /// Whether `flag` is there.
    pub fn flag(&mut self, flag: &str) -> bool {
        let at = self.words.iter().position(|word| word == flag);
        at.map(|at| self.words.remove(at)).is_some()
    }

    /// The value after `flag`, which is `what`.
    pub fn value<T: FromStr>(&mut self, flag: &str, what: &str) -> Option<T> {
        let at = self.words.iter().position(|word| word == flag)?;
        self.words.remove(at);
        let value = (at < self.words.len()).then(|| self.words.remove(at));
        match value.and_then(|value| value.parse().ok()) {
            Some(value) => Some(value),
            None => usage(&format!("{flag} takes {what}"), self.help),
        }
    }

    /// The number after `flag`, at least `least`, or else `default`.
    pub fn number(&mut self, flag: &str, least: usize, default: usize) -> usize {
        let what = format!("a whole number, at least {least}");
        let number = self.value(flag, &what).unwrap_or(default);
        if number < least {
            usage(&format!("{flag} takes {what}"), self.help);
        }
        number
    }

    /// The words that are left and are no options.
    #[must_use]
    pub fn rest(self) -> Vec<String> {
        if let Some(option) = self.words.iter().find(|word| word.starts_with('-')) {
            usage(&format!("unknown option {option:?}"), self.help);
        }
        self.words
    }

    /// Nothing may be left.
    pub fn finish(self) {
        let help = self.help;
        if let Some(word) = self.rest().first() {
            usage(&format!("unknown argument {word:?}"), help);
        }
    }
}

/// The exit status; what went wrong is said on stderr.
pub fn report<E: Display>(program: &str, outcome: Result<(), E>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{program}: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Listens on `addr`.
///
/// # Errors
/// What the system says, with the address.
pub fn listen(addr: &str) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(addr)
        .map_err(|e| io::Error::new(e.kind(), format!("can't listen on {addr}: {e}")))?;
    // As many may wait to be accepted as in Go. std asks for 128: of a thousand that come at once, many
    // would come again a second later.
    // SAFETY: no memory is involved, and the descriptor is a listener's.
    let _ = unsafe { libc::listen(listener.as_raw_fd(), 4096) };
    Ok(listener)
}

/// Gives each connection a goroutine that calls `serve`, until accepting fails for good.
pub fn accept_each<F>(listener: &TcpListener, serve: F) -> io::Error
where
    F: Fn(TcpStream) + Clone + Send + 'static,
{
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let serve = serve.clone();
                go(move || serve(stream));
            }
            Err(e) => match e.raw_os_error() {
                Some(libc::EINTR | libc::ECONNABORTED) => {}
                // Connections that end give back what is missing.
                Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                _ => return e,
            },
        }
    }
}

/// Lets the process open as many files as it may, as Go's runtime does, and says how many that is.
#[must_use]
pub fn open_files() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls read and write `limit` only.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return 1024;
        }
        let had = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) != 0 {
            limit.rlim_cur = had;
        }
    }
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// How many OS threads the process has.
#[must_use]
pub fn os_threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}
