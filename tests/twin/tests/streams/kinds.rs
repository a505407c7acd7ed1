//! Every kind of descriptor, in the states it can be in.

use goroutines_twin_tests::make;
use std::os::fd::IntoRawFd;

/// A descriptor, and those that keep it in its state.
pub(crate) struct Made {
    pub(crate) fd: i32,
    pub(crate) others: Vec<i32>,
}

pub(crate) type Maker = fn() -> Made;

fn alone(fd: i32) -> Made {
    assert!(fd >= 0, "a descriptor: {}", std::io::Error::last_os_error());
    Made { fd, others: Vec::new() }
}

fn of((fd, other): (i32, i32)) -> Made {
    Made { fd, others: vec![other] }
}

fn give(made: Made, bytes: &[u8]) -> Made {
    let other = made.others[0];
    let n = unsafe { libc::write(other, bytes.as_ptr().cast(), bytes.len()) };
    assert_eq!(n, bytes.len() as isize, "bytes for it");
    // What is written to a terminal's master comes to the terminal a moment later.
    let is_there = || {
        let mut one = libc::pollfd { fd: made.fd, events: libc::POLLIN, revents: 0 };
        unsafe { libc::poll(&raw mut one, 1, 0) != 0 }
    };
    make::until(2_000, is_there);
    made
}

fn deserted(made: Made) -> Made {
    made.others.iter().for_each(|fd| drop(unsafe { std::os::fd::OwnedFd::from_raw(*fd) }));
    Made { others: Vec::new(), ..made }
}

/// `from_raw_fd`, without the trait's name at each use.
trait FromRaw {
    unsafe fn from_raw(fd: i32) -> Self;
}

impl FromRaw for std::os::fd::OwnedFd {
    unsafe fn from_raw(fd: i32) -> Self {
        unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) }
    }
}

fn full(made: Made) -> Made {
    make::nonblocking(made.fd, true);
    let bytes = [b'.'; 4096];
    for size in [4096, 1] {
        while unsafe { libc::write(made.fd, bytes.as_ptr().cast(), size) } > 0 {}
    }
    make::nonblocking(made.fd, false);
    made
}

fn swapped((a, b): (i32, i32)) -> (i32, i32) {
    (b, a)
}

fn unix(ty: i32) -> Made {
    of(make::socketpair(ty))
}

fn fifo(flags: i32) -> i32 {
    let path = make::c(&make::path());
    unsafe {
        assert_eq!(libc::mkfifo(path.as_ptr(), 0o600), 0, "a FIFO");
        let fd = libc::open(path.as_ptr(), flags | libc::O_NONBLOCK);
        libc::unlink(path.as_ptr());
        make::nonblocking(fd, false);
        fd
    }
}

fn device(path: &std::ffi::CStr, flags: i32) -> Made {
    alone(unsafe { libc::open(path.as_ptr(), flags | libc::O_NOCTTY) })
}

fn timer(nanoseconds: i64) -> Made {
    unsafe {
        let fd = libc::timerfd_create(libc::CLOCK_MONOTONIC, 0);
        let mut when: libc::itimerspec = std::mem::zeroed();
        when.it_value.tv_nsec = nanoseconds;
        libc::timerfd_settime(fd, 0, &raw const when, std::ptr::null_mut());
        goroutines_twin_tests::ms(1);
        alone(fd)
    }
}

fn signals() -> Made {
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGUSR2);
        alone(libc::signalfd(-1, &raw const set, 0))
    }
}

fn inotify(with_event: bool) -> Made {
    unsafe {
        let fd = libc::inotify_init1(0);
        let path = make::path();
        std::fs::create_dir(&path).expect("a directory");
        libc::inotify_add_watch(fd, make::c(&path).as_ptr(), libc::IN_CREATE);
        if with_event {
            std::fs::write(path.join("x"), "").expect("a file");
        }
        std::fs::remove_dir_all(&path).expect("it can go");
        if !with_event {
            // What its end has brought.
            let mut events = [0u8; 256];
            libc::read(fd, events.as_mut_ptr().cast(), 256);
        }
        alone(fd)
    }
}

fn listener() -> Made {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    alone(listener.into_raw_fd())
}

fn called() -> Made {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
    let caller =
        std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("a caller");
    of((listener.into_raw_fd(), caller.into_raw_fd()))
}

fn raw_terminal(vmin: u8, vtime: u8) -> Made {
    let (master, slave) = make::terminal();
    unsafe {
        let mut t: libc::termios = std::mem::zeroed();
        libc::tcgetattr(slave, &raw mut t);
        libc::cfmakeraw(&raw mut t);
        t.c_cc[libc::VMIN] = vmin;
        t.c_cc[libc::VTIME] = vtime;
        libc::tcsetattr(slave, libc::TCSANOW, &raw const t);
    }
    of((slave, master))
}

fn epoll(ready: bool) -> Made {
    let (read, write) = make::pipe();
    unsafe {
        let epoll = libc::epoll_create1(0);
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, read, &raw mut event);
        if ready {
            libc::write(write, c"x".as_ptr().cast(), 1);
        }
        Made { fd: epoll, others: vec![read, write] }
    }
}

fn closed() -> Made {
    let file = make::file(b"");
    unsafe { libc::close(file) };
    alone(file)
}

fn packets() -> Made {
    let mut fds = [0; 2];
    unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_DIRECT) };
    of((fds[0], fds[1]))
}

fn pidfd() -> Made {
    alone(unsafe { libc::syscall(libc::SYS_pidfd_open, std::process::id(), 0) } as i32)
}

fn eventfd(value: u32, flags: i32) -> Made {
    alone(unsafe { libc::eventfd(value, flags) })
}

fn full_eventfd() -> Made {
    let made = eventfd(0, 0);
    let most = u64::MAX - 1;
    unsafe { libc::write(made.fd, (&raw const most).cast(), 8) };
    made
}

/// All kinds, with the state in the name.
pub(crate) const KINDS: &[(&str, Maker)] = &[
    ("pipe_empty", || of(make::pipe())),
    ("pipe_with_bytes", || give(of(make::pipe()), b"hello")),
    ("pipe_deserted", || deserted(of(make::pipe()))),
    ("pipe_bytes_then_end", || deserted(give(of(make::pipe()), b"hello"))),
    ("pipe_of_packets", || give(give(packets(), b"hel"), b"lo")),
    ("pipe_to_write", || of(swapped(make::pipe()))),
    ("pipe_to_write_full", || full(of(swapped(make::pipe())))),
    ("pipe_to_write_deserted", || deserted(of(swapped(make::pipe())))),
    ("fifo_without_writers", || alone(fifo(libc::O_RDONLY))),
    ("fifo_both_ways", || alone(fifo(libc::O_RDWR))),
    ("tcp_empty", || of(make::tcp())),
    ("tcp_with_bytes", || give(of(make::tcp()), b"hello")),
    ("tcp_ended", || deserted(of(make::tcp()))),
    ("tcp_unconnected", || alone(unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) })),
    ("tcp_listener", listener),
    ("tcp_listener_called", called),
    ("unix_stream", || unix(libc::SOCK_STREAM)),
    ("unix_stream_with_bytes", || give(unix(libc::SOCK_STREAM), b"hello")),
    ("unix_stream_full", || full(unix(libc::SOCK_STREAM))),
    ("unix_stream_ended", || deserted(unix(libc::SOCK_STREAM))),
    ("unix_datagrams", || unix(libc::SOCK_DGRAM)),
    ("unix_datagrams_two", || give(give(unix(libc::SOCK_DGRAM), b"hello"), b"")),
    ("unix_datagrams_full", || full(unix(libc::SOCK_DGRAM))),
    ("unix_datagrams_deserted", || deserted(unix(libc::SOCK_DGRAM))),
    ("unix_packets", || unix(libc::SOCK_SEQPACKET)),
    ("unix_packets_two", || give(give(unix(libc::SOCK_SEQPACKET), b"hello"), b"you")),
    ("unix_packets_ended", || deserted(unix(libc::SOCK_SEQPACKET))),
    ("unix_unconnected", || alone(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) })),
    ("udp", || of(make::udp())),
    ("udp_with_bytes", || give(of(make::udp()), b"hello")),
    ("udp_unconnected", || alone(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) })),
    ("eventfd_zero", || eventfd(0, 0)),
    ("eventfd_five", || eventfd(5, 0)),
    ("eventfd_semaphore", || eventfd(5, libc::EFD_SEMAPHORE)),
    ("eventfd_full", full_eventfd),
    ("timerfd_unset", || timer(0)),
    ("timerfd_fired", || timer(1)),
    ("signalfd", signals),
    ("inotify", || inotify(false)),
    ("inotify_with_event", || inotify(true)),
    ("terminal", || of(swapped(make::terminal()))),
    ("terminal_with_line", || give(of(swapped(make::terminal())), b"hello\n")),
    ("terminal_hung_up", || deserted(of(swapped(make::terminal())))),
    ("terminal_master", || of(make::terminal())),
    ("terminal_master_deserted", || deserted(of(make::terminal()))),
    ("terminal_raw_1_0", || raw_terminal(1, 0)),
    ("terminal_raw_0_0", || raw_terminal(0, 0)),
    ("terminal_raw_0_1", || raw_terminal(0, 1)),
    ("terminal_raw_3_1", || give(raw_terminal(3, 1), b"x")),
    ("epoll", || epoll(false)),
    ("epoll_ready", || epoll(true)),
    ("pidfd", pidfd),
    ("file", || alone(make::file(b"hello"))),
    ("file_to_read", || device(c"/proc/self/exe", libc::O_RDONLY)),
    ("file_to_append", || {
        let made = alone(make::file(b"hello"));
        unsafe { libc::fcntl(made.fd, libc::F_SETFL, libc::O_APPEND) };
        made
    }),
    ("memory", || alone(unsafe { libc::memfd_create(c"m".as_ptr(), libc::MFD_ALLOW_SEALING) })),
    ("directory", || device(c"/tmp", libc::O_RDONLY | libc::O_DIRECTORY)),
    ("path", || device(c"/tmp", libc::O_PATH)),
    ("null", || device(c"/dev/null", libc::O_RDWR)),
    ("zero", || device(c"/dev/zero", libc::O_RDWR)),
    ("full", || device(c"/dev/full", libc::O_RDWR)),
    ("closed", closed),
    ("minus_one", || Made { fd: -1, others: Vec::new() }),
    ("beyond_the_limit", || Made { fd: 1 << 30, others: Vec::new() }),
];
