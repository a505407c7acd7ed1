//! Whether a flow has left anything in libc that its end must put back.
//!
//! Hardly any has, and asking libc's functions one by one takes longer than all else of a
//! goroutine's end. So the words that they would look at are read here, all at once. Where one of
//! them was not found, they are asked.

use super::glibc::generation;
use super::probe::Probe;

/// Where the words are, from the thread pointer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quiet {
    /// Bytes that are 0: no key has a value, and cancellation is as in a new thread.
    bytes: [usize; 3],
    /// Words that are 0: `dlerror` has nothing to say, and the resolver's state was not used (its
    /// options, and how many servers there are).
    words: [usize; 2],
    servers: usize,
    /// A word that says that no locale was set.
    locale: usize,
    no_locale: usize,
    /// See [`Facts::clean_generation`](super::Facts).
    generation: usize,
    errors: [usize; 2],
}

impl Quiet {
    /// None if one of the places is not known.
    pub(super) fn new(
        probe: &Probe,
        specific_used_at: Option<usize>,
        generation: usize,
    ) -> Option<Self> {
        let [state, kind] = probe.cancel?;
        let (locale, no_locale) = probe.locale?;
        let [errno, h_errno] = probe.errors?;
        let (options, servers) = super::resolver::marks(probe)?;
        Some(Self {
            bytes: [specific_used_at?, state, kind],
            words: [probe.dlerror?.wrapping_neg(), options],
            servers,
            locale: locale.wrapping_neg(),
            no_locale,
            generation,
            errors: [errno.wrapping_neg(), h_errno.wrapping_neg()],
        })
    }

    /// Whether nothing is to be put back in the block at `tp` but the numbers of errors.
    ///
    /// # Safety
    /// * A block of libc's layout, on which nothing runs but the caller.
    #[inline]
    pub(super) unsafe fn is(&self, tp: usize) -> bool {
        let at = |offset: usize| tp.wrapping_add(offset);
        let [used, state, kind] = self.bytes;
        // SAFETY: words of the caller's block.
        unsafe {
            let byte = |offset| usize::from(*(at(offset) as *const u8));
            let word = |offset| *(at(offset) as *const usize);
            let set = byte(used)
                | byte(state)
                | byte(kind)
                | word(self.words[0])
                | word(self.words[1])
                | *(at(self.servers) as *const u32) as usize
                | (word(self.locale) ^ self.no_locale);
            set == 0 && generation(tp) == self.generation
        }
    }

    /// No error has been yet.
    ///
    /// # Safety
    /// * As for [`is`](Self::is).
    #[inline]
    pub(super) unsafe fn clear_errors(&self, tp: usize) {
        for at in self.errors {
            // SAFETY: a thread-local of the caller's block.
            unsafe { *(tp.wrapping_add(at) as *mut u32) = 0 };
        }
    }
}
