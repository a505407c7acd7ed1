//! Opening and closing: FIFOs that wait for their other end, flags, numbers, limits.

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say, sleep};
use std::ffi::CString;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        fifo_reader_waits_for_a_writer,
        fifo_writer_waits_for_a_reader,
        fifo_both_ways,
        fifo_at_once,
        fifo_ends_and_begins_again,
        temporary_files,
        exclusive_and_truncating,
        lowest_numbers,
        dup_and_flags,
        close_range_closes,
        close_while_read,
        closing_others_numbers,
        through_proc,
        sealed_memory,
        passed_between_flows,
        status_flags
    ];
    rows.push(Row::new("no_numbers_left", no_numbers_left).seconds(40));
    rows
}

fn close(fd: i32) {
    unsafe { libc::close(fd) };
}

fn fifo() -> CString {
    let path = make::c(&make::path());
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0, "a FIFO");
    path
}

fn open(path: &CString, flags: i32) -> i32 {
    unsafe { libc::open(path.as_ptr(), flags) }
}

fn fifo_reader_waits_for_a_writer(t: &Trace) {
    let path = fifo();
    let its = path.clone();
    let writer = t.spawn("writer", move |t| {
        ms(300);
        let fd = t.timed("open", 200, || open(&its, libc::O_WRONLY));
        t.says("write", ret(unsafe { libc::write(fd, c"hello".as_ptr().cast(), 5) }));
        ms(200);
        close(fd);
    });
    let fd = t.timed("open", 300, || open(&path, libc::O_RDONLY));
    let mut b = [0u8; 8];
    t.says("read", ret(unsafe { libc::read(fd, b.as_mut_ptr().cast(), 8) }));
    let end = t.timed("end", 200, || ret(unsafe { libc::read(fd, b.as_mut_ptr().cast(), 8) }));
    t.says("end", end);
    writer.join();
    close(fd);
}

fn fifo_writer_waits_for_a_reader(t: &Trace) {
    let path = fifo();
    let its = path.clone();
    let reader = t.spawn("reader", move |_| {
        ms(300);
        open(&its, libc::O_RDONLY)
    });
    let fd = t.timed("open", 300, || open(&path, libc::O_WRONLY));
    t.says("open", say::ok(fd));
    close(reader.join());
    t.says("write", ret(unsafe { libc::write(fd, c"x".as_ptr().cast(), 1) }));
    close(fd);
}

fn fifo_at_once(t: &Trace) {
    let path = fifo();
    t.says("to write", say::ok(open(&path, libc::O_WRONLY | libc::O_NONBLOCK)));
    let fd = open(&path, libc::O_RDONLY | libc::O_NONBLOCK);
    t.says("to read", say::ok(fd));
    let mut b = [0u8; 8];
    t.says("read", ret(unsafe { libc::read(fd, b.as_mut_ptr().cast(), 8) }));
    let writer = open(&path, libc::O_WRONLY | libc::O_NONBLOCK);
    t.says("to write", say::ok(writer));
    t.says("read", ret(unsafe { libc::read(fd, b.as_mut_ptr().cast(), 8) }));
    let mut p = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    close(writer);
    let n = unsafe { libc::poll(&raw mut p, 1, 0) };
    t.says("poll after the writer has gone", format!("{n} {:#x}", p.revents));
    close(fd);
}

fn fifo_both_ways(t: &Trace) {
    let path = fifo();
    let fd = open(&path, libc::O_RDWR);
    t.says("write", ret(unsafe { libc::write(fd, c"abc".as_ptr().cast(), 3) }));
    let mut b = [0u8; 8];
    t.says("read", ret(unsafe { libc::read(fd, b.as_mut_ptr().cast(), 8) }));
    t.hangs_after("read of nothing", 200, move || {
        let mut b = [0u8; 8];
        ret(unsafe { libc::read(fd, b.as_mut_ptr().cast(), 8) })
    });
}

fn fifo_ends_and_begins_again(t: &Trace) {
    let path = fifo();
    let reader = open(&path, libc::O_RDONLY | libc::O_NONBLOCK);
    make::nonblocking(reader, false);
    let mut b = [0u8; 8];
    t.says("no writer yet", ret(unsafe { libc::read(reader, b.as_mut_ptr().cast(), 8) }));
    for round in 0..3 {
        let writer = open(&path, libc::O_WRONLY);
        let other = t.spawn(&format!("writer {round}"), move |t| {
            ms(100);
            t.says("write", ret(unsafe { libc::write(writer, c"x".as_ptr().cast(), 1) }));
            ms(100);
            close(writer);
        });
        t.says("read", ret(unsafe { libc::read(reader, b.as_mut_ptr().cast(), 8) }));
        t.says("end", ret(unsafe { libc::read(reader, b.as_mut_ptr().cast(), 8) }));
        t.says("end again", ret(unsafe { libc::read(reader, b.as_mut_ptr().cast(), 8) }));
        other.join();
    }
    close(reader);
}

fn temporary_files(t: &Trace) {
    let flags = libc::O_TMPFILE | libc::O_RDWR;
    let fd = unsafe { libc::open(c"/tmp".as_ptr(), flags, 0o600) };
    if fd < 0 && say::errno() == libc::EOPNOTSUPP {
        t.skip("/tmp has no O_TMPFILE");
    }
    t.says("open", say::ok(fd));
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    unsafe { libc::fstat(fd, &raw mut stat) };
    t.says("mode and links", format!("{:o} {}", stat.st_mode, stat.st_nlink));
    let path = make::c(&make::path());
    let proc = CString::new(format!("/proc/self/fd/{fd}")).expect("no zero");
    let linked = unsafe {
        let follow = libc::AT_SYMLINK_FOLLOW;
        libc::linkat(libc::AT_FDCWD, proc.as_ptr(), libc::AT_FDCWD, path.as_ptr(), follow)
    };
    t.says("link", ret(linked));
    t.says("unlink", ret(unsafe { libc::unlink(path.as_ptr()) }));
    t.says("read only", say::ok(unsafe { libc::open(c"/tmp".as_ptr(), libc::O_TMPFILE, 0o600) }));
    t.says(
        "openat",
        say::ok(unsafe { libc::openat(libc::AT_FDCWD, c"/tmp".as_ptr(), flags, 0o640) }),
    );
    close(fd);
}

fn exclusive_and_truncating(t: &Trace) {
    let path = make::c(&make::path());
    let new = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
    unsafe {
        let fd = libc::open(path.as_ptr(), new, 0o604);
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(fd, &raw mut stat);
        t.says("mode", format!("{:o}", stat.st_mode));
        t.says("again", say::ok(libc::open(path.as_ptr(), new, 0o600)));
        libc::write(fd, c"hello".as_ptr().cast(), 5);
        let other = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_TRUNC);
        t.says("length", libc::lseek(other, 0, libc::SEEK_END));
        t.says("as a directory", say::ok(libc::open(path.as_ptr(), libc::O_DIRECTORY)));
        let creat = libc::creat(path.as_ptr(), 0o600);
        t.says("creat", say::ok(creat));
        t.says(
            "read what is to be written",
            ret(libc::read(creat, [0u8; 1].as_mut_ptr().cast(), 1)),
        );
        t.says("unlink", ret(libc::unlink(path.as_ptr())));
        make::close([fd, other, creat]);
    }
}

fn lowest_numbers(t: &Trace) {
    let first = unsafe { libc::dup(0) };
    let numbers: Vec<i32> = (0..4).map(|_| unsafe { libc::dup(0) } - first).collect();
    t.says("one after the other", format!("{numbers:?}"));
    close(first + 2);
    t.says("the gap", unsafe { libc::dup(0) } - first);
    t.says("from 700", unsafe { libc::fcntl(0, libc::F_DUPFD, 700) });
    t.says("from 700, closed by exec", unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 700) });
    t.says("from -1", ret(unsafe { libc::fcntl(0, libc::F_DUPFD, -1) }));
    t.says("beyond the limit", ret(unsafe { libc::fcntl(0, libc::F_DUPFD, 1 << 30) }));
    for number in (first..first + 5).chain([700, 701]) {
        t.says("close", ret(unsafe { libc::close(number) }));
    }
}

fn dup_and_flags(t: &Trace) {
    let flags = |fd| unsafe { libc::fcntl(fd, libc::F_GETFD) };
    unsafe {
        t.says("dup2", libc::dup2(0, 600));
        t.says("flags", flags(600));
        t.says("dup3", libc::dup3(0, 601, libc::O_CLOEXEC));
        t.says("flags", flags(601));
        t.says("dup2 over it", libc::dup2(0, 601));
        t.says("flags", flags(601));
        t.says("dup3, bad flags", ret(libc::dup3(0, 601, libc::O_APPEND)));
        t.says("dup3 to itself", ret(libc::dup3(600, 600, 0)));
        t.says("dup2 to itself", libc::dup2(600, 600));
        t.says("of nothing to itself", ret(libc::dup2(650, 650)));
        t.says("of nothing", ret(libc::dup2(650, 600)));
        t.says("still there", flags(600));
        let mut fds = [0; 2];
        t.says("pipe2, bad flags", ret(libc::pipe2(fds.as_mut_ptr(), libc::O_APPEND)));
        t.says("pipe2", ret(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK)));
        t.says("flags", fds.map(flags).map(|n| n.to_string()).join(" "));
        make::close(fds);
        make::close([600, 601]);
    }
}

fn close_range_closes(t: &Trace) {
    unsafe {
        for number in 600..610 {
            libc::dup2(0, number);
        }
        t.says("some", ret(libc::close_range(602, 605, 0)));
        t.says(
            "to close by exec",
            ret(libc::close_range(606, 607, libc::CLOSE_RANGE_CLOEXEC as i32)),
        );
        t.says("the wrong way", ret(libc::close_range(605, 602, 0)));
        t.says("bad flags", ret(libc::close_range(602, 605, 1 << 20)));
        let open: Vec<_> = (600..610).map(|n| libc::fcntl(n, libc::F_GETFD)).collect();
        t.says("left", format!("{open:?}"));
        t.says("by syscall", ret(libc::syscall(libc::SYS_close_range, 600u32, 610u32, 0)));
        let open: Vec<_> = (600..610).map(|n| libc::fcntl(n, libc::F_GETFD)).collect();
        t.says("left", format!("{open:?}"));
    }
}

fn close_while_read(t: &Trace) {
    let (read, write) = make::pipe();
    let reader = t.spawn("reader", move |_| {
        let mut b = 0u8;
        unsafe { libc::read(read, (&raw mut b).cast(), 1) }
    });
    ms(100);
    t.says("close", ret(unsafe { libc::close(write) }));
    t.says("read", reader.join());
    t.says("close", ret(unsafe { libc::close(read) }));
    t.says("again", ret(unsafe { libc::close(read) }));
}

fn closing_others_numbers(t: &Trace) {
    // A program that closes all that it does not know, as daemons do.
    let (read, write) = make::pipe();
    for number in 3..1024 {
        if number != read && number != write {
            unsafe { libc::close(number) };
        }
    }
    let writer = t.spawn("writer", move |t| {
        ms(100);
        t.says("write", ret(unsafe { libc::write(write, c"x".as_ptr().cast(), 1) }));
    });
    let mut b = 0u8;
    t.says("read", ret(unsafe { libc::read(read, (&raw mut b).cast(), 1) }));
    writer.join();
    make::close([read, write]);
}

fn through_proc(t: &Trace) {
    let (read, write) = make::pipe();
    let name = CString::new(format!("/proc/self/fd/{read}")).expect("no zero");
    let writing = unsafe { libc::open(name.as_ptr(), libc::O_WRONLY) };
    t.says("open the other end", say::ok(writing));
    t.says("write", ret(unsafe { libc::write(writing, c"x".as_ptr().cast(), 1) }));
    let mut b = 0u8;
    t.says("read", ret(unsafe { libc::read(read, (&raw mut b).cast(), 1) }));
    let reading = unsafe { libc::open(name.as_ptr(), libc::O_RDONLY | libc::O_NONBLOCK) };
    t.says("its own flags", ret(unsafe { libc::read(reading, (&raw mut b).cast(), 1) }));
    t.says(
        "who one is",
        std::fs::read_link("/proc/self")
            .is_ok_and(|l| l.to_string_lossy() == std::process::id().to_string()),
    );
    t.says(
        "/dev/stdin",
        say::ok(unsafe { libc::open(c"/dev/stdin".as_ptr(), libc::O_RDONLY) }) == "ok",
    );
    make::close([read, write, writing, reading]);
}

fn sealed_memory(t: &Trace) {
    unsafe {
        let fd = libc::memfd_create(c"m".as_ptr(), libc::MFD_ALLOW_SEALING);
        libc::ftruncate(fd, 100);
        t.says(
            "seal",
            ret(libc::fcntl(fd, libc::F_ADD_SEALS, libc::F_SEAL_SHRINK | libc::F_SEAL_WRITE)),
        );
        t.says("seals", ret(libc::fcntl(fd, libc::F_GET_SEALS)));
        t.says("write", ret(libc::write(fd, c"x".as_ptr().cast(), 1)));
        t.says("shrink", ret(libc::ftruncate(fd, 10)));
        t.says("grow", ret(libc::ftruncate(fd, 200)));
        t.says("bad flags", say::ok(libc::memfd_create(c"m".as_ptr(), 1 << 20)));
        close(fd);
    }
}

fn passed_between_flows(t: &Trace) {
    let fd = make::file(b"hello");
    let back = t.spawn("other", move |t| {
        let mut b = [0u8; 8];
        t.says("read", ret(unsafe { libc::read(fd, b.as_mut_ptr().cast(), 8) }));
        close(fd);
        make::file(b"back")
    });
    let back = back.join();
    t.says("the same number", back == fd);
    let mut b = [0u8; 8];
    t.says("read", ret(unsafe { libc::read(back, b.as_mut_ptr().cast(), 8) }));
    close(back);
}

fn status_flags(t: &Trace) {
    let (read, write) = make::pipe();
    unsafe {
        for flags in [libc::O_NONBLOCK, libc::O_NONBLOCK | libc::O_APPEND, libc::O_DIRECT, 0] {
            t.says("set", ret(libc::fcntl(write, libc::F_SETFL, flags)));
            t.says("are", format!("{:#x}", libc::fcntl(write, libc::F_GETFL)));
        }
        let on = 1i32;
        t.says("FIONBIO", ret(libc::ioctl(read, libc::FIONBIO, &raw const on)));
        t.says("are", format!("{:#x}", libc::fcntl(read, libc::F_GETFL)));
        t.says("read", ret(libc::read(read, [0u8; 1].as_mut_ptr().cast(), 1)));
        t.says("owner", ret(libc::fcntl(read, libc::F_SETOWN, std::process::id())));
        t.says("is", libc::fcntl(read, libc::F_GETOWN) == std::process::id().cast_signed());
        t.says("FIOCLEX", ret(libc::ioctl(read, libc::FIOCLEX)));
        t.says("flags", libc::fcntl(read, libc::F_GETFD));
        t.says("pipe size", ret(libc::fcntl(read, libc::F_SETPIPE_SZ, 5000)));
        t.says("is", libc::fcntl(write, libc::F_GETPIPE_SZ));
    }
    make::close([read, write]);
}

fn no_numbers_left(t: &Trace) {
    let limit = libc::rlimit { rlim_cur: 60, rlim_max: 60 };
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    let (read, write) = make::pipe();
    let mut taken = Vec::new();
    loop {
        match unsafe { libc::dup(0) } {
            -1 => break,
            fd => taken.push(fd),
        }
    }
    t.says("dup", ret(unsafe { libc::dup(0) }));
    t.says("open", ret(unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY) }));
    t.says("pipe", ret(unsafe { libc::pipe([0; 2].as_mut_ptr()) }));
    t.says("socket", ret(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0) }));
    t.says("std", say::io(std::fs::File::open("/dev/null").map(drop)));
    let writer = t.spawn("writer", move |t| {
        ms(100);
        t.says("write", ret(unsafe { libc::write(write, c"x".as_ptr().cast(), 1) }));
    });
    let mut b = 0u8;
    t.says("a read that waits", ret(unsafe { libc::read(read, (&raw mut b).cast(), 1) }));
    writer.join();
    t.timed("a sleep", 200, || sleep(200));
    taken.into_iter().for_each(close);
    make::close([read, write]);
}
