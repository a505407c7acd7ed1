//! Which TCP ports of this machine are open: a goroutine a port, blocking `connect_timeout`.

use goroutines::go;
use goroutines_net_examples::{Args, Long, Value, open_files, os_threads, report, usage};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

const HELP: &str = "port_scan: prints the open TCP ports of a loopback address
usage: port_scan [ADDRESS] [--ports FIRST-LAST] [--at-once N] [--timeout MILLISECONDS]
  ADDRESS                 one of 127.0.0.0/8, and no other (default 127.0.0.1)
  --ports FIRST-LAST      the ports to try (default 1-1024)
  --at-once N             ports tried at a time, a goroutine each (default 200)
  --timeout MILLISECONDS  how long one is waited for (default 1000)
The summary goes to stderr.";

#[goroutines::main]
fn main() -> ExitCode {
    let (mut ports, mut at_once, mut timeout) = ("1-1024".to_owned(), 200, 1000);
    let mut addresses = Vec::new();
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("ports") => ports = args.value("FIRST-LAST"),
            Long("at-once") => at_once = args.number(1),
            Long("timeout") => timeout = args.number(1) as u64,
            Value(address) => addresses.push(address),
            _ => args.unknown(),
        }
    }
    let timeout = Duration::from_millis(timeout);
    let address = match addresses.as_slice() {
        [] => Ipv4Addr::LOCALHOST,
        [address] => loopback(&address.to_string_lossy()),
        _ => usage("port_scan takes one address", HELP),
    };
    let Some((first, last)) = range(&ports) else {
        usage("--ports takes FIRST-LAST, from 1 to 65535", HELP)
    };
    let at_once = at_once.min(open_files().saturating_sub(20)).max(1);
    report("port_scan", scan(address, first..=last, at_once, timeout))
}

/// Scanning other people's machines is not what this is for.
fn loopback(text: &str) -> Ipv4Addr {
    match text.parse::<Ipv4Addr>() {
        Ok(address) if address.is_loopback() => address,
        Ok(address) => usage(&format!("{address} is not a loopback address (127.0.0.0/8)"), HELP),
        Err(_) => usage(&format!("{text:?} is not an IPv4 address"), HELP),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (1 <= first && first <= last).then_some((first, last))
}

fn scan(
    address: Ipv4Addr,
    ports: impl ExactSizeIterator<Item = u16>,
    at_once: usize,
    timeout: Duration,
) -> io::Result<()> {
    let (start, total, mut ports) = (Instant::now(), ports.len(), ports);
    let (send, receive) = channel();
    let (mut running, mut open) = (0, Vec::new());
    loop {
        while running < at_once
            && let Some(port) = ports.next()
        {
            let send = send.clone();
            go(move || {
                let open = is_open(SocketAddr::from((address, port)), timeout);
                let _ = send.send(open.map(|open| open.then_some(port)));
            });
            running += 1;
        }
        if running == 0 {
            break;
        }
        open.extend(receive.recv().map_err(io::Error::other)??);
        running -= 1;
    }
    open.sort_unstable();
    for port in &open {
        println!("{address}:{port} is open");
    }
    let (open, time, threads) = (open.len(), start.elapsed().as_millis(), os_threads());
    eprintln!("{open} of {total} ports are open; {time} ms, {threads} OS threads");
    Ok(())
}

fn is_open(to: SocketAddr, timeout: Duration) -> io::Result<bool> {
    match TcpStream::connect_timeout(&to, timeout) {
        // A port that nobody listens on can be connected to itself, when the kernel picks it for this end.
        Ok(stream) => Ok(stream.local_addr()? != to),
        Err(e) => match e.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::TimedOut => Ok(false),
            _ => Err(io::Error::new(e.kind(), format!("{to}: {e}"))),
        },
    }
}
