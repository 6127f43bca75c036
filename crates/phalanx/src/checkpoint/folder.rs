//! A folder of checkpoints: saving, and finding the latest one that is whole.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::Location;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::format::{self, PAGE, Section, Table, page_after};
use super::part::Part;
use super::saved::{Checkpoint, Refused};
use crate::comm::Comm;
use crate::error::{Error, ErrorKind, Result};
use crate::host;
use crate::record::{CHECKPOINT_LATEST, CHECKPOINT_OPEN, CHECKPOINT_SAVE, Call};

const EXTENSION: &str = "phxckpt";

/// The checkpoints of one program, in a folder that the hosts of all ranks share.
///
/// One job at a time uses a folder. A checkpoint is the file `step-000000000250.phxckpt`; the latest two
/// are kept unless [`keep`](Self::keep) says otherwise.
pub struct Folder {
    comm: Comm,
    path: PathBuf,
    keep: usize,
}

/// What rank 0 has to know of each part before it is written.
#[derive(Serialize, Deserialize)]
struct Described {
    step: u64,
    sections: Vec<Section>,
}

/// Where everything will be. Of the sections of a part the offsets are from the start of the file.
struct Plan {
    starts: Vec<u64>,
    table: Table,
    end: u64,
}

impl Folder {
    /// Opens a folder, or makes it. Removes what a job left behind that was ended while it saved.
    /// Collective: all ranks that will save together give the same folder.
    ///
    /// # Errors
    /// On all ranks [`File`](ErrorKind::File) if it is no folder in which rank 0 can write, or one that
    /// not all ranks see.
    ///
    /// MPI: `MPI_Bcast`, `MPI_Gatherv`.
    #[track_caller]
    pub fn open(comm: &Comm, path: impl Into<PathBuf>) -> Result<Folder> {
        let folder = Folder { comm: comm.clone(), path: path.into(), keep: 2 };
        let call = comm.call(&CHECKPOINT_OPEN, Location::caller());
        let at_root = (comm.rank() == 0).then(|| folder.prepare().map_err(|it| whose(comm, &it)));
        let mark: Result<String, String> = comm.bcast_object(at_root, 0)?;
        let seen = mark.as_ref().map_err(String::clone).and_then(|mark| {
            fs::metadata(folder.path.join(mark)).map(drop).map_err(|error| {
                let path = folder.path.display();
                format!("{path}, which rank 0 has opened, is not there: the hosts must share it ({error})")
            })
        });
        let outcome = together(comm, seen)?;
        if let (Ok(mark), 0) = (&mark, comm.rank()) {
            // A mark that stays is in nobody's way.
            let _ = fs::remove_file(folder.path.join(mark));
        }
        let outcome: Result<(), String> = comm.bcast_object(outcome, 0)?;
        outcome
            .map_err(|detail| Error::new(ErrorKind::File, &call, mark.err().unwrap_or(detail)))?;
        Ok(folder)
    }

    /// How many checkpoints are kept when a new one is saved: at least 1. Damaged ones do not protect
    /// anybody: two are a minimum for most.
    pub fn keep(mut self, checkpoints: usize) -> Folder {
        self.keep = checkpoints.max(1);
        self
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
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
    /// [`File`](ErrorKind::File) if a rank cannot write (which one, where, and what the system says).
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
        let described = Described { step, sections: part.sections() };
        let plan = comm.gather_object(&described, 0)?.map(|all| self.plan(all));
        let starts: Option<Vec<Answer<u64>>> = plan.as_ref().map(|plan| match plan {
            Ok(plan) => plan.starts.iter().map(|&start| Ok(start)).collect(),
            Err(refusal) => vec![Err(refusal.clone()); comm.size()],
        });
        let start = comm.scatter_object(starts.as_deref(), 0)?;
        let start = start.map_err(|(kind, detail)| Error::new(kind.into(), &call, detail))?;
        let written = self.write(step, start, part).map_err(|error| self.cannot_write(&error));
        let written = together(comm, written)?;
        let outcome = match (written, plan) {
            (Some(written), Some(Ok(plan))) => {
                let done = written.and_then(|()| {
                    self.complete(&call, &plan).map_err(|error| whose(comm, &error))
                });
                if done.is_err() {
                    // The disk may be full: what is of no use goes.
                    let _ = fs::remove_file(self.unfinished(step));
                }
                Some(done)
            }
            _ => None,
        };
        let outcome: Result<(), String> = comm.bcast_object(outcome, 0)?;
        outcome.map_err(|detail| Error::new(ErrorKind::File, &call, detail))
    }

    /// The latest checkpoint that is whole; `None` if there are none. All ranks together read and verify
    /// every byte. Collective.
    ///
    /// # Errors
    /// [`Damaged`](ErrorKind::Damaged) if there are checkpoints but none is whole: to begin anew is for
    /// people to decide. [`File`](ErrorKind::File) if the folder cannot be read.
    ///
    /// MPI: `MPI_Bcast`, `MPI_Gatherv`.
    #[track_caller]
    pub fn latest(&self) -> Result<Option<Checkpoint>> {
        let comm = &self.comm;
        let call = comm.call(&CHECKPOINT_LATEST, Location::caller());
        let list = (comm.rank() == 0).then(|| {
            self.list().map_err(|error| whose(comm, &format!("{}: {error}", self.path.display())))
        });
        let steps: Result<BTreeSet<u64>, String> = comm.bcast_object(list, 0)?;
        let steps = steps.map_err(|detail| Error::new(ErrorKind::File, &call, detail))?;
        let mut refused = Vec::new();
        for step in steps.into_iter().rev() {
            let path = self.file(step);
            match self.look_at(&call, &path)? {
                Ok((file, table)) => {
                    return Ok(Some(Checkpoint { comm: comm.clone(), path, file, table, refused }));
                }
                Err(reason) => refused.push(Refused { path, reason }),
            }
        }
        if refused.is_empty() {
            return Ok(None);
        }
        let each = |it: &Refused| format!("\n  {}: {}", it.path.display(), it.reason);
        let detail = format!("none is whole:{}", refused.iter().map(each).collect::<String>());
        Err(Error::new(ErrorKind::Damaged, &call, detail))
    }

    /// Reads a checkpoint on all ranks, or says why it is not whole.
    #[track_caller]
    fn look_at(&self, call: &Call<'_>, path: &Path) -> Result<Result<(File, Table), String>> {
        let comm = &self.comm;
        let table = (comm.rank() == 0).then(|| {
            let read = || format::read_table(call, &open(path)?);
            read().map_err(|reason| whose(comm, &reason))
        });
        let table: Result<Table, String> = comm.bcast_object(table, 0)?;
        let table = match table {
            Ok(table) => table,
            Err(reason) => return Ok(Err(reason)),
        };
        let mine = self.verify(path, &table);
        let outcome = together(comm, mine.as_ref().map(drop).map_err(String::clone))?;
        let outcome: Result<(), String> = comm.bcast_object(outcome, 0)?;
        Ok(outcome.and(mine).map(|file| (file, table)))
    }

    fn file(&self, step: u64) -> PathBuf {
        self.path.join(format!("step-{step:012}.{EXTENSION}"))
    }

    /// The name of a checkpoint that is being written.
    fn unfinished(&self, step: u64) -> PathBuf {
        self.path.join(format!("step-{step:012}.{EXTENSION}.unfinished"))
    }

    /// The steps of all checkpoints, in their order.
    fn list(&self) -> io::Result<BTreeSet<u64>> {
        let mut steps = BTreeSet::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let step: Option<u64> = name.to_str().and_then(|name| {
                name.strip_prefix("step-")?.strip_suffix(EXTENSION)?.strip_suffix('.')?.parse().ok()
            });
            steps.extend(step);
        }
        Ok(steps)
    }

    /// Makes the folder, removes what was never finished, and leaves a file by which the others see
    /// that it is the same folder. Gives its name.
    fn prepare(&self) -> Result<String, String> {
        let told = |error: io::Error| format!("{}: {error}", self.path.display());
        fs::create_dir_all(&self.path).map_err(told)?;
        for entry in fs::read_dir(&self.path).map_err(told)? {
            let entry = entry.map_err(told)?;
            let name = entry.file_name();
            let is_ours = |name: &str| {
                name.starts_with("step-") && name.ends_with(&format!(".{EXTENSION}.unfinished"))
            };
            if name.to_str().is_some_and(is_ours) {
                fs::remove_file(entry.path()).map_err(told)?;
            }
        }
        let mark = format!(".shared-{}-{}", host::name(), std::process::id());
        File::create(self.path.join(&mark)).map_err(told)?;
        Ok(mark)
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
        let mut plan =
            Plan { starts: Vec::new(), table: Table { step, parts: Vec::new() }, end: PAGE };
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
            plan.end = page_after(plan.end).ok_or_else(too_long)?;
            plan.table.parts.push(sections);
        }
        let unfinished = self.unfinished(step);
        File::create(&unfinished)
            .map_err(|error| (Refusal::File, whose(&self.comm, &self.cannot_write(&error))))?;
        Ok(plan)
    }

    /// Writes this rank's part into the file that rank 0 has made.
    fn write(&self, step: u64, start: u64, part: &Part<'_>) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.unfinished(step))?;
        let mut offset = start;
        for bytes in part.bytes() {
            file.write_all_at(bytes, offset)?;
            offset += bytes.len() as u64;
        }
        file.sync_all()
    }

    /// Writes the table and, when that is on the disk, the head; then the file gets its name.
    fn complete(&self, call: &Call<'_>, plan: &Plan) -> Result<(), String> {
        let step = plan.table.step;
        let unfinished = self.unfinished(step);
        let (table, head) =
            format::encode(call, &plan.table, plan.end).map_err(|error| error.to_string())?;
        let write = || {
            let file = OpenOptions::new().write(true).open(&unfinished)?;
            file.write_all_at(&table, plan.end)?;
            file.sync_all()?;
            file.write_all_at(&head, 0)?;
            file.sync_all()?;
            fs::rename(&unfinished, self.file(step))?;
            // The name, too, has to be on the disk.
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|error| self.cannot_write(&error))?;
        self.remove_old(step).map_err(|error| {
            let path = self.path.display();
            format!("step {step} is saved, but an earlier one in {path} cannot be removed: {error}")
        })
    }

    fn remove_old(&self, step: u64) -> io::Result<()> {
        let earlier: Vec<u64> = self.list()?.range(..=step).copied().collect();
        for &old in earlier.iter().rev().skip(self.keep) {
            fs::remove_file(self.file(old))?;
        }
        Ok(())
    }

    /// Reads every byte of this rank's share of the parts.
    fn verify(&self, path: &Path, table: &Table) -> Result<File, String> {
        let file = open(path)?;
        let mine = table.parts.iter().skip(self.comm.rank()).step_by(self.comm.size());
        for section in mine.flatten() {
            format::verify(&file, section)?;
        }
        Ok(file)
    }

    fn cannot_write(&self, error: &io::Error) -> String {
        format!("cannot write to {}: {error}", self.path.display())
    }
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

fn open(path: &Path) -> Result<File, String> {
    File::open(path).map_err(|error| format!("cannot be opened: {error}"))
}

/// `rank 2 on node1: …`.
fn whose(comm: &Comm, what: &str) -> String {
    format!("rank {} on {}: {what}", comm.rank(), host::name())
}

/// How it went on all ranks, on rank 0.
#[track_caller]
fn together(comm: &Comm, mine: Result<(), String>) -> Result<Option<Result<(), String>>> {
    const SHOWN: usize = 3;
    let mine = mine.map_err(|reason| whose(comm, &reason));
    Ok(comm.gather_object(&mine, 0)?.map(|all| {
        let failed: Vec<String> = all.into_iter().filter_map(Result::err).collect();
        match failed.len() {
            0 => Ok(()),
            1..=SHOWN => Err(failed.join("; ")),
            more => Err(format!("{}; and {} more", failed[..SHOWN].join("; "), more - SHOWN)),
        }
    }))
}
