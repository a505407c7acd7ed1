//! What the servers that are compared share: the command line, and what they say at first.
//!
//! The package `peers` includes this file as a module: it does not depend on this package.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// What an echo server reads at a time.
pub const ECHO_BUFFER: usize = 1024;

/// The command line.
#[derive(Debug)]
pub struct Options {
    /// Where to listen.
    pub addr: String,
    /// Worker threads.
    pub procs: usize,
    /// Tasks that burn CPU and never yield.
    pub hogs: usize,
}

/// Reads it; ends the program if it is wrong.
#[must_use]
pub fn options() -> Options {
    let mut options = Options { addr: "127.0.0.1:0".to_owned(), procs: 2, hogs: 0 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().unwrap_or_default();
        let number = value.parse().ok();
        match (word.as_str(), number) {
            ("--addr", _) => options.addr = value,
            ("--procs", Some(procs)) if procs > 0 => options.procs = procs,
            ("--hogs", Some(hogs)) => options.hogs = hogs,
            _ => {
                eprintln!("usage: PROGRAM [--addr 127.0.0.1:0] [--procs N] [--hogs N]");
                std::process::exit(2)
            }
        }
    }
    options
}

/// Says where the server listens, and lets as many connections wait to be accepted as all others do.
///
/// # Panics
/// If it listens nowhere.
pub fn listening(listener: &impl AsRawFd, addr: std::io::Result<SocketAddr>) {
    // SAFETY: no memory is involved, and the descriptor is a listener's.
    let _ = unsafe { libc::listen(listener.as_raw_fd(), 4096) };
    println!("listening on {}", addr.expect("a listener has an address"));
}

/// Never yields.
pub fn burn() {
    loop {
        std::hint::spin_loop();
    }
}
