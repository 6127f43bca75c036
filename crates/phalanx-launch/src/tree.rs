//! The processes of one job, wherever they went.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::inherited::SIGNS_OF_A_JOB;
use crate::marker::Marker;
use crate::process::process_stat;
use crate::sys;

/// A process, told apart from a later one with the same number by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    start: u64,
}

impl Process {
    /// The process that has this number now.
    pub(crate) fn with_pid(pid: u32) -> Option<Process> {
        stat(pid).map(|about| about.process)
    }

    fn signal(self, signal: i32) {
        // A process that ended in between may have left its number to somebody else.
        if Process::with_pid(self.pid) == Some(self) {
            // Failing means that it is gone, or was never ours to end.
            let _ = sys::send_signal(self.pid, signal);
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Stat {
    process: Process,
    parent: u32,
    zombie: bool,
}

fn stat(pid: u32) -> Option<Stat> {
    let about = process_stat(pid).ok()??;
    Some(Stat {
        process: Process { pid, start: about.started },
        parent: about.parent,
        zombie: matches!(about.state, 'Z' | 'X'),
    })
}

fn all_processes() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(stat)
        .collect()
}

/// All processes of a job: what descends from its launcher, what carries its marker, and what
/// descends from those.
///
/// The two signs complete each other. A rank whose launcher was killed has another parent and keeps
/// its marker; a child that cleared its environment keeps its parent.
#[derive(Debug)]
pub(crate) struct Tree {
    launcher: Option<Process>,
    marker: Marker,
}

impl Tree {
    pub(crate) fn new(launcher: Option<Process>, marker: Marker) -> Tree {
        Tree { launcher, marker }
    }

    /// The living processes of the job, never the caller.
    pub(crate) fn members(&self) -> Vec<Process> {
        let all = all_processes();
        let myself = std::process::id();
        let mut members: HashSet<u32> = all
            .iter()
            .filter(|stat| Some(stat.process) == self.launcher || self.is_marked(stat.process.pid))
            .map(|stat| stat.process.pid)
            .collect();
        members.remove(&myself);
        loop {
            let before = members.len();
            for stat in &all {
                if stat.process.pid != myself && members.contains(&stat.parent) {
                    members.insert(stat.process.pid);
                }
            }
            if members.len() == before {
                break;
            }
        }
        all.iter()
            .filter(|stat| !stat.zombie && members.contains(&stat.process.pid))
            .map(|stat| stat.process)
            .collect()
    }

    fn is_marked(&self, pid: u32) -> bool {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environment| self.marker.is_in(&environment))
    }

    /// Waits until no process of the job is left, at most for `patience` and until there is a `hurry`.
    pub(crate) fn wait_until_gone(&self, patience: Duration, hurry: &AtomicBool) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            if self.members().is_empty() {
                return true;
            }
            if Instant::now() >= deadline || hurry.load(Relaxed) {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ends every process of the job: asks, twice gives them `grace`, then kills until none is left.
    /// Returns how many there were, and the numbers of those that even so remain (a process in an
    /// uninterruptible wait, or of another user).
    ///
    /// The ranks are asked before their launcher and its helpers: these then see them end, and leave
    /// no zombies to an `init` that in many containers does not care for them.
    pub(crate) fn end(&self, grace: Duration, hurry: &AtomicBool) -> (usize, Vec<u32>) {
        let asked = self.members();
        for ask_all in [false, true] {
            for process in self.members() {
                if ask_all || is_of_a_rank(process.pid) {
                    process.signal(sys::SIGTERM);
                }
            }
            if self.wait_until_gone(grace, hurry) {
                return (asked.len(), Vec::new());
            }
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let left = self.members();
            if left.is_empty() || Instant::now() >= deadline {
                return (asked.len(), left.iter().map(|process| process.pid).collect());
            }
            for process in left {
                process.signal(sys::SIGKILL);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

fn is_of_a_rank(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| {
        environment
            .split(|byte| *byte == 0)
            .filter_map(|variable| variable.split(|byte| *byte == b'=').next())
            .any(|name| SIGNS_OF_A_JOB.iter().any(|sign| sign.as_bytes() == name))
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;
    use crate::JOB_VARIABLE;

    fn shell(script: &str, marker: Option<&Marker>) -> Child {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        if let Some(marker) = marker {
            command.env(JOB_VARIABLE, marker.value());
        }
        command.spawn().unwrap()
    }

    #[test]
    fn the_tree_holds_descendants_and_marked_processes_and_no_bystander() {
        let marker = Marker::new();
        let mut launcher = shell("env -i sleep 300 & wait", None);
        let mut marked = shell("exec sleep 300", Some(&marker));
        let mut bystander = shell("exec sleep 300", Some(&Marker::new()));
        let tree = Tree::new(Process::with_pid(launcher.id()), marker);
        // The shell needs a moment to start its child.
        let deadline = Instant::now() + Duration::from_secs(5);
        while tree.members().len() < 3 && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let members = tree.members();
        assert_eq!(members.len(), 3, "{members:?}");
        assert!(members.iter().any(|process| process.pid == marked.id()));

        let (ended, left) = tree.end(Duration::from_millis(500), &AtomicBool::new(false));
        assert_eq!((ended, left), (3, vec![]));
        assert!(bystander.try_wait().unwrap().is_none());
        bystander.kill().unwrap();
        for child in [&mut launcher, &mut marked, &mut bystander] {
            child.wait().unwrap();
        }
    }

    #[test]
    fn a_process_that_ignores_the_request_is_killed() {
        let marker = Marker::new();
        let mut stubborn = shell("trap '' TERM; while :; do sleep 0.05; done", Some(&marker));
        thread::sleep(Duration::from_millis(100));
        let tree = Tree::new(None, marker);
        let (_, left) = tree.end(Duration::from_millis(200), &AtomicBool::new(false));
        assert!(left.is_empty());
        assert!(tree.members().is_empty());
        stubborn.wait().unwrap();
    }
}
