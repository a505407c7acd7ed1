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
