//! A heap of times, four children a node, in memory of its own.
//!
//! Four children: half the levels of a binary heap, and the children of a node share a cache line.
//! (Go's timers: the same.) It grows by mapping, as it is used where nothing may be allocated.

use goroutines_switch::sys;
use std::ptr::NonNull;

/// Something that is due at a time.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Entry<T> {
    pub(crate) when: u64,
    pub(crate) what: T,
}

const WAYS: usize = 4;
const FIRST: usize = 256;

/// The heap: the earliest is at the front.
#[derive(Debug)]
pub(crate) struct Heap<T: Copy> {
    at: NonNull<Entry<T>>,
    len: usize,
    room: usize,
}

// SAFETY: it owns its entries.
unsafe impl<T: Copy + Send> Send for Heap<T> {}

impl<T: Copy> Heap<T> {
    pub(crate) const fn new() -> Self {
        Self { at: NonNull::dangling(), len: 0, room: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The entries, in no particular order but for the first.
    pub(crate) fn entries(&self) -> &[Entry<T>] {
        // SAFETY: `len` entries were written.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }

    fn entries_mut(&mut self) -> &mut [Entry<T>] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.at.as_ptr(), self.len) }
    }

    /// The earliest time.
    pub(crate) fn first(&self) -> Option<u64> {
        self.entries().first().map(|entry| entry.when)
    }

    /// Looks at those that are due before `until`, 256 at most; where `look` returns an earlier
    /// time, at those before that.
    pub(crate) fn look_before(&self, mut until: u64, mut look: impl FnMut(&Entry<T>) -> u64) {
        const MOST: usize = 256;
        let entries = self.entries();
        // Those whose children are to be looked at.
        let mut due = [0_u32; MOST];
        let mut count = 0;
        let mut see = |at: usize, until: &mut u64, due: &mut [u32; MOST]| {
            if let Some(entry) = entries.get(at)
                && entry.when < *until
                && count < MOST
            {
                due[count] = at as u32;
                count += 1;
                *until = (*until).min(look(entry));
            }
            count
        };
        let mut seen = see(0, &mut until, &mut due);
        let mut next = 0;
        while next < seen {
            let child = due[next] as usize * WAYS + 1;
            for at in child..child + WAYS {
                seen = see(at, &mut until, &mut due);
            }
            next += 1;
        }
    }

    /// Puts one in. False if there is no memory.
    #[must_use]
    pub(crate) fn push(&mut self, when: u64, what: T) -> bool {
        if self.len == self.room && !self.grow() {
            return false;
        }
        // SAFETY: within the room.
        unsafe { self.at.add(self.len).write(Entry { when, what }) };
        self.len += 1;
        self.up(self.len - 1);
        true
    }

    /// Takes the earliest out.
    pub(crate) fn pop(&mut self) -> Option<Entry<T>> {
        let last = self.len.checked_sub(1)?;
        let entries = self.entries_mut();
        let first = entries[0];
        entries[0] = entries[last];
        self.len = last;
        if last > 1 {
            self.down(0);
        }
        Some(first)
    }

    /// Keeps those that `keep` wants.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Entry<T>) -> bool) {
        let mut kept = 0;
        let entries = self.entries_mut();
        for i in 0..entries.len() {
            let entry = entries[i];
            if keep(&entry) {
                entries[kept] = entry;
                kept += 1;
            }
        }
        self.len = kept;
        for i in (0..kept.div_ceil(WAYS)).rev() {
            self.down(i);
        }
    }

    #[cold]
    fn grow(&mut self) -> bool {
        let room = (2 * self.room).max(FIRST);
        let Ok(at) = sys::map(room * size_of::<Entry<T>>()) else { return false };
        let Some(at) = NonNull::new(at.cast::<Entry<T>>()) else { return false };
        // SAFETY: a new mapping of that size, aligned to pages; the old one is ours, whole, and
        // left.
        unsafe {
            at.copy_from_nonoverlapping(self.at, self.len);
            if self.room > 0 {
                sys::unmap(self.at.as_ptr().cast(), self.room * size_of::<Entry<T>>());
            }
        }
        (self.at, self.room) = (at, room);
        true
    }

    fn up(&mut self, mut at: usize) {
        let entries = self.entries_mut();
        let entry = entries[at];
        while at > 0 {
            let parent = (at - 1) / WAYS;
            if entries[parent].when <= entry.when {
                break;
            }
            entries[at] = entries[parent];
            at = parent;
        }
        entries[at] = entry;
    }

    fn down(&mut self, mut at: usize) {
        let entries = self.entries_mut();
        let Some(&entry) = entries.get(at) else { return };
        loop {
            let child = at * WAYS + 1;
            let end = (child + WAYS).min(entries.len());
            if child >= end {
                break;
            }
            let mut least = child;
            for i in child + 1..end {
                if entries[i].when < entries[least].when {
                    least = i;
                }
            }
            if entries[least].when >= entry.when {
                break;
            }
            entries[at] = entries[least];
            at = least;
        }
        entries[at] = entry;
    }
}

#[cfg(test)]
mod tests {
    use super::Heap;

    fn next(seed: &mut u64) -> u64 {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *seed >> 33
    }

    #[test]
    fn comes_out_in_order_whatever_went_in() {
        let mut seed = 1;
        for n in [0, 1, 2, 3, 4, 5, 6, 20, 21, 22, 300, 5_000] {
            let mut heap = Heap::new();
            let mut all: Vec<u64> = (0..n).map(|_| next(&mut seed) % 1_000).collect();
            for when in &all {
                assert!(heap.push(*when, *when), "no memory");
            }
            all.sort_unstable();
            let out: Vec<u64> = std::iter::from_fn(|| heap.pop().map(|e| e.when)).collect();
            assert_eq!(out, all, "of {n}");
        }
    }

    #[test]
    fn those_before_a_time_are_looked_at() {
        let mut seed = 3;
        let mut heap = Heap::new();
        let mut all: Vec<u64> = (0..400).map(|_| next(&mut seed) % 10_000).collect();
        all.iter().for_each(|when| assert!(heap.push(*when, ()), "no memory"));
        all.sort_unstable();
        for until in [0, all[0], all[0] + 1, all[1], all[7], all[63]] {
            let mut seen = Vec::new();
            heap.look_before(until, |entry| {
                seen.push(entry.when);
                u64::MAX
            });
            seen.sort_unstable();
            let before: Vec<u64> = all.iter().copied().filter(|when| *when < until).collect();
            assert_eq!(seen, before, "before {until}");
        }
        let mut seen = 0;
        heap.look_before(u64::MAX, |_| {
            seen += 1;
            u64::MAX
        });
        assert_eq!(seen, 256, "no more");
        let mut least = u64::MAX;
        heap.look_before(all[40], |entry| {
            least = least.min(entry.when + 1);
            least
        });
        assert_eq!(least, all[0] + 1, "the first one's");
    }

    #[test]
    fn keeps_what_is_wanted_and_its_order() {
        let mut seed = 7;
        let mut heap = Heap::new();
        let mut all: Vec<u64> = (0..4_000).map(|_| next(&mut seed) % 10_000).collect();
        all.iter().for_each(|when| assert!(heap.push(*when, ()), "no memory"));
        heap.retain(|entry| entry.when % 3 == 0);
        all.retain(|when| when % 3 == 0);
        all.sort_unstable();
        let out: Vec<u64> = std::iter::from_fn(|| heap.pop().map(|e| e.when)).collect();
        assert_eq!(out, all);
    }
}
