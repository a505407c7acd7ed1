//! What a descriptor stands for, and what is known of waiting for it.
//!
//! **The problem.** A call is tried in a way that does not block, and says that it would. That is
//! not what the blocking call would do: it may return for reasons that the trial does not know and
//! that `poll` has no edge for (a terminal's clock, a FIFO without writers), or it need not wait
//! where `poll` says "not ready" (a device that is never "writable", a few bytes that fit into a
//! pipe's last page). A goroutine that parks then waits for ever.
//!
//! **The rule.** A goroutine parks only where the kernel's contract for that kind of descriptor and
//! that call is known: *nothing but the edges that `poll` reports ends the wait*. Every other call
//! is announced and really made: it costs a thread while it waits, and is right.
//!
//! Read from Linux's sources (5.10 to 6.18). "Else" is what, besides an edge, ends the wait or
//! makes the call return without one.
//!
//! | descriptor | call | tried by | else | so |
//! |---|---|---|---|---|
//! | socket | all | `MSG_DONTWAIT` | see `socket.rs` | parked |
//! | anonymous pipe | read, write | `RWF_NOWAIT` | nothing: the trial knows missing writers and readers, and a last page with room | parked |
//! | FIFO, a pipe opened by name, any pipe where `RWF_NOWAIT` is unknown (before Linux 6.5, in a sandbox) | read | `poll` | no writer, and none since it was opened with `O_NONBLOCK`: the end of data, for which `poll` has no word. `tee` has | parked once a writer was seen |
//! | | write | `poll` | bytes that fit into the last page of a "full" pipe | parked if the pipe has no room at all for them, else announced |
//! | any pipe | `splice`, `tee`, `vmsplice` | `poll` | as a FIFO's read; pages never merge | parked; `SPLICE_F_NONBLOCK`: made |
//! | eventfd | read | `RWF_NOWAIT`, `poll` | less than 8 bytes: `EINVAL` | parked |
//! | | write | `poll` | less than 8 bytes, 2⁶⁴ - 1: `EINVAL`; zero, which always fits | parked, but for these |
//! | timerfd | read | `poll` | less than 8 bytes: `EINVAL`. (A clock that was set is an edge.) | parked |
//! | signalfd | read | `poll` | less than 128 bytes: `EINVAL`. A signal to the thread alone, which a poller that is another thread does not see | parked, unless locked to its thread |
//! | inotify, fanotify | read | `poll` | nothing | parked |
//! | fanotify | write | | never "writable" | announced |
//! | terminal | read | `poll` | `VMIN` is 0, or more than there is room for; job control (`SIGTTIN`, `EIO`); line disciplines, `EXTPROC` | parked in canonical mode, and else if the first byte is waited for, without a time, in front, by its own line discipline; or announced |
//! | terminal of a program (pty) | write | `poll` | job control, if `TOSTOP` | parked if not `TOSTOP` |
//! | a pty's master | read, write | `poll` | nothing | parked |
//! | other terminals (serial, console) | write | | a buffer of which a part is free is not "writable" | announced |
//! | `/dev/null`, `zero`, `full` | all | | they never wait | made |
//! | any other device, and any other descriptor (files; `perf`, `userfaultfd` and what is not known by name) | all | | drivers know | announced |
//!
//! Where `O_NONBLOCK` is set the kernel is always asked itself: it may know better than `EAGAIN`.
//!
//! Known and left: a process that is put into the background while one of its goroutines is parked
//! for the terminal is told so (`SIGTTIN`) by the next key that is pressed, not at once. A stream
//! that has less than a third of its buffer free counts as full for `sendfile` and `splice`, which
//! can't be tried.

use super::user_memory;
use crate::g::G;
use crate::netpoll::{Desc, Direction, Kind, Look, is_nonblocking};
use goroutines_switch::sys::raw;

/// What is to be done with a call that would block, as far as a trial says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contract {
    /// Nothing but an edge ends the wait.
    Edges,
    /// The kernel knows more: the call is to be made.
    Make,
}

fn word(fd: i32) -> usize {
    fd as isize as usize
}

/// What `fd` stands for, as far as waiting is concerned.
#[inline]
pub(super) fn kind_of(fd: i32, desc: &Desc) -> Kind {
    match desc.kind() {
        Kind::Unknown => find_kind(fd, desc),
        kind => kind,
    }
}

#[cold]
fn find_kind(fd: i32, desc: &Desc) -> Kind {
    let look = desc.look(Direction::Read);
    let kind = kind_now(fd);
    if kind != Kind::Unknown {
        desc.set_kind(kind, look);
    }
    kind
}

/// `Unknown`: it is no descriptor, as the call itself will say.
fn kind_now(fd: i32) -> Kind {
    // SAFETY: plain old data, written by the call.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: one stat to write.
    if unsafe { raw(libc::SYS_fstat, [word(fd), &raw mut stat as usize, 0, 0, 0, 0]) } < 0 {
        return Kind::Unknown;
    }
    match stat.st_mode & libc::S_IFMT {
        libc::S_IFSOCK => Kind::Socket,
        libc::S_IFIFO => Kind::Pipe,
        libc::S_IFCHR => device(fd, libc::major(stat.st_rdev), libc::minor(stat.st_rdev)),
        libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK => Kind::File,
        // An "anonymous inode" has no type.
        _ => anonymous(fd),
    }
}

fn device(fd: i32, major: u32, minor: u32) -> Kind {
    match (major, minor) {
        // /dev/null, zero, full.
        (1, 3 | 5 | 7) => Kind::Memory,
        _ if attributes(fd).is_none() => Kind::File,
        // The numbers that pseudo terminals have.
        (136..=143, _) => Kind::Pty,
        _ if is_master(fd) => Kind::Master,
        _ => Kind::Terminal,
    }
}

fn anonymous(fd: i32) -> Kind {
    let mut room = [0u8; 64];
    match name_of(fd, &mut room) {
        Some(b"anon_inode:[eventfd]") => Kind::Event,
        Some(b"anon_inode:[timerfd]") => Kind::Timer,
        Some(b"anon_inode:[signalfd]") => Kind::Signals,
        Some(b"anon_inode:inotify" | b"anon_inode:[fanotify]") => Kind::Watch,
        _ => Kind::File,
    }
}

/// Whether `fd` is an epoll.
pub(super) fn is_epoll(fd: i32) -> bool {
    name_of(fd, &mut [0u8; 64]) == Some(b"anon_inode:[eventpoll]")
}

/// What `/proc` calls it.
fn name_of(fd: i32, room: &mut [u8; 64]) -> Option<&[u8]> {
    let mut path = crate::base::sys::Text::<32>::new();
    path.push("/proc/self/fd/").push_number(fd as u64).push("\0");
    let args = [path.bytes().as_ptr() as usize, room.as_mut_ptr() as usize, room.len(), 0, 0, 0];
    // SAFETY: a path that ends with a NUL; the room is ours.
    let n = unsafe { raw(libc::SYS_readlink, args) };
    room.get(..n.max(0) as usize)
}

/// The kernel's `struct termios`.
#[repr(C)]
struct Attributes {
    input: u32,
    output: u32,
    control: u32,
    local: u32,
    discipline: u8,
    characters: [u8; 19],
}

fn attributes(fd: i32) -> Option<Attributes> {
    // SAFETY: plain numbers.
    let mut all: Attributes = unsafe { std::mem::zeroed() };
    let args = [word(fd), libc::TCGETS as usize, &raw mut all as usize, 0, 0, 0];
    // SAFETY: a `struct termios` to write. It is a device's number, and no driver has another
    // meaning for this one.
    (unsafe { raw(libc::SYS_ioctl, args) } == 0).then_some(all)
}

/// Only a pty's master has a number to tell.
fn is_master(fd: i32) -> bool {
    let mut number = 0u32;
    let args = [word(fd), libc::TIOCGPTN as usize, &raw mut number as usize, 0, 0, 0];
    // SAFETY: a number to write.
    unsafe { raw(libc::SYS_ioctl, args) == 0 }
}

/// A read of up to `bytes` bytes from a descriptor of this kind was tried in vain: is there nothing
/// but an edge to end the wait?
pub(super) fn reading(
    gp: &'static G,
    fd: i32,
    (desc, kind, look): (&Desc, Kind, Look),
    bytes: usize,
) -> Contract {
    let is_known = match kind {
        Kind::Socket | Kind::Pipe | Kind::Fed | Kind::Watch | Kind::Master => true,
        Kind::Event | Kind::Timer => bytes >= size_of::<u64>(),
        Kind::Signals => bytes >= size_of::<libc::signalfd_siginfo>() && !gp.is_locked(),
        Kind::Fifo => has_writer(fd, desc, look),
        Kind::Terminal | Kind::Pty => waits_for_keys(fd, bytes),
        Kind::File | Kind::Memory | Kind::Unknown => false,
    };
    contract(fd, kind, is_known)
}

/// The same for a write.
pub(super) fn writing(fd: i32, kind: Kind, bytes: usize) -> Contract {
    let is_known = match kind {
        Kind::Socket | Kind::Pipe | Kind::Master => true,
        Kind::Fifo | Kind::Fed => is_full(fd, bytes),
        Kind::Pty => attributes(fd).is_some_and(|all| all.local & libc::TOSTOP == 0),
        Kind::Event | Kind::Timer | Kind::Signals | Kind::Watch | Kind::Terminal => false,
        Kind::File | Kind::Memory | Kind::Unknown => false,
    };
    contract(fd, kind, is_known)
}

/// The same for adding to a counter that `poll` says is full.
pub(super) fn adding(gp: &'static G, fd: i32, list: &[libc::iovec]) -> Contract {
    let number = match list {
        [first, ..] if first.iov_len >= size_of::<u64>() => {
            // SAFETY: a number.
            unsafe { user_memory::read(gp, first.iov_base.cast::<u64>()) }.ok()
        }
        _ => None,
    };
    contract(fd, Kind::Event, number.is_some_and(|n| n != 0 && n != u64::MAX))
}

/// The kinds that are tried by calls that know `O_NONBLOCK` themselves are not asked for it here.
fn contract(fd: i32, kind: Kind, is_known: bool) -> Contract {
    let says_itself = matches!(kind, Kind::Socket | Kind::Pipe);
    if is_known && (says_itself || !is_nonblocking(fd)) { Contract::Edges } else { Contract::Make }
}

/// Whether there is a writer of an empty FIFO, or was one since the FIFO was opened. Once there was
/// a writer, `poll` reports the end of the last one.
fn has_writer(fd: i32, desc: &Desc, look: Look) -> bool {
    let mut ends = [0i32; 2];
    let args = [ends.as_mut_ptr() as usize, libc::O_CLOEXEC as usize, 0, 0, 0, 0];
    // SAFETY: two numbers to write.
    if unsafe { raw(libc::SYS_pipe2, args) } < 0 {
        return false;
    }
    let flags = libc::SPLICE_F_NONBLOCK as usize;
    // SAFETY: no memory is involved. Nothing is taken from the FIFO: a byte that has come meanwhile
    // is copied.
    let said = unsafe { raw(libc::SYS_tee, [word(fd), word(ends[1]), 1, flags, 0, 0]) };
    for end in ends {
        // SAFETY: our own.
        unsafe { raw(libc::SYS_close, [word(end), 0, 0, 0, 0, 0]) };
    }
    let has = said == -(libc::EAGAIN as isize);
    if has {
        desc.set_kind(Kind::Fed, look);
    }
    has
}

/// Whether a pipe that `poll` says is full has no room for the part of `bytes` that may go to its
/// last page, either.
fn is_full(fd: i32, bytes: usize) -> bool {
    const PAGE: usize = 4096;
    let part = bytes % PAGE;
    if part == 0 {
        return true;
    }
    let mut held = 0i32;
    // SAFETY: a number to write; none is.
    let (known, size) = unsafe {
        let args = [word(fd), libc::FIONREAD as usize, &raw mut held as usize, 0, 0, 0];
        let size = [word(fd), libc::F_GETPIPE_SZ as usize, 0, 0, 0, 0];
        (raw(libc::SYS_ioctl, args) == 0, raw(libc::SYS_fcntl, size))
    };
    let free = size - held as isize;
    known && size > 0 && free < part as isize
}

/// Whether a read of a terminal waits until there is a line, or its first byte.
fn waits_for_keys(fd: i32, bytes: usize) -> bool {
    let Some(all) = attributes(fd) else { return false };
    if all.discipline != 0 || all.local & libc::EXTPROC != 0 {
        return false;
    }
    let [min, time] = [libc::VMIN, libc::VTIME].map(|i| usize::from(all.characters[i]));
    let by_data = all.local & libc::ICANON != 0 || (min > 0 && (time > 0 || min <= bytes));
    by_data && is_in_front(fd)
}

/// Whether job control has nothing to say: it is not the process's own terminal, or the process is
/// in front.
fn is_in_front(fd: i32) -> bool {
    let mut group = 0i32;
    let args = [word(fd), libc::TIOCGPGRP as usize, &raw mut group as usize, 0, 0, 0];
    // SAFETY: a number to write; none is.
    unsafe { raw(libc::SYS_ioctl, args) < 0 || group as isize == raw(libc::SYS_getpgid, [0; 6]) }
}
