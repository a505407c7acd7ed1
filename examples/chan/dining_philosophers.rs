//! The dining philosophers: each needs the forks on both sides to eat, and shares them with the neighbours.
//!
//! If each takes the left fork and waits for the right one, all wait for ever; the runtime finds that and
//! ends the program. Either of two rules prevents it: there is a chair less than philosophers, or everybody
//! takes the fork with the lower number first.
//!
//! A fork lies in a channel: it is received to be used, and sent back. Or it is in a `Mutex` of std's, which
//! does as well.

use goroutines::chan::{Receiver, Sender, bounded};
use goroutines::{runtime, thread};
use goroutines_examples::{Args, Long, usage};
use std::sync::{Barrier, Mutex, PoisonError};

const HELP: &str = "dining_philosophers: goroutines that need two forks each
usage: dining_philosophers [--philosophers N] [--meals N] [--order | --deadlock] [--mutex]
  --philosophers N  how many, with as many forks (default 5)
  --meals N         how often each eats (default 1000)
  --order           each takes the fork with the lower number first (default: there is a chair too few)
  --deadlock        each takes the left fork first, all at once (exit status 2)
  --mutex           a fork is in a Mutex (default: in a channel)";

/// What keeps them from waiting for each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Chairs,
    Order,
    Nothing,
}

#[goroutines::main]
fn main() {
    let (mut philosophers, mut meals, mut rule) = (5, 1000, Rule::Chairs);
    let mut place: fn(Fork) -> Place = Place::channel;
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("philosophers") => philosophers = args.number(2),
            Long("meals") => meals = args.number(1),
            Long("order" | "deadlock") if rule != Rule::Chairs => {
                usage("dining_philosophers takes one of --order and --deadlock", HELP)
            }
            Long("order") => rule = Rule::Order,
            Long("deadlock") => rule = Rule::Nothing,
            Long("mutex") => place = Place::mutex,
            _ => args.unknown(),
        }
    }

    let table = Table {
        forks: (0..philosophers).map(|_| place(Fork::default())).collect(),
        chairs: bounded(philosophers - 1),
        all_have_one: Barrier::new(philosophers),
        rule,
    };
    thread::scope(|s| {
        for seat in 0..philosophers {
            let table = &table;
            s.spawn(move || (0..meals).for_each(|_| table.eat(seat)));
        }
    });
    for (seat, fork) in table.forks.iter().enumerate() {
        println!("fork {seat} was used {} times", fork.with(|fork| fork.uses));
    }
}

struct Table {
    /// The fork at a philosopher's left has his number.
    forks: Vec<Place>,
    /// A message for each chair that is taken.
    chairs: (Sender<()>, Receiver<()>),
    /// For who wants to see them all wait.
    all_have_one: Barrier,
    rule: Rule,
}

impl Table {
    fn eat(&self, seat: usize) {
        let (left, right) = (seat, (seat + 1) % self.forks.len());
        match self.rule {
            Rule::Chairs => {
                let (sit_down, stand_up) = &self.chairs;
                let _ = sit_down.send(());
                self.eat_with(left, right);
                let _ = stand_up.recv();
            }
            Rule::Order => self.eat_with(left.min(right), left.max(right)),
            Rule::Nothing => self.eat_with(left, right),
        }
    }

    fn eat_with(&self, first: usize, second: usize) {
        self.forks[first].with(|first| {
            if self.rule == Rule::Nothing && self.all_have_one.wait().is_leader() {
                println!("each has taken the left fork");
            }
            self.forks[second].with(|second| {
                first.uses += 1;
                runtime::gosched(); // while the others go on
                second.uses += 1;
            });
        });
    }
}

#[derive(Default)]
struct Fork {
    uses: u64,
}

/// Where a fork lies.
enum Place {
    Channel(Sender<Fork>, Receiver<Fork>),
    Mutex(Mutex<Fork>),
}

impl Place {
    fn channel(fork: Fork) -> Self {
        let (put_back, take) = bounded(1);
        let _ = put_back.send(fork);
        Self::Channel(put_back, take)
    }

    fn mutex(fork: Fork) -> Self {
        Self::Mutex(Mutex::new(fork))
    }

    /// Takes the fork, and puts it back afterwards.
    fn with<R>(&self, f: impl FnOnce(&mut Fork) -> R) -> R {
        match self {
            Self::Channel(put_back, take) => {
                let Ok(mut fork) = take.recv() else { unreachable!("both ends are kept") };
                let result = f(&mut fork);
                let _ = put_back.send(fork);
                result
            }
            Self::Mutex(fork) => f(&mut fork.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}
