//! Does operations on channels and on the model.

use super::Bytes;
use super::model::{Case, Chan, ChanId, Got, Kind, Model, On, Outcome, PartyId};
use super::op::{End, Limit, Message, Op};
use goroutines::chan::{self, Receiver, Sender};
use goroutines::context::{Cancel, Context};
use goroutines::{JoinHandle, go, runtime};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const CHANS: usize = 5;
const HELPERS: usize = 10;
const STEPS: usize = 1_000;
/// More than it takes until all are done that can be.
const ROUNDS: usize = 100_000;

/// The ends of a channel that the driver has.
#[derive(Default)]
struct Slot {
    senders: Vec<Arc<Sender<Message>>>,
    receivers: Vec<Arc<Receiver<Message>>>,
}

/// A goroutine that does an operation.
struct Helper {
    p: PartyId,
    /// So that the driver has all ends there are.
    op: Op,
    cancel: Option<Cancel>,
    goroutine: JoinHandle<()>,
}

struct Done {
    p: PartyId,
    outcome: Outcome,
    op: Op,
}

pub(super) struct Driver<'b> {
    bytes: Bytes<'b>,
    model: Model,
    slots: Vec<Slot>,
    clocks: Vec<End>,
    helpers: Vec<Helper>,
    done: Arc<Mutex<Vec<Done>>>,
    live: Arc<AtomicUsize>,
    last_id: u64,
    says: bool,
}

impl<'b> Driver<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self {
            bytes: Bytes { bytes, at: 0 },
            model: Model::default(),
            slots: Vec::new(),
            clocks: Vec::new(),
            helpers: Vec::new(),
            done: Arc::default(),
            live: Arc::default(),
            last_id: 0,
            says: std::env::var_os("CHAN_MODEL_SAYS").is_some(),
        }
    }

    pub(super) fn run(mut self) {
        for _ in 0..STEPS {
            if self.bytes.is_over() {
                break;
            }
            self.step();
            if !self.bytes.rarely(3) {
                self.settle();
            }
            self.check();
        }
        self.finish();
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.says {
            eprintln!("{}", what());
        }
    }

    fn step(&mut self) {
        match self.bytes.below(20) {
            0 | 1 => self.make(),
            2 => self.fill(),
            3 => self.close(),
            4 | 5 => self.copy_end(),
            6 | 7 => self.drop_end(),
            8 => self.cancel(),
            9 => self.time_out(),
            10..14 => self.at_once(),
            14 => self.surely(),
            _ => self.help(),
        }
    }

    /// A new channel.
    fn make(&mut self) {
        if self.slots.len() == CHANS {
            return;
        }
        let capacity = [Some(0), Some(1), Some(2), Some(3), None][self.bytes.below(5)];
        let (sender, receiver) = match capacity {
            Some(capacity) => chan::bounded(capacity),
            None => chan::unbounded(),
        };
        self.say(|| format!("channel {} of {capacity:?}", self.slots.len()));
        let (senders, receivers) = (vec![Arc::new(sender)], vec![Arc::new(receiver)]);
        self.slots.push(Slot { senders, receivers });
        self.model.chans.push(Chan::new(capacity));
    }

    fn pick(&mut self) -> Option<ChanId> {
        (!self.slots.is_empty()).then(|| self.bytes.below(self.slots.len()))
    }

    fn pick_sender(&mut self, c: ChanId) -> Option<Arc<Sender<Message>>> {
        let i = self.bytes.next();
        let all = &self.slots[c].senders;
        (!all.is_empty()).then(|| Arc::clone(&all[i % all.len()]))
    }

    fn pick_receiver(&mut self, c: ChanId) -> Option<Arc<Receiver<Message>>> {
        let i = self.bytes.next();
        let all = &self.slots[c].receivers;
        (!all.is_empty()).then(|| Arc::clone(&all[i % all.len()]))
    }

    fn pick_end(&mut self) -> Option<End> {
        match self.bytes.below(16) {
            0 => Some(self.clock()),
            1 => Some(End::Never(Arc::new(chan::never()))),
            n => {
                let c = self.pick()?;
                if n % 2 == 0 {
                    self.pick_sender(c).map(|sender| End::Send(c, sender))
                } else {
                    self.pick_receiver(c).map(|receiver| End::Recv(c, receiver))
                }
            }
        }
    }

    fn clock(&mut self) -> End {
        match self.bytes.below(3) {
            0 => End::Clock(On::Tick, Arc::new(chan::tick(Duration::ZERO))),
            1 => {
                self.model.taken.push(false);
                let on = On::Once(self.model.taken.len() - 1);
                let end = End::Clock(on, Arc::new(chan::after(Duration::ZERO)));
                self.clocks.push(end.clone());
                end
            }
            _ => match self.clocks.last() {
                Some(end) => end.clone(),
                None => End::Clock(On::Tick, Arc::new(chan::tick(Duration::ZERO))),
            },
        }
    }

    /// An operation of whatever kind.
    fn op(&mut self, limit: Limit) -> Option<Op> {
        let kind = match self.bytes.below(8) {
            0..4 => Kind::Plain,
            4 => Kind::Look,
            5 => Kind::Select { keeps: false },
            _ => Kind::Select { keeps: true },
        };
        let count = if kind == Kind::Plain { 1 } else { 1 + self.bytes.below(4) };
        let ends: Vec<End> = (0..count).filter_map(|_| self.pick_end()).collect();
        let dynamic = self.bytes.rarely(2) && kind != (Kind::Select { keeps: false });
        let biased = kind == Kind::Plain || self.bytes.rarely(2);
        self.last_id += 1;
        let live = Arc::clone(&self.live);
        let op = Op { kind, ends, biased, limit, dynamic, id: self.last_id, live };
        (!op.ends.is_empty()).then_some(op)
    }

    /// An operation that does not wait.
    fn at_once(&mut self) {
        let limit = if self.bytes.rarely(2) { Limit::Zero } else { Limit::Try };
        if let Some(op) = self.op(limit) {
            self.perform(op);
        }
    }

    /// One that may, but has no need to.
    fn surely(&mut self) {
        let limit = self.long();
        let Some(op) = self.op(limit) else { return };
        self.settle();
        let party = op.party();
        let is_possible = |case: &&Case| self.model.is_possible(**case, party.kind);
        let is_sure = |case: &Case| self.model.is_surely_possible(*case, party.kind);
        let mut possible = party.cases.iter().filter(is_possible).peekable();
        if possible.peek().is_some() && possible.all(is_sure) {
            self.perform(op);
        } else {
            self.release(op);
        }
    }

    fn long(&mut self) -> Limit {
        match self.bytes.below(4) {
            0 => Limit::Long(false),
            1 => Limit::Long(true),
            _ => Limit::Forever,
        }
    }

    /// By the driver itself.
    fn perform(&mut self, op: Op) {
        if op.kind == Kind::Look || !op.biased {
            // What it finds, and what it is that it chooses, depends on who has been where.
            self.settle();
        }
        self.say(|| format!("at once: {op:?}"));
        let p = self.model.begin(op.party());
        let outcome = op.perform();
        self.say(|| format!("... {outcome:?}"));
        let others = self.see_done();
        self.model.ended(p, outcome);
        self.release(op);
        self.release_all(others);
        if matches!(outcome, Outcome::Done(_, Got::TakenBack)) {
            // Who was promised something begins anew.
            self.settle();
        }
    }

    /// By a goroutine of its own.
    fn help(&mut self) {
        let limit = self.long();
        let Some(op) = self.op(limit) else { return };
        // What would wait for ever is of no use.
        if op.ends.iter().any(|end| matches!(end, End::Send(..) | End::Recv(..))) {
            self.start(op);
        }
    }

    fn start(&mut self, op: Op) {
        self.settle();
        if self.helpers.len() == HELPERS {
            return self.release(op);
        }
        let p = self.model.begin(op.party());
        self.say(|| format!("goroutine {p}: {op:?}"));
        let (done, is_running) = (Arc::clone(&self.done), Arc::new(AtomicBool::new(false)));
        let (runs, its) = (Arc::clone(&is_running), op.clone());
        let body = move || {
            runs.store(true, Ordering::Relaxed);
            let outcome = its.perform();
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push(Done { p, outcome, op: its });
        };
        let (goroutine, cancel) = if self.bytes.rarely(2) {
            let (context, cancel) = Context::background().with_cancel();
            (context.go(body), Some(cancel))
        } else {
            (go(body), None)
        };
        self.helpers.push(Helper { p, op, cancel, goroutine });
        while !is_running.load(Ordering::Relaxed) {
            runtime::gosched();
        }
        self.settle();
    }

    /// By a goroutine, for whose operation the time is over before anything else happens.
    fn time_out(&mut self) {
        let Some(op) = self.op(Limit::Soon(Duration::from_micros(20))) else { return };
        self.settle();
        // Where the machine is slow it does not even begin to wait, and tells nobody. And where somebody takes a
        // promise back, his end may be the last.
        let party = op.party();
        let is_unclear = |case: &Case| {
            self.model.is_looked_at(*case)
                || self.model.is_possible(*case, party.kind)
                    && !self.model.is_surely_possible(*case, party.kind)
        };
        if party.cases.iter().any(is_unclear) {
            self.release(op);
        } else {
            self.start(op);
        }
    }

    /// Many messages for a channel that has room for them.
    fn fill(&mut self) {
        let Some(c) = self.pick() else { return };
        let Some(sender) = self.pick_sender(c) else { return };
        let most = if self.model.chans[c].capacity.is_some() { 4 } else { 80 };
        for _ in 0..self.bytes.below(most) {
            self.last_id += 1;
            self.perform(Op {
                kind: Kind::Plain,
                ends: vec![End::Send(c, Arc::clone(&sender))],
                biased: true,
                limit: Limit::Try,
                dynamic: false,
                id: self.last_id,
                live: Arc::clone(&self.live),
            });
        }
        self.release_end(End::Send(c, sender));
    }

    fn close(&mut self) {
        let Some(c) = self.pick() else { return };
        // A rare thing, as nothing happens on a channel afterwards.
        if self.bytes.rarely(3)
            && let Some(sender) = self.pick_sender(c)
        {
            self.say(|| format!("close {c}"));
            assert_eq!(sender.close(), self.model.close(c), "closed before");
            self.release_end(End::Send(c, sender));
        }
    }

    fn copy_end(&mut self) {
        let Some(c) = self.pick() else { return };
        let slot = &mut self.slots[c];
        self.model.chans[c].ends[0] += slot.receivers.len().min(1);
        self.model.chans[c].ends[1] += slot.senders.len().min(1);
        slot.senders.extend(slot.senders.first().map(|one| Arc::new(Sender::clone(one))));
        slot.receivers.extend(slot.receivers.first().map(|one| Arc::new(Receiver::clone(one))));
    }

    fn drop_end(&mut self) {
        let Some(c) = self.pick() else { return };
        let slot = &mut self.slots[c];
        let end = if self.bytes.rarely(2) {
            slot.senders.pop().map(|sender| End::Send(c, sender))
        } else {
            slot.receivers.pop().map(|receiver| End::Recv(c, receiver))
        };
        if let Some(end) = end {
            self.say(|| format!("drop {end:?}"));
            self.release_end(end);
        }
    }

    fn cancel(&mut self) {
        let i = self.bytes.next();
        let all: Vec<_> = self.helpers.iter().filter(|helper| helper.cancel.is_some()).collect();
        if all.is_empty() {
            return;
        }
        let helper = all[i % all.len()];
        self.say(|| format!("cancel {}", helper.p));
        if let Some(cancel) = &helper.cancel {
            cancel.cancel();
        }
        let p = helper.p;
        self.model.cancel(p);
    }

    fn release(&mut self, op: Op) {
        op.ends.into_iter().for_each(|end| self.release_end(end));
    }

    /// If nobody else has it, that was one sender, or receiver.
    fn release_end(&mut self, end: End) {
        match end {
            End::Send(c, sender) => {
                if let Some(sender) = Arc::into_inner(sender) {
                    drop(sender);
                    self.model.drop_end(c, true);
                }
            }
            End::Recv(c, receiver) => {
                if let Some(receiver) = Arc::into_inner(receiver) {
                    drop(receiver);
                    self.model.drop_end(c, false);
                }
            }
            End::Clock(..) | End::Never(_) => {}
        }
    }

    /// Looks who is done. They are to be released, when the model has been told all that has happened.
    fn see_done(&mut self) -> Vec<Done> {
        let done = std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner));
        for Done { p, outcome, .. } in &done {
            self.say(|| format!("{p} is done: {outcome:?}"));
            self.model.ended(*p, *outcome);
        }
        done
    }

    fn release_all(&mut self, done: Vec<Done>) {
        for Done { p, op, .. } in done {
            self.release(op);
            if let Some(i) = self.helpers.iter().position(|helper| helper.p == p) {
                let helper = self.helpers.swap_remove(i);
                self.release(helper.op);
            }
        }
    }

    /// Lets all others run until there is nothing more that they can do.
    fn settle(&mut self) {
        let mut quiet = 0;
        for round in 0..ROUNDS {
            let done = self.see_done();
            self.release_all(done);
            if !self.model.pending().is_empty() {
                quiet = 0;
            } else if quiet == 3 {
                return;
            } else {
                quiet += 1;
            }
            if round % 64 == 63 {
                goroutines::thread::sleep(Duration::from_micros(20));
            }
            runtime::gosched();
        }
        for helper in std::mem::take(&mut self.helpers) {
            if helper.goroutine.is_finished()
                && let Err(panic) = helper.goroutine.join()
            {
                std::panic::resume_unwind(panic);
            }
        }
        let pending = self.model.pending();
        let pending: Vec<_> = pending.into_iter().map(|p| self.model.describe(p)).collect();
        panic!("not done: {pending:#?}\nof {:#?}", self.model);
    }

    /// What can be asked of a channel.
    fn check(&self) {
        for (c, (slot, chan)) in self.slots.iter().zip(&self.model.chans).enumerate() {
            let len = chan.buffer.len();
            let expected = (len, len == 0, !chan.has_room(), chan.capacity);
            for one in &slot.senders {
                let is = (one.len(), one.is_empty(), one.is_full(), one.capacity());
                assert_eq!(is, expected, "channel {c}");
            }
            for one in &slot.receivers {
                let is = (one.len(), one.is_empty(), one.is_full(), one.capacity());
                assert_eq!(is, expected, "channel {c}");
            }
        }
    }

    /// Closes all channels, so that nobody waits, and drops everything.
    fn finish(mut self) {
        self.settle();
        self.check();
        let ends = self.helpers.iter().flat_map(|helper| &helper.op.ends);
        let senders = ends.filter_map(|end| match end {
            End::Send(c, sender) => Some((*c, Arc::clone(sender))),
            _ => None,
        });
        let of_slot = |(c, slot): (ChanId, &Slot)| slot.senders.first().map(|one| (c, one.clone()));
        let senders: Vec<_> =
            senders.chain(self.slots.iter().enumerate().filter_map(of_slot)).collect();
        for (c, sender) in senders {
            assert_eq!(sender.close(), self.model.close(c), "closed before");
            self.release_end(End::Send(c, sender));
        }
        self.settle();
        assert!(self.helpers.is_empty(), "somebody waits for a closed channel: {:#?}", self.model);
        for (c, slot) in std::mem::take(&mut self.slots).into_iter().enumerate() {
            slot.senders.into_iter().for_each(|one| self.release_end(End::Send(c, one)));
            slot.receivers.into_iter().for_each(|one| self.release_end(End::Recv(c, one)));
            assert_eq!(self.model.chans[c].ends, [0, 0], "an end of channel {c} is somewhere");
        }
        assert_eq!(self.live.load(Ordering::Relaxed), 0, "messages were leaked");
    }
}
