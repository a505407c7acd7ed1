//! The echo server on smol, a task a connection, run by as many threads as there are processors.

use peers::{ECHO_BUFFER, listening, options};
use smol::future::pending;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{Executor, block_on};
use std::io;
use std::os::fd::AsFd;
use std::thread;

static EXECUTOR: Executor<'static> = Executor::new();

fn main() {
    let options = options();
    for _ in 0..options.procs {
        thread::spawn(|| block_on(EXECUTOR.run(pending::<()>())));
    }
    let accept_all = EXECUTOR.spawn(async move {
        let listener = TcpListener::bind(options.addr).await.expect("a free address");
        listening(&listener.as_fd(), listener.local_addr());
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            EXECUTOR.spawn(serve(stream)).detach();
        }
    });
    block_on(accept_all)
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; ECHO_BUFFER];
    loop {
        let n = stream.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..n]).await?;
    }
}
