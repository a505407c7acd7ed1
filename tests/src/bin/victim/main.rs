//! A program that ends in the way its argument says. `tests/crash.rs` and `tests/tls` look at its text and
//! its exit status.

#![expect(clippy::unwrap_used, reason = "a failure here fails the test that runs it")]

mod asleep;
mod awake;
mod chans;
mod fatal;
mod libc_state;
mod polled;

/// A way to end.
type Scenario = fn();

/// Waits that nobody ends.
const ASLEEP: &[(&str, Scenario)] = &[
    ("wait_group", asleep::wait_group),
    ("many_wait", asleep::many_wait),
    ("join_cycle", asleep::join_cycle),
    ("park", asleep::park),
    ("scope", asleep::scope),
    ("semaphore", asleep::semaphore),
    ("singleflight", asleep::singleflight),
    ("block_forever", asleep::block_forever),
    ("locked_main", asleep::locked_main),
    ("locked_goroutine", asleep::locked_goroutine),
    ("goexit_alone", asleep::goexit_alone),
    ("goexit_others_end", asleep::goexit_others_end),
    ("goexit_others_sleep", asleep::goexit_others_sleep),
    ("goexit_others_wait", asleep::goexit_others_wait),
    ("goexit_after_a_caught_panic", asleep::goexit_after_a_caught_panic),
    ("after_blocking", asleep::after_blocking),
    ("after_an_unannounced_sleep", asleep::after_an_unannounced_sleep),
    ("after_a_thread_ended", asleep::after_a_thread_ended),
    ("in_a_signal_handler", asleep::in_a_signal_handler),
    ("stdout_is_flushed", asleep::stdout_is_flushed),
    ("output_lock_is_held", asleep::output_lock_is_held),
    ("allocator_lock_is_held", asleep::allocator_lock_is_held),
];

/// Waits that something ends.
const AWAKE: &[(&str, Scenario)] = &[
    ("blocking_sleep", awake::blocking_sleep),
    ("raw_sleep", awake::raw_sleep),
    ("std_sleep", awake::std_sleep),
    ("goroutine_sleep", awake::goroutine_sleep),
    ("park_timeout", awake::park_timeout),
    ("main_sleeps", awake::main_sleeps),
    ("thread_unparks", awake::thread_unparks),
    ("thread_is_done", awake::thread_is_done),
    ("process_writes", awake::process_writes),
    ("thread_writes", awake::thread_writes),
    ("locked_goroutine_blocks", awake::locked_goroutine_blocks),
    ("mutex_wait", awake::mutex_wait),
    ("refused_connection", awake::refused_connection),
    ("panic_yields", awake::panic_yields),
    ("panic_sleeps", awake::panic_sleeps),
    ("many_short_sleeps", awake::many_short_sleeps),
    ("runs_one_after_another", awake::runs_one_after_another),
];

/// Errors, and main's end.
const FATAL: &[(&str, Scenario)] = &[
    ("panic_stays", fatal::panic_stays),
    ("panic_crashes", fatal::panic_crashes),
    ("panic_crashes_text", fatal::panic_crashes_text),
    ("panic_crashes_in_main", fatal::panic_crashes_in_main),
    ("panic_in_main", fatal::panic_in_main),
    ("caught_panic_does_not_crash", fatal::caught_panic_does_not_crash),
    ("overflow", fatal::overflow),
    ("overflow_small", fatal::overflow_small),
    ("overflow_default_size", fatal::overflow_default_size),
    ("overflow_main", fatal::overflow_main),
    ("overflow_main_size", fatal::overflow_main_size),
    ("overflow_thread", fatal::overflow_thread),
    ("bad_access", fatal::bad_access),
    ("thread_limit", fatal::thread_limit),
    ("no_threads", fatal::no_threads),
    ("no_addresses", fatal::no_addresses),
    ("negative_counter", fatal::negative_counter),
    ("pthread_exit", fatal::pthread_exit),
    ("exit_in_goroutine", fatal::exit_in_goroutine),
    ("killed", fatal::killed),
    ("main_returns", || {
        fatal::main_returns();
    }),
    ("main_returns_from_run", fatal::main_returns_from_run),
];

/// Waits for descriptors and times.
const POLLED: &[(&str, Scenario)] = &[
    ("after_a_connection", polled::after_a_connection),
    ("after_a_close", polled::after_a_close),
    ("after_a_message_in_time", polled::after_a_message_in_time),
    ("after_an_unpark_in_time", polled::after_an_unpark_in_time),
    ("after_a_signal_in_time", polled::after_a_signal_in_time),
    ("after_a_poll_in_time", polled::after_a_poll_in_time),
    ("recv_times_out", polled::recv_times_out),
    ("poll_times_out", polled::poll_times_out),
    ("read_times_out", polled::read_times_out),
    ("child_is_waited_for", polled::child_is_waited_for),
    ("accepts_for_ever", polled::accepts_for_ever),
    ("reads_for_ever", polled::reads_for_ever),
    ("sleeps_for_ever", polled::sleeps_for_ever),
];

/// Waits for channels and timers.
const CHANS: &[(&str, Scenario)] = &[
    ("chan_receive", chans::receive),
    ("chan_send", chans::send),
    ("chan_select", chans::selecting),
    ("chan_nil", chans::receive_from_nil),
    ("chan_ring", chans::ring),
    ("forgotten_timers", chans::beside_forgotten_timers),
    ("stopped_timer", chans::stopped_timer),
    ("timer_that_has_come", chans::timer_that_has_come),
    ("after_the_last_func", chans::after_the_last_func),
    ("timers_wake", chans::timers_wake),
];

const LIBC_STATE: &[(&str, Scenario)] =
    &[("stdout_lock", libc_state::stdout_lock), ("fork", libc_state::fork)];

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let all = [ASLEEP, AWAKE, FATAL, POLLED, CHANS, LIBC_STATE].concat();
    match all.iter().find(|(name, _)| *name == wanted) {
        Some((_, scenario)) => scenario(),
        None => panic!("no scenario {wanted:?}"),
    }
}
