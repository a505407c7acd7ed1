//! The loaded modules and their thread-local storage, as the loader tells of them.

use std::ffi::{CStr, c_int, c_void};
use std::ops::Range;

/// A module whose static TLS lies `below` bytes under the thread pointer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Module {
    pub(super) below: usize,
    pub(super) image_bytes: usize,
    pub(super) bytes: usize,
}

/// Text segments of libc, ld.so and an allocator.
pub(super) const TEXTS: usize = 8;

/// One look at all loaded modules.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) tp: usize,
    pub(super) limit: usize,
    pub(super) modules: Vec<Module>,
    pub(super) used: usize,
    /// How far under the thread pointer the program's own begins; 0 if it has none.
    pub(super) program_tls: usize,
    pub(super) dynamic: bool,
    /// An address in each object whose code must not be interrupted, and whose TLS is kept.
    pub(super) marks: [usize; 3],
    pub(super) text: [(usize, usize); TEXTS],
    pub(super) texts: usize,
    /// Where libc's and ld.so's own TLS lies: bytes under the thread pointer.
    pub(super) kept: Vec<Range<usize>>,
    pub(super) malloc_in_program: bool,
    /// Whether an object asks for stacks that can be executed: libc then makes its threads' stacks
    /// so.
    pub(super) executable_stacks: bool,
}

impl Walk {
    pub(super) fn headers(info: &libc::dl_phdr_info) -> &[libc::Elf64_Phdr] {
        // SAFETY: the loader hands out its program headers.
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum as usize) }
    }

    pub(super) fn segment(info: &libc::dl_phdr_info, h: &libc::Elf64_Phdr) -> Range<usize> {
        let at = (info.dlpi_addr as usize).wrapping_add(h.p_vaddr as usize);
        at..at.wrapping_add(h.p_memsz as usize)
    }

    fn see(&mut self, info: &libc::dl_phdr_info) {
        let loads = |h: &&libc::Elf64_Phdr| h.p_type == libc::PT_LOAD;
        let mark = self.marks.iter().position(|mark| {
            Self::headers(info).iter().filter(loads).any(|h| Self::segment(info, h).contains(mark))
        });
        let is_program = info.dlpi_name.is_null()
            // SAFETY: a NUL-terminated name of the loader's.
            || unsafe { CStr::from_ptr(info.dlpi_name) }.is_empty();
        if mark.is_some() && !is_program {
            self.see_text(info);
        }
        self.malloc_in_program |= mark == Some(2) && is_program;
        self.executable_stacks |= Self::headers(info)
            .iter()
            .any(|h| h.p_type == libc::PT_GNU_STACK && h.p_flags & libc::PF_X != 0);
        let tls = self.see_tls(info, mark);
        if is_program {
            self.program_tls = tls;
        }
    }

    fn see_text(&mut self, info: &libc::dl_phdr_info) {
        for h in Self::headers(info) {
            let runs = h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_X != 0;
            if runs && self.texts < TEXTS {
                let range = Self::segment(info, h);
                self.text[self.texts] = (range.start, range.end);
                self.texts += 1;
            }
        }
    }

    /// How far under the thread pointer the module's own begins; 0 if it has none there.
    fn see_tls(&mut self, info: &libc::dl_phdr_info, mark: Option<usize>) -> usize {
        let data = info.dlpi_tls_data as usize;
        if info.dlpi_tls_modid == 0 {
            return 0;
        }
        let below = self.tp.wrapping_sub(data);
        if data == 0 || below > self.limit {
            self.dynamic = true;
            return 0;
        }
        self.used = self.used.max(below);
        let Some(h) = Self::headers(info).iter().find(|h| h.p_type == libc::PT_TLS) else {
            return below;
        };
        let bytes = h.p_memsz as usize;
        if mark.is_some_and(|mark| mark < 2) {
            self.kept.push(below.saturating_sub(bytes)..below); // T5
            return below;
        }
        self.modules.push(Module { below, image_bytes: h.p_filesz as usize, bytes });
        below
    }

    /// Looks at all loaded modules from the calling thread.
    pub(super) fn run(tp: usize, limit: usize, marks: [usize; 3]) -> Self {
        unsafe extern "C" fn each(
            info: *mut libc::dl_phdr_info,
            _size: libc::size_t,
            walk: *mut c_void,
        ) -> c_int {
            // SAFETY: the loader's record, and the Walk given below.
            unsafe { (*walk.cast::<Walk>()).see(&*info) };
            0
        }
        let mut walk = Self { tp, limit, marks, ..Self::default() };
        // SAFETY: `each` gets the Walk, which outlives the call, and does not unwind.
        unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut walk).cast()) };
        walk
    }
}
