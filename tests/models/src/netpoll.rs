//! The twin of `goroutines::netpoll`: one descriptor, and the kernel's side of it.

#[expect(dead_code, reason = "the models don't use all of it")]
pub(crate) mod desc {
    include!(concat!(env!("OUT_DIR"), "/netpoll_desc.rs"));

    impl Desc {
        pub(crate) fn new() -> Self {
            let state = State {
                waiters: [WaitList::new(), WaitList::new()],
                registered: false,
                accepting: false,
                replaced: false,
                barred: false,
                awake: 0,
                kept: Kept { number: -1, incarnation: 0, left: 0 },
                verified: 0,
                roused: 0,
            };
            Self {
                state: Lock::new(state),
                edges: std::array::from_fn(|_| AtomicU32::new(0)),
                incarnation: AtomicU32::new(0),
                kind: AtomicU8::new(0),
                touched: AtomicU8::new(1),
                odd: AtomicU8::new(0),
                hasty: AtomicU8::new(0),
                left: AtomicU8::new(0),
                drained: AtomicU32::new(0),
                plain: AtomicU32::new(0),
            }
        }

        /// Somebody has waited here before.
        pub(crate) fn registered(self) -> Self {
            assert_eq!(self.register(&mut self.state.lock(), super::FD), 0);
            self
        }

        /// As `netpoll::closing`.
        pub(crate) fn closing(&self, out: &mut RunList) {
            self.renew(super::FD, Renewal::Closing, out);
        }

        /// As `netpoll::replacing`.
        pub(crate) fn replacing(&self, out: &mut RunList) {
            self.renew(super::FD, Renewal::Replacing, out);
        }

        /// As `netpoll::replaced`.
        pub(crate) fn replaced(&self, out: &mut RunList) {
            self.renew(super::FD, Renewal::Replaced, out);
        }

        /// As `netpoll::poll`, of one event.
        pub(crate) fn happens(&self, event: super::Event, out: &mut RunList) {
            self.event((event.data >> 32) as u32, event.bits, out);
        }
    }
}

#[path = "../../../crates/goroutines/src/netpoll/kind.rs"]
pub(crate) mod kind;

pub(crate) mod own {
    //! Numbers of the runtime's own: each for the file that was under [`FD`](super::FD) when it was made.

    use super::EPOLL;

    pub(crate) fn own_number(fd: i32) -> Option<i32> {
        Some(EPOLL.duplicate(fd))
    }

    pub(crate) fn close_own(number: i32) {
        EPOLL.close(number);
    }
}

use crate::base::atomic::AtomicU32;
use loom::sync::{Condvar, Mutex};

/// For the monitor, which is not here.
pub(crate) static NEW_WAITERS: std::sync::atomic::AtomicBool =
    std::sync::atomic::AtomicBool::new(false);

/// The number of the descriptor.
pub(crate) const FD: i32 = 5;

pub(crate) struct Event {
    data: u64,
    bits: u32,
}

/// No `O_NONBLOCK`.
pub(crate) fn is_nonblocking(_fd: i32) -> bool {
    false
}

/// The kernel.
pub(crate) struct Epoll {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// What can be read, or accepted.
    ready: u32,
    registered: Option<u64>,
    /// Nothing more comes.
    ended: bool,
    /// There was an edge since, and nobody has asked.
    edge: bool,
    /// Readers that are done.
    done: u32,
    /// Another file was put under the number.
    replaced: bool,
    /// Numbers of the first file's: open ones, and the last that was given out.
    open: Vec<i32>,
    last: i32,
}

loom::lazy_static! {
    pub(crate) static ref EPOLL: Epoll = Epoll {
        state: Mutex::new(State {
            ready: 0,
            registered: None,
            ended: false,
            edge: false,
            done: 0,
            replaced: false,
            open: Vec::new(),
            last: FD,
        }),
        changed: Condvar::new(),
    };
    static ref WAITERS: AtomicU32 = AtomicU32::new(0);
    static ref WRITERS: AtomicU32 = AtomicU32::new(0);
    static ref CHANGES: AtomicU32 = AtomicU32::new(1);
}

impl State {
    fn event(&mut self) -> Option<Event> {
        let data = self.registered?;
        let end = if self.ended { libc::EPOLLRDHUP } else { 0 };
        std::mem::take(&mut self.edge).then_some(Event { data, bits: (libc::EPOLLIN | end) as u32 })
    }
}

impl Epoll {
    fn add(&self, _fd: i32, data: u64) -> isize {
        let mut state = self.state.lock().unwrap();
        state.registered = Some(data);
        state.edge = state.replaced || state.ready > 0 || state.ended;
        self.changed.notify_one();
        0
    }

    fn again(&self, fd: i32, data: u64) -> isize {
        self.add(fd, data)
    }

    fn remove(&self, _fd: i32) {
        self.state.lock().unwrap().registered = None;
    }

    /// `count` pieces of data, or connections, come: one edge.
    pub(crate) fn arrive(&self, count: u32) {
        let mut state = self.state.lock().unwrap();
        state.ready += count;
        state.edge |= state.registered.is_some();
        self.changed.notify_one();
    }

    /// Puts another file under the number: there is always something to read.
    pub(crate) fn replace(&self) {
        self.state.lock().unwrap().replaced = true;
    }

    fn duplicate(&self, fd: i32) -> i32 {
        let mut state = self.state.lock().unwrap();
        assert!(fd != FD || !state.replaced, "a number for the wrong file");
        assert!(fd == FD || state.open.contains(&fd), "a number for a file that is gone");
        state.last += 1;
        let number = state.last;
        state.open.push(number);
        number
    }

    pub(crate) fn close(&self, number: i32) {
        let mut state = self.state.lock().unwrap();
        let at = state.open.iter().position(|open| *open == number);
        assert!(at.is_some(), "closed twice");
        at.map(|at| state.open.swap_remove(at));
    }

    /// At the end: all numbers of the first file's are closed.
    pub(crate) fn check(&self) {
        assert!(self.state.lock().unwrap().open.is_empty(), "a number is left open");
    }

    /// Takes one of whatever file is under the number; false if there is none.
    pub(crate) fn take_from_any(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        let taken = state.ready > 0 && !state.replaced;
        state.ready -= u32::from(taken);
        taken || state.replaced
    }

    /// Takes one; false if there is none.
    pub(crate) fn take(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        let taken = state.ready > 0;
        state.ready -= u32::from(taken);
        taken
    }

    /// The other side has closed.
    pub(crate) fn end(&self) {
        let mut state = self.state.lock().unwrap();
        state.ended = true;
        state.edge |= state.registered.is_some();
        self.changed.notify_one();
    }

    /// Takes all there is; 0: that was the end. None if there is nothing.
    pub(crate) fn take_all(&self) -> Option<u32> {
        let mut state = self.state.lock().unwrap();
        match std::mem::take(&mut state.ready) {
            0 => state.ended.then_some(0),
            taken => Some(taken),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state.lock().unwrap().ready > 0
    }

    /// A reader is done.
    pub(crate) fn done(&self) {
        self.state.lock().unwrap().done += 1;
        self.changed.notify_one();
    }

    /// An event, if there is one now.
    pub(crate) fn look(&self) -> Option<Event> {
        self.state.lock().unwrap().event()
    }

    /// Waits for an event; none when `readers` are done.
    pub(crate) fn wait(&self, readers: u32) -> Option<Event> {
        let mut state = self.state.lock().unwrap();
        loop {
            if let Some(event) = state.event() {
                return Some(event);
            }
            if state.done == readers {
                return None;
            }
            state = self.changed.wait(state).unwrap();
        }
    }
}
