//! The account of running goroutines.

use crate::base::sys;
use crate::g::reason::WaitReason;
use crate::g::status::State;
use crate::g::task::{Kind, Runnable, Task};
use crate::g::{G, pending};
use crate::sched::{SCHED, boot, exit, stw};
use crate::thread::Thread;
use goroutines_switch::Class;
use std::panic::Location;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a goroutine was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GoroutineState {
    /// It waits for a processor.
    Runnable,
    /// It runs, or is blocked in a call that nobody announced.
    Running,
    /// It is inside [`runtime::blocking`](crate::runtime::blocking).
    Syscall,
    /// It waits for something; see [`GoroutineInfo::wait_reason`].
    Waiting,
}

/// One goroutine, as it was at the moment of the account.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GoroutineInfo {
    /// Its number.
    pub id: u64,
    /// What it was doing.
    pub state: GoroutineState,
    /// What it waited for, in the words of a dump.
    pub wait_reason: Option<&'static str>,
    /// How long ago it was started (to some milliseconds).
    pub age: Duration,
    /// How long it has waited (to some milliseconds).
    pub waiting: Option<Duration>,
    /// The goroutine that started it; none if an ordinary thread did.
    pub creator: Option<u64>,
    /// Where it was started.
    pub created_at: &'static Location<'static>,
    /// Whether it is locked to its OS thread.
    pub locked_to_thread: bool,
    thread: Option<Thread>,
}

impl GoroutineInfo {
    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.thread.as_ref()?.name()
    }
}

/// As a dump begins: `goroutine 7 "worker" [sync.WaitGroup.Wait, 2 minutes] created at …`. Main has
/// no name in it.
impl std::fmt::Display for GoroutineInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.header())?;
        match self.creator {
            Some(id) => write!(f, " created at {} by goroutine {id}", self.created_at),
            None => write!(f, " created at {}", self.created_at),
        }
    }
}

impl GoroutineInfo {
    /// What it is, and what it does.
    pub(crate) fn header(&self) -> String {
        use std::fmt::Write;
        let doing = self.wait_reason.unwrap_or(match self.state {
            GoroutineState::Runnable => "runnable",
            GoroutineState::Running => "running",
            GoroutineState::Syscall => "syscall",
            GoroutineState::Waiting => "waiting",
        });
        let mut text = format!("goroutine {}", self.id);
        if let Some(name) = self.name().filter(|name| *name != "main") {
            let _ = write!(text, " {name:?}");
        }
        let _ = write!(text, " [{doing}");
        let _ = match self.waiting.map_or(0, |w| w.as_secs() / 60) {
            0 => Ok(()),
            1 => write!(text, ", 1 minute"),
            n => write!(text, ", {n} minutes"),
        };
        if self.locked_to_thread {
            text.push_str(", locked to thread");
        }
        text.push(']');
        text
    }
}

/// All goroutines that exist, by number. Stops the world for the time it takes to look at them
/// (about 10 ns each, more where they are cold).
#[must_use]
pub fn goroutines() -> Vec<GoroutineInfo> {
    boot::ensure();
    among(|_| true)
}

/// Those whose tasks are wanted.
pub(crate) fn among(wanted: impl Fn(&Task) -> bool) -> Vec<GoroutineInfo> {
    let mut room = exit::alive() as usize + 64;
    loop {
        // The vector is made before: in a stopped world nothing may be allocated.
        let mut all = Vec::with_capacity(room);
        let whole = stw::stopped_world(|| (None, collect(&mut all, &wanted)));
        if whole {
            all.sort_by_key(|g: &GoroutineInfo| g.id);
            return all;
        }
        room *= 2;
    }
}

/// Fills `all`, in a stopped world; false if it is too small.
fn collect(all: &mut Vec<GoroutineInfo>, wanted: &dyn Fn(&Task) -> bool) -> bool {
    let now = sys::coarse_nanotime();
    let mut fits = true;
    let mut add = |info: Option<GoroutineInfo>| {
        fits &= info.is_none() || all.len() < all.capacity();
        if let Some(info) = info.filter(|_| fits) {
            all.push(info);
        }
    };
    for gp in every_g() {
        add(info(gp, now).filter(|_| gp.task().is_some_and(wanted)));
    }
    each_unbegun(|task| add(info_of_task(task, now).filter(|_| wanted(task))));
    fits
}

/// Those that wait for their first run are in queues only. In a stopped world.
fn each_unbegun(mut f: impl FnMut(&Task)) {
    let mut look = |one: Runnable| {
        if let Kind::Task(task) = one.kind() {
            // SAFETY: its reference is the queue's.
            f(unsafe { &*task });
        }
    };
    let shared = SCHED.lock();
    shared.runq.iter().for_each(&mut look);
    SCHED.starved.each(&mut look);
    drop(shared);
    for pp in SCHED.procs() {
        // SAFETY: the queue holds Runnables.
        pp.runq.each(|one| look(unsafe { Runnable::from_ptr(one) }));
    }
    for mp in SCHED.all_ms() {
        mp.stash.get().into_iter().for_each(&mut look);
    }
}

fn info_of_task(task: &Task, now: u64) -> Option<GoroutineInfo> {
    if task.is_system {
        return None;
    }
    Some(GoroutineInfo {
        id: task.id(),
        state: GoroutineState::Runnable,
        wait_reason: None,
        age: Duration::from_nanos(now.saturating_sub(task.created_ns.get())),
        waiting: None,
        creator: Some(task.creator.get()).filter(|id| *id != 0),
        created_at: task.location,
        locked_to_thread: false,
        thread: crate::thread::thread_if_made(task),
    })
}

/// Every G there ever was, whatever it is now.
pub(crate) fn every_g() -> impl Iterator<Item = &'static G> {
    Class::all().iter().flat_map(|class| {
        (0..class.count()).filter_map(|number| class.header(number)).map(|header| {
            // SAFETY: headers are Gs, zeroed at first, never unmapped.
            unsafe { &*header.as_ptr().cast::<G>() }
        })
    })
}

/// What is known of a goroutine that can't change now; none of one that is over, or the runtime's
/// own.
pub(crate) fn info(gp: &'static G, now: u64) -> Option<GoroutineInfo> {
    let status = gp.status.get();
    if matches!(status, State::Idle | State::Dead) {
        return None;
    }
    let info = info_of_task(gp.task()?, now)?;
    let blocking = gp.pending.load(Ordering::Relaxed) & pending::BLOCKING != 0;
    let state = match status {
        State::Waiting => GoroutineState::Waiting,
        State::Runnable => GoroutineState::Runnable,
        _ if blocking => GoroutineState::Syscall,
        _ => GoroutineState::Running,
    };
    let is_waiting = state == GoroutineState::Waiting;
    let since = Duration::from_nanos(now.saturating_sub(gp.waiting_since_ns.get()));
    Some(GoroutineInfo {
        state,
        wait_reason: Some(gp.reason())
            .filter(|reason| is_waiting && *reason != WaitReason::None)
            .map(WaitReason::text),
        waiting: is_waiting.then_some(since),
        locked_to_thread: gp.is_locked(),
        ..info
    })
}
