//! The functions of a stack, by name.
//!
//! Names come from the feature `dump`. Without it, or where a program has none, a frame is an
//! address, with the file that it is in, and where it is there, for `addr2line`.

use std::ffi::CStr;
use std::fmt::Write;

/// One function of a stack, perhaps inlined into the next.
pub(super) struct Frame {
    name: String,
    /// Else its name is an address.
    is_named: bool,
    file: Option<String>,
    line: Option<u32>,
}

impl Frame {
    pub(super) fn print(&self, text: &mut String) {
        let end = if self.is_named { "()" } else { "" };
        let _ = writeln!(text, "{}{end}", self.name);
        if let (Some(file), Some(line)) = (&self.file, self.line) {
            let _ = writeln!(text, "\t{file}:{line}");
        }
    }

    /// Whether it is an address.
    pub(super) fn is_unnamed(&self) -> bool {
        !self.is_named
    }

    /// Whether its name says where it is: that of an inlined function may be bare, but for its type
    /// arguments.
    fn has_path(&self) -> bool {
        let bare =
            self.name.find('<').filter(|at| *at > 0).map_or(&*self.name, |at| &self.name[..at]);
        bare.contains("::")
    }

    /// Whether it is something that users call, by a name that says where it is.
    pub(super) fn tells(&self) -> bool {
        self.has_path() && !self.name.starts_with("goroutines::sched::")
    }

    /// Whether it is the runtime's, and not of the walk itself.
    pub(super) fn is_of_the_runtime(&self) -> bool {
        let of_the_walk = ["goroutines::observe::", "goroutines::base::unwind::"];
        self.name.contains("goroutines::")
            && !of_the_walk.iter().any(|walk| self.name.starts_with(walk))
    }

    /// Whether it is the runtime's or std's: by its file, where that is known (names of inlined
    /// functions may lack their path), else by its name.
    pub(super) fn is_ours(&self) -> bool {
        const NAMES: [&str; 12] = [
            "goroutines::",
            "goroutines_switch::",
            "backtrace::",
            "std::panicking::",
            "std::panic::",
            "core::panic::",
            "core::ops::function::",
            "__rust_try",
            "_Unwind_Backtrace",
            "<core::panic::unwind_safe::AssertUnwindSafe",
            "<alloc::boxed::Box",
            "<goroutines::",
        ];
        if !self.is_named {
            return true; // Some library's, mostly libc's.
        }
        if NAMES[2..11].iter().any(|name| self.name.starts_with(name)) {
            return true;
        }
        match &self.file {
            Some(file) => {
                let ours = [file!(), goroutines_switch::SOURCE].map(directory);
                let others = ["/library/std/src/", "/library/core/src/", "/library/alloc/src/"];
                ours.iter().chain(&others).any(|part| file.contains(part))
                    || file.contains("/backtrace-")
            }
            None => NAMES.iter().any(|name| self.name.starts_with(name)),
        }
    }
}

/// The directory `src` of the crate that `file` is in, with the name of the crate's own.
fn directory(file: &'static str) -> &'static str {
    file.find("src/").map_or(file, |at| &file[..at + 4])
}

/// The functions at the addresses, innermost first.
pub(super) fn of(stack: &[usize]) -> Vec<Frame> {
    let mut frames = Vec::new();
    for ip in stack {
        let before = frames.len();
        #[cfg(feature = "dump")]
        name(*ip, &mut frames);
        if frames.len() == before {
            frames.push(unnamed(*ip));
        }
    }
    frames
}

#[cfg(feature = "dump")]
fn name(ip: usize, frames: &mut Vec<Frame>) {
    backtrace::resolve(std::ptr::without_provenance_mut(ip), |symbol| {
        if let Some(name) = symbol.name() {
            let name = format!("{name:#}");
            let file = symbol.filename().map(|file| file.display().to_string());
            frames.push(Frame { name, is_named: true, file, line: symbol.lineno() });
        }
    });
}

fn unnamed(ip: usize) -> Frame {
    let mut name = format!("{ip:#x}");
    // SAFETY: plain old data, which the call fills in; the name is the loader's.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        let found = libc::dladdr(std::ptr::without_provenance(ip), &raw mut info);
        if found != 0 && !info.dli_fname.is_null() {
            let file = CStr::from_ptr(info.dli_fname).to_string_lossy();
            let _ = write!(name, " ({file}+{:#x})", ip.wrapping_sub(info.dli_fbase as usize));
        }
    }
    Frame { name, is_named: false, file: None, line: None }
}
