//! A descriptor: who waits for it, and whether it is registered.
//!
//! **The problem.** A goroutine has tried a call, was told that it would block, and waits for an edge. The
//! edge may come between the two. Several may wait. And the number may stand for another file by now.
//!
//! **Edges are counted.** Each direction has a count of the edges that were seen. Who is about to try a
//! call notes the count before; who then wants to wait does so only if it is still the same, under the
//! descriptor's lock. A flag, cleared by whoever looked, would be one waiter's news taken by another.
//!
//! **One edge, many waiters.** Those who only look (`poll`) are all woken. Of those who take something
//! away (`read`, `accept`) the first is; when it has got something, it passes the news on
//! ([`Desc::pass_on`]), for there may be more and the kernel does not say so twice.
//!
//! **Incarnations.** A number that is closed, or given out anew, begins another *incarnation*: who waits is
//! told that it is gone, and an event that is still on its way for an earlier one is not looked at. We see
//! most of that happen (`intercept/fd.rs`). What we don't see, a number closed and given out by raw system
//! calls, leaves us with a registration that the kernel has dropped: so the registrations of those who wait
//! long are renewed now and then ([`Desc::verify`], by the monitor), which finds that out.
//!
//! **What is drained.** A read of a TCP stream that gets less than it has room for has emptied it: what comes later
//! comes with an edge. Until then another read need not be tried, if the descriptor is *plain*: a TCP stream, not
//! `O_NONBLOCK`, without a time-out, as was asked when somebody last waited, and nobody has changed any such setting since
//! (`intercept/wait.rs`). Not so where its end, an error or an urgent byte was reported.
//!
//! * D1: a waiter in a list has noted the current count of that direction and the current incarnation.
//! * D2: while somebody is in a list, the descriptor is registered, as far as we know.
//! * D3: an edge that the kernel reports after a registration, for its incarnation, raises the count.
//! * D4: `drained` is one more than a count noted before a short read, and all that came with that count's edges was
//!   taken by it. What it says of an earlier incarnation does no harm: a registration brings an edge.

use super::{CHANGES, EPOLL, NEW_WAITERS, WAITERS, WRITERS, is_nonblocking};
use crate::base::lock::Lock;
use crate::g::current;
use crate::g::task::RunList;
use crate::g::wait::Cause;
use crate::g::wait_list::{WaitList, Waiting};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Which way the data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Reading, accepting.
    Read = 0,
    /// Writing, connecting.
    Write = 1,
}

/// What a waiter does when it is woken: bits of [`Waiting::bits`].
pub(crate) const TAKES: u32 = 1;

/// How calls on a descriptor are tried without blocking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Not looked at yet.
    Unknown = 0,
    /// A socket: `MSG_DONTWAIT`.
    Socket = 1,
    /// A pipe, an eventfd: `RWF_NOWAIT`.
    Nowait = 2,
    /// A terminal, an inotify: by asking `poll` first.
    PollFirst = 3,
    /// A file, a device: it can't be waited for.
    File = 4,
    /// `/dev/null` and its kin: nothing waits there.
    Memory = 5,
}

/// One descriptor number.
#[repr(C, align(64))]
pub(crate) struct Desc {
    state: Lock<State>,
    /// Edges seen, by direction.
    edges: [AtomicU32; 2],
    incarnation: AtomicU32,
    kind: AtomicU8,
    /// Somebody is or was registered here since the last incarnation: its end matters to us.
    touched: AtomicU8,
    /// More than data was reported, or will be: short reads say nothing.
    odd: AtomicU8,
    /// Calls that would wait end with `EAGAIN`, by direction (a bit each).
    hasty: AtomicU8,
    /// D4; 0: never.
    drained: AtomicU32,
    /// When it was found to be plain, by the caller's count of changes; 0: never.
    plain: AtomicU32,
}

struct State {
    waiters: [WaitList; 2],
    registered: bool,
    /// Somebody accepts a connection.
    accepting: bool,
    /// How often the registration was verified since somebody began to wait; see `super::sweep`.
    verified: u8,
}

/// What was so before a call was tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    edges: u32,
    incarnation: u32,
}

/// What one who wants to accept finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Accept {
    /// It is his turn, in this incarnation, until he ends it.
    Begun(u32),
    /// Somebody else does.
    Busy,
}

/// What becoming a waiter came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Enlisted {
    /// It is in the list.
    Yes,
    /// There was an edge meanwhile: try the call again.
    Edge,
    /// The number stands for something else by now.
    Gone,
    /// The kernel does not take it; its `errno`.
    Refused(i32),
}

impl Desc {
    /// Notes what is so now. Before a call is tried.
    #[inline]
    pub(crate) fn look(&self, direction: Direction) -> Look {
        Look {
            // Acquire: pairs with event(): what made the edge is visible to the call.
            edges: self.edges[direction as usize].load(Ordering::Acquire),
            incarnation: self.incarnation.load(Ordering::Acquire),
        }
    }

    /// Whether there is nothing to read since `look`, for all we know. For plain ones.
    #[inline]
    pub(crate) fn is_drained(&self, look: Look) -> bool {
        self.drained.load(Ordering::Relaxed) == look.edges.wrapping_add(1)
            && self.odd.load(Ordering::Relaxed) == 0
    }

    /// After `look` there was a read that got less than it had room for.
    #[inline]
    pub(crate) fn was_drained(&self, look: Look) {
        let drained = look.edges.wrapping_add(1);
        if self.drained.load(Ordering::Relaxed) != drained {
            self.drained.store(drained, Ordering::Relaxed);
        }
    }

    /// Short reads say nothing about it.
    pub(crate) fn is_odd(&self) {
        self.odd.store(1, Ordering::Relaxed);
    }

    /// Whether more than data was reported, as far as we know.
    #[inline]
    pub(crate) fn was_odd(&self) -> bool {
        self.odd.load(Ordering::Relaxed) != 0
    }

    /// Whether calls that would wait end with `EAGAIN`: by a time-out that is less than none, which the kernel takes for
    /// zero and does not tell.
    pub(crate) fn is_hasty(&self, direction: Direction) -> bool {
        self.hasty.load(Ordering::Relaxed) & 1 << direction as u8 != 0
    }

    /// Says so.
    pub(crate) fn set_hasty(&self, direction: Direction, on: bool) {
        let bit = 1 << direction as u8;
        if on {
            self.hasty.fetch_or(bit, Ordering::Relaxed);
            self.touched.store(1, Ordering::Release);
        } else if self.is_hasty(direction) {
            self.hasty.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Whether it was found to be plain at that count of changes.
    #[inline]
    pub(crate) fn is_plain(&self, changes: u32) -> bool {
        self.plain.load(Ordering::Relaxed) == changes
    }

    /// It was found to be plain at that count, in the incarnation of `look`.
    pub(crate) fn set_plain(&self, changes: u32, look: Look) {
        let _section = current::enter();
        let _state = self.state.lock();
        if self.incarnation.load(Ordering::Relaxed) == look.incarnation {
            self.plain.store(changes, Ordering::Relaxed);
        }
    }

    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        match self.kind.load(Ordering::Relaxed) {
            1 => Kind::Socket,
            2 => Kind::Nowait,
            3 => Kind::PollFirst,
            4 => Kind::File,
            5 => Kind::Memory,
            _ => Kind::Unknown,
        }
    }

    pub(crate) fn set_kind(&self, kind: Kind) {
        self.kind.store(kind as u8, Ordering::Relaxed);
        self.touched.store(1, Ordering::Release);
    }

    fn data(&self, fd: i32) -> u64 {
        u64::from(self.incarnation.load(Ordering::Relaxed)) << 32 | u64::from(fd as u32)
    }

    /// Registers `fd` if it is not, without waiting for it. 0, or `-errno`.
    fn register(&self, state: &mut State, fd: i32) -> isize {
        if state.registered {
            return 0;
        }
        let result = EPOLL.add(fd, self.data(fd));
        state.registered = result == 0;
        self.touched.store(1, Ordering::Release);
        result
    }

    /// Wants to accept: one at a time asks whether there is a connection, and takes it.
    pub(crate) fn begin_accept(&self) -> Accept {
        let _section = current::enter();
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.accepting, true) {
            Accept::Busy
        } else {
            Accept::Begun(self.incarnation.load(Ordering::Relaxed))
        }
    }

    /// Ends that; who took a connection (or an error) wakes the next. In a section.
    pub(crate) fn end_accept(&self, begun: u32, took: bool, out: &mut RunList) {
        let mut state = self.state.lock();
        if self.incarnation.load(Ordering::Relaxed) != begun {
            return;
        }
        state.accepting = false;
        if took {
            state.wake(Direction::Read, out);
        }
    }

    /// Makes `one` a waiter of `fd`, this descriptor, unless there was an edge since `look`; without a look,
    /// unless nobody is accepting any more. In a section.
    ///
    /// # Safety
    /// * It stays where it is until it was taken out (by its end, or [`delist`](Self::delist)).
    pub(crate) unsafe fn enlist(
        &self,
        fd: i32,
        direction: Direction,
        look: Option<Look>,
        one: &Waiting,
    ) -> Enlisted {
        let mut state = self.state.lock();
        let is_gone = |look: Look| self.incarnation.load(Ordering::Relaxed) != look.incarnation;
        if look.is_some_and(is_gone) {
            return Enlisted::Gone;
        }
        let error = self.register(&mut state, fd);
        if error < 0 {
            return Enlisted::Refused(-error as i32);
        }
        let edges = self.edges[direction as usize].load(Ordering::Relaxed);
        if look.map_or(!state.accepting, |look| look.edges != edges) {
            return Enlisted::Edge;
        }
        // SAFETY: the caller's promise.
        unsafe { state.waiters[direction as usize].push(one) };
        state.verified = 0;
        WAITERS.fetch_add(1, Ordering::SeqCst);
        if direction == Direction::Write {
            WRITERS.fetch_add(1, Ordering::SeqCst);
        }
        if !NEW_WAITERS.load(Ordering::Relaxed) {
            NEW_WAITERS.store(true, Ordering::Relaxed);
        }
        Enlisted::Yes
    }

    /// Takes `one` out again, if nobody has. In a section.
    pub(crate) fn delist(&self, direction: Direction, one: &Waiting) {
        let mut state = self.state.lock();
        if state.waiters[direction as usize].remove(one) {
            forget(direction as usize, 1);
        }
    }

    /// The kernel reports `events` for the incarnation `incarnation`.
    pub(super) fn event(&self, incarnation: u32, events: u32, out: &mut RunList) {
        const READ: u32 =
            (libc::EPOLLIN | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR)
                as u32;
        const WRITE: u32 = (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) as u32;
        const ODD: u32 =
            (libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;
        let mut state = self.state.lock();
        if self.incarnation.load(Ordering::Relaxed) != incarnation {
            return;
        }
        if events & ODD != 0 {
            // Before the count: who sees that sees this.
            self.is_odd();
        }
        for (direction, mask) in [(Direction::Read, READ), (Direction::Write, WRITE)] {
            if events & mask != 0 {
                self.count(direction);
                state.wake(direction, out);
            }
        }
    }

    fn count(&self, direction: Direction) {
        // Release: pairs with look(). Under the lock.
        self.edges[direction as usize].fetch_add(1, Ordering::Release);
    }

    /// Whether somebody waits to write. In a section.
    pub(super) fn has_writers(&self) -> bool {
        !self.state.lock().waiters[Direction::Write as usize].is_empty()
    }

    /// Something has happened that those who wait to write are to look at, and that the kernel makes no edge of. In a
    /// section.
    pub(super) fn rouse_writers(&self, out: &mut RunList) {
        let mut state = self.state.lock();
        self.count(Direction::Write);
        let (_, taken) =
            state.waiters[Direction::Write as usize].end(Cause::Ready, usize::MAX, out, |_| true);
        forget(Direction::Write as usize, taken);
    }

    /// Who was woken has got something: the next may look too. In a section.
    pub(crate) fn pass_on(&self, direction: Direction, out: &mut RunList) {
        let mut state = self.state.lock();
        if !state.waiters[direction as usize].is_empty() {
            state.wake(direction, out);
        }
    }

    /// The number is about to be closed, or was just given out: a new incarnation. Who waits is told.
    #[inline]
    pub(super) fn renew(&self, fd: i32, is_open: bool, out: &mut RunList) {
        if self.touched.load(Ordering::Acquire) != 0 {
            self.renew_touched(fd, is_open, out);
        }
    }

    fn renew_touched(&self, fd: i32, is_open: bool, out: &mut RunList) {
        let mut state = self.state.lock();
        self.touched.store(0, Ordering::Relaxed);
        self.next_incarnation(&mut state);
        if std::mem::take(&mut state.registered) && is_open {
            // The file may live on under another number, and would go on to report.
            EPOLL.remove(fd);
        }
        state.end_all(Cause::Gone, out);
    }

    fn next_incarnation(&self, state: &mut State) {
        self.kind.store(Kind::Unknown as u8, Ordering::Relaxed);
        for word in [&self.drained, &self.plain] {
            word.store(0, Ordering::Relaxed);
        }
        self.odd.store(0, Ordering::Relaxed);
        self.hasty.store(0, Ordering::Relaxed);
        self.incarnation.fetch_add(1, Ordering::Release);
        state.accepting = false;
    }

    /// Renews the registration of one who waits long, in case the kernel has lost it without our knowing.
    /// False if nobody waits.
    pub(super) fn verify(&self, fd: i32, all: bool, out: &mut RunList) -> bool {
        let mut state = self.state.lock();
        if state.waiters.iter().all(WaitList::is_empty) {
            return false;
        }
        state.verified = state.verified.saturating_add(1);
        // The first look may come right after the wait began: the second is one round later, for sure.
        if state.verified != 2 && !all {
            return state.verified < 2;
        }
        match -EPOLL.again(fd, self.data(fd)) as i32 {
            0 if self.is_plain(CHANGES.load(Ordering::Relaxed)) && is_nonblocking(fd) => {
                // Set behind our back, maybe before the wait began: who waits is to be told. (What this process sets
                // ends no wait that has begun.)
                self.plain.store(0, Ordering::Relaxed);
                state.end_all(Cause::Ready, out);
            }
            // A local socket that another process has shut down for writing reports nothing: they look anew.
            0 => {
                let writers = &mut state.waiters[Direction::Write as usize];
                let (_, taken) = writers.end(Cause::Ready, usize::MAX, out, |_| true);
                forget(Direction::Write as usize, taken);
            }
            libc::EBADF => {
                state.registered = false;
                self.next_incarnation(&mut state);
                state.end_all(Cause::Gone, out);
            }
            _ => {
                // It stands for another file now, or for the same, opened again: they shall look anew.
                state.registered = false;
                self.next_incarnation(&mut state);
                state.end_all(Cause::Ready, out);
            }
        }
        state.verified < 2
    }

    /// Whether it was ever of interest since it was last renewed.
    pub(super) fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed) != 0
    }
}

/// So many are in the list of a direction no more.
fn forget(direction: usize, n: usize) {
    WAITERS.fetch_sub(n as u32, Ordering::SeqCst);
    if direction == Direction::Write as usize {
        WRITERS.fetch_sub(n as u32, Ordering::SeqCst);
    }
}

impl State {
    /// Wakes those who only look, and the first of those who take.
    fn wake(&mut self, direction: Direction, out: &mut RunList) {
        let list = &mut self.waiters[direction as usize];
        if list.is_empty() {
            return;
        }
        let (_, lookers) = list.end(Cause::Ready, usize::MAX, out, |one| one.bits & TAKES == 0);
        let (_, takers) = list.end(Cause::Ready, 1, out, |_| true);
        forget(direction as usize, lookers + takers);
    }

    fn end_all(&mut self, cause: Cause, out: &mut RunList) {
        for (direction, list) in self.waiters.iter_mut().enumerate() {
            let (_, taken) = list.end(cause, usize::MAX, out, |_| true);
            forget(direction, taken);
        }
    }
}
