//! Signals: masks, handlers, waits.

mod altstacks;
mod handlers;
mod interrupted;
mod masks;
mod names;
mod own;
mod small_stacks;
mod urg;
mod waits;

use goroutines_twin_tests::{Row, run_rows};
use std::process::ExitCode;

fn rows() -> Vec<Row> {
    let families: &[fn() -> Vec<Row>] = &[
        altstacks::rows,
        handlers::rows,
        interrupted::rows,
        masks::rows,
        names::rows,
        own::rows,
        small_stacks::rows,
        urg::rows,
        waits::rows,
    ];
    families.iter().flat_map(|rows| rows()).collect()
}

fn main() -> ExitCode {
    run_rows("signals", &rows())
}

/// Installs a handler, with flags, that blocks the signals of `mask`; what was there before.
fn install(signal: i32, handler: usize, flags: i32, mask: &[i32]) -> libc::sigaction {
    // SAFETY: zeroes are a valid start; a handler of the right type.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = handler;
        new.sa_flags = flags;
        for signal in mask {
            libc::sigaddset(&raw mut new.sa_mask, *signal);
        }
        let mut old: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(signal, &raw const new, &raw mut old), 0);
        old
    }
}

/// The action of a signal, as text.
fn action(signal: i32) -> String {
    // SAFETY: an action to write.
    let action = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(signal, std::ptr::null(), &raw mut action), 0);
        action
    };
    let flag = |flag: i32, name: &'static str| if action.sa_flags & flag != 0 { name } else { "" };
    let handler = match action.sa_sigaction {
        libc::SIG_DFL => "default",
        libc::SIG_IGN => "ignored",
        _ => "a handler",
    };
    let blocks: Vec<i32> =
        // SAFETY: a set to read.
        (1..32).filter(|n| unsafe { libc::sigismember(&raw const action.sa_mask, *n) } == 1).collect();
    format!(
        "{handler}{}{}{}{}{}, blocks {blocks:?}",
        flag(libc::SA_RESTART, " RESTART"),
        flag(libc::SA_RESETHAND, " RESETHAND"),
        flag(libc::SA_NODEFER, " NODEFER"),
        flag(libc::SA_SIGINFO, " SIGINFO"),
        flag(libc::SA_ONSTACK, " ONSTACK"),
    )
}
