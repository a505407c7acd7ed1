//! What situations are made of: descriptors, memory at an edge, children.

use crate::ms;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A pipe: the end to read, the end to write.
///
/// # Panics
/// If none can be made.
#[must_use]
pub fn pipe() -> (i32, i32) {
    let mut fds = [0; 2];
    // SAFETY: room for two.
    assert_eq!(unsafe { libc::pipe(fds.as_mut_ptr()) }, 0, "a pipe");
    (fds[0], fds[1])
}

/// Two local sockets that are connected, of a type (`SOCK_STREAM`, …).
///
/// # Panics
/// If none can be made.
#[must_use]
pub fn socketpair(ty: i32) -> (i32, i32) {
    let mut fds = [0; 2];
    // SAFETY: room for two.
    assert_eq!(unsafe { libc::socketpair(libc::AF_UNIX, ty, 0, fds.as_mut_ptr()) }, 0, "a pair");
    (fds[0], fds[1])
}

/// Two TCP sockets that are connected.
///
/// # Panics
/// If none can be made.
#[must_use]
pub fn tcp() -> (i32, i32) {
    use std::os::fd::IntoRawFd;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let a = std::net::TcpStream::connect(address).expect("a connection");
    let (b, _) = listener.accept().expect("its other end");
    (a.into_raw_fd(), b.into_raw_fd())
}

/// Two UDP sockets that are connected.
///
/// # Panics
/// If none can be made.
#[must_use]
pub fn udp() -> (i32, i32) {
    use std::os::fd::IntoRawFd;
    let [a, b] = [0, 1].map(|_| std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket"));
    let address = |of: &std::net::UdpSocket| of.local_addr().expect("its address");
    a.connect(address(&b)).expect("a peer");
    b.connect(address(&a)).expect("a peer");
    (a.into_raw_fd(), b.into_raw_fd())
}

/// A terminal: its master, and the side that programs read from.
///
/// # Panics
/// If none can be made.
#[must_use]
pub fn terminal() -> (i32, i32) {
    // SAFETY: names that end in zeros; room for the name.
    unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY);
        assert!(
            master >= 0 && libc::grantpt(master) == 0 && libc::unlockpt(master) == 0,
            "a terminal"
        );
        let mut name = [0; 64];
        assert_eq!(libc::ptsname_r(master, name.as_mut_ptr(), name.len()), 0, "its name");
        let slave = libc::open(name.as_ptr(), libc::O_RDWR | libc::O_NOCTTY);
        assert!(slave >= 0, "its other side");
        (master, slave)
    }
}

/// A path in the directory for temporary files that no other row uses.
#[must_use]
pub fn path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("twin-{}-{next}", std::process::id()));
    // One may be left of a process that had the same number, and was killed.
    let _ = std::fs::remove_file(&path);
    path
}

/// A path as C wants it.
///
/// # Panics
/// If it has a zero in it.
#[must_use]
pub fn c(path: &std::path::Path) -> CString {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).expect("no zero in a path")
}

/// An open file of these bytes, which has no name any more.
///
/// # Panics
/// If none can be made.
#[must_use]
pub fn file(bytes: &[u8]) -> i32 {
    use std::os::fd::IntoRawFd;
    let path = path();
    std::fs::write(&path, bytes).expect("a file");
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).open(&path).expect("the file");
    std::fs::remove_file(&path).expect("its name can go");
    file.into_raw_fd()
}

/// Makes a descriptor not wait, or wait again.
pub fn nonblocking(fd: i32, on: bool) {
    // SAFETY: flags of a descriptor.
    unsafe {
        let flags = libc::fcntl(fd, libc::F_GETFL);
        let with = if on { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
        libc::fcntl(fd, libc::F_SETFL, with);
    }
}

/// An address at which there is nothing.
#[must_use]
pub fn bad<T>() -> *mut T {
    std::ptr::without_provenance_mut(0x1000)
}

/// Memory of `bytes` bytes, behind which there is none: what goes beyond crashes. In front of it lie 64 bytes of
/// [`Edge::GUARD`], which no code is to change.
pub struct Edge {
    at: *mut u8,
    bytes: usize,
}

// SAFETY: memory, like a `Box<[u8]>`.
unsafe impl Send for Edge {}
// SAFETY: as above; it is written through raw pointers, whose users see to order.
unsafe impl Sync for Edge {}

impl Edge {
    const PAGE: usize = 4096;
    /// What the bytes in front of it are.
    pub const GUARD: u8 = 0xa5;

    /// Zeroes, at most a page less 64.
    ///
    /// # Panics
    /// If it is to be larger, or there is no memory.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        assert!(bytes <= Self::PAGE - 64, "at most a page");
        let (rw, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping of two pages, the second of which is made unusable.
        unsafe {
            let page = libc::mmap(std::ptr::null_mut(), 2 * Self::PAGE, rw, flags, -1, 0);
            assert_ne!(page, libc::MAP_FAILED, "memory");
            let second = page.cast::<u8>().add(Self::PAGE);
            libc::mprotect(second.cast(), Self::PAGE, libc::PROT_NONE);
            let at = second.sub(bytes);
            at.sub(64).write_bytes(Self::GUARD, 64);
            Self { at, bytes }
        }
    }

    /// Where it begins.
    #[must_use]
    pub fn as_ptr<T>(&self) -> *mut T {
        self.at.cast()
    }

    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: ours.
        unsafe { std::slice::from_raw_parts(self.at, self.bytes) }.to_vec()
    }

    /// Whether the bytes in front of it are as they were.
    #[must_use]
    pub fn neighbour_is_well(&self) -> bool {
        // SAFETY: ours.
        unsafe { std::slice::from_raw_parts(self.at.sub(64), 64) }.iter().all(|b| *b == Self::GUARD)
    }
}

/// Forks a child that runs `f` and ends with its value, without destructors.
///
/// # Panics
/// If none can be made.
pub fn child(f: impl FnOnce() -> i32) -> libc::pid_t {
    // SAFETY: the child runs what the test says, and ends.
    unsafe {
        match libc::fork() {
            0 => libc::_exit(f()),
            pid => {
                assert!(pid > 0, "a child");
                pid
            }
        }
    }
}

/// Waits for a child, and returns its end as text.
#[must_use]
pub fn end_of(pid: libc::pid_t) -> String {
    let mut status = 0;
    // SAFETY: room for a status.
    match unsafe { libc::waitpid(pid, &raw mut status, 0) } {
        p if p == pid => crate::say::status(status),
        other => format!("waitpid: {}", crate::ret(other)),
    }
}

/// Waits until `is` returns true, for at most `limit` milliseconds; says whether it has.
pub fn until(limit: u64, is: impl Fn() -> bool) -> bool {
    let start = std::time::Instant::now();
    while !is() {
        if start.elapsed().as_millis() as u64 > limit {
            return false;
        }
        ms(1);
    }
    true
}

/// Closes descriptors.
pub fn close<const N: usize>(fds: [i32; N]) {
    for fd in fds {
        // SAFETY: a number; what it is, is the caller's.
        unsafe { libc::close(fd) };
    }
}

/// What is refused: a call, maybe only with that third argument.
pub type Refused = &'static [(libc::c_long, Option<u32>)];

/// Refuses these calls to all threads.
///
/// # Panics
/// If the kernel takes no filter.
pub fn refuse(calls: Refused, errno: i32) {
    let one =
        |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = vec![one(0x20, 0, 0, 0)];
    for (number, argument) in calls {
        let refusal = one(0x06, 0x0005_0000 | errno.cast_unsigned(), 0, 0);
        match argument {
            None => program.extend([one(0x15, *number as u32, 0, 1), refusal]),
            Some(argument) => program.extend([
                one(0x15, *number as u32, 0, 4),
                one(0x20, 16 + 8 * 2, 0, 0),
                one(0x15, *argument, 0, 1),
                refusal,
                one(0x20, 0, 0, 0),
            ]),
        }
    }
    program.push(one(0x06, 0x7fff_0000, 0, 0));
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: a filter to read, which stays until the call returns.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::syscall(libc::SYS_seccomp, 1, 1, &raw const program), 0, "a filter");
    }
}
