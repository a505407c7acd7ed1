//! Libraries that are loaded while goroutines run, and use thread-locals of the initial-exec model.

use goroutines::{go, runtime};
use goroutines_tests::proc::in_child;
use goroutines_tests::{join_all, run_to_end};
use std::ffi::{CStr, CString, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;

/// GCC's OpenMP library: its settings are a thread-local of that model.
const LIBRARY: &CStr = c"libgomp.so.1";

fn load() -> *mut c_void {
    // SAFETY: a NUL-terminated name; the library's constructors are harmless.
    unsafe { libc::dlopen(LIBRARY.as_ptr(), libc::RTLD_NOW) }
}

/// Whether this machine has it; says so where not.
fn have_it() -> bool {
    let have = !load().is_null();
    if !have {
        println!("{LIBRARY:?} is not installed: not tested");
    }
    have
}

/// The library's own way to set and to read a thread-local.
fn threads_setting(handle: *mut c_void) -> (extern "C" fn(c_int), extern "C" fn() -> c_int) {
    // SAFETY: functions of <omp.h> with these signatures.
    unsafe {
        let set = libc::dlsym(handle, c"omp_set_num_threads".as_ptr());
        let get = libc::dlsym(handle, c"omp_get_max_threads".as_ptr());
        assert!(!set.is_null() && !get.is_null());
        (
            std::mem::transmute::<*mut c_void, extern "C" fn(c_int)>(set),
            std::mem::transmute::<*mut c_void, extern "C" fn() -> c_int>(get),
        )
    }
}

/// Without room it would lie on stack frames: the loader refuses it, as it does when a thread's room is used up.
#[test]
fn a_late_library_without_room_is_refused() {
    let name = "a_late_library_without_room_is_refused";
    let child = in_child(name, &[], || {
        goroutines::run(|| {
            assert!(load().is_null(), "there is no room");
            // SAFETY: the text of the failure just now.
            let text = unsafe { CStr::from_ptr(libc::dlerror()) }.to_string_lossy();
            println!("{text}");
            go(|| ()).join().unwrap();
        });
    });
    if have_it() {
        child.expect_clean();
        assert!(child.text().contains("static TLS"), "{child}");
    }
}

/// With room, each goroutine has its own, also one whose carrier was there before, and one whose carrier
/// is used again.
#[test]
fn a_late_library_with_room_has_thread_locals_in_each_goroutine() {
    let name = "a_late_library_with_room_has_thread_locals_in_each_goroutine";
    let child = in_child(name, &[], || {
        runtime::Builder::new().keep_dlopen_surplus(true).gomaxprocs(2).run(|| {
            let before: Vec<_> = (0..50).map(|_| go(runtime::gosched)).collect();
            before.into_iter().for_each(|handle| handle.join().unwrap());
            let handle = load();
            if handle.is_null() {
                return;
            }
            let (set, get) = threads_setting(handle);
            let usual = get();
            for round in 0..3 {
                let all: Vec<_> = (0..200)
                    .map(|i| {
                        go(move || {
                            assert_eq!(get(), usual, "of the goroutine before, round {round}");
                            set(usual + 1 + i);
                            runtime::gosched();
                            assert_eq!(get(), usual + 1 + i, "of another goroutine");
                        })
                    })
                    .collect();
                all.into_iter().for_each(|handle| handle.join().unwrap());
            }
            assert_eq!(get(), usual);
        });
    });
    child.expect_clean();
}

/// Thread-locals, a function to get one, a function to set it, and a constructor that sets it to 99.
const SOURCE: &str = "
    static __thread int x[N] MODEL = { 4711, 1, 2, 3 };
    __attribute__((constructor)) static void begin(void) { if (BEGIN) x[0] = BEGIN; }
    int get(void) { return x[0] == 4711 && x[3] != 3 ? -1 : x[0]; }
    void set(int n) { x[0] = n; x[3] = n; }
";
const INITIAL: &str = "-DMODEL=__attribute__((tls_model(\"initial-exec\")))";

/// Builds a library.
fn build(name: &str, flags: &[&str]) -> PathBuf {
    let at = std::env::temp_dir().join(format!("goroutines-test-{}-{name}.so", std::process::id()));
    let source = at.with_extension("c");
    std::fs::write(&source, SOURCE).expect("a file in the temporary directory");
    let cc = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let usual = ["-shared", "-fPIC", "-O1"];
    let more = ["-DMODEL=", "-DBEGIN=0", "-DN=4"].into_iter().filter(|usual| {
        !flags.iter().any(|flag| flag.split('=').next() == usual.split('=').next())
    });
    let mut command = Command::new(cc);
    command.args(usual).args(more).args(flags).arg("-o").arg(&at).arg(&source);
    assert!(command.status().expect("a C compiler").success(), "{command:?}");
    std::fs::remove_file(source).expect("the file just written");
    at
}

type Get = extern "C" fn() -> c_int;
type Set = extern "C" fn(c_int);

struct Library(*mut c_void);

// SAFETY: a handle is the process's.
unsafe impl Send for Library {}

impl Library {
    fn from(handle: *mut c_void) -> Self {
        if handle.is_null() {
            // SAFETY: the text of the failure just now.
            panic!("{:?}", unsafe { CStr::from_ptr(libc::dlerror()) });
        }
        Self(handle)
    }

    fn path(at: &std::path::Path) -> CString {
        CString::new(at.as_os_str().as_encoded_bytes()).expect("a path")
    }

    fn open(at: &std::path::Path) -> Self {
        // SAFETY: a NUL-terminated path, of a library of ours.
        Self::from(unsafe { libc::dlopen(Self::path(at).as_ptr(), libc::RTLD_NOW) })
    }

    /// Into a name space of its own.
    fn open_apart(at: &std::path::Path) -> *mut c_void {
        const LM_ID_NEWLM: libc::Lmid_t = -1;
        // SAFETY: as above.
        unsafe { libc::dlmopen(LM_ID_NEWLM, Self::path(at).as_ptr(), libc::RTLD_NOW) }
    }

    fn calls(&self) -> (Get, Set) {
        // SAFETY: functions of ours with these signatures.
        unsafe {
            let get = libc::dlsym(self.0, c"get".as_ptr());
            let set = libc::dlsym(self.0, c"set".as_ptr());
            (
                std::mem::transmute::<*mut c_void, Get>(get),
                std::mem::transmute::<*mut c_void, Set>(set),
            )
        }
    }

    fn close(self) {
        // SAFETY: of ours, and not used any more.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}

/// Each of many goroutines, new ones and carriers used again, begins with `initial`.
fn begins_with(library: &Library, initial: c_int) {
    let (get, set) = library.calls();
    for round in 0..3 {
        let all: Vec<_> = (0..50)
            .map(|i| {
                go(move || {
                    assert_eq!(get(), initial, "at first, round {round}");
                    set(1000 + i);
                    runtime::gosched();
                    assert_eq!(get(), 1000 + i, "of another goroutine");
                })
            })
            .collect();
        join_all(all);
    }
}

/// Runs `body` in a child, with room for late libraries, at two Ps, after some goroutines.
fn with_room(name: &str, body: impl FnOnce() + Send) {
    let child = in_child(name, &[], || {
        runtime::Builder::new().keep_dlopen_surplus(true).gomaxprocs(2).run(|| {
            let before: Vec<_> = (0..20).map(|_| go(runtime::gosched)).collect();
            join_all(before);
            body();
        });
    });
    child.expect_clean();
}

/// What a library's constructor does to its thread's values is there afterwards, and is that thread's alone.
#[test]
fn constructors_work_is_kept() {
    with_room("constructors_work_is_kept", || {
        let at = build("begin", &[INITIAL, "-DBEGIN=99"]);
        let (gate, parked) = (goroutines::WaitGroup::new(), goroutines::WaitGroup::new());
        gate.add(1);
        parked.add(1);
        let (calls, waits) = goroutines::chan::bounded::<Get>(1);
        let bystander = {
            let (gate, parked) = (gate.clone(), parked.clone());
            go(move || {
                parked.done();
                gate.wait();
                waits.recv().map(|get| get())
            })
        };
        parked.wait();
        let library = Library::open(&at);
        assert_eq!(library.calls().0(), 99, "on the goroutine that has loaded it");
        calls.send(library.calls().0).unwrap();
        gate.done();
        assert_eq!(bystander.join().unwrap(), Ok(4711), "on one that was there before");
        begins_with(&library, 4711);
        assert_eq!(library.calls().0(), 99);
        let _ = std::fs::remove_file(at);
    });
}

/// A library that was unloaded leaves nothing that is asked for, and its place can be another's.
#[test]
fn unloaded_libraries_leave_nothing() {
    with_room("unloaded_libraries_leave_nothing", || {
        let first = build("first", &[INITIAL, "-DN=40"]);
        let second = build("second", &[INITIAL, "-DN=60"]);
        for _ in 0..5 {
            for at in [&first, &second] {
                let library = Library::open(at);
                begins_with(&library, 4711);
                library.close();
                let all: Vec<_> = (0..20).map(|_| go(runtime::gosched)).collect();
                all.into_iter().for_each(|handle| handle.join().unwrap());
            }
        }
        let _ = (std::fs::remove_file(first), std::fs::remove_file(second));
    });
}

/// Loaded before the runtime is started, unloaded afterwards.
#[test]
fn a_library_that_was_there_at_start_may_go() {
    let child = in_child("a_library_that_was_there_at_start_may_go", &[], || {
        let at = build("early", &[INITIAL]);
        let library = Library::open(&at);
        goroutines::run(|| {
            begins_with(&library, 4711);
            library.close();
            for _ in 0..3 {
                go(|| ()).join().unwrap();
            }
        });
        let _ = std::fs::remove_file(at);
    });
    child.expect_clean();
}

/// More of them than any table of ours has room for.
#[test]
fn many_late_libraries() {
    with_room("many_late_libraries", || {
        let at: Vec<_> = (0..40).map(|i| build(&format!("many{i}"), &[INITIAL])).collect();
        let libraries: Vec<_> = at.iter().map(|at| Library::open(at)).collect();
        libraries.iter().for_each(|library| begins_with(library, 4711));
        at.into_iter().for_each(|at| _ = std::fs::remove_file(at));
    });
}

/// Not by `dlopen`: into a name space of its own, by `dlmopen`. With room it works, without it is refused.
#[test]
fn libraries_in_other_name_spaces() {
    with_room("libraries_in_other_name_spaces", || {
        let at = build("apart", &[INITIAL, "-DBEGIN=99", "-nostdlib"]);
        let library = Library::from(Library::open_apart(&at));
        assert_eq!(library.calls().0(), 99);
        begins_with(&library, 4711);
        let _ = std::fs::remove_file(at);
    });
}

#[test]
fn libraries_in_other_name_spaces_without_room() {
    let child = in_child("libraries_in_other_name_spaces_without_room", &[], || {
        let at = build("apart", &[INITIAL, "-DN=300", "-nostdlib"]);
        goroutines::run(|| {
            let all: Vec<_> = (0..20)
                .map(|_| {
                    go(|| {
                        for _ in 0..20 {
                            runtime::gosched();
                        }
                    })
                })
                .collect();
            assert!(Library::open_apart(&at).is_null());
            all.into_iter().for_each(|handle| handle.join().unwrap());
        });
        let _ = std::fs::remove_file(at);
    });
    child.expect_clean();
}

/// A library that can do with dynamic thread-locals, but would take static ones if there were room: descriptors.
#[test]
fn libraries_that_would_like_room() {
    for keep in [false, true] {
        let name = "libraries_that_would_like_room";
        let child =
            in_child(name, &[("GOROUTINES_TEST_KEEP", if keep { "1" } else { "" })], || {
                let at = build("gnu2", &["-DN=40", "-mtls-dialect=gnu2", "-DBEGIN=99"]);
                let keep =
                    std::env::var_os("GOROUTINES_TEST_KEEP").is_some_and(|keep| !keep.is_empty());
                runtime::Builder::new().keep_dlopen_surplus(keep).gomaxprocs(2).run(|| {
                    let library = Library::open(&at);
                    assert_eq!(library.calls().0(), 99);
                    begins_with(&library, 4711);
                });
                let _ = std::fs::remove_file(at);
            });
        child.expect_clean();
    }
}

/// Dynamic ones, small and large: allocated at their first use, freed at the goroutine's end.
#[test]
fn dynamic_thread_locals_begin_anew() {
    for n in ["-DN=4", "-DN=60000"] {
        let child =
            in_child("dynamic_thread_locals_begin_anew", &[("GOROUTINES_TEST_N", n)], || {
                let at = build("dynamic", &[&std::env::var("GOROUTINES_TEST_N").unwrap()]);
                goroutines::run(|| {
                    let library = Library::open(&at);
                    begins_with(&library, 4711);
                    library.close();
                    for _ in 0..3 {
                        go(|| ()).join().unwrap();
                    }
                    let library = Library::open(&at);
                    begins_with(&library, 4711);
                });
                let _ = std::fs::remove_file(at);
            });
        child.expect_clean();
    }
}

/// As large C++ programs have.
#[test]
fn forty_libraries_at_start() {
    let name = "forty_libraries_at_start";
    let built: Vec<_> = (0..40).map(|i| build(&format!("start{i}"), &[])).collect();
    let list = built.iter().map(|at| at.display().to_string()).collect::<Vec<_>>().join(":");
    let child = in_child(name, &[("LD_PRELOAD", &list)], || {
        goroutines::run(|| {
            // SAFETY: the first of them.
            let first = Library(unsafe { libc::dlopen(std::ptr::null(), libc::RTLD_NOW) });
            begins_with(&first, 4711);
        });
    });
    child.expect_clean();
    built.into_iter().for_each(|at| _ = std::fs::remove_file(at));
}

/// A plug-in with the runtime in it: its threads go on after the host has closed it, so it stays.
#[test]
fn a_plugin_that_contains_the_runtime_stays() {
    let program = std::env::current_exe().expect("this program's path");
    let at = program.with_file_name("../examples/libplugin.so");
    if !at.exists() {
        println!("{} is not built: not tested", at.display());
        return;
    }
    let child = in_child("a_plugin_that_contains_the_runtime_stays", &[], || {
        for _ in 0..2 {
            let library = Library::open(&at);
            // SAFETY: a function of the plug-in's, with this signature.
            let call = unsafe {
                let call = libc::dlsym(library.0, c"plugin_goroutines".as_ptr());
                assert!(!call.is_null(), "plugin_goroutines");
                std::mem::transmute::<*mut c_void, Get>(call)
            };
            // Often, as the runtime's own thread-locals are allocated for each carrier here.
            for _ in 0..50 {
                assert_eq!(call(), 10);
            }
            library.close();
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    });
    child.expect_status(0);
    // This program's own symbols go before the plug-in's.
    let told = cfg!(feature = "intercept");
    assert_eq!(child.stderr, if told { HELD } else { "" }, "{child}");
}

/// What a plug-in says whose calls go to libc.
const HELD: &str = "goroutines: in this library, calls that block hold a thread, as they go to libc: \
                    link it with -Bsymbolic. In its build.rs: \
                    println!(\"cargo::rustc-link-arg-cdylib=-Wl,-Bsymbolic\");\n";

/// A plug-in of a program that knows nothing of goroutines parks if it is linked with `-Bsymbolic`, and else
/// says that it does not.
#[test]
fn a_plugin_of_python_parks_if_its_symbols_are_its_own() {
    const CODE: &str = "import ctypes, os, sys\n\
                        call = ctypes.CDLL(sys.argv[1]).plugin_sleeps\n\
                        call.restype = ctypes.c_int64\n\
                        print(call(500), len(os.listdir('/proc/self/task')))";
    let Some(python) = goroutines_test_needs::program("python3", "python3", &[]) else { return };
    let program = std::env::current_exe().expect("this program's path");
    let all = program.with_file_name("../examples/libplugin.a").display().to_string();
    let own = |arguments: &[&str]| {
        let whole = ["-Wl,--whole-archive", &all, "-Wl,--no-whole-archive", "-lgcc_s"];
        build("parks", &[arguments, &whole].concat())
    };
    let run = |at: &Path| {
        let ended = run_to_end(Command::new(&python).args(["-c", CODE]).arg(at));
        ended.expect_status(0);
        let numbers = ended.text().split_whitespace().map(|n| n.parse().unwrap()).collect();
        let [us, threads]: [u64; 2] = Vec::try_into(numbers).unwrap();
        (us, threads, ended.stderr)
    };
    let (us, threads, said) = run(&own(&["-Wl,-Bsymbolic"]));
    assert_eq!(said, "");
    assert!(threads < 20 || !cfg!(feature = "intercept"), "{threads} threads");
    assert!(us >= 20_000, "{us} µs");
    let (us, _, said) = run(&own(&[]));
    assert_eq!(said, if cfg!(feature = "intercept") { HELD } else { "" });
    assert!(us >= 20_000, "{us} µs");
}

/// Where a library asks for stacks that can be executed (as C's nested functions need), goroutines have them.
#[test]
fn stacks_are_executable_where_threads_are() {
    /// `mov eax, 42; ret`, on the stack.
    fn run_on_stack() -> c_int {
        let code = std::hint::black_box([0xb8u8, 42, 0, 0, 0, 0xc3]);
        // SAFETY: a function without arguments that returns a number.
        unsafe { std::mem::transmute::<*const u8, Get>((&raw const code).cast())() }
    }
    let at = build("execstack", &["-Wl,-z,execstack"]);
    let list = at.display().to_string();
    let name = "stacks_are_executable_where_threads_are";
    let child = in_child(name, &[("LD_PRELOAD", &list)], || {
        assert_eq!(std::thread::spawn(run_on_stack).join().expect("no panic"), 42);
        goroutines::run(|| assert_eq!(go(run_on_stack).join().unwrap(), 42));
    });
    child.expect_clean();
    let _ = std::fs::remove_file(at);
}
