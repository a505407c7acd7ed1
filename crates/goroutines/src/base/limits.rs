//! Which limit of the system it was, in the texts of errors.

use super::sys::Text;
use std::io;

/// What a text goes on with where a limit of the process's may be the reason of `error`; else
/// nothing. It does not allocate.
pub(crate) fn hint(error: &io::Error) -> Text<128> {
    let mut text = Text::new();
    match error.raw_os_error() {
        Some(libc::ENOMEM) => {
            if let Some(bytes) = addresses() {
                text.push(" (the process may have ")
                    .push_number(bytes)
                    .push(" bytes of addresses: ulimit -v)");
            }
        }
        Some(libc::EAGAIN) => {
            text.push(" (too many processes or threads: ulimit -u, or pids.max of the cgroup)");
        }
        _ => {}
    }
    text
}

/// How many bytes of addresses the process may have, if there is a limit.
fn addresses() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a limit to write.
    let found = unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } == 0;
    (found && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}
