//! What is in a file, and what tells that it is whole.
//!
//! ```text
//! 0      magic, version, parts, step, place and checksum of the table, checksum of these 64 bytes
//! 65536  sections of rank 0, of rank 1, …, each part on pages of its own
//! …      the table: each section's name, type, place, length and checksum
//! ```
//!
//! Numbers are little-endian, elements as the machine has them; the magic tells which order that is. The
//! first 64 bytes are written last.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::datatype::try_zeros;
use crate::error::Error;
use crate::object::{Bincode, decode, to_bytes};
use crate::record::Call;

const LITTLE_ENDIAN: [u8; 8] = *b"PHXCKPT\n";
const BIG_ENDIAN: [u8; 8] = *b"PHXCKPB\n";
const MAGIC: [u8; 8] = if cfg!(target_endian = "little") { LITTLE_ENDIAN } else { BIG_ENDIAN };
const VERSION: u32 = 2;
pub(super) const HEAD: usize = 64;
/// Parts begin at multiples of this, so that no two ranks write to the same page: a client of a network
/// file system writes whole ones. No machine has larger ones.
pub(super) const ALIGNMENT: u64 = 64 << 10;
/// No table is longer: it was sent in one message.
const LONGEST_TABLE: u64 = i32::MAX as u64;
/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// Where everything is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Table {
    pub step: u64,
    /// One for each rank that has saved.
    pub parts: Vec<Vec<Section>>,
}

/// A piece of a part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Section {
    pub name: String,
    pub content: Content,
    /// From the start of the file; in a table that is not placed yet, from the start of the part.
    pub offset: u64,
    pub length: u64,
    pub checksum: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Content {
    /// A value and its header, as in a message.
    Object,
    /// Elements as they lie in memory.
    Elements { type_name: String, size: u64, len: u64 },
}

pub(super) fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Where the next part may begin.
pub(super) fn aligned(offset: u64) -> Option<u64> {
    offset.checked_next_multiple_of(ALIGNMENT)
}

/// Why a file is not used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Trouble {
    /// It is not what was written.
    Damaged(String),
    /// It may well be whole.
    Unreadable(String),
    /// It is not there any more, or another one is in its place: somebody saves in the folder.
    Changed(String),
}

impl Trouble {
    /// What an error of the system says of a file.
    pub fn of(what: &str, error: &io::Error) -> Trouble {
        let reason = format!("{what}: {error}");
        // An error of the device is not damage: a network that is down looks the same.
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => Trouble::Damaged(reason),
            _ => Trouble::Unreadable(reason),
        }
    }

    pub fn map(self, change: impl FnOnce(String) -> String) -> Trouble {
        match self {
            Trouble::Damaged(reason) => Trouble::Damaged(change(reason)),
            Trouble::Unreadable(reason) => Trouble::Unreadable(change(reason)),
            Trouble::Changed(reason) => Trouble::Changed(change(reason)),
        }
    }

    pub fn text(self) -> String {
        let (Trouble::Damaged(reason) | Trouble::Unreadable(reason) | Trouble::Changed(reason)) =
            self;
        reason
    }
}

/// The bytes of a table, and the head of its file.
pub(super) fn encode(
    call: &Call<'_>,
    table: &Table,
    offset: u64,
) -> Result<(Vec<u8>, [u8; HEAD]), Error> {
    let bytes = to_bytes::<Bincode, Table>(call, table)?;
    let mut head = [0; HEAD];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[12..16].copy_from_slice(&(table.parts.len() as u32).to_le_bytes());
    let words = [table.step, offset, bytes.len() as u64, checksum(&bytes), 0];
    for (place, word) in head[16..56].chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    let sealed = checksum(&head[..56]);
    head[56..].copy_from_slice(&sealed.to_le_bytes());
    Ok((bytes, head))
}

/// The first bytes of a file, by which it is told from another one of the same name.
pub(super) fn read_head(file: &File) -> Result<Vec<u8>, Trouble> {
    let mut head = vec![0; HEAD];
    let read = file.read_exact_at(&mut head, 0);
    read.map_err(|error| Trouble::of("it cannot be read", &error)).map(|()| head)
}

/// Reads the table of a file, or says why it is none.
pub(super) fn read_table(call: &Call<'_>, file: &File) -> Result<Table, Trouble> {
    let damaged = |reason: &str| Err(Trouble::Damaged(reason.to_owned()));
    let cannot_read = |error: io::Error| Trouble::of("it cannot be read", &error);
    let length = file.metadata().map_err(cannot_read)?.len();
    let mut head = [0; HEAD];
    if length < HEAD as u64 {
        return damaged(&format!("it ends after {length} bytes, in its head"));
    }
    file.read_exact_at(&mut head, 0).map_err(cannot_read)?;
    if head == [0; HEAD] {
        return damaged("it was never completed");
    }
    let magic = &head[..8];
    if magic != MAGIC && (magic == LITTLE_ENDIAN || magic == BIG_ENDIAN) {
        let reason = "it was written by a machine with another order of bytes";
        return Err(Trouble::Unreadable(reason.to_owned()));
    }
    if magic != MAGIC {
        return damaged("it is no checkpoint");
    }
    let word = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(bytes)
    };
    if word(56) != checksum(&head[..56]) {
        return damaged("its head is damaged");
    }
    let (version, parts) = (word(8) as u32, (word(8) >> 32) as usize);
    if version != VERSION {
        return Err(Trouble::Unreadable(format!(
            "it has version {version} of the format, this program reads {VERSION}"
        )));
    }
    let (step, offset, bytes) = (word(16), word(24), word(32));
    if offset.checked_add(bytes) != Some(length) {
        return damaged(&format!("it has {length} bytes, not {offset} and a table of {bytes}"));
    }
    if bytes > LONGEST_TABLE {
        return damaged(&format!("it has a table of {bytes} bytes, and none is so long"));
    }
    if checksum_of(file, offset, bytes).map_err(cannot_read)? != word(40) {
        return damaged("its table is damaged");
    }
    let Some(mut table) = try_zeros(bytes as usize) else {
        return Err(Trouble::Unreadable(format!(
            "there is no memory for a table of {bytes} bytes"
        )));
    };
    file.read_exact_at(&mut table, offset).map_err(cannot_read)?;
    let table: Table = decode::<Bincode, Table>(call, &table).map_err(|error| {
        Trouble::Damaged(format!("its table cannot be read: {}", error.detail()))
    })?;
    // As they are written: one after another.
    let mut end = HEAD as u64;
    let mut is_in_order = |it: &Section| {
        let begins_after = it.offset >= end;
        end = it.offset.saturating_add(it.length);
        begins_after && end <= offset
    };
    if table.step != step
        || table.parts.len() != parts
        || !table.parts.iter().flatten().all(&mut is_in_order)
    {
        return damaged("its table contradicts its head");
    }
    Ok(table)
}

/// Whether the bytes of a section are those that were written.
pub(super) fn verify(file: &File, section: &Section) -> Result<(), Trouble> {
    let found = checksum_of(file, section.offset, section.length)
        .map_err(|error| Trouble::of(&format!("`{}` cannot be read", section.name), &error))?;
    if found == section.checksum { Ok(()) } else { Err(Trouble::Damaged(damaged(section))) }
}

/// The checksum of a part of a file, which need not fit into memory.
fn checksum_of(file: &File, offset: u64, length: u64) -> io::Result<u64> {
    let mut hash = Xxh3::new();
    let mut chunk = vec![0; (CHUNK as u64).min(length) as usize];
    let mut done = 0;
    while done < length {
        let now = (length - done).min(CHUNK as u64) as usize;
        file.read_exact_at(&mut chunk[..now], offset + done)?;
        hash.update(&chunk[..now]);
        done += now as u64;
    }
    Ok(hash.digest())
}

pub(super) fn damaged(section: &Section) -> String {
    format!("`{}` is damaged: its checksum is not the one that was written", section.name)
}

pub(super) fn cannot_read(section: &Section, error: &io::Error) -> String {
    format!("`{}` cannot be read: {error}", section.name)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::panic::Location;
    use std::path::PathBuf;

    use super::*;
    use crate::record::CHECKPOINT_READ;

    struct Temporary(PathBuf);

    impl Temporary {
        fn new(name: &str, bytes: &[u8]) -> (Temporary, File) {
            let path = std::env::temp_dir().join(format!("phalanx-{name}-{}", std::process::id()));
            std::fs::write(&path, bytes).expect("a file");
            let file = OpenOptions::new().read(true).write(true).open(&path).expect("a file");
            (Temporary(path), file)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn call() -> Call<'static> {
        Call::local(&CHECKPOINT_READ, Location::caller())
    }

    fn section(name: &str, offset: u64, bytes: &[u8]) -> Section {
        let (name, content) = (name.to_owned(), Content::Object);
        Section { name, content, offset, length: bytes.len() as u64, checksum: checksum(bytes) }
    }

    /// A checkpoint of two parts, the bytes of its file, and where its table is.
    fn whole() -> (Table, Vec<u8>, u64) {
        let bytes: Vec<u8> = (0..100).collect();
        let part = |start: u64| vec![section("a", start, &bytes), section("b", start + 100, &[])];
        let table = Table { step: 7, parts: vec![part(ALIGNMENT), part(2 * ALIGNMENT)] };
        let end = 3 * ALIGNMENT;
        let (encoded, head) = encode(&call(), &table, end).expect("it can be encoded");
        let mut file = vec![0; end as usize];
        for start in [ALIGNMENT, 2 * ALIGNMENT] {
            file[start as usize..start as usize + 100].copy_from_slice(&bytes);
        }
        file[..HEAD].copy_from_slice(&head);
        file.extend(encoded);
        (table, file, end)
    }

    #[test]
    fn what_was_written_is_read() {
        let (table, bytes, _) = whole();
        let (_place, file) = Temporary::new("whole", &bytes);
        assert_eq!(read_table(&call(), &file).as_ref(), Ok(&table));
        for section in table.parts.iter().flatten() {
            assert_eq!(verify(&file, section), Ok(()));
        }
    }

    #[test]
    fn no_byte_of_head_and_table_can_change_unnoticed() {
        let (_, bytes, end) = whole();
        let (_place, file) = Temporary::new("changed", &bytes);
        for at in (0..HEAD as u64).chain(end..bytes.len() as u64) {
            file.write_all_at(&[bytes[at as usize] ^ 1], at).expect("a byte");
            assert!(read_table(&call(), &file).is_err(), "byte {at}");
            file.write_all_at(&[bytes[at as usize]], at).expect("a byte");
        }
        assert!(read_table(&call(), &file).is_ok());
    }

    #[test]
    fn no_byte_of_a_section_can_change_unnoticed() {
        let (table, bytes, _) = whole();
        let (_place, file) = Temporary::new("section", &bytes);
        for at in 2 * ALIGNMENT..2 * ALIGNMENT + 100 {
            file.write_all_at(&[bytes[at as usize] ^ 128], at).expect("a byte");
            assert_eq!(verify(&file, &table.parts[0][0]), Ok(()));
            assert!(verify(&file, &table.parts[1][0]).is_err(), "byte {at}");
            file.write_all_at(&[bytes[at as usize]], at).expect("a byte");
        }
    }

    #[test]
    fn a_file_of_any_other_length_is_none() {
        let (_, bytes, _) = whole();
        for length in (0..bytes.len()).step_by(97) {
            let (_place, file) = Temporary::new("cut", &bytes[..length]);
            assert!(read_table(&call(), &file).is_err(), "{length} bytes");
        }
        let (_place, file) = Temporary::new("longer", &[&bytes[..], b"x"].concat());
        assert!(read_table(&call(), &file).is_err());
    }

    #[test]
    fn sections_that_lie_outside_are_refused_although_all_checksums_fit() {
        for (offset, length) in [(0, 8), (ALIGNMENT, 3 * ALIGNMENT), (u64::MAX, 8), (8, u64::MAX)] {
            let mut bad = section("a", offset, &[]);
            bad.length = length;
            let table = Table { step: 1, parts: vec![vec![bad]] };
            let (encoded, head) =
                encode(&call(), &table, 2 * ALIGNMENT).expect("it can be encoded");
            let mut bytes = vec![0; 2 * ALIGNMENT as usize];
            bytes[..HEAD].copy_from_slice(&head);
            bytes.extend(encoded);
            let (_place, file) = Temporary::new("outside", &bytes);
            let refused = read_table(&call(), &file).expect_err("it lies outside");
            assert!(
                matches!(&refused, Trouble::Damaged(it) if it.contains("contradicts")),
                "{refused:?}"
            );
        }
    }
}
