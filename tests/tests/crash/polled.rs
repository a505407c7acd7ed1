//! The detector beside descriptors and times: who waits for one keeps it silent, who waited does not.

use crate::victim;
use std::time::Duration;

const DEADLOCK: &str = "fatal error: all goroutines are asleep - deadlock!\n";

/// Go: `TestNetpollDeadlock`.
#[test]
fn nobody_waits_for_descriptors_any_more() {
    // Without interception a closed number ends nobody's wait.
    let close = cfg!(feature = "intercept").then_some("after_a_close");
    for scenario in ["after_a_connection", "after_a_poll_in_time"].into_iter().chain(close) {
        expect_deadlock(scenario);
    }
}

#[test]
fn time_outs_that_were_not_needed() {
    for scenario in ["after_a_message_in_time", "after_an_unpark_in_time", "after_a_signal_in_time"]
    {
        expect_deadlock(scenario);
    }
}

#[track_caller]
fn expect_deadlock(scenario: &str) {
    victim(scenario, |ended| {
        ended.expect_status(2);
        assert!(ended.stderr.starts_with(DEADLOCK), "{scenario}: {ended}");
        assert!(ended.took < Duration::from_secs(2), "{scenario}, too late: {ended}");
    });
}

#[test]
fn somebody_waits_for_a_time() {
    for scenario in ["recv_times_out", "poll_times_out", "read_times_out", "child_is_waited_for"] {
        victim(scenario, |ended| {
            ended.expect_clean();
            assert!(ended.took >= Duration::from_millis(290), "{scenario} did not wait: {ended}");
        });
    }
}

#[test]
fn somebody_waits_for_ever() {
    for scenario in ["accepts_for_ever", "reads_for_ever", "sleeps_for_ever"] {
        victim(scenario, |ended| {
            ended.expect_signal(libc::SIGALRM);
            assert!(ended.stderr.is_empty(), "{scenario}: {ended}");
        });
    }
}
