//! The bridge to `async`.

use crate::g::reason::WaitReason;
use crate::thread::ParkState;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

struct Signal(ParkState);

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end on the calling goroutine, which is parked while the future is pending.
///
/// A goroutine, a thread or another runtime that wakes the future makes the calling goroutine
/// runnable. `block_on` is no runtime for the future: one that needs tokio's timers or sockets is
/// polled in tokio's context, by `tokio::runtime::Handle::block_on`, which works on a goroutine
/// too, or inside `Handle::enter`. On an ordinary thread `block_on` blocks the thread. (As
/// `futures::executor::block_on`, `pollster::block_on`.)
///
/// # Deadlock
/// If nobody wakes the future.
///
/// # Examples
/// ```
/// use std::future::poll_fn;
/// use std::task::Poll;
///
/// let mut polls = 0;
/// let n = goroutines::go(move || {
///     goroutines::block_on(poll_fn(|cx| {
///         polls += 1;
///         if polls == 3 {
///             return Poll::Ready(polls);
///         }
///         // Another goroutine wakes it.
///         let waker = cx.waker().clone();
///         goroutines::go(move || waker.wake());
///         Poll::Pending
///     }))
/// });
/// assert_eq!(n.join().unwrap(), 3);
/// ```
pub fn block_on<F: Future>(future: F) -> F::Output {
    let signal = Arc::new(Signal(ParkState::new()));
    let waker = Waker::from(Arc::clone(&signal));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => signal.0.park(WaitReason::Future),
        }
    }
}
