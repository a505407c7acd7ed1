//! What the sleepers in Rust share: how long each sleeps, and the lines they print.
//!
//! Each includes this file as a module, so that it needs no crate of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often a task sleeps.
pub(crate) const SLEEPS: u64 = 5;

/// By how much all sleeps together were longer than they should have been, in ns.
static LATE: AtomicU64 = AtomicU64::new(0);

/// The numbers of tasks and of processors, from the command line.
pub(crate) fn arguments() -> (u64, usize) {
    let mut args = std::env::args().skip(1).map_while(|word| word.parse().ok());
    match (args.next(), args.next()) {
        (Some(tasks), Some(procs)) if tasks > 0 && procs > 0 => (tasks, procs as usize),
        _ => {
            eprintln!("usage: PROGRAM TASKS PROCS");
            std::process::exit(2)
        }
    }
}

/// From 1 to 100 ms, in some order that is always the same.
pub(crate) fn duration(task: u64, sleep: u64) -> Duration {
    let mixed = (task * SLEEPS + sleep + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Duration::from_millis(1 + (mixed >> 40) % 100)
}

/// One task's lateness, in ns.
#[derive(Default)]
pub(crate) struct Late(u64);

impl Late {
    /// It slept since `start` and should have for `wanted`.
    pub(crate) fn add(&mut self, start: Instant, wanted: Duration) {
        self.0 += start.elapsed().saturating_sub(wanted).as_nanos() as u64;
    }
}

impl Drop for Late {
    fn drop(&mut self) {
        LATE.fetch_add(self.0, Ordering::Relaxed);
    }
}

/// Prints the mean lateness, the time since `start`, and the CPU time of the process.
pub(crate) fn report(tasks: u64, start: Instant) {
    let wall = start.elapsed();
    let late = LATE.load(Ordering::Relaxed) as f64 / 1e3 / (tasks * SLEEPS) as f64;
    // SAFETY: plain old data, which the call fills in.
    let used = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut used);
        used
    };
    let ms = |t: libc::timeval| t.tv_sec as f64 * 1e3 + t.tv_usec as f64 / 1e3;
    let (wall, cpu) = (wall.as_secs_f64() * 1e3, ms(used.ru_utime) + ms(used.ru_stime));
    println!("late µs {late:.1}\ncpu ms {cpu:.1}\nwall ms {wall:.1}");
}
