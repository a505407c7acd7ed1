//! Many connections on few threads.

use goroutines::{WaitGroup, go};
use goroutines_tests::proc::in_child;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Without interception each that waits holds a thread, and there may be ten thousand.
const SHARE: usize = if cfg!(feature = "intercept") { 1 } else { 40 };
const IDLE: usize = 10_000 / SHARE;
const ACTIVE: usize = 2_000 / SHARE;
const ROUNDS: usize = 20;

/// As many descriptors as `wanted`, if the system allows; how many there may be.
fn allow_descriptors(wanted: usize) -> usize {
    let wanted = wanted as libc::rlim_t;
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a limit to write, and to read.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        let more = libc::rlimit { rlim_cur: wanted, rlim_max: wanted.max(limit.rlim_max) };
        if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const more) == 0 {
            return wanted as usize;
        }
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_max as usize
}

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

/// Ten thousand connections wait, two thousand talk, and their servers are here too: fewer than ten threads.
#[test]
fn ten_thousand_idle_and_two_thousand_active_connections() {
    let child = in_child(
        "ten_thousand_idle_and_two_thousand_active_connections",
        &[("GOMAXPROCS", "2")],
        || {
            let room = allow_descriptors(2 * (IDLE + ACTIVE) + 200) - 200;
            let share = |n: usize| (n * room / (2 * (IDLE + ACTIVE))).min(n);
            let (idle, active) = (share(IDLE), share(ACTIVE));
            goroutines::run(move || talk(idle, active));
        },
    );
    child.expect_status(0);
    assert!(child.text().contains("all answered"), "{child}");
}

fn talk(idle: usize, active: usize) {
    let address = serve();
    // As many at a time as a listener's queue takes.
    let connect = move |i: usize| {
        let stream = TcpStream::connect(address).expect("a connection");
        round_trip(&stream, i);
        Arc::new(stream)
    };
    let mut quiet: Vec<Arc<TcpStream>> = Vec::new();
    while quiet.len() < idle {
        let batch: Vec<_> = (0..100).map(|i| go(move || connect(i))).collect();
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
    for i in 0..active {
        wg.go(move || {
            let stream = connect(i);
            for n in 0..ROUNDS {
                round_trip(&stream, i * ROUNDS + n);
            }
        });
        if i % 100 == 99 {
            wg.wait();
        }
        if i % 50 == 0 {
            most = most.max(os_threads());
        }
    }
    wg.wait();
    most = most.max(os_threads());
    println!("{idle} idle, {active} active: {most} threads");
    if cfg!(feature = "intercept") {
        assert!(most < 10, "{most} threads");
        assert_eq!(woken.load(Ordering::Relaxed), 0, "woken for nothing");
    }
    for (i, stream) in quiet.iter().enumerate() {
        (&**stream).write_all(&i.to_le_bytes()).expect("it takes what we send");
    }
    readers.into_iter().for_each(|reader| reader.join().expect("it read"));
    println!("all answered");
}
