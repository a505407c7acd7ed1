//! `crossbeam_utils::thread::scope`, as far as the tests use it: what is started is a thread or a goroutine.

use crate::{family, thread};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where threads and goroutines may borrow.
#[derive(Debug)]
pub struct Scope<'threads, 'goroutines, 'env: 'threads + 'goroutines> {
    threads: &'threads std::thread::Scope<'threads, 'env>,
    goroutines: &'goroutines goroutines::thread::Scope<'goroutines, 'env>,
}

/// Runs `f` with a scope, and waits for all that was started in it.
///
/// # Errors
/// The payload of the panic if `f` or anything of the scope panicked.
pub fn scope<'env, F, R>(f: F) -> thread::Result<R>
where
    F: for<'threads, 'goroutines> FnOnce(&Scope<'threads, 'goroutines, 'env>) -> R,
{
    catch_unwind(AssertUnwindSafe(|| {
        std::thread::scope(|threads| {
            goroutines::thread::scope(|goroutines| f(&Scope { threads, goroutines }))
        })
    }))
}

impl<'threads, 'goroutines> Scope<'threads, 'goroutines, '_> {
    /// Starts a thread or a goroutine that may borrow. (crossbeam's is given the scope.)
    pub fn spawn<F, T>(&self, f: F)
    where
        F: FnOnce(()) -> T + Send + 'threads + 'goroutines,
        T: Send + 'threads + 'goroutines,
    {
        let family = family::current();
        let is_thread = family.next_is_thread();
        let f = family.member(is_thread, || f(()));
        if is_thread {
            self.threads.spawn(f);
        } else {
            self.goroutines.spawn(f);
        }
    }
}
