//! Python's `subprocess` in an interpreter that is embedded as PyO3 does it: it makes children by `vfork`, which
//! close descriptors before they run another program. The library is loaded, so that nothing is needed to build.

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
            begin(0);
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
