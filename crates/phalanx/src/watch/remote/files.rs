//! The ranks of nodes that cannot be asked: what those nodes have left in files, and what this one leaves.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::secret::{PROOF, Secret};
use crate::board::board;
use crate::watch::census::{self, Observation};
use crate::watch::settings::Settings;
use crate::watch::statement::Seen;
use crate::watch::tick;

/// More than any file has.
const LONGEST: usize = 8 << 20;

/// How long another node may take to look again, beside its ticks: it asks in vain before it writes.
const LOOKS_AGAIN: Duration = Duration::from_secs(10);
/// How much longer than two of its ticks a node may take to write its first files.
const BEGINS: Duration = Duration::from_secs(1);
/// How long a node whose files have gone is taken for one that ends, with the job or by itself.
const ENDS: Duration = Duration::from_secs(10);

/// Files in a folder that all nodes may see, one for each rank.
pub(super) struct Files {
    directory: Option<PathBuf>,
    secret: Secret,
    /// What no other job calls its files, and nobody else can guess.
    name: String,
    /// Who writes: the processes of a node may write the same files.
    writer: u64,
    round: AtomicU64,
    /// How long to wait for a node to write its files again, or at all.
    pub looks_again: Duration,
    pub begins: Duration,
    /// The ranks of this node of whom this process has left a file.
    written: Mutex<HashSet<usize>>,
    known: Mutex<HashMap<usize, Known>>,
}

/// What a file holds: who wrote it and how often it had, and the look.
type Record = (Stamp, u64, Seen);
type Stamp = (u64, u64);

/// What is known of the file of a rank.
#[derive(Default)]
struct Known {
    /// What it was at the end of the first census.
    marked: Stamp,
    /// The first stamp of each writer after that.
    newer: HashMap<u64, u64>,
    gone: Option<Instant>,
}

impl Known {
    fn ends(&self) -> bool {
        self.gone.is_some_and(|since| since.elapsed() < ENDS)
    }
}

/// A look that is no older than a mark.
pub(super) enum Newer {
    Observation(Observation),
    NotYet,
    None,
}

impl Files {
    pub fn new(settings: &Settings, secret: &Secret) -> Self {
        Files {
            directory: settings.directory.clone(),
            name: secret.name(),
            secret: secret.clone(),
            writer: RandomState::new().build_hasher().finish(),
            round: AtomicU64::new(0),
            looks_again: tick(settings) * 4 + LOOKS_AGAIN,
            begins: tick(settings) * 2 + BEGINS,
            known: Mutex::default(),
            written: Mutex::default(),
        }
    }

    fn path(&self, rank: usize) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(format!("phalanx-watch-{}-rank-{rank}", self.name)))
    }

    /// Leaves a file for each rank of this node.
    pub fn write(&self) {
        let Some(board) = board() else { return };
        if self.known().values().any(Known::ends) {
            return;
        }
        let round = self.round.fetch_add(1, Ordering::Relaxed) + 1;
        for look in census::of_node(board) {
            let record: Record = ((self.writer, round), look.sequence, look.seen);
            let Ok(bytes) = postcard::to_stdvec(&record) else {
                continue;
            };
            let Some(path) = self.path(look.rank) else { return };
            if self.written().contains(&look.rank) && !path.exists() {
                // Who ends the job has taken it away, and this process is ended next.
                return;
            }
            let part = path.with_extension(format!("{}", std::process::id()));
            let proof = self.secret.proof(FILE, &[&bytes]);
            // A folder that cannot be written to leaves the others without news, which they say.
            match write_new(&part, &[&proof, &bytes]).and_then(|()| fs::rename(&part, &path)) {
                Ok(()) => drop(self.written().insert(look.rank)),
                Err(_) => drop(fs::remove_file(&part)),
            }
        }
    }

    /// Whether a file that this process has left is gone: another node took it.
    pub fn are_taken(&self) -> bool {
        let is_gone = |rank: &usize| self.path(*rank).is_some_and(|path| !path.exists());
        self.written().iter().any(is_gone)
    }

    /// Whether a rank of another node waits, by what that node left.
    pub fn waits(&self, rank: usize) -> bool {
        self.look(rank).is_some_and(|look| look.sequence % 2 == 1)
    }

    fn record(&self, rank: usize) -> Option<Record> {
        let bytes = read_own(&self.path(rank)?).ok()?;
        let (proof, bytes) = bytes.split_first_chunk::<PROOF>()?;
        if !self.secret.proves(FILE, &[bytes], proof) {
            return None;
        }
        postcard::from_bytes(bytes).ok()
    }

    fn written(&self) -> MutexGuard<'_, HashSet<usize>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<usize, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What another node left of a rank, however old.
    pub fn look(&self, rank: usize) -> Option<Observation> {
        match self.record(rank) {
            Some((_, sequence, seen)) => {
                self.known().entry(rank).or_default().gone = None;
                Some(Observation { rank, seen, sequence })
            }
            None => self.ends(rank),
        }
    }

    /// A node takes its files back when it ends: for a while that is no reason for a word.
    fn ends(&self, rank: usize) -> Option<Observation> {
        let mut known = self.known();
        let known = known.get_mut(&rank)?;
        known.gone.get_or_insert_with(Instant::now);
        known.ends().then_some(Observation { rank, seen: Seen::Moving, sequence: 0 })
    }

    /// Remembers how the files are.
    pub fn mark(&self) {
        for (rank, known) in self.known().iter_mut() {
            known.marked = self.record(*rank).map_or((0, 0), |(stamp, ..)| stamp);
            known.newer.clear();
        }
    }

    /// What another node left of a rank, if it looked at it after the mark. A file that was written
    /// after the mark may hold an older look; the next one of the same writer does not.
    pub fn look_after_mark(&self, rank: usize) -> Newer {
        let Some(((writer, round), sequence, seen)) = self.record(rank) else {
            return self.ends(rank).map_or(Newer::None, Newer::Observation);
        };
        let mut known = self.known();
        // A file that was not there at the first look agrees with nothing; next time it will.
        let Some(known) = known.get_mut(&rank) else {
            known.insert(rank, Known::default());
            return Newer::Observation(Observation { rank, seen: Seen::Moving, sequence });
        };
        if (writer, round) == known.marked || *known.newer.entry(writer).or_insert(round) == round {
            return Newer::NotYet;
        }
        Newer::Observation(Observation { rank, seen, sequence })
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Files {
    /// Removes what this node has left.
    pub fn remove(&self) {
        if self.round.load(Ordering::Relaxed) > 0
            && let Some(board) = board()
        {
            for member in &board.members {
                self.remove_of(member.world_rank());
            }
        }
    }

    pub fn remove_of(&self, rank: usize) {
        if let Some(path) = self.path(rank) {
            // It may be gone already, or was never there.
            let _ = fs::remove_file(path);
        }
    }
}

/// What the proof of a file is for.
const FILE: &str = "file";

/// Writes a file that was not there before, for this user alone.
fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let made = match options.open(path) {
        // Left by a process that was killed while it wrote; its name cannot be another's.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)
        }
        made => made,
    };
    let mut file = made?;
    parts.iter().try_for_each(|part| file.write_all(part))
}

/// Reads a file that is no link and no device, and not longer than ours are.
fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe of that name would never be opened.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("phalanx-files-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    #[test]
    fn files_are_of_this_user_alone_and_links_are_not_followed() {
        let folder = folder("links");
        let (file, link, other) = (folder.join("file"), folder.join("link"), folder.join("other"));
        write_new(&file, &[b"one"]).expect("it is new");
        assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
        fs::write(&other, "theirs").expect("a file");
        symlink(&other, &link).expect("a link");
        assert!(read_own(&link).is_err(), "a link is not followed");
        write_new(&link, &[b"two"]).expect("the link makes room");
        assert_eq!(fs::read(&other).expect("it is there"), b"theirs");
        assert_eq!(read_own(&link).expect("it is a file now"), b"two");
        assert_eq!(fs::symlink_metadata(&link).expect("it is there").nlink(), 1);
        assert!(read_own(&folder).is_err(), "a folder is no file");
        fs::remove_dir_all(&folder).expect("it can be removed");
    }
}
