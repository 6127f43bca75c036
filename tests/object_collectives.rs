//! Collective operations on objects, against what one rank alone would compute.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;

use phalanx::prelude::*;
use phalanx::{Codec, Error, Request, RequestSet, Result};
use serde::ser::Error as _;
use serde::{Deserialize, Serialize, Serializer};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Item {
    Nothing,
    Text(String),
    Table { rows: BTreeMap<String, Vec<f64>>, note: Option<String> },
}

/// What the rank gives in the round: the sizes differ between ranks, some are large.
fn item(rank: usize, round: usize) -> Item {
    match (rank + round) % 4 {
        0 => Item::Nothing,
        1 => Item::Text(format!("{rank}:{round}").repeat(rank + 1)),
        2 => Item::Text("ξ".repeat(100_000 + rank)),
        _ => Item::Table {
            rows: (0..rank + 1).map(|row| (row.to_string(), vec![row as f64; round])).collect(),
            note: round.is_multiple_of(2).then(|| "even".to_owned()),
        },
    }
}

fn items(size: usize, round: usize) -> Vec<Item> {
    (0..size).map(|rank| item(rank, round)).collect()
}

/// What rank `from` has for rank `to`.
fn letter(from: usize, to: usize) -> String {
    format!("{from} to {to} ").repeat(1 + from * 7 + if to == 1 { 5000 } else { 0 })
}

fn letters_from(world: &Comm, from: usize) -> Vec<String> {
    (0..world.size()).map(|to| letter(from, to)).collect()
}

/// Not commutative: shows every change of the order.
fn concat(a: String, b: String) -> String {
    a + &b
}

fn name(rank: usize) -> String {
    format!("<{rank}{}>", ".".repeat(rank % 3))
}

fn names(ranks: std::ops::Range<usize>) -> String {
    ranks.map(name).collect()
}

fn at<T>(world: &Comm, root: usize, value: T) -> Option<T> {
    (world.rank() == root).then_some(value)
}

#[phalanx::test(ranks = [1, 2, 3, 4, 7])]
fn blocking_collectives_of_objects_agree_with_a_serial_model(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for root in 0..size {
        let mine = item(rank, root);
        let given = at(&world, root, item(root, 3));
        assert_eq!(world.bcast_object(given, root)?, item(root, 3));
        let all = world.gather_object(&mine, root)?;
        assert_eq!(all, at(&world, root, items(size, root)));
        assert_eq!(world.allgather_object(&mine)?, items(size, root));
        let letters = letters_from(&world, root);
        let given = at(&world, root, &letters[..]);
        assert_eq!(world.scatter_object(given, root)?, letter(root, rank));
        let joined = world.reduce_object(name(rank), concat, root)?;
        assert_eq!(joined, at(&world, root, names(0..size)));
    }
    let inbox = world.alltoall_object(&letters_from(&world, rank))?;
    assert_eq!(inbox, (0..size).map(|from| letter(from, rank)).collect::<Vec<_>>());
    assert_eq!(world.allreduce_object(name(rank), concat)?, names(0..size));
    assert_eq!(world.scan_object(name(rank), concat)?, names(0..rank + 1));
    let before = world.exscan_object(name(rank), concat)?;
    assert_eq!(before, (rank > 0).then(|| names(0..rank)));

    // Large values along trees and chains.
    let large = |rank: usize| name(rank).repeat(1 << 16);
    let expected = |ranks: std::ops::Range<usize>| ranks.map(large).collect::<String>();
    assert!(world.allreduce_object(large(rank), concat)? == expected(0..size));
    let joined = world.reduce_object(large(rank), concat, size - 1)?;
    assert!(joined == at(&world, size - 1, expected(0..size)));
    assert!(world.scan_object(large(rank), concat)? == expected(0..rank + 1));
    assert!(world.exscan_object(large(rank), concat)?.unwrap_or_default() == expected(0..rank));

    // Other groups of ranks, beside each other.
    let half = world.split(Some((rank % 2) as u32), 0)?.expect("every rank has a color");
    let mine: Vec<usize> = (0..size).filter(|other| other % 2 == rank % 2).collect();
    assert_eq!(half.allgather_object(&rank)?, mine);
    assert_eq!(half.bcast_object(Some(rank), half.size() - 1)?, mine[mine.len() - 1]);
    let joined = half.ireduce_object(name(rank), concat, 0)?.wait()?;
    assert_eq!(joined, at(&half, 0, mine.iter().copied().map(name).collect()));
    half.free()
}

#[phalanx::test(ranks = [1, 2, 3, 5])]
fn collectives_of_objects_that_complete_later_agree_with_a_serial_model(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for root in 0..size {
        let given = at(&world, root, item(root, 3));
        assert_eq!(world.ibcast_object(given, root)?.wait()?, item(root, 3));
        let all = world.igather_object(item(rank, root), root)?.wait()?;
        assert_eq!(all, at(&world, root, items(size, root)));
        let all = world.iallgather_object(item(rank, root))?.wait()?;
        assert_eq!(all, items(size, root));
        let given = at(&world, root, letters_from(&world, root));
        assert_eq!(world.iscatter_object(given, root)?.wait()?, letter(root, rank));
        let joined = world.ireduce_object(name(rank), concat, root)?.wait()?;
        assert_eq!(joined, at(&world, root, names(0..size)));
    }
    let inbox = world.ialltoall_object(letters_from(&world, rank))?.wait()?;
    assert_eq!(inbox, (0..size).map(|from| letter(from, rank)).collect::<Vec<_>>());
    let mut joining = world.iallreduce_object(name(rank), concat)?;
    let joined = loop {
        if let Some(joined) = joining.test()? {
            break joined;
        }
    };
    assert_eq!(joined, names(0..size));
    Ok(())
}

/// Bytes of a string's message beside its text: the header and the length.
const AROUND_TEXT: usize = 32 + 8;

#[phalanx::test(ranks = [2, 3])]
fn broadcasts_of_every_size_around_the_first_packet_arrive(world: Comm) -> Result<()> {
    let around = |bytes: usize| (bytes - 3..=bytes + 3).map(|bytes| bytes - AROUND_TEXT);
    let lengths = around(1016).chain(around(1024)).chain(around(2048)).chain([0, 1, 8 << 20]);
    for (root, length) in (0..world.size()).cycle().zip(lengths) {
        let text: String = (0..length).map(|i| char::from(b'a' + (i % 23) as u8)).collect();
        let came: String = world.bcast_object(at(&world, root, text.clone()), root)?;
        assert!(came == text, "{length}");
        let came: String = world.ibcast_object(at(&world, root, text.clone()), root)?.wait()?;
        assert!(came == text, "{length}");
    }
    Ok(())
}

/// A value that may refuse to be encoded; a combination refuses if one of its parts does.
#[derive(Clone, Debug, PartialEq, Deserialize)]
enum Shy {
    Open(String),
    Refuses,
}

impl Serialize for Shy {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Shy::Open(text) => serializer.serialize_newtype_variant("Shy", 0, "Open", text),
            Shy::Refuses => Err(S::Error::custom("this value stays at home")),
        }
    }
}

fn shy(refuses: bool, rank: usize) -> Shy {
    if refuses { Shy::Refuses } else { Shy::Open(name(rank)) }
}

fn meet(a: Shy, b: Shy) -> Shy {
    match (a, b) {
        (Shy::Open(a), Shy::Open(b)) => Shy::Open(a + &b),
        _ => Shy::Refuses,
    }
}

/// On the rank to blame the error of the encoding, on the others one that says that there is another.
#[track_caller]
fn check_blame<T: Debug>(world: &Comm, result: Result<T>, blamed: usize) {
    let error = result.expect_err("a rank had no value");
    if world.rank() == blamed {
        assert!(error.is_encode(), "{error}");
        assert!(error.to_string().contains("this value stays at home"), "{error}");
    } else {
        assert!(error.is_mismatch(), "{error}");
    }
}

#[phalanx::test(ranks = [2, 3, 4])]
fn a_value_that_cannot_be_encoded_is_an_error_and_nobody_waits(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for blamed in 0..size {
        let mine = || shy(rank == blamed, rank);
        let one_of = |to: usize| (0..size).map(|other| shy(other == to, other)).collect::<Vec<_>>();
        // One of the values that the blamed rank has to give refuses.
        let outgoing = || one_of(if rank == blamed { (blamed + 1) % size } else { size });

        // Errors on all ranks.
        check_blame(&world, world.bcast_object(at(&world, blamed, Shy::Refuses), blamed), blamed);
        for root in 0..size {
            check_blame(&world, world.gather_object(&mine(), root), blamed);
        }
        check_blame(&world, world.allgather_object(&mine()), blamed);
        let given = outgoing();
        let given = at(&world, blamed, &given[..]);
        check_blame(&world, world.scatter_object(given, blamed), blamed);
        check_blame(&world, world.alltoall_object(&outgoing()), blamed);
        let refused = at(&world, blamed, Shy::Refuses);
        check_blame(&world, world.ibcast_object(refused, blamed)?.wait(), blamed);
        let given = at(&world, blamed, outgoing());
        check_blame(&world, world.iscatter_object(given, blamed)?.wait(), blamed);
        check_blame(&world, world.iallgather_object(mine())?.wait(), blamed);
        check_blame(&world, world.ialltoall_object(outgoing())?.wait(), blamed);
        check_blame(&world, world.allreduce_object(mine(), meet), blamed);
        check_blame(&world, world.iallreduce_object(mine(), meet)?.wait(), blamed);

        // Errors on those to whom the value would have gone.
        for root in 0..size {
            let result = world.reduce_object(mine(), meet, root);
            match result {
                Ok(None) => assert!(rank != root && rank != blamed),
                // The root's own value and what it makes of the others' go nowhere.
                Ok(Some(value)) => assert_eq!((blamed, root, value), (0, 0, Shy::Refuses)),
                Err(error) => assert!(error.is_encode() || error.is_mismatch(), "{error}"),
            }
            match world.igather_object(mine(), root)?.wait() {
                Ok(None) => assert!(rank != root && rank != blamed),
                Ok(Some(values)) => assert_eq!((values.len(), blamed, rank), (size, root, root)),
                Err(error) if rank == blamed => assert!(error.is_encode(), "{error}"),
                Err(error) => assert!(rank == root && error.is_mismatch(), "{error}"),
            }
        }
        let scanned = world.scan_object(mine(), meet);
        let before = world.exscan_object(mine(), meet);
        if rank < blamed {
            assert_eq!(scanned?, Shy::Open(names(0..rank + 1)));
            assert_eq!(before?, (rank > 0).then(|| Shy::Open(names(0..rank))));
        } else if rank > blamed {
            assert!(scanned.unwrap_err().is_mismatch());
            assert!(before.unwrap_err().is_mismatch());
        } else if rank + 1 < size {
            assert!(scanned.unwrap_err().is_encode());
            assert!(before.unwrap_err().is_encode());
        }

        // The ranks are in step, and no message of the above is mistaken for one of these.
        assert_eq!(world.allgather_object(&name(rank))?.concat(), names(0..size));
        assert_eq!(world.iallreduce_object(name(rank), concat)?.wait()?, names(0..size));
        assert_eq!(world.scan_object(name(rank), concat)?, names(0..rank + 1));
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn a_root_that_gives_too_little_is_an_error_on_all_ranks(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let check = |error: Error, guilty: bool| {
        assert!(if guilty { error.is_invalid_length() } else { error.is_mismatch() }, "{error}");
    };
    for root in 0..size {
        check(world.bcast_object(None::<String>, root).unwrap_err(), rank == root);
        check(world.ibcast_object(None::<String>, root)?.wait().unwrap_err(), rank == root);
        check(world.scatter_object(None::<&[u8]>, root).unwrap_err(), rank == root);
        check(world.iscatter_object(None::<Vec<u8>>, root)?.wait().unwrap_err(), rank == root);
        for wrong in [size - 1, size + 1] {
            let values = vec![1_u8; wrong];
            let given = at(&world, root, &values[..]);
            check(world.scatter_object(given, root).unwrap_err(), rank == root);
            let given = at(&world, root, values.clone());
            check(world.iscatter_object(given, root)?.wait().unwrap_err(), rank == root);
            let given = vec![1_u8; if rank == root { wrong } else { size }];
            check(world.alltoall_object(&given).unwrap_err(), rank == root);
            check(world.ialltoall_object(given)?.wait().unwrap_err(), rank == root);
        }
    }
    // What ranks other than the root give is of no importance.
    assert_eq!(world.bcast_object(Some(rank), size - 1)?, size - 1);
    assert_eq!(world.ibcast_object(Some(rank), size - 1)?.wait()?, size - 1);
    let values = vec![7_u8; size];
    assert_eq!(world.scatter_object(Some(&values[..]), 0)?, 7);
    for root in [size, usize::MAX] {
        for error in [
            world.bcast_object(Some(1), root).unwrap_err(),
            world.gather_object(&1, root).unwrap_err(),
            world.scatter_object(Some(&values[..]), root).unwrap_err(),
            world.reduce_object(1, |a, b| a + b, root).unwrap_err(),
            world.ibcast_object(Some(1), root).unwrap_err(),
            world.igather_object(1, root).unwrap_err(),
            world.iscatter_object(Some(values.clone()), root).unwrap_err(),
            world.ireduce_object(1, |a, b| a + b, root).unwrap_err(),
        ] {
            assert!(error.is_invalid_root(), "{error}");
        }
    }
    assert_eq!(world.allreduce_object(1, |a, b| a + b)?, size);
    Ok(())
}

fn add<T>(a: T, _: T) -> T {
    a
}

#[phalanx::test(ranks = [2, 3])]
fn ranks_that_disagree_about_the_type_hear_of_it(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    #[track_caller]
    fn refused<T>(result: Result<T>) {
        match result {
            Ok(_) => panic!("another type was taken"),
            Err(error) => assert!(error.is_type_mismatch() || error.is_mismatch(), "{error}"),
        }
    }
    // Rank 0 means text, the others numbers; large ones go in several packets.
    let text = "text".repeat(1000);
    if rank == 0 {
        world.bcast_object(Some(text.clone()), 0)?;
        world.ibcast_object(Some(text.clone()), 0)?.wait()?;
        refused(world.gather_object(&text, 0));
        refused(world.igather_object(text.clone(), 0)?.wait());
        refused(world.allgather_object(&text));
        refused(world.iallgather_object(text.clone())?.wait());
        world.scatter_object(Some(&vec![text.clone(); size][..]), 0)?;
        world.iscatter_object(Some(vec![text.clone(); size]), 0)?.wait()?;
        refused(world.alltoall_object(&vec![text.clone(); size]));
        refused(world.ialltoall_object(vec![text.clone(); size])?.wait());
        refused(world.reduce_object(text.clone(), add, 0));
        refused(world.ireduce_object(text.clone(), add, 0)?.wait());
        refused(world.allreduce_object(text.clone(), add));
        refused(world.iallreduce_object(text.clone(), add)?.wait());
        world.scan_object(text.clone(), add)?;
        world.exscan_object(text.clone(), add)?;
    } else {
        refused(world.bcast_object(None::<u64>, 0));
        refused(world.ibcast_object(None::<u64>, 0)?.wait());
        world.gather_object(&1_u64, 0)?;
        world.igather_object(1_u64, 0)?.wait()?;
        refused(world.allgather_object(&1_u64));
        refused(world.iallgather_object(1_u64)?.wait());
        refused(world.scatter_object(None::<&[u64]>, 0));
        refused(world.iscatter_object(None::<Vec<u64>>, 0)?.wait());
        refused(world.alltoall_object(&vec![1_u64; size]));
        refused(world.ialltoall_object(vec![1_u64; size])?.wait());
        world.reduce_object(1_u64, add, 0)?;
        world.ireduce_object(1_u64, add, 0)?.wait()?;
        refused(world.allreduce_object(1_u64, add));
        refused(world.iallreduce_object(1_u64, add)?.wait());
        refused(world.scan_object(1_u64, add));
        refused(world.exscan_object(1_u64, add));
    }
    assert_eq!(world.allgather_object(&name(rank))?.concat(), names(0..size));
    Ok(())
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Field {
    rank: u8,
    #[serde(with = "phalanx::plain")]
    values: Vec<f32>,
}

#[phalanx::test(ranks = 3)]
fn large_plain_fields_travel_in_collectives(world: Comm) -> Result<()> {
    let of = |rank: usize| Field { rank: rank as u8, values: vec![rank as f32; 40_000 + rank] };
    let (rank, size) = (world.rank(), world.size());
    let all: Vec<Field> = (0..size).map(of).collect();
    assert!(world.bcast_object(Some(of(rank)), 1)? == of(1));
    assert!(world.ibcast_object(Some(of(rank)), 2)?.wait()? == of(2));
    assert!(world.gather_object(&of(rank), 1)? == at(&world, 1, all.clone()));
    assert!(world.iallgather_object(of(rank))?.wait()? == all);
    assert!(world.scatter_object(Some(&all[..]), 0)? == of(rank));
    assert!(world.alltoall_object(&vec![of(rank); size])? == all);
    assert!(world.ialltoall_object(vec![of(rank); size])?.wait()? == all);
    let larger = |a: Field, b: Field| if b.values.len() > a.values.len() { b } else { a };
    assert!(world.allreduce_object(of(rank), larger)? == of(size - 1));
    assert!(world.scan_object(of(rank), larger)? == of(rank));
    Ok(())
}

#[phalanx::test(ranks = [1, 3, 4])]
fn several_in_flight_complete_in_whatever_order_each_rank_waits(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    // Each rank waits in an order of its own.
    let mut pending: Vec<(usize, Request<Vec<String>>)> = Vec::new();
    for round in 0..12 {
        let mine = format!("{round} {}", name(rank));
        let root = round % size;
        let request = match round % 5 {
            0 => world.ibcast_object(at(&world, root, mine), root)?.map(|text| vec![text]),
            1 => world.igather_object(mine, root)?.map(Option::unwrap_or_default),
            2 => world.iallgather_object(mine)?,
            3 => world.ialltoall_object(vec![mine; size])?,
            _ => world.iallreduce_object(mine, concat)?.map(|text| vec![text]),
        };
        pending.push((round, request));
    }
    // A blocking collective and a message meanwhile.
    assert_eq!(world.allreduce_object(1, |a, b| a + b)?, size);
    let next = (rank + 1) % size;
    world.sendrecv_object::<_, String>("between", next, any())?;
    pending.rotate_left(rank * 5 % 12);
    if rank % 2 == 1 {
        pending.reverse();
    }
    for (round, request) in pending {
        let of = |rank: usize| format!("{round} {}", name(rank));
        let root = round % size;
        let expected: Vec<String> = match round % 5 {
            0 => vec![of(root)],
            1 if rank != root => vec![],
            4 => vec![(0..size).map(of).collect()],
            _ => (0..size).map(of).collect(),
        };
        assert_eq!(request.wait()?, expected, "round {round}");
    }
    let set: RequestSet<Vec<usize>> =
        (0..5).map(|round| world.iallgather_object(rank * round)).collect::<Result<_>>()?;
    for (round, all) in set.wait_all()?.into_iter().enumerate() {
        assert_eq!(all, (0..size).map(|rank| rank * round).collect::<Vec<_>>());
    }
    Ok(())
}

#[phalanx::test(ranks = 4)]
fn a_rank_that_waits_for_something_else_first_holds_nobody_up(world: Comm) -> Result<()> {
    // Each in turn completes the collective only when all the others have.
    for last in 0..4 {
        for root in 0..4 {
            let given = at(&world, root, name(root));
            let bcast = world.ibcast_object(given, root)?;
            let gather = world.iallgather_object(world.rank())?;
            if world.rank() == last {
                for other in (0..4).filter(|&other| other != last) {
                    assert_eq!(world.recv::<usize>(other)?, other);
                }
            }
            assert_eq!(bcast.wait()?, name(root));
            assert_eq!(gather.wait()?, [0, 1, 2, 3]);
            if world.rank() != last {
                world.send(&world.rank(), last)?;
            }
        }
    }
    Ok(())
}

#[phalanx::test(ranks = 3)]
fn what_is_dropped_while_pending_holds_nobody_up(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for dropping in 0..size {
        for root in 0..size {
            let keep = rank != dropping;
            let bcast = world.ibcast_object(at(&world, root, name(root)), root)?;
            let gather = world.igather_object(name(rank), root)?;
            let scatter = world.iscatter_object(at(&world, root, vec![root; size]), root)?;
            let all = world.iallgather_object(name(rank))?;
            let inbox = world.ialltoall_object(vec![rank; size])?;
            let joined = world.iallreduce_object(name(rank), concat)?;
            if keep {
                assert_eq!(joined.wait()?, names(0..size));
                assert_eq!(inbox.wait()?, (0..size).collect::<Vec<_>>());
                assert_eq!(all.wait()?.concat(), names(0..size));
                assert_eq!(scatter.wait()?, root);
                assert_eq!(gather.wait()?.is_some(), rank == root);
                assert_eq!(bcast.wait()?, name(root));
            }
        }
    }
    // What follows meets nothing of what was left behind.
    for root in 0..size {
        assert_eq!(world.ibcast_object(at(&world, root, 1), root)?.wait()?, 1);
        assert_eq!(world.reduce_object(name(rank), concat, root)?.is_some(), rank == root);
    }
    assert_eq!(world.scan_object(name(rank), concat)?, names(0..rank + 1));
    world.barrier()
}

/// Tells its receivers how often it was serialised.
#[derive(Clone, Debug, Default, Deserialize)]
struct Counted(Cell<u32>);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.set(self.0.get() + 1);
        serializer.serialize_newtype_struct("Counted", &self.0)
    }
}

#[phalanx::test(ranks = 3)]
fn a_value_is_serialised_once_however_many_receive_it(world: Comm) -> Result<()> {
    let (me, size) = (world.rank(), world.size());
    let once = |value: &Counted| assert_eq!(value.0.get(), 1);
    let one = Counted::default;
    once(&world.bcast_object(Some(one()), 0)?);
    once(&world.ibcast_object(Some(one()), 0)?.wait()?);
    world.allgather_object(&one())?.iter().for_each(once);
    world.iallgather_object(one())?.wait()?.iter().for_each(once);
    once(&world.scatter_object(Some(&vec![one(); size][..]), 0)?);
    world.alltoall_object(&vec![one(); size])?.iter().for_each(once);
    // What stays on its rank need not be serialised at all.
    let mine = world.iscatter_object(at(&world, 0, vec![one(); size]), 0)?.wait()?;
    assert_eq!(mine.0.get(), u32::from(me > 0));
    for (from, value) in world.ialltoall_object(vec![one(); size])?.wait()?.iter().enumerate() {
        assert_eq!(value.0.get(), u32::from(from != me));
    }
    Ok(())
}

/// Another codec than the default one.
struct Json;

impl Codec for Json {
    const ID: u8 = 201;

    fn encode<T: Serialize + ?Sized>(
        value: &T,
        into: &mut Vec<u8>,
    ) -> std::result::Result<(), String> {
        serde_json::to_writer(into, value).map_err(|error| error.to_string())
    }

    fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> std::result::Result<T, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

#[phalanx::test(ranks = [1, 2, 3])]
fn every_collective_takes_another_codec(world: Comm) -> Result<()> {
    let (rank, size) = (world.rank(), world.size());
    // Only a format that describes itself can hold this.
    let of = |rank: usize| serde_json::json!({ "rank": rank, "more": [rank, "text"] });
    let all: Vec<_> = (0..size).map(of).collect();
    let last = |a: serde_json::Value, b: serde_json::Value| if b["rank"].is_u64() { b } else { a };
    let root = size - 1;
    let given = || at(&world, root, of(root));
    assert_eq!(world.bcast_object_with::<Json, _>(given(), root)?, of(root));
    assert_eq!(world.ibcast_object_with::<Json, _>(given(), root)?.wait()?, of(root));
    let gathered = at(&world, root, all.clone());
    assert_eq!(world.gather_object_with::<Json, _>(&of(rank), root)?, gathered);
    assert_eq!(world.igather_object_with::<Json, _>(of(rank), root)?.wait()?, gathered);
    assert_eq!(world.allgather_object_with::<Json, _>(&of(rank))?, all);
    assert_eq!(world.iallgather_object_with::<Json, _>(of(rank))?.wait()?, all);
    let given = (rank == root).then_some(&all[..]);
    assert_eq!(world.scatter_object_with::<Json, _>(given, root)?, of(rank));
    let given = at(&world, root, all.clone());
    assert_eq!(world.iscatter_object_with::<Json, _>(given, root)?.wait()?, of(rank));
    assert_eq!(world.alltoall_object_with::<Json, _>(&vec![of(rank); size])?, all);
    assert_eq!(world.ialltoall_object_with::<Json, _>(vec![of(rank); size])?.wait()?, all);
    let reduced = at(&world, root, of(root));
    assert_eq!(world.reduce_object_with::<Json, _>(of(rank), last, root)?, reduced);
    assert_eq!(world.ireduce_object_with::<Json, _>(of(rank), last, root)?.wait()?, reduced);
    assert_eq!(world.allreduce_object_with::<Json, _>(of(rank), last)?, of(root));
    assert_eq!(world.iallreduce_object_with::<Json, _>(of(rank), last)?.wait()?, of(root));
    assert_eq!(world.scan_object_with::<Json, _>(of(rank), last)?, of(rank));
    let before = world.exscan_object_with::<Json, _>(of(rank), last)?;
    assert_eq!(before, rank.checked_sub(1).map(of));
    let ring = world.cart(&[0], &[true])?.expect("every rank fits");
    let around: Vec<_> = ring.neighbors().iter().map(|it| it.map(of)).collect();
    assert_eq!(ring.neighbor_allgather_object_with::<Json, _>(&of(rank))?, around);
    let both = [of(rank), of(rank)];
    assert_eq!(ring.ineighbor_alltoall_object_with::<Json, _>(&both)?.wait()?, around);
    ring.free()
}
