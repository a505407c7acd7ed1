//! The blocking `redis` client with a real server: a connection a goroutine.

use crate::harness::{each, on_procs_where};
use crate::servers::Redis;
use goroutines::thread;
use redis::Commands;
use std::collections::BTreeSet;

const CLIENTS: usize = 16;
const ROUNDS: usize = 40;

#[test]
fn redis_pipelines_and_transactions() {
    on_procs_where("redis_pipelines_and_transactions", Redis::start, |server, procs| {
        let total = format!("total{procs}");
        each(CLIENTS, |i| {
            let mut connection = server.connect();
            let key = format!("of{procs}-{i}");
            for n in 0..ROUNDS {
                let value = format!("{i} {n}").repeat(1 + n);
                let mut pipeline = redis::pipe();
                pipeline.atomic();
                pipeline.rpush(&key, &value).ignore().lindex(&key, -1).incr(&total, 1);
                let got: (String, usize) = pipeline.query(&mut connection).unwrap();
                assert_eq!(got.0, value, "the value just pushed");
                assert!((1..=CLIENTS * ROUNDS).contains(&got.1), "a total of {}", got.1);
            }
            let all: Vec<String> = connection.lrange(&key, 0, -1).unwrap();
            let expected = (0..ROUNDS).map(|n| format!("{i} {n}").repeat(1 + n));
            assert!(all.into_iter().eq(expected), "the list of client {i}");
        });
        let sum: usize = server.connect().get(&total).unwrap();
        assert_eq!(sum, CLIENTS * ROUNDS);
    });
}

/// Consumers wait in BLPOP for what producers push: each item comes once, a producer's in order.
#[test]
fn redis_blpop_hands_over_between_goroutines() {
    on_procs_where("redis_blpop", Redis::start, |server, procs| {
        let key = &format!("queue{procs}");
        let got = thread::scope(|scope| {
            let consumers: Vec<_> =
                (0..CLIENTS).map(|_| scope.spawn(|| consume(server.connect(), key))).collect();
            each(CLIENTS, |i| {
                let mut connection = server.connect();
                for n in 0..ROUNDS {
                    let _: usize = connection.rpush(key, format!("{i} {n}")).unwrap();
                }
            });
            let mut connection = server.connect();
            let _: usize = connection.rpush(key, vec!["end"; CLIENTS]).unwrap();
            consumers.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        let mut seen = BTreeSet::new();
        for items in &got {
            let mut last = [None; CLIENTS];
            for &(i, n) in items {
                assert!(seen.insert((i, n)), "({i}, {n}) came twice");
                assert!(last[i] < Some(n), "({i}, {n}) after {:?}", last[i]);
                last[i] = Some(n);
            }
        }
        assert_eq!(seen.len(), CLIENTS * ROUNDS);
    });
}

/// Takes items until the end; gives them.
fn consume(mut connection: redis::Connection, key: &str) -> Vec<(usize, usize)> {
    let mut items = Vec::new();
    loop {
        let (_, item): (String, String) = connection.blpop(key, 0.0).unwrap();
        let Some((i, n)) = item.split_once(' ') else {
            assert_eq!(item, "end");
            return items;
        };
        items.push((i.parse().unwrap(), n.parse().unwrap()));
    }
}

#[test]
fn redis_publishes_to_all_subscribers_in_order() {
    const SUBSCRIBERS: usize = 8;
    on_procs_where("redis_publishes", Redis::start, |server, _| {
        let subscribed = std::sync::Barrier::new(SUBSCRIBERS + 1);
        thread::scope(|scope| {
            for _ in 0..SUBSCRIBERS {
                scope.spawn(|| {
                    let mut connection = server.connect();
                    let mut pubsub = connection.as_pubsub();
                    pubsub.subscribe("news").unwrap();
                    subscribed.wait();
                    for n in 0..ROUNDS {
                        let message = pubsub.get_message().unwrap();
                        assert_eq!(message.get_channel_name(), "news");
                        assert_eq!(message.get_payload::<usize>().unwrap(), n);
                    }
                });
            }
            subscribed.wait();
            let mut connection = server.connect();
            for n in 0..ROUNDS {
                let receivers: usize = connection.publish("news", n).unwrap();
                assert_eq!(receivers, SUBSCRIBERS, "of message {n}");
            }
        });
    });
}

#[cfg(feature = "intercept")]
#[test]
fn redis_blpop_needs_few_threads() {
    const WAITING: usize = 64;
    on_procs_where("redis_blpop_needs_few_threads", Redis::start, |server, _| {
        let wait = |_| {
            let (_, item): (String, String) = server.connect().blpop("never", 0.0).unwrap();
            assert_eq!(item, "now");
        };
        crate::harness::expect_few_threads(WAITING, wait, || {
            let _: usize = server.connect().rpush("never", vec!["now"; WAITING]).unwrap();
        });
    });
}
