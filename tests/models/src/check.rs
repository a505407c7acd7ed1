//! Checking a model, and refuting a weakened one.

use crate::base::atomic::{Weak, weaken};
use crate::base::steps::leave_out;
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

/// As [`refuted`], with a step left out instead.
pub(crate) fn refuted_without(
    step: &'static str,
    complaint: &str,
    model: impl Fn() + Send + Sync + 'static,
) {
    leave_out(step);
    refuted(Weak::No, complaint, model);
    leave_out("");
}

/// Passes if `model`, with `weak` atomics and `step` left out, is refuted by somebody's waiting for ever.
pub(crate) fn starves(weak: Weak, step: &'static str, model: impl Fn() + Send + Sync + 'static) {
    falls(weak, step, "deadlock; threads", model);
}

/// As [`refuted`] and [`refuted_without`], for a model that can't be taken to pieces then: one whose threads wait
/// for ever, or have what only a sound model can drop.
///
/// So the process ends here, with success: each model has its own (`cargo xtask loom`).
pub(crate) fn falls(
    weak: Weak,
    step: &'static str,
    complaint: &'static str,
    model: impl Fn() + Send + Sync + 'static,
) {
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("{panic}");
        let refuted = panic.to_string().contains(complaint);
        // SAFETY: no memory is involved.
        unsafe { libc::_exit(if refuted { 0 } else { 1 }) }
    }));
    weaken(weak);
    leave_out(step);
    holds(model);
    eprintln!("the weakened model holds");
    std::process::exit(1);
}
