//! The twin of `goroutines::p`.

use crate::timer::Timers;
use std::cell::Cell;

/// As there.
pub(crate) const MAX_PROCS: usize = 4;

/// A processor.
pub(crate) struct P {
    pub(crate) id: u32,
    pub(crate) timers: Timers,
    pub(crate) new_timer: Cell<bool>,
}

impl P {
    pub(crate) fn new() -> Self {
        Self { id: 0, timers: Timers::new(), new_timer: Cell::new(false) }
    }
}
