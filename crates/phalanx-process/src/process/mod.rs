//! Processes: functions that run in children of this process.
//!
//! | module | what it does |
//! |---|---|
//! | `builder` | name, background, start |
//! | `handle` | [`Process`]: join, kill, exit code |
//! | `task` | what a child is told, and what it leaves |
//! | `entry` | how a child comes to its function, without `main` |
//! | `panics` | what a panic was, and where |
//! | `worker` | processes with state, and such that are started again |
//! | `family` | the children of this process, and the thread that watches them and the parent |
//! | `current` | this process and its parent |

mod builder;
mod current;
mod entry;
mod family;
mod handle;
mod panics;
mod task;
mod worker;

pub use builder::Builder;
pub use current::{Current, active_children, current, parent};
pub use entry::init;
pub use handle::{ExitCode, Process};
pub(crate) use panics::{Report, catch};
pub(crate) use task::{died, name_of_function};
pub use worker::{Supervised, Worker};
