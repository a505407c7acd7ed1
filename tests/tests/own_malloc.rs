//! A program that brings its own `malloc`, with a lock in it: libc allocates from it too, when it makes a thread. The
//! goroutine with the lock may be one that was descheduled.

use goroutines::{go, runtime};
use goroutines_tests::io::ms;
use goroutines_tests::proc::in_child;
use goroutines_tests::raw;
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::hint::{black_box, spin_loop};
use std::io::pipe;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;

unsafe extern "C" {
    fn __libc_malloc(bytes: usize) -> *mut c_void;
    fn __libc_free(at: *mut c_void);
    fn __libc_calloc(count: usize, bytes: usize) -> *mut c_void;
    fn __libc_realloc(at: *mut c_void, bytes: usize) -> *mut c_void;
    fn __libc_memalign(align: usize, bytes: usize) -> *mut c_void;
}

struct Mutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: that is what it is for.
unsafe impl Sync for Mutex {}

static MUTEX: Mutex = Mutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER));

/// For how many turns of a loop the lock is held.
static TURNS: AtomicU32 = AtomicU32::new(0);

fn locked<R>(f: impl FnOnce() -> R) -> R {
    if goroutines::__may_not_allocate() {
        const TEXT: &[u8] = b"a helper thread of the runtime is in the program's malloc\n";
        // SAFETY: bytes to read.
        unsafe { libc::write(2, TEXT.as_ptr().cast(), TEXT.len()) };
        std::process::abort();
    }
    // SAFETY: a mutex that is never gone.
    unsafe { libc::pthread_mutex_lock(MUTEX.0.get()) };
    (0..TURNS.load(Ordering::Relaxed)).for_each(|_| spin_loop());
    let result = f();
    // SAFETY: as above.
    unsafe { libc::pthread_mutex_unlock(MUTEX.0.get()) };
    result
}

#[unsafe(no_mangle)]
unsafe extern "C" fn malloc(bytes: usize) -> *mut c_void {
    // SAFETY: the caller's.
    locked(|| unsafe { __libc_malloc(bytes) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn free(at: *mut c_void) {
    // SAFETY: the caller's.
    locked(|| unsafe { __libc_free(at) });
}

#[unsafe(no_mangle)]
unsafe extern "C" fn calloc(count: usize, bytes: usize) -> *mut c_void {
    // SAFETY: the caller's.
    locked(|| unsafe { __libc_calloc(count, bytes) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn realloc(at: *mut c_void, bytes: usize) -> *mut c_void {
    // SAFETY: the caller's.
    locked(|| unsafe { __libc_realloc(at, bytes) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memalign(align: usize, bytes: usize) -> *mut c_void {
    // SAFETY: the caller's.
    locked(|| unsafe { __libc_memalign(align, bytes) })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn aligned_alloc(align: usize, bytes: usize) -> *mut c_void {
    // SAFETY: the caller's.
    unsafe { memalign(align, bytes) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(to: *mut *mut c_void, align: usize, bytes: usize) -> i32 {
    // SAFETY: the caller's.
    unsafe { *to = memalign(align, bytes) };
    0
}

/// Blocks its thread until something can be read, and does not announce that.
fn blocks_in(fd: i32) {
    let mut byte = 0u8;
    let args = [fd as usize, &raw mut byte as usize, 1, 0, 0, 0];
    // SAFETY: a byte to write.
    unsafe { raw::call(libc::SYS_read, args) };
}

/// Goroutines that block their threads, singly and several at once, beside others that allocate all the time.
#[test]
fn threads_are_made_beside_its_lock() {
    for procs in ["1", "2"] {
        let child = in_child("threads_are_made_beside_its_lock", &[("GOMAXPROCS", procs)], || {
            let (never, _open) = pipe().unwrap();
            let fd = never.as_raw_fd();
            goroutines::run(|| {
                TURNS.store(2_000, Ordering::Relaxed);
                for _ in 0..3 {
                    drop(go(|| {
                        loop {
                            drop(black_box(Box::new(1u64)));
                        }
                    }));
                }
                for i in 0..60 {
                    sleep(ms(20));
                    let at_once = if i % 10 == 9 { 4 } else { 1 };
                    (0..at_once).for_each(|_| drop(go(move || blocks_in(fd))));
                }
                for _ in 0..20 {
                    let waits = || runtime::blocking(|| raw::sleep(ms(5)));
                    let some: Vec<_> = (0..3).map(|_| go(waits)).collect();
                    some.into_iter().for_each(|one| one.join().unwrap());
                }
                println!("all ended");
                std::process::exit(0);
            });
        });
        child.expect_clean();
        assert!(child.text().contains("all ended"), "{child}");
    }
}
