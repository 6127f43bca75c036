//! Objects: any `serde` value travels, with an enum, a map and nested vectors inside.
//!
//! Teaches: `send_object` and `recv_object`; the receiver names the type it expects, and a message
//! of another type is an error, not garbage. The same program in C, rsmpi and mpi4py is in
//! `docs/compare/`.
//!
//! ```text
//! mpirun -n 2 target/release/objects
//! ```
//!
//! In mpi4py: `comm.send(job, dest=1)`, `job = comm.recv(source=0)`.

use std::{collections::BTreeMap, process::ExitCode};

use phalanx::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    Circle { radius: f64 },
    Polygon(Vec<[f64; 2]>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    id: u64,
    shape: Shape,
    settings: BTreeMap<String, f64>,
    notes: Vec<Vec<String>>,
}

#[phalanx::main]
fn main(world: Comm) -> phalanx::Result<ExitCode> {
    examples::takes_no_arguments();
    if world.size() < 2 {
        return Ok(examples::refuse(&world, "objects needs 2 ranks: mpirun -n 2 objects"));
    }
    if world.rank() == 0 {
        let job = Job {
            id: 42,
            shape: Shape::Polygon(vec![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
            settings: BTreeMap::from([("tolerance".into(), 1e-9), ("steps".into(), 100.0)]),
            notes: vec![vec!["first".into(), "second".into()], vec![], vec!["third".into()]],
        };
        // [algorithm]
        world.send_object(&job, 1)?;
        let back: Job = world.recv_object(1)?;
        // [end]
        assert_eq!(back, job, "the job changed on its way");
        println!("the job came back unchanged");
    } else if world.rank() == 1 {
        // [algorithm]
        let job: Job = world.recv_object(0)?;
        world.send_object(&job, 0)?;
        // [end]
    }
    Ok(ExitCode::SUCCESS)
}
