//! A message that is longer than the room for it.

use phalanx::Result;
use phalanx::prelude::*;

use crate::case::{Case, case};

type Receive = fn(&Comm, &mut [i32]) -> Result<()>;

const RECEIVES: [(&str, Receive); 5] = [
    ("recv-into", |comm, room| comm.recv_into(room, 0).map(drop)),
    ("any-source", |comm, room| comm.recv_into(room, any()).map(drop)),
    ("irecv-into", |comm, room| comm.irecv_into(room.to_vec(), 0)?.wait().map(drop)),
    ("scope", |comm, room| comm.scope(|s| s.irecv_into(room, 0).map(drop))),
    ("probe", |comm, room| comm.probe(0)?.recv_into(room).map(drop)),
];

pub fn cases() -> Vec<Case> {
    let case_of = |(name, receive): (&str, Receive)| {
        case(format!("too-long-for-{name}"), 2, move |world, faulty| {
            match world.rank() {
                0 => world.send(&[1; 8], 1)?,
                _ => receive(world, &mut [0; 8][..if faulty { 5 } else { 8 }])?,
            }
            Ok(())
        })
        .explained(&["message truncated"])
    };
    let mut cases: Vec<Case> = RECEIVES.into_iter().map(case_of).collect();
    cases.push(
        case("too-long-for-one", 2, |world, faulty| {
            match world.rank() {
                0 => world.send(&[1; 2][..if faulty { 2 } else { 1 }], 1)?,
                _ => world.recv::<i32>(0).map(drop)?,
            }
            Ok(())
        })
        .explained(&["message truncated"]),
    );
    cases.push(
        case("too-long-for-sendrecv", 2, |world, faulty| {
            let (mine, other) = (if faulty && world.rank() == 0 { 8 } else { 4 }, 1 - world.rank());
            world.sendrecv_into(&vec![1; mine], other, &mut [0; 4], other)?;
            Ok(())
        })
        .explained(&["message truncated"]),
    );
    cases.push(
        case("too-long-and-large", 2, |world, faulty| {
            const LENGTH: usize = 1 << 20;
            match world.rank() {
                0 => world.send(&vec![1_u8; LENGTH], 1)?,
                _ => drop(world.recv_into(&mut vec![0_u8; LENGTH - usize::from(faulty)], 0)?),
            }
            Ok(())
        })
        .explained(&["message truncated"]),
    );
    cases
}
