//! Files: calls that may block the thread for as long as a disk, or somebody's lock, takes. The
//! processor runs others meanwhile.
//!
//! (`open` and its kin are in `fd.rs`; `read` and `write` in `io.rs`; `splice` and its kin in
//! `moves.rs`.)

use super::real::take_over;
use crate::sched::syscall::announced;
use libc::{c_int, c_uint, c_void, iovec, off_t, off64_t, size_t, ssize_t};

take_over! {
    fn pread(fd: c_int, buf: *mut c_void, n: size_t, at: off_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn pread64(fd: c_int, buf: *mut c_void, n: size_t, at: off64_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn pwrite(fd: c_int, buf: *const c_void, n: size_t, at: off_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn pwrite64(fd: c_int, buf: *const c_void, n: size_t, at: off64_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn preadv(fd: c_int, list: *const iovec, n: c_int, at: off_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn preadv64(fd: c_int, list: *const iovec, n: c_int, at: off64_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn pwritev(fd: c_int, list: *const iovec, n: c_int, at: off_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn pwritev64(fd: c_int, list: *const iovec, n: c_int, at: off64_t) -> ssize_t =
        |gp, real| announced(gp, real);
    fn fsync(fd: c_int) -> c_int = |gp, real| announced(gp, real);
    fn fdatasync(fd: c_int) -> c_int = |gp, real| announced(gp, real);
    fn sync_file_range(fd: c_int, at: off64_t, n: off64_t, flags: c_uint) -> c_int =
        |gp, real| announced(gp, real);
    fn msync(at: *mut c_void, n: size_t, flags: c_int) -> c_int = |gp, real| announced(gp, real);
    fn ftruncate(fd: c_int, len: off_t) -> c_int = |gp, real| announced(gp, real);
    fn ftruncate64(fd: c_int, len: off64_t) -> c_int = |gp, real| announced(gp, real);
    fn fallocate(fd: c_int, mode: c_int, at: off_t, len: off_t) -> c_int =
        |gp, real| announced(gp, real);
    fn fallocate64(fd: c_int, mode: c_int, at: off64_t, len: off64_t) -> c_int =
        |gp, real| announced(gp, real);
    fn posix_fallocate(fd: c_int, at: off_t, len: off_t) -> c_int = |gp, real| announced(gp, real);
    fn posix_fallocate64(fd: c_int, at: off64_t, len: off64_t) -> c_int =
        |gp, real| announced(gp, real);
    fn copy_file_range(
        from: c_int, from_at: *mut off64_t, to: c_int, to_at: *mut off64_t, n: size_t, flags: c_uint,
    ) -> ssize_t = |gp, real| announced(gp, real);
}
