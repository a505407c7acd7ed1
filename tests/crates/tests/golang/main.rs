//! Go's runtime in the process (`-buildmode=c-shared`), called from goroutines of ours: its stacks are small, it
//! changes handlers by raw system calls (newer ones take our signal), and it collects its garbage while we preempt its code.
//!
//! A program of its own: Go's runtime has all handlers that are there run on alternate stacks, and std's have no room for
//! a profiler's.

#![cfg(feature = "intercept")]
#![expect(clippy::unwrap_used, reason = "a test may fail so")]

#[path = "../children/procs.rs"]
mod procs;

use goroutines::{go, thread};
use procs::at_each;
use std::ffi::{CStr, CString, c_int, c_long};
use std::mem::transmute;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// At each number of processors.
const TIME: Duration = Duration::from_secs(2);
const CALLERS: usize = 16;

/// How long a signal may take.
const LATE: Duration = Duration::from_secs(20);

/// The library's functions.
struct Go {
    sum: unsafe extern "C" fn(c_int) -> c_long,
    sleep: unsafe extern "C" fn(c_int),
    fault: unsafe extern "C" fn() -> c_int,
    collect: unsafe extern "C" fn(),
    notify: unsafe extern "C" fn(),
    got: unsafe extern "C" fn() -> c_long,
}

impl Go {
    /// Builds and loads it. `None`: there is no Go.
    fn load() -> Option<&'static Self> {
        static ONE: OnceLock<Option<Go>> = OnceLock::new();
        let make = || {
            let go = goroutines_test_needs::program("go", "golang-go", &[])?;
            Some(Self::open(&build(&go)))
        };
        ONE.get_or_init(make).as_ref()
    }

    fn open(path: &Path) -> Self {
        let path = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a NUL-terminated path.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!library.is_null(), "{path:?} can't be loaded");
        let get = |name: &CStr| {
            // SAFETY: the library's handle, and a NUL-terminated name.
            let function = unsafe { libc::dlsym(library, name.as_ptr()) };
            assert!(!function.is_null(), "no {name:?}");
            function
        };
        // SAFETY: the functions' types, as the library's source has them.
        unsafe {
            Self {
                sum: transmute::<*mut _, unsafe extern "C" fn(c_int) -> c_long>(get(c"GoSum")),
                sleep: transmute::<*mut _, unsafe extern "C" fn(c_int)>(get(c"GoSleep")),
                fault: transmute::<*mut _, unsafe extern "C" fn() -> c_int>(get(c"GoFault")),
                collect: transmute::<*mut _, unsafe extern "C" fn()>(get(c"GoCollect")),
                notify: transmute::<*mut _, unsafe extern "C" fn()>(get(c"GoNotify")),
                got: transmute::<*mut _, unsafe extern "C" fn() -> c_long>(get(c"GoGot")),
            }
        }
    }
}

/// The library's path.
fn build(go: &Path) -> std::path::PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let library = dir.join("libgolang.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golang/lib.go");
    let built = Command::new(go)
        .args(["build", "-buildmode=c-shared", "-o"])
        .args([&library, &source])
        .env("GOCACHE", dir.join("go-cache"))
        .env("GO111MODULE", "off")
        .env("CGO_ENABLED", "1")
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    library
}

static OURS: AtomicI64 = AtomicI64::new(0);

extern "C" fn counts(_: c_int) {
    OURS.fetch_add(1, Ordering::Relaxed);
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LATE, "{what} is lost");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// One goroutine's calls, until `end`.
fn call(lib: &Go, n: usize, end: Instant, calls: &AtomicU64) {
    while Instant::now() < end {
        // SAFETY: the library's functions take any number.
        unsafe {
            match n % 4 {
                0 => assert_eq!((lib.sum)(100), 4950),
                1 => (lib.sleep)(1),
                2 => {
                    assert_eq!((lib.fault)(), 1);
                    std::thread::sleep(Duration::from_millis(1));
                }
                _ => {
                    (0..100_000u64).for_each(|n| {
                        std::hint::black_box(n);
                    });
                    (lib.collect)();
                }
            }
        }
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the kernel calls for the runtime's signal.
fn handler_of_slices() -> usize {
    let mut action = [0usize; 4];
    // SAFETY: the kernel's action to write: a handler, flags, a restorer, a mask of 8 bytes.
    let word = unsafe {
        libc::syscall(libc::SYS_rt_sigaction, libc::SIGURG, 0usize, action.as_mut_ptr(), 8usize)
    };
    assert_eq!(word, 0);
    action[0]
}

#[test]
fn a_library_of_gos() {
    procs::start();
    let before = handler_of_slices();
    let Some(lib) = Go::load() else { return };
    // SAFETY: a handler of the right type; and the library's function.
    unsafe {
        libc::signal(libc::SIGUSR2, counts as *const () as usize);
        (lib.notify)();
    }
    // SAFETY: the library's function.
    let got = || unsafe { (lib.got)() };
    let body = |sent: &AtomicI64| {
        let end = Instant::now() + TIME;
        let calls: &AtomicU64 = Box::leak(Box::new(AtomicU64::new(0)));
        let callers: Vec<_> =
            (0..CALLERS).map(|n| thread::spawn(move || call(lib, n, end, calls))).collect();
        let computes = go(move || {
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        });
        while Instant::now() < end {
            let n = sent.fetch_add(1, Ordering::Relaxed) + 1;
            // SAFETY: no memory is involved.
            unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
            until("Go's signal", || got() >= n);
            // SAFETY: as above.
            unsafe { libc::kill(libc::getpid(), libc::SIGUSR2) };
            until("our signal", || OURS.load(Ordering::Relaxed) >= n);
        }
        callers.into_iter().for_each(|one| one.join().unwrap());
        computes.join().unwrap();
        assert!(calls.load(Ordering::Relaxed) >= CALLERS as u64);
    };
    let count = AtomicI64::new(0);
    at_each(|_| body(&count));
    let sent = count.load(Ordering::Relaxed);
    assert_eq!(
        handler_of_slices(),
        before,
        "Go's runtime has taken the runtime's signal, for good"
    );
    assert_eq!((got(), OURS.load(Ordering::Relaxed)), (sent, sent));
}
