//! Pending sets: bits, and the information that came with each signal.
//!
//! They are filled in handlers, on any thread: by a lock-free stack of nodes, whose memory is
//! mapped by the chunk and used again. A set has one consumer at a time.
//!
//! Models: `tests/models/src/pending.rs`.

use super::chunks::Chunks;
use crate::base::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::cell::Cell;
use std::ptr::{NonNull, null_mut};

/// Real-time signals that may be queued at once, in the whole process. (The kernel has a limit too,
/// `RLIMIT_SIGPENDING`.)
const MOST: u32 = 1 << 17;
/// Signals from here on are queued each.
const FIRST_REAL_TIME: i32 = 32;
/// Faults go first.
const FAULTS: u64 = super::bit(libc::SIGSEGV)
    | super::bit(libc::SIGBUS)
    | super::bit(libc::SIGILL)
    | super::bit(libc::SIGTRAP)
    | super::bit(libc::SIGFPE)
    | super::bit(libc::SIGSYS);

/// One signal that is pending.
pub(super) struct Node {
    next: AtomicPtr<Node>,
    info: Cell<libc::siginfo_t>,
}

// SAFETY: `info` is written before the node is put in an inbox, and read by the consumer.
unsafe impl Sync for Node {}

/// Nodes that are not used: the first, in the upper 48 bits, and below a count that tells one first
/// from another.
static FREE: AtomicU64 = AtomicU64::new(0);
static CHUNKS: Chunks = Chunks::new();
static LIVE: AtomicU32 = AtomicU32::new(0);
const TAG: u64 = 0xffff;

fn first_of(word: u64) -> *mut Node {
    (word >> 16) as usize as *mut Node
}

/// The word that has `first`, after `word`.
fn counted(first: *mut Node, word: u64) -> u64 {
    (first as u64) << 16 | word.wrapping_add(1) & TAG
}

/// A node with `info`; none where there are too many.
fn make(info: &libc::siginfo_t) -> Option<NonNull<Node>> {
    if LIVE.fetch_add(1, Ordering::Relaxed) >= MOST {
        LIVE.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    let mut word = FREE.load(Ordering::Acquire);
    let at = loop {
        let Some(first) = NonNull::new(first_of(word)) else { break CHUNKS.make::<Node>() };
        // SAFETY: nodes are never unmapped; one that is taken meanwhile says anything here, and the
        // exchange fails by its count.
        let next = unsafe { first.as_ref() }.next.load(Ordering::Relaxed);
        let to = counted(next, word);
        match FREE.compare_exchange_weak(word, to, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => break Some(first),
            Err(now) => word = now,
        }
    };
    let Some(at) = at else {
        LIVE.fetch_sub(1, Ordering::Relaxed);
        return None;
    };
    // SAFETY: ours. `next` may still be read by a thread that wanted to take it (above): it stays
    // an atomic.
    unsafe {
        at.as_ref().next.store(null_mut(), Ordering::Relaxed);
        at.as_ref().info.set(*info);
    }
    Some(at)
}

/// Gives a node back.
///
/// # Safety
/// * The caller has taken it out of its list.
unsafe fn free(node: NonNull<Node>) {
    LIVE.fetch_sub(1, Ordering::Relaxed);
    let mut word = FREE.load(Ordering::Relaxed);
    loop {
        // SAFETY: nodes are never unmapped.
        unsafe { node.as_ref() }.next.store(first_of(word), Ordering::Relaxed);
        let to = counted(node.as_ptr(), word);
        // Release: the link.
        match FREE.compare_exchange_weak(word, to, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => word = now,
        }
    }
}

/// Real-time signals there are.
const KINDS: usize = 65 - FIRST_REAL_TIME as usize;

/// What a consumer has taken out of an inbox: for each signal, first in, first out. (One list of
/// all would be gone through for each signal that is taken, past those of other numbers.)
pub(super) struct List([Line; KINDS]);

/// Those of one signal.
#[derive(Clone, Copy)]
struct Line {
    head: *mut Node,
    tail: *mut Node,
}

// SAFETY: an owner's nodes.
unsafe impl Send for List {}

impl List {
    pub(super) const fn new() -> Self {
        Self([Line { head: null_mut(), tail: null_mut() }; KINDS])
    }

    fn line(&mut self, signal: i32) -> &mut Line {
        &mut self.0[(signal - FIRST_REAL_TIME) as usize]
    }

    fn push_all(&mut self, mut newest: *mut Node) {
        // The stack has the newest on top.
        let mut oldest: *mut Node = null_mut();
        // SAFETY: the consumer's nodes from here on.
        while let Some(node) = unsafe { newest.as_ref() } {
            let next = node.next.swap(oldest, Ordering::Relaxed);
            (oldest, newest) = (newest, next);
        }
        // SAFETY: as above.
        while let Some(node) = unsafe { oldest.as_ref() } {
            let next = node.next.swap(null_mut(), Ordering::Relaxed);
            let line = self.line(node.info.get().si_signo);
            // SAFETY: null, or an element of this list.
            match unsafe { line.tail.as_ref() } {
                Some(tail) => tail.next.store(oldest, Ordering::Relaxed),
                None => line.head = oldest,
            }
            line.tail = oldest;
            oldest = next;
        }
    }

    /// Takes the first of `signal`.
    fn take(&mut self, signal: i32) -> Option<libc::siginfo_t> {
        let line = self.line(signal);
        let first = NonNull::new(line.head)?;
        // SAFETY: an element of this list.
        let (next, info) =
            unsafe { (first.as_ref().next.load(Ordering::Relaxed), first.as_ref().info.get()) };
        line.head = next;
        if next.is_null() {
            line.tail = null_mut();
        }
        // SAFETY: out of the list.
        unsafe { free(first) };
        Some(info)
    }

    fn has(&mut self, signal: i32) -> bool {
        !self.line(signal).head.is_null()
    }
}

/// A real-time signal could not be queued.
#[derive(Debug)]
pub(super) struct Full;

/// A pending set. Filled by anybody; emptied by one consumer, with its [`List`].
pub(super) struct Queue {
    bits: AtomicU64,
    /// Of those, the ones that are pending without a node: there was no memory for it.
    bare: AtomicU64,
    /// Standard signals, one each. A node is put there before its bit is set, and taken after the
    /// bit was cleared: so the bit of a signal without a node is set by nobody.
    standard: [AtomicPtr<Node>; FIRST_REAL_TIME as usize],
    /// Real-time ones, the newest first.
    inbox: AtomicPtr<Node>,
}

impl Queue {
    pub(super) const fn new() -> Self {
        let [bits, bare] = [const { AtomicU64::new(0) }; 2];
        let standard = [const { AtomicPtr::new(null_mut()) }; FIRST_REAL_TIME as usize];
        Self { bits, bare, standard, inbox: AtomicPtr::new(null_mut()) }
    }

    /// What is pending.
    pub(super) fn bits(&self) -> u64 {
        self.bits.load(Ordering::SeqCst)
    }

    /// Adds a signal. A standard one that is pending already is not added (signal(7)).
    pub(super) fn push(&self, info: &libc::siginfo_t) -> Result<(), Full> {
        let bit = super::bit(info.si_signo);
        match self.standard.get(info.si_signo as usize) {
            Some(_) if self.bits() & bit != 0 => return Ok(()),
            Some(slot) => match make(info) {
                // Release: what is in the node.
                Some(node) => {
                    let put = slot.compare_exchange(
                        null_mut(),
                        node.as_ptr(),
                        Ordering::SeqCst,
                        Ordering::Relaxed,
                    );
                    if put.is_err() {
                        // SAFETY: in no list.
                        unsafe { free(node) };
                        return Ok(()); // one with that
                    }
                }
                None => {
                    self.bare.fetch_or(bit, Ordering::SeqCst);
                }
            },
            None => self.enqueue(make(info).ok_or(Full)?),
        }
        self.bits.fetch_or(bit, Ordering::SeqCst); // SG4
        Ok(())
    }

    fn enqueue(&self, node: NonNull<Node>) {
        let mut head = self.inbox.load(Ordering::Relaxed);
        loop {
            // SAFETY: ours.
            unsafe { node.as_ref() }.next.store(head, Ordering::Relaxed);
            let (new, order) = (node.as_ptr(), Ordering::AcqRel);
            // Release: pairs with the Acquire in take().
            match self.inbox.compare_exchange_weak(head, new, order, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// Takes the first signal of `allowed`: faults, then the lowest number. By the consumer.
    pub(super) fn take(&self, list: &mut List, allowed: u64) -> Option<libc::siginfo_t> {
        loop {
            let due = self.bits() & allowed;
            let of = if due & FAULTS == 0 { due } else { due & FAULTS };
            if of == 0 {
                return None;
            }
            let signal = of.trailing_zeros() as i32 + 1;
            let bit = super::bit(signal);
            self.bits.fetch_and(!bit, Ordering::SeqCst); // SG4
            let first = match self.standard.get(signal as usize) {
                Some(slot) => self.take_standard(slot, signal),
                None => self.take_queued(list, signal),
            };
            if first.is_some() {
                return first;
            }
        }
    }

    fn take_standard(&self, slot: &AtomicPtr<Node>, signal: i32) -> Option<libc::siginfo_t> {
        let is_bare = self.bare.fetch_and(!super::bit(signal), Ordering::SeqCst);
        if let Some(node) = NonNull::new(slot.swap(null_mut(), Ordering::SeqCst)) {
            // SAFETY: taken out of its place; it was written before it was put there.
            let info = unsafe { node.as_ref() }.info.get();
            // SAFETY: as above.
            unsafe { free(node) };
            return Some(info);
        }
        // SAFETY: plain old data: the sender is not known.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        info.si_signo = signal;
        (is_bare & super::bit(signal) != 0).then_some(info)
    }

    fn take_queued(&self, list: &mut List, signal: i32) -> Option<libc::siginfo_t> {
        // Acquire: what was put there.
        list.push_all(self.inbox.swap(null_mut(), Ordering::AcqRel));
        let first = list.take(signal);
        if list.has(signal) {
            self.bits.fetch_or(super::bit(signal), Ordering::SeqCst);
        }
        first
    }

    /// Drops everything. By the consumer.
    pub(super) fn clear(&self, list: &mut List) {
        while self.take(list, u64::MAX).is_some() {}
    }
}
