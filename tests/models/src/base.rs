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
                    self.0.load(order(o))
                }

                pub(crate) fn store(&self, value: $of, o: Ordering) {
                    self.0.store(value, order(o));
                }

                pub(crate) fn swap(&self, value: $of, o: Ordering) -> $of {
                    self.0.swap(value, order(o))
                }

                pub(crate) fn compare_exchange(
                    &self,
                    from: $of,
                    to: $of,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$of, $of> {
                    self.0.compare_exchange(from, to, order(success), order(failure))
                }
            }
        };
    }

    macro_rules! arithmetic {
        ($name:ident, $of:ty) => {
            impl $name {
                pub(crate) fn fetch_add(&self, value: $of, o: Ordering) -> $of {
                    self.0.fetch_add(value, order(o))
                }

                pub(crate) fn fetch_sub(&self, value: $of, o: Ordering) -> $of {
                    self.0.fetch_sub(value, order(o))
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
