//! What is taken over, what is not, and why.
//!
//! "Elsewhere" (on ordinary threads, before the runtime is started, on an M's own stack, in a
//! signal handler, in a forked child) libc's own function is called: a load, a compare and a jump
//! more.
//!
//! **Parked**: the goroutine waits, its thread does not. **Announced**: the thread may block, its P
//! runs others after some 20 µs (`sched/syscall.rs`). Whatever is in neither list, raw system calls
//! too, is found out by the monitor when it blocks (`m/lease.rs`): only more threads are needed
//! then.
//!
//! | symbols | file | in a goroutine |
//! |---|---|---|
//! | `syscall(SYS_futex)`: `WAIT`, `WAIT_BITSET`, private; `SYS_futex_wait` | futex_call | parked; what is not in order is the kernel's to refuse |
//! | … `WAKE`, `WAKE_BITSET`, private; `SYS_futex_wake`, on any thread | futex_call | wakes goroutines, then threads |
//! | … `REQUEUE`, `CMP_REQUEUE`, private; `SYS_futex_requeue`, on any thread | futex_call | wakes and moves threads, then goroutines |
//! | … `WAKE_OP`, private, on any thread | futex_call | carried out here where goroutines may wait for its words |
//! | … shared between processes, `LOCK_PI`, `SYS_futex_waitv` | futex_call | announced (lock the thread for `LOCK_PI`: its owner is the thread) |
//! | `nanosleep`, `clock_nanosleep`, `usleep`, `sleep` | time | parked; CPU-time clocks: announced |
//! | `sched_yield` | time | yields the P; where nobody waits for it, the CPU |
//! | `read`, `readv`, `write`, `writev`, `__read_chk` | io | parked where it is known what ends the wait (sockets, pipes, counters, timers, watches, terminals: the table in `kind.rs`), else announced |
//! | `recv`, `recvfrom`, `recvmsg`, `recvmmsg`, `__recv_chk`, `__recvfrom_chk` | socket | parked; `recvmsg` and `recvmmsg` with `MSG_WAITALL`, `recvmmsg` with a time-out, `MSG_OOB`, `MSG_ERRQUEUE`: announced |
//! | `send`, `sendto`, `sendmsg`, `sendmmsg` | send | parked; with `MSG_FASTOPEN`, and a datagram whose receiver has no room while its sender has: announced |
//! | `accept`, `accept4` | accept | parked, and one at a time asks for a connection; announced where another process was faster |
//! | `connect` | connect | parked (`O_NONBLOCK` is set for the moment of the call); to a local socket whose queue is full: announced |
//! | `shutdown`, on any thread | mark | goroutines that wait to write to a local socket are woken |
//! | `poll`, `__poll_chk`, `ppoll`, `select`, `pselect`, `epoll_wait`, `epoll_pwait`, `epoll_pwait2` | poll, select | parked, with the signal mask that is given; sets of more than `FD_SETSIZE`: announced |
//! | `epoll_ctl`, on any thread | epoll_ctl | an epoll with `EPOLLEXCLUSIVE` in it, and one that the runtime can't watch because of the kernel's limits (500 epolls with one descriptor, epolls in epolls), is waited for announced from then on |
//! | `open*`, `creat*`, `close`, `pread*`, `pwrite*`, `fsync`, `fdatasync`, `flock`, `lockf*`, `fcntl*` locks, `ftruncate*`, `fallocate*`, `posix_fallocate*`, `msync`, `sync_file_range`, `copy_file_range` | fd, file | announced |
//! | `sendfile*`, `splice`, `tee`, `vmsplice` | moves | files, pipes, sockets: parked until both ends are ready, then announced, 64 KiB at a time to a socket; else announced |
//! | `socket`, `accept*`, `socketpair`, `pipe*`, `dup*`, `fcntl(F_DUPFD)`, `eventfd`, `epoll_create*`, `timerfd_create`, `inotify_init*`, `memfd_create`, `signalfd`, `close`, `close_range`, `closefrom`, and these by `syscall` | fd | on any thread: what is known of the number is forgotten; the runtime's own numbers move, or count as closed |
//! | `fcntl(F_SETFL)`, `ioctl(FIONBIO)`, `setsockopt(SO_*TIMEO, SO_RCVLOWAT)`, on any thread | fd, mark | what is remembered of settings is forgotten |
//! | `getaddrinfo`, `getnameinfo`, `gethostby*` | dns | announced; where goroutines are queued and there is one P, it is handed on at once |
//! | `read`, `poll`, `waitpid`, `waitid`, as std's `Command` and `Child` call them | unwraps | where a context ends them: the callers get an error, and std does not panic |
//! | `wait`, `waitpid`, `wait4`, `waitid`, of one process | process | parked, by a pidfd, and the process is looked at again now and then, as it may be traced; of several, for stops, by a tracer: announced |
//! | `pthread_join` | process | parked, by the thread's pidfd (Linux 6.9); before: announced |
//! | `posix_spawn`, `posix_spawnp`, `popen`, `system` | process | announced; the thread, to the kernel the parent, does not end for want of work |
//! | `sigwait`, `sigwaitinfo`, `sigtimedwait` | undisturbed | what is pending for the goroutine is taken; else announced |
//! | `mq_*`, `msg*`, `semop`, `semtimedop`, `aio_suspend*`, `lio_listio*` | undisturbed | announced; the runtime's signal waits |
//! | `pause`, `sigsuspend`, `sigpause`, `__xpg_sigpause` | undisturbed | parked, until a handler has run on the goroutine |
//! | `pthread_mutex_lock`, `pthread_mutex_{timed,clock}lock` | mutex | parked; shared ones: announced |
//! | … robust, with a priority protocol, shared ones that know their owner; `_trylock`, `_unlock`, `_consistent`, `_setprioceiling` of those | bound | announced, and made as the OS thread that the goroutine is on; it is locked to that thread while it holds one |
//! | `pthread_rwlock_*lock` | rwlock | parked; for writing, where writers are preferred: announced; shared ones: announced, made as the OS thread |
//! | `pthread_cond_*wait` | cond | parked; shared ones: announced |
//! | `sem_*wait` | semaphore | parked; shared ones: announced |
//! | `mtx_*lock`, `cnd_*wait`, `cnd_signal`, `cnd_broadcast`, `thrd_sleep`, `thrd_join`, `thrd_yield` | c11 | as pthreads' |
//! | `pthread_once`, `call_once`, on any thread | once | goroutines that come while the routine runs are parked |
//! | `pthread_barrier_wait` | barrier | parked; shared ones: announced |
//! | … on any thread | barrier | libc's, then goroutines are woken |
//! | `pthread_barrier_destroy` | barrier | announced: it waits for calls that have not left yet |
//! | `pthread_mutex_unlock`, `pthread_rwlock_unlock`, `pthread_cond_signal`, `_broadcast`, `sem_post`, on any thread | mutex, rwlock, cond, semaphore | libc's, then goroutines are woken |
//! | `sigaction`, `signal` and their other names (`__sigaction`, `bsd_signal`, `ssignal`, `sysv_signal`, `__sysv_signal`, `sigset`, `sigignore`, `siginterrupt`), on any thread | signal, names_of_signal | handlers run with the no-preempt count raised, their time announced; the user's handler for `SIGURG` is kept, and called for each `SIGURG` that is not the runtime's |
//! | `sigaltstack` | signal | each goroutine has its own; one that has set none runs with the M's, which is the runtime's |
//! | `pthread_sigmask`, `sigprocmask`, `sighold`, `sigrelse`, `sigblock`, `sigsetmask`, `sigpending` | mask | the goroutine's own, which the kernel has while it runs; `SIGURG` is blocked for the goroutine only |
//! | `pthread_kill`, `pthread_sigqueue`, `raise`, `gsignal` | direct | to the goroutine, wherever it is: it runs the handler |
//! | `kill`, `sigqueue`, to the own process | direct | where the caller is to take it, it has taken it on return |
//! | `siglongjmp`, `longjmp`, `_longjmp`, `__longjmp_chk` | jump | the mask that was noted is the goroutine's |
//! | `pthread_getattr_np` | pthread | of itself: the goroutine's stack (glibc would ask the kernel about a thread id that is none) |
//! | `pthread_exit`, `thrd_exit` | pthread, c11 | fatal error: there is no thread to end; `runtime::goexit` ends a goroutine |
//! | `pthread_cancel` | pthread | of a goroutine: `ESRCH` |
//! | `pthread_{get,set}affinity_np`, `pthread_{get,set}schedparam`, `pthread_setschedprio`, `pthread_getcpuclockid` | pthread | of itself: the OS thread it is on; a goroutine that has changed it stays there |
//! | `unshare`, `setns`, `setfsuid`, `setfsgid`, `capset`, `nice`, `setpriority`, `sched_set*`, `personality`, `iopl`, `ioperm`, `ptrace`, what `prctl` sets for a thread, and the like by `syscall` | pinned | the goroutine stays on that OS thread from then on, which ends with it; goroutines that it starts inherit nothing of that |
//! | `clock_gettime(CLOCK_THREAD_CPUTIME_ID)`, `getrusage(RUSAGE_THREAD)` | clocks | the goroutine's own CPU time, counted from the first question on (of the rest of `rusage`: the OS thread's) |
//! | `pthread_{get,set}name_np`, `prctl(PR_{GET,SET}_NAME)` | names | the goroutine's own; `/proc` shows the OS thread's |
//! | `fork` | fork | not taken over: handlers (`pthread_atfork`), the first to be registered, leave the child with this goroutine as its only thread |
//! | `pthread_create` | fork | the new thread has an rseq area, as any other has |
//! | `_Fork`, `vfork` | fork | the same; `vfork` is `fork` |
//! | `setuid` and its kin | credentials | not taken over: libc's signal for them finds the thread's own block |
//!
//! Not taken over, and why:
//!
//! * stdio (`fread`, `fgets`, `getline` …): libc reads with calls of its own that have no symbol.
//!   `readdir`, `stat` and the like: they don't wait, but for a network's disk.
//! * `io_uring_enter`, through `syscall`: a program that uses it has an executor of its own.
//! * `ioctl`, but for `FIONBIO`: some block; which ones only their drivers know.
//! * `tgkill`, and `timer_create` with `SIGEV_THREAD_ID`: a thread id is the OS thread's, and the
//!   signal reaches the goroutine that is on it.
//! * `setcontext` and `swapcontext` set the OS thread's mask.
//! * `fork` and `clone` as raw system calls: the child is an ordinary thread from the first call on
//!   that is taken over. (What `clone` with `CLONE_VM` makes shares the goroutine's memory and
//!   thread-locals, and must make no such call.)
//!
//! **A number that is closed while a goroutine waits for it.** The goroutine is told so: `EBADF`.
//! (A thread goes on with the file, or waits for ever.) Where `dup2` puts another file under the
//! number, calls that read, write, send or receive go on with the file that was there before, as on
//! a thread, in the middle of what they move, too; `accept`, `poll` and their like look at the new
//! one.
//!
//! **`O_NONBLOCK` that another process sets, or a raw system call,** while it shares the open file:
//! a goroutine that reads a TCP stream which it has read empty before asks for it only when the
//! registration is verified, and is told `EAGAIN` after 0.1 s to 0.2 s. (A thread that calls then
//! is told at once. To ask each time would be a system call more for each wait. What has begun to
//! wait goes on waiting on a thread.)
//!
//! **`EINTR`.** A goroutine that waits and gets a signal runs the handler; the call then ends with
//! `EINTR` or goes on as signal(7) has it for that call and `SA_RESTART` (`signals/deliver.rs`).
//! Waits of the runtime's own (channels, groups, joins) go on. The runtime's own signal restarts
//! what it interrupts; calls that Linux never restarts (a read with `SO_RCVTIMEO`, `poll`,
//! `nanosleep`) can end early only where they are made by raw system calls, or with interception
//! off.
