//! What everything uses: the runtime's own system calls, its lock, its random numbers, its ways to
//! give up. Knows nothing of goroutines.

pub(crate) mod atomic;
pub(crate) mod fatal;
pub(crate) mod gather;
pub(crate) mod limits;
pub(crate) mod line;
pub(crate) mod lock;
pub(crate) mod lock_word;
#[cfg_attr(
    not(feature = "intercept"),
    expect(dead_code, reason = "some are only made for calls that are taken over")
)]
pub(crate) mod optional;
pub(crate) mod origin;
pub(crate) mod rand;
pub(crate) mod stay;
pub(crate) mod sys;
pub(crate) mod unwind;
