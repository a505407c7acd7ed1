//! crossbeam-channel's tests but those from Go, which have an allocator of their own.

mod after;
mod array;
mod iter;
mod list;
mod mpsc;
mod never;
mod ready;
mod same_channel;
mod select;
mod select_macro;
mod thread_locals;
mod tick;
mod zero;

use goroutines_chan_tests::together::Sleeper;

/// All tests that mostly sleep.
const SLEEPERS: &[&[Sleeper]] = &[
    after::SLEEPERS,
    array::SLEEPERS,
    list::SLEEPERS,
    mpsc::channel_tests::SLEEPERS,
    never::SLEEPERS,
    ready::SLEEPERS,
    select::SLEEPERS,
    select_macro::SLEEPERS,
    thread_locals::SLEEPERS,
    tick::SLEEPERS,
    zero::SLEEPERS,
];
