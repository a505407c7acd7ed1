//! Channels beside a model of them: operations made from bytes are done on both, and must come to the same.
//!
//! The model (`model.rs`) is that of one processor on which one thing happens after the other: a buffer, and
//! queues of those who wait. The driver (`driver.rs`) is a goroutine that never blocks without knowing how it
//! ends; who may block is a goroutine of its own (`op.rs`). After each step, or after a few, the driver lets
//! the others run until all are done that can be.
//!
//! It is what `tests/chan_model.rs` and the fuzz target in `fuzz/` drive.

mod driver;
mod model;
mod op;

/// Does what `bytes` say on channels and on the model. To be called in a goroutine, at `GOMAXPROCS` 1.
///
/// # Panics
/// If they differ; and if a message is lost, doubled or leaked.
pub fn run(bytes: &[u8]) {
    driver::Driver::new(bytes).run();
}

/// What is left of the bytes.
struct Bytes<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl Bytes<'_> {
    fn is_over(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// 0 when there are no more.
    fn next(&mut self) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte)
    }

    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        self.next() % n
    }

    /// One time in `n`.
    fn rarely(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }
}
