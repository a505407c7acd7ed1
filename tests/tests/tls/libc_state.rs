//! What libc keeps per thread.

use goroutines::go;
use goroutines::thread::{self, yield_now};
use goroutines_tests::proc::STACK_BYTES;
use goroutines_tests::{join_all, on_procs, work};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

fn set_errno(n: i32) {
    // SAFETY: this thread's errno.
    unsafe { *libc::__errno_location() = n };
}

fn errno() -> i32 {
    // SAFETY: this thread's errno.
    unsafe { *libc::__errno_location() }
}

#[test]
fn errno_survives_yields_and_preemption() {
    on_procs("errno_survives_yields_and_preemption", |_| {
        join_all((1..=32).map(|id| {
            go(move || {
                for round in 0..40 {
                    set_errno(id * 100 + round);
                    yield_now();
                    assert_eq!(errno(), id * 100 + round, "after a yield");
                    // Long enough to be preempted in; nothing here sets errno.
                    let mut sum = 0u64;
                    for i in 0..20_000 {
                        sum = std::hint::black_box(sum + i);
                    }
                    assert_eq!(errno(), id * 100 + round, "after a while");
                    // SAFETY: no such descriptor.
                    unsafe { libc::close(-1) };
                    yield_now();
                    assert_eq!(errno(), libc::EBADF);
                }
            })
        }));
    });
}

/// More than the 32 that glibc keeps in the thread block itself.
const KEYS: usize = 40;

static ENDED: AtomicU32 = AtomicU32::new(0);

/// Lets others run, and sets its own key once more the first time, as POSIX allows.
extern "C" fn end(value: *mut c_void) {
    let value = value as usize;
    if ENDED.fetch_add(1, Ordering::Relaxed).is_multiple_of(10) {
        yield_now();
    }
    if value >= 1000 {
        let key = keys()[value % 1000];
        // SAFETY: one of our keys.
        unsafe { libc::pthread_setspecific(key, (value % 1000 + 1) as *const c_void) };
    }
}

fn keys() -> &'static [libc::pthread_key_t; KEYS] {
    static ALL: OnceLock<[libc::pthread_key_t; KEYS]> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut keys = [0; KEYS];
        for key in &mut keys {
            // SAFETY: a key to write, a destructor of the right type.
            let error = unsafe { libc::pthread_key_create(key, Some(end)) };
            assert_eq!(error, 0, "pthread_key_create");
        }
        keys
    })
}

#[test]
fn pthread_keys_are_the_goroutines_and_their_destructors_run() {
    // SAFETY: one of our keys.
    let get = |key| unsafe { libc::pthread_getspecific(key) } as usize;
    let body = move |id: usize| {
        move || {
            assert!(keys().iter().all(|key| get(*key) == 0), "left by another goroutine");
            for (i, key) in keys().iter().enumerate() {
                // Every second goroutine's are set again by their destructors.
                let value = if id.is_multiple_of(2) { 1000 + i } else { i + 1 };
                // SAFETY: one of our keys.
                unsafe { libc::pthread_setspecific(*key, value as *const c_void) };
            }
            yield_now();
            work(1);
            let wanted = if id.is_multiple_of(2) { 1000 } else { 1 };
            assert!(keys().iter().enumerate().all(|(i, key)| get(*key) == wanted + i));
        }
    };
    on_procs("pthread_keys_are_the_goroutines_and_their_destructors_run", |_| {
        for round in 0..5 {
            let before = ENDED.load(Ordering::Relaxed);
            join_all((0..20).map(|id| go(body(id))));
            let ended = ENDED.load(Ordering::Relaxed) - before;
            assert_eq!(ended, (20 * KEYS + 10 * KEYS) as u32, "destructors run in round {round}");
        }
    });
}

/// What `stacker` and std's own guard-page code ask.
#[test]
fn pthread_getattr_np_knows_the_goroutines_stack() {
    fn contains_here(least_bytes: usize) {
        let mut attr = MaybeUninit::uninit();
        let (mut start, mut bytes) = (null_mut(), 0);
        // SAFETY: the attribute is initialised by the first call and destroyed by the last.
        unsafe {
            assert_eq!(libc::pthread_getattr_np(libc::pthread_self(), attr.as_mut_ptr()), 0);
            assert_eq!(
                libc::pthread_attr_getstack(attr.as_ptr(), &raw mut start, &raw mut bytes),
                0
            );
            libc::pthread_attr_destroy(attr.as_mut_ptr());
        }
        let here = &raw const start as usize;
        let range = start as usize..start as usize + bytes;
        assert!(range.contains(&here), "{here:x} is not in {range:x?}");
        assert!(bytes >= least_bytes && bytes < 3 * least_bytes, "{bytes} of {least_bytes}");
        // The lowest bytes can be used: they are not the guard.
        // SAFETY: inside the stack, far below what is in use.
        unsafe { start.cast::<u8>().write_volatile(1) };
    }
    on_procs("pthread_getattr_np_knows_the_goroutines_stack", |_| {
        // As with glibc's threads, the thread-locals (20 KB of them in this program) are part of it.
        let tls_bytes = 40 << 10;
        contains_here((8 << 20) - tls_bytes); // main's
        join_all((0..8).map(|_| go(move || contains_here(STACK_BYTES - tls_bytes))));
        let big = thread::Builder::new().stack_size(2 << 20);
        big.spawn(move || contains_here((2 << 20) - tls_bytes)).unwrap().join().unwrap();
        // An ordinary thread's is still its own.
        std::thread::spawn(|| contains_here(1 << 20)).join().unwrap();
    });
}

#[test]
fn a_locale_does_not_leak_to_the_next_goroutine() {
    // SAFETY: 0 asks for the locale in use.
    let locale_in_use = || unsafe { libc::uselocale(null_mut()) } as isize;
    on_procs("a_locale_does_not_leak_to_the_next_goroutine", |_| {
        // SAFETY: a name that every glibc has.
        let c = unsafe { libc::newlocale(libc::LC_ALL_MASK, c"C".as_ptr(), null_mut()) } as usize;
        assert_ne!(c, 0, "newlocale");
        let body = move |sets: bool| {
            move || {
                assert_eq!(locale_in_use(), -1, "LC_GLOBAL_LOCALE at first");
                if sets {
                    // SAFETY: our locale, which is never freed.
                    unsafe { libc::uselocale(c as libc::locale_t) };
                }
                for _ in 0..10 {
                    yield_now();
                    let wanted = if sets { c as isize } else { -1 };
                    assert_eq!(locale_in_use(), wanted);
                    // SAFETY: the tables behind isalpha are the thread's locale's.
                    assert_ne!(unsafe { libc::isalpha(i32::from(b'g')) }, 0);
                }
            }
        };
        for _ in 0..4 {
            join_all((0..20).map(|i| go(body(i % 2 == 0))));
        }
        assert_eq!(locale_in_use(), -1);
    });
}

/// A new goroutine's errno, locale tables and the like are those of a new thread.
#[test]
fn libc_is_as_in_a_new_thread() {
    on_procs("libc_is_as_in_a_new_thread", |_| {
        for _ in 0..50 {
            go(|| {
                assert_eq!(errno(), 0);
                set_errno(77);
                // SAFETY: plain calls of libc.
                unsafe {
                    assert_eq!(libc::toupper(i32::from(b'g')), i32::from(b'G'));
                    assert_eq!(libc::strtol(c"0x10".as_ptr(), null_mut(), 16), 16);
                }
                let (a, b) = (std::hint::black_box(0.1f64), std::hint::black_box(0.2f64));
                assert_eq!((a + b).to_string(), "0.30000000000000004", "rounding mode");
            })
            .join()
            .unwrap();
        }
    });
}
