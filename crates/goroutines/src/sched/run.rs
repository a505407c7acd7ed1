//! Running a goroutine: the switch, what runs after it, and the loop on an M's own stack.
//!
//! Previous: `find.rs`. Next: the goroutine itself, then `park.rs`, `exit.rs` or `preempt.rs`.
//!
//! **Direct switches.** Go stops on g0 between two goroutines. Here a goroutine that leaves looks
//! for the next one on its own stack and, if there is one at hand, switches straight to it; only
//! where something must be waited for does g0 take over. What must not happen before the old
//! goroutine is off its stack (setting its status, unlocking what it waits in, putting it in a
//! queue) is its *parting*: a closure on the old stack whose address travels with the switch; the
//! context that comes next runs it first of all.
//!
//! * RU1: a parting is moved off the old stack before it runs, and the old goroutine is not touched
//!   after the parting has published it.
//! * RU2: a parting runs inside a section (or on g0): it does not allocate, does not park, does not
//!   switch.

use super::{SCHED, find, wake};
use crate::base::atomic::light_barrier;
use crate::base::fatal::throw;
use crate::g::status::State;
use crate::g::task::Kind;
use crate::g::{G, current, odd};
use crate::m::{M, altstack};
use crate::timer::alarm::NEVER;
use goroutines_switch::switch;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};

/// A goroutine to run, and whether it goes on with the time slice of the one before.
#[derive(Clone, Copy)]
pub(crate) struct Next {
    pub(crate) gp: &'static G,
    pub(crate) inherits: bool,
}

/// What the next context does for the goroutine that left.
#[repr(C)]
struct Parting<F> {
    run: unsafe fn(*const (), &'static M),
    gp: &'static G,
    then: ManuallyDrop<F>,
}

unsafe fn run_parting<F: FnOnce(&'static G, &'static M)>(at: *const (), mp: &'static M) {
    let parting: *const Parting<F> = at.cast();
    // SAFETY: `leave_to` put a Parting<F> there, on a stack that is not run on before `then`
    // publishes its goroutine; it is moved out first (RU1).
    let (gp, then) = unsafe { ((*parting).gp, std::ptr::read(&raw const (*parting).then)) };
    ManuallyDrop::into_inner(then)(gp, mp);
}

/// First of all after a switch: what the context before left to be done.
#[inline]
pub(crate) fn arrived(word: usize, mp: &'static M) {
    if word != 0 {
        let at = word as *const ();
        // SAFETY: the word of a switch is 0 or a Parting, whose first field is the function.
        unsafe { (*at.cast::<unsafe fn(*const (), &'static M)>())(at, mp) };
    }
}

/// Leaves goroutine `gp` for `next` (or for g0, to find one), and runs `then` after it is off its
/// stack. Returns when `gp` is run again, on whichever M; in a section before and after.
#[inline]
pub(crate) fn leave_to<F>(gp: &'static G, next: Option<Next>, then: F)
where
    F: FnOnce(&'static G, &'static M),
{
    let mp = gp.m();
    let parting = Parting { run: run_parting::<F>, gp, then: ManuallyDrop::new(then) };
    let _ = parting.run; // first field: see arrived()
    let word = std::ptr::from_ref(&parting) as usize;
    let to = match next {
        Some(next) => {
            begin(mp, next);
            next.gp.context.get()
        }
        None => {
            before_switch(mp);
            mp.curg.store(std::ptr::null_mut(), Ordering::Release);
            note_switch(mp);
            tell_kernel(mp, None);
            mp.g0.get()
        }
    };
    // SAFETY: `to` is g0, suspended since it switched to a goroutine, or a goroutine that was
    // Runnable and is ours now; gp's context is published by the parting only.
    let word = unsafe { switch(gp.context.get(), to, word) };
    arrived(word, gp.m()); // SC2
}

/// Whether any goroutine has something that a switch must see to: an alternate stack, a signal
/// mask, or CPU time that is counted. An M on which one of them runs knows that.
static IS_LOOKED_AT: AtomicBool = AtomicBool::new(false);

/// From now on, for ever.
#[cfg(feature = "intercept")]
pub(crate) fn switches_are_looked_at() {
    if !IS_LOOKED_AT.load(Ordering::Relaxed) {
        IS_LOOKED_AT.store(true, Ordering::SeqCst);
    }
}

/// The goroutine on `mp`, if there is one, is about to leave it.
#[inline]
fn before_switch(mp: &'static M) {
    #[cfg(feature = "intercept")]
    if IS_LOOKED_AT.load(Ordering::Relaxed) {
        super::cpu_time::switches(mp);
        // SAFETY: null, or a G, which is never freed.
        if let Some(gp) = unsafe { mp.curg.load(Ordering::Relaxed).as_ref() } {
            crate::signals::masks::take_caused(gp);
        }
    }
    let _ = mp;
}

/// `mp` is for `next` (none: its own stack), by what others see; the switch comes next.
#[inline]
fn tell_kernel(mp: &'static M, next: Option<&'static G>) {
    #[cold]
    #[inline(never)]
    fn look(mp: &'static M, next: Option<&'static G>) {
        let has_own = |odd: u8| odd & odd::ALTSTACK != 0;
        if has_own(mp.odd.get()) || next.is_some_and(|gp| has_own(gp.odd.get())) {
            altstack::change(mp, next);
        }
        #[cfg(feature = "intercept")]
        crate::signals::masks::switch(mp, next);
    }
    // A handler that finds no goroutine here may change the M's mask before this, and not after it.
    light_barrier();
    if IS_LOOKED_AT.load(Ordering::Relaxed) {
        look(mp, next);
    }
}

/// Tells the monitor that what it saw of this M is over (LE2): after `curg` is written, so that a
/// thread that sees the new count sees the new goroutine; before the goroutine that leaves is
/// published, so that a thread that sees that one running elsewhere sees the new count.
#[inline]
fn note_switch(mp: &M) {
    mp.switches.store(mp.switches.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
}

/// Makes `next` the goroutine of `mp`, about to be switched to.
#[inline]
fn begin(mp: &'static M, next: Next) {
    let gp = next.gp;
    before_switch(mp);
    if !next.inherits
        && let Some(pp) = mp.p()
    {
        pp.schedtick.store(pp.schedtick.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        pp.had_share.store(false, Ordering::Relaxed);
    }
    gp.m.store(mp.as_ptr(), Ordering::Relaxed);
    gp.status.set(State::Running);
    mp.curg.store(gp.as_ptr(), Ordering::Release);
    note_switch(mp);
    tell_kernel(mp, Some(gp));
}

/// Runs `next` from g0, until somebody comes back to g0.
fn execute(mp: &'static M, next: Next) {
    begin(mp, next);
    // SAFETY: as in leave_to; g0's context is read by goroutines on this M only.
    let word = unsafe { switch(mp.g0.get(), next.gp.context.get(), 0) };
    arrived(word, mp);
}

/// The next goroutine without waiting for one, for a goroutine that leaves; none if g0 must see to
/// it.
#[inline]
pub(crate) fn pick(gp: &'static G) -> Option<Next> {
    let mp = gp.m();
    let pp = mp.p()?;
    if SCHED.is_stopping() || gp.is_locked() {
        return None;
    }
    find::ready_made(mp, pp, find::at_hand_of_goroutine(pp)?)
}

/// The scheduler loop of an M, on its own stack. Returns when its thread is to end.
pub(crate) fn main_loop(mp: &'static M) {
    while let Some(next) = next_for(mp) {
        if next.gp.status.get() != State::Runnable {
            throw!("m{}: goroutine {} in a queue is not runnable", mp.id, next.gp.id());
        }
        execute(mp, next);
    }
}

/// Waits for a goroutine to run; none if the thread is to end.
fn next_for(mp: &'static M) -> Option<Next> {
    loop {
        if mp.dying.get() {
            wake::give_up_p(mp);
            return None;
        }
        if !mp.lockedg.load(Ordering::Relaxed).is_null() {
            return Some(super::locked::wait_for_lockedg(mp));
        }
        if mp.p().is_none() {
            if wake::stopm(mp, NEVER) == wake::Stop::End {
                return None;
            }
            continue;
        }
        if SCHED.is_stopping() {
            super::stw::stop_p(mp);
            continue;
        }
        let found = match mp.stash.take() {
            Some(one) => find::Candidate { one, inherits: mp.stash_inherits.take() },
            None => match find::find_runnable(mp) {
                find::Found::Work(next) => next,
                find::Found::Again => continue,
                find::Found::End => return None,
            },
        };
        if mp.spinning.get() {
            wake::reset_spinning(mp);
        }
        let gp = match found.one.kind() {
            Kind::G(gp) => gp,
            // SAFETY: taken from a queue.
            Kind::Task(task) => match unsafe { super::go::attach(mp, task) } {
                Some(gp) => gp,
                None => continue,
            },
        };
        if gp.is_locked() {
            super::locked::start_lockedm(mp, gp);
            continue;
        }
        return Some(Next { gp, inherits: found.inherits });
    }
}

/// Where every goroutine begins, on its own stack: `header` is its G, `word` the parting of the
/// context before.
pub(crate) extern "C" fn entry(header: *mut u8, word: usize) -> ! {
    // SAFETY: `Carrier::prepare` was given this function for a G's carrier.
    let gp: &'static G = unsafe { &*header.cast::<G>() };
    current::set_g(gp);
    arrived(word, gp.m());
    // SAFETY: this flow runs on that carrier.
    unsafe { gp.carrier().start() };
    current::leave(gp); // made with a count of 1
    let task = gp.task.get();
    // SAFETY: attached to this goroutine, for this one call. It catches panics.
    unsafe { ((*task).run)(task) };
    super::exit::exit(gp)
}
