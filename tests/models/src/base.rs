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

    pub(crate) fn light_barrier() {
        if !lacks(Weak::Light) {
            full_fence();
        }
    }

    pub(crate) fn heavy_barrier() -> bool {
        if !lacks(Weak::Heavy) {
            full_fence();
        }
        true
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
    twin!(
        #[expect(dead_code, reason = "not all of it is used")]
        AtomicU64,
        u64
    );
    twin!(AtomicPtr<T>, *mut T);
    arithmetic!(AtomicI32, i32);
    arithmetic!(AtomicU32, u32);
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
    }
}

pub(crate) mod lock {
    //! The runtime's lock.

    use loom::sync::{Mutex, MutexGuard};

    pub(crate) type Guard<'l, T> = MutexGuard<'l, T>;

    #[derive(Debug)]
    pub(crate) struct Lock<T>(Mutex<T>);

    impl<T> Lock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> Guard<'_, T> {
            self.0.lock().unwrap()
        }
    }
}

pub(crate) mod sys {
    //! The kernel, as ordinary threads see it. All words are one: who sleeps on any looks again when another is
    //! woken. A time is over when it is asked for.

    use super::atomic::{AtomicU32, Ordering};
    use loom::sync::{Condvar, Mutex};
    use std::time::Duration;

    loom::lazy_static! {
        static ref KERNEL: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    }

    pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) -> bool {
        assert_eq!(timeout, None, "the time is over");
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

    /// The time stands still.
    pub(crate) fn coarse_nanotime() -> u64 {
        1
    }

    /// What [`after`](crate::sched::wait::after) says.
    pub(crate) fn nanotime() -> u64 {
        1
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
