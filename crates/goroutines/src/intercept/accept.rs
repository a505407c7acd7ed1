//! Accepting: `accept` has no flag that says "don't block".
//!
//! So of the goroutines that accept from one descriptor number, one at a time asks `poll` whether
//! there is a connection, and takes it; the others wait
//! ([`crate::netpoll::desc::Desc::begin_accept`]). As a listener may have several numbers (`dup`),
//! a goroutine that is about to take a connection has the listener's [`Turn`], too.
//!
//! Where another process, or an ordinary thread, is faster, the call, which is announced, blocks
//! its thread until the next connection. Turns of different listeners are told apart exactly, so no
//! goroutine of another listener waits for that. A context does not end a call that is stuck in
//! this way.

use super::fd;
use super::io::block;
use super::real::result;
use super::socket::word;
use super::wait::{Stopped, Waits, ready_now, socket_option};
use crate::base::lock::Lock;
use crate::base::sys::file_of;
use crate::g::reason::WaitReason;
use crate::g::{G, current};
use crate::netpoll::{self, Accept, Direction, Kind};
use crate::sched::ambient;
use crate::sched::wait::{after, wait, waking};
use goroutines_switch::sys::raw;
use libc::{c_int, sockaddr, socklen_t};
use std::time::Duration;

/// What tells a listener from all others, whatever its descriptor number is.
type Listener = (libc::dev_t, libc::ino_t);

/// How many turns there can be at a time in one row, that is for listeners whose inode number has
/// the same remainder.
const IN_A_ROW: usize = 8;

type TurnRow = Lock<[Option<Listener>; IN_A_ROW]>;

static TURNS: [TurnRow; 64] = [const { Lock::new([None; IN_A_ROW]) }; 64];

/// The right to take a connection from a listener.
struct Turn {
    row: &'static TurnRow,
    /// None: there was no place for it in the row, and it keeps no other goroutine away.
    of: Option<Listener>,
}

impl Turn {
    /// None if another goroutine has it.
    fn take(fd: c_int) -> Option<Self> {
        let of = file_of(fd);
        let row = &TURNS[of.1 as usize % TURNS.len()];
        let _section = current::enter();
        let mut turns = row.lock();
        if turns.contains(&Some(of)) {
            return None;
        }
        let place = turns.iter_mut().find(|turn| turn.is_none());
        let of = place.map(|place| *place.insert(of));
        Some(Self { row, of })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.of.is_some() {
            let _section = current::enter();
            let mut turns = self.row.lock();
            turns.iter_mut().filter(|turn| **turn == self.of).for_each(|turn| *turn = None);
        }
    }
}

/// How long a goroutine dozes while another takes its connection.
const A_TURN: Duration = Duration::from_micros(50);

/// After this many dozes the goroutine that has the turn counts as stuck: another process took its
/// connection.
const TURNS_AT_MOST: u32 = 200;

/// Lets other goroutines go first, for a moment.
fn doze(gp: &'static G, d: Duration) {
    let _section = current::enter();
    let ticket = gp.wait.begin();
    wait(gp, WaitReason::Io, ticket, after(d));
}

fn accept_one(
    gp: &'static G,
    fd: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
    flags: c_int,
) -> isize {
    let args = [word(fd), address as usize, len as usize, flags as usize, 0, 0];
    let plain = || block(gp, libc::SYS_accept4, args);
    let Some(desc) = netpoll::desc(fd) else { return plain() };
    let mut waits = Waits::new(gp, fd, desc, Direction::Read);
    if super::kind::kind_of(fd, desc) != Kind::Socket {
        return plain();
    }
    let mut turns = 0;
    loop {
        let look = desc.look(Direction::Read);
        let stopped = match desc.begin_accept() {
            Accept::Busy => waits.wait_for_accept(),
            Accept::Begun(begun) if ready_now(fd, libc::POLLIN) != 0 => {
                let turn = Turn::take(fd);
                if turn.is_none() || ready_now(fd, libc::POLLIN) == 0 {
                    drop(turn);
                    waking(|list| desc.end_accept(begun, false, list));
                    doze(gp, A_TURN);
                    turns += 1;
                    // A connection that is already there is accepted even in a context that was
                    // cancelled.
                    if turns > TURNS_AT_MOST
                        && let Some(error) = ambient::error(gp)
                    {
                        return -(error as isize);
                    }
                    continue;
                }
                let word = plain();
                drop(turn);
                waking(|list| desc.end_accept(begun, true, list));
                waits.forget();
                return word;
            }
            Accept::Begun(begun) => {
                waking(|list| desc.end_accept(begun, false, list));
                if !may_wait(fd, flags) {
                    // The kernel says what is wrong, at once.
                    return plain();
                }
                waits.wait(look)
            }
        };
        match stopped {
            Ok(()) => {}
            Err(Stopped::Error(error)) => return -(error as isize),
            Err(Stopped::CantWait) => return plain(),
        }
    }
}

/// Whether an `accept` that finds no connection waits for one: it does on a socket that listens,
/// with flags that exist, and with a descriptor number left for the connection.
fn may_wait(fd: c_int, flags: c_int) -> bool {
    flags & !(libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) == 0 && listens(fd) && !has_no_number_left()
}

/// Whether a socket listens.
pub(super) fn listens(fd: c_int) -> bool {
    let mut listens: c_int = 0;
    socket_option(fd, libc::SO_ACCEPTCONN, &mut listens) == 0 && listens != 0
}

/// The kernel sets a number aside before it looks for a connection, and before it looks at what it
/// is to accept from.
fn has_no_number_left() -> bool {
    let Some(no_listener) = netpoll::own().next() else { return false };
    // SAFETY: no memory is involved.
    let word = unsafe { raw(libc::SYS_accept4, [no_listener as usize, 0, 0, 0, 0, 0]) };
    word == -(libc::EMFILE as isize)
}

fd::gives_out! {
    fn accept(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int =
        |gp, real| result(accept_one(gp, fd, address, len, 0)) as c_int;

    fn accept4(fd: c_int, address: *mut sockaddr, len: *mut socklen_t, flags: c_int) -> c_int =
        |gp, real| result(accept_one(gp, fd, address, len, flags)) as c_int;
}
