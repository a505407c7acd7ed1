//! Bytes in and out of files: offsets, vectors, ends, limits; copies within the kernel.

use goroutines_twin_tests::{Row, Trace, make, ret, rows, say};
use std::ptr::null_mut;

pub(crate) fn rows() -> Vec<Row> {
    rows![
        offsets,
        positions_are_shared,
        append,
        vectors_of_many_parts,
        positioned_vectors,
        flags_of_preadv2,
        partly_bad_memory,
        memory_at_an_edge,
        holes_and_data,
        beyond_the_largest_file,
        a_full_disk,
        sendfile_moves,
        sendfile_to_a_file,
        copy_file_range_moves,
        splice_file_to_pipe,
        large_through_a_pipe,
        truncation,
        allocation,
        several_write_at_once,
        read_and_write_of_std,
        directories,
        links_and_names,
        times_and_modes
    ]
}

fn close(fd: i32) {
    unsafe { libc::close(fd) };
}

fn part(bytes: &mut [u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() }
}

fn contents(fd: i32) -> String {
    let mut bytes = vec![0u8; 200];
    let n = unsafe { libc::pread(fd, bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    say::bytes(&bytes[..n.max(0) as usize])
}

fn offsets(t: &Trace) {
    let fd = make::file(b"0123456789");
    let mut b = [0u8; 8];
    for at in [0, 5, 9, 10, 100, -1, i64::MAX] {
        let n = ret(unsafe { libc::pread(fd, b.as_mut_ptr().cast(), 4, at) });
        let read = usize::try_from(n.value).unwrap_or(0);
        t.says(&format!("pread at {at}"), format!("{n} {}", say::bytes(&b[..read])));
    }
    t.says("position", ret(unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }));
    t.says("pwrite", ret(unsafe { libc::pwrite(fd, c"ab".as_ptr().cast(), 2, 12) }));
    t.says("contents", contents(fd));
    for (to, from) in [(-3, libc::SEEK_END), (-30, libc::SEEK_END), (2, libc::SEEK_CUR), (0, 99)] {
        t.says(&format!("seek {to} {from}"), ret(unsafe { libc::lseek(fd, to, from) }));
    }
    close(fd);
}

fn positions_are_shared(t: &Trace) {
    let fd = make::file(b"0123456789");
    let copy = unsafe { libc::dup(fd) };
    let mut b = [0u8; 3];
    unsafe { libc::read(fd, b.as_mut_ptr().cast(), 3) };
    t.spawn("other", move |t| {
        let mut b = [0u8; 3];
        t.says("read", ret(unsafe { libc::read(copy, b.as_mut_ptr().cast(), 3) }));
        t.says("bytes", say::bytes(&b));
    })
    .join();
    let child = make::child(|| unsafe { libc::lseek(fd, 1, libc::SEEK_CUR) } as i32);
    t.says("child", make::end_of(child));
    t.says("position", ret(unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }));
    make::close([fd, copy]);
}

fn append(t: &Trace) {
    let fd = make::file(b"01234");
    unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_APPEND) };
    t.says("write", ret(unsafe { libc::write(fd, c"ab".as_ptr().cast(), 2) }));
    t.says("pwrite at 0", ret(unsafe { libc::pwrite(fd, c"cd".as_ptr().cast(), 2, 0) }));
    t.says("contents", contents(fd));
    t.says("position", ret(unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }));
    close(fd);
}

fn vectors_of_many_parts(t: &Trace) {
    let fd = make::file(b"");
    let mut bytes: Vec<u8> = (0..=255).cycle().take(1024).collect();
    let parts: Vec<_> = bytes.chunks_mut(1).map(part).collect();
    for n in [0, 1, 1024, 1025, -1] {
        t.says(&format!("writev of {n}"), ret(unsafe { libc::writev(fd, parts.as_ptr(), n) }));
    }
    unsafe { libc::lseek(fd, 0, libc::SEEK_SET) };
    let mut back = vec![0u8; 1024];
    let mut parts: Vec<_> = back.chunks_mut(1).map(part).collect();
    parts[3].iov_len = 0;
    t.says("readv", ret(unsafe { libc::readv(fd, parts.as_ptr(), 1024) }));
    t.says("bytes", say::bytes(&back[..12]));
    close(fd);
}

fn positioned_vectors(t: &Trace) {
    let fd = make::file(b"0123456789");
    let (mut a, mut b) = ([0u8; 3], [0u8; 9]);
    let parts = [part(&mut a), part(&mut b)];
    for at in [0, 8, 10, -1, -2] {
        let n = ret(unsafe { libc::preadv(fd, parts.as_ptr(), 2, at) });
        t.says(&format!("preadv at {at}"), format!("{n} {} {}", say::bytes(&a), say::bytes(&b)));
    }
    t.says("pwritev", ret(unsafe { libc::pwritev(fd, parts.as_ptr(), 1, 4) }));
    t.says("contents", contents(fd));
    t.says("position", ret(unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }));
    close(fd);
}

fn flags_of_preadv2(t: &Trace) {
    let fd = make::file(b"0123456789");
    let mut a = [0u8; 4];
    let parts = [part(&mut a)];
    for (name, flags) in [
        ("none", 0),
        ("no wait", libc::RWF_NOWAIT),
        ("unknown", 1 << 20),
        ("high priority", libc::RWF_HIPRI),
    ] {
        let n = ret(unsafe { libc::preadv2(fd, parts.as_ptr(), 1, -1, flags) });
        t.says(&format!("preadv2 {name}"), n);
    }
    for (name, flags) in
        [("append", libc::RWF_APPEND), ("synchronous", libc::RWF_DSYNC), ("unknown", 1 << 20)]
    {
        let n = ret(unsafe { libc::pwritev2(fd, parts.as_ptr(), 1, 0, flags) });
        t.says(&format!("pwritev2 {name}"), n);
    }
    close(fd);
}

fn partly_bad_memory(t: &Trace) {
    let fd = make::file(&[b'x'; 300]);
    let edge = make::Edge::new(100);
    t.says("read over the edge", ret(unsafe { libc::read(fd, edge.as_ptr(), 200) }));
    t.says("position", ret(unsafe { libc::lseek(fd, 0, libc::SEEK_CUR) }));
    t.says("pread over the edge", ret(unsafe { libc::pread(fd, edge.as_ptr(), 200, 0) }));
    t.says("write over the edge", ret(unsafe { libc::write(fd, edge.as_ptr(), 200) }));
    t.says("pwrite over the edge", ret(unsafe { libc::pwrite(fd, edge.as_ptr(), 200, 0) }));
    let parts = [
        libc::iovec { iov_base: edge.as_ptr(), iov_len: 100 },
        libc::iovec { iov_base: make::bad(), iov_len: 100 },
    ];
    unsafe { libc::lseek(fd, 0, libc::SEEK_SET) };
    t.says("readv, bad second", ret(unsafe { libc::readv(fd, parts.as_ptr(), 2) }));
    t.says("preadv, bad second", ret(unsafe { libc::preadv(fd, parts.as_ptr(), 2, 0) }));
    t.says("pwritev, bad second", ret(unsafe { libc::pwritev(fd, parts.as_ptr(), 2, 0) }));
    t.says("preadv, bad vectors", ret(unsafe { libc::preadv(fd, make::bad(), 2, 0) }));
    t.says("the neighbour is well", edge.neighbour_is_well());
    close(fd);
}

fn memory_at_an_edge(t: &Trace) {
    let fd = make::file(b"0123456789");
    let edge = make::Edge::new(10);
    t.says("read", ret(unsafe { libc::read(fd, edge.as_ptr(), 10) }));
    t.says("bytes", say::bytes(&edge.bytes()));
    t.says("pread", ret(unsafe { libc::pread(fd, edge.as_ptr(), 10, 0) }));
    t.says("write", ret(unsafe { libc::write(fd, edge.as_ptr(), 10) }));
    let vectors = make::Edge::new(size_of::<libc::iovec>());
    let part = libc::iovec { iov_base: edge.as_ptr(), iov_len: 10 };
    unsafe { vectors.as_ptr::<libc::iovec>().write_unaligned(part) };
    unsafe { libc::lseek(fd, 0, libc::SEEK_SET) };
    t.says("readv", ret(unsafe { libc::readv(fd, vectors.as_ptr(), 1) }));
    t.says("writev", ret(unsafe { libc::writev(fd, vectors.as_ptr(), 1) }));
    t.says("the neighbour is well", edge.neighbour_is_well() && vectors.neighbour_is_well());
    close(fd);
}

fn holes_and_data(t: &Trace) {
    let fd = unsafe { libc::memfd_create(c"m".as_ptr(), 0) };
    unsafe { libc::ftruncate(fd, 1 << 20) };
    unsafe { libc::pwrite(fd, c"x".as_ptr().cast(), 1, 1 << 16) };
    for (name, whence) in [("data", libc::SEEK_DATA), ("hole", libc::SEEK_HOLE)] {
        for at in [0, 1 << 16, 1 << 18, 1 << 21] {
            t.says(&format!("{name} from {at}"), ret(unsafe { libc::lseek(fd, at, whence) }));
        }
    }
    close(fd);
}

fn beyond_the_largest_file(t: &Trace) {
    let limit = libc::rlimit { rlim_cur: 100, rlim_max: 100 };
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit) };
    let fd = make::file(b"0123456789");
    let bytes = [b'x'; 200];
    t.says("over the limit", ret(unsafe { libc::write(fd, bytes.as_ptr().cast(), 200) }));
    t.says("again", ret(unsafe { libc::write(fd, bytes.as_ptr().cast(), 200) }));
    t.says("pwrite", ret(unsafe { libc::pwrite(fd, bytes.as_ptr().cast(), 1, 100) }));
    t.says("ftruncate", ret(unsafe { libc::ftruncate(fd, 101) }));
    t.says("fallocate", ret(unsafe { libc::fallocate(fd, 0, 0, 101) }));
    close(fd);
}

fn a_full_disk(t: &Trace) {
    let fd = unsafe { libc::open(c"/dev/full".as_ptr(), libc::O_RDWR) };
    t.says("write", ret(unsafe { libc::write(fd, c"x".as_ptr().cast(), 1) }));
    t.says("write 0", ret(unsafe { libc::write(fd, c"x".as_ptr().cast(), 0) }));
    let mut file = std::fs::File::options().write(true).open("/dev/full").expect("the device");
    use std::io::Write;
    t.says("write_all", say::io(file.write_all(b"x")));
    close(fd);
}

fn sendfile_moves(t: &Trace) {
    let fd = make::file(b"0123456789");
    let (read, write) = make::pipe();
    let mut at = 3i64;
    t.says("at 3", ret(unsafe { libc::sendfile(write, fd, &raw mut at, 4) }));
    t.says("at", at);
    t.says("from the position", ret(unsafe { libc::sendfile(write, fd, null_mut(), 100) }));
    t.says("at the end", ret(unsafe { libc::sendfile(write, fd, null_mut(), 100) }));
    at = -1;
    t.says("at -1", ret(unsafe { libc::sendfile(write, fd, &raw mut at, 4) }));
    t.says("bad offset", ret(unsafe { libc::sendfile(write, fd, make::bad(), 4) }));
    t.says("from a pipe", ret(unsafe { libc::sendfile(fd, read, null_mut(), 4) }));
    let mut b = [0u8; 64];
    let n = unsafe { libc::read(read, b.as_mut_ptr().cast(), 64) };
    t.says("came", say::bytes(&b[..n.max(0) as usize]));
    make::close([fd, read, write]);
}

fn sendfile_to_a_file(t: &Trace) {
    let (from, to) = (make::file(&[b'x'; 100_000]), make::file(b""));
    t.says("sendfile", ret(unsafe { libc::sendfile(to, from, null_mut(), 1 << 20) }));
    t.says("position", ret(unsafe { libc::lseek(to, 0, libc::SEEK_CUR) }));
    make::close([from, to]);
}

fn copy_file_range_moves(t: &Trace) {
    let (from, to) = (make::file(b"0123456789"), make::file(b"abcdefghij"));
    let (mut a, mut b) = (2i64, 4i64);
    let n = unsafe { libc::copy_file_range(from, &raw mut a, to, &raw mut b, 3, 0) };
    t.says("copy", ret(n));
    t.says("offsets", format!("{a} {b}"));
    t.says("contents", contents(to));
    let n = unsafe { libc::copy_file_range(from, null_mut(), to, null_mut(), 100, 0) };
    t.says("all", ret(n));
    t.says("flags", ret(unsafe { libc::copy_file_range(from, null_mut(), to, null_mut(), 1, 9) }));
    t.says("bad", ret(unsafe { libc::copy_file_range(from, make::bad(), to, null_mut(), 1, 0) }));
    let overlapping = unsafe { libc::copy_file_range(from, &raw mut a, from, &raw mut b, 3, 0) };
    t.says("over itself", ret(overlapping));
    make::close([from, to]);
}

fn splice_file_to_pipe(t: &Trace) {
    let (file, (read, write)) = (make::file(b"0123456789"), make::pipe());
    let mut at = 4i64;
    let n = ret(unsafe { libc::splice(file, &raw mut at, write, null_mut(), 3, 0) });
    t.says("splice", format!("{n} {at}"));
    t.says("tee", ret(unsafe { libc::tee(read, write, 3, 0) }));
    let (other, to) = make::pipe();
    t.says("tee", ret(unsafe { libc::tee(read, to, 2, 0) }));
    t.says("to a file", ret(unsafe { libc::splice(read, null_mut(), file, null_mut(), 9, 0) }));
    t.says("contents", contents(file));
    t.says("at its end", ret(unsafe { libc::splice(file, &raw mut at, write, null_mut(), 0, 0) }));
    make::close([file, read, write, other, to]);
}

fn large_through_a_pipe(t: &Trace) {
    let bytes: Vec<u8> = (0..=250).cycle().take(1 << 20).collect();
    let file = make::file(&bytes);
    let (read, write) = make::pipe();
    let reader = t.spawn("reader", move |t| {
        use std::io::Read;
        let mut pipe: std::fs::File = unsafe { std::os::fd::FromRawFd::from_raw_fd(read) };
        let mut all = Vec::new();
        t.says("read", say::io(pipe.read_to_end(&mut all)));
        t.says("as they were", all == bytes);
    });
    let mut left = 1usize << 20;
    while left > 0 {
        let n = unsafe { libc::sendfile(write, file, null_mut(), left) };
        left = if n > 0 { left - n as usize } else { 0 };
    }
    close(write);
    reader.join();
    close(file);
}

fn truncation(t: &Trace) {
    let fd = make::file(b"0123456789");
    for to in [3, 6, 0, -1] {
        t.says(&format!("to {to}"), ret(unsafe { libc::ftruncate(fd, to) }));
        t.says("contents", contents(fd));
    }
    let path = make::c(&make::path());
    t.says("of nothing", ret(unsafe { libc::truncate(path.as_ptr(), 3) }));
    t.says("bad name", ret(unsafe { libc::truncate(make::bad(), 3) }));
    close(fd);
}

fn allocation(t: &Trace) {
    let fd = make::file(b"0123456789");
    let keep = libc::FALLOC_FL_KEEP_SIZE;
    for (mode, at, len) in [
        (0, 0, 20),
        (keep, 0, 8192),
        (keep | libc::FALLOC_FL_PUNCH_HOLE, 2, 3),
        (0, -1, 3),
        (0, 3, 0),
        (1 << 20, 0, 3),
    ] {
        t.says(&format!("{mode} {at} {len}"), ret(unsafe { libc::fallocate(fd, mode, at, len) }));
    }
    t.says("contents", contents(fd));
    t.says("posix", say::code(unsafe { libc::posix_fallocate(fd, 0, 30) }));
    t.says("posix, of none", say::code(unsafe { libc::posix_fallocate(fd, 0, 0) }));
    t.says("advice", say::code(unsafe { libc::posix_fadvise(fd, 0, 0, 99) }));
    close(fd);
}

fn several_write_at_once(t: &Trace) {
    let fd = make::file(b"");
    unsafe { libc::fcntl(fd, libc::F_SETFL, libc::O_APPEND) };
    let all: Vec<_> = (0..8u8)
        .map(|i| {
            t.spawn(&format!("writer {i}"), move |_| {
                for _ in 0..50 {
                    unsafe { libc::write(fd, [b'a' + i; 40].as_ptr().cast(), 40) };
                }
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
    let mut bytes = vec![0u8; 20_000];
    t.says("read", ret(unsafe { libc::pread(fd, bytes.as_mut_ptr().cast(), 20_000, 0) }));
    let whole = bytes[..16_000].chunks(40).all(|line| line.iter().all(|byte| *byte == line[0]));
    t.says("no line is torn", whole);
    close(fd);
}

fn read_and_write_of_std(t: &Trace) {
    use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
    let path = make::path();
    let mut options = std::fs::File::options();
    let mut file = options.read(true).write(true).create_new(true).open(&path).expect("a file");
    t.says("write", say::io(writeln!(file, "one\ntwo\nthree")));
    t.says("sync", say::io(file.sync_all()));
    t.says("seek", say::io(file.seek(SeekFrom::Start(4))));
    let mut reader = BufReader::new(&file);
    let mut line = String::new();
    t.says("line", say::io(reader.read_line(&mut line)));
    t.says("line", line.trim());
    let mut rest = String::new();
    t.says("rest", say::io(reader.read_to_string(&mut rest)));
    t.says("length", say::io(file.metadata().map(|m| m.len())));
    t.says("set_len", say::io(file.set_len(2)));
    t.says("copy", say::io(std::fs::copy(&path, path.with_extension("copy"))));
    t.says("rename", say::io(std::fs::rename(&path, path.with_extension("new"))));
    t.says("gone", say::io(std::fs::read(&path)));
    t.says("read", say::io(std::fs::read_to_string(path.with_extension("new"))));
    t.says("remove", say::io(std::fs::remove_file(path.with_extension("new"))));
    t.says("remove", say::io(std::fs::remove_file(path.with_extension("copy"))));
}

fn directories(t: &Trace) {
    let path = make::path();
    t.says("make", say::io(std::fs::create_dir(&path)));
    t.says("again", say::io(std::fs::create_dir(&path)));
    for name in ["b", "a", "c"] {
        drop(std::fs::write(path.join(name), name));
    }
    let mut names: Vec<_> = std::fs::read_dir(&path)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    t.says("names", names.join(" "));
    t.says("remove, full", say::io(std::fs::remove_dir(&path)));
    t.says("remove all", say::io(std::fs::remove_dir_all(&path)));
    t.says("gone", say::io(std::fs::read_dir(&path).map(drop)));
    let c = make::c(&path);
    unsafe {
        t.says("mkdirat", ret(libc::mkdirat(libc::AT_FDCWD, c.as_ptr(), 0o700)));
        let fd = libc::open(c.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY);
        t.says("write into it", ret(libc::write(fd, c"x".as_ptr().cast(), 1)));
        t.says("read of it", ret(libc::read(fd, [0u8; 8].as_mut_ptr().cast(), 8)));
        t.says("openat, to write", say::ok(libc::openat(fd, c".".as_ptr(), libc::O_WRONLY)));
        t.says("fchdir", ret(libc::fchdir(fd)));
        t.says("rmdir of it", ret(libc::rmdir(c.as_ptr())));
        t.says("getcwd", libc::getcwd(null_mut(), 0).is_null());
        close(fd);
    }
}

fn links_and_names(t: &Trace) {
    let path = make::path();
    std::fs::write(&path, b"x").expect("a file");
    let (hard, soft) = (path.with_extension("hard"), path.with_extension("soft"));
    t.says("link", say::io(std::fs::hard_link(&path, &hard)));
    t.says("symlink", say::io(std::os::unix::fs::symlink(&path, &soft)));
    t.says("again", say::io(std::os::unix::fs::symlink(&path, &soft)));
    t.says("read through it", say::io(std::fs::read(&soft)));
    let c = make::c(&soft);
    let no_follow = libc::O_RDONLY | libc::O_NOFOLLOW;
    t.says("open, nofollow", say::ok(unsafe { libc::open(c.as_ptr(), no_follow) }));
    for path in [&path, &hard, &soft] {
        t.says("remove", say::io(std::fs::remove_file(path)));
    }
    let long = make::c(&std::path::PathBuf::from("/tmp").join("x".repeat(300)));
    t.says("too long a name", say::ok(unsafe { libc::open(long.as_ptr(), libc::O_RDONLY) }));
    t.says("bad name", say::ok(unsafe { libc::open(make::bad(), libc::O_RDONLY) }));
    t.says("no name", say::ok(unsafe { libc::open(c"".as_ptr(), libc::O_RDONLY) }));
    t.says("bad access", ret(unsafe { libc::access(make::bad(), libc::R_OK) }));
}

fn times_and_modes(t: &Trace) {
    let fd = make::file(b"x");
    unsafe {
        t.says("fchmod", ret(libc::fchmod(fd, 0o640)));
        let mut stat: libc::stat = std::mem::zeroed();
        t.says("fstat", ret(libc::fstat(fd, &raw mut stat)));
        t.says("mode", format!("{:o}", stat.st_mode));
        t.says("bad fstat", ret(libc::fstat(fd, make::bad())));
        let times =
            [libc::timespec { tv_sec: 5, tv_nsec: 6 }, libc::timespec { tv_sec: 7, tv_nsec: 8 }];
        t.says("futimens", ret(libc::futimens(fd, times.as_ptr())));
        libc::fstat(fd, &raw mut stat);
        t.says("times", format!("{} {}", stat.st_atime, stat.st_mtime));
        t.says("bad futimens", ret(libc::futimens(fd, make::bad())));
        let old = libc::umask(0o77);
        t.says("umask", format!("{:o}", libc::umask(old)));
        t.spawn("other", |t| {
            let mask = libc::umask(0o22);
            libc::umask(mask);
            t.says("umask is the process's", format!("{mask:o}"));
        })
        .join();
    }
    close(fd);
}
