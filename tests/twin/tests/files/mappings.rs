//! Memory of files: `mmap`, `msync`, protection, shared memory of POSIX and System V.

use goroutines_twin_tests::{Row, Trace, code, make, ms, ret, rows, say};
use std::ptr::null_mut;

const PAGE: usize = 4096;
const RW: i32 = libc::PROT_READ | libc::PROT_WRITE;

pub(crate) fn rows() -> Vec<Row> {
    rows![
        shared_and_private,
        beyond_the_file,
        protected,
        synchronised,
        advised,
        locked,
        shared_with_children,
        posix_shared_memory,
        system_v_shared_memory,
        fault_in_a_mapping,
        bus_error_beyond_the_end,
        into_mappings
    ]
}

fn map(fd: i32, flags: i32) -> *mut u8 {
    let at = unsafe { libc::mmap(null_mut(), PAGE, RW, flags, fd, 0) };
    assert_ne!(at, libc::MAP_FAILED, "a mapping");
    at.cast()
}

fn shared_and_private(t: &Trace) {
    let fd = make::file(b"hello");
    let (shared, private) = (map(fd, libc::MAP_SHARED), map(fd, libc::MAP_PRIVATE));
    unsafe {
        shared.write(b'H');
        private.add(1).write(b'E');
        let mut b = [0u8; 5];
        libc::pread(fd, b.as_mut_ptr().cast(), 5, 0);
        t.says("the file", say::bytes(&b));
        t.says("private", say::bytes(std::slice::from_raw_parts(private, 5)));
        t.says("unmap", ret(libc::munmap(shared.cast(), PAGE)));
        t.says("unmap", ret(libc::munmap(private.cast(), PAGE)));
        t.says("unmap at 1", ret(libc::munmap(std::ptr::without_provenance_mut(1), PAGE)));
        t.says("unmap of none", ret(libc::munmap(shared.cast(), 0)));
        libc::close(fd);
    }
}

fn beyond_the_file(t: &Trace) {
    let fd = make::file(b"hello");
    let map = |len, prot, flags, fd, at| {
        let at = unsafe { libc::mmap(null_mut(), len, prot, flags, fd, at) };
        ret(at.addr() as isize)
            .to_string()
            .split(' ')
            .next_back()
            .unwrap_or_default()
            .starts_with('E')
            && at == libc::MAP_FAILED
    };
    t.says("of none", map(0, RW, libc::MAP_SHARED, fd, 0));
    t.says("at an odd place", map(PAGE, RW, libc::MAP_SHARED, fd, 5));
    t.says("no kind", map(PAGE, RW, 0, fd, 0));
    t.says("too large", map(usize::MAX / 2, RW, libc::MAP_SHARED, fd, 0));
    t.says("of nothing", map(PAGE, RW, libc::MAP_SHARED, -1, 0));
    t.says("of a pipe", map(PAGE, RW, libc::MAP_SHARED, make::pipe().0, 0));
    unsafe { libc::close_range(fd as u32, fd as u32 + 2, 0) };
}

fn protected(t: &Trace) {
    let fd = make::file(b"hello");
    let at = map(fd, libc::MAP_SHARED);
    unsafe {
        t.says("read only", ret(libc::mprotect(at.cast(), PAGE, libc::PROT_READ)));
        t.says("read into it", ret(libc::pread(fd, at.cast(), 3, 0)));
        t.says("write from it", ret(libc::pwrite(fd, at.cast(), 3, 10)));
        t.says("nothing", ret(libc::mprotect(at.cast(), PAGE, libc::PROT_NONE)));
        t.says("write from it", ret(libc::pwrite(fd, at.cast(), 3, 10)));
        t.says("at 1", ret(libc::mprotect(at.add(1).cast(), PAGE, RW)));
        libc::munmap(at.cast(), PAGE);
        t.says("of what is gone", ret(libc::mprotect(at.cast(), PAGE, RW)));
        libc::close(fd);
    }
}

fn synchronised(t: &Trace) {
    let fd = make::file(b"hello");
    let at = map(fd, libc::MAP_SHARED);
    unsafe {
        at.write(b'x');
        for flags in [libc::MS_SYNC, libc::MS_ASYNC, libc::MS_SYNC | libc::MS_ASYNC, 0, 1 << 10] {
            t.says(&format!("msync {flags}"), ret(libc::msync(at.cast(), PAGE, flags)));
        }
        t.says("at 1", ret(libc::msync(at.add(1).cast(), PAGE, libc::MS_SYNC)));
        libc::munmap(at.cast(), PAGE);
        t.says("of what is gone", ret(libc::msync(at.cast(), PAGE, libc::MS_SYNC)));
        libc::close(fd);
    }
}

fn advised(t: &Trace) {
    let at = map(-1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    unsafe {
        at.write(7);
        t.says("drop", ret(libc::madvise(at.cast(), PAGE, libc::MADV_DONTNEED)));
        t.says("is", at.read());
        t.says("unknown", ret(libc::madvise(at.cast(), PAGE, 9999)));
        t.says("at 1", ret(libc::madvise(at.add(1).cast(), PAGE, libc::MADV_DONTNEED)));
        let mut resident = 0u8;
        t.says("mincore", ret(libc::mincore(at.cast(), PAGE, &raw mut resident)));
        t.says("bad mincore", ret(libc::mincore(at.cast(), PAGE, make::bad())));
        libc::munmap(at.cast(), PAGE);
    }
}

fn locked(t: &Trace) {
    let at = map(-1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    unsafe {
        t.says("mlock", ret(libc::mlock(at.cast(), PAGE)));
        t.says("munlock", ret(libc::munlock(at.cast(), PAGE)));
        libc::munmap(at.cast(), PAGE);
        t.says("mlock of nothing", ret(libc::mlock(at.cast(), PAGE)));
    }
}

fn shared_with_children(t: &Trace) {
    let at = map(-1, libc::MAP_SHARED | libc::MAP_ANONYMOUS).addr();
    let private = map(-1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS).addr();
    let byte = |at: usize| std::ptr::with_exposed_provenance_mut::<u8>(at);
    let child = make::child(|| {
        unsafe { (byte(at).write(5), byte(private).write(6)) };
        0
    });
    t.says("child", make::end_of(child));
    t.says("shared, private", unsafe { format!("{} {}", byte(at).read(), byte(private).read()) });
}

fn posix_shared_memory(t: &Trace) {
    let name = std::ffi::CString::new(format!("/twin-{}", std::process::id())).expect("no zero");
    unsafe {
        let new = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        let fd = libc::shm_open(name.as_ptr(), new, 0o600);
        t.says("open", say::ok(fd));
        t.says("again", say::ok(libc::shm_open(name.as_ptr(), new, 0o600)));
        libc::ftruncate(fd, PAGE as i64);
        let at = map(fd, libc::MAP_SHARED);
        at.write(3);
        let mut b = 0u8;
        t.says("read", ret(libc::read(fd, (&raw mut b).cast(), 1)));
        t.says("is", b);
        t.says("unlink", ret(libc::shm_unlink(name.as_ptr())));
        t.says("again", ret(libc::shm_unlink(name.as_ptr())));
        libc::munmap(at.cast(), PAGE);
        libc::close(fd);
    }
}

fn system_v_shared_memory(t: &Trace) {
    unsafe {
        let id = libc::shmget(libc::IPC_PRIVATE, 100, libc::IPC_CREAT | 0o600);
        t.says("get", say::ok(id));
        let at = libc::shmat(id, std::ptr::null(), 0).cast::<u8>();
        at.write(9);
        let child = make::child(|| at.read().into());
        t.says("child", make::end_of(child));
        let mut info: libc::shmid_ds = std::mem::zeroed();
        t.says("ask", ret(libc::shmctl(id, libc::IPC_STAT, &raw mut info)));
        t.says("attached", info.shm_nattch);
        t.says("bad ask", ret(libc::shmctl(id, libc::IPC_STAT, make::bad())));
        t.says("detach", ret(libc::shmdt(at.cast())));
        t.says("again", ret(libc::shmdt(at.cast())));
        t.says("remove", ret(libc::shmctl(id, libc::IPC_RMID, null_mut())));
        t.says("again", ret(libc::shmctl(id, libc::IPC_RMID, null_mut())));
        t.says("attach", ret(libc::shmat(id, std::ptr::null(), 0).addr() as isize));
    }
}

fn fault_in_a_mapping(t: &Trace) {
    let child = make::child(|| {
        let at = map(-1, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        unsafe { libc::mprotect(at.cast(), PAGE, libc::PROT_READ) };
        unsafe { at.write_volatile(1) };
        0
    });
    t.says("writing what is only to be read", make::end_of(child));
}

fn bus_error_beyond_the_end(t: &Trace) {
    let child = make::child(|| {
        let fd = make::file(b"");
        let at = map(fd, libc::MAP_SHARED);
        unsafe { at.read_volatile() }.into()
    });
    t.says("reading behind the file", make::end_of(child));
    let fd = make::file(b"");
    let at = map(fd, libc::MAP_SHARED);
    let (read, write) = make::pipe();
    unsafe {
        t.says("write of it", ret(libc::write(write, at.cast(), 10)));
        libc::write(write, c"hello".as_ptr().cast(), 5);
        t.says("read into it", ret(libc::read(read, at.cast(), 5)));
        libc::munmap(at.cast(), PAGE);
        make::close([read, write, fd]);
    }
}

fn into_mappings(t: &Trace) {
    // What is read goes into a file; another flow sees it there.
    let fd = make::file(&[0; 64]);
    let at = map(fd, libc::MAP_SHARED);
    let (read, write) = make::pipe();
    let other = t.spawn("other", move |t| {
        ms(200);
        t.says("write", ret(unsafe { libc::write(write, c"hello".as_ptr().cast(), 5) }));
    });
    t.says("read", ret(unsafe { libc::read(read, at.cast(), 64) }));
    let mut b = [0u8; 5];
    t.says("pread", ret(unsafe { libc::pread(fd, b.as_mut_ptr().cast(), 5, 0) }));
    t.says("bytes", say::bytes(&b));
    other.join();
    let mut address: *mut libc::c_void = null_mut();
    t.says("posix_memalign", code(unsafe { libc::posix_memalign(&raw mut address, 64, 100) }));
    t.says("posix_memalign by 3", code(unsafe { libc::posix_memalign(&raw mut address, 3, 100) }));
    unsafe {
        libc::munmap(at.cast(), PAGE);
        make::close([read, write, fd]);
    }
}
