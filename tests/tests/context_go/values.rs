//! Values, and layers of all kinds of contexts.

use crate::{SHORT, VERY_LONG, expect_canceled, expect_open, wait_for};
use goroutines::context::{Context, ContextError};
use goroutines::go;
use goroutines_tests::io::at_each;
use goroutines_tests::join_all;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;

#[derive(Debug, PartialEq)]
struct K1(Option<&'static str>);
#[derive(Debug, PartialEq)]
struct K2(Option<&'static str>);
#[derive(Debug, PartialEq)]
struct K3(Option<&'static str>);

#[track_caller]
fn expect_values(context: &Context, name: &str, expected: [&'static str; 3]) {
    let found = [
        context.value::<K1>().and_then(|k| k.0),
        context.value::<K2>().and_then(|k| k.0),
        context.value::<K3>().and_then(|k| k.0),
    ];
    assert_eq!(found.map(Option::unwrap_or_default), expected, "{name}");
}

#[test]
fn values() {
    let c0 = Context::background();
    expect_values(&c0, "c0", ["", "", ""]);
    let c1 = c0.with_value(K1(Some("c1k1")));
    expect_values(&c1, "c1", ["c1k1", "", ""]);
    let c2 = c1.with_value(K2(Some("c2k2")));
    expect_values(&c2, "c2", ["c1k1", "c2k2", ""]);
    let c3 = c2.with_value(K3(Some("c3k3")));
    expect_values(&c3, "c3", ["c1k1", "c2k2", "c3k3"]);
    let c4 = c3.with_value(K1(None));
    expect_values(&c4, "c4", ["", "c2k2", "c3k3"]);
    assert_eq!(c4.value::<K1>(), Some(&K1(None)), "one without a value hides one with");
    // Where others stand between.
    let o1 = c1.with_cancel().0;
    expect_values(&o1, "o1", ["c1k1", "", ""]);
    let o2 = o1.with_value(K2(Some("o2k2")));
    expect_values(&o2, "o2", ["c1k1", "o2k2", ""]);
    let o3 = c4.with_timeout(VERY_LONG).0.without_cancel();
    expect_values(&o3, "o3", ["", "c2k2", "c3k3"]);
    let o4 = o3.with_value(K3(None));
    expect_values(&o4, "o4", ["", "c2k2", ""]);
    // The outer ones have not changed.
    expect_values(&c3, "c3", ["c1k1", "c2k2", "c3k3"]);
    expect_values(&c0, "c0", ["", "", ""]);
}

/// What a value owns is dropped with the last context that has it.
#[test]
fn values_are_dropped() {
    let owned = Arc::new(());
    let outer = Context::background().with_value(Arc::clone(&owned));
    let (inner, cancel) = outer.with_cancel();
    let hidden = inner.with_value(Arc::new(()));
    drop(outer);
    cancel.cancel();
    drop(inner);
    assert_eq!(Arc::strong_count(&owned), 2);
    drop(hidden);
    assert_eq!(Arc::strong_count(&owned), 1);
}

/// A value of one of several types.
#[derive(Debug, PartialEq)]
struct Typed<const N: usize>(u64);

fn set<const N: usize>(context: &Context, value: u64) -> Context {
    context.with_value(Typed::<N>(value))
}

fn get<const N: usize>(context: &Context) -> Option<u64> {
    context.value::<Typed<N>>().map(|value| value.0)
}

type Setter = fn(&Context, u64) -> Context;
type Getter = fn(&Context) -> Option<u64>;
const TYPES: [(Setter, Getter); 5] = [
    (set::<0>, get::<0>),
    (set::<1>, get::<1>),
    (set::<2>, get::<2>),
    (set::<3>, get::<3>),
    (set::<4>, get::<4>),
];

/// Go: `testLayers`. Layers of contexts of all kinds, in random order; the model of the values is an array.
fn layers(seed: u64, with_timeout: bool) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut context = Context::background();
    let (mut cancels, mut timers, mut model, mut values) = (Vec::new(), 0, [None; 5], 0);
    let mut i = 0;
    while i < 30 || timers == 0 || cancels.is_empty() || values == 0 {
        i += 1;
        let cancel;
        match rng.random_range(0..3) {
            0 => {
                let kind = rng.random_range(0..TYPES.len());
                context = TYPES[kind].0(&context, i);
                model[kind] = Some(i);
                values += 1;
                continue;
            }
            1 => (context, cancel) = context.with_cancel(),
            _ => {
                let d = if with_timeout { SHORT } else { VERY_LONG };
                (context, cancel) = context.with_timeout(d);
                timers += 1;
            }
        }
        cancels.push(cancel);
    }
    let check_values = |when: &str| {
        let found = TYPES.map(|(_, get)| get(&context));
        assert_eq!(found, model, "seed {seed}, {when}");
    };
    if with_timeout {
        check_values("before the timeout");
        wait_for(&context);
        check_values("after the timeout");
        assert_eq!(context.err(), Some(ContextError::DeadlineExceeded), "seed {seed}");
    } else {
        expect_open(&context);
        check_values("before the cancel");
        cancels.choose(&mut rng).unwrap().cancel();
        expect_canceled(&context);
        check_values("after the cancel");
    }
}

#[test]
fn layers_cancel() {
    at_each(|_| (0..100).for_each(|_| layers(rand::random(), false)));
}

#[test]
fn layers_timeout() {
    at_each(|_| {
        let all = (0..50).map(|_| go(|| layers(rand::random(), true)));
        join_all(all.collect::<Vec<_>>());
    });
}
