//! Values as text, with names where numbers have names.

use std::fmt;

macro_rules! names {
    ($($name:ident),* $(,)?) => { &[$((libc::$name, stringify!($name))),*] };
}

#[rustfmt::skip]
const ERRNOS: &[(i32, &str)] = names![
    EPERM, ENOENT, ESRCH, EINTR, EIO, ENXIO, E2BIG, ENOEXEC, EBADF, ECHILD, EAGAIN, ENOMEM,
    EACCES, EFAULT, ENOTBLK, EBUSY, EEXIST, EXDEV, ENODEV, ENOTDIR, EISDIR, EINVAL, ENFILE,
    EMFILE, ENOTTY, ETXTBSY, EFBIG, ENOSPC, ESPIPE, EROFS, EMLINK, EPIPE, EDOM, ERANGE,
    EDEADLK, ENAMETOOLONG, ENOLCK, ENOSYS, ENOTEMPTY, ELOOP, ENOMSG, EIDRM, ENODATA, ETIME,
    EPROTO, EBADMSG, EOVERFLOW, EILSEQ, EUSERS, ENOTSOCK, EDESTADDRREQ, EMSGSIZE, EPROTOTYPE,
    ENOPROTOOPT, EPROTONOSUPPORT, ESOCKTNOSUPPORT, EOPNOTSUPP, EPFNOSUPPORT, EAFNOSUPPORT,
    EADDRINUSE, EADDRNOTAVAIL, ENETDOWN, ENETUNREACH, ENETRESET, ECONNABORTED, ECONNRESET,
    ENOBUFS, EISCONN, ENOTCONN, ESHUTDOWN, ETIMEDOUT, ECONNREFUSED, EHOSTDOWN, EHOSTUNREACH,
    EALREADY, EINPROGRESS, ESTALE, EDQUOT, ECANCELED, EOWNERDEAD, ENOTRECOVERABLE,
];

const SIGNALS: &[(i32, &str)] = names![
    SIGHUP, SIGINT, SIGQUIT, SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGKILL, SIGUSR1, SIGSEGV,
    SIGUSR2, SIGPIPE, SIGALRM, SIGTERM, SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU,
    SIGURG, SIGXCPU, SIGXFSZ, SIGVTALRM, SIGPROF, SIGWINCH, SIGIO, SIGPWR, SIGSYS,
];

fn name(table: &[(i32, &'static str)], number: i32) -> Option<&'static str> {
    table.iter().find(|(n, _)| *n == number).map(|(_, name)| *name)
}

/// The name of an errno.
#[must_use]
pub fn errno_name(errno: i32) -> String {
    name(ERRNOS, errno).map_or_else(|| format!("errno {errno}"), str::to_owned)
}

/// The name of a signal.
#[must_use]
pub fn signal_name(signal: i32) -> String {
    name(SIGNALS, signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}

/// The calling thread's or goroutine's errno.
#[must_use]
pub fn errno() -> i32 {
    // SAFETY: the thread's own.
    unsafe { *libc::__errno_location() }
}

/// Sets errno.
pub fn set_errno(errno: i32) {
    // SAFETY: the thread's own.
    unsafe { *libc::__errno_location() = errno };
}

/// What a libc call gave: a number, or -1 and errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ret {
    /// The number.
    pub value: i64,
    /// The errno that goes with -1.
    pub errno: i32,
}

impl fmt::Display for Ret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value {
            -1 => write!(f, "-1 {}", errno_name(self.errno)),
            value => write!(f, "{value}"),
        }
    }
}

/// The result of a call that says -1 and sets errno. To be called at once, as errno is read here.
pub fn ret(value: impl TryInto<i64>) -> Ret {
    let errno = errno();
    Ret { value: value.try_into().unwrap_or(i64::MIN), errno }
}

/// Whether a call succeeded, where its value is not the same each time (a descriptor, a pid): `ok`, or -1 and
/// errno.
pub fn ok(value: impl TryInto<i64>) -> String {
    let ret = ret(value);
    if ret.value == -1 { ret.to_string() } else { "ok".into() }
}

/// The result of a call that returns the error itself, as those of pthreads do.
#[must_use]
pub fn code(errno: i32) -> String {
    if errno == 0 { "0".into() } else { errno_name(errno) }
}

/// The result of std's input and output.
pub fn io<T: fmt::Debug>(result: std::io::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => match error.raw_os_error() {
            Some(errno) => errno_name(errno),
            None => format!("{:?}", error.kind()),
        },
    }
}

/// A child's status as `waitpid` gives it.
#[must_use]
pub fn status(status: i32) -> String {
    if libc::WIFEXITED(status) {
        format!("exit {}", libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        format!("killed by {}", signal_name(libc::WTERMSIG(status)))
    } else if libc::WIFSTOPPED(status) {
        format!("stopped by {}", signal_name(libc::WSTOPSIG(status)))
    } else {
        format!("status {status:#x}")
    }
}

/// Bytes as text.
#[must_use]
pub fn bytes(bytes: &[u8]) -> String {
    format!("{:?}", bytes.escape_ascii().to_string())
}
