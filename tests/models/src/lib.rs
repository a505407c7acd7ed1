//! The scheduler's lock-free parts under a model checker (loom).
//!
//! The files that decide which thread owns what (`p/runq.rs`, `base/gather.rs`, `sched/idle.rs`, `m/lease.rs`, `m/noted.rs`, `signals/census.rs`, `signals/nodes.rs`, `g/status.rs`, `g/wait.rs`,
//! `g/wait_list.rs`, `timer/alarm.rs`, `timer/call.rs`, `sched/later.rs`, `sched/starved.rs`, `sched/ambient.rs`, `netpoll/desc.rs`,
//! `thread/park.rs`, and all of `chan/`) are compiled here a second time, against twins of the modules they use. The twin of
//! `base/atomic.rs` is made of loom's types, and can be weakened: `base::atomic::Weak`. Where a twin is to lack a
//! step of the library's own code, the build script puts a question in front of it: `base::steps`. What the
//! scheduler does around those files is repeated in the models, in functions named as there, as are
//! `intercept/futex.rs`, `intercept/sync.rs`, `intercept/wait.rs`, `signals/masks.rs`, `signals/post.rs`, `signals/deliver.rs` and `sched/watch.rs`, which have too much to do with libc and the
//! kernel.
//!
//! The kernel may have no heavy barrier, or refuse it: `base::atomic::Kernel`.
//!
//! The cells of those who wait for a channel are loom's: who touches one at the wrong time, or when the waiter is
//! gone, is found. Time passes at any moment; the commit of a park may run beside the goroutine that goes on.
//!
//! Each model is checked as it is, and has weakened twins that the checker must refute, each with the
//! complaint it is expected to have.
//!
//! `cargo xtask loom [NAME]` runs them.
#![cfg(all(loom, test))]
#![expect(clippy::unwrap_used, reason = "a test may fail so")]

mod alarm;
mod ambient;
mod base;
mod call;
mod chan;
mod check;
mod desc;
mod futex;
mod g;
mod gather;
mod idle;
mod lease;
mod lock;
mod masks;
mod netpoll;
mod p;
mod park;
mod pending;
mod pool;
mod pthread;
mod real;
mod runq;
mod sched;
mod select;
mod semaphore;
mod starved;
mod sync;
mod thread;
mod timer;
mod token;
mod wait;
mod wait_group;
mod watch;
mod world;

use sched::go;
