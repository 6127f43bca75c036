use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a test and its ranks share; removed with everything in it when dropped.
pub(super) struct Folder(PathBuf);

const PREFIX: &str = "phalanx-test-";

/// A socket's path must fit into `sockaddr_un`.
const LONGEST: usize = 80;

impl Folder {
    /// # Errors
    /// With a phrase that names the folder in which it was to be.
    pub(super) fn new() -> Result<Folder, String> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        static CLEANING: Once = Once::new();
        let mut root = std::env::temp_dir();
        if root.as_os_str().len() > LONGEST {
            root = PathBuf::from("/tmp");
        }
        CLEANING.call_once(|| remove_abandoned(&root));
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = root.join(format!("{PREFIX}{}-{count}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder(path)),
                // Left by a process that was killed and had the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    let root = root.display();
                    return Err(format!(
                        "no temporary folder can be made in {root}: {error} (TMPDIR names another place)"
                    ));
                }
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own cleaning of temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what tests that were killed have left: nobody listens at their sockets any more.
fn remove_abandoned(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        let is_ours =
            |it: fs::Metadata| it.is_dir() && it.uid() == rustix::process::geteuid().as_raw();
        if !is_name(&entry.file_name().to_string_lossy()) || !entry.metadata().is_ok_and(is_ours) {
            continue;
        }
        let folder = entry.path();
        let refused = UnixStream::connect(socket(&folder))
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if refused {
            // Another process may be doing the same.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Whether [`Folder::new`] makes such names: process and count.
fn is_name(name: &str) -> bool {
    let numbers = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
    numbers.is_some_and(|(process, count)| {
        process.parse::<u32>().is_ok() && count.parse::<usize>().is_ok()
    })
}

pub(super) fn output(folder: &Path, rank: usize) -> PathBuf {
    folder.join(format!("rank-{rank}.output"))
}

pub(super) fn result(folder: &Path, rank: usize) -> PathBuf {
    folder.join(format!("rank-{rank}.result"))
}

pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("socket")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_tests_are_known_by_their_whole_name() {
        let folder = Folder::new().unwrap();
        assert!(is_name(folder.path().file_name().unwrap().to_str().unwrap()));
        for other in ["phalanx-test-", "phalanx-test-results", "phalanx-test-1-a", "phalanx-test-1"]
        {
            assert!(!is_name(other), "{other}");
        }
    }
}
