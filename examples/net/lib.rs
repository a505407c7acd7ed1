//! What the network examples share: accepting connections, the process's limits.

pub mod http;

use goroutines::go;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

pub use goroutines_examples::{Args, Long, Value, report, usage};

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
