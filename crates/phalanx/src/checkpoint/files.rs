//! The files of a folder: their names, who may write them, and which of them go.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::temporary::{Purpose, Temporary};
use crate::host;

const CHECKPOINT: &str = ".phxckpt";
const LOCK: &str = ".phalanx-lock";
/// What a lock file holds, followed by its holder.
const HOLDER: &str = "phalanx: ";

/// How long a job that is about to end may still hold a folder.
const PATIENCE: Duration = Duration::from_secs(5);

/// A folder of checkpoints, as one process sees it.
pub(super) struct Files {
    pub path: PathBuf,
}

impl Files {
    /// The checkpoint of a step.
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.path.join(format!("step-{step:012}{CHECKPOINT}"))
    }

    /// A name for a checkpoint that is being written, which no other job gives to one of its own.
    pub fn unfinished(&self, step: u64) -> String {
        Temporary::new(Purpose::Step(step)).to_string()
    }

    /// The steps of all checkpoints. Files with names that are almost right are somebody else's.
    pub fn steps(&self) -> Result<BTreeSet<u64>, String> {
        let step_of = |name: &str| -> Option<u64> {
            let step = name.strip_prefix("step-")?.strip_suffix(CHECKPOINT)?.parse().ok()?;
            self.checkpoint(step).ends_with(name).then_some(step)
        };
        Ok(self.names()?.iter().filter_map(|name| step_of(name)).collect())
    }

    /// Names of entries, without those that are no text.
    fn names(&self) -> Result<Vec<String>, String> {
        let failed = |error: io::Error| cannot("read", &self.path, &error);
        let entries = fs::read_dir(&self.path).map_err(failed)?;
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().into_string().ok()).transpose()
        };
        entries.filter_map(name).collect::<io::Result<_>>().map_err(failed)
    }

    /// Makes the folder, so that it is still there when the power fails.
    pub fn make(&self) -> Result<(), String> {
        let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let missing: Vec<&Path> = self.path.ancestors().take_while(is_missing).collect();
        fs::create_dir_all(&self.path).map_err(|error| cannot("make", &self.path, &error))?;
        for made in missing {
            let parent = made.parent().filter(|path| !path.as_os_str().is_empty());
            sync(parent.unwrap_or(Path::new(".")))?;
        }
        Ok(())
    }

    /// Keeps other jobs from saving here for as long as the file lives. `None` where the file system has
    /// no locks.
    pub fn lock(&self) -> Result<Option<File>, String> {
        let path = self.path.join(LOCK);
        let mut options = OpenOptions::new();
        // A link that somebody has put there leads to a file of others, and a pipe would never answer.
        options.read(true).write(true).create(true).truncate(false);
        options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let file = options.open(&path).map_err(|error| cannot("open", &path, &error))?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = holder(&file).ok().flatten().unwrap_or_default();
                    return Err(format!(
                        "{} is in use by {}: one job at a time saves into a folder",
                        self.path.display(),
                        if holder.is_empty() { "another process" } else { &holder }
                    ));
                }
                Err(TryLockError::Error(error)) if has_no_locks(&error) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(cannot("lock", &path, &error)),
            }
        }
        let earlier = holder(&file).map_err(|error| cannot("read", &path, &error))?;
        if earlier.is_none() {
            return Err(format!(
                "{} was not made by Phalanx and stays as it is: move it away, or save into another folder",
                path.display()
            ));
        }
        let text = format!("{HOLDER}process {} on {}\n", std::process::id(), host::name());
        let noted =
            file.write_all_at(text.as_bytes(), 0).and_then(|()| file.set_len(text.len() as u64));
        noted.map_err(|error| cannot("write to", &path, &error))?;
        Ok(Some(file))
    }

    /// Removes what jobs left behind that were ended while they saved: regular files whose whole name is one that
    /// only this module makes.
    pub fn sweep(&self) -> Result<(), String> {
        for name in self.names()?.iter().filter(|name| Temporary::parse(name).is_some()) {
            let path = self.path.join(name);
            if fs::symlink_metadata(&path).is_ok_and(|it| it.is_file()) {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Leaves a file by which other hosts see that it is the same folder. Gives its name.
    pub fn mark(&self) -> Result<String, String> {
        let mark = Temporary::new(Purpose::Shared).to_string();
        let path = self.path.join(&mark);
        File::create_new(&path).map_err(|error| cannot("make", &path, &error))?;
        Ok(mark)
    }

    /// Removes all but the latest whole ones up to a step. Those that were refused protect nobody.
    pub fn remove_old(
        &self,
        step: u64,
        keep: usize,
        refused: &BTreeSet<u64>,
    ) -> Result<(), String> {
        let mut kept = 0;
        for &old in self.steps()?.range(..=step).rev() {
            if kept >= keep {
                remove(&self.checkpoint(old))?;
            } else if !refused.contains(&old) {
                kept += 1;
            }
        }
        Ok(())
    }
}

/// Who holds or held a lock, from the text in its file. Empty if nobody has yet; `None` if it is no file of ours.
fn holder(file: &File) -> io::Result<Option<String>> {
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    // Longer than any line of ours.
    let mut bytes = [0; 1024];
    let length = file.read_at(&mut bytes, 0)?;
    let text = String::from_utf8_lossy(&bytes[..length]);
    let is_one_line = text.lines().count() == 1;
    let ours = text.strip_prefix(HOLDER).filter(|it| is_one_line && it.starts_with("process "));
    Ok(if text.is_empty() { Some(String::new()) } else { ours.map(|it| it.trim_end().to_owned()) })
}

/// Who has no lock manager says so in several ways.
fn has_no_locks(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOLCK))
}

/// Removes a file, if it is not gone already.
pub(super) fn remove(path: &Path) -> Result<(), String> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(cannot("remove", path, &error))
        }
        _ => Ok(()),
    }
}

/// Brings the names in a folder to the disk. Some file systems do that always and offer no call for it.
pub(super) fn sync(folder: &Path) -> Result<(), String> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    match synced {
        Err(error) if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP)) => {
            Err(cannot("sync", folder, &error))
        }
        _ => Ok(()),
    }
}

/// Opens a file to read. A pipe or a device of that name would never answer.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it is no regular file"));
    }
    Ok(file)
}

pub(super) fn cannot(what: &str, path: &Path, error: &io::Error) -> String {
    format!("cannot {what} {}: {error}", path.display())
}
