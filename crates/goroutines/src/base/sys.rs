//! The runtime's own system calls. None of these goes through a libc symbol.

use goroutines_switch::sys::raw;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

fn timespec(d: Duration) -> libc::timespec {
    libc::timespec {
        tv_sec: i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(d.subsec_nanos()),
    }
}

/// Sleeps while `*word == expected`, until woken, or until `timeout` has passed.
/// False if it timed out. May return early for no reason.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> bool {
    let ts = timeout.map(timespec);
    let ts = ts.as_ref().map_or(0, |ts| std::ptr::from_ref(ts) as usize);
    let op = (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as usize;
    let args = [word.as_ptr() as usize, op, expected as usize, ts, 0, 0];
    // SAFETY: the word outlives the call.
    let r = unsafe { raw(libc::SYS_futex, args) };
    r != -(libc::ETIMEDOUT as isize)
}

/// Wakes up to `count` threads that sleep on `word`, which may be gone by now.
pub(crate) fn futex_wake(word: *const AtomicU32, count: i32) {
    let op = (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as usize;
    // SAFETY: a private futex wake only looks the address up; it need not be mapped.
    unsafe { raw(libc::SYS_futex, [word as usize, op, count as usize, 0, 0, 0]) };
}

/// Sends `signal` to one thread of this process. False if there is no such thread (any more).
pub(crate) fn tgkill(tid: u32, signal: i32) -> bool {
    // SAFETY: no memory is involved.
    unsafe { raw(libc::SYS_tgkill, [pid(), tid as usize, signal as usize, 0, 0, 0]) == 0 }
}

/// Sends `signal` to one thread of this process, with a code and a value of the sender's.
///
/// # Errors
/// The kernel's number. Where the user has queued as many signals as the limit allows, code and
/// value are lost.
pub(crate) fn tgsigqueue(tid: u32, signal: i32, code: i32, value: usize) -> Result<(), i32> {
    /// The kernel's `siginfo_t` of a queued signal.
    #[repr(C)]
    struct Info {
        signal: i32,
        errno: i32,
        code: i32,
        pad: i32,
        sender: [u32; 2],
        value: usize,
        rest: [u64; 12],
    }
    const { assert!(size_of::<Info>() == size_of::<libc::siginfo_t>()) };
    let sender = [pid() as u32, 0];
    let info = Info { signal, errno: 0, code, pad: 0, sender, value, rest: [0; 12] };
    let args = [pid(), tid as usize, signal as usize, &raw const info as usize, 0, 0];
    // SAFETY: a siginfo to read.
    match unsafe { raw(libc::SYS_rt_tgsigqueueinfo, args) } {
        0 => Ok(()),
        error => Err(-error as i32),
    }
}

/// Sends `signal` to the thread `tid` of this process, with all that is known of it. To itself a
/// thread may send anything.
///
/// # Errors
/// The kernel's number.
#[cfg(feature = "intercept")]
pub(crate) fn tgsigqueue_info(tid: u32, signal: i32, info: &libc::siginfo_t) -> Result<(), i32> {
    let at = std::ptr::from_ref(info) as usize;
    let args = [pid(), tid as usize, signal as usize, at, 0, 0];
    // SAFETY: a siginfo to read.
    match unsafe { raw(libc::SYS_rt_tgsigqueueinfo, args) } {
        0 => Ok(()),
        error => Err(-error as i32),
    }
}

/// The signals that are pending for the calling thread and for the process, and blocked.
pub(crate) fn pending_signals() -> u64 {
    let mut set = 0u64;
    // SAFETY: a signal set to write.
    unsafe { raw(libc::SYS_rt_sigpending, [&raw mut set as usize, size_of::<u64>(), 0, 0, 0, 0]) };
    set
}

/// Takes one of the pending signals of `set`, without waiting.
#[cfg(feature = "intercept")]
pub(crate) fn take_signal(set: u64) -> Option<libc::siginfo_t> {
    // SAFETY: plain old data.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let (set, at, time) =
        (&raw const set as usize, &raw mut info as usize, &raw const now as usize);
    // SAFETY: a signal set and a time to read, a siginfo to write.
    let word = unsafe { raw(libc::SYS_rt_sigtimedwait, [set, at, time, size_of::<u64>(), 0, 0]) };
    (word > 0).then_some(info)
}

/// The process's id.
pub(crate) fn own_pid() -> u32 {
    pid() as u32
}

/// The real user's id.
#[cfg(feature = "intercept")]
pub(crate) fn own_uid() -> u32 {
    // SAFETY: no memory is involved.
    unsafe { raw(libc::SYS_getuid, [0; 6]) as u32 }
}

/// Whether the process has a handler for `signal`, whatever code installed it.
pub(crate) fn has_handler(signal: i32) -> bool {
    let handler = handler_of(signal);
    handler != libc::SIG_DFL && handler != libc::SIG_IGN
}

/// Gives `signal` its default action. The flags stay.
pub(crate) fn set_default(signal: i32, flags: i32) {
    let action = [libc::SIG_DFL, flags as usize, 0, 0];
    let args = [signal as usize, &raw const action as usize, 0, size_of::<u64>(), 0, 0];
    // SAFETY: an action to read.
    unsafe { raw(libc::SYS_rt_sigaction, args) };
}

/// What the kernel calls for `signal`.
pub(crate) fn handler_of(signal: i32) -> usize {
    // The kernel's action: the handler, the flags, the restorer, and the mask.
    let mut action = [0usize; 4];
    let args = [signal as usize, 0, &raw mut action as usize, size_of::<u64>(), 0, 0];
    // SAFETY: an action to write.
    let known = unsafe { raw(libc::SYS_rt_sigaction, args) } == 0;
    if known { action[0] } else { libc::SIG_DFL }
}

/// Blocks or unblocks a signal for the calling thread.
pub(crate) fn block_signal(signal: i32, block: bool) {
    let set: u64 = 1 << (signal - 1);
    let how = if block { libc::SIG_BLOCK } else { libc::SIG_UNBLOCK };
    let args = [how as usize, &raw const set as usize, 0, size_of::<u64>(), 0, 0];
    // SAFETY: one word to read, the kernel's signal set.
    unsafe { raw(libc::SYS_rt_sigprocmask, args) };
}

/// Blocks the signals of `set` for the calling thread, and returns what was blocked before.
pub(crate) fn block_signals(set: u64) -> u64 {
    let mut before = 0u64;
    let (set, old) = (&raw const set as usize, &raw mut before as usize);
    let args = [libc::SIG_BLOCK as usize, set, old, size_of::<u64>(), 0, 0];
    // SAFETY: a signal set to read and one to write.
    unsafe { raw(libc::SYS_rt_sigprocmask, args) };
    before
}

/// Whether the calling thread has a shadow stack.
pub(crate) fn shadow_stacks() -> bool {
    const STATUS: usize = 0x5005; // ARCH_SHSTK_STATUS
    let mut status = 0u64;
    let args = [STATUS, &raw mut status as usize, 0, 0, 0, 0];
    // SAFETY: a word to write.
    let known = unsafe { raw(libc::SYS_arch_prctl, args) } == 0;
    known && status & 1 != 0
}

/// Blocks exactly the signals of `set` for the calling thread.
pub(crate) fn set_signals(set: u64) {
    let args = [libc::SIG_SETMASK as usize, &raw const set as usize, 0, size_of::<u64>(), 0, 0];
    // SAFETY: a signal set to read.
    unsafe { raw(libc::SYS_rt_sigprocmask, args) };
}

fn pid() -> usize {
    // SAFETY: no memory is involved.
    unsafe { raw(libc::SYS_getpid, [0; 6]) as usize }
}

/// The kernel's id of the calling thread.
pub(crate) fn gettid() -> u32 {
    // SAFETY: no memory is involved.
    unsafe { raw(libc::SYS_gettid, [0; 6]) as u32 }
}

fn clock(id: i32) -> Option<u64> {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let args = [id as usize, &raw mut ts as usize, 0, 0, 0, 0];
    // SAFETY: one timespec to write.
    let r = unsafe { raw(libc::SYS_clock_gettime, args) };
    (r == 0).then_some(ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64)
}

/// CPU time that the thread `tid` of this process has had, in ns.
pub(crate) fn thread_cpu_ns(tid: u32) -> Option<u64> {
    const PER_THREAD_SCHED: i32 = 6; // CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED
    clock((!(tid as i32)) << 3 | PER_THREAD_SCHED)
}

/// The CPU time of the calling thread, in ns.
#[cfg(feature = "intercept")]
pub(crate) fn own_cpu_ns() -> u64 {
    clock(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0)
}

/// Monotonic time in ns. Goes through the vDSO, which takes no lock.
pub(crate) fn nanotime() -> u64 {
    clock_vdso(libc::CLOCK_MONOTONIC)
}

/// A counter that goes on at the processor's own pace, one to five a nanosecond.
#[inline]
pub(crate) fn cycles() -> u64 {
    // SAFETY: every x86-64 has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Asks for the cache line at `at`, which need not be mapped, to be fetched.
#[inline]
pub(crate) fn prefetch<T>(at: *const T) {
    use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a hint; it never faults.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

/// Monotonic time in ns as of the kernel's last tick (1–10 ms ago), at a fifth of the price.
pub(crate) fn coarse_nanotime() -> u64 {
    clock_vdso(libc::CLOCK_MONOTONIC_COARSE)
}

fn clock_vdso(id: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: one timespec to write; the clocks used exist on all Linux.
    unsafe { libc::clock_gettime(id, &raw mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

const MEMBARRIER_PRIVATE_EXPEDITED: usize = 1 << 3;
const MEMBARRIER_REGISTER_PRIVATE_EXPEDITED: usize = 1 << 4;

fn membarrier_call(command: usize) -> bool {
    // SAFETY: no memory is involved.
    unsafe { raw(libc::SYS_membarrier, [command, 0, 0, 0, 0, 0]) == 0 }
}

/// Asks the kernel for expedited barriers; false where it has none.
pub(crate) fn membarrier_register() -> bool {
    membarrier_call(MEMBARRIER_REGISTER_PRIVATE_EXPEDITED)
}

/// A full barrier on all running threads of the process; false if not registered.
pub(crate) fn membarrier() -> bool {
    membarrier_call(MEMBARRIER_PRIVATE_EXPEDITED)
}

/// Sleeps for `d` in the kernel.
pub(crate) fn sleep(d: Duration) {
    let never = AtomicU32::new(0);
    let until = nanotime().saturating_add(u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
    loop {
        let now = nanotime();
        if now >= until {
            return;
        }
        futex_wait(&never, 0, Some(Duration::from_nanos(until - now)));
    }
}

/// Yields the kernel thread.
pub(crate) fn os_yield() {
    // SAFETY: no memory is involved.
    unsafe { raw(libc::SYS_sched_yield, [0; 6]) };
}

/// Writes all of `bytes` to the descriptor `fd`, as far as that goes.
pub(crate) fn write_all(fd: i32, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let args = [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0];
        // SAFETY: the bytes are readable.
        match unsafe { raw(libc::SYS_write, args) } {
            n if n > 0 => bytes = &bytes[n as usize..],
            n if n == -(libc::EINTR as isize) => {}
            _ => return,
        }
    }
}

/// Ends the process at once.
pub(crate) fn exit_group(status: i32) -> ! {
    loop {
        // SAFETY: does not return.
        unsafe { raw(libc::SYS_exit_group, [status as usize, 0, 0, 0, 0, 0]) };
    }
}

/// Reads at most `buf.len()` bytes of a small file; `path` ends with a NUL.
pub(crate) fn read_file<'b>(path: &[u8], buf: &'b mut [u8]) -> Option<&'b [u8]> {
    assert!(path.last() == Some(&0), "a C string");
    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
    let at = libc::AT_FDCWD as isize as usize;
    // SAFETY: a NUL-terminated path, a writable buffer, a descriptor of ours.
    unsafe {
        let fd = raw(libc::SYS_openat, [at, path.as_ptr() as usize, flags, 0, 0, 0]);
        if fd < 0 {
            return None;
        }
        let args = [fd as usize, buf.as_mut_ptr() as usize, buf.len(), 0, 0, 0];
        let n = raw(libc::SYS_read, args);
        raw(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]);
        usize::try_from(n).ok().map(|n| &buf[..n])
    }
}

/// A directory that is read.
pub(crate) struct Directory(usize);

impl Directory {
    /// `path` ends with a NUL.
    pub(crate) fn open(path: &[u8]) -> Option<Self> {
        assert!(path.last() == Some(&0), "a C string");
        let flags = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_DIRECTORY) as usize;
        let at = libc::AT_FDCWD as isize as usize;
        // SAFETY: a NUL-terminated path.
        let fd = unsafe { raw(libc::SYS_openat, [at, path.as_ptr() as usize, flags, 0, 0, 0]) };
        usize::try_from(fd).ok().map(Self)
    }

    /// The next entries, as `getdents64` has them; none are left if it is empty.
    pub(crate) fn read<'b>(&self, buf: &'b mut [u8]) -> Option<&'b [u8]> {
        let args = [self.0, buf.as_mut_ptr() as usize, buf.len(), 0, 0, 0];
        // SAFETY: a writable buffer.
        let n = unsafe { raw(libc::SYS_getdents64, args) };
        usize::try_from(n).ok().map(|n| &buf[..n])
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: a descriptor of ours.
        unsafe { raw(libc::SYS_close, [self.0, 0, 0, 0, 0, 0]) };
    }
}

/// What tells an open file from all others: its device and its number there. Zeroes for a
/// descriptor that is none.
pub(crate) fn file_of(fd: i32) -> (libc::dev_t, libc::ino_t) {
    // SAFETY: plain old data, which the call fills in.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        raw(libc::SYS_fstat, [fd as isize as usize, &raw mut stat as usize, 0, 0, 0, 0]);
        (stat.st_dev, stat.st_ino)
    }
}

/// Number of links of a directory; `path` ends with a NUL.
pub(crate) fn links(path: &[u8]) -> Option<u64> {
    assert!(path.last() == Some(&0), "a C string");
    // SAFETY: stat is plain old data.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    let at = libc::AT_FDCWD as isize as usize;
    let args = [at, path.as_ptr() as usize, &raw mut stat as usize, 0, 0, 0];
    // SAFETY: a NUL-terminated path, one stat to write.
    let r = unsafe { raw(libc::SYS_newfstatat, args) };
    (r == 0).then_some(stat.st_nlink)
}

/// A text of at most `N` bytes, made without allocating; what does not fit is cut.
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; N], len: 0 }
    }

    pub(crate) fn push(&mut self, s: &str) -> &mut Self {
        let n = s.len().min(N - self.len);
        self.bytes[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        self
    }

    pub(crate) fn push_number(&mut self, mut n: u64) -> &mut Self {
        let mut digits = [0u8; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (n % 10) as u8;
            n /= 10;
            if n == 0 {
                break;
            }
        }
        self.push(std::str::from_utf8(&digits[at..]).unwrap_or(""))
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes()).unwrap_or("")
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl<const N: usize> std::fmt::Write for Text<N> {
    fn write_str(&mut self, s: &str) -> std::fmt::Result {
        self.push(s);
        Ok(())
    }
}

/// A word that one thread sleeps on and others set.
#[derive(Debug)]
pub(crate) struct Note(AtomicU32);

impl Note {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Sleeps until [`wake`](Self::wake), or for `timeout`; takes the wake-up. False if there was
    /// none.
    pub(crate) fn sleep(&self, timeout: Option<Duration>) -> bool {
        let until = timeout.map(|t| (nanotime(), u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)));
        loop {
            // Acquire: pairs with the Release in wake().
            if self.0.swap(0, Ordering::Acquire) == 1 {
                return true;
            }
            let left = match until {
                None => None,
                Some((from, ns)) => match ns.saturating_sub(nanotime() - from) {
                    0 => return false,
                    left => Some(Duration::from_nanos(left)),
                },
            };
            futex_wait(&self.0, 0, left);
        }
    }

    /// Whether a wake-up is there to be taken.
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }

    /// Takes the wake-up if there is one.
    pub(crate) fn take(&self) -> bool {
        self.is_set() && self.0.swap(0, Ordering::Acquire) == 1
    }

    /// Wakes the sleeper, or the next one. Wake-ups do not add up.
    pub(crate) fn wake(&self) {
        // Release: pairs with the Acquire in sleep().
        if self.0.swap(1, Ordering::Release) == 0 {
            futex_wake(&self.0, 1);
        }
    }
}
