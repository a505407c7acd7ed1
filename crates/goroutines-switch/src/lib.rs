//! Stacks that own their thread pointer, and the switch between them.
//!
//! This crate knows nothing of goroutines, queues or schedulers. It gives three things:
//!
//! * a [`Carrier`]: one mapping that holds a guard page, a stack, a copy of the static thread-local
//!   storage of all loaded modules, the C library's thread control block, and a header for its
//!   owner;
//! * a [`Context`]: the two words that bring a suspended flow of control back, stack pointer and
//!   thread pointer;
//! * [`switch()`]: from one context to another.
//!
//! Because the thread pointer is switched together with the stack, code that runs on a carrier has
//! its own `thread_local!`s, its own `errno`, its own panic count and its own `malloc` cache, on
//! whichever OS thread it happens to run. That is what makes moving it between OS threads, and
//! stopping it at any instruction, sound for code that knows nothing of it.
//!
//! ```text
//!  low                                                                            high
//!  | guard 4 KiB | stack, growing down  <-- | static TLS | struct pthread | header  |
//!                                           ^ used bytes ^ thread pointer ^ 64-aligned
//! ```
//!
//! Read next: [`mod@stack`] for the mapping, [`mod@thread_pointer`] for what the C library is told,
//! `arch/x86_64.rs` for the switch.

#[cfg(not(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")))]
compile_error!(
    "goroutines-switch supports x86_64-unknown-linux-gnu (Linux with glibc) only: it owns the C \
     library's thread control block, and knows only glibc's"
);

#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
compile_error!(
    "goroutines-switch needs the dynamic glibc: a statically linked program has no \
     _dl_allocate_tls to make a thread control block with; build without `crt-static`"
);

#[path = "arch/x86_64.rs"]
mod arch;
pub mod guard;
pub mod signal;
pub mod stack;
pub mod switch;
pub mod sys;
pub mod thread_pointer;

pub use arch::{FLOAT_DEFAULT, FRAME_BYTES, float_words, thread_pointer};
pub use stack::{Carrier, Class};
pub use switch::{Context, Entry, borrow, switch};

/// A source file of this crate, as debug information names it.
pub const SOURCE: &str = file!();
