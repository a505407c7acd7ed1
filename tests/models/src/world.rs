//! Goroutines that send each other messages, for the models of channels.

use crate::g::{G, current};
use loom::thread::{self, JoinHandle};
use std::sync::{Arc, Mutex};

/// Goroutines, and what became of their messages.
pub(crate) struct World {
    gs: Mutex<Vec<Box<G>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    dropped: Arc<Mutex<Vec<u32>>>,
}

/// A message, which says when it is dropped.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: u32,
    dropped: Arc<Mutex<Vec<u32>>>,
}

impl Drop for Message {
    fn drop(&mut self) {
        self.dropped.lock().unwrap().push(self.id);
    }
}

impl World {
    /// The model's own thread is a goroutine.
    pub(crate) fn new() -> Self {
        let world = Self::of_threads();
        current::set_g(world.new_g());
        world
    }

    /// It is a thread.
    pub(crate) fn of_threads() -> Self {
        Self {
            gs: Mutex::new(Vec::new()),
            threads: Mutex::new(Vec::new()),
            dropped: Arc::new(Mutex::new(Vec::new())),
        }
    }

    fn new_g(&self) -> &'static G {
        let gp = Box::new(G::new());
        // SAFETY: end() waits for all threads.
        let at = unsafe { &*std::ptr::from_ref(&*gp) };
        self.gs.lock().unwrap().push(gp);
        at
    }

    /// Another goroutine.
    pub(crate) fn go(&self, f: impl FnOnce() + 'static) {
        let gp = self.new_g();
        self.thread(move || {
            current::set_g(gp);
            f();
        });
    }

    /// Another thread.
    pub(crate) fn thread(&self, f: impl FnOnce() + 'static) {
        self.threads.lock().unwrap().push(thread::spawn(f));
    }

    pub(crate) fn message(&self, id: u32) -> Message {
        Message { id, dropped: self.dropped.clone() }
    }

    /// Waits for all others.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut *self.threads.lock().unwrap());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.gs.lock().unwrap().iter().for_each(|gp| gp.join_others());
    }

    /// At the end: there were messages 1 to `last`; when `rest` is gone, so is each of them, once.
    pub(crate) fn end<T>(self, last: u32, rest: T) {
        self.join();
        drop(rest);
        let mut dropped = self.dropped.lock().unwrap();
        dropped.sort_unstable();
        assert!(dropped.iter().copied().eq(1..=last), "lost or doubled: dropped were {dropped:?}");
    }
}
