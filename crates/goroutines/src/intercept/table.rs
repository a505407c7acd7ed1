//! What is taken over, what is not, and why.
//!
//! | symbol | in a goroutine | elsewhere |
//! |---|---|---|
//! | `pthread_getattr_np` | of itself: the goroutine's stack (glibc would ask the kernel about a thread id that is none) | libc's |
//! | `pthread_exit` | fatal error: there is no thread to end; `runtime::goexit` ends a goroutine | libc's |
//! | `pthread_cancel` | of a goroutine: `ESRCH` | libc's |
//! | `pthread_getaffinity_np`, `pthread_setaffinity_np` | of itself: the OS thread it is on (lock it first) | libc's |
//! | `pthread_getschedparam`, `pthread_setschedparam`, `pthread_getcpuclockid` | of itself: as above | libc's |
//! | `dlopen` | afterwards, checks that the library's thread-locals fit into goroutines | same |
//! | `fork` | not taken over: a handler (`pthread_atfork`) leaves the child with this goroutine as its only thread | same |
//!
//! Not taken over, and why:
//!
//! * `setuid` and its kin: glibc has each of its threads make the call, by a signal whose handler notes
//!   its end in the thread block it finds, which is a goroutine's. Change credentials before the runtime
//!   is started.
//! * `pthread_sigmask`: the mask is the OS thread's. Lock the thread first.
//! * `pthread_kill` of a goroutine from elsewhere: `ESRCH`, as its thread id is none of the kernel's.
//! * robust mutexes held by a goroutine that ends: not marked, as the kernel does not know the list.
