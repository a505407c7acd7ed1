//! An operation, as it is done.

use super::model::{Case, ChanId, Got, Kind, On, Outcome, Party};
use goroutines::chan::cases::{Default, Recv, Send, choose};
use goroutines::chan::{
    Receiver, RecvTimeoutError, Select, SendTimeoutError, Sender, TryRecvError, TrySendError,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A message. Each is counted while it is there.
#[derive(Debug)]
pub(super) struct Message {
    id: Box<u64>,
    live: Arc<AtomicUsize>,
}

impl Message {
    pub(super) fn new(id: u64, live: &Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        Self { id: Box::new(id), live: Arc::clone(live) }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an operation is on.
#[derive(Clone, Debug)]
pub(super) enum End {
    Send(ChanId, Arc<Sender<Message>>),
    Recv(ChanId, Arc<Receiver<Message>>),
    Clock(On, Arc<Receiver<Instant>>),
    Never(Arc<Receiver<Message>>),
}

/// How long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Try,
    /// A time-out of nothing.
    Zero,
    Forever,
    /// A time-out, or a deadline, that never comes.
    Long(bool),
    Soon(Duration),
}

const LONG: Duration = Duration::from_secs(3_600);

#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) kind: Kind,
    pub(super) ends: Vec<End>,
    pub(super) biased: bool,
    pub(super) limit: Limit,
    /// With `Select`, or as `select!` does it.
    pub(super) dynamic: bool,
    /// That of the message, if one is sent.
    pub(super) id: u64,
    pub(super) live: Arc<AtomicUsize>,
}

/// One operation of a `select!`.
enum One<'a> {
    Send(Send<'a, Message>),
    Recv(Recv<'a, Message>),
    Clock(Recv<'a, Instant>),
}

impl<'a> One<'a> {
    fn new(end: &'a End) -> Self {
        match end {
            End::Send(_, sender) => Self::Send(Send::new(sender)),
            End::Recv(_, receiver) | End::Never(receiver) => Self::Recv(Recv::new(receiver)),
            End::Clock(_, receiver) => Self::Clock(Recv::new(receiver)),
        }
    }
}

impl Op {
    pub(super) fn party(&self) -> Party {
        let case = |end: &End| match end {
            End::Send(c, _) => Case { on: On::Chan(*c), sends: true },
            End::Recv(c, _) => Case { on: On::Chan(*c), sends: false },
            End::Clock(on, _) => Case { on: *on, sends: false },
            End::Never(_) => Case { on: On::Never, sends: false },
        };
        let now = !matches!(self.limit, Limit::Forever | Limit::Long(_));
        let cases = self.ends.iter().map(case).collect();
        Party::new(self.kind, cases, self.biased, now, self.id)
    }

    fn message(&self) -> Message {
        Message::new(self.id, &self.live)
    }

    pub(super) fn perform(&self) -> Outcome {
        match (self.kind, &self.ends[0]) {
            (Kind::Look, _) => self.look(),
            (Kind::Select { .. }, _) if self.dynamic => self.select(),
            (Kind::Select { keeps }, _) => self.choose(keeps),
            (Kind::Plain, End::Send(_, sender)) => self.send(sender),
            (Kind::Plain, End::Recv(_, receiver) | End::Never(receiver)) => {
                self.recv(receiver, |message| Got::Received(*message.id))
            }
            (Kind::Plain, End::Clock(_, receiver)) => self.recv(receiver, |_| Got::Tick),
        }
    }

    fn send(&self, sender: &Sender<Message>) -> Outcome {
        let message = self.message();
        let timed = |result: Result<(), SendTimeoutError<Message>>| match result {
            Ok(()) => Outcome::Done(0, Got::Sent),
            Err(SendTimeoutError::Timeout(message)) => self.back(&message, Outcome::Nothing),
            Err(SendTimeoutError::Disconnected(message)) => {
                self.back(&message, Outcome::Done(0, Got::NotSent))
            }
        };
        match self.limit {
            Limit::Try => match sender.try_send(message) {
                Ok(()) => Outcome::Done(0, Got::Sent),
                Err(TrySendError::Full(message)) => self.back(&message, Outcome::Nothing),
                Err(TrySendError::Disconnected(message)) => {
                    self.back(&message, Outcome::Done(0, Got::NotSent))
                }
            },
            Limit::Forever => timed(sender.send(message).map_err(SendTimeoutError::from)),
            Limit::Zero => timed(sender.send_timeout(message, Duration::ZERO)),
            Limit::Soon(soon) => timed(sender.send_timeout(message, soon)),
            Limit::Long(false) => timed(sender.send_timeout(message, LONG)),
            Limit::Long(true) => timed(sender.send_deadline(message, Instant::now() + LONG)),
        }
    }

    /// The message came back.
    fn back(&self, message: &Message, outcome: Outcome) -> Outcome {
        assert_eq!(*message.id, self.id, "another message came back");
        outcome
    }

    fn recv<T>(&self, receiver: &Receiver<T>, got: impl FnOnce(T) -> Got) -> Outcome {
        let timed = |result: Result<T, RecvTimeoutError>| match result {
            Ok(message) => Outcome::Done(0, got(message)),
            Err(RecvTimeoutError::Timeout) => Outcome::Nothing,
            Err(RecvTimeoutError::Disconnected) => Outcome::Done(0, Got::Closed),
        };
        match self.limit {
            Limit::Try => timed(receiver.try_recv().map_err(|e| match e {
                TryRecvError::Empty => RecvTimeoutError::Timeout,
                TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
            })),
            Limit::Forever if self.dynamic => {
                timed(receiver.iter().next().ok_or(RecvTimeoutError::Disconnected))
            }
            Limit::Forever => timed(receiver.recv().map_err(RecvTimeoutError::from)),
            Limit::Zero => timed(receiver.recv_timeout(Duration::ZERO)),
            Limit::Soon(soon) => timed(receiver.recv_timeout(soon)),
            Limit::Long(false) => timed(receiver.recv_timeout(LONG)),
            Limit::Long(true) => timed(receiver.recv_deadline(Instant::now() + LONG)),
        }
    }

    fn set(&self) -> Select<'_> {
        let mut select = if self.biased { Select::new_biased() } else { Select::new() };
        for end in &self.ends {
            match end {
                End::Send(_, sender) => select.send(sender),
                End::Recv(_, receiver) | End::Never(receiver) => select.recv(receiver),
                End::Clock(_, receiver) => select.recv(receiver),
            };
        }
        select
    }

    fn select(&self) -> Outcome {
        let mut select = self.set();
        let chosen = match self.limit {
            Limit::Try => select.try_select().ok(),
            Limit::Forever => Some(select.select()),
            Limit::Zero => select.select_timeout(Duration::ZERO).ok(),
            Limit::Soon(soon) => select.select_timeout(soon).ok(),
            Limit::Long(false) => select.select_timeout(LONG).ok(),
            Limit::Long(true) => select.select_deadline(Instant::now() + LONG).ok(),
        };
        let Some(chosen) = chosen else { return Outcome::Nothing };
        let i = chosen.index();
        let got = match &self.ends[i] {
            End::Send(_, sender) => match chosen.send(sender, self.message()) {
                Ok(()) => Got::Sent,
                Err(e) => {
                    self.back(&e.into_inner(), Outcome::Nothing);
                    Got::NotSent
                }
            },
            End::Recv(_, receiver) | End::Never(receiver) => {
                chosen.recv(receiver).map_or(Got::Closed, |message| Got::Received(*message.id))
            }
            End::Clock(_, receiver) => chosen.recv(receiver).map_or(Got::Closed, |_| Got::Tick),
        };
        Outcome::Done(i, got)
    }

    fn look(&self) -> Outcome {
        let mut select = self.set();
        let ready = match self.limit {
            Limit::Try => select.try_ready().ok(),
            Limit::Forever => Some(select.ready()),
            Limit::Zero => select.ready_timeout(Duration::ZERO).ok(),
            Limit::Soon(soon) => select.ready_timeout(soon).ok(),
            Limit::Long(false) => select.ready_timeout(LONG).ok(),
            Limit::Long(true) => select.ready_deadline(Instant::now() + LONG).ok(),
        };
        ready.map_or(Outcome::Nothing, Outcome::Ready)
    }

    /// As `select!` does it.
    fn choose(&self, keeps: bool) -> Outcome {
        let default = match self.limit {
            Limit::Try => Default::Now,
            Limit::Forever => Default::None,
            Limit::Zero => Default::After(Duration::ZERO),
            Limit::Soon(soon) => Default::After(soon),
            Limit::Long(_) => Default::After(LONG),
        };
        let mut all: Vec<_> = self.ends.iter().map(One::new).collect();
        let cases: Vec<_> = all
            .iter_mut()
            .map(|one| match one {
                One::Send(send) => send.case(),
                One::Recv(recv) => recv.case(),
                One::Clock(recv) => recv.case(),
            })
            .collect();
        let Some(i) = choose(&cases, default, self.biased) else { return Outcome::Nothing };
        let got = match &mut all[i] {
            One::Send(send) if keeps => match send.room().send(self.message()) {
                Ok(()) => Got::Sent,
                Err(e) => {
                    self.back(&e.into_inner(), Outcome::Nothing);
                    Got::NotSent
                }
            },
            One::Send(send) => {
                drop(send.room());
                Got::TakenBack
            }
            One::Recv(recv) => {
                recv.result().map_or(Got::Closed, |message| Got::Received(*message.id))
            }
            One::Clock(recv) => recv.result().map_or(Got::Closed, |_| Got::Tick),
        };
        Outcome::Done(i, got)
    }
}
