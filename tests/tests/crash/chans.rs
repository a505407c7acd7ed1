//! Channels and timers in deadlocks: what counts as one that could still wake somebody.

use crate::asleep::expect_deadlock;
use crate::victim;
use std::time::Duration;

/// Go: `TestSimpleDeadlock`, and the reasons of runtime/runtime2.go.
#[test]
fn in_one_operation() {
    for (scenario, header, function) in [
        ("chan_receive", "goroutine 1 [chan receive]:", "victim::chans::receives"),
        ("chan_send", "goroutine 1 [chan send]:", "victim::chans::sends"),
        ("chan_select", "goroutine 1 [select]:", "victim::chans::selects"),
        ("chan_nil", "goroutine 1 [chan receive (nil chan)]:", "victim::chans::receives"),
    ] {
        victim(scenario, |ended| {
            expect_deadlock(ended, &[(header, function)]);
            assert!(!ended.stderr.contains("goroutines::chan::party"), "our frames:\n{ended}");
            assert!(ended.took < Duration::from_secs(10), "{ended}");
        });
    }
}

#[test]
fn in_a_ring_of_channels() {
    let waits = |id| format!("goroutine {id} [chan receive]:");
    let headers = [1, 2, 3, 4].map(waits);
    let all = headers.each_ref().map(|header| (header.as_str(), "victim::chans::receives"));
    victim("chan_ring", |ended| expect_deadlock(ended, &all));
}

/// Measured with Go 1.27: only timers that are waited for, or have a function, keep a deadlock away.
#[test]
fn beside_timers() {
    let main = |function| [("goroutine 1 [chan receive]:", function)];
    let (receives, waits) = ("victim::chans::receives", "victim::chans::waits_for");
    victim("forgotten_timers", |ended| expect_deadlock(ended, &main(receives)));
    victim("stopped_timer", |ended| expect_deadlock(ended, &main(waits)));
    victim("timer_that_has_come", |ended| {
        expect_deadlock(ended, &main(waits));
        assert_eq!(ended.text(), "it has come\n");
    });
    victim("after_the_last_func", |ended| {
        expect_deadlock(ended, &main(receives));
        assert_eq!(ended.text(), "called\n");
    });
}

#[test]
fn not_beside_timers_that_come() {
    victim("timers_wake", |ended| {
        ended.expect_clean();
        assert_eq!(ended.text(), "done\n");
    });
}
