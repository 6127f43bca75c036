//! What the watch costs: the same row in jobs with and without it, in turn.
//!
//! Whether calls are noted is decided when a job starts. So each job compares itself with C, and what is
//! compared here are the ratios of jobs that take turns.

use std::error::Error;
use std::path::Path;

use crate::row::Row;
use crate::statistics::median;
use crate::{Args, run_job};

const ON: &str = "watch on, ping-pong";
const STRICT: &str = "watch strict, ping-pong";
/// What the jobs measure.
const MEASURED: &str = "ping-pong, 8 B";
const BYTES: usize = 8;

pub fn rows(program: &Path, args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for (name, mode, goal) in [(ON, "on", 1.01), (STRICT, "strict", 100.0)] {
        if crate::row::label(name, BYTES).contains(&args.only) {
            rows.push(compare(program, args, name, mode, goal)?);
        }
    }
    Ok(rows)
}

fn compare(
    program: &Path,
    args: &Args,
    name: &str,
    mode: &str,
    goal: f64,
) -> Result<Row, Box<dyn Error>> {
    let rounds = if args.quick { 3 } else { 11 };
    let args = Args { quick: true, only: MEASURED.to_owned(), ..args.clone() };
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut turn = [(mode, &mut with), ("off", &mut without)];
        if round % 2 == 1 {
            turn.reverse();
        }
        for (mode, ratios) in turn {
            let rows = run_job(program, &args, 2, mode)?;
            let against_c = rows.iter().find(|row| row.reference == "C");
            ratios.push(against_c.ok_or("the job measured nothing")?.ratio);
        }
    }
    let (ours, reference_value) = (median(&with), median(&without));
    let ratio = ours / reference_value;
    Ok(Row {
        name: name.to_owned(),
        ranks: 2,
        bytes: BYTES,
        ours,
        reference: "watch off".to_owned(),
        reference_value,
        unit: "× C".to_owned(),
        ratio,
        goal,
        met: ratio <= goal,
    })
}
