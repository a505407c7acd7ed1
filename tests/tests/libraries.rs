//! Libraries that are loaded while goroutines run, and use thread-locals of the initial-exec model.

use goroutines::{go, runtime};
use goroutines_tests::proc::in_child;
use std::ffi::{CStr, c_int, c_void};

/// GCC's OpenMP library: its settings are a thread-local of that model.
const LIBRARY: &CStr = c"libgomp.so.1";

fn load() -> *mut c_void {
    // SAFETY: a NUL-terminated name; the library's constructors are harmless.
    unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW) }
}

/// Whether this machine has it; says so where not.
fn have_it() -> bool {
    let have = !load().is_null();
    if !have {
        println!("{LIBRARY:?} is not installed: not tested");
    }
    have
}

/// The library's own way to set and to read a thread-local.
fn threads_setting(handle: *mut c_void) -> (extern "C" fn(c_int), extern "C" fn() -> c_int) {
    // SAFETY: functions of <omp.h> with these signatures.
    unsafe {
        let set = libc::dlsym(handle, c"omp_set_num_threads".as_ptr());
        let get = libc::dlsym(handle, c"omp_get_max_threads".as_ptr());
        assert!(!set.is_null() && !get.is_null());
        (
            std::mem::transmute::<*mut c_void, extern "C" fn(c_int)>(set),
            std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(get),
        )
    }
}

/// Without room it would overwrite stack frames: refused, with what to do.
#[test]
fn a_late_library_without_room_is_refused() {
    let name = "a_late_library_without_room_is_refused";
    let child = in_child(name, &[], || {
        goroutines::run(|| {
            load();
            println!("loaded");
        });
    });
    if have_it() {
        child.expect_status(2);
        child.expect_stderr("Builder::keep_dlopen_surplus(true)");
        child.expect_stderr("fatal error: no room for a library's thread-local storage\n");
        assert!(!child.text().contains("loaded\n"), "{child}");
    }
}

/// With room, each goroutine has its own, also one whose carrier was there before, and one whose carrier
/// is used again.
#[test]
fn a_late_library_with_room_has_thread_locals_in_each_goroutine() {
    let name = "a_late_library_with_room_has_thread_locals_in_each_goroutine";
    let child = in_child(name, &[], || {
        runtime::Builder::new().keep_dlopen_surplus(true).gomaxprocs(2).run(|| {
            let before: Vec<_> = (0..50).map(|_| go(runtime::gosched)).collect();
            before.into_iter().for_each(|handle| handle.join().unwrap());
            let handle = load();
            if handle.is_null() {
                return;
            }
            let (set, get) = threads_setting(handle);
            let usual = get();
            for round in 0..3 {
                let all: Vec<_> = (0..200)
                    .map(|i| {
                        go(move || {
                            assert_eq!(get(), usual, "of the goroutine before, round {round}");
                            set(usual + 1 + i);
                            runtime::gosched();
                            assert_eq!(get(), usual + 1 + i, "of another goroutine");
                        })
                    })
                    .collect();
                all.into_iter().for_each(|handle| handle.join().unwrap());
            }
            assert_eq!(get(), usual);
        });
    });
    child.expect_clean();
}
