//! `tracing`: spans that are held across blocking calls, by goroutines that take turns on a processor.
//! The subscriber keeps the stack of entered spans in a thread-local: each must see its own.

use crate::harness::{each, nothing, on_procs};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// What an event was recorded with: its goroutine, and the spans around it, the outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    who: u64,
    spans: Vec<(&'static str, u64)>,
}

/// Keeps a record of each event.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Record>>>);

/// The `who` of a span or an event.
struct Who(u64);

impl Visit for Who {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "who" {
            self.0 = value;
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut who = Who(u64::MAX);
        attributes.record(&mut who);
        context.span(id).unwrap().extensions_mut().insert(who);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut who = Who(u64::MAX);
        event.record(&mut who);
        let scope = context.event_scope(event);
        let spans = scope.into_iter().flat_map(|scope| scope.from_root());
        let spans = spans.map(|span| (span.name(), span.extensions().get::<Who>().unwrap().0));
        let record = Record { who: who.0, spans: spans.collect() };
        self.0.lock().unwrap().push(record);
    }
}

/// Says where it is, and checks that tracing's own idea of the current span is the same.
#[track_caller]
fn event(who: u64, current: &tracing::Span) {
    assert_eq!(tracing::Span::current().id(), current.id(), "the current span of {who}");
    tracing::info!(who);
}

/// Three nested spans, with `block` in each; then out again, with `block` on the way.
fn nest(who: u64, block: &dyn Fn()) {
    let outer = tracing::info_span!("outer", who);
    let entered = outer.enter();
    block();
    event(who, &outer);
    {
        let middle = tracing::info_span!("middle", who);
        let _entered = middle.enter();
        block();
        event(who, &middle);
        tracing::info_span!("inner", who).in_scope(|| {
            block();
            event(who, &tracing::Span::current());
        });
        block();
        event(who, &middle);
    }
    block();
    event(who, &outer);
    drop(entered);
    block();
    event(who, &tracing::Span::none());
}

/// What [`nest`] is recorded as.
fn expected(who: u64) -> Vec<Record> {
    let spans = ["outer", "middle", "inner"].map(|name| (name, who));
    [1, 2, 3, 2, 1, 0].map(|depth| Record { who, spans: spans[..depth].to_vec() }).to_vec()
}

/// Runs `n` goroutines that each nest `rounds` times, with a subscriber for all of them, which each sets
/// as its own thread's; `block(i)` makes the blocking call of goroutine `i`.
fn nested<B: Fn()>(n: usize, rounds: usize, block: impl Fn(usize) -> B + Sync) {
    let recorder = Recorder::default();
    let dispatch = tracing::Dispatch::new(Registry::default().with(recorder.clone()));
    each(n, |i| {
        tracing::dispatcher::with_default(&dispatch, || {
            let block = block(i);
            (0..rounds).for_each(|_| nest(i as u64, &block));
        });
    });
    let records = recorder.0.lock().unwrap();
    assert_eq!(records.len(), n * rounds * 6);
    for i in 0..n as u64 {
        let own: Vec<_> = records.iter().filter(|record| record.who == i).cloned().collect();
        let expected: Vec<_> = (0..rounds).flat_map(|_| expected(i)).collect();
        assert_eq!(own, expected, "what goroutine {i} recorded");
    }
    let turns = records.windows(2).filter(|two| two[0].who != two[1].who).count();
    assert!(turns > n, "they took turns only {turns} times");
}

#[test]
fn two_goroutines_in_spans_hand_each_other_the_turn() {
    on_procs("two_goroutines_in_spans", nothing, |(), _| {
        let (to_left, left) = mpsc::sync_channel(0);
        let (to_right, right) = mpsc::sync_channel(0);
        let ends = Mutex::new([Some((to_right, left)), Some((to_left, right))]);
        nested(2, 20, |i| {
            let (to_other, from_other) = ends.lock().unwrap()[i].take().unwrap();
            move || {
                if i == 0 {
                    to_other.send(()).unwrap();
                    from_other.recv().unwrap();
                } else {
                    from_other.recv().unwrap();
                    to_other.send(()).unwrap();
                }
            }
        });
    });
}

#[test]
fn many_goroutines_in_spans_meet_at_a_barrier() {
    const MANY: usize = 16;
    on_procs("many_goroutines_in_spans", nothing, |(), _| {
        let barrier = Barrier::new(MANY);
        nested(MANY, 8, |_| {
            || {
                barrier.wait();
            }
        });
    });
}

#[test]
fn spans_are_held_across_sleeps_and_yields() {
    on_procs("spans_are_held_across_sleeps_and_yields", nothing, |(), _| {
        nested(32, 3, |i| {
            move || match i % 3 {
                0 => std::thread::sleep(Duration::from_millis(2)),
                1 => goroutines::runtime::gosched(),
                _ => goroutines::thread::sleep(Duration::from_millis(1)),
            }
        });
    });
}
