//! The network examples as child processes: what they print, what they answer, how they end.

#![expect(clippy::unwrap_used, reason = "a test may fail so")]

use goroutines_tests::{Ended, run_to_end};
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Duration;
use tungstenite::{Message, WebSocket, client};

/// A server that is silent for longer hangs.
const LIMIT: Duration = Duration::from_secs(30);

const ALL: [&str; 7] =
    ["http_hello", "tiny_http_server", "crawler", "chat", "redis_load", "port_scan", "tail_files"];

/// An example as built with this test's profile.
fn example(name: &str) -> Command {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        // target/PROFILE/deps/programs-HASH
        let profile = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
        if std::env::var_os(goroutines_test_needs::BUILT).is_some() {
            return profile.join("examples");
        }
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "-q", "--examples", "-p", "goroutines-net-examples"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        cargo.arg("--target-dir").arg(profile.parent().unwrap());
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        profile.join("examples")
    });
    Command::new(directory.join(name))
}

/// Runs an example to its end, on so many processors.
fn run(name: &str, args: &[&str], procs: usize) -> Ended {
    run_to_end(example(name).args(args).env("GOMAXPROCS", procs.to_string()))
}

/// A program that goes on while the test talks to it. Killed when dropped.
struct Running {
    child: Child,
    /// The rest of what it prints.
    out: BufReader<Box<dyn Read>>,
    /// The first line it printed, without `listening on `.
    addr: String,
}

impl Running {
    /// A server, once it listens.
    fn server(name: &str, args: &[&str], procs: usize) -> Self {
        let mut command = example(name);
        command.args(args).env("GOMAXPROCS", procs.to_string());
        Self::start(&mut command, |child| Box::new(child.stdout.take().unwrap()))
    }

    fn start(command: &mut Command, pipe: impl FnOnce(&mut Child) -> Box<dyn Read>) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(pipe(&mut child));
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let addr = line.trim_end().trim_start_matches("listening on ").to_owned();
        Self { child, out, addr }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.addr).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream
    }

    /// The rest of what it prints, once it has ended by itself, which must be with status 0.
    fn ended(mut self) -> String {
        let mut text = String::new();
        self.out.read_to_string(&mut text).unwrap();
        let status = self.child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "it said {text}");
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One response: head and body.
fn response(from: &mut impl BufRead) -> io::Result<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, head));
        }
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    from.read_exact(&mut body)?;
    Ok((head, String::from_utf8(body).unwrap()))
}

fn expect_hello(from: &mut impl BufRead) {
    let (head, body) = response(from).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(body, "Hello, World!");
}

#[test]
fn all_tell_how_they_are_used() {
    for name in ALL {
        let ended = run(name, &["--help"], 2);
        ended.expect_clean();
        let text = ended.text();
        assert!(text.starts_with(&format!("{name}: ")), "{ended}");
        assert!(text.contains(&format!("usage: {name}")) && text.contains("(default"), "{ended}");
        let ended = run(name, &["--what"], 2);
        ended.expect_status(2);
        assert!(ended.stdout.is_empty(), "{ended}");
        ended.expect_stderr(&format!("usage: {name}"));
    }
}

#[test]
fn wrong_usage_is_refused() {
    for (name, args, problem) in [
        ("http_hello", &["--max-requests"][..], "--max-requests takes a whole number, at least 1"),
        ("http_hello", &["--hogs", "x"], "--hogs takes a whole number, at least 0"),
        ("http_hello", &["x"], "unknown argument \"x\""),
        ("tiny_http_server", &["--workers", "0"], "--workers takes a whole number, at least 1"),
        ("crawler", &["--pages", "-1"], "--pages takes a whole number, at least 1"),
        ("chat", &["--demo", "--clients", "0"], "--clients takes a whole number, at least 1"),
        ("redis_load", &[], "redis_load takes one of --url and --spawn"),
        ("redis_load", &["--spawn", "--url", "redis://127.0.0.1"], "takes one of"),
        ("port_scan", &["8.8.8.8"], "8.8.8.8 is not a loopback address"),
        ("port_scan", &["10.0.0.1", "--ports", "1-2"], "10.0.0.1 is not a loopback address"),
        ("port_scan", &["example.org"], "\"example.org\" is not an IPv4 address"),
        ("port_scan", &["--ports", "9-8"], "--ports takes FIRST-LAST"),
        ("tail_files", &[], "tail_files takes some files"),
    ] {
        let ended = run(name, args, 1);
        ended.expect_status(2);
        ended.expect_stderr(problem);
        ended.expect_stderr(&format!("usage: {name}"));
    }
    for (name, args, problem) in [
        ("http_hello", ["--addr", "nowhere"], "http_hello: can't listen on nowhere: "),
        ("tiny_http_server", ["--addr", "nowhere"], "tiny_http_server: can't listen on nowhere: "),
        ("redis_load", ["--url", "nowhere"], "redis_load: nowhere: "),
        ("tail_files", ["/no/such", "/file"], "tail_files: /no/such: No such file or directory"),
    ] {
        let ended = run(name, &args, 1);
        ended.expect_status(1);
        ended.expect_stderr(problem);
    }
}

#[test]
fn http_hello_takes_requests_in_any_pieces() {
    for procs in [1, 4] {
        let server = Running::server("http_hello", &["--max-requests", "36"], procs);
        let mut slow = server.connect();
        let request = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n";
        for byte in &request[..request.len() - 1] {
            slow.write_all(&[*byte]).unwrap();
        }
        // Meanwhile, and at once:
        let mut others: Vec<_> = (0..4).map(|_| BufReader::new(server.connect())).collect();
        for other in &mut others {
            let eight = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(8);
            other.get_mut().write_all(&eight).unwrap();
        }
        for other in &mut others {
            (0..8).for_each(|_| expect_hello(other));
        }
        slow.write_all(b"\n").unwrap();
        expect_hello(&mut BufReader::new(&slow));
        // A body is no request.
        let post = b"POST / HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n";
        slow.write_all(post).unwrap();
        expect_hello(&mut BufReader::new(&slow));
        // The connection ends where the client wants it.
        let mut last = BufReader::new(server.connect());
        last.get_mut().write_all(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let (head, _) = response(&mut last).unwrap();
        assert!(head.contains("Connection: close"), "{head}");
        assert_eq!(last.read(&mut [0]).unwrap(), 0, "closed");
        slow.write_all(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        slow.read_to_string(&mut text).unwrap();
        assert!(text.contains("Content-Length: 13") && text.ends_with("\r\n\r\n"), "{text}");
        assert_eq!(server.ended(), "answered 36 requests\n");
    }
}

#[test]
fn http_hello_answers_beside_goroutines_that_never_yield() {
    for procs in [1, 2] {
        let args = ["--hogs", "4", "--max-requests", "5"];
        let server = Running::server("http_hello", &args, procs);
        let mut client = BufReader::new(server.connect());
        for _ in 0..5 {
            client.get_mut().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            expect_hello(&mut client);
        }
        assert_eq!(server.ended(), "answered 5 requests\n");
    }
}

#[test]
fn http_hello_goes_on_when_it_may_open_no_more_files() {
    let program = example("http_hello");
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "ulimit -n 30; exec \"$0\""]).arg(program.get_program());
    let server = Running::start(&mut shell, |child| Box::new(child.stdout.take().unwrap()));
    let mut clients: Vec<_> = (0..60).map(|_| BufReader::new(server.connect())).collect();
    for client in &mut clients {
        client.get_mut().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    }
    expect_hello(&mut clients[0]);
    // It can't have accepted the last one; it does when the others have gone.
    let mut last = clients.pop().unwrap();
    last.get_ref().set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let waits = last.fill_buf().unwrap_err().kind();
    assert!(matches!(waits, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut), "{waits}");
    drop(clients);
    last.get_ref().set_read_timeout(Some(LIMIT)).unwrap();
    expect_hello(&mut last);
}

#[test]
fn tiny_http_server_answers() {
    let args = ["--workers", "3", "--max-requests", "40"];
    let server = Running::server("tiny_http_server", &args, 2);
    // With more at once the crate keeps some waiting, on OS threads too.
    let mut clients: Vec<_> = (0..4).map(|_| BufReader::new(server.connect())).collect();
    for round in 0..10 {
        for client in &mut clients {
            let request = format!("GET /{round} HTTP/1.1\r\nHost: x\r\n\r\n");
            client.get_mut().write_all(request.as_bytes()).unwrap();
        }
        for client in &mut clients {
            let (head, body) = response(client).unwrap();
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert!(body.starts_with("Hello from worker "), "{body}");
            assert!(body.ends_with(&format!("! /{round}\n")), "{body}");
        }
    }
    assert_eq!(server.ended(), "answered 40 requests\n");
}

#[test]
fn crawler_finds_all_pages() {
    for (procs, pages, at_once) in [(1, "300", "20"), (2, "1", "1"), (4, "1500", "1000")] {
        let args = ["--pages", pages, "--at-once", at_once, "--delay", "2"];
        let ended = run("crawler", &args, procs);
        ended.expect_clean();
        assert!(ended.text().starts_with(&format!("{pages} pages in ")), "{ended}");
        if at_once == "20" {
            assert!(ended.text().contains(", at most 20 at once, "), "{ended}");
        }
    }
}

#[test]
fn chat_demo_loses_no_message() {
    for (procs, clients, messages) in [(1, 20, 10), (4, 50, 5), (2, 1, 1)] {
        let args = ["--clients", &clients.to_string(), "--messages", &messages.to_string()];
        let ended = run("chat", &[&["--demo"], &args[..]].concat(), procs);
        ended.expect_clean();
        let (said, heard) = (clients * messages, clients * messages * clients);
        let wanted = format!("\n{clients} clients said {said} messages and heard {heard}\n");
        assert!(ended.text().contains(&wanted), "{ended}");
    }
}

fn hears(member: &mut WebSocket<TcpStream>) -> String {
    loop {
        if let Message::Text(text) = member.read().unwrap() {
            return text.to_string();
        }
    }
}

#[test]
fn chat_sends_to_all_who_are_there() {
    let server = Running::server("chat", &[], 2);
    let url = format!("ws://{}/", server.addr);
    let mut members: Vec<_> = (0..3).map(|_| client(&url, server.connect()).unwrap().0).collect();
    for speaker in 0..3 {
        // A ping is answered by the reading side, between what the writing side writes.
        members[speaker].send(Message::Ping("x".into())).unwrap();
        members[speaker].send(Message::text(format!("I am {speaker}"))).unwrap();
        for member in &mut members {
            assert_eq!(hears(member), format!("I am {speaker}"));
        }
    }
    // One leaves as it should, and is told so; one is gone without a word; somebody is no WebSocket.
    let mut leaves = members.pop().unwrap();
    leaves.close(None).unwrap();
    assert!(matches!(leaves.read(), Ok(Message::Close(_))));
    drop(members.pop());
    server.connect().write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut stays = members.pop().unwrap();
    for i in 0..100 {
        stays.send(Message::text(i.to_string())).unwrap();
        assert_eq!(hears(&mut stays), i.to_string());
    }
}

#[test]
fn redis_load_checks_what_it_stored() {
    if goroutines_test_needs::program("redis-server", "redis-server", &[]).is_none() {
        return;
    }
    for procs in [1, 2] {
        let args = ["--spawn", "--goroutines", "20", "--commands", "50"];
        let ended = run("redis_load", &args, procs);
        ended.expect_clean();
        assert!(ended.text().starts_with("20 goroutines × 50 commands: "), "{ended}");
    }
}

#[test]
fn redis_load_says_what_is_not_installed() {
    let mut command = example("redis_load");
    let ended = run_to_end(command.args(["--spawn"]).env("PATH", "/nowhere"));
    ended.expect_status(1);
    ended.expect_stderr("redis_load: can't start redis-server (is it installed?)");
}

#[test]
fn port_scan_finds_what_listens() {
    // An address of its own in 127.0.0.0/8, so that nobody else listens there.
    let listeners: Vec<_> = (0..3).map(|_| TcpListener::bind("127.7.7.7:0").unwrap()).collect();
    let mut ports: Vec<_> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
    ports.sort_unstable();
    let (first, last) = (ports[0], ports[2]);
    let range = format!("{first}-{last}");
    for (procs, at_once) in [(1, "1000"), (4, "100")] {
        let args = ["127.7.7.7", "--ports", &range, "--at-once", at_once];
        let ended = run("port_scan", &args, procs);
        ended.expect_status(0);
        let wanted: String = ports.iter().map(|p| format!("127.7.7.7:{p} is open\n")).collect();
        assert_eq!(ended.text(), wanted);
        ended.expect_stderr(&format!("3 of {} ports are open; ", last - first + 1));
    }
}

/// A directory for one test, removed afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("goroutines-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn tail_files_prints_what_is_appended() {
    let scratch = Scratch::new("tail_files");
    let files: Vec<_> = (0..5).map(|i| scratch.0.join(i.to_string())).collect();
    for file in &files {
        fs::write(file, "old\nno end yet").unwrap();
    }
    let append = |file: &PathBuf, text: &str| {
        OpenOptions::new().append(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
    };
    let mut command = example("tail_files");
    command.args(&files).args(["--lines", "14", "--interval", "5"]).env("GOMAXPROCS", "2");
    // It says on stderr that it follows them.
    let mut tail = Running::start(&mut command, |child| Box::new(child.stderr.take().unwrap()));
    assert_eq!(tail.addr, "following 5 files");

    let mut out = BufReader::new(tail.child.stdout.take().unwrap());
    let (send, lines) = channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        while out.read_line(&mut line).is_ok_and(|n| n > 0) {
            let _ = send.send(std::mem::take(&mut line));
        }
    });
    let expect = |file: &PathBuf, text: &str| {
        let line = lines.recv_timeout(LIMIT).unwrap();
        assert_eq!(line, format!("{}: {text}\n", file.display()));
    };
    for round in 0..2 {
        for file in &files {
            append(file, "in ");
            std::thread::sleep(Duration::from_millis(20)); // it looks at the half line, and waits
            append(file, &format!("two pieces {round}\n"));
            expect(file, &format!("in two pieces {round}"));
        }
    }
    append(&files[0], "one\ntwo\n");
    expect(&files[0], "one");
    expect(&files[0], "two");
    // Cut short; then another file of that name.
    fs::write(&files[1], "anew\n").unwrap();
    expect(&files[1], "anew");
    fs::rename(&files[2], scratch.0.join("away")).unwrap();
    fs::write(&files[2], "replaced\n").unwrap();
    expect(&files[2], "replaced");
    assert_eq!(tail.ended(), "");
    assert!(lines.recv_timeout(LIMIT).is_err(), "no more lines");
}

#[test]
fn tail_files_ends_in_time() {
    let scratch = Scratch::new("tail_in_time");
    let file = scratch.0.join("silent");
    fs::write(&file, "old\n").unwrap();
    let ended = run("tail_files", &["--for", "1", file.to_str().unwrap()], 1);
    ended.expect_status(0);
    assert!(ended.stdout.is_empty(), "{ended}");
    assert!(ended.took >= Duration::from_secs(1), "{ended}");
}
