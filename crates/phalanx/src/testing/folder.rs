use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
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
    pub(super) fn new() -> io::Result<Folder> {
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

/// Removes what tests that were killed have left: nobody listens at their sockets any more.
fn remove_abandoned(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else {
        return;
    };
    for entry in entries.filter_map(Result::ok) {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
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

pub(super) fn output(folder: &Path, rank: usize) -> PathBuf {
    folder.join(format!("rank-{rank}.output"))
}

pub(super) fn result(folder: &Path, rank: usize) -> PathBuf {
    folder.join(format!("rank-{rank}.result"))
}

pub(super) fn socket(folder: &Path) -> PathBuf {
    folder.join("socket")
}
