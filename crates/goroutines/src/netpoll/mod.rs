//! The network poller: waiting for descriptors costs no thread. (Go: `netpoll.go`.)
//!
//! One epoll, edge-triggered, with one registration per descriptor, made when somebody first waits
//! for it. [`poll`] returns the goroutines whose wait has ended; it readies none. Which thread
//! calls it, and when, is decided in `sched/watch.rs`.
//!
//! Descriptors stay blocking in the eyes of everybody: calls are *tried* in ways that don't block
//! (`intercept/io.rs`), and no flag of the user's is touched but for a moment (`moment.rs`).

pub(crate) mod desc;
mod epoll;
mod kind;
pub(crate) mod moment;
mod own;

pub(crate) use desc::{Accept, BACK, Desc, Direction, Enlisted, Look, MOVES, TAKES};
pub(crate) use kind::Kind;
pub(crate) use moment::is_nonblocking;

use crate::g::task::RunList;
use desc::Renewal;
use epoll::{Epoll, Event, Waited};
use goroutines_switch::sys;
#[cfg(feature = "intercept")]
pub(crate) use own::raise;
use std::io;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, Ordering};

static EPOLL: Epoll = Epoll::new();

/// The number of the epoll that descriptors are registered with; -1: there is none yet.
static REGISTERED: AtomicI32 = AtomicI32::new(-1);

/// Waiters in the lists of descriptors: goroutines that may be woken by an event.
static WAITERS: AtomicU32 = AtomicU32::new(0);

/// Counts changes of the settings of descriptors: `O_NONBLOCK`, time-outs (`intercept/wait.rs`).
/// From 1.
pub(crate) static CHANGES: AtomicU32 = AtomicU32::new(1);

/// The waiters that wait to write.
static WRITERS: AtomicU32 = AtomicU32::new(0);

/// Somebody has begun to wait since the last sweep.
static NEW_WAITERS: AtomicBool = AtomicBool::new(false);

const CHUNK: usize = 1024;
const CHUNKS: usize = 16 << 10;

/// The descriptors, by number, in chunks that are mapped at need and never unmapped. All zeroes is
/// a valid one.
static TABLE: [AtomicPtr<Desc>; CHUNKS] = [const { AtomicPtr::new(null_mut()) }; CHUNKS];

/// One more than the number of the last chunk there is.
static CHUNKS_USED: AtomicU32 = AtomicU32::new(0);

/// How long from one round of verifying ([`Sweep`]) to the next.
pub(crate) const SWEEP_NS: u64 = 100_000_000;

/// How long until all are verified again.
pub(crate) const SWEEP_ALL_NS: u64 = 10_000_000_000;

/// Makes the poller.
///
/// # Errors
/// The kernel's.
pub(crate) fn open() -> io::Result<()> {
    EPOLL.open()
}

/// Whether `fd` is one of the poller's own.
pub(crate) fn owns(fd: i32) -> bool {
    EPOLL.owns(fd)
}

/// The numbers of the poller's own descriptors, in order.
pub(crate) fn own() -> impl Iterator<Item = u32> {
    let mut own = EPOLL.own();
    own.sort_unstable();
    own.into_iter().filter_map(|fd| u32::try_from(fd).ok())
}

/// The descriptor with a number; none where the number is none, or is too large, or there is no
/// memory.
#[inline]
pub(crate) fn desc(fd: i32) -> Option<&'static Desc> {
    match known(fd) {
        Some(desc) => Some(desc),
        None => map_chunk(fd),
    }
}

/// The descriptor with a number, if its neighbourhood was ever of interest.
#[inline]
fn known(fd: i32) -> Option<&'static Desc> {
    let chunk = TABLE.get(usize::try_from(fd).ok()? / CHUNK)?.load(Ordering::Acquire);
    if chunk.is_null() {
        return None;
    }
    // SAFETY: a chunk is mapped whole and never unmapped; zeroes are a valid Desc.
    Some(unsafe { &*chunk.add(fd as usize % CHUNK) })
}

#[cold]
fn map_chunk(fd: i32) -> Option<&'static Desc> {
    let index = usize::try_from(fd).ok()? / CHUNK;
    let slot = TABLE.get(index)?;
    let bytes = CHUNK * size_of::<Desc>();
    let new = sys::map(bytes).ok()?;
    let ours = slot.compare_exchange(null_mut(), new.cast(), Ordering::AcqRel, Ordering::Acquire);
    if ours.is_err() {
        // SAFETY: our own mapping, which nobody has seen.
        unsafe { sys::unmap(new, bytes) };
    }
    CHUNKS_USED.fetch_max(index as u32 + 1, Ordering::AcqRel);
    known(fd)
}

/// How many wait for descriptors.
#[inline]
pub(crate) fn waiters() -> u32 {
    WAITERS.load(Ordering::SeqCst)
}

/// Waits for events, for `timeout_ns` at the most (none: for ever); the goroutines whose wait has
/// ended go to `out`. One at a time. May return early. `awake` is called after the wait, before any
/// of them is taken from its list of waiters.
pub(crate) fn poll(timeout_ns: Option<u64>, awake: impl FnOnce(), out: &mut RunList) {
    let mut events = [Event { events: 0, u64: 0 }; 128];
    let before = EPOLL.number();
    let waited = EPOLL.wait(&mut events, timeout_ns);
    awake();
    let n = match waited {
        Waited::Events(n) => n,
        Waited::Lost => {
            EPOLL.renew(before);
            0
        }
    };
    if EPOLL.number() != REGISTERED.load(Ordering::Relaxed) {
        register_again(out);
    }
    for event in &events[..n] {
        let (data, bits) = (event.u64, event.events);
        if let Some(desc) = known(data as u32 as i32) {
            desc.event((data >> 32) as u32, bits, out);
        }
    }
}

/// Nothing is registered any more: goroutines that wait look anew, and register again.
#[cold]
fn register_again(out: &mut RunList) {
    // One at a time, as poll() is.
    if REGISTERED.swap(EPOLL.number(), Ordering::Relaxed) != -1 {
        each_touched(|_, desc| desc.lost(out));
    }
}

/// Makes way for a file that the program wants to put under `fd`. False if that can't be.
pub(crate) fn make_way(fd: i32) -> bool {
    let (before, is_epoll) = (EPOLL.number(), EPOLL.number() == fd);
    let moved = EPOLL.make_way(fd);
    if moved && is_epoll {
        // The same epoll: what is registered stays so.
        let _ = REGISTERED.compare_exchange(
            before,
            EPOLL.number(),
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
    }
    moved
}

/// Ends a [`poll`] that goes on, or the next one.
pub(crate) fn interrupt() {
    EPOLL.interrupt();
}

/// `fd` is about to be closed. The goroutines that wait for it go to `out`. In a section.
#[inline]
pub(crate) fn closing(fd: i32, out: &mut RunList) {
    if let Some(desc) = known(fd) {
        desc.renew(fd, Renewal::Closing, out);
    }
}

/// `fd` has been closed. Goroutines that have begun to wait for it since [`closing`] are told. In a
/// section.
pub(crate) fn closed(fd: i32, out: &mut RunList) {
    if let Some(desc) = known(fd) {
        desc.verify(fd, true, out);
    }
}

/// `fd`, a local socket, was shut down for writing, of which the kernel makes no edge: goroutines
/// that wait to write to it, by whatever number (`is_same` says which numbers are its), are to
/// look. In a section.
#[cfg(feature = "intercept")]
pub(crate) fn shut_down(fd: i32, is_same: impl Fn(i32) -> bool, out: &mut RunList) {
    if let Some(desc) = known(fd) {
        desc.rouse_writers(out);
    }
    if WRITERS.load(Ordering::SeqCst) == 0 {
        return;
    }
    for other in numbers_used(0, u32::MAX) {
        if let Some(desc) = known(other)
            && desc.has_writers()
            && is_same(other)
        {
            desc.rouse_writers(out);
        }
    }
}

/// Whether anybody has begun to wait since the last round of verifying began.
pub(crate) fn has_new_waiters() -> bool {
    NEW_WAITERS.load(Ordering::Relaxed)
}

/// `fd` was just given out: whatever we know of the number is of another file. In a section.
#[inline]
pub(crate) fn opened(fd: i32, out: &mut RunList) {
    if let Some(desc) = known(fd) {
        desc.renew(fd, Renewal::Opened, out);
    }
}

/// Another file is about to be put under `fd`. In a section.
pub(crate) fn replacing(fd: i32, out: &mut RunList) {
    if let Some(desc) = known(fd) {
        desc.renew(fd, Renewal::Replacing, out);
    }
}

/// Another file was just put under `fd`. In a section.
pub(crate) fn replaced(fd: i32, out: &mut RunList) {
    if let Some(desc) = known(fd) {
        desc.renew(fd, Renewal::Replaced, out);
    }
}

/// The poller does not watch `epoll`, an epoll of the program's, until that number is closed. In a
/// section.
#[cfg(feature = "intercept")]
pub(crate) fn bar(epoll: i32, out: &mut RunList) {
    if let Some(desc) = desc(epoll) {
        desc.bar(epoll, true, out);
    }
}

/// The poller may watch `epoll` again. In a section.
#[cfg(feature = "intercept")]
pub(crate) fn unbar(epoll: i32, out: &mut RunList) {
    if let Some(desc) = known(epoll) {
        desc.bar(epoll, false, out);
    }
}

/// Whether the poller watches `fd`. In a section.
#[cfg(feature = "intercept")]
pub(crate) fn is_registered(fd: i32) -> bool {
    known(fd).is_some_and(Desc::is_registered)
}

/// Whether a number is of interest: [`closing`] and [`opened`] would do something.
#[inline]
pub(crate) fn is_touched(fd: i32) -> bool {
    known(fd).is_some_and(Desc::is_touched)
}

/// The numbers from `first` to `last` that are of interest.
pub(crate) fn numbers_used(first: u32, last: u32) -> impl Iterator<Item = i32> {
    let end = CHUNKS_USED.load(Ordering::Acquire) as usize * CHUNK;
    (first as usize..end.min((last as usize).saturating_add(1)))
        .map(|fd| fd as i32)
        .filter(|fd| is_touched(*fd))
}

/// A round of verifying the registrations of goroutines that wait, a slice at a time. On the
/// monitor's thread.
pub(crate) struct Sweep {
    /// Of each, or of those in their second round.
    all: bool,
    /// The chunk that comes next.
    chunk: usize,
    /// There are some to come back for after [`SWEEP_NS`].
    soon: bool,
}

impl Sweep {
    /// A slice ends with the chunk in which so many descriptors have been seen, or after so many
    /// chunks.
    const DESCS: usize = 512;
    const CHUNKS: usize = 64;

    /// A new round.
    pub(crate) fn begin(all: bool) -> Self {
        // Before the lists are looked at.
        NEW_WAITERS.store(false, Ordering::Relaxed);
        Self { all, chunk: 0, soon: false }
    }

    /// Verifies some more. After the last ones: whether there are some to come back for after
    /// [`SWEEP_NS`].
    pub(crate) fn slice(&mut self, out: &mut RunList) -> Option<bool> {
        let first = self.chunk;
        let mut seen = 0;
        while seen < Self::DESCS && self.chunk < first + Self::CHUNKS {
            if self.chunk >= CHUNKS_USED.load(Ordering::Acquire) as usize {
                return Some(self.soon);
            }
            each_touched_in(self.chunk, |fd, desc| {
                self.soon |= desc.verify(fd, self.all, out);
                seen += 1;
            });
            self.chunk += 1;
        }
        None
    }
}

/// Calls `f` with each descriptor that is of interest.
fn each_touched(mut f: impl FnMut(i32, &Desc)) {
    for chunk in 0..CHUNKS_USED.load(Ordering::Acquire) as usize {
        each_touched_in(chunk, &mut f);
    }
}

/// The same, in a chunk.
fn each_touched_in(chunk: usize, mut f: impl FnMut(i32, &Desc)) {
    if TABLE[chunk].load(Ordering::Acquire).is_null() {
        return;
    }
    for fd in chunk * CHUNK..(chunk + 1) * CHUNK {
        if let Some(desc) = known(fd as i32)
            && desc.is_touched()
        {
            f(fd as i32, desc);
        }
    }
}
