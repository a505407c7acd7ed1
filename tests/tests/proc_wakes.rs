//! Who is woken by a goroutine that then parks waits for that; by one that goes on and on, runs elsewhere (`g/haste.rs`,
//! `p/pace.rs`: a guess, which the monitor corrects).

use goroutines::chan::{Receiver, Sender, bounded};
use goroutines::{WaitGroup, go};
use goroutines_tests::proc::{Times, at_procs, burn_for};
use std::time::{Duration, Instant};

/// How long the waker computes, before it would come to park.
const BUSY: Duration = Duration::from_millis(4);

/// How long each of `n` messages took to be received by one who waited, while its sender went on computing.
fn delays(n: usize, between: impl Fn()) -> Times {
    let (to, from) = bounded::<Instant>(0);
    let (back, delays): (Sender<Duration>, Receiver<Duration>) = bounded(n);
    drop(go(move || from.iter().for_each(|sent| back.send(sent.elapsed()).expect("it is kept"))));
    let each = |_| {
        // It waits.
        std::thread::sleep(Duration::from_millis(1));
        to.send(Instant::now()).expect("it is received");
        burn_for(BUSY);
        let delay = delays.recv().expect("one a message");
        between();
        delay
    };
    (0..n).map(each).collect()
}

/// A quarter is received long before the sender parks, each time: a machine that is busy holds up some.
fn expect_early(between: impl Fn()) {
    for _ in 0..3 {
        let times = delays(40, &between);
        assert!(times.percentile(25) < BUSY / 2, "{times}");
    }
}

/// The first one woken so is held up for a moment, if the machine lets the monitor run; those that follow are not.
#[test]
fn who_is_woken_by_one_that_computes_runs_elsewhere() {
    at_procs(2, || expect_early(|| {}));
}

/// The same by one that has exchanged a thousand messages just before, each of which was rightly kept.
#[test]
fn a_guess_that_was_right_a_thousand_times_is_corrected() {
    at_procs(2, || {
        let (ping, pings) = bounded(0);
        let (pong, pongs) = bounded(0);
        let wg = WaitGroup::new();
        wg.go(move || pings.iter().for_each(|i: u32| pong.send(i).expect("it is received")));
        expect_early(|| {
            for i in 0..1_000 {
                ping.send(i).expect("it is received");
                assert_eq!(pongs.recv(), Ok(i));
            }
        });
        drop(ping);
        wg.wait();
    });
}
