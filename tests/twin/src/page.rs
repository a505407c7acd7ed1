//! Where a process under test leaves its lines: memory shared with the process that examines it.
//!
//! So lines outlive a crash, cost no descriptor and no system call, and forked children can write some, too.
//! A record is a word (its length, shifted, and whether it is complete) and its bytes, padded to words.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU32, Ordering};

const BYTES: usize = 1 << 20;
const COMPLETE: u32 = 1;

/// The shared memory.
#[derive(Clone, Copy)]
pub(crate) struct Page(*mut u8);

// SAFETY: the mapping is never unmapped; it is written through atomics, or in a record that is one's own.
unsafe impl Send for Page {}
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Page {
    /// A page that no other process has mapped.
    pub(crate) fn create() -> io::Result<(File, Self)> {
        let file = memory()?;
        file.set_len(BYTES as u64)?;
        let page = Self::map(&file)?;
        Ok((file, page))
    }

    /// The page in `file`.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        let (fd, rw) = (file.as_raw_fd(), libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: a new mapping.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), BYTES, rw, libc::MAP_SHARED, fd, 0) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self(at.cast())) }
    }

    /// Gives the memory back.
    pub(crate) fn unmap(self) {
        // SAFETY: mapped by us; the caller has no other copy.
        unsafe { libc::munmap(self.0.cast(), BYTES) };
    }

    fn word(self, at: usize) -> &'static AtomicU32 {
        // SAFETY: inside the mapping, and aligned: all offsets are multiples of four.
        unsafe { &*self.0.add(at).cast() }
    }

    /// Adds a record. One that finds no room is lost.
    pub(crate) fn add(self, text: &[u8]) {
        let size = 4 + text.len().next_multiple_of(4);
        let at = 4 + self.word(0).fetch_add(size as u32, Ordering::Relaxed) as usize;
        if at + size > BYTES {
            return;
        }
        let length = (text.len() as u32) << 1;
        self.word(at).store(length, Ordering::Relaxed);
        // SAFETY: the record is ours alone, and inside the mapping.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), self.0.add(at + 4), text.len()) };
        // Release: with the Acquire in `records`.
        self.word(at).store(length | COMPLETE, Ordering::Release);
    }

    /// The complete records, in order.
    pub(crate) fn records(self) -> Vec<String> {
        let end = 4 + self.word(0).load(Ordering::Relaxed) as usize;
        let (mut at, mut records) = (4, Vec::new());
        while at < end.min(BYTES - 4) {
            // Acquire: with the Release in `add`.
            let word = self.word(at).load(Ordering::Acquire);
            let length = (word >> 1) as usize;
            if word & COMPLETE != 0 {
                // SAFETY: the record is complete, and no process changes it any more.
                let bytes = unsafe { std::slice::from_raw_parts(self.0.add(at + 4), length) };
                records.push(String::from_utf8_lossy(bytes).into_owned());
            }
            at += 4 + length.next_multiple_of(4);
        }
        records
    }
}

/// An empty file that has no name.
pub(crate) fn memory() -> io::Result<File> {
    // SAFETY: a name.
    let fd = unsafe { libc::memfd_create(c"twin".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor, which is ours.
    Ok(unsafe { <File as std::os::fd::FromRawFd>::from_raw_fd(fd) })
}
