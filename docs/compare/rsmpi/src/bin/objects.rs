//! A nested object travels to rank 1 and back: `mpirun -n 2 target/release/objects`

use std::collections::BTreeMap;

use mpi::topology::{Process, SimpleCommunicator};
use mpi::traits::*;
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

// [algorithm]
fn send_job(job: &Job, to: &Process) {
    let bytes = bincode::serde::encode_to_vec(job, bincode::config::standard()).unwrap();
    to.send(&bytes[..]);
}

fn recv_job(from: &Process) -> Job {
    let (bytes, _status) = from.receive_vec::<u8>();
    let (job, used) =
        bincode::serde::decode_from_slice(&bytes, bincode::config::standard()).unwrap();
    assert_eq!(used, bytes.len(), "bytes after the job");
    job
}
// [end]

fn main() {
    let universe = mpi::initialize().unwrap();
    let world: SimpleCommunicator = universe.world();
    if world.rank() == 0 {
        let job = Job {
            id: 42,
            shape: Shape::Polygon(vec![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
            settings: BTreeMap::from([("tolerance".into(), 1e-9), ("steps".into(), 100.0)]),
            notes: vec![vec!["first".into(), "second".into()], vec![], vec!["third".into()]],
        };
        // [algorithm]
        send_job(&job, &world.process_at_rank(1));
        let back = recv_job(&world.process_at_rank(1));
        // [end]
        assert_eq!(back, job, "the job changed on its way");
        println!("the job came back unchanged");
    } else if world.rank() == 1 {
        // [algorithm]
        let job = recv_job(&world.process_at_rank(0));
        send_job(&job, &world.process_at_rank(0));
        // [end]
    }
}
