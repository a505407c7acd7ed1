//! A run of a server: start it, look at one answer, load it, end it.

use crate::peers::{Kind, OURS, Peer};
use crate::run::{Figure, judge};
use goroutines_bench::build::target_dir;
use goroutines_bench::child::{Failure, output};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// What all HTTP servers answer.
const ANSWER: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\nHello, World!";

/// How long a server is loaded.
const SECONDS: u32 = 2;

/// How long a server may take to start, and the load to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tasks that burn CPU, in the cases that have some.
const HOGS: u32 = 4;

/// The kernel counts CPU time in these.
const TICKS_A_SECOND: f64 = 100.0;

/// What a server is loaded with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Load {
    conns: u32,
    hogs: u32,
}

impl Load {
    /// `http_64`, `http_hogs_64`, `echo_100`.
    fn of(case: &str) -> Option<Self> {
        let conns = case.rsplit_once('_')?.1.parse().ok()?;
        Some(Self { conns, hogs: if case.contains("_hogs_") { HOGS } else { 0 } })
    }
}

/// Whether there is what HTTP servers are loaded with.
pub(crate) fn there_is_wrk() -> bool {
    Command::new("wrk").arg("--version").output().is_ok()
}

/// Runs a case whose program is a server.
pub(crate) fn once(
    peer: &Peer,
    program: &Path,
    case: &str,
    procs: u32,
) -> Result<Vec<Figure>, Failure> {
    let failed = |why: String| Failure::Failed(why);
    let load = Load::of(case).ok_or_else(|| failed(format!("{case} has no number")))?;
    let running = Running::start(&mut command(peer, program, load.hogs, procs)).map_err(failed)?;
    if Kind::of(case) == Kind::Echo {
        return echo(&running, load);
    }
    // Beside hogs, some never answer: that is what the figures show.
    if load.hogs == 0 {
        look_at_answer(&running.addr).map_err(failed)?;
    }
    http(&running, load)
}

/// What starts a server.
fn command(peer: &Peer, program: &Path, hogs: u32, procs: u32) -> Command {
    let mut command = Command::new(program);
    command.args(["--addr", "127.0.0.1:0", "--hogs"]).arg(hogs.to_string());
    if peer.name == OURS {
        command.env("GOMAXPROCS", procs.to_string());
    } else {
        command.arg("--procs").arg(procs.to_string());
    }
    command
}

/// A server that runs; killed when dropped, by its own handle.
struct Running {
    child: Child,
    addr: String,
}

impl Running {
    fn start(command: &mut Command) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| e.to_string())?;
        let out = child.stdout.take();
        let mut running = Self { child, addr: String::new() };
        let line = out.map(first_line).and_then(|line| line.recv_timeout(PATIENCE).ok());
        let line = line.ok_or("the server says nothing")?;
        let addr = line.trim_end().strip_prefix("listening on ");
        running.addr = addr.ok_or_else(|| format!("the server said {line:?}"))?.to_owned();
        Ok(running)
    }

    /// CPU time that it has had.
    fn ticks(&self) -> f64 {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        // pid (name) state …: utime and stime are the 12th and 13th after the name.
        let after = stat.rsplit_once(") ").map_or("", |(_, after)| after);
        after.split(' ').skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a line, and then what nobody wants, so that it can be written.
fn first_line(out: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let (mut out, mut line) = (BufReader::new(out), String::new());
        let _ = out.read_line(&mut line);
        // Nobody listens any more if it came too late.
        let _ = sender.send(line);
        let _ = io::copy(&mut out, &mut io::sink());
    });
    receiver
}

fn echo(running: &Running, load: Load) -> Result<Vec<Figure>, Failure> {
    let mut client = Command::new(target_dir().join("release/echo-load"));
    client.args([&running.addr, &load.conns.to_string(), &SECONDS.to_string()]);
    judge(&output(&mut client, Duration::from_secs(SECONDS.into()) + PATIENCE)?)
}

fn http(running: &Running, load: Load) -> Result<Vec<Figure>, Failure> {
    let before = running.ticks();
    let mut wrk = Command::new("wrk");
    wrk.arg("-t1").arg(format!("-c{}", load.conns)).arg(format!("-d{SECONDS}s"));
    wrk.arg("--latency").arg(format!("http://{}/", running.addr));
    let printed = output(&mut wrk, Duration::from_secs(SECONDS.into()) + PATIENCE)?;
    let cpu_us = (running.ticks() - before) / TICKS_A_SECOND * 1e6;
    let mut figures = parse(&printed, cpu_us)
        .ok_or_else(|| Failure::Failed(format!("wrk printed {printed:?}")))?;
    // What the hogs use says nothing.
    figures.retain(|figure| load.hogs == 0 || figure.name != "cpu");
    Ok(figures)
}

fn look_at_answer(addr: &str) -> Result<(), String> {
    let get = || {
        let mut stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes())?;
        let mut answer = vec![0; ANSWER.len()];
        stream.read_exact(&mut answer)?;
        Ok::<_, io::Error>(answer)
    };
    let answer = get().map_err(|e| format!("no answer: {e}"))?;
    if answer == ANSWER.as_bytes() {
        return Ok(());
    }
    Err(format!("another answer: {:?}", String::from_utf8_lossy(&answer)))
}

/// What `wrk` found. Latency and CPU time a request are left out where nothing was answered; answers that
/// did not come, or were wrong ones, are a figure if there are some.
fn parse(printed: &str, cpu_us: f64) -> Option<Vec<Figure>> {
    let after = |prefix: &str| {
        printed.lines().find_map(|line| line.trim().strip_prefix(prefix).map(str::trim))
    };
    let requests = printed
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<f64>().ok())?;
    let mut figures = vec![Figure::new("", "req/s", after("Requests/sec:")?.parse().ok()?)];
    if requests > 0.0 {
        figures.push(Figure::new("p99", "ms", after("99%").and_then(milliseconds)?));
        figures.push(Figure::new("cpu", "µs", cpu_us / requests));
    }
    // Socket errors: connect 0, read 0, write 0, timeout 64
    let socket = after("Socket errors:").unwrap_or_default();
    let numbers = socket.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok());
    let others = after("Non-2xx or 3xx responses:").and_then(|n| n.parse().ok()).unwrap_or(0);
    let errors = numbers.sum::<u64>() + others;
    if errors > 0 {
        figures.push(Figure::new("errors", "errors", errors as f64));
    }
    Some(figures)
}

/// `12.30us`, `1.20ms`, `1.20s`, `1.00m`.
fn milliseconds(text: &str) -> Option<f64> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let value: f64 = text.strip_suffix(unit)?.parse().ok()?;
    match unit {
        "us" => Some(value / 1e3),
        "ms" => Some(value),
        "s" => Some(value * 1e3),
        "m" => Some(value * 60e3),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Load, milliseconds, parse};
    use crate::run::Figure;

    #[test]
    fn loads() {
        assert_eq!(Load::of("http_1000"), Some(Load { conns: 1000, hogs: 0 }));
        assert_eq!(Load::of("http_hogs_64"), Some(Load { conns: 64, hogs: 4 }));
        assert_eq!(Load::of("http_many"), None);
    }

    #[test]
    fn what_wrk_prints() {
        let text = "Running 2s test @ http://127.0.0.1:33333/\n  1 threads and 64 connections\n  \
                    Thread Stats   Avg      Stdev     Max   +/- Stdev\n    \
                    Latency     1.30ms    2.28ms  32.15ms   90.94%\n    \
                    Req/Sec   100.00k     1.00k  110.00k    70.00%\n  Latency Distribution\n     \
                    50%  620.00us\n     75%    1.12ms\n     90%    3.00ms\n     99%   11.50ms\n  \
                    200000 requests in 2.00s, 19.00MB read\n  \
                    Socket errors: connect 0, read 1, write 0, timeout 3\n\
                    Requests/sec:  99900.50\nTransfer/sec:      9.50MB\n";
        let rate = Figure::new("", "req/s", 99_900.5);
        let errors = Figure::new("errors", "errors", 4.0);
        let (p99, cpu) = (Figure::new("p99", "ms", 11.5), Figure::new("cpu", "µs", 5.0));
        assert_eq!(parse(text, 1e6), Some(vec![rate.clone(), p99, cpu, errors.clone()]));
        let none = text.replace("200000 requests", "0 requests");
        assert_eq!(parse(&none, 1e6), Some(vec![rate, errors]));
        assert_eq!(parse("unable to connect", 0.0), None);
    }

    #[test]
    fn times() {
        let all = ["120.00us", "1.20ms", "1.20s", "1.00m", "x"].map(milliseconds);
        assert_eq!(all, [Some(0.12), Some(1.2), Some(1200.0), Some(60_000.0), None]);
    }
}
