//! The HTTP server on OS threads, one a connection. They know nothing of `--procs`.

use peers::http::Exchange;
use peers::{burn, hello, listening, options};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

fn main() {
    let options = options();
    let listener = TcpListener::bind(options.addr).expect("a free address");
    listening(&listener, listener.local_addr());
    for _ in 0..options.hogs {
        thread::spawn(burn);
    }
    loop {
        let (stream, _) = listener.accept().expect("a connection");
        thread::spawn(move || serve(stream));
    }
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
