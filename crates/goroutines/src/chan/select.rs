//! Waiting for one of several operations. (Go: `runtime/select.go`.)
//!
//! Previous: `core.rs`. Next: `dynamic.rs` and `cases.rs`, its two faces.
//!
//! First each operation is tried for itself, in random order, taking a channel's lock only where
//! there seems to be something to do. If none can be done, all channels are locked (in the order of
//! their addresses, each once), all are tried again, and a sudog is enlisted for each; the
//! goroutine parks, and the locks are released when it has. A peer that can do one of the
//! operations claims the wait, does the operation, and wakes the goroutine, which takes the other
//! sudogs out of their queues.
//!
//! * SE1: between the last look and being enlisted everywhere all locks are held, so no wake-up is
//!   lost, and `default` is chosen only if there was a moment at which no operation was possible.
//! * SE2: all that are possible in the first look have the same chance, and so have several that
//!   wait for one channel: they are tried and enlisted in the order of a random permutation (not so
//!   in a biased one).
//! * SE3: while several channels are locked nothing else is waited for.

use super::Limit;
use super::clock::Clock;
use super::core::{Chan, Found, Promise};
use super::party::{Kind, Outcome, Party, Sudog, Wakes};
use crate::base::rand::Rand;
use crate::base::sys;
use crate::g::current::{self, Section};
use crate::g::reason::WaitReason;
use crate::g::wait::Cause;
use crate::timer::alarm::NEVER;
use std::cell::Cell;
use std::ptr::NonNull;

/// What an operation is done on.
pub(super) trait Operand {
    /// What orders its lock among others; 0: it has none.
    fn address(&self) -> usize;
    fn lock(&self);
    /// # Safety
    /// * The calling thread has it locked, by [`lock`](Self::lock). So for all that follow.
    unsafe fn unlock(&self);
    /// Whether a try may succeed. A snapshot, without the lock.
    fn may(&self, sends: bool) -> bool;
    /// # Safety
    /// * Locked; the sudog is one for this operand. So for all that follow.
    unsafe fn attempt(&self, sends: bool, sudog: &Sudog, wakes: &mut Wakes) -> Found;
    /// # Safety
    /// * See above; and it stays where it is until it was dismissed.
    unsafe fn enlist(&self, sends: bool, sudog: &Sudog, wakes: &mut Wakes);
    /// Waits for the value of the sender, and unlocks.
    ///
    /// # Safety
    /// * See above.
    unsafe fn wait_for(&self, party: &Party, sudog: &Sudog, sender: NonNull<Sudog>);
    /// Takes the sudog out of its queue, if it is in.
    fn dismiss(&self, sends: bool, sudog: &Sudog);
    /// Gives memory back. Outside a section.
    fn tidy(&self) {}
    /// Takes a promise back that was made to a select.
    ///
    /// # Safety
    /// * It was made by this operand, and is neither kept nor taken back otherwise.
    unsafe fn take_back(&self, _promise: Promise) {}
    /// When the time itself makes the operation possible (monotonic ns).
    fn due(&self) -> u64 {
        NEVER
    }
}

impl<T> Operand for Chan<T> {
    fn address(&self) -> usize {
        self.address()
    }

    fn lock(&self) {
        self.lock();
    }

    unsafe fn unlock(&self) {
        // SAFETY: as the caller says.
        unsafe { self.release() };
    }

    fn may(&self, sends: bool) -> bool {
        self.may(sends)
    }

    unsafe fn attempt(&self, sends: bool, sudog: &Sudog, wakes: &mut Wakes) -> Found {
        // SAFETY: as the caller says.
        unsafe { self.attempt(sends, sudog, wakes) }
    }

    unsafe fn enlist(&self, sends: bool, sudog: &Sudog, wakes: &mut Wakes) {
        // SAFETY: as the caller says.
        unsafe { self.enlist(sends, sudog, wakes) };
    }

    unsafe fn wait_for(&self, party: &Party, sudog: &Sudog, sender: NonNull<Sudog>) {
        // SAFETY: as the caller says.
        unsafe { self.wait_for(party, sudog, sender) };
    }

    fn dismiss(&self, sends: bool, sudog: &Sudog) {
        self.dismiss(sends, sudog);
    }

    fn tidy(&self) {
        self.tidy();
    }

    unsafe fn take_back(&self, promise: Promise) {
        // SAFETY: as the caller says.
        unsafe { self.take_back(promise) };
    }
}

impl Operand for Clock {
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn lock(&self) {
        self.lock();
    }

    unsafe fn unlock(&self) {
        // SAFETY: as the caller says.
        drop(unsafe { self.guard() });
    }

    fn may(&self, _sends: bool) -> bool {
        self.is_due()
    }

    unsafe fn attempt(&self, _sends: bool, sudog: &Sudog, _wakes: &mut Wakes) -> Found {
        // SAFETY: as the caller says.
        unsafe { self.attempt(sudog) }
    }

    unsafe fn enlist(&self, _sends: bool, sudog: &Sudog, _wakes: &mut Wakes) {
        // SAFETY: the caller holds the lock, and has no guard; it stays locked.
        let mut queue = std::mem::ManuallyDrop::new(unsafe { self.guard() });
        // SAFETY: as the caller says.
        unsafe { queue.push(sudog) };
    }

    unsafe fn wait_for(&self, _party: &Party, _sudog: &Sudog, _sender: NonNull<Sudog>) {
        // SAFETY: as the caller says.
        unsafe { Operand::unlock(self) };
    }

    fn dismiss(&self, _sends: bool, sudog: &Sudog) {
        self.dismiss(sudog);
    }

    fn due(&self) -> u64 {
        self.due()
    }
}

/// Nothing can ever be done on it.
pub(super) struct Nothing;

impl Operand for Nothing {
    fn address(&self) -> usize {
        0
    }

    fn lock(&self) {}

    unsafe fn unlock(&self) {}

    fn may(&self, _sends: bool) -> bool {
        false
    }

    unsafe fn attempt(&self, _sends: bool, _sudog: &Sudog, _wakes: &mut Wakes) -> Found {
        Found::Nothing
    }

    unsafe fn enlist(&self, _sends: bool, _sudog: &Sudog, _wakes: &mut Wakes) {}

    unsafe fn wait_for(&self, _party: &Party, _sudog: &Sudog, _sender: NonNull<Sudog>) {}

    fn dismiss(&self, _sends: bool, _sudog: &Sudog) {}
}

/// One of the operations.
pub struct Case<'a> {
    pub(super) on: &'a dyn Operand,
    pub(super) sends: bool,
    pub(super) sudog: Sudog,
    /// Places in the two orders: the case at that place.
    poll: Cell<u32>,
    lock: Cell<u32>,
}

impl<'a> Case<'a> {
    #[inline]
    pub(super) fn new(on: &'a dyn Operand, sends: bool) -> Self {
        let kind = if sends { Kind::Promise } else { Kind::Value };
        let sudog = Sudog::new(kind, std::ptr::null_mut());
        Self { on, sends, sudog, poll: Cell::new(0), lock: Cell::new(0) }
    }

    /// The promise that was made. After the case was selected.
    pub(super) fn promise(&self) -> Promise {
        Promise { partner: NonNull::new(self.sudog.partner.get().cast_mut()) }
    }
}

impl std::fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.sends { "send" } else { "recv" })
    }
}

/// The operations of a select.
pub(super) trait Cases<'a> {
    fn len(&self) -> usize;
    fn get(&self, i: usize) -> &Case<'a>;
}

impl<'a> Cases<'a> for [&Case<'a>] {
    fn len(&self) -> usize {
        <[_]>::len(self)
    }

    #[inline]
    fn get(&self, i: usize) -> &Case<'a> {
        self[i]
    }
}

thread_local! {
    static RAND: Rand = Rand::new(sys::nanotime());
}

/// A random number below `n`.
#[inline]
fn below(section: &Section, n: u32) -> u32 {
    let random = match section.g() {
        Some(gp) => gp.m().rand.next(),
        None => RAND.with(Rand::next),
    };
    ((u64::from(random) * u64::from(n)) >> 32) as u32
}

/// What trying came to.
enum Tried {
    Selected(usize),
    /// A sender took its promise back.
    Again,
    Nothing,
}

/// Does one of the operations, waiting at most as long as `limit` says; which.
///
/// Then its sudog's outcome is `Done` (a value was received, or the operation is possible),
/// `Closed`, or `Promised`.
#[inline]
pub(super) fn select<'a, C: Cases<'a> + ?Sized>(
    cases: &C,
    limit: Limit,
    biased: bool,
) -> Option<usize> {
    select_as(WaitReason::Select, cases, limit, biased)
}

/// The same, waiting for another reason.
pub(super) fn select_as<'a, C: Cases<'a> + ?Sized>(
    reason: WaitReason,
    cases: &C,
    limit: Limit,
    biased: bool,
) -> Option<usize> {
    let section = current::enter();
    let selecting =
        Selecting { reason, cases, biased, party: Party::new(&section), section: &section };
    let found = selecting.run(limit);
    drop(section);
    if let Some(i) = found {
        cases.get(i).on.tidy();
    }
    found
}

struct Selecting<'s, C: ?Sized> {
    reason: WaitReason,
    cases: &'s C,
    biased: bool,
    party: Party,
    section: &'s Section,
}

impl<'a, C: Cases<'a> + ?Sized> Selecting<'_, C> {
    fn run(&self, limit: Limit) -> Option<usize> {
        let until = limit.until();
        loop {
            match self.try_each() {
                Tried::Selected(i) => return Some(i),
                Tried::Again => continue,
                Tried::Nothing => {}
            }
            if limit == Limit::Now && self.cases.len() <= 1 {
                return None;
            }
            self.lock_all();
            match self.try_all() {
                Tried::Selected(i) => return Some(i),
                Tried::Again => continue,
                Tried::Nothing => {}
            }
            if limit.is_over(until) {
                self.unlock_all(None);
                return None;
            }
            match self.wait(until) {
                (Some(i), _) if self.cases.get(i).sudog.outcome.get() != Outcome::Again => {
                    return Some(i);
                }
                (_, Cause::Cancelled) if self.party.is_cancelled() => return self.fail(),
                // One takes its promise back, or it is time for a message that is due.
                _ => {}
            }
        }
    }

    /// The context was cancelled, so all operations fail: one of them, then.
    fn fail(&self) -> Option<usize> {
        let n = self.cases.len();
        if n == 0 {
            return None;
        }
        let i = if self.biased { 0 } else { below(self.section, n as u32) as usize };
        self.cases.get(i).sudog.outcome.set(Outcome::Closed);
        Some(i)
    }

    /// The case at place `k` of the order in which they are tried, which is chosen on the way.
    #[inline]
    fn polled(&self, k: usize) -> usize {
        let n = self.cases.len();
        if self.biased || n == 1 {
            return k;
        }
        if k == 0 {
            for i in 0..n {
                self.cases.get(i).poll.set(i as u32);
            }
        }
        let j = k + below(self.section, (n - k) as u32) as usize;
        self.cases.get(k).poll.swap(&self.cases.get(j).poll);
        self.cases.get(k).poll.get() as usize
    }

    /// The case at place `k` of the order in which all were tried.
    #[inline]
    fn last_polled(&self, k: usize) -> usize {
        if self.biased || self.cases.len() == 1 {
            return k;
        }
        self.cases.get(k).poll.get() as usize
    }

    /// Tries them one by one, where there seems to be something to do.
    #[inline]
    fn try_each(&self) -> Tried {
        for k in 0..self.cases.len() {
            let i = self.polled(k);
            let case = self.cases.get(i);
            if !case.on.may(case.sends) {
                continue;
            }
            case.on.lock();
            let mut wakes = Wakes::new();
            // SAFETY: locked; the sudog is its own.
            let found = unsafe { case.on.attempt(case.sends, &case.sudog, &mut wakes) };
            if let Found::Nothing = found {
                // SAFETY: locked by us.
                unsafe { case.on.unlock() };
                continue;
            }
            return self.found(i, found, wakes);
        }
        Tried::Nothing
    }

    /// The same, with all locked; unlocks them if something was found.
    fn try_all(&self) -> Tried {
        for k in 0..self.cases.len() {
            let i = self.polled(k);
            let case = self.cases.get(i);
            let mut wakes = Wakes::new();
            // SAFETY: locked; the sudog is its own.
            let found = unsafe { case.on.attempt(case.sends, &case.sudog, &mut wakes) };
            if let Found::Nothing = found {
                continue;
            }
            self.unlock_all(Some(case.on.address()));
            return self.found(i, found, wakes);
        }
        Tried::Nothing
    }

    /// The operation `i` was possible; its operand alone is locked, until this returns.
    fn found(&self, i: usize, found: Found, wakes: Wakes) -> Tried {
        let case = self.cases.get(i);
        let is_look = case.sudog.kind.get() == Kind::Look;
        let outcome = match found {
            Found::Closed => Outcome::Closed,
            Found::Done if case.sends && !is_look => Outcome::Promised,
            Found::Partner(sender) if !case.sends => {
                // SAFETY: locked by us, and unlocked by this.
                unsafe { case.on.wait_for(&self.party, &case.sudog, sender) };
                let again = case.sudog.outcome.get() == Outcome::Again;
                return if again { Tried::Again } else { Tried::Selected(i) };
            }
            Found::Partner(_) => Outcome::Promised,
            Found::Done | Found::Nothing => Outcome::Done,
        };
        let partner = match found {
            Found::Partner(receiver) => receiver.as_ptr().cast_const(),
            _ => std::ptr::null(),
        };
        case.sudog.outcome.set(outcome);
        case.sudog.partner.set(partner);
        // SAFETY: locked by us.
        unsafe { case.on.unlock() };
        wakes.wake();
        Tried::Selected(i)
    }

    /// The case at place `k` of the order in which they are locked.
    fn nth_locked(&self, k: usize) -> &Case<'a> {
        self.cases.get(self.cases.get(k).lock.get() as usize)
    }

    /// Orders the cases by their addresses, and locks each of them once.
    fn lock_all(&self) {
        let n = self.cases.len();
        let address = |place: usize| self.nth_locked(place).on.address();
        for k in 0..n {
            self.cases.get(k).lock.set(k as u32);
        }
        let swap = |a: usize, b: usize| self.cases.get(a).lock.swap(&self.cases.get(b).lock);
        sort(n, |a, b| address(a) < address(b), swap);
        let mut last = 0;
        for k in 0..n {
            let on = self.nth_locked(k).on;
            if on.address() != last {
                on.lock();
                last = on.address();
            }
        }
    }

    /// Unlocks all but the one of the address `keep`.
    ///
    /// The commit of a park calls it: a peer that is let in by one of these unlocks may wake the
    /// goroutine, which then waits for the locks of all its other cases. So its cases may be looked
    /// at until the last lock is released, and not after that.
    fn unlock_all(&self, keep: Option<usize>) {
        let mut last: Option<&dyn Operand> = None;
        for k in 0..self.cases.len() {
            let on = self.nth_locked(k).on;
            let address = on.address();
            if address == 0 || Some(address) == keep {
                continue;
            }
            if let Some(last) = last.filter(|last| last.address() != address) {
                // SAFETY: locked by lock_all().
                unsafe { last.unlock() };
            }
            last = Some(on);
        }
        if let Some(last) = last {
            // SAFETY: locked by lock_all().
            unsafe { last.unlock() };
        }
    }

    /// Waits with all locked, and unlocks them. Which operation was done; none: the time is over,
    /// or one may be possible now. And why the wait ended.
    fn wait(&self, until: u64) -> (Option<usize>, Cause) {
        let n = self.cases.len();
        let mut until = until;
        let mut wakes = Wakes::new();
        self.party.begin();
        for k in 0..n {
            let case = self.cases.get(self.last_polled(k));
            case.sudog.join(&self.party);
            // SAFETY: locked by lock_all(); dismissed below.
            unsafe { case.on.enlist(case.sends, &case.sudog, &mut wakes) };
            until = until.min(case.on.due());
        }
        wakes.wake();
        let reason = if n == 0 { WaitReason::Forever } else { self.reason };
        // Cancelling the context does not wake a goroutine that only looks: it would try in vain,
        // and look again.
        let can_end = n == 0 || self.cases.get(0).sudog.kind.get() != Kind::Look;
        let cause = if (0..n).any(|i| self.cases.get(i).on.address() != 0) {
            self.party.park(reason, until, can_end, || self.unlock_all(None))
        } else {
            // Nobody waits for a lock of ours: what is here must not be looked at.
            self.party.park(reason, until, can_end, || {})
        };
        let winner = self.party.winner().map_or(std::ptr::null(), std::ptr::from_ref);
        let mut won = None;
        for i in 0..n {
            let case = self.cases.get(i);
            if std::ptr::eq(&raw const case.sudog, winner) {
                won = Some(i);
            } else {
                case.on.dismiss(case.sends, &case.sudog);
            }
        }
        (won, cause)
    }
}

/// Heapsort of `n` places, in place and without memory: a select may have thousands of cases.
fn sort(n: usize, less: impl Fn(usize, usize) -> bool, swap: impl Fn(usize, usize)) {
    if n <= 8 {
        for i in 1..n {
            for j in (1..=i).rev().take_while(|&j| less(j, j - 1)) {
                swap(j, j - 1);
            }
        }
        return;
    }
    let down = |mut at: usize, n: usize| loop {
        let mut child = 2 * at + 1;
        if child >= n {
            return;
        }
        if child + 1 < n && less(child, child + 1) {
            child += 1;
        }
        if !less(at, child) {
            return;
        }
        swap(at, child);
        at = child;
    };
    for at in (0..n / 2).rev() {
        down(at, n);
    }
    for end in (1..n).rev() {
        swap(0, end);
        down(0, end);
    }
}

#[cfg(test)]
mod tests {
    use super::sort;
    use std::cell::Cell;

    #[test]
    fn sorts() {
        let mut seed = 3u64;
        for n in [0, 1, 2, 3, 8, 9, 10, 100, 1_000] {
            let places: Vec<Cell<u64>> = (0..n)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    Cell::new((seed >> 33) % 50)
                })
                .collect();
            sort(n, |a, b| places[a].get() < places[b].get(), |a, b| places[a].swap(&places[b]));
            assert!(places.is_sorted_by_key(Cell::get), "{n}");
        }
    }
}
