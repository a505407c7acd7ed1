//! System calls that the runtime can do without.
//!
//! A kernel may be too old for a call (`ENOSYS`), or a sandbox may refuse what it does not know,
//! with whatever error it likes (`EPERM`, `EACCES`, `EINVAL`): the first error of such a call means
//! that it is not here, and a fallback takes its place for good. Each call has one [`Optional`],
//! and one fallback where it is made.
//!
//! A sandbox may also be entered later, and an error may be the caller's own: so a call that has
//! failed is probed: it is made once more, in a way that can fail in only one way where the call is
//! there.

use std::sync::atomic::{AtomicU8, Ordering};

const UNKNOWN: u8 = 0;
const HERE: u8 = 1;
const GONE: u8 = 2;

/// Whether a system call is there.
#[derive(Debug)]
pub(crate) struct Optional(AtomicU8);

/// Whether `word` is the refusal of a call that is not there, or not allowed.
fn is_refusal(word: isize) -> bool {
    const REFUSALS: [i32; 4] = [libc::ENOSYS, libc::EPERM, libc::EACCES, libc::EINVAL];
    REFUSALS.iter().any(|error| word == -(*error as isize))
}

impl Optional {
    pub(crate) const fn new() -> Self {
        Self(AtomicU8::new(UNKNOWN))
    }

    /// Whether the call is there, as far as we know. `probe` makes it in such a way that a kernel
    /// which knows the call answers with success, or with an error other than those of a refusal.
    #[inline]
    pub(crate) fn is_here(&self, probe: impl FnOnce() -> isize) -> bool {
        match self.0.load(Ordering::Relaxed) {
            UNKNOWN => !self.asks(probe),
            state => state == HERE,
        }
    }

    /// Whether the call, which has failed with `error`, is refused: `probe` finds that out.
    pub(crate) fn refuses(&self, error: isize, probe: impl FnOnce() -> isize) -> bool {
        is_refusal(error) && self.asks(probe)
    }

    #[cold]
    fn asks(&self, probe: impl FnOnce() -> isize) -> bool {
        let is_refused = is_refusal(probe());
        self.0.store(if is_refused { GONE } else { HERE }, Ordering::Relaxed);
        is_refused
    }
}
