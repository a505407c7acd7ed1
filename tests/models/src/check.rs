//! Checking a model, and refuting a weakened one.

use crate::base::atomic::{Weak, weaken};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bounds that most models are done within in seconds. `LOOM_MAX_PREEMPTIONS` overrides the first.
const PREEMPTIONS: usize = 3;
const BRANCHES: usize = 20_000;

/// Checks `model` in all orders of its threads, up to the bound on preemptions.
pub(crate) fn holds(model: impl Fn() + Send + Sync + 'static) {
    within(PREEMPTIONS, model);
}

/// As [`holds`], with another bound.
pub(crate) fn within(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = BRANCHES;
    builder.check(model);
}

/// Passes if `model`, with the atomics weakened so, is refuted with a complaint that has `complaint`
/// in it. An empty one: whichever.
pub(crate) fn refuted(weak: Weak, complaint: &str, model: impl Fn() + Send + Sync + 'static) {
    weaken(weak);
    let result = catch_unwind(AssertUnwindSafe(|| holds(model)));
    weaken(Weak::No);
    let Err(panic) = result else { panic!("the weakened model holds") };
    let text = match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.clone(),
        (_, Some(text)) => (*text).to_owned(),
        _ => String::new(),
    };
    assert!(text.contains(complaint), "refuted, but for another reason: {text}");
}
