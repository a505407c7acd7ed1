//! Models of waiting for a descriptor (`netpoll/desc.rs`), with what `intercept/wait.rs` and
//! `intercept/socket.rs` do around it, in functions named as there. Who waits for what never comes is found by
//! loom: a deadlock.

use crate::base::atomic::Weak;
use crate::base::steps::lacks;
use crate::check::{holds, starves};
use crate::g::reason::WaitReason;
use crate::g::wait::Cause;
use crate::g::wait_list::Waiting;
use crate::g::{G, current, forever};
use crate::netpoll::desc::{Accept, Desc, Direction, Enlisted, Look, TAKES};
use crate::netpoll::{EPOLL, FD};
use crate::sched::wait::{NEVER, wait, waking};
use loom::sync::Arc;
use loom::thread;

const READ: Direction = Direction::Read;

/// A descriptor, and the goroutines that read from it.
struct World {
    desc: Desc,
    gs: [G; 2],
}

/// `intercept/wait.rs`: the waits of one call.
struct Waits {
    gp: &'static G,
    desc: &'static Desc,
    woken: bool,
}

impl Waits {
    fn new(gp: &'static G, desc: &'static Desc) -> Self {
        Self { gp, desc, woken: false }
    }

    /// False: the descriptor is gone.
    fn done(&mut self, mut attempt: impl FnMut() -> bool) -> bool {
        loop {
            let early = (!lacks("looking first")).then(|| self.desc.look(READ));
            if attempt() {
                self.pass_on();
                return true;
            }
            let look = early.unwrap_or_else(|| self.desc.look(READ));
            if !self.wait_for(Some(look)) {
                return false;
            }
        }
    }

    fn pass_on(&mut self) {
        if std::mem::take(&mut self.woken) && !lacks("passing on") {
            waking(|list| self.desc.pass_on(READ, list));
        }
    }

    fn wait_for(&mut self, look: Option<Look>) -> bool {
        let ticket = self.gp.wait.begin();
        let one = Waiting::new(self.gp, ticket, 0, TAKES);
        // SAFETY: it stays here until its wait has ended.
        match unsafe { self.desc.enlist(FD, READ, look, &one) } {
            Enlisted::Yes => {}
            Enlisted::Edge => return true,
            Enlisted::Gone => return false,
            Enlisted::Refused(error) => panic!("error {error}"),
        }
        match wait(self.gp, WaitReason::Io, ticket, NEVER) {
            Cause::Ready => {
                self.woken = true;
                true
            }
            Cause::Gone | Cause::Timeout | Cause::Cancelled => false,
        }
    }
}

/// `intercept/socket.rs`: one connection.
fn accept_one(gp: &'static G, desc: &'static Desc) {
    let mut waits = Waits::new(gp, desc);
    loop {
        let look = desc.look(READ);
        match desc.begin_accept() {
            Accept::Busy => {
                waits.wait_for(None);
            }
            Accept::Begun(begun) if EPOLL.is_ready() => {
                assert!(EPOLL.take(), "accepting blocks the thread");
                waking(|list| desc.end_accept(begun, true, list));
                return;
            }
            Accept::Begun(begun) => {
                waking(|list| desc.end_accept(begun, false, list));
                waits.wait_for(Some(look));
            }
        }
    }
}

fn read_one(gp: &'static G, desc: &'static Desc) {
    assert!(Waits::new(gp, desc).done(|| EPOLL.take()), "gone");
}

/// `count` goroutines make the call `call` on a descriptor that is new to us, each once; so many pieces of data come at once, and then nothing. The
/// model's main thread is the poller.
fn calls(count: usize, call: fn(&'static G, &'static Desc)) -> impl Fn() + Send + Sync + 'static {
    calls_on(Desc::new, count, call)
}

/// The same, on a descriptor that is registered already: no edge comes with that.
fn again(count: usize, call: fn(&'static G, &'static Desc)) -> impl Fn() + Send + Sync + 'static {
    calls_on(|| Desc::new().registered(), count, call)
}

fn calls_on(
    desc: fn() -> Desc,
    count: usize,
    call: fn(&'static G, &'static Desc),
) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = Arc::new(World { desc: desc(), gs: std::array::from_fn(|_| G::new()) });
        let start = |i: usize| {
            let world = world.clone();
            thread::spawn(move || {
                let World { desc, gs } = forever(&world);
                current::set_g(&gs[i]);
                call(&gs[i], desc);
                EPOLL.done();
            })
        };
        let callers: Vec<_> = (0..count).map(start).collect();
        EPOLL.arrive(count as u32);
        while let Some(event) = EPOLL.wait(count as u32) {
            waking(|list| world.desc.happens(event, list));
        }
        for caller in callers {
            caller.join().unwrap();
        }
    }
}

/// Reads two pieces from a stream, or to its end: `Waits::received`, again and again, of more than there ever is.
fn read_stream(gp: &'static G, desc: &'static Desc, to_the_end: bool) {
    let mut waits = Waits::new(gp, desc);
    let mut taken = 0;
    while to_the_end || taken < 2 {
        let look = desc.look(READ);
        if !desc.is_drained(look) {
            match EPOLL.take_all() {
                Some(0) => return,
                Some(more) => {
                    taken += more;
                    let late = lacks("looking before a short read");
                    desc.was_drained(if late { desc.look(READ) } else { look });
                    continue;
                }
                None => {}
            }
        }
        assert!(waits.wait_for(Some(look)), "gone");
    }
}

/// Two pieces of data come, and the end, if it `ends`.
fn stream(desc: fn() -> Desc, ends: bool) -> impl Fn() + Send + Sync + 'static {
    move || {
        let world = Arc::new(World { desc: desc(), gs: std::array::from_fn(|_| G::new()) });
        let reader = {
            let world = world.clone();
            thread::spawn(move || {
                let World { desc, gs } = forever(&world);
                current::set_g(&gs[0]);
                read_stream(&gs[0], desc, ends);
                EPOLL.done();
            })
        };
        let peer = thread::spawn(move || {
            EPOLL.arrive(1);
            EPOLL.arrive(1);
            if ends {
                EPOLL.end();
            }
        });
        while let Some(event) = EPOLL.wait(1) {
            waking(|list| world.desc.happens(event, list));
        }
        reader.join().unwrap();
        peer.join().unwrap();
    }
}

/// Somebody has looked, and is about to wait, when the number is closed: nothing ever comes there again.
fn closed() {
    let world = Arc::new(World { desc: Desc::new(), gs: std::array::from_fn(|_| G::new()) });
    let look = world.desc.look(READ);
    let reader = {
        let world = world.clone();
        thread::spawn(move || {
            let World { desc, gs } = forever(&world);
            current::set_g(&gs[0]);
            assert!(!Waits::new(&gs[0], desc).wait_for(Some(look)), "nobody was told");
        })
    };
    waking(|list| world.desc.closing(list));
    reader.join().unwrap();
}

#[test]
fn desc_one_reader() {
    holds(calls(1, read_one));
}

#[test]
fn desc_one_reader_again() {
    holds(again(1, read_one));
}

#[test]
fn desc_two_readers() {
    holds(calls(2, read_one));
}

#[test]
fn desc_two_readers_again() {
    holds(again(2, read_one));
}

#[test]
fn desc_two_acceptors() {
    holds(calls(2, accept_one));
}

#[test]
fn desc_two_acceptors_again() {
    holds(again(2, accept_one));
}

#[test]
fn desc_closed() {
    holds(closed);
}

#[test]
fn desc_stream() {
    holds(stream(Desc::new, false));
}

#[test]
fn desc_stream_again() {
    holds(stream(|| Desc::new().registered(), false));
}

#[test]
fn desc_stream_to_the_end() {
    holds(stream(|| Desc::new().registered(), true));
}

#[test]
fn desc_stream_without_looking_before_a_short_read_is_refuted() {
    starves(Weak::No, "looking before a short read", stream(|| Desc::new().registered(), false));
}

#[test]
fn desc_stream_without_the_end_s_oddness_is_refuted() {
    starves(Weak::No, "the end's oddness", stream(|| Desc::new().registered(), true));
}

#[test]
fn desc_one_reader_without_the_look_is_refuted() {
    starves(Weak::No, "the look", again(1, read_one));
}

#[test]
fn desc_one_reader_without_looking_first_is_refuted() {
    starves(Weak::No, "looking first", again(1, read_one));
}

#[test]
fn desc_two_readers_with_a_flag_is_refuted() {
    starves(Weak::No, "a count", again(2, read_one));
}

#[test]
fn desc_two_readers_without_passing_on_is_refuted() {
    starves(Weak::No, "passing on", again(2, read_one));
}

#[test]
fn desc_two_acceptors_without_hand_over_is_refuted() {
    starves(Weak::No, "the hand-over", again(2, accept_one));
}

#[test]
fn desc_closed_without_incarnations_is_refuted() {
    starves(Weak::No, "incarnations", closed);
}
