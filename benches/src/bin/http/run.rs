//! One run of one server: start it, look at one answer, drive it with `wrk`, end it.

use crate::servers::Server;
use goroutines_bench::child::output;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// What all servers answer.
const ANSWER: &str =
    "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\nHello, World!";

/// The kernel counts CPU time in these.
const TICKS_A_SECOND: f64 = 100.0;

/// What a run is made with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) procs: u32,
    pub(crate) hogs: u32,
    pub(crate) conns: u32,
    pub(crate) seconds: u32,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { procs, hogs, conns, .. } = self;
        write!(f, "{procs} procs, {hogs} hogs, {conns} connections")
    }
}

/// What `wrk` found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figures {
    pub(crate) requests_a_second: f64,
    /// None where nothing was answered.
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// CPU time of the server. None where nothing was answered.
    pub(crate) cpu_us_each: Option<f64>,
    /// Answers that did not come, or were wrong ones.
    pub(crate) errors: u64,
}

pub(crate) fn there_is_wrk() -> bool {
    Command::new("wrk").arg("--version").output().is_ok()
}

/// A server that runs; killed when dropped, by its own handle.
struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
    addr: String,
}

impl Running {
    fn start(mut command: Command) -> Result<Self, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| e.to_string())?;
        let out = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        let mut running = Self { child, out, addr: String::new() };
        running.out.read_line(&mut running.addr).map_err(|e| e.to_string())?;
        match running.addr.trim_end().strip_prefix("listening on ").map(str::to_owned) {
            Some(addr) => running.addr = addr,
            None => return Err(format!("the server said {:?}", running.addr)),
        }
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

pub(crate) fn once(server: &Server, setting: Setting) -> Result<Figures, String> {
    let running = Running::start(server.command(setting.procs, setting.hogs))?;
    // Beside hogs, some never answer: that is what the figures show.
    if setting.hogs == 0 {
        look_at_answer(&running.addr)?;
    }
    let before = running.ticks();
    let mut wrk = Command::new("wrk");
    wrk.arg("-t1").arg(format!("-c{}", setting.conns)).arg(format!("-d{}s", setting.seconds));
    wrk.arg("--latency").arg(format!("http://{}/", running.addr));
    let printed = output(&mut wrk, Duration::from_secs(u64::from(setting.seconds) + 30));
    let printed = printed.map_err(|failure| format!("wrk: {failure}"))?;
    let cpu_us = (running.ticks() - before) / TICKS_A_SECOND * 1e6;
    parse(&printed, cpu_us).ok_or_else(|| format!("wrk printed {printed:?}"))
}

fn look_at_answer(addr: &str) -> Result<(), String> {
    let get = || {
        let mut stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes())?;
        let mut answer = vec![0; ANSWER.len()];
        stream.read_exact(&mut answer)?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = get().map_err(|e| format!("no answer: {e}"))?;
    if answer == ANSWER.as_bytes() {
        return Ok(());
    }
    Err(format!("another answer: {:?}", String::from_utf8_lossy(&answer)))
}

fn parse(printed: &str, cpu_us: f64) -> Option<Figures> {
    let after = |prefix: &str| {
        printed.lines().find_map(|line| line.trim().strip_prefix(prefix).map(str::trim))
    };
    let requests = printed
        .lines()
        .find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<f64>().ok())?;
    let answered = requests > 0.0;
    let latency = |percent| after(percent).and_then(milliseconds).filter(|_| answered);
    // Socket errors: connect 0, read 0, write 0, timeout 64
    let socket = after("Socket errors:").unwrap_or_default();
    let numbers = socket.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<u64>().ok());
    let others = after("Non-2xx or 3xx responses:").and_then(|n| n.parse().ok()).unwrap_or(0);
    Some(Figures {
        requests_a_second: after("Requests/sec:")?.parse().ok()?,
        p50_ms: latency("50%"),
        p99_ms: latency("99%"),
        cpu_us_each: answered.then(|| cpu_us / requests),
        errors: numbers.sum::<u64>() + others,
    })
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
    use super::{Figures, milliseconds, parse};

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
        let figures = Figures {
            requests_a_second: 99_900.5,
            p50_ms: Some(0.62),
            p99_ms: Some(11.5),
            cpu_us_each: Some(5.0),
            errors: 4,
        };
        assert_eq!(parse(text, 1e6), Some(figures));
        let none = text.replace("200000 requests", "0 requests");
        assert_eq!(parse(&none, 1e6).unwrap().p99_ms, None);
        assert_eq!(parse("unable to connect", 0.0), None);
    }

    #[test]
    fn times() {
        let all = ["120.00us", "1.20ms", "1.20s", "1.00m", "x"].map(milliseconds);
        assert_eq!(all, [Some(0.12), Some(1.2), Some(1200.0), Some(60_000.0), None]);
    }
}
