//! Compares `phalanx-process` with Python's `multiprocessing`, in blocks that take turns.
//!
//! This program measures its own blocks, and asks `multiprocessing_peer.py` for Python's. It needs no MPI.

mod locks;
mod peer;
mod pools;
mod queues;
mod rows;
mod starts;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use peer::Peer;
use table::{Figures, Table};

/// Compares processes, queues and locks with Python's multiprocessing, in blocks that take turns.
#[derive(Parser)]
#[command(name = "bench process", version)]
struct Args {
    /// Shorter blocks: a fifth of the work
    #[arg(long)]
    quick: bool,
    /// Blocks of each side for each row
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    blocks: u32,
    /// The work of a block, compared with a full run: 0.01 only shows that it works
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    scale: f64,
    /// Only rows whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// The Python that is compared with
    #[arg(long, value_name = "PROGRAM")]
    python: Option<PathBuf>,
    /// Without Python: our figures alone
    #[arg(long)]
    no_python: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match compare(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let mut peer = match args.no_python {
        true => None,
        false => Some(Peer::start(args.python.clone())?),
    };
    let who = peer.as_ref().map_or("without Python", |peer| &peer.version);
    let cores = std::thread::available_parallelism()?;
    println!("{who}, {cores} cores, {} blocks each\n", args.blocks);

    let scale = args.scale * if args.quick { 0.2 } else { 1.0 };
    let scaled = |count: u64| ((count as f64 * scale) as u64).max(8);
    let mut table = Table::new();
    for row in rows::all().into_iter().filter(|row| row.name.contains(&args.only)) {
        let mut figures = Figures::default();
        for _ in 0..args.blocks {
            figures.add_ours((row.ours)(scaled(row.ours_count))?);
            if let Some(peer) = &mut peer
                && row.python != rows::NO_PYTHON
            {
                figures.add_theirs(peer.measure(row.python, scaled(row.python_count))?);
            }
            if let Some(reference) = row.reference {
                figures.add_theirs(reference(scaled(row.python_count))?);
            }
        }
        table.print(&row, &figures);
    }
    println!("\n{}", table.summary());
    Ok(())
}
