//! The library's own files.

#[path = "../../../crates/goroutines/src/sched/idle.rs"]
pub(crate) mod idle;

#[path = "../../../crates/goroutines/src/sync/count.rs"]
pub(crate) mod count;

#[path = "../../../crates/goroutines/src/base/lock_word.rs"]
pub(crate) mod lock_word;

pub(crate) mod gather {
    include!(concat!(env!("OUT_DIR"), "/base_gather.rs"));
}

pub(crate) mod noted {
    include!(concat!(env!("OUT_DIR"), "/m_noted.rs"));
}

pub(crate) mod census {
    include!(concat!(env!("OUT_DIR"), "/signals_census.rs"));
}

pub(crate) mod signals {
    /// As in the library.
    pub(crate) const fn bit(signal: i32) -> u64 {
        1 << (signal - 1)
    }

    #[expect(dead_code, reason = "the models don't use all of it")]
    mod nodes {
        include!(concat!(env!("OUT_DIR"), "/signals_nodes.rs"));
    }

    /// A pending set, and what its consumer has taken out of it.
    pub(crate) struct Pending {
        queue: nodes::Queue,
        list: loom::cell::UnsafeCell<nodes::List>,
    }

    // SAFETY: loom checks which threads use the list.
    unsafe impl Sync for Pending {}

    impl Pending {
        pub(crate) fn new() -> Self {
            let list = loom::cell::UnsafeCell::new(nodes::List::new());
            Self { queue: nodes::Queue::new(), list }
        }

        /// Adds `signal`, with a value.
        pub(crate) fn push(&self, signal: i32, value: i32) {
            // SAFETY: plain old data.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            (info.si_signo, info.si_errno) = (signal, value);
            assert!(self.queue.push(&info).is_ok());
        }

        /// Takes one of `allowed`: the signal, and its value. By the consumer.
        pub(crate) fn take(&self, allowed: u64) -> Option<(i32, i32)> {
            // SAFETY: the consumer's, or loom complains.
            let info =
                self.list.with_mut(|list| self.queue.take(unsafe { &mut *list }, allowed))?;
            Some((info.si_signo, info.si_errno))
        }

        pub(crate) fn bits(&self) -> u64 {
            self.queue.bits()
        }
    }
}

#[path = "../../../crates/goroutines/src/m/lease.rs"]
pub(crate) mod lease;

#[expect(dead_code, reason = "the models don't use all of it")]
#[path = "../../../crates/goroutines/src/p/runq.rs"]
pub(crate) mod runq;

#[path = "../../../crates/goroutines/src/g/status.rs"]
pub(crate) mod status;

#[expect(dead_code, reason = "the models don't use all of it")]
pub(crate) mod alarm {
    include!(concat!(env!("OUT_DIR"), "/timer_alarm.rs"));
}

#[expect(dead_code, unused_imports, unreachable_pub, reason = "the models don't use all of it")]
pub(crate) mod chan {
    include!(concat!(env!("OUT_DIR"), "/chan_mod.rs"));
}
