//! Loads an echo server: `echo-load ADDRESS CONNECTIONS SECONDS`.
//!
//! Each connection sends 64 bytes, waits until they are back, and sends the next. One thread, one epoll
//! loop. Prints the round trips a second of all together, and how long the slowest hundredth took.

use goroutines_bench::epoll::Epoll;
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const MESSAGE: usize = 64;

/// Before it is counted.
const WARM_UP: Duration = Duration::from_millis(200);

struct Connection {
    stream: TcpStream,
    sent: Instant,
    /// What was sent, so many times.
    byte: u8,
    /// So much has come back.
    filled: usize,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| words.get(at).and_then(|word| word.parse().ok()).filter(|n| *n > 0);
    let (Some(addr), Some(conns), Some(seconds)) = (words.first(), number(1), number(2)) else {
        eprintln!("usage: echo-load ADDRESS CONNECTIONS SECONDS");
        return ExitCode::from(2);
    };
    match load(addr, conns, Duration::from_secs(seconds)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("echo-load: {e}");
            ExitCode::FAILURE
        }
    }
}

fn load(addr: &str, conns: u64, time: Duration) -> io::Result<()> {
    let epoll = Epoll::new()?;
    let mut connections = HashMap::new();
    for _ in 0..conns {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        epoll.add(stream.as_raw_fd())?;
        let fd = stream.as_raw_fd();
        connections.insert(fd, Connection { stream, sent: Instant::now(), byte: 0, filled: 0 });
    }
    for connection in connections.values_mut() {
        connection.send()?;
    }
    drop(round_trips(&epoll, &mut connections, WARM_UP)?);
    let begin = Instant::now();
    let mut took = round_trips(&epoll, &mut connections, time)?;
    let rate = took.len() as f64 / begin.elapsed().as_secs_f64();
    println!("round_trips/s {rate:.1}");
    took.sort_unstable();
    if let Some(slow) = took.get(took.len() * 99 / 100) {
        println!("p99 µs {:.1}", slow.as_nanos() as f64 / 1e3);
    }
    Ok(())
}

/// How long each took that ended within `time`.
fn round_trips(
    epoll: &Epoll,
    connections: &mut HashMap<RawFd, Connection>,
    time: Duration,
) -> io::Result<Vec<Duration>> {
    let mut took = Vec::new();
    let begin = Instant::now();
    while let Some(left) = time.checked_sub(begin.elapsed()) {
        epoll.wait(Some(left), |fd| {
            let Some(connection) = connections.get_mut(&fd) else { return Ok(()) };
            took.extend(connection.receive()?);
            Ok(())
        })?;
    }
    Ok(took)
}

impl Connection {
    fn send(&mut self) -> io::Result<()> {
        self.sent = Instant::now();
        self.byte = self.byte.wrapping_add(1);
        self.filled = 0;
        // All that was sent before has been read: there is room.
        self.stream.write_all(&[self.byte; MESSAGE])
    }

    /// Reads once. If all is back, says how long that took, and sends the next.
    fn receive(&mut self) -> io::Result<Option<Duration>> {
        let mut buffer = [0; MESSAGE];
        let n = self.stream.read(&mut buffer[self.filled..])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let come = &buffer[self.filled..][..n];
        if come.iter().any(|byte| *byte != self.byte) {
            return Err(io::Error::other("another message came back"));
        }
        self.filled += n;
        if self.filled < MESSAGE {
            return Ok(None);
        }
        let took = self.sent.elapsed();
        self.send()?;
        Ok(Some(took))
    }
}
