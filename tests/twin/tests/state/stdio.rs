//! C's streams, and std's: buffers, locks, ends, errors, on what waits.

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};
use std::ffi::CStr;
use std::ptr::null_mut;

pub(crate) fn rows() -> Vec<Row> {
    rows![
        lines_of_a_pipe,
        getline_grows,
        fread_waits_for_all,
        fgetc_of_a_terminal,
        fwrite_to_a_full_pipe,
        fflush_to_nobody,
        buffers_at_exit,
        buffers_after_fork,
        locks_of_streams,
        seeks_and_ungets,
        freopen_replaces,
        fmemopen_and_memstream,
        tmpfile_is_gone,
        fclose_of_a_reader,
        fdopen_modes,
        printf_from_all,
        stdout_of_std_from_all,
        stdin_of_std,
        stdin_closed,
        stdout_closed,
        stderr_is_not_buffered,
        perror_says
    ]
}

type File = *mut libc::FILE;

/// A stream in a closure that goes to another flow.
#[derive(Clone, Copy)]
struct Stream(File);

// SAFETY: streams have locks.
unsafe impl Send for Stream {}

impl Stream {
    fn of(fd: i32, mode: &CStr) -> Self {
        let file = unsafe { libc::fdopen(fd, mode.as_ptr()) };
        assert!(!file.is_null(), "a stream");
        Self(file)
    }

    fn get(self) -> File {
        self.0
    }

    fn line(self) -> String {
        let mut line = [0; 128];
        let got = unsafe { libc::fgets(line.as_mut_ptr(), 128, self.0) };
        if got.is_null() {
            return format!("none, end {} error {}", self.ended(), unsafe { libc::ferror(self.0) });
        }
        unsafe { CStr::from_ptr(got) }.to_string_lossy().escape_debug().to_string()
    }

    fn ended(self) -> bool {
        unsafe { libc::feof(self.0) != 0 }
    }

    fn put(self, text: &CStr) -> bool {
        unsafe { libc::fputs(text.as_ptr(), self.0) >= 0 }
    }

    fn close(self) -> say::Ret {
        ret(unsafe { libc::fclose(self.0) })
    }
}

fn write(fd: i32, text: &[u8]) {
    unsafe { libc::write(fd, text.as_ptr().cast(), text.len()) };
}

fn lines_of_a_pipe(t: &Trace) {
    let (read, write_to) = make::pipe();
    let writer = t.spawn("writer", move |_| {
        for text in [&b"one\ntw"[..], b"o\n", b"three"] {
            ms(50);
            write(write_to, text);
        }
        make::close([write_to]);
    });
    let stream = Stream::of(read, c"r");
    for _ in 0..4 {
        t.says("line", stream.line());
    }
    writer.join();
    t.says("close", stream.close());
}

unsafe extern "C" {
    fn getline(line: *mut *mut libc::c_char, n: *mut usize, file: File) -> isize;
    fn open_memstream(at: *mut *mut libc::c_char, n: *mut usize) -> File;
    fn flockfile(file: File);
    fn ftrylockfile(file: File) -> libc::c_int;
    fn funlockfile(file: File);
    static stdout: File;
    static stdin: File;
    static stderr: File;
}

fn getline_grows(t: &Trace) {
    let (read, write_to) = make::pipe();
    let writer = t.spawn("writer", move |_| {
        for _ in 0..40 {
            write(write_to, &[b'x'; 100]);
            ms(1);
        }
        write(write_to, b"\nlast");
        make::close([write_to]);
    });
    let stream = Stream::of(read, c"r");
    let (mut line, mut room) = (null_mut(), 0);
    for _ in 0..3 {
        t.says(
            "getline",
            ret(unsafe { getline(&raw mut line, &raw mut room, stream.get()) }).value,
        );
    }
    unsafe { libc::free(line.cast()) };
    writer.join();
    t.says("close", stream.close());
}

fn fread_waits_for_all(t: &Trace) {
    let (read, write_to) = make::pipe();
    let writer = t.spawn("writer", move |_| {
        for _ in 0..4 {
            ms(50);
            write(write_to, b"hello");
        }
        ms(50);
        make::close([write_to]);
    });
    let stream = Stream::of(read, c"r");
    let mut bytes = [0u8; 64];
    let n = t.timed("fread", 200, || unsafe {
        libc::fread(bytes.as_mut_ptr().cast(), 1, 16, stream.get())
    });
    t.says("fread", n);
    t.says("bytes", say::bytes(&bytes[..16]));
    t.says("the rest", unsafe { libc::fread(bytes.as_mut_ptr().cast(), 1, 64, stream.get()) });
    t.says("end", stream.ended());
    writer.join();
    t.says("close", stream.close());
}

fn fgetc_of_a_terminal(t: &Trace) {
    let (master, slave) = make::terminal();
    let writer = t.spawn("writer", move |_| {
        ms(100);
        write(master, b"ab\n");
    });
    let stream = Stream::of(slave, c"r");
    let got: Vec<_> = (0..3).map(|_| unsafe { libc::fgetc(stream.get()) }).collect();
    t.says("characters", format!("{got:?}"));
    writer.join();
    t.says("close", stream.close());
    make::close([master]);
}

fn fwrite_to_a_full_pipe(t: &Trace) {
    let (read, write_to) = make::pipe();
    let reader = t.spawn("reader", move |t| {
        ms(100);
        let mut file: std::fs::File = unsafe { std::os::fd::FromRawFd::from_raw_fd(read) };
        let mut all = Vec::new();
        t.says("read", say::io(std::io::Read::read_to_end(&mut file, &mut all)));
        t.says("as they were", all.iter().enumerate().all(|(i, b)| *b == (i % 251) as u8));
    });
    let stream = Stream::of(write_to, c"w");
    let bytes: Vec<u8> = (0..300_000).map(|i| (i % 251) as u8).collect();
    let n = unsafe { libc::fwrite(bytes.as_ptr().cast(), 1, bytes.len(), stream.get()) };
    t.says("fwrite", n);
    t.says("close", stream.close());
    reader.join();
}

fn fflush_to_nobody(t: &Trace) {
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let (read, write_to) = make::pipe();
    make::close([read]);
    let stream = Stream::of(write_to, c"w");
    t.says("fputs", stream.put(c"x"));
    t.says("fflush", ret(unsafe { libc::fflush(stream.get()) }));
    t.says("ferror", unsafe { libc::ferror(stream.get()) } != 0);
    unsafe { libc::clearerr(stream.get()) };
    t.says("close", stream.close());
}

fn buffers_at_exit(t: &Trace) {
    let (read, write_to) = make::pipe();
    let child = make::child(move || {
        unsafe { libc::dup2(write_to, 1) };
        Stream(unsafe { stdout }).put(c"left in the buffer");
        unsafe { libc::exit(0) }
    });
    t.says("child", make::end_of(child));
    let mut bytes = [0u8; 64];
    t.says("came", ret(unsafe { libc::read(read, bytes.as_mut_ptr().cast(), 64) }));
    let child = make::child(move || {
        unsafe { libc::dup2(write_to, 1) };
        Stream(unsafe { stdout }).put(c"lost");
        0
    });
    t.says("child", make::end_of(child));
    make::close([write_to]);
    t.says("came", ret(unsafe { libc::read(read, bytes.as_mut_ptr().cast(), 64) }));
    make::close([read]);
}

fn buffers_after_fork(t: &Trace) {
    let (read, write_to) = make::pipe();
    let stream = Stream::of(write_to, c"w");
    stream.put(c"twice;");
    let child = make::child(move || {
        unsafe { libc::fflush(stream.get()) };
        0
    });
    t.says("child", make::end_of(child));
    t.says("close", stream.close());
    let mut bytes = [0u8; 64];
    let n = unsafe { libc::read(read, bytes.as_mut_ptr().cast(), 64) };
    t.says("came", say::bytes(&bytes[..n.max(0) as usize]));
    make::close([read]);
}

fn locks_of_streams(t: &Trace) {
    let (read, write_to) = make::pipe();
    let stream = Stream::of(write_to, c"w");
    unsafe { flockfile(stream.get()) };
    unsafe { flockfile(stream.get()) };
    let other = t.spawn("other", move |t| {
        let stream = stream;
        t.says("try", unsafe { ftrylockfile(stream.get()) } != 0);
        let held = t.timed("fputs", 300, || stream.put(c"second;"));
        t.says("fputs", held);
    });
    ms(150);
    stream.put(c"first;");
    unsafe { funlockfile(stream.get()) };
    ms(150);
    unsafe { funlockfile(stream.get()) };
    other.join();
    t.says("close", stream.close());
    let mut bytes = [0u8; 64];
    let n = unsafe { libc::read(read, bytes.as_mut_ptr().cast(), 64) };
    t.says("came", say::bytes(&bytes[..n.max(0) as usize]));
    make::close([read]);
}

fn seeks_and_ungets(t: &Trace) {
    let stream = Stream::of(make::file(b"0123456789"), c"r+");
    unsafe {
        let file = stream.get();
        t.says("first", libc::fgetc(file));
        t.says("unget", libc::ungetc(b'q'.into(), file));
        t.says("again", libc::fgetc(file));
        t.says("seek", ret(libc::fseek(file, -2, libc::SEEK_END)));
        t.says("tell", ret(libc::ftell(file)));
        t.says("line", stream.line());
        t.says("line", stream.line());
        libc::rewind(file);
        t.says("write", stream.put(c"ab"));
        t.says("seek", ret(libc::fseek(file, -20, libc::SEEK_CUR)));
        libc::rewind(file);
        t.says("line", stream.line());
    }
    t.says("close", stream.close());
    let (read, write_to) = make::pipe();
    let stream = Stream::of(read, c"r");
    t.says("a pipe", ret(unsafe { libc::fseek(stream.get(), 0, libc::SEEK_SET) }));
    t.says("close", stream.close());
    make::close([write_to]);
}

fn freopen_replaces(t: &Trace) {
    let path = make::path();
    std::fs::write(&path, "new\n").expect("a file");
    let (read, write_to) = make::pipe();
    let stream = Stream::of(read, c"r");
    let c = make::c(&path);
    let again = unsafe { libc::freopen(c.as_ptr(), c"r".as_ptr(), stream.get()) };
    t.says("freopen", again == stream.get());
    t.says("line", stream.line());
    t.says(
        "no such",
        unsafe { libc::freopen(c"/no/such".as_ptr(), c"r".as_ptr(), stream.get()) }.is_null(),
    );
    std::fs::remove_file(&path).expect("it can go");
    make::close([write_to]);
}

fn fmemopen_and_memstream(t: &Trace) {
    unsafe {
        let mut room = *b"one\ntwo\n";
        let stream = Stream(libc::fmemopen(room.as_mut_ptr().cast(), 8, c"r".as_ptr()));
        t.says("line", stream.line());
        ms(10);
        t.says("line", stream.line());
        t.says("line", stream.line());
        t.says("close", stream.close());
        let (mut at, mut n) = (null_mut(), 0);
        let stream = Stream(open_memstream(&raw mut at, &raw mut n));
        stream.put(c"hello");
        t.says("close", stream.close());
        t.says("text", format!("{n} {}", CStr::from_ptr(at).to_string_lossy()));
        libc::free(at.cast());
    }
}

fn tmpfile_is_gone(t: &Trace) {
    unsafe {
        let stream = Stream(libc::tmpfile());
        t.says("fputs", stream.put(c"hello\n"));
        libc::rewind(stream.get());
        t.says("line", stream.line());
        t.says("close", stream.close());
    }
}

fn fclose_of_a_reader(t: &Trace) {
    let (read, write_to) = make::pipe();
    write(write_to, b"one\ntwo\n");
    let stream = Stream::of(read, c"r");
    t.says("line", stream.line());
    t.says("close", stream.close());
    t.says("the number is closed", ret(unsafe { libc::close(read) }));
    make::close([write_to]);
}

fn fdopen_modes(t: &Trace) {
    let (read, write_to) = make::pipe();
    unsafe {
        t.says("to write", libc::fdopen(read, c"w".as_ptr()).is_null());
        t.says("errno", say::errno_name(say::errno()));
        t.says("a bad mode", libc::fdopen(read, c"q".as_ptr()).is_null());
        t.says("a bad number", libc::fdopen(999, c"r".as_ptr()).is_null());
        t.says("errno", say::errno_name(say::errno()));
        t.says("no such", libc::fopen(c"/no/such".as_ptr(), c"r".as_ptr()).is_null());
        t.says("a directory", libc::fopen(c"/tmp".as_ptr(), c"w".as_ptr()).is_null());
    }
    make::close([read, write_to]);
}

fn printf_from_all(t: &Trace) {
    let (read, write_to) = make::pipe();
    let stream = Stream::of(write_to, c"w");
    let reader = t.spawn("reader", move |t| {
        let stream = Stream::of(read, c"r");
        let mut count = 0;
        loop {
            let line = stream.line();
            if line.starts_with("none") {
                break;
            }
            let whole = line.len() == 22 && line.ends_with("\\n");
            let first = line.chars().next();
            if !whole || !line.chars().take(20).all(|c| Some(c) == first) {
                t.says("torn", line);
            }
            count += 1;
        }
        t.says("lines", count);
        stream.close();
    });
    let all: Vec<_> = (0..6u8)
        .map(|i| {
            t.spawn(&format!("writer {i}"), move |_| {
                let stream = stream;
                let mut line = [b'a' + i; 22];
                (line[20], line[21]) = (b'\n', 0);
                let line = CStr::from_bytes_with_nul(&line).expect("one zero");
                for k in 0..200 {
                    stream.put(line);
                    if k % 50 == 0 {
                        ms(1);
                    }
                }
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
    stream.close();
    reader.join();
}

fn stdout_of_std_from_all(t: &Trace) {
    let (read, write_to) = make::pipe();
    unsafe { libc::dup2(write_to, 1) };
    make::close([write_to]);
    let reader = t.spawn("reader", move |t| {
        let file: std::fs::File = unsafe { std::os::fd::FromRawFd::from_raw_fd(read) };
        let lines = std::io::BufRead::lines(std::io::BufReader::new(file)).map_while(Result::ok);
        let (mut count, mut torn) = (0, 0);
        for line in lines.take_while(|line| line != "end") {
            count += 1;
            torn += i32::from(line.len() != 30);
        }
        t.says("lines", format!("{count}, torn {torn}"));
    });
    let all: Vec<_> = (0..6)
        .map(|i| {
            t.spawn(&format!("writer {i}"), move |_| {
                for k in 0..200 {
                    println!("{:0>30}", i * 1000 + k);
                }
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
    println!("end");
    reader.join();
}

fn stdin_of_std(t: &Trace) {
    let (read, write_to) = make::pipe();
    unsafe { libc::dup2(read, 0) };
    let writer = t.spawn("writer", move |_| {
        for text in [&b"one\n"[..], b"two", b" and\n", b"rest"] {
            ms(50);
            write(write_to, text);
        }
        make::close([write_to]);
    });
    for _ in 0..4 {
        let mut line = String::new();
        t.says("read_line", say::io(std::io::stdin().read_line(&mut line)));
        t.says("line", line.escape_debug());
    }
    writer.join();
    make::close([read]);
}

fn stdin_closed(t: &Trace) {
    make::close([0]);
    let mut line = String::new();
    t.says("read_line", say::io(std::io::stdin().read_line(&mut line)));
    t.says("fgetc", unsafe { libc::fgetc(stdin) });
    t.says("ferror", unsafe { libc::ferror(stdin) } != 0);
    t.says("read", ret(unsafe { libc::read(0, [0u8; 1].as_mut_ptr().cast(), 1) }));
    unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
}

fn stdout_closed(t: &Trace) {
    let copy = unsafe { libc::dup(1) };
    make::close([1]);
    use std::io::Write;
    t.says("write_all", say::io(std::io::stdout().write_all(b"x\n")));
    t.says("write", ret(unsafe { libc::write(1, c"x".as_ptr().cast(), 1) }));
    let stream = Stream(unsafe { stdout });
    stream.put(c"x\n");
    t.says("fflush", ret(unsafe { libc::fflush(stream.get()) }));
    unsafe { libc::dup2(copy, 1) };
    make::close([copy]);
}

fn stderr_is_not_buffered(t: &Trace) {
    let (read, write_to) = make::pipe();
    unsafe { libc::dup2(write_to, 2) };
    Stream(unsafe { stderr }).put(c"now");
    let mut bytes = [0u8; 8];
    t.says("read", ret(unsafe { libc::read(read, bytes.as_mut_ptr().cast(), 8) }));
    eprint!("std");
    t.says("read", ret(unsafe { libc::read(read, bytes.as_mut_ptr().cast(), 8) }));
    make::close([read, write_to]);
}

fn perror_says(t: &Trace) {
    let (read, write_to) = make::pipe();
    unsafe { libc::dup2(write_to, 2) };
    say::set_errno(libc::ENOENT);
    unsafe { libc::perror(c"here".as_ptr()) };
    let mut bytes = [0u8; 64];
    let n = unsafe { libc::read(read, bytes.as_mut_ptr().cast(), 64) };
    t.says("said", say::bytes(&bytes[..n.max(0) as usize]));
    make::close([read, write_to]);
}
