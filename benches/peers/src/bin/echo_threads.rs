//! The echo server on OS threads, one a connection. They know nothing of `--procs`.

use peers::{ECHO_BUFFER, listening, options};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

fn main() {
    let options = options();
    let listener = TcpListener::bind(options.addr).expect("a free address");
    listening(&listener, listener.local_addr());
    loop {
        let (stream, _) = listener.accept().expect("a connection");
        thread::spawn(move || serve(stream));
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
