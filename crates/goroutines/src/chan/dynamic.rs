//! A select whose operations are chosen while the program runs.

use super::Limit;
use super::cases::Room;
use super::core::Promise;
use super::err::{
    ReadyTimeoutError, RecvError, SelectTimeoutError, SendError, TryReadyError, TrySelectError,
};
use super::party::{Kind, Outcome};
use super::receiver::Receiver;
use super::select::{Case, Cases, Operand, select};
use super::sender::Sender;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::time::{Duration, Instant};

/// A set of operations on channels, one of which is to be done; or that are waited for until one
/// can be.
///
/// The [`select!`](crate::select) macro is easier where the operations are known beforehand.
///
/// Operations are numbered in the order in which they are added. [`select`](Self::select) and its
/// kin choose one that can be done, at random where several can, block until there is one, and
/// return it as a [`SelectedOperation`], which must be completed. [`ready`](Self::ready) and its
/// kin do nothing; what they found may be gone when it is tried, if others use the channel. An
/// operation on a disconnected channel can be done: it fails.
///
/// A set can be used again and again. (crossbeam-channel: `Select`. Go: `reflect.Select`.)
///
/// # Examples
/// ```
/// use goroutines::chan::{Receiver, RecvError, Select, unbounded};
///
/// fn first_of<T>(all: &[Receiver<T>]) -> Result<T, RecvError> {
///     let mut select = Select::new();
///     for receiver in all {
///         select.recv(receiver);
///     }
///     let chosen = select.select();
///     let index = chosen.index();
///     chosen.recv(&all[index])
/// }
///
/// let (senders, receivers): (Vec<_>, Vec<_>) = (0..3).map(|_| unbounded()).unzip();
/// senders[1].send("hello").unwrap();
/// assert_eq!(first_of(&receivers), Ok("hello"));
/// ```
pub struct Select<'a> {
    operations: Vec<Registered<'a>>,
    next_index: usize,
    biased: bool,
}

struct Registered<'a> {
    case: Case<'a>,
    index: usize,
    /// Which sender or receiver.
    end: *const (),
    /// Of a message to be received.
    layout: Layout,
    place: Place,
}

/// Room for a message of whatever type.
enum Place {
    None,
    Inline(Inline),
    Heap(*mut u8, Layout),
}

/// Messages up to here need no allocation.
type Inline = MaybeUninit<[usize; 4]>;

impl Place {
    fn new(layout: Layout) -> Self {
        let inline = Layout::new::<Inline>();
        if layout.size() <= inline.size() && layout.align() <= inline.align() {
            return Self::Inline(Inline::uninit());
        }
        // SAFETY: larger than `Inline`, or of a greater alignment; of size 0, it would do with any
        // address.
        let layout = if layout.size() == 0 {
            Layout::from_size_align(1, layout.align()).unwrap_or(inline)
        } else {
            layout
        };
        // SAFETY: not of size 0.
        let at = unsafe { alloc(layout) };
        if at.is_null() {
            handle_alloc_error(layout);
        }
        Self::Heap(at, layout)
    }

    fn at(&mut self) -> *mut () {
        match self {
            Self::None => std::ptr::null_mut(),
            Self::Inline(inline) => inline.as_mut_ptr().cast(),
            Self::Heap(at, _) => at.cast(),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Heap(at, layout) = *self {
            // SAFETY: allocated with it.
            unsafe { dealloc(at, layout) };
        }
    }
}

// SAFETY: what it holds while it is not selecting is plain data, and references to senders and
// receivers. A message that is not Send may come to rest in a SelectedOperation on another thread,
// as bytes: nobody can take it out there without its receiver, and it is not dropped.
unsafe impl Send for Select<'_> {}
// SAFETY: as above; `&Select` changes nothing.
unsafe impl Sync for Select<'_> {}

struct Registry<'s, 'a>(&'s [Registered<'a>]);

impl<'a> Cases<'a> for Registry<'_, 'a> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, i: usize) -> &Case<'a> {
        &self.0[i].case
    }
}

impl<'a> Select<'a> {
    /// Makes an empty set.
    pub fn new() -> Self {
        Self { operations: Vec::new(), next_index: 0, biased: false }
    }

    /// Makes an empty set of which the first that can be done is chosen, in the order in which they
    /// were added.
    pub fn new_biased() -> Self {
        Self { biased: true, ..Self::new() }
    }

    fn add(&mut self, on: &'a dyn Operand, sends: bool, end: *const (), layout: Layout) -> usize {
        let index = self.next_index;
        let case = Case::new(on, sends);
        self.operations.push(Registered { case, index, end, layout, place: Place::None });
        self.next_index += 1;
        index
    }

    /// Adds a send. Its number.
    pub fn send<T>(&mut self, s: &'a Sender<T>) -> usize {
        self.add(s.operand(), true, std::ptr::from_ref(s).cast(), Layout::new::<()>())
    }

    /// Adds a receipt. Its number.
    pub fn recv<T>(&mut self, r: &'a Receiver<T>) -> usize {
        self.add(r.operand(), false, std::ptr::from_ref(r).cast(), Layout::new::<T>())
    }

    /// Removes the operation of that number; the others keep theirs.
    ///
    /// # Panics
    /// If there is none.
    pub fn remove(&mut self, index: usize) {
        assert!(index < self.next_index, "index out of bounds; {index} >= {}", self.next_index);
        let Some(at) = self.operations.iter().position(|one| one.index == index) else {
            panic!("no operation with this index")
        };
        self.operations.swap_remove(at);
    }

    fn run(&mut self, limit: Limit) -> Option<SelectedOperation<'a>> {
        for one in &mut self.operations {
            one.case.sudog.kind.set(if one.case.sends { Kind::Promise } else { Kind::Value });
            if !one.case.sends {
                if let Place::None = one.place {
                    one.place = Place::new(one.layout);
                }
                one.case.sudog.value.set(one.place.at());
            }
        }
        let at = select(&Registry(&self.operations), limit, self.biased)?;
        let one = &mut self.operations[at];
        let outcome = one.case.sudog.outcome.get();
        let place = std::mem::replace(&mut one.place, Place::None);
        let promise = (outcome == Outcome::Promised).then(|| one.case.promise());
        let received = outcome == Outcome::Done;
        Some(SelectedOperation {
            index: one.index,
            end: one.end,
            place: if received { place } else { Place::None },
            promise,
            on: one.case.on,
        })
    }

    fn wait(&mut self, limit: Limit) -> Option<usize> {
        for one in &self.operations {
            one.case.sudog.kind.set(Kind::Look);
        }
        let at = select(&Registry(&self.operations), limit, self.biased)?;
        Some(self.operations[at].index)
    }

    fn assert_any(&self) {
        assert!(!self.operations.is_empty(), "no operations have been added to `Select`");
    }

    /// Chooses an operation that can be done at once. Does not block.
    ///
    /// # Errors
    /// If there is none.
    ///
    /// # Panics
    /// If what it returns is dropped without being completed. So do all that return one.
    pub fn try_select(&mut self) -> Result<SelectedOperation<'a>, TrySelectError> {
        self.run(Limit::Now).ok_or(TrySelectError)
    }

    /// Chooses an operation, and blocks until one can be done.
    ///
    /// # Panics
    /// If there are no operations.
    pub fn select(&mut self) -> SelectedOperation<'a> {
        self.assert_any();
        match self.run(Limit::Forever) {
            Some(chosen) => chosen,
            None => unreachable!("without a limit"),
        }
    }

    /// As [`select`](Self::select), for `timeout` at most.
    ///
    /// # Errors
    /// If none could be done in this time.
    pub fn select_timeout(
        &mut self,
        timeout: Duration,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.run(Limit::After(timeout)).ok_or(SelectTimeoutError)
    }

    /// As [`select`](Self::select), until `deadline` at most.
    ///
    /// # Errors
    /// If none could be done until then.
    pub fn select_deadline(
        &mut self,
        deadline: Instant,
    ) -> Result<SelectedOperation<'a>, SelectTimeoutError> {
        self.run(Limit::At(deadline)).ok_or(SelectTimeoutError)
    }

    /// The number of an operation that could be done now. Does not block.
    ///
    /// # Errors
    /// If there is none.
    pub fn try_ready(&mut self) -> Result<usize, TryReadyError> {
        self.wait(Limit::Now).ok_or(TryReadyError)
    }

    /// Blocks until one of the operations could be done; its number.
    ///
    /// # Panics
    /// If there are no operations.
    pub fn ready(&mut self) -> usize {
        self.assert_any();
        match self.wait(Limit::Forever) {
            Some(index) => index,
            None => unreachable!("without a limit"),
        }
    }

    /// As [`ready`](Self::ready), for `timeout` at most.
    ///
    /// # Errors
    /// If none could be done in this time.
    pub fn ready_timeout(&mut self, timeout: Duration) -> Result<usize, ReadyTimeoutError> {
        self.wait(Limit::After(timeout)).ok_or(ReadyTimeoutError)
    }

    /// As [`ready`](Self::ready), until `deadline` at most.
    ///
    /// # Errors
    /// If none could be done until then.
    pub fn ready_deadline(&mut self, deadline: Instant) -> Result<usize, ReadyTimeoutError> {
        self.wait(Limit::At(deadline)).ok_or(ReadyTimeoutError)
    }
}

impl<'a> Clone for Select<'a> {
    fn clone(&self) -> Self {
        let copy = |one: &Registered<'a>| Registered {
            case: Case::new(one.case.on, one.case.sends),
            index: one.index,
            end: one.end,
            layout: one.layout,
            place: Place::None,
        };
        Self {
            operations: self.operations.iter().map(copy).collect(),
            next_index: self.next_index,
            biased: self.biased,
        }
    }
}

impl Default for Select<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("Select { .. }")
    }
}

/// An operation that was chosen, and is to be completed by [`send`](Self::send) or
/// [`recv`](Self::recv).
///
/// # Panics
/// If dropped without being completed. A message that was received is leaked then.
#[must_use]
pub struct SelectedOperation<'a> {
    index: usize,
    end: *const (),
    /// Holds a message, if one was received.
    place: Place,
    /// Room for one, if one can be sent.
    promise: Option<Promise>,
    on: &'a dyn Operand,
}

impl SelectedOperation<'_> {
    /// The operation's number.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Completes a send. Does not block.
    ///
    /// # Errors
    /// If the channel is disconnected. The error holds the message.
    ///
    /// # Panics
    /// If the operation was not added with this sender.
    pub fn send<T>(self, s: &Sender<T>, message: T) -> Result<(), SendError<T>> {
        assert!(
            std::ptr::eq(std::ptr::from_ref(s).cast(), self.end),
            "passed a sender that wasn't selected"
        );
        let promise = ManuallyDrop::new(self).promise;
        Room::new(s, promise).send(message)
    }

    /// Completes a receipt. Does not block.
    ///
    /// # Errors
    /// If the channel is empty and disconnected.
    ///
    /// # Panics
    /// If the operation was not added with this receiver.
    pub fn recv<T>(self, r: &Receiver<T>) -> Result<T, RecvError> {
        assert!(
            std::ptr::eq(std::ptr::from_ref(r).cast(), self.end),
            "passed a receiver that wasn't selected"
        );
        let mut this = ManuallyDrop::new(self);
        let mut place = std::mem::replace(&mut this.place, Place::None);
        if let Place::None = place {
            return Err(RecvError);
        }
        // SAFETY: a message of this receiver's, which is moved once.
        Ok(unsafe { place.at().cast::<T>().read() })
    }
}

impl fmt::Debug for SelectedOperation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("SelectedOperation { .. }")
    }
}

impl Drop for SelectedOperation<'_> {
    fn drop(&mut self) {
        if let Some(promise) = self.promise.take() {
            // SAFETY: made by this operand, and taken out.
            unsafe { self.on.take_back(promise) };
        }
        panic!("dropped `SelectedOperation` without completing the operation");
    }
}
