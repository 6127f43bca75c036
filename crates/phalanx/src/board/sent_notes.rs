//! What a rank says of the messages that it sends, for those of its node that receive them.
//!
//! A ring of the last messages, and the texts that its entries refer to, which are only ever added to. An entry carries a hash over all of it: one that is being
//! written, that has made room for a newer one or that a stray write has hit is as good as none.

use std::sync::atomic::{
    AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence,
};

use super::seal::Seal;

/// Messages that are remembered.
const ENTRIES: usize = 1024;
/// Words of an entry: those of [`Entry`], and the hash.
const ENTRY_WORDS: usize = 8;
/// Bytes of texts.
const TEXTS: usize = 32 * 1024;

#[repr(C, align(64))]
pub(crate) struct Notes {
    entries: [[AtomicU64; ENTRY_WORDS]; ENTRIES],
    texts: [AtomicU64; TEXTS / 8],
}

/// Which message it is: the how-manieth (from 1) with its tag from its sender to its receiver on its
/// communicator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageNumber {
    pub comm: u64,
    /// Rank in the world.
    pub receiver: u32,
    pub tag: i32,
    pub number: u64,
}

/// What is said of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub bytes: u64,
    /// The hash of the name of its type.
    pub element: u64,
    /// Where its texts lie, or [`NO_TEXT`].
    pub text: Text,
}

/// A part of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub start: u32,
    pub length: u32,
}

/// Where there was no room for texts.
pub(crate) const NO_TEXT: Text = Text { start: 0, length: 0 };

impl MessageNumber {
    fn words(self) -> [u64; 3] {
        let MessageNumber { comm, receiver, tag, number } = self;
        [comm, u64::from(receiver) << 32 | u64::from(tag as u32), number]
    }
}

fn hash(seal: Seal, place: u64, words: &[u64]) -> u64 {
    let mut bytes = [0; 8 * ENTRY_WORDS];
    for (chunk, word) in bytes.chunks_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    seal.hash(place, &bytes[..8 * words.len()])
}

impl Notes {
    /// Says something of a message. `count` is how many there were before. One writer at a time.
    pub fn write(&self, seal: Seal, place: u64, count: u64, message: MessageNumber, entry: Entry) {
        let key = message.words();
        let text = u64::from(entry.text.start) << 32 | u64::from(entry.text.length);
        let words = [key[0], key[1], key[2], entry.bytes, entry.element, text];
        let target = &self.entries[(count % ENTRIES as u64) as usize];
        for (target, word) in target.iter().zip(words) {
            target.store(word, Relaxed);
        }
        target[words.len()].store(hash(seal, place, &words), Release);
    }

    /// What was said of a message, if it is still known, and where: what is said of the next one is mostly
    /// behind it. That is where to look first.
    pub fn read(
        &self,
        seal: Seal,
        place: u64,
        first: usize,
        message: MessageNumber,
    ) -> Option<(Entry, usize)> {
        let key = message.words();
        (0..ENTRIES).map(|step| first.wrapping_add(step) % ENTRIES).find_map(|at| {
            let source = &self.entries[at];
            if (0..key.len()).any(|index| source[index].load(Relaxed) != key[index]) {
                return None;
            }
            fence(Acquire);
            let words: [u64; 6] = std::array::from_fn(|index| source[index].load(Relaxed));
            let is_whole = source[words.len()].load(Acquire) == hash(seal, place, &words);
            if !is_whole || words[..3] != key {
                return None;
            }
            let text = Text { start: (words[5] >> 32) as u32, length: words[5] as u32 };
            Some((Entry { bytes: words[3], element: words[4], text }, at))
        })
    }

    /// Adds a text after those of `end` bytes. Returns where it lies, if there is room for it.
    pub fn add_text(&self, end: u32, text: &str) -> Option<Text> {
        // Whole words: nobody else's bytes are written again.
        let start = (end as usize).next_multiple_of(8);
        if text.is_empty() || start + text.len() > TEXTS {
            return None;
        }
        for (word, chunk) in self.texts[start / 8..].iter().zip(text.as_bytes().chunks(8)) {
            let mut value = [0; 8];
            value[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(value), Relaxed);
        }
        fence(Release);
        Some(Text { start: start as u32, length: text.len() as u32 })
    }

    /// A text, as far as it is one.
    pub fn text(&self, text: Text) -> String {
        let (start, length) = (text.start as usize, text.length as usize);
        let words = self.texts.get(start / 8..).unwrap_or_default();
        let words = words.iter().take(length.min(TEXTS).div_ceil(8));
        let mut bytes: Vec<u8> = words.flat_map(|it| it.load(Relaxed).to_ne_bytes()).collect();
        bytes.truncate(length);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes() -> Box<Notes> {
        let layout = std::alloc::Layout::new::<Notes>();
        // SAFETY: notes have a size and are plain numbers, for which zero is a value; the box frees an
        // allocation of the global allocator with the layout of its content.
        unsafe { Box::from_raw(std::alloc::alloc_zeroed(layout).cast()) }
    }

    fn message(number: u64) -> MessageNumber {
        MessageNumber { comm: 3, receiver: 1, tag: -1, number }
    }

    #[test]
    fn the_last_messages_are_known_by_their_numbers() {
        let (notes, seal) = (notes(), Seal::new(9));
        let text = notes.add_text(0, "größer").expect("there is room");
        let next = notes.add_text(text.start + text.length, "f64").expect("there is room");
        let entry = |number| Entry { bytes: number, element: 77, text };
        let read = |message| notes.read(seal, 4, 17, message).map(|(entry, _)| entry);
        assert_eq!(read(message(1)), None);
        for number in 1..5000 {
            notes.write(seal, 4, number, message(number), entry(number));
            assert_eq!(read(message(number)), Some(entry(number)));
        }
        for number in 5000 - ENTRIES as u64..5000 {
            assert_eq!(read(message(number)), Some(entry(number)));
        }
        assert_eq!((read(message(6000)), read(message(1))), (None, None));
        assert_eq!(read(MessageNumber { receiver: 2, ..message(4999) }), None);
        assert_eq!((notes.text(text), notes.text(next)), ("größer".into(), "f64".into()));
    }

    #[test]
    fn whatever_is_written_over_them_nothing_is_read_that_was_not_said() {
        let (notes, seal) = (notes(), Seal::new(9));
        let entry = Entry { bytes: 8, element: 77, text: Text { start: 0, length: 3 } };
        for damaged in [0, u64::MAX, 0x4141_4141_4141_4141, 1] {
            notes.write(seal, 4, 0, message(1), entry);
            for word in notes.entries.iter().flatten().chain(&notes.texts) {
                word.store(damaged, Relaxed);
            }
            assert_eq!(notes.read(seal, 4, 0, message(1)), None);
        }
        for text in
            [Text { start: u32::MAX, length: u32::MAX }, Text { start: 5, length: u32::MAX }]
        {
            assert!(notes.text(text).len() <= 3 * TEXTS);
        }
    }
}
