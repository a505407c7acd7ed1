//! A token bucket: requests come all at once, and are let through in a burst first and then at a steady rate.
//!
//! The bucket is a channel: a request takes a token out of it, and a goroutine with a `Ticker` puts one in at
//! intervals. A full channel is a full bucket; an empty one has requests wait, in the order in which they
//! came, for as long as they have patience.

use goroutines::chan::{Receiver, Sender, bounded, unbounded};
use goroutines::time::Ticker;
use goroutines::{go, select};
use goroutines_examples::{Args, Long, goroutines_left};
use std::time::{Duration, Instant};

const HELP: &str = "rate_limiter: lets requests through in a burst first, and then at a steady rate
usage: rate_limiter [--requests N] [--burst N] [--every MILLISECONDS] [--patience MILLISECONDS]
  --requests N             how many come, all at once (default 10)
  --burst N                how many are let through at once (default 3)
  --every MILLISECONDS     another one is let through this often (default 50)
  --patience MILLISECONDS  how long a request waits before it gives up (default 10000)
Says on stderr when each was let through.";

#[goroutines::main]
fn main() {
    let (mut requests, mut burst, mut every, mut patience) = (10, 3, 50, 10_000);
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("requests") => requests = args.number(0),
            Long("burst") => burst = args.number(1),
            Long("every") => every = args.number(1) as u64,
            Long("patience") => patience = args.number(0) as u64,
            _ => args.unknown(),
        }
    }
    let (every, patience) = (Duration::from_millis(every), Duration::from_millis(patience));

    let start = Instant::now();
    let limiter = Limiter::new(burst, every);
    let (outcomes, receive) = unbounded();
    for _ in 0..requests {
        let (limiter, outcomes) = (limiter.clone(), outcomes.clone());
        go(move || outcomes.send(limiter.wait(patience)));
    }
    // The requests have their own: when they have ended, the outcomes end.
    drop((limiter, outcomes));

    let (mut let_through, mut gave_up) = (0, 0);
    for may_go in receive {
        if may_go {
            let_through += 1;
            eprintln!("{:5} ms: number {let_through}", start.elapsed().as_millis());
        } else {
            gave_up += 1;
        }
    }
    println!("{let_through} let through, {gave_up} gave up");
    eprintln!("{} goroutines left", goroutines_left());
}

/// A token bucket. Clones take from the same one; when all are dropped, its goroutine ends.
#[derive(Clone)]
struct Limiter {
    tokens: Receiver<()>,
    /// Nothing is sent here: it tells the goroutine that somebody is left.
    _in_use: Sender<()>,
}

impl Limiter {
    /// A full bucket of `burst` tokens, which gets a new one `every` so often.
    fn new(burst: usize, every: Duration) -> Self {
        let (put, tokens) = bounded(burst);
        while put.try_send(()).is_ok() {}
        let (in_use, unused) = bounded(0);
        go(move || {
            let ticker = Ticker::new(every);
            loop {
                select! {
                    recv(ticker.channel()) -> _ => {
                        let _ = put.try_send(()); // a full bucket stays as it is
                    }
                    recv(unused) -> _ => return,
                }
            }
        });
        Self { tokens, _in_use: in_use }
    }

    /// Takes a token, waiting for one if need be. False if none came in time.
    fn wait(&self, patience: Duration) -> bool {
        select! {
            recv(self.tokens) -> token => token.is_ok(),
            default(patience) => false,
        }
    }
}
