//! The twin of `goroutines::timer`.

pub(crate) mod alarm {
    pub(crate) use crate::sched::wait::NEVER;
}
