//! One wait of a goroutine, and what ends it.
//!
//! A goroutine may wait for several things at once: a futex and a time-out, ten descriptors and a
//! time-out. Each of them may end the wait, at the same moment, on different threads; one must win,
//! the others must notice, and what comes late must not end the *next* wait.
//!
//! So each wait has a number. Each party that is to end it is given a [`Ticket`], the number of the
//! wait, and ends it by [`claim`](WaitWord::claim)ing the goroutine's word with it:
//!
//! ```text
//!             begin               park, off its stack
//!   Over(n-1) -----> Open(n) ---------------------------> Parked(n)
//!                      |                                      |
//!                      | claim: the goroutine has not left    | claim: the caller readies it
//!                      v                                      v
//!                    Over(n, cause) <-------------------------+
//! ```
//!
//! * W1: a word leaves `Open(n)` or `Parked(n)` for `Over(n)` once; the caller that does that has
//!   ended the wait. Only the caller that found it `Parked` readies the goroutine, and then exactly
//!   that one does.
//! * W2: numbers only grow, also from one goroutine to the next on the same carrier: a ticket that
//!   is kept too long finds another number, and nothing happens.
//! * W3: `Parked` is entered by the commit of a park, so a goroutine that is readied has left its
//!   stack.

use crate::base::atomic::{AtomicU64, Ordering};

const OVER: u64 = 0;
const OPEN: u64 = 1;
const PARKED: u64 = 2;
const STATE: u64 = 3;
const CAUSE_SHIFT: u32 = 2;
const CAUSE: u64 = 0xff << CAUSE_SHIFT;
const ONE: u64 = 1 << 10;

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cause {
    /// What was waited for has happened, or is worth another look.
    Ready = 1,
    /// The time is over.
    Timeout = 2,
    /// What was waited for is gone: a descriptor was closed.
    Gone = 3,
    /// The context the goroutine runs in was cancelled.
    Cancelled = 4,
    /// A signal is pending for the goroutine.
    Signal = 5,
}

/// The number of a wait. Given to each party that is to end it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) u64);

/// What claiming came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Claim {
    /// Somebody else has ended it.
    Late,
    /// It is over, and the goroutine, which has not parked yet, will find out.
    Awake,
    /// It is over, and the caller readies the goroutine.
    Parked,
}

/// The word of a goroutine's waits.
#[derive(Debug)]
pub(crate) struct WaitWord(AtomicU64);

impl WaitWord {
    /// That of a thread; a goroutine's is zeroed with its header.
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(OVER))
    }

    /// Begins a wait. By the goroutine, whose last wait is over.
    pub(crate) fn begin(&self) -> Ticket {
        let number = (self.0.load(Ordering::Relaxed) & !(STATE | CAUSE)) + ONE;
        // Tickets are handed out under locks, which order this before any claim.
        self.0.store(number | OPEN, Ordering::Relaxed);
        Ticket(number)
    }

    /// The goroutine is off its stack now. False if the wait is over already. By the commit of its
    /// park.
    #[must_use]
    pub(crate) fn park(&self, ticket: Ticket) -> bool {
        // Release: the saved context, for the caller that claims it.
        self.0
            .compare_exchange(
                ticket.0 | OPEN,
                ticket.0 | PARKED,
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .is_ok()
    }

    /// Ends the wait `ticket`, if nobody has.
    pub(crate) fn claim(&self, ticket: Ticket, cause: Cause) -> Claim {
        let over = ticket.0 | OVER | u64::from(cause as u8) << CAUSE_SHIFT;
        for (from, claimed) in
            [(PARKED, Claim::Parked), (OPEN, Claim::Awake), (PARKED, Claim::Parked)]
        {
            // Acquire: pairs with park(). Release: what made the wait end, for cause().
            let won = self
                .0
                .compare_exchange(ticket.0 | from, over, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok();
            if won {
                return claimed;
            }
        }
        // It goes from open to parked once: after three looks it was neither.
        Claim::Late
    }

    /// The goroutine is to look up, and goes on waiting afterwards. True: it had parked, and the
    /// caller readies it.
    #[cfg(feature = "intercept")]
    pub(crate) fn interrupt(&self, ticket: Ticket) -> bool {
        // Acquire: pairs with park().
        self.0
            .compare_exchange(
                ticket.0 | PARKED,
                ticket.0 | OPEN,
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_ok()
    }

    /// Whether the wait `ticket` is over. A snapshot.
    pub(crate) fn is_over(&self, ticket: Ticket) -> bool {
        let word = self.0.load(Ordering::Acquire);
        word & STATE == OVER || word & !(STATE | CAUSE) != ticket.0
    }

    /// Why the wait ended; none while it goes on. By the goroutine.
    pub(crate) fn cause(&self) -> Option<Cause> {
        // Acquire: pairs with claim().
        let word = self.0.load(Ordering::Acquire);
        if word & STATE != OVER {
            return None;
        }
        match (word & CAUSE) >> CAUSE_SHIFT {
            1 => Some(Cause::Ready),
            2 => Some(Cause::Timeout),
            4 => Some(Cause::Cancelled),
            5 => Some(Cause::Signal),
            _ => Some(Cause::Gone),
        }
    }
}
