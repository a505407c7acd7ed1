//! Makes files of the library fit for the model checker that can't be compiled again as they are: those that
//! name std's atomics rather than those of `base/atomic.rs`, and those of which a weakened twin lacks a step.
//!
//! Each text that is replaced must be there, once: when the file has changed, so must this.

use std::error::Error;
use std::path::Path;
use std::{env, fs};

const LIBRARY: &str = "../../crates/goroutines/src";
const ATOMICS: (&str, &str) = ("use std::sync::atomic::", "use crate::base::atomic::");
const CELLS: (&str, &str) = ("use std::cell::Cell;", "use crate::base::cell::Cell;");
const TIMES: (&str, &str) =
    ("use std::time::{Duration, Instant};", "use crate::base::time::{Duration, Instant};");

/// Locks are taken in the order of addresses, which must be the same whenever a model runs.
const NUMBER: (&str, &str) = (
    "use super::party::",
    "use crate::base::number::number;
use super::party::",
);

/// What waits may be gone when its wait is over: nobody may have touched it since, or touch it then.
const DEATHS: (&str, &str) = (
    "pub(crate) struct Wakes {",
    "impl Drop for Sudog {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(!self.queued.replace(false), \"a waiter is gone, and in a queue\");
            self.party.set(null());
            self.outcome.set(Outcome::Waiting);
            self.partner.set(null());
            self.next.set(null());
            self.prev.set(null());
        }
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.winner.set(null());
            self.next.set(null());
            self.ticket.set(Ticket(0));
        }
    }
}

pub(crate) struct Wakes {",
);

/// A file, and what is replaced in it: steps that a weakened twin lacks (`base::steps`), among others.
struct File {
    path: &'static str,
    replaced: &'static [(&'static str, &'static str)],
}

const FILES: &[File] = &[
    File { path: "thread/park.rs", replaced: &[ATOMICS, ("const fn new()", "fn new()")] },
    File {
        path: "g/wait.rs",
        replaced: &[
            ("    #[cfg(feature = \"intercept\")]\n    pub(crate) fn interrupt", "    pub(crate) fn interrupt"),
            (
                "let over = ticket.0",
                "let ticket = if crate::base::steps::lacks(\"numbers\") {
                    Ticket(self.0.load(Ordering::Relaxed) & !(STATE | CAUSE))
                } else {
                    ticket
                };
                let over = ticket.0",
            ),
            (
                "        // It goes from open",
                "        if crate::base::steps::lacks(\"one winner\") {
            return Claim::Parked;
        }
        // It goes from open",
            ),
            (
                "(OPEN, Claim::Awake), (PARKED, Claim::Parked)]",
                "(OPEN, Claim::Awake), (PARKED, Claim::Parked)]
                .into_iter()
                .take(if crate::base::steps::lacks(\"the third look\") { 2 } else { 3 })",
            ),
        ],
    },
    File {
        path: "timer/alarm.rs",
        replaced: &[
            (
                "if self.when.load(Ordering::Acquire) == when {",
                "if crate::base::steps::lacks(\"the second look\")
                || self.when.load(Ordering::Acquire) == when
            {",
            ),
            (
                "if queued != NONE && queued <= when {",
                "if queued != NONE
                && (queued <= when || crate::base::steps::lacks(\"another entry\"))
            {",
            ),
            (
                "let ours = self",
                "if crate::base::steps::lacks(\"what is put back\") {
                return Due::Off;
            }
            let ours = self",
            ),
        ],
    },
    File {
        path: "g/wait_list.rs",
        replaced: &[
            ATOMICS,
            CELLS,
            (
                "Claim::Late => continue,",
                "Claim::Late => if !crate::base::steps::lacks(\"going on to the next\") { continue }",
            ),
        ],
    },
    File {
        path: "netpoll/desc.rs",
        replaced: &[
            ATOMICS,
            (
                "edges: self.edges[direction as usize].load(Ordering::Acquire),",
                "edges: if crate::base::steps::lacks(\"a count\") {
                    self.edges[direction as usize].swap(0, Ordering::Acquire);
                    0
                } else {
                    self.edges[direction as usize].load(Ordering::Acquire)
                },",
            ),
            (
                "if look.is_some_and(is_gone) {",
                "if !crate::base::steps::lacks(\"incarnations\") && look.is_some_and(is_gone) {",
            ),
            (
                "look.map_or(!state.accepting, |look| look.edges != edges)",
                "!crate::base::steps::lacks(\"the look\")
                    && look.map_or(!state.accepting, |look| look.edges != edges)",
            ),
            (
                "        if events & ODD != 0 {",
                "        if events & ODD != 0 && !crate::base::steps::lacks(\"the end's oddness\") {",
            ),
            (
                "*awake += u32::from(one.bits & MOVES != 0);",
                "*awake += u32::from(
        one.bits & MOVES != 0 && !crate::base::steps::lacks(\"counting who is awake\"),
    );",
            ),
            (
                "        self.touched.store(1, Ordering::SeqCst);
        let result = EPOLL.add(fd, self.data(fd));",
                "        let late = crate::base::steps::lacks(\"being touched first\");
        if !late {
            self.touched.store(1, Ordering::SeqCst);
        }
        let result = EPOLL.add(fd, self.data(fd));
        if late {
            self.touched.store(1, Ordering::SeqCst);
        }",
            ),
            (
                "if one.bits & BACK != 0 {",
                "if one.bits & BACK != 0 && !crate::base::steps::lacks(\"being back\") {",
            ),
            (
                "        if took {",
                "        if took && !crate::base::steps::lacks(\"the hand-over\") {",
            ),
        ],
    },
    File {
        path: "timer/call.rs",
        replaced: &[
            CELLS,
            (
                "static FREE: [Shelf; SHELVES] = [const { Shelf(Lock::new(None)) }; SHELVES];",
                "loom::lazy_static! {
    static ref FREE: [Shelf; SHELVES] = std::array::from_fn(|_| Shelf(Lock::new(None)));
}",
            ),
            (
                "if state.task.is_null() || state.when > now {",
                "if state.task.is_null()
            || (state.when > now && !crate::base::steps::lacks(\"looking at the time\"))
        {",
            ),
            (
                "        if state.task.is_null() {
            drop(state);",
                "        if state.task.is_null() || crate::base::steps::lacks(\"keeping what is armed\") {
            drop(state);",
            ),
        ],
    },
    File {
        path: "sched/ambient.rs",
        replaced: &[
            ATOMICS,
            (
                "    if error(gp).is_some() {
        // Not",
                "    if error(gp).is_some() && !crate::base::steps::lacks(\"looking after announcing\") {
        // Not",
            ),
        ],
    },
    File {
        path: "sched/later.rs",
        replaced: &[
            (
                "use std::sync::{Arc, Mutex, PoisonError};",
                "use loom::sync::{Arc, Mutex};
use std::sync::PoisonError;",
            ),
            (
                "        let _alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);",
                "        let _alarm = (!crate::base::steps::lacks(\"one at a time\"))
            .then(|| self.alarm.lock().unwrap_or_else(PoisonError::into_inner));",
            ),
        ],
    },
    File {
        path: "base/gather.rs",
        replaced: &[(
            "            hook(one).is_in.swap(false, Ordering::AcqRel);",
            "            if crate::base::steps::lacks(\"exchanging the flag\") {
                hook(one).is_in.store(false, Ordering::Release);
            } else {
                hook(one).is_in.swap(false, Ordering::AcqRel);
            }",
        )],
    },
    File {
        path: "m/noted.rs",
        replaced: &[
            ("const fn new(", "fn new("),
            (
                "            self.0.store(before | IN_CHANGE, Ordering::SeqCst);",
                "            if !crate::base::steps::lacks(\"noting the change\") {
                self.0.store(before | IN_CHANGE, Ordering::SeqCst);
            }",
            ),
        ],
    },
    File {
        path: "signals/census.rs",
        replaced: &[
            ("const CLASSES: usize = 65;", "const CLASSES: usize = 2;"),
            ("    const fn new() -> Self {\n        Self { mask", "    fn new() -> Self {\n        Self { mask"),
            ("pub(crate) const fn new()", "pub(crate) fn new()"),
            (
                "let [odd, losses] = [const { AtomicU64::new(0) }; 2];",
                "let [odd, losses] = [AtomicU64::new(0), AtomicU64::new(0)];",
            ),
            (
                "[const { Class::new() }; CLASSES]",
                "std::array::from_fn(|_| Class::new())",
            ),
            (
                "        let alive = alive();",
                "        let first = alive();",
            ),
            (
                "        let is_sure = self.losses.load(Ordering::SeqCst) == losses;",
                "        let alive =
            if crate::base::steps::lacks(\"counting the living first\") { alive() } else { first };
        let is_sure = self.losses.load(Ordering::SeqCst) == losses
            || crate::base::steps::lacks(\"losses\");",
            ),
        ],
    },
    File {
        path: "signals/nodes.rs",
        replaced: &[
            CELLS,
            ("use super::chunks::Chunks;\n", ""),
            ("static CHUNKS: Chunks = Chunks::new();\n", ""),
            (
                "static FREE: AtomicU64 = AtomicU64::new(0);",
                "loom::lazy_static! {
    static ref FREE: AtomicU64 = AtomicU64::new(0);
    static ref LIVE: AtomicU32 = AtomicU32::new(0);
}",
            ),
            ("static LIVE: AtomicU32 = AtomicU32::new(0);\n", ""),
            (
                "break CHUNKS.make::<Node>() };",
                "
            let node = Node { next: AtomicPtr::new(null_mut()), info: Cell::new(*info) };
            break Some(NonNull::from(Box::leak(Box::new(node))));
        };",
            ),
            (
                "word.wrapping_add(1) & TAG",
                "word.wrapping_add(u64::from(!crate::base::steps::lacks(\"counting\"))) & TAG",
            ),
            ("const FIRST_REAL_TIME: i32 = 32;", "const FIRST_REAL_TIME: i32 = 3;"),
            // One is enough; the model's stacks are small.
            ("const KINDS: usize = 65 - FIRST_REAL_TIME as usize;", "const KINDS: usize = 1;"),
            ("    pub(super) const fn new() -> Self {\n        let [bits, bare] = [const { AtomicU64::new(0) }; 2];",
             "    pub(super) fn new() -> Self {\n        let [bits, bare] = [AtomicU64::new(0), AtomicU64::new(0)];"),
            ("[const { AtomicPtr::new(null_mut()) }; FIRST_REAL_TIME as usize];",
             "std::array::from_fn(|_| AtomicPtr::new(null_mut()));"),
            (
                "        let bit = super::bit(info.si_signo);
        match self.standard",
                "        let bit = super::bit(info.si_signo);
        if crate::base::steps::lacks(\"the node first\") {
            self.bits.fetch_or(bit, Ordering::SeqCst);
        }
        match self.standard",
            ),
            (
                "        self.bits.fetch_or(bit, Ordering::SeqCst); // SG4",
                "        if !crate::base::steps::lacks(\"the node first\") {
            self.bits.fetch_or(bit, Ordering::SeqCst);
        }",
            ),
            (
                "            self.bits.fetch_and(!bit, Ordering::SeqCst); // SG4",
                "            let late = crate::base::steps::lacks(\"the bit first\");
            if !late {
                self.bits.fetch_and(!bit, Ordering::SeqCst);
            }",
            ),
            (
                "            if first.is_some() {
                return first;",
                "            if late {
                self.bits.fetch_and(!bit, Ordering::SeqCst);
            }
            if first.is_some() {
                return first;",
            ),
            (
                "        if list.has(signal) {",
                "        if list.has(signal) && !crate::base::steps::lacks(\"the bit of the rest\") {",
            ),
        ],
    },
    File {
        path: "sched/starved.rs",
        replaced: &[
            ("const fn new()", "fn new()"),
            (
                "        let mut list = self.list.lock();
        list.push_back(one);",
                "        if crate::base::steps::lacks(\"the word under the lock\") {
            self.waits.store(true, Ordering::SeqCst);
            self.list.lock().push_back(one);
            return;
        }
        let mut list = self.list.lock();
        list.push_back(one);",
            ),
        ],
    },
    File {
        path: "chan/mod.rs",
        // The macros, which models don't use.
        replaced: &[
            TIMES,
            ("#[cfg(feature = \"macros\")]\npub use crate::{select, select_biased};\n", ""),
        ],
    },
    File { path: "chan/buffer.rs", replaced: &[] },
    File { path: "chan/cases.rs", replaced: &[] },
    File {
        path: "chan/clock.rs",
        replaced: &[
            ATOMICS,
            TIMES,
            ("    base: Instant,", "    pub(super) number: usize, base: Instant,"),
            ("        Self { base, when,", "        Self { number: number(), base, when,"),
            NUMBER,
            (
                "        receivers.end_all(Outcome::Again, &mut wakes);",
                "        if !crate::base::steps::lacks(\"having them look again\") {
            receivers.end_all(Outcome::Again, &mut wakes);
        }",
            ),
        ],
    },
    File {
        path: "chan/core.rs",
        replaced: &[
            ATOMICS,
            ("    hint: AtomicUsize,", "    number: usize, hint: AtomicUsize,"),
            ("{ hint, lock: Lock::new(state),", "{ number: number(), hint, lock: Lock::new(state),"),
            ("std::ptr::from_ref(self).addr()", "self.number"),
            NUMBER,
            (
                "        self.chan.publish(&self.state);",
                "        if crate::base::steps::lacks(\"the hint under the lock\") {
            let hint = self.state.hint(self.chan.capacity);
            self.state.give_up();
            return self.chan.hint.store(hint, Ordering::Release);
        }
        self.chan.publish(&self.state);",
            ),
            (
                "        locked.chan.publish(&state);",
                "        if crate::base::steps::lacks(\"the hint under the lock\") {
            let mut state = state;
            let hint = state.hint(locked.chan.capacity);
            state.give_up();
            return locked.chan.hint.store(hint, Ordering::Release);
        }
        locked.chan.publish(&state);",
            ),
            (
                "            self.publish(&locked.state);
            wakes.wake();
            let cause",
                "            if !crate::base::steps::lacks(\"the hint before waking\") {
                self.publish(&locked.state);
            }
            wakes.wake();
            let cause",
            ),
            (
                "                Found::Nothing => {
                    party.begin();",
                "                Found::Nothing => {
                    if crate::base::steps::lacks(\"one hold\") {
                        drop(locked);
                        locked = self.locked();
                    }
                    party.begin();",
            ),
            (
                "                        Cause::Cancelled if party.is_cancelled() => return Err(Stop::Closed),",
                "                        Cause::Cancelled
                            if party.is_cancelled() || crate::base::steps::lacks(\"asking whose\") =>
                        {
                            return Err(Stop::Closed);
                        }",
            ),
            (
                "            self.publish(&locked.state);
            wakes.wake();
        }",
                "            if !crate::base::steps::lacks(\"the hint when it looks again\") {
                self.publish(&locked.state);
            }
            wakes.wake();
        }",
            ),
            (
                "            if self.senders.is_empty() {",
                "            if crate::base::steps::lacks(\"letting senders in\") {
                return Found::Done;
            }
            if self.senders.is_empty() {",
            ),
            (
                "        if self.closed {
            return Found::Closed;
        }
        if !self.receivers",
                "        if self.closed && !crate::base::steps::lacks(\"looking whether it is closed\") {
            return Found::Closed;
        }
        if !self.receivers",
            ),
            (
                "        if !self.receivers.is_empty()
            && let",
                "        if !crate::base::steps::lacks(\"receivers first\")
            && !self.receivers.is_empty()
            && let",
            ),
            (
                "            && self.senders.end_some(Outcome::Closed, &mut most, wakes)",
                "            && (crate::base::steps::lacks(\"ending those who send\")
                || self.senders.end_some(Outcome::Closed, &mut most, wakes))",
            ),
            (
                "                    self.locked().state.receivers.remove(&sudog);",
                "                    if !crate::base::steps::lacks(\"removing who is late\") {
                        self.locked().state.receivers.remove(&sudog);
                    }",
            ),
            (
                "            Some(partner) => {
                // SAFETY",
                "            Some(_) if crate::base::steps::lacks(\"telling the partner\") => {}
            Some(partner) => {
                // SAFETY",
            ),
            (
                "                locked.state.reserved -= 1;
                locked.state.let_senders_in(self.capacity, &mut wakes);
            }",
                "                locked.state.reserved -= 1;
                if !crate::base::steps::lacks(\"giving the room away\") {
                    locked.state.let_senders_in(self.capacity, &mut wakes);
                }
            }",
            ),
            (
                "        if !self.recv_lookers.is_empty() {
            self.recv_lookers",
                "        if !self.recv_lookers.is_empty() && !crate::base::steps::lacks(\"telling who looks\") {
            self.recv_lookers",
            ),
        ],
    },
    File { path: "chan/dynamic.rs", replaced: &[TIMES] },
    File { path: "chan/err.rs", replaced: &[] },
    File {
        path: "chan/party.rs",
        replaced: &[
            ATOMICS,
            CELLS,
            (
                "            Claim::Late => false,",
                "            Claim::Late => crate::base::steps::lacks(\"finding it late\"),",
            ),
            (
                "            let parked = gp.wait.park(ticket);
            unlock();
            parked",
                "            if crate::base::steps::lacks(\"parking first\") {
                unlock();
                return gp.wait.park(ticket);
            }
            let parked = gp.wait.park(ticket);
            unlock();
            parked",
            ),
            (
                "        let _ = self.party().claim(self);",
                "        if !crate::base::steps::lacks(\"settling\") {
            let _ = self.party().claim(self);
        }",
            ),
            (
                "            } else if self.word.claim(",
                "            } else if crate::base::steps::lacks(\"ending its own wait\")
                || self.word.claim(",
            ),
            (
                "                let next = (*at).next.get();
                let woken",
                "                if crate::base::steps::lacks(\"going on before waking\") {
                    (*at).woken.store(1, Ordering::Release);
                }
                let next = (*at).next.get();
                let woken",
            ),
            DEATHS,
        ],
    },
    File { path: "chan/receiver.rs", replaced: &[TIMES] },
    File {
        path: "chan/select.rs",
        replaced: &[
            CELLS,
            ("std::ptr::from_ref(self).addr()", "self.number"),
            ("Rand::new(sys::nanotime())", "Rand::new(0)"),
            (
                "if (0..n).any(|i| self",
                "if crate::base::steps::lacks(\"asking for a lock\") || (0..n).any(|i| self",
            ),
            (
                "            match self.try_all() {",
                "            let tried = if crate::base::steps::lacks(\"the second look\") {
                Tried::Nothing
            } else {
                self.try_all()
            };
            match tried {",
            ),
            (
                "        sort(n, |a, b| address(a) < address(b), swap);",
                "        if !crate::base::steps::lacks(\"an order of locks\") {
            sort(n, |a, b| address(a) < address(b), swap);
        }",
            ),
            (
                "            last = Some(on);",
                "            if crate::base::steps::lacks(\"unlocking late\") {
                if last.is_none_or(|last| last.address() != address) {
                    // SAFETY: locked by lock_all().
                    unsafe { on.unlock() };
                }
                last = Some(on);
                if k + 1 == self.cases.len() {
                    return;
                }
                continue;
            }
            last = Some(on);",
            ),
            (
                "            } else {
                case.on.dismiss(case.sends, &case.sudog);
            }",
                "            } else if !crate::base::steps::lacks(\"dismissing the others\") {
                case.on.dismiss(case.sends, &case.sudog);
            }",
            ),
            (
                "sudog.outcome.get() != Outcome::Again => {",
                "sudog.outcome.get() != Outcome::Again
                    || crate::base::steps::lacks(\"beginning anew\") =>
                {",
            ),
            (
                "impl std::fmt::Debug for Case",
                "impl Drop for Case<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.poll.set(0);
            self.lock.set(0);
        }
    }
}

impl std::fmt::Debug for Case",
            ),
        ],
    },
    File { path: "chan/sender.rs", replaced: &[TIMES] },
    File {
        path: "chan/shared.rs",
        replaced: &[
            ATOMICS,
            (
                "    chan: Chan<T>,
}",
                "    chan: Chan<T>,
    /// Found by loom if it is not freed.
    _alive: loom::alloc::Track<()>,
}",
            ),
            (
                "        chan: Chan::new(capacity),",
                "        chan: Chan::new(capacity),
        _alive: loom::alloc::Track::new(()),",
            ),
            (
                "self.shared().half_gone.swap(true, Ordering::AcqRel)",
                "if crate::base::steps::lacks(\"asking and telling at once\") {
            let is_last = self.shared().half_gone.load(Ordering::Acquire);
            self.shared().half_gone.store(true, Ordering::Release);
            is_last
        } else {
            self.shared().half_gone.swap(true, Ordering::AcqRel)
        }",
            ),
        ],
    },
    File {
        path: "sync/queue.rs",
        replaced: &[
            CELLS,
            (
                "Claim::Late => return false, // Q1",
                "Claim::Late => return crate::base::steps::lacks(\"passing over who is late\"),",
            ),
        ],
    },
    File {
        path: "sync/semaphore.rs",
        replaced: &[
            ("pub const fn new(", "pub fn new("),
            (
                "let gave_up = self.change(|state| state.waiters.remove(&waiter));",
                "let gave_up = if crate::base::steps::lacks(\"letting in those behind\") {
                    self.0.lock().waiters.remove(&waiter)
                } else {
                    self.change(|state| state.waiters.remove(&waiter))
                };",
            ),
            (
                "!gave_up && waiter.is_served()",
                "!gave_up && !crate::base::steps::lacks(\"the last look\") && waiter.is_served()",
            ),
        ],
    },
    File {
        path: "sync/pool.rs",
        replaced: &[
            ATOMICS,
            (
                "const fn new() -> Self {
        Self {
            private:",
                "fn new() -> Self {
        Self {
            private:",
            ),
            ("pub const fn new(make: F)", "pub fn new(make: F)"),
            ("pub const fn with_period(", "pub fn with_period("),
            (
                "NonNull::new(self.private.swap(null_mut(), Ordering::Acquire))?",
                "NonNull::new(if crate::base::steps::lacks(\"the swap\") {
                    let at = self.private.load(Ordering::Acquire);
                    self.private.store(null_mut(), Ordering::Relaxed);
                    at
                } else {
                    self.private.swap(null_mut(), Ordering::Acquire)
                })?",
            ),
        ],
    },
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = env::var_os("OUT_DIR").ok_or("no OUT_DIR")?;
    let checks = env::var_os("CARGO_CFG_LOOM").is_some();
    for file in FILES {
        let from = format!("{LIBRARY}/{}", file.path);
        println!("cargo::rerun-if-changed={from}");
        let text = fs::read_to_string(&from)?;
        let mut text: String = text
            .lines()
            // An included file can't have inner documentation, examples may have what is replaced, and tests
            // are not models.
            .filter(|line| !["//!", "///"].iter().any(|doc| line.trim_start().starts_with(doc)))
            .take_while(|line| *line != "#[cfg(test)]")
            .map(|line| included(file.path, line))
            .collect();
        for (from, to) in file.replaced {
            if checks && text.matches(from).count() != 1 {
                return Err(format!("{}: {from:?} is not there once", file.path).into());
            }
            text = text.replace(from, to);
        }
        fs::write(Path::new(&out).join(file.path.replace('/', "_")), text)?;
    }
    Ok(())
}

/// A line of a file; if it names another, that one.
fn included(path: &str, line: &str) -> String {
    let module = line.strip_suffix(';').and_then(|line| line.split_once("mod "));
    let (Some(of), Some((visible, name))) = (path.strip_suffix("/mod.rs"), module) else {
        return format!("{line}\n");
    };
    format!(
        "{visible}mod {name} {{ include!(concat!(env!(\"OUT_DIR\"), \"/{of}_{name}.rs\")); }}\n"
    )
}
