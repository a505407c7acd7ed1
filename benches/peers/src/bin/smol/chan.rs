//! The cases of channels: async-channel's, which have room for one message at least.

use crate::measure::{CAPACITY, FOUR, rounds};
use crate::spawn;
use smol::channel::{Receiver, Sender, bounded, unbounded};
use smol::future::race;
use smol::stream::StreamExt;
use std::pin::pin;

/// The least room there is.
pub(crate) const LEAST: usize = 1;

pub(crate) async fn rendezvous(n: u64) {
    let (ping, pings) = bounded(LEAST);
    let (pong, pongs) = bounded(LEAST);
    let echo = async move {
        while let Ok(i) = pings.recv().await {
            pong.send(i).await.expect("it is received");
        }
    };
    spawn(echo).detach();
    for i in 0..n {
        ping.send(i).await.expect("it is received");
        assert_eq!(pongs.recv().await, Ok(i));
    }
}

async fn send(sender: Sender<u64>, n: u64) {
    for i in 0..n {
        sender.send(i).await.expect("it is received");
    }
}

pub(crate) async fn buffered(n: u64) {
    one_to_one(bounded(CAPACITY), n).await;
}

pub(crate) async fn endless(n: u64) {
    for n in rounds(n) {
        one_to_one(unbounded(), n).await;
    }
}

async fn one_to_one((sender, receiver): (Sender<u64>, Receiver<u64>), n: u64) {
    spawn(send(sender, n)).detach();
    assert_eq!(pin!(receiver).count().await as u64, n);
}

pub(crate) async fn four_to_four(n: u64) {
    let (sender, receiver) = bounded(CAPACITY);
    let receivers = [(); FOUR as usize].map(|()| {
        let receiver = receiver.clone();
        spawn(send(sender.clone(), n / FOUR)).detach();
        spawn(async move {
            while let Ok(i) = receiver.recv().await {
                assert!(i < n);
            }
        })
    });
    drop(sender);
    for receiver in receivers {
        receiver.await;
    }
}

pub(crate) async fn selecting(capacity: usize, n: u64) {
    let [(a, _a), (b, _b), (c, _c), (d, _d)] = [(); FOUR as usize].map(|()| {
        let (sender, receiver) = bounded(capacity);
        spawn(send(sender.clone(), n / FOUR)).detach();
        // A disconnected channel would be selected again and again.
        (receiver, sender)
    });
    for _ in 0..n {
        let message = race(race(a.recv(), b.recv()), race(c.recv(), d.recv())).await;
        assert!(message.is_ok());
    }
}
