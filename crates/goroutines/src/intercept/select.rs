//! `select` and `pselect`: as `poll` (`poll.rs`), with sets of descriptors.
//!
//! To the kernel a set is as long as the highest number needs, in whole words; programs may make
//! sets of any length. So no more than these words are read and written, and they are written only
//! when the kernel would write them: at the end, where the call has not failed. Meanwhile the
//! runtime works on copies.

use super::mask::{fault, with_mask};
use super::poll::{Source, time_limit, until_any};
use super::real::{result, take_over};
use super::user_memory::{self, Errno};
use crate::g::G;
use crate::netpoll::Direction;
use crate::sched::syscall::announced_undisturbed as undisturbed;
use crate::sched::wait::after;
use crate::timer::alarm::NEVER;
use goroutines_switch::sys::raw;
use libc::{c_int, fd_set, sigset_t, timespec, timeval};
use std::mem::MaybeUninit;
use std::time::Duration;

/// The bits of a word.
const BITS: usize = u64::BITS as usize;

/// The words of the longest set that is looked at here; longer sets, which some programs make, are
/// left to the kernel.
const WORDS: usize = libc::FD_SETSIZE / BITS;

/// Copies of the three sets of a call.
#[derive(Clone, Copy)]
struct Sets {
    at: [*mut u64; 3],
    copies: [[u64; WORDS]; 3],
    /// How many words of each are the caller's.
    words: usize,
}

impl Sets {
    /// Copies the sets at `at`, of which any may be missing, for numbers below `n`.
    fn read(gp: &'static G, n: usize, at: [*mut fd_set; 3]) -> Result<Self, Errno> {
        let mut sets = Self {
            at: at.map(<*mut fd_set>::cast),
            copies: [[0; WORDS]; 3],
            words: n.div_ceil(BITS),
        };
        for (at, copy) in sets.at.iter().zip(&mut sets.copies) {
            if !at.is_null() {
                let mut room = [const { MaybeUninit::uninit() }; WORDS];
                // SAFETY: numbers.
                let words =
                    unsafe { user_memory::read_all(gp, at.cast_const(), sets.words, &mut room) }?;
                copy[..sets.words].copy_from_slice(words);
            }
        }
        Ok(sets)
    }

    /// Copies them back.
    fn write(&self, gp: &'static G) -> Result<(), Errno> {
        for (at, copy) in self.at.iter().zip(&self.copies) {
            if !at.is_null() {
                user_memory::write_all(gp, *at, &copy[..self.words])?;
            }
        }
        Ok(())
    }

    /// The addresses of the copies, for the kernel.
    fn addresses(&mut self) -> [usize; 3] {
        let mut addresses = [0; 3];
        for (i, copy) in self.copies.iter_mut().enumerate() {
            if !self.at[i].is_null() {
                addresses[i] = copy.as_mut_ptr() as usize;
            }
        }
        addresses
    }

    fn has(&self, set: usize, fd: usize) -> bool {
        self.copies[set][fd / BITS] >> (fd % BITS) & 1 != 0
    }

    fn sources(&self, n: usize, out: &mut Vec<Source>) -> Option<()> {
        for fd in 0..n {
            if self.has(0, fd) || self.has(2, fd) {
                out.push(Source::new(fd as i32, Direction::Read)?);
            }
            if self.has(1, fd) {
                out.push(Source::new(fd as i32, Direction::Write)?);
            }
        }
        Some(())
    }
}

/// Selects until the time `until`. None where the kernel is to say what is wrong with the sets.
fn select_until(gp: &'static G, n: usize, at: [*mut fd_set; 3], until: u64) -> Option<isize> {
    let wanted = Sets::read(gp, n, at).ok()?;
    let mut now = wanted;
    let mut call = |time: Option<&timespec>| {
        now = wanted;
        let time = time.map_or(0, |time| std::ptr::from_ref(time) as usize);
        let [read, write, except] = now.addresses();
        // SAFETY: our own sets. The kernel writes what is left to the time, which is ours.
        unsafe { raw(libc::SYS_pselect6, [n, read, write, except, time, 0]) }
    };
    let mut attempt = || call(Some(&timespec { tv_sec: 0, tv_nsec: 0 }));
    let sources = |out: &mut Vec<Source>| wanted.sources(n, out);
    let mut cant_wait = None;
    let plain = |left: Option<Duration>| {
        cant_wait = Some(left);
        0
    };
    let mut word = until_any(gp, until, &mut attempt, sources, plain, true);
    if let Some(left) = cant_wait {
        let time = left.map(|left| timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        });
        word = undisturbed(gp, || call(time.as_ref()));
    }
    if word >= 0
        && let Err(error) = now.write(gp)
    {
        return Some(-(error as isize));
    }
    Some(word)
}

/// How many numbers a set has. None where `n` is negative, or so large that the set is not looked
/// at here.
fn numbers(n: c_int) -> Option<usize> {
    usize::try_from(n).ok().filter(|n| *n <= libc::FD_SETSIZE)
}

/// A `select`. None where libc, or the kernel, is to say what is wrong.
fn select_for(gp: &'static G, n: c_int, at: [*mut fd_set; 3], time: *mut timeval) -> Option<isize> {
    let n = numbers(n)?;
    if time.is_null() {
        return select_until(gp, n, at, NEVER);
    }
    let start = crate::base::sys::nanotime();
    // SAFETY: two numbers.
    let given = unsafe { user_memory::read(gp, time) }.ok()?;
    let (seconds, micros) = (u64::try_from(given.tv_sec), u64::try_from(given.tv_usec));
    let length =
        Duration::from_secs(seconds.ok()?).saturating_add(Duration::from_micros(micros.ok()?));
    let word = select_until(gp, n, at, after(length))?;
    // Linux says what is left of the time, where it can.
    let passed = Duration::from_nanos(crate::base::sys::nanotime().saturating_sub(start));
    let left = length.saturating_sub(passed);
    let left = timeval { tv_sec: left.as_secs() as i64, tv_usec: left.subsec_micros().into() };
    let _ = user_memory::write(gp, time, left);
    Some(word)
}

take_over! {
    fn select(
        n: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, time: *mut timeval,
    ) -> c_int = |gp, real| match select_for(gp, n, [read, write, except], time) {
        Some(word) => result(word) as c_int,
        None => undisturbed(gp, real),
    };

    fn pselect(
        n: c_int, read: *mut fd_set, write: *mut fd_set, except: *mut fd_set, time: *const timespec,
        mask: *const sigset_t,
    ) -> c_int = |gp, real| {
        let Some((n, until)) = numbers(n).zip(time_limit(gp, time)) else {
            return undisturbed(gp, real);
        };
        let call = || {
            let word = select_until(gp, n, [read, write, except], until)?;
            Some(result(word) as c_int)
        };
        match with_mask(gp, mask, call) {
            None => fault(),
            Some(None) => undisturbed(gp, real),
            Some(Some(word)) => word,
        }
    };
}
