//! The exit code of the first rank that failed.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};

/// What the launcher says of exit codes in its output, where its own exit code does not tell.
///
/// Hydra's is the codes of all ranks, combined bit by bit; srun's is the highest one, which is often
/// that of a rank it has killed itself. What flux says is not looked at: its own exit code counts.
#[derive(Debug)]
pub struct ReportedCodes {
    by: By,
    code: Mutex<Option<Said>>,
}

/// What is known, the more telling the greater: other ranks are killed because of one that failed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Said {
    Killed(u8),
    Failed(u8),
}

#[derive(Debug, PartialEq)]
enum By {
    Nobody,
    Hydra,
    Srun,
}

impl ReportedCodes {
    fn new(by: By) -> Arc<ReportedCodes> {
        Arc::new(ReportedCodes { by, code: Mutex::new(None) })
    }

    pub fn nothing() -> Arc<ReportedCodes> {
        Self::new(By::Nobody)
    }

    pub fn by_hydra() -> Arc<ReportedCodes> {
        Self::new(By::Hydra)
    }

    pub fn by_srun() -> Arc<ReportedCodes> {
        Self::new(By::Srun)
    }

    /// Where in a line that is not over yet the launcher's own words begin, or may begin; its length if
    /// nowhere. `is_start`: whether it is a line from its start. `listing`: what [`hear`](Self::hear) made of it.
    pub fn begins(&self, line: &[u8], is_start: bool, listing: bool) -> usize {
        let may_be = |mark: &[u8]| {
            let length = mark.len().min(line.len());
            mark[..length] == line[..length]
        };
        match self.by {
            By::Srun if is_start && may_be(b"srun: error: ") => 0,
            By::Hydra if listing && is_start && may_be(b"[") => 0,
            By::Hydra => {
                let mark: &[u8] = b"[mpiexec@";
                let is_here = |at: &usize| {
                    let rest = &line[*at..];
                    rest.starts_with(mark) || mark.starts_with(rest)
                };
                (0..line.len()).find(is_here).unwrap_or(line.len())
            }
            _ => line.len(),
        }
    }

    /// Looks at a line of the launcher. How ranks ended comes back if the line is for us alone and not for
    /// the user: then [`believe`](Self::believe) takes it when it is sure that no program has said so. `listing`
    /// belongs to the stream of the line: whether a list is going on, which has a line for each host.
    pub fn hear(&self, line: &str, listing: &mut bool) -> Option<Vec<i32>> {
        match self.by {
            By::Nobody => None,
            By::Srun => {
                self.note(srun(line));
                None
            }
            By::Hydra => {
                let codes = match line.split_once("] Exit codes: ") {
                    Some((_, codes)) => codes,
                    None if *listing => line,
                    None => return None,
                };
                let statuses = hydra(codes);
                *listing = statuses.is_some();
                statuses
            }
        }
    }

    /// Takes what was heard for what happened.
    pub fn believe(&self, statuses: &[i32]) {
        statuses.iter().for_each(|status| self.note(of_rank(*status)));
    }

    fn note(&self, said: Option<Said>) {
        let mut known = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        *known = match (*known, said) {
            (Some(Said::Killed(_)), Some(Said::Failed(code))) => Some(Said::Failed(code)),
            (known, said) => known.or(said),
        };
    }

    fn code(&self) -> Option<u8> {
        let known = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        known.map(|(Said::Killed(code) | Said::Failed(code))| code)
    }
}

/// `[node1] 0,9,768,0`: how each rank of a host ended, as wait(2) says it.
fn hydra(line: &str) -> Option<Vec<i32>> {
    let (_, codes) = line.trim_end().strip_prefix('[')?.split_once("] ")?;
    codes.split(',').map(|word| word.trim().parse().ok()).collect()
}

/// A rank that was killed is the cause only if there is no other: Hydra kills all when one fails.
fn of_rank(status: i32) -> Option<Said> {
    let code = of_status(ExitStatus::from_raw(status));
    match status {
        0 => None,
        9 => Some(Said::Killed(code)),
        _ => Some(Said::Failed(code)),
    }
}

/// `srun: error: node1: task 2: Exited with exit code 3`, `srun: error: node1: tasks 0-1: Killed`.
fn srun(line: &str) -> Option<Said> {
    let (head, how) = line.trim_end().rsplit_once(": ")?;
    if let Some(code) = how.strip_prefix("Exited with exit code ") {
        return code.parse().ok().filter(|code| *code != 0).map(Said::Failed);
    }
    let task = head.rsplit_once(": ")?.1;
    if !task.starts_with("task ") && !task.starts_with("tasks ") {
        return None;
    }
    let name = how.trim_end_matches(" (core dumped)");
    let (signal, _) = SIGNALS.iter().find(|(_, known)| *known == name)?;
    let code = 128 + signal;
    // How srun ends those that are left, and how the system ends one that takes too much memory.
    let is_ordered = matches!(*signal, SIGKILL | SIGTERM);
    Some(if is_ordered { Said::Killed(code) } else { Said::Failed(code) })
}

const SIGKILL: u8 = 9;
const SIGTERM: u8 = 15;

/// Signals that end a process, in the words of strsignal(3), which srun uses.
const SIGNALS: [(u8, &str); 14] = [
    (1, "Hangup"),
    (2, "Interrupt"),
    (3, "Quit"),
    (4, "Illegal instruction"),
    (5, "Trace/breakpoint trap"),
    (6, "Aborted"),
    (7, "Bus error"),
    (8, "Floating point exception"),
    (SIGKILL, "Killed"),
    (11, "Segmentation fault"),
    (13, "Broken pipe"),
    (SIGTERM, "Terminated"),
    (24, "CPU time limit exceeded"),
    (31, "Bad system call"),
];

fn of_status(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| 128 + signal);
    status.code().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The exit code for a job whose launcher ended so.
pub fn code(launcher: Option<ExitStatus>, codes: &ReportedCodes) -> u8 {
    let own = launcher.map_or(1, of_status);
    match codes.code() {
        // A launcher that succeeded has the last word.
        Some(code) if own != 0 => code,
        _ => own,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hydras_list_names_the_rank_that_failed_and_not_those_that_were_killed_for_it() {
        let code_after = |lines: &[&str]| {
            let (codes, mut listing) = (ReportedCodes::by_hydra(), false);
            for line in lines {
                codes.believe(&codes.hear(line, &mut listing).expect(line));
            }
            assert_eq!(codes.hear("[host9] and so on", &mut listing), None);
            assert_eq!(codes.hear("[host9] 1280", &mut listing), None, "after the end of the list");
            code(Some(ExitStatus::from_raw(7 << 8)), &codes)
        };
        let of_one = |codes: &str| code_after(&[&format!("[mpiexec@vm] Exit codes: {codes}")]);
        assert_eq!(of_one("[vm] 9,0,768,0"), 3);
        assert_eq!(of_one("[vm] 0,11,9,9"), 139);
        assert_eq!(of_one("[vm] 0,1280,1536,0"), 5);
        assert_eq!(of_one("[vm] 0,9,0,9"), 137);
        assert_eq!(of_one("[vm] 0,0"), 7);
        assert_eq!(code_after(&["[mpiexec@a] Exit codes: [a] 0,9", "[b] 9,22016"]), 86);
        assert_eq!(code_after(&["[mpiexec@a] Exit codes: [a] 768", "[b] 22016", "[c] 0"]), 3);
    }

    #[test]
    fn srun_says_which_task_exited_by_itself() {
        assert_eq!(
            srun("srun: error: node1: task 2: Exited with exit code 3"),
            Some(Said::Failed(3))
        );
        assert_eq!(
            srun("srun: error: node1: tasks 0-1,3: Exited with exit code 86"),
            Some(Said::Failed(86))
        );
        assert_eq!(srun("srun: error: node1: tasks 0-1: Killed"), Some(Said::Killed(137)));
        assert_eq!(
            srun("srun: error: n: task 1: Segmentation fault (core dumped)"),
            Some(Said::Failed(139))
        );
        for other in ["srun: error: Unable to create step: Killed", "srun: error: x", ""] {
            assert_eq!(srun(other), None, "{other}");
        }
    }

    #[test]
    fn of_sruns_words_the_first_count_and_a_failure_more_than_an_end_by_order() {
        let code_after = |lines: &[&str]| {
            let codes = ReportedCodes::by_srun();
            for line in lines {
                let heard = codes.hear(&format!("srun: error: node1: {line}"), &mut false);
                assert_eq!(heard, None, "it is for the user");
            }
            code(Some(ExitStatus::from_raw(143 << 8)), &codes)
        };
        let killed = "task 0: Killed";
        let ended = "tasks 2-3: Terminated";
        assert_eq!(code_after(&[killed, ended]), 137);
        assert_eq!(code_after(&[killed, "task 1: Exited with exit code 42", ended]), 42);
        assert_eq!(code_after(&[ended, "task 1: Segmentation fault", "task 0: Aborted"]), 139);
        assert_eq!(code_after(&[]), 143);
    }

    #[test]
    fn what_was_told_first_counts_and_only_for_a_job_that_failed() {
        let failed = ExitStatus::from_raw(7 << 8);
        let codes = ReportedCodes::by_hydra();
        assert_eq!(code(Some(failed), &codes), 7);
        let believe = |line: &str| codes.believe(&codes.hear(line, &mut false).expect(line));
        believe("[mpiexec@vm] Exit codes: [vm] 0,1280");
        assert_eq!(codes.hear("[mpiexec@vm] something else", &mut false), None);
        believe("[mpiexec@vm] Exit codes: [vm] 256,0");
        assert_eq!(code(Some(failed), &codes), 5);
        assert_eq!(code(Some(ExitStatus::from_raw(0)), &codes), 0);
        assert_eq!(code(Some(ExitStatus::from_raw(9)), &ReportedCodes::nothing()), 137);
    }
}
