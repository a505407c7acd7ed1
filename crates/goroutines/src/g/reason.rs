//! Why a goroutine waits: the words in brackets of a dump, Go's where Go has them.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a goroutine waits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub(crate) enum WaitReason { $($(#[$doc])* $name,)* }

        impl WaitReason {
            /// As a dump shows it.
            pub(crate) fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }

        impl From<u8> for WaitReason {
            fn from(n: u8) -> Self {
                const ALL: &[WaitReason] = &[$(WaitReason::$name,)*];
                ALL.get(usize::from(n)).copied().unwrap_or(WaitReason::None)
            }
        }
    };
}

reasons! {
    /// It does not.
    None = "",
    /// In a `WaitGroup`.
    WaitGroup = "sync.WaitGroup.Wait",
    /// For another goroutine's end.
    Join = "join",
    /// For all goroutines of a `thread::scope`.
    Scope = "thread::scope",
    /// In `thread::park`.
    Park = "thread::park",
    /// For its turn to stop the world.
    Semacquire = "semacquire",
    /// Its slice was over.
    Preempted = "preempted",
    /// In `thread::sleep`.
    Sleep = "sleep",
    /// For a descriptor.
    Io = "IO wait",
    /// For one of several descriptors.
    Poll = "poll",
    /// In a lock, a condition variable, a channel of std's or of a crate.
    Futex = "futex",
    /// For a signal.
    Signal = "signal wait",
    /// For a process to end.
    Process = "wait",
    /// In a lock of C code.
    Pthread = "pthread",
    /// For a future.
    Future = "future",
    /// For a message.
    ChanReceive = "chan receive",
    /// For a message of which there will be none.
    ChanReceiveNil = "chan receive (nil chan)",
    /// For room in a channel.
    ChanSend = "chan send",
    /// For one of several channels.
    Select = "select",
    /// For nothing.
    Forever = "select (no cases)",
    /// The background goroutine that gives pages back.
    Scavenger = "stack scavenger wait",
}
