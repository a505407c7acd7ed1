//! All suites, once at each number of processors.

use super::{compare_ignore_zoneid, has_ipv6, next_test_ip4, next_test_ip6};

mod tcp;
mod udp;
mod unix;
