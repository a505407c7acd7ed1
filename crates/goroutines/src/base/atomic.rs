//! The atomics that the model-checked files use.
//!
//! The files that decide which thread owns what are compiled a second time by the model checker,
//! with a twin of this module that is made of loom's types. `tests/models/src/lib.rs` lists them.

pub(crate) use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64, Ordering, compiler_fence, fence,
};

/// The cheap half of an asymmetric barrier: keeps the compiler from reordering, and becomes a full
/// barrier whenever another thread executes [`heavy_barrier`].
#[inline(always)]
pub(crate) fn light_barrier() {
    compiler_fence(Ordering::SeqCst);
}

/// The time since which the kernel has had no heavy barrier, plus one; 0: it has one. A sandbox may
/// take it away later.
static DEAR_SINCE_NS: AtomicU64 = AtomicU64::new(0);

/// How long it takes until all threads know that the barrier is gone: longer than a processor keeps
/// a store to itself.
const KNOWN_NS: u64 = 10_000_000;

/// The cheap half, for code whose next load must not overtake its stores: a full barrier where
/// there is no heavy one. (It asks the word that a section's beginning has just read: where entries
/// are dear, that is 0.)
#[inline(always)]
pub(crate) fn entry_barrier() {
    light_barrier();
    if super::origin::owned() == 0 {
        fence(Ordering::SeqCst);
    }
}

/// Asks the kernel for heavy barriers. Where it has none (or a sandbox refuses them), each entry
/// pays. To be called at the start.
pub(crate) fn prepare_barriers() {
    if !super::sys::membarrier_register() {
        DEAR_SINCE_NS.store(1, Ordering::SeqCst);
    }
}

/// Whether each entry pays.
pub(crate) fn entries_are_dear() -> bool {
    DEAR_SINCE_NS.load(Ordering::Relaxed) != 0
}

/// The dear half: every running thread of the process executes a full barrier before it returns, or
/// has executed one in its [`entry_barrier`].
///
/// False where that is not so, as the kernel has begun to refuse the call just now; the caller must
/// then not rely on it.
pub(crate) fn heavy_barrier() -> bool {
    fence(Ordering::SeqCst);
    match DEAR_SINCE_NS.load(Ordering::Relaxed) {
        0 => super::sys::membarrier() || is_refused(),
        since => super::sys::nanotime().saturating_sub(since) > KNOWN_NS,
    }
}

#[cold]
fn is_refused() -> bool {
    super::origin::look_closer();
    let now = super::sys::nanotime() + 1;
    let _ = DEAR_SINCE_NS.compare_exchange(0, now, Ordering::SeqCst, Ordering::Relaxed);
    false
}
