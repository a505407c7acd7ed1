//! What a goroutine leaves behind: its result, and the joiner that waits for it.
//!
//! One allocation per goroutine: its task, its result and its closure, shared with its handle.
//!
//! * J1: the result is written by the goroutine before it gives up its share in it, and taken or
//!   dropped by the side (goroutine or handle) that has the last share. So a result that borrows
//!   from a scope is gone before the goroutine tells the scope that it has ended.
//! * J2: `joiner` is null while the goroutine runs and nobody waits, the waiter while somebody
//!   does, and [`DONE`] from the end on.

use super::Thread;
use super::id::Inner;
use super::scope::ScopeData;
use crate::base::fatal;
use crate::base::sys;
use crate::g::current;
use crate::g::reason::WaitReason;
use crate::g::task::Task;
use crate::p::memory;
use crate::sched::park::{Waiter, block};
use crate::sched::{SCHED, boot, go};
use goroutines_switch::Class;
use std::any::Any;
use std::cell::UnsafeCell;
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// J2: it has ended.
const DONE: *mut Waiter = std::ptr::without_provenance_mut(1);

/// What a goroutine and its handle share: one allocation, its task in front, its closure behind.
#[repr(C)]
struct Packet<T> {
    task: Task,
    /// Shares in the result: the goroutine's and the handle's.
    shares: AtomicU32,
    result: UnsafeCell<Option<super::Result<T>>>,
    scope: Option<Arc<ScopeData>>,
}

/// A packet with the closure, which the goroutine takes out.
#[repr(C)]
struct Full<F, T> {
    packet: Packet<T>,
    f: UnsafeCell<Option<F>>,
}

/// Wakes the joiner of an ended goroutine, and gives the goroutine's reference back.
///
/// # Safety
/// * The caller has the goroutine's reference.
pub(crate) unsafe fn finish(task: *const Task) {
    let section = current::enter();
    // SAFETY: alive, as we have a reference.
    let joiner: *mut Waiter = unsafe { (*task).joiner.swap(DONE.cast(), Ordering::AcqRel) }.cast();
    if !joiner.is_null() {
        // SAFETY: J2: it waits, and only we wake it.
        unsafe { Waiter::wake(joiner) };
    }
    drop(section);
    // SAFETY: the caller's reference.
    unsafe { Task::release(task) };
}

/// The handle that names a goroutine and unparks it, if somebody has asked for it.
pub(crate) fn thread_if_made(task: &Task) -> Option<Thread> {
    let inner: *mut Inner = task.thread.load(Ordering::Acquire).cast();
    if inner.is_null() {
        return None;
    }
    // SAFETY: an Arc's pointer, of which the task has a reference for as long as it lives.
    unsafe { Arc::increment_strong_count(inner) };
    // SAFETY: the reference just made.
    Some(Thread::ours(unsafe { Arc::from_raw(inner) }))
}

/// The handle that names a goroutine and unparks it.
pub(super) fn thread(task: &Task) -> Thread {
    if let Some(thread) = thread_if_made(task) {
        return thread;
    }
    let new = Arc::into_raw(Arc::new(Inner::of(task.id())));
    let made = task.thread.compare_exchange(
        null_mut(),
        new.cast_mut().cast(),
        Ordering::AcqRel,
        Ordering::Acquire,
    );
    if made.is_err() {
        // SAFETY: ours, and nobody saw it.
        drop(unsafe { Arc::from_raw(new) });
    }
    thread_if_made(task).unwrap_or_else(|| fatal::throw!("a thread handle vanished"))
}

impl<F: FnOnce() -> T, T> Full<F, T> {
    fn boxed(
        f: F,
        class: &'static Class,
        location: &'static Location<'static>,
        thread: Option<Arc<Inner>>,
        scope: Option<Arc<ScopeData>>,
    ) -> *const Self {
        let task = Task::new(class, location, false, Self::run, Self::free);
        if let Some(inner) = thread {
            task.thread.store(Arc::into_raw(inner).cast_mut().cast(), Ordering::Relaxed);
        }
        let (shares, result) = (AtomicU32::new(2), UnsafeCell::new(None));
        let packet = Packet { task, shares, result, scope };
        let full = Self { packet, f: UnsafeCell::new(Some(f)) };
        let size = const { memory::size_for::<Self>() };
        let Some(size) = size else {
            return Box::into_raw(Box::new(full));
        };
        let at = memory::take(size).cast::<Self>();
        // SAFETY: memory for it.
        unsafe { at.write(full) };
        at.as_ptr()
    }

    unsafe fn free(task: *const Task) {
        // SAFETY: called with the task of a Full, its first field, for the last reference.
        let full = unsafe { NonNull::new_unchecked(task.cast_mut().cast::<Self>()) };
        // SAFETY: as above.
        let thread = unsafe { full.as_ref() }.packet.task.thread.load(Ordering::Acquire);
        if !thread.is_null() {
            // SAFETY: the task's own reference.
            drop(unsafe { Arc::from_raw(thread.cast::<Inner>()) });
        }
        // SAFETY: boxed() has made it so.
        unsafe {
            match const { memory::size_for::<Self>() } {
                Some(size) => {
                    full.drop_in_place();
                    memory::give(full.cast(), size);
                }
                None => drop(Box::from_raw(full.as_ptr())),
            }
        }
    }

    /// The goroutine's function: runs the closure and leaves the result.
    unsafe fn run(task: *const Task) {
        let full: *const Self = task.cast();
        // SAFETY: the goroutine's reference keeps it alive; only the goroutine touches the closure,
        // and the result until it gives up its share (J1).
        unsafe {
            let f = (*(*full).f.get()).take();
            let Some(f) = f else { fatal::throw!("a goroutine without a function") };
            let result = catch_unwind(AssertUnwindSafe(f));
            crash_if_wanted(&result);
            *(*full).packet.result.get() = Some(result);
            let scope = (*full).packet.scope.clone();
            Packet::give_up_share(&raw const (*full).packet);
            if let Some(scope) = scope {
                scope.end();
            }
        }
    }
}

impl<T> Packet<T> {
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
    /// Its stack is to be made now, and an error returned.
    pub(crate) at_once: bool,
}

/// The payload of [`goexit`](crate::runtime::goexit)'s unwinding.
#[derive(Debug)]
pub(crate) struct Goexit;

/// A panic anywhere ends the process, as in Go.
pub(crate) static CRASH_ON_PANIC: AtomicBool = AtomicBool::new(false);

/// Starts a goroutine.
///
/// # Errors
/// Where it can't be made: only if `options` asks for a stack at once.
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
    if SCHED.is_forked() {
        return Err(io::Error::other(
            "goroutines: the runtime does not survive fork(); exec, or start goroutines in the parent",
        ));
    }
    let Options { name, stack_bytes, scope, at_once } = options;
    let class = match stack_bytes {
        None => go::default_class(),
        Some(bytes) => Class::of(bytes)?,
    };
    let thread = name.map(|name| Arc::new(Inner::new(Some(name))));
    if let Some(scope) = &scope {
        scope.begin();
    }
    let full = Full::boxed(f, class, location, thread.clone(), scope);
    if let Some(thread) = thread {
        // The id is set before the goroutine runs, and asks for it. SAFETY: new, and ours.
        thread.set_id(go::number(unsafe { &(*full).packet.task }));
    }
    let handle = JoinHandle { packet: full.cast::<Packet<T>>(), thread: OnceLock::new() };
    let task = full.cast::<Task>();
    if at_once || stack_bytes.is_some() {
        // SAFETY: new, in no queue.
        if let Err(e) = unsafe { go::spawn_with_stack(task) } {
            // SAFETY: the goroutine's reference and share, as there is none.
            unsafe {
                drop((*(*full).f.get()).take());
                if let Some(scope) = &(*full).packet.scope {
                    scope.end();
                }
                Packet::give_up_share(handle.packet);
                Task::release(task);
            }
            return Err(e);
        }
    } else {
        // SAFETY: new, in no queue, of the default class.
        unsafe { go::spawn(task) };
    }
    Ok(handle)
}

/// Makes a goroutine that is in no queue yet, and has no handle. The caller, which gets its
/// reference, queues it ([`go::ripe`]) or releases it.
pub(crate) fn prepare<F: FnOnce() + Send + 'static>(
    f: F,
    location: &'static Location<'static>,
) -> *const Task {
    boot::ensure();
    let full = Full::boxed(f, go::default_class(), location, None, None);
    let task = full.cast::<Task>();
    // SAFETY: the handle's share and reference, as there is none.
    unsafe {
        Packet::give_up_share(full.cast::<Packet<()>>());
        Task::release(task);
    }
    task
}

/// Ends the process if `result` is a panic and Go's way with it is wanted.
pub(crate) fn crash_if_wanted<T>(result: &super::Result<T>) {
    if let Err(payload) = result
        && !payload.is::<Goexit>()
        && CRASH_ON_PANIC.load(Ordering::Relaxed)
    {
        crash(&**payload);
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

impl<T> std::panic::UnwindSafe for JoinHandle<T> {}
impl<T> std::panic::RefUnwindSafe for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    fn task(&self) -> &Task {
        // SAFETY: the handle has a reference.
        unsafe { &(*self.packet).task }
    }

    /// Waits for the goroutine to end, and returns what its closure returned, or the payload of its
    /// panic.
    ///
    /// Blocks the calling goroutine (or ordinary thread). Its `thread_local!`s have been destroyed
    /// when this returns, and all that it did happens before.
    ///
    /// # Errors
    /// The panic's payload. A goroutine that ended by [`runtime::goexit`](crate::runtime::goexit)
    /// has a payload of no public type.
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
            let at = std::ptr::from_ref(waiter).cast_mut().cast();
            let joiner = &self.task().joiner;
            // Release: the waiter; Acquire: pairs with finish().
            joiner.compare_exchange(null_mut(), at, Ordering::AcqRel, Ordering::Acquire).is_ok()
        });
    }

    /// Whether the goroutine has ended, so that [`join`](Self::join) would not block.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        std::ptr::eq(self.task().joiner.load(Ordering::Acquire), DONE.cast())
    }

    /// The goroutine's handle: its id, its name, and [`unpark`](Thread::unpark).
    #[must_use]
    pub fn thread(&self) -> &Thread {
        self.thread.get_or_init(|| thread(self.task()))
    }

    /// The goroutine's number, as dumps show it.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.task().id()
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        // SAFETY: the handle's share and reference.
        unsafe {
            Packet::give_up_share(self.packet);
            Task::release(self.packet.cast());
        }
    }
}

impl<T> std::fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JoinHandle").field("id", &self.id()).finish_non_exhaustive()
    }
}
