//! What the kernel keeps for a thread: it stays with the flow that has changed it, and with no
//! other.
#![expect(clippy::undocumented_unsafe_blocks, reason = "calls of libc with what the row has made")]

use goroutines_twin_tests::{Row, Trace, code, make, ms, ret, rows};
use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicI32, Ordering};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = rows![
        names,
        names_of_others,
        names_that_are_none,
        a_forked_child_has_the_name,
        scheduling_of_oneself,
        a_signal_with_a_value_to_oneself
    ];
    rows.push(keeps(
        "nice",
        || unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 5) },
        || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) },
    ));
    rows.push(keeps("affinity", to_one_cpu, cpus));
    rows.push(keeps("affinity_by_pthread", to_one_cpu_by_pthread, cpus));
    rows.push(keeps(
        "no_new_privileges",
        || set(libc::PR_SET_NO_NEW_PRIVS, 1),
        || set(libc::PR_GET_NO_NEW_PRIVS, 0),
    ));
    rows.push(keeps(
        "file_system_user",
        || unsafe { libc::setfsuid(65534) },
        || unsafe { libc::setfsuid(u32::MAX) },
    ));
    rows.push(keeps("umask", own_umask, umask));
    rows.push(keeps("raw_nice", raw_nice, || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }));
    rows
}

fn set(option: i32, value: usize) -> i32 {
    unsafe { libc::prctl(option, value, 0, 0, 0) }
}

fn raw_nice() -> i32 {
    unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, 3) as i32 }
}

/// How many CPUs the caller may use; more than two count as two.
fn cpus() -> i32 {
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&set), &raw mut set);
        libc::CPU_COUNT(&set).min(2)
    }
}

fn one_cpu() -> libc::cpu_set_t {
    unsafe {
        let mut all: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&all), &raw mut all);
        let first = (0..1024).find(|&cpu| libc::CPU_ISSET(cpu, &all)).unwrap_or(0);
        let mut one: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(first, &mut one);
        one
    }
}

fn to_one_cpu() -> i32 {
    let one = one_cpu();
    unsafe { libc::sched_setaffinity(0, size_of_val(&one), &raw const one) }
}

fn to_one_cpu_by_pthread() -> i32 {
    let one = one_cpu();
    unsafe { libc::pthread_setaffinity_np(libc::pthread_self(), size_of_val(&one), &raw const one) }
}

fn own_umask() -> i32 {
    unsafe {
        let got = libc::unshare(libc::CLONE_FS);
        libc::umask(0o123);
        got
    }
}

/// What a new file lacks. (To ask with `umask` is to change it, for others too; and a file of `/proc` may be read
/// elsewhere than it was opened.)
fn umask() -> i32 {
    let path = make::c(&make::path());
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o777);
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(fd, &raw mut stat);
        libc::close(fd);
        libc::unlink(path.as_ptr());
        (!stat.st_mode & 0o777) as i32
    }
}

/// Others that sleep and compute, so that a goroutine which sleeps too goes on elsewhere.
fn beside_others(t: &Trace, look: fn() -> i32, f: impl FnOnce()) {
    let others: Vec<_> = (0..6)
        .map(|i| {
            t.spawn(&format!("other {i}"), move |t| {
                let mut seen = Vec::new();
                for round in 0..20 {
                    if round % 4 == i % 4 {
                        let until = std::time::Instant::now();
                        while until.elapsed().as_millis() < 3 {}
                    }
                    ms(2);
                    seen.push(look());
                }
                seen.dedup();
                t.says("what others have", format!("{seen:?}"));
            })
        })
        .collect();
    f();
    others.into_iter().for_each(|other| other.join());
}

fn keeps(name: &str, change: fn() -> i32, look: fn() -> i32) -> Row {
    Row::new(format!("keeps_{name}"), move |t: &Trace| {
        t.says("before", look());
        beside_others(t, look, || {
            ms(10);
            t.says("change", ret(change()));
            let mut seen = Vec::new();
            for _ in 0..20 {
                ms(2);
                seen.push(look());
            }
            seen.dedup();
            t.says("after", format!("{seen:?}"));
        });
    })
}

fn name() -> String {
    let mut name = [0 as c_char; 16];
    unsafe {
        let got = libc::pthread_getname_np(libc::pthread_self(), name.as_mut_ptr(), 16);
        let mut by_prctl = [0 as c_char; 16];
        libc::prctl(libc::PR_GET_NAME, by_prctl.as_mut_ptr());
        let text =
            |name: &[c_char; 16]| CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned();
        format!("{got} {} {}", text(&name), text(&by_prctl))
    }
}

fn names(t: &Trace) {
    beside_others(
        t,
        || 0,
        || unsafe {
            t.says("set", code(libc::pthread_setname_np(libc::pthread_self(), c"one".as_ptr())));
            for _ in 0..10 {
                ms(2);
                t.says("name", name());
            }
            t.says(
                "by prctl",
                ret(libc::prctl(libc::PR_SET_NAME, c"a name that is longer".as_ptr())),
            );
            t.says("name", name());
            t.says("fifteen", ret(libc::prctl(libc::PR_SET_NAME, c"123456789012345".as_ptr())));
            t.says("name", name());
        },
    );
}

fn names_of_others(t: &Trace) {
    let all: Vec<_> = (0..6)
        .map(|i| {
            t.spawn(&format!("named {i}"), move |t| {
                let own = std::ffi::CString::new(format!("own {i}")).unwrap_or_default();
                unsafe { libc::pthread_setname_np(libc::pthread_self(), own.as_ptr()) };
                for _ in 0..10 {
                    ms(3);
                    t.says("name", name());
                }
            })
        })
        .collect();
    all.into_iter().for_each(|one| one.join());
}

fn names_that_are_none(t: &Trace) {
    unsafe {
        let own = libc::pthread_self();
        t.says("too long", code(libc::pthread_setname_np(own, c"1234567890123456".as_ptr())));
        t.says("bad", ret(libc::prctl(libc::PR_SET_NAME, make::bad::<c_char>())));
        t.says("bad", ret(libc::prctl(libc::PR_GET_NAME, make::bad::<c_char>())));
        let mut short = [0 as c_char; 15];
        t.says("no room", code(libc::pthread_getname_np(own, short.as_mut_ptr(), 15)));
    }
}

fn a_forked_child_has_the_name(t: &Trace) {
    unsafe { libc::pthread_setname_np(libc::pthread_self(), c"before".as_ptr()) };
    let child = make::child(|| {
        let comm = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
        i32::from(comm != "before\n" || !name().contains("before before"))
    });
    t.says("child", make::end_of(child));
}

fn scheduling_of_oneself(t: &Trace) {
    unsafe extern "C" {
        fn pthread_setschedprio(thread: libc::pthread_t, priority: i32) -> i32;
    }
    unsafe {
        let own = libc::pthread_self();
        t.says("prio", code(pthread_setschedprio(own, 0)));
        t.says("bad prio", code(pthread_setschedprio(own, 99)));
        let param = libc::sched_param { sched_priority: 0 };
        t.says(
            "param",
            code(libc::pthread_setschedparam(own, libc::SCHED_BATCH, &raw const param)),
        );
        let (mut policy, mut got) = (0, libc::sched_param { sched_priority: 7 });
        ms(5);
        t.says("get", code(libc::pthread_getschedparam(own, &raw mut policy, &raw mut got)));
        t.says("policy", policy);
    }
}

static GOT: AtomicI32 = AtomicI32::new(0);

extern "C" fn count(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    GOT.fetch_add(unsafe { (*info).si_value().sival_ptr as i32 }, Ordering::SeqCst);
}

fn a_signal_with_a_value_to_oneself(t: &Trace) {
    unsafe extern "C" {
        fn pthread_sigqueue(thread: libc::pthread_t, signal: i32, value: libc::sigval) -> i32;
    }
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
        let value = libc::sigval { sival_ptr: 7 as *mut libc::c_void };
        t.says("sent", code(pthread_sigqueue(libc::pthread_self(), libc::SIGUSR1, value)));
        t.says("got", GOT.load(Ordering::SeqCst));
        t.says("none", code(pthread_sigqueue(libc::pthread_self(), 900, value)));
    }
}
