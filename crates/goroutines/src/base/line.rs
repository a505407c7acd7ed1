//! Data that has cache lines to itself.

use std::ops::Deref;

/// A value that shares no cache line, nor the line that is fetched along with it, with anything
/// else: other processors that write what lies beside it don't take it away.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Line<T>(pub(crate) T);

impl<T> Deref for Line<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}
