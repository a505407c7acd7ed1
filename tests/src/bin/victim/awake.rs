//! Main waits, and something will end its wait: the detector must keep silent.

use goroutines::{WaitGroup, go, run, runtime, thread};
use goroutines_tests::raw;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const WHILE: Duration = Duration::from_millis(300);

/// Main waits for `sleeper`, a goroutine, which blocks in its own way.
fn waits_for(sleeper: fn()) {
    run(move || {
        let wg = WaitGroup::new();
        wg.go(sleeper);
        wg.wait();
    });
}

pub(crate) fn blocking_sleep() {
    waits_for(|| runtime::blocking(|| raw::sleep(WHILE)));
}

pub(crate) fn raw_sleep() {
    waits_for(|| raw::sleep(WHILE));
}

pub(crate) fn std_sleep() {
    waits_for(|| std::thread::sleep(WHILE));
}

pub(crate) fn goroutine_sleep() {
    waits_for(|| thread::sleep(WHILE));
}

pub(crate) fn park_timeout() {
    waits_for(|| thread::park_timeout(WHILE));
}

/// Nobody else is there; main itself sleeps, and others wait for main.
pub(crate) fn main_sleeps() {
    run(|| {
        let wg = WaitGroup::new();
        wg.add(1);
        let waits = wg.clone();
        let waiter = go(move || waits.wait());
        std::thread::sleep(WHILE);
        wg.done();
        waiter.join().unwrap();
    });
}

pub(crate) fn thread_unparks() {
    run(|| {
        let main = thread::current();
        std::thread::spawn(move || {
            std::thread::sleep(WHILE);
            main.unpark();
        });
        thread::park();
    });
}

pub(crate) fn thread_is_done() {
    run(|| {
        let wg = WaitGroup::new();
        wg.add(1);
        let done = wg.clone();
        std::thread::spawn(move || {
            std::thread::sleep(WHILE);
            done.done();
        });
        wg.wait();
    });
}

pub(crate) fn process_writes() {
    waits_for(|| {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "sleep 0.3; echo written"]).stdout(Stdio::piped());
        let mut child = shell.spawn().unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "written\n");
        assert!(child.wait().unwrap().success());
    });
}

pub(crate) fn thread_writes() {
    waits_for(|| {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(WHILE);
            writer.write_all(b"written").unwrap();
        });
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "written");
    });
}

pub(crate) fn locked_goroutine_blocks() {
    waits_for(|| {
        let _locked = runtime::lock_os_thread();
        thread::yield_now();
        std::thread::sleep(WHILE);
        thread::yield_now();
    });
}

/// One goroutine waits for std's lock, which another holds, which sleeps.
pub(crate) fn mutex_wait() {
    run(|| {
        let lock = Arc::new(Mutex::new(()));
        let wg = WaitGroup::new();
        for _ in 0..3 {
            let lock = Arc::clone(&lock);
            wg.go(move || {
                let _held = lock.lock().unwrap();
                std::thread::sleep(WHILE / 3);
            });
        }
        wg.wait();
    });
}

/// After Go's `NetpollDeadlock` (runtime/testdata/testprognet/net.go, BSD-3-Clause).
pub(crate) fn refused_connection() {
    waits_for(|| {
        // A port that was free a moment ago.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let refused = std::net::TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}

/// Does something that blocks while main unwinds.
struct OnUnwind(fn());

impl Drop for OnUnwind {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Go: `PanicDeadlockGosched` (runtime/crash_test.go, BSD-3-Clause).
pub(crate) fn panic_yields() {
    run(|| {
        let _yields = OnUnwind(runtime::gosched);
        panic!("while somebody yields");
    });
}

/// Go: `PanicDeadlockSyscall`.
pub(crate) fn panic_sleeps() {
    run(|| {
        let _sleeps = OnUnwind(|| std::thread::sleep(WHILE));
        panic!("while somebody sleeps");
    });
}

/// Threads go to sleep and wake all the time: each could look as if it were the last.
pub(crate) fn many_short_sleeps() {
    run(|| {
        let start = Instant::now();
        let mut us = 0;
        while start.elapsed() < Duration::from_secs(2) {
            let wg = WaitGroup::new();
            us = (us + 7) % 200;
            for i in 0..3 {
                wg.go(move || match i {
                    0 => std::thread::sleep(Duration::from_micros(us)),
                    1 => runtime::blocking(|| std::thread::sleep(Duration::from_micros(2 * us))),
                    _ => thread::park_timeout(Duration::from_micros(us)),
                });
            }
            let done = wg.clone();
            wg.add(1);
            let helper = std::thread::spawn(move || done.done());
            wg.wait();
            helper.join().unwrap();
        }
    });
}

/// Between two `run`s there may be goroutines that wait, and nobody in the runtime to wake them: the
/// thread that called `run` may.
pub(crate) fn runs_one_after_another() {
    let wg = WaitGroup::new();
    wg.add(1);
    let waiter = run(|| {
        let wg = wg.clone();
        go(move || wg.wait())
    });
    std::thread::sleep(WHILE);
    wg.done();
    run(|| waiter.join().unwrap());
}
