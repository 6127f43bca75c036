use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a test and its ranks share; removed with everything in it when dropped.
pub(super) struct Folder(PathBuf);

/// A socket's path must fit into `sockaddr_un`.
const LONGEST: usize = 80;

impl Folder {
    pub(super) fn new() -> io::Result<Folder> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mut root = std::env::temp_dir();
        if root.as_os_str().len() > LONGEST {
            root = PathBuf::from("/tmp");
        }
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = root.join(format!("phalanx-test-{}-{count}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder(path)),
                // Left by a process that was killed and had the same number.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
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

pub(super) fn output(folder: &Path, rank: usize) -> PathBuf {
    folder.join(format!("rank-{rank}.output"))
}

pub(super) fn result(folder: &Path, rank: usize) -> PathBuf {
    folder.join(format!("rank-{rank}.result"))
}

pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("socket")
}
