use std::env;
use std::fmt;
use std::fs::{DirBuilder, File, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use crate::{cores, inside_a_job, sys};

/// The right to keep some cores busy, shared by all jobs of one user on one machine.
///
/// There is one token for each core, a locked file in a folder of the user. A job of `n` ranks
/// takes `min(n, cores)` of them and waits until it has them all. Jobs take their tokens one after
/// the other, behind a gate, so that two jobs can never each hold what the other one waits for, and
/// a large job is not overtaken for ever by small ones. The kernel frees the tokens of a process
/// that dies.
///
/// The folder is `phalanx-cores` in `XDG_RUNTIME_DIR`, else `phalanx-cores-UID` in `TMPDIR` or `/tmp`. It must belong
/// to this user, and nobody else may enter it: otherwise anybody could keep the jobs waiting. Where there is no such
/// folder, jobs start without waiting for each other, and the first one says so on stderr.
#[derive(Debug)]
pub struct CoreTokens {
    held: Vec<File>,
}

impl CoreTokens {
    /// Waits until a job of `ranks` ranks may start.
    ///
    /// Inside another job nothing is taken: that job holds the tokens already and would wait for
    /// itself.
    pub fn acquire(ranks: usize) -> CoreTokens {
        let none = CoreTokens { held: Vec::new() };
        if inside_a_job() {
            return none;
        }
        let mut reasons = Vec::new();
        for path in folders() {
            match Pool::open(&path, cores()).and_then(|pool| pool.acquire(ranks)) {
                Ok(tokens) => return tokens,
                Err(reason) => reasons.push(reason.to_string()),
            }
        }
        static TOLD: Once = Once::new();
        TOLD.call_once(|| {
            eprintln!(
                "phalanx: jobs start without waiting for free cores, because they share no folder: {}",
                reasons.join("; ")
            );
        });
        none
    }

    /// Number of cores that this job may keep busy; 0 if it did not have to ask.
    pub fn count(&self) -> usize {
        self.held.len()
    }
}

/// Where the folder may be, the best place first.
fn folders() -> Vec<PathBuf> {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|path| path.is_absolute() && path.is_dir());
    let temporary = env::temp_dir().join(format!("phalanx-cores-{}", sys::effective_user()));
    runtime.map(|path| path.join("phalanx-cores")).into_iter().chain([temporary]).collect()
}

/// Why a folder cannot be used.
#[derive(Debug)]
struct Unusable {
    path: PathBuf,
    why: String,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.why)
    }
}

/// A folder that was checked. Its files are opened through it, whatever its path leads to later.
struct Pool {
    path: PathBuf,
    folder: OwnedFd,
    cores: usize,
}

impl Pool {
    /// Opens or makes the folder for this user alone.
    fn open(path: &Path, cores: usize) -> Result<Pool, Unusable> {
        let unusable = |why: String| Unusable { path: path.to_owned(), why };
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(unusable(error.to_string()));
            }
            _ => {}
        }
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| unusable(io::Error::from(error).to_string()))?;
        let about = rustix::fs::fstat(&folder)
            .map_err(|error| unusable(io::Error::from(error).to_string()))?;
        if about.st_uid != sys::effective_user() {
            return Err(unusable("it belongs to another user".to_owned()));
        }
        if about.st_mode & 0o077 != 0 {
            let mode = about.st_mode & 0o777;
            return Err(unusable(format!("other users may enter it (mode {mode:03o}, not 700)")));
        }
        Ok(Pool { path: path.to_owned(), folder, cores })
    }

    fn acquire(&self, ranks: usize) -> Result<CoreTokens, Unusable> {
        self.try_acquire(ranks)
            .map_err(|error| Unusable { path: self.path.clone(), why: error.to_string() })
    }

    fn try_acquire(&self, ranks: usize) -> io::Result<CoreTokens> {
        let gate = self.lock_file("gate")?;
        while let Err(error) = gate.lock() {
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }

        let wanted = ranks.clamp(1, self.cores);
        let mut free: Vec<File> = (0..self.cores)
            .map(|core| self.lock_file(&format!("core-{core}")))
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

    fn lock_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        Ok(File::from(rustix::fs::openat(&self.folder, name, flags, mode)?))
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn path(name: &str) -> PathBuf {
        env::temp_dir().join(format!("phalanx-pool-{name}-{}", std::process::id()))
    }

    fn pool(name: &str, cores: usize) -> Pool {
        Pool::open(&path(name), cores).unwrap()
    }

    #[test]
    fn a_job_takes_no_more_tokens_than_there_are_cores() {
        let pool = pool("clamp", 3);
        assert_eq!(pool.acquire(8).unwrap().count(), 3);
        assert_eq!(pool.acquire(2).unwrap().count(), 2);
        assert_eq!(pool.acquire(0).unwrap().count(), 1);
        fs::remove_dir_all(&pool.path).unwrap();
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
        fs::remove_dir_all(&pool.path).unwrap();
    }

    #[test]
    fn a_link_or_a_file_in_place_of_the_folder_is_refused() {
        let path = path("link");
        let refused = || Pool::open(&path, 1).map(drop).unwrap_err().to_string();
        std::os::unix::fs::symlink("/tmp", &path).unwrap();
        assert!(refused().starts_with(path.to_str().unwrap()), "{}", refused());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(refused().contains("ot a directory"), "{}", refused());
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_folder_that_others_may_enter_or_own_is_refused() {
        let path = path("open");
        fs::create_dir(&path).unwrap();
        for (mode, is_refused) in [(0o755, true), (0o770, true), (0o701, true), (0o700, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let refused = Pool::open(&path, 1).map(drop).map_err(|it| it.to_string()).err();
            assert_eq!(refused.is_some(), is_refused, "{mode:o}: {refused:?}");
            let names_mode = |why: String| why.contains(&format!("mode {mode:o}, not 700"));
            assert!(refused.is_none_or(names_mode), "{mode:o}");
        }
        // Root alone can make a folder of another user.
        if sys::effective_user() == 0 {
            std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
            let refused = Pool::open(&path, 1).map(drop).unwrap_err().to_string();
            assert!(refused.contains("belongs to another user"), "{refused}");
        }
        fs::remove_dir_all(&path).unwrap();
    }

    #[test]
    fn a_link_in_place_of_a_lock_is_not_followed() {
        let pool = pool("lock-link", 1);
        let target = pool.path.join("target");
        std::os::unix::fs::symlink(&target, pool.path.join("gate")).unwrap();
        assert!(pool.acquire(1).is_err());
        assert!(!target.exists());
        fs::remove_dir_all(&pool.path).unwrap();
    }

    #[test]
    fn the_folder_that_was_checked_is_used_whatever_its_path_leads_to_later() {
        let pool = pool("moved", 2);
        let moved = path("moved-away");
        fs::rename(&pool.path, &moved).unwrap();
        fs::create_dir(&pool.path).unwrap();
        assert_eq!(pool.acquire(2).unwrap().count(), 2);
        assert_eq!(fs::read_dir(&pool.path).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&moved).unwrap().count(), 3);
        fs::remove_dir_all(&pool.path).unwrap();
        fs::remove_dir_all(moved).unwrap();
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
