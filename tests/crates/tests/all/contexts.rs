//! Crates that know nothing of contexts, in `Context::run`: what they wait for in sockets ends with the
//! context; what they wait for in locks or in an event loop of their own does not.

#![cfg_attr(
    feature = "intercept",
    expect(clippy::result_large_err, reason = "the errors of others")
)]

#[cfg(feature = "intercept")]
use crate::harness::each;
use crate::harness::{nothing, on_procs};
use goroutines::context::Context;
use goroutines::thread;
#[cfg(feature = "intercept")]
use std::io;
use std::net::TcpListener;
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_millis(100);
/// Ended by then, on a busy machine too.
const SOON: Duration = Duration::from_secs(20);

/// What `f` returns in a context that ends after [`TIME`]: then, and not before.
#[cfg(feature = "intercept")]
fn timed<R>(f: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let (context, _cancel) = Context::background().with_timeout(TIME);
    let result = context.run(f);
    let took = start.elapsed();
    assert!(took >= TIME, "early, after {took:?}");
    assert!(took < SOON, "not ended, it took {took:?}");
    result
}

#[cfg(feature = "intercept")]
#[track_caller]
fn expect_timed_out(error: &io::Error) {
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error:?}");
    assert_eq!(error.raw_os_error(), Some(libc::ETIMEDOUT), "{error:?}");
}

/// Accepts nobody: connections are made by the kernel, and nobody answers.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[cfg(feature = "intercept")]
#[test]
fn ureq_ends_with_its_context() {
    on_procs("ureq_ends_with_its_context", silent, |(_, address), _| {
        each(8, |_| {
            let agent = ureq::AgentBuilder::new().build();
            let call = || agent.get(&format!("http://{address}")).call().map(drop);
            let error = timed(|| call().map_err(Box::new)).unwrap_err();
            let error = error.into_transport().unwrap();
            assert_eq!(error.kind(), ureq::ErrorKind::Io, "{error:?}");
            // One of its own around the kernel's.
            let source = std::error::Error::source(&error).unwrap();
            let error: &io::Error = source.downcast_ref().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error:?}");
        });
    });
}

/// In the midst of a body: what has come is there.
#[cfg(feature = "intercept")]
#[test]
fn a_body_ends_with_its_context() {
    use std::io::{Read, Write};
    on_procs("a_body_ends_with_its_context", silent, |(listener, address), _| {
        thread::scope(|scope| {
            let server = scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.push(byte[0]);
                }
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
                stream.write_all(format!("{head}half of it").as_bytes()).unwrap();
                stream
            });
            let mut text = String::new();
            let error = timed(|| {
                let agent = ureq::AgentBuilder::new().build();
                let response = agent.get(&format!("http://{address}")).call().unwrap();
                response.into_reader().read_to_string(&mut text).unwrap_err()
            });
            expect_timed_out(&error);
            assert_eq!(text, "half of it");
            drop(server.join().unwrap());
        });
    });
}

#[cfg(feature = "intercept")]
#[test]
fn tungstenite_ends_with_its_context() {
    use std::net::TcpStream;
    use tungstenite::{Error, HandshakeError};
    on_procs("tungstenite_ends_with_its_context", silent, |(listener, address), _| {
        let url = format!("ws://{address}");
        let connect = || TcpStream::connect(address.as_str()).unwrap();
        // The server does not greet.
        let greet = || tungstenite::client(&url, connect()).map(drop);
        match *timed(|| greet().map_err(Box::new)).unwrap_err() {
            HandshakeError::Failure(Error::Io(error)) => expect_timed_out(&error),
            other => panic!("{other}"),
        }
        drop(listener.accept().unwrap());
        // It greets, and says nothing.
        thread::scope(|scope| {
            let server = scope.spawn(|| tungstenite::accept(listener.accept().unwrap().0).unwrap());
            let (mut socket, _) = tungstenite::client(&url, connect()).unwrap();
            let mut server = server.join().unwrap();
            match timed(|| socket.read()) {
                Err(Error::Io(error)) => expect_timed_out(&error),
                other => panic!("{other:?}"),
            }
            // Nothing was lost by it.
            server.send(tungstenite::Message::text("now")).unwrap();
            assert_eq!(socket.read().unwrap(), tungstenite::Message::text("now"));
        });
    });
}

#[cfg(feature = "intercept")]
#[test]
fn redis_ends_with_its_context() {
    on_procs("redis_ends_with_its_context", silent, |(_, address), _| {
        let client = redis::Client::open(format!("redis://{address}")).unwrap();
        let error = timed(|| client.get_connection().map(|_| ())).unwrap_err();
        assert!(error.is_timeout() || error.is_io_error(), "{error:?}");
    });
}

/// It waits for a thread of its own, by a futex: that has no way to fail. Its own time-out ends it.
#[test]
fn reqwest_does_not_end_with_its_context() {
    on_procs("reqwest_does_not_end_with_its_context", silent, |(_, address), _| {
        let client = reqwest::blocking::Client::builder().no_proxy().timeout(3 * TIME);
        let client = client.build().unwrap();
        let (context, _cancel) = Context::background().with_timeout(TIME / 10);
        let start = Instant::now();
        let error = context.run(|| client.get(format!("http://{address}")).send()).unwrap_err();
        assert!(error.is_timeout(), "{error:?}");
        let took = start.elapsed();
        assert!(took >= 3 * TIME && took < SOON, "it took {took:?}");
    });
}

/// Channels of other crates park by futexes: they are not ended, and lose nothing.
#[test]
fn other_channels_do_not_end_with_their_context() {
    on_procs("other_channels_do_not_end_with_their_context", nothing, |(), _| {
        let (context, cancel) = Context::background().with_cancel();
        let (send, receive) = crossbeam_channel::bounded(0);
        let (send_by_flume, receive_by_flume) = flume::bounded(0);
        let receives = context.go(move || receive.recv());
        let receives_by_flume = context.go(move || receive_by_flume.recv());
        thread::sleep(TIME / 10);
        cancel.cancel();
        thread::sleep(TIME / 10);
        assert!(!receives.is_finished() && !receives_by_flume.is_finished());
        send.send(7).unwrap();
        send_by_flume.send(7).unwrap();
        assert_eq!(receives.join().unwrap(), Ok(7));
        assert_eq!(receives_by_flume.join().unwrap(), Ok(7));
    });
}
