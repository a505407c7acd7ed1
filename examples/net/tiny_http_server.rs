//! The `tiny_http` crate as it is, with goroutines as its workers.
//!
//! The crate reads requests on OS threads of its own. Of these it starts too few where more than four
//! connections come at once and stay open (version 0.12): some then wait until another one ends.

use goroutines::go;
use goroutines_net_examples::{Args, Long, report};
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use tiny_http::{Response, Server};

const HELP: &str = "tiny_http_server: the tiny_http crate, served by goroutines
usage: tiny_http_server [--addr ADDRESS:PORT] [--workers N] [--max-requests N]
  --addr ADDRESS:PORT  where to listen (default 127.0.0.1:0: a free port, which is printed)
  --workers N          goroutines that answer requests (default 4)
  --max-requests N     ends after N answers (default: never)";

#[goroutines::main]
fn main() -> ExitCode {
    let (mut addr, mut workers, mut most) = ("127.0.0.1:0".to_owned(), 4, usize::MAX);
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("addr") => addr = args.value("ADDRESS:PORT"),
            Long("workers") => workers = args.number(1),
            Long("max-requests") => most = args.number(1),
            _ => args.unknown(),
        }
    }
    report("tiny_http_server", run(&addr, workers, most))
}

fn run(addr: &str, workers: usize, most: usize) -> io::Result<()> {
    let server =
        Server::http(addr).map_err(|e| io::Error::other(format!("can't listen on {addr}: {e}")))?;
    println!("listening on {}", server.server_addr());
    let (server, answered) = (Arc::new(server), Arc::new(AtomicUsize::new(0)));
    let (ended, end) = channel();
    for worker in 0..workers {
        let (server, answered) = (Arc::clone(&server), Arc::clone(&answered));
        let ended = ended.clone();
        go(move || {
            while let Ok(request) = server.recv() {
                let text = format!("Hello from worker {worker}! {}\n", request.url());
                // A client that goes away is its own affair.
                let _ = request.respond(Response::from_string(text));
                if answered.fetch_add(1, Ordering::Relaxed) + 1 >= most {
                    let _ = ended.send(());
                }
            }
        });
    }
    drop(ended);
    // An error too: all workers have ended.
    let _ = end.recv();
    println!("answered {} requests", answered.load(Ordering::Relaxed));
    Ok(())
}
