//! Seeing inside: the account of goroutines, and dumps.

pub(crate) mod account;
pub(crate) mod dump;
mod frames;
