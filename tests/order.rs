//! Receives of all kinds are matched in the order in which they are posted.

use std::time::Duration;

use phalanx::prelude::*;
use phalanx::{Request, RequestSet, Result};

/// A ring, in which each rank sends to the right.
fn around(world: &Comm) -> (usize, usize) {
    let (rank, size) = (world.rank(), world.size());
    ((rank + 1) % size, (rank + size - 1) % size)
}

/// Sends the numbers from 0 in one order, as elements or as objects, so that none of them waits.
fn send_all(world: &Comm, n: u32, object: bool, tag: i32) -> Result<RequestSet<()>> {
    let next = to(around(world).0).tag(tag);
    let mut sends = RequestSet::new();
    for i in 0..n {
        sends.push(if object {
            world.isend_object(&i, next)?
        } else {
            world.isend([i], next)?.map(drop)
        });
    }
    Ok(sends)
}

/// A receive of one number that is started, of the kind with this number.
fn started(world: &Comm, kind: u32, source: Source) -> Result<Request<u32>> {
    Ok(match kind % 4 {
        0 => world.irecv::<u32>(source)?,
        1 => world.irecv_at_most::<Vec<u32>>(3, source)?.map(|it| it[0]),
        2 => world.irecv_into([u32::MAX; 2], source)?.map(|(it, _)| it[0]),
        _ => world.irecv::<[u32; 1]>(source)?.map(|[it]| it),
    })
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn ten_receives_in_a_set_get_ten_messages_in_their_order(world: Comm) -> Result<()> {
    let (_, left) = around(&world);
    let expected: Vec<u32> = (0..10).collect();
    for posted_first in [true, false] {
        for object in [false, true] {
            let post = || -> Result<RequestSet<u32>> {
                let mut set = RequestSet::new();
                for kind in 0..10 {
                    set.push(if object {
                        world.irecv_object::<u32>(left)?
                    } else {
                        started(&world, kind, left.into())?
                    });
                }
                Ok(set)
            };
            let (set, sends);
            if posted_first {
                set = post()?;
                world.barrier()?;
                sends = send_all(&world, 10, object, 0)?;
            } else {
                sends = send_all(&world, 10, object, 0)?;
                world.barrier()?;
                set = post()?;
            }
            assert_eq!(set.wait_all()?, expected);
            sends.wait_all()?;
        }
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn receives_that_are_waited_for_in_another_order_keep_their_messages(world: Comm) -> Result<()> {
    let (_, left) = around(&world);
    for way in 0..4 {
        for object in [false, true] {
            let receive = || {
                if object { world.irecv_object::<u32>(left) } else { world.irecv::<u32>(left) }
            };
            let (mut first, mut second) = (receive()?, receive()?);
            if way % 2 == 0 {
                world.barrier()?;
            }
            let sends = send_all(&world, 2, object, 0)?;
            let (mut one, mut two) = (None, None);
            if way < 2 {
                // The second one is looked at first.
                while one.is_none() || two.is_none() {
                    if two.is_none() {
                        two = second.test()?;
                    }
                    if one.is_none() {
                        one = first.test()?;
                    }
                }
            } else {
                two = Some(second.wait()?);
                one = Some(first.wait()?);
            }
            assert_eq!((one, two), (Some(0), Some(1)));
            sends.wait_all()?;
        }
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn a_blocking_receive_gets_what_earlier_ones_have_left(world: Comm) -> Result<()> {
    let (_, left) = around(&world);
    let sources: [Source; 4] = [left.into(), any(), from(left).tag(5), any().tag(5)];
    for (kind, source) in sources.into_iter().cycle().take(16).enumerate() {
        let first = started(&world, kind as u32, source)?;
        let sends = send_all(&world, 2, false, 5)?;
        let mut buffer = [0_u32; 2];
        let second = match kind / 4 {
            0 => world.recv::<u32>(source)?,
            1 => world.recv::<Vec<u32>>(left)?[0],
            2 => {
                world.recv_into(&mut buffer, any().tag(5))?;
                buffer[0]
            }
            _ => world.probe(from(left))?.recv::<u32>()?,
        };
        assert_eq!((first.wait()?, second), (0, 1));
        sends.wait_all()?;

        let first = world.irecv_object::<u32>(source)?;
        let sends = send_all(&world, 2, true, 5)?;
        let second = match kind / 4 {
            0 => world.recv_object::<u32>(left)?,
            1 => world.recv_object_with_status::<u32>(any())?.0,
            2 => world.sendrecv_object::<u32, u32>(&9, None, source)?,
            _ => world.probe(source)?.recv_object()?,
        };
        assert_eq!((first.wait()?, second), (0, 1));
        sends.wait_all()?;
        world.barrier()?;
    }
    Ok(())
}

#[phalanx::test(ranks = [2])]
fn without_pauses_later_receives_never_get_earlier_messages(world: Comm) -> Result<()> {
    for case in 0..4 {
        for i in 0..300_u32 {
            if world.rank() == 0 {
                for number in [2 * i, 2 * i + 1] {
                    if case < 2 {
                        world.send(&number, 1)?;
                    } else {
                        world.send_object(&number, 1)?;
                    }
                }
                world.recv::<u8>(1)?;
                continue;
            }
            let both = match case {
                0 => {
                    let (first, second) = (world.irecv::<u32>(0)?, world.irecv::<u32>(0)?);
                    let second = second.wait()?;
                    (first.wait()?, second)
                }
                1 => {
                    let first = world.irecv_at_most::<Vec<u32>>(1, 0)?;
                    let second = world.recv::<Vec<u32>>(0)?[0];
                    (first.wait()?[0], second)
                }
                2 => {
                    let (first, second) =
                        (world.irecv_object::<u32>(0)?, world.irecv_object::<u32>(0)?);
                    let second = second.wait()?;
                    (first.wait()?, second)
                }
                _ => {
                    let first = world.irecv_object::<u32>(0)?;
                    let second = world.recv_object::<u32>(0)?;
                    (first.wait()?, second)
                }
            };
            assert_eq!(both, (2 * i, 2 * i + 1), "case {case}");
            world.send(&1_u8, 0)?;
        }
    }
    Ok(())
}

/// Objects on both sides of the length at which a message is cut.
const LENGTHS: [usize; 6] = [0, 1, 16_000, 16_343, 16_344, 300_000];

#[phalanx::test(ranks = [1, 2, 3, 5])]
fn objects_of_all_lengths_stay_in_order(world: Comm) -> Result<()> {
    let (right, left) = around(&world);
    let text = |number: usize| "x".repeat(LENGTHS[number % 6] + number);
    let mut receives = RequestSet::new();
    for _ in 0..12 {
        receives.push(world.irecv_object_with_status::<String>(left)?);
    }
    let mut sends = RequestSet::new();
    for number in 0..12 {
        sends.push(world.isend_object(&text(number), to(right).tag(number as i32))?);
    }
    for (number, (came, got)) in receives.wait_all()?.into_iter().enumerate() {
        assert_eq!((got.tag, got.source), (number as i32, Some(left)));
        assert!(came == text(number), "{} bytes came as number {number}", came.len());
    }
    sends.wait_all().map(drop)
}

#[phalanx::test(ranks = [1, 2, 3])]
fn lines_of_an_exchange_get_their_messages_in_order_whatever_their_kinds(
    world: Comm,
) -> Result<()> {
    let (right, left) = around(&world);
    // Which kind of receive each of three lines is; all of them could take each message.
    for kinds in 0..27_u32 {
        let kind = |line: u32| kinds / 3_u32.pow(line) % 3;
        let as_object = |line| kind(line) == 2;
        let mut fixed = [[0_u32; 2]; 3];
        let mut vectors: [Vec<u32>; 3] = Default::default();
        let mut objects: [Option<u32>; 3] = [None; 3];
        let numbers = [[10_u32], [11], [12]];
        let got = world.exchange(|x| {
            let rooms = fixed.iter_mut().zip(&mut vectors).zip(&mut objects);
            for (line, ((fixed, vector), object)) in (0..3).zip(rooms) {
                // Envelopes that overlap without being the same.
                let source = match line {
                    0 => from(left),
                    1 => any(),
                    _ => any().tag(4),
                };
                match kind(line) {
                    0 => x.recv(fixed, source),
                    1 => x.recv_vec(vector, source),
                    _ => x.recv_object(object, source),
                }
            }
            for line in 0..3 {
                let target = to(right).tag(4);
                if as_object(line) {
                    x.send_object(&numbers[line as usize][0], target);
                } else {
                    x.send(&numbers[line as usize], target);
                }
            }
        })?;
        for line in 0..3 {
            let came = match kind(line as u32) {
                0 => fixed[line][0],
                1 => vectors[line][0],
                _ => objects[line].expect("an object came"),
            };
            assert_eq!((came, got[line].source), (10 + line as u32, Some(left)), "{kinds}");
        }
    }
    Ok(())
}

#[phalanx::test(ranks = [3])]
fn a_later_line_of_an_exchange_does_not_wait_for_an_earlier_one(world: Comm) -> Result<()> {
    // The message of the later line comes first, and the earlier one only after it has been received.
    match world.rank() {
        0 => {
            let (mut early, mut late, mut last) = (Vec::<u8>::new(), [0_u8; 1], None);
            world.exchange(|x| {
                x.recv_vec(&mut early, 1);
                x.recv(&mut late, any().tag(9));
                x.recv_object::<u8>(&mut last, any().tag(7));
            })?;
            assert_eq!((early, late, last), (vec![1], [2], Some(3)));
        }
        1 => {
            world.recv::<u8>(2)?;
            world.ssend(&[1_u8], to(0).tag(3))?;
        }
        _ => {
            world.ssend_object(&3_u8, to(0).tag(7))?;
            world.ssend(&[2_u8], to(0).tag(9))?;
            world.send(&0_u8, 1)?;
        }
    }
    Ok(())
}

#[phalanx::test(ranks = [2])]
fn thousands_of_receives_in_flight_get_their_messages_in_order(world: Comm) -> Result<()> {
    const N: u32 = 5000;
    let mut receives = RequestSet::new();
    let other = 1 - world.rank();
    for _ in 0..N {
        receives.push(world.irecv_object::<u32>(other)?);
    }
    let mut sends = RequestSet::new();
    for i in 0..N {
        sends.push(world.isend_object(&i, other)?);
    }
    assert!(receives.wait_all()?.into_iter().eq(0..N));
    sends.wait_all().map(drop)
}

#[phalanx::test(ranks = [1, 2, 3])]
fn a_receive_of_an_object_that_is_dropped_leaves_the_message_to_the_next(
    world: Comm,
) -> Result<()> {
    let (right, left) = around(&world);
    for round in 0..3 {
        let receiving = world.irecv_object::<String>(from(left).tag(1))?;
        match round {
            0 => drop(receiving),
            1 => assert!(receiving.cancel()?.is_none()),
            // Given up by a future that takes too long.
            _ => {
                let late = async { std::future::ready(()).await };
                phalanx::block_on(async {
                    let mut receiving = std::pin::pin!(receiving);
                    let poll = std::future::poll_fn(|context| {
                        let _ = receiving.as_mut().poll(context);
                        std::task::Poll::Ready(())
                    });
                    poll.await;
                    late.await;
                });
            }
        }
        world.barrier()?;
        let text = "long ".repeat(10_000);
        let sending = world.isend_object(&text, to(right).tag(1))?;
        assert!(world.recv_object::<String>(from(left).tag(1))? == text);
        sending.wait()?;
    }
    Ok(())
}

#[phalanx::test(ranks = [2, 3])]
fn a_receive_that_is_dropped_with_its_message_on_the_way_releases_the_sender(
    world: Comm,
) -> Result<()> {
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Parcel(#[serde(with = "phalanx::plain")] Vec<f64>, String);

    let parcel = Parcel(vec![0.5; 100_000], "label ".repeat(10_000));
    if world.rank() == 0 {
        let receiving = world.irecv_object::<Parcel>(1)?;
        world.barrier()?;
        world.recv::<u8>(from(1).tag(2))?;
        // Its first part is here: it cannot be cancelled any more.
        drop(receiving);
        world.barrier()?;
        assert_eq!(world.recv_object::<Parcel>(1)?, parcel);
        return Ok(());
    }
    world.barrier()?;
    if world.rank() == 1 {
        let sending = world.isend_object(&parcel, 0)?;
        std::thread::sleep(Duration::from_millis(20));
        world.send(&1_u8, to(0).tag(2))?;
        sending.wait()?;
    }
    world.barrier()?;
    if world.rank() == 1 {
        world.send_object(&parcel, 0)?;
    }
    Ok(())
}
