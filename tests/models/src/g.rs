//! The twin of `goroutines::g`.

pub(crate) mod current {
    /// Stands for a section; there is nothing to protect from.
    pub(crate) struct Section;

    pub(crate) fn enter() -> Section {
        Section
    }
}

pub(crate) mod reason {
    pub(crate) enum WaitReason {
        Park,
    }
}
