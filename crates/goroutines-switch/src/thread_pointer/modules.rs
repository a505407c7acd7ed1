//! The loaded modules and their thread-local storage, as the loader tells of them.

use std::ffi::{CStr, c_int, c_void};
use std::ops::Range;
use std::sync::OnceLock;

/// A module whose static TLS lies `below` bytes under the thread pointer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Module {
    pub(super) below: usize,
    pub(super) image: usize,
    pub(super) image_bytes: usize,
    pub(super) bytes: usize,
}

impl Module {
    /// Makes the module's TLS under `tp` that of a new thread.
    ///
    /// # Safety
    /// * The bytes are the module's, and nobody uses them.
    pub(super) unsafe fn renew(self, tp: usize) {
        let to = (tp - self.below) as *mut u8;
        // SAFETY: the loader's image, and the caller's bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(self.image as *const u8, to, self.image_bytes);
            zero(to.add(self.image_bytes), self.bytes - self.image_bytes);
        }
    }
}

/// Modules with static TLS that were loaded after the start. Append only.
pub(super) struct Extra {
    modules: [OnceLock<Module>; EXTRAS],
}

const EXTRAS: usize = 16;

pub(super) static EXTRA: Extra = Extra { modules: [const { OnceLock::new() }; EXTRAS] };

impl Extra {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Module> {
        self.modules.iter().map_while(OnceLock::get)
    }

    pub(super) fn is_known(&self, below: usize) -> bool {
        self.iter().any(|module| module.below == below)
    }

    pub(super) fn add(&self, module: Module) {
        // The first free slot, also where two threads load at once. More than there are do not fit into
        // the surplus.
        let _ = self.modules.iter().any(|slot| slot.set(module).is_ok());
    }
}

pub(super) const MODULES: usize = 32;
pub(super) const TEXTS: usize = 8;

/// One look at all loaded modules.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) tp: usize,
    pub(super) limit: usize,
    pub(super) modules: [Option<Module>; MODULES],
    pub(super) count: usize,
    pub(super) overflow: bool,
    pub(super) used: usize,
    pub(super) dynamic: bool,
    /// An address in each object whose code must not be interrupted, and whose TLS is kept.
    pub(super) marks: [usize; 3],
    pub(super) text: [(usize, usize); TEXTS],
    pub(super) texts: usize,
    pub(super) libc_tls: Option<(usize, usize)>,
    pub(super) malloc_in_program: bool,
}

impl Walk {
    fn headers(info: &libc::dl_phdr_info) -> &[libc::Elf64_Phdr] {
        // SAFETY: the loader hands out its program headers.
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum as usize) }
    }

    fn segment(info: &libc::dl_phdr_info, h: &libc::Elf64_Phdr) -> Range<usize> {
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
        self.see_tls(info, mark);
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

    fn see_tls(&mut self, info: &libc::dl_phdr_info, mark: Option<usize>) {
        let data = info.dlpi_tls_data as usize;
        if info.dlpi_tls_modid == 0 {
            return;
        }
        let below = self.tp.wrapping_sub(data);
        if data == 0 || below > self.limit {
            self.dynamic = true;
            return;
        }
        self.used = self.used.max(below);
        let Some(h) = Self::headers(info).iter().find(|h| h.p_type == libc::PT_TLS) else { return };
        if let Some(mark) = mark.filter(|mark| *mark < 2) {
            if mark == 0 {
                self.libc_tls = Some((below, h.p_memsz as usize));
            }
            return; // T5
        }
        if self.count == MODULES {
            self.overflow = true;
            return;
        }
        self.modules[self.count] = Some(Module {
            below,
            image: Self::segment(info, h).start,
            image_bytes: h.p_filesz as usize,
            bytes: h.p_memsz as usize,
        });
        self.count += 1;
    }

    /// The static TLS of the module loaded at `base`.
    pub(super) fn tls_of(base: usize, below: usize) -> Option<Module> {
        unsafe extern "C" fn each(
            info: *mut libc::dl_phdr_info,
            _size: libc::size_t,
            wanted: *mut c_void,
        ) -> c_int {
            // SAFETY: the loader's record, and the Module given below, whose image is the base so far.
            let (info, wanted) = unsafe { (&*info, &mut *wanted.cast::<Module>()) };
            let tls = Walk::headers(info).iter().find(|h| h.p_type == libc::PT_TLS);
            let Some(h) = tls.filter(|_| info.dlpi_addr as usize == wanted.image) else { return 0 };
            wanted.image = Walk::segment(info, h).start;
            wanted.image_bytes = h.p_filesz as usize;
            wanted.bytes = h.p_memsz as usize;
            1
        }
        let mut module = Module { below, image: base, image_bytes: 0, bytes: 0 };
        // SAFETY: `each` gets the Module, which outlives the call, and does not unwind.
        let found = unsafe { libc::dl_iterate_phdr(Some(each), (&raw mut module).cast()) };
        (found == 1).then_some(module)
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

/// Zeroes; large whole pages are dropped, so that a big `thread_local!` array costs what it uses.
///
/// # Safety
/// * The range is writable and ours, in a private anonymous mapping.
unsafe fn zero(start: *mut u8, bytes: usize) {
    const LARGE: usize = 64 * 1024;
    // SAFETY: the caller's range.
    unsafe {
        if bytes < LARGE {
            start.write_bytes(0, bytes);
            return;
        }
        let from = (start as usize).next_multiple_of(4096);
        let to = (start as usize + bytes) & !4095;
        start.write_bytes(0, from - start as usize);
        if crate::sys::madvise(from as *mut u8, to - from, libc::MADV_DONTNEED).is_err() {
            (from as *mut u8).write_bytes(0, to - from);
        }
        (to as *mut u8).write_bytes(0, start as usize + bytes - to);
    }
}
