//! eventfds, timerfds, signalfds, inotify: what they count, and what their waits end with.

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};
use std::ptr::null_mut;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        eventfd_counts,
        eventfd_wakes_a_reader,
        eventfd_full_waits,
        eventfd_semaphore_wakes_each,
        eventfd_between_threads_and_flows,
        eventfd_of_children,
        eventfd_libc_calls,
        timerfd_once,
        timerfd_again_and_again,
        timerfd_absolute,
        timerfd_set_while_read,
        timerfd_asked,
        timerfd_bad,
        timerfd_polled,
        inotify_tells,
        inotify_wakes_a_reader,
        inotify_small_room,
        inotify_bad,
        epoll_of_all_kinds,
        epoll_edges_and_once,
        epoll_in_epoll,
        userfault_of_memory
    ];
    rows.push(Row::new("signalfd_reads", signalfd_reads).before(block));
    rows.push(Row::new("signalfd_of_children", signalfd_of_children).before(block));
    rows.push(Row::new("signalfd_changed", signalfd_changed).before(block));
    rows.push(Row::new("signalfd_of_a_mask_that_is_set_later", signalfd_later));
    rows
}

fn eventfd(value: u32, flags: i32) -> i32 {
    let fd = unsafe { libc::eventfd(value, flags) };
    assert!(fd >= 0, "an eventfd");
    fd
}

fn add(fd: i32, value: u64) -> say::Ret {
    ret(unsafe { libc::write(fd, (&raw const value).cast(), 8) })
}

fn take(fd: i32) -> String {
    let mut value = 0u64;
    let n = ret(unsafe { libc::read(fd, (&raw mut value).cast(), 8) });
    format!("{n}: {value}")
}

fn eventfd_counts(t: &Trace) {
    let fd = eventfd(3, libc::EFD_NONBLOCK);
    t.says("add", add(fd, 4));
    t.says("take", take(fd));
    t.says("take", take(fd));
    t.says("most", add(fd, u64::MAX - 1));
    t.says("one more", add(fd, 1));
    t.says("none", add(fd, 0));
    t.says("too many", add(fd, u64::MAX));
    t.says("take", take(fd));
    t.says("short", ret(unsafe { libc::read(fd, [0u8; 4].as_mut_ptr().cast(), 4) }));
    t.says("long", ret(unsafe { libc::write(fd, [1u8; 16].as_ptr().cast(), 16) }));
    make::close([fd]);
}

fn eventfd_wakes_a_reader(t: &Trace) {
    let fd = eventfd(0, 0);
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("add", add(fd, 7));
    });
    let got = t.timed("take", 300, || take(fd));
    t.says("take", got);
    other.join();
    make::close([fd]);
}

fn eventfd_full_waits(t: &Trace) {
    let fd = eventfd(0, 0);
    add(fd, u64::MAX - 2);
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("take", take(fd));
    });
    let added = t.timed("add", 300, || add(fd, 5));
    t.says("add", added);
    other.join();
    t.says("take", take(fd));
    make::close([fd]);
}

fn eventfd_semaphore_wakes_each(t: &Trace) {
    let fd = eventfd(0, libc::EFD_SEMAPHORE);
    let all: Vec<_> = (0..5)
        .map(|i| t.spawn(&format!("reader {i}"), move |t| t.says("take", take(fd))))
        .collect();
    ms(100);
    t.says("add", add(fd, 5));
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
    t.hangs_after("one too many", 200, move || take(fd));
}

fn eventfd_between_threads_and_flows(t: &Trace) {
    let (there, back) = (eventfd(0, 0), eventfd(0, 0));
    let thread = std::thread::spawn(move || {
        for _ in 0..50 {
            take(there);
            add(back, 1);
        }
    });
    for _ in 0..50 {
        add(there, 1);
        take(back);
    }
    t.says("thread", thread.join().is_ok());
    make::close([there, back]);
}

fn eventfd_of_children(t: &Trace) {
    let fd = eventfd(0, 0);
    let child = make::child(|| {
        ms(200);
        i32::from(add(fd, 9).value != 8)
    });
    let got = t.timed("take", 200, || take(fd));
    t.says("take", got);
    t.says("child", make::end_of(child));
    make::close([fd]);
}

unsafe extern "C" {
    fn eventfd_read(fd: i32, value: *mut u64) -> i32;
    fn eventfd_write(fd: i32, value: u64) -> i32;
}

fn eventfd_libc_calls(t: &Trace) {
    let fd = eventfd(0, 0);
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("eventfd_write", ret(unsafe { eventfd_write(fd, 3) }));
    });
    let mut value = 0;
    let n = t.timed("eventfd_read", 300, || ret(unsafe { eventfd_read(fd, &raw mut value) }));
    t.says("eventfd_read", format!("{n} {value}"));
    other.join();
    make::close([fd]);
}

fn timer(flags: i32) -> i32 {
    let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) };
    assert!(fd >= 0, "a timer");
    fd
}

fn times(first: i64, every: i64) -> libc::itimerspec {
    let time = |ms: i64| libc::timespec { tv_sec: ms / 1000, tv_nsec: ms % 1000 * 1_000_000 };
    libc::itimerspec { it_value: time(first), it_interval: time(every) }
}

fn set(fd: i32, first: i64, every: i64) -> say::Ret {
    let times = times(first, every);
    ret(unsafe { libc::timerfd_settime(fd, 0, &raw const times, null_mut()) })
}

fn timerfd_once(t: &Trace) {
    let fd = timer(0);
    t.says("set", set(fd, 300, 0));
    let got = t.timed("read", 300, || take(fd));
    t.says("read", got);
    t.hangs_after("again", 200, move || take(fd));
    set(fd, 1, 0);
    ms(50);
}

fn timerfd_again_and_again(t: &Trace) {
    let fd = timer(0);
    set(fd, 100, 100);
    t.timed("three", 300, || {
        for _ in 0..3 {
            take(fd);
        }
    });
    ms(350);
    let mut value = 0u64;
    unsafe { libc::read(fd, (&raw mut value).cast(), 8) };
    t.says("three at least", value >= 3);
    t.says("stop", set(fd, 0, 0));
    make::close([fd]);
}

fn timerfd_absolute(t: &Trace) {
    let fd = timer(0);
    let mut times = times(0, 0);
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut times.it_value) };
    let set = |times: &libc::itimerspec| {
        let times: *const _ = times;
        ret(unsafe { libc::timerfd_settime(fd, libc::TFD_TIMER_ABSTIME, times, null_mut()) })
    };
    t.says("the past", set(&times));
    let got = t.timed("read", 300, || take(fd));
    t.says("read", got);
    times.it_value.tv_nsec += 300_000_000;
    times.it_value.tv_sec += times.it_value.tv_nsec / 1_000_000_000;
    times.it_value.tv_nsec %= 1_000_000_000;
    t.says("the future", set(&times));
    let got = t.timed("read", 300, || take(fd));
    t.says("read", got);
    make::close([fd]);
}

fn timerfd_set_while_read(t: &Trace) {
    let fd = timer(0);
    set(fd, 60_000, 0);
    let other = t.spawn("other", move |t| {
        ms(200);
        t.says("set", set(fd, 100, 0));
    });
    let got = t.timed("read", 300, || take(fd));
    t.says("read", got);
    other.join();
    make::close([fd]);
}

fn timerfd_asked(t: &Trace) {
    let fd = timer(libc::TFD_NONBLOCK);
    t.says("read", take(fd));
    set(fd, 60_000, 5);
    let mut times = times(0, 0);
    t.says("ask", ret(unsafe { libc::timerfd_gettime(fd, &raw mut times) }));
    t.says("is", format!("{} {}", times.it_value.tv_sec > 50, times.it_interval.tv_nsec));
    let new = self::times(0, 0);
    t.says("stop", ret(unsafe { libc::timerfd_settime(fd, 0, &raw const new, &raw mut times) }));
    t.says("was", times.it_interval.tv_nsec);
    make::close([fd]);
}

fn timerfd_bad(t: &Trace) {
    let fd = timer(0);
    unsafe {
        t.says("settime", ret(libc::timerfd_settime(fd, 0, make::bad(), null_mut())));
        t.says("gettime", ret(libc::timerfd_gettime(fd, make::bad())));
        let mut times = times(1, 0);
        times.it_value.tv_nsec = -1;
        t.says("a bad time", ret(libc::timerfd_settime(fd, 0, &raw const times, null_mut())));
        t.says("flags", ret(libc::timerfd_settime(fd, 1 << 20, &raw const times, null_mut())));
        t.says("clock", ret(libc::timerfd_create(99, 0)));
        t.says("short", ret(libc::read(fd, [0u8; 4].as_mut_ptr().cast(), 4)));
        t.says("write", ret(libc::write(fd, [0u8; 8].as_ptr().cast(), 8)));
    }
    make::close([fd]);
}

fn timerfd_polled(t: &Trace) {
    let fd = timer(0);
    set(fd, 300, 0);
    let mut p = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let n = t.timed("poll", 300, || ret(unsafe { libc::poll(&raw mut p, 1, -1) }));
    t.says("poll", format!("{n} {:#x}", p.revents));
    t.says("read", take(fd));
    make::close([fd]);
}

fn block(_: &Trace) {
    unsafe {
        let set = signals(&[libc::SIGUSR1, libc::SIGUSR2, libc::SIGCHLD]);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, null_mut());
    }
}

fn signals(all: &[i32]) -> libc::sigset_t {
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in all {
            libc::sigaddset(&raw mut set, *signal);
        }
        set
    }
}

fn next(fd: i32) -> String {
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let n = ret(unsafe { libc::read(fd, (&raw mut info).cast(), size_of_val(&info)) });
    format!("{n}: {} code {}", say::signal_name(info.ssi_signo as i32), info.ssi_code)
}

fn signalfd_reads(t: &Trace) {
    let set = signals(&[libc::SIGUSR1, libc::SIGUSR2]);
    let fd = unsafe { libc::signalfd(-1, &raw const set, 0) };
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("kill", ret(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }));
    });
    let got = t.timed("read", 300, || next(fd));
    t.says("read", got);
    other.join();
    unsafe {
        libc::kill(libc::getpid(), libc::SIGUSR2);
        libc::kill(libc::getpid(), libc::SIGUSR1);
        let mut two: [libc::signalfd_siginfo; 2] = std::mem::zeroed();
        t.says("two", ret(libc::read(fd, two.as_mut_ptr().cast(), size_of_val(&two))));
        t.says("which", format!("{} {}", two[0].ssi_signo, two[1].ssi_signo));
        t.says("short", ret(libc::read(fd, two.as_mut_ptr().cast(), 8)));
    }
    t.hangs_after("none", 200, move || next(fd));
    unsafe { libc::kill(libc::getpid(), libc::SIGUSR2) };
    ms(50);
}

/// As a daemon's main does it: it blocks what it will read.
fn signalfd_later(t: &Trace) {
    let set = signals(&[libc::SIGUSR1]);
    let fd = unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        libc::signalfd(-1, &raw const set, 0)
    };
    for turn in 0..10 {
        unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
        t.says("poll", format!("{turn} {}", polled(fd)));
        t.says("read", next(fd));
        ms(1);
    }
}

fn polled(fd: i32) -> i32 {
    let mut one = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    unsafe { libc::poll(&raw mut one, 1, 300) }
}

fn signalfd_of_children(t: &Trace) {
    let set = signals(&[libc::SIGCHLD]);
    let fd = unsafe { libc::signalfd(-1, &raw const set, 0) };
    let child = make::child(|| {
        ms(300);
        3
    });
    let got = t.timed("read", 300, || next(fd));
    t.says("read", got);
    t.says("child", make::end_of(child));
    make::close([fd]);
}

fn signalfd_changed(t: &Trace) {
    let set = signals(&[libc::SIGUSR1]);
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK) };
    unsafe { libc::kill(libc::getpid(), libc::SIGUSR2) };
    t.says("not asked for", next(fd));
    let set = signals(&[libc::SIGUSR2]);
    t.says("change", unsafe { libc::signalfd(fd, &raw const set, 0) } == fd);
    t.says("asked for", next(fd));
    t.says("of a pipe", ret(unsafe { libc::signalfd(make::pipe().0, &raw const set, 0) }));
    // SAFETY: ends the process with its pipe.
    unsafe { libc::_exit(0) };
}

fn watched() -> (i32, std::path::PathBuf) {
    let path = make::path();
    std::fs::create_dir(&path).expect("a directory");
    unsafe {
        let fd = libc::inotify_init1(0);
        assert!(fd >= 0, "inotify: {}", std::io::Error::last_os_error());
        let mask = libc::IN_CREATE | libc::IN_DELETE | libc::IN_MODIFY;
        assert!(libc::inotify_add_watch(fd, make::c(&path).as_ptr(), mask) >= 0, "a watch");
        (fd, path)
    }
}

fn inotify_tells(t: &Trace) {
    let (fd, path) = watched();
    std::fs::write(path.join("x"), "y").expect("a file");
    std::fs::remove_file(path.join("x")).expect("it can go");
    let mut events = [0u8; 256];
    t.says("read", ret(unsafe { libc::read(fd, events.as_mut_ptr().cast(), 256) }));
    t.says("masks", format!("{:?} {:?}", &events[4..8], &events[36..40]));
    let mut waiting = 9i32;
    t.says("FIONREAD", ret(unsafe { libc::ioctl(fd, libc::FIONREAD, &raw mut waiting) }));
    t.says("is", waiting);
    std::fs::remove_dir(path).expect("it can go");
    t.says("its end", ret(unsafe { libc::read(fd, events.as_mut_ptr().cast(), 256) }));
    make::close([fd]);
}

fn inotify_wakes_a_reader(t: &Trace) {
    let (fd, path) = watched();
    let file = path.join("x");
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("write", say::io(std::fs::write(file, "")));
    });
    let mut events = [0u8; 256];
    let n =
        t.timed("read", 300, || ret(unsafe { libc::read(fd, events.as_mut_ptr().cast(), 256) }));
    t.says("read", n);
    other.join();
    t.says("remove", say::io(std::fs::remove_dir_all(path)));
    make::close([fd]);
}

fn inotify_small_room(t: &Trace) {
    let (fd, path) = watched();
    std::fs::write(path.join("a-name-of-some-length"), "").expect("a file");
    t.says("no room", ret(unsafe { libc::read(fd, [0u8; 16].as_mut_ptr().cast(), 16) }));
    t.says("remove", say::io(std::fs::remove_dir_all(path)));
    make::close([fd]);
}

fn inotify_bad(t: &Trace) {
    unsafe {
        let fd = libc::inotify_init1(libc::IN_NONBLOCK);
        t.says("read", ret(libc::read(fd, [0u8; 64].as_mut_ptr().cast(), 64)));
        t.says("no such", ret(libc::inotify_add_watch(fd, c"/no/such".as_ptr(), libc::IN_CREATE)));
        t.says("no events", ret(libc::inotify_add_watch(fd, c"/tmp".as_ptr(), 0)));
        t.says("a bad name", ret(libc::inotify_add_watch(fd, make::bad(), libc::IN_CREATE)));
        t.says("no watch", ret(libc::inotify_rm_watch(fd, 77)));
        t.says("write", ret(libc::write(fd, c"x".as_ptr().cast(), 1)));
        make::close([fd]);
    }
}

fn epoll_of_all_kinds(t: &Trace) {
    unsafe {
        let epoll = libc::epoll_create1(0);
        let (read, write) = make::pipe();
        let (a, b) = make::socketpair(libc::SOCK_STREAM);
        let (count, clock) = (eventfd(0, 0), timer(0));
        for (i, fd) in [read, a, count, clock].into_iter().enumerate() {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: i as u64 };
            t.says("add", ret(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event)));
        }
        set(clock, 150, 0);
        let other = t.spawn("other", move |_| {
            ms(50);
            libc::write(write, c"x".as_ptr().cast(), 1);
            ms(50);
            libc::write(b, c"x".as_ptr().cast(), 1);
            ms(150);
            add(count, 1);
        });
        let mut seen = [false; 4];
        while seen.contains(&false) {
            let mut events: [libc::epoll_event; 4] = std::mem::zeroed();
            let n = libc::epoll_wait(epoll, events.as_mut_ptr(), 4, 2000);
            if n <= 0 {
                break;
            }
            for event in &events[..n as usize] {
                seen[event.u64 as usize] = true;
                let fd = [read, a, count, clock][event.u64 as usize];
                libc::read(fd, [0u8; 8].as_mut_ptr().cast(), 8);
            }
        }
        t.says("seen", format!("{seen:?}"));
        other.join();
        make::close([epoll, read, write, a, b, count, clock]);
    }
}

fn epoll_edges_and_once(t: &Trace) {
    unsafe {
        let epoll = libc::epoll_create1(0);
        let fd = eventfd(1, 0);
        let wait = || {
            let mut event = libc::epoll_event { events: 0, u64: 0 };
            ret(libc::epoll_wait(epoll, &raw mut event, 1, 100))
        };
        let flags = (libc::EPOLLIN | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events: flags, u64: 0 };
        libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event);
        t.says("edge", wait());
        t.says("no edge", wait());
        add(fd, 1);
        t.says("edge", wait());
        event.events = (libc::EPOLLIN | libc::EPOLLONESHOT) as u32;
        t.says("once", ret(libc::epoll_ctl(epoll, libc::EPOLL_CTL_MOD, fd, &raw mut event)));
        t.says("first", wait());
        t.says("second", wait());
        t.says("add again", ret(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event)));
        t.says("remove", ret(libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, null_mut())));
        t.says("remove again", ret(libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, null_mut())));
        t.says("itself", ret(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, epoll, &raw mut event)));
        t.says("bad", ret(libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, make::bad())));
        t.says("none", ret(libc::epoll_wait(epoll, &raw mut event, 0, 0)));
        t.says("bad place", ret(libc::epoll_wait(epoll, make::bad(), 1, 0)));
        make::close([epoll, fd]);
    }
}

fn epoll_in_epoll(t: &Trace) {
    unsafe {
        let (outer, inner) = (libc::epoll_create1(0), libc::epoll_create1(0));
        let fd = eventfd(0, 0);
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 5 };
        libc::epoll_ctl(inner, libc::EPOLL_CTL_ADD, fd, &raw mut event);
        t.says("add", ret(libc::epoll_ctl(outer, libc::EPOLL_CTL_ADD, inner, &raw mut event)));
        t.says(
            "in a circle",
            ret(libc::epoll_ctl(inner, libc::EPOLL_CTL_ADD, outer, &raw mut event)),
        );
        let other = t.spawn("other", move |_| {
            ms(300);
            add(fd, 1);
        });
        let n = t.timed("wait", 300, || ret(libc::epoll_wait(outer, &raw mut event, 1, -1)));
        let word = event.u64;
        t.says("wait", format!("{n} {word}"));
        other.join();
        make::close([outer, inner, fd]);
    }
}

fn userfault_of_memory(t: &Trace) {
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) } as i32;
    if fd < 0 {
        t.skip("no userfaultfd here");
    }
    let mut p = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let n = ret(unsafe { libc::poll(&raw mut p, 1, 0) });
    t.says("poll", format!("{n} {:#x}", p.revents));
    t.says("read", ret(unsafe { libc::read(fd, [0u8; 8].as_mut_ptr().cast(), 8) }));
    make::close([fd]);
}
