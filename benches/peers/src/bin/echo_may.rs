//! The echo server on may, a coroutine a connection.

use may::go;
use may::net::{TcpListener, TcpStream};
use peers::{ECHO_BUFFER, listening, options};
use std::io::{self, Read, Write};

fn main() {
    let options = options();
    may::config().set_workers(options.procs);
    may::config().set_worker_pin(false); // nobody else is pinned
    let accept_all = move || {
        let listener = TcpListener::bind(options.addr).expect("a free address");
        listening(&listener, listener.local_addr());
        loop {
            let (stream, _) = listener.accept().expect("a connection");
            go!(move || serve(stream));
        }
    };
    go!(accept_all).join().expect("it does not panic");
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
