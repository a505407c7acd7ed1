//! Everything at once, for as long as asked, with a signal every 50–100 µs.
//!
//! Some dozens of goroutines each do what breaks a runtime that is wrong about threads: they allocate,
//! hold thread-locals and RefCells across yields, unwind, lock, park, block their thread with and without
//! a word, start others, wait for sockets, pipes, timers and locks of std's, send, receive and select on channels,
//! cancel contexts, and check after each step that nothing of theirs has changed. At the end every goroutine
//! must have ended and every destructor must have run.

#![expect(clippy::unwrap_used, reason = "a stress test: what fails must end it")]

mod chans;
mod io;

use goroutines::runtime::{self, blocking, gosched};
use goroutines::{WaitGroup, go, thread};
use goroutines_tests::raw;
use rand::RngExt;
use rand::rngs::ThreadRng;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, mpsc};
use std::time::{Duration, Instant};

const HELP: &str = "stress: a mix of everything goroutines do, checked
usage: stress [--seconds N] [--goroutines N] [--slice-us N] [--resize]
  --seconds N      how long (default 10)
  --goroutines N   how many at a time (default 48)
  --slice-us N     the time slice in microseconds (default 75)
  --resize         change GOMAXPROCS all the time
GOMAXPROCS says how many processors.";

/// Live objects in thread-locals.
static LIVE: AtomicI64 = AtomicI64::new(0);
static STEPS: AtomicU64 = AtomicU64::new(0);
static STOP: AtomicBool = AtomicBool::new(false);
static STARTED: AtomicUsize = AtomicUsize::new(0);
static ENDED: AtomicUsize = AtomicUsize::new(0);

struct Token(usize);

impl Token {
    fn new(of: usize) -> Self {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Self(of)
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

thread_local! {
    static TOKENS: RefCell<Vec<Token>> = const { RefCell::new(Vec::new()) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static YIELDS_IN_DROP: RefCell<Option<YieldInDrop>> = const { RefCell::new(None) };
}

struct YieldInDrop(Token);

impl Drop for YieldInDrop {
    fn drop(&mut self) {
        let _ = black_box(&self.0);
        gosched();
    }
}

/// What all lock.
type SharedState = (Mutex<HashMap<u64, String>>, RwLock<Vec<u64>>);

fn shared() -> &'static SharedState {
    static SHARED: OnceLock<SharedState> = OnceLock::new();
    SHARED.get_or_init(Default::default)
}

/// What a goroutine keeps between its steps.
struct Worker {
    me: usize,
    keep: Vec<Vec<u8>>,
    counted: u64,
    id: std::thread::ThreadId,
    rng: ThreadRng,
}

impl Worker {
    fn new(me: usize) -> Self {
        assert_eq!(COUNT.get(), 0, "a thread-local of the goroutine before");
        assert!(TOKENS.with_borrow(Vec::is_empty), "tokens of the goroutine before");
        YIELDS_IN_DROP.set(Some(YieldInDrop(Token::new(me))));
        let id = std::thread::current().id();
        Self { me, keep: Vec::new(), counted: 0, id, rng: rand::rng() }
    }

    fn step(&mut self) {
        STEPS.fetch_add(1, Ordering::Relaxed);
        match self.rng.random_range(0..45) {
            0..=3 => self.allocate(),
            4 | 5 => self.borrow_across_yield(),
            6 | 7 => self.count(),
            8 => self.hash(),
            9 => assert_eq!(std::thread::current().id(), self.id, "the thread's id"),
            10 => unwind(),
            11 => compute(self.me as u64),
            12 => errno(),
            13 => lock_across_yield(self.rng.random()),
            14 => self.channel(),
            15 => join_others(self.me),
            16 => park_and_unpark(),
            17 => block_announced(),
            18 => block_unannounced(self.rng.random_range(0..40)),
            19 => group(),
            20 => scope(),
            21 => real_thread(self.rng.random_range(0..20)),
            22 => locked(self.rng.random_range(0..20)),
            23 => io::tcp(self.me),
            24 => io::bulk(self.me),
            25 => io::pipe(self.me),
            26 => io::read_timeout(self.me),
            27 => io::poll(),
            28 => io::sleep(),
            29 => io::condvar(),
            30 => io::rendezvous(),
            31 => io::with_threads(),
            32 => io::process(self.rng.random_range(0..30)),
            33..=35 => chans::many_to_many(),
            36 | 37 => chans::selects(),
            38 => chans::close(),
            39 => chans::timers(),
            40 => chans::contexts(),
            41 => chans::group(),
            _ => gosched(),
        }
    }

    fn allocate(&mut self) {
        if self.keep.len() > 200 {
            self.keep.truncate(50);
        }
        if self.rng.random() {
            self.keep.push(vec![self.me as u8; self.rng.random_range(1..3000)]);
        } else if let Some(v) = self.keep.pop() {
            assert!(v.iter().all(|b| *b == self.me as u8), "memory of another");
        }
    }

    fn borrow_across_yield(&self) {
        TOKENS.with_borrow_mut(|tokens| {
            if tokens.len() < 100 {
                tokens.push(Token::new(self.me));
            }
            gosched();
            assert!(tokens.iter().all(|token| token.0 == self.me), "tokens of another");
        });
    }

    fn count(&mut self) {
        COUNT.set(COUNT.get() + 1);
        self.counted += 1;
        assert_eq!(COUNT.get(), self.counted);
        gosched();
        assert_eq!(COUNT.get(), self.counted, "after a yield");
    }

    fn hash(&self) {
        let text = format!("{} {:?}", self.me, self.id);
        let map: HashMap<_, _> = (0..20).map(|k| (k, text.clone())).collect();
        assert_eq!(map[&3], text);
    }

    fn channel(&mut self) {
        let (send, receive) = mpsc::sync_channel(1);
        let n = self.rng.random_range(1..20u32);
        let sender = go(move || (0..n).for_each(|i| send.send(i).unwrap()));
        assert_eq!(receive.iter().sum::<u32>(), n * (n - 1) / 2);
        sender.join().unwrap();
    }
}

fn unwind() {
    struct Park;
    impl Drop for Park {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            gosched();
            assert!(std::thread::panicking());
        }
    }
    assert!(!std::thread::panicking());
    let caught = catch_unwind(|| {
        let _park = Park;
        resume_unwind(Box::new(7u8));
    });
    assert_eq!(*caught.unwrap_err().downcast::<u8>().unwrap(), 7);
    assert!(!std::thread::panicking(), "the panic count of another");
}

fn compute(seed: u64) {
    let mut numbers = [0u32; 2000];
    let value = |k: usize| (k as u64).wrapping_mul(seed + 3) as u32;
    numbers.iter_mut().enumerate().for_each(|(k, n)| *n = value(k));
    assert!(numbers.iter().enumerate().all(|(k, n)| *n == value(k)));
    let sine = (seed as f64 * 1.5).sin();
    for _ in 0..200 {
        let again = black_box(seed as f64 * 1.5).sin();
        assert!((again - sine).abs() < f64::EPSILON, "floating point registers");
    }
}

fn errno() {
    // SAFETY: errno is this goroutine's own.
    unsafe { *libc::__errno_location() = 42 };
    gosched();
    // SAFETY: as above. Read through a fresh look-up.
    assert_eq!(unsafe { *libc::__errno_location() }, 42, "errno of another");
}

fn lock_across_yield(n: u64) {
    let (map, list) = shared();
    {
        let mut map = map.lock().unwrap();
        map.insert(n % 64, n.to_string());
        gosched();
        assert_eq!(map[&(n % 64)], n.to_string(), "the lock let another in");
    }
    if n.is_multiple_of(2) {
        let list = list.read().unwrap();
        assert!(list.windows(2).all(|pair| pair[0] <= pair[1]));
    } else {
        let mut list = list.write().unwrap();
        list.push(n);
        list.sort_unstable();
        list.truncate(50);
    }
}

fn join_others(me: usize) {
    let handles: Vec<_> = (0..8)
        .map(|i| {
            go(move || {
                let token = Token::new(i);
                if i % 3 == 0 {
                    gosched();
                }
                black_box(token.0 + me)
            })
        })
        .collect();
    for (i, handle) in handles.into_iter().enumerate() {
        assert_eq!(handle.join().unwrap(), i + me);
    }
    let panics = go(|| resume_unwind(Box::new("expected")));
    assert!(panics.join().is_err());
    drop(go(|| Token::new(0)));
}

fn park_and_unpark() {
    let ready = Arc::new(AtomicBool::new(false));
    let parked = {
        let ready = Arc::clone(&ready);
        go(move || {
            while !ready.load(Ordering::Acquire) {
                thread::park();
            }
        })
    };
    gosched();
    ready.store(true, Ordering::Release);
    parked.thread().unpark();
    parked.join().unwrap();
    thread::current().unpark();
    thread::park();
    thread::park_timeout(Duration::from_micros(50));
}

fn block_announced() {
    blocking(|| {
        raw::sleep(Duration::from_micros(100));
        gosched(); // the runtime may be used inside
    });
}

fn block_unannounced(n: u32) {
    if n == 0 {
        raw::sleep(Duration::from_millis(3));
    }
}

fn group() {
    let wg = WaitGroup::new();
    let sum = Arc::new(AtomicU64::new(0));
    for i in 0..6 {
        let sum = Arc::clone(&sum);
        wg.go(move || {
            sum.fetch_add(i, Ordering::Relaxed);
        });
    }
    wg.wait();
    assert_eq!(sum.load(Ordering::Relaxed), 15);
}

fn scope() {
    let mut halves = [0u64; 2];
    let numbers: Vec<u64> = (0..100).collect();
    thread::scope(|s| {
        let (low, high) = halves.split_at_mut(1);
        s.spawn(|| low[0] = numbers[..50].iter().sum());
        s.spawn(|| high[0] = numbers[50..].iter().sum());
    });
    assert_eq!(halves.iter().sum::<u64>(), 4950);
}

fn real_thread(n: u32) {
    if n == 0 {
        let token = Token::new(1);
        let wg = WaitGroup::new();
        wg.add(1);
        let other = wg.clone();
        let real = std::thread::spawn(move || {
            other.done();
            drop(token);
        });
        wg.wait();
        real.join().unwrap();
    }
}

fn locked(n: u32) {
    if n == 0 {
        let _guard = runtime::lock_os_thread();
        // SAFETY: no memory is involved.
        let tid = unsafe { libc::gettid() };
        gosched();
        // SAFETY: as above.
        assert_eq!(unsafe { libc::gettid() }, tid, "a locked goroutine moved");
    }
}

fn worker(me: usize) {
    let steps = rand::rng().random_range(50..3000);
    let mut worker = Worker::new(me);
    for _ in 0..steps {
        if STOP.load(Ordering::Relaxed) {
            break;
        }
        worker.step();
    }
}

/// Workers that end are followed by others until the time is over.
fn tend(me: usize) {
    while !STOP.load(Ordering::Relaxed) {
        STARTED.fetch_add(1, Ordering::Relaxed);
        let result = go(move || worker(me)).join();
        ENDED.fetch_add(1, Ordering::Relaxed);
        if let Err(payload) = result {
            STOP.store(true, Ordering::Relaxed);
            resume_unwind(payload);
        }
    }
}

fn resident_kib() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0) * 4
}

fn number(args: &[String], flag: &str, default: u64) -> u64 {
    match args.iter().position(|arg| arg == flag).map(|at| args.get(at + 1)) {
        None => default,
        Some(value) => value.and_then(|v| v.parse().ok()).unwrap_or_else(|| {
            eprintln!("{flag} takes a number\n\n{HELP}");
            std::process::exit(2)
        }),
    }
}

fn run(seconds: u64, goroutines: usize, resize: bool) -> bool {
    let start = Instant::now();
    let tenders: Vec<_> = (0..goroutines).map(|me| go(move || tend(me))).collect();
    let mut early_kib = 0;
    while start.elapsed() < Duration::from_secs(seconds) && !STOP.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(if resize { 1 } else { 100 }));
        if resize {
            runtime::gomaxprocs(rand::rng().random_range(1..9));
        }
        if early_kib == 0 && start.elapsed().as_secs() * 3 >= seconds {
            early_kib = resident_kib();
        }
    }
    let late_kib = resident_kib();
    STOP.store(true, Ordering::Relaxed);
    let mut good = true;
    for tender in tenders {
        good &= tender.join().is_ok();
    }
    if let Err(unfinished) = runtime::wait_all(Duration::from_secs(10)) {
        eprintln!("{unfinished}");
        good = false;
    }
    let live = LIVE.load(Ordering::Relaxed);
    println!(
        "steps {} · goroutines {} started, {} ended · {live} objects left · {early_kib} KiB after a third, {late_kib} KiB at the end",
        STEPS.load(Ordering::Relaxed),
        STARTED.load(Ordering::Relaxed),
        ENDED.load(Ordering::Relaxed),
    );
    if live != 0 {
        eprintln!("objects in thread-locals were not destroyed");
        good = false;
    }
    if seconds >= 30 && late_kib > early_kib + early_kib / 2 + 20_000 {
        eprintln!("memory grows");
        good = false;
    }
    good
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--help") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let seconds = number(&args, "--seconds", 10);
    let goroutines = number(&args, "--goroutines", 48) as usize;
    let slice = Duration::from_micros(number(&args, "--slice-us", 75));
    let resize = args.iter().any(|arg| arg == "--resize");
    let good = runtime::Builder::new()
        .time_slice(slice)
        .run(AssertUnwindSafe(move || run(seconds, goroutines, resize)).0);
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
