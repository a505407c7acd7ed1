//! What libc keeps for each thread, and what it keeps for the process: locales, messages, environment, users,
//! rounding, random numbers.

use goroutines_twin_tests::{Row, Trace, code, make, ms, ret, rows, say};
use std::ffi::CStr;
use std::ptr::{null, null_mut};

pub(crate) fn rows() -> Vec<Row> {
    rows![
        locale_of_a_flow,
        locale_of_the_process,
        classes_of_characters,
        messages_of_errors,
        messages_of_signals,
        dlerror_is_each_flows_own,
        dlopen_and_look_up,
        environment,
        environment_in_flows,
        environment_of_children,
        users_and_groups,
        names_of_services,
        names_of_hosts_without_a_net,
        times_of_day,
        clocks_go_on,
        rounding_is_each_flows_own,
        exceptions_of_floats,
        random_numbers,
        working_directory_and_mask,
        limits,
        sizes_of_the_system,
        memory_from_another_flow,
        memory_aligned_and_large,
        sorting_with_a_comparison_that_waits,
        directories_read,
        temporary_names,
        text_functions,
        bad_addresses_of_simple_calls
    ]
}

fn text(at: *const libc::c_char) -> String {
    if at.is_null() {
        "none".into()
    } else {
        unsafe { CStr::from_ptr(at) }.to_string_lossy().into_owned()
    }
}

fn locale_of_a_flow(t: &Trace) {
    unsafe {
        let before = libc::uselocale(null_mut());
        let c = libc::newlocale(libc::LC_ALL_MASK, c"C.UTF-8".as_ptr(), null_mut());
        t.says("new", !c.is_null());
        t.says("used before is the process's", libc::uselocale(c) == before);
        let c = c.addr();
        t.spawn("other", move |t| {
            let its = libc::uselocale(null_mut());
            t.says("is not the other's", its.addr() != c);
        })
        .join();
        ms(20);
        t.says("still", libc::uselocale(null_mut()).addr() == c);
        t.says(
            "no such",
            libc::newlocale(libc::LC_ALL_MASK, c"xx_YY".as_ptr(), null_mut()).is_null(),
        );
        libc::freelocale(libc::uselocale(before));
    }
}

fn locale_of_the_process(t: &Trace) {
    unsafe {
        t.says("is", text(libc::setlocale(libc::LC_ALL, null())));
        t.says("set", text(libc::setlocale(libc::LC_ALL, c"C.UTF-8".as_ptr())));
        t.spawn("other", |t| t.says("is", text(libc::setlocale(libc::LC_CTYPE, null())))).join();
        t.says("codeset", text(libc::nl_langinfo(libc::CODESET)));
        t.says("no such", text(libc::setlocale(libc::LC_ALL, c"xx_YY".as_ptr())));
    }
}

unsafe extern "C" {
    fn mbstowcs(to: *mut libc::wchar_t, from: *const libc::c_char, n: usize) -> usize;
    fn strtod(text: *const libc::c_char, end: *mut *mut libc::c_char) -> f64;
    fn fesetround(mode: libc::c_int) -> libc::c_int;
    fn fegetround() -> libc::c_int;
    fn feclearexcept(which: libc::c_int) -> libc::c_int;
    fn feraiseexcept(which: libc::c_int) -> libc::c_int;
    fn fetestexcept(which: libc::c_int) -> libc::c_int;
    fn mktime(time: *mut libc::tm) -> libc::time_t;
}

fn classes_of_characters(t: &Trace) {
    let look = |t: &Trace| unsafe {
        let letters: i32 = (0..256).filter(|c| libc::isalpha(*c) != 0).count() as i32;
        t.says("letters", letters);
        t.says("upper", char::from(libc::toupper(b'q'.into()) as u8));
        let mut wide = [0; 8];
        t.says("wide", mbstowcs(wide.as_mut_ptr(), c"a\xc3\xa4".as_ptr(), 8) as isize);
    };
    look(t);
    t.spawn("other", look).join();
    unsafe { libc::setlocale(libc::LC_ALL, c"C.UTF-8".as_ptr()) };
    look(t);
    t.spawn("yet another", look).join();
}

fn messages_of_errors(t: &Trace) {
    unsafe {
        for errno in [0, libc::ENOENT, libc::EAGAIN, 9999] {
            t.says("strerror", text(libc::strerror(errno)));
        }
        let first = libc::strerror(9998);
        t.spawn("other", |t| t.says("strerror", text(libc::strerror(9997)))).join();
        t.says("still", text(first));
        let mut short = [0; 4];
        t.says("no room", code(libc::strerror_r(libc::ENOENT, short.as_mut_ptr(), 4)));
    }
}

fn messages_of_signals(t: &Trace) {
    unsafe {
        t.says("TERM", text(libc::strsignal(libc::SIGTERM)));
        let first = libc::strsignal(200);
        t.spawn("other", |t| t.says("201", text(libc::strsignal(201)))).join();
        t.says("still", text(first));
    }
}

fn dlerror_is_each_flows_own(t: &Trace) {
    unsafe {
        t.says("at first", text(libc::dlerror()));
        // Made before: std looks for symbols when it makes a thread.
        let other = t.spawn("other", |t| {
            ms(100);
            t.says("at first", text(libc::dlerror()));
            libc::dlsym(null_mut(), c"no_such_symbol".as_ptr());
            t.says("own", text(libc::dlerror()).contains("no_such_symbol"));
        });
        ms(20);
        libc::dlopen(c"/no/such.so".as_ptr(), libc::RTLD_NOW);
        other.join();
        t.says("own", text(libc::dlerror()).contains("/no/such.so"));
        t.says("once", text(libc::dlerror()));
    }
}

fn dlopen_and_look_up(t: &Trace) {
    unsafe {
        let library = libc::dlopen(c"libm.so.6".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        t.says("open", !library.is_null());
        let cos = libc::dlsym(library, c"cos".as_ptr());
        t.says("found", !cos.is_null());
        let cos: extern "C" fn(f64) -> f64 = std::mem::transmute(cos);
        t.says("cos(0)", cos(0.0));
        let mut info: libc::Dl_info = std::mem::zeroed();
        t.says("dladdr", libc::dladdr(cos as *const libc::c_void, &raw mut info));
        t.says("is of", text(info.dli_fname).contains("libm"));
        t.says("close", libc::dlclose(library));
        let again = libc::dlopen(c"libm.so.6".as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD);
        t.says("is loaded", !again.is_null());
        t.says("oneself", !libc::dlopen(null(), libc::RTLD_NOW).is_null());
    }
}

fn environment(t: &Trace) {
    unsafe {
        t.says("set", ret(libc::setenv(c"TWIN_A".as_ptr(), c"one".as_ptr(), 1)));
        t.says("set, not over it", ret(libc::setenv(c"TWIN_A".as_ptr(), c"two".as_ptr(), 0)));
        t.says("get", text(libc::getenv(c"TWIN_A".as_ptr())));
        t.says("std", std::env::var("TWIN_A").unwrap_or_default());
        t.says("unset", ret(libc::unsetenv(c"TWIN_A".as_ptr())));
        t.says("get", text(libc::getenv(c"TWIN_A".as_ptr())));
        t.says("no name", ret(libc::setenv(c"".as_ptr(), c"one".as_ptr(), 1)));
        t.says("a bad name", ret(libc::setenv(c"a=b".as_ptr(), c"one".as_ptr(), 1)));
    }
}

fn environment_in_flows(t: &Trace) {
    unsafe { std::env::set_var("TWIN_B", "here") };
    t.spawn("other", |t| {
        t.says("get", std::env::var("TWIN_B").unwrap_or_default());
        unsafe { std::env::set_var("TWIN_B", "there") };
    })
    .join();
    t.says("get", std::env::var("TWIN_B").unwrap_or_default());
    let all: Vec<_> = (0..8)
        .map(|i| {
            t.spawn(&format!("flow {i}"), move |t| {
                let name = format!("TWIN_{i}");
                for k in 0..50 {
                    unsafe { std::env::set_var(&name, k.to_string()) };
                    if k % 10 == 0 {
                        ms(1);
                    }
                }
                t.says("get", std::env::var(&name).unwrap_or_default());
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
}

fn environment_of_children(t: &Trace) {
    unsafe { std::env::set_var("TWIN_C", "inherited") };
    let child = make::child(|| i32::from(std::env::var("TWIN_C").is_ok_and(|v| v == "inherited")));
    t.says("forked (1: yes)", make::end_of(child));
    t.says(
        "system",
        say::status(unsafe { libc::system(c"test \"$TWIN_C\" = inherited".as_ptr()) }),
    );
}

fn users_and_groups(t: &Trace) {
    unsafe {
        let root = libc::getpwuid(0);
        t.says("of 0", if root.is_null() { "none".into() } else { text((*root).pw_name) });
        let (mut entry, mut result) = (std::mem::zeroed::<libc::passwd>(), null_mut());
        let mut room = [0; 2048];
        let (at, n) = (room.as_mut_ptr(), room.len());
        let found = libc::getpwnam_r(c"root".as_ptr(), &raw mut entry, at, n, &raw mut result);
        t.says("root", format!("{} {}", code(found), entry.pw_uid));
        let found =
            libc::getpwnam_r(c"nobody-at-all".as_ptr(), &raw mut entry, at, n, &raw mut result);
        t.says("nobody", format!("{} {}", code(found), result.is_null()));
        let found = libc::getpwnam_r(c"root".as_ptr(), &raw mut entry, at, 3, &raw mut result);
        t.says("no room", code(found));
        let group = libc::getgrgid(0);
        t.says("group 0", if group.is_null() { "none".into() } else { text((*group).gr_name) });
        t.says("ids", libc::getuid() == libc::geteuid() && libc::getgid() == libc::getegid());
    }
    let all: Vec<_> = (0..6)
        .map(|i| {
            t.spawn(&format!("flow {i}"), |t| unsafe {
                let (mut entry, mut result) = (std::mem::zeroed::<libc::passwd>(), null_mut());
                let mut room = [0; 2048];
                let (at, n) = (room.as_mut_ptr(), room.len());
                libc::getpwuid_r(0, &raw mut entry, at, n, &raw mut result);
                t.says("0", text(entry.pw_name));
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
}

fn names_of_services(t: &Trace) {
    let resolve = |name: &str| {
        use std::net::ToSocketAddrs;
        match name.to_socket_addrs() {
            Ok(all) => format!("{:?}", all.collect::<Vec<_>>()),
            Err(error) => format!("{:?}", error.kind()),
        }
    };
    for name in ["127.0.0.1:80", "[::1]:80", "localhost:80", "1.2.3:80"] {
        t.says(name, resolve(name));
    }
    let all: Vec<_> = (0..8)
        .map(|i| {
            t.spawn(&format!("flow {i}"), move |t| t.says("localhost", resolve("localhost:1")))
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
}

fn names_of_hosts_without_a_net(t: &Trace) {
    unsafe {
        let mut hints: libc::addrinfo = std::mem::zeroed();
        hints.ai_flags = libc::AI_NUMERICHOST;
        let mut list = null_mut();
        let ask = |name: &CStr, hints: *const libc::addrinfo, list: *mut *mut libc::addrinfo| {
            libc::getaddrinfo(name.as_ptr(), null(), hints, list)
        };
        t.says("no number", ask(c"example", &raw const hints, &raw mut list));
        t.says("a number", ask(c"10.1.2.3", &raw const hints, &raw mut list));
        let (mut host, address) = ([0; 64], (*list).ai_addr);
        let n = libc::getnameinfo(
            address,
            (*list).ai_addrlen,
            host.as_mut_ptr(),
            64,
            null_mut(),
            0,
            libc::NI_NUMERICHOST,
        );
        t.says("back", format!("{n} {}", text(host.as_ptr())));
        libc::freeaddrinfo(list);
        hints.ai_flags = 1 << 30;
        t.says("bad flags", ask(c"10.1.2.3", &raw const hints, &raw mut list));
        t.says("nothing", libc::getaddrinfo(null(), null(), null(), &raw mut list));
        let mut name = [0; 2];
        t.says("gethostname, no room", ret(libc::gethostname(name.as_mut_ptr(), 1)));
    }
}

fn times_of_day(t: &Trace) {
    unsafe {
        libc::setenv(c"TZ".as_ptr(), c"UTC0".as_ptr(), 1);
        let time = 86_400i64 * 365;
        let mut parts: libc::tm = std::mem::zeroed();
        libc::gmtime_r(&raw const time, &raw mut parts);
        t.says("gmtime", format!("{} {} {}", parts.tm_year, parts.tm_mon, parts.tm_mday));
        libc::localtime_r(&raw const time, &raw mut parts);
        t.says("mktime", mktime(&raw mut parts));
        let mut room = [0; 64];
        let n = libc::strftime(room.as_mut_ptr(), 64, c"%Y-%m-%d %H".as_ptr(), &raw const parts);
        t.says("strftime", format!("{n} {}", text(room.as_ptr())));
    }
}

fn clocks_go_on(t: &Trace) {
    let now = |clock| {
        let mut time: libc::timespec = unsafe { std::mem::zeroed() };
        let n = ret(unsafe { libc::clock_gettime(clock, &raw mut time) });
        (n, time.tv_sec * 1_000_000_000 + time.tv_nsec)
    };
    for clock in
        [libc::CLOCK_REALTIME, libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME, libc::CLOCK_TAI]
    {
        let before = now(clock).1;
        ms(20);
        t.says(&format!("clock {clock}"), now(clock).1 - before >= 20_000_000);
    }
    t.says("no such clock", now(99).0);
    t.says("bad address", ret(unsafe { libc::clock_getres(99, null_mut()) }));
    let before = now(libc::CLOCK_PROCESS_CPUTIME_ID).1;
    let start = std::time::Instant::now();
    while start.elapsed().as_millis() < 50 {}
    t.says("the process's goes on", now(libc::CLOCK_PROCESS_CPUTIME_ID).1 > before);
}

/// A new thread begins with its maker's.
fn rounding_is_each_flows_own(t: &Trace) {
    const UP: i32 = 0x800;
    const DOWN: i32 = 0x400;
    unsafe {
        t.says("at first", fegetround());
        fesetround(UP);
        let other = t.spawn("other", |t| {
            t.says("at first", fegetround());
            fesetround(DOWN);
            ms(50);
            t.says("later", fegetround());
        });
        ms(20);
        t.says("here", fegetround());
        other.join();
        t.says("here", fegetround());
        let start = std::time::Instant::now();
        let mut wrong = 0;
        while start.elapsed().as_millis() < 50 {
            wrong += i32::from(fegetround() != UP);
        }
        t.says("wrong while computing", wrong);
    }
}

fn exceptions_of_floats(t: &Trace) {
    const DIVISION: i32 = 4;
    unsafe {
        feclearexcept(0x3d);
        feraiseexcept(DIVISION);
        t.spawn("other", |t| {
            feclearexcept(0x3d);
            ms(20);
            t.says("raised", fetestexcept(0x3d));
        })
        .join();
        t.says("raised", fetestexcept(0x3d));
        t.says("strtod", strtod(c"1e-2x".as_ptr(), null_mut()));
        say::set_errno(0);
        t.says("overflow", strtod(c"1e999".as_ptr(), null_mut()));
        t.says("errno", say::errno_name(say::errno()));
    }
}

fn random_numbers(t: &Trace) {
    unsafe {
        libc::srand(5);
        let first: Vec<_> = (0..4).map(|_| libc::rand()).collect();
        libc::srand(5);
        let mut second = vec![libc::rand()];
        second.extend(t.spawn("other", |_| [libc::rand(), libc::rand()]).join());
        second.push(libc::rand());
        t.says("one sequence for all", first == second);
        let mut bytes = [0u8; 32];
        t.says("getrandom", ret(libc::getrandom(bytes.as_mut_ptr().cast(), 32, 0)));
        t.says("bad getrandom", ret(libc::getrandom(make::bad(), 32, 0)));
        t.says("getentropy", ret(libc::getentropy(bytes.as_mut_ptr().cast(), 32)));
        t.says("too much of it", ret(libc::getentropy(bytes.as_mut_ptr().cast(), 257)));
    }
}

fn working_directory_and_mask(t: &Trace) {
    t.spawn("other", |t| t.says("chdir", ret(unsafe { libc::chdir(c"/usr".as_ptr()) }))).join();
    let mut room = [0; 64];
    t.says("getcwd", text(unsafe { libc::getcwd(room.as_mut_ptr(), 64) }));
    t.says("no room", text(unsafe { libc::getcwd(room.as_mut_ptr(), 2) }));
    t.says("errno", say::errno_name(say::errno()));
    t.says("nowhere", ret(unsafe { libc::chdir(c"/no/such".as_ptr()) }));
}

fn limits(t: &Trace) {
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        t.says("get", ret(libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit)));
        limit.rlim_cur = 0;
        t.spawn("other", move |t| {
            t.says("set", ret(libc::setrlimit(libc::RLIMIT_CORE, &raw const limit)))
        })
        .join();
        libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit);
        t.says("is", limit.rlim_cur);
        t.says("bad address", ret(libc::getrlimit(libc::RLIMIT_CORE, make::bad())));
        t.says("no such", ret(libc::getrlimit(99, &raw mut limit)));
        t.says("prlimit", ret(libc::prlimit(0, libc::RLIMIT_CORE, null(), &raw mut limit)));
        let mut usage: libc::rusage = std::mem::zeroed();
        t.says("usage", ret(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage)));
        t.says("of children", ret(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage)));
        t.says("of nobody", ret(libc::getrusage(77, &raw mut usage)));
    }
}

fn sizes_of_the_system(t: &Trace) {
    unsafe {
        t.says("page", libc::sysconf(libc::_SC_PAGESIZE));
        t.says("CPUs", libc::sysconf(libc::_SC_NPROCESSORS_ONLN));
        t.says("no such", ret(libc::sysconf(9999)));
        t.says("std", std::thread::available_parallelism().map(usize::from).unwrap_or(0));
        let mut name: libc::utsname = std::mem::zeroed();
        t.says("uname", ret(libc::uname(&raw mut name)));
        t.says("bad uname", ret(libc::uname(make::bad())));
        t.says("pathconf", ret(libc::pathconf(c"/tmp".as_ptr(), libc::_PC_PIPE_BUF)));
    }
}

fn memory_from_another_flow(t: &Trace) {
    let blocks =
        t.spawn("other", |_| (0..500).map(|i| vec![i as u8; i * 7]).collect::<Vec<_>>()).join();
    t.says("sum", blocks.iter().flatten().map(|b| u64::from(*b)).sum::<u64>());
    let all: Vec<_> = (0..6)
        .map(|i| {
            t.spawn(&format!("flow {i}"), move |t| {
                let mut kept = Vec::new();
                for k in 0..2000usize {
                    kept.push(vec![i as u8; k % 300]);
                    if k % 3 == 0 {
                        kept.swap_remove(k * 7 % kept.len());
                    }
                }
                t.says("whole", kept.iter().flatten().all(|b| *b == i as u8));
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
    drop(blocks);
}

fn memory_aligned_and_large(t: &Trace) {
    unsafe {
        let at = libc::aligned_alloc(4096, 8192);
        t.says("aligned", at.addr() % 4096);
        libc::free(at);
        t.says("too large", libc::malloc(usize::MAX / 2).is_null());
        t.says("errno", say::errno_name(say::errno()));
        let at = libc::calloc(1000, 1000).cast::<u8>();
        t.says("zeroes", (0..1_000_000).all(|i| *at.add(i) == 0));
        let at = libc::realloc(at.cast(), 5_000_000);
        t.says("larger", !at.is_null());
        libc::free(at);
        t.says("overflow", libc::calloc(usize::MAX, 3).is_null());
    }
}

extern "C" fn slowly(a: *const libc::c_void, b: *const libc::c_void) -> i32 {
    unsafe { libc::usleep(500) };
    unsafe { *a.cast::<i32>() - *b.cast::<i32>() }
}

fn sorting_with_a_comparison_that_waits(t: &Trace) {
    let all: Vec<_> = (0..3)
        .map(|i| {
            t.spawn(&format!("flow {i}"), move |t| {
                let mut numbers = [5, 3, 9, 1, 7, i, 2, 8];
                let at = numbers.as_mut_ptr().cast();
                unsafe { libc::qsort(at, 8, 4, Some(slowly)) };
                t.says("sorted", format!("{numbers:?}"));
            })
        })
        .collect();
    all.into_iter().for_each(goroutines_twin_tests::Flow::join);
}

fn directories_read(t: &Trace) {
    unsafe {
        let dir = libc::opendir(c"/proc/self".as_ptr());
        let mut names = Vec::new();
        loop {
            let entry = libc::readdir(dir);
            if entry.is_null() {
                break;
            }
            names.push(text((&raw const (*entry).d_name).cast()));
            if names.len() % 10 == 0 {
                ms(1);
            }
        }
        t.says("has stat", names.iter().any(|name| name == "stat"));
        t.says("close", ret(libc::closedir(dir)));
        t.says("no such", libc::opendir(c"/no/such".as_ptr()).is_null());
    }
}

fn temporary_names(t: &Trace) {
    let mut name = *b"/tmp/twin-XXXXXX\0";
    unsafe {
        let fd = libc::mkstemp(name.as_mut_ptr().cast());
        t.says("mkstemp", say::ok(fd));
        t.says("the name is new", &name[10..16] != b"XXXXXX");
        libc::unlink(name.as_ptr().cast());
        make::close([fd]);
        let mut bad = *b"/tmp/twin-XX\0";
        t.says("too few", ret(libc::mkstemp(bad.as_mut_ptr().cast())));
        let mut name = *b"/tmp/twin-XXXXXX\0";
        t.says("mkdtemp", !libc::mkdtemp(name.as_mut_ptr().cast()).is_null());
        t.says("rmdir", ret(libc::rmdir(name.as_ptr().cast())));
    }
}

fn text_functions(t: &Trace) {
    unsafe {
        let mut room = *b"a b\0";
        let mut place = null_mut();
        let first = libc::strtok_r(room.as_mut_ptr().cast(), c" ".as_ptr(), &raw mut place);
        t.says("first", text(first));
        ms(10);
        t.says("second", text(libc::strtok_r(null_mut(), c" ".as_ptr(), &raw mut place)));
        let mut room = [0; 32];
        let n =
            libc::snprintf(room.as_mut_ptr(), 32, c"%d %.2f %s".as_ptr(), 5, 1.5f64, c"x".as_ptr());
        t.says("snprintf", format!("{n} {}", text(room.as_ptr())));
        let (mut a, mut b) = (0i32, 0.0f64);
        let n = libc::sscanf(c"5 1.5".as_ptr(), c"%d %lf".as_ptr(), &raw mut a, &raw mut b);
        t.says("sscanf", format!("{n} {a} {b}"));
        say::set_errno(0);
        t.says("strtol", libc::strtol(c"99999999999999999999".as_ptr(), null_mut(), 10));
        t.says("errno", say::errno_name(say::errno()));
    }
}

fn bad_addresses_of_simple_calls(t: &Trace) {
    unsafe {
        t.says("pipe", ret(libc::pipe(make::bad())));
        t.says(
            "socketpair",
            ret(libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, make::bad())),
        );
        t.says(
            "gettimeofday by syscall",
            ret(libc::syscall(libc::SYS_getrusage, 0, make::bad::<u8>())),
        );
        t.says("sysinfo", ret(libc::sysinfo(make::bad())));
        t.says("getgroups", ret(libc::getgroups(100, make::bad())).value == -1);
        t.says("readlink", ret(libc::readlink(c"/proc/self/exe".as_ptr(), make::bad(), 10)));
        t.says("getsockname", ret(libc::getsockname(0, make::bad(), make::bad())));
        t.says("eventfd", ret(libc::eventfd(0, 1 << 20)));
        t.says("timerfd", ret(libc::timerfd_create(99, 0)));
        t.says("epoll_create", ret(libc::epoll_create(0)));
        t.says("epoll_create1", ret(libc::epoll_create1(1)));
        t.says("inotify_init1", ret(libc::inotify_init1(1)));
        t.says("signalfd", ret(libc::signalfd(-1, make::bad(), 0)));
        t.says("sched_getaffinity", ret(libc::sched_getaffinity(0, 128, make::bad())));
        t.says("sigaction", ret(libc::sigaction(libc::SIGKILL, null(), null_mut())));
        t.says("sigaction of 99", ret(libc::sigaction(99, null(), null_mut())));
    }
}
