//! How words that a rank of this job has written are told from those that a stray write has made: by a keyed
//! hash. The key is in the private memory of each rank. It is a guard against accidents.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The key of a job.
#[derive(Clone, Copy)]
pub(crate) struct Seal(u64);

impl Seal {
    pub fn new(key: u64) -> Self {
        Seal(key)
    }

    /// The hash of bytes that lie in this place.
    pub fn hash(self, place: u64, bytes: &[u8]) -> u64 {
        xxh3_64_with_seed(bytes, self.0 ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// A number as a word for this place.
    pub fn word(self, place: u64, number: u32) -> u64 {
        let hash = self.hash(place, &number.to_le_bytes());
        // Zero stands for nothing.
        (hash | 1 << 63) & !u64::from(u32::MAX) | u64::from(number)
    }

    /// The number in a word, if a rank of this job has written it there.
    pub fn number(self, place: u64, word: u64) -> Option<u32> {
        let number = word as u32;
        (word != 0 && self.word(place, number) == word).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_in_its_place_and_in_its_job_alone() {
        let (seal, other) = (Seal::new(1), Seal::new(2));
        for number in [0, 1, 86, u32::MAX] {
            let word = seal.word(7, number);
            assert_eq!(seal.number(7, word), Some(number));
            assert_eq!((seal.number(8, word), other.number(7, word)), (None, None));
            for bit in 0..64 {
                assert_eq!(seal.number(7, word ^ 1 << bit), None, "bit {bit} of {word:x}");
            }
        }
        assert_eq!(seal.number(7, 0), None);
    }
}
