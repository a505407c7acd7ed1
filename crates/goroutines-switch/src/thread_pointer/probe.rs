//! What only a thread of libc's own can tell: one is made, looks at itself, and ends.
//!
//! The first thread's block is no model: its resolver state is the process's, and it may be the
//! caller.

use std::ffi::{c_int, c_void};
use std::io;

/// Offsets from the thread pointer, as a thread of libc's own has them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probe {
    /// Its resolver state (`struct __res_state`).
    pub(super) resolver: usize,
    /// Two words: the lowest address of its stack, and the size.
    pub(super) stackblock: Option<usize>,
    /// The bytes that are not 0 while cancellation is disabled, and while it is asynchronous.
    pub(super) cancel: Option<[usize; 2]>,
    /// The word under the thread pointer that is not 0 while `dlerror` has something to say, or to
    /// free.
    pub(super) dlerror: Option<usize>,
    /// The word under the thread pointer that says which locale `uselocale` has set, and what it is
    /// where none was.
    pub(super) locale: Option<(usize, usize)>,
    /// `errno` and `h_errno` under the thread pointer.
    pub(super) errors: Option<[usize; 2]>,
    pub(super) sizeof_pthread: usize,
    used_tls: usize,
    /// Bytes of its stack: a number that occurs nowhere else in its block.
    stack_bytes: usize,
}

/// Bytes of its stack beside the static TLS.
const STACK_BYTES: usize = (1 << 20) + (5 << 12);

impl Probe {
    /// Asks a thread. libc keeps `static_tls` bytes for it beside its stack, and modules use
    /// `used_tls` of them.
    ///
    /// # Errors
    /// Where no thread can be made.
    pub(super) fn ask(
        sizeof_pthread: usize,
        static_tls: usize,
        used_tls: usize,
    ) -> io::Result<Self> {
        let stack_bytes = STACK_BYTES + static_tls.next_multiple_of(4096);
        let mut probe = Self { sizeof_pthread, used_tls, stack_bytes, ..Self::default() };
        // SAFETY: attr is initialised before use. The thread gets the Probe, which outlives it, as
        // it is joined.
        let error = unsafe {
            let mut attr: libc::pthread_attr_t = std::mem::zeroed();
            libc::pthread_attr_init(&raw mut attr);
            libc::pthread_attr_setstacksize(&raw mut attr, stack_bytes);
            let mut thread: libc::pthread_t = 0;
            let arg = (&raw mut probe).cast();
            let error = libc::pthread_create(&raw mut thread, &raw const attr, look, arg);
            libc::pthread_attr_destroy(&raw mut attr);
            if error == 0 { libc::pthread_join(thread, std::ptr::null_mut()) } else { error }
        };
        if error == 0 { Ok(probe) } else { Err(io::Error::from_raw_os_error(error)) }
    }

    /// The place of two words that say where a stack is that contains both the block and `here`.
    fn find_stackblock(&self, tp: usize, here: usize) -> Option<usize> {
        // SAFETY: the words of the calling thread's block.
        let words =
            unsafe { std::slice::from_raw_parts(tp as *const usize, self.sizeof_pthread / 8) };
        let is_stack = |pair: &[usize]| {
            let [low, bytes] = *pair else { return false };
            (self.stack_bytes..2 * self.stack_bytes).contains(&bytes)
                && low & 4095 == 0
                && (low..low.saturating_add(bytes)).contains(&here)
                && low.saturating_add(bytes) > tp
        };
        words.windows(2).position(is_stack).map(|index| index * 8)
    }
}

impl Probe {
    /// The byte of the block that is 0, and is not after `change`.
    fn byte_that_tells(&self, tp: usize, change: impl FnOnce()) -> Option<usize> {
        // SAFETY: the calling thread's block, which only it and the kernel write.
        let look = || (0..self.sizeof_pthread).map(|at| unsafe { *((tp + at) as *const u8) });
        let before: Vec<u8> = look().collect();
        change();
        let mut changed = look().enumerate().filter(|(at, byte)| before[*at] != *byte);
        let (at, _) = changed.next()?;
        (changed.next().is_none() && before[at] == 0).then_some(at)
    }

    fn find_cancel(&self, tp: usize) -> Option<[usize; 2]> {
        let old = std::ptr::null_mut();
        // SAFETY: settings of the calling thread, which nothing cancels.
        let (state, kind) = unsafe {
            let state = self.byte_that_tells(tp, || _ = pthread_setcancelstate(1, old));
            pthread_setcancelstate(0, old);
            let kind = self.byte_that_tells(tp, || _ = pthread_setcanceltype(1, old));
            pthread_setcanceltype(0, old);
            (state, kind)
        };
        Some([state?, kind?])
    }

    /// The word of the static TLS that is 0, and is not after a look-up has failed.
    fn find_dlerror(&self, tp: usize) -> Option<usize> {
        let words = self.used_tls / 8;
        // SAFETY: the calling thread's static TLS, that of the modules that are there.
        let look = || (1..=words).map(|n| unsafe { *((tp - n * 8) as *const usize) });
        // What is allocated at the first time is there afterwards.
        fail_to_look_up();
        forget_error();
        let before: Vec<usize> = look().collect();
        fail_to_look_up();
        let changed: Vec<usize> =
            look().enumerate().filter(|(n, word)| before[*n] != *word).map(|(n, _)| n).collect();
        forget_error();
        let [n] = changed[..] else { return None };
        let at = (n + 1) * 8;
        // SAFETY: as above.
        let is_gone = unsafe { *((tp - at) as *const usize) == 0 };
        (before[n] == 0 && is_gone).then_some(at)
    }
}

impl Probe {
    fn find_locale(&self, tp: usize) -> Option<(usize, usize)> {
        // SAFETY: the calling thread's static TLS, as above.
        let look = || (1..=self.used_tls / 8).map(|n| unsafe { *((tp - n * 8) as *const usize) });
        // SAFETY: a name that always exists; the locale is in use between the calls only.
        let (before, now, after, set) = unsafe {
            let set = libc::newlocale(libc::LC_ALL_MASK, c"C".as_ptr(), std::ptr::null_mut());
            if set.is_null() {
                return None;
            }
            let before: Vec<usize> = look().collect();
            let own = libc::uselocale(set);
            let now: Vec<usize> = look().collect();
            libc::uselocale(own);
            let after: Vec<usize> = look().collect();
            libc::freelocale(set);
            (before, now, after, set as usize)
        };
        let mut found = (0..now.len()).filter(|n| now[*n] == set && before[*n] != set);
        let (n, None) = (found.next()?, found.next()) else { return None };
        (before[n] == after[n]).then_some(((n + 1) * 8, before[n]))
    }

    fn find_errors(&self, tp: usize) -> Option<[usize; 2]> {
        // SAFETY: no arguments.
        let places = unsafe { [libc::__errno_location() as usize, __h_errno_location() as usize] };
        let below = places.map(|at| tp.wrapping_sub(at));
        below.iter().all(|at| (4..=self.used_tls).contains(at)).then_some(below)
    }
}

fn fail_to_look_up() {
    // SAFETY: a name that no library has.
    let _ = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"goroutines: none".as_ptr()) };
}

fn forget_error() {
    // SAFETY: no arguments. The first call gives the text, the second frees it.
    while unsafe { !libc::dlerror().is_null() } {}
}

unsafe extern "C" {
    fn __h_errno_location() -> *mut c_int;
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    fn pthread_setcanceltype(kind: c_int, old: *mut c_int) -> c_int;
}

extern "C" fn look(probe: *mut c_void) -> *mut c_void {
    let tp = crate::arch::thread_pointer();
    let here = &raw const tp as usize;
    // SAFETY: the Probe of `ask`, which waits.
    let probe = unsafe { &mut *probe.cast::<Probe>() };
    probe.resolver = (super::resolver::of_caller() as usize).wrapping_sub(tp);
    probe.stackblock = probe.find_stackblock(tp, here);
    probe.cancel = probe.find_cancel(tp);
    probe.dlerror = probe.find_dlerror(tp);
    probe.locale = probe.find_locale(tp);
    probe.errors = probe.find_errors(tp);
    std::ptr::null_mut()
}
