//! Kinds of descriptors.

/// What a descriptor stands for, as far as waiting is concerned. (`intercept/kind.rs`)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Not looked at yet.
    Unknown = 0,
    /// A socket.
    Socket = 1,
    /// A pipe, which is taken for an anonymous one until the kernel refuses `RWF_NOWAIT`.
    Pipe = 2,
    /// A FIFO that may never have had a writer.
    Fifo = 3,
    /// A FIFO that has, or had, a writer.
    Fed = 4,
    /// An eventfd.
    Event = 5,
    /// A timerfd.
    Timer = 6,
    /// A signalfd.
    Signals = 7,
    /// An inotify, a fanotify.
    Watch = 8,
    /// A program's side of a pseudo terminal.
    Pty = 9,
    /// A pseudo terminal's master.
    Master = 10,
    /// Another terminal.
    Terminal = 11,
    /// `/dev/null` and its kin: nothing waits there.
    Memory = 12,
    /// A file, a device, what is not known: it can't be waited for.
    File = 13,
}

impl Kind {
    const ALL: [Self; 14] = [
        Self::Unknown,
        Self::Socket,
        Self::Pipe,
        Self::Fifo,
        Self::Fed,
        Self::Event,
        Self::Timer,
        Self::Signals,
        Self::Watch,
        Self::Pty,
        Self::Master,
        Self::Terminal,
        Self::Memory,
        Self::File,
    ];
    /// The kind with that number.
    #[inline]
    pub(super) fn of(number: u8) -> Self {
        Self::ALL[usize::from(number) % Self::ALL.len()]
    }
}
