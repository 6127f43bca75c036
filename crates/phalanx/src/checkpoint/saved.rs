//! A checkpoint that was found whole.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::Location;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::format::{self, Content, Section, Table};
use crate::comm::Comm;
use crate::datatype::{Element, as_bytes_mut, try_zeros};
use crate::error::{Error, ErrorKind, Result};
use crate::object::{Bincode, decode};
use crate::record::{CHECKPOINT_READ, Call};
use crate::words::count;

/// A checkpoint whose every byte was verified.
///
/// It was saved by so many ranks as it has parts. Each rank may read each part: a program can go on with
/// another number of ranks.
pub struct Checkpoint {
    pub(super) comm: Comm,
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) table: Table,
    pub(super) refused: Vec<Refused>,
}

/// A file that was not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The file.
    pub path: PathBuf,
    /// Why: `rank 1 on node2: section `cells` is damaged: …`.
    pub reason: String,
}

impl Checkpoint {
    /// The step after which it was saved.
    pub fn step(&self) -> u64 {
        self.table.step
    }

    /// The number of ranks that have saved it.
    pub fn parts(&self) -> usize {
        self.table.parts.len()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Later checkpoints that are damaged, latest first.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }

    /// The part that this rank has saved.
    ///
    /// # Errors
    /// [`InvalidLength`](ErrorKind::InvalidLength) if it was saved by another number of ranks: then
    /// [`part`](Self::part) reads each part.
    #[track_caller]
    pub fn mine(&self) -> Result<SavedPart<'_>> {
        if self.parts() != self.comm.size() {
            let detail = format!(
                "{} was saved by {}, these are {}: read its parts with `part` and share them out \
                 anew",
                self.path.display(),
                count(self.parts(), "rank"),
                self.comm.size()
            );
            return Err(Error::new(
                ErrorKind::InvalidLength,
                &self.call(Location::caller()),
                detail,
            ));
        }
        self.part(self.comm.rank())
    }

    /// The part that a rank has saved.
    ///
    /// # Errors
    /// [`InvalidRank`](ErrorKind::InvalidRank).
    #[track_caller]
    pub fn part(&self, rank: usize) -> Result<SavedPart<'_>> {
        match self.table.parts.get(rank) {
            Some(sections) => Ok(SavedPart { of: self, rank, sections }),
            None => {
                let (path, parts) = (self.path.display(), self.parts());
                let detail = format!(
                    "{path} was saved by {}: there is no part {rank}",
                    count(parts, "rank")
                );
                Err(Error::new(ErrorKind::InvalidRank, &self.call(Location::caller()), detail))
            }
        }
    }

    fn call(&self, location: &'static Location<'static>) -> Call<'_> {
        self.comm.call(&CHECKPOINT_READ, location)
    }
}

/// What one rank has saved.
pub struct SavedPart<'a> {
    of: &'a Checkpoint,
    rank: usize,
    sections: &'a [Section],
}

impl SavedPart<'_> {
    /// The names of its sections.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sections.iter().map(|section| section.name.as_str())
    }

    /// Reads a slice.
    ///
    /// # Errors
    /// [`File`](ErrorKind::File) if there is no section with the name, it cannot be read, or there is no
    /// memory for it;
    /// [`TypeMismatch`](ErrorKind::TypeMismatch); [`Damaged`](ErrorKind::Damaged) if the file has changed
    /// since it was verified.
    #[track_caller]
    pub fn slice<T: Element>(&self, name: &str) -> Result<Vec<T>> {
        let call = self.of.call(Location::caller());
        let (section, len) = self.elements::<T>(&call, name)?;
        let mut elements = self.memory(&call, name, len)?;
        self.read(&call, section, as_bytes_mut(&mut elements))?;
        Ok(elements)
    }

    /// Reads a slice into one that is as long.
    ///
    /// # Errors
    /// Those of [`slice`](Self::slice), and [`InvalidLength`](ErrorKind::InvalidLength).
    #[track_caller]
    pub fn read_into<T: Element>(&self, name: &str, buffer: &mut [T]) -> Result<()> {
        let call = self.of.call(Location::caller());
        let (section, len) = self.elements::<T>(&call, name)?;
        if len != buffer.len() {
            let detail =
                self.about(name, &format!("has {len} elements, the buffer {}", buffer.len()));
            return Err(Error::new(ErrorKind::InvalidLength, &call, detail));
        }
        self.read(&call, section, as_bytes_mut(buffer))
    }

    /// Reads an object.
    ///
    /// # Errors
    /// Those of [`slice`](Self::slice), and [`Decode`](ErrorKind::Decode).
    #[track_caller]
    pub fn object<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let call = self.of.call(Location::caller());
        let section = self.find(&call, name)?;
        if let Content::Elements { type_name, .. } = &section.content {
            let detail = self.about(name, &format!("is a slice of {type_name}, no object"));
            return Err(Error::new(ErrorKind::TypeMismatch, &call, detail));
        }
        let mut bytes = self.memory(&call, name, section.length as usize)?;
        self.read(&call, section, &mut bytes)?;
        decode::<Bincode, T>(&call, &bytes)
    }

    fn find(&self, call: &Call<'_>, name: &str) -> Result<&Section> {
        self.sections.iter().find(|section| section.name == name).ok_or_else(|| {
            let names: Vec<String> = self.names().map(|name| format!("`{name}`")).collect();
            let detail = self.about(name, &format!("is not there, only: {}", names.join(", ")));
            Error::new(ErrorKind::File, call, detail)
        })
    }

    fn elements<T: Element>(&self, call: &Call<'_>, name: &str) -> Result<(&Section, usize)> {
        let section = self.find(call, name)?;
        let wanted = std::any::type_name::<T>();
        let what = match &section.content {
            Content::Elements { type_name, size, len }
                if type_name == wanted
                    && *size == size_of::<T>() as u64
                    && size.checked_mul(*len) == Some(section.length) =>
            {
                return Ok((section, *len as usize));
            }
            Content::Elements { type_name, .. } => format!("is a slice of {type_name}"),
            Content::Object => "is an object".to_owned(),
        };
        let detail = self.about(name, &format!("{what}, and {wanted} was asked for"));
        Err(Error::new(ErrorKind::TypeMismatch, call, detail))
    }

    /// A file may hold more than this machine has memory for.
    fn memory<T: Element>(&self, call: &Call<'_>, name: &str, len: usize) -> Result<Vec<T>> {
        try_zeros(len).ok_or_else(|| {
            let what = format!("has {len} elements, for which there is no memory");
            Error::new(ErrorKind::File, call, self.about(name, &what))
        })
    }

    fn read(&self, call: &Call<'_>, section: &Section, bytes: &mut [u8]) -> Result<()> {
        self.of.file.read_exact_at(bytes, section.offset).map_err(|error| {
            let detail =
                format!("{}: {}", self.of.path.display(), format::cannot_read(section, &error));
            Error::new(ErrorKind::File, call, detail)
        })?;
        if format::checksum(bytes) != section.checksum {
            let detail = format!("{}: {}", self.of.path.display(), format::damaged(section));
            return Err(Error::new(ErrorKind::Damaged, call, detail));
        }
        Ok(())
    }

    fn about(&self, name: &str, what: &str) -> String {
        format!("`{name}` of rank {} in {} {what}", self.rank, self.of.path.display())
    }
}
