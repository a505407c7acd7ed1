//! Contexts: Go's tests of context/{x,context,net}_test.go and its examples (Go 1.27; The Go Authors,
//! BSD-3-Clause), ported, each at several numbers of processors.
//!
//! Not here: contexts of the program's own, which there are none of; what a context's text is; `nil` where Go
//! panics, which does not compile. Values are found by their type. What Go's tests see in a context's list of
//! children is seen here in the memory it takes.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what fails must end them")]

mod after_func;
mod causes;
mod deadlines;
mod examples;
mod memory;
mod tree;
mod values;

use goroutines::chan::Receiver;
use goroutines::context::{Cancel, Context, ContextError};
use goroutines::select;
use goroutines_tests::io::ms;
use std::io;
use std::time::Duration;

/// A reasonable time to block in a test.
const SHORT: Duration = ms(1);
/// Longer than any test runs.
const VERY_LONG: Duration = Duration::from_secs(3_600_000);
/// By then everything is done, on a busy machine too.
const QUIESCENT: Duration = ms(20_000);

/// Whether the channel is closed. Blocks at no time.
#[track_caller]
fn is_closed(done: &Receiver<()>) -> bool {
    select! {
        recv(done) -> message => {
            assert!(message.is_err(), "nothing is sent on it");
            true
        }
        default => false,
    }
}

#[track_caller]
fn expect_open(context: &Context) {
    assert!(!is_closed(context.done()), "it should block");
    assert_eq!(context.err(), None);
    assert!(context.cause().is_none());
}

#[track_caller]
fn expect_canceled(context: &Context) {
    assert!(is_closed(context.done()), "it blocks, but should not");
    assert_eq!(context.err(), Some(ContextError::Canceled));
}

/// Waits until it is done.
#[track_caller]
fn wait_for(context: &Context) {
    select! {
        recv(context.done()) -> _ => {}
        default(QUIESCENT) => panic!("not done after {QUIESCENT:?}"),
    }
}

#[track_caller]
fn expect_received<T>(from: &Receiver<T>) -> T {
    from.recv_timeout(QUIESCENT).unwrap()
}

fn cause(text: &str) -> io::Error {
    io::Error::other(text.to_owned())
}

#[track_caller]
fn expect_cause(context: &Context, text: &str) {
    assert_eq!(context.cause().map(|cause| cause.to_string()).as_deref(), Some(text));
}

/// The context, cancelled.
fn canceled((context, cancel): (Context, Cancel)) -> Context {
    cancel.cancel();
    context
}
