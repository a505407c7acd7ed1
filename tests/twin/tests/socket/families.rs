//! Sockets of other families: IPv6, netlink, packets, raw ones, vsock. And two kinds of end that come from outside.

#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};
use libc::{c_int, sockaddr_storage, timeval};
use std::mem::zeroed;

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        an_answer_of_netlink,
        a_full_receiver_of_netlink,
        packets_of_the_loopback,
        echoes,
        connections_of_vsock,
        messages_of_version_six,
    ];
    for (kind, socket) in KINDS {
        for call in ["recv", "read", "recvmsg"] {
            rows.push(Row::new(format!("{kind}_{call}_with_a_time_out"), move |t| {
                timed(t, kind, socket, call)
            }));
        }
        rows.push(Row::new(format!("{kind}_says"), move |t| says(t, kind, socket)));
        rows.push(Row::new(format!("{kind}_is_shut_down"), move |t| shut_down(t, kind, socket)));
    }
    rows
}

const KINDS: [(&str, [c_int; 3]); 8] = [
    ("udp6", [libc::AF_INET6, libc::SOCK_DGRAM, 0]),
    ("tcp6", [libc::AF_INET6, libc::SOCK_STREAM, 0]),
    ("netlink", [libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE]),
    ("uevents", [libc::AF_NETLINK, libc::SOCK_DGRAM, libc::NETLINK_KOBJECT_UEVENT]),
    ("packet", [libc::AF_PACKET, libc::SOCK_RAW, 0]),
    // A protocol for experiments: sockets of ICMP's are told of what others send to closed ports.
    ("raw", [libc::AF_INET, libc::SOCK_RAW, 253]),
    ("vsock", [libc::AF_VSOCK, libc::SOCK_STREAM, 0]),
    ("algorithm", [libc::AF_ALG, libc::SOCK_SEQPACKET, 0]),
];

fn open(t: &Trace, kind: &str, [domain, ty, protocol]: [c_int; 3]) -> i32 {
    let fd = unsafe { libc::socket(domain, ty, protocol) };
    if fd < 0 {
        t.skip(format!("no {kind} sockets: {}", ret(fd)));
    }
    fd
}

fn limit(fd: i32, option: c_int, micros: i64) {
    let time = timeval { tv_sec: 0, tv_usec: micros };
    let at = (&raw const time).cast();
    unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, option, at, 16) };
}

fn receive(fd: i32, call: &str) -> String {
    let mut bytes = [0u8; 64];
    let at = bytes.as_mut_ptr().cast();
    let mut list = libc::iovec { iov_base: at, iov_len: 64 };
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut list;
    header.msg_iovlen = 1;
    ret(unsafe {
        match call {
            "recv" => libc::recv(fd, at, 64, 0),
            "read" => libc::read(fd, at, 64),
            _ => libc::recvmsg(fd, &raw mut header, 0),
        }
    })
    .to_string()
}

fn timed(t: &Trace, kind: &'static str, socket: [c_int; 3], call: &'static str) {
    let fd = open(t, kind, socket);
    limit(fd, libc::SO_RCVTIMEO, 200_000);
    let got = t.timed("time", 200, || receive(fd, call));
    t.says(call, got);
    make::nonblocking(fd, true);
    t.says("not waiting", receive(fd, call));
}

fn says(t: &Trace, kind: &'static str, mut socket: [c_int; 3]) {
    if kind == "raw" {
        socket[2] = libc::IPPROTO_ICMP; // it sends, and nobody is to send with the other rows' protocol
    }
    let fd = open(t, kind, socket);
    limit(fd, libc::SO_RCVTIMEO, 1);
    limit(fd, libc::SO_SNDTIMEO, 1);
    let none: sockaddr_storage = unsafe { zeroed() };
    let at = (&raw const none).cast();
    let text = c"abc".as_ptr().cast();
    unsafe {
        t.says("send", ret(libc::send(fd, text, 3, libc::MSG_NOSIGNAL)));
        t.says("sendto", ret(libc::sendto(fd, text, 3, libc::MSG_NOSIGNAL, at, 16)));
        t.says("urgent", ret(libc::send(fd, text, 3, libc::MSG_NOSIGNAL | libc::MSG_OOB)));
        t.says("write", ret(libc::send(fd, text, 0, libc::MSG_NOSIGNAL)));
        t.says("connect", ret(libc::connect(fd, at, 16)));
        t.says("connect", ret(libc::connect(fd, at, 2)));
        t.says("accept", ret(libc::accept(fd, std::ptr::null_mut(), std::ptr::null_mut())));
        for flags in
            [libc::MSG_OOB, libc::MSG_ERRQUEUE, libc::MSG_PEEK, libc::MSG_WAITALL, libc::MSG_TRUNC]
        {
            let mut bytes = [0u8; 64];
            let got = libc::recv(fd, bytes.as_mut_ptr().cast(), 64, flags);
            t.says(&format!("recv {flags:#x}"), ret(got));
        }
        let mut one = libc::pollfd { fd, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
        t.says("poll", ret(libc::poll(&raw mut one, 1, 10)));
        t.says("events", one.revents);
    }
}

fn shut_down(t: &Trace, kind: &'static str, socket: [c_int; 3]) {
    let fd = open(t, kind, socket);
    limit(fd, libc::SO_RCVTIMEO, 600_000);
    let other = t.spawn("other", move |t| {
        ms(200);
        t.says("shutdown", ret(unsafe { libc::shutdown(fd, libc::SHUT_RDWR) }));
    });
    t.says("recv", receive(fd, "recv"));
    other.join();
    t.says("again", receive(fd, "recv"));
}

/// A request for all links: an answer in several messages.
fn an_answer_of_netlink(t: &Trace) {
    let fd = open(t, "netlink", KINDS[2].1);
    #[repr(C)]
    struct Request {
        len: u32,
        ty: u16,
        flags: u16,
        seq: u32,
        pid: u32,
        family: [u8; 16],
    }
    let request = Request { len: 32, ty: 18, flags: 0x301, seq: 1, pid: 0, family: [0; 16] };
    t.says("sent", ret(unsafe { libc::send(fd, (&raw const request).cast(), 32, 0) }));
    let mut bytes = vec![0u8; 65536];
    let mut last = 0;
    while last != 3 {
        let n = unsafe { libc::recv(fd, bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        if n < 16 {
            t.says("recv", ret(n));
            break;
        }
        last = u16::from_ne_bytes([bytes[4], bytes[5]]);
    }
    t.says("done", last);
}

/// Two netlink sockets of this process: one that does not read keeps the other waiting.
fn a_full_receiver_of_netlink(t: &Trace) {
    let [a, b] = [0, 1]
        .map(|_| open(t, "netlink", [libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_USERSOCK]));
    let mut own: libc::sockaddr_nl = unsafe { zeroed() };
    own.nl_family = libc::AF_NETLINK as u16;
    let (at, mut len) = ((&raw mut own).cast::<libc::sockaddr>(), 12u32);
    unsafe {
        libc::bind(b, at, 12);
        libc::getsockname(b, at, &raw mut len);
    }
    let bytes = [0u8; 4096];
    let send = move |flags| unsafe {
        let at = (&raw const own).cast();
        ret(libc::sendto(a, bytes.as_ptr().cast(), 4096, flags, at, 12))
    };
    let mut n = 0;
    let end = loop {
        let got = send(libc::MSG_DONTWAIT);
        if got.value < 0 {
            break got;
        }
        n += 1;
    };
    t.says("full", end);
    t.says("room", n > 1);
    let other = t.spawn("reader", move |_| {
        ms(250);
        for _ in 0..n {
            let mut bytes = [0u8; 4096];
            unsafe { libc::recv(b, bytes.as_mut_ptr().cast(), 4096, libc::MSG_DONTWAIT) };
        }
    });
    let got = t.timed("time", 250, || send(0));
    t.says("sent", got);
    other.join();
}

fn packets_of_the_loopback(t: &Trace) {
    let all = (libc::ETH_P_ALL as u16).to_be();
    let fd = open(t, "packet", [libc::AF_PACKET, libc::SOCK_RAW, all.into()]);
    let (a, _b) = make::udp();
    let other = t.spawn("other", move |_| {
        ms(200);
        unsafe { libc::send(a, c"abc".as_ptr().cast(), 3, 0) };
    });
    limit(fd, libc::SO_RCVTIMEO, 999_999);
    let mut bytes = [0u8; 99];
    let got = unsafe { libc::recv(fd, bytes.as_mut_ptr().cast(), 99, 0) };
    t.says("a packet", got > 0);
    other.join();
}

fn echoes(t: &Trace) {
    let fd = open(t, "raw", [libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP]);
    let mut to: libc::sockaddr_in = unsafe { zeroed() };
    to.sin_family = libc::AF_INET as u16;
    to.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
    let at = (&raw const to).cast();
    t.says("connect", ret(unsafe { libc::connect(fd, at, 16) }));
    let request = [8u8, 0, 0xf7, 0xff, 0, 0, 0, 0];
    t.says("sent", ret(unsafe { libc::send(fd, request.as_ptr().cast(), 8, 0) }));
    t.says("itself", receive(fd, "recv"));
    t.says("the answer", receive(fd, "recvmsg"));
}

fn connections_of_vsock(t: &Trace) {
    let l = open(t, "vsock", KINDS[6].1);
    let mut at: libc::sockaddr_vm = unsafe { zeroed() };
    at.svm_family = libc::AF_VSOCK as u16;
    at.svm_cid = libc::VMADDR_CID_LOCAL;
    at.svm_port = 40_000 + std::process::id() % 10_000;
    let len = size_of::<libc::sockaddr_vm>() as u32;
    let to = (&raw const at).cast();
    let fd = open(t, "vsock", KINDS[6].1);
    t.says("nobody", ret(unsafe { libc::connect(fd, to, len) }));
    if unsafe { libc::bind(l, to, len) } < 0 {
        t.skip("vsock has no loopback");
    }
    unsafe { libc::listen(l, 2) };
    t.says("connect", ret(unsafe { libc::connect(fd, to, len) }));
    let other = unsafe { libc::accept(l, std::ptr::null_mut(), std::ptr::null_mut()) };
    t.says("send", ret(unsafe { libc::send(other, c"abc".as_ptr().cast(), 3, 0) }));
    t.says("recv", receive(fd, "recv"));
    unsafe { libc::close(other) };
    t.says("end", receive(fd, "recv"));
}

fn messages_of_version_six(t: &Trace) {
    let make = || std::net::UdpSocket::bind("[::1]:0");
    let (Ok(a), Ok(b)) = (make(), make()) else { t.skip("no IPv6") };
    let to = b.local_addr().expect("its address");
    let other = t.spawn("other", move |t| {
        ms(200);
        t.says("sent", say::io(a.send_to(b"abc", to)));
    });
    let mut bytes = [0u8; 8];
    let got = t.timed("time", 200, || b.recv_from(&mut bytes).map(|(n, _)| n));
    t.says("received", say::io(got));
    other.join();
}
