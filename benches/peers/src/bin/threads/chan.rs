//! The cases of channels, with crossbeam's.

use crate::measure::{CAPACITY, FOUR, rounds};
use crossbeam_channel::{Receiver, Sender, bounded, select, unbounded};
use std::thread;

pub(crate) fn rendezvous(n: u64) {
    let (ping, pings) = bounded(0);
    let (pong, pongs) = bounded(0);
    thread::spawn(move || pings.into_iter().try_for_each(|i| pong.send(i)));
    for i in 0..n {
        ping.send(i).expect("it is received");
        assert_eq!(pongs.recv(), Ok(i));
    }
}

pub(crate) fn buffered(n: u64) {
    one_to_one(bounded(CAPACITY), n);
}

pub(crate) fn endless(n: u64) {
    rounds(n).for_each(|n| one_to_one(unbounded(), n));
}

fn one_to_one((sender, receiver): (Sender<u64>, Receiver<u64>), n: u64) {
    thread::spawn(move || send(&sender, n));
    assert_eq!(receiver.iter().count() as u64, n);
}

fn send(sender: &Sender<u64>, n: u64) {
    (0..n).for_each(|i| sender.send(i).expect("it is received"));
}

pub(crate) fn four_to_four(n: u64) {
    let (sender, receiver) = bounded(CAPACITY);
    thread::scope(|s| {
        for _ in 0..FOUR {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            s.spawn(move || send(&sender, n / FOUR));
            s.spawn(move || receiver.iter().for_each(|i| assert!(i < n)));
        }
        drop(sender);
    });
}

pub(crate) fn selecting(capacity: usize, n: u64) {
    let [(a, _a), (b, _b), (c, _c), (d, _d)] = [(); FOUR as usize].map(|()| {
        let (sender, receiver) = bounded(capacity);
        let this = sender.clone();
        thread::spawn(move || send(&this, n / FOUR));
        // A disconnected channel would be selected again and again.
        (receiver, sender)
    });
    for _ in 0..n {
        let message = select! {
            recv(a) -> message => message,
            recv(b) -> message => message,
            recv(c) -> message => message,
            recv(d) -> message => message,
        };
        assert!(message.is_ok());
    }
}
