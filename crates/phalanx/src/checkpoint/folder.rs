//! A folder of checkpoints: saving, and finding the latest one that is whole.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use super::files::{self, Files, cannot};
use super::format::{self, ALIGNMENT, Section, Table, Trouble, aligned};
use super::part::Part;
use super::saved::{Checkpoint, Refused};
use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::host;
use crate::raw;
use crate::record::{CHECKPOINT_LATEST, CHECKPOINT_OPEN, CHECKPOINT_SAVE, Call};

/// The checkpoints of one program, in a folder that the hosts of all ranks share.
///
/// One job at a time saves into a folder: it has a lock from [`open`](Self::open) on, as long as the
/// folder lives on rank 0. Any number may read. (A file system without locks, as Lustre without `-o flock`,
/// does not notice a second job; both then save, and none writes into files of the other. What jobs leave behind that
/// were ended while they saved stays there.)
///
/// A checkpoint is the file `step-000000000250.phxckpt`; the latest two are kept unless
/// [`keep`](Self::keep) says otherwise.
pub struct Folder {
    comm: Comm,
    files: Files,
    keep: usize,
    /// Whether it was opened to save into it.
    saves: bool,
    /// Of rank 0, where there are locks.
    _lock: Option<File>,
    findings: Mutex<Findings>,
}

/// What calls have found out, for later calls.
#[derive(Default)]
struct Findings {
    refused: BTreeSet<u64>,
    removal: Option<String>,
}

/// What rank 0 has to know of each part before it is written.
#[derive(Serialize, Deserialize)]
struct Described {
    step: u64,
    sections: Vec<Section>,
}

/// Where everything will be. Of the sections of a part the offsets are from the start of the file.
struct Plan {
    /// Of the file, until it is complete.
    name: String,
    starts: Vec<u64>,
    table: Table,
    end: u64,
}

impl Folder {
    /// Opens a folder to save into it, or makes it. Removes what a job left behind that was ended while it
    /// saved. Collective: all ranks that will save together give the same folder.
    ///
    /// # Errors
    /// On all ranks [`File`](ErrorKind::File) if it is no folder in which rank 0 can write, one that not all
    /// ranks see, or one in which another job saves: a job that is about to end has five seconds to do so.
    ///
    /// MPI: `MPI_Bcast`, `MPI_Gatherv`.
    #[track_caller]
    pub fn open(comm: &Comm, path: impl Into<PathBuf>) -> Result<Folder> {
        let files = Files { path: path.into() };
        let call = comm.call(&CHECKPOINT_OPEN, Location::caller());
        let _permit = raw::permit(&call)?;
        let prepare = || -> Result<_, String> {
            files.make()?;
            let lock = files.lock()?;
            // Without a lock it may be another job's that it writes to just now.
            if lock.is_some() {
                files.sweep()?;
            }
            Ok((files.mark()?, lock))
        };
        let (at_root, lock) = match (comm.rank() == 0).then(prepare) {
            None => (None, None),
            Some(Ok((mark, lock))) => (Some(Ok(mark)), lock),
            Some(Err(reason)) => (Some(Err(whose(comm, &reason))), None),
        };
        let mark: Result<String, String> = comm.bcast_object(at_root, 0)?;
        let mark = mark.map_err(|detail| Error::new(ErrorKind::File, &call, detail))?;
        let seen = fs::metadata(files.path.join(&mark)).map(drop).map_err(|error| {
            let path = files.path.display();
            format!(
                "{path}, which rank 0 has opened, is not there: the hosts must share it ({error})"
            )
        });
        let outcome = together(comm, seen.map_err(Trouble::Unreadable))?;
        if comm.rank() == 0 {
            // A mark that stays goes when the folder is opened again.
            let _ = files::remove(&files.path.join(mark));
        }
        let outcome: Result<(), Trouble> = comm.bcast_object(outcome, 0)?;
        outcome.map_err(|trouble| Error::new(ErrorKind::File, &call, trouble.text()))?;
        Ok(Folder::of(comm, files, true, lock))
    }

    /// Opens a folder to read from it, also while a job saves into it. Nothing in it changes. Collective.
    ///
    /// # Errors
    /// On all ranks [`File`](ErrorKind::File) if rank 0 cannot read it.
    ///
    /// MPI: `MPI_Bcast`.
    ///
    /// ```
    /// use phalanx::checkpoint::{Folder, Part};
    /// # let path = std::env::temp_dir().join(format!("phalanx-read-{}", std::process::id()));
    /// # let doc = path.clone();
    /// # phalanx::run(move |world| -> phalanx::Result<()> {
    /// let folder = Folder::open(&world, &path)?;
    /// folder.save(1, Part::new().slice("cells", &[0.5; 10]))?;
    /// let reader = Folder::open_to_read(&world, &path)?;
    /// assert_eq!(reader.latest()?.map(|saved| saved.step()), Some(1));
    /// assert!(reader.save(2, &Part::new()).is_err());
    /// # world.barrier()
    /// # });
    /// # let _ = std::fs::remove_dir_all(doc);
    /// ```
    #[track_caller]
    pub fn open_to_read(comm: &Comm, path: impl Into<PathBuf>) -> Result<Folder> {
        let files = Files { path: path.into() };
        let call = comm.call(&CHECKPOINT_OPEN, Location::caller());
        let _permit = raw::permit(&call)?;
        let at_root = (comm.rank() == 0)
            .then(|| files.steps().map(drop).map_err(|reason| whose(comm, &reason)));
        let outcome: Result<(), String> = comm.bcast_object(at_root, 0)?;
        outcome.map_err(|detail| Error::new(ErrorKind::File, &call, detail))?;
        Ok(Folder::of(comm, files, false, None))
    }

    fn of(comm: &Comm, files: Files, saves: bool, lock: Option<File>) -> Folder {
        Folder {
            comm: comm.clone(),
            files,
            keep: 2,
            saves,
            _lock: lock,
            findings: Mutex::default(),
        }
    }

    /// How many checkpoints are kept when a new one is saved: at least 1. Damaged ones do not protect
    /// anybody: two are a minimum for most. One that [`latest`](Self::latest) has refused does not count.
    pub fn keep(mut self, checkpoints: usize) -> Folder {
        self.keep = checkpoints.max(1);
        self
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.files.path
    }

    /// Why the last [`save`](Self::save) could not remove an earlier checkpoint, if so. The
    /// checkpoint is saved all the same; the next one tries again.
    pub fn removal_error(&self) -> Option<String> {
        self.findings().removal.clone()
    }

    fn findings(&self) -> MutexGuard<'_, Findings> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves a checkpoint after a step. All ranks write at the same time, into a file that gets its name
    /// when everything is on the disk; earlier ones are removed then, but for those that are to be kept.
    /// Collective.
    ///
    /// A checkpoint of the same step is replaced. Checkpoints of later steps, which another run may have
    /// left, stay.
    ///
    /// # Errors
    /// The same on all ranks, and the earlier checkpoints are still there:
    /// [`Mismatch`](ErrorKind::Mismatch) if not all ranks are at the same step,
    /// [`InvalidLength`](ErrorKind::InvalidLength) if a part has two sections of a name,
    /// [`File`](ErrorKind::File) if a rank cannot write (which one, where, and what the system says),
    /// [`State`](ErrorKind::State) if the folder was opened to read. That an earlier one cannot be removed is
    /// none: [`removal_error`](Self::removal_error) tells.
    ///
    /// MPI: `MPI_Gatherv`, `MPI_Scatterv`, `MPI_Bcast`; the files are the system's.
    ///
    /// ```
    /// use phalanx::checkpoint::{Folder, Part};
    /// # let path = std::env::temp_dir().join(format!("phalanx-save-{}", std::process::id()));
    /// # let doc = path.clone();
    /// # phalanx::run(move |world| -> phalanx::Result<()> {
    /// let folder = Folder::open(&world, &path)?.keep(3);
    /// let mine = vec![world.rank() as f64; 1000];
    /// folder.save(250, Part::new().slice("cells", &mine).object("rate", &0.2)?)?;
    ///
    /// let saved = folder.latest()?.expect("one was saved");
    /// assert_eq!((saved.step(), saved.parts()), (250, world.size()));
    /// assert_eq!(saved.mine()?.slice::<f64>("cells")?, mine);
    /// # Ok(())
    /// # });
    /// # let _ = std::fs::remove_dir_all(doc);
    /// ```
    #[track_caller]
    pub fn save(&self, step: u64, part: &Part<'_>) -> Result<()> {
        let comm = &self.comm;
        let call = comm.call(&CHECKPOINT_SAVE, Location::caller());
        let _permit = raw::permit(&call)?;
        if !self.saves {
            let detail = format!("{} was opened to read", self.path().display());
            return Err(Error::new(ErrorKind::State, &call, detail));
        }
        let described = Described { step, sections: part.sections() };
        let plan = comm.gather_object(&described, 0)?.map(|all| self.plan(all));
        let begun: Option<Vec<Answer<(String, u64)>>> = plan.as_ref().map(|plan| match plan {
            Ok(plan) => plan.starts.iter().map(|&start| Ok((plan.name.clone(), start))).collect(),
            Err(refusal) => vec![Err(refusal.clone()); comm.size()],
        });
        let begun = comm.scatter_object(begun.as_deref(), 0)?;
        let (name, start) =
            begun.map_err(|(kind, detail)| Error::new(kind.into(), &call, detail))?;
        let unfinished = self.path().join(name);
        let written = write(&unfinished, start, part);
        let written = together(comm, written.map_err(Trouble::Unreadable))?;
        let outcome = match (written, plan) {
            (Some(written), Some(Ok(plan))) => {
                let done = written.map_err(Trouble::text).and_then(|()| {
                    self.complete(&call, &plan, &unfinished).map_err(|error| whose(comm, &error))
                });
                if done.is_err() {
                    // The disk may be full: what is of no use goes.
                    let _ = files::remove(&unfinished);
                }
                Some(done)
            }
            _ => None,
        };
        let outcome: Result<Option<String>, String> = comm.bcast_object(outcome, 0)?;
        let removal = outcome.map_err(|detail| Error::new(ErrorKind::File, &call, detail))?;
        let mut findings = self.findings();
        findings.refused.remove(&step);
        findings.removal = removal;
        Ok(())
    }

    /// The latest checkpoint that is whole; `None` if there are none. All ranks together read and verify
    /// every byte. Collective.
    ///
    /// # Errors
    /// [`Damaged`](ErrorKind::Damaged) if there are checkpoints but none is whole: to begin anew is for
    /// people to decide. [`File`](ErrorKind::File) if the folder, or a checkpoint in it that may be whole,
    /// cannot be read: no permission, no file descriptor left, a format of a newer version. To go back
    /// to an earlier one for that would lose work.
    ///
    /// MPI: `MPI_Bcast`, `MPI_Gatherv`.
    #[track_caller]
    pub fn latest(&self) -> Result<Option<Checkpoint>> {
        let comm = &self.comm;
        let call = comm.call(&CHECKPOINT_LATEST, Location::caller());
        let _permit = raw::permit(&call)?;
        // Somebody may save while we look, and remove what is in our list.
        const ATTEMPTS: usize = 10;
        let mut reason = String::new();
        for _ in 0..ATTEMPTS {
            match self.look(&call)? {
                Found::Changed(what) => reason = what,
                Found::None => return Ok(None),
                Found::Whole(checkpoint) => return Ok(Some(checkpoint)),
                Found::Damaged(refused) => {
                    let each = |it: &Refused| format!("\n  {}: {}", it.path.display(), it.reason);
                    let list: String = refused.iter().map(each).collect();
                    let detail = format!("none is whole:{list}");
                    return Err(Error::new(ErrorKind::Damaged, &call, detail));
                }
            }
        }
        let detail = format!("checkpoints are removed faster than they can be read: {reason}");
        Err(Error::new(ErrorKind::File, &call, detail))
    }

    /// Looks once for the latest checkpoint that is whole.
    #[track_caller]
    fn look(&self, call: &Call<'_>) -> Result<Found> {
        let comm = &self.comm;
        let list =
            (comm.rank() == 0).then(|| self.files.steps().map_err(|reason| whose(comm, &reason)));
        let steps: Result<BTreeSet<u64>, String> = comm.bcast_object(list, 0)?;
        let steps = steps.map_err(|detail| Error::new(ErrorKind::File, call, detail))?;
        let mut refused = Vec::new();
        for step in steps.into_iter().rev() {
            let path = self.files.checkpoint(step);
            match self.look_at(call, &path)? {
                Ok((file, table)) => {
                    let comm = comm.clone();
                    return Ok(Found::Whole(Checkpoint { comm, path, file, table, refused }));
                }
                Err(Trouble::Damaged(reason)) => {
                    self.findings().refused.insert(step);
                    refused.push(Refused { path, reason });
                }
                Err(Trouble::Changed(reason)) => return Ok(Found::Changed(reason)),
                Err(Trouble::Unreadable(reason)) => {
                    let detail = format!("{}: {reason}", path.display());
                    return Err(Error::new(ErrorKind::File, call, detail));
                }
            }
        }
        Ok(if refused.is_empty() { Found::None } else { Found::Damaged(refused) })
    }

    /// Reads a checkpoint on all ranks, or says why it is not whole.
    #[track_caller]
    fn look_at(&self, call: &Call<'_>, path: &Path) -> Result<Result<(File, Table), Trouble>> {
        let comm = &self.comm;
        let seen = (comm.rank() == 0).then(|| {
            let read = || {
                let file = files::open(path)
                    .map_err(|error| Trouble::of("it cannot be opened", &error))?;
                // In this order: the table tells best what is wrong.
                let table = format::read_table(call, &file)?;
                Ok((format::read_head(&file)?, table))
            };
            let seen: Result<_, Trouble> = read();
            seen.map_err(|trouble| changed(path, None, trouble).map(|reason| whose(comm, &reason)))
        });
        let seen: Result<(Vec<u8>, Table), Trouble> = comm.bcast_object(seen, 0)?;
        let (head, table) = match seen {
            Ok(seen) => seen,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let mine = self.verify(path, &head, &table);
        let outcome = together(comm, mine.as_ref().map(drop).map_err(Trouble::clone))?;
        let outcome = outcome.map(|all| all.map_err(|trouble| changed(path, Some(&head), trouble)));
        let outcome: Result<(), Trouble> = comm.bcast_object(outcome, 0)?;
        Ok(outcome.and(mine).map(|file| (file, table)))
    }

    /// Decides where each part goes, and makes the file.
    fn plan(&self, all: Vec<Described>) -> Answer<Plan> {
        let step = all[0].step;
        if let Some((rank, other)) = all.iter().enumerate().find(|(_, it)| it.step != step) {
            let detail = format!(
                "rank 0 is at step {step}, rank {rank} at step {}: a checkpoint is of one step",
                other.step
            );
            return Err((Refusal::Mismatch, detail));
        }
        let table = Table { step, parts: Vec::new() };
        let name = self.files.unfinished(step);
        let mut plan = Plan { name, starts: Vec::new(), table, end: ALIGNMENT };
        for (rank, Described { mut sections, .. }) in all.into_iter().enumerate() {
            let mut names = BTreeSet::new();
            if let Some(twice) = sections.iter().find(|it| !names.insert(it.name.as_str())) {
                let detail =
                    format!("rank {rank} has two sections that are called `{}`", twice.name);
                return Err((Refusal::Length, detail));
            }
            let start = plan.end;
            plan.starts.push(start);
            let too_long = || (Refusal::Length, "a file cannot be so long".to_owned());
            for section in &mut sections {
                section.offset += start;
                plan.end = section.offset.checked_add(section.length).ok_or_else(too_long)?;
            }
            plan.end = aligned(plan.end).ok_or_else(too_long)?;
            plan.table.parts.push(sections);
        }
        let unfinished = self.path().join(&plan.name);
        File::create_new(&unfinished).map_err(|error| {
            (Refusal::File, whose(&self.comm, &cannot("make", &unfinished, &error)))
        })?;
        Ok(plan)
    }

    /// Writes the table and, when that is on the disk, the head; then the file gets its name. Says why an
    /// earlier one cannot be removed.
    fn complete(
        &self,
        call: &Call<'_>,
        plan: &Plan,
        unfinished: &Path,
    ) -> Result<Option<String>, String> {
        let step = plan.table.step;
        let (table, head) =
            format::encode(call, &plan.table, plan.end).map_err(|error| error.to_string())?;
        let write = || {
            let file = OpenOptions::new().write(true).open(unfinished)?;
            file.write_all_at(&table, plan.end)?;
            file.sync_all()?;
            file.write_all_at(&head, 0)?;
            file.sync_all()
        };
        write().map_err(|error| cannot("write to", unfinished, &error))?;
        fs::rename(unfinished, self.files.checkpoint(step))
            .map_err(|error| cannot("rename", unfinished, &error))?;
        // The name, too, has to be on the disk.
        files::sync(self.path())?;
        let mut refused = self.findings().refused.clone();
        refused.remove(&step);
        Ok(self.files.remove_old(step, self.keep, &refused).err())
    }

    /// Reads every byte of this rank's share of the parts, in the file that rank 0 has seen.
    fn verify(&self, path: &Path, head: &[u8], table: &Table) -> Result<File, Trouble> {
        let file = files::open(path)
            .map_err(|error| Trouble::Unreadable(format!("it cannot be opened: {error}")))?;
        if format::read_head(&file)? != head {
            return Err(Trouble::Changed("it is not the one that rank 0 has seen".to_owned()));
        }
        let mine = table.parts.iter().skip(self.comm.rank()).step_by(self.comm.size());
        for section in mine.flatten() {
            format::verify(&file, section)?;
        }
        Ok(file)
    }
}

/// What a look at the folder has found.
enum Found {
    None,
    Whole(Checkpoint),
    /// None is whole.
    Damaged(Vec<Refused>),
    /// Somebody has removed or replaced one in the meantime.
    Changed(String),
}

/// What was wrong with a file, unless it is not the same file any more. `head`: how it began.
fn changed(path: &Path, head: Option<&[u8]>, trouble: Trouble) -> Trouble {
    let is_gone =
        fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let is_another = || {
        let now = files::open(path).ok().and_then(|file| format::read_head(&file).ok());
        head.is_some() && now.is_some() && now.as_deref() != head
    };
    if is_gone || is_another() { Trouble::Changed(trouble.text()) } else { trouble }
}

/// Writes this rank's part into the file that rank 0 has made.
fn write(unfinished: &Path, start: u64, part: &Part<'_>) -> Result<(), String> {
    let write = || {
        let file = OpenOptions::new().write(true).open(unfinished)?;
        let mut offset = start;
        for bytes in part.bytes() {
            file.write_all_at(bytes, offset)?;
            offset += bytes.len() as u64;
        }
        file.sync_all()
    };
    write().map_err(|error| cannot("write to", unfinished, &error))
}

/// Why rank 0 begins no file.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Refusal {
    Mismatch,
    Length,
    File,
}

type Answer<T> = Result<T, (Refusal, String)>;

impl From<Refusal> for ErrorKind {
    fn from(refusal: Refusal) -> ErrorKind {
        match refusal {
            Refusal::Mismatch => ErrorKind::Mismatch,
            Refusal::Length => ErrorKind::InvalidLength,
            Refusal::File => ErrorKind::File,
        }
    }
}

/// `rank 2 on node1: …`.
fn whose(comm: &Comm, what: &str) -> String {
    format!("rank {} on {}: {what}", comm.rank(), host::name())
}

/// How it went on all ranks, on rank 0. What cannot be read anywhere is not known to be damaged.
#[track_caller]
fn together(comm: &Comm, mine: Result<(), Trouble>) -> Result<Option<Result<(), Trouble>>> {
    const SHOWN: usize = 3;
    let mine = mine.map_err(|trouble| trouble.map(|reason| whose(comm, &reason)));
    Ok(comm.gather_object(&mine, 0)?.map(|all| {
        let failed: Vec<Trouble> = all.into_iter().filter_map(Result::err).collect();
        let is_damage = failed.iter().all(|it| matches!(it, Trouble::Damaged(_)));
        let is_change = failed.iter().any(|it| matches!(it, Trouble::Changed(_)));
        let reasons: Vec<String> = failed.into_iter().map(Trouble::text).collect();
        let reason = match reasons.len() {
            0 => return Ok(()),
            1..=SHOWN => reasons.join("; "),
            more => format!("{}; and {} more", reasons[..SHOWN].join("; "), more - SHOWN),
        };
        Err(match (is_change, is_damage) {
            (true, _) => Trouble::Changed(reason),
            (false, true) => Trouble::Damaged(reason),
            (false, false) => Trouble::Unreadable(reason),
        })
    }))
}
