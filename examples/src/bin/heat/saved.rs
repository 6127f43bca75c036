//! Checkpoints of the plate: each rank saves its block, and reads from others' what its own needs.

use std::{path::Path, process::ExitCode};

use phalanx::{
    checkpoint::{Folder, Part},
    prelude::*,
    signal::{Signal, Signals},
};
use serde::{Deserialize, Serialize};

use crate::Block;

/// Told to stop, and ready to go on: what a batch script takes as the request to start it again.
const AGAIN: u8 = 85;
/// Steps between two questions whether anybody was told to stop.
const ASK_EVERY: u64 = 16;

/// The cells that a rank has.
#[derive(Serialize, Deserialize)]
struct Place {
    size: u64,
    first: [usize; 2],
    rows: usize,
    columns: usize,
}

pub struct Saving {
    comm: Comm,
    folder: Folder,
    signals: Signals,
    every: Option<u64>,
}

impl Saving {
    pub fn open(world: &Comm, folder: &Path, every: Option<u64>) -> phalanx::Result<Self> {
        let signals = Signals::watch(&[Signal::Usr1, Signal::Term])?;
        Ok(Saving { comm: world.clone(), folder: Folder::open(world, folder)?, signals, every })
    }

    /// The step from which to go on, with the cells of the block as they were then; or why not.
    pub fn begin(
        &self,
        size: u64,
        steps: u64,
        resume: bool,
        block: &mut Block,
        first: [usize; 2],
    ) -> phalanx::Result<Result<u64, String>> {
        let Some(saved) = self.folder.latest()? else { return Ok(Ok(0)) };
        if self.comm.rank() == 0 {
            for refused in saved.refused() {
                eprintln!("warning: {}: {}", refused.path.display(), refused.reason);
            }
        }
        let (path, step) = (saved.path().display(), saved.step());
        if !resume {
            return Ok(Err(format!(
                "{path} is a checkpoint of step {step}: give --resume to go on from there, or an empty \
                 folder to begin anew"
            )));
        }
        let of_size = saved.part(0)?.object::<Place>("place")?.size;
        if of_size != size {
            return Ok(Err(format!(
                "{path} is of a plate of {of_size} × {of_size} cells, not {size} × {size}"
            )));
        }
        if step > steps {
            return Ok(Err(format!("{path} is of step {step}, after the last one, {steps}")));
        }
        let place = |rank: usize| saved.part(rank)?.object::<Place>("place");
        let places = (0..saved.parts()).map(place).collect::<phalanx::Result<Vec<Place>>>()?;
        let cells_of = |place: &Place| {
            let is_inside = |first: usize, length: usize| {
                first.checked_add(length).is_some_and(|end| end as u64 <= size)
            };
            let inside =
                is_inside(place.first[0], place.rows) && is_inside(place.first[1], place.columns);
            inside.then_some(place.rows as u64 * place.columns as u64)
        };
        if places.iter().map(cells_of).sum::<Option<u64>>() != Some(size * size) {
            return Ok(Err(format!("{path} has blocks that do not make up a plate")));
        }
        for (rank, place) in places.iter().enumerate() {
            let rows = common([first[0], block.rows], [place.first[0], place.rows]);
            let columns = common([first[1], block.columns], [place.first[1], place.columns]);
            if rows.is_empty() || columns.is_empty() {
                continue;
            }
            let mut cells = vec![0.0; place.rows * place.columns];
            saved.part(rank)?.read_into("cells", &mut cells)?;
            for row in rows {
                let theirs = (row - place.first[0]) * place.columns;
                let mine = (row - first[0] + 1) * (block.columns + 2) + 1;
                block.cells[mine + columns.start - first[1]..mine + columns.end - first[1]]
                    .copy_from_slice(
                        &cells[theirs + columns.start - place.first[1]
                            ..theirs + columns.end - place.first[1]],
                    );
            }
        }
        Ok(Ok(step))
    }

    /// Saves after a step if it is time to. Whether somebody was told to stop.
    pub fn after(
        &self,
        step: u64,
        size: u64,
        block: &Block,
        first: [usize; 2],
    ) -> phalanx::Result<bool> {
        let stop = step.is_multiple_of(ASK_EVERY) && self.signals.agreed(&self.comm)?.is_some();
        if stop || self.every.is_some_and(|every| step.is_multiple_of(every)) {
            let cells = block.interior().collect::<Vec<_>>().concat();
            let place = Place { size, first, rows: block.rows, columns: block.columns };
            self.folder.save(step, Part::new().slice("cells", &cells).object("place", &place)?)?;
        }
        Ok(stop)
    }
}

/// The rows or columns that two blocks have in common, each given as the first and how many.
fn common(a: [usize; 2], b: [usize; 2]) -> std::ops::Range<usize> {
    a[0].max(b[0])..(a[0] + a[1]).min(b[0] + b[1])
}

/// Says once what to do next, and gives the exit code.
pub fn leave(world: &Comm, step: u64, steps: u64) -> ExitCode {
    if world.rank() == 0 {
        // In one piece: launchers put a label before each that is written.
        let told =
            format!("told to stop: step {step} of {steps} is saved; --resume goes on from there\n");
        eprint!("{told}");
    }
    match world.barrier() {
        Ok(()) => ExitCode::from(AGAIN),
        Err(_) => ExitCode::FAILURE,
    }
}
