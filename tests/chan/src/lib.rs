//! Runs crossbeam-channel's tests on `goroutines::chan`; the README lists them.
//!
//! A suite is a file whose functions are the tests as their authors wrote them, with this library's
//! [`thread`] and [`scope()`] in the place of std's and crossbeam's, and without `#[test]`. At its end
//! [`tests!`] names them and makes six tests of each: who plays its threads is said by the [`Mode`], and each
//! runs on one processor and on two. What is expected beside what the author asked, and how a test that
//! hangs is shown, is as in `tests/foreign`, whose runner this is.
//!
//! Tests that mostly sleep are named by [`sleepers!`], and run together, all suites' at once:
//! [`together`] says how.

mod family;
pub mod scope;
pub mod thread;
pub mod together;

// What is tested. With crossbeam_channel's in their place, its authors' view of the tests can be had.
pub use goroutines::{chan, select, select_biased};
pub use goroutines_foreign_tests::Expect;
pub use scope::scope;

use std::panic::resume_unwind;
use std::time::Duration;

/// Who plays the threads of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Goroutines; the body is the main goroutine.
    Goroutines,
    /// Ordinary threads, the body's own too.
    Threads,
    /// Threads and goroutines in turn; the body is the main goroutine.
    Mixed,
}

/// How much later than its author allowed something may happen, on a machine that is busy.
pub const LATE: Duration = Duration::from_millis(500);

/// How often a test of stress does what its author did `count` times: a tenth as often, unless the
/// environment variable `CHAN_TESTS_FULL` is set when the tests are built.
#[must_use]
pub const fn tenth(count: usize) -> usize {
    if option_env!("CHAN_TESTS_FULL").is_some() { count } else { count / 10 }
}

/// Makes tests of functions, each of which may be followed by what is expected of it, as `goroutine_tests!` of
/// `tests/foreign` does; but in all modes.
#[macro_export]
macro_rules! tests {
    (@six $make:ident { $($list:tt)+ }) => {
        mod goroutines {
            mod at_1 { $crate::tests! { @$make Goroutines $($list)+ } }
            mod at_2 { $crate::tests! { @$make Goroutines $($list)+ } }
        }
        mod threads {
            mod at_1 { $crate::tests! { @$make Threads $($list)+ } }
            mod at_2 { $crate::tests! { @$make Threads $($list)+ } }
        }
        mod mixed {
            mod at_1 { $crate::tests! { @$make Mixed $($list)+ } }
            mod at_2 { $crate::tests! { @$make Mixed $($list)+ } }
        }
    };
    (@alone $mode:ident $($name:ident $(: $expect:ident($($text:literal)?))?),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                let expect = $crate::Expect::default()$(.$expect($($text)?))?;
                let name = concat!(module_path!(), "::", stringify!($name));
                $crate::run(name, $crate::Mode::$mode, expect, super::super::$name);
            }
        )+
    };
    (@together $mode:ident $($name:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                let name = concat!(module_path!(), "::", stringify!($name));
                $crate::together::check(name, $crate::Mode::$mode, crate::SLEEPERS);
            }
        )+
    };
    ($($list:tt)+) => { $crate::tests! { @six alone { $($list)+ } } };
}

/// Makes tests of functions that mostly sleep. `crate::SLEEPERS` names all suites' lists of them.
#[macro_export]
macro_rules! sleepers {
    ($($name:ident),+ $(,)?) => {
        pub(crate) const SLEEPERS: &[$crate::together::Sleeper] = &[$(
            $crate::together::Sleeper {
                suite: module_path!(),
                name: stringify!($name),
                body: $name,
            },
        )+];
        mod together { $crate::tests! { @six together { $($name),+ } } }
    };
}

/// Runs `body` in a mode, alone in the process, on as many processors as the module `at_` of its name says.
///
/// # Panics
/// With the body's panic, and where it does something that is not expected.
pub fn run(name: &'static str, mode: Mode, expect: Expect, body: impl FnOnce() + Send + 'static) {
    goroutines_foreign_tests::run(name, expect, move || {
        let family = family::begin(mode);
        let ended = match mode {
            Mode::Threads => thread::spawn(body).join(),
            Mode::Goroutines | Mode::Mixed => {
                body();
                Ok(())
            }
        };
        if let Err(payload) = ended {
            resume_unwind(payload);
        }
        if !expect.may_leave_some() {
            family.wait_for_threads();
        }
    });
}

#[cfg(test)]
mod harness {
    use super::{Expect, Mode, run, scope, thread};
    use crate::together::{Sleeper, check};
    use goroutines::runtime::goroutine_id;
    use std::panic::catch_unwind;
    use std::sync::{Arc, Mutex, PoisonError};

    /// Who the body is, and the first four that it starts, in both ways: whether goroutines.
    fn players(name: &'static str, mode: Mode) -> (bool, Vec<bool>) {
        let found = Arc::new(Mutex::new((false, Vec::new())));
        let to = Arc::clone(&found);
        run(name, mode, Expect::default(), move || {
            let mut all = Vec::new();
            for _ in 0..2 {
                all.push(thread::spawn(|| goroutine_id().is_some()).join().unwrap());
            }
            let scoped = Mutex::new(Vec::new());
            for _ in 0..2 {
                scope(|s| s.spawn(|_| scoped.lock().unwrap().push(goroutine_id().is_some())))
                    .unwrap();
            }
            all.append(&mut scoped.lock().unwrap());
            *to.lock().unwrap() = (goroutine_id().is_some(), all);
        });
        std::mem::take(&mut *found.lock().unwrap())
    }

    /// Panics are counted for the whole process.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    #[test]
    fn who_plays() {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(players("g::at_1::", Mode::Goroutines), (true, vec![true; 4]));
        assert_eq!(players("t::at_1::", Mode::Threads), (false, vec![false; 4]));
        assert_eq!(players("m::at_1::", Mode::Mixed), (true, vec![false, true, false, true]));
    }

    #[test]
    fn a_panic_in_a_scope_comes_out() {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        for mode in [Mode::Goroutines, Mode::Threads, Mode::Mixed] {
            run("scope::at_2::", mode, Expect::default().panics(), || {
                for _ in 0..2 {
                    assert!(scope(|s| s.spawn(|_| panic!("expected"))).is_err());
                }
            });
        }
    }

    #[test]
    fn each_sleeper_has_its_own_end() {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        const SLEEPERS: &[&[Sleeper]] = &[&[
            Sleeper { suite: "s", name: "good", body: || {} },
            Sleeper { suite: "s", name: "bad", body: || panic!("expected") },
        ]];
        const DETACHED: &[&[Sleeper]] = &[&[Sleeper {
            suite: "s",
            name: "left",
            body: || drop(thread::spawn(|| panic!("expected"))),
        }]];
        let ends = |name, mode, all| catch_unwind(|| check(name, mode, all)).is_ok();
        assert!(ends("s::together::x::at_1::good", Mode::Mixed, SLEEPERS));
        assert!(!ends("s::together::x::at_1::bad", Mode::Mixed, SLEEPERS));
        assert!(!ends("s::together::x::at_2::bad", Mode::Threads, SLEEPERS));
        assert!(ends("s::together::x::at_2::good", Mode::Threads, SLEEPERS));
        assert!(!ends("s::together::x::at_2::left", Mode::Goroutines, DETACHED));
    }
}
