//! Alternate signal stacks.
//!
//! **The problem.** The kernel keeps one per OS thread. Libraries set one per thread, on which
//! their handlers of faults run, and drop it with their thread-locals. And each M has one of the
//! runtime's, without which a stack overflow could not be reported.
//!
//! **Chosen.** A goroutine's alternate stack is its own: installed while the goroutine runs, on
//! whichever M. One that has set none runs with the M's. A switch that changes the alternate stack
//! tells the kernel, which returns at the same time what the goroutine before had: only the kernel
//! knows that (a handler on a stack with `SS_AUTODISARM` runs without any, and gets it back when it
//! returns). All other switches pay a load.
//!
//! * AS1: `M::altstack_of` is the goroutine whose alternate stack the kernel has; null: the M's
//!   own.
//! * AS2: a goroutine's alternate stack is taken from the kernel before the goroutine is published,
//!   so no signal comes to the stack of a goroutine that runs elsewhere.
//! * AS3: a signal frame that goes on elsewhere must name the alternate stack that the kernel has
//!   there ([`restored`]).
//! * AS4: code that runs on an M's own alternate stack does not leave the M: handlers there run
//!   with the count raised, those of faults too (`intercept/signal.rs`).
//! * AS5: but the runtime's own handler may, where it has interrupted a stack that has no room for
//!   its frame, or that the runtime knows nothing of. The M leaves the goroutine its alternate
//!   stack, and takes another ([`lend`]); where the goroutine goes on, the M takes this one for its
//!   own ([`take_back`]). `G::lent` names it meanwhile. If a handler is left by `siglongjmp` before
//!   that, the stack is free at the next look.

use super::M;
use crate::base::fatal::throw;
use crate::base::sys::{block_signals, set_signals};
use crate::g::{G, odd};
use goroutines_switch::sys;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Whether `gp` has set one.
fn has_own(gp: &G) -> bool {
    gp.odd.get() & odd::ALTSTACK != 0
}

/// What the kernel takes for "none".
const NONE: libc::stack_t =
    libc::stack_t { ss_sp: null_mut(), ss_flags: libc::SS_DISABLE, ss_size: 0 };

/// glibc's headers have it, the crate does not.
const SS_AUTODISARM: i32 = 1 << 31;

/// What an alternate stack of the runtime has more than the kernel's frame needs.
const ROOM: usize = 64 << 10;

/// How many of them are kept that no M uses.
const SPARE: usize = 64;

/// Where those begin; 0: a free place.
static SPARES: [AtomicUsize; SPARE] = [const { AtomicUsize::new(0) }; SPARE];

/// Bytes of an alternate stack of the runtime, without its guard.
fn bytes() -> usize {
    // SAFETY: getauxval reads what the kernel laid out.
    let least = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    (least + ROOM).next_multiple_of(4096)
}

/// An alternate stack for handlers that can't use the goroutine's. None: there is no memory.
fn make() -> Option<libc::stack_t> {
    // Acquire: the frames of the thread that has released it are dead.
    if let Some(at) =
        SPARES.iter().map(|place| place.swap(0, Ordering::Acquire)).find(|at| *at != 0)
    {
        return Some(named(at));
    }
    let guard = goroutines_switch::guard::GUARD_BYTES;
    let base = sys::map(guard + bytes()).ok()?;
    // SAFETY: our new mapping.
    unsafe {
        let _ = goroutines_switch::guard::install(base);
    }
    Some(named(base as usize + guard))
}

fn named(at: usize) -> libc::stack_t {
    libc::stack_t { ss_sp: at as *mut _, ss_flags: 0, ss_size: bytes() }
}

/// Gives one back: no code runs on it, and no thread has it.
fn release(at: usize) {
    let put = |place: &AtomicUsize| {
        place.compare_exchange(0, at, Ordering::Release, Ordering::Relaxed).is_ok()
    };
    if SPARES.iter().any(put) {
        return;
    }
    let guard = goroutines_switch::guard::GUARD_BYTES;
    // SAFETY: what make() has mapped; unused, as the caller says.
    unsafe { sys::unmap((at - guard) as *mut u8, guard + bytes()) };
}

/// Gives `mp`, the calling thread's M, an alternate stack: without one a stack overflow could not
/// be reported.
pub(crate) fn install(mp: &M) {
    if let Some(stack) = make() {
        set(&stack);
        mp.altstack.set(stack);
    }
}

/// Takes it from the thread of `mp`, which is about to end.
pub(crate) fn remove(mp: &M) {
    let own = mp.altstack.get();
    if own.ss_size != 0 {
        set(&NONE);
        mp.altstack.set(libc::stack_t { ss_size: 0, ..NONE });
        release(own.ss_sp as usize);
    }
}

/// The calling code, the runtime's handler on the own alternate stack of `mp`, is about to leave
/// the M with its goroutine `gp` (AS5). With the count raised, in no other section. False: there is
/// no memory for another stack, and it must stay.
pub(crate) fn lend(gp: &'static G, mp: &M) -> bool {
    free_lent(gp);
    let Some(next) = make() else { return false };
    if mp.altstack_of.get().is_null() {
        exchange(&next, end(&next));
    }
    gp.lent.set(mp.altstack.replace(next).ss_sp as usize);
    true
}

/// The goroutine `gp`, whose handler is about to return, goes on on `mp` (AS5).
pub(crate) fn take_back(gp: &'static G, mp: &M) {
    let lent = gp.lent.replace(0);
    let mine = mp.altstack.replace(named(lent));
    if mp.altstack_of.get().is_null() {
        set(&mp.altstack.get());
    }
    if mine.ss_size != 0 {
        release(mine.ss_sp as usize);
    }
}

/// A handler was left while the goroutine had a stack of an M's.
#[cold]
fn free_lent(gp: &G) {
    let lent = gp.lent.replace(0);
    if lent != 0 {
        release(lent);
    }
}

/// Makes `stack` the calling thread's.
fn set(stack: &libc::stack_t) {
    let args = [std::ptr::from_ref(stack) as usize, 0, 0, 0, 0, 0];
    // SAFETY: a stack_t to read; the caller has the memory that it names.
    unsafe { sys::raw(libc::SYS_sigaltstack, args) };
}

/// Makes `stack` the calling thread's. The caller may run on the thread's present alternate stack,
/// where the kernel would refuse that: so the kernel is asked from `elsewhere`, the end of a stack.
/// No signal may come meanwhile: it would find another stack in use, and be put over the caller's
/// frames. Returns what the thread had.
fn exchange(stack: &libc::stack_t, elsewhere: usize) -> libc::stack_t {
    let mut before = NONE;
    let (new, old) = (std::ptr::from_ref(stack), &raw mut before);
    let mask = block_signals(u64::MAX);
    // SAFETY: stacks to read and to write. `elsewhere` is the end of a stack with room, which no
    // code runs on. Registers are as in `sys::raw`.
    unsafe {
        std::arch::asm!(
            "xchg rsp, {elsewhere}",
            "syscall",
            "mov rsp, {elsewhere}",
            elsewhere = inout(reg) elsewhere => _,
            inlateout("rax") libc::SYS_sigaltstack as isize => _,
            in("rdi") new, in("rsi") old,
            lateout("rcx") _, lateout("r11") _,
        );
    }
    set_signals(mask);
    before
}

fn end(stack: &libc::stack_t) -> usize {
    (stack.ss_sp as usize + stack.ss_size) & !15
}

/// The goroutine `next` (none: g0) is about to run on `mp`, and it or the goroutine before has an
/// alternate stack. Called on `mp`, with the count raised, before the switch (AS2).
#[cold]
#[inline(never)]
pub(crate) fn change(mp: &M, next: Option<&'static G>) {
    let own = mp.altstack.get();
    if own.ss_size == 0 {
        return; // there was no memory for it
    }
    let next = next.filter(|gp| has_own(gp));
    let wanted = next.map_or(own, |gp| gp.altstack.get());
    let to = next.map_or(null_mut(), G::as_ptr);
    mp.odd.set(mp.odd.get() & !odd::ALTSTACK | if to.is_null() { 0 } else { odd::ALTSTACK });
    // SAFETY: AS1: null, or a G, which is never freed.
    let Some(gp) = (unsafe { mp.altstack_of.replace(to).as_ref() }) else {
        // AS4: code that is on the M's own does not leave it.
        return set(&wanted);
    };
    let before = exchange(&wanted, end(&own));
    let flags = before.ss_flags & (SS_AUTODISARM | libc::SS_DISABLE);
    gp.altstack.set(libc::stack_t { ss_flags: flags, ..before });
}

/// The alternate stack that the signal frame of `gp`, which goes on on `mp`, must name (AS3). None
/// if what it names is right.
pub(crate) fn restored(gp: &G, mp: &M) -> Option<libc::stack_t> {
    // A goroutine's own alternate stack is the same everywhere.
    (!has_own(gp)).then(|| mp.altstack.get())
}

/// The kernel is to have the alternate stack that `mp` should have with `gp` (AS3). In debug builds
/// the process ends where it has another.
#[inline]
pub(crate) fn check(gp: &'static G, mp: &M, now: &libc::stack_t) {
    #[cold]
    fn wrong(gp: &'static G, mp: &M, now: &libc::stack_t) -> ! {
        let of = crate::sched::SCHED.all_ms().find(|mp| mp.altstack.get().ss_sp == now.ss_sp);
        throw!(
            "AS3: goroutine {} on m{} has the alternate stack {:?} (flags {:#x}) of m{}, not {:?}",
            gp.id(),
            mp.id,
            now.ss_sp,
            now.ss_flags,
            of.map_or(-1, |mp| mp.id as i64),
            mp.altstack.get().ss_sp
        )
    }
    if cfg!(debug_assertions) && !has_own(gp) && now.ss_sp != mp.altstack.get().ss_sp {
        wrong(gp, mp, now);
    }
}

/// The end of the alternate stack of `mp`, if the kernel has that of `gp`, its goroutine, instead.
pub(crate) fn unused(gp: &'static G, mp: &M) -> Option<usize> {
    let own = mp.altstack.get();
    (mp.altstack_of.get() == gp.as_ptr() && own.ss_size != 0).then(|| end(&own))
}

/// Whether `sp` is on the runtime's alternate stack of `mp`.
pub(crate) fn is_on_own(mp: &M, sp: usize) -> bool {
    let own = mp.altstack.get();
    (own.ss_sp as usize..end(&own)).contains(&sp)
}

/// `sigaltstack` of the goroutine `gp`, on `mp`, with the count raised. Returns the kernel's word:
/// the kernel judges the arguments, also by where the stack pointer is.
#[cfg(feature = "intercept")]
pub(crate) fn call(
    gp: &'static G,
    mp: &M,
    new: *const libc::stack_t,
    old: *mut libc::stack_t,
) -> isize {
    // SAFETY: the user's arguments, which the kernel looks at.
    let ask = |new: *const libc::stack_t, old: *mut libc::stack_t| unsafe {
        sys::raw(libc::SYS_sigaltstack, [new as usize, old as usize, 0, 0, 0, 0])
    };
    let is_off = || {
        let mut now = NONE;
        ask(std::ptr::null(), &raw mut now);
        now.ss_flags & libc::SS_DISABLE != 0
    };
    let had = has_own(gp);
    // In a handler that runs on a stack with SS_AUTODISARM, which comes back when the handler
    // returns.
    let is_disarmed = had && is_off();
    let word = ask(new, old);
    if word < 0 {
        return word;
    }
    if !had && !old.is_null() {
        // SAFETY: the kernel has just written it.
        unsafe { old.write(NONE) };
    }
    if new.is_null() || is_disarmed {
        return 0;
    }
    let is_on = !is_off();
    crate::sched::run::switches_are_looked_at();
    let bit = if is_on { odd::ALTSTACK } else { 0 };
    gp.odd.set(gp.odd.get() & !odd::ALTSTACK | bit);
    mp.odd.set(mp.odd.get() & !odd::ALTSTACK | bit);
    mp.altstack_of.set(if is_on { gp.as_ptr() } else { null_mut() });
    if !is_on {
        set(&mp.altstack.get());
    }
    0
}

/// The goroutine has ended, in a section: what it has set goes with it at the switch to the next.
pub(crate) fn forget(gp: &G) {
    if gp.lent.get() != 0 {
        free_lent(gp);
    }
    gp.odd.set(gp.odd.get() & !odd::ALTSTACK);
}
