//! Where a project is, and where it is built.

use std::path::{Path, PathBuf};

use cargo_metadata::Metadata;

/// The folders of a project, or of where one may come to be.
pub struct Folders {
    pub is_project: bool,
    pub root: PathBuf,
    pub target: PathBuf,
}

impl Folders {
    /// As cargo says it: its settings may put the target folder anywhere.
    pub fn of(metadata: &Metadata) -> Folders {
        Folders {
            is_project: true,
            root: metadata.workspace_root.clone().into_std_path_buf(),
            target: metadata.target_directory.clone().into_std_path_buf(),
        }
    }

    /// A folder without a project.
    pub fn without_project(root: PathBuf) -> Folders {
        Folders { is_project: false, target: root.join("target"), root }
    }
}

/// The path as a person would write it here.
pub fn short(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
