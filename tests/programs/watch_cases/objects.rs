//! Messages of any type, of which the two sides have different ideas.

use crate::case::{Case, case};

const TYPE: &[&str] = &["type mismatch"];

pub fn cases() -> Vec<Case> {
    vec![
        case("object-of-another-type", 2, |world, faulty| {
            match world.rank() {
                0 => world.send_object(&7_u32, 1)?,
                _ if faulty => drop(world.recv_object::<String>(0)?),
                _ => drop(world.recv_object::<u32>(0)?),
            }
            Ok(())
        })
        .explained(TYPE),
        case("irecv-object-of-another-type", 2, |world, faulty| {
            match world.rank() {
                0 => world.send_object(&vec![1_u8, 2], 1)?,
                _ if faulty => drop(world.irecv_object::<Vec<u16>>(0)?.wait()?),
                _ => drop(world.irecv_object::<Vec<u8>>(0)?.wait()?),
            }
            Ok(())
        })
        .explained(TYPE),
        case("elements-received-as-object", 2, |world, faulty| {
            match world.rank() {
                0 if faulty => world.send(&[7_u32; 8], 1)?,
                0 => world.send_object(&7_u32, 1)?,
                _ => drop(world.recv_object::<u32>(0)?),
            }
            Ok(())
        })
        .explained(&["type mismatch", "damaged message"]),
        case("object-received-as-bytes", 2, |world, faulty| {
            match world.rank() {
                0 if faulty => world.send_object(&7_u32, 1)?,
                0 => world.send(&[7_u8; 4], 1)?,
                _ => drop(world.recv::<Vec<u8>>(0)?),
            }
            Ok(())
        })
        .explained(TYPE),
        case("bcast-object-of-another-type", 2, |world, faulty| {
            if faulty && world.rank() == 1 {
                world.bcast_object::<String>(None, 0)?;
            } else {
                world.bcast_object::<u32>((world.rank() == 0).then_some(7), 0)?;
            }
            Ok(())
        })
        .explained(TYPE)
        .in_strict(&["type mismatch", "different type"]),
        case("gather-object-of-another-type", 2, |world, faulty| {
            if faulty && world.rank() == 1 {
                world.gather_object(&"text".to_owned(), 0)?;
            } else {
                world.gather_object(&7_u32, 0)?;
            }
            Ok(())
        })
        .explained(TYPE)
        .in_strict(&["type mismatch", "different type"]),
        case("scatter-object-of-too-few", 2, |world, faulty| {
            let all = [1, 2];
            let given = &all[..if faulty { 1 } else { 2 }];
            world.scatter_object((world.rank() == 0).then_some(given), 0)?;
            Ok(())
        })
        .explained(&["invalid length", "could not give the values"]),
    ]
}
