//! The exit code of the first rank that failed.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};

/// What the launcher says of exit codes in its output, where its own exit code does not tell.
///
/// Hydra's is the codes of all ranks, combined bit by bit; srun's is the highest one, which is often
/// that of a rank it has killed itself.
#[derive(Debug)]
pub struct Told {
    by: By,
    code: Mutex<Option<u8>>,
}

#[derive(Debug, PartialEq)]
enum By {
    Nobody,
    Hydra,
    Srun,
}

impl Told {
    fn new(by: By) -> Arc<Told> {
        Arc::new(Told { by, code: Mutex::new(None) })
    }

    pub fn nothing() -> Arc<Told> {
        Self::new(By::Nobody)
    }

    pub fn by_hydra() -> Arc<Told> {
        Self::new(By::Hydra)
    }

    pub fn by_srun() -> Arc<Told> {
        Self::new(By::Srun)
    }

    /// How lines begin that are to be looked at.
    pub fn mark(&self) -> Option<&'static [u8]> {
        match self.by {
            By::Nobody => None,
            By::Hydra => Some(b"[mpiexec@"),
            By::Srun => Some(b"srun: error: "),
        }
    }

    /// Looks at a line of the launcher. `true`: it is for us alone, not for the user.
    pub fn hear(&self, line: &str) -> bool {
        let (code, is_ours) = match self.by {
            By::Nobody => (None, false),
            By::Hydra => match line.split_once("] Exit codes: ") {
                Some((_, codes)) => (hydra(codes), true),
                None => (None, false),
            },
            By::Srun => (srun(line), false),
        };
        let mut known = self.code.lock().unwrap_or_else(PoisonError::into_inner);
        *known = known.or(code);
        is_ours
    }

    fn code(&self) -> Option<u8> {
        *self.code.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `[node1] 0,9,768,0 [node2] 0,0`: how each rank ended, as wait(2) says it. A rank that was killed
/// is the cause only if there is no other: Hydra kills all when one fails.
fn hydra(codes: &str) -> Option<u8> {
    let numbers = codes.split([',', ' ']).filter_map(|word| word.trim().parse::<i32>().ok());
    let failed: Vec<i32> = numbers.filter(|status| *status != 0).collect();
    let cause = failed.iter().find(|status| **status != 9).or(failed.first())?;
    Some(of_status(ExitStatus::from_raw(*cause)))
}

/// `srun: error: node1: task 2: Exited with exit code 3`. Tasks that srun killed are told otherwise.
fn srun(line: &str) -> Option<u8> {
    let (_, code) = line.split_once("Exited with exit code ")?;
    code.trim().parse().ok().filter(|code| *code != 0)
}

fn of_status(status: ExitStatus) -> u8 {
    let signal = status.signal().map(|signal| 128 + signal);
    status.code().or(signal).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// The exit code for a job whose launcher ended so.
pub fn code(launcher: Option<ExitStatus>, told: &Told) -> u8 {
    let own = launcher.map_or(1, of_status);
    match told.code() {
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
        assert_eq!(hydra("[vm] 9,0,768,0"), Some(3));
        assert_eq!(hydra("[vm] 0,11,9,9"), Some(139));
        assert_eq!(hydra("[vm] 0,1280,1536,0"), Some(5));
        assert_eq!(hydra("[a] 0,9 [b] 9,22016"), Some(86));
        assert_eq!(hydra("[vm] 0,9,0,9"), Some(137));
        assert_eq!(hydra("[vm] 0,0"), None);
        assert_eq!(hydra("rubbish"), None);
    }

    #[test]
    fn srun_says_which_task_exited_by_itself() {
        assert_eq!(srun("srun: error: node1: task 2: Exited with exit code 3"), Some(3));
        assert_eq!(srun("srun: error: node1: tasks 0-1,3: Exited with exit code 86"), Some(86));
        assert_eq!(srun("srun: error: node1: tasks 0-1: Killed"), None);
    }

    #[test]
    fn what_was_told_first_counts_and_only_for_a_job_that_failed() {
        let failed = ExitStatus::from_raw(7 << 8);
        let told = Told::by_hydra();
        assert_eq!(code(Some(failed), &told), 7);
        assert!(told.hear("[mpiexec@vm] Exit codes: [vm] 0,1280"));
        assert!(!told.hear("[mpiexec@vm] something else"));
        assert!(told.hear("[mpiexec@vm] Exit codes: [vm] 256,0"));
        assert_eq!(code(Some(failed), &told), 5);
        assert_eq!(code(Some(ExitStatus::from_raw(0)), &told), 0);
        assert_eq!(code(Some(ExitStatus::from_raw(9)), &Told::nothing()), 137);
    }
}
