//! Rows of the matrix that differ by faults that are known, until they are mended.

/// Why the row may differ.
pub(crate) fn owed(name: &str) -> Option<&'static str> {
    if name.starts_with("bad_") {
        return Some(
            "a bad address, or as bad a number, crashes where the kernel says EFAULT or EINVAL",
        );
    }
    NAMES.contains(&name).then_some("waits where the blocking call would not, or not as long")
}

const NAMES: &[&str] = &[
    "reads_epoll",
    "reads_epoll_ready",
    "reads_eventfd_full",
    "reads_eventfd_zero",
    "reads_fifo_both_ways",
    "reads_fifo_without_writers",
    "reads_fifo_without_writers_nonblocking",
    "reads_inotify",
    "reads_inotify_with_event",
    "reads_pidfd",
    "reads_pipe_empty",
    "reads_pipe_of_packets",
    "reads_pipe_to_write_full",
    "reads_pipe_with_bytes",
    "reads_signalfd",
    "reads_tcp_empty",
    "reads_tcp_listener",
    "reads_tcp_listener_called",
    "reads_terminal",
    "reads_terminal_master",
    "reads_terminal_raw_0_0",
    "reads_terminal_raw_0_0_nonblocking",
    "reads_terminal_raw_0_1",
    "reads_terminal_raw_1_0",
    "reads_timerfd_fired",
    "reads_timerfd_unset",
    "reads_udp",
    "reads_udp_unconnected",
    "reads_unix_datagrams",
    "reads_unix_datagrams_deserted",
    "reads_unix_datagrams_full",
    "reads_unix_packets",
    "reads_unix_stream",
    "reads_unix_stream_full",
    "writes_epoll",
    "writes_epoll_ready",
    "writes_eventfd_full",
    "writes_eventfd_full_nonblocking",
    "writes_inotify",
    "writes_inotify_nonblocking",
    "writes_pidfd",
    "writes_signalfd",
    "writes_tcp_listener",
    "writes_tcp_listener_called",
    "writes_timerfd_fired",
    "writes_timerfd_unset",
    "writes_unix_datagrams_full",
    "writes_unix_stream_full",
];
