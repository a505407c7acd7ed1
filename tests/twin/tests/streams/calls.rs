//! Every call on every kind of descriptor.

use crate::kinds::{KINDS, Maker};
use goroutines_twin_tests::{Call, Row, Trace, make, ret, say};
use std::ptr::{null, null_mut};

type Of = fn(i32) -> String;

/// What it gave, and the bytes that came.
fn got(n: isize, buffer: &[u8]) -> String {
    let ret = ret(n);
    // Random bytes are not the same twice, and a file's are many.
    match usize::try_from(n) {
        Ok(n) if n > 0 && n < 10 => format!("{ret} {}", say::bytes(&buffer[..n])),
        _ => ret.to_string(),
    }
}

fn into(call: impl FnOnce(*mut libc::c_void) -> isize) -> String {
    let mut buffer = [0u8; 64];
    let n = call(buffer.as_mut_ptr().cast());
    got(n, &buffer)
}

fn vectors<const N: usize>(parts: [(*mut u8, usize); N]) -> [libc::iovec; N] {
    parts.map(|(base, len)| libc::iovec { iov_base: base.cast(), iov_len: len })
}

const WORD: [u8; 8] = 1u64.to_ne_bytes();

/// Calls that read.
const READS: &[(&str, Of)] = &[
    ("read", |fd| into(|b| unsafe { libc::read(fd, b, 64) })),
    ("read 3", |fd| into(|b| unsafe { libc::read(fd, b, 3) })),
    ("read 0", |fd| into(|b| unsafe { libc::read(fd, b, 0) })),
    ("read, bad address", |fd| ret(unsafe { libc::read(fd, make::bad(), 64) }).to_string()),
    ("read of 0, bad address", |fd| ret(unsafe { libc::read(fd, make::bad(), 0) }).to_string()),
    ("readv", |fd| {
        let mut b = [0u8; 64];
        let v = vectors([(b.as_mut_ptr(), 2), (make::bad(), 0), (b[2..].as_mut_ptr(), 62)]);
        got(unsafe { libc::readv(fd, v.as_ptr(), 3) }, &b)
    }),
    ("readv, bad second", |fd| {
        let mut b = [0u8; 64];
        let v = vectors([(b.as_mut_ptr(), 2), (make::bad(), 8)]);
        got(unsafe { libc::readv(fd, v.as_ptr(), 2) }, &b)
    }),
    ("readv, bad vectors", |fd| ret(unsafe { libc::readv(fd, make::bad(), 2) }).to_string()),
    ("readv of none", |fd| ret(unsafe { libc::readv(fd, null(), 0) }).to_string()),
    ("readv of -1", |fd| ret(unsafe { libc::readv(fd, null(), -1) }).to_string()),
    ("readv of 1025", |fd| ret(unsafe { libc::readv(fd, make::bad(), 1025) }).to_string()),
    ("readv, length -1", |fd| {
        let mut b = [0u8; 64];
        let v = vectors([(b.as_mut_ptr(), 2), (b[2..].as_mut_ptr(), usize::MAX)]);
        ret(unsafe { libc::readv(fd, v.as_ptr(), 2) }).to_string()
    }),
    ("pread", |fd| into(|b| unsafe { libc::pread(fd, b, 4, 1) })),
    ("pread at -1", |fd| into(|b| unsafe { libc::pread(fd, b, 4, -1) })),
    ("preadv", |fd| {
        let mut b = [0u8; 64];
        let v = vectors([(b.as_mut_ptr(), 2), (b[2..].as_mut_ptr(), 2)]);
        got(unsafe { libc::preadv(fd, v.as_ptr(), 2, 0) }, &b)
    }),
    ("preadv2 at once", |fd| {
        let mut b = [0u8; 64];
        let v = vectors([(b.as_mut_ptr(), 2), (b[2..].as_mut_ptr(), 2)]);
        got(unsafe { libc::preadv2(fd, v.as_ptr(), 2, -1, libc::RWF_NOWAIT) }, &b)
    }),
    ("recv", |fd| into(|b| unsafe { libc::recv(fd, b, 64, 0) })),
    ("recv, at once", |fd| into(|b| unsafe { libc::recv(fd, b, 64, libc::MSG_DONTWAIT) })),
    ("recv, peek", |fd| into(|b| unsafe { libc::recv(fd, b, 64, libc::MSG_PEEK) })),
    ("recv 2, true length", |fd| into(|b| unsafe { libc::recv(fd, b, 2, libc::MSG_TRUNC) })),
    ("recv, out of band", |fd| into(|b| unsafe { libc::recv(fd, b, 64, libc::MSG_OOB) })),
    ("recv, error queue", |fd| into(|b| unsafe { libc::recv(fd, b, 64, libc::MSG_ERRQUEUE) })),
    ("recv, bad address", |fd| ret(unsafe { libc::recv(fd, make::bad(), 64, 0) }).to_string()),
    ("recv 0", |fd| into(|b| unsafe { libc::recv(fd, b, 0, 0) })),
    ("recvfrom, bad length", |fd| {
        into(|b| unsafe { libc::recvfrom(fd, b, 64, 0, b.cast(), make::bad()) })
    }),
    ("recvmsg, bad header", |fd| ret(unsafe { libc::recvmsg(fd, make::bad(), 0) }).to_string()),
    ("recvmsg, no vectors", |fd| unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        format!("{} flags {:#x}", ret(libc::recvmsg(fd, &raw mut header, 0)), header.msg_flags)
    }),
    ("recvmsg", |fd| unsafe {
        let mut b = [0u8; 64];
        let mut v = vectors([(b.as_mut_ptr(), 3)]);
        let mut header: libc::msghdr = std::mem::zeroed();
        (header.msg_iov, header.msg_iovlen) = (v.as_mut_ptr(), 1);
        let n = libc::recvmsg(fd, &raw mut header, 0);
        format!("{} flags {:#x}", got(n, &b), header.msg_flags)
    }),
    ("recvmsg, bad vectors", |fd| unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        (header.msg_iov, header.msg_iovlen) = (make::bad(), 1);
        ret(libc::recvmsg(fd, &raw mut header, 0)).to_string()
    }),
    ("recvmsg, 1025 vectors", |fd| unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        (header.msg_iov, header.msg_iovlen) = (make::bad(), 1025);
        ret(libc::recvmsg(fd, &raw mut header, 0)).to_string()
    }),
    ("recvmmsg of two", |fd| unsafe {
        let mut b = [[0u8; 8]; 2];
        let mut v = [vectors([(b[0].as_mut_ptr(), 8)]), vectors([(b[1].as_mut_ptr(), 8)])];
        let mut m: [libc::mmsghdr; 2] = std::mem::zeroed();
        for (m, v) in m.iter_mut().zip(&mut v) {
            (m.msg_hdr.msg_iov, m.msg_hdr.msg_iovlen) = (v.as_mut_ptr(), 1);
        }
        let n = libc::recvmmsg(fd, m.as_mut_ptr(), 2, libc::MSG_WAITFORONE, null_mut());
        format!("{} lengths {} {}", ret(n), m[0].msg_len, m[1].msg_len)
    }),
    ("recvmmsg, bad", |fd| {
        ret(unsafe { libc::recvmmsg(fd, make::bad(), 1, 0, null_mut()) }).to_string()
    }),
    ("recvmmsg of none", |fd| {
        ret(unsafe { libc::recvmmsg(fd, make::bad(), 0, 0, null_mut()) }).to_string()
    }),
    ("accept", |fd| say::ok(unsafe { libc::accept(fd, null_mut(), null_mut()) })),
    ("accept, bad length", |fd| {
        let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        say::ok(unsafe { libc::accept(fd, (&raw mut address).cast(), make::bad()) })
    }),
    ("accept4, bad flags", |fd| {
        say::ok(unsafe { libc::accept4(fd, null_mut(), null_mut(), 0x40_0000) })
    }),
    ("splice to a pipe", |fd| {
        let (read, write) = make::pipe();
        let n = unsafe { libc::splice(fd, null_mut(), write, null_mut(), 4, 0) };
        let n = ret(n);
        unsafe { (libc::close(read), libc::close(write)) };
        n.to_string()
    }),
    ("splice to a pipe, at once", |fd| {
        let (_, write) = make::pipe();
        ret(unsafe { libc::splice(fd, null_mut(), write, null_mut(), 4, libc::SPLICE_F_NONBLOCK) })
            .to_string()
    }),
    ("splice of 0", |fd| {
        let (_read, write) = make::pipe();
        ret(unsafe { libc::splice(fd, null_mut(), write, null_mut(), 0, 0) }).to_string()
    }),
    ("splice, bad offset", |fd| {
        let (_read, write) = make::pipe();
        ret(unsafe { libc::splice(fd, make::bad(), write, null_mut(), 4, 0) }).to_string()
    }),
    ("tee", |fd| {
        let (_read, write) = make::pipe();
        ret(unsafe { libc::tee(fd, write, 4, 0) }).to_string()
    }),
    ("tee, at once", |fd| {
        let (_read, write) = make::pipe();
        ret(unsafe { libc::tee(fd, write, 4, libc::SPLICE_F_NONBLOCK) }).to_string()
    }),
    ("tee of 0", |fd| {
        let (_read, write) = make::pipe();
        ret(unsafe { libc::tee(fd, write, 0, 0) }).to_string()
    }),
    ("tee to itself", |fd| ret(unsafe { libc::tee(fd, fd, 4, 0) }).to_string()),
    ("vmsplice 4", |fd| {
        let mut b = [0u8; 4];
        let v = vectors([(b.as_mut_ptr(), 4)]);
        ret(unsafe { libc::vmsplice(fd, v.as_ptr(), 1, 0) }).to_string()
    }),
    ("vmsplice 4, at once", |fd| {
        let mut b = [0u8; 4];
        let v = vectors([(b.as_mut_ptr(), 4)]);
        ret(unsafe { libc::vmsplice(fd, v.as_ptr(), 1, libc::SPLICE_F_NONBLOCK) }).to_string()
    }),
    ("vmsplice of none", |fd| ret(unsafe { libc::vmsplice(fd, null(), 0, 0) }).to_string()),
    ("sendfile to a pipe", |fd| {
        let (_read, write) = make::pipe();
        ret(unsafe { libc::sendfile(write, fd, null_mut(), 4) }).to_string()
    }),
    ("sendfile of 0", |fd| {
        let (_read, write) = make::pipe();
        ret(unsafe { libc::sendfile(write, fd, null_mut(), 0) }).to_string()
    }),
    ("copy_file_range", |fd| {
        let to = make::file(b"");
        let n = unsafe { libc::copy_file_range(fd, null_mut(), to, null_mut(), 4, 0) };
        ret(n).to_string()
    }),
];

/// Calls that write.
const WRITES: &[(&str, Of)] = &[
    ("write", |fd| ret(unsafe { libc::write(fd, WORD.as_ptr().cast(), 8) }).to_string()),
    ("write 4", |fd| ret(unsafe { libc::write(fd, WORD.as_ptr().cast(), 4) }).to_string()),
    ("write 0", |fd| ret(unsafe { libc::write(fd, WORD.as_ptr().cast(), 0) }).to_string()),
    ("write of all ones", |fd| {
        ret(unsafe { libc::write(fd, [0xffu8; 8].as_ptr().cast(), 8) }).to_string()
    }),
    ("write, bad address", |fd| ret(unsafe { libc::write(fd, make::bad(), 8) }).to_string()),
    ("writev", |fd| {
        let mut b = WORD;
        let v = vectors([(b.as_mut_ptr(), 8), (make::bad(), 0)]);
        ret(unsafe { libc::writev(fd, v.as_ptr(), 2) }).to_string()
    }),
    ("writev, bad second", |fd| {
        let mut b = WORD;
        let v = vectors([(b.as_mut_ptr(), 8), (make::bad(), 8)]);
        ret(unsafe { libc::writev(fd, v.as_ptr(), 2) }).to_string()
    }),
    ("writev, bad vectors", |fd| ret(unsafe { libc::writev(fd, make::bad(), 1) }).to_string()),
    ("writev of none", |fd| ret(unsafe { libc::writev(fd, null(), 0) }).to_string()),
    ("writev of -1", |fd| ret(unsafe { libc::writev(fd, null(), -1) }).to_string()),
    ("pwrite", |fd| ret(unsafe { libc::pwrite(fd, WORD.as_ptr().cast(), 8, 1) }).to_string()),
    ("pwrite at -1", |fd| {
        ret(unsafe { libc::pwrite(fd, WORD.as_ptr().cast(), 8, -1) }).to_string()
    }),
    ("pwritev", |fd| {
        let mut b = WORD;
        let v = vectors([(b.as_mut_ptr(), 8)]);
        ret(unsafe { libc::pwritev(fd, v.as_ptr(), 1, 0) }).to_string()
    }),
    ("pwritev2 at once", |fd| {
        let mut b = WORD;
        let v = vectors([(b.as_mut_ptr(), 8)]);
        ret(unsafe { libc::pwritev2(fd, v.as_ptr(), 1, -1, libc::RWF_NOWAIT) }).to_string()
    }),
    ("send", |fd| {
        ret(unsafe { libc::send(fd, WORD.as_ptr().cast(), 8, libc::MSG_NOSIGNAL) }).to_string()
    }),
    ("send, at once", |fd| {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        ret(unsafe { libc::send(fd, WORD.as_ptr().cast(), 8, flags) }).to_string()
    }),
    ("send, bad address", |fd| {
        ret(unsafe { libc::send(fd, make::bad(), 8, libc::MSG_NOSIGNAL) }).to_string()
    }),
    ("send, a flag for receiving", |fd| {
        let flags = libc::MSG_ERRQUEUE | libc::MSG_NOSIGNAL;
        ret(unsafe { libc::send(fd, WORD.as_ptr().cast(), 8, flags) }).to_string()
    }),
    ("sendto, bad peer", |fd| {
        let (word, flags) = (WORD.as_ptr().cast(), libc::MSG_NOSIGNAL);
        ret(unsafe { libc::sendto(fd, word, 8, flags, make::bad(), 16) }).to_string()
    }),
    ("sendto, short peer", |fd| unsafe {
        let address: libc::sockaddr = std::mem::zeroed();
        let (word, flags) = (WORD.as_ptr().cast(), libc::MSG_NOSIGNAL);
        ret(libc::sendto(fd, word, 8, flags, &raw const address, 1)).to_string()
    }),
    ("sendmsg, bad header", |fd| {
        ret(unsafe { libc::sendmsg(fd, make::bad(), libc::MSG_NOSIGNAL) }).to_string()
    }),
    ("sendmsg, bad vectors", |fd| unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        (header.msg_iov, header.msg_iovlen) = (make::bad(), 1);
        ret(libc::sendmsg(fd, &raw const header, libc::MSG_NOSIGNAL)).to_string()
    }),
    ("sendmsg, 2000 vectors", |fd| unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        (header.msg_iov, header.msg_iovlen) = (make::bad(), 2000);
        ret(libc::sendmsg(fd, &raw const header, libc::MSG_NOSIGNAL)).to_string()
    }),
    ("sendmsg, bad control", |fd| unsafe {
        let mut b = WORD;
        let mut v = vectors([(b.as_mut_ptr(), 8)]);
        let mut header: libc::msghdr = std::mem::zeroed();
        (header.msg_iov, header.msg_iovlen) = (v.as_mut_ptr(), 1);
        (header.msg_control, header.msg_controllen) = (make::bad(), 24);
        ret(libc::sendmsg(fd, &raw const header, libc::MSG_NOSIGNAL)).to_string()
    }),
    ("sendmmsg, bad second", |fd| unsafe {
        let mut b = WORD;
        let mut v = vectors([(b.as_mut_ptr(), 8)]);
        let mut m: [libc::mmsghdr; 2] = std::mem::zeroed();
        (m[0].msg_hdr.msg_iov, m[0].msg_hdr.msg_iovlen) = (v.as_mut_ptr(), 1);
        (m[1].msg_hdr.msg_iov, m[1].msg_hdr.msg_iovlen) = (make::bad(), 1);
        let n = libc::sendmmsg(fd, m.as_mut_ptr(), 2, libc::MSG_NOSIGNAL);
        format!("{} lengths {} {}", ret(n), m[0].msg_len, m[1].msg_len)
    }),
    ("sendmmsg, bad", |fd| {
        ret(unsafe { libc::sendmmsg(fd, make::bad(), 1, libc::MSG_NOSIGNAL) }).to_string()
    }),
    ("splice from a pipe", |fd| {
        let (read, write) = make::pipe();
        unsafe { libc::write(write, WORD.as_ptr().cast(), 8) };
        ret(unsafe { libc::splice(read, null_mut(), fd, null_mut(), 8, 0) }).to_string()
    }),
    ("splice from an empty pipe, at once", |fd| {
        let (read, _write) = make::pipe();
        ret(unsafe { libc::splice(read, null_mut(), fd, null_mut(), 8, libc::SPLICE_F_NONBLOCK) })
            .to_string()
    }),
    ("splice from an ended pipe", |fd| {
        let (read, write) = make::pipe();
        unsafe { libc::close(write) };
        ret(unsafe { libc::splice(read, null_mut(), fd, null_mut(), 8, 0) }).to_string()
    }),
    ("tee from a pipe", |fd| {
        let (read, write) = make::pipe();
        unsafe { libc::write(write, WORD.as_ptr().cast(), 8) };
        ret(unsafe { libc::tee(read, fd, 8, 0) }).to_string()
    }),
    ("sendfile from a file", |fd| {
        ret(unsafe { libc::sendfile(fd, make::file(&WORD), null_mut(), 8) }).to_string()
    }),
    ("sendfile from an ended file", |fd| {
        ret(unsafe { libc::sendfile(fd, make::file(b""), null_mut(), 8) }).to_string()
    }),
    ("copy_file_range to", |fd| {
        let n =
            unsafe { libc::copy_file_range(make::file(&WORD), null_mut(), fd, null_mut(), 8, 0) };
        ret(n).to_string()
    }),
];

/// Calls that change or ask.
const OTHERS: &[(&str, Of)] = &[
    ("lseek", |fd| ret(unsafe { libc::lseek(fd, 2, libc::SEEK_SET) }).to_string()),
    ("ftruncate", |fd| ret(unsafe { libc::ftruncate(fd, 2) }).to_string()),
    ("ftruncate to -1", |fd| ret(unsafe { libc::ftruncate(fd, -1) }).to_string()),
    ("fallocate", |fd| ret(unsafe { libc::fallocate(fd, 0, 0, 16) }).to_string()),
    ("fallocate of none", |fd| ret(unsafe { libc::fallocate(fd, 0, 0, 0) }).to_string()),
    ("posix_fallocate", |fd| say::code(unsafe { libc::posix_fallocate(fd, 0, 16) })),
    ("posix_fadvise", |fd| say::code(unsafe { libc::posix_fadvise(fd, 0, 16, 3) })),
    ("fsync", |fd| ret(unsafe { libc::fsync(fd) }).to_string()),
    ("fdatasync", |fd| ret(unsafe { libc::fdatasync(fd) }).to_string()),
    ("sync_file_range", |fd| ret(unsafe { libc::sync_file_range(fd, 0, 0, 2) }).to_string()),
    ("readahead", |fd| ret(unsafe { libc::readahead(fd, 0, 16) }).to_string()),
    ("flock, bad operation", |fd| ret(unsafe { libc::flock(fd, 77) }).to_string()),
    ("fcntl GETFL", |fd| ret(unsafe { libc::fcntl(fd, libc::F_GETFL) }).to_string()),
    ("fcntl GETFD", |fd| ret(unsafe { libc::fcntl(fd, libc::F_GETFD) }).to_string()),
    ("fcntl SETLK, bad", |fd| {
        ret(unsafe { libc::fcntl(fd, libc::F_SETLK, make::bad::<libc::flock>()) }).to_string()
    }),
    ("fcntl SETLKW, bad", |fd| {
        ret(unsafe { libc::fcntl(fd, libc::F_SETLKW, make::bad::<libc::flock>()) }).to_string()
    }),
    ("fcntl GETPIPE_SZ", |fd| ret(unsafe { libc::fcntl(fd, libc::F_GETPIPE_SZ) }).to_string()),
    ("fcntl 9999", |fd| ret(unsafe { libc::fcntl(fd, 9999, 0) }).to_string()),
    ("dup", |fd| say::ok(unsafe { libc::dup(fd) })),
    ("dup2 to itself", |fd| say::ok(unsafe { libc::dup2(fd, fd) })),
    ("dup3 to itself", |fd| say::ok(unsafe { libc::dup3(fd, fd, 0) })),
    ("dup2 to -1", |fd| say::ok(unsafe { libc::dup2(fd, -1) })),
    ("dup2 to 400", |fd| say::ok(unsafe { libc::dup2(fd, 400) })),
    ("ioctl FIONREAD", |fd| {
        let mut n = 0i32;
        let ret = ret(unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut n) });
        format!("{ret} {n}")
    }),
    ("ioctl FIONREAD, bad", |fd| {
        ret(unsafe { libc::ioctl(fd, libc::FIONREAD, make::bad::<i32>()) }).to_string()
    }),
    ("ioctl FIONBIO, bad", |fd| {
        ret(unsafe { libc::ioctl(fd, libc::FIONBIO, make::bad::<i32>()) }).to_string()
    }),
    ("isatty", |fd| {
        say::set_errno(0);
        let is = unsafe { libc::isatty(fd) };
        format!("{is} {}", say::errno_name(say::errno()))
    }),
    ("poll", |fd| {
        let events = libc::POLLIN | libc::POLLOUT | libc::POLLPRI | libc::POLLRDHUP;
        let mut p = libc::pollfd { fd, events, revents: 0 };
        let n = ret(unsafe { libc::poll(&raw mut p, 1, 0) });
        format!("{n} {:#x}", p.revents)
    }),
    ("poll for reading, waits", |fd| {
        let mut p = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let n = ret(unsafe { libc::poll(&raw mut p, 1, -1) });
        format!("{n} {:#x}", p.revents)
    }),
    ("poll for writing, waits", |fd| {
        let mut p = libc::pollfd { fd, events: libc::POLLOUT, revents: 0 };
        let n = ret(unsafe { libc::poll(&raw mut p, 1, -1) });
        format!("{n} {:#x}", p.revents)
    }),
    ("poll for nothing, waits", |fd| {
        let mut p = libc::pollfd { fd, events: 0, revents: 0 };
        let n = ret(unsafe { libc::poll(&raw mut p, 1, 100) });
        format!("{n} {:#x}", p.revents)
    }),
    ("select, waits", |fd| unsafe {
        if !(0..1024).contains(&fd) {
            return "no such set".into();
        }
        let mut set: libc::fd_set = std::mem::zeroed();
        libc::FD_SET(fd, &raw mut set);
        let n = libc::select(fd + 1, &raw mut set, null_mut(), null_mut(), null_mut());
        format!("{} {}", ret(n), libc::FD_ISSET(fd, &raw const set))
    }),
    ("epoll_ctl", |fd| unsafe {
        let epoll = libc::epoll_create1(0);
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
        ret(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event)).to_string()
    }),
    ("epoll_wait, waits", |fd| unsafe {
        let epoll = libc::epoll_create1(0);
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 7 };
        libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event);
        let n = ret(libc::epoll_wait(epoll, &raw mut event, 1, -1));
        let events = event.events;
        format!("{n} {events:#x}")
    }),
    ("epoll_wait on it", |fd| unsafe {
        let mut event = libc::epoll_event { events: 0, u64: 7 };
        let n = ret(libc::epoll_wait(fd, &raw mut event, 1, 0));
        let events = event.events;
        format!("{n} {events:#x}")
    }),
    ("epoll_wait on it, none", |fd| {
        ret(unsafe { libc::epoll_wait(fd, make::bad(), 0, 0) }).to_string()
    }),
    ("epoll_wait on it, bad address", |fd| {
        ret(unsafe { libc::epoll_wait(fd, make::bad(), 1, 0) }).to_string()
    }),
    ("shutdown", |fd| ret(unsafe { libc::shutdown(fd, libc::SHUT_WR) }).to_string()),
    ("shutdown 9", |fd| ret(unsafe { libc::shutdown(fd, 9) }).to_string()),
    ("listen", |fd| ret(unsafe { libc::listen(fd, 1) }).to_string()),
    ("connect, bad address", |fd| ret(unsafe { libc::connect(fd, make::bad(), 16) }).to_string()),
    ("connect, nowhere", |fd| unsafe {
        let address: libc::sockaddr = std::mem::zeroed();
        ret(libc::connect(fd, &raw const address, 16)).to_string()
    }),
    ("getsockopt TYPE", |fd| unsafe {
        let (mut ty, mut length) = (0i32, 4);
        let value = (&raw mut ty).cast();
        let n = libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE, value, &raw mut length);
        format!("{} {ty}", ret(n))
    }),
    ("setsockopt RCVTIMEO, bad", |fd| unsafe {
        let n = libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, make::bad(), 16);
        ret(n).to_string()
    }),
    ("setsockopt RCVTIMEO, short", |fd| unsafe {
        let n = libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVTIMEO, WORD.as_ptr().cast(), 4);
        ret(n).to_string()
    }),
    ("timerfd_settime", |fd| unsafe {
        let when: libc::itimerspec = std::mem::zeroed();
        ret(libc::timerfd_settime(fd, 0, &raw const when, null_mut())).to_string()
    }),
    ("waitid by it", |fd| unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let n =
            libc::waitid(libc::P_PIDFD, fd as u32, &raw mut info, libc::WEXITED | libc::WNOHANG);
        ret(n).to_string()
    }),
    ("close", |fd| ret(unsafe { libc::close(fd) }).to_string()),
    ("close twice", |fd| {
        unsafe { libc::close(fd) };
        "once".into()
    }),
];

/// One descriptor for each call, all calls at once.
fn all<'a>(
    t: &Trace,
    make: Maker,
    calls: impl Iterator<Item = &'a (&'static str, Of)>,
    nonblocking: bool,
) {
    // A number that is to be closed must not become another call's meanwhile.
    let is_open = |fd: i32| unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1;
    let (mut kept, mut all) = (Vec::new(), Vec::<(String, Call)>::new());
    for (name, call) in calls {
        let made = make();
        if nonblocking && is_open(made.fd) {
            make::nonblocking(made.fd, true);
        }
        let (call, fd) = (*call, made.fd);
        if is_open(fd) {
            all.push(((*name).to_owned(), Box::new(move || call(fd))));
        } else if *name != "close" {
            // A closed number stays closed if the calls come one after the other.
            t.hangs_after(name, 200, move || call(fd));
        }
        kept.push(made);
    }
    t.each(300, all);
    // What hangs keeps its descriptors; the numbers left are the same on both sides if all go to the end.
    drop(kept);
    // SAFETY: ends the process; what hangs would go on.
    unsafe { libc::_exit(0) };
}

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, make) in KINDS {
        for (what, calls) in [("reads", READS), ("writes", WRITES), ("others", OTHERS)] {
            for (bad, word) in [(false, ""), (true, "bad_")] {
                for (nonblocking, mode) in [(false, ""), (true, "_nonblocking")] {
                    let body = move |t: &Trace| {
                        let of = calls.iter().filter(|(name, _)| is_bad(name) == bad);
                        all(t, *make, of, nonblocking);
                    };
                    let name = format!("{word}{what}_{kind}{mode}");
                    let row = Row::new(name.as_str(), body).before(before);
                    // A user may have 128 inotify descriptors.
                    let is_inotify = kind.starts_with("inotify");
                    let row = if is_inotify { row.series("inotify") } else { row };
                    rows.push(row);
                }
            }
        }
    }
    rows
}

/// Whether a call is one with arguments that no program should pass.
fn is_bad(name: &str) -> bool {
    [", bad", " -1", "1025", "2000", "of none"].iter().any(|word| name.contains(word))
}

/// A signal for signalfds to wait for; no signal for broken pipes.
fn before(_: &Trace) {
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGUSR2);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        let limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
}
