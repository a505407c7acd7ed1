//! The user's guide, chapter by chapter. It is here in the documentation only: a program that uses
//! the library does not have it.
//!
//! | chapter | what is in it |
//! |---|---|
//! | [Ten minutes](start) | a first program; each tool once |
//! | [Porting](porting) | a program that has threads: what changes, and what does not |
//! | [Testing](testing) | `#[goroutines::test]`, time limits, what is printed |
//! | [Hangs and leaks](hangs) | the report of a deadlock, SIGQUIT, `runtime::stacks`, gdb |
//! | [Profiling](profiling) | perf, pprof-rs, what threads are called |
//! | [Shutdown](shutdown) | what main's end does, signals and contexts, `wait_all` |
//! | [Tokio](tokio) | awaiting a goroutine, futures on goroutines |
//! | [Plug-ins](plugins) | shared libraries that are opened by `dlopen` |
//! | [Limits](limits) | platforms, calls that hold a thread, stacks, `fork`, signals |
//! | [Tuning](tuning) | each environment variable and each setting |
//! | [Is this sound?](soundness) | objections by name, with answers and tests |
//! | [Errors](errors) | each message, with its cause and exit status |

macro_rules! chapters {
    ($($name:ident = $file:literal,)*) => {
        $(#[doc = include_str!(concat!("../guide/", $file))] pub mod $name {})*
    };
}

chapters! {
    start = "start.md",
    porting = "porting.md",
    testing = "testing.md",
    hangs = "hangs.md",
    profiling = "profiling.md",
    shutdown = "shutdown.md",
    tokio = "tokio.md",
    plugins = "plugins.md",
    limits = "limits.md",
    tuning = "tuning.md",
    soundness = "soundness.md",
    errors = "errors.md",
}
