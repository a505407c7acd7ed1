//! The twin of `goroutines::thread`.

pub(crate) mod id {
    use super::park::ParkState;
    use std::cell::Cell;
    use std::ptr::null;

    /// What a goroutine's handles share.
    pub(crate) struct Inner {
        pub(super) park: ParkState,
    }

    impl Inner {
        pub(crate) fn new() -> Self {
            Self { park: ParkState::new() }
        }

        pub(crate) fn unpark(&self) {
            self.park.unpark();
        }
    }

    thread_local! {
        static CURRENT: Cell<*const Inner> = const { Cell::new(null()) };
    }

    /// Says whose handle [`current`] returns; it stays where it is while the model runs.
    pub(crate) fn set_current(inner: *const Inner) {
        CURRENT.set(inner);
    }

    /// The handle of the one goroutine that parks.
    pub(crate) struct Handle(*const Inner);

    impl Handle {
        pub(crate) fn inner(&self) -> Option<&Inner> {
            // SAFETY: as `set_current` says.
            unsafe { self.0.as_ref() }
        }
    }

    pub(crate) fn current() -> Handle {
        Handle(CURRENT.get())
    }
}

#[expect(unreachable_pub, reason = "a public file of the library")]
pub(crate) mod park {
    include!(concat!(env!("OUT_DIR"), "/thread_park.rs"));
}

/// Of `thread/join.rs`.
pub(crate) fn prepare(
    f: impl FnOnce() + 'static,
    _: &'static std::panic::Location<'static>,
) -> *const crate::g::task::Task {
    crate::g::task::Task::boxed(f)
}
