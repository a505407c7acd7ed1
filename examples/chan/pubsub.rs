//! Publish and subscribe: a broker goroutine hands each message to all subscribers of its topic.
//!
//! Who subscribes is known to the broker alone, so nothing needs a lock; the others talk to it through
//! channels. A subscriber has a queue, as long as it asked for. The broker never waits: where a queue is
//! full, it does what the subscriber asked for.

use goroutines::chan::{Receiver, Sender, TrySendError, bounded};
use goroutines::{JoinHandle, go, select};
use goroutines_examples::{Args, Long, goroutines_left, report, usage};
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;

const HELP: &str = "pubsub: a broker and its subscribers, one of which is slow
usage: pubsub [--messages N] [--readers N] [--queue N] [--slow drop|disconnect]
  --messages N            how many are published on the topic \"news\" (default 1000)
  --readers N             subscribers that are in time (default 3)
  --queue N               how many messages wait for the slow subscriber at most (default 10)
  --slow drop|disconnect  where its queue is full: it misses messages, or is cut off (default drop)
Besides, one subscriber leaves after half of the messages, and one has another topic.";

type Outcome<T> = Result<T, Box<dyn Error>>;

#[goroutines::main]
fn main() -> ExitCode {
    let (mut messages, mut readers, mut queue, mut when_full) = (1000, 3, 10, WhenFull::Drop);
    let mut args = Args::new(HELP);
    while let Some(arg) = args.read() {
        match arg {
            Long("messages") => messages = args.number(1),
            Long("readers") => readers = args.number(0),
            Long("queue") => queue = args.number(1),
            Long("slow") => {
                when_full = match args.value::<String>("drop or disconnect").as_str() {
                    "drop" => WhenFull::Drop,
                    "disconnect" => WhenFull::Disconnect,
                    _ => usage("--slow takes drop or disconnect", HELP),
                }
            }
            _ => args.unknown(),
        }
    }

    let outcome = demo(messages, readers, queue, when_full);
    eprintln!("{} goroutines left", goroutines_left());
    report("pubsub", outcome)
}

fn demo(messages: usize, readers: usize, queue: usize, when_full: WhenFull) -> Outcome<()> {
    let (broker, serving) = Broker::start();
    let mut reading = Vec::new();
    for n in 1..=readers {
        // Room for all, so that none is missed however busy the machine is.
        let queue = broker.subscribe(format!("reader {n}"), "news", messages, WhenFull::Drop)?;
        reading.push(go(move || queue.iter().count()));
    }
    let leaver = broker.subscribe("leaver", "news", messages, WhenFull::Drop)?;
    let other = broker.subscribe("other", "weather", messages, WhenFull::Drop)?;
    // It is slow, as nobody receives from it for now.
    let slow = broker.subscribe("slow", "news", queue, when_full)?;

    broker.publish("weather", "sunny")?;
    for n in 1..=messages {
        broker.publish("news", format!("number {n}"))?;
        if n == messages.div_ceil(2) {
            broker.unsubscribe("leaver")?;
        }
    }
    drop(broker); // which ends it, and so the queues
    serving.join().map_err(|_| "the broker panicked")?;

    for (n, reader) in reading.into_iter().enumerate() {
        let count = reader.join().map_err(|_| "a reader panicked")?;
        println!("reader {} received {count} messages", n + 1);
    }
    println!("leaver received {} messages", leaver.iter().count());
    for message in other {
        println!("other received {:?}", message.text);
    }
    if let Some(last) = slow.iter().last() {
        println!("slow received {:?} last", last.text);
    }
    Ok(())
}

struct Message {
    topic: String,
    text: String,
}

/// What becomes of a subscriber whose queue is full.
enum WhenFull {
    /// It misses the message.
    Drop,
    /// It receives what is in the queue, and no more.
    Disconnect,
}

struct Subscriber {
    name: String,
    topic: String,
    queue: Sender<Arc<Message>>,
    when_full: WhenFull,
    missed: usize,
}

/// Where the broker can be reached. When all clones are dropped, it ends.
#[derive(Clone)]
struct Broker {
    subscribe: Sender<Subscriber>,
    unsubscribe: Sender<String>,
    publish: Sender<Arc<Message>>,
}

impl Broker {
    fn start() -> (Self, JoinHandle<()>) {
        // Without capacity: what was sent, the broker has.
        let (subscribe, subscribers) = bounded(0);
        let (unsubscribe, leavers) = bounded(0);
        let (publish, messages) = bounded(0);
        let serving = go(move || serve(&subscribers, &leavers, &messages));
        (Self { subscribe, unsubscribe, publish }, serving)
    }

    /// The queue of a new subscriber.
    fn subscribe(
        &self,
        name: impl Into<String>,
        topic: &str,
        room: usize,
        when_full: WhenFull,
    ) -> Outcome<Receiver<Arc<Message>>> {
        let (queue, messages) = bounded(room);
        let (name, topic) = (name.into(), topic.to_owned());
        self.subscribe.send(Subscriber { name, topic, queue, when_full, missed: 0 })?;
        Ok(messages)
    }

    fn unsubscribe(&self, name: &str) -> Outcome<()> {
        Ok(self.unsubscribe.send(name.to_owned())?)
    }

    fn publish(&self, topic: &str, text: impl Into<String>) -> Outcome<()> {
        let message = Message { topic: topic.to_owned(), text: text.into() };
        Ok(self.publish.send(Arc::new(message))?)
    }
}

/// The broker.
fn serve(
    subscribers: &Receiver<Subscriber>,
    leavers: &Receiver<String>,
    messages: &Receiver<Arc<Message>>,
) {
    let mut present = Vec::new();
    loop {
        select! {
            recv(subscribers) -> subscriber => match subscriber {
                Ok(subscriber) => present.push(subscriber),
                Err(_) => break,
            },
            recv(leavers) -> name => match name {
                Ok(name) => present.retain(|one| one.name != name),
                Err(_) => break,
            },
            recv(messages) -> message => match message {
                Ok(message) => present.retain_mut(|one| one.takes(&message)),
                Err(_) => break,
            },
        }
    }
    for one in present.iter().filter(|one| one.missed > 0) {
        println!("{} missed {} messages", one.name, one.missed);
    }
}

impl Subscriber {
    /// Offers it a message. Whether it is still a subscriber.
    fn takes(&mut self, message: &Arc<Message>) -> bool {
        if self.topic != message.topic {
            return true;
        }
        match (self.queue.try_send(Arc::clone(message)), &self.when_full) {
            (Ok(()), _) => true,
            (Err(TrySendError::Full(_)), WhenFull::Drop) => {
                self.missed += 1;
                true
            }
            (Err(TrySendError::Full(message)), WhenFull::Disconnect) => {
                println!("{} is cut off before {:?}", self.name, message.text);
                false
            }
            (Err(TrySendError::Disconnected(_)), _) => false,
        }
    }
}
