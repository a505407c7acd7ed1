//! Names of hosts, looked up by many at once: from a name server of the test's own, in a network namespace.

use goroutines::{go, thread};
use goroutines_tests::proc::in_child;
use std::ffi::CStr;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

unsafe extern "C" {
    fn __res_state() -> *mut u8;
}

const LOOKERS: usize = 64;
const NAMES: usize = 100;

/// Each goroutine has its own, as each thread has.
#[test]
fn the_resolvers_state_is_the_goroutines() {
    // SAFETY: libc's own way to find the state of the caller.
    let own = || unsafe { __res_state() } as usize;
    for procs in [1, 2, 4] {
        goroutines_tests::proc::at_procs(procs, || {
            for round in 0..3 {
                let (begun, gate) = (goroutines::WaitGroup::new(), goroutines::WaitGroup::new());
                begun.add(16);
                gate.add(1);
                let handles: Vec<_> = (0..16)
                    .map(|_| {
                        let (begun, gate) = (begun.clone(), gate.clone());
                        go(move || {
                            begun.done();
                            gate.wait();
                            own()
                        })
                    })
                    .collect();
                begun.wait();
                gate.done();
                let mut states: Vec<_> = handles.into_iter().map(|h| h.join().unwrap()).collect();
                states.push(own());
                states.push(std::thread::spawn(own).join().unwrap());
                states.sort_unstable();
                states.dedup();
                assert_eq!(states.len(), 18, "round {round}: shared states");
            }
        });
    }
}

/// What a look-up leaves in the state is closed when its goroutine ends: neither its sockets nor its
/// settings are the next one's.
#[test]
fn the_resolvers_state_begins_anew() {
    goroutines_tests::proc::at_procs(1, || {
        for _ in 0..10 {
            go(|| {
                // SAFETY: `struct __res_state`: two ints, then `unsigned long options`, `int nscount`.
                unsafe {
                    let state = __res_state();
                    let options = state.add(8).cast::<u64>();
                    assert_eq!(options.read(), 0, "settings of another goroutine");
                    assert_eq!(libc::res_init(), 0);
                    assert_ne!(options.read() & 1, 0, "RES_INIT");
                    options.write(options.read() | 0x100); // RES_STAYOPEN
                }
            })
            .join()
            .unwrap();
        }
    });
}

/// The network and the files of a process of its own. False, with a reason, where the system does not
/// allow that.
fn settle_in_a_namespace() -> bool {
    let call = |what: &str, result: libc::c_int| {
        if result != 0 {
            println!("{what}: {}: not tested", io::Error::last_os_error());
        }
        result == 0
    };
    let bind = |file: &CStr, on: &CStr| {
        let none = c"none".as_ptr();
        let flags = libc::MS_BIND;
        // SAFETY: NUL-terminated names.
        unsafe { libc::mount(file.as_ptr(), on.as_ptr(), none, flags, std::ptr::null()) }
    };
    let directory = std::env::temp_dir();
    let file = |name: &str, text: &str| {
        let path = directory.join(format!("goroutines-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("a file in the temporary directory");
        std::ffi::CString::new(path.into_os_string().into_encoded_bytes()).expect("a path")
    };
    let resolv = file("resolv", "nameserver 127.0.0.1\noptions timeout:2 attempts:3\n");
    let switch = file("nsswitch", "hosts: files dns\n");
    // SAFETY: of this thread; threads that it makes have what it has.
    let apart = unsafe { libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET) };
    let private = libc::MS_REC | libc::MS_PRIVATE;
    let null = std::ptr::null();
    let settled = call("unshare", apart)
        // SAFETY: NUL-terminated names.
        && call("mount /", unsafe { libc::mount(null, c"/".as_ptr(), null, private, null.cast()) })
        && call("mount resolv.conf", bind(&resolv, c"/etc/resolv.conf"))
        && call("mount nsswitch.conf", bind(&switch, c"/etc/nsswitch.conf"))
        && call("loopback", raise_loopback());
    for path in [resolv, switch] {
        // SAFETY: a NUL-terminated name.
        unsafe { libc::unlink(path.as_ptr()) };
    }
    settled
}

fn raise_loopback() -> libc::c_int {
    // SAFETY: a request with the interface's name and its flags.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        let result = libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request);
        libc::close(socket);
        result
    }
}

/// The address that the server gives `who`'s name number `n`.
fn address(who: usize, n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, who as u8, n as u8, 1))
}

/// Answers for `h-WHO-N.test`, every other one only after the next.
fn serve() {
    let socket = UdpSocket::bind("127.0.0.1:53").expect("the name server's port");
    socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a time-out");
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        let mut held = None;
        for turn in 0u32.. {
            let next = socket.recv_from(&mut buffer).ok();
            let next = next.map(|(n, from)| (answer(&buffer[..n]), from));
            let (first, second) = match next {
                Some(next) if held.is_none() && turn.is_multiple_of(2) => {
                    held = Some(next);
                    continue;
                }
                next => (next, held.take()),
            };
            for (answer, to) in first.into_iter().chain(second) {
                let _ = socket.send_to(&answer, to);
            }
        }
    });
}

/// An A record for the name that is asked for, or none for other types.
fn answer(question: &[u8]) -> Vec<u8> {
    let label = &question[13..13 + usize::from(question[12])];
    let end = 12 + question[12..].iter().position(|byte| *byte == 0).expect("a name") + 5;
    let numbers: Vec<u8> = String::from_utf8_lossy(label)
        .split('-')
        .filter_map(|number| number.parse().ok())
        .collect();
    let is_a = question[end - 3] == 1 && numbers.len() == 2;
    let mut answer = question[..end].to_vec();
    answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    if is_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, numbers[0], numbers[1], 1]);
    }
    answer
}

/// Looks up all its names; what went wrong.
fn look_up(who: usize) -> Vec<String> {
    let wrong = |n: usize| {
        let found = (format!("h-{who}-{n}.test"), 80).to_socket_addrs();
        match found.map(|mut all| all.next().map(|address| address.ip())) {
            Ok(Some(found)) if found == address(who, n) => None,
            other => Some(format!("{who}, {n}: {other:?}")),
        }
    };
    (0..NAMES).filter_map(wrong).collect()
}

/// Opens, uses and closes descriptors, all the time: whether they were always its own.
fn bystander(stop: &AtomicBool) -> bool {
    let mut good = true;
    while !stop.load(Ordering::Relaxed) {
        let exchanged = UnixStream::pair().and_then(|(mut a, mut b)| {
            a.write_all(b"ping")?;
            let mut found = [0; 4];
            b.read_exact(&mut found)?;
            Ok(found)
        });
        good &= exchanged.is_ok_and(|found| found == *b"ping");
        std::thread::sleep(Duration::from_micros(200));
    }
    good
}

/// All look up their names at once, on threads: how long it took.
fn on_threads() -> Duration {
    let begun = Instant::now();
    let handles: Vec<_> =
        (0..LOOKERS).map(|who| std::thread::spawn(move || look_up(who))).collect();
    let wrong: Vec<_> = handles.into_iter().flat_map(|h| h.join().expect("no panic")).collect();
    assert!(wrong.is_empty(), "threads: {wrong:?}");
    begun.elapsed()
}

/// The same on goroutines, beside others that use descriptors.
fn on_goroutines() -> Duration {
    let stop = &AtomicBool::new(false);
    thread::scope(|s| {
        let bystanders: Vec<_> = (0..4).map(|_| s.spawn(move || bystander(stop))).collect();
        let begun = Instant::now();
        let lookers: Vec<_> = (0..LOOKERS).map(|who| s.spawn(move || look_up(who))).collect();
        let wrong: Vec<_> = lookers.into_iter().flat_map(|h| h.join().expect("no panic")).collect();
        let took = begun.elapsed();
        stop.store(true, Ordering::Relaxed);
        assert!(wrong.is_empty(), "goroutines: {} wrong: {wrong:?}", wrong.len());
        let undisturbed = bystanders.into_iter().all(|h| h.join().expect("no panic"));
        assert!(undisturbed, "a descriptor was disturbed");
        took
    })
}

/// 64 look up 100 names each at once. All are right, without waiting for the resolver's time-outs, which are
/// of two seconds, and no descriptor of others' is touched.
#[test]
fn many_look_up_names_at_once() {
    let name = "many_look_up_names_at_once";
    for procs in ["1", "2", "4"] {
        let child = in_child(name, &[("GOROUTINES_TEST_PROCS", procs)], || {
            if !settle_in_a_namespace() {
                return;
            }
            serve();
            let procs = std::env::var("GOROUTINES_TEST_PROCS").unwrap().parse().unwrap();
            goroutines::runtime::Builder::new().gomaxprocs(procs).run(move || {
                let mut tries = (0..4).map(|_| {
                    let threads = on_threads();
                    let goroutines = on_goroutines();
                    println!("threads {threads:?}, goroutines {goroutines:?}");
                    goroutines < threads * 4 + Duration::from_secs(1)
                });
                assert!(tries.any(|good| good), "slower than on threads, four times");
            });
        });
        println!("GOMAXPROCS={procs}: {}", child.text());
        child.expect_status(0);
    }
}
