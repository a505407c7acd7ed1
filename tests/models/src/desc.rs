//! Models of waiting for a descriptor (`netpoll/desc.rs`), with what `intercept/wait.rs` and
//! `intercept/socket.rs` do around it, in functions named as there. Who waits for what never comes is found by
//! loom: a deadlock.

use crate::base::atomic::Weak;
use crate::base::steps::lacks;
use crate::check::{falls, holds, starves};
use crate::g::reason::WaitReason;
use crate::g::wait::Cause;
use crate::g::wait_list::Waiting;
use crate::g::{G, current, forever};
use crate::netpoll::desc::{Accept, BACK, Desc, Direction, Enlisted, Look, MOVES, TAKES};
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
    /// Bits of its waiters.
    bits: u32,
    until: u64,
    /// It counts as awake (D5), in this incarnation.
    awake: Option<u32>,
    /// It has waited in the first incarnation.
    waited: bool,
}

impl Waits {
    fn new(gp: &'static G, desc: &'static Desc) -> Self {
        let (until, awake) = (NEVER, None);
        Self { gp, desc, woken: false, bits: TAKES, until, awake, waited: false }
    }

    fn movable(gp: &'static G, desc: &'static Desc, until: u64) -> Self {
        Self { bits: TAKES | MOVES, until, ..Self::new(gp, desc) }
    }

    /// The number under which the call is to go on, if another file was put under its number.
    fn moved(&mut self, look: Look) -> Option<i32> {
        if !self.awake.is_some_and(|incarnation| look.is_after(incarnation)) {
            return None;
        }
        self.awake.take().and_then(|incarnation| self.desc.take_kept(incarnation))
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
            let awake = self.awake.take().filter(|_| !lacks("giving up its part"));
            let kept = waking(|list| self.desc.pass_on(READ, awake, list));
            kept.into_iter().for_each(|number| EPOLL.close(number));
        }
    }

    fn wait_for(&mut self, look: Option<Look>) -> bool {
        let ticket = self.gp.wait.begin();
        let is_back = look.zip(self.awake).is_some_and(|(look, awake)| !look.is_after(awake));
        let bits = if is_back { self.bits | BACK } else { self.bits };
        let one = Waiting::new(self.gp, ticket, 0, bits);
        // SAFETY: it stays here until its wait has ended.
        match unsafe { self.desc.enlist(FD, READ, look, &one) } {
            Enlisted::Yes => {
                self.awake = None;
                self.waited |= look.is_some_and(|look| !look.is_after(0));
            }
            Enlisted::Edge | Enlisted::Replaced => return true,
            Enlisted::Gone => return false,
            Enlisted::Refused(error) => panic!("error {error}"),
        }
        let cause = wait(self.gp, WaitReason::Io, ticket, self.until);
        let is_out = cause == Cause::Timeout && self.desc.delist(READ, &one);
        let is_awake = !is_out && (cause != Cause::Timeout || !lacks("counting who is late"));
        if is_awake && self.bits & MOVES != 0 {
            self.awake = look.map(Look::incarnation);
        }
        match cause {
            Cause::Ready => {
                self.woken = true;
                true
            }
            Cause::Timeout => {
                self.woken |= !is_out;
                false
            }
            Cause::Gone | Cause::Cancelled | Cause::Signal => false,
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

/// `intercept/wait.rs`, `done`: one read of a call that goes on with the file there was. If it `insists`, nothing but
/// the other file wakes it: a read that has waited for the first file does not go on with the other then.
fn read_movable(gp: &'static G, desc: &'static Desc, until: u64, insists: bool) {
    let mut waits = Waits::movable(gp, desc, until);
    loop {
        let look = desc.look(READ);
        if let Some(number) = waits.moved(look) {
            EPOLL.close(number);
            return;
        }
        if EPOLL.take_from_any() {
            assert!(!(waits.waited && insists), "it goes on with another file");
            return waits.pass_on();
        }
        if !waits.wait_for(Some(look)) {
            return waits.pass_on();
        }
    }
}

/// `count` goroutines read, maybe until their time is over, while another file is put under the number. First so many
/// pieces of data come.
fn replaced(count: usize, until: u64, pieces: u32) -> impl Fn() + Send + Sync + 'static {
    move || {
        let desc = Desc::new().registered();
        let world = Arc::new(World { desc, gs: std::array::from_fn(|_| G::new()) });
        let start = |i: usize| {
            let world = world.clone();
            thread::spawn(move || {
                let World { desc, gs } = forever(&world);
                current::set_g(&gs[i]);
                read_movable(&gs[i], desc, until, pieces == 0);
                EPOLL.done();
            })
        };
        let readers: Vec<_> = (0..count).map(start).collect();
        if pieces > 0 {
            EPOLL.arrive(pieces);
            if let Some(event) = EPOLL.look() {
                waking(|list| world.desc.happens(event, list));
            }
        }
        waking(|list| world.desc.replacing(list));
        EPOLL.replace();
        waking(|list| world.desc.replaced(list));
        // A reader that has looked before, and waits afterwards, waits for the other file.
        while let Some(event) = EPOLL.wait(count as u32) {
            waking(|list| world.desc.happens(event, list));
        }
        readers.into_iter().for_each(|reader| reader.join().unwrap());
        EPOLL.check();
    }
}

#[test]
fn desc_replaced() {
    holds(replaced(1, NEVER, 0));
}

#[test]
fn desc_replaced_for_two() {
    holds(replaced(2, NEVER, 0));
}

#[test]
fn desc_replaced_timed() {
    holds(replaced(1, 1, 0));
}

#[test]
fn desc_replaced_and_news() {
    holds(replaced(2, NEVER, 1));
}

#[test]
fn desc_replaced_without_counting_who_is_awake_is_refuted() {
    falls(Weak::No, "counting who is awake", "with another file", replaced(1, NEVER, 0));
}

#[test]
fn desc_replaced_without_being_touched_first_is_refuted() {
    starves(Weak::No, "being touched first", replaced(1, NEVER, 0));
}

#[test]
fn desc_replaced_timed_without_counting_who_is_late_is_refuted() {
    falls(Weak::No, "counting who is late", "left open", replaced(1, 1, 0));
}

#[test]
fn desc_replaced_and_news_without_being_back_is_refuted() {
    falls(Weak::No, "being back", "left open", replaced(2, NEVER, 1));
}

#[test]
fn desc_replaced_and_news_without_giving_up_its_part_is_refuted() {
    falls(Weak::No, "giving up its part", "left open", replaced(2, NEVER, 1));
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
