//! The echo server on blocking `std::net`, a goroutine a connection. `GOMAXPROCS` says on how many
//! processors.

use goroutines::go;
use goroutines_bench::server::{ECHO_BUFFER, listening, options};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

#[goroutines::main]
fn main() -> io::Result<()> {
    let listener = TcpListener::bind(options().addr)?;
    listening(&listener, listener.local_addr());
    loop {
        let (stream, _) = listener.accept()?;
        // A client that goes away is its own affair.
        drop(go(move || drop(serve(stream))));
    }
}

fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; ECHO_BUFFER];
    loop {
        let n = stream.read(&mut buffer)?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n])?;
    }
}
