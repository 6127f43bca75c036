//! A message of one type, received as another.

use phalanx::Result;
use phalanx::prelude::*;

use crate::case::{Case, case};

type Receive = fn(&Comm) -> Result<()>;

/// What the receiver does wrong, and right. Sizes agree, so that no library can know.
const PAIRS: [(&str, Receive, Receive); 7] = [
    ("recv", |comm| comm.recv::<Vec<u64>>(0).map(drop), |comm| comm.recv::<Vec<f64>>(0).map(drop)),
    (
        "recv-into",
        |comm| comm.recv_into(&mut [0_u64; 4], 0).map(drop),
        |comm| comm.recv_into(&mut [0_f64; 4], 0).map(drop),
    ),
    (
        "recv-narrower",
        |comm| comm.recv::<Vec<f32>>(0).map(drop),
        |comm| comm.recv::<Vec<f64>>(0).map(drop),
    ),
    (
        "any-source",
        |comm| comm.recv::<Vec<i64>>(any()).map(drop),
        |comm| comm.recv::<Vec<f64>>(any()).map(drop),
    ),
    (
        "probe",
        |comm| comm.probe(0)?.recv::<Vec<u64>>().map(drop),
        |comm| comm.probe(0)?.recv::<Vec<f64>>().map(drop),
    ),
    (
        "irecv",
        |comm| comm.irecv_at_most::<Vec<u64>>(4, 0)?.wait().map(drop),
        |comm| comm.irecv::<[f64; 4]>(0)?.wait().map(drop),
    ),
    (
        "irecv-into",
        |comm| comm.irecv_into(vec![0_u64; 4], 0)?.wait().map(drop),
        |comm| comm.irecv_into(vec![0_f64; 4], 0)?.wait().map(drop),
    ),
];

pub fn cases() -> Vec<Case> {
    let case_of = |(name, wrong, right): (&str, Receive, Receive)| {
        case(format!("type-in-{name}"), 2, move |world, faulty| {
            match world.rank() {
                0 => world.send(&[1.0_f64; 4], 1)?,
                _ if faulty => wrong(world)?,
                _ => right(world)?,
            }
            Ok(())
        })
        .harmless(&["type mismatch"])
    };
    let mut cases: Vec<Case> = PAIRS.into_iter().map(case_of).collect();
    cases.push(
        case("type-in-sendrecv", 2, |world, faulty| {
            let other = 1 - world.rank();
            if faulty && world.rank() == 1 {
                world.sendrecv_into(&[1_u64; 4], other, &mut [0_u64; 4], other)?;
            } else {
                world.sendrecv_into(&[1_f64; 4], other, &mut [0_f64; 4], other)?;
            }
            Ok(())
        })
        .harmless(&["type mismatch"]),
    );
    // Here the sizes tell.
    cases.push(
        case("type-of-no-whole-number", 2, |world, faulty| {
            match world.rank() {
                0 => world.send(&[1_u8; 12][..if faulty { 12 } else { 8 }], 1)?,
                _ if faulty => world.recv::<Vec<f64>>(0).map(drop)?,
                _ => world.recv::<Vec<u8>>(0).map(drop)?,
            }
            Ok(())
        })
        .explained(&["type mismatch"]),
    );
    cases
}
