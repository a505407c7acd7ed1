//! The twin of `goroutines::p`.

/// As there.
pub(crate) const MAX_PROCS: usize = 4;

/// A processor, if there were one.
pub(crate) struct P {
    pub(crate) id: u32,
}
