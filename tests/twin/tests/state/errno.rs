//! errno: each flow's own, and left alone by what succeeds.

use goroutines_twin_tests::{Row, Trace, make, ms, rows, say};
use std::ptr::{null, null_mut};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![is_each_flows_own, survives_others, survives_computing, of_a_new_flow];
    for (name, call) in CALLS {
        rows.push(Row::new(format!("errno_after_{name}"), move |t: &Trace| left_alone(t, *call)));
    }
    rows
}

type What = fn();

/// Calls that succeed, after a wait or at once. None of them is to touch errno.
const CALLS: &[(&str, What)] = &[
    ("read_that_waits", || {
        let (read, write) = make::pipe();
        std::thread::spawn(move || {
            ms(50);
            unsafe { libc::write(write, c"x".as_ptr().cast(), 1) };
        });
        unsafe { libc::read(read, [0u8; 1].as_mut_ptr().cast(), 1) };
    }),
    ("read_at_once", || {
        let (read, write) = make::pipe();
        unsafe { libc::write(write, c"x".as_ptr().cast(), 1) };
        unsafe { libc::read(read, [0u8; 1].as_mut_ptr().cast(), 1) };
    }),
    ("recv_that_waits", || {
        let (a, b) = make::tcp();
        std::thread::spawn(move || {
            ms(50);
            unsafe { libc::send(b, c"x".as_ptr().cast(), 1, 0) };
        });
        unsafe { libc::recv(a, [0u8; 1].as_mut_ptr().cast(), 1, 0) };
    }),
    ("send_that_waits", || {
        let (a, b) = make::socketpair(libc::SOCK_STREAM);
        std::thread::spawn(move || {
            ms(50);
            let mut all = vec![0u8; 1 << 20];
            unsafe { libc::recv(b, all.as_mut_ptr().cast(), all.len(), libc::MSG_WAITALL) };
        });
        let all = vec![0u8; 1 << 20];
        unsafe { libc::send(a, all.as_ptr().cast(), all.len(), 0) };
    }),
    ("accept_that_waits", || {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a listener");
        let address = listener.local_addr().expect("bound");
        let caller = std::thread::spawn(move || {
            ms(50);
            std::net::TcpStream::connect(address).expect("a caller")
        });
        let fd = std::os::fd::AsRawFd::as_raw_fd(&listener);
        unsafe { libc::accept(fd, null_mut(), null_mut()) };
        say::set_errno(libc::EXDEV);
        drop(caller);
    }),
    ("poll_that_waits", || {
        let (read, write) = make::pipe();
        std::thread::spawn(move || {
            ms(50);
            unsafe { libc::write(write, c"x".as_ptr().cast(), 1) };
        });
        let mut p = libc::pollfd { fd: read, events: libc::POLLIN, revents: 0 };
        unsafe { libc::poll(&raw mut p, 1, -1) };
    }),
    ("poll_that_times_out", || {
        let (read, _write) = make::pipe();
        let mut p = libc::pollfd { fd: read, events: libc::POLLIN, revents: 0 };
        unsafe { libc::poll(&raw mut p, 1, 50) };
    }),
    ("select_that_waits", || unsafe {
        let (read, write) = make::pipe();
        std::thread::spawn(move || {
            ms(50);
            libc::write(write, c"x".as_ptr().cast(), 1);
        });
        let mut set: libc::fd_set = std::mem::zeroed();
        libc::FD_SET(read, &raw mut set);
        libc::select(read + 1, &raw mut set, null_mut(), null_mut(), null_mut());
    }),
    ("epoll_wait_that_waits", || unsafe {
        let (read, write) = make::pipe();
        let epoll = libc::epoll_create1(0);
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, read, &raw mut event);
        std::thread::spawn(move || {
            ms(50);
            libc::write(write, c"x".as_ptr().cast(), 1);
        });
        libc::epoll_wait(epoll, &raw mut event, 1, -1);
    }),
    ("nanosleep", || {
        let time = libc::timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        unsafe { libc::nanosleep(&raw const time, null_mut()) };
    }),
    ("usleep", || unsafe {
        libc::usleep(50_000);
    }),
    ("sched_yield", || unsafe {
        libc::sched_yield();
    }),
    ("mutex_that_waits", || {
        let mutex = std::sync::Arc::new(std::sync::Mutex::new(()));
        let (its, (read, write)) = (mutex.clone(), make::pipe());
        std::thread::spawn(move || {
            let held = its.lock();
            unsafe { libc::write(write, c"x".as_ptr().cast(), 1) };
            ms(50);
            drop(held);
        });
        unsafe { libc::read(read, [0u8; 1].as_mut_ptr().cast(), 1) };
        drop(mutex.lock());
    }),
    ("waitpid_that_waits", || {
        let pid = make::child(|| {
            ms(50);
            0
        });
        let _ = make::end_of(pid);
    }),
    ("flock", || {
        let fd = make::file(b"");
        say::set_errno(libc::EXDEV);
        unsafe { libc::flock(fd, libc::LOCK_EX) };
    }),
    ("fsync", || {
        let fd = make::file(b"");
        say::set_errno(libc::EXDEV);
        unsafe { libc::fsync(fd) };
    }),
    ("pread_pwrite", || {
        let fd = make::file(b"x");
        say::set_errno(libc::EXDEV);
        unsafe { libc::pread(fd, [0u8; 1].as_mut_ptr().cast(), 1, 0) };
        unsafe { libc::pwrite(fd, [0u8; 1].as_ptr().cast(), 1, 0) };
    }),
    ("open_close", || {
        let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        unsafe { libc::close(fd) };
    }),
    ("free_malloc", || unsafe {
        libc::free(libc::malloc(100));
        libc::free(libc::malloc(1 << 20));
    }),
    ("kill_of_nothing", || unsafe {
        libc::kill(libc::getpid(), 0);
    }),
    ("sendfile", || {
        let (from, (_read, write)) = (make::file(b"x"), make::pipe());
        say::set_errno(libc::EXDEV);
        unsafe { libc::sendfile(write, from, null_mut(), 1) };
    }),
    ("sigaction", || unsafe {
        libc::sigaction(libc::SIGUSR1, null(), null_mut());
    }),
];

fn left_alone(t: &Trace, call: What) {
    say::set_errno(libc::EXDEV);
    call();
    t.says("errno", say::errno_name(say::errno()));
    // SAFETY: ends the process, and what the call has left open.
    unsafe { libc::_exit(0) };
}

fn is_each_flows_own(t: &Trace) {
    say::set_errno(libc::EXDEV);
    let place = |_: &Trace| unsafe { libc::__errno_location() }.addr();
    let (here, there) = (
        place(t),
        t.spawn("other", move |t| {
            say::set_errno(libc::EDOM);
            ms(50);
            t.says("errno", say::errno_name(say::errno()));
            place(t)
        }),
    );
    t.says("places differ", here != there.join());
    t.says("errno", say::errno_name(say::errno()));
    t.says("the place is the same", here == place(t));
}

fn survives_others(t: &Trace) {
    let all: Vec<_> = (1..20)
        .map(|errno| {
            t.spawn(&format!("flow {errno:02}"), move |t| {
                let mut wrong = 0;
                for i in 0..50 {
                    say::set_errno(errno);
                    if i % 10 == 0 {
                        ms(1)
                    } else {
                        unsafe {
                            libc::sched_yield();
                        }
                    }
                    wrong += i32::from(say::errno() != errno);
                }
                t.says("wrong", wrong);
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
}

fn survives_computing(t: &Trace) {
    let all: Vec<_> = (1..6)
        .map(|errno| {
            t.spawn(&format!("flow {errno}"), move |t| {
                say::set_errno(errno);
                let start = std::time::Instant::now();
                let mut wrong = 0;
                while start.elapsed().as_millis() < 100 {
                    wrong += i32::from(say::errno() != errno);
                }
                t.says("wrong", wrong);
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
}

fn of_a_new_flow(t: &Trace) {
    for i in 0..5 {
        t.spawn(&format!("flow {i}"), |t| {
            t.says("errno at first", say::errno());
            say::set_errno(libc::ENOTTY);
        })
        .join();
    }
}
