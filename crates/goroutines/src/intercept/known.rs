//! How libc's objects that are shared between processes (or go by another clock) are told from
//! plain ones: by making some, and looking where they differ. So no layout is guessed.

use super::barrier::Words;
use super::real::{Real, real};
use goroutines_switch::thread_pointer::facts;
use libc::{c_int, clockid_t, pthread_cond_t, pthread_rwlock_t, sem_t};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// A bit that libc sets in objects of one kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flag {
    at: usize,
    mask: u8,
}

impl Flag {
    /// The bits in which two objects of `bytes` differ.
    ///
    /// # Safety
    /// * Both are initialised, and that large.
    unsafe fn between(plain: *const u8, marked: *const u8, bytes: usize) -> Option<Self> {
        (0..bytes).find_map(|at| {
            // SAFETY: both are initialised objects of that size.
            let mask = unsafe { plain.add(at).read() ^ marked.add(at).read() };
            (mask != 0).then_some(Self { at, mask })
        })
    }

    /// Whether the object at `address` differs from a plain one in them.
    ///
    /// # Safety
    /// * An object of that kind lives there.
    pub(super) unsafe fn is_set(flag: Option<Self>, address: usize, plain: u8) -> bool {
        // SAFETY: the user's object.
        flag.is_some_and(|f| unsafe { *((address + f.at) as *const u8) } & f.mask != plain & f.mask)
    }
}

/// What is known of libc's objects.
pub(super) struct Known {
    pub(super) cond_shared: Option<Flag>,
    pub(super) cond_monotonic: Option<Flag>,
    pub(super) rwlock_shared: Option<Flag>,
    pub(super) rwlock_prefers_writers: Option<Flag>,
    /// Where a lock notes the thread that has it for writing.
    pub(super) rwlock_writer_at: Option<usize>,
    pub(super) sem_shared: Option<(Flag, u8)>,
    /// Whether libc's barriers are as `barrier.rs` knows them.
    pub(super) barriers_are_words: bool,
}

/// It.
pub(super) fn known() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(find_known)
}

unsafe extern "C" {
    fn pthread_rwlockattr_setkind_np(attr: *mut libc::pthread_rwlockattr_t, kind: c_int) -> c_int;
}

/// `PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP`.
const PREFER_WRITER_NONRECURSIVE: c_int = 2;

/// Where `lock`, once it is locked for writing, bears the caller's thread id.
fn writer_at(mut lock: MaybeUninit<pthread_rwlock_t>) -> Option<usize> {
    static TRYWRLOCK: Real = Real::new(c"pthread_rwlock_trywrlock");
    // SAFETY: an initialised lock, which no other code knows; the caller's own thread block; words
    // of the lock.
    unsafe {
        real!(TRYWRLOCK as fn(*mut pthread_rwlock_t) -> c_int)(lock.as_mut_ptr());
        let id = facts().tid_of(libc::pthread_self() as usize);
        let words = lock.as_ptr().cast::<i32>();
        (0..size_of::<pthread_rwlock_t>() / 4).find(|i| words.add(*i).read() == id).map(|i| i * 4)
    }
}

fn find_known() -> Known {
    const SHARED: c_int = libc::PTHREAD_PROCESS_SHARED;
    /// An object made by `make`, over zeroes.
    fn made<T>(make: impl FnOnce(*mut T)) -> MaybeUninit<T> {
        let mut object = MaybeUninit::<T>::zeroed();
        make(object.as_mut_ptr());
        object
    }
    let cond = |shared: bool, clock: clockid_t| {
        made::<pthread_cond_t>(|object| {
            // SAFETY: attributes initialised before use, an object to initialise.
            unsafe {
                let mut attr = std::mem::zeroed();
                libc::pthread_condattr_init(&raw mut attr);
                if shared {
                    libc::pthread_condattr_setpshared(&raw mut attr, SHARED);
                }
                libc::pthread_condattr_setclock(&raw mut attr, clock);
                libc::pthread_cond_init(object, &raw const attr);
            }
        })
    };
    let rwlock = |shared: bool, kind: c_int| {
        made::<pthread_rwlock_t>(|object| {
            // SAFETY: as above.
            unsafe {
                let mut attr = std::mem::zeroed();
                libc::pthread_rwlockattr_init(&raw mut attr);
                if shared {
                    libc::pthread_rwlockattr_setpshared(&raw mut attr, SHARED);
                }
                pthread_rwlockattr_setkind_np(&raw mut attr, kind);
                libc::pthread_rwlock_init(object, &raw const attr);
            }
        })
    };
    let sem = |shared: c_int| {
        made::<sem_t>(|object| {
            // SAFETY: an object to initialise.
            unsafe { libc::sem_init(object, shared, 0) };
        })
    };
    fn differ<T>(plain: &MaybeUninit<T>, marked: &MaybeUninit<T>) -> Option<Flag> {
        // SAFETY: both made over zeroes.
        unsafe { Flag::between(plain.as_ptr().cast(), marked.as_ptr().cast(), size_of::<T>()) }
    }
    let plain = cond(false, libc::CLOCK_REALTIME);
    let sem_plain = sem(0);
    Known {
        cond_shared: differ(&plain, &cond(true, libc::CLOCK_REALTIME)),
        cond_monotonic: differ(&plain, &cond(false, libc::CLOCK_MONOTONIC)),
        rwlock_shared: differ(&rwlock(false, 0), &rwlock(true, 0)),
        rwlock_prefers_writers: differ(
            &rwlock(false, 0),
            &rwlock(false, PREFER_WRITER_NONRECURSIVE),
        ),
        barriers_are_words: Words::are_libc_s(),
        rwlock_writer_at: writer_at(rwlock(false, 0)),
        // SAFETY: within the object.
        sem_shared: differ(&sem_plain, &sem(1))
            .map(|flag| (flag, unsafe { sem_plain.as_ptr().cast::<u8>().add(flag.at).read() })),
    }
}
