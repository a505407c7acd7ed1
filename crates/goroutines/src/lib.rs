//! Go's goroutines for Rust.
//!
//! [`go`] starts a goroutine: a function that runs by itself, scheduled over a few OS threads by
//! Go's algorithm (G, M, P; local and global run queues; work stealing; hand-off in blocking calls;
//! time slices of 10 ms). It costs about a hundred nanoseconds to start and a page to keep.
//!
//! A goroutine is a *thread* to every line of Rust that runs in it: it owns its stack and its
//! thread pointer, so `thread_local!`, `errno`, panics, locks, and every crate built on them behave
//! as on a thread, while it moves between OS threads and is preempted at any instruction. So [`go`]
//! is a safe function, and nothing needs `unsafe` or `async`.
//!
//! ```
//! use goroutines::{go, WaitGroup};
//!
//! let wg = WaitGroup::new();
//! for name in ["gopher", "crab"] {
//!     wg.go(move || println!("hello from the {name}"));
//! }
//! wg.wait();
//!
//! let answer = go(|| 6 * 7);
//! assert_eq!(answer.join().unwrap(), 42);
//! ```
//!
//! | what | where |
//! |---|---|
//! | start goroutines, join them, borrow in them | [`go`], [`thread`], which mirrors [`std::thread`] item for item, [`macro@main`], [`macro@test`], [`run`] |
//! | channels, and waiting for one of several | [`chan`], with the interface of `crossbeam-channel`; [`select!`], [`select_biased!`] |
//! | wait for many, share, limit, make calls once | [`WaitGroup`], [`sync`] (std's locks work as they are) |
//! | cancel, give time limits, pass values on | [`context`] |
//! | goroutines that fail together | [`group`] |
//! | timers, tickers, functions that are called later | [`time`] |
//! | futures in goroutines | [`block_on`] |
//! | processors, stacks, time slices, what all goroutines do | [`runtime`], as Go's package of that name |
//!
//! # Modules
//! | | |
//! |---|---|
//! | [`chan`] | channels: `bounded`, `unbounded`, `after`, `at`, `tick`, `never`, `Select`, `select!` |
//! | [`context`] | `Context`: cancellation, deadlines, causes, values; `run` makes it ambient for a closure |
//! | [`group`] | `ErrGroup`: goroutines that return a `Result`; the first error counts |
//! | [`runtime`] | processors, `blocking`, `lock_os_thread`, `goexit`, stacks and accounts, `wait_all`, `Builder` |
//! | [`sync`] | `WaitGroup`, `Semaphore`, `Pool` |
//! | [`sync::singleflight`] | `Group`: a call that is made once for all who want its result at the same time |
//! | [`thread`] | [`std::thread`] on goroutines: `spawn`, `scope`, `Builder`, `park`, `sleep`, `JoinHandle` |
//! | [`time`] | `Timer`, `Ticker`, `after_func` |
//! | [`guide`] | the user's guide; see below |
//!
//! # Features
//! | | |
//! |---|---|
//! | `intercept` | what blocks in std and libc parks the goroutine instead of its OS thread; without it, such a call blocks its thread, and the processor moves to another one |
//! | `macros` | [`select!`], [`macro@main`], [`macro@test`] |
//! | `dump` | names of functions in dumps; without it a dump has addresses. Without `macros` and `dump` the crate has two dependencies, and builds in half the time |
//!
//! All are on by default.
//!
//! # Environment variables
//! They are read when the runtime starts.
//!
//! | | |
//! |---|---|
//! | `GOMAXPROCS` | how many processors there are ([`runtime::procs`]); the CPUs, unless said |
//! | `GOROUTINES_STACK_SIZE` | bytes of a goroutine's stack, as `65536`, `64K`, `1M` ([`runtime::Builder::stack_size`]); 256 KiB unless said, in debug builds 1 MiB |
//!
//! # Guide
//! | chapter | |
//! |---|---|
//! | [Ten minutes](guide::start) | a first program; each tool once |
//! | [Porting](guide::porting) | a program that has threads: what changes, and what does not |
//! | [Testing](guide::testing) | tests as goroutines, time limits, what is printed |
//! | [Hangs and leaks](guide::hangs) | what a program that hangs can tell |
//! | [Profiling](guide::profiling) | perf, pprof-rs, what threads are called |
//! | [Shutdown](guide::shutdown) | Ctrl-C, contexts, what main's end does |
//! | [Tokio](guide::tokio) | goroutines for tasks, futures for goroutines |
//! | [Plug-ins](guide::plugins) | shared libraries that are opened by `dlopen` |
//! | [Limits](guide::limits) | what holds a thread, what is not supported |
//! | [Tuning](guide::tuning) | each setting, with its unit and default |
//! | [Is this sound?](guide::soundness) | objections by name, with answers and tests |
//! | [Errors](guide::errors) | each message, with its cause and exit status |
//!
//! # A program that hangs
//! It shows what its goroutines do on SIGQUIT (`kill -QUIT`, Ctrl-\\), and ends
//! ([`runtime::Builder::dump_on_quit`]); [`runtime::stacks`] says the same at any time.
//!
//! # Platforms
//! Supported: x86-64 Linux with glibc 2.35 or later, dynamically linked.

// In the order of what they stand on, but for circles (`cargo xtask tidy` counts them).
// Locks, atomics, system calls of the runtime's own.
mod base;
// A goroutine; an OS thread; a processor and its queues.
mod g;
mod m;
mod p;
// Waiting for a time, and for descriptors.
#[cfg_attr(
    not(feature = "intercept"),
    expect(
        dead_code,
        unused_imports,
        reason = "only calls that are taken over wait for descriptors"
    )
)]
mod netpoll;
mod timer;
// What joins them; what it tells of itself.
mod observe;
mod sched;
// What makes a goroutine a thread to libc and the kernel.
mod intercept;
#[cfg(feature = "intercept")]
mod signals;
// What users see.
pub mod chan;
pub mod context;
mod future;
pub mod group;
// Its programs block in std.
#[cfg(any(all(doc, not(doctest)), all(doctest, feature = "intercept")))]
pub mod guide;
pub mod runtime;
pub mod sync;
pub mod thread;
pub mod time;

pub use future::block_on;
#[cfg(feature = "macros")]
pub use goroutines_macros::{main, test};
pub use runtime::run;
pub use sync::WaitGroup;

#[cfg(feature = "macros")]
#[doc(hidden)]
pub use goroutines_macros::__select;

/// For allocators of tests: whether the calling thread is one of those of the runtime's that may
/// not allocate, as all goroutines depend on them.
#[doc(hidden)]
#[must_use]
pub fn __may_not_allocate() -> bool {
    m::thread::is_helper()
}

/// Waits until one of several channel operations can be done, does it, and runs the code that
/// belongs to it.
///
/// The syntax is crossbeam-channel's:
///
/// * `recv(receiver) -> result => code`: the result is a `Result<T, RecvError>`.
/// * `send(sender, message) -> result => code`: the result is a `Result<(), SendError<T>>`. The
///   message is evaluated if the operation was chosen, and then only.
/// * `default => code`: if none can be done at once. `default(timeout) => code`: if none can be
///   done in this time.
///
/// Where several can be done, one of them is chosen at random, each with the same chance. Where
/// none can, the goroutine (or thread) waits. An operation on a disconnected channel can be done:
/// it fails. Receivers and senders are evaluated once, in the order in which they are written;
/// whatever dereferences to one will do. `-> result` may be left out. (Go: the `select` statement.
/// Where Go has a nil channel, use [`never()`](chan::never).)
///
/// # Examples
/// ```
/// use goroutines::{chan, go, select};
/// use std::time::Duration;
///
/// let (numbers, receive) = chan::bounded(0);
/// let (stop, stopped) = chan::bounded::<()>(0);
/// let sum = go(move || {
///     let mut sum = 0;
///     loop {
///         select! {
///             recv(receive) -> n => sum += n.unwrap_or(0),
///             recv(stopped) -> _ => break sum,
///             default(Duration::from_secs(60)) => panic!("nobody came"),
///         }
///     }
/// });
/// for n in 1..=10 {
///     numbers.send(n).unwrap();
/// }
/// drop(stop);
/// assert_eq!(sum.join().unwrap(), 55);
/// ```
#[cfg(feature = "macros")]
#[macro_export]
macro_rules! select {
    ($($cases:tt)*) => { $crate::__select! { $crate, false; $($cases)* } };
}

/// As [`select!`], but where several operations can be done, the first of them is chosen.
///
/// # Examples
/// ```
/// use goroutines::{chan, select_biased};
///
/// let (urgent, receive_urgent) = chan::unbounded();
/// let (other, receive_other) = chan::unbounded();
/// other.send(1).unwrap();
/// urgent.send(2).unwrap();
/// select_biased! {
///     recv(receive_urgent) -> n => assert_eq!(n, Ok(2)),
///     recv(receive_other) -> _ => unreachable!(),
/// }
/// ```
#[cfg(feature = "macros")]
#[macro_export]
macro_rules! select_biased {
    ($($cases:tt)*) => { $crate::__select! { $crate, true; $($cases)* } };
}
pub use thread::JoinHandle;

/// Starts a goroutine that calls `f`, and returns a handle to wait for it.
///
/// It becomes the next to run on the calling goroutine's processor, and the one that was next goes
/// to the queue's tail: six `go` in a row on one processor start in the order 5 0 1 2 3 4. Does not
/// block. From an ordinary thread, it goes to the tail of the global queue; the first such call
/// starts the runtime.
///
/// Dropping the handle detaches the goroutine. A panic stays in it, and comes out of
/// [`JoinHandle::join`]. When main returns the process ends, and waits for no goroutine.
///
/// What happens before `go` happens before `f`. (Go: the `go` statement.)
///
/// # Panics
/// If the runtime can't be started, or no goroutine can be made (memory, address space or, before
/// Linux 6.13, mappings used up); [`thread::Builder::spawn`] returns the error instead.
///
/// # Examples
/// ```
/// let sum = goroutines::go(|| (1..=100).sum::<u32>());
/// assert_eq!(sum.join().unwrap(), 5050);
/// ```
#[track_caller]
pub fn go<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let location = std::panic::Location::caller();
    // SAFETY: f and its result borrow nothing.
    match unsafe { thread::start(f, thread::Options::default(), location) } {
        Ok(handle) => handle,
        Err(e) => {
            panic!("failed to start a goroutine: {e}{}", base::limits::hint(&e).as_str())
        }
    }
}
