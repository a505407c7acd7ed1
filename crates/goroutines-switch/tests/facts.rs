//! What is found out about the C library.

use goroutines_switch::thread_pointer::init;

#[test]
fn libc_and_loader_are_recognised() {
    let facts = init(false).expect("a glibc that is supported");
    for name in [c"getpid", c"malloc", c"mprotect", c"write", c"_dl_allocate_tls"] {
        // SAFETY: a NUL-terminated name.
        let at = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) } as usize;
        assert!(facts.in_libc(at), "{name:?} at {at:#x} is in libc: {facts:?}");
    }
    assert!(!facts.in_libc(libc_and_loader_are_recognised as *const () as usize));
}
