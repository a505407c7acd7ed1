//! The process that a situation runs in.
//!
//! On the thread's side the situation has a thread with a large stack, while the main thread waits with all
//! signals blocked: a signal to the process comes to the situation's thread, or to one it has started. On the
//! goroutine's side the situation is a goroutine; the main goroutine waits in a `join`.

use crate::page::Page;
use crate::{Row, Side, Trace, ms};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// The variables that make a test binary run one row.
pub(crate) const ROW: &str = "TWIN_ROW";
/// `thread`, `g1`, `g2`, `g4`.
pub(crate) const SIDE: &str = "TWIN_SIDE";
/// The path of the shared page. Without it lines go to standard output.
pub(crate) const PAGE: &str = "TWIN_PAGE";
/// What limits are multiplied by.
pub(crate) const PATIENCE: &str = "TWIN_PATIENCE";

/// Runs the row that the environment names, if it names one.
pub(crate) fn main(rows: &[Row]) -> Option<ExitCode> {
    let name = std::env::var(ROW).ok()?;
    let side = std::env::var(SIDE).ok().and_then(|side| Side::parse(&side));
    let side = side.unwrap_or(Side::Thread);
    let page = std::env::var(PAGE).ok().map(|path| {
        let file = std::fs::File::options().read(true).write(true).open(path);
        Page::map(&file.expect("the page can be opened")).expect("the page can be mapped")
    });
    let patience = std::env::var(PATIENCE).ok().and_then(|times| times.parse().ok());
    crate::trace::set_patience(patience.unwrap_or(1));
    for variable in [ROW, SIDE, PAGE, PATIENCE] {
        // SAFETY: this is the only thread.
        unsafe { std::env::remove_var(variable) };
    }
    let row = rows.iter().find(|row| row.name == name).expect("there is such a row").clone();
    let trace = Trace::new(side, page);
    if let Some(before) = row.before {
        before(&trace);
    }
    let well = match side {
        Side::Thread => on_thread(row, trace),
        Side::Goroutine(ps) => goroutines::runtime::Builder::new().gomaxprocs(ps).run(|| {
            warm_up();
            // The situation inherits the usual mask, and begins when main has blocked all.
            let (begins, begin) = std::sync::mpsc::channel();
            let row = goroutines::go(move || {
                let _ = begin.recv();
                situation(&row, &trace);
            });
            block_all();
            let _ = begins.send(());
            row.join().is_ok()
        }),
    };
    Some(if well { ExitCode::SUCCESS } else { ExitCode::from(101) })
}

/// Blocks all signals: those to the process are the situation's. What was blocked before.
fn block_all() -> libc::sigset_t {
    let mut old = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sets to read and to write.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, old.as_mut_ptr());
        old.assume_init()
    }
}

fn on_thread(row: Row, trace: Trace) -> bool {
    let old = block_all();
    let body = move || {
        // SAFETY: a set to read.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const old, std::ptr::null_mut()) };
        situation(&row, &trace);
    };
    let thread = std::thread::Builder::new().stack_size(8 << 20).spawn(body);
    thread.expect("a thread can be made").join().is_ok()
}

fn situation(row: &Row, trace: &Trace) {
    let before = descriptors();
    (row.body)(trace);
    let mut left: Vec<String> = descriptors()
        .into_iter()
        .filter(|(number, what)| before.get(number) != Some(what))
        .map(|(_, what)| kind_of(&what))
        .collect();
    left.sort();
    if !left.is_empty() {
        trace.says("descriptors left", left.join(", "));
    }
}

/// What a descriptor stands for, without the numbers that are others each time.
fn kind_of(what: &str) -> String {
    if std::path::Path::new(what).starts_with(std::env::temp_dir()) {
        return "a temporary file".to_owned();
    }
    let what = what.split(":[").next().unwrap_or_default();
    let mut kind = what.replace(|c: char| c.is_ascii_digit(), "#");
    while kind.contains("##") {
        kind = kind.replace("##", "#");
    }
    kind
}

/// The process's descriptors, and what they are.
fn descriptors() -> BTreeMap<i32, String> {
    let Ok(numbers) = std::fs::read_dir("/proc/self/fd") else { return BTreeMap::new() };
    numbers
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let number = path.file_name()?.to_str()?.parse().ok()?;
            let what = std::fs::read_link(&path).ok()?.to_string_lossy().into_owned();
            // The list's own; the file by which libc's allocator counts processors when a thread first needs it; the
            // runtime's own, which it may make anew or move.
            let is_noise = what.contains("/fd")
                || what.ends_with("/cpu/online")
                || number >= 1_000 && what.starts_with("anon_inode");
            (!is_noise).then_some((number, what))
        })
        .collect()
}

/// Has the runtime open what it opens when it first waits.
fn warm_up() {
    let (read, write) = crate::make::pipe();
    let reader = goroutines::go(move || {
        let mut byte = 0u8;
        // SAFETY: room for a byte.
        unsafe { libc::read(read, (&raw mut byte).cast(), 1) };
    });
    ms(1);
    // SAFETY: a byte to read; descriptors of our own.
    unsafe { libc::write(write, c"x".as_ptr().cast(), 1) };
    drop(reader.join());
    // SAFETY: descriptors of our own.
    unsafe { (libc::close(read), libc::close(write)) };
}
