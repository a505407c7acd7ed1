//! Many connections on few threads.

use goroutines::{WaitGroup, go};
use goroutines_tests::proc::in_child;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Without interception each that waits holds a thread, and there may be ten thousand.
const SHARE: usize = if cfg!(feature = "intercept") { 1 } else { 40 };
const IDLE: usize = 10_000 / SHARE;
const ACTIVE: usize = 2_000 / SHARE;
const ROUNDS: usize = 20;

/// Sends back what it gets, a goroutine a connection.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    go(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            go(move || {
                let mut buf = [0; 64];
                while let Ok(n @ 1..) = stream.read(&mut buf) {
                    if stream.write_all(&buf[..n]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn round_trip(mut stream: &TcpStream, n: usize) {
    let sent = n.to_le_bytes();
    stream.write_all(&sent).expect("it takes what we send");
    let mut got = [0; 8];
    stream.read_exact(&mut got).expect("it answers");
    assert_eq!(got, sent, "another's answer");
}

fn os_threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("/proc").count()
}

/// The most threads that a process may need, with the test harness's two and the monitor's two. A machine
/// with other things to do lets calls take long, and their processors go to other threads.
fn few() -> usize {
    4 + if std::env::var_os("CI").is_some() { 20 } else { 10 }
}

fn check_threads(most: usize) {
    println!("{most} threads");
    assert!(!cfg!(feature = "intercept") || most < few(), "{most} threads");
}

/// Ten thousand connections wait and two thousand talk; the server's process has few threads, and so has the
/// clients'. (Two processes, as each end is a descriptor.)
#[test]
fn ten_thousand_idle_and_two_thousand_active_connections() {
    let name = "ten_thousand_idle_and_two_thousand_active_connections";
    let child = in_child(name, &[("GOMAXPROCS", "2")], || match std::env::var("SERVER") {
        Ok(address) => {
            goroutines::run(|| talk(address.parse().expect("an address")));
        }
        Err(_) => goroutines::run(serve_clients),
    });
    child.expect_status(0);
    assert!(child.text().contains("all answered"), "{child}");
}

/// Has the kernel enlarge its table of descriptors. Who wants one waits meanwhile, milliseconds each time it doubles,
/// and leaves the processor to another thread, which may well want one too.
fn enlarge_table() {
    // An ordinary user's soft limit is 1,024.
    // SAFETY: plain data.
    let mut limit: libc::rlimit = unsafe { std::mem::zeroed() };
    // SAFETY: a limit to write, and one to read.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    let needed = (IDLE + ACTIVE) as libc::rlim_t + 100;
    assert!(limit.rlim_max > needed, "this test needs {needed} descriptors: ulimit -Hn");
    // SAFETY: no memory is involved; a descriptor of ours.
    let high = unsafe { OwnedFd::from_raw_fd(libc::fcntl(2, libc::F_DUPFD, IDLE + ACTIVE)) };
    drop(high);
}

/// The server's process: starts that of the clients, and counts its own threads until it has ended.
fn serve_clients() {
    enlarge_table();
    let address = serve();
    let exe = std::env::current_exe().expect("this program");
    let mut clients = std::process::Command::new(exe)
        .args(std::env::args().skip(1))
        .env("SERVER", address.to_string())
        .spawn()
        .expect("the clients");
    let mut most = 0;
    let status = loop {
        most = most.max(os_threads());
        if let Some(status) = clients.try_wait().expect("their status") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "the clients: {status}");
    check_threads(most);
    println!("all answered");
}

/// The clients' process.
fn talk(address: SocketAddr) {
    enlarge_table();
    // As many at a time as a listener's queue takes.
    let connect = move |i: usize| {
        let stream = TcpStream::connect(address).expect("a connection");
        round_trip(&stream, i);
        Arc::new(stream)
    };
    let mut quiet: Vec<Arc<TcpStream>> = Vec::new();
    while quiet.len() < IDLE {
        let batch: Vec<_> = (0..50).map(|i| go(move || connect(i))).collect();
        quiet.extend(batch.into_iter().map(|one| one.join().expect("connected")));
    }
    // Each is read by a goroutine that gets nothing until the end.
    let woken = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = quiet
        .iter()
        .map(|stream| {
            let (stream, woken) = (Arc::clone(stream), Arc::clone(&woken));
            go(move || {
                (&*stream).read_exact(&mut [0; 8]).expect("an answer");
                woken.fetch_add(1, Ordering::Relaxed);
            })
        })
        .collect();
    let mut most = 0;
    let wg = WaitGroup::new();
    for i in 0..ACTIVE {
        wg.go(move || {
            let stream = connect(i);
            for n in 0..ROUNDS {
                round_trip(&stream, i * ROUNDS + n);
            }
        });
        if i % 50 == 49 {
            wg.wait();
            most = most.max(os_threads());
        }
    }
    wg.wait();
    assert_eq!(woken.load(Ordering::Relaxed), 0, "woken for nothing");
    for (i, stream) in quiet.iter().enumerate() {
        (&**stream).write_all(&i.to_le_bytes()).expect("it takes what we send");
    }
    readers.into_iter().for_each(|reader| reader.join().expect("it read"));
    check_threads(most);
}
