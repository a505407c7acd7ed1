//! What comes after a part of a call: it belongs to the next one.

#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};
use libc::{c_int, iovec, mmsghdr, msghdr, sockaddr_in, timeval};
use std::mem::zeroed;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        whole_over_descriptors,
        whole_over_an_urgent_byte,
        whole_and_a_time_out,
        whole_and_credentials,
        messages_then_an_error,
        messages_that_are_there,
        messages_until_there_are_all,
        messages_sent_until_an_error,
    ];
    for (kind, make) in STREAMS {
        for call in ["send", "sendto", "sendmsg", "sendmmsg", "write", "writev"] {
            // (A TCP socket that is shut down for reading takes in what comes.)
            let ends = ["reset", "close", "own", "shutdown"];
            for end in ends.into_iter().take(if kind == "tcp" { 3 } else { 4 }) {
                let name = format!("{end}_amid_{call}_of_{kind}");
                rows.push(Row::new(name, move |t| sent(t, make(), call, end)));
            }
        }
        for call in ["recv", "recvfrom", "recvmsg"] {
            for end in ["reset", "close", "shutdown", "own"] {
                let name = format!("{end}_amid_{call}_of_all_of_{kind}");
                rows.push(Row::new(name, move |t| received(t, make(), call, end)));
            }
        }
    }
    rows
}

type Make = fn() -> (i32, i32);

const STREAMS: [(&str, Make); 2] =
    [("tcp", make::tcp), ("stream", || make::socketpair(libc::SOCK_STREAM))];

/// Ends the connection `a` has with `b`.
fn end(a: i32, b: i32, how: &str) {
    unsafe {
        match how {
            "own" => {
                libc::shutdown(a, libc::SHUT_RDWR);
            }
            "shutdown" => {
                libc::shutdown(b, libc::SHUT_RDWR);
            }
            how => {
                let linger = libc::linger { l_onoff: (how == "reset").into(), l_linger: 0 };
                let at = (&raw const linger).cast();
                libc::setsockopt(b, libc::SOL_SOCKET, libc::SO_LINGER, at, 8);
                libc::close(b);
            }
        }
    }
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

fn sent(t: &Trace, (a, b): (i32, i32), call: &'static str, how: &'static str) {
    unsafe { libc::signal(libc::SIGPIPE, count as *const () as libc::sighandler_t) };
    let n = 16 << 20;
    let bytes = vec![7u8; n];
    let at = bytes.as_ptr().cast::<libc::c_void>();
    let other = t.spawn("other", move |_| {
        ms(200);
        end(a, b, how);
    });
    let list = [n / 2, n - n / 2].map(|len| iovec { iov_base: at.cast_mut(), iov_len: len });
    let mut header: msghdr = unsafe { zeroed() };
    header.msg_iov = list.as_ptr().cast_mut();
    header.msg_iovlen = 2;
    let mut many = [mmsghdr { msg_hdr: header, msg_len: 77 }; 2];
    let one = |fd| unsafe {
        match call {
            "send" => libc::send(fd, at, n, 0),
            "sendto" => libc::sendto(fd, at, n, 0, std::ptr::null(), 0),
            "sendmsg" => libc::sendmsg(fd, &raw const header, 0),
            "write" => libc::write(fd, at, n),
            _ => libc::writev(fd, list.as_ptr(), 2),
        }
    };
    if call == "sendmmsg" {
        t.says("first", ret(unsafe { libc::sendmmsg(a, many.as_mut_ptr(), 2, 0) }));
        t.says("a part", many[0].msg_len > 0 && (many[0].msg_len as usize) < n);
        t.says("the second", many[1].msg_len);
    } else {
        let first = one(a);
        t.says("a part", first > 0 && (first as usize) < n);
    }
    other.join();
    t.says("signals", SIGNALS.load(Ordering::Relaxed));
    let again = unsafe { libc::send(a, at, 1, 0) };
    t.says("next", ret(again));
    t.says("signals", SIGNALS.load(Ordering::Relaxed));
    t.says("next", ret(unsafe { libc::send(a, at, 1, 0) }));
    t.says("signals", SIGNALS.load(Ordering::Relaxed));
}

fn received(t: &Trace, (a, b): (i32, i32), call: &'static str, how: &'static str) {
    let other = t.spawn("other", move |_| {
        for part in ["abc", "defg"] {
            ms(50);
            unsafe { libc::send(b, part.as_ptr().cast(), part.len(), 0) };
        }
        // What is not read makes an orderly end a reset, of a local socket.
        ms(150);
        end(a, b, how);
    });
    let mut bytes = [b'.'; 16];
    let list = iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: 16 };
    let mut header: msghdr = unsafe { zeroed() };
    header.msg_iov = (&raw const list).cast_mut();
    header.msg_iovlen = 1;
    let got = unsafe {
        match call {
            "recv" => ret(libc::recv(a, list.iov_base, 16, libc::MSG_WAITALL)),
            "recvfrom" => {
                let (mut name, mut len) = ([0u8; 128], 128);
                let name = name.as_mut_ptr().cast();
                let got =
                    libc::recvfrom(a, list.iov_base, 16, libc::MSG_WAITALL, name, &raw mut len);
                let got = ret(got);
                t.says("name", len);
                got
            }
            _ => ret(libc::recvmsg(a, &raw mut header, libc::MSG_WAITALL)),
        }
    };
    t.says("all", format!("{got} {}", say::bytes(&bytes)));
    other.join();
    for _ in 0..2 {
        t.says("next", ret(unsafe { libc::recv(a, list.iov_base, 16, 0) }));
    }
}

/// Sends bytes with a descriptor.
fn send_descriptor(fd: i32, bytes: &[u8]) {
    #[repr(C, align(8))]
    struct Control([u8; 24]);
    let mut control = Control([0; 24]);
    let list = iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    unsafe {
        let mut header: msghdr = zeroed();
        header.msg_iov = (&raw const list).cast_mut();
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = 24;
        let first = libc::CMSG_FIRSTHDR(&raw const header);
        (*first).cmsg_level = libc::SOL_SOCKET;
        (*first).cmsg_type = libc::SCM_RIGHTS;
        (*first).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(first).cast::<c_int>().write(0);
        libc::sendmsg(fd, &raw const header, 0);
    }
}

fn whole_over_descriptors(t: &Trace) {
    for (before, wait) in [(0, 0), (0, 100), (2, 0), (2, 100)] {
        let (a, b) = make::socketpair(libc::SOCK_STREAM);
        let other = t.spawn(&format!("other {before} {wait}"), move |_| {
            ms(wait);
            unsafe { libc::send(b, c"xy".as_ptr().cast(), before, 0) };
            ms(wait);
            send_descriptor(b, b"abc");
            ms(wait);
            unsafe { libc::send(b, c"defgh".as_ptr().cast(), 5, 0) };
        });
        if wait == 0 {
            ms(100);
        }
        let mut bytes = [b'.'; 8];
        for n in [8, 2] {
            let got =
                ret(unsafe { libc::recv(a, bytes.as_mut_ptr().cast(), n, libc::MSG_WAITALL) });
            t.says("all", format!("{got} {}", say::bytes(&bytes)));
        }
        other.join();
    }
}

fn whole_over_an_urgent_byte(t: &Trace) {
    for wait in [0, 60] {
        let (a, b) = make::tcp();
        let other = t.spawn(&format!("other {wait}"), move |_| {
            for (part, flags) in [("abc", 0), ("!", libc::MSG_OOB), ("defghijkl", 0)] {
                ms(wait);
                unsafe { libc::send(b, part.as_ptr().cast(), part.len(), flags) };
            }
        });
        if wait == 0 {
            ms(200);
        }
        for n in [8, 8] {
            let mut bytes = [b'.'; 8];
            let flags = libc::MSG_WAITALL;
            let got = ret(unsafe { libc::recv(a, bytes.as_mut_ptr().cast(), n, flags) });
            t.says("all", format!("{got} {}", say::bytes(&bytes)));
        }
        other.join();
        for flags in [libc::MSG_OOB, libc::MSG_OOB | libc::MSG_DONTWAIT, libc::MSG_OOB] {
            let mut byte = [b'.'];
            let got = ret(unsafe { libc::recv(a, byte.as_mut_ptr().cast(), 1, flags) });
            t.says("urgent", format!("{got} {}", say::bytes(&byte)));
        }
    }
}

fn whole_and_a_time_out(t: &Trace) {
    for (kind, make) in STREAMS {
        let (a, b) = make();
        let time = timeval { tv_sec: 0, tv_usec: 300_000 };
        unsafe {
            let at = (&raw const time).cast();
            libc::setsockopt(a, libc::SOL_SOCKET, libc::SO_RCVTIMEO, at, 16);
            libc::send(b, c"abc".as_ptr().cast(), 3, 0);
        }
        let mut bytes = [b'.'; 8];
        let flags = libc::MSG_WAITALL;
        for _ in 0..2 {
            let got = t.timed(kind, 300, || {
                ret(unsafe { libc::recv(a, bytes.as_mut_ptr().cast(), 8, flags) })
            });
            t.says("all", got);
        }
        make::nonblocking(a, true);
        unsafe { libc::send(b, c"abc".as_ptr().cast(), 3, 0) };
        ms(50);
        for _ in 0..2 {
            t.says(
                "not waiting",
                ret(unsafe { libc::recv(a, bytes.as_mut_ptr().cast(), 8, flags) }),
            );
        }
    }
}

fn whole_and_credentials(t: &Trace) {
    let (a, b) = make::socketpair(libc::SOCK_STREAM);
    let on: c_int = 1;
    unsafe { libc::setsockopt(a, libc::SOL_SOCKET, libc::SO_PASSCRED, (&raw const on).cast(), 4) };
    let other = t.spawn("other", move |_| {
        for part in ["abc", "def", "ghi"] {
            ms(50);
            unsafe { libc::send(b, part.as_ptr().cast(), 3, 0) };
        }
    });
    let mut bytes = [b'.'; 8];
    let got = ret(unsafe { libc::recv(a, bytes.as_mut_ptr().cast(), 8, libc::MSG_WAITALL) });
    t.says("all", format!("{got} {}", say::bytes(&bytes)));
    other.join();
}

/// Two UDP sockets: what `a` sends to `b` is refused once `b` is closed.
fn messages_then_an_error(t: &Trace) {
    let (a, b) = make::udp();
    for flags in [0, libc::MSG_WAITFORONE, libc::MSG_DONTWAIT] {
        for _ in 0..2 {
            unsafe { libc::send(b, c"abc".as_ptr().cast(), 3, 0) };
        }
        let mut byte = [0u8; 3];
        let list = iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 3 };
        let mut good: msghdr = unsafe { zeroed() };
        good.msg_iov = (&raw const list).cast_mut();
        good.msg_iovlen = 1;
        let mut wrong = good;
        wrong.msg_iov = make::bad();
        let mut many = [good, wrong, good].map(|msg_hdr| mmsghdr { msg_hdr, msg_len: 77 });
        ms(20);
        let got = unsafe { libc::recvmmsg(a, many.as_mut_ptr(), 3, flags, null_mut()) };
        t.says("recvmmsg", ret(got));
        t.says("lengths", format!("{:?}", many.map(|one| one.msg_len)));
        for _ in 0..2 {
            let got = unsafe { libc::recv(a, byte.as_mut_ptr().cast(), 3, libc::MSG_DONTWAIT) };
            t.says("next", ret(got));
        }
    }
    let late = t.spawn("late", move |_| {
        ms(150);
        unsafe {
            libc::send(b, c"abc".as_ptr().cast(), 3, 0);
            ms(100);
            libc::close(b);
            libc::send(a, c"abc".as_ptr().cast(), 3, 0);
        }
    });
    let mut byte = [0u8; 3];
    let mut list = iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 3 };
    let mut header: msghdr = unsafe { zeroed() };
    header.msg_iov = &raw mut list;
    header.msg_iovlen = 1;
    let mut many = [mmsghdr { msg_hdr: header, msg_len: 77 }; 3];
    t.says("late", ret(unsafe { libc::recvmmsg(a, many.as_mut_ptr(), 3, 0, null_mut()) }));
    t.says("lengths", format!("{:?}", many.map(|one| one.msg_len)));
    late.join();
    t.says("next", ret(unsafe { libc::recv(a, byte.as_mut_ptr().cast(), 3, libc::MSG_DONTWAIT) }));
}

fn many_of(bytes: &mut [u8]) -> Vec<(iovec, msghdr)> {
    bytes
        .chunks_mut(4)
        .map(|part| {
            let list = iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() };
            (list, unsafe { zeroed() })
        })
        .collect()
}

fn messages_that_are_there(t: &Trace) {
    let kinds: [(&str, Make); 4] = [
        ("udp", make::udp),
        ("dgram", || make::socketpair(libc::SOCK_DGRAM)),
        ("seqpacket", || make::socketpair(libc::SOCK_SEQPACKET)),
        ("tcp", make::tcp),
    ];
    for (kind, make) in kinds {
        let (a, b) = make();
        for flags in
            [libc::MSG_WAITFORONE, libc::MSG_DONTWAIT, libc::MSG_PEEK | libc::MSG_WAITFORONE]
        {
            for part in ["abcd", "efgh", "ijklm"] {
                unsafe { libc::send(b, part.as_ptr().cast(), part.len(), 0) };
            }
            ms(20);
            let mut bytes = [b'.'; 16];
            let mut parts = many_of(&mut bytes);
            let mut many: Vec<mmsghdr> = parts
                .iter_mut()
                .map(|(list, header)| {
                    header.msg_iov = &raw mut *list;
                    header.msg_iovlen = 1;
                    mmsghdr { msg_hdr: *header, msg_len: 77 }
                })
                .collect();
            let got = ret(unsafe { libc::recvmmsg(a, many.as_mut_ptr(), 4, flags, null_mut()) });
            let lens: Vec<_> =
                many.iter().map(|one| (one.msg_len, one.msg_hdr.msg_flags)).collect();
            t.says(kind, format!("{got} {lens:?} {}", say::bytes(&bytes)));
        }
    }
}

fn messages_until_there_are_all(t: &Trace) {
    let (a, b) = make::udp();
    let other = t.spawn("other", move |_| {
        for part in ["abcd", "efgh", "", "kl"] {
            ms(50);
            unsafe { libc::send(b, part.as_ptr().cast(), part.len(), 0) };
        }
    });
    let mut bytes = [b'.'; 16];
    let mut parts = many_of(&mut bytes);
    let mut many: Vec<mmsghdr> = parts
        .iter_mut()
        .map(|(list, header)| {
            header.msg_iov = &raw mut *list;
            header.msg_iovlen = 1;
            mmsghdr { msg_hdr: *header, msg_len: 77 }
        })
        .collect();
    let got = t.timed("time", 200, || {
        ret(unsafe { libc::recvmmsg(a, many.as_mut_ptr(), 4, 0, null_mut()) })
    });
    t.says("all", format!("{got} {}", say::bytes(&bytes)));
    t.says("lengths", format!("{:?}", many.iter().map(|one| one.msg_len).collect::<Vec<_>>()));
    other.join();
}

fn messages_sent_until_an_error(t: &Trace) {
    let (a, b) = make::udp();
    let to = |port: u16| sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let (good, wrong) = (to(9), sockaddr_in { sin_family: 77, ..to(9) });
    let list = iovec { iov_base: c"abc".as_ptr().cast_mut().cast(), iov_len: 3 };
    let huge = iovec { iov_base: make::bad(), iov_len: 3 };
    let message = |list: &iovec, name: Option<&sockaddr_in>| {
        let mut header: msghdr = unsafe { zeroed() };
        header.msg_iov = std::ptr::from_ref(list).cast_mut();
        header.msg_iovlen = 1;
        if let Some(name) = name {
            header.msg_name = std::ptr::from_ref(name).cast_mut().cast();
            header.msg_namelen = 16;
        }
        mmsghdr { msg_hdr: header, msg_len: 77 }
    };
    let _ = good;
    for (what, second) in
        [("family", message(&list, Some(&wrong))), ("fault", message(&huge, None))]
    {
        let mut many = [message(&list, None), second, message(&list, None)];
        t.says(what, ret(unsafe { libc::sendmmsg(a, many.as_mut_ptr(), 3, 0) }));
        t.says("lengths", format!("{:?}", many.map(|one| one.msg_len)));
        t.says("rest", ret(unsafe { libc::sendmmsg(a, many.as_mut_ptr().add(1), 2, 0) }));
    }
    let _ = b;
}
