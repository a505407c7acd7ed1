//! Devices and counters whose `poll` says less than their calls do.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use crate::{read, write};
use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        writes_to_a_counter,
        writes_to_a_full_counter,
        a_full_counter_takes_more_later,
        short_reads,
        a_counter_of_performance,
        timers_that_are_set_while_one_waits,
        signals_that_come_later,
        watches_that_come_later,
        nothing_to_read,
    ];
    for path in ["/dev/random", "/dev/urandom", "/dev/kmsg", "/dev/null", "/dev/zero", "/dev/full"]
    {
        for nonblocking in [false, true] {
            let how = if nonblocking { "nonblocking" } else { "blocking" };
            let body = move |t: &Trace| device(t, path, nonblocking);
            rows.push(Row::new(format!("{}_{how}", path.replace("/dev/", "device_")), body));
        }
    }
    rows.push(Row::new("fanotify_takes_an_answer", fanotify).root());
    rows
}

fn device(t: &Trace, path: &str, nonblocking: bool) {
    let path = make::c(path.as_ref());
    let how = if nonblocking { libc::O_NONBLOCK } else { 0 };
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDWR | how) };
    if fd < 0 {
        t.skip("it can't be opened");
    }
    let got = t.within("write", 3_000, move || write(fd, b"<7>a line of a test\n"));
    t.says("write", got.map_or(String::new(), |got| got.to_string()));
    if path.as_bytes() != b"/dev/kmsg" {
        let got = t.within("read", 3_000, move || read(fd));
        t.says("read", got.map_or(String::new(), |got| got.to_string()));
    }
}

fn counter(value: u32) -> i32 {
    unsafe { libc::eventfd(value, 0) }
}

fn add(fd: i32, n: u64) -> say::Ret {
    write(fd, &n.to_ne_bytes())
}

fn writes_to_a_counter(t: &Trace) {
    let fd = counter(0);
    for (what, bytes) in [
        ("nothing", &[][..]),
        ("four", &[1, 0, 0, 0]),
        ("eight", &1u64.to_ne_bytes()),
        ("nine", &[0; 9]),
        ("too much", &u64::MAX.to_ne_bytes()),
    ] {
        t.says(what, write(fd, bytes));
    }
    t.says("read", read(fd));
}

fn writes_to_a_full_counter(t: &Trace) {
    let fd = counter(0);
    t.says("fill", add(fd, u64::MAX - 1));
    for (what, bytes) in [("four", &[1u8, 0, 0, 0][..]), ("too much", &[255; 8]), ("0", &[0; 8])] {
        let bytes = bytes.to_vec();
        let got = t.within(what, 3_000, move || write(fd, &bytes));
        t.says(what, got.map_or(String::new(), |got| got.to_string()));
    }
    make::nonblocking(fd, true);
    t.says("one, nonblocking", add(fd, 1));
    t.says("four, nonblocking", write(fd, &[0; 4]));
}

fn a_full_counter_takes_more_later(t: &Trace) {
    let fd = counter(0);
    t.says("fill", add(fd, u64::MAX - 1));
    let reader = t.spawn("reader", move |t| {
        ms(200);
        t.says("read", read(fd));
    });
    let got = t.timed("one", 200, || add(fd, 1));
    t.says("one", got);
    reader.join();
    t.says("the rest", read(fd));
}

fn short_reads(t: &Trace) {
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        let files = [
            ("counter", counter(0)),
            ("timer", libc::timerfd_create(libc::CLOCK_MONOTONIC, 0)),
            ("signals", libc::signalfd(-1, &raw const set, 0)),
            ("an epoll", libc::epoll_create1(0)),
        ];
        for (what, fd) in files {
            let got =
                t.within(what, 3_000, move || ret(libc::read(fd, [0u8; 4].as_mut_ptr().cast(), 4)));
            t.says(what, got.map_or(String::new(), |got| got.to_string()));
            let got = t.within(what, 3_000, move || ret(libc::read(fd, std::ptr::null_mut(), 0)));
            t.says(what, got.map_or(String::new(), |got| got.to_string()));
        }
    }
}

/// Its `poll` speaks of a ring that does not exist; its reads never wait.
fn a_counter_of_performance(t: &Trace) {
    // struct perf_event_attr: PERF_TYPE_SOFTWARE, its size, PERF_COUNT_SW_TASK_CLOCK.
    let mut attributes = [0u8; 128];
    attributes[0] = 1;
    attributes[4] = 128;
    attributes[8] = 1;
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_mut_ptr(), 0, -1, -1, 0) };
    if fd < 0 {
        t.skip("no counters of performance here");
    }
    let got = t.within("read", 3_000, move || read(fd as i32));
    t.says("read", got.map_or(String::new(), |got| got.to_string()));
}

fn timers_that_are_set_while_one_waits(t: &Trace) {
    let fd = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, 0) };
    let reader = t.spawn("reader", move |t| {
        let got = t.timed("read", 300, || read(fd));
        t.says("read", got);
    });
    ms(100);
    let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let soon = libc::timespec { tv_sec: 0, tv_nsec: 200_000_000 };
    let spec = libc::itimerspec { it_interval: never, it_value: soon };
    t.says(
        "set",
        ret(unsafe { libc::timerfd_settime(fd, 0, &raw const spec, std::ptr::null_mut()) }),
    );
    reader.join();
}

fn signals_that_come_later(t: &Trace) {
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut set, libc::SIGUSR1);
        // Of all threads of the process: it is forked with the mask.
        let pid = make::child(move || {
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            libc::raise(libc::SIGUSR1);
            let fd = libc::signalfd(-1, &raw const set, 0);
            let mut info = [0u8; 128];
            i32::from(libc::read(fd, info.as_mut_ptr().cast(), 128) != 128)
        });
        t.says("child", make::end_of(pid));
    }
}

fn watches_that_come_later(t: &Trace) {
    let path = make::path();
    // (Of one that was killed and had the same number.)
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).expect("a directory");
    let fd = unsafe { libc::inotify_init1(0) };
    t.says(
        "watch",
        ret(unsafe { libc::inotify_add_watch(fd, make::c(&path).as_ptr(), libc::IN_CREATE) }),
    );
    let inside = path.join("new");
    let maker = t.spawn("maker", move |_| {
        ms(200);
        std::fs::write(inside, b"").expect("a file");
    });
    let got = t.timed("too short", 200, || read(fd));
    t.says("too short", got);
    let mut event = [0u8; 64];
    t.says("read", ret(unsafe { libc::read(fd, event.as_mut_ptr().cast(), 64) }));
    maker.join();
    let _ = std::fs::remove_dir_all(path);
}

/// What is not ready and does not wait says so.
fn nothing_to_read(t: &Trace) {
    unsafe {
        for (what, fd) in [
            ("counter", libc::eventfd(0, libc::EFD_NONBLOCK)),
            ("timer", libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK)),
            ("watch", libc::inotify_init1(libc::IN_NONBLOCK)),
        ] {
            t.says(what, read(fd));
        }
    }
}

/// A permission is asked for and given; `poll` never says that there is room for the answer.
fn fanotify(t: &Trace) {
    unsafe {
        let path = make::path();
        std::fs::write(&path, b"asked for").expect("a file");
        let fd = libc::fanotify_init(libc::FAN_CLASS_CONTENT, libc::O_RDONLY as u32);
        let mask = libc::FAN_OPEN_PERM;
        let name = make::c(&path);
        if fd < 0
            || libc::fanotify_mark(fd, libc::FAN_MARK_ADD, mask, libc::AT_FDCWD, name.as_ptr()) < 0
        {
            t.skip("no fanotify");
        }
        let opener = make::child(move || {
            let fd = libc::open(name.as_ptr(), libc::O_RDONLY);
            i32::from(fd < 0)
        });
        let answer = t.within("answer", 3_000, move || {
            let mut event: libc::fanotify_event_metadata = std::mem::zeroed();
            let n = size_of_val(&event);
            let got = libc::read(fd, (&raw mut event).cast(), n);
            let answer = libc::fanotify_response { fd: event.fd, response: libc::FAN_ALLOW };
            let n = size_of_val(&answer);
            let said = ret(libc::write(fd, (&raw const answer).cast(), n));
            libc::close(event.fd);
            format!("read {got}, write {said}")
        });
        t.says("answer", answer.unwrap_or_default());
        libc::close(fd);
        t.says("opener", make::end_of(opener));
        let _ = std::fs::remove_file(path);
    }
}
