//! The standard library's tests of sockets, on goroutines. The helpers are those of
//! library/std/src/net/test.rs, Rust 1.95 (MIT OR Apache-2.0), but for the ports, which are free ones here.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

#[path = "suites.rs"]
mod at_1;
#[path = "suites.rs"]
mod at_2;

fn next_test_ip4() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn next_test_ip6() -> SocketAddr {
    SocketAddr::from((Ipv6Addr::LOCALHOST, 0))
}

/// Whether there is an IPv6 loopback; else the tests are about IPv4 only.
fn has_ipv6() -> bool {
    TcpListener::bind(next_test_ip6()).is_ok()
}

fn compare_ignore_zoneid(a: &SocketAddr, b: &SocketAddr) -> bool {
    match (a, b) {
        (SocketAddr::V6(a), SocketAddr::V6(b)) => {
            a.ip().segments() == b.ip().segments()
                && a.flowinfo() == b.flowinfo()
                && a.port() == b.port()
        }
        _ => a == b,
    }
}
