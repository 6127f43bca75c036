//! The files of a folder: their names, who may write them, and which of them go.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::host;

const CHECKPOINT: &str = ".phxckpt";
const UNFINISHED: &str = ".unfinished";
const MARK: &str = ".shared-";
const LOCK: &str = ".lock";

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
        format!("step-{step:012}{CHECKPOINT}.{}{UNFINISHED}", unique())
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
        let told = |error: io::Error| cannot("read", &self.path, &error);
        let entries = fs::read_dir(&self.path).map_err(told)?;
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().into_string().ok()).transpose()
        };
        entries.filter_map(name).collect::<io::Result<_>>().map_err(told)
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
        // A link that somebody has put there leads to a file of others.
        options.read(true).write(true).create(true).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(&path).map_err(|error| cannot("open", &path, &error))?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    let _ = file.read_to_string(&mut holder);
                    return Err(format!(
                        "{} is in use by {}: one job at a time saves into a folder",
                        self.path.display(),
                        if holder.is_empty() { "another process" } else { holder.trim_end() }
                    ));
                }
                Err(TryLockError::Error(error)) if has_no_locks(&error) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(cannot("lock", &path, &error)),
            }
        }
        let holder = format!("process {} on {}\n", std::process::id(), host::name());
        let noted = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
        noted.map_err(|error| cannot("write to", &path, &error))?;
        Ok(Some(file))
    }

    /// Removes what jobs left behind that were ended while they saved.
    pub fn sweep(&self) -> Result<(), String> {
        for name in self.names()? {
            let is_unfinished = name.starts_with("step-")
                && name.contains(CHECKPOINT)
                && name.ends_with(UNFINISHED);
            let path = self.path.join(&name);
            if (is_unfinished || name.starts_with(MARK)) && !path.is_dir() {
                remove(&path)?;
            }
        }
        Ok(())
    }

    /// Leaves a file by which other hosts see that it is the same folder. Gives its name.
    pub fn mark(&self) -> Result<String, String> {
        let mark = format!("{MARK}{}", unique());
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

/// Text that no other process makes, on no other host, and this one never again.
fn unique() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{}-{:x}", host::name(), std::process::id(), now.as_nanos())
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
