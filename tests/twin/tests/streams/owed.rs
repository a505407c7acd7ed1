//! Rows of the matrix that differ by faults that are known, until they are mended.

/// Why the row may differ.
pub(crate) fn owed(name: &str) -> Option<&'static str> {
    NAMES
        .contains(&name)
        .then_some("moves between pipes and sockets: waits before the kernel has refused it")
}

const NAMES: &[&str] = &[
    "reads_tcp_listener",
    "writes_tcp_listener",
    "writes_tcp_listener_called",
    "writes_unix_stream_full",
    "writes_unix_datagrams_full",
];
