//! The twin of `goroutines::sync`.

#[expect(
    dead_code,
    unreachable_pub,
    reason = "a public file of the library, not all of which is used"
)]
pub(crate) mod pool {
    include!(concat!(env!("OUT_DIR"), "/sync_pool.rs"));
}

pub(crate) mod queue {
    include!(concat!(env!("OUT_DIR"), "/sync_queue.rs"));
}

#[expect(
    dead_code,
    unreachable_pub,
    reason = "a public file of the library, not all of which is used"
)]
pub(crate) mod semaphore {
    include!(concat!(env!("OUT_DIR"), "/sync_semaphore.rs"));
}
