//! How a process is started.

use std::os::unix::process::CommandExt;
use std::panic::Location;
use std::process::{Command, Stdio};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::entry::{MARK, message};
use super::family::{self, Newborn};
use super::handle::Process;
use super::task::Task;
use crate::arena::{Arena, MAX_PROCESSES, Transit, arena, refused};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::{descriptor, socket};

/// Settings of a new process: its name, and whether it runs in the background.
///
/// ```
/// use phalanx_process::Process;
///
/// fn greet(who: String) -> String {
///     format!("{} greets {who}", phalanx_process::current().name())
/// }
///
/// let process = Process::builder().name("greeter").spawn(greet, "you".to_owned())?;
/// assert_eq!(process.name(), "greeter");
/// assert_eq!(process.join()?, "greeter greets you");
/// # Ok::<(), phalanx_process::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a process starts with `spawn`"]
pub struct Builder {
    name: Option<String>,
    background: bool,
}

impl Builder {
    /// Names the process; `Process-1`, `Process-2`, … is the default. The name is seen in errors and in `ps`, which
    /// shows the first 15 bytes.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// A process in the background does not keep its parent from exiting: it gets SIGTERM then, and SIGKILL a second
    /// later. Python calls it a daemon; unlike there it may have children.
    pub fn background(mut self) -> Self {
        self.background = true;
        self
    }

    /// Runs a function in a new process; see [`Process::spawn`].
    ///
    /// # Errors
    /// As [`Process::spawn`].
    #[track_caller]
    pub fn spawn<A, R>(self, function: fn(A) -> R, arguments: A) -> Result<Process<R>>
    where
        A: Serialize + DeserializeOwned + 'static,
        R: Serialize + DeserializeOwned + 'static,
    {
        let location = Location::caller();
        let arena = arena().map_err(|error| error.at(location))?;
        let name = self.name.clone().unwrap_or_else(|| format!("Process-{}", arena.next_name()));
        let start = || {
            if !arena.is_mine() {
                let detail =
                    "this process is a copy made by fork(), which this library knows nothing of";
                return Err(Error::new(ErrorKind::State, "spawn", detail));
            }
            family::begin(None).map_err(|error| refused("spawn", &error))?;
            let slot = reserve(arena, &name)?;
            let started = Task::new(function, &arguments, Transit::To(slot))
                .and_then(|task| self.begin(arena, slot, name.clone(), &task));
            if started.is_err() {
                family::give_up(slot);
            }
            started
        };
        let child =
            start().map_err(|error| error.of(format_args!("process `{name}`")).at(location))?;
        Ok(Process::new(child))
    }

    fn begin(
        &self,
        arena: &Arena,
        slot: u32,
        name: String,
        task: &Task,
    ) -> Result<std::sync::Arc<family::Child>> {
        let refused = |error: std::io::Error| refused("spawn", &error);
        let process = arena.process(slot);
        task.store(process)?;
        let (ours, theirs) = socket::pair().map_err(refused)?;
        let mut spawned = Command::new("/proc/self/exe")
            .arg0(name.replace('\0', " "))
            .env(MARK, "1")
            .stdin(Stdio::from(theirs))
            .spawn()
            .map_err(refused)?;
        let generation = process.generation();
        let pid = spawned.id();
        let pidfd = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| std::io::Error::other("no process id"))
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?))
            .and_then(descriptor::above_standard)
            .map_err(|error| {
                // It has not begun: it waits for its first message.
                let _ended = spawned.kill().and_then(|()| spawned.wait());
                refused(error)
            })?;
        let newborn = Newborn {
            slot,
            generation,
            pid,
            name,
            background: self.background,
            pidfd,
            lifeline: ours,
        };
        // A child that has died already is found by its descriptor like any other.
        let _dead = socket::send(&newborn.lifeline, &message(slot, generation), arena.fd());
        family::adopt(newborn).map_err(refused)
    }
}

fn reserve(arena: &Arena, name: &str) -> Result<u32> {
    for (number, slot) in arena.processes() {
        if slot.reserve(arena.me(), name).map_err(|error| refused("spawn", &error))? {
            return Ok(number);
        }
    }
    let detail = format!("{MAX_PROCESSES} processes of this tree live already");
    Err(Error::new(ErrorKind::System, "spawn", detail))
}
