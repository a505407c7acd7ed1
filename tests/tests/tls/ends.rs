//! What a goroutine leaves behind in libc is not the next one's.

use goroutines::go;
use goroutines::thread::{self, yield_now};
use goroutines_tests::{join_all, on_procs};
use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

unsafe extern "C" {
    fn __h_errno_location() -> *mut c_int;
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    fn pthread_setcanceltype(kind: c_int, old: *mut c_int) -> c_int;
}

fn make_key(end: extern "C" fn(*mut c_void)) -> libc::pthread_key_t {
    let mut key = 0;
    // SAFETY: a key to write, a destructor of the right type.
    assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(end)) }, 0);
    key
}

fn value(key: libc::pthread_key_t) -> usize {
    // SAFETY: a key of ours.
    unsafe { libc::pthread_getspecific(key) as usize }
}

fn set(key: libc::pthread_key_t, value: usize) {
    // SAFETY: a key of ours; values are numbers.
    assert_eq!(unsafe { libc::pthread_setspecific(key, value as *const c_void) }, 0);
}

static KEPT: OnceLock<[libc::pthread_key_t; 40]> = OnceLock::new();
static KEPT_ENDS: AtomicUsize = AtomicUsize::new(0);

/// Sets its key again, each time.
extern "C" fn keep(value: *mut c_void) {
    KEPT_ENDS.fetch_add(1, Ordering::Relaxed);
    let key = KEPT.get().expect("made before")[value as usize - 1];
    set(key, value as usize);
}

/// After four rounds of destructors values are dropped.
#[test]
fn values_that_keys_keep() {
    let keys = KEPT.get_or_init(|| std::array::from_fn(|_| make_key(keep)));
    on_procs("values_that_keys_keep", move |_| {
        for _ in 0..20 {
            let before = KEPT_ENDS.load(Ordering::Relaxed);
            go(move || {
                for (i, key) in keys.iter().enumerate() {
                    assert_eq!(value(*key), 0, "the goroutine's before");
                    set(*key, i + 1);
                }
            })
            .join()
            .unwrap();
            assert_eq!(KEPT_ENDS.load(Ordering::Relaxed) - before, 4 * keys.len());
        }
    });
}

/// Counts its destruction, if it was made.
struct Counted(Cell<Option<&'static AtomicU32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(dropped) = self.0.get() {
            yield_now();
            dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

thread_local! {
    static LATE: Counted = const { Counted(Cell::new(None)) };
}

static LATE_KEY: OnceLock<libc::pthread_key_t> = OnceLock::new();
static DROPPED: AtomicU32 = AtomicU32::new(0);

/// Uses a thread-local that has a destructor, for the first time.
extern "C" fn touch_late(_: *mut c_void) {
    let _ = LATE.try_with(|late| late.0.set(Some(&DROPPED)));
}

/// A thread-local that a key's destructor uses first: its own destructor runs once, and not at the end of
/// the next goroutine.
#[test]
fn late_destructors() {
    let key = *LATE_KEY.get_or_init(|| make_key(touch_late));
    on_procs("late_destructors", move |_| {
        for _ in 0..20 {
            let before = DROPPED.load(Ordering::Relaxed);
            go(move || set(key, 1)).join().unwrap();
            let after_first = DROPPED.load(Ordering::Relaxed) - before;
            assert!(after_first <= 1, "{after_first} times");
            go(|| touch_late(null_mut())).join().unwrap();
            let after_both = DROPPED.load(Ordering::Relaxed) - before;
            assert_eq!(after_both, after_first + 1, "made by a thread-local's own goroutine");
        }
    });
}

/// `dlerror` and `h_errno`.
#[test]
fn errors_of_the_ended() {
    on_procs("errors_of_the_ended", |_| {
        for seen in [false, true].repeat(10) {
            go(move || {
                // SAFETY: plain calls of libc, and this thread's h_errno.
                unsafe {
                    let text = libc::dlerror();
                    assert!(text.is_null(), "of another: {:?}", CStr::from_ptr(text));
                    assert_eq!(*__h_errno_location(), 0, "of another");
                    assert!(libc::dlopen(c"/no/such/library".as_ptr(), libc::RTLD_NOW).is_null());
                    *__h_errno_location() = 3;
                    assert!(!seen || !libc::dlerror().is_null());
                }
            })
            .join()
            .unwrap();
        }
    });
}

#[test]
fn cancellation_settings() {
    on_procs("cancellation_settings", |_| {
        for _ in 0..20 {
            go(|| {
                let (mut state, mut kind) = (-1, -1);
                // SAFETY: the old settings to write. This goroutine is not cancelled.
                unsafe {
                    assert_eq!(pthread_setcancelstate(1, &raw mut state), 0);
                    assert_eq!(pthread_setcanceltype(1, &raw mut kind), 0);
                }
                assert_eq!((state, kind), (0, 0), "another goroutine's");
            })
            .join()
            .unwrap();
        }
    });
}

/// A robust mutex of the process's; never freed.
fn robust_mutex() -> &'static libc::pthread_mutex_t {
    // SAFETY: attributes and a mutex, initialised before use.
    unsafe {
        let mut attr: libc::pthread_mutexattr_t = std::mem::zeroed();
        assert_eq!(libc::pthread_mutexattr_init(&raw mut attr), 0);
        assert_eq!(libc::pthread_mutexattr_setrobust(&raw mut attr, libc::PTHREAD_MUTEX_ROBUST), 0);
        let mutex: &'static mut libc::pthread_mutex_t = Box::leak(Box::new(std::mem::zeroed()));
        assert_eq!(libc::pthread_mutex_init(mutex, &raw const attr), 0);
        mutex
    }
}

/// The goroutine that holds them ends: the next owner of each is told, even one that waits already.
#[test]
fn robust_mutexes_of_the_ended() {
    struct Mutex(*mut libc::pthread_mutex_t);
    // SAFETY: a mutex is there to be shared.
    unsafe impl Send for Mutex {}
    // SAFETY: as above.
    unsafe impl Sync for Mutex {}
    impl Mutex {
        fn lock(&self) -> c_int {
            // SAFETY: an initialised mutex.
            unsafe { libc::pthread_mutex_lock(self.0) }
        }
    }
    on_procs("robust_mutexes_of_the_ended", |_| {
        let all: &'static [Mutex] = Vec::leak(
            (0..3).map(|_| Mutex(std::ptr::from_ref(robust_mutex()).cast_mut())).collect(),
        );
        let locked = goroutines::WaitGroup::new();
        locked.add(1);
        let holder = {
            let locked = locked.clone();
            go(move || {
                assert!(all.iter().all(|mutex| mutex.lock() == 0));
                locked.done();
                thread::sleep(std::time::Duration::from_millis(30));
            })
        };
        locked.wait();
        let waiter = std::thread::spawn(|| all[0].lock());
        holder.join().unwrap();
        assert_eq!(waiter.join().unwrap(), libc::EOWNERDEAD, "a waiter");
        assert_eq!(go(|| all[1].lock()).join().unwrap(), libc::EOWNERDEAD, "on a goroutine");
        // That goroutine has ended with the mutex, and has not made it consistent.
        assert_eq!(all[1].lock(), libc::EOWNERDEAD, "the next");
    });
}

/// libc takes up to a quarter of a small stack at once, and no more.
#[test]
fn libc_knows_how_large_the_stack_is() {
    let long = std::ffi::CString::new(vec![b'x'; 60_000]).unwrap();
    on_procs("libc_knows_how_large_the_stack_is", |_| {
        let long = long.clone();
        let set = move || {
            // SAFETY: NUL-terminated; no other thread asks for the environment.
            unsafe { libc::setenv(c"GOROUTINES_TEST_LONG".as_ptr(), long.as_ptr(), 1) }
        };
        let small = thread::Builder::new().stack_size(64 << 10);
        assert_eq!(small.spawn(set).unwrap().join().unwrap(), 0);
    });
}

/// Not registered with the kernel: libc asks it for the CPU each time.
#[test]
fn goroutines_know_their_cpu() {
    on_procs("goroutines_know_their_cpu", |_| {
        join_all((0..20).map(|_| {
            go(|| {
                for _ in 0..100 {
                    // SAFETY: no arguments.
                    let cpu = unsafe { libc::sched_getcpu() };
                    assert!(cpu >= 0 && (cpu as usize) < 1 << 16, "{cpu}");
                    yield_now();
                }
            })
        }));
    });
}

/// Texts that libc keeps a place for in each thread.
#[test]
fn texts_of_numbers() {
    on_procs("texts_of_numbers", |_| {
        join_all((0..20).map(|i| {
            go(move || {
                let number = 1000 + i;
                // SAFETY: the text is this thread's until its next call.
                let text = unsafe { CStr::from_ptr(libc::strsignal(number)) };
                yield_now();
                assert_eq!(text.to_str().unwrap(), format!("Unknown signal {number}"));
            })
        }));
    });
}
