//! Sends and receives that start and complete together, shifts and swaps.

use phalanx::prelude::*;
use phalanx::{ErrorKind, Status};
use serde::{Deserialize, Serialize};

/// Longer than what any transport sends before the receiver has asked for it.
const LARGE: usize = 300_000;

fn right(world: &Comm) -> usize {
    (world.rank() + 1) % world.size()
}

fn left(world: &Comm) -> usize {
    (world.rank() + world.size() - 1) % world.size()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    name: String,
    steps: Vec<u32>,
}

fn task(rank: usize) -> Task {
    Task { name: format!("task of rank {rank}"), steps: vec![rank as u32; rank] }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Recording {
    title: String,
    #[serde(with = "phalanx::plain")]
    samples: Vec<f64>,
}

fn recording(rank: usize) -> Recording {
    Recording { title: format!("rank {rank}"), samples: vec![rank as f64; 50_000] }
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5, 6, 7, 8, 9])]
fn no_order_of_the_lines_waits_for_ever(world: Comm) -> phalanx::Result<()> {
    let (me, right, left) = (world.rank(), right(&world), left(&world));
    // Each number is one order of two sends and two receives, of messages that wait for their receivers.
    let orders =
        [[0, 1, 2, 3], [2, 3, 0, 1], [0, 2, 1, 3], [2, 0, 3, 1], [1, 3, 2, 0], [3, 1, 0, 2]];
    for (number, order) in orders.iter().enumerate() {
        // Neighbours have their lines in different orders.
        let order = orders[(number + me) % orders.len()]
            .map(|line| if number % 2 == 0 { line } else { order[line] });
        let (up, down) = (vec![me as f64; LARGE], vec![me as f64 + 0.5; LARGE]);
        let (mut from_left, mut from_right) = (vec![-1.0; LARGE], vec![-1.0; LARGE]);
        let mut receives = [Some(&mut from_left), Some(&mut from_right)];
        let got = world.exchange(|x| {
            for line in order {
                match line {
                    0 => x.send(&up, to(right).tag(1)),
                    1 => x.send(&down, to(left).tag(2)),
                    2 => x.recv(receives[0].take().unwrap(), from(left).tag(1)),
                    _ => x.recv(receives[1].take().unwrap(), from(right).tag(2)),
                }
            }
        })?;
        assert_eq!(from_left, vec![left as f64; LARGE]);
        assert_eq!(from_right, vec![right as f64 + 0.5; LARGE]);
        let mut tags: Vec<i32> = got.iter().map(|status| status.tag).collect();
        let expected: Vec<i32> =
            order.iter().filter(|&&line| line > 1).map(|&line| line as i32 - 1).collect();
        assert_eq!(tags, expected, "statuses are in the order of the lines");
        tags.sort_unstable();
        assert_eq!(tags, [1, 2]);
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 5, 9])]
fn typed_messages_and_objects_of_known_and_unknown_length_go_together(
    world: Comm,
) -> phalanx::Result<()> {
    let (me, right, left) = (world.rank(), right(&world), left(&world));
    let row = vec![me; 3 + me];
    let large = vec![me; LARGE + me];
    let (mut known, mut grown, mut shrunk) =
        ([usize::MAX; 16], Vec::<usize>::new(), vec![7_usize; 2 * LARGE]);
    let (mut value, mut recorded, mut missing) = (None, None, None::<Task>);
    let got = world.exchange(|x| {
        x.send_object(&task(me), to(right).tag(4));
        x.send(&row, to(right).tag(1));
        x.recv_object(&mut recorded, from(left).tag(5));
        x.recv_vec(&mut grown, from(left).tag(2));
        x.send(&large, to(right).tag(2));
        x.recv(&mut known, any().tag(1));
        x.send_object(&recording(me), to(right).tag(5));
        x.recv_vec(&mut shrunk, from(left).tag(3));
        x.send(&row[..], to(right).tag(3));
        x.recv_object(&mut value, any().tag(4));
        x.recv_object(&mut missing, None);
        x.send_object("nobody", None);
    })?;
    assert_eq!((&known[..3 + left], known[3 + left]), (&vec![left; 3 + left][..], usize::MAX));
    assert_eq!(grown, vec![left; LARGE + left]);
    assert_eq!(shrunk, vec![left; 3 + left]);
    assert_eq!((value, recorded, missing), (Some(task(left)), Some(recording(left)), None));
    let about = |status: &Status| (status.source, status.tag);
    let sources: Vec<_> = got.iter().map(about).collect();
    let of = |tag| (Some(left), tag);
    assert_eq!(sources[..5], [of(5), of(2), of(1), of(3), of(4)]);
    assert_eq!((sources[5].0, got[5].len), (None, 0));
    assert_eq!((got[1].len, got[2].len, got[3].len), (LARGE + left, 3 + left, 3 + left));
    Ok(())
}

#[phalanx::test(ranks = [1, 3])]
fn the_null_process_gives_and_takes_nothing(world: Comm) -> phalanx::Result<()> {
    let (mut kept, mut emptied) = ([7; 3], vec![7; 3]);
    let got = world.exchange(|x| {
        x.send(&[1, 2, 3], None);
        x.recv(&mut kept, None);
        x.recv_vec(&mut emptied, None);
    })?;
    assert_eq!((kept, &emptied[..]), ([7; 3], &[] as &[i32]));
    assert!(got.iter().all(|status| status.source.is_none() && status.len == 0));
    assert!(world.exchange(|_| ())?.is_empty());
    Ok(())
}

#[phalanx::test(ranks = [2, 4])]
fn the_other_side_may_use_any_send_and_receive(world: Comm) -> phalanx::Result<()> {
    let peer = world.rank() ^ 1;
    if world.rank().is_multiple_of(2) {
        let (mut numbers, mut task_of, mut recorded) = (vec![0; 4], None, None);
        let four = [peer; 4];
        world.exchange(|x| {
            x.recv(&mut numbers, from(peer).tag(1));
            // A large field of it travels beside the message.
            x.recv_object(&mut recorded, from(peer).tag(3));
            x.recv_object(&mut task_of, from(peer).tag(2));
            x.send(&four, peer);
            x.send_object(&recording(peer), peer);
            x.send_object(&task(peer), peer);
        })?;
        assert_eq!((numbers, task_of), (vec![peer; 4], Some(task(peer))));
        assert_eq!(recorded, Some(recording(peer)));
    } else {
        world.ssend_object(&recording(world.rank()), to(peer).tag(3))?;
        world.ssend_object(&task(world.rank()), to(peer).tag(2))?;
        world.ssend(&[world.rank(); 4], to(peer).tag(1))?;
        assert_eq!(world.recv::<Vec<usize>>(peer)?, [world.rank(); 4]);
        assert_eq!(world.recv_object::<Recording>(peer)?, recording(world.rank()));
        assert_eq!(world.recv_object::<Task>(peer)?, task(world.rank()));
    }
    Ok(())
}

#[phalanx::test(ranks = [2, 3])]
fn messages_with_one_tag_come_in_the_order_of_the_lines(world: Comm) -> phalanx::Result<()> {
    let (me, right, left) = (world.rank(), right(&world), left(&world));
    for _ in 0..50 {
        let (mut first, mut third, mut fifth) = ([0; 2], [0; 2], [0; 2]);
        let (mut second, mut fourth) = (Vec::new(), None);
        let data = [[0, me], [1, me], [2, me], [3, me], [4, me], [5, me]];
        world.exchange(|x| {
            x.recv(&mut first, left);
            x.recv_vec(&mut second, left);
            x.recv(&mut third, left);
            x.recv_object(&mut fourth, left);
            x.recv(&mut fifth, any());
            x.send(&data[1], right);
            x.send(&data[2], right);
            x.send(&data[3], right);
            x.send_object(&4, right);
            x.send(&data[5], right);
        })?;
        assert_eq!((first, &second[..], third), ([1, left], &[2, left][..], [3, left]));
        assert_eq!((fourth, fifth), (Some(4), [5, left]));
    }
    Ok(())
}

#[phalanx::test(ranks = [2, 3, 5])]
fn an_error_names_every_part_that_failed_and_the_others_complete(
    world: Comm,
) -> phalanx::Result<()> {
    let (me, right, left) = (world.rank(), right(&world), left(&world));
    let (three, bytes, large) = ([me; 3], [1_u8; 3], vec![me; LARGE]);
    let (mut short, mut whole, mut numbers) =
        ([0_usize; 2], vec![0_usize; LARGE], Vec::<f64>::new());
    let (mut wrong_type, mut value) = (None::<u8>, None::<Task>);
    let mut first_line = 0;
    let error = world
        .exchange(|x| {
            first_line = line!() + 1;
            x.recv(&mut whole, from(left).tag(2));
            x.recv_object(&mut wrong_type, from(left).tag(4));
            x.recv(&mut short, from(left).tag(1));
            x.recv_vec(&mut numbers, from(left).tag(3));
            x.recv_object(&mut value, from(left).tag(5));
            x.send(&three, to(right).tag(1));
            x.send(&large, to(right).tag(2));
            x.send(&bytes, to(right).tag(3));
            x.send_object("text", to(right).tag(4));
            x.send_object(&task(me), to(right).tag(5));
        })
        .unwrap_err();
    assert!(error.is_type_mismatch(), "the first part that failed decides: {error}");
    assert_eq!((error.operation(), error.detail()), ("exchange", "3 of 10 parts failed"));
    let parts: Vec<_> =
        error.parts().iter().map(|it| (it.kind(), it.operation(), it.location().line())).collect();
    assert_eq!(
        parts,
        [
            (ErrorKind::TypeMismatch, "recv_object", first_line + 1),
            (ErrorKind::Truncated, "recv", first_line + 2),
            (ErrorKind::TypeMismatch, "recv_vec", first_line + 3),
        ]
    );
    let text = error.to_string();
    let lines = text.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    assert_eq!(lines.count(), 3, "{text}");
    for part in error.parts() {
        assert!(text.contains(&part.location().to_string()), "{text}");
        assert_eq!(part.peer(), Some(left));
        assert!(part.parts().is_empty());
    }
    assert_eq!((whole, value), (vec![left; LARGE], Some(task(left))));
    // Nothing is left over.
    assert!(world.try_probe(any())?.is_none());
    Ok(())
}

/// A value that refuses to be serialised.
struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("I do not want to travel"))
    }
}

#[phalanx::test(ranks = [1, 2, 4])]
fn with_a_wrong_argument_nothing_is_sent(world: Comm) -> phalanx::Result<()> {
    let (me, size) = (world.rank(), world.size());
    let (data, mut buffer) = ([me; 4], [0; 4]);
    let error = world
        .exchange(|x| {
            x.send(&data, right(&world));
            x.recv(&mut buffer, from(size + 5));
            x.send(&1.5, to(0).tag(-1));
            x.send_object(&Refuses, 0);
            x.send_object(&1, size);
        })
        .unwrap_err();
    assert!(error.is_invalid_rank());
    let kinds: Vec<_> = error.parts().iter().map(phalanx::Error::kind).collect();
    use ErrorKind::{Encode, InvalidRank, InvalidTag};
    assert_eq!(kinds, [InvalidRank, InvalidTag, Encode, InvalidRank]);
    assert!(error.to_string().contains("4 of 5 parts are wrong, nothing was sent"), "{error}");
    world.barrier()?;
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(world.try_probe(any())?.is_none());
    Ok(())
}

/// A value whose decoding panics.
#[derive(Debug, Serialize)]
struct Explodes(u8);

impl<'de> Deserialize<'de> for Explodes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u8::deserialize(deserializer)?;
        panic!("it explodes");
    }
}

#[phalanx::test(ranks = [2])]
fn a_panic_in_a_part_gives_the_buffers_back(world: Comm) -> phalanx::Result<()> {
    let peer = 1 - world.rank();
    if world.rank() == 0 {
        let (mut halo, mut slot) = (vec![0_u8; LARGE], None::<Explodes>);
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.exchange(|x| {
                x.recv_object(&mut slot, from(peer).tag(1));
                x.recv(&mut halo, from(peer).tag(2)); // nobody sends it
            })
        }))
        .unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"it explodes"));
        assert_eq!(halo, vec![0; LARGE]);
    } else {
        world.send_object(&Explodes(1), to(peer).tag(1))?;
    }
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5, 6, 7, 8, 9])]
fn a_shift_goes_any_distance_around_and_along(world: Comm) -> phalanx::Result<()> {
    let (me, size) = (world.rank() as isize, world.size() as isize);
    for distance in
        [0, 1, -1, 2, -3, size, -size, 7 * size + 1, -5 * size - 2, isize::MAX, isize::MIN]
    {
        let source = (me as i128 - distance as i128).rem_euclid(size as i128) as usize;
        assert_eq!(world.shift(&(me as usize), distance)?, source);
        assert_eq!(
            world.shift(&vec![me as usize; LARGE / 8][..], distance)?,
            vec![source; LARGE / 8]
        );
        assert_eq!(world.shift_object(&task(me as usize), distance)?, task(source));
        let source =
            usize::try_from(me as i128 - distance as i128).ok().filter(|&it| it < size as usize);
        assert_eq!(world.shift_open(&[me as usize; 2], distance)?, source.map(|it| [it; 2]));
        assert_eq!(world.shift_open_object(&task(me as usize), distance)?, source.map(task));
    }
    let mut longer = [-1; 12];
    let got = world.shift_into(&vec![me; me as usize], &mut longer, -1)?;
    let source = ((me + 1) % size) as usize;
    assert_eq!((got.source, got.len), (Some(source), source));
    assert_eq!((&longer[..source], longer[source]), (&vec![source as isize; source][..], -1));
    Ok(())
}

#[phalanx::test(ranks = [2, 3])]
fn a_shift_meets_no_messages_of_the_program(world: Comm) -> phalanx::Result<()> {
    let early = world.isend(vec![99_usize], right(&world))?;
    assert_eq!(world.shift(&world.rank(), 1)?, left(&world));
    assert_eq!(world.shift_object(&task(world.rank()), 1)?, task(left(&world)));
    assert_eq!(world.recv::<Vec<usize>>(left(&world))?, [99]);
    early.wait().map(drop)
}

#[phalanx::test(ranks = [2, 4])]
fn a_shift_of_different_lengths_is_an_error_on_both_sides_of_the_difference(
    world: Comm,
) -> phalanx::Result<()> {
    let mine = vec![1.5; if world.rank() == 0 { 1000 } else { 3 }];
    let outcome = world.shift(&mine, 1);
    match world.rank() {
        0 => assert!(outcome.unwrap_err().is_invalid_length()),
        1 => {
            let error = outcome.unwrap_err();
            assert!(error.is_truncated() && error.operation() == "shift", "{error}");
        }
        _ => assert_eq!(outcome?, mine),
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn a_value_that_cannot_be_encoded_is_an_error_for_its_neighbour_too(
    world: Comm,
) -> phalanx::Result<()> {
    /// Refuses on one rank only.
    #[derive(Debug, Deserialize)]
    struct Choosy(bool);
    impl Serialize for Choosy {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if self.0 {
                Err(serde::ser::Error::custom("no"))
            } else {
                serializer.serialize_bool(false)
            }
        }
    }
    let refuses = world.rank() == 0;
    let outcome = world.shift_object(&Choosy(refuses), 1);
    match (refuses, left(&world)) {
        (true, _) => assert!(outcome.unwrap_err().is_encode()),
        (_, 0) => assert!(outcome.unwrap_err().is_mismatch()),
        _ => assert!(!outcome?.0),
    }
    let peer = Some(world.rank() ^ 1).filter(|&peer| peer < world.size());
    let outcome = world.swap_object(Choosy(refuses), peer);
    match (refuses, peer) {
        (_, None) => assert_eq!(outcome?.0, refuses),
        (true, _) => assert!(outcome.unwrap_err().is_encode()),
        (_, Some(0)) => assert!(outcome.unwrap_err().is_mismatch()),
        _ => assert!(!outcome?.0),
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn a_swap_gives_and_gets(world: Comm) -> phalanx::Result<()> {
    let me = world.rank();
    let peer = Some(me ^ 1).filter(|&peer| peer < world.size());
    let other = peer.unwrap_or(me);
    for length in [0, 1, LARGE] {
        let mut buffer = vec![me; length];
        world.swap(&mut buffer, phalanx::to(peer).tag(3))?;
        assert_eq!(buffer, vec![other; length]);
    }
    let mut number = me;
    world.swap(&mut number, peer)?;
    assert_eq!(number, other);
    assert_eq!(world.swap_object(task(me), peer)?, task(other));
    assert_eq!(world.swap_object(recording(me), peer)?, recording(other));

    let mut same = [me; 3];
    world.swap(&mut same, me)?;
    world.swap(&mut same, None)?;
    assert_eq!(same, [me; 3]);
    assert_eq!(world.swap_object(task(me), me)?, task(me));
    assert_eq!(world.swap_object(task(me), None)?, task(me));
    assert!(world.swap(&mut same, world.size()).unwrap_err().is_invalid_rank());
    assert!(world.swap_object(1, to(0).tag(-1)).unwrap_err().is_invalid_tag());
    Ok(())
}

#[phalanx::test(ranks = [2])]
fn a_swap_of_different_lengths_is_an_error_on_both_ranks(world: Comm) -> phalanx::Result<()> {
    let mut buffer = vec![1.0; if world.rank() == 0 { 4 } else { 9 }];
    let error = world.swap(&mut buffer, 1 - world.rank()).unwrap_err();
    assert_eq!(error.is_truncated(), world.rank() == 0, "{error}");
    assert_eq!(error.is_invalid_length(), world.rank() == 1, "{error}");
    let mut buffer = [world.rank(); 2];
    world.swap(&mut buffer, 1 - world.rank())?;
    assert_eq!(buffer, [1 - world.rank(); 2]);
    Ok(())
}
