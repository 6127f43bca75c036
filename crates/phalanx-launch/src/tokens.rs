use std::env;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::{Error, Result, cores, inside_a_job, sys};

/// The right to keep some cores busy, shared by all jobs of one user on one machine.
///
/// There is one token for each core, a locked file in a folder of the user. A job of `n` ranks
/// takes `min(n, cores)` of them and waits until it has them all. Jobs take their tokens one after
/// the other, behind a gate, so that two jobs can never each hold what the other one waits for, and
/// a large job is not overtaken for ever by small ones. The kernel frees the tokens of a process
/// that dies.
#[derive(Debug)]
pub struct CoreTokens {
    held: Vec<File>,
}

impl CoreTokens {
    /// Waits until a job of `ranks` ranks may start.
    ///
    /// Inside another job nothing is taken: that job holds the tokens already and would wait for
    /// itself.
    ///
    /// # Errors
    /// When the folder for the tokens cannot be made.
    pub fn acquire(ranks: usize) -> Result<CoreTokens> {
        if inside_a_job() {
            return Ok(CoreTokens { held: Vec::new() });
        }
        let folder = env::temp_dir().join(format!("phalanx-cores-{}", sys::effective_user()));
        Pool { folder, cores: cores() }
            .acquire(ranks)
            .map_err(|error| Error::io("cannot share the cores with other jobs", error))
    }

    /// Number of cores that this job may keep busy.
    pub fn count(&self) -> usize {
        self.held.len()
    }
}

struct Pool {
    folder: PathBuf,
    cores: usize,
}

impl Pool {
    fn acquire(&self, ranks: usize) -> io::Result<CoreTokens> {
        private_folder(&self.folder)?;
        let gate = lock_file(&self.folder.join("gate"))?;
        while let Err(error) = gate.lock() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }

        let wanted = ranks.clamp(1, self.cores);
        let mut free: Vec<File> = (0..self.cores)
            .map(|core| lock_file(&self.folder.join(format!("core-{core}"))))
            .collect::<io::Result<_>>()?;
        let mut held = Vec::with_capacity(wanted);
        let mut pause = Duration::from_millis(2);
        loop {
            let mut busy = Vec::new();
            for file in free {
                if held.len() < wanted && is_free(&file)? {
                    held.push(file);
                } else {
                    busy.push(file);
                }
            }
            if held.len() == wanted {
                return Ok(CoreTokens { held });
            }
            free = busy;
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

/// Takes the lock on `file`, unless somebody else holds it. It ends with the last descriptor of this open
/// file, at the latest when the process dies.
fn is_free(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Makes the folder for this user alone. One that somebody else prepared is refused: it could
/// hold links to files of ours.
fn private_folder(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let about = fs::symlink_metadata(folder)?;
    if about.is_dir() && about.uid() == sys::effective_user() {
        return Ok(());
    }
    let why = format!("{} belongs to somebody else", folder.display());
    Err(io::Error::new(io::ErrorKind::PermissionDenied, why))
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).open(path)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn pool(name: &str, cores: usize) -> Pool {
        let folder = env::temp_dir().join(format!("phalanx-pool-{name}-{}", std::process::id()));
        Pool { folder, cores }
    }

    #[test]
    fn a_job_takes_no_more_tokens_than_there_are_cores() {
        let pool = pool("clamp", 3);
        assert_eq!(pool.acquire(8).unwrap().count(), 3);
        assert_eq!(pool.acquire(2).unwrap().count(), 2);
        assert_eq!(pool.acquire(0).unwrap().count(), 1);
        fs::remove_dir_all(&pool.folder).unwrap();
    }

    #[test]
    fn many_jobs_of_different_sizes_never_hold_more_than_all_cores_and_all_finish() {
        let pool = pool("many", 3);
        let (busy, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for job in 0..24 {
                let (pool, busy, finished) = (&pool, &busy, &finished);
                scope.spawn(move || {
                    let tokens = pool.acquire(1 + job % 4).unwrap();
                    let now = busy.fetch_add(tokens.count(), Ordering::SeqCst) + tokens.count();
                    assert!(now <= 3, "{now} tokens are held");
                    thread::sleep(Duration::from_millis(3));
                    busy.fetch_sub(tokens.count(), Ordering::SeqCst);
                    finished.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(finished.load(Ordering::SeqCst), 24);
        fs::remove_dir_all(&pool.folder).unwrap();
    }

    #[test]
    fn a_link_in_place_of_the_folder_is_refused() {
        let pool = pool("link", 1);
        std::os::unix::fs::symlink("/tmp", &pool.folder).unwrap();
        let error = pool.acquire(1).unwrap_err();
        assert!(error.to_string().contains("belongs to somebody else"), "{error}");
        fs::remove_file(&pool.folder).unwrap();
    }

    #[test]
    fn a_locked_file_is_refused_to_a_second_opener_until_closed() {
        let path = std::env::temp_dir().join(format!("phalanx-lock-{}", std::process::id()));
        let first = File::create(&path).unwrap();
        let second = File::create(&path).unwrap();
        assert!(is_free(&first).unwrap());
        assert!(!is_free(&second).unwrap());
        drop(first);
        assert!(is_free(&second).unwrap());
        std::fs::remove_file(path).unwrap();
    }
}
