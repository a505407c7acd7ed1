//! The floor under the HTTP servers: a bare epoll loop a processor, with the same protocol code, which
//! runs what has come and knows neither tasks nor queues.

use goroutines_bench::epoll::Epoll;
use goroutines_bench::http::{Exchange, respond};
use goroutines_bench::server::{burn, listening, options};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{FromRawFd, IntoRawFd, RawFd};
use std::sync::Arc;
use std::thread;

fn main() -> io::Result<()> {
    let options = options();
    let listener = TcpListener::bind(options.addr)?;
    listening(&listener, listener.local_addr());
    for _ in 0..options.hogs {
        thread::spawn(burn);
    }
    let mut loops = Vec::new();
    for _ in 0..options.procs {
        let epoll = Arc::new(Epoll::new()?);
        loops.push(Arc::clone(&epoll));
        thread::spawn(move || serve_all(&epoll));
    }
    // In turn, so that all have as many. This thread sleeps once all have come.
    for epoll in loops.iter().cycle() {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        epoll.add(stream.into_raw_fd())?;
    }
    Ok(())
}

/// Serves the connections that `epoll` is told of.
fn serve_all(epoll: &Epoll) -> io::Result<()> {
    let mut connections: HashMap<RawFd, (TcpStream, Exchange)> = HashMap::new();
    loop {
        epoll.wait(None, |fd| {
            let (stream, http) = connections.entry(fd).or_insert_with(|| {
                // SAFETY: the thread that accepted it has left it to this loop, which did not know it.
                (unsafe { TcpStream::from_raw_fd(fd) }, Exchange::default())
            });
            if !serve(stream, http).unwrap_or(false) {
                connections.remove(&fd);
            }
            Ok(())
        })?;
    }
}

/// Reads once and answers; whether the connection goes on. An answer always fits the socket.
fn serve(stream: &mut TcpStream, http: &mut Exchange) -> io::Result<bool> {
    let n = stream.read(http.space())?;
    if n == 0 {
        return Ok(false);
    }
    let goes_on = http.received(n, |request, out| {
        respond(request, "200 OK", "text/plain", b"Hello, World!", out);
    });
    stream.write_all(&http.output)?;
    http.output.clear();
    Ok(goes_on)
}
