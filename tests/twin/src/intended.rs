//! Where a goroutine differs from a thread on purpose.

/// A row whose answers differ, and are meant to.
pub struct Intended {
    /// The test binary and the row: `socket::recv_of_a_closed_number`.
    pub row: &'static str,
    /// Why it is so.
    pub reason: &'static str,
    /// The thread's lines, and what the goroutine says instead of each. The empty line stands for none. The
    /// row fails if the goroutine gives anything else, the thread's lines too.
    pub instead: &'static [(&'static str, &'static str)],
}

/// All of them.
pub const INTENDED: &[Intended] = &[
    Intended {
        row: "itself::on_purpose",
        reason: "to see that such a row passes",
        instead: &[("value: 1", "value: 2")],
    },
    Intended {
        row: "itself::on_purpose_no_more",
        reason: "to see that such a row fails where it does not differ",
        instead: &[("read: 1", "read: 7")],
    },
    Intended {
        row: "state::a_name_in_proc",
        reason: "the name that /proc has is the OS thread's, which runs other goroutines too; to give it to the thread \
                 would take a system call at each switch, or bind each goroutine with a name to a thread (one that is \
                 locked to its thread does give it its name)",
        instead: &[("comm: twin", "comm: goroutines-m")],
    },
    Intended {
        row: "socket::an_epoll_closed",
        reason: "a goroutine that waits for a number that is closed is told; a thread waits for what had the number, \
                 for ever where nothing else has it",
        instead: &[("epoll: 0", "epoll: -1 EBADF")],
    },
];
