//! The cases of channels: may's, which have no bound.

use crate::measure::{FOUR, rounds};
use crate::{join, spawn};
use may::sync::{mpmc, mpsc};
use may::{cqueue, cqueue_add};

pub(crate) fn rendezvous(n: u64) {
    let (ping, pings) = mpsc::channel();
    let (pong, pongs) = mpsc::channel();
    spawn(move || {
        for i in pings {
            // The last one may be late.
            let _ = pong.send(i);
        }
    });
    for i in 0..n {
        ping.send(i).expect("it is received");
        assert_eq!(pongs.recv(), Ok(i));
    }
}

pub(crate) fn one_to_one(n: u64) {
    for n in rounds(n) {
        let (sender, receiver) = mpsc::channel();
        spawn(move || send(&sender, n));
        assert_eq!(receiver.iter().count() as u64, n);
    }
}

fn send(sender: &mpsc::Sender<u64>, n: u64) {
    (0..n).for_each(|i| sender.send(i).expect("it is received"));
}

pub(crate) fn four_to_four(n: u64) {
    for n in rounds(n) {
        let (sender, receiver) = mpmc::channel();
        let receivers = [(); FOUR as usize].map(|()| {
            let (sender, receiver) = (sender.clone(), receiver.clone());
            spawn(move || (0..n / FOUR).for_each(|i| sender.send(i).expect("it is received")));
            spawn(move || receiver.iter().for_each(|i| assert!(i < n)))
        });
        drop(sender);
        receivers.into_iter().for_each(join);
    }
}

/// A select for one message, may's `select!`, starts a coroutine for each channel; this one starts them once.
pub(crate) fn selecting(n: u64) {
    for n in rounds(n) {
        let [(a, _a), (b, _b), (c, _c), (d, _d)] = [(); FOUR as usize].map(|()| {
            let (sender, receiver) = mpsc::channel();
            let this = sender.clone();
            spawn(move || send(&this, n / FOUR));
            // A disconnected channel would be selected again and again.
            (receiver, sender)
        });
        cqueue::scope(|queue| {
            cqueue_add!(queue, 0, message = a.recv() => assert!(message.is_ok()));
            cqueue_add!(queue, 1, message = b.recv() => assert!(message.is_ok()));
            cqueue_add!(queue, 2, message = c.recv() => assert!(message.is_ok()));
            cqueue_add!(queue, 3, message = d.recv() => assert!(message.is_ok()));
            for _ in 0..n {
                queue.poll(None).expect("a message");
            }
        });
    }
}
