//! All suites, once at each number of processors.

mod pipes;
mod process;
