//! Go's goroutines for Rust.
//!
//! [`go`] starts a goroutine: a function that runs by itself, scheduled over a few OS threads by Go's
//! algorithm (G, M, P; local and global run queues; work stealing; hand-off in blocking calls; time
//! slices of 10 ms). It costs about a hundred nanoseconds to start and a page to keep.
//!
//! A goroutine is a *thread* to every line of Rust that runs in it: it owns its stack and its thread
//! pointer, so `thread_local!`, `errno`, panics, locks, and every crate built on them behave as on a
//! thread, while it moves between OS threads and is preempted at any instruction. So [`go`] is a safe
//! function, and nothing needs `unsafe` or `async`.
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
//! * [`macro@main`] makes `main` goroutine 1; [`run`] does so for a closure.
//! * [`thread`] mirrors [`std::thread`] item for item.
//! * [`runtime`] has what Go's package of that name has.
//!
//! Supported: x86-64 Linux with glibc 2.35 or later, dynamically linked.

mod base;
mod future;
mod g;
mod intercept;
mod m;
#[cfg_attr(
    not(feature = "intercept"),
    expect(
        dead_code,
        unused_imports,
        reason = "only calls that are taken over wait for descriptors"
    )
)]
mod netpoll;
mod observe;
mod p;
pub mod runtime;
mod sched;
pub mod sync;
pub mod thread;
mod timer;

pub use future::block_on;
pub use goroutines_macros::{main, test};
pub use runtime::run;
pub use sync::WaitGroup;
pub use thread::JoinHandle;

/// Starts a goroutine that calls `f`, and returns a handle to wait for it.
///
/// It becomes the next to run on the calling goroutine's processor, and the one that was next goes to
/// the queue's tail: six `go` in a row on one processor start in the order 5 0 1 2 3 4. Does not block.
/// From an ordinary thread, it goes to the tail of the global queue; the first such call starts the
/// runtime.
///
/// Dropping the handle detaches the goroutine. A panic stays in it, and comes out of
/// [`JoinHandle::join`]. When main returns the process ends, and waits for no goroutine.
///
/// What happens before `go` happens before `f`. (Go: the `go` statement.)
///
/// # Panics
/// If the runtime can't be started, or no goroutine can be made (memory, address space or, before Linux
/// 6.13, mappings used up); [`thread::Builder::spawn`] returns the error instead.
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
        Err(e) => panic!("failed to start a goroutine: {e}"),
    }
}
