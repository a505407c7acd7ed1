//! Go's tests of timers and tickers: time/tick_test.go and time/sleep_test.go of Go 1.27, and two of
//! runtime/proc_test.go (The Go Authors, BSD-3-Clause), ported. `timers.rs` has those of sleeping:
//! `TestSleep`, `TestSleepZeroDeadlock`.
//!
//! No test expects something to be done in less than some seconds, unless it tries again.
//!
//! Not here: `TestTickerStopWithDirectInitialization`, `TestManualTicker`, `TestZeroTimer…Panics` and
//! `TestIssue5745` are about values that can't be made, `TestTick` about a negative time; and
//! `TestOverflowPeriodRuntimeTimer` looks inside.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails must end them")]

use goroutines::chan::{self, Receiver, TryRecvError, bounded};
use goroutines::time::{AfterFunc, Ticker, Timer, after_func};
use goroutines::{WaitGroup, go, runtime, select};
use goroutines_tests::alloc::BLOCKS;
use goroutines_tests::chans::parked;
use goroutines_tests::io::{at_each, ms};
use goroutines_tests::proc::at_procs;
use goroutines_tests::{join_all, quiet_panics};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);
/// In time to nobody's harm, on a machine that has other things to do.
const AT_LAST: Duration = Duration::from_secs(10);
const NS: Duration = Duration::from_nanos(1);
const US: Duration = Duration::from_micros(1);

/// What Go's tests do with timers, made with a channel or with a function, and with tickers.
trait Clock: Send + Sync {
    const NAME: &str;
    /// Whether it goes on after its first time.
    const TICKS: bool = false;
    fn new(time: Duration) -> Self;
    fn channel(&self) -> &Receiver<Instant>;
    fn stop(&self) -> bool;
    fn reset(&self, time: Duration) -> bool;
}

impl Clock for Timer {
    const NAME: &str = "Timer";
    fn new(time: Duration) -> Self {
        Self::new(time)
    }
    fn channel(&self) -> &Receiver<Instant> {
        self.channel()
    }
    fn stop(&self) -> bool {
        self.stop()
    }
    fn reset(&self, time: Duration) -> bool {
        self.reset(time)
    }
}

/// Go: `newTimerFunc`: a timer made of a function that sends.
struct FuncTimer {
    channel: Receiver<Instant>,
    timer: AfterFunc,
}

impl Clock for FuncTimer {
    const NAME: &str = "AfterFunc";
    fn new(time: Duration) -> Self {
        let (s, channel) = bounded(1);
        let send = move || s.send(Instant::now()).unwrap_or(());
        Self { channel, timer: after_func(time, send) }
    }
    fn channel(&self) -> &Receiver<Instant> {
        &self.channel
    }
    fn stop(&self) -> bool {
        self.timer.stop()
    }
    fn reset(&self, time: Duration) -> bool {
        self.timer.reset(time)
    }
}

/// Go: `tickerTimer`: a ticker that says whether it was running.
struct TickerTimer {
    ticker: Ticker,
    stopped: AtomicBool,
}

impl Clock for TickerTimer {
    const NAME: &str = "Ticker";
    const TICKS: bool = true;
    fn new(time: Duration) -> Self {
        Self { ticker: Ticker::new(time), stopped: AtomicBool::new(false) }
    }
    fn channel(&self) -> &Receiver<Instant> {
        self.ticker.channel()
    }
    fn stop(&self) -> bool {
        self.ticker.stop();
        !self.stopped.swap(true, Ordering::Relaxed)
    }
    fn reset(&self, time: Duration) -> bool {
        self.ticker.reset(time);
        !self.stopped.swap(false, Ordering::Relaxed)
    }
}

/// Tries up to `n` times until `attempt` succeeds: for what a busy machine makes fail.
#[track_caller]
fn one_of(n: usize, mut attempt: impl FnMut(u32) -> Result<(), String>) {
    let mut failures = Vec::new();
    for i in 0..n as u32 {
        match attempt(i) {
            Ok(()) => return,
            Err(e) => failures.push(e),
        }
    }
    panic!("{n} attempts: {failures:#?}");
}

fn expect(condition: bool, what: impl Into<String>) -> Result<(), String> {
    if condition { Ok(()) } else { Err(what.into()) }
}

/// Stops the world again and again until dropped; Go collects garbage.
struct Stops(Arc<AtomicBool>);

impl Stops {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        go(move || {
            while !told.load(Ordering::Relaxed) {
                drop(runtime::goroutines());
                sleep(NS);
            }
        });
        Self(stop)
    }
}

impl Drop for Stops {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Go: `TestTicker`: a ticker takes as long as its periods are together, also when the period is changed,
/// and ticks no more when it is stopped.
#[test]
fn a_ticker_takes_its_periods() {
    const TICKS: u32 = 10;
    at_each(|_| {
        one_of(5, |i| {
            let period = ms(20) * 2_u32.pow(i);
            let start = Instant::now();
            let ticker = Ticker::new(period);
            for i in 1..=TICKS / 2 {
                let at = ticker.channel().recv().unwrap();
                assert!(at - start >= period * i, "tick {i} is of {:?}", at - start);
                assert!(start.elapsed() >= period * i, "tick {i} is early");
            }
            ticker.reset(period * 2);
            assert_eq!(ticker.channel().iter().take(TICKS as usize / 2).count(), 5);
            ticker.stop();
            let (took, target) = (start.elapsed(), period * 3 * (TICKS / 2));
            assert!(took >= target, "{took:?} for ticks of {target:?} together");
            sleep(period * 4);
            assert_eq!(ticker.channel().try_recv(), Err(TryRecvError::Empty), "it is stopped");
            expect(took <= target * 13 / 10, format!("{took:?} instead of {target:?}"))
        });
    });
}

/// Go: `TestTeardown`: to stop a ticker that has ticked does not hang.
#[test]
fn a_ticker_is_torn_down() {
    at_each(|_| {
        for _ in 0..3 {
            let ticker = Ticker::new(ms(20));
            ticker.channel().recv().unwrap();
            ticker.stop();
        }
    });
}

/// Go: `TestNewTickerLtZeroDuration`, `TestTickerResetLtZeroDuration`.
#[test]
fn no_ticker_without_a_period() {
    quiet_panics();
    let text = |f: Box<dyn FnOnce() + Send>| {
        let payload = go(f).join().unwrap_err();
        let text = payload.downcast_ref::<&str>().copied().map(str::to_owned);
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap()
    };
    at_procs(2, || {
        let made = text(Box::new(|| drop(Ticker::new(Duration::ZERO))));
        assert_eq!(made, "non-positive interval for NewTicker");
        let ticker = Arc::new(Ticker::new(HOUR));
        let reset = Arc::clone(&ticker);
        let reset = text(Box::new(move || reset.reset(Duration::ZERO)));
        assert_eq!(reset, "non-positive interval for Ticker.Reset");
        ticker.reset(NS);
        ticker.channel().recv().unwrap();
    });
}

/// Go: `TestLongAdjustTimers`: beside a heap full of timers, channels that time out in selects are fast.
#[test]
fn many_time_outs_that_are_not_needed() {
    const ROUNDS: usize = if cfg!(debug_assertions) { 300 } else { 3_000 };
    at_each(|_| {
        let sleepers = (0..2_000).map(|_| go(|| sleep(US * 10)));
        let sleepers: Vec<_> = sleepers.collect();
        (0..1_000).for_each(|_| sleep(US));
        let (in_s, in_r) = bounded::<usize>(0);
        let (out_s, out_r) = bounded::<usize>(0);
        let queue = go(move || {
            let (off, _nobody_receives) = bounded(0);
            let mut queue = VecDeque::new();
            loop {
                let (to, next) = queue.front().map_or((&off, 0), |&next| (&out_s, next));
                select! {
                    send(to, next) -> sent => {
                        sent.unwrap();
                        queue.pop_front();
                    }
                    recv(in_r) -> message => {
                        let Ok(message) = message else { return };
                        queue.push_back(message);
                    }
                }
            }
        });
        for round in 0..ROUNDS {
            (0..20).for_each(|i| in_s.send(round * 20 + i).unwrap());
            for i in 0..20 {
                select! {
                    recv(out_r) -> message => assert_eq!(message, Ok(round * 20 + i)),
                    recv(chan::after(AT_LAST)) -> _ => panic!("nothing in round {round}"),
                }
            }
        }
        drop(in_s);
        queue.join().unwrap();
        join_all(sleepers);
    });
}

/// Go: `TestTimerGC`: of timers that nobody has any more nothing is left.
#[test]
fn what_is_dropped_takes_no_memory() {
    const N: i64 = 10_000;
    let makers: [(&str, fn()); 7] = [
        ("after", || drop(chan::after(HOUR))),
        ("tick", || drop(chan::tick(HOUR))),
        ("Timer", || drop(Timer::new(HOUR))),
        ("Ticker", || drop(Ticker::new(HOUR))),
        ("Timer, stopped", || assert!(Timer::new(HOUR).stop())),
        ("Ticker, stopped", || Ticker::new(HOUR).stop()),
        ("after_func, stopped", || assert!(after_func(HOUR, || ()).stop())),
    ];
    at_each(|procs| {
        for (what, make) in makers {
            let before = BLOCKS.load(Ordering::Relaxed);
            (0..N).for_each(|_| make());
            let in_use = BLOCKS.load(Ordering::Relaxed) - before;
            assert!(in_use < N / 10, "{in_use} allocations after {N} of {what}, at {procs}");
        }
    });
}

/// How long a thread may take to do the next thing. Where it takes longer, that is tried again.
const SCHED: Duration = ms(10);

#[track_caller]
fn no_tick(clock: &impl Clock) {
    assert_eq!(clock.channel().try_recv(), Err(TryRecvError::Empty), "a tick too many");
}

#[track_caller]
fn tick(clock: &impl Clock) {
    assert!(clock.channel().recv_timeout(AT_LAST).is_ok(), "a tick is missing");
}

/// A tick that need not be waited for: it is seen without blocking.
#[track_caller]
fn tick_seen(clock: &impl Clock) {
    let start = Instant::now();
    while clock.channel().try_recv().is_err() {
        assert!(start.elapsed() < AT_LAST, "a tick is missing");
        sleep(SCHED);
    }
}

/// Go: `TestChan`, its first part: stopping and resetting, with nobody in the channel.
fn laws_of_idle_clocks<C: Clock>() {
    let clock = C::new(HOUR * 3);
    clock.stop();
    no_tick(&clock);
    clock.reset(HOUR * 3);
    no_tick(&clock);

    // Its time comes, and nobody looks.
    clock.reset(NS);
    sleep(SCHED);
    let channel = clock.channel();
    assert_eq!((channel.len(), channel.capacity()), (0, Some(0)), "{}", C::NAME);
    tick_seen(&clock);
    // A second time comes, if there is one; it is lost by the reset.
    sleep(SCHED);
    clock.reset(HOUR * 3);
    no_tick(&clock);

    // Stop and reset keep old ticks from being received.
    clock.reset(NS);
    sleep(SCHED);
    assert!(clock.stop(), "{}: what was not received is stopped", C::NAME);
    no_tick(&clock);
    clock.reset(HOUR);
    no_tick(&clock);
    assert!(clock.reset(NS));
    tick_seen(&clock);
    sleep(SCHED);
    if C::TICKS {
        tick_seen(&clock);
        sleep(SCHED);
    } else {
        no_tick(&clock);
    }
    assert_eq!(clock.reset(HOUR), C::TICKS, "{}", C::NAME);
    no_tick(&clock);
    assert!(clock.stop());
    assert!(!clock.stop(), "{}: it is stopped already", C::NAME);
    assert!(!clock.reset(HOUR), "{}: it was stopped", C::NAME);
}

/// Go: `TestChan`, its second part: with a goroutine that waits for a tick.
fn laws_with_a_receiver<C: Clock>() {
    let clock = C::new(HOUR * 3);
    goroutines::thread::scope(|s| {
        let receiver = s.spawn(|| clock.channel().recv().unwrap());
        sleep(SCHED);
        assert!(!receiver.is_finished());
        clock.reset(HOUR * 6);
        sleep(SCHED);
        assert!(!receiver.is_finished());
        assert!(clock.reset(NS));
        assert!(receiver.join().unwrap() <= Instant::now());
    });
    if C::TICKS {
        tick_seen(&clock);
    } else {
        no_tick(&clock);
    }
    clock.stop();
    no_tick(&clock);
}

/// Go: `TestChan`, its third part: with two goroutines in selects. A timer's tick wakes one of them.
fn laws_with_two_selects<C: Clock>() {
    let clock = C::new(HOUR * 3);
    let (stop_s, stop_r) = bounded::<()>(0);
    let ticks = AtomicUsize::new(0);
    goroutines::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                select! {
                    recv(clock.channel()) -> at => {
                        assert!(at.unwrap() <= Instant::now());
                        ticks.fetch_add(1, Ordering::Relaxed);
                    }
                    recv(stop_r) -> _ => {}
                }
            });
        }
        sleep(SCHED);
        assert_eq!(ticks.load(Ordering::Relaxed), 0);
        clock.reset(SCHED / 2);
        let start = Instant::now();
        while ticks.load(Ordering::Relaxed) == 0 {
            assert!(start.elapsed() < AT_LAST, "{}: nobody is woken", C::NAME);
            sleep(SCHED);
        }
        clock.stop();
        drop(stop_s);
    });
    let ticks = ticks.into_inner();
    assert!(if C::TICKS { ticks <= 2 } else { ticks == 1 }, "{}: {ticks} woken", C::NAME);
    no_tick(&clock);
}

/// Go: `TestChan`, its fourth part: who waits for a stopped clock waits.
fn laws_of_a_stopped_clock<C: Clock>() {
    let clock = C::new(ms(1));
    clock.stop();
    let (stop_s, stop_r) = bounded::<()>(0);
    goroutines::thread::scope(|s| {
        for _ in 0..2 {
            s.spawn(|| {
                select! {
                    recv(clock.channel()) -> at => panic!("{at:?} of a stopped clock"),
                    recv(stop_r) -> _ => {}
                }
            });
        }
        sleep(SCHED);
        drop(stop_s);
    });
}

/// Go: `TestChan`.
#[test]
fn laws_of_timers() {
    at_each(|_| {
        laws_of_idle_clocks::<Timer>();
        laws_with_a_receiver::<Timer>();
        laws_with_two_selects::<Timer>();
        laws_of_a_stopped_clock::<Timer>();
    });
}

/// Go: `TestChan`.
#[test]
fn laws_of_tickers() {
    at_each(|_| {
        laws_of_idle_clocks::<TickerTimer>();
        laws_with_a_receiver::<TickerTimer>();
        laws_with_two_selects::<TickerTimer>();
        laws_of_a_stopped_clock::<TickerTimer>();
    });
}

/// Go: `TestAfterTimes`, `TestTickTimes`: a tick says when its time was, not when it was received.
#[test]
fn ticks_are_of_their_time() {
    fn late<C>(what: &str, make: fn(Duration) -> C, channel: fn(&C) -> &Receiver<Instant>) {
        one_of(10, |_| {
            let start = Instant::now();
            let clock = make(ms(10));
            sleep(ms(200));
            let time = channel(&clock).recv().unwrap() - start;
            assert!(time >= ms(10), "{what}: early: {time:?}");
            expect(time < ms(150), format!("{what} of 10 ms says {time:?}"))
        });
    }
    at_each(|_| {
        late("after", chan::after, |r| r);
        late("tick", chan::tick, |r| r);
        late("Timer", Timer::new, Timer::channel);
        late("Ticker", Ticker::new, Ticker::channel);
    });
}

/// Go: `TestAfterFunc`: functions run in goroutines of their own: each of ten is started by the one before,
/// which goes on until all have run.
#[test]
fn after_func_runs_in_its_own_goroutine() {
    fn next(left: usize, done: chan::Sender<()>, gate: Receiver<()>, kept: Arc<WaitGroup>) {
        if left == 0 {
            return done.send(()).unwrap();
        }
        let (done_2, gate_2, kept_2) = (done.clone(), gate.clone(), Arc::clone(&kept));
        kept.add(1);
        let _timer = after_func(Duration::ZERO, move || {
            next(left - 1, done_2.clone(), gate_2.clone(), Arc::clone(&kept_2));
            kept_2.done();
        });
        assert!(gate.recv().is_err());
    }
    at_each(|_| {
        let ((done_s, done_r), (gate_s, gate_r)) = (bounded(0), bounded(0));
        let kept = Arc::new(WaitGroup::new());
        let all = Arc::clone(&kept);
        go(move || next(10, done_s, gate_r, all));
        assert_eq!(done_r.recv_timeout(AT_LAST), Ok(()));
        drop(gate_s);
        kept.wait();
    });
}

/// Go: `TestTickerStress`, `TestTickerConcurrentStress`: a ticker of one nanosecond, while the world is
/// stopped all the time, for one goroutine and for ten.
#[test]
fn ticker_stress() {
    at_each(|_| {
        for goroutines in [1, 10] {
            let _stops = Stops::start();
            let ticker = Arc::new(Ticker::new(NS));
            let all = (0..goroutines).map(|_| {
                let ticker = Arc::clone(&ticker);
                go(move || {
                    let mut last = None;
                    for _ in 0..100 {
                        let at = ticker.channel().recv().unwrap();
                        assert!(last <= Some(at), "{at:?} after {last:?}");
                        last = Some(at);
                    }
                })
            });
            join_all(all.collect::<Vec<_>>());
            ticker.stop();
        }
    });
}

/// Go: `TestAfterFuncStarvation`: two goroutines, one of which is always ready, do not keep a timer's
/// function from running.
#[test]
fn after_func_is_not_starved() {
    at_each(|_| {
        let stop = Arc::new(AtomicBool::new(false));
        let (s, r) = bounded(1);
        let both = WaitGroup::new();
        let told = Arc::clone(&stop);
        both.go(move || {
            while !told.load(Ordering::Relaxed) {
                s.send(true).unwrap();
            }
        });
        both.go(move || r.iter().for_each(drop));
        let _timer = after_func(US, move || stop.store(true, Ordering::Relaxed));
        both.wait();
    });
}

/// Go: runtime's `TestTimerFairness`: senders that are always ready do not keep a select's time-out from
/// coming.
#[test]
fn a_time_out_beside_busy_senders() {
    at_each(|_| {
        let ((s, r), (done_s, done_r)) = (bounded(0), bounded::<()>(0));
        let senders = [0; 2].map(|_| {
            let (s, done) = (s.clone(), done_r.clone());
            go(move || {
                loop {
                    select! {
                        send(s, true) -> sent => sent.unwrap(),
                        recv(done) -> _ => return,
                    }
                }
            })
        });
        let (start, time) = (Instant::now(), ms(20));
        let time_out = chan::after(time);
        loop {
            select! {
                recv(r) -> message => assert_eq!(message, Ok(true)),
                recv(time_out) -> _ => break,
            }
        }
        let took = start.elapsed();
        assert!(took >= time && took < AT_LAST, "{took:?}");
        done_s.close();
        join_all(senders);
    });
}

/// Go: runtime's `TestTimerFairness2`: the same for two that send to each other and make a system call
/// each time.
#[test]
fn time_outs_of_two_that_are_busy() {
    at_each(|_| {
        let (s, r) = bounded(0);
        let both = [0; 2].map(|_| {
            let (s, r) = (s.clone(), r.clone());
            go(move || {
                let (start, time) = (Instant::now(), ms(20));
                let time_out = chan::after(time);
                loop {
                    let _ = goroutines_tests::io::read(0, &mut []);
                    select! {
                        send(s, true) -> sent => sent.unwrap(),
                        recv(r) -> message => assert_eq!(message, Ok(true)),
                        recv(time_out) -> _ => break,
                    }
                }
                let took = start.elapsed();
                assert!(took >= time && took < AT_LAST, "{took:?}");
            })
        });
        join_all(both);
    });
}

/// Go: `TestAfter`: neither early, nor does it say so.
#[test]
fn after_is_never_early() {
    at_each(|_| {
        for time in [Duration::ZERO, US, ms(3), ms(50)] {
            for _ in 0..3 {
                let start = Instant::now();
                let at = chan::after(time).recv().unwrap();
                assert!(start.elapsed() >= time, "early: {:?} for {time:?}", start.elapsed());
                assert!(at >= start + time, "{time:?}: it says {:?}", at - start);
            }
        }
    });
}

/// Go: `TestAfterTick`: ten in a row are not faster than that.
#[test]
fn ten_times_after() {
    at_each(|_| {
        let (start, time) = (Instant::now(), ms(10));
        (0..10).for_each(|_| assert!(chan::after(time).recv().is_ok()));
        let took = start.elapsed();
        assert!(took >= time * 10, "{took:?}");
    });
}

/// Go: `testAfterStop`: what is stopped before its time does not come later.
fn stopped_in_time<C: Clock>() {
    one_of(6, |i| {
        let unit = ms(10) * 2_u32.pow(i);
        let _other = after_func(unit * 2, || ());
        let clock = C::new(unit);
        let (s, r) = bounded(1);
        let function = after_func(unit * 3, move || s.send(()).unwrap_or(()));
        let later = chan::after(unit * 4);
        expect(clock.stop(), "the timer was not stopped")?;
        expect(function.stop(), "the function was not stopped")?;
        later.recv().unwrap();
        assert!(clock.channel().try_recv().is_err(), "{} came though stopped", C::NAME);
        assert!(r.try_recv().is_err(), "the function ran though stopped");
        assert!(!function.stop(), "stopped twice");
        Ok(())
    });
}

/// Go: `TestAfterStop`.
#[test]
fn after_stop() {
    at_each(|_| {
        stopped_in_time::<Timer>();
        stopped_in_time::<FuncTimer>();
    });
}

/// Go: `testAfterQueuing1`: timers come in the order of their times.
fn in_order(period: Duration, after: fn(Duration) -> Receiver<Instant>) -> Result<(), String> {
    const TIMES: [u32; 13] = [5, 3, 6, 6, 6, 1, 1, 2, 7, 9, 4, 8, 0];
    let start = Instant::now();
    let (s, r) = bounded(TIMES.len());
    for time in TIMES {
        let (s, timer) = (s.clone(), after(period * time));
        go(move || s.send((time, timer.recv().unwrap() - start)).unwrap());
    }
    let came: Vec<_> = r.iter().take(TIMES.len()).collect();
    for &(time, at) in &came {
        assert!(at >= period * time, "{time} periods of {period:?}: early: {at:?}");
        expect(at <= period * (time + 10), format!("{time} periods of {period:?}: {at:?}"))?;
    }
    let order: Vec<_> = came.into_iter().map(|(time, _)| time).collect();
    expect(order.is_sorted(), format!("{order:?}"))
}

/// Go: `TestAfterQueuing`, with channels and with functions.
#[test]
fn after_queuing() {
    let function = |time| {
        let (s, r) = bounded(1);
        // Runs once, whether the handle is kept or not.
        let _timer = after_func(time, move || s.send(Instant::now()).unwrap());
        r
    };
    for after in [chan::after, function as fn(Duration) -> Receiver<Instant>] {
        at_each(|_| one_of(5, |i| in_order(ms(10) + ms(50) * i, after)));
    }
}

/// Go: `TestTimerStopStress`: a hundred functions are stopped in their time, none of which runs.
#[test]
fn timer_stop_stress() {
    at_each(|_| {
        let ran = Arc::new(AtomicUsize::new(0));
        let all = (0..100).map(|_| {
            let ran = Arc::clone(&ran);
            go(move || {
                let timer = after_func(ms(150), move || {
                    ran.fetch_add(1, Ordering::Relaxed);
                });
                sleep(ms(75));
                usize::from(!timer.stop())
            })
        });
        // Those that a busy machine stopped too late run.
        let late: usize = join_all(all.collect::<Vec<_>>()).into_iter().sum();
        sleep(ms(150));
        let start = Instant::now();
        while ran.load(Ordering::Relaxed) < late && start.elapsed() < AT_LAST {
            sleep(ms(1));
        }
        assert_eq!(ran.load(Ordering::Relaxed), late, "of 100 stopped functions ran");
    });
}

/// Go: `testReset`.
fn reset_once(time: Duration) -> Result<(), String> {
    let start = Instant::now();
    let timer = Timer::new(time * 2);
    sleep(time);
    expect(timer.reset(time * 3), "resetting a timer before its time says false")?;
    let reset = Instant::now();
    sleep(time * 2);
    let early = timer.channel().try_recv().is_ok();
    assert!(!early || reset.elapsed() >= time * 3, "the time of {:?} ago", start.elapsed());
    expect(!early, "it was too late to look")?;
    sleep(time * 2);
    tick_seen(&timer);
    assert!(!timer.reset(ms(50)), "resetting a timer after its time says true");
    Ok(())
}

/// Go: `TestReset`: with longer and longer times, until one is long enough for a busy machine.
#[test]
fn reset() {
    at_each(|_| one_of(10, |i| reset_once(ms(1) * 2_u32.pow(i))));
}

/// Go: `TestOverflowSleep`: times beyond all clocks don't come, and keep no others from coming.
#[test]
fn for_ever_is_long() {
    at_each(|_| {
        for long in [Duration::MAX, Duration::from_nanos(u64::MAX), Duration::from_secs(1 << 40)] {
            let (timer, ticker) = (Timer::new(long), Ticker::new(long));
            let _function = after_func(long, || std::process::abort());
            select! {
                recv(chan::after(long)) -> _ => panic!("{long:?} is over"),
                recv(chan::tick(long)) -> _ => panic!("{long:?} is over"),
                recv(timer.channel()) -> _ => panic!("{long:?} is over"),
                recv(ticker.channel()) -> _ => panic!("{long:?} is over"),
                recv(chan::after(ms(25))) -> _ => {}
            }
            assert!(timer.reset(NS));
            tick(&timer);
            assert!(!timer.reset(long));
            ticker.reset(NS);
            ticker.channel().recv().unwrap();
            ticker.reset(long);
            assert_eq!(ticker.channel().try_recv(), Err(TryRecvError::Empty));
        }
    });
}

/// Go: `testZeroTimer`.
fn times_of_zero<C: Clock>(make: impl Fn() -> C, again: impl Fn(&C)) {
    const N: usize = if cfg!(debug_assertions) { 3_000 } else { 30_000 };
    for _ in 0..N {
        let clock = make();
        again(&clock);
        assert!(clock.channel().recv_timeout(AT_LAST).is_ok(), "{}: not woken", C::NAME);
    }
}

/// Go: `TestZeroTimer`: a time that is over at once is not overlooked.
#[test]
fn zero_timer() {
    at_each(|_| {
        times_of_zero(|| <Timer as Clock>::new(Duration::ZERO), |_| ());
        times_of_zero(|| FuncTimer::new(Duration::ZERO), |_| ());
        times_of_zero(|| FuncTimer::new(HOUR), |timer| assert!(timer.reset(Duration::ZERO)));
        let timer = Timer::new(HOUR);
        for i in 0..3_000 {
            assert_eq!(timer.reset(Duration::ZERO), i == 0);
            assert!(timer.channel().recv_timeout(AT_LAST).is_ok(), "not woken");
        }
    });
}

/// Go: `TestTimerModifiedEarlier`: a timer that is moved ahead often is not lost.
#[test]
fn timer_modified_earlier() {
    const N: usize = if cfg!(debug_assertions) { 200 } else { 1_000 };
    fn moved_ahead<C: Clock>() {
        for _ in 0..N {
            let clock = C::new(HOUR);
            for _ in 0..10 {
                if !clock.stop() {
                    tick(&clock);
                }
                clock.reset(Duration::ZERO);
            }
            let deadline = Timer::new(AT_LAST);
            select! {
                recv(clock.channel()) -> _ => {}
                recv(deadline.channel()) -> _ => panic!("{} did not come", C::NAME),
            }
        }
    }
    at_each(|_| {
        moved_ahead::<FuncTimer>();
        moved_ahead::<Timer>();
    });
}

/// A number below `n`, by chance.
fn random(n: usize) -> usize {
    use rand::RngExt;
    rand::rng().random_range(0..n)
}

/// Go: `TestAdjustTimers`: a hundred timers are moved back and forth, in a random order.
fn adjust_timers<C: Clock>() {
    let minute = Duration::from_secs(60);
    let mut clocks: Vec<(Option<C>, usize)> = (0..100).map(|_| (None, 0)).collect();
    while !clocks.is_empty() {
        let i = random(clocks.len());
        let (clock, state) = &mut clocks[i];
        let step = *state;
        *state += 1;
        let Some(clock) = clock.as_ref() else {
            *clock = Some(C::new(Duration::ZERO));
            continue;
        };
        match step {
            1 | 9 => tick(clock),
            2 => assert!(!clock.reset(minute)),
            4 => assert!(!clock.reset(minute * 3)),
            6 => assert!(!clock.reset(minute * 2)),
            3 | 5 | 7 => assert!(clock.stop()),
            8 => assert!(!clock.reset(Duration::ZERO)),
            _ => drop(clocks.swap_remove(i)),
        }
    }
}

/// Go: `TestAdjustTimers`, with functions and with channels.
#[test]
fn timers_back_and_forth() {
    at_each(|_| {
        adjust_timers::<FuncTimer>();
        adjust_timers::<Timer>();
    });
}

/// Go: `TestStopResult`, `TestResetResult`: of two timers with the same time one is received. The other
/// was running, or nobody had received from it yet: stopping it, or resetting it, says so. (If it ever
/// said no, there would be something to receive.)
fn two_timers(stop: fn(&Timer) -> bool) {
    const N: usize = if cfg!(debug_assertions) { 300 } else { 1_000 };
    at_each(|_| {
        let (start_s, start_r) = bounded::<()>(0);
        let all = (0..N).map(|_| {
            let start = start_r.clone();
            go(move || {
                assert!(start.recv().is_err());
                for _ in 0..50 {
                    let (one, two) = (Timer::new(ms(1)), Timer::new(ms(1)));
                    let other = select! {
                        recv(one.channel()) -> _ => &two,
                        recv(two.channel()) -> _ => &one,
                    };
                    let stopped = stop(other);
                    let old = other.channel().try_recv();
                    assert_eq!((stopped, old), (true, Err(TryRecvError::Empty)));
                }
            })
        });
        let all = all.collect::<Vec<_>>();
        drop(start_s);
        join_all(all);
    });
}

/// Go: `TestStopResult`.
#[test]
fn stop_result() {
    two_timers(Timer::stop);
}

/// Go: `TestResetResult`.
#[test]
fn reset_result() {
    two_timers(|timer| timer.reset(HOUR));
}

/// Go: `TestMultiWakeupTicker`: many wait for one ticker, with time-outs.
#[test]
fn multi_wakeup_ticker() {
    const N: usize = if cfg!(debug_assertions) { 2_000 } else { 20_000 };
    at_each(|procs| {
        let ticker = Arc::new(Ticker::new(US));
        let all = (0..procs.max(4)).map(|_| {
            let ticker = Arc::clone(&ticker);
            go(move || {
                for _ in 0..N {
                    select! {
                        recv(ticker.channel()) -> at => assert!(at.is_ok()),
                        recv(chan::after(ms(1))) -> at => assert!(at.is_ok()),
                    }
                }
            })
        });
        join_all(all.collect::<Vec<_>>());
    });
}

/// Go: `TestMultiWakeupTimer`: many reset one timer, and look whether it came.
#[test]
fn multi_wakeup_timer() {
    const N: usize = if cfg!(debug_assertions) { 3_000 } else { 30_000 };
    at_each(|procs| {
        let timer = Arc::new(Timer::new(NS));
        let all = (0..procs.max(4)).map(|_| {
            let timer = Arc::clone(&timer);
            go(move || {
                for _ in 0..N {
                    select! {
                        recv(timer.channel()) -> at => assert!(at.is_ok()),
                        default => {}
                    }
                    timer.reset(NS);
                }
            })
        });
        join_all(all.collect::<Vec<_>>());
        tick(&*timer);
    });
}

/// Semantics measured with Go: a slow reader loses ticks, all but one.
#[test]
fn a_slow_reader_loses_ticks() {
    at_each(|_| {
        one_of(5, |i| {
            let period = ms(20) * 2_u32.pow(i);
            let ticker = Ticker::new(period);
            sleep(period * 5 + period / 2);
            let first = ticker.channel().try_recv();
            assert!(first.is_ok(), "one is there");
            let second = ticker.channel().try_recv();
            expect(second.is_err(), "another is there, of the next period")
        });
    });
}

/// A function that panics takes nothing with it: the timer can be used again, and others come.
#[test]
fn a_function_that_panics() {
    quiet_panics();
    at_each(|_| {
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let timer = after_func(Duration::ZERO, move || {
            count.fetch_add(1, Ordering::Relaxed);
            panic!("expected");
        });
        for i in 1..=3 {
            let start = Instant::now();
            while ran.load(Ordering::Relaxed) < i {
                assert!(start.elapsed() < AT_LAST, "it does not run");
                sleep(ms(1));
            }
            tick(&<Timer as Clock>::new(NS));
            assert!(!timer.reset(NS), "it ran");
        }
    });
}

/// Who waits for a timer's channel is parked, whatever way it waits; and is woken by its time.
#[test]
fn those_who_wait_are_parked() {
    at_each(|_| {
        let timer = Arc::new(Timer::new(HOUR));
        let received = Cell::new(0);
        for way in 0..3 {
            let waits = Arc::clone(&timer);
            let waiter = go(move || match way {
                0 => waits.channel().recv().unwrap(),
                1 => select! { recv(waits.channel()) -> at => at.unwrap() },
                _ => waits.channel().recv_timeout(HOUR).unwrap(),
            });
            parked(&waiter);
            assert!(timer.reset(US));
            assert!(waiter.join().unwrap() <= Instant::now());
            assert!(!timer.reset(HOUR));
            received.set(received.get() + 1);
        }
        assert_eq!(received.get(), 3);
    });
}
