//! A channel: a buffer, the waiting senders, and the waiting receivers, behind one lock.
//!
//! Read before: `party.rs` (the waiters), `buffer.rs`. Next: `select.rs`, which waits for several.
//!
//! As Go's (`runtime/chan.go`): a value goes straight from the sender to a receiver that waits,
//! onto its stack, and the receiver runs next; where a buffer is full, a receiver takes its head
//! and puts the value of the sender that has waited longest at its tail. So all is first in, first
//! out, among messages and among waiters, and a waiter that was woken never finds that another came
//! first.
//!
//! **Promises.** crossbeam's `select!` decides before it knows the message: `send(s, expensive())`
//! is not evaluated unless that operation was chosen. So there is a send in two steps:
//! [`Chan::promise`] makes room, or finds the receiver that waits; [`Chan::keep`] brings the value.
//! Room that was promised counts as taken. A receiver that finds a sender which has no value yet
//! waits for it, and for nothing else.
//!
//! * C1: receivers wait only while the buffer is empty; senders only while there is no room.
//! * C2: `len + reserved <= capacity`.
//! * C3: `hint` says what the state is whenever the lock is free; it is read without it.
//! * C4: in a queue of receivers `kind` is `Value`, in one of senders `Value` or `Promise`, among
//!   lookers `Look`.

use super::Limit;
use super::buffer::{Block, Buffer};
use super::party::{Kind, Outcome, Party, Queue, Sudog, Wakes};
use crate::base::lock::{Guard, Lock};
use crate::g::current::{self, Section};
use crate::g::reason::WaitReason;
use crate::g::wait::Cause;
use crate::timer::alarm::NEVER;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// No capacity: as much as there is memory.
pub(super) const UNBOUNDED: usize = usize::MAX;

/// Bits of the hint, below the length.
mod hint {
    /// No more can be sent.
    pub(super) const CLOSED: usize = 1;
    /// There is no room.
    pub(super) const FULL: usize = 2;
    pub(super) const SENDERS: usize = 4;
    pub(super) const RECEIVERS: usize = 8;
    /// There are blocks to be freed.
    pub(super) const LITTER: usize = 16;
    pub(super) const LEN_SHIFT: u32 = 5;
}

/// See the file's head.
///
/// What each operation writes is in the first line (the hint, the lock's word and the ring's
/// indices), so that processors that take turns have one to hand over, and what changes when
/// somebody waits in the next.
#[repr(C, align(64))]
pub(super) struct Chan<T> {
    hint: AtomicUsize,
    lock: Lock<State<T>>,
    capacity: usize,
}
#[cfg(not(loom))]
const _: () = {
    use std::mem::offset_of;
    let buffer =
        offset_of!(Chan<u64>, lock) + Lock::<State<u64>>::OFFSET + size_of::<Buffer<u64>>();
    assert!(buffer <= 64);
};

#[repr(C)]
struct State<T> {
    buffer: Buffer<T>,
    closed: bool,
    reserved: usize,
    senders: Queue,
    receivers: Queue,
    /// The waiters that want to know whether they could send, or receive.
    send_lookers: Queue,
    recv_lookers: Queue,
}

/// Why an operation was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Closed,
    /// In this time, or at once.
    Timeout,
}

/// What a look under the lock found.
pub(super) enum Found {
    Done,
    Closed,
    Nothing,
    /// Receiving: a sender, claimed, whose value comes later. Sending: the receiver a promised
    /// value goes to.
    Partner(NonNull<Sudog>),
}

/// Waits that are ended at a time.
const AT_A_TIME: usize = if cfg!(loom) { 1 } else { 128 };

/// What is known of a promise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    /// The receiver that waits for it; none: there is room.
    pub(super) partner: Option<NonNull<Sudog>>,
}

impl<T> State<T> {
    #[inline]
    fn has_room(&self, capacity: usize) -> bool {
        self.buffer.len() + self.reserved < capacity
    }

    /// Receives to `to`, if that is possible at once.
    ///
    /// # Safety
    /// * `to` can be written.
    #[inline]
    unsafe fn recv(&mut self, to: *mut T, capacity: usize, wakes: &mut Wakes) -> Found {
        // SAFETY: as the caller says.
        if unsafe { self.buffer.pop(to) } {
            if self.senders.is_empty() {
                if !self.send_lookers.is_empty() {
                    self.send_lookers.end_all(Outcome::Done, wakes);
                }
            } else {
                self.let_senders_in(capacity, wakes);
            }
            return Found::Done;
        }
        // Without capacity: from hand to hand.
        if let Some(sender) = self.senders.claim() {
            // SAFETY: claimed, so it waits until it is woken.
            let from = unsafe { sender.as_ref() };
            if from.kind.get() == Kind::Promise {
                return Found::Partner(sender);
            }
            // SAFETY: its value is at `value`, and is moved once.
            unsafe { to.copy_from_nonoverlapping(from.value.get().cast::<T>(), 1) };
            from.end(Outcome::Done, wakes);
            return Found::Done;
        }
        if self.closed { Found::Closed } else { Found::Nothing }
    }

    /// There may be room: those senders that have waited longest have it.
    fn let_senders_in(&mut self, capacity: usize, wakes: &mut Wakes) {
        while self.has_room(capacity) {
            let Some(sender) = self.senders.claim() else {
                return self.send_lookers.end_all(Outcome::Done, wakes);
            };
            // SAFETY: claimed, so it waits until it is woken.
            let sender = unsafe { sender.as_ref() };
            if sender.kind.get() == Kind::Promise {
                self.reserved += 1;
                sender.end(Outcome::Promised, wakes);
                continue;
            }
            let from = sender.value.get().cast::<T>();
            // SAFETY: a message is there, and is moved once; there is room.
            unsafe {
                match self.receivers.claim() {
                    Some(receiver) => hand_over(receiver, from, wakes),
                    None => self.buffer.push(from),
                }
            }
            sender.end(Outcome::Done, wakes);
        }
    }

    /// Sends what is at `from`, if that is possible at once.
    ///
    /// # Safety
    /// * A message is at `from`; with `Done` it has moved.
    #[inline]
    unsafe fn send(&mut self, from: *const T, capacity: usize, wakes: &mut Wakes) -> Found {
        if self.closed {
            return Found::Closed;
        }
        if !self.receivers.is_empty()
            && let Some(receiver) = self.receivers.claim()
        {
            // SAFETY: it waits, and has room for the message.
            unsafe { hand_over(receiver, from, wakes) };
            return Found::Done;
        }
        if !self.has_room(capacity) {
            return Found::Nothing;
        }
        // SAFETY: there is room.
        unsafe { self.buffer.push(from) };
        if !self.recv_lookers.is_empty() {
            self.recv_lookers.end_all(Outcome::Done, wakes);
        }
        Found::Done
    }

    /// Makes room for a message that comes later.
    fn promise(&mut self, capacity: usize) -> Found {
        if self.closed {
            return Found::Closed;
        }
        if capacity == 0 {
            return self.receivers.claim().map_or(Found::Nothing, Found::Partner);
        }
        if !self.has_room(capacity) {
            return Found::Nothing;
        }
        self.reserved += 1;
        Found::Done
    }

    /// Nobody is to send any more. False if there are more that wait, to be ended by
    /// [`end_some`](Self::end_some).
    fn close(&mut self, wakes: &mut Wakes) -> bool {
        self.closed = true;
        self.end_some(wakes)
    }

    /// Ends waits for a closed channel, some at a time: where a million wait, the lock is not held
    /// for all of them, and each is queued while it is near. Whether that were all.
    fn end_some(&mut self, wakes: &mut Wakes) -> bool {
        let mut most = AT_A_TIME;
        self.receivers.end_some(Outcome::Closed, &mut most, wakes)
            && self.senders.end_some(Outcome::Closed, &mut most, wakes)
            && self.recv_lookers.end_some(Outcome::Done, &mut most, wakes)
            && self.send_lookers.end_some(Outcome::Done, &mut most, wakes)
    }

    fn hint(&self, capacity: usize) -> usize {
        let bit = |is: bool, bit: usize| if is { bit } else { 0 };
        self.buffer.len() << hint::LEN_SHIFT
            | bit(self.closed, hint::CLOSED)
            | bit(!self.has_room(capacity), hint::FULL)
            | bit(!self.senders.is_empty(), hint::SENDERS)
            | bit(!self.receivers.is_empty(), hint::RECEIVERS)
            | bit(self.buffer.has_empty(), hint::LITTER)
    }
}

/// Gives a receiver that was claimed its message.
///
/// # Safety
/// * A message is at `from`, which moves; the receiver is the caller's.
#[inline]
unsafe fn hand_over<T>(receiver: NonNull<Sudog>, from: *const T, wakes: &mut Wakes) {
    // SAFETY: claimed, so it waits until it is woken; `value` is a place for a T (C4).
    unsafe {
        let receiver = receiver.as_ref();
        receiver.value.get().cast::<T>().copy_from_nonoverlapping(from, 1);
        receiver.end(Outcome::Done, wakes);
    }
}

/// The right to the state; says in the end what it has become (C3).
struct Locked<'c, T> {
    state: Guard<'c, State<T>>,
    chan: &'c Chan<T>,
}

impl<T> Locked<'_, T> {
    /// Ends the guard and keeps the lock, for [`Chan::unlock`].
    #[inline]
    fn leave_locked(self) {
        let _ = ManuallyDrop::new(self);
    }

    /// Ends the guard; cheaper, for a caller that has a reference to the channel until this
    /// returns.
    #[inline]
    fn unlock_plainly(self) {
        let locked = ManuallyDrop::new(self);
        // SAFETY: read once, as it is not dropped.
        let state = unsafe { std::ptr::read(&raw const locked.state) };
        locked.chan.publish(&state);
        state.unlock_plainly();
    }
}

impl<T> Drop for Locked<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.chan.publish(&self.state);
    }
}

impl<T> Chan<T> {
    pub(super) fn new(capacity: usize) -> Self {
        let buffer = if capacity == UNBOUNDED { Buffer::list() } else { Buffer::ring(capacity) };
        let state = State {
            buffer,
            closed: false,
            reserved: 0,
            senders: Queue::new(),
            receivers: Queue::new(),
            send_lookers: Queue::new(),
            recv_lookers: Queue::new(),
        };
        let hint = AtomicUsize::new(state.hint(capacity));
        Self { hint, lock: Lock::new(state), capacity }
    }

    pub(super) fn capacity(&self) -> Option<usize> {
        (self.capacity != UNBOUNDED).then_some(self.capacity)
    }

    /// Messages in the buffer. A snapshot.
    pub(super) fn len(&self) -> usize {
        self.hint.load(Ordering::Acquire) >> hint::LEN_SHIFT
    }

    /// Whether there is no room in the buffer. A snapshot.
    pub(super) fn is_full(&self) -> bool {
        self.hint.load(Ordering::Acquire) & hint::FULL != 0
    }

    /// Whether nothing can be received at once, and why. A snapshot, without the lock.
    #[inline]
    fn nothing_to_recv(&self) -> Option<Stop> {
        let hint = self.hint.load(Ordering::Acquire);
        match (hint & (hint::SENDERS | hint::CLOSED), hint >> hint::LEN_SHIFT) {
            (0, 0) => Some(Stop::Timeout),
            (hint::CLOSED, 0) => Some(Stop::Closed),
            _ => None,
        }
    }

    /// Whether nothing can be sent at once, and why. A snapshot, without the lock.
    #[inline]
    fn nowhere_to_send(&self) -> Option<Stop> {
        let hint = self.hint.load(Ordering::Acquire);
        if hint & hint::CLOSED != 0 {
            return Some(Stop::Closed);
        }
        (hint & (hint::FULL | hint::RECEIVERS) == hint::FULL).then_some(Stop::Timeout)
    }

    /// Says what the state is (C3): before the lock is released, and before anybody is woken under
    /// it.
    #[inline]
    fn publish(&self, state: &State<T>) {
        // Release: a caller that sees the channel closed sees what came before that.
        self.hint.store(state.hint(self.capacity), Ordering::Release);
    }

    #[inline]
    fn locked(&self) -> Locked<'_, T> {
        Locked { state: self.lock.lock_in_bursts(), chan: self }
    }

    /// Unlocks what was left locked by forgetting its guard.
    ///
    /// # Safety
    /// * The calling thread holds the lock, and has no guard of it.
    unsafe fn unlock(&self) {
        // SAFETY: as the caller says.
        let state = unsafe { self.lock.locked() };
        drop(Locked { state, chan: self });
    }

    /// Receives a message; blocks until there is one, at most as long as `limit` says.
    #[inline]
    pub(super) fn recv(&self, limit: Limit) -> Result<T, Stop> {
        if limit == Limit::Now
            && let Some(stop) = self.nothing_to_recv()
        {
            return Err(stop);
        }
        let mut value = MaybeUninit::uninit();
        let mut wakes = Wakes::new();
        let section = current::enter();
        let mut locked = self.locked();
        // SAFETY: value can be written.
        let found = unsafe { locked.state.recv(value.as_mut_ptr(), self.capacity, &mut wakes) };
        let result = match found {
            Found::Done => {
                let empty = locked.state.buffer.take_empty();
                locked.unlock_plainly();
                wakes.wake();
                drop(section);
                drop(empty);
                Ok(())
            }
            Found::Closed => {
                drop(locked);
                Err(Stop::Closed)
            }
            other => self.recv_wait(&section, locked, value.as_mut_ptr(), other, limit),
        };
        // SAFETY: with success it was written.
        result.map(|()| unsafe { value.assume_init() })
    }

    /// Waits for a message.
    #[cold]
    fn recv_wait<'c>(
        &'c self,
        section: &Section,
        mut locked: Locked<'c, T>,
        to: *mut T,
        mut found: Found,
        limit: Limit,
    ) -> Result<(), Stop> {
        let until = limit.until();
        let party = Party::new(section);
        let sudog = Sudog::new(Kind::Value, to.cast());
        loop {
            let mut cause = Cause::Ready;
            match found {
                Found::Done => {
                    // (Only after a promise was taken back.)
                    drop(locked);
                    return Ok(());
                }
                Found::Closed => return Err(Stop::Closed),
                Found::Nothing if limit.is_over(until) => return Err(Stop::Timeout),
                Found::Nothing => {
                    party.begin();
                    sudog.join(&party);
                    let mut wakes = Wakes::new();
                    // SAFETY: it stays here until it was taken out, below or by the peer that
                    // claims it.
                    unsafe { locked.state.receivers.push(&sudog) };
                    locked.state.send_lookers.end_all(Outcome::Done, &mut wakes);
                    self.publish(&locked.state);
                    wakes.wake();
                    cause = self.park(&party, WaitReason::ChanReceive, until, locked);
                }
                Found::Partner(sender) => self.wait_for_promised(&party, &sudog, sender, locked),
            }
            match sudog.outcome.get() {
                Outcome::Done => return Ok(()),
                Outcome::Closed => return Err(Stop::Closed),
                Outcome::Waiting => {
                    self.locked().state.receivers.remove(&sudog);
                    match cause {
                        Cause::Cancelled if party.is_cancelled() => return Err(Stop::Closed),
                        Cause::Cancelled => {}
                        _ => return Err(Stop::Timeout),
                    }
                }
                Outcome::Promised | Outcome::Again => {}
            }
            locked = self.locked();
            let mut wakes = Wakes::new();
            // SAFETY: `to` can be written.
            found = unsafe { locked.state.recv(to, self.capacity, &mut wakes) };
            self.publish(&locked.state);
            wakes.wake();
        }
    }

    /// Parks, leaving the channel locked until that is done.
    fn park(&self, party: &Party, reason: WaitReason, until: u64, locked: Locked<'_, T>) -> Cause {
        locked.leave_locked();
        // SAFETY: locked, and the guard forgotten.
        party.park(reason, until, true, || unsafe { self.unlock() })
    }

    /// Waits for the message of a sender that was claimed and has none yet.
    fn wait_for_promised(
        &self,
        party: &Party,
        sudog: &Sudog,
        sender: NonNull<Sudog>,
        locked: Locked<'_, T>,
    ) {
        party.begin();
        sudog.join(party);
        // SAFETY: claimed, so it waits until it is woken.
        let sender = unsafe { sender.as_ref() };
        sender.partner.set(sudog);
        let mut wakes = Wakes::new();
        sender.end(Outcome::Promised, &mut wakes);
        // It needs the lock before it can do anything.
        wakes.wake();
        locked.leave_locked();
        // It was promised something.
        // SAFETY: locked, and the guard forgotten.
        party.park(WaitReason::ChanReceive, NEVER, false, || unsafe { self.unlock() });
    }

    /// Sends what is at `message`; blocks until there is room or somebody takes it, at most as long
    /// as `limit` says.
    ///
    /// # Safety
    /// * A message is at `message`; with success it has moved.
    #[inline]
    pub(super) unsafe fn send(&self, message: *const T, limit: Limit) -> Result<(), Stop> {
        if limit == Limit::Now
            && let Some(stop) = self.nowhere_to_send()
        {
            return Err(stop);
        }
        let mut wakes = Wakes::new();
        let mut section = current::enter();
        let mut locked = self.locked();
        if locked.state.buffer.is_hungry() {
            (section, locked) = self.feed(section, locked);
        }
        // SAFETY: as the caller says.
        match unsafe { locked.state.send(message, self.capacity, &mut wakes) } {
            Found::Done => {
                let empty = locked.state.buffer.take_empty();
                locked.unlock_plainly();
                wakes.wake();
                drop(section);
                drop(empty);
                Ok(())
            }
            Found::Closed => Err(Stop::Closed),
            _ if limit == Limit::Now => Err(Stop::Timeout),
            // SAFETY: as the caller says.
            _ => unsafe { self.send_wait(&section, locked, message, limit) },
        }
    }

    /// Waits until somebody takes the message.
    #[cold]
    unsafe fn send_wait<'c>(
        &'c self,
        section: &Section,
        mut locked: Locked<'c, T>,
        message: *const T,
        limit: Limit,
    ) -> Result<(), Stop> {
        let until = limit.until();
        if limit.is_over(until) {
            return Err(Stop::Timeout);
        }
        let party = Party::new(section);
        let sudog = Sudog::new(Kind::Value, message.cast_mut().cast());
        loop {
            party.begin();
            sudog.join(&party);
            let mut wakes = Wakes::new();
            // SAFETY: it stays here until it was taken out, below or by the peer that claims it.
            unsafe { locked.state.senders.push(&sudog) };
            locked.state.recv_lookers.end_all(Outcome::Done, &mut wakes);
            self.publish(&locked.state);
            wakes.wake();
            let cause = self.park(&party, WaitReason::ChanSend, until, locked);
            match sudog.outcome.get() {
                Outcome::Done => return Ok(()),
                Outcome::Waiting => {}
                _ => return Err(Stop::Closed),
            }
            locked = self.locked();
            locked.state.senders.remove(&sudog);
            match cause {
                Cause::Cancelled if party.is_cancelled() => return Err(Stop::Closed),
                Cause::Cancelled => {}
                _ => return Err(Stop::Timeout),
            }
            let mut wakes = Wakes::new();
            // SAFETY: as the caller says.
            match unsafe { locked.state.send(message, self.capacity, &mut wakes) } {
                Found::Nothing | Found::Partner(_) => {}
                found => {
                    drop(locked);
                    wakes.wake();
                    return if let Found::Done = found { Ok(()) } else { Err(Stop::Closed) };
                }
            }
        }
    }

    /// Gives the buffer a block, which is made outside the section.
    #[cold]
    fn feed<'c>(&'c self, section: Section, locked: Locked<'c, T>) -> (Section, Locked<'c, T>) {
        drop(locked);
        drop(section);
        let block = Block::new();
        let section = current::enter();
        let mut locked = self.locked();
        locked.state.buffer.feed(block);
        (section, locked)
    }

    /// Keeps a promise: the message at `message` moves to its partner, or into the room made for
    /// it.
    ///
    /// # Safety
    /// * The promise was made by this channel, and is kept or taken back once; a message is at
    ///   `message`.
    pub(super) unsafe fn keep(&self, promise: Promise, message: *const T) -> Result<(), Stop> {
        let mut wakes = Wakes::new();
        let mut section = current::enter();
        let mut locked = self.locked();
        if let Some(partner) = promise.partner {
            // SAFETY: promised to us, so it waits until it is woken.
            unsafe {
                partner.as_ref().claim_promised();
                hand_over(partner, message, &mut wakes);
            }
            drop(locked);
            wakes.wake();
            return Ok(());
        }
        if locked.state.buffer.is_hungry() {
            (section, locked) = self.feed(section, locked);
        }
        locked.state.reserved -= 1;
        // SAFETY: as the caller says.
        let found = unsafe { locked.state.send(message, self.capacity, &mut wakes) };
        // If a receiver had waited, the room is another's.
        locked.state.let_senders_in(self.capacity, &mut wakes);
        let empty = locked.state.buffer.take_empty();
        drop(locked);
        wakes.wake();
        drop(section);
        drop(empty);
        if matches!(found, Found::Closed) { Err(Stop::Closed) } else { Ok(()) }
    }

    /// Takes a promise back.
    ///
    /// # Safety
    /// * As for [`keep`](Self::keep).
    #[cold]
    pub(super) unsafe fn take_back(&self, promise: Promise) {
        let mut wakes = Wakes::new();
        let _section = current::enter();
        let mut locked = self.locked();
        match promise.partner {
            Some(partner) => {
                // SAFETY: promised to us, so it waits until it is woken.
                let partner = unsafe { partner.as_ref() };
                partner.claim_promised();
                partner.end(Outcome::Again, &mut wakes);
            }
            None => {
                locked.state.reserved -= 1;
                locked.state.let_senders_in(self.capacity, &mut wakes);
            }
        }
        drop(locked);
        wakes.wake();
    }

    /// Closes the channel: what was sent can still be received. False if it was closed.
    pub(super) fn close(&self) -> bool {
        let mut wakes = Wakes::new();
        let section = current::enter();
        let mut locked = self.locked();
        if locked.state.closed {
            return false;
        }
        let were_all = locked.state.close(&mut wakes);
        drop(locked);
        wakes.wake();
        drop(section);
        if !were_all {
            self.end_waits();
        }
        true
    }

    /// Ends all waits; it is closed.
    #[cold]
    fn end_waits(&self) {
        let mut were_all = false;
        while !were_all {
            let mut wakes = Wakes::new();
            let _section = current::enter();
            were_all = self.locked().state.end_some(&mut wakes);
            wakes.wake();
        }
    }

    /// Nobody is to receive any more: closes the channel, and drops what was sent.
    pub(super) fn discard(&self) {
        let mut wakes = Wakes::new();
        let none = if self.capacity == UNBOUNDED { Buffer::list() } else { Buffer::ring(0) };
        let section = current::enter();
        let mut locked = self.locked();
        let were_all = locked.state.close(&mut wakes);
        let all = std::mem::replace(&mut locked.state.buffer, none);
        drop(locked);
        wakes.wake();
        drop(section);
        if !were_all {
            self.end_waits();
        }
        drop(all);
    }
}

/// What `select.rs` asks of a channel, of whatever type its messages are.
impl<T> Chan<T> {
    pub(super) fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Locks, until [`unlock`](Self::unlock).
    pub(super) fn lock(&self) {
        self.locked().leave_locked();
    }

    /// # Safety
    /// * The calling thread has called [`lock`](Self::lock).
    pub(super) unsafe fn release(&self) {
        // SAFETY: as the caller says.
        unsafe { self.unlock() };
    }

    /// Whether it is worth taking the lock to receive, or to send. A snapshot.
    #[inline]
    pub(super) fn may(&self, sends: bool) -> bool {
        match if sends { self.nowhere_to_send() } else { self.nothing_to_recv() } {
            Some(Stop::Timeout) => false,
            Some(Stop::Closed) | None => true,
        }
    }

    /// Does what `sudog` stands for, if that is possible at once.
    ///
    /// # Safety
    /// * The calling thread has the channel locked; `sudog` stands for an operation on it.
    pub(super) unsafe fn attempt(&self, sends: bool, sudog: &Sudog, wakes: &mut Wakes) -> Found {
        // SAFETY: the caller holds the lock, and has no guard; it stays locked.
        let mut state = ManuallyDrop::new(unsafe { self.lock.locked() });
        match (sends, sudog.kind.get()) {
            (true, Kind::Look) => {
                let ready =
                    state.closed || state.has_room(self.capacity) || state.receivers.has_waiter();
                if ready { Found::Done } else { Found::Nothing }
            }
            (false, Kind::Look) => {
                let ready = state.closed || state.buffer.len() > 0 || state.senders.has_waiter();
                if ready { Found::Done } else { Found::Nothing }
            }
            (true, _) => state.promise(self.capacity),
            // SAFETY: a receiver's value is a place for a T (C4).
            (false, _) => unsafe { state.recv(sudog.value.get().cast(), self.capacity, wakes) },
        }
    }

    /// Enters `sudog` in the queue it is for.
    ///
    /// # Safety
    /// * As for [`attempt`](Self::attempt), and it stays where it is until
    ///   [`dismiss`](Self::dismiss)ed.
    pub(super) unsafe fn enlist(&self, sends: bool, sudog: &Sudog, wakes: &mut Wakes) {
        // SAFETY: the caller holds the lock, and has no guard; it stays locked.
        let mut state = ManuallyDrop::new(unsafe { self.lock.locked() });
        let state = &mut **state;
        // SAFETY: as the caller says.
        unsafe { state.queue(sends, sudog).push(sudog) };
        if sudog.kind.get() != Kind::Look {
            let lookers = if sends { &mut state.recv_lookers } else { &mut state.send_lookers };
            lookers.end_all(Outcome::Done, wakes);
            self.publish(state);
        }
    }

    /// Takes `sudog` out of its queue, if it is in. In a section.
    pub(super) fn dismiss(&self, sends: bool, sudog: &Sudog) {
        self.locked().state.queue(sends, sudog).remove(sudog);
    }

    /// A block that was emptied by [`attempt`](Self::attempt) is freed. Outside a section.
    pub(super) fn tidy(&self) {
        if self.hint.load(Ordering::Relaxed) & hint::LITTER != 0 {
            let section = current::enter();
            let empty = self.locked().state.buffer.take_empty();
            drop(section);
            drop(empty);
        }
    }

    /// Waits for the message of a sender that was claimed and has none yet.
    ///
    /// # Safety
    /// * The calling thread has the channel locked; it is unlocked meanwhile, and afterwards.
    pub(super) unsafe fn wait_for(&self, party: &Party, sudog: &Sudog, sender: NonNull<Sudog>) {
        // SAFETY: the caller holds the lock, and has no guard.
        let locked = Locked { state: unsafe { self.lock.locked() }, chan: self };
        self.wait_for_promised(party, sudog, sender, locked);
    }
}

impl<T> State<T> {
    fn queue(&mut self, sends: bool, sudog: &Sudog) -> &mut Queue {
        match (sends, sudog.kind.get()) {
            (true, Kind::Look) => &mut self.send_lookers,
            (false, Kind::Look) => &mut self.recv_lookers,
            (true, _) => &mut self.senders,
            (false, _) => &mut self.receivers,
        }
    }
}
