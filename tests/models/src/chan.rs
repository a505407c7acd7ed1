//! Models of channels (`chan/core.rs`, `chan/party.rs`, `chan/shared.rs`): who sends, who receives, time-outs,
//! closing. Who waits beside what he waits for is found by loom: a deadlock. So is who touches a waiter that is
//! gone.

use crate::base::atomic::{AtomicBool, AtomicU32, Ordering, Weak};
use crate::check::{falls, holds, starves};
use crate::g::commit_elsewhere;
use crate::real::chan::{Receiver, Sender, TryRecvError, bounded, unbounded};
use crate::world::{Message, World};
use loom::cell::UnsafeCell;
use loom::thread;
use std::sync::Arc;
use std::time::Duration;

/// The ends of a channel, which are dropped when the model is over.
pub(crate) type Both = Arc<(Sender<Message>, Receiver<Message>)>;

pub(crate) fn chan(capacity: usize) -> Both {
    Arc::new(ends(capacity))
}

/// No capacity: no bound.
pub(crate) const UNBOUNDED: usize = usize::MAX;

pub(crate) fn ends(capacity: usize) -> (Sender<Message>, Receiver<Message>) {
    if capacity == UNBOUNDED { unbounded() } else { bounded(capacity) }
}

/// Some time, which is over at any moment.
pub(crate) const SOON: Duration = Duration::from_nanos(1);

/// Another goroutine sends message `id`.
pub(crate) fn sends(world: &World, both: &Both, id: u32) {
    let (both, message) = (both.clone(), world.message(id));
    world.go(move || both.0.send(message).unwrap());
}

/// Two send; one receives both.
fn two_senders(capacity: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        let both = chan(capacity);
        sends(&world, &both, 1);
        sends(&world, &both, 2);
        let got = [both.1.recv().unwrap().id, both.1.recv().unwrap().id];
        assert!(got == [1, 2] || got == [2, 1]);
        world.end(2, both);
    }
}

/// Two send, two receive.
fn two_and_two(capacity: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        let both = chan(capacity);
        sends(&world, &both, 1);
        sends(&world, &both, 2);
        let other = both.clone();
        world.go(move || drop(other.1.recv().unwrap()));
        drop(both.1.recv().unwrap());
        world.end(2, both);
    }
}

/// One sends three messages, which come in their order.
fn in_order(capacity: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        let both = chan(capacity);
        let (other, messages) = (both.clone(), [1, 2, 3].map(|id| world.message(id)));
        world.go(move || messages.into_iter().for_each(|message| other.0.send(message).unwrap()));
        for id in 1..=3 {
            assert_eq!(both.1.recv().unwrap().id, id, "not in order");
        }
        world.end(3, both);
    }
}

/// Two send, one receives one of the messages; there is room for the other.
fn room_for_one() {
    let world = World::new();
    let both = chan(1);
    sends(&world, &both, 1);
    sends(&world, &both, 2);
    drop(both.1.recv().unwrap());
    world.join();
    assert_eq!(both.1.len(), 1);
    world.end(2, both);
}

/// One receives for a time, another tries to send.
fn timed_receipt(capacity: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        let both = chan(capacity);
        let sent = Arc::new(AtomicBool::new(false));
        let (other, message, flag) = (both.clone(), world.message(1), sent.clone());
        world.go(move || flag.store(other.0.try_send(message).is_ok(), Ordering::Relaxed));
        let received = both.1.recv_timeout(SOON).is_ok();
        world.join();
        let (sent, left) = (sent.load(Ordering::Relaxed), both.1.len());
        assert_eq!(
            usize::from(sent),
            usize::from(received) + left,
            "sent, not received, nor there"
        );
        world.end(1, both);
    }
}

/// One sends for a time, another tries to receive.
fn timed_send() {
    let world = World::new();
    let both = chan(0);
    let other = both.clone();
    let received = Arc::new(AtomicBool::new(false));
    let flag = received.clone();
    world.go(move || flag.store(other.1.try_recv().is_ok(), Ordering::Relaxed));
    let sent = both.0.send_timeout(world.message(1), SOON).is_ok();
    world.join();
    assert_eq!(sent, received.load(Ordering::Relaxed), "received and not sent, or not received");
    world.end(1, both);
}

/// Both have little time.
fn timed_both() {
    let world = World::new();
    let both = chan(0);
    let sent = Arc::new(AtomicBool::new(false));
    let (other, message, flag) = (both.clone(), world.message(1), sent.clone());
    world.go(move || flag.store(other.0.send_timeout(message, SOON).is_ok(), Ordering::Relaxed));
    let received = both.1.recv_timeout(SOON).is_ok();
    world.join();
    assert_eq!(sent.load(Ordering::Relaxed), received, "sent and not received, or not sent");
    world.end(1, both);
}

/// Two send to a full channel, one for a time; one receives two messages.
fn timed_for_room() {
    let world = World::new();
    let both = chan(1);
    both.0.send(world.message(1)).unwrap();
    sends(&world, &both, 2);
    let other = both.clone();
    world.go(move || {
        drop(other.1.recv().unwrap());
        drop(other.1.recv().unwrap());
    });
    let sent = both.0.send_timeout(world.message(3), SOON).is_ok();
    world.join();
    assert_eq!(both.1.len(), usize::from(sent));
    world.end(3, both);
}

/// One sends, one receives, and the channel is closed.
fn closed(capacity: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        let both = chan(capacity);
        let sent = Arc::new(AtomicBool::new(false));
        let (other, message, flag) = (both.clone(), world.message(1), sent.clone());
        world.go(move || flag.store(other.0.send(message).is_ok(), Ordering::Relaxed));
        let other = both.clone();
        world.go(move || assert!(other.0.close()));
        let received = both.1.iter().count();
        world.join();
        assert_eq!(usize::from(sent.load(Ordering::Relaxed)), received, "not what was sent");
        world.end(1, both);
    }
}

/// One sends to a full channel, which is closed.
fn closed_full() {
    let world = World::new();
    let both = chan(1);
    both.0.send(world.message(1)).unwrap();
    let (other, message) = (both.clone(), world.message(2));
    world.go(move || assert!(other.0.send(message).is_err()));
    both.0.close();
    world.end(2, both);
}

/// All ends go at once, and one sends.
fn ends_dropped(capacity: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        let (send, receive) = ends(capacity);
        let (other, message) = (send.clone(), world.message(1));
        world.go(move || drop(other.send(message)));
        world.go(move || drop(send));
        drop(receive);
        world.end(1, ());
    }
}

/// One receives until all senders are gone.
fn senders_dropped() {
    let world = World::new();
    let (send, receive) = bounded(1);
    let (other, message) = (send.clone(), world.message(1));
    world.go(move || other.send(message).unwrap());
    world.go(move || drop(send));
    assert_eq!(receive.iter().count(), 1, "closed by somebody who is not the last");
    world.end(1, receive);
}

/// What was sent before can be received at once, whatever another has received.
fn try_to_receive() {
    let world = World::new();
    let both = chan(2);
    both.0.send(world.message(1)).unwrap();
    let other = both.clone();
    world.go(move || drop(other.1.try_recv().unwrap()));
    let sent = Arc::new(AtomicBool::new(false));
    let (other, message, flag) = (both.clone(), world.message(2), sent.clone());
    world.go(move || {
        other.0.try_send(message).unwrap();
        flag.store(true, Ordering::Release);
    });
    if sent.load(Ordering::Acquire) {
        assert!(both.1.try_recv().is_ok(), "there is a message");
    }
    world.end(2, both);
}

/// Where room was made before something can be sent at once, whatever another has sent.
fn try_to_send() {
    let world = World::new();
    let both = chan(1);
    sends(&world, &both, 1);
    let received = Arc::new(AtomicBool::new(false));
    let (other, flag) = (both.clone(), received.clone());
    world.go(move || {
        drop(other.1.recv().unwrap());
        flag.store(true, Ordering::Release);
    });
    let message = world.message(2);
    if received.load(Ordering::Acquire) {
        assert!(both.0.try_send(message).is_ok(), "there is room");
    } else {
        drop(message);
    }
    world.end(2, both);
}

/// One waits to receive; who tries to send succeeds in the end.
fn try_to_meet() {
    let world = World::new();
    let both = chan(0);
    let other = both.clone();
    world.go(move || drop(other.1.recv().unwrap()));
    let mut message = world.message(1);
    while let Err(e) = both.0.try_send(message) {
        message = e.into_inner();
        thread::yield_now();
    }
    world.end(1, both);
}

/// Who finds a channel closed, without its lock, sees what was done before.
fn try_closed() {
    let world = World::new();
    let both = chan(1);
    let before = Arc::new(UnsafeCell::new(0));
    let (other, done) = (both.clone(), before.clone());
    world.go(move || {
        // SAFETY: before the channel is closed, or loom finds it.
        done.with_mut(|at| unsafe { *at = 1 });
        other.0.close();
    });
    if both.1.try_recv().unwrap_err() == TryRecvError::Disconnected {
        // SAFETY: as above.
        before.with(|at| assert_eq!(unsafe { *at }, 1));
    }
    world.end(0, both);
}

/// Who has received goes on while the M that it left unlocks the channel, and time passes.
fn leaves() {
    commit_elsewhere(true);
    let world = World::new();
    let both = chan(0);
    let (other, message) = (both.clone(), world.message(1));
    world.go(move || drop(other.0.try_send(message)));
    drop(both.1.recv_timeout(SOON));
    world.end(1, both);
}

/// Threads instead of goroutines.
fn threads(capacity: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::of_threads();
        let both = chan(capacity);
        for id in [1, 2] {
            let (both, message) = (both.clone(), world.message(id));
            world.thread(move || both.0.send(message).unwrap());
        }
        drop(both.1.recv().unwrap());
        drop(both.1.recv().unwrap());
        world.end(2, both);
    }
}

/// A thread and a goroutine meet, if they have time for it.
fn timed_thread() {
    let world = World::of_threads();
    let both = chan(0);
    let sent = Arc::new(AtomicU32::new(0));
    let (other, message, count) = (both.clone(), world.message(1), sent.clone());
    world.go(move || {
        count.fetch_add(other.0.try_send(message).is_ok().into(), Ordering::Relaxed);
    });
    let received = both.1.recv_timeout(SOON).is_ok();
    world.join();
    assert_eq!(u32::from(received), sent.load(Ordering::Relaxed), "sent and not received");
    world.end(1, both);
}

#[test]
fn chan_two_senders() {
    holds(two_senders(0));
}

#[test]
fn chan_two_senders_buffered() {
    holds(two_senders(1));
}

#[test]
fn chan_two_senders_unbounded() {
    holds(two_senders(UNBOUNDED));
}

#[test]
fn chan_leaves() {
    holds(leaves);
}

#[test]
fn chan_two_and_two() {
    holds(two_and_two(0));
}

#[test]
fn chan_two_and_two_buffered() {
    holds(two_and_two(1));
}

#[test]
fn chan_in_order() {
    holds(in_order(0));
}

#[test]
fn chan_in_order_buffered() {
    holds(in_order(1));
}

#[test]
fn chan_room_for_one() {
    holds(room_for_one);
}

#[test]
fn chan_timed_receipt() {
    holds(timed_receipt(0));
}

#[test]
fn chan_timed_receipt_buffered() {
    holds(timed_receipt(1));
}

#[test]
fn chan_timed_send() {
    holds(timed_send);
}

#[test]
fn chan_timed_both() {
    holds(timed_both);
}

#[test]
fn chan_timed_for_room() {
    holds(timed_for_room);
}

#[test]
fn chan_closed() {
    holds(closed(0));
}

#[test]
fn chan_closed_buffered() {
    holds(closed(1));
}

#[test]
fn chan_closed_full() {
    holds(closed_full);
}

#[test]
fn chan_ends_dropped() {
    holds(ends_dropped(0));
}

#[test]
fn chan_ends_dropped_buffered() {
    holds(ends_dropped(1));
}

#[test]
fn chan_ends_dropped_unbounded() {
    holds(ends_dropped(UNBOUNDED));
}

#[test]
fn chan_senders_dropped() {
    holds(senders_dropped);
}

#[test]
fn chan_try_to_receive() {
    holds(try_to_receive);
}

#[test]
fn chan_try_to_send() {
    holds(try_to_send);
}

#[test]
fn chan_try_to_meet() {
    holds(try_to_meet);
}

#[test]
fn chan_try_closed() {
    holds(try_closed);
}

#[test]
fn chan_threads() {
    holds(threads(0));
}

#[test]
fn chan_threads_buffered() {
    holds(threads(1));
}

#[test]
fn chan_timed_thread() {
    holds(timed_thread);
}

#[test]
fn chan_timed_receipt_relaxed_is_refuted() {
    falls(Weak::Orderings, "", "Causality violation", timed_receipt(0));
}

#[test]
fn chan_two_senders_without_one_hold_is_refuted() {
    starves(Weak::No, "one hold", two_senders(0));
}

#[test]
fn chan_two_senders_without_parking_first_is_refuted() {
    falls(Weak::No, "parking first", "had not parked", two_senders(0));
}

#[test]
fn chan_two_senders_without_receivers_first_is_refuted() {
    starves(Weak::No, "receivers first", two_senders(1));
}

#[test]
fn chan_room_for_one_without_letting_senders_in_is_refuted() {
    starves(Weak::No, "letting senders in", room_for_one);
}

#[test]
fn chan_timed_receipt_without_finding_it_late_is_refuted() {
    falls(Weak::No, "finding it late", "Causality violation", timed_receipt(0));
}

#[test]
fn chan_timed_send_without_finding_it_late_is_refuted() {
    falls(Weak::No, "finding it late", "Causality violation", timed_send);
}

#[test]
fn chan_timed_receipt_without_removing_who_is_late_is_refuted() {
    falls(Weak::No, "removing who is late", "is gone, and in a queue", timed_receipt(0));
}

#[test]
fn chan_closed_full_without_ending_those_who_send_is_refuted() {
    starves(Weak::No, "ending those who send", closed_full);
}

#[test]
fn chan_closed_without_looking_is_refuted() {
    falls(Weak::No, "looking whether it is closed", "not what was sent", closed(1));
}

#[test]
fn chan_ends_dropped_without_asking_and_telling_at_once_is_refuted() {
    falls(Weak::No, "asking and telling at once", "Allocation leaked", ends_dropped(1));
}

#[test]
fn chan_try_to_receive_without_the_hint_under_the_lock_is_refuted() {
    falls(Weak::No, "the hint under the lock", "there is a message", try_to_receive);
}

#[test]
fn chan_try_to_send_without_the_hint_under_the_lock_is_refuted() {
    falls(Weak::No, "the hint under the lock", "there is room", try_to_send);
}

#[test]
fn chan_try_closed_relaxed_is_refuted() {
    falls(Weak::Orderings, "", "Causality violation", try_closed);
}

#[test]
fn chan_threads_relaxed_is_refuted() {
    falls(Weak::Orderings, "", "Causality violation", threads(0));
}

#[test]
fn chan_threads_without_going_on_before_waking_is_refuted() {
    falls(Weak::No, "going on before waking", "Causality violation", threads(0));
}

#[test]
fn chan_timed_thread_without_ending_its_own_wait_is_refuted() {
    falls(Weak::No, "ending its own wait", "Causality violation", timed_thread);
}
