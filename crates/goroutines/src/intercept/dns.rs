//! Names of hosts: libc asks files and servers, with system calls of its own that we don't see.
//! Announced; a P that is the only one goes to other goroutines at once.

use super::real::take_over;
use crate::sched::syscall::announced_to_wait;
use libc::{addrinfo, c_char, c_int, c_void, hostent, size_t, sockaddr, socklen_t};

take_over! {
    fn getaddrinfo(
        node: *const c_char, service: *const c_char, hints: *const addrinfo, list: *mut *mut addrinfo,
    ) -> c_int = |gp, real| announced_to_wait(gp, real);

    fn getnameinfo(
        address: *const sockaddr, len: socklen_t, host: *mut c_char, host_len: socklen_t,
        service: *mut c_char, service_len: socklen_t, flags: c_int,
    ) -> c_int = |gp, real| announced_to_wait(gp, real);

    fn gethostbyname(name: *const c_char) -> *mut hostent = |gp, real| announced_to_wait(gp, real);

    fn gethostbyname2(name: *const c_char, family: c_int) -> *mut hostent =
        |gp, real| announced_to_wait(gp, real);

    fn gethostbyaddr(address: *const c_void, len: socklen_t, kind: c_int) -> *mut hostent =
        |gp, real| announced_to_wait(gp, real);

    fn gethostbyname_r(
        name: *const c_char, host: *mut hostent, buf: *mut c_char, n: size_t,
        result: *mut *mut hostent, error: *mut c_int,
    ) -> c_int = |gp, real| announced_to_wait(gp, real);

    fn gethostbyname2_r(
        name: *const c_char, family: c_int, host: *mut hostent, buf: *mut c_char, n: size_t,
        result: *mut *mut hostent, error: *mut c_int,
    ) -> c_int = |gp, real| announced_to_wait(gp, real);

    fn gethostbyaddr_r(
        address: *const c_void, len: socklen_t, kind: c_int, host: *mut hostent, buf: *mut c_char,
        n: size_t, result: *mut *mut hostent, error: *mut c_int,
    ) -> c_int = |gp, real| announced_to_wait(gp, real);
}
