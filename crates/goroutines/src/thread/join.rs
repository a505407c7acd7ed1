//! What a goroutine leaves behind: its result, and who waits for it.
//!
//! One allocation a goroutine: a [`Packet`], shared by the goroutine and its handle.
//!
//! * J1: the result is written by the goroutine before it gives up its share in it, and taken or
//!   dropped by whoever has the last share. So a result that borrows from a scope is gone before the
//!   goroutine tells the scope that it has ended.
//! * J2: `joiner` is null while the goroutine runs and nobody waits, the waiter while somebody does, and
//!   [`DONE`] from the end on.

use super::Thread;
use super::id::Inner;
use super::scope::ScopeData;
use crate::base::fatal;
use crate::base::sys;
use crate::g::current;
use crate::g::reason::WaitReason;
use crate::sched::park::{Waiter, block};
use crate::sched::{boot, go};
use goroutines_switch::Class;
use std::any::Any;
use std::cell::UnsafeCell;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::null_mut;
use std::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};
use std::sync::{Arc, OnceLock};

/// J2: it has ended.
const DONE: *mut Waiter = std::ptr::without_provenance_mut(1);

/// The part of a packet that does not depend on the result's type.
#[repr(C)]
pub(crate) struct Head {
    refs: AtomicUsize,
    free: unsafe fn(*const Head),
    goid: AtomicU64,
    joiner: AtomicPtr<Waiter>,
    /// An `Arc<Inner>`, made when somebody asks for it.
    thread: AtomicPtr<Inner>,
}

#[repr(C)]
struct Packet<T> {
    head: Head,
    /// Shares in the result: the goroutine's and the handle's.
    shares: AtomicU32,
    result: UnsafeCell<Option<super::Result<T>>>,
    scope: Option<Arc<ScopeData>>,
}

impl Head {
    /// # Safety
    /// * `this` has a reference of the caller's, which is given back.
    unsafe fn release(this: *const Head) {
        // SAFETY: alive, as we have a reference.
        if unsafe { (*this).refs.fetch_sub(1, Ordering::Release) } == 1 {
            fence(Ordering::Acquire); // pairs with the other's Release
            // SAFETY: that was the last; `free` is that of its type.
            unsafe { ((*this).free)(this) };
        }
    }

    /// The goroutine has ended: wakes who joins it, and gives the goroutine's reference back.
    ///
    /// # Safety
    /// * `this` has a reference of the caller's, which is given back.
    pub(crate) unsafe fn finish(this: *const Head) {
        let section = current::enter();
        // SAFETY: alive, as we have a reference.
        let joiner = unsafe { (*this).joiner.swap(DONE, Ordering::AcqRel) };
        if !joiner.is_null() {
            // SAFETY: J2: it waits, and only we wake it.
            unsafe { Waiter::wake(joiner) };
        }
        drop(section);
        // SAFETY: the caller's reference.
        unsafe { Self::release(this) };
    }

    pub(crate) fn set_goid(&self, goid: u64) {
        self.goid.store(goid, Ordering::Relaxed);
    }

    /// The handle that names it and unparks it, if somebody has asked for it.
    pub(crate) fn thread_if_made(&self) -> Option<Thread> {
        let inner = self.thread.load(Ordering::Acquire);
        if inner.is_null() {
            return None;
        }
        // SAFETY: an Arc's pointer, of which the Head has a reference for as long as it lives.
        unsafe { Arc::increment_strong_count(inner) };
        // SAFETY: the reference just made.
        Some(Thread::ours(unsafe { Arc::from_raw(inner) }))
    }

    /// The handle that names it and unparks it.
    pub(crate) fn thread(&self) -> Thread {
        if let Some(thread) = self.thread_if_made() {
            return thread;
        }
        let new = Arc::into_raw(Arc::new(Inner::new(self.goid.load(Ordering::Relaxed), None)));
        let made = self.thread.compare_exchange(
            null_mut(),
            new.cast_mut(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if made.is_err() {
            // SAFETY: ours, and nobody saw it.
            drop(unsafe { Arc::from_raw(new) });
        }
        self.thread_if_made().unwrap_or_else(|| fatal::throw!("a thread handle vanished"))
    }
}

impl<T> Packet<T> {
    fn new(thread: Option<Arc<Inner>>, scope: Option<Arc<ScopeData>>) -> *const Self {
        Box::into_raw(Box::new(Self {
            head: Head {
                refs: AtomicUsize::new(2),
                free: Self::free,
                goid: AtomicU64::new(0),
                joiner: AtomicPtr::new(null_mut()),
                thread: AtomicPtr::new(
                    thread.map_or(null_mut(), |inner| Arc::into_raw(inner).cast_mut()),
                ),
            },
            shares: AtomicU32::new(2),
            result: UnsafeCell::new(None),
            scope,
        }))
    }

    unsafe fn free(head: *const Head) {
        // SAFETY: called with the Head of a Packet<T>, its first field, for the last reference.
        let packet = unsafe { Box::from_raw(head.cast_mut().cast::<Self>()) };
        let thread = packet.head.thread.load(Ordering::Acquire);
        if !thread.is_null() {
            // SAFETY: the Head's own reference.
            drop(unsafe { Arc::from_raw(thread) });
        }
    }

    /// Gives up a share in the result; the last one drops what nobody took (J1).
    ///
    /// # Safety
    /// * The caller has a share, and a reference.
    unsafe fn give_up_share(this: *const Self) {
        // SAFETY: alive, as the caller has a reference.
        if unsafe { (*this).shares.fetch_sub(1, Ordering::AcqRel) } != 1 {
            return;
        }
        // SAFETY: the last share: nobody else looks at it.
        let result = unsafe { (*(*this).result.get()).take() };
        let Some(result) = result else { return };
        // SAFETY: as above.
        if let (Err(payload), Some(scope)) = (&result, unsafe { &(*this).scope })
            && !payload.is::<Goexit>()
        {
            scope.set_panicked();
        }
        if catch_unwind(AssertUnwindSafe(|| drop(result))).is_err() {
            sys::write_all(2, b"fatal error: a goroutine's result panicked on drop\n");
            std::process::abort();
        }
    }
}

/// How to start a goroutine.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) name: Option<String>,
    pub(crate) stack_bytes: Option<usize>,
    pub(crate) scope: Option<Arc<ScopeData>>,
}

/// The payload of [`goexit`](crate::runtime::goexit)'s unwinding.
#[derive(Debug)]
pub(crate) struct Goexit;

/// A panic anywhere ends the process, as in Go.
pub(crate) static CRASH_ON_PANIC: AtomicBool = AtomicBool::new(false);

/// Starts a goroutine.
///
/// # Errors
/// Where it can't be made.
///
/// # Safety
/// * What `f` borrows outlives the goroutine, or the goroutine's scope waits for it.
pub(crate) unsafe fn start<F, T>(
    f: F,
    options: Options,
    location: &'static Location<'static>,
) -> io::Result<JoinHandle<T>>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    boot::ensure();
    if crate::sched::SCHED.forked.load(Ordering::Relaxed) {
        return Err(io::Error::other(
            "goroutines: the runtime does not survive fork(); exec, or start goroutines in the parent",
        ));
    }
    let class = match options.stack_bytes {
        None => go::default_class(),
        Some(bytes) => Class::of(bytes)?,
    };
    let thread = options.name.map(|name| Arc::new(Inner::new(0, Some(name))));
    let scope = options.scope;
    let packet = Packet::<T>::new(thread.clone(), scope.clone());
    let handle = JoinHandle { packet, thread: OnceLock::new() };
    if let Some(scope) = &scope {
        scope.begin();
    }
    let spec = go::Spec { class, task: packet.cast(), location, system: false };
    let shared = Shared(packet);
    let body = move || {
        let shared = shared; // whole, for its Send
        // SAFETY: the goroutine's reference and share.
        unsafe { run_body(shared.0, f) };
        if let Some(scope) = scope {
            scope.end();
        }
    };
    // SAFETY: the caller's promise about f.
    match unsafe { go::spawn(&spec, body) } {
        Ok(goid) => {
            if let Some(thread) = thread {
                thread.set_id(goid);
            }
            Ok(handle)
        }
        Err(e) => {
            // SAFETY: the goroutine's reference and share, as there is none.
            unsafe {
                if let Some(scope) = &(*packet).scope {
                    scope.end();
                }
                Packet::give_up_share(packet);
                Head::release(packet.cast());
            }
            Err(e)
        }
    }
}

/// A packet's pointer on its way to the goroutine.
struct Shared<T>(*const Packet<T>);
// SAFETY: the result is passed from one to the other, and T is Send where one is made.
unsafe impl<T: Send> Send for Shared<T> {}

/// Runs the goroutine's function and leaves the result.
///
/// # Safety
/// * The caller has the goroutine's share of the packet.
unsafe fn run_body<F: FnOnce() -> T, T>(packet: *const Packet<T>, f: F) {
    let result = catch_unwind(AssertUnwindSafe(f));
    if let Err(payload) = &result
        && !payload.is::<Goexit>()
        && CRASH_ON_PANIC.load(Ordering::Relaxed)
    {
        crash(&**payload);
    }
    // SAFETY: J1.
    unsafe {
        *(*packet).result.get() = Some(result);
        Packet::give_up_share(packet);
    }
}

/// Go's way with a panic that nobody recovers.
fn crash(payload: &(dyn Any + Send)) -> ! {
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(a value that is no text)");
    let id = current::g().map_or(0, crate::g::G::id);
    let message = format!("panic: {text}\n\ngoroutine {id} [running]:\n");
    sys::write_all(2, message.as_bytes());
    fatal::exit(2)
}

/// Owned permission to wait for a goroutine's end and take its result.
///
/// Dropping it detaches the goroutine, which goes on. Like [`std::thread::JoinHandle`].
pub struct JoinHandle<T> {
    packet: *const Packet<T>,
    thread: OnceLock<Thread>,
}

// SAFETY: as for std's: the result is handed over, never shared.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: `&JoinHandle` gives access to the Thread and to atomics only.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    fn head(&self) -> &Head {
        // SAFETY: the handle has a reference.
        unsafe { &(*self.packet).head }
    }

    /// Waits for the goroutine to end, and returns what its closure returned, or the payload of its
    /// panic.
    ///
    /// Blocks the calling goroutine (or ordinary thread). Its `thread_local!`s have been destroyed when
    /// this returns, and all that it did happens before.
    ///
    /// # Errors
    /// The panic's payload. A goroutine that ended by [`runtime::goexit`](crate::runtime::goexit) has a
    /// payload of no public type.
    ///
    /// # Deadlock
    /// A goroutine that joins itself waits for ever.
    pub fn join(self) -> super::Result<T> {
        self.wait();
        // SAFETY: the goroutine has ended and given up its share (J1); we have ours.
        let result = unsafe { (*(*self.packet).result.get()).take() };
        match result {
            Some(result) => result,
            None => fatal::throw!("a goroutine ended without a result"),
        }
    }

    /// Waits for the end, and leaves the result where it is.
    pub(crate) fn wait(&self) {
        if self.is_finished() {
            return;
        }
        block(WaitReason::Join, |waiter| {
            let at = std::ptr::from_ref(waiter).cast_mut();
            let joiner = &self.head().joiner;
            // Release: the waiter; Acquire: pairs with finish().
            joiner.compare_exchange(null_mut(), at, Ordering::AcqRel, Ordering::Acquire).is_ok()
        });
    }

    /// Whether the goroutine has ended, so that [`join`](Self::join) would not block.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        std::ptr::eq(self.head().joiner.load(Ordering::Acquire), DONE)
    }

    /// The goroutine's handle: its id, its name, and [`unpark`](Thread::unpark).
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.thread.get_or_init(|| self.head().thread())
    }

    /// The goroutine's number, as dumps show it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.head().goid.load(Ordering::Relaxed)
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        // SAFETY: the handle's share and reference.
        unsafe {
            Packet::give_up_share(self.packet);
            Head::release(self.packet.cast());
        }
    }
}

impl<T> std::fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.id()).finish_non_exhaustive()
    }
}
