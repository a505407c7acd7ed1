//! The scheduler's controls. (Go: package `runtime`.)

use crate::base::{limits, sys};
use crate::g::reason::WaitReason;
use crate::g::{G, current};
use crate::sched::{SCHED, boot, exit, locked, park, stw, syscall};
use crate::thread::{self, Goexit, Options};
use std::io;
use std::panic::{Location, resume_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

mod tested;

#[doc(hidden)]
pub use tested::{Leaks, run_test};

pub use crate::observe::account::{GoroutineInfo, GoroutineState, goroutines};

/// How many processors run goroutines: at most so many goroutines compute at the same time.
///
/// At start it is what the environment variable `GOMAXPROCS` says, else the number of CPUs this
/// process may use (affinity and cgroup quota considered). [`set_procs`] changes it.
///
/// # Panics
/// If the runtime is not running and can't be started.
///
/// # Examples
/// ```
/// use goroutines::runtime::{procs, set_procs};
/// let before = set_procs(2);
/// assert_eq!(procs(), 2);
/// set_procs(before);
/// ```
pub fn procs() -> usize {
    gomaxprocs(0)
}

/// Has `n` processors run goroutines, one at the least and 1,024 at the most. Returns how many did
/// so before.
///
/// Stops the world for some tens of microseconds. Goroutines that run on a processor that is no
/// more go on elsewhere.
///
/// # Panics
/// If the runtime is not running and can't be started.
pub fn set_procs(n: usize) -> usize {
    gomaxprocs(n.max(1))
}

/// [`procs`] and [`set_procs`] in one, as Go has it: `n > 0` changes the number of processors.
/// Returns the number before.
///
/// A change stops the world for some tens of microseconds. At start it is what the environment
/// variable `GOMAXPROCS` says, else the number of CPUs this process may use (affinity and cgroup
/// quota considered). At most 1,024. (Go: `runtime.GOMAXPROCS`.)
///
/// # Panics
/// If the runtime is not running and can't be started.
///
/// # Examples
/// ```
/// use goroutines::runtime::gomaxprocs;
/// let before = gomaxprocs(2);
/// assert_eq!(gomaxprocs(0), 2);
/// gomaxprocs(before);
/// ```
pub fn gomaxprocs(n: usize) -> usize {
    boot::ensure();
    let before = SCHED.gomaxprocs.load(Ordering::Relaxed);
    if n > 0 && n as u32 != before {
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        return stw::stopped_world(|| (Some(n), SCHED.gomaxprocs.load(Ordering::Relaxed) as usize));
    }
    before as usize
}

/// Lets other goroutines run: the caller goes behind all that wait in the global run queue, or
/// returns at once if nobody else is at hand. (Go: `runtime.Gosched`.) The same as
/// [`thread::yield_now`].
pub fn gosched() {
    thread::yield_now();
}

/// CPUs this process may use: affinity and cgroup quota considered. (Go: `runtime.NumCPU`.)
#[must_use]
pub fn num_cpu() -> usize {
    boot::num_cpu() as usize
}

/// How many goroutines exist. (Go: `runtime.NumGoroutine`.)
#[must_use]
pub fn num_goroutine() -> usize {
    exit::alive() as usize
}

/// The calling goroutine's number, as dumps show it; none on an ordinary thread.
#[must_use]
pub fn goroutine_id() -> Option<u64> {
    current::g().map(G::id)
}

/// Wires the calling goroutine to its OS thread, until the guard is dropped: it runs on no other,
/// and the thread runs no other. For what the kernel keeps per thread: affinity, namespaces.
///
/// Guards nest. A goroutine that ends while locked takes its thread with it. On an ordinary thread
/// this does nothing. (Go: `runtime.LockOSThread`.)
///
/// # Examples
/// ```
/// goroutines::run(|| {
///     let _locked = goroutines::runtime::lock_os_thread();
///     // sched_setaffinity(0, …) here concerns this goroutine only
/// });
/// ```
pub fn lock_os_thread() -> OsThreadGuard {
    let section = current::enter();
    if let Some(gp) = section.g() {
        locked::lock(gp);
    }
    OsThreadGuard { _not_send: std::marker::PhantomData }
}

/// Keeps a goroutine on its OS thread; see [`lock_os_thread`].
#[derive(Debug)]
#[must_use = "dropping the guard unlocks the thread"]
pub struct OsThreadGuard {
    _not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for OsThreadGuard {
    fn drop(&mut self) {
        let section = current::enter();
        if let Some(gp) = section.g() {
            locked::unlock(gp);
        }
    }
}

/// Ends the calling goroutine: unwinds its stack, running destructors, and goes no further. Others
/// are not affected. (Go: `runtime.Goexit`.)
///
/// In main it ends the main goroutine without ending the process: the others go on, and when none
/// is left the process ends with `fatal error: no goroutines (main called runtime.Goexit) -
/// deadlock!`. A `catch_unwind` on the way stops it, as it would stop a panic. With `panic =
/// "abort"` it aborts.
///
/// # Panics
/// On an ordinary thread.
pub fn goexit() -> ! {
    assert!(
        current::g().is_some(),
        "runtime::goexit ends a goroutine; an ordinary thread ends by returning"
    );
    resume_unwind(Box::new(Goexit))
}

/// Calls `f`, which is going to block its OS thread (a file, a foreign library), and lets other
/// goroutines use the processor meanwhile.
///
/// The processor stays with the caller for the first 20 µs or more, so a short call costs some tens
/// of nanoseconds. Then another OS thread takes it over. Afterwards the caller may wait for a
/// processor. `f` may use all of the runtime. On an ordinary thread it just calls `f`. (Go:
/// `entersyscall`, `exitsyscall`.)
///
/// A call that nobody announces loses its processor too, only later (up to 10 ms).
///
/// # Examples
/// ```
/// let text = goroutines::runtime::blocking(|| std::fs::read_to_string("/proc/self/comm")).unwrap();
/// assert!(!text.is_empty());
/// ```
pub fn blocking<R>(f: impl FnOnce() -> R) -> R {
    syscall::blocking(f)
}

/// What a panic in a goroutine does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// It stays in its goroutine: reported on stderr by the panic hook, returned by `join`.
    #[default]
    Keep,
    /// It ends the process with exit status 2, as in Go.
    Crash,
}

/// Starts the runtime with other properties than the default ones.
///
/// # Examples
/// ```
/// use goroutines::runtime::Builder;
/// let doubled = Builder::new().gomaxprocs(2).stack_size(64 << 10).run(|| 21 * 2);
/// assert_eq!(doubled, 42);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "must eventually run or start the runtime"]
pub struct Builder {
    config: boot::Config,
    main_stack_bytes: Option<usize>,
    panic: PanicPolicy,
}

impl Builder {
    /// The default properties.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many processors there are at first; see [`gomaxprocs`].
    pub fn gomaxprocs(mut self, n: usize) -> Self {
        self.config.gomaxprocs = Some(u32::try_from(n.max(1)).unwrap_or(u32::MAX));
        self
    }

    /// Bytes of a goroutine's stack where [`thread::Builder::stack_size`] says nothing: what the
    /// environment variable `GOROUTINES_STACK_SIZE` says (`65536`, `64K`, `1M`), else 256 KiB, or
    /// 1 MiB where this crate is built with debug assertions. Rounded up to a power of two from
    /// 16 KiB. These are addresses; memory is used as touched.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.config.stack_bytes = Some(bytes);
        self
    }

    /// Bytes of the main goroutine's stack: 8 MiB unless said, as a main thread has.
    pub fn main_stack_size(mut self, bytes: usize) -> Self {
        self.main_stack_bytes = Some(bytes);
        self
    }

    /// How long a goroutine runs while others wait: 10 ms unless said.
    pub fn time_slice(mut self, slice: Duration) -> Self {
        let ns = u64::try_from(slice.as_nanos()).unwrap_or(u64::MAX);
        self.config.slice_ns = Some(ns.clamp(10_000, 10_000_000_000));
        self
    }

    /// How many OS threads there may be: 10,000 unless said. One more ends the process with Go's
    /// text and exit status 2.
    pub fn max_threads(mut self, n: usize) -> Self {
        self.config.max_threads = Some(u32::try_from(n).unwrap_or(u32::MAX));
        self
    }

    /// How long an OS thread without work is kept: 10 s unless said.
    pub fn thread_keep_alive(mut self, keep: Duration) -> Self {
        self.config.thread_keep_ns = Some(u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX));
        self
    }

    /// What a panic in a goroutine does.
    pub fn panic(mut self, policy: PanicPolicy) -> Self {
        self.panic = policy;
        self
    }

    /// Keeps room for libraries that are loaded later and use the initial-exec model of
    /// thread-local storage, as glibc does for its threads: some 1.7 KiB more in each goroutine,
    /// which mostly costs a page more.
    ///
    /// Without it `dlopen` of such a library fails as it does when a thread's room is used up
    /// ("cannot allocate memory in static TLS block"), on any thread, once the runtime is started.
    /// Libraries that were loaded before, and those with other models of thread-local storage, are
    /// not concerned.
    pub fn keep_dlopen_surplus(mut self, keep: bool) -> Self {
        self.config.keep_surplus = keep;
        self
    }

    /// Whether SIGQUIT (`kill -QUIT`, Ctrl-\\) prints the stacks of all goroutines on stderr before
    /// it ends the process, with status 2: unless said, it does. Where the program handles or
    /// ignores the signal, that is what happens. (Go does the same.)
    pub fn dump_on_quit(mut self, dump: bool) -> Self {
        self.config.no_quit_dump = !dump;
        self
    }

    /// Starts the runtime and goes on on the calling thread.
    ///
    /// # Errors
    /// `AlreadyExists` if it runs already (nothing is changed then); what the system says where it
    /// can't be started.
    pub fn start(self) -> io::Result<()> {
        if !boot::start(&self.config)? {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the goroutine runtime is running already: build it before the first `go` or `run`",
            ));
        }
        let crash = self.panic == PanicPolicy::Crash;
        thread::CRASH_ON_PANIC.store(crash, Ordering::Relaxed);
        Ok(())
    }

    /// Starts the runtime and runs `f` as [`run`] does.
    ///
    /// # Panics
    /// If the runtime runs already, or can't be started; and with `f`'s panic.
    #[track_caller]
    pub fn run<F, R>(self, f: F) -> R
    where
        F: FnOnce() -> R + Send,
        R: Send,
    {
        let stack = self.main_stack_bytes.unwrap_or(MAIN_STACK_BYTES);
        if let Err(e) = self.start() {
            panic!("goroutines: {e}");
        }
        run_main(f, stack, false, Location::caller())
    }
}

const MAIN_STACK_BYTES: usize = 8 << 20;

/// Runs `f` as the main goroutine and returns what it returned. Other goroutines are not waited
/// for.
///
/// The first `run` of a process makes `f` goroutine 1. The calling thread blocks meanwhile. Called
/// in a goroutine, it just calls `f`.
///
/// # Deadlock
/// If all goroutines are asleep, and nothing in the process could wake one, the process ends with
/// Go's `fatal error: all goroutines are asleep - deadlock!`, a dump of all goroutines, and exit
/// status 2. Threads outside the runtime that wait for another thread, without a time-out, can't
/// wake one by themselves. Whatever else they do (sleep, read, compute, wait with a time-out), they
/// may; so may a timer, a descriptor that is waited for, and a signal's handler.
///
/// # Panics
/// If the runtime can't be started; and with `f`'s panic.
///
/// # Examples
/// ```
/// let greeting = String::from("hello");
/// let length = goroutines::run(|| greeting.len());
/// assert_eq!(length, 5);
/// ```
#[track_caller]
pub fn run<F, R>(f: F) -> R
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    boot::ensure();
    run_main(f, MAIN_STACK_BYTES, false, Location::caller())
}

/// What `#[goroutines::main]` calls: as [`run`], for a caller that ends the process when it
/// returns. So the main goroutine keeps its processor when it has ended, and no other begins to run
/// on it.
#[doc(hidden)]
#[track_caller]
pub fn run_last<F, R>(f: F) -> R
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    boot::ensure();
    run_main(f, MAIN_STACK_BYTES, true, Location::caller())
}

fn run_main<F, R>(f: F, stack_bytes: usize, is_last: bool, at: &'static Location<'static>) -> R
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    /// From here on this thread may wake others: it is about to go on.
    struct Waiting;
    impl Drop for Waiting {
        fn drop(&mut self) {
            SCHED.run_waiters.fetch_sub(1, Ordering::SeqCst);
        }
    }
    if current::g().is_some() {
        return f();
    }
    let body = move || {
        #[cfg(feature = "intercept")]
        crate::signals::post::set_main(current::g());
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
        thread::crash_if_wanted(&result);
        if let Err(payload) = &result
            && payload.is::<Goexit>()
        {
            SCHED.main_gone.store(true, Ordering::SeqCst);
            return None;
        }
        if let Some(gp) = current::g() {
            gp.is_last.set(is_last);
        }
        #[cfg(feature = "intercept")]
        crate::signals::post::set_main(None);
        drop(Waiting);
        Some(result)
    };
    #[cfg(feature = "intercept")]
    crate::signals::masks::main_inherits();
    let options =
        Options { name: Some("main".into()), stack_bytes: Some(stack_bytes), ..Options::default() };
    // SAFETY: this thread stays here until the goroutine has ended, or for ever.
    let main = match unsafe { thread::start(body, options, at) } {
        Ok(main) => main,
        Err(e) => panic!("failed to start the main goroutine: {e}{}", limits::hint(&e).as_str()),
    };
    // Counted now, not before: until here this thread could still start goroutines. If main has
    // ended by now, it has counted this thread out already.
    SCHED.run_waiters.fetch_add(1, Ordering::SeqCst);
    #[cfg(feature = "intercept")]
    let joined = crate::signals::masks::leading(|| main.join());
    #[cfg(not(feature = "intercept"))]
    let joined = main.join();
    match joined {
        Ok(Some(Ok(result))) => result,
        Ok(Some(Err(payload))) | Err(payload) => resume_unwind(payload),
        Ok(None) => loop {
            // Main called goexit: the others go on, and nobody comes back here.
            sys::futex_wait(&AtomicU32::new(0), 0, None);
        },
    }
}

/// The stacks of all goroutines that have begun to run, as the dump of a deadlock shows them; the
/// caller's is the first.
///
/// Stops the world while it walks the stacks (some microseconds each); one that is blocked in a
/// call or runs on without a processor meanwhile has no stack to show. (Go: `runtime.Stack`.)
///
/// # Examples
/// ```
/// let waiting = goroutines::go(goroutines::thread::park);
/// while !goroutines::runtime::stacks().contains("[thread::park]") {
///     std::thread::yield_now();
/// }
/// waiting.thread().unpark();
/// waiting.join().unwrap();
/// ```
#[must_use]
pub fn stacks() -> String {
    boot::ensure();
    crate::observe::dump::stacks()
}

/// Goroutines that had not ended when [`wait_all`] gave up.
#[derive(Debug)]
pub struct Unfinished {
    /// The account of each.
    pub goroutines: Vec<GoroutineInfo>,
}

impl std::fmt::Display for Unfinished {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} goroutines did not end in time:", self.goroutines.len())?;
        for g in &self.goroutines {
            write!(f, "\n{g}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Unfinished {}

/// Waits until all other goroutines have ended, for `timeout` at the most.
///
/// It asks no goroutine to end, and goroutines may start others meanwhile: tell them first, then
/// call this. Blocks the calling goroutine (or thread).
///
/// # Errors
/// [`Unfinished`], with the account of those that still run, when the time is over.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// goroutines::run(|| {
///     goroutines::go(|| println!("bye"));
///     goroutines::runtime::wait_all(Duration::from_secs(5)).unwrap();
/// });
/// ```
pub fn wait_all(timeout: Duration) -> Result<(), Unfinished> {
    boot::ensure();
    let own = u64::from(current::g().is_some());
    let start = Instant::now();
    SCHED.end_waiters.fetch_add(1, Ordering::SeqCst);
    let finished = loop {
        let seen = SCHED.end_events.load(Ordering::SeqCst);
        if exit::alive() <= own {
            break true;
        }
        let Some(left) = timeout.checked_sub(start.elapsed()) else { break false };
        if left.is_zero() {
            break false;
        }
        syscall::blocking(|| sys::futex_wait(&SCHED.end_events, seen, Some(left)));
    };
    SCHED.end_waiters.fetch_sub(1, Ordering::SeqCst);
    if finished {
        return Ok(());
    }
    let me = goroutine_id();
    let goroutines: Vec<_> = goroutines().into_iter().filter(|g| Some(g.id) != me).collect();
    if goroutines.is_empty() { Ok(()) } else { Err(Unfinished { goroutines }) }
}

/// The old name of [`wait_all`]: it shuts nothing down.
///
/// # Errors
/// As there.
#[deprecated(since = "0.1.0", note = "it shuts nothing down: use `wait_all`")]
pub fn shutdown(timeout: Duration) -> Result<(), Unfinished> {
    wait_all(timeout)
}

/// Parks for ever; for tests of the detector, and Go's `select {}`.
///
/// # Deadlock
/// Always, for the caller.
pub fn block_forever() -> ! {
    loop {
        park::block(WaitReason::Forever, |_| true);
    }
}
