//! Who a flow is: ids, names, stacks, affinities, priorities; what ends it.

use goroutines_twin_tests::{Row, Trace, code, make, ms, ret, rows, say, sleep};
use std::collections::BTreeSet;

pub(crate) fn rows() -> Vec<Row> {
    rows![
        pthread_self_is_own,
        ids_of_std,
        names_of_std,
        stack_is_where_one_is,
        deep_stacks,
        stack_overflow_is_told,
        affinity,
        scheduling,
        names_of_threads,
        a_name_in_proc,
        parking,
        scoped,
        joins,
        join_of_an_os_thread,
        join_in_time,
        sleeping_zero_and_long,
        many_flows,
        backtraces,
        barriers_between_both,
        end_of_a_flow_beside_others
    ]
}

fn own() -> usize {
    unsafe { libc::pthread_self() as usize }
}

fn pthread_self_is_own(t: &Trace) {
    let here = own();
    let all: Vec<_> = (0..6)
        .map(|i| {
            t.spawn(&format!("flow {i}"), |t| {
                let first = own();
                ms(30);
                t.says("stays", first == own());
                t.says(
                    "equal",
                    unsafe { libc::pthread_equal(first as libc::pthread_t, libc::pthread_self()) }
                        != 0,
                );
                first
            })
        })
        .collect();
    let mut ids: BTreeSet<_> = all.into_iter().map(goroutines_twin_tests::Flow::join).collect();
    ids.insert(here);
    t.says("different", ids.len());
}

fn ids_of_std(t: &Trace) {
    let all: Vec<_> = (0..6)
        .map(|i| t.spawn(&format!("flow {i}"), |_| format!("{:?}", std::thread::current().id())))
        .collect();
    let ids: BTreeSet<_> = all.into_iter().map(goroutines_twin_tests::Flow::join).collect();
    t.says("different", ids.len());
    let id = std::thread::current().id();
    ms(20);
    t.says("stays", id == std::thread::current().id());
}

fn names_of_std(t: &Trace) {
    let named = std::thread::Builder::new().name("named".into());
    let name =
        named.spawn(|| std::thread::current().name().map(str::to_owned)).expect("a thread").join();
    t.says("an OS thread", format!("{:?}", name.unwrap_or_default()));
    t.says(
        "a flow",
        format!(
            "{:?}",
            t.spawn("flow", |_| std::thread::current().name().map(str::to_owned)).join()
        ),
    );
}

fn stack_is_where_one_is(t: &Trace) {
    let look = |t: &Trace| unsafe {
        let here = 0u8;
        let (mut low, mut size) = (std::ptr::null_mut(), 0);
        let mut attributes: libc::pthread_attr_t = std::mem::zeroed();
        t.says("ask", code(libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes)));
        libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut size);
        let here = (&raw const here).addr();
        t.says("inside", low.addr() <= here && here < low.addr() + size);
        t.says("64 KiB at least", size >= 64 << 10);
        libc::pthread_attr_destroy(&raw mut attributes);
    };
    look(t);
    t.spawn("other", look).join();
}

#[inline(never)]
fn deep(n: u32) -> u32 {
    let room = std::hint::black_box([n as u8; 512]);
    if n == 0 { 0 } else { deep(n - 1) + u32::from(std::hint::black_box(room)[3] == n as u8) }
}

fn deep_stacks(t: &Trace) {
    t.says("depth", deep(100));
    t.spawn("other", |t| t.says("depth", deep(100))).join();
    ms(10);
    t.says("again", deep(100));
}

fn stack_overflow_is_told(t: &Trace) {
    #[expect(unconditional_recursion, reason = "it is to overflow")]
    #[inline(never)]
    fn endless(n: u64) -> u64 {
        let room = std::hint::black_box([n; 64]);
        endless(n + 1) + std::hint::black_box(room)[1]
    }
    let child = make::child(|| endless(1) as i32);
    t.says("child", make::end_of(child));
}

fn affinity(t: &Trace) {
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        t.says("get", ret(libc::sched_getaffinity(0, size_of_val(&set), &raw mut set)).value >= 0);
        t.says("some", libc::CPU_COUNT(&set) > 0);
        t.says("no room", ret(libc::sched_getaffinity(0, 1, &raw mut set)));
        let itself = libc::pthread_self();
        t.says(
            "pthread",
            code(libc::pthread_getaffinity_np(itself, size_of_val(&set), &raw mut set)),
        );
        t.says("cpu", libc::sched_getcpu() >= 0);
        let none: libc::cpu_set_t = std::mem::zeroed();
        t.says("set to none", ret(libc::sched_setaffinity(0, size_of_val(&none), &raw const none)));
    }
}

fn scheduling(t: &Trace) {
    unsafe {
        let (mut policy, mut param) = (-1, std::mem::zeroed::<libc::sched_param>());
        let itself = libc::pthread_self();
        t.says("get", code(libc::pthread_getschedparam(itself, &raw mut policy, &raw mut param)));
        t.says("is", format!("{policy} {}", param.sched_priority));
        t.says("set the same", code(libc::pthread_setschedparam(itself, policy, &raw const param)));
        param.sched_priority = 77;
        t.says("set another", code(libc::pthread_setschedparam(itself, policy, &raw const param)));
        t.says("policy", ret(libc::sched_getscheduler(0)));
        t.says("priority", code(libc::pthread_setschedprio(itself, 0)));
        t.says("highest", ret(libc::sched_get_priority_max(libc::SCHED_FIFO)));
        t.says("nice", ret(libc::getpriority(libc::PRIO_PROCESS, 0)));
    }
}

/// The name that `/proc` has for the OS thread.
fn a_name_in_proc(t: &Trace) {
    // SAFETY: a name that lives longer than the call.
    t.says("set", unsafe {
        code(libc::pthread_setname_np(libc::pthread_self(), c"twin".as_ptr()))
    });
    let comm = std::fs::read_to_string("/proc/thread-self/comm");
    t.says("comm", comm.as_deref().map(str::trim).unwrap_or("none"));
}

fn names_of_threads(t: &Trace) {
    unsafe {
        let itself = libc::pthread_self();
        let mut name = [0; 16];
        t.says("set", code(libc::pthread_setname_np(itself, c"twin".as_ptr())));
        let read = |name: &mut [libc::c_char; 16]| {
            code(libc::pthread_getname_np(itself, name.as_mut_ptr(), 16))
                + " "
                + &std::ffi::CStr::from_ptr(name.as_ptr()).to_string_lossy()
        };
        t.says("get", read(&mut name));
        ms(20);
        t.says("get", read(&mut name));
        t.says("too long", code(libc::pthread_setname_np(itself, c"0123456789abcdef".as_ptr())));
        t.says("no room", code(libc::pthread_getname_np(itself, name.as_mut_ptr(), 2)));
    }
}

fn parking(t: &Trace) {
    let (send, receive) = std::sync::mpsc::channel();
    let flow = t.spawn("flow", move |t| {
        send.send(std::thread::current()).expect("it is received");
        t.timed("park", 300, std::thread::park);
        let time = std::time::Duration::from_millis(200);
        t.timed("park with a time", 200, || std::thread::park_timeout(time));
    });
    let its = receive.recv().expect("the flow");
    ms(300);
    its.unpark();
    flow.join();
    std::thread::current().unpark();
    t.timed("a permit", 200, std::thread::park);
}

fn scoped(t: &Trace) {
    let mut numbers = [1, 2, 3];
    std::thread::scope(|scope| {
        for n in &mut numbers {
            scope.spawn(move || {
                ms(20);
                *n *= 2;
            });
        }
    });
    t.says("numbers", format!("{numbers:?}"));
}

fn joins(t: &Trace) {
    std::panic::set_hook(Box::new(|_| ()));
    let thread = std::thread::spawn(|| {
        ms(300);
        5
    });
    let value = t.timed("join", 300, || thread.join());
    t.says("value", format!("{value:?}"));
    let thread = std::thread::spawn(|| panic!("x"));
    t.says("panic", thread.join().is_err());
}

extern "C" fn sleeper(value: *mut libc::c_void) -> *mut libc::c_void {
    ms(200);
    value
}

fn join_of_an_os_thread(t: &Trace) {
    unsafe {
        let mut thread = 0;
        let value = std::ptr::without_provenance_mut(77);
        let made = libc::pthread_create(&raw mut thread, std::ptr::null(), sleeper, value);
        t.says("create", code(made));
        let mut result = std::ptr::null_mut();
        let joined = t.timed("join", 200, || code(libc::pthread_join(thread, &raw mut result)));
        t.says("join", joined);
        t.says("result", result.addr());
        t.says(
            "join oneself",
            code(libc::pthread_join(libc::pthread_self(), std::ptr::null_mut())),
        );
        libc::pthread_create(&raw mut thread, std::ptr::null(), sleeper, value);
        t.says("detach", code(libc::pthread_detach(thread)));
        let joined = t.timed("join what is detached", 200, || {
            code(libc::pthread_join(thread, &raw mut result))
        });
        t.says("join what is detached", joined);
    }
}

unsafe extern "C" {
    fn pthread_tryjoin_np(thread: libc::pthread_t, value: *mut *mut libc::c_void) -> i32;
    fn pthread_timedjoin_np(
        thread: libc::pthread_t,
        value: *mut *mut libc::c_void,
        time: *const libc::timespec,
    ) -> i32;
}

fn join_in_time(t: &Trace) {
    unsafe {
        let mut thread = 0;
        let value = std::ptr::without_provenance_mut(78);
        libc::pthread_create(&raw mut thread, std::ptr::null(), sleeper, value);
        let mut result = std::ptr::null_mut();
        t.says("try", code(pthread_tryjoin_np(thread, &raw mut result)));
        let mut time: libc::timespec = std::mem::zeroed();
        t.says("in the past", code(pthread_timedjoin_np(thread, &raw mut result, &raw const time)));
        libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time);
        time.tv_sec += 5;
        let joined = t.timed("in time", 200, || {
            code(pthread_timedjoin_np(thread, &raw mut result, &raw const time))
        });
        t.says("in time", format!("{joined} {}", result.addr()));
    }
}

fn sleeping_zero_and_long(t: &Trace) {
    t.timed("zero", 200, || sleep(0));
    t.timed("a nanosecond", 200, || std::thread::sleep(std::time::Duration::from_nanos(1)));
    t.timed("yield", 200, std::thread::yield_now);
    t.timed("300", 300, || sleep(300));
    t.hangs_after("for ever", 200, || {
        std::thread::sleep(std::time::Duration::MAX);
        "back"
    });
}

fn many_flows(t: &Trace) {
    let all: Vec<_> = (0..200)
        .map(|i| {
            t.spawn(&format!("flow {i:03}"), move |_| {
                ms(5);
                i
            })
        })
        .collect();
    t.says("sum", all.into_iter().map(goroutines_twin_tests::Flow::join).sum::<i32>());
}

fn backtraces(t: &Trace) {
    let text = std::backtrace::Backtrace::force_capture().to_string();
    t.says("knows this function", text.contains("identity::backtraces"));
    let text = t.spawn("flow", |_| std::backtrace::Backtrace::force_capture().to_string()).join();
    t.says("knows this function", text.contains("identity::backtraces"));
}

fn barriers_between_both(t: &Trace) {
    let barrier = std::sync::Arc::new(std::sync::Barrier::new(4));
    let (a, b) = (barrier.clone(), barrier.clone());
    let thread = std::thread::spawn(move || a.wait().is_leader());
    let other = std::thread::spawn(move || b.wait().is_leader());
    let its = barrier.clone();
    let flow = t.spawn("flow", move |_| its.wait().is_leader());
    ms(50);
    let leaders = [
        barrier.wait().is_leader(),
        flow.join(),
        thread.join().unwrap_or(false),
        other.join().unwrap_or(false),
    ];
    t.says("leaders", leaders.iter().filter(|is| **is).count());
}

fn end_of_a_flow_beside_others(t: &Trace) {
    let (read, write) = make::pipe();
    let reader =
        t.spawn("reader", move |_| unsafe { libc::read(read, [0u8; 1].as_mut_ptr().cast(), 1) });
    for i in 0..50 {
        t.spawn(&format!("flow {i:02}"), |_| ()).join();
    }
    t.says("waits still", !reader.is_over());
    t.says("write", ret(unsafe { libc::write(write, c"x".as_ptr().cast(), 1) }));
    t.says("read", reader.join());
    make::close([read, write]);
    t.says("errno", say::errno_name(0));
}
