//! Heat spreads over a square plate that is shared out on a grid of ranks.
//!
//! ```text
//! mpirun -n 4 target/release/heat --output heat.png
//! mpirun -n 4 target/release/heat --size 1000 --steps 1e4 --json
//! ```
//!
//! Each rank has a block of the plate. In every step it needs the cells along the edges of its
//! neighbours' blocks: they travel while it computes the cells that do not need them. The result has the
//! same bits as the serial one, which is computed as well, unless the plate is large.
//!
//! With `--checkpoint` a signal (SIGUSR1, SIGTERM) does not end it: all ranks agree on a step, write a
//! checkpoint and leave with exit code 85. With `--resume` it goes on from there, on any number of ranks.

mod picture;
mod saved;

use std::{fs, path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use phalanx::{Corners, Halo, Progress, prelude::*};
use serde::Serialize;

/// Spreads heat over a square plate on all ranks of an MPI job, with finite differences.
#[derive(Parser)]
#[command(
    name = "heat",
    version,
    after_help = "Examples:
  mpirun -n 4 heat                                   four ranks, a line for people
  mpirun -n 4 heat --output heat.png                 and a picture
  mpirun -n 6 heat --size 2000 --steps 1e4 --json    one JSON object, for scripts
  mpirun -n 4 heat --checkpoint saved --resume       goes on where it was told to stop

Exit codes: 0 done, 1 failed, 2 wrong arguments, 85 told to stop (SIGUSR1, SIGTERM), checkpoint written."
)]
struct Args {
    /// Cells along each side of the plate, from 1 to 20000
    #[arg(
        long,
        value_name = "N",
        default_value = "256",
        allow_negative_numbers = true,
        value_parser = examples::whole(1..=20_000)
    )]
    size: u64,
    /// Steps in time, from 0 to 1e9
    #[arg(
        long,
        value_name = "N",
        default_value = "2000",
        allow_negative_numbers = true,
        value_parser = examples::whole(0..=1_000_000_000)
    )]
    steps: u64,
    /// Write a picture of the result (PNG)
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a checkpoint into this folder when told to stop (SIGUSR1, SIGTERM), and leave with code 85
    #[arg(long, value_name = "FOLDER")]
    checkpoint: Option<PathBuf>,
    /// Also write one every STEPS steps
    #[arg(
        long,
        value_name = "STEPS",
        requires = "checkpoint",
        allow_negative_numbers = true,
        value_parser = examples::whole(1..=1_000_000_000)
    )]
    every: Option<u64>,
    /// Continue from the latest checkpoint, if there is one
    #[arg(long, requires = "checkpoint")]
    resume: bool,
    /// Print a JSON object: size, steps, ranks, grid, resumed_from, mean, identical, seconds
    #[arg(long)]
    json: bool,
    /// Do not compute the serial result to compare with
    #[arg(long)]
    no_check: bool,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

#[derive(Serialize)]
struct Report {
    size: u64,
    steps: u64,
    ranks: usize,
    grid: [usize; 2],
    /// The step of the checkpoint from which it went on.
    resumed_from: Option<u64>,
    /// Of all cells, in °C.
    mean: f64,
    /// Whether every bit is that of the serial result; `null` where that was not computed.
    identical: Option<bool>,
    seconds: f64,
}

/// The temperature of a cell after a step: it goes to the mean of its four neighbours.
#[inline(always)]
fn relax(north: f64, south: f64, west: f64, east: f64, here: f64) -> f64 {
    const RATE: f64 = 0.2; // stable up to 1/4
    here + RATE * (((north + south) + (west + east)) - 4.0 * here)
}

/// Cells in all steps up to which the serial result is computed as well.
const MOST_TO_CHECK: u64 = 2_000_000_000;

/// The temperature of a point at the beginning: a cold plate with three warm discs.
fn initial(x: f64, y: f64) -> f64 {
    let discs = [(0.30, 0.62, 0.14, 95.0), (0.68, 0.70, 0.09, 75.0), (0.62, 0.40, 0.11, 55.0)];
    let inside = |(cx, cy, radius, _): &(f64, f64, f64, f64)| {
        (x - cx).powi(2) + (y - cy).powi(2) < radius * radius
    };
    discs.iter().find(|disc| inside(disc)).map_or(10.0, |disc| disc.3)
}

/// The temperature at which the edges are kept: the north edge is heated in the middle.
fn north_edge(x: f64) -> f64 {
    100.0 * (std::f64::consts::PI * x).sin().powi(2)
}

/// A block of the plate with a ghost cell on each side: this rank's, or all of it.
struct Block {
    cells: Vec<f64>,
    rows: usize,
    columns: usize,
}

impl Block {
    /// `rows` × `columns` cells of a plate of `size` × `size`, from this cell on.
    fn new(size: u64, first: [usize; 2], rows: usize, columns: usize) -> Self {
        let wide = columns + 2;
        let mut cells = vec![0.0; (rows + 2) * wide];
        let at = |cell: usize| (cell as f64 + 0.5) / size as f64;
        for row in 0..rows {
            for column in 0..columns {
                cells[(row + 1) * wide + column + 1] =
                    initial(at(first[1] + column), at(first[0] + row));
            }
        }
        if first[0] == 0 {
            for column in 0..columns {
                cells[column + 1] = north_edge(at(first[1] + column));
            }
        }
        Block { cells, rows, columns }
    }

    /// Computes rows and columns of the next step, all counted from the first ghost cell.
    fn advance(&self, next: &mut [f64], rows: [usize; 2], columns: [usize; 2]) {
        let (now, wide) = (&self.cells, self.columns + 2);
        for row in rows[0]..rows[1] {
            for at in row * wide + columns[0]..row * wide + columns[1] {
                next[at] = relax(now[at - wide], now[at + wide], now[at - 1], now[at + 1], now[at]);
            }
        }
    }

    /// The cells without their ghosts.
    fn interior(&self) -> impl Iterator<Item = &[f64]> {
        let rows = self.cells.chunks_exact(self.columns + 2).skip(1).take(self.rows);
        rows.map(|row| &row[1..=self.columns])
    }
}

/// One step of this rank's block. Returns the seconds that it took without waiting.
fn step(halo: &Halo<f64>, block: &mut Block, next: &mut Vec<f64>) -> phalanx::Result<f64> {
    let (rows, columns, wide) = (block.rows, block.columns, block.columns + 2);
    let inner = halo.exchange_while(&mut block.cells, |interior| {
        let start = Instant::now();
        let rows = if columns < 3 { 0 } else { rows };
        for row in 1..rows.saturating_sub(1) {
            let [north, here, south] = [row - 1, row, row + 1].map(|row| interior.row(&[row]));
            let (north, south) = (&north[1..columns - 1], &south[1..columns - 1]);
            let start = (row + 1) * wide + 2;
            let line = &mut next[start..start + columns - 2];
            for (at, cell) in line.iter_mut().enumerate() {
                *cell = relax(north[at], south[at], here[at], here[at + 2], here[at + 1]);
            }
        }
        start.elapsed()
    })?;
    // What lies along the edges needed the neighbours.
    let start = Instant::now();
    block.advance(next, [1, 2], [1, columns + 1]);
    block.advance(next, [rows, rows + 1], [1, columns + 1]);
    block.advance(next, [2, rows.max(2)], [1, 2]);
    block.advance(next, [2, rows.max(2)], [columns, columns + 1]);
    std::mem::swap(&mut block.cells, next);
    Ok((inner + start.elapsed()).as_secs_f64())
}

/// The whole plate, by one rank.
fn serial(size: u64, steps: u64) -> Vec<f64> {
    let n = size as usize;
    let mut plate = Block::new(size, [0, 0], n, n);
    let mut next = plate.cells.clone();
    for _ in 0..steps {
        plate.advance(&mut next, [1, n + 1], [1, n + 1]);
        std::mem::swap(&mut plate.cells, &mut next);
    }
    plate.interior().collect::<Vec<_>>().concat()
}

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<ExitCode> {
    let args: Args = match examples::arguments(&world) {
        Ok(args) => args,
        Err(code) => return Ok(code),
    };
    let Args { size, steps, json, no_check, quiet, .. } = args;
    let output = args.output;
    let grid = world.cart(&[0, 0], &[false, false])?.expect("a free grid has room for all ranks");
    if grid.dims().iter().any(|&dim| dim as u64 > size) {
        let need = format!(
            "a plate of {size} × {size} cells has none for some of the {} × {} ranks",
            grid.dims()[0],
            grid.dims()[1]
        );
        return Ok(examples::refuse(&world, &need));
    }
    // Before all work: rank 0 will have to write there.
    let refused = output.as_ref().filter(|_| world.rank() == 0).and_then(|path| {
        let opened = fs::OpenOptions::new().append(true).create(true).open(path);
        opened.err().map(|error| error.to_string())
    });
    let refused: Option<String> = world.bcast_object(Some(refused), 0)?;
    if let Some(reason) = refused {
        return Ok(examples::fail(&world, &cannot_write(&output, &reason)));
    }

    let parts = grid.distribution(&[size as usize; 2])?;
    let (first, lengths) = (parts.ranges(), parts.block_shape());
    let [top, left] = [first[0].start, first[1].start];
    let mut block = Block::new(size, [top, left], lengths[0], lengths[1]);
    let mut next = block.cells.clone();
    let halo = grid.halo_with(lengths, &[(1, 1); 2], Corners::Skip)?;

    let mut saving = None;
    let mut begun = 0;
    if let Some(folder) = &args.checkpoint {
        let it = saved::Saving::open(&world, folder, args.every)?;
        match it.begin(size, steps, args.resume, &mut block, [top, left])? {
            Ok(step) => begun = step,
            Err(refusal) => return Ok(examples::refuse(&world, &refusal)),
        }
        saving = Some(it);
    }
    let resumed_from = (begun > 0).then_some(begun);

    let mut progress = if quiet { Progress::hidden() } else { Progress::new(&grid, steps)? };
    world.barrier()?;
    let start = phalanx::wtime();
    let mut busy = 0.0;
    for done in begun + 1..=steps {
        busy += step(&halo, &mut block, &mut next)?;
        progress.done(done, busy)?;
        if let Some(saving) = &saving
            && saving.after(done, size, &block, [top, left])?
        {
            progress.finish()?;
            return Ok(saved::leave(&world, done, steps));
        }
    }
    progress.finish()?;
    world.barrier()?;
    let seconds = phalanx::wtime() - start;

    let mut failure = None;
    let mine = block.interior().collect::<Vec<_>>().concat();
    if let Some(plate) = parts.gather(&mine, 0)? {
        let checked = !no_check && size * size * steps.max(1) <= MOST_TO_CHECK;
        let identical = checked.then(|| {
            let same = |(a, b): (&f64, &f64)| a.to_bits() == b.to_bits();
            serial(size, steps).iter().zip(&plate).all(same)
        });
        let mean = plate.iter().sum::<f64>() / plate.len() as f64;
        let dims = [grid.dims()[0], grid.dims()[1]];
        if json {
            let ranks = world.size();
            let report =
                Report { size, steps, ranks, grid: dims, resumed_from, mean, identical, seconds };
            println!("{}", serde_json::to_string(&report).expect("plain numbers"));
        } else {
            let verdict = match identical {
                Some(true) => "the same bits as the serial result",
                Some(false) => "NOT THE SERIAL RESULT",
                None => "not compared with the serial result",
            };
            println!(
                "{steps} steps of {size} × {size} cells on {} × {} ranks in {seconds:.3} s: mean \
                 {mean:.3} °C, {verdict}",
                dims[0], dims[1]
            );
        }
        assert_ne!(identical, Some(false), "the ranks have not computed what one alone computes");
        if let Some(path) = &output {
            let drawn = picture::draw(&plate, size as usize, steps, parts.dimensions());
            failure = drawn.save(path).err().map(|error| error.to_string());
        }
    }
    let failure: Option<String> = world.bcast_object(Some(failure), 0)?;
    if let Some(reason) = failure {
        return Ok(examples::fail(&world, &cannot_write(&output, &reason)));
    }
    drop((halo, parts));
    grid.free()?;
    Ok(ExitCode::SUCCESS)
}

fn cannot_write(path: &Option<PathBuf>, reason: &str) -> String {
    let path = path.as_ref().map_or_else(String::new, |path| path.display().to_string());
    format!("cannot write {path}: {reason}")
}
