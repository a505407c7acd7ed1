//! The atomics that the model-checked files use.
//!
//! Those files (`p/runq.rs`, `sched/idle.rs`, `m/lease.rs`, `g/status.rs`, `g/wait.rs`,
//! `timer/alarm.rs`) are compiled a second time
//! by the model checker, with a twin of this module made of loom's types.

pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence, fence,
};

/// The cheap half of an asymmetric barrier: keeps the compiler from reordering, and becomes a full
/// barrier whenever another thread executes [`heavy_barrier`].
#[inline(always)]
pub(crate) fn light_barrier() {
    compiler_fence(Ordering::SeqCst);
}

/// The dear half: every running thread of the process executes a full barrier before it returns.
///
/// False where the kernel has no such call; the caller must then not rely on it.
pub(crate) fn heavy_barrier() -> bool {
    fence(Ordering::SeqCst);
    super::sys::membarrier()
}
