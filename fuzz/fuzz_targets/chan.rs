//! Channels beside a model of them: `goroutines_tests::chan_model` says how.
#![no_main]

use goroutines::runtime;
use goroutines_tests::chan_model;
use libfuzzer_sys::{Corpus, fuzz_target};
use std::sync::Once;

static START: Once = Once::new();

fuzz_target!(|bytes: &[u8]| -> Corpus {
    START.call_once(|| {
        runtime::gomaxprocs(1);
    });
    goroutines::run(|| chan_model::run(bytes));
    Corpus::Keep
});
