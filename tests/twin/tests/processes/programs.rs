//! Programs: `posix_spawn`, `system`, `popen`, std's `Command`, `exec`; what they inherit.

use goroutines_twin_tests::{Row, Trace, code, make, ms, ret, rows, say, sleep};
use std::ffi::CStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::ptr::{null, null_mut};

pub(crate) fn rows() -> Vec<Row> {
    rows![
        system_runs,
        system_waits,
        system_at_once,
        popen_reads,
        popen_writes,
        popen_at_once,
        posix_spawn_runs,
        posix_spawn_fails,
        posix_spawn_actions,
        command_output,
        command_status,
        command_fails,
        command_pipes,
        command_wait_with_output_large,
        command_before_exec,
        command_killed,
        command_inherits,
        command_at_once,
        command_in_a_directory,
        command_groups,
        exec_from_here,
        exec_fails,
        vfork_and_exec,
        standard_streams_of_children,
        exit_codes,
        exit_while_others_wait,
        quick_exits,
        abort_of_a_flow,
        main_thread_and_names
    ]
}

fn sh(text: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", text]).stdin(Stdio::null());
    command
}

fn system(text: &CStr) -> String {
    say::status(unsafe { libc::system(text.as_ptr()) })
}

fn system_runs(t: &Trace) {
    t.says("exit", system(c"exit 3"));
    t.says("killed", system(c"kill -TERM $$"));
    t.says("no such command", system(c"/no/such/command 2>/dev/null"));
    t.says("empty", system(c""));
    t.says("is there a shell", unsafe { libc::system(null()) });
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    t.says("children ignored", ret(unsafe { libc::system(c"exit 3".as_ptr()) }));
}

fn system_waits(t: &Trace) {
    let other = t.spawn("other", |t| t.timed("sleep", 200, || sleep(200)));
    let end = t.timed("system", 300, || system(c"sleep 0.3; exit 1"));
    t.says("system", end);
    other.join();
}

fn system_at_once(t: &Trace) {
    let all: Vec<_> = (0..6)
        .map(|i| {
            t.spawn(&format!("caller {i}"), move |t| {
                let text = std::ffi::CString::new(format!("sleep 0.1; exit {i}")).expect("no zero");
                t.says("system", system(&text));
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
}

fn popen_reads(t: &Trace) {
    unsafe {
        let file = libc::popen(c"echo one; sleep 0.2; echo two; exit 5".as_ptr(), c"r".as_ptr());
        let mut line = [0; 64];
        for _ in 0..3 {
            let got = libc::fgets(line.as_mut_ptr(), 64, file);
            let text =
                if got.is_null() { "none".into() } else { CStr::from_ptr(got).to_string_lossy() };
            t.says("line", text.trim());
        }
        t.says("pclose", say::status(libc::pclose(file)));
        t.says("bad mode", libc::popen(c"true".as_ptr(), c"q".as_ptr()).is_null());
    }
}

fn popen_writes(t: &Trace) {
    unsafe {
        let file = libc::popen(c"read a; test \"$a\" = hello; exit $?".as_ptr(), c"w".as_ptr());
        t.says("fputs", libc::fputs(c"hello\n".as_ptr(), file) >= 0);
        t.says("pclose", say::status(libc::pclose(file)));
    }
}

fn popen_at_once(t: &Trace) {
    let all: Vec<_> = (0..6)
        .map(|i| {
            t.spawn(&format!("caller {i}"), move |t| unsafe {
                let text = std::ffi::CString::new(format!("sleep 0.1; echo {i}")).expect("no zero");
                let file = libc::popen(text.as_ptr(), c"r".as_ptr());
                let mut line = [0; 64];
                libc::fgets(line.as_mut_ptr(), 64, file);
                t.says("line", CStr::from_ptr(line.as_ptr()).to_string_lossy().trim());
                t.says("pclose", say::status(libc::pclose(file)));
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
}

fn arguments(words: &[&'static CStr]) -> Vec<*mut libc::c_char> {
    words.iter().map(|word| word.as_ptr().cast_mut()).chain([null_mut()]).collect()
}

fn posix_spawn_runs(t: &Trace) {
    let words = arguments(&[c"sh", c"-c", c"exit 6"]);
    let mut pid = 0;
    unsafe {
        let path = c"/bin/sh".as_ptr();
        let environment = [null_mut()];
        let n = libc::posix_spawn(
            &raw mut pid,
            path,
            null(),
            null(),
            words.as_ptr(),
            environment.as_ptr(),
        );
        t.says("posix_spawn", code(n));
        t.says("child", make::end_of(pid));
        let file = c"sh".as_ptr();
        let n = libc::posix_spawnp(
            &raw mut pid,
            file,
            null(),
            null(),
            words.as_ptr(),
            environment.as_ptr(),
        );
        t.says("posix_spawnp", code(n));
        t.says("child", make::end_of(pid));
    }
}

fn posix_spawn_fails(t: &Trace) {
    let words = arguments(&[c"x"]);
    let mut pid = -5;
    for path in [c"/no/such", c"/tmp", c"/etc/passwd", c""] {
        let n = unsafe {
            libc::posix_spawn(&raw mut pid, path.as_ptr(), null(), null(), words.as_ptr(), null())
        };
        t.says(&path.to_string_lossy(), code(n));
    }
    t.says("nobody left", ret(unsafe { libc::waitpid(-1, null_mut(), 0) }));
}

fn posix_spawn_actions(t: &Trace) {
    let (read, write) = make::pipe();
    let words = arguments(&[c"sh", c"-c", c"echo out; cat /proc/self/stat | cut -d' ' -f3"]);
    unsafe {
        let mut actions = std::mem::zeroed();
        libc::posix_spawn_file_actions_init(&raw mut actions);
        libc::posix_spawn_file_actions_adddup2(&raw mut actions, write, 1);
        libc::posix_spawn_file_actions_addclose(&raw mut actions, read);
        let mut attributes = std::mem::zeroed();
        libc::posix_spawnattr_init(&raw mut attributes);
        let mut mask = std::mem::zeroed();
        libc::sigemptyset(&raw mut mask);
        libc::posix_spawnattr_setsigmask(&raw mut attributes, &raw const mask);
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETPGROUP;
        libc::posix_spawnattr_setflags(&raw mut attributes, flags as i16);
        let (mut pid, path) = (0, c"/bin/sh".as_ptr());
        let n = libc::posix_spawn(
            &raw mut pid,
            path,
            &raw const actions,
            &raw const attributes,
            words.as_ptr(),
            null(),
        );
        t.says("posix_spawn", code(n));
        libc::close(write);
        let mut file: std::fs::File = std::os::fd::FromRawFd::from_raw_fd(read);
        let mut text = String::new();
        t.says("read", say::io(file.read_to_string(&mut text)));
        t.says("text", text.escape_debug());
        t.says("child", make::end_of(pid));
    }
}

fn command_output(t: &Trace) {
    let output = sh("echo out; echo err >&2; exit 2").output().expect("a shell");
    t.says("status", output.status);
    t.says("stdout", say::bytes(&output.stdout));
    t.says("stderr", say::bytes(&output.stderr));
}

fn command_status(t: &Trace) {
    for text in ["true", "exit 255", "kill -9 $$", "kill -SEGV $$", "sleep 0.1"] {
        t.says(text, sh(text).status().expect("a shell"));
    }
}

fn command_fails(t: &Trace) {
    t.says("no such program", say::io(Command::new("/no/such").status()));
    t.says("not a program", say::io(Command::new("/etc/passwd").status()));
    t.says("no such directory", say::io(Command::new("true").current_dir("/no/such").status()));
    let refuse = || Err(std::io::Error::from_raw_os_error(libc::EPERM));
    t.says("refused", say::io(unsafe { Command::new("true").pre_exec(refuse).status() }));
    t.says("nobody left", ret(unsafe { libc::waitpid(-1, null_mut(), libc::WNOHANG) }));
}

fn command_pipes(t: &Trace) {
    let mut child =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
    let (mut input, output) =
        (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
    let writer = t.spawn("writer", move |t| {
        for i in 0..5 {
            t.says("write", say::io(writeln!(input, "line {i}")));
            ms(20);
        }
    });
    for line in BufReader::new(output).lines() {
        t.says("line", line.expect("a line"));
    }
    writer.join();
    t.says("end", child.wait().expect("a child"));
    t.says("again", child.wait().expect("a child"));
    t.says("try", say::io(child.try_wait()));
}

fn command_wait_with_output_large(t: &Trace) {
    let mut command = sh("head -c 300000 /dev/zero; head -c 200000 /dev/zero >&2");
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell");
    let output = child.wait_with_output().expect("its output");
    t.says("lengths", format!("{} {}", output.stdout.len(), output.stderr.len()));
}

fn command_before_exec(t: &Trace) {
    let mut command = sh("umask; ulimit -n");
    let prepare = || {
        unsafe { libc::umask(0o27) };
        let limit = libc::rlimit { rlim_cur: 77, rlim_max: 77 };
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        Ok(())
    };
    let output = unsafe { command.pre_exec(prepare) }.output().expect("a shell");
    t.says("child", say::bytes(&output.stdout));
    let mask = unsafe { libc::umask(0o22) };
    t.says("here", format!("{mask:o}"));
}

fn command_killed(t: &Trace) {
    let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
    t.says("try", say::io(child.try_wait()));
    t.says("kill", say::io(child.kill()));
    t.says("signal", format!("{:?}", child.wait().expect("a child").signal()));
    t.says("kill again", say::io(child.kill()));
}

fn command_inherits(t: &Trace) {
    let (read, write) = make::pipe();
    unsafe { libc::fcntl(write, libc::F_SETFD, libc::FD_CLOEXEC) };
    let mut command = sh(&format!(
        "test -e /proc/self/fd/{read} && echo in; test -e /proc/self/fd/{write} || echo out"
    ));
    command.env("TWIN_X", "y").env_remove("HOME");
    t.says("descriptors", say::bytes(&command.output().expect("a shell").stdout));
    let mut command = sh(
        "echo $TWIN_X ${HOME:-none}; ls /proc/self/fd | wc -l; grep SigBlk /proc/self/status; grep SigIgn /proc/self/status",
    );
    command.env("TWIN_X", "y").env_remove("HOME");
    t.says("environment", say::bytes(&command.output().expect("a shell").stdout));
    make::close([read, write]);
}

fn command_at_once(t: &Trace) {
    let all: Vec<_> = (0..10)
        .map(|i| {
            t.spawn(&format!("caller {i}"), move |t| {
                let output =
                    sh(&format!("echo {i}; sleep 0.1; exit {i}")).output().expect("a shell");
                t.says("child", format!("{} {}", output.status, say::bytes(&output.stdout)));
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
}

fn command_in_a_directory(t: &Trace) {
    let output = sh("pwd").current_dir("/").output().expect("a shell");
    t.says("child", say::bytes(&output.stdout));
    t.says("here", std::env::current_dir().is_ok_and(|path| path != std::path::Path::new("/")));
    t.says("move", say::io(std::env::set_current_dir("/usr")));
    let other =
        t.spawn("other", |t| t.says("is there too", format!("{:?}", std::env::current_dir().ok())));
    other.join();
    t.says("child", say::bytes(&sh("pwd").output().expect("a shell").stdout));
}

fn command_groups(t: &Trace) {
    let mut child = Command::new("sleep").arg("60").process_group(0).spawn().expect("sleep");
    let pid = child.id().cast_signed();
    t.says("leads its group", unsafe { libc::getpgid(pid) } == pid);
    t.says("kill the group", ret(unsafe { libc::kill(-pid, libc::SIGTERM) }));
    t.says("end", child.wait().expect("a child"));
    t.says("kill nobody", ret(unsafe { libc::kill(-pid, libc::SIGTERM) }));
}

fn exec_from_here(t: &Trace) {
    let child = make::child(|| {
        let words = arguments(&[c"sh", c"-c", c"exit 9"]);
        unsafe { libc::execv(c"/bin/sh".as_ptr(), words.as_ptr().cast()) };
        1
    });
    t.says("in a child", make::end_of(child));
    // The process itself, from a flow that is not its main thread.
    let words = arguments(&[c"sh", c"-c", c"exit 8"]);
    unsafe { libc::execvp(c"sh".as_ptr(), words.as_ptr().cast()) };
    t.line("exec has come back");
}

fn exec_fails(t: &Trace) {
    let words = arguments(&[c"x"]);
    for path in [c"/no/such", c"/tmp", c"/etc/passwd", c""] {
        let n = ret(unsafe { libc::execv(path.as_ptr(), words.as_ptr().cast()) });
        t.says(&path.to_string_lossy(), n);
    }
    t.says("bad path", ret(unsafe { libc::execv(make::bad(), words.as_ptr().cast()) }));
    t.says("bad words", ret(unsafe { libc::execv(c"/bin/sh".as_ptr(), make::bad()) }));
    t.says("the error", say::io(Err::<(), _>(Command::new("/no/such").exec())));
    t.timed("sleep", 200, || sleep(200));
}

fn vfork_and_exec(t: &Trace) {
    use goroutines_twin_tests::Call;
    let calls: Vec<(String, Call)> = (0..4)
        .map(|i| {
            let call: Call = Box::new(move || {
                #[expect(deprecated, reason = "what C programs still use")]
                let pid = unsafe { libc::vfork() };
                if pid == 0 {
                    unsafe {
                        let words = [c"sh".as_ptr(), c"-c".as_ptr(), c"exit 4".as_ptr(), null()];
                        libc::execv(c"/bin/sh".as_ptr(), words.as_ptr());
                        libc::_exit(1);
                    }
                }
                make::end_of(pid)
            });
            (format!("vfork {i}"), call)
        })
        .collect();
    t.each(2000, calls);
}

fn standard_streams_of_children(t: &Trace) {
    let (read, write) = make::pipe();
    unsafe { libc::write(write, c"first\nsecond\n".as_ptr().cast(), 13) };
    unsafe { libc::close(write) };
    let input: Stdio = unsafe { std::os::fd::FromRawFd::from_raw_fd(read) };
    let output = Command::new("head").args(["-n", "1"]).stdin(input).output().expect("head");
    t.says("head", say::bytes(&output.stdout));
    let output = sh("exec 0<&-; exec cat").stderr(Stdio::null()).output().expect("a shell");
    t.says("without a stdin", output.status);
    let file = make::file(b"");
    let to: Stdio = unsafe { std::os::fd::FromRawFd::from_raw_fd(libc::dup(file)) };
    t.says("to a file", sh("echo x").stdout(to).status().expect("a shell"));
    let mut b = [0u8; 8];
    t.says("file", ret(unsafe { libc::pread(file, b.as_mut_ptr().cast(), 8, 0) }));
    make::close([file]);
}

fn exit_codes(t: &Trace) {
    for number in [0, 1, 255, 256, -1] {
        let child = make::child(|| unsafe { libc::exit(number) });
        t.says(&format!("exit({number})"), make::end_of(child));
    }
    t.says("end", "soon");
    std::process::exit(42);
}

fn exit_while_others_wait(t: &Trace) {
    let (read, _write) = make::pipe();
    for i in 0..3 {
        t.spawn(&format!("reader {i}"), move |_| unsafe {
            libc::read(read, [0u8; 1].as_mut_ptr().cast(), 1)
        });
    }
    t.spawn("computer", |_| {
        loop {
            std::hint::spin_loop()
        }
    });
    ms(100);
    extern "C" fn last() {
        unsafe { libc::_exit(17) };
    }
    unsafe { libc::atexit(last) };
    t.spawn("who ends it", |_| unsafe { libc::exit(3) }).join();
}

fn quick_exits(t: &Trace) {
    for (name, end) in [
        ("_exit", (|| unsafe { libc::_exit(5) }) as fn() -> i32),
        ("exit_group", || unsafe { libc::syscall(libc::SYS_exit_group, 6) as i32 }),
        ("abort", || unsafe { libc::abort() }),
        ("raise", || unsafe { libc::raise(libc::SIGKILL) }),
        ("abort of std", || std::process::abort()),
    ] {
        t.says(name, make::end_of(make::child(end)));
    }
}

fn abort_of_a_flow(t: &Trace) {
    t.line("before");
    t.spawn("other", |_| std::process::abort()).join();
}

fn main_thread_and_names(t: &Trace) {
    t.says("pid", unsafe { libc::getpid() } == std::process::id().cast_signed());
    t.says("the main thread's", unsafe { libc::gettid() } != unsafe { libc::getpid() });
    t.says("group", unsafe { libc::getpgrp() } == unsafe { libc::getpid() });
    t.says("session", unsafe { libc::getsid(0) } == unsafe { libc::getpid() });
    t.says("a leader can't lead again", ret(unsafe { libc::setsid() }));
    t.says("priority", ret(unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }));
    t.says("arguments", std::env::args().count());
}
