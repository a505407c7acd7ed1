//! Messages that are evaluated only once their operation is chosen: what others see meanwhile.

use goroutines::chan::{Select, TrySendError, bounded};
use goroutines::{go, select};
use goroutines_tests::io::{at_each, ms};
use goroutines_tests::proc::wait_until;
use std::time::Duration;

/// Who waits on two channels, and was promised a message of one, does not wait on the other any more.
#[test]
fn who_was_promised_a_message_does_not_wait_elsewhere() {
    at_each(|_| {
        let (first, firsts) = bounded::<i32>(0);
        let (second, seconds) = bounded::<i32>(0);
        let can_send = |within: Duration| {
            let mut sends = Select::new();
            sends.send(&second);
            sends.ready_timeout(within).is_ok()
        };
        assert!(!can_send(ms(0)), "nobody waits yet");

        let waiter = go(move || {
            select! {
                recv(firsts) -> message => message,
                recv(seconds) -> message => message,
            }
        });
        wait_until(ms(20_000), "the waiter waits", || can_send(ms(0)));

        let (chosen, is_chosen) = bounded(0);
        let (go_on, may_go_on) = bounded(0);
        let slow = move || {
            assert_eq!(chosen.send(()), Ok(()));
            assert_eq!(may_go_on.recv(), Ok(()));
            7
        };
        let sender = go(move || select! { send(first, slow()) -> sent => sent });
        assert_eq!(is_chosen.recv(), Ok(()));

        assert!(!can_send(ms(0)), "it is to have the first channel's");
        assert!(!can_send(ms(5)));
        assert_eq!(second.try_send(1), Err(TrySendError::Full(1)));

        assert_eq!(go_on.send(()), Ok(()));
        assert_eq!(sender.join().ok(), Some(Ok(())));
        assert_eq!(waiter.join().ok(), Some(Ok(7)));
        assert!(can_send(ms(0)), "there are no receivers any more");
    });
}
