//! Channels, timers' channels, and selects.

use crate::{End, Row, VERY_LONG, Wait, check, closed};
use goroutines::chan::{
    self, Receiver, RecvTimeoutError, Select, SendTimeoutError, Sender, bounded, unbounded,
};
use goroutines::context::Context;
use goroutines::time::{Ticker, Timer};
use goroutines::{select, select_biased};
use std::time::Instant;

const FAR: fn() -> Instant = || Instant::now() + VERY_LONG;

/// A wait to receive from a channel that has a sender.
fn receiving(
    capacity: usize,
    mut wait: impl FnMut(&Receiver<u32>) -> End + Send + 'static,
) -> Wait {
    let (send, receive) = bounded::<u32>(capacity);
    Box::new(move || {
        let end = wait(&receive);
        assert!(send.is_empty());
        end
    })
}

/// A wait to send 7 to a channel that is full, and has a receiver.
fn sending(capacity: usize, mut wait: impl FnMut(&Sender<u32>) -> End + Send + 'static) -> Wait {
    let (send, receive) = bounded::<u32>(capacity);
    (0..capacity).for_each(|_| send.send(1).unwrap());
    Box::new(move || {
        let end = wait(&send);
        // What failed has not come.
        assert_eq!(receive.try_iter().collect::<Vec<_>>(), vec![1; capacity]);
        (0..capacity).for_each(|_| send.try_send(1).unwrap());
        end
    })
}

#[test]
fn receipts_are_ended() {
    check(&[
        ("recv, capacity 0", || receiving(0, |r| closed(r.recv()))),
        ("recv, capacity 1", || receiving(1, |r| closed(r.recv()))),
        ("recv, unbounded", || {
            let (send, receive) = unbounded::<u32>();
            Box::new(move || {
                assert!(send.is_empty());
                closed(receive.recv())
            })
        }),
        ("recv_timeout, capacity 0", || receiving(0, recv_timeout)),
        ("recv_timeout, capacity 1", || receiving(1, recv_timeout)),
        ("recv_deadline", || receiving(1, |r| closed(r.recv_deadline(FAR())))),
        ("iter, capacity 0", || receiving(0, |r| closed(r.iter().next().ok_or(())))),
        ("iter, capacity 1", || receiving(1, |r| closed(r.iter().next().ok_or(())))),
        ("into_iter", || receiving(1, |r| closed(r.clone().into_iter().next().ok_or(())))),
        ("done of a context", || {
            let (context, cancel) = Context::background().with_cancel();
            Box::new(move || {
                let end = closed(context.done().recv());
                assert!(context.err().is_none(), "{cancel:?}");
                end
            })
        }),
    ]);
}

/// As on a disconnected channel, and not as after the time.
fn recv_timeout(receive: &Receiver<u32>) -> End {
    assert_eq!(receive.recv_timeout(VERY_LONG), Err(RecvTimeoutError::Disconnected));
    End::Closed
}

/// The message is given back.
fn send(to: &Sender<u32>) -> End {
    assert_eq!(to.send(7).unwrap_err().into_inner(), 7);
    End::Closed
}

fn send_timeout(to: &Sender<u32>) -> End {
    assert_eq!(to.send_timeout(7, VERY_LONG), Err(SendTimeoutError::Disconnected(7)));
    End::Closed
}

#[test]
fn sends_are_ended() {
    check(&[
        ("send, capacity 0", || sending(0, send)),
        ("send, capacity 1", || sending(1, send)),
        ("send, capacity 100", || sending(100, send)),
        ("send_timeout, capacity 0", || sending(0, send_timeout)),
        ("send_timeout, capacity 1", || sending(1, send_timeout)),
        ("send_deadline", || sending(1, |s| closed(s.send_deadline(7, FAR())))),
    ]);
}

/// Timers' channels, and that of what never comes.
#[test]
fn timers_are_ended() {
    check(&[
        ("recv of after", || Box::new(|| closed(chan::after(VERY_LONG).recv()))),
        ("recv of at", || Box::new(|| closed(chan::at(FAR()).recv()))),
        ("recv_timeout of after", || {
            Box::new(|| closed(chan::after(VERY_LONG).recv_timeout(VERY_LONG)))
        }),
        ("recv of tick", || Box::new(|| closed(chan::tick(VERY_LONG).recv()))),
        ("iter of tick", || Box::new(|| closed(chan::tick(VERY_LONG).iter().next().ok_or(())))),
        ("recv of never", || Box::new(|| closed(chan::never::<()>().recv()))),
        ("done of the background", || Box::new(|| closed(Context::background().done().recv()))),
        ("recv of a Timer's", || Box::new(|| closed(Timer::new(VERY_LONG).channel().recv()))),
        ("recv of a Ticker's", || Box::new(|| closed(Ticker::new(VERY_LONG).channel().recv()))),
        ("select of after and tick", || {
            Box::new(|| {
                select! {
                    recv(chan::after(VERY_LONG)) -> at => closed(at),
                    recv(chan::tick(VERY_LONG)) -> at => closed(at),
                    recv(chan::never::<()>()) -> message => closed(message),
                }
            })
        }),
    ]);
}

/// One of the operations fails. What a send was to send is evaluated, and given back.
#[test]
fn selects_are_ended() {
    check(&[
        ("select of two receipts", || {
            let ((_s, one), (_t, two)) = (bounded::<u32>(0), bounded::<u32>(1));
            let kept = (_s, _t);
            Box::new(move || {
                let _ = &kept;
                select! {
                    recv(one) -> message => closed(message),
                    recv(two) -> message => closed(message),
                }
            })
        }),
        ("select of a send and a receipt", || {
            let (full, kept) = bounded::<u32>(0);
            let (other, receive) = bounded::<u32>(1);
            Box::new(move || {
                let end = select! {
                    send(full, 7) -> sent => send_failed(sent),
                    recv(receive) -> message => closed(message),
                };
                assert!(kept.is_empty() && other.is_empty());
                end
            })
        }),
        ("select of sends to one channel", || {
            sending(1, |full| {
                select! {
                    send(full, 7) -> sent => send_failed(sent),
                    send(full, 7) -> sent => send_failed(sent),
                }
            })
        }),
        ("select with a time-out", || {
            receiving(1, |receive| {
                select! {
                    recv(receive) -> message => closed(message),
                    default(VERY_LONG) => panic!("it was not an hour"),
                }
            })
        }),
        ("select_biased", || {
            receiving(1, |receive| {
                select_biased! {
                    recv(receive) -> message => closed(message),
                    recv(chan::after(VERY_LONG)) -> _ => panic!("it is the first that fails"),
                }
            })
        }),
    ]);
}

fn send_failed(sent: Result<(), chan::SendError<u32>>) -> End {
    assert_eq!(sent.unwrap_err().into_inner(), 7);
    End::Closed
}

/// A set of two: a receipt, number 0, and a send, number 1.
fn set(f: impl Fn(&mut Select<'_>, &Receiver<u32>, &Sender<u32>) -> End + Send + 'static) -> Wait {
    let (sender, receive) = bounded::<u32>(1);
    let (full, receiver) = bounded::<u32>(0);
    Box::new(move || {
        let mut select = Select::new();
        select.recv(&receive);
        select.send(&full);
        let end = f(&mut select, &receive, &full);
        assert!(sender.is_empty() && receiver.is_empty());
        end
    })
}

fn complete(
    chosen: chan::SelectedOperation<'_>,
    receive: &Receiver<u32>,
    full: &Sender<u32>,
) -> End {
    match chosen.index() {
        0 => closed(chosen.recv(receive)),
        _ => send_failed(chosen.send(full, 7)),
    }
}

const DYNAMIC: [Row; 4] = [
    ("Select::select", || set(|select, receive, full| complete(select.select(), receive, full))),
    ("Select::select_timeout", || {
        set(|select, receive, full| {
            complete(select.select_timeout(VERY_LONG).unwrap(), receive, full)
        })
    }),
    ("Select::select_deadline", || {
        set(|select, receive, full| complete(select.select_deadline(FAR()).unwrap(), receive, full))
    }),
    ("Select::select of one", || {
        receiving(0, |receive| {
            let mut select = Select::new_biased();
            select.recv(receive);
            closed(select.select().recv(receive))
        })
    }),
];

#[test]
fn dynamic_selects_are_ended() {
    check(&DYNAMIC);
}
