//! The twin of `goroutines::base`.

pub(crate) mod atomic {
    //! loom's atomics, behind a knob that weakens them.
    //!
    //! Both barriers are full fences here. That is more than the light one is on hardware: it does not
    //! order stores on weakly ordered machines unless a heavy one falls together with it.

    use loom::sync::atomic as loom;
    use std::cell::Cell;

    pub(crate) use std::sync::atomic::Ordering;

    /// What a weakened twin lacks.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Weak {
        /// Nothing: the real thing.
        No,
        /// All orderings are `Relaxed`.
        Orderings,
        /// There is no order of `SeqCst` accesses.
        Sequence,
        /// `fence` does nothing.
        Fences,
        /// The light barrier does nothing.
        Light,
        /// The heavy barrier does nothing.
        Heavy,
    }

    thread_local! {
        // loom runs all threads of a model on the thread that checks it.
        static WEAK: Cell<Weak> = const { Cell::new(Weak::No) };
    }

    thread_local! {
        static SEQUENCE: Cell<bool> = const { Cell::new(false) };
    }

    /// loom takes `SeqCst` accesses for `AcqRel` ones. For models of what relies on more, from now on, each
    /// has a full fence before and behind it: more than there is, but for stores that are followed by loads,
    /// which is what matters, the same.
    pub(crate) fn with_sequence(with: bool) {
        SEQUENCE.set(with);
    }

    fn access<R>(wanted: Ordering, do_it: impl FnOnce(Ordering) -> R) -> R {
        let sequence = wanted == Ordering::SeqCst
            && SEQUENCE.get()
            && !lacks(Weak::Sequence)
            && !lacks(Weak::Orderings);
        if sequence {
            full_fence();
        }
        let result = do_it(order(wanted));
        if sequence {
            full_fence();
        }
        result
    }

    /// Weakens this module for the models that the calling thread checks from now on.
    pub(crate) fn weaken(weak: Weak) {
        WEAK.set(weak);
    }

    fn lacks(weak: Weak) -> bool {
        WEAK.get() == weak
    }

    fn order(wanted: Ordering) -> Ordering {
        if lacks(Weak::Orderings) { Ordering::Relaxed } else { wanted }
    }

    ::loom::lazy_static! {
        static ref FENCES: loom::AtomicU32 = loom::AtomicU32::new(0);
    }

    /// loom does not try the fences of two threads in either order unless something else is at stake;
    /// an operation on the same variable before each makes it.
    fn full_fence() {
        FENCES.fetch_add(1, Ordering::Relaxed);
        loom::fence(Ordering::SeqCst);
    }

    pub(crate) fn fence(order: Ordering) {
        assert_eq!(order, Ordering::SeqCst, "no other fence is used");
        if !lacks(Weak::Fences) {
            full_fence();
        }
    }

    /// What the kernel has for heavy barriers.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Kernel {
        /// The call.
        Barriers,
        /// Nothing, as was known from the start: each entry pays, and a heavy barrier is the caller's own fence.
        Nothing,
        /// Nothing, and nobody knew: a heavy barrier fails.
        Refuses,
    }

    thread_local! {
        static KERNEL: Cell<Kernel> = const { Cell::new(Kernel::Barriers) };
    }

    /// Says what the kernel has in the model that runs.
    pub(crate) fn with_kernel(kernel: Kernel) {
        KERNEL.set(kernel);
    }

    pub(crate) fn entries_are_dear() -> bool {
        KERNEL.get() == Kernel::Nothing
    }

    /// Where the kernel has no heavy barrier, this one orders what the compiler does, and nothing else.
    pub(crate) fn light_barrier() {
        if !lacks(Weak::Light) && KERNEL.get() == Kernel::Barriers {
            full_fence();
        }
    }

    pub(crate) fn entry_barrier() {
        light_barrier();
        if entries_are_dear() && !super::steps::lacks("paying for entries") {
            fence(Ordering::SeqCst);
        }
    }

    pub(crate) fn heavy_barrier() -> bool {
        if !lacks(Weak::Heavy) {
            full_fence();
        }
        KERNEL.get() != Kernel::Refuses || super::steps::lacks("failing")
    }

    macro_rules! twin {
        ($(#[$lint:meta])? $name:ident $(<$t:ident>)?, $of:ty) => {
            #[derive(Debug)]
            pub(crate) struct $name $(<$t>)? (loom::$name $(<$t>)?);

            $(#[$lint])?
            impl $(<$t>)? $name $(<$t>)? {
                pub(crate) fn new(value: $of) -> Self {
                    Self(loom::$name::new(value))
                }

                pub(crate) fn load(&self, o: Ordering) -> $of {
                    access(o, |o| self.0.load(o))
                }

                pub(crate) fn store(&self, value: $of, o: Ordering) {
                    access(o, |o| self.0.store(value, o));
                }

                pub(crate) fn swap(&self, value: $of, o: Ordering) -> $of {
                    access(o, |o| self.0.swap(value, o))
                }

                pub(crate) fn compare_exchange(
                    &self,
                    from: $of,
                    to: $of,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$of, $of> {
                    access(success, |o| self.0.compare_exchange(from, to, o, order(failure)))
                }

                /// One that never fails for no reason.
                pub(crate) fn compare_exchange_weak(
                    &self,
                    from: $of,
                    to: $of,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$of, $of> {
                    self.compare_exchange(from, to, success, failure)
                }
            }
        };
    }

    macro_rules! arithmetic {
        ($name:ident, $of:ty) => {
            impl $name {
                pub(crate) fn fetch_add(&self, value: $of, o: Ordering) -> $of {
                    access(o, |o| self.0.fetch_add(value, o))
                }

                pub(crate) fn fetch_sub(&self, value: $of, o: Ordering) -> $of {
                    access(o, |o| self.0.fetch_sub(value, o))
                }
            }
        };
    }

    macro_rules! bits {
        ($name:ident, $of:ty) => {
            impl $name {
                pub(crate) fn fetch_or(&self, value: $of, o: Ordering) -> $of {
                    access(o, |o| self.0.fetch_or(value, o))
                }

                pub(crate) fn fetch_and(&self, value: $of, o: Ordering) -> $of {
                    access(o, |o| self.0.fetch_and(value, o))
                }
            }
        };
    }

    twin!(
        #[expect(dead_code, reason = "not all of it is used")]
        AtomicBool,
        bool
    );
    twin!(
        #[expect(dead_code, reason = "not all of it is used")]
        AtomicI32,
        i32
    );
    twin!(
        #[expect(dead_code, reason = "not all of it is used")]
        AtomicU8,
        u8
    );
    twin!(AtomicU32, u32);
    twin!(AtomicU64, u64);
    twin!(
        #[expect(dead_code, reason = "not all of it is used")]
        AtomicUsize,
        usize
    );
    twin!(AtomicPtr<T>, *mut T);
    arithmetic!(AtomicI32, i32);
    arithmetic!(AtomicU32, u32);
    arithmetic!(AtomicUsize, usize);
    arithmetic!(AtomicU64, u64);
    bits!(AtomicU8, u8);
    bits!(AtomicU64, u64);
}

pub(crate) mod cell {
    //! Cells that nobody may touch at the same time as another: loom sees to it.

    pub(crate) struct Cell<T>(loom::cell::Cell<T>);

    impl<T> std::fmt::Debug for Cell<T> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Cell")
        }
    }

    impl<T: Copy> Cell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::cell::Cell::new(value))
        }

        pub(crate) fn get(&self) -> T {
            self.0.get()
        }

        pub(crate) fn set(&self, value: T) {
            self.0.set(value);
        }

        pub(crate) fn replace(&self, value: T) -> T {
            self.0.replace(value)
        }

        pub(crate) fn swap(&self, other: &Self) {
            self.0.swap(&other.0);
        }

        pub(crate) fn take(&self) -> T
        where
            T: Default,
        {
            self.0.take()
        }
    }
}

pub(crate) mod lock {
    //! The runtime's lock. Who has taken it and forgotten its guard is believed to hold it if somebody does.

    use loom::sync::{Mutex, MutexGuard};
    use std::cell::{Cell, UnsafeCell};
    use std::mem::transmute;
    use std::ops::{Deref, DerefMut};

    pub(crate) struct Lock<T> {
        mutex: Mutex<()>,
        /// That of whoever holds it now.
        held: Cell<Option<MutexGuard<'static, ()>>>,
        value: UnsafeCell<T>,
    }

    // SAFETY: the value is reached by who holds the mutex; loom runs one thread at a time.
    unsafe impl<T> Sync for Lock<T> {}
    // SAFETY: as above.
    unsafe impl<T> Send for Lock<T> {}

    impl<T> std::fmt::Debug for Lock<T> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Lock")
        }
    }

    impl<T> Lock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self { mutex: Mutex::new(()), held: Cell::new(None), value: UnsafeCell::new(value) }
        }

        pub(crate) fn lock(&self) -> Guard<'_, T> {
            let held = self.mutex.lock().unwrap();
            // SAFETY: the lock stays where it is while it is held.
            let held = unsafe { transmute::<MutexGuard<'_, ()>, MutexGuard<'static, ()>>(held) };
            self.held.set(Some(held));
            Guard { lock: self, given_up: false }
        }

        pub(crate) fn lock_static(&self) -> Guard<'_, T> {
            self.lock()
        }

        pub(crate) fn lock_in_bursts(&self) -> Guard<'_, T> {
            self.lock()
        }

        /// # Safety
        /// * As in the library.
        pub(crate) unsafe fn locked(&self) -> Guard<'_, T> {
            let held = self.held.take();
            assert!(held.is_some(), "nobody holds the lock");
            self.held.set(held);
            Guard { lock: self, given_up: false }
        }
    }

    #[must_use]
    pub(crate) struct Guard<'l, T> {
        lock: &'l Lock<T>,
        given_up: bool,
    }

    impl<T> Guard<'_, T> {
        pub(crate) fn leave_locked(self) {
            let _ = std::mem::ManuallyDrop::new(self);
        }

        pub(crate) fn unlock_plainly(self) {
            drop(self);
        }

        /// Unlocks too early: what a weakened twin does.
        pub(crate) fn give_up(&mut self) {
            drop(self.lock.held.take());
            self.given_up = true;
        }
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            // SAFETY: the lock is held.
            unsafe { &*self.lock.value.get() }
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: the lock is held.
            unsafe { &mut *self.lock.value.get() }
        }
    }

    impl<T> Drop for Guard<'_, T> {
        fn drop(&mut self) {
            if !self.given_up {
                drop(self.lock.held.take());
            }
        }
    }
}

pub(crate) mod fatal {
    macro_rules! throw {
        ($($text:tt)*) => { panic!($($text)*) };
    }
    pub(crate) use throw;
}

pub(crate) mod rand {
    //! Numbers of the model's choice, which are the same in each of its runs.

    use std::cell::Cell;

    thread_local! {
        static NEXT: Cell<u32> = const { Cell::new(0) };
    }

    /// What all numbers are from now on.
    pub(crate) fn always(next: u32) {
        NEXT.set(next);
    }

    pub(crate) struct Rand;

    impl Rand {
        pub(crate) fn new(_: u64) -> Self {
            Self
        }

        pub(crate) fn next(&self) -> u32 {
            NEXT.get()
        }
    }
}

pub(crate) mod number {
    //! What stands for addresses.

    use std::cell::Cell;

    thread_local! {
        static LAST: Cell<usize> = const { Cell::new(0) };
    }

    /// Greater than those before.
    pub(crate) fn number() -> usize {
        LAST.set(LAST.get() + 1);
        LAST.get()
    }
}

pub(crate) mod sys {
    //! The clock, and what the kernel does for threads.

    use super::atomic::{AtomicU32, Ordering};
    use loom::sync::{Condvar, Mutex, atomic};
    use std::time::Duration;

    loom::lazy_static! {
        static ref NOW: atomic::AtomicU64 = atomic::AtomicU64::new(0);
        static ref KERNEL: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    }

    /// There is one clock, and it orders nothing.
    pub(crate) fn nanotime() -> u64 {
        NOW.fetch_add(0, Ordering::Relaxed)
    }

    /// It is `to` now, or later.
    pub(crate) fn pass(to: u64) {
        NOW.fetch_max(to, Ordering::Relaxed);
    }

    /// A burst is over with each look.
    pub(crate) fn cycles() -> u64 {
        NOW.fetch_add(1 << 20, Ordering::Relaxed)
    }

    /// The time stands still, for who only asks roughly.
    pub(crate) fn coarse_nanotime() -> u64 {
        1
    }

    /// All words are one: who sleeps on any looks again when another is woken. With a time-out, the time is over
    /// at once.
    pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> bool {
        if let Some(timeout) = timeout {
            pass(nanotime() + timeout.as_nanos() as u64);
            return false;
        }
        let asleep = KERNEL.0.lock().unwrap();
        if word.load(Ordering::Relaxed) == expected {
            drop(KERNEL.1.wait(asleep).unwrap());
        }
        true
    }

    pub(crate) fn futex_wake(_word: *const AtomicU32, _count: i32) {
        let _awake = KERNEL.0.lock().unwrap();
        KERNEL.1.notify_all();
    }
}

pub(crate) mod time {
    //! Times as the model's clock has them.

    use super::sys::nanotime;
    use std::ops::{Add, Sub};
    pub(crate) use std::time::Duration;

    /// ns since the model began.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Instant(pub(crate) u64);

    fn ns(d: Duration) -> u64 {
        d.as_nanos() as u64
    }

    impl Instant {
        pub(crate) fn now() -> Self {
            Self(nanotime())
        }

        pub(crate) fn elapsed(&self) -> Duration {
            Self::now() - *self
        }

        pub(crate) fn checked_add(self, d: Duration) -> Option<Self> {
            self.0.checked_add(ns(d)).map(Self)
        }

        pub(crate) fn saturating_duration_since(self, since: Self) -> Duration {
            Duration::from_nanos(self.0.saturating_sub(since.0))
        }
    }

    impl Add<Duration> for Instant {
        type Output = Self;
        fn add(self, d: Duration) -> Self {
            Self(self.0 + ns(d))
        }
    }

    impl Sub for Instant {
        type Output = Duration;
        fn sub(self, other: Self) -> Duration {
            self.saturating_duration_since(other)
        }
    }
}

pub(crate) mod steps {
    //! Steps of a protocol that a weakened twin leaves out: of the library's own files where `build.rs` puts a
    //! question there, and of what the models repeat.

    use std::cell::Cell;

    thread_local! {
        // loom runs all threads of a model on the thread that checks it.
        static LACKS: Cell<&'static str> = const { Cell::new("") };
    }

    /// Leaves `step` out from now on; "": none.
    pub(crate) fn leave_out(step: &'static str) {
        LACKS.set(step);
    }

    /// Whether it is left out.
    pub(crate) fn lacks(step: &str) -> bool {
        LACKS.get() == step
    }
}
