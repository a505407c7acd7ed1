//! A body at several numbers of processors.

use goroutines::runtime;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

/// A body that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(200);

/// Runs `body` at `GOMAXPROCS` 1, 2 and 4, with short slices. One test at a time: the runtime is the process's.
pub(crate) fn at_each(body: impl Fn(usize) + Sync) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    start();
    for procs in [1, 2, 4] {
        let (_done, waits) = mpsc::channel::<()>();
        std::thread::spawn(move || {
            if waits.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("hangs at {procs}");
                std::process::abort();
            }
        });
        runtime::gomaxprocs(procs);
        goroutines::run(|| body(procs));
    }
}

/// Starts the runtime, unless another test has.
pub(crate) fn start() {
    let _ = runtime::Builder::new().time_slice(Duration::from_millis(1)).start();
}
