//! Models of cancellation from outside (`sched/ambient.rs`): AM1 to AM4, with what waits for channels. What
//! `context/node.rs` does around it is in functions named as there.

use crate::base::atomic::{AtomicBool, Ordering, Weak, with_sequence};
use crate::base::lock::Lock;
use crate::chan::{chan, sends};
use crate::check::{falls, holds, starves};
use crate::real::chan::Select;
use crate::sched::ambient::Run;
use crate::world::World;
use std::sync::Arc;

const ERROR: i32 = 125;

/// A context.
struct Node(Lock<State>);

struct State {
    is_cancelled: bool,
    run: Option<*const Run>,
}

impl Node {
    fn new() -> Arc<Self> {
        // The fences do.
        with_sequence(false);
        Arc::new(Self(Lock::new(State { is_cancelled: false, run: None })))
    }

    fn cancel(&self) {
        let mut state = self.0.lock();
        state.is_cancelled = true;
        if let Some(run) = state.run {
            // SAFETY: in the list, under the lock.
            unsafe { (*run).cancel(ERROR) };
        }
    }

    fn running<R>(&self, f: impl FnOnce() -> R) -> R {
        let run = Run::new().unwrap();
        run.enter();
        {
            let mut state = self.0.lock();
            if state.is_cancelled {
                run.cancel(ERROR);
            } else {
                state.run = Some(&raw const run);
            }
        }
        let result = f();
        run.leave();
        self.0.lock().run = None;
        result
    }
}

/// Another goroutine cancels it.
fn cancels(world: &World, node: &Arc<Node>) {
    let node = node.clone();
    world.go(move || node.cancel());
}

/// Nobody ever sends.
fn receipt() {
    let world = World::new();
    let (node, both) = (Node::new(), chan(0));
    cancels(&world, &node);
    node.running(|| assert!(both.1.recv().is_err()));
    world.end(0, both);
}

/// Nobody ever sends on either.
fn select() {
    let world = World::new();
    let (node, channels) = (Node::new(), [chan(0), chan(0)]);
    cancels(&world, &node);
    let mut select = Select::new();
    select.recv(&channels[0].1);
    select.recv(&channels[1].1);
    node.running(|| {
        let chosen = select.select();
        let from = &channels[chosen.index()].1;
        assert!(chosen.recv(from).is_err());
    });
    drop(select);
    world.end(0, channels);
}

/// Another tries to send.
fn receipt_or_message() {
    let world = World::new();
    let (node, both) = (Node::new(), chan(0));
    cancels(&world, &node);
    let sent = Arc::new(AtomicBool::new(false));
    let (other, message, flag) = (both.clone(), world.message(1), sent.clone());
    world.go(move || flag.store(other.0.try_send(message).is_ok(), Ordering::Relaxed));
    let received = node.running(|| both.1.recv().is_ok());
    world.join();
    assert_eq!(sent.load(Ordering::Relaxed), received, "sent and not received");
    world.end(1, both);
}

/// Another tries to receive.
fn send() {
    let world = World::new();
    let (node, both) = (Node::new(), chan(0));
    cancels(&world, &node);
    let received = Arc::new(AtomicBool::new(false));
    let (other, flag) = (both.clone(), received.clone());
    world.go(move || flag.store(other.1.try_recv().is_ok(), Ordering::Relaxed));
    let message = world.message(1);
    let sent = node.running(|| both.0.send(message).is_ok());
    world.join();
    assert_eq!(sent, received.load(Ordering::Relaxed), "received and not sent, or not received");
    world.end(1, both);
}

/// A stretch inside is not to be cancelled: there a message comes, and no other one does.
fn nested() {
    let world = World::new();
    let (node, inner, both) = (Node::new(), Node::new(), chan(0));
    cancels(&world, &node);
    sends(&world, &both, 1);
    node.running(|| {
        inner.running(|| assert!(both.1.recv().is_ok(), "ended by another's end"));
        assert!(both.1.recv().is_err());
    });
    world.end(1, both);
}

/// The same for who sends.
fn nested_send() {
    let world = World::new();
    let (node, inner, both) = (Node::new(), Node::new(), chan(0));
    cancels(&world, &node);
    let other = both.clone();
    world.go(move || drop(other.1.recv().unwrap()));
    node.running(|| {
        inner.running(|| assert!(both.0.send(world.message(1)).is_ok(), "ended by another's end"));
        assert!(both.0.send(world.message(2)).is_err());
    });
    world.end(2, both);
}

/// Another waits until there is room again, and then there is.
fn nested_and_looked_for() {
    let world = World::new();
    let (node, inner, both) = (Node::new(), Node::new(), chan(1));
    cancels(&world, &node);
    let (other, first, second) = (both.clone(), world.message(1), world.message(2));
    world.go(move || {
        other.0.try_send(first).unwrap();
        let mut select = Select::new();
        select.send(&other.0);
        select.ready();
        drop(select);
        other.0.try_send(second).unwrap();
    });
    node.running(|| inner.running(|| assert!(both.1.recv().is_ok(), "ended by another's end")));
    world.end(2, both);
}

/// What is cancelled when it is left already ends nothing else.
fn left() {
    let world = World::new();
    let (node, both) = (Node::new(), chan(0));
    cancels(&world, &node);
    sends(&world, &both, 1);
    node.running(|| ());
    assert!(both.1.recv().is_ok(), "ended by another's end");
    world.end(1, both);
}

#[test]
fn ambient_receipt() {
    holds(receipt);
}

#[test]
fn ambient_select() {
    holds(select);
}

#[test]
fn ambient_receipt_or_message() {
    holds(receipt_or_message);
}

#[test]
fn ambient_send() {
    holds(send);
}

#[test]
fn ambient_nested() {
    holds(nested);
}

#[test]
fn ambient_nested_send() {
    holds(nested_send);
}

#[test]
fn ambient_nested_and_looked_for() {
    holds(nested_and_looked_for);
}

#[test]
fn ambient_left() {
    holds(left);
}

#[test]
fn ambient_receipt_without_looking_after_announcing_is_refuted() {
    starves(Weak::No, "looking after announcing", receipt);
}

#[test]
fn ambient_receipt_without_fences_is_refuted() {
    starves(Weak::Fences, "", receipt);
}

#[test]
fn ambient_receipt_or_message_without_finding_it_late_is_refuted() {
    falls(Weak::No, "finding it late", "Causality violation", receipt_or_message);
}

#[test]
fn ambient_nested_without_asking_whose_is_refuted() {
    falls(Weak::No, "asking whose", "ended by another's end", nested);
}

#[test]
fn ambient_nested_and_looked_for_without_the_hint_is_refuted() {
    falls(Weak::No, "the hint when it looks again", "Full", nested_and_looked_for);
}
