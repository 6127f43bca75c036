//! A text in shared memory.

use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence,
};

use super::seal::Seal;

/// Bytes of a statement or a report.
const PAPER: usize = 64 * 1024;
const WORDS: usize = PAPER / 8;

/// Where one process writes and others read.
#[repr(C, align(64))]
pub(crate) struct Paper {
    /// Odd while somebody writes.
    version: AtomicU32,
    length: AtomicU32,
    hash: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl Paper {
    pub const CAPACITY: usize = PAPER;

    /// Writes a text; what does not fit is cut off. One writer at a time.
    pub fn write(&self, seal: Seal, place: u64, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(PAPER)];
        let version = self.version.load(Relaxed) | 1;
        self.version.store(version, Relaxed);
        fence(Release);
        for (word, chunk) in self.words.iter().zip(bytes.chunks(8)) {
            let mut value = [0; 8];
            value[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(value), Relaxed);
        }
        self.length.store(bytes.len() as u32, Relaxed);
        self.hash.store(seal.hash(place, bytes), Relaxed);
        self.version.store(version.wrapping_add(1), Release);
    }

    /// What was written, or `None` while somebody writes, and where it is not what a rank of this job has
    /// written.
    pub fn read(&self, seal: Seal, place: u64) -> Option<Vec<u8>> {
        let version = self.version.load(Acquire);
        if version % 2 == 1 {
            return None;
        }
        let length = (self.length.load(Relaxed) as usize).min(PAPER);
        let words = self.words[..length.div_ceil(8)].iter();
        let mut bytes: Vec<u8> = words.flat_map(|it| it.load(Relaxed).to_ne_bytes()).collect();
        bytes.truncate(length);
        let hash = self.hash.load(Relaxed);
        fence(Acquire);
        let is_whole = self.version.load(Relaxed) == version;
        (is_whole && hash == seal.hash(place, &bytes)).then_some(bytes)
    }

    /// Writes over all of it, as a wild pointer may.
    #[cfg(test)]
    fn damage(&self) {
        for word in &self.words {
            word.store(0x4141_4141_4141_4141, Relaxed);
        }
        self.length.store(u32::MAX, Relaxed);
        self.version.store(0x4141_4142, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEAL: fn() -> Seal = || Seal::new(5);

    fn paper() -> Box<Paper> {
        let layout = std::alloc::Layout::new::<Paper>();
        // SAFETY: a paper has a size and is plain numbers, for which zero is a value; the box frees an
        // allocation of the global allocator with the layout of its content.
        unsafe { Box::from_raw(std::alloc::alloc_zeroed(layout).cast()) }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_too_long_is_cut() {
        let paper = paper();
        assert_eq!(paper.read(SEAL(), 0), None);
        paper.write(SEAL(), 0, b"hello, board");
        assert_eq!(paper.read(SEAL(), 0).as_deref(), Some(&b"hello, board"[..]));
        assert_eq!(paper.read(SEAL(), 1), None, "it is another place's");
        paper.write(SEAL(), 0, &vec![7; PAPER + 5]);
        assert_eq!(paper.read(SEAL(), 0).map(|it| it.len()), Some(PAPER));
    }

    #[test]
    fn what_nobody_has_written_is_not_read_and_what_is_written_later_is() {
        let paper = paper();
        paper.write(SEAL(), 0, &[7; 3000]);
        paper.damage();
        assert_eq!(paper.read(SEAL(), 0), None);
        paper.write(SEAL(), 0, &[8; 100]);
        assert_eq!(paper.read(SEAL(), 0).as_deref(), Some(&[8; 100][..]));
    }

    #[test]
    fn a_reader_never_sees_half_of_a_text() {
        let paper = paper();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..2000_u32 {
                    paper.write(SEAL(), 0, &[round as u8; 3000]);
                }
                done.store(true, Release);
            });
            while !done.load(Acquire) {
                if let Some(text) = paper.read(SEAL(), 0)
                    && let Some(first) = text.first()
                {
                    assert!(text.iter().all(|byte| byte == first));
                }
            }
        });
    }
}
