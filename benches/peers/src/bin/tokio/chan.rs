//! The cases of channels: tokio's, which have one receiver and room for one message at least.

use crate::measure::{CAPACITY, FOUR, rounds};
use tokio::spawn;
use tokio::sync::mpsc::{Sender, channel, unbounded_channel};

/// The least room there is.
pub(crate) const LEAST: usize = 1;

pub(crate) async fn rendezvous(n: u64) {
    let (ping, mut pings) = channel(LEAST);
    let (pong, mut pongs) = channel(LEAST);
    spawn(async move {
        while let Some(i) = pings.recv().await {
            pong.send(i).await.expect("it is received");
        }
    });
    for i in 0..n {
        ping.send(i).await.expect("it is received");
        assert_eq!(pongs.recv().await, Some(i));
    }
}

async fn send(sender: Sender<u64>, n: u64) {
    for i in 0..n {
        sender.send(i).await.expect("it is received");
    }
}

pub(crate) async fn buffered(n: u64) {
    let (sender, mut receiver) = channel(CAPACITY);
    spawn(send(sender, n));
    let mut count = 0;
    while receiver.recv().await.is_some() {
        count += 1;
    }
    assert_eq!(count, n);
}

pub(crate) async fn endless(n: u64) {
    for n in rounds(n) {
        let (sender, mut receiver) = unbounded_channel();
        spawn(async move { (0..n).for_each(|i| sender.send(i).expect("it is received")) });
        let mut count = 0;
        while receiver.recv().await.is_some() {
            count += 1;
        }
        assert_eq!(count, n);
    }
}

/// tokio's documentation sends those who want several receivers to async-channel.
pub(crate) async fn four_to_four(n: u64) {
    let (sender, receiver) = async_channel::bounded(CAPACITY);
    let mut receivers = Vec::new();
    for _ in 0..FOUR {
        let (sender, receiver) = (sender.clone(), receiver.clone());
        spawn(async move {
            for i in 0..n / FOUR {
                sender.send(i).await.expect("it is received");
            }
        });
        receivers.push(spawn(async move {
            while let Ok(i) = receiver.recv().await {
                assert!(i < n);
            }
        }));
    }
    drop(sender);
    for receiver in receivers {
        receiver.await.expect("it does not panic");
    }
}

pub(crate) async fn selecting(capacity: usize, n: u64) {
    let [mut a, mut b, mut c, mut d] = [(); FOUR as usize].map(|()| {
        let (sender, receiver) = channel(capacity);
        spawn(async move {
            send(sender.clone(), n / FOUR).await;
            sender.closed().await; // disconnected, it would be selected again and again
        });
        receiver
    });
    for _ in 0..n {
        let message = tokio::select! {
            message = a.recv() => message,
            message = b.recv() => message,
            message = c.recv() => message,
            message = d.recv() => message,
        };
        assert!(message.is_some());
    }
}
