//! The HTTP server on may, a coroutine a connection.

use may::go;
use may::net::{TcpListener, TcpStream};
use peers::http::Exchange;
use peers::{burn, hello, listening, options};
use std::io::{self, Read, Write};

fn main() {
    let options = options();
    may::config().set_workers(options.procs);
    may::config().set_worker_pin(false); // nobody else is pinned
    let accept_all = move || {
        let listener = TcpListener::bind(options.addr).expect("a free address");
        listening(&listener, listener.local_addr());
        for _ in 0..options.hogs {
            go!(burn);
        }
        loop {
            let (stream, _) = listener.accept().expect("a connection");
            go!(move || serve(stream));
        }
    };
    go!(accept_all).join().expect("it does not panic");
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut http = Exchange::default();
    loop {
        let n = stream.read(http.space())?;
        if n == 0 {
            return Ok(());
        }
        let goes_on = http.received(n, hello);
        stream.write_all(&http.output)?;
        http.output.clear();
        if !goes_on {
            return Ok(());
        }
    }
}
