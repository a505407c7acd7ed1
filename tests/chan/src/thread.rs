//! `std::thread`, as far as the tests use it: what is started is a thread or a goroutine.

use crate::family;

pub use goroutines::thread::{Result, sleep, yield_now};

/// Owned permission to wait for what [`spawn`] started.
#[derive(Debug)]
pub struct JoinHandle<T>(Kind<T>);

#[derive(Debug)]
enum Kind<T> {
    Goroutine(goroutines::thread::JoinHandle<T>),
    Thread(std::thread::JoinHandle<T>),
}

/// Starts a thread or a goroutine.
pub fn spawn<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let family = family::current();
    let is_thread = family.next_is_thread();
    let f = family.member(is_thread, f);
    JoinHandle(if is_thread {
        Kind::Thread(std::thread::spawn(f))
    } else {
        Kind::Goroutine(goroutines::thread::spawn(f))
    })
}

impl<T> JoinHandle<T> {
    /// Waits for it and returns its result.
    ///
    /// # Errors
    /// The payload of its panic.
    pub fn join(self) -> Result<T> {
        match self.0 {
            Kind::Goroutine(handle) => handle.join(),
            Kind::Thread(handle) => handle.join(),
        }
    }
}
