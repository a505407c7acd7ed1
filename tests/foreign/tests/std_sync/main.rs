//! The standard library's tests of `std::sync`, on goroutines: the primitives are std's own.

#[path = "suites.rs"]
mod at_1;
#[path = "suites.rs"]
mod at_2;

#[track_caller]
fn result_unwrap<T, E: std::fmt::Debug>(x: Result<T, E>) -> T {
    x.unwrap()
}
