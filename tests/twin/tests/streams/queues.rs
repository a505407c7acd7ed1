//! Queues and semaphores of System V and POSIX, and what waits for them.

use goroutines_twin_tests::{Row, Trace, make, ms, ret, rows, say};
use std::ffi::CString;
use std::ptr::{null, null_mut};

pub(crate) fn rows() -> Vec<Row> {
    rows![
        messages_of_system_v,
        messages_of_a_kind,
        message_queue_full,
        message_queue_removed,
        messages_bad,
        semaphores_of_system_v,
        semaphores_in_time,
        semaphores_several_at_once,
        semaphores_removed,
        semaphores_undone,
        semaphores_bad,
        posix_queue,
        posix_queue_full,
        posix_queue_in_time,
        posix_queue_nonblocking,
        posix_queue_bad,
        posix_queue_polled,
        aio_reads_and_writes,
        aio_waits,
        many_wait_for_messages
    ]
}

#[repr(C)]
struct Message {
    kind: libc::c_long,
    text: [u8; 16],
}

fn queue() -> i32 {
    let id = unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) };
    assert!(id >= 0, "a queue");
    id
}

fn send(id: i32, kind: libc::c_long, text: &[u8], flags: i32) -> say::Ret {
    let mut message = Message { kind, text: [0; 16] };
    message.text[..text.len()].copy_from_slice(text);
    ret(unsafe { libc::msgsnd(id, (&raw const message).cast(), text.len(), flags) })
}

fn receive(id: i32, kind: libc::c_long, flags: i32) -> String {
    let mut message = Message { kind: 0, text: [0; 16] };
    let n = ret(unsafe { libc::msgrcv(id, (&raw mut message).cast(), 16, kind, flags) });
    let text = &message.text[..usize::try_from(n.value).unwrap_or(0)];
    format!("{n} kind {} {}", message.kind, say::bytes(text))
}

fn remove(id: i32) -> say::Ret {
    ret(unsafe { libc::msgctl(id, libc::IPC_RMID, null_mut()) })
}

fn messages_of_system_v(t: &Trace) {
    let id = queue();
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("send", send(id, 5, b"hello", 0));
    });
    let got = t.timed("receive", 300, || receive(id, 0, 0));
    t.says("receive", got);
    t.says("at once", receive(id, 0, libc::IPC_NOWAIT));
    other.join();
    t.says("remove", remove(id));
    t.says("again", remove(id));
}

fn messages_of_a_kind(t: &Trace) {
    let id = queue();
    for kind in [3, 1, 2, 3] {
        send(id, kind, &[b'0' + kind as u8], 0);
    }
    t.says("2", receive(id, 2, 0));
    t.says("at most 2", receive(id, -2, 0));
    t.says("not 3", receive(id, 3, libc::IPC_NOWAIT | libc::MSG_EXCEPT));
    t.says("any", receive(id, 0, 0));
    t.hangs_after("of kind 9", 200, move || receive(id, 9, 0));
    t.says("any", receive(id, 0, 0));
    t.says("remove", remove(id));
    ms(50);
}

fn message_queue_full(t: &Trace) {
    let id = queue();
    let mut count = 0;
    while send(id, 1, &[b'x'; 16], libc::IPC_NOWAIT).value == 0 {
        count += 1;
    }
    t.says("took many", count > 100);
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("receive", receive(id, 0, 0));
    });
    let sent = t.timed("send", 300, || send(id, 2, &[b'y'; 16], 0));
    t.says("send", sent);
    other.join();
    t.says("remove", remove(id));
}

fn message_queue_removed(t: &Trace) {
    let id = queue();
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("remove", remove(id));
    });
    let got = t.timed("receive", 300, || receive(id, 0, 0));
    t.says("receive", got);
    other.join();
    t.says("receive", receive(id, 0, 0));
    t.says("send", send(id, 1, b"x", 0));
}

fn messages_bad(t: &Trace) {
    let id = queue();
    unsafe {
        t.says("send", ret(libc::msgsnd(id, make::bad(), 4, 0)));
        t.says("send, kind 0", send(id, 0, b"x", 0));
        t.says("send, too long", ret(libc::msgsnd(id, make::bad(), usize::MAX, 0)));
        send(id, 1, b"hello", 0);
        t.says("receive, bad", ret(libc::msgrcv(id, make::bad(), 16, 0, 0)));
        send(id, 1, b"hello", 0);
        let mut message = Message { kind: 0, text: [0; 16] };
        let at = (&raw mut message).cast();
        t.says("no room", ret(libc::msgrcv(id, at, 2, 0, 0)));
        t.says("cut", ret(libc::msgrcv(id, at, 2, 0, libc::MSG_NOERROR)));
        t.says("control", ret(libc::msgctl(id, libc::IPC_STAT, make::bad())));
        t.says("no such", ret(libc::msgget(0x7a7a_7a7a, 0)));
    }
    t.says("remove", remove(id));
}

unsafe extern "C" {
    fn semtimedop(id: i32, list: *mut libc::sembuf, n: usize, time: *const libc::timespec) -> i32;
}

fn semaphores(n: i32) -> i32 {
    let id = unsafe { libc::semget(libc::IPC_PRIVATE, n, 0o600) };
    assert!(id >= 0, "semaphores");
    id
}

fn op(number: u16, by: i16, flags: i32) -> libc::sembuf {
    libc::sembuf { sem_num: number, sem_op: by, sem_flg: flags as i16 }
}

fn change<const N: usize>(id: i32, mut list: [libc::sembuf; N]) -> say::Ret {
    ret(unsafe { libc::semop(id, list.as_mut_ptr(), N) })
}

fn in_time(id: i32, by: i16, milliseconds: i64) -> say::Ret {
    let mut list = [op(0, by, 0)];
    let time = libc::timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
    ret(unsafe { semtimedop(id, list.as_mut_ptr(), 1, &raw const time) })
}

fn end(id: i32) -> say::Ret {
    ret(unsafe { libc::semctl(id, 0, libc::IPC_RMID) })
}

fn semaphores_of_system_v(t: &Trace) {
    let id = semaphores(1);
    t.says("at once", change(id, [op(0, -1, libc::IPC_NOWAIT)]));
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("up", change(id, [op(0, 2, 0)]));
    });
    let down = t.timed("down", 300, || change(id, [op(0, -1, 0)]));
    t.says("down", down);
    other.join();
    t.says("value", ret(unsafe { libc::semctl(id, 0, libc::GETVAL) }));
    let other = t.spawn("another", move |t| {
        ms(300);
        t.says("down", change(id, [op(0, -1, 0)]));
    });
    let zero = t.timed("until zero", 300, || change(id, [op(0, 0, 0)]));
    t.says("until zero", zero);
    other.join();
    t.says("remove", end(id));
}

fn semaphores_in_time(t: &Trace) {
    let id = semaphores(1);
    let late = t.timed("too late", 300, || in_time(id, -1, 300));
    t.says("too late", late);
    let other = t.spawn("other", move |t| {
        ms(200);
        t.says("up", change(id, [op(0, 1, 0)]));
    });
    let got = t.timed("in time", 200, || in_time(id, -1, 900));
    t.says("in time", got);
    other.join();
    t.says("a bad time", in_time(id, -1, 5000));
    let mut list = [op(0, -1, 0)];
    t.says("a bad place", ret(unsafe { semtimedop(id, list.as_mut_ptr(), 1, make::bad()) }));
    t.says("remove", end(id));
}

fn semaphores_several_at_once(t: &Trace) {
    let id = semaphores(2);
    change(id, [op(0, 1, 0)]);
    let other = t.spawn("other", move |t| {
        ms(200);
        t.says("the first is untouched", ret(unsafe { libc::semctl(id, 0, libc::GETVAL) }));
        t.says("up", change(id, [op(1, 1, 0)]));
    });
    let both = t.timed("both", 200, || change(id, [op(0, -1, 0), op(1, -1, 0)]));
    t.says("both", both);
    other.join();
    t.says("remove", end(id));
}

fn semaphores_removed(t: &Trace) {
    let id = semaphores(1);
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("remove", end(id));
    });
    let down = t.timed("down", 300, || change(id, [op(0, -1, 0)]));
    t.says("down", down);
    other.join();
    t.says("again", change(id, [op(0, -1, 0)]));
}

fn semaphores_undone(t: &Trace) {
    let id = semaphores(1);
    let child = make::child(|| {
        let up = change(id, [op(0, 3, libc::SEM_UNDO)]);
        ms(100);
        i32::from(up.value != 0)
    });
    ms(50);
    t.says("child", make::end_of(child));
    t.says("value", ret(unsafe { libc::semctl(id, 0, libc::GETVAL) }));
    // What a flow that has ended has done is the process's.
    t.spawn("other", move |t| t.says("up", change(id, [op(0, 2, libc::SEM_UNDO)]))).join();
    t.says("value", ret(unsafe { libc::semctl(id, 0, libc::GETVAL) }));
    t.says("remove", end(id));
}

fn semaphores_bad(t: &Trace) {
    let id = semaphores(1);
    unsafe {
        t.says("list", ret(libc::semop(id, make::bad(), 1)));
        t.says("of none", ret(libc::semop(id, make::bad(), 0)));
        t.says("too many", ret(libc::semop(id, make::bad(), 100_000)));
        t.says("number", change(id, [op(9, 1, 0)]));
        t.says("too large", change(id, [op(0, i16::MAX, 0), op(0, 1, 0)]));
        t.says("no such", change(-1, [op(0, 1, 0)]));
    }
    t.says("remove", end(id));
}

fn posix(room: i64, flags: i32) -> (i32, CString) {
    let name = CString::new(format!("/twin-{}", std::process::id())).expect("no zero");
    unsafe {
        let mut attributes: libc::mq_attr = std::mem::zeroed();
        (attributes.mq_maxmsg, attributes.mq_msgsize) = (room, 16);
        let flags = libc::O_RDWR | libc::O_CREAT | flags;
        let queue = libc::mq_open(name.as_ptr(), flags, 0o600, &raw mut attributes);
        assert!(queue >= 0, "a queue: {}", std::io::Error::last_os_error());
        libc::mq_unlink(name.as_ptr());
        (queue, name)
    }
}

fn put(queue: i32, text: &[u8], priority: u32) -> say::Ret {
    ret(unsafe { libc::mq_send(queue, text.as_ptr().cast(), text.len(), priority) })
}

fn take(queue: i32) -> String {
    let (mut text, mut priority) = ([0u8; 16], 99);
    let n = unsafe { libc::mq_receive(queue, text.as_mut_ptr().cast(), 16, &raw mut priority) };
    let n = ret(n);
    let text = &text[..usize::try_from(n.value).unwrap_or(0)];
    format!("{n} priority {priority} {}", say::bytes(text))
}

fn at(milliseconds: i64) -> libc::timespec {
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    let nanos = time.tv_nsec + milliseconds * 1_000_000;
    libc::timespec {
        tv_sec: time.tv_sec + nanos.div_euclid(1_000_000_000),
        tv_nsec: nanos.rem_euclid(1_000_000_000),
    }
}

fn posix_queue(t: &Trace) {
    let (queue, _) = posix(4, 0);
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("send", put(queue, b"low", 1));
        t.says("send", put(queue, b"high", 9));
    });
    let got = t.timed("receive", 300, || take(queue));
    t.says("receive", got);
    other.join();
    t.says("receive", take(queue));
    t.says("close", ret(unsafe { libc::mq_close(queue) }));
    t.says("close again", ret(unsafe { libc::mq_close(queue) }));
}

fn posix_queue_full(t: &Trace) {
    let (queue, _) = posix(2, 0);
    put(queue, b"a", 0);
    put(queue, b"b", 0);
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("receive", take(queue));
    });
    let sent = t.timed("send", 300, || put(queue, b"c", 0));
    t.says("send", sent);
    other.join();
    t.says("receive", take(queue));
    t.says("receive", take(queue));
    make::close([queue]);
}

fn posix_queue_in_time(t: &Trace) {
    let (queue, _) = posix(1, 0);
    let receive = |time: libc::timespec| {
        let mut text = [0u8; 16];
        let (to, time) = (text.as_mut_ptr().cast(), &raw const time);
        ret(unsafe { libc::mq_timedreceive(queue, to, 16, null_mut(), time) })
    };
    let late = t.timed("too late", 300, || receive(at(300)));
    t.says("too late", late);
    let past = t.timed("in the past", 300, || receive(at(-300)));
    t.says("in the past", past);
    t.says("a bad time", receive(libc::timespec { tv_sec: 0, tv_nsec: -1 }));
    put(queue, b"x", 0);
    let send = |time: *const libc::timespec| {
        ret(unsafe { libc::mq_timedsend(queue, c"y".as_ptr(), 1, 0, time) })
    };
    let time = at(300);
    let late = t.timed("send, too late", 300, || send(&raw const time));
    t.says("send, too late", late);
    t.says("a bad place", send(make::bad()));
    t.says("receive", receive(at(300)));
    make::close([queue]);
}

fn posix_queue_nonblocking(t: &Trace) {
    let (queue, _) = posix(1, libc::O_NONBLOCK);
    t.says("receive", take(queue));
    t.says("send", put(queue, b"x", 0));
    t.says("send", put(queue, b"x", 0));
    let mut attributes: libc::mq_attr = unsafe { std::mem::zeroed() };
    t.says("ask", ret(unsafe { libc::mq_getattr(queue, &raw mut attributes) }));
    let (room, size, now) = (attributes.mq_maxmsg, attributes.mq_msgsize, attributes.mq_curmsgs);
    t.says("is", format!("{:#x} {room} {size} {now}", attributes.mq_flags));
    attributes.mq_flags = 0;
    t.says("set", ret(unsafe { libc::mq_setattr(queue, &raw const attributes, null_mut()) }));
    t.hangs_after("send", 200, move || put(queue, b"y", 0));
    t.says("receive", take(queue));
    ms(50);
    make::close([queue]);
}

fn posix_queue_bad(t: &Trace) {
    let (queue, name) = posix(1, 0);
    unsafe {
        t.says("send", ret(libc::mq_send(queue, make::bad(), 4, 0)));
        t.says("too long", put(queue, &[b'x'; 17], 0));
        t.says("priority", put(queue, b"x", 1 << 30));
        put(queue, b"x", 0);
        let mut text = [0u8; 16];
        t.says("no room", ret(libc::mq_receive(queue, text.as_mut_ptr().cast(), 2, null_mut())));
        t.says("receive, bad", ret(libc::mq_receive(queue, make::bad(), 16, null_mut())));
        t.says(
            "of a pipe",
            ret(libc::mq_receive(make::pipe().0, text.as_mut_ptr().cast(), 16, null_mut())),
        );
        t.says("of nothing", ret(libc::mq_receive(-1, text.as_mut_ptr().cast(), 16, null_mut())));
        t.says("open", ret(libc::mq_open(name.as_ptr(), libc::O_RDWR)));
        t.says("open, a bad name", ret(libc::mq_open(c"x".as_ptr(), libc::O_RDWR)));
        t.says("unlink", ret(libc::mq_unlink(name.as_ptr())));
        libc::_exit(0);
    }
}

fn posix_queue_polled(t: &Trace) {
    let (queue, _) = posix(1, 0);
    let mut p = libc::pollfd { fd: queue, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
    let n = unsafe { libc::poll(&raw mut p, 1, -1) };
    t.says("empty", format!("{n} {:#x}", p.revents));
    let other = t.spawn("other", move |t| {
        ms(300);
        t.says("send", put(queue, b"x", 0));
    });
    p.events = libc::POLLIN;
    let n = t.timed("poll", 300, || unsafe { libc::poll(&raw mut p, 1, -1) });
    t.says("poll", format!("{n} {:#x}", p.revents));
    other.join();
    t.says("read", ret(unsafe { libc::read(queue, [0u8; 64].as_mut_ptr().cast(), 64) }).value > 0);
    make::close([queue]);
}

fn aio(fd: i32, room: &mut [u8], offset: i64) -> libc::aiocb {
    let mut control: libc::aiocb = unsafe { std::mem::zeroed() };
    (control.aio_fildes, control.aio_offset) = (fd, offset);
    (control.aio_buf, control.aio_nbytes) = (room.as_mut_ptr().cast(), room.len());
    control.aio_sigevent.sigev_notify = libc::SIGEV_NONE;
    control
}

fn aio_reads_and_writes(t: &Trace) {
    let fd = make::file(b"0123456789");
    let mut room = *b"abc";
    let mut control = aio(fd, &mut room, 2);
    unsafe {
        t.says("write", ret(libc::aio_write(&raw mut control)));
        let list = [&raw const control];
        t.says("wait", ret(libc::aio_suspend(list.as_ptr(), 1, null())));
        t.says("error", libc::aio_error(&raw const control));
        t.says("result", ret(libc::aio_return(&raw mut control)));
        let mut bytes = [0u8; 10];
        libc::pread(fd, bytes.as_mut_ptr().cast(), 10, 0);
        t.says("file", say::bytes(&bytes));
        t.says("fsync", ret(libc::aio_fsync(libc::O_SYNC, &raw mut control)));
        t.says("wait", ret(libc::aio_suspend(list.as_ptr(), 1, null())));
    }
    make::close([fd]);
}

fn aio_waits(t: &Trace) {
    let (read, write) = make::pipe();
    let mut room = [0u8; 4];
    let mut control = aio(read, &mut room, 0);
    unsafe {
        t.says("read", ret(libc::aio_read(&raw mut control)));
        let list = [&raw const control];
        let time = libc::timespec { tv_sec: 0, tv_nsec: 200_000_000 };
        let late =
            t.timed("too late", 200, || ret(libc::aio_suspend(list.as_ptr(), 1, &raw const time)));
        t.says("too late", late);
        let other = t.spawn("other", move |t| {
            ms(300);
            t.says("write", ret(libc::write(write, c"hey".as_ptr().cast(), 3)));
        });
        let done = t.timed("done", 300, || ret(libc::aio_suspend(list.as_ptr(), 1, null())));
        t.says("done", done);
        t.says("result", ret(libc::aio_return(&raw mut control)));
        other.join();
    }
    make::close([read, write]);
}

fn many_wait_for_messages(t: &Trace) {
    let id = queue();
    let all: Vec<_> = (1..13)
        .map(|kind| {
            t.spawn(&format!("receiver {kind:02}"), move |t| {
                t.says("receive", receive(id, kind, 0))
            })
        })
        .collect();
    ms(100);
    for kind in (1..13).rev() {
        send(id, kind, &[b'a' + kind as u8], 0);
    }
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
    t.says("remove", remove(id));
}
