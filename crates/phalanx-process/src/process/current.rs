//! This process, its parent and its children.

use super::family;
use crate::arena::arena;
use crate::arena::existing;

/// What is known of a process of this tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Current {
    name: String,
    pid: u32,
}

impl Current {
    /// Its name: `main` for the root of the tree.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id of the system.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

/// This process.
///
/// ```
/// use phalanx_process::{Process, current};
///
/// assert_eq!(current().name(), "main");
/// let name = Process::builder().name("helper").spawn(|()| current().name().to_owned(), ())?.join()?;
/// assert_eq!(name, "helper");
/// # Ok::<(), phalanx_process::Error>(())
/// ```
pub fn current() -> Current {
    let pid = std::process::id();
    match arena() {
        Ok(arena) => Current { name: arena.process(arena.me()).name(), pid },
        // Without shared memory there are no children, and this is the root.
        Err(_) => Current { name: "main".to_owned(), pid },
    }
}

/// The process that has started this one; `None` in the root of the tree.
pub fn parent() -> Option<Current> {
    let arena = arena().ok().filter(|arena| !arena.is_root())?;
    let parent = arena.process(arena.process(arena.me()).parent());
    Some(Current { name: parent.name(), pid: parent.pid() })
}

/// The children of this process that have not ended.
pub fn active_children() -> Vec<Current> {
    family::children()
        .into_iter()
        .filter(|child| child.exit_code().is_none())
        .map(|child| {
            debug_assert!(child.slot != existing().me());
            Current { name: child.name.clone(), pid: child.pid }
        })
        .collect()
}
