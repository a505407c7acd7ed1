//! `ureq` and `reqwest::blocking` clients of a `tiny_http` server. The server accepts and reads on OS
//! threads of its own and hands the requests to goroutines.
//!
//! Of connections that come at the same moment, `tiny_http` 0.12 may leave one without a thread until
//! another connection ends (its pool takes a thread that it has just woken for one that waits). So of
//! connections that are kept, one is opened at a time.

use crate::harness::{bytes, each, expect_bytes, nothing, on_procs};
use goroutines::thread;
use std::collections::HashSet;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use tiny_http::{Method, Request, Response, Server, StatusCode};

const HANDLERS: usize = 8;
const CLIENTS: usize = 16;
const REQUESTS: usize = 24;

/// Addresses of clients that a request came from.
type Peers = Mutex<HashSet<SocketAddr>>;

/// Serves on goroutines while `clients` run, which are given the server's URL. Gives how many requests
/// were answered, and from how many connections they came.
fn serve(clients: impl FnOnce(&str)) -> (usize, usize) {
    let server = Server::http("127.0.0.1:0").unwrap();
    let url = format!("http://{}", server.server_addr());
    let peers = Peers::default();
    let answered = thread::scope(|scope| {
        let handlers: Vec<_> = (0..HANDLERS)
            .map(|_| {
                scope.spawn(|| {
                    let mut answered = 0;
                    while let Ok(request) = server.recv() {
                        peers.lock().unwrap().insert(*request.remote_addr().unwrap());
                        answer(request);
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        let unblock = Unblock(&server);
        clients(&url);
        drop(unblock);
        handlers.into_iter().map(|handler| handler.join().unwrap()).sum()
    });
    (answered, peers.lock().unwrap().len())
}

/// Ends the handlers, also where a client panics.
struct Unblock<'a>(&'a Server);

impl Drop for Unblock<'_> {
    fn drop(&mut self) {
        (0..HANDLERS).for_each(|_| self.0.unblock());
    }
}

/// `POST /echo`: its body. `GET /bytes/SEED/LEN`: bytes of that seed. Else: 404.
fn answer(mut request: Request) {
    let url = request.url().to_owned();
    let parts: Vec<_> = url.split('/').skip(1).collect();
    match (request.method(), parts.as_slice()) {
        (Method::Post, ["echo"]) => {
            let mut body = Vec::new();
            request.as_reader().read_to_end(&mut body).unwrap();
            request.respond(Response::from_data(body)).unwrap();
        }
        (Method::Get, ["bytes", seed, len]) => {
            let body = bytes(seed.parse().unwrap(), len.parse().unwrap());
            request.respond(Response::from_data(body)).unwrap();
        }
        _ => {
            let text = format!("there is no {url}");
            let response = Response::from_string(text).with_status_code(StatusCode(404));
            request.respond(response).unwrap();
        }
    }
}

/// What is asked for the `n`-th time by client `i`: the seed and the length of a body.
fn asked(i: usize, n: usize) -> (u64, usize) {
    ((i * REQUESTS + n) as u64, [0, 1, 700, 5_000, 70_000][(i + n) % 5])
}

#[test]
fn ureq_clients_keep_their_connections_to_a_tiny_http_server() {
    on_procs("ureq_clients_keep_their_connections", nothing, |(), _| {
        let door = Mutex::new(());
        let (answered, connections) = serve(|url| {
            each(CLIENTS, |i| {
                let agent = ureq::AgentBuilder::new().timeout(Duration::from_secs(30)).build();
                let first = door.lock().unwrap();
                one_by_ureq(&agent, url, i, 0);
                drop(first);
                (1..REQUESTS).for_each(|n| one_by_ureq(&agent, url, i, n));
            });
        });
        assert_eq!(answered, CLIENTS * REQUESTS, "requests");
        assert_eq!(connections, CLIENTS, "a connection a client");
    });
}

fn one_by_ureq(agent: &ureq::Agent, url: &str, i: usize, n: usize) {
    let (seed, len) = asked(i, n);
    let expected = bytes(seed, len);
    let response = match n % 3 {
        0 => agent.post(&format!("{url}/echo")).send_bytes(&expected).unwrap(),
        1 => agent.get(&format!("{url}/bytes/{seed}/{len}")).call().unwrap(),
        _ => {
            let missing = agent.get(&format!("{url}/missing/{i}/{n}")).call();
            let Err(ureq::Error::Status(404, response)) = missing else {
                panic!("404 expected: {missing:?}")
            };
            let text = response.into_string().unwrap();
            return assert_eq!(text, format!("there is no /missing/{i}/{n}"));
        }
    };
    let mut body = Vec::new();
    response.into_reader().read_to_end(&mut body).unwrap();
    expect_bytes(&body, &expected, "a body");
}

/// One client for all, and so one OS thread with tokio's runtime, which wakes goroutines. A connection a
/// request.
#[test]
fn goroutines_share_a_blocking_reqwest_client() {
    on_procs("goroutines_share_a_blocking_reqwest_client", nothing, |(), _| {
        let (answered, _) = serve(|url| {
            let client = reqwest::blocking::Client::builder().no_proxy();
            let client = client.pool_max_idle_per_host(0).build().unwrap();
            each(CLIENTS, |i| (0..REQUESTS).for_each(|n| one_by_reqwest(&client, url, i, n)));
        });
        assert_eq!(answered, CLIENTS * REQUESTS, "requests");
    });
}

fn one_by_reqwest(client: &reqwest::blocking::Client, url: &str, i: usize, n: usize) {
    let (seed, len) = asked(i, n);
    let expected = bytes(seed, len);
    let request = match n % 3 {
        0 => client.post(format!("{url}/echo")).body(expected.clone()),
        1 => client.get(format!("{url}/bytes/{seed}/{len}")),
        _ => {
            let response = client.get(format!("{url}/missing/{i}/{n}")).send().unwrap();
            assert_eq!(response.status().as_u16(), 404);
            let text = response.text().unwrap();
            return assert_eq!(text, format!("there is no /missing/{i}/{n}"));
        }
    };
    let response = request.send().unwrap().error_for_status().unwrap();
    expect_bytes(&response.bytes().unwrap(), &expected, "a body");
}

/// Nobody answers.
#[test]
fn a_reqwest_timeout_ends_the_wait() {
    on_procs("a_reqwest_timeout_ends_the_wait", nothing, |(), _| {
        // Accepts nobody: connections are made by the kernel, and nobody answers.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let timeout = Duration::from_millis(200);
        let client = reqwest::blocking::Client::builder().no_proxy().timeout(timeout);
        let client = client.build().unwrap();
        let agent = ureq::AgentBuilder::new().timeout_read(timeout).build();
        each(CLIENTS, |i| {
            let start = std::time::Instant::now();
            if i % 2 == 0 {
                let error = client.get(&url).send().unwrap_err();
                assert!(error.is_timeout(), "{error:?}");
            } else {
                let error = agent.get(&url).call().unwrap_err();
                assert_eq!(error.kind(), ureq::ErrorKind::Io, "{error:?}");
            }
            let took = start.elapsed();
            assert!(took >= timeout, "it took only {took:?}");
            assert!(took < timeout * 20, "it took {took:?}");
        });
    });
}

/// A server that answers nobody before it is told to, and keeps no OS threads itself.
#[cfg(feature = "intercept")]
#[test]
fn goroutines_that_wait_for_an_answer_need_few_threads() {
    use crate::harness::expect_few_threads;
    use std::io::Write;
    use std::sync::atomic::{AtomicUsize, Ordering};
    const WAITING: usize = 64;
    on_procs("goroutines_that_wait_for_an_answer", nothing, |(), _| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let agent = ureq::AgentBuilder::new().build();
        let answered = AtomicUsize::new(0);
        let wait = |i: usize| {
            let text = if i.is_multiple_of(2) {
                client.get(&url).send().unwrap().text().unwrap()
            } else {
                agent.get(&url).call().unwrap().into_string().unwrap()
            };
            assert_eq!(text, "yes");
            answered.fetch_add(1, Ordering::Relaxed);
        };
        expect_few_threads(WAITING, wait, || {
            assert_eq!(answered.load(Ordering::Relaxed), 0, "none can have been answered");
            for _ in 0..WAITING {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut buffer = [0; 512];
                    let n = stream.read(&mut buffer).unwrap();
                    request.extend_from_slice(&buffer[..n]);
                }
                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\n";
                stream.write_all(format!("{head}yes").as_bytes()).unwrap();
            }
        });
        assert_eq!(answered.load(Ordering::Relaxed), WAITING);
    });
}
