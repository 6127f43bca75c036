//! What one rank tells another in strict mode: a block of bytes of fixed size that holds texts.

use std::time::Duration;

use super::names::hash_of_name;

/// How long what another rank has certainly sent may take to come. What does not come was not sent.
pub(in crate::raw) const NOTE_COMES: Duration = Duration::from_millis(500);

/// Bytes of a note.
pub(in crate::raw) const NOTE: usize = 512;
/// Bytes at its start: the hash of a name of any length.
const HASH: usize = 8;

/// Texts in a block of fixed size, each cut to its share, and the hash of a type's name.
///
/// A vector: a box that is moved while MPI reads it would claim to be the only one who may.
pub(in crate::raw) struct Note(pub Vec<u8>);

impl Note {
    /// `name` is compared by its hash: the text of a long one does not fit.
    pub fn new(name: &str, texts: &[&str]) -> Self {
        let mut note = vec![0; NOTE];
        let hash = hash_of_name(name);
        note[..HASH].copy_from_slice(&hash.to_le_bytes());
        let share = share(texts.len());
        for (part, text) in note[HASH..].chunks_mut(share).zip(texts) {
            let text = shortened(text, share - 1);
            part[..text.len()].copy_from_slice(text.as_bytes());
        }
        Note(note)
    }

    /// The hash of the name, or 0 where there was none.
    pub fn name(bytes: &[u8]) -> u64 {
        bytes.first_chunk().map_or(0, |hash| u64::from_le_bytes(*hash))
    }

    pub fn text(bytes: &[u8], index: usize, of: usize) -> String {
        let share = share(of);
        let part = bytes.get(HASH..).and_then(|texts| texts.chunks(share).nth(index));
        let part = part.unwrap_or_default();
        let end = part.iter().position(|&byte| byte == 0).unwrap_or(part.len());
        String::from_utf8_lossy(&part[..end]).into_owned()
    }
}

fn share(texts: usize) -> usize {
    (NOTE - HASH) / texts.max(1)
}

/// At most so many bytes of a text: its end, which says more of a path than its beginning.
fn shortened(text: &str, most: usize) -> String {
    const CUT: &str = "…";
    if text.len() <= most {
        return text.to_owned();
    }
    let mut start = text.len() - most.saturating_sub(CUT.len());
    while !text.is_char_boundary(start) {
        start += 1;
    }
    format!("{CUT}{}", &text[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_and_long_ones_are_cut_between_characters() {
        let long = "größer::".repeat(60);
        for cut in 0..8 {
            let long: String = long.chars().skip(cut).collect();
            let long = long.as_str();
            let note = Note::new(long, &["f64", long, "", "send"]);
            let text = |index| Note::text(&note.0[..], index, 4);
            assert_eq!((text(0).as_str(), text(2).as_str(), text(3).as_str()), ("f64", "", "send"));
            let end = text(1);
            let end = end.strip_prefix('…').expect("it is cut");
            assert!(long.ends_with(end) && end.len() > 100 && !end.contains('\u{fffd}'), "{end}");
        }
    }

    #[test]
    fn long_names_that_differ_at_their_beginning_alone_are_told_apart() {
        let (one, other) = (format!("a{}", "ö".repeat(400)), format!("b{}", "ö".repeat(400)));
        let hash = |name: &str| Note::name(&Note::new(name, &[name]).0[..]);
        assert_ne!(hash(&one), hash(&other));
        assert_eq!(hash(&one), hash(&one.clone()));
        assert_eq!(hash(""), 0);
    }
}
