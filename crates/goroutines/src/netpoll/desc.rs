//! A descriptor: the goroutines that wait for it, and whether it is registered.
//!
//! **The problem.** A goroutine has tried a call, was told that it would block, and waits for an
//! edge. The edge may come between the two. Several may wait. And the number may stand for another
//! file by now.
//!
//! **Edges are counted.** Each direction has a count of the edges that were seen. A goroutine that
//! is about to try a call notes the count before; if it then wants to wait, it does so only if the
//! count is still the same, under the descriptor's lock. A flag, cleared by the goroutine that
//! looked, would be one waiter's news taken by another.
//!
//! **One edge, many waiters.** Those who only look (`poll`) are all woken. Of those who take
//! something away (`read`, `accept`) the first is; when it has got something, it passes the news on
//! ([`Desc::pass_on`]), for there may be more and the kernel does not say so twice.
//!
//! **Incarnations.** A number that is closed, or given out anew, begins another *incarnation*:
//! goroutines that wait are told that it is gone, and an event that is still on its way for an
//! earlier one is not looked at. Where `dup2` puts another file under a number, a read or a write
//! that waits, or was woken just now, goes on with the file that was there before, under a number
//! of its own ([`MOVES`], [`Desc::take_kept`]); other waits look at the new file. We see most of
//! that happen (`intercept/fd.rs`). What we don't see, a number closed and given out by raw system
//! calls, leaves us with a registration that the kernel has dropped: so the registrations of
//! goroutines that wait long are renewed now and then ([`Desc::verify`], by the monitor), which
//! finds that out.
//!
//! **What is drained.** A read of a TCP stream that gets less than it has room for has emptied it:
//! what comes later comes with an edge. Until then another read need not be tried, if the
//! descriptor is *plain*: a TCP stream, not `O_NONBLOCK`, without a time-out, as was asked when
//! somebody last waited, and nobody has changed any such setting since (`intercept/wait.rs`). Not
//! so where its end, an error or an urgent byte was reported.
//!
//! * D1: a waiter in a list has noted the current count of that direction and the current
//!   incarnation.
//! * D2: while somebody is in a list, the descriptor is registered, as far as we know.
//! * D3: an edge that the kernel reports after a registration, for its incarnation, raises the
//!   count.
//! * D4: `drained` is one more than a count noted before a short read, and all that came with that
//!   count's edges was taken by it. What it says of an earlier incarnation does no harm: a
//!   registration brings an edge.
//! * D5: a call that moves, and that another call has taken out of a list, counts as awake until it
//!   is back in the list, or has passed the news on. When another file is put under the number, a
//!   number of the old file is kept for as many calls as wait and are awake; the last of these
//!   takes it, or has it closed.

use super::kind::Kind;
use super::own::{close_own, own_number};
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

/// The wait of a call that goes on with its file when `dup2` puts another under its number.
pub(crate) const MOVES: u32 = 2;
/// The same, of one that counts as awake (D5).
pub(crate) const BACK: u32 = 4;

/// How a number comes to stand for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// It is about to be closed.
    Closing,
    /// It was just given out.
    Opened,
    /// Another file is about to be put under it.
    Replacing,
    /// Another file was just put under it.
    Replaced,
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
    /// The error that a call with a part has met, for the next call; 0: none. If there is one, it
    /// is odd.
    left: AtomicU8,
    /// D4; 0: never.
    drained: AtomicU32,
    /// When it was found to be plain, by the caller's count of changes; 0: never.
    plain: AtomicU32,
}

struct State {
    waiters: [WaitList; 2],
    registered: bool,
    /// It is not registered until the next incarnation: the poller would be in the program's way.
    barred: bool,
    /// Somebody accepts a connection.
    accepting: bool,
    /// The last incarnation began because another file was put under the number.
    replaced: bool,
    /// D5.
    awake: u32,
    /// D5. There is one only if `left` is not 0.
    kept: Kept,
    /// How often the registration was verified since somebody began to wait; see `super::Sweep`.
    verified: u8,
    /// How often goroutines that wait to write were roused since there was an edge for them.
    roused: u8,
}

/// A number of a file that was replaced, for calls that go on with it.
#[derive(Clone, Copy)]
struct Kept {
    number: i32,
    /// The incarnation that the file had.
    incarnation: u32,
    /// How many calls have not come for it yet.
    left: u32,
}

/// What was so before a call was tried.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    edges: u32,
    incarnation: u32,
}

/// What a goroutine that wants to accept finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Accept {
    /// It is the caller's turn, in this incarnation, until the caller ends it.
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
    /// The number was closed meanwhile, and may stand for something else by now.
    Gone,
    /// Another file was put under the number meanwhile: try the call again.
    Replaced,
    /// The kernel does not take it; its `errno`.
    Refused(i32),
}

impl Look {
    /// Whether it is of another incarnation.
    #[inline]
    pub(crate) fn is_after(self, incarnation: u32) -> bool {
        self.incarnation != incarnation
    }

    /// Its incarnation.
    #[inline]
    pub(crate) fn incarnation(self) -> u32 {
        self.incarnation
    }
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

    /// A call that has moved something since `look` has met `error`, which the kernel does not say
    /// again.
    #[cold]
    pub(crate) fn leave_error(&self, error: i32, look: Look) {
        let _section = current::enter();
        let _state = self.state.lock();
        if self.incarnation.load(Ordering::Relaxed) == look.incarnation {
            self.left.store(error as u8, Ordering::Relaxed);
            self.is_odd();
            self.touched.store(1, Ordering::Release);
        }
    }

    /// The error that was left for this call.
    #[inline]
    pub(crate) fn take_error(&self) -> Option<i32> {
        if !self.was_odd() {
            return None;
        }
        Some(i32::from(self.left.swap(0, Ordering::Relaxed))).filter(|error| *error != 0)
    }

    /// Whether calls that would wait end with `EAGAIN`: they have a time-out below zero, which the
    /// kernel takes for zero and does not tell.
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
        Kind::of(self.kind.load(Ordering::Relaxed))
    }

    /// It was found to be of that kind, in the incarnation of `look`.
    pub(crate) fn set_kind(&self, kind: Kind, look: Look) {
        let _section = current::enter();
        let _state = self.state.lock();
        if self.incarnation.load(Ordering::Relaxed) == look.incarnation {
            self.kind.store(kind as u8, Ordering::Relaxed);
            self.touched.store(1, Ordering::Release);
        }
    }

    fn data(&self, fd: i32) -> u64 {
        u64::from(self.incarnation.load(Ordering::Relaxed)) << 32 | u64::from(fd as u32)
    }

    /// Registers `fd` if it is not, without waiting for it. 0, or `-errno`.
    fn register(&self, state: &mut State, fd: i32) -> isize {
        if state.registered {
            return 0;
        }
        if state.barred {
            return -(libc::EINVAL as isize);
        }
        // Before it is registered. SeqCst: pairs with renew(). A call that puts another file under
        // the number sees this afterwards, or it is the other file that is registered.
        self.touched.store(1, Ordering::SeqCst);
        let result = EPOLL.add(fd, self.data(fd));
        state.registered = result == 0;
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

    /// Ends that; a caller that took a connection (or an error) wakes the next. In a section.
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

    /// Makes `one` a waiter of `fd`, this descriptor, unless there was an edge since `look`;
    /// without a look, unless nobody is accepting any more. In a section.
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
            return if state.replaced { Enlisted::Replaced } else { Enlisted::Gone };
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
        if one.bits & BACK != 0 {
            state.awake = state.awake.saturating_sub(1);
        }
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

    /// Takes `one` out again; false if it is out already. In a section.
    pub(crate) fn delist(&self, direction: Direction, one: &Waiting) -> bool {
        let mut state = self.state.lock();
        let was_there = state.waiters[direction as usize].remove(one);
        if was_there {
            forget(direction as usize, 1);
        }
        was_there
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
            // Before the count: a goroutine that sees the count sees this.
            self.is_odd();
        }
        for (direction, mask) in [(Direction::Read, READ), (Direction::Write, WRITE)] {
            if events & mask != 0 {
                if direction == Direction::Write {
                    state.roused = 0;
                }
                self.count(direction);
                state.wake(direction, out);
            }
        }
    }

    fn count(&self, direction: Direction) {
        // Release: pairs with look(). Under the lock.
        self.edges[direction as usize].fetch_add(1, Ordering::Release);
    }

    /// Whether a goroutine waits to write. In a section.
    pub(super) fn has_writers(&self) -> bool {
        !self.state.lock().waiters[Direction::Write as usize].is_empty()
    }

    /// Something has happened that goroutines which wait to write are to look at, and that the
    /// kernel makes no edge of. In a section.
    pub(super) fn rouse_writers(&self, out: &mut RunList) {
        let mut state = self.state.lock();
        self.count(Direction::Write);
        state.end(Direction::Write as usize, Cause::Ready, out);
    }

    /// A goroutine that was woken has got something: the next may look too. `awake`: it counts as
    /// awake, in that incarnation. If a number was kept for such goroutines and this is the last of
    /// them, the number is returned, and is the caller's to close. In a section.
    #[must_use]
    pub(crate) fn pass_on(
        &self,
        direction: Direction,
        awake: Option<u32>,
        out: &mut RunList,
    ) -> Option<i32> {
        let mut state = self.state.lock();
        if !state.waiters[direction as usize].is_empty() {
            state.wake(direction, out);
        }
        let incarnation = awake?;
        if self.incarnation.load(Ordering::Relaxed) == incarnation {
            state.awake = state.awake.saturating_sub(1);
            return None;
        }
        state.take_kept(incarnation).filter(|_| state.kept.left == 0)
    }

    /// A call that goes on with the file of `incarnation` counts as awake (D5). False: that
    /// incarnation is over. In a section.
    pub(crate) fn stay(&self, incarnation: u32) -> bool {
        let mut state = self.state.lock();
        // SeqCst: pairs with renew(), as in register().
        self.touched.store(1, Ordering::SeqCst);
        let is = self.incarnation.load(Ordering::SeqCst) == incarnation;
        state.awake += u32::from(is);
        is
    }

    /// A number for the file that was here in `incarnation`, if another file was put under this
    /// number since. It is for a call that counts as awake in that incarnation, and after this no
    /// longer does. In a section.
    pub(crate) fn take_kept(&self, incarnation: u32) -> Option<i32> {
        let mut state = self.state.lock();
        let number = state.take_kept(incarnation)?;
        // The last one takes the number itself.
        if state.kept.left == 0 { Some(number) } else { own_number(number) }
    }

    /// The number comes to stand for something else: a new incarnation. Goroutines that wait are
    /// told.
    #[inline]
    pub(super) fn renew(&self, fd: i32, how: Renewal, out: &mut RunList) {
        if self.touched.load(Ordering::Acquire) != 0 {
            self.renew_touched(fd, how, out);
        }
    }

    fn renew_touched(&self, fd: i32, how: Renewal, out: &mut RunList) {
        let mut state = self.state.lock();
        self.touched.store(0, Ordering::Relaxed);
        self.next_incarnation(&mut state);
        let is_open = matches!(how, Renewal::Closing | Renewal::Replacing);
        if std::mem::take(&mut state.registered) && is_open {
            // The file may live on under another number, and would go on to report.
            EPOLL.remove(fd);
        }
        state.replaced = matches!(how, Renewal::Replacing | Renewal::Replaced);
        let cause = if state.replaced { Cause::Ready } else { Cause::Gone };
        state.end_all(cause, out);
        let awake = std::mem::take(&mut state.awake);
        if how == Renewal::Replacing && awake > 0 {
            state.keep(fd, self.incarnation.load(Ordering::Relaxed).wrapping_sub(1), awake);
        }
    }

    fn next_incarnation(&self, state: &mut State) {
        self.kind.store(Kind::Unknown as u8, Ordering::Relaxed);
        for word in [&self.drained, &self.plain] {
            word.store(0, Ordering::Relaxed);
        }
        self.odd.store(0, Ordering::Relaxed);
        self.left.store(0, Ordering::Relaxed);
        self.hasty.store(0, Ordering::Relaxed);
        self.incarnation.fetch_add(1, Ordering::Release);
        state.accepting = false;
        state.replaced = false;
        state.barred = false;
    }

    /// Whether the poller watches it.
    pub(super) fn is_registered(&self) -> bool {
        self.state.lock().registered
    }

    /// Takes it out of the poller for this incarnation, or lets it in again. Goroutines that wait
    /// look anew: they block their threads while it is out. In a section.
    pub(super) fn bar(&self, fd: i32, on: bool, out: &mut RunList) {
        let mut state = self.state.lock();
        state.barred = on;
        // Release: pairs with renew(). The incarnation's end lifts it.
        self.touched.store(1, Ordering::Release);
        if on && std::mem::take(&mut state.registered) {
            EPOLL.remove(fd);
        }
        state.end_all(Cause::Ready, out);
    }

    /// Renews the registration of one who waits long, in case the kernel has lost it without our
    /// knowing. False if nobody waits.
    pub(super) fn verify(&self, fd: i32, all: bool, out: &mut RunList) -> bool {
        let mut state = self.state.lock();
        if state.waiters.iter().all(WaitList::is_empty) {
            return false;
        }
        state.verified = state.verified.saturating_add(1);
        // The first look may come right after the wait began: the second is one round later, for
        // sure.
        if state.verified != 2 && !all {
            return state.verified < 2;
        }
        match -EPOLL.again(fd, self.data(fd)) as i32 {
            0 if self.is_plain(CHANGES.load(Ordering::Relaxed)) && is_nonblocking(fd) => {
                // Set behind our back, maybe before the wait began: goroutines that wait are to be
                // told. (What this process sets ends no wait that has begun.)
                self.plain.store(0, Ordering::Relaxed);
                state.end_all(Cause::Ready, out);
            }
            0 => state.rouse_now_and_then(all, out),
            libc::EBADF => {
                state.registered = false;
                self.next_incarnation(&mut state);
                state.end_all(Cause::Gone, out);
                state.awake = 0;
            }
            _ => {
                // It stands for another file now, or for the same, opened again: they shall look
                // anew.
                state.registered = false;
                self.next_incarnation(&mut state);
                state.end_all(Cause::Ready, out);
                state.awake = 0;
            }
        }
        state.verified < 2
    }

    /// The epoll it was registered with is gone.
    pub(super) fn lost(&self, out: &mut RunList) {
        let mut state = self.state.lock();
        state.registered = false;
        for direction in [Direction::Read, Direction::Write] {
            self.count(direction);
        }
        state.end_all(Cause::Ready, out);
    }

    /// Whether it was ever of interest since it was last renewed.
    pub(super) fn is_touched(&self) -> bool {
        self.touched.load(Ordering::Relaxed) != 0
    }
}

/// Counts `n` waits less in the list of a direction.
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
        let awake = &mut self.awake;
        let (_, takers) = list.end(Cause::Ready, 1, out, |one| wakes(one, awake));
        forget(direction as usize, lookers + takers);
    }

    /// Goroutines that wait to write are to look.
    fn rouse(&mut self, out: &mut RunList) {
        self.end(Direction::Write as usize, Cause::Ready, out);
    }

    /// The same when a registration was verified: a local socket that another process has shut down
    /// for writing reports nothing. They look soon in the first second, then in the rounds for all.
    fn rouse_now_and_then(&mut self, all: bool, out: &mut RunList) {
        const SOON: u8 = 4;
        if all || self.roused < SOON {
            self.roused = self.roused.saturating_add(1);
            self.rouse(out);
        }
    }

    fn end_all(&mut self, cause: Cause, out: &mut RunList) {
        for direction in 0..self.waiters.len() {
            self.end(direction, cause, out);
        }
    }

    /// Ends all waits of a direction.
    fn end(&mut self, direction: usize, cause: Cause, out: &mut RunList) {
        let awake = &mut self.awake;
        let list = &mut self.waiters[direction];
        let (_, taken) = list.end(cause, usize::MAX, out, |one| wakes(one, awake));
        forget(direction, taken);
    }

    /// Keeps a number of the file that `fd` stands for, for `left` calls.
    fn keep(&mut self, fd: i32, incarnation: u32, left: u32) {
        if self.kept.left > 0 {
            // That was kept for an earlier file: the calls that have not come for it look at this
            // one.
            close_own(self.kept.number);
        }
        // Where no number is to be had, the calls look at the new file.
        self.kept = match own_number(fd) {
            Some(number) => Kept { number, incarnation, left },
            None => Kept { number: -1, incarnation, left: 0 },
        };
    }

    /// One of the calls that the number is kept for has come.
    fn take_kept(&mut self, incarnation: u32) -> Option<i32> {
        let kept = &mut self.kept;
        if kept.left == 0 || kept.incarnation != incarnation {
            return None;
        }
        kept.left -= 1;
        Some(kept.number)
    }
}

/// All waits are chosen; those that move count as awake (D5).
fn wakes(one: &Waiting, awake: &mut u32) -> bool {
    *awake += u32::from(one.bits & MOVES != 0);
    true
}
