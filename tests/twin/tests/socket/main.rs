//! Sockets, polling, sleeps.

mod accept;
mod closed;
mod connect;
mod epolls;
mod families;
mod memory;
mod options;
mod partial;
mod polls;
mod select;
mod shutdown;
mod sleeps;

use goroutines_twin_tests::{Row, run_waiting_rows};
use std::process::ExitCode;

fn rows() -> Vec<Row> {
    let families: &[fn() -> Vec<Row>] = &[
        accept::rows,
        closed::rows,
        families::rows,
        connect::rows,
        epolls::rows,
        memory::rows,
        options::rows,
        partial::rows,
        polls::rows,
        sleeps::rows,
        select::rows,
        shutdown::rows,
    ];
    families.iter().flat_map(|rows| rows()).collect()
}

fn main() -> ExitCode {
    run_waiting_rows("socket", &rows())
}
