//! `Pool`.
//!
//! **The problem.** Values that are dear to make are to be used again, by the caller that needs one
//! next, at the cost of an uncontended atomic operation: so each P has its own. A goroutine may be
//! preempted, and move to another P, between any two instructions of its; a user's value must not
//! be moved, dropped or allocated inside a section.
//!
//! **Chosen.** A value stands in a [`Node`] of its own from its making to its drop, and pointers go
//! round. Each P, and all ordinary threads together, has a [`Local`]: a private slot, and two lists
//! behind a lock. A caller that looks for a value looks into its own first, then into the others',
//! and makes one only where it found none. (Go's leaves the others' private slots alone, as it
//! can't look into them.)
//!
//! * PL1: a node is in one place: a private slot, a list, or somebody's hands. The caller that
//!   takes it out of there (swaps the slot, unlinks it under the lock) owns it alone. Which P that
//!   caller runs on, and whether still on the one whose `Local` it is, matters for speed only.
//! * PL2: what is taken out is dropped, and what is put in was made, outside of sections and locks.
//!
//! **Ageing.** Go moves what is in a pool to its *victim cache* with each garbage collection, and
//! drops what is found there: what was not used between two collections goes. There are no
//! collections here, so there are *rounds*, by the clock: a round drops what is in the `old` lists,
//! and what is in the slots and in the `fresh` lists becomes old. A caller that uses the pool makes
//! the round, if the last was a period ago. (A goroutine that makes the rounds would have to know
//! all pools, and would keep a deadlock from being found.)

use crate::base::lock::Lock;
use crate::base::sys::coarse_nanotime;
use crate::g::current;
use crate::p::MAX_PROCS;
use crate::sched::current_p;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// A value, and the link of the list it is in.
struct Node<T> {
    next: *mut Node<T>,
    value: T,
}

impl<T> Node<T> {
    fn boxed(value: T) -> Box<Self> {
        Box::new(Self { next: null_mut(), value })
    }
}

/// An owner's list: last in, first out.
struct List<T> {
    head: *mut Node<T>,
}

// SAFETY: an owner's list of what can be sent.
unsafe impl<T: Send> Send for List<T> {}

impl<T> List<T> {
    const fn new() -> Self {
        Self { head: null_mut() }
    }

    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new())
    }

    fn push(&mut self, node: Box<Node<T>>) {
        let at = Box::into_raw(node);
        // SAFETY: ours until it is in the list.
        unsafe { (*at).next = self.head };
        self.head = at;
    }

    fn pop(&mut self) -> Option<Box<Node<T>>> {
        let at = NonNull::new(self.head)?;
        // SAFETY: push() put it there.
        let node = unsafe { Box::from_raw(at.as_ptr()) };
        self.head = node.next;
        Some(node)
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        while let Some(node) = self.pop() {
            drop(node);
        }
    }
}

/// Where a value is found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Fresh,
    Old,
    Private,
}

/// What is found in one place of the lists.
struct Lists<T> {
    /// Put in since the last round.
    fresh: List<T>,
    /// Not used since the last round.
    old: List<T>,
}

/// The values of one P, or of all ordinary threads.
#[repr(align(128))]
struct Local<T> {
    private: AtomicPtr<Node<T>>,
    /// Which lists have something in them; written under their lock.
    hint: AtomicU32,
    lists: Lock<Lists<T>>,
}

const FRESH: u32 = 1;
const OLD: u32 = 2;

impl<T> Local<T> {
    const fn new() -> Self {
        Self {
            private: AtomicPtr::new(null_mut()),
            hint: AtomicU32::new(0),
            lists: Lock::new(Lists { fresh: List::new(), old: List::new() }),
        }
    }

    /// Does what `change` does to the lists; it moves nodes, and neither makes nor drops any (PL2).
    fn change<R>(&self, change: impl FnOnce(&mut Lists<T>) -> R) -> R {
        let _section = current::enter();
        let mut lists = self.lists.lock();
        let result = change(&mut lists);
        let fresh = if lists.fresh.head.is_null() { 0 } else { FRESH };
        let old = if lists.old.head.is_null() { 0 } else { OLD };
        self.hint.store(fresh | old, Ordering::Relaxed);
        result
    }

    /// Puts a node into the private slot; gives it back if that is taken.
    fn put_private(&self, node: Box<Node<T>>) -> Option<Box<Node<T>>> {
        let at = Box::into_raw(node);
        // Release: the value, for the caller that takes it.
        let put =
            self.private.compare_exchange(null_mut(), at, Ordering::Release, Ordering::Relaxed);
        // SAFETY: ours, as it was not put there.
        put.is_err().then(|| unsafe { Box::from_raw(at) })
    }

    fn take(&self, place: Place) -> Option<Box<Node<T>>> {
        match place {
            Place::Private => {
                if self.private.load(Ordering::Relaxed).is_null() {
                    return None;
                }
                // Acquire: pairs with put_private().
                let at = NonNull::new(self.private.swap(null_mut(), Ordering::Acquire))?;
                // SAFETY: PL1: swapped out, so it is ours.
                Some(unsafe { Box::from_raw(at.as_ptr()) })
            }
            Place::Fresh if self.hint.load(Ordering::Relaxed) & FRESH == 0 => None,
            Place::Fresh => self.change(|lists| lists.fresh.pop()),
            Place::Old if self.hint.load(Ordering::Relaxed) & OLD == 0 => None,
            Place::Old => self.change(|lists| lists.old.pop()),
        }
    }

    /// A round: what was old is to be dropped, what is here becomes old.
    fn age(&self) -> List<T> {
        let private = self.take(Place::Private);
        self.change(|lists| {
            let dropped = lists.old.take();
            lists.old = lists.fresh.take();
            if let Some(node) = private {
                lists.old.push(node);
            }
            dropped
        })
    }
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        drop(self.take(Place::Private));
    }
}

/// One `Local` for each P there has been, in tables of 1, 2, 4 … that stay where they are.
struct Locals<T>([OnceLock<Box<[Local<T>]>>; TABLES]);

const TABLES: usize = MAX_PROCS.ilog2() as usize + 1;

impl<T> Locals<T> {
    /// The table of number `id`, and its place there.
    fn place(id: u32) -> (usize, usize) {
        let n = id as usize + 1;
        let table = n.ilog2() as usize;
        (table, n - (1 << table))
    }

    fn get(&self, id: u32) -> Option<&Local<T>> {
        let (table, at) = Self::place(id);
        self.0.get(table)?.get()?.get(at)
    }

    /// Makes the table of number `id`. Not in a section.
    #[cold]
    fn make(&self, id: u32) {
        let (table, _) = Self::place(id);
        self.0[table].get_or_init(|| (0..1 << table).map(|_| Local::new()).collect());
    }

    /// All, those with a number from `first` on before the others.
    fn iter_from(&self, first: u32) -> impl Iterator<Item = &Local<T>> {
        let last = self.0.iter().rposition(|table| table.get().is_some());
        let count = last.map_or(0, |last| (2 << last) - 1);
        (0..count).filter_map(move |i| self.get((first + i) % count))
    }
}

/// Values that are dear to make, to be used again. (Go: `sync.Pool`.)
///
/// [`get`](Self::get) takes one out, or makes one where there is none; when the [`Pooled`] is
/// dropped the value is back in the pool. Each processor keeps its own, so this is cheap, and takes
/// those of the others only where it has none. It is unspecified which value `get` returns, and in
/// what state: a value is as its last user left it. Works on ordinary threads too, which share one
/// place. Nothing here blocks, but what the function and the drops of values do.
///
/// What happens before a value is put in happens before the `get` that takes it out returns.
///
/// # What becomes of values that nobody uses
/// Values that were not used for some time are dropped, in *rounds*. A round is made by a `get`, or
/// a [`put`](Self::put), for which the last one was a period ago (10 s, or what
/// [`with_period`](Self::with_period) says); it drops what has been in the pool since the round
/// before. So a value stays for one period at the least, and in a pool that is used all the time
/// for two at the most. A pool that is not used makes no rounds, and keeps what it has until it is
/// dropped or [cleared](Self::clear).
///
/// # Examples
/// ```
/// use goroutines::sync::Pool;
///
/// static BUFFERS: Pool<Vec<u8>> = Pool::new(|| Vec::with_capacity(64 << 10));
///
/// let mut buffer = BUFFERS.get();
/// buffer.clear(); // as somebody has used it
/// buffer.extend_from_slice(b"hello");
/// drop(buffer); // back in the pool
/// ```
pub struct Pool<T, F = fn() -> T> {
    make: F,
    locals: Locals<T>,
    /// For ordinary threads.
    outside: Local<T>,
    period_ns: u64,
    /// When the last round was made; 0: never.
    round_ns: AtomicU64,
}

// SAFETY: values pass from one thread to another, and are never shared; `make` is.
unsafe impl<T: Send, F: Sync> Sync for Pool<T, F> {}
// SAFETY: the pool owns its values.
unsafe impl<T: Send, F: Send> Send for Pool<T, F> {}

/// A panic can't leave the pool in a state that it should not be seen in; its values are another
/// matter.
impl<T: UnwindSafe, F: RefUnwindSafe> RefUnwindSafe for Pool<T, F> {}
impl<T: UnwindSafe, F: UnwindSafe> UnwindSafe for Pool<T, F> {}

/// Between two rounds, unless said otherwise.
const PERIOD: Duration = Duration::from_secs(10);

impl<T, F: Fn() -> T> Pool<T, F> {
    /// An empty pool, whose values `make` makes.
    #[must_use]
    pub const fn new(make: F) -> Self {
        Self::with_period(make, PERIOD)
    }

    /// The same, with another time between two rounds, in which unused values are dropped.
    ///
    /// # Examples
    /// ```
    /// use goroutines::sync::Pool;
    /// use std::time::Duration;
    ///
    /// static LINES: Pool<String> = Pool::with_period(String::new, Duration::from_secs(60));
    /// assert_eq!(*LINES.get(), "");
    /// ```
    #[must_use]
    pub const fn with_period(make: F, period: Duration) -> Self {
        let whole_ns = period.as_secs().saturating_mul(1_000_000_000);
        Self {
            make,
            locals: Locals([const { OnceLock::new() }; TABLES]),
            outside: Local::new(),
            period_ns: whole_ns.saturating_add(period.subsec_nanos() as u64),
            round_ns: AtomicU64::new(0),
        }
    }

    /// Takes a value out of the pool, or makes one where it finds none.
    ///
    /// # Panics
    /// As the function that makes values does; and as a value does that is dropped in a round.
    pub fn get(&self) -> Pooled<'_, T, F> {
        self.age();
        let node = self.take_node();
        let node = node.unwrap_or_else(|| Node::boxed((self.make)()));
        Pooled { node: ManuallyDrop::new(node), pool: self }
    }
}

impl<T, F> Pool<T, F> {
    /// The caller's own first.
    fn all(&self, own: Option<u32>) -> impl Iterator<Item = &Local<T>> {
        let (outside_first, outside_last) = match own {
            Some(_) => (None, Some(&self.outside)),
            None => (Some(&self.outside), None),
        };
        let locals = self.locals.iter_from(own.unwrap_or(0));
        outside_first.into_iter().chain(locals).chain(outside_last)
    }

    /// Calls `f` with the caller's own, in a section, if there is one; else with nothing, and the
    /// number of the P.
    fn with_own<R>(&self, f: impl FnOnce(Result<&Local<T>, u32>) -> R) -> R {
        let _section = current::enter();
        f(match current_p() {
            None => Ok(&self.outside),
            Some(pp) => self.locals.get(pp.id).ok_or(pp.id),
        })
    }

    /// Puts a node in. Not in a section.
    fn put_node(&self, mut node: Box<Node<T>>) {
        loop {
            let left = self.with_own(|own| match own {
                Ok(local) => {
                    if let Some(node) = local.put_private(node) {
                        local.change(|lists| lists.fresh.push(node));
                    }
                    None
                }
                Err(id) => Some((node, id)),
            });
            match left {
                None => return,
                Some((back, id)) => {
                    self.locals.make(id);
                    node = back;
                }
            }
        }
    }

    /// Takes a node out.
    fn take_node(&self) -> Option<Box<Node<T>>> {
        let own = self.with_own(|own| match own {
            Ok(local) => Ok(local.take(Place::Private)),
            Err(id) => Err(id),
        });
        if let Ok(Some(node)) = own {
            return Some(node);
        }
        self.find_node()
    }

    /// Looks everywhere.
    #[cold]
    fn find_node(&self) -> Option<Box<Node<T>>> {
        let own = {
            let _section = current::enter();
            current_p().map(|pp| pp.id)
        };
        // What is old comes last but one: the less it is used, the sooner it goes. What another P
        // has for itself comes last.
        [Place::Fresh, Place::Old, Place::Private]
            .into_iter()
            .find_map(|place| self.all(own).find_map(|local| local.take(place)))
    }

    /// Makes a round, if it is time.
    fn age(&self) {
        let now = coarse_nanotime().max(1);
        let last = self.round_ns.load(Ordering::Relaxed);
        if now.saturating_sub(last) >= self.period_ns {
            self.make_round(last, now);
        }
    }

    #[cold]
    fn make_round(&self, last: u64, now: u64) {
        // One of those who find that it is time.
        let ours =
            self.round_ns.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if ours && last != 0 {
            self.all(None).for_each(|local| drop(local.age()));
        }
    }

    /// Puts a value into the pool.
    ///
    /// # Panics
    /// As a value does that is dropped in a round.
    ///
    /// # Examples
    /// ```
    /// use goroutines::sync::Pool;
    ///
    /// let pool = Pool::new(|| 0);
    /// pool.put(42);
    /// assert_eq!(*pool.get(), 42);
    /// ```
    pub fn put(&self, value: T) {
        self.age();
        self.put_node(Node::boxed(value));
    }

    /// Drops all values that are in the pool, but those that others put in meanwhile.
    ///
    /// # Panics
    /// As a value's drop does.
    pub fn clear(&self) {
        for local in self.all(None) {
            drop(local.age());
            drop(local.age());
        }
    }
}

impl<T: Default> Default for Pool<T> {
    fn default() -> Self {
        Self::new(T::default)
    }
}

impl<T, F> std::fmt::Debug for Pool<T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// A value out of a [`Pool`], to which it goes back when this is dropped; also while a panic
/// unwinds.
///
/// It may be sent to another goroutine, and dropped there.
#[must_use = "the value goes back when this is dropped"]
pub struct Pooled<'p, T, F = fn() -> T> {
    node: ManuallyDrop<Box<Node<T>>>,
    pool: &'p Pool<T, F>,
}

// SAFETY: the value passes to another thread, and into the pool there.
unsafe impl<T: Send, F: Sync> Send for Pooled<'_, T, F> {}
// SAFETY: a shared guard gives a shared value, and nothing else.
unsafe impl<T: Sync, F> Sync for Pooled<'_, T, F> {}

impl<T, F> Pooled<'_, T, F> {
    /// Takes the value, which does not go back.
    ///
    /// # Examples
    /// ```
    /// use goroutines::sync::{Pool, Pooled};
    ///
    /// let pool = Pool::new(|| String::from("hello"));
    /// let text: String = Pooled::into_inner(pool.get());
    /// ```
    #[must_use = "`drop` gives it back"]
    pub fn into_inner(this: Self) -> T {
        let mut this = ManuallyDrop::new(this);
        // SAFETY: taken once, as `this` is not dropped.
        let node = unsafe { ManuallyDrop::take(&mut this.node) };
        node.value
    }
}

impl<T, F> Drop for Pooled<'_, T, F> {
    fn drop(&mut self) {
        // SAFETY: taken once, as this is the drop.
        let node = unsafe { ManuallyDrop::take(&mut self.node) };
        self.pool.put_node(node);
    }
}

impl<T, F> Deref for Pooled<'_, T, F> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        &self.node.value
    }
}

impl<T, F> DerefMut for Pooled<'_, T, F> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.node.value
    }
}

impl<T: std::fmt::Debug, F> std::fmt::Debug for Pooled<'_, T, F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}
