//! Models of selects (`chan/select.rs`, `chan/cases.rs`, `chan/dynamic.rs`, `chan/clock.rs`), and of promises.

use crate::base::atomic::{AtomicU32, Ordering, Weak};
use crate::base::rand::always;
use crate::base::time::Instant;
use crate::chan::{Both, SOON, UNBOUNDED, chan, ends, sends};
use crate::check::{falls, holds, starves};
use crate::g::commit_elsewhere;
use crate::real::chan::cases::{Default, Recv, Room, Send as Sending, choose};
use crate::real::chan::clock::Clock;
use crate::real::chan::{Receiver, Select, never};
use crate::world::{Message, World};
use std::sync::Arc;
use std::time::Duration;

/// The order in which the operations are tried.
#[derive(Clone, Copy)]
enum Order {
    AsListed,
    LastFirst,
}

impl Order {
    fn set(self) {
        always(match self {
            Self::AsListed => 0,
            Self::LastFirst => u32::MAX,
        });
    }
}

/// Receives from one of the two.
fn receive(both: [&Both; 2], default: Default) -> Option<(usize, Message)> {
    let mut cases = both.map(|both| Recv::new(&both.1));
    let [a, b] = &mut cases;
    let i = choose(&[a.case(), b.case()], default, false)?;
    Some((i, cases[i].result().unwrap()))
}

/// Sends `message` on the one, or receives from the other; whether it has sent.
fn send_or_receive(on: &Both, from: &Both, send_first: bool, message: Message) -> bool {
    let mut send = Sending::new(&on.0);
    let mut recv = Recv::new(&from.1);
    let cases = [send.case(), recv.case()];
    let chosen = if send_first {
        choose(&cases, Default::None, false)
    } else {
        choose(&[cases[1], cases[0]], Default::None, false).map(|i| 1 - i)
    };
    if chosen == Some(0) {
        send.room().send(message).unwrap();
        return true;
    }
    drop(recv.result().unwrap());
    false
}

/// Has room for a message, or the promise of it.
fn promised(both: &Both) -> Room<'_, Message> {
    let mut send = Sending::new(&both.0);
    choose(&[send.case()], Default::None, false);
    send.room()
}

/// Two send on two channels; one receives from either, and then from the other.
fn two_channels(order: Order) -> impl Fn() + Send + Sync + 'static {
    move || {
        order.set();
        let world = World::new();
        let channels = [chan(0), chan(0)];
        sends(&world, &channels[0], 1);
        sends(&world, &channels[1], 2);
        let (i, message) = receive([&channels[0], &channels[1]], Default::None).unwrap();
        assert_eq!(message.id, i as u32 + 1, "a message of the other channel");
        let (j, other) = receive([&channels[1], &channels[0]], Default::None).unwrap();
        assert_eq!((other.id, j), (2 - i as u32, i));
        drop((message, other));
        world.end(2, channels);
    }
}

/// One selects for a time, while another tries to send on the second channel.
fn timed() {
    let world = World::new();
    let channels = [chan(0), chan(0)];
    let sent = Arc::new(AtomicU32::new(0));
    let (other, message, count) = (channels[1].clone(), world.message(1), sent.clone());
    world.go(move || {
        count.fetch_add(other.0.try_send(message).is_ok().into(), Ordering::Relaxed);
    });
    let received = receive([&channels[0], &channels[1]], Default::After(SOON)).is_some();
    world.join();
    assert_eq!(sent.load(Ordering::Relaxed), received.into(), "sent and not received");
    world.end(1, channels);
}

/// One receives from a channel, or from a clock; another tries to send.
fn timed_by_clock() {
    let world = World::new();
    let both = chan(0);
    let (other, message) = (both.clone(), world.message(1));
    let sent = Arc::new(AtomicU32::new(0));
    let count = sent.clone();
    world.go(move || {
        count.fetch_add(other.0.try_send(message).is_ok().into(), Ordering::Relaxed);
    });
    let (_clock, tick) = clock(SOON);
    let mut select = Select::new();
    select.recv(&tick);
    select.recv(&both.1);
    let chosen = select.select();
    let received = chosen.index() == 1;
    if received {
        drop(chosen.recv(&both.1).unwrap());
    } else {
        assert_eq!(chosen.recv(&tick), Ok(Instant(1)));
    }
    drop(select);
    world.join();
    assert_eq!(sent.load(Ordering::Relaxed), received.into(), "sent and not received");
    world.end(1, both);
}

/// Nothing to wait for but the time, where a channel is `never` and the other one is silent.
fn never_ends() {
    let world = World::new();
    let both = chan(0);
    let off = never::<Message>();
    let mut select = Select::new();
    select.recv(&off);
    select.recv(&both.1);
    assert!(select.ready_timeout(SOON).is_err());
    drop(select);
    world.end(0, both);
}

/// Nothing at all to wait for but the time, and who selects goes on while the M that it left comes to an end.
fn never_timed() {
    commit_elsewhere(true);
    let world = World::new();
    assert!(never::<Message>().recv_timeout(SOON).is_err());
    world.end(0, ());
}

/// Each sends on the channel from which the other receives: one sends. Channels are listed in two orders.
fn crossing(order: Order) -> impl Fn() + Send + Sync + 'static {
    crossing_of(order, World::new)
}

/// The same; whether the first is a goroutine or a thread.
fn crossing_of(order: Order, new: fn() -> World) -> impl Fn() + Send + Sync + 'static {
    move || {
        order.set();
        let world = new();
        let channels = [chan(0), chan(0)];
        let sent = Arc::new(AtomicU32::new(0));
        let (other, message, count) = (channels.clone(), world.message(1), sent.clone());
        world.go(move || {
            let is_sent = send_or_receive(&other[0], &other[1], true, message);
            count.fetch_add(is_sent.into(), Ordering::Relaxed);
        });
        let is_sent = send_or_receive(&channels[1], &channels[0], true, world.message(2));
        world.join();
        assert_eq!(sent.load(Ordering::Relaxed) + u32::from(is_sent), 1, "one sends, one receives");
        world.end(2, channels);
    }
}

/// Two send or receive, on one channel: one sends.
fn both_ways(order: Order) -> impl Fn() + Send + Sync + 'static {
    move || {
        order.set();
        let world = World::new();
        let both = chan(0);
        let sent = Arc::new(AtomicU32::new(0));
        let (other, message, count) = (both.clone(), world.message(1), sent.clone());
        world.go(move || {
            let is_sent = send_or_receive(&other, &other, true, message);
            count.fetch_add(is_sent.into(), Ordering::Relaxed);
        });
        let is_sent = send_or_receive(&both, &both, false, world.message(2));
        world.join();
        assert_eq!(sent.load(Ordering::Relaxed) + u32::from(is_sent), 1, "one sends, one receives");
        world.end(2, both);
    }
}

/// Who selects goes on while the M that it left unlocks its channels.
fn leaves() {
    commit_elsewhere(true);
    let world = World::new();
    let both = chan(0);
    sends(&world, &both, 1);
    // The same channel twice: what is left to see to when it is unlocked is nothing.
    drop(receive([&both, &both], Default::None));
    world.end(1, both);
}

/// Who selects goes on, as one of several channels is unlocked already.
fn leaves_two() {
    commit_elsewhere(true);
    let world = World::new();
    let channels = [chan(0), chan(0)];
    sends(&world, &channels[0], 1);
    drop(receive([&channels[0], &channels[1]], Default::None));
    world.end(1, channels);
}

/// A promise is taken back, then a message is sent; one receives.
fn taken_back(capacity: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        let both = chan(capacity);
        let other = both.clone();
        world.go(move || drop(other.1.recv().unwrap()));
        drop(promised(&both));
        both.0.send(world.message(1)).unwrap();
        world.end(1, both);
    }
}

/// One that was made to somebody who selects, and then receives from another channel.
fn taken_back_from_select() {
    let world = World::new();
    let channels = [chan(0), chan(0)];
    let other = channels.clone();
    world.go(move || drop(receive([&other[0], &other[1]], Default::None).unwrap()));
    drop(promised(&channels[0]));
    channels[1].0.send(world.message(1)).unwrap();
    world.end(1, channels);
}

/// The only room was promised, and one waits for it.
fn room_taken_back() {
    let world = World::new();
    let both = chan(1);
    let room = promised(&both);
    sends(&world, &both, 1);
    drop(room);
    world.end(1, both);
}

/// A promise is kept while the channel is closed.
fn promise_closed(capacity: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        let both = chan(capacity);
        let other = both.clone();
        world.go(move || assert!(other.0.close()));
        let other = both.clone();
        let received = Arc::new(AtomicU32::new(0));
        let count = received.clone();
        world.go(move || {
            count.fetch_add(other.1.iter().count() as u32, Ordering::Relaxed);
        });
        let sent = promised(&both).send(world.message(1)).is_ok();
        world.join();
        assert_eq!(received.load(Ordering::Relaxed), sent.into(), "not what was sent");
        world.end(1, both);
    }
}

/// A promise is kept while the receiver goes.
fn promise_discarded(capacity: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        let (send, receive) = ends(capacity);
        let mut case = Sending::new(&send);
        choose(&[case.case()], Default::None, false);
        world.go(move || drop(receive));
        drop(case.room().send(world.message(1)));
        drop(case);
        world.end(1, send);
    }
}

/// Two keep promises, one receives.
fn two_promises(capacity: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        let both = chan(capacity);
        for id in [1, 2] {
            let (both, message) = (both.clone(), world.message(id));
            world.go(move || promised(&both).send(message).unwrap());
        }
        drop(both.1.recv().unwrap());
        drop(both.1.recv().unwrap());
        world.end(2, both);
    }
}

/// One who waits until something can be received, and receives it.
fn looks(capacity: usize) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = World::new();
        let both = chan(capacity);
        sends(&world, &both, 1);
        let mut select = Select::new();
        select.recv(&both.1);
        assert_eq!(select.ready(), 0);
        drop(select);
        drop(both.1.try_recv().unwrap());
        world.end(1, both);
    }
}

/// One who waits until something can be sent, and sends it.
fn looks_for_room() {
    let world = World::new();
    let both = chan(0);
    let other = both.clone();
    world.go(move || drop(other.1.recv().unwrap()));
    let mut select = Select::new();
    select.send(&both.0);
    assert_eq!(select.ready(), 0);
    drop(select);
    both.0.try_send(world.message(1)).unwrap();
    world.end(1, both);
}

/// The same select again and again.
fn dynamic() {
    let world = World::new();
    let channels = [chan(0), chan(0)];
    sends(&world, &channels[0], 1);
    sends(&world, &channels[1], 2);
    let mut select = Select::new_biased();
    select.recv(&channels[0].1);
    select.recv(&channels[1].1);
    for _ in 0..2 {
        let chosen = select.select();
        let from = &channels[chosen.index()].1;
        drop(chosen.recv(from).unwrap());
    }
    drop(select);
    world.end(2, channels);
}

fn clock(d: Duration) -> (Arc<Clock>, Receiver<Instant>) {
    let clock = Arc::new(Clock::after(d));
    (clock.clone(), Receiver::of_clock(clock))
}

/// One waits for a clock that has stopped, and is set.
fn clock_is_set() {
    let world = World::new();
    let (clock, tick) = clock(SOON);
    clock.reset(None, Duration::ZERO);
    world.go(move || assert!(!clock.reset(Some(SOON), Duration::ZERO)));
    assert_eq!(tick.recv(), Ok(Instant(1)));
    world.end(0, ());
}

/// One waits for a clock, for a time, while it is stopped: it had a message, or none ever comes.
fn clock_is_stopped() {
    let world = World::new();
    let (clock, tick) = clock(SOON);
    let was_set = Arc::new(AtomicU32::new(0));
    let flag = was_set.clone();
    world.go(move || flag.store(clock.reset(None, Duration::ZERO).into(), Ordering::Relaxed));
    let received = tick.recv_timeout(2 * SOON).is_ok();
    world.join();
    assert_eq!(was_set.load(Ordering::Relaxed) == 0, received, "stopped, and its message came");
    world.end(0, ());
}

/// Two wait for one message of a clock, for a time.
fn clock_for_two() {
    let world = World::new();
    let (_clock, tick) = clock(SOON);
    let received = Arc::new(AtomicU32::new(0));
    let (other, count) = (tick.clone(), received.clone());
    world.go(move || {
        count.fetch_add(other.recv_timeout(2 * SOON).is_ok().into(), Ordering::Relaxed);
    });
    let is_received = tick.recv_timeout(2 * SOON).is_ok();
    world.join();
    assert_eq!(received.load(Ordering::Relaxed) + u32::from(is_received), 1, "one has it");
    world.end(0, ());
}

#[test]
fn select_two_channels() {
    holds(two_channels(Order::AsListed));
}

#[test]
fn select_two_channels_last_first() {
    holds(two_channels(Order::LastFirst));
}

#[test]
fn select_timed() {
    holds(timed);
}

#[test]
fn select_timed_by_clock() {
    holds(timed_by_clock);
}

#[test]
fn select_never_ends() {
    holds(never_ends);
}

#[test]
fn select_never_timed() {
    holds(never_timed);
}

#[test]
fn select_never_timed_without_asking_for_a_lock_is_refuted() {
    falls(Weak::No, "asking for a lock", "Causality violation", never_timed);
}

#[test]
fn select_crossing() {
    holds(crossing(Order::AsListed));
}

#[test]
fn select_crossing_last_first() {
    holds(crossing(Order::LastFirst));
}

#[test]
fn select_crossing_of_thread() {
    holds(crossing_of(Order::AsListed, World::of_threads));
}

#[test]
fn select_both_ways() {
    holds(both_ways(Order::AsListed));
}

#[test]
fn select_both_ways_last_first() {
    holds(both_ways(Order::LastFirst));
}

#[test]
fn select_leaves() {
    holds(leaves);
}

#[test]
fn select_leaves_two() {
    holds(leaves_two);
}

#[test]
fn select_taken_back() {
    holds(taken_back(0));
}

#[test]
fn select_taken_back_buffered() {
    holds(taken_back(1));
}

#[test]
fn select_taken_back_from_select() {
    holds(taken_back_from_select);
}

#[test]
fn select_room_taken_back() {
    holds(room_taken_back);
}

#[test]
fn select_promise_closed() {
    holds(promise_closed(0));
}

#[test]
fn select_promise_closed_buffered() {
    holds(promise_closed(1));
}

#[test]
fn select_promise_discarded() {
    holds(promise_discarded(1));
}

#[test]
fn select_promise_discarded_unbounded() {
    holds(promise_discarded(UNBOUNDED));
}

#[test]
fn select_two_promises_unbounded() {
    holds(two_promises(UNBOUNDED));
}

#[test]
fn select_two_promises() {
    holds(two_promises(0));
}

#[test]
fn select_two_promises_buffered() {
    holds(two_promises(1));
}

#[test]
fn select_looks() {
    holds(looks(0));
}

#[test]
fn select_looks_buffered() {
    holds(looks(1));
}

#[test]
fn select_looks_for_room() {
    holds(looks_for_room);
}

#[test]
fn select_dynamic() {
    holds(dynamic);
}

#[test]
fn select_clock_is_set() {
    holds(clock_is_set);
}

#[test]
fn select_clock_is_stopped() {
    holds(clock_is_stopped);
}

#[test]
fn select_clock_for_two() {
    holds(clock_for_two);
}

#[test]
fn select_two_channels_without_the_second_look_is_refuted() {
    starves(Weak::No, "the second look", two_channels(Order::AsListed));
}

#[test]
fn select_two_channels_without_dismissing_the_others_is_refuted() {
    let complaint = "is gone, and in a queue";
    falls(Weak::No, "dismissing the others", complaint, two_channels(Order::AsListed));
}

#[test]
fn select_timed_without_finding_it_late_is_refuted() {
    falls(Weak::No, "finding it late", "which does not wait", timed);
}

#[test]
fn select_crossing_without_an_order_of_locks_is_refuted() {
    starves(Weak::No, "an order of locks", crossing(Order::AsListed));
}

#[test]
fn select_crossing_without_settling_is_refuted() {
    falls(Weak::No, "settling", "its wait goes on", crossing(Order::AsListed));
}

#[test]
fn select_leaves_without_unlocking_late_is_refuted() {
    falls(Weak::No, "unlocking late", "Causality violation", leaves);
}

#[test]
fn select_taken_back_without_telling_the_partner_is_refuted() {
    starves(Weak::No, "telling the partner", taken_back(0));
}

#[test]
fn select_taken_back_from_select_without_beginning_anew_is_refuted() {
    falls(Weak::No, "beginning anew", "was not selected", taken_back_from_select);
}

#[test]
fn select_room_taken_back_without_giving_it_away_is_refuted() {
    starves(Weak::No, "giving the room away", room_taken_back);
}

#[test]
fn select_looks_without_the_hint_before_waking_is_refuted() {
    falls(Weak::No, "the hint before waking", "Empty", looks(0));
}

#[test]
fn select_looks_without_being_told_is_refuted() {
    starves(Weak::No, "telling who looks", looks(1));
}

#[test]
fn select_clock_is_set_without_looking_again_is_refuted() {
    starves(Weak::No, "having them look again", clock_is_set);
}

#[test]
fn select_timed_relaxed_is_refuted() {
    falls(Weak::Orderings, "", "Causality violation", timed);
}
