//! The model: what channels are, one thing after the other.

use std::collections::VecDeque;

pub(super) type ChanId = usize;
pub(super) type PartyId = usize;

/// What an operation is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum On {
    Chan(ChanId),
    /// A clock that has one message, due already.
    Once(usize),
    /// One that always has a message.
    Tick,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) on: On,
    pub(super) sends: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One operation, and no select.
    Plain,
    /// A select, which sends a message if it chooses to send; or takes it back.
    Select { keeps: bool },
    /// One that only wants to know.
    Look,
}

/// What an operation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There was nothing that could be done, at once or in time.
    Nothing,
    /// Which one was done.
    Done(usize, Got),
    /// Which one could be done.
    Ready(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Got {
    Sent,
    NotSent,
    TakenBack,
    Received(u64),
    Tick,
    Closed,
}

/// One who does something.
#[derive(Clone, Debug)]
pub(super) struct Party {
    pub(super) kind: Kind,
    pub(super) cases: Vec<Case>,
    /// Chooses the first that is possible.
    pub(super) biased: bool,
    /// Does not wait, or not for long.
    pub(super) now: bool,
    /// The message that it sends, if it does.
    pub(super) message: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is in the queues of all its cases.
    Waits,
    /// Several of its operations are possible, and it chooses one.
    Chooses,
    /// It is to receive what another has promised it, on this case.
    Awaits(Case),
    /// It was promised room, or that its partner waits.
    Promised(Case, Option<PartyId>),
    /// It is to find this.
    Is(Case, Got),
    IsReady(Case),
    /// The same, by one who waits for the other side of it, of which it may have several.
    IsReadyBy(PartyId),
    /// It was cancelled.
    Fails,
    Nothing,
    Over,
}

#[derive(Debug, Default)]
pub(super) struct Chan {
    /// None: any number.
    pub(super) capacity: Option<usize>,
    pub(super) buffer: VecDeque<u64>,
    reserved: usize,
    pub(super) closed: bool,
    senders: VecDeque<PartyId>,
    receivers: VecDeque<PartyId>,
    send_lookers: VecDeque<PartyId>,
    recv_lookers: VecDeque<PartyId>,
    /// How many senders and receivers there are.
    pub(super) ends: [usize; 2],
}

enum Found {
    Done,
    Message(u64),
    Partner(PartyId),
    Closed,
    Nothing,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    pub(super) chans: Vec<Chan>,
    parties: Vec<Party>,
    /// Of clocks that have one message: whether it was received.
    pub(super) taken: Vec<bool>,
}

impl Party {
    pub(super) fn new(kind: Kind, cases: Vec<Case>, biased: bool, now: bool, message: u64) -> Self {
        Self { kind, cases, biased, now, message, state: State::Over }
    }

    fn failure(&self, case: Case) -> Got {
        match (case.sends, self.kind) {
            (true, Kind::Select { keeps: false }) => Got::TakenBack,
            (true, _) => Got::NotSent,
            (false, _) => Got::Closed,
        }
    }
}

impl Chan {
    pub(super) fn new(capacity: Option<usize>) -> Self {
        Self { capacity, ends: [1, 1], ..Self::default() }
    }

    pub(super) fn has_room(&self) -> bool {
        self.capacity.is_none_or(|capacity| self.buffer.len() + self.reserved < capacity)
    }

    fn queue(&mut self, sends: bool, kind: Kind) -> &mut VecDeque<PartyId> {
        match (sends, kind) {
            (true, Kind::Look) => &mut self.send_lookers,
            (false, Kind::Look) => &mut self.recv_lookers,
            (true, _) => &mut self.senders,
            (false, _) => &mut self.receivers,
        }
    }
}

fn send_case(c: ChanId) -> Case {
    Case { on: On::Chan(c), sends: true }
}

fn recv_case(c: ChanId) -> Case {
    Case { on: On::Chan(c), sends: false }
}

impl Model {
    /// Somebody begins.
    pub(super) fn begin(&mut self, party: Party) -> PartyId {
        self.parties.push(party);
        let p = self.parties.len() - 1;
        self.attempt(p);
        p
    }

    pub(super) fn describe(&self, p: PartyId) -> String {
        format!("{p}: {:?}", self.parties[p])
    }

    pub(super) fn waits(&self, p: PartyId) -> bool {
        self.parties[p].state == State::Waits
    }

    /// Those who are to end, and have not.
    pub(super) fn pending(&self) -> Vec<PartyId> {
        let is_pending =
            |p: &PartyId| !matches!(self.parties[*p].state, State::Over | State::Waits);
        (0..self.parties.len()).filter(is_pending).collect()
    }

    /// Whether anybody wants to know whether the other side of this operation is possible.
    pub(super) fn is_looked_at(&self, case: Case) -> bool {
        let On::Chan(c) = case.on else { return false };
        let lookers =
            if case.sends { &self.chans[c].recv_lookers } else { &self.chans[c].send_lookers };
        !lookers.is_empty()
    }

    pub(super) fn is_possible(&self, case: Case, kind: Kind) -> bool {
        let anybody = |queue: &VecDeque<PartyId>| queue.iter().any(|p| self.waits(*p));
        let chan = match case.on {
            On::Never => return false,
            On::Tick => return true,
            On::Once(i) => return !self.taken[i],
            On::Chan(c) => &self.chans[c],
        };
        let meets = || match (case.sends, kind) {
            (false, _) => !chan.buffer.is_empty() || anybody(&chan.senders),
            // Room has to be promised.
            (true, Kind::Select { .. }) if chan.capacity != Some(0) => false,
            (true, _) => anybody(&chan.receivers),
        };
        chan.closed || (case.sends && chan.has_room()) || meets()
    }

    /// Whether it is, and does not come to nothing because somebody takes a promise back.
    pub(super) fn is_surely_possible(&self, case: Case, kind: Kind) -> bool {
        let takes_back =
            |p: &PartyId| self.waits(*p) && self.parties[*p].kind == Kind::Select { keeps: false };
        self.is_possible(case, kind)
            && match case.on {
                On::Chan(c) if !case.sends => {
                    let chan = &self.chans[c];
                    !chan.buffer.is_empty() || !chan.senders.iter().any(takes_back)
                }
                _ => true,
            }
    }

    /// The cases of `p` that can be done now.
    fn possible(&self, p: PartyId) -> Vec<usize> {
        let Party { cases, kind, .. } = &self.parties[p];
        (0..cases.len()).filter(|i| self.is_possible(cases[*i], *kind)).collect()
    }

    fn attempt(&mut self, p: PartyId) {
        let possible = self.possible(p);
        let party = &mut self.parties[p];
        match possible[..] {
            [] if party.now => party.state = State::Nothing,
            [] => self.enlist(p),
            [first, ..] if party.biased || possible.len() == 1 => self.decide(p, first),
            _ => party.state = State::Chooses,
        }
    }

    /// Does case `i` of `p`, which is possible.
    fn decide(&mut self, p: PartyId, i: usize) {
        let party = &self.parties[p];
        let (case, kind, message) = (party.cases[i], party.kind, party.message);
        let failure = party.failure(case);
        let state = match (case.on, kind) {
            (_, Kind::Look) => State::IsReady(case),
            (On::Once(i), _) => {
                self.taken[i] = true;
                State::Is(case, Got::Tick)
            }
            (On::Tick | On::Never, _) => State::Is(case, Got::Tick),
            (On::Chan(c), _) if !case.sends => match self.recv(c) {
                Found::Message(id) => State::Is(case, Got::Received(id)),
                Found::Partner(sender) => {
                    self.parties[sender].state = State::Promised(send_case(c), Some(p));
                    State::Awaits(case)
                }
                _ => State::Is(case, Got::Closed),
            },
            (On::Chan(c), Kind::Plain) => match self.send(c, message) {
                Found::Closed => State::Is(case, Got::NotSent),
                _ => State::Is(case, Got::Sent),
            },
            (On::Chan(c), _) => match self.promise(c) {
                Found::Closed => State::Is(case, failure),
                Found::Partner(receiver) => {
                    self.parties[receiver].state = State::Awaits(recv_case(c));
                    State::Promised(case, Some(receiver))
                }
                _ => State::Promised(case, None),
            },
        };
        self.parties[p].state = state;
    }

    fn enlist(&mut self, p: PartyId) {
        self.parties[p].state = State::Waits;
        let (kind, cases) = (self.parties[p].kind, self.parties[p].cases.clone());
        for case in cases {
            let On::Chan(c) = case.on else { continue };
            self.chans[c].queue(case.sends, kind).push_back(p);
            if kind != Kind::Look {
                self.tell_lookers(c, !case.sends, State::IsReadyBy(p));
            }
        }
    }

    fn dismiss(&mut self, p: PartyId) {
        for chan in &mut self.chans {
            for sends in [false, true] {
                for kind in [Kind::Plain, Kind::Look] {
                    chan.queue(sends, kind).retain(|one| *one != p);
                }
            }
        }
    }

    fn claim(&mut self, c: ChanId, sends: bool, kind: Kind) -> Option<PartyId> {
        loop {
            let first = self.chans[c].queue(sends, kind).pop_front()?;
            if self.waits(first) {
                return Some(first);
            }
        }
    }

    fn tell_lookers(&mut self, c: ChanId, sends: bool, state: State) {
        while let Some(looker) = self.claim(c, sends, Kind::Look) {
            self.parties[looker].state = state;
        }
    }

    fn can_send(&mut self, c: ChanId) {
        self.tell_lookers(c, true, State::IsReady(send_case(c)));
    }

    fn can_recv(&mut self, c: ChanId) {
        self.tell_lookers(c, false, State::IsReady(recv_case(c)));
    }

    fn hand_over(&mut self, c: ChanId, receiver: PartyId, id: u64) {
        self.parties[receiver].state = State::Is(recv_case(c), Got::Received(id));
    }

    fn recv(&mut self, c: ChanId) -> Found {
        if let Some(id) = self.chans[c].buffer.pop_front() {
            self.let_senders_in(c);
            return Found::Message(id);
        }
        if let Some(sender) = self.claim(c, true, Kind::Plain) {
            if self.parties[sender].kind != Kind::Plain {
                return Found::Partner(sender);
            }
            self.parties[sender].state = State::Is(send_case(c), Got::Sent);
            return Found::Message(self.parties[sender].message);
        }
        if self.chans[c].closed { Found::Closed } else { Found::Nothing }
    }

    fn let_senders_in(&mut self, c: ChanId) {
        while self.chans[c].has_room() {
            let Some(sender) = self.claim(c, true, Kind::Plain) else {
                return self.can_send(c);
            };
            if self.parties[sender].kind != Kind::Plain {
                self.chans[c].reserved += 1;
                self.parties[sender].state = State::Promised(send_case(c), None);
                continue;
            }
            self.parties[sender].state = State::Is(send_case(c), Got::Sent);
            let id = self.parties[sender].message;
            match self.claim(c, false, Kind::Plain) {
                Some(receiver) => self.hand_over(c, receiver, id),
                None => self.chans[c].buffer.push_back(id),
            }
        }
    }

    fn send(&mut self, c: ChanId, id: u64) -> Found {
        if self.chans[c].closed {
            return Found::Closed;
        }
        if let Some(receiver) = self.claim(c, false, Kind::Plain) {
            self.hand_over(c, receiver, id);
            return Found::Done;
        }
        if !self.chans[c].has_room() {
            return Found::Nothing;
        }
        self.chans[c].buffer.push_back(id);
        self.can_recv(c);
        Found::Done
    }

    fn promise(&mut self, c: ChanId) -> Found {
        if self.chans[c].closed {
            return Found::Closed;
        }
        if self.chans[c].capacity == Some(0) {
            return self.claim(c, false, Kind::Plain).map_or(Found::Nothing, Found::Partner);
        }
        self.chans[c].reserved += 1;
        Found::Done
    }

    fn keep(&mut self, c: ChanId, partner: Option<PartyId>, id: u64) -> Got {
        if let Some(partner) = partner {
            self.hand_over(c, partner, id);
            return Got::Sent;
        }
        self.chans[c].reserved -= 1;
        let found = self.send(c, id);
        self.let_senders_in(c);
        if let Found::Closed = found { Got::NotSent } else { Got::Sent }
    }

    fn take_back(&mut self, c: ChanId, partner: Option<PartyId>) {
        match partner {
            Some(partner) => {
                self.dismiss(partner);
                self.attempt(partner);
            }
            None => {
                self.chans[c].reserved -= 1;
                self.let_senders_in(c);
            }
        }
    }

    /// False if it was closed.
    pub(super) fn close(&mut self, c: ChanId) -> bool {
        if std::mem::replace(&mut self.chans[c].closed, true) {
            return false;
        }
        for sends in [false, true] {
            while let Some(p) = self.claim(c, sends, Kind::Plain) {
                let case = Case { on: On::Chan(c), sends };
                self.parties[p].state = State::Is(case, self.parties[p].failure(case));
            }
        }
        self.can_recv(c);
        self.can_send(c);
        true
    }

    /// One sender, or receiver, is no more.
    pub(super) fn drop_end(&mut self, c: ChanId, sends: bool) {
        let ends = &mut self.chans[c].ends[usize::from(sends)];
        *ends -= 1;
        if *ends > 0 {
            return;
        }
        self.close(c);
        if !sends {
            self.chans[c].buffer.clear();
        }
    }

    /// The context of `p` is cancelled. It ends nobody's looking.
    pub(super) fn cancel(&mut self, p: PartyId) {
        if self.waits(p) && self.parties[p].kind != Kind::Look {
            self.parties[p].state = State::Fails;
        }
    }

    /// `p` has sent on `on`, and before that it waited: one who chooses has chosen it.
    fn is_chosen(&mut self, p: PartyId, on: On) {
        let chooses = |u: &PartyId| self.parties[*u].state == State::Chooses;
        let Some(u) = (0..self.parties.len()).find(chooses) else { return };
        let heads = |i: &usize| match self.parties[u].cases[*i] {
            Case { on: On::Chan(c), sends: false } => {
                on == On::Chan(c)
                    && self.chans[c].buffer.is_empty()
                    && self.chans[c].senders.iter().find(|s| self.waits(**s)) == Some(&p)
            }
            _ => false,
        };
        if let Some(i) = self.possible(u).into_iter().find(heads) {
            self.decide(u, i);
        }
    }

    /// `p` has ended so.
    ///
    /// # Panics
    /// If it should not have.
    pub(super) fn ended(&mut self, p: PartyId, outcome: Outcome) {
        if let (State::Waits, Outcome::Done(i, _)) = (self.parties[p].state, outcome) {
            self.is_chosen(p, self.parties[p].cases[i].on);
        }
        if let (State::Chooses, Outcome::Done(i, _) | Outcome::Ready(i)) =
            (self.parties[p].state, outcome)
        {
            assert!(self.possible(p).contains(&i), "{outcome:?} of {}", self.describe(p));
            self.decide(p, i);
        }
        self.dismiss(p);
        let is_right = self.is_right(p, outcome);
        assert!(is_right, "{outcome:?} of {}\nof {self:#?}", self.describe(p));
        self.parties[p].state = State::Over;
    }

    fn is_right(&mut self, p: PartyId, outcome: Outcome) -> bool {
        let party = &self.parties[p];
        let (kind, message) = (party.kind, party.message);
        let is_it = |i: usize, case: Case| {
            let first = party.cases.iter().position(|one| *one == case);
            if party.biased { first == Some(i) } else { party.cases.get(i) == Some(&case) }
        };
        match (party.state, outcome) {
            (State::Nothing, Outcome::Nothing) => true,
            (State::Is(case, expected), Outcome::Done(i, got)) => is_it(i, case) && got == expected,
            (State::IsReady(case), Outcome::Ready(i)) => is_it(i, case),
            (State::IsReadyBy(other), Outcome::Ready(i)) => {
                let case = party.cases[i];
                let other_side = Case { sends: !case.sends, ..case };
                is_it(i, case) && self.parties[other].cases.contains(&other_side)
            }
            (State::Fails, Outcome::Done(i, got)) => {
                (!party.biased || i == 0) && got == party.failure(party.cases[i])
            }
            (State::Promised(case, partner), Outcome::Done(i, got)) if is_it(i, case) => {
                let On::Chan(c) = case.on else { return false };
                if kind == (Kind::Select { keeps: false }) {
                    self.take_back(c, partner);
                    return got == Got::TakenBack;
                }
                self.keep(c, partner, message) == got
            }
            _ => false,
        }
    }
}
