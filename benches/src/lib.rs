//! What the benchmarks' runners share: building programs, running them, and figures for people.

pub mod build;
pub mod child;
pub mod figures;
pub mod noise;
