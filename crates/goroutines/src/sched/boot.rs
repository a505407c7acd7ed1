//! Starting the runtime: once per process, by the first caller that needs it.

use super::{ALLP, SCHED, preempt, sysmon, wake};
use crate::base::atomic::entries_are_dear;
use crate::base::origin;
use crate::p::MAX_PROCS;
use goroutines_switch::{Class, thread_pointer};
use std::ffi::c_int;
use std::io;
use std::sync::Once;
use std::sync::atomic::Ordering;

/// How the runtime is to be.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub(crate) gomaxprocs: Option<u32>,
    pub(crate) stack_bytes: Option<usize>,
    pub(crate) slice_ns: Option<u64>,
    pub(crate) max_threads: Option<u32>,
    pub(crate) thread_keep_ns: Option<u64>,
    pub(crate) keep_surplus: bool,
    pub(crate) no_quit_dump: bool,
}

/// Bytes of a goroutine's stack where nothing else is said: addresses, not memory. Frames of code
/// that is not optimised are several times as large.
pub(crate) const STACK_BYTES: usize = if cfg!(debug_assertions) { 1 << 20 } else { 256 << 10 };

static ONCE: Once = Once::new();

/// Starts the runtime, if nobody has. True if this call did.
///
/// # Errors
/// The C library lacks something; the system gives no memory or no thread.
pub(crate) fn start(config: &Config) -> io::Result<bool> {
    let mut result = Ok(false);
    ONCE.call_once(|| result = boot(config).map(|()| true));
    if result.is_ok() && !SCHED.started.load(Ordering::Acquire) {
        return Err(io::Error::other("the goroutine runtime could not be started before"));
    }
    result
}

/// Starts the runtime with what the environment says, if nobody has.
///
/// # Panics
/// If it can't be started.
#[inline]
pub(crate) fn ensure() {
    if !SCHED.started.load(Ordering::Acquire) {
        start_default();
    }
}

#[cold]
fn start_default() {
    if let Err(e) = start(&Config::default()) {
        let hint = crate::base::limits::hint(&e);
        panic!("goroutines: the runtime can't be started: {e}{}", hint.as_str());
    }
}

fn boot(config: &Config) -> io::Result<()> {
    thread_pointer::init(config.keep_surplus)?;
    crate::base::atomic::prepare_barriers();
    super::registers::look()?;
    crate::netpoll::open()?;
    crate::m::thread::remember_mask();
    let stack = config.stack_bytes.or_else(env_stack).unwrap_or(STACK_BYTES);
    let class = Class::of(stack)?;
    SCHED.stack_class.store(std::ptr::from_ref(class).cast_mut(), Ordering::Relaxed);
    let set = |to: &std::sync::atomic::AtomicU64, value: Option<u64>| {
        if let Some(value) = value {
            to.store(value, Ordering::Relaxed);
        }
    };
    set(&SCHED.slice_ns, config.slice_ns);
    set(&SCHED.thread_keep_ns, config.thread_keep_ns);
    if let Some(max) = config.max_threads {
        SCHED.max_threads.store(max, Ordering::Relaxed);
    }
    let procs = config.gomaxprocs.or_else(env_procs).unwrap_or_else(num_cpu);
    make_procs(procs.clamp(1, MAX_PROCS as u32));
    origin::mark(if entries_are_dear() { 0 } else { crate::m::lease::OWNED });
    crate::base::stay::loaded();
    // What may fail comes first: where it fails, the program's handlers stay as they were.
    sysmon::start()?;
    preempt::install()?;
    super::fault::install();
    if !config.no_quit_dump {
        super::quit::install();
    }
    crate::intercept::fork::watch();
    crate::intercept::credentials::install();
    #[cfg(feature = "intercept")]
    crate::intercept::effect::check();
    SCHED.started.store(true, Ordering::Release);
    Ok(())
}

/// Installs a handler of the runtime's own, and returns the action before.
///
/// # Errors
/// The kernel's.
///
/// # Safety
/// * `handler` is a function of the type that `flags` ask for.
#[expect(
    clippy::disallowed_methods,
    reason = "what is taken over must know of it, and passes it on"
)]
pub(super) unsafe fn install_handler(
    signal: c_int,
    handler: usize,
    flags: c_int,
    mask: &libc::sigset_t,
) -> io::Result<libc::sigaction> {
    // SAFETY: zeroes are a valid start; the handler is as the caller says.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = flags;
        action.sa_mask = *mask;
        let mut old: libc::sigaction = std::mem::zeroed();
        match libc::sigaction(signal, &raw const action, &raw mut old) {
            0 => Ok(old),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// A signal set with no signal, or all of them.
pub(super) fn signals(all: bool) -> libc::sigset_t {
    // SAFETY: zeroes are a valid set, which the call fills.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        if all {
            libc::sigfillset(&raw mut set);
        }
        set
    }
}

fn make_procs(n: u32) {
    let mut shared = SCHED.lock();
    ALLP.make(&mut shared, n);
    SCHED.gomaxprocs.store(n, Ordering::Relaxed);
    for pp in ALLP[..n as usize].iter().rev() {
        wake::put_idle(&mut shared, pp);
    }
}

/// What `parse` makes of the environment variable `name`. A value that makes no sense is ignored,
/// with a line on stderr.
fn variable<T>(name: &str, expected: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
    let value = std::env::var_os(name)?;
    let text = value.to_str().map(str::trim);
    let found = text.and_then(parse);
    if found.is_none() && text != Some("") {
        eprintln!("goroutines: {name}={} is not {expected}: ignored", value.display());
    }
    found
}

fn env_procs() -> Option<u32> {
    let parse = |text: &str| text.parse().ok().filter(|n: &usize| *n > 0);
    variable("GOMAXPROCS", "a number of processors", parse).map(|n| n.min(MAX_PROCS) as u32)
}

fn env_stack() -> Option<usize> {
    variable("GOROUTINES_STACK_SIZE", "a number of bytes (65536, 64K, 1M)", bytes)
}

/// A number of bytes, with `K`, `M` or `G` for the powers of 1,024.
fn bytes(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text[digits.len()..].trim().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        _ => return None,
    };
    digits.parse::<usize>().ok().filter(|n| *n > 0)?.checked_mul(1 << unit)
}

/// CPUs this process may use: affinity and cgroup quota considered.
pub(crate) fn num_cpu() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn numbers_of_bytes() {
        for (text, expected) in [
            ("65536", Some(65536)),
            ("64K", Some(64 << 10)),
            ("64k", Some(64 << 10)),
            ("1M", Some(1 << 20)),
            ("2 MiB", Some(2 << 20)),
            ("1G", Some(1 << 30)),
            ("0", None),
            ("-5", None),
            ("1e20", None),
            ("bad", None),
            ("M", None),
            ("1.5M", None),
            ("99999999999999999999", None),
            ("99999999999999G", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
