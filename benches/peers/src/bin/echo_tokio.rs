//! The echo server on tokio, a task a connection.

use peers::{ECHO_BUFFER, listening, options};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

fn main() {
    let options = options();
    let rt = Builder::new_multi_thread()
        .worker_threads(options.procs)
        .enable_io()
        .build()
        .expect("a runtime");
    let accept_all = async move {
        let listener = TcpListener::bind(options.addr).await.expect("a free address");
        listening(&listener, listener.local_addr());
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(serve(stream));
        }
    };
    // On a worker: `block_on` alone would run it on this thread, which is none.
    rt.block_on(rt.spawn(accept_all)).expect("it does not panic");
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
