//! Python's `subprocess`, `signal` and `faulthandler` in an interpreter that is embedded as PyO3 does it. It makes
//! children by `vfork`, which close descriptors before they run another program. The library is loaded, so that nothing is needed to build.

use crate::{at_each, beside_others};
use goroutines::thread;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::transmute;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

/// At each number of processors; each makes three children.
const GOROUTINES: usize = 20;

/// What the interpreter needs of stack that it takes for granted on a thread.
const STACK: usize = 2 << 20;

const CODE: &CStr = c"
import subprocess
def run(i):
    text = b'%d\\n' % i * 1000
    done = subprocess.run(['sh', '-c', 'cat; echo no >&2; exit 3'], input=text, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, text, b'no\\n'), done
    assert subprocess.check_output(['echo', str(i)], text=True) == f'{i}\\n'
    with subprocess.Popen(['sleep', '60']) as child:
        child.kill()
    assert child.returncode == -9, child
";

type Begin = unsafe extern "C" fn(c_int);
type LetGo = unsafe extern "C" fn() -> *mut c_void;
type Ensure = unsafe extern "C" fn() -> c_int;
type Release = unsafe extern "C" fn(c_int);
type Run = unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int;

/// Functions of the interpreter.
struct Python {
    ensure: Ensure,
    release: Release,
    run: Run,
}

impl Python {
    /// Loads and starts it, and lets go of its lock. `None`: it is not installed.
    fn start() -> Option<&'static Self> {
        static ONE: OnceLock<Option<Python>> = OnceLock::new();
        ONE.get_or_init(|| library().map(|path| Self::load(&path))).as_ref()
    }

    fn load(path: &Path) -> Self {
        let path = CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a NUL-terminated path.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        assert!(!library.is_null(), "{path:?} can't be loaded");
        let get = |name: &CStr| {
            // SAFETY: the library's handle, and a NUL-terminated name.
            let function = unsafe { libc::dlsym(library, name.as_ptr()) };
            assert!(!function.is_null(), "no {name:?}");
            function
        };
        // SAFETY: the functions have these signatures in all versions of the library.
        let (begin, let_go, python) = unsafe {
            let begin = transmute::<*mut c_void, Begin>(get(c"Py_InitializeEx"));
            let let_go = transmute::<*mut c_void, LetGo>(get(c"PyEval_SaveThread"));
            let ensure = transmute::<*mut c_void, Ensure>(get(c"PyGILState_Ensure"));
            let release = transmute::<*mut c_void, Release>(get(c"PyGILState_Release"));
            let run = transmute::<*mut c_void, Run>(get(c"PyRun_SimpleStringFlags"));
            (begin, let_go, Self { ensure, release, run })
        };
        // SAFETY: they are called in the order that the library asks for.
        unsafe {
            // With its handlers, where the process is the interpreter's.
            begin(c_int::from(std::env::var_os(PART).is_some()));
            assert_eq!((python.run)(CODE.as_ptr(), std::ptr::null_mut()), 0);
            let_go();
        }
        python
    }

    /// Runs `code`; whether it raised no exception. Python shows the exception.
    fn runs(&self, code: &str) -> bool {
        let code = CString::new(code).unwrap();
        // SAFETY: the interpreter is there; its lock is held in between.
        unsafe {
            let state = (self.ensure)();
            let result = (self.run)(code.as_ptr(), std::ptr::null_mut());
            (self.release)(state);
            result == 0
        }
    }
}

/// The interpreter's shared library, of whatever version.
fn library() -> Option<PathBuf> {
    let directory = PathBuf::from("/usr/lib/x86_64-linux-gnu");
    let names = std::fs::read_dir(&directory).ok().into_iter().flatten().flatten();
    let mut names: Vec<_> = names.filter_map(|name| name.file_name().into_string().ok()).collect();
    names.retain(|name| name.starts_with("libpython3.") && name.ends_with(".so.1.0"));
    let name = names.pop().unwrap_or_else(|| "libpython3".into());
    goroutines_test_needs::program(&name, "libpython3-dev", &[directory])
}

#[test]
fn python_makes_children_from_many_goroutines() {
    let Some(python) = Python::start() else { return };
    at_each(|procs| {
        let begun = Instant::now();
        beside_others(|| {
            let make = |i| {
                let run = move || python.runs(&format!("run({i})"));
                thread::Builder::new().stack_size(STACK).spawn(run).unwrap()
            };
            let all: Vec<_> = (0..GOROUTINES).map(make).collect();
            let good = all.into_iter().map(|one| one.join().unwrap()).filter(|good| *good).count();
            assert_eq!(good, GOROUTINES, "goroutines whose children did as they should");
        });
        println!("{GOROUTINES} at {procs}: {:?}", begun.elapsed());
    });
}

/// Which part of [`SIGNALS`] a child is to run.
const PART: &str = "PYTHON_PART";

/// On the goroutine that has started the interpreter, which is Python's main thread.
const SIGNALS: &str = "
import faulthandler, os, signal, sys, tempfile, threading, time

def until(what):
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end, 'it does not come'
        time.sleep(0.0005)

def handlers():
    got = []
    signal.signal(signal.SIGUSR1, lambda number, frame: got.append(number))
    for count in range(1, 101):
        os.kill(os.getpid(), signal.SIGUSR1)
        until(lambda: len(got) >= count)
    others = [threading.Thread(target=lambda: [os.kill(os.getpid(), signal.SIGUSR1), time.sleep(0.01)]) for _ in range(20)]
    for one in others: one.start()
    for one in others: one.join()
    until(lambda: len(got) > 100)
    signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)

def timers():
    got = []
    signal.signal(signal.SIGALRM, lambda number, frame: got.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    begun = time.monotonic()
    time.sleep(0.3)
    assert time.monotonic() - begun >= 0.3, 'PEP 475: a sleep goes on after a handler'
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert len(got) > 5, got

def waits():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    os.kill(os.getpid(), signal.SIGUSR2)
    until(lambda: signal.SIGUSR2 in signal.sigpending())
    assert signal.sigwait({signal.SIGUSR2}) == signal.SIGUSR2
    assert signal.sigtimedwait({signal.SIGUSR2}, 0.01) is None

def wakes():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
    assert os.read(reader, 1) == bytes([signal.SIGUSR1])
    signal.set_wakeup_fd(-1)

def interrupts():
    threading.Timer(0.05, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        time.sleep(20)
    except KeyboardInterrupt:
        return
    assert False, 'Ctrl-C is lost'

def dumps():
    with tempfile.TemporaryFile() as file:
        faulthandler.register(signal.SIGUSR2, file=file, all_threads=True)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        signal.raise_signal(signal.SIGUSR2)
        until(lambda: os.fstat(file.fileno()).st_size > 0)
        faulthandler.dump_traceback_later(0.05, file=file)
        time.sleep(0.3)
        file.seek(0)
        text = file.read().decode()
        assert 'in dumps' in text and 'Timeout (0:00:00' in text, text

def all():
    for part in [handlers, timers, waits, wakes, interrupts, dumps]:
        part()
    print('all as on a thread', flush=True)

def fault():
    faulthandler.enable()
    faulthandler._sigsegv()
";

/// Run before `main`: the thread that waits for the tests blocks signals, or it would have those of the process. A child's
/// goroutine opens them again.
extern "C" fn blocks_all() {
    // SAFETY: a name; a signal set of its own.
    unsafe {
        if !libc::getenv(c"PYTHON_PART".as_ptr()).is_null() {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        }
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = blocks_all;

/// In a process of its own, whose first goroutine starts the interpreter.
fn child(procs: &str, part: &str) -> Option<std::process::Output> {
    library()?;
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "python::python_takes_signals", "--nocapture"]);
    Some(child.env("GOMAXPROCS", procs).env(PART, part).output().unwrap())
}

#[test]
fn python_takes_signals() {
    if let Ok(part) = std::env::var(PART) {
        let slice = std::time::Duration::from_millis(1);
        let builder = goroutines::runtime::Builder::new();
        return builder.time_slice(slice).main_stack_size(STACK).run(move || {
            // SAFETY: a signal set of its own. (Where tests run in the background of a script, Ctrl-C is ignored, and
            // Python leaves it so.)
            unsafe {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                let none = std::mem::zeroed();
                libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            }
            let Some(python) = Python::start() else { return };
            assert!(python.runs(&format!("{SIGNALS}\n{part}()")), "Python has shown an exception");
        });
    }
    for procs in ["1", "2", "4"] {
        let Some(output) = child(procs, "all") else { return };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("all as on a thread"), "at {procs}: {text}\n{said}");
        let Some(output) = child(procs, "fault") else { return };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("Segmentation fault") && said.contains("in fault"), "{said}");
        let signal = std::os::unix::process::ExitStatusExt::signal(&output.status);
        assert_eq!(signal, Some(libc::SIGSEGV), "at {procs}: {said}");
    }
}
