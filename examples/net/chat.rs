//! A WebSocket chat server with the blocking `tungstenite` crate: what a client says goes to all.
//!
//! A client has two goroutines, one that reads what it says and one that writes what all say, as chat
//! servers in Go have. Each has a `WebSocket` of its own over the same connection ([`Shared`]).

use goroutines::{WaitGroup, go};
use goroutines_net_examples::{Args, Long, accept_each, listen, open_files, os_threads, report};
use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tungstenite::client::client_with_config;
use tungstenite::protocol::{Role, WebSocketConfig};
use tungstenite::{Message, Utf8Bytes, WebSocket, accept_with_config};

const HELP: &str = "chat: a WebSocket chat server: what a client says is sent to all
usage: chat [--addr ADDRESS:PORT] [--demo [--clients N] [--messages M]]
  --addr ADDRESS:PORT  where to listen (default 127.0.0.1:0: a free port, which is printed)
  --demo               clients in this process talk to each other, then the program ends
  --clients N          with --demo: clients (default 20)
  --messages M         with --demo: messages of each (default 10)
Two goroutines a client. A client that does not read what the others say is disconnected.";

/// Messages that may wait for a client to read them.
const BACKLOG: usize = 4096;

/// Of tungstenite's buffers; it clears one of 128 KiB for each read unless told otherwise.
fn config() -> Option<WebSocketConfig> {
    Some(WebSocketConfig::default().read_buffer_size(4 << 10))
}

#[goroutines::main]
fn main() -> ExitCode {
    let mut addr = "127.0.0.1:0".to_owned();
    let (mut demo, mut clients, mut messages) = (false, 20, 10);
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("addr") => addr = args.value("ADDRESS:PORT"),
            Long("demo") => demo = true,
            Long("clients") => clients = args.number(1),
            Long("messages") => messages = args.number(1),
            _ => args.unknown(),
        }
    }
    let _ = open_files();
    report("chat", run(&addr, demo.then_some((clients, messages))))
}

fn run(addr: &str, demo: Option<(usize, usize)>) -> io::Result<()> {
    let listener = listen(addr)?;
    println!("listening on {}", listener.local_addr()?);
    let addr = listener.local_addr()?.to_string();
    let room = Arc::new(Room::default());
    let serve_all = move || accept_each(&listener, move |stream| drop(serve(stream, &room)));
    let Some((clients, messages)) = demo else { return Err(serve_all()) };
    go(serve_all);
    let start = Instant::now();
    let heard = talk_all(&addr, clients, messages);
    let (time, threads) = (start.elapsed().as_millis(), os_threads());
    let said = clients * messages;
    println!("{clients} clients said {said} messages and heard {heard}");
    println!("{time} ms, {threads} OS threads");
    if heard == said * clients { Ok(()) } else { Err(io::Error::other("messages were lost")) }
}

/// Who is there.
#[derive(Default)]
struct Room {
    members: Mutex<HashMap<usize, SyncSender<Utf8Bytes>>>,
    joined: AtomicUsize,
}

impl Room {
    fn join(&self) -> (usize, Receiver<Utf8Bytes>) {
        let number = self.joined.fetch_add(1, Ordering::Relaxed);
        let (send, receive) = sync_channel(BACKLOG);
        self.members.lock().unwrap_or_else(PoisonError::into_inner).insert(number, send);
        (number, receive)
    }

    /// Whose channel is closed will be disconnected by the goroutine that writes.
    fn leave(&self, number: usize) {
        self.members.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    fn say(&self, text: &Utf8Bytes) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|_, member| member.try_send(text.clone()).is_ok());
    }
}

/// A client's connection, for its two WebSockets: what one writes is never within what the other writes.
#[derive(Clone)]
struct Shared(Arc<(TcpStream, Mutex<()>)>);

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.0.0).read(buffer)
    }
}

impl Write for Shared {
    /// Writes all: a WebSocket hands over whole frames.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _alone = self.0.1.lock().unwrap_or_else(PoisonError::into_inner);
        (&self.0.0).write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn serve(stream: TcpStream, room: &Arc<Room>) -> tungstenite::Result<()> {
    stream.set_nodelay(true)?;
    let stream = Shared(Arc::new((stream, Mutex::new(()))));
    let (number, heard) = room.join();
    let leave = Leave(Arc::clone(room), number);
    let mut reads = accept_with_config(stream.clone(), config())
        .map_err(|e| io::Error::other(e.to_string()))?;
    let mut writes = WebSocket::from_raw_socket(stream.clone(), Role::Server, config());
    go(move || {
        // All that waits goes out together.
        while let Ok(text) = heard.recv()
            && writes.write(Message::Text(text)).is_ok()
            && heard.try_iter().all(|text| writes.write(Message::Text(text)).is_ok())
            && writes.flush().is_ok()
        {}
        let _ = stream.0.0.shutdown(Shutdown::Both);
    });
    loop {
        // Pings and the end are answered in here; after the end it is an error.
        if let Message::Text(text) = reads.read()? {
            leave.0.say(&text);
        }
    }
}

/// Leaves the room.
struct Leave(Arc<Room>, usize);

impl Drop for Leave {
    fn drop(&mut self) {
        self.0.leave(self.1);
    }
}

/// How many messages were heard by clients that each say some.
fn talk_all(addr: &str, clients: usize, messages: usize) -> usize {
    let (heard, ended) = (Arc::new(AtomicUsize::new(0)), WaitGroup::new());
    let all_are_there = Arc::new(Barrier::new(clients));
    for number in 0..clients {
        let (addr, heard) = (addr.to_owned(), Arc::clone(&heard));
        let all_are_there = Arc::clone(&all_are_there);
        ended.go(move || {
            let connected = connect(&addr);
            all_are_there.wait();
            let talked = connected.and_then(|mut socket| {
                talk(&mut socket, number, messages, clients * messages, &heard)
            });
            if let Err(e) = talked {
                eprintln!("chat: client {number}: {e}");
            }
        });
    }
    ended.wait();
    heard.load(Ordering::Relaxed)
}

fn connect(addr: &str) -> tungstenite::Result<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let (socket, _) = client_with_config(format!("ws://{addr}/"), stream, config())
        .map_err(|e| io::Error::other(e.to_string()))?;
    Ok(socket)
}

/// Says its messages, each after it has heard the one before, until it has heard all of all.
fn talk(
    socket: &mut WebSocket<TcpStream>,
    number: usize,
    messages: usize,
    all: usize,
    heard: &AtomicUsize,
) -> tungstenite::Result<()> {
    let prefix = format!("client {number}: ");
    let mut said = 0;
    for n in 0..=all {
        let own = n == 0 || {
            let text = socket.read()?.into_text()?;
            heard.fetch_add(1, Ordering::Relaxed);
            text.starts_with(&prefix)
        };
        if own && said < messages {
            socket.send(Message::text(format!("{prefix}message {said}")))?;
            said += 1;
        }
    }
    let _ = socket.close(None);
    Ok(())
}
