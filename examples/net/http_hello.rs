//! An HTTP/1.1 keep-alive server on blocking `std::net`, a goroutine a connection.

use goroutines::go;
use goroutines_net_examples::http::{Exchange, respond};
use goroutines_net_examples::{Args, Long, accept_each, listen, open_files, report};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

const HELP: &str = "http_hello: answers every HTTP/1.1 request with Hello, World!
usage: http_hello [--addr ADDRESS:PORT] [--max-requests N] [--hogs N]
  --addr ADDRESS:PORT  where to listen (default 127.0.0.1:0: a free port, which is printed)
  --max-requests N     ends after N answers (default: never)
  --hogs N             N goroutines beside it that burn CPU and never yield (default 0)
A goroutine a connection, blocking reads and writes. GOMAXPROCS says on how many processors.";

#[goroutines::main]
fn main() -> ExitCode {
    let (mut addr, mut most, mut hogs) = ("127.0.0.1:0".to_owned(), usize::MAX, 0);
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("addr") => addr = args.value("ADDRESS:PORT"),
            Long("max-requests") => most = args.number(1),
            Long("hogs") => hogs = args.number(0),
            _ => args.unknown(),
        }
    }
    let _ = open_files();
    report("http_hello", run(&addr, most, hogs))
}

fn run(addr: &str, most: usize, hogs: usize) -> io::Result<()> {
    let listener = listen(addr)?;
    println!("listening on {}", listener.local_addr()?);
    for _ in 0..hogs {
        go(burn);
    }
    let (ended, end) = channel();
    let count = Count { answered: Arc::default(), most, ended: ended.clone() };
    go(move || {
        let e = accept_each(&listener, move |stream| {
            // A client that goes away is its own affair.
            let _ = serve(stream, &count);
        });
        let _ = ended.send(Err(e));
    });
    end.recv().map_err(io::Error::other)??;
    println!("answered {most} requests");
    Ok(())
}

fn serve(mut stream: TcpStream, count: &Count) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut http = Exchange::default();
    loop {
        let n = stream.read(http.space())?;
        if n == 0 {
            return Ok(());
        }
        let mut answers = 0;
        let goes_on = http.received(n, |request, out| {
            respond(request, "200 OK", "text/plain", b"Hello, World!", out);
            answers += 1;
        });
        stream.write_all(&http.output)?;
        http.output.clear();
        count.add(answers);
        if !goes_on {
            return Ok(());
        }
    }
}

/// How many requests have been answered.
#[derive(Clone)]
struct Count {
    answered: Arc<AtomicUsize>,
    most: usize,
    ended: Sender<io::Result<()>>,
}

impl Count {
    fn add(&self, answers: usize) {
        // Where there is no end, nobody counts: the processors would fight for the counter.
        if self.most < usize::MAX
            && self.answered.fetch_add(answers, Ordering::Relaxed) + answers >= self.most
        {
            let _ = self.ended.send(Ok(()));
        }
    }
}

fn burn() {
    loop {
        std::hint::spin_loop();
    }
}
