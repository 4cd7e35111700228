//! Memory that processes share: a file without a name (`memfd_create(2)`), its first part mapped as words that are
//! only touched atomically, what follows them free for `write`.
//!
//! A file and not an anonymous mapping, so that it can be handed to a process that is not a direct child.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

const WORD_BYTES: usize = size_of::<AtomicU64>();

/// Words shared between processes, zero at first.
#[derive(Debug)]
pub struct SharedWords {
    file: File,
    words: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the memory is only accessed through atomics, and unmapped by the last owner's drop alone.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// New memory of so many words.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub fn create(name: &std::ffi::CStr, count: usize) -> io::Result<Self> {
        let file = File::from(memfd_create(name, MFdFlags::MFD_CLOEXEC)?);
        let bytes = count.checked_mul(WORD_BYTES).ok_or_else(too_large)?;
        file.set_len(u64::try_from(bytes).map_err(io::Error::other)?)?;
        Self::map(file, count)
    }

    /// The memory behind a descriptor that another process passed on, of the size it was created with.
    ///
    /// # Errors
    /// The descriptor is not such memory; out of memory.
    pub fn open(fd: OwnedFd, count: usize) -> io::Result<Self> {
        let file = File::from(fd);
        let bytes =
            u64::try_from(count.checked_mul(WORD_BYTES).ok_or_else(too_large)?).map_err(io::Error::other)?;
        if file.metadata()?.len() < bytes {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the shared memory is too small"));
        }
        Self::map(file, count)
    }

    fn map(file: File, count: usize) -> io::Result<Self> {
        let bytes = NonZero::new(count * WORD_BYTES).ok_or_else(too_large)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice aliases nothing.
        let address = unsafe { mmap(None, bytes, protection, MapFlags::MAP_SHARED, file.as_fd(), 0) }?;
        // A mapping begins at a page, so it is aligned for words.
        Ok(Self { file, words: address.cast(), count })
    }

    /// The word at `index`; the last one when there is no such.
    #[must_use]
    pub fn word(&self, index: usize) -> &AtomicU64 {
        let index = index.min(self.count - 1);
        // SAFETY: the index is inside the mapping.
        let word = unsafe { self.words.add(index) };
        // SAFETY: the mapping is aligned, lives as long as `self`, and is accessed by nobody but through atomics.
        unsafe { word.as_ref() }
    }

    /// How many words there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none; never so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A descriptor of the file positioned behind the words: what is written to it is read by [`SharedWords::tail`].
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn tail_writer(&self) -> io::Result<File> {
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(self.tail_offset()))?;
        Ok(file)
    }

    /// What was written behind the words, at most `bytes_max` of it.
    ///
    /// # Errors
    /// Those of reading.
    pub fn tail(&self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut file = self.file.try_clone()?;
        // A clone shares the position: put back, so that a writer goes on where it was.
        let position = file.stream_position()?;
        file.seek(SeekFrom::Start(self.tail_offset()))?;
        let mut bytes = Vec::new();
        file.by_ref().take(bytes_max).read_to_end(&mut bytes)?;
        file.seek(SeekFrom::Start(position))?;
        Ok(bytes)
    }

    fn tail_offset(&self) -> u64 {
        (self.count * WORD_BYTES) as u64
    }
}

impl AsFd for SharedWords {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: the mapping was made with this address and size, and no borrow of it is left.
        if let Err(error) = unsafe { munmap(self.words.cast(), self.count * WORD_BYTES) } {
            log::error!("shared memory cannot be unmapped: {error}");
        }
    }
}

fn too_large() -> io::Error {
    io::Error::from(io::ErrorKind::OutOfMemory)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::atomic::Ordering;

    use super::*;

    #[test]
    fn two_mappings_see_the_same_words_and_the_text_behind_them() {
        let ours = SharedWords::create(c"rwsgi-test", 1000).unwrap();
        let fd = ours.as_fd().try_clone_to_owned().unwrap();
        let theirs = SharedWords::open(fd, 1000).unwrap();
        theirs.word(999).store(7, Ordering::Relaxed);
        assert_eq!(ours.word(999).load(Ordering::Relaxed), 7);
        theirs.tail_writer().unwrap().write_all(b"Traceback").unwrap();
        assert_eq!(ours.tail(5).unwrap(), b"Trace");
        assert_eq!(ours.tail(100).unwrap(), b"Traceback");
        assert_eq!(ours.word(999).load(Ordering::Relaxed), 7);
    }

    #[test]
    fn memory_that_is_too_small_is_refused() {
        let small = SharedWords::create(c"rwsgi-test", 8).unwrap();
        assert!(SharedWords::open(small.as_fd().try_clone_to_owned().unwrap(), 9).is_err());
    }
}
