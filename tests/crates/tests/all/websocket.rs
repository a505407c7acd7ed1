//! `tungstenite`: an echo server, a goroutine a connection, and its clients.

use crate::harness::{bytes, each, nothing, on_procs};
use goroutines::thread;
use std::net::{SocketAddr, TcpListener, TcpStream};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

const CLIENTS: usize = 16;
const MESSAGES: usize = 30;

/// Echoes `n` connections to their ends, each in a goroutine; gives the reasons of their ends.
fn serve(listener: &TcpListener, n: usize) -> Vec<String> {
    thread::scope(|scope| {
        let connections: Vec<_> = (0..n)
            .map(|_| {
                let (stream, _) = listener.accept().unwrap();
                scope.spawn(move || echo(tungstenite::accept(stream).unwrap()))
            })
            .collect();
        connections.into_iter().map(|connection| connection.join().unwrap()).collect()
    })
}

/// Echoes until the close handshake is over; gives the client's reason.
fn echo(mut socket: WebSocket<TcpStream>) -> String {
    let mut reason = None;
    loop {
        match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).unwrap(),
            Ok(Message::Close(Some(frame))) => {
                assert_eq!(frame.code, CloseCode::Normal);
                reason = Some(frame.reason.to_string());
            }
            Ok(other) => panic!("unexpected: {other}"),
            Err(Error::ConnectionClosed) => return reason.expect("a close frame before the end"),
            Err(error) => panic!("{error}"),
        }
    }
}

fn connect(address: SocketAddr) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    tungstenite::client(format!("ws://{address}/echo"), stream).unwrap().0
}

/// The `n`-th message of client `i`: text and binary in turn, from empty to several frames of the kernel.
fn message(i: usize, n: usize) -> Message {
    let len = [0, 10, 125, 126, 4_000, 66_000][(i + n) % 6];
    let content = bytes((i * MESSAGES + n) as u64, len);
    if n.is_multiple_of(2) {
        Message::text(content.iter().map(|&b| char::from(b' ' + b % 95)).collect::<String>())
    } else {
        Message::binary(content)
    }
}

/// Says goodbye, and waits until the other side has.
fn close(mut socket: WebSocket<TcpStream>, reason: String) {
    let frame = CloseFrame { code: CloseCode::Normal, reason: reason.clone().into() };
    socket.close(Some(frame.clone())).unwrap();
    assert_eq!(socket.read().unwrap(), Message::Close(Some(frame)), "the server's answer");
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)), "the end");
}

#[test]
fn tungstenite_echoes_text_and_binary_and_closes() {
    on_procs("tungstenite_echoes", nothing, |(), _| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut reasons = thread::scope(|scope| {
            let server = scope.spawn(|| serve(&listener, CLIENTS));
            each(CLIENTS, |i| {
                let mut socket = connect(address);
                for n in 0..MESSAGES {
                    let sent = message(i, n);
                    socket.send(sent.clone()).unwrap();
                    assert!(socket.read().unwrap() == sent, "message {n} of client {i}");
                }
                close(socket, format!("client {i:02} is done"));
            });
            server.join().unwrap()
        });
        reasons.sort();
        let expected: Vec<_> = (0..CLIENTS).map(|i| format!("client {i:02} is done")).collect();
        assert_eq!(reasons, expected);
    });
}

/// Clients that have greeted wait for a message.
#[cfg(feature = "intercept")]
#[test]
fn open_websockets_need_few_threads() {
    use crate::harness::expect_few_threads;
    const OPEN: usize = 64;
    on_procs("open_websockets", nothing, |(), _| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::scope(|scope| {
            let accept = || tungstenite::accept(listener.accept().unwrap().0).unwrap();
            let server = scope.spawn(move || (0..OPEN).map(|_| accept()).collect::<Vec<_>>());
            let wait = |i| {
                let mut socket = connect(address);
                assert_eq!(socket.read().unwrap(), Message::text("now"), "client {i}");
            };
            expect_few_threads(OPEN, wait, || {
                for mut socket in server.join().unwrap() {
                    socket.send(Message::text("now")).unwrap();
                }
            });
        });
    });
}
