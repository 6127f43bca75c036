//! Point-to-point messages of elements: sends, receives, probes, and every way to get them wrong.

use phalanx::prelude::*;
use phalanx::{Dest, ErrorKind, RequestSet, Status, StridedMut, tag_upper_bound};

/// All pairs of different ranks, in the same order on every rank.
fn pairs(world: &Comm) -> Vec<(usize, usize)> {
    let size = world.size();
    (0..size * size).map(|n| (n / size, n % size)).filter(|(a, b)| a != b).collect()
}

fn right(world: &Comm) -> usize {
    (world.rank() + 1) % world.size()
}

fn left(world: &Comm) -> usize {
    (world.rank() + world.size() - 1) % world.size()
}

#[phalanx::test(ranks = [2, 3])]
fn every_mode_of_sending_meets_every_form_of_receiving(world: Comm) -> phalanx::Result<()> {
    phalanx::attach_buffer(1 << 16)?;
    for (sender, receiver) in pairs(&world) {
        let data = [1.5, -2.5, sender as f64];
        if world.rank() == sender {
            world.send(&data.to_vec(), receiver)?;
            world.send(&data[1..], to(receiver).tag(1))?;
            world.ssend(&Box::<[f64]>::from(data), to(receiver).tag(2))?;
            world.bsend(&data, to(receiver).tag(3))?;
            world.send(&7_u64, to(receiver).tag(4))?;
            world.send(&data, to(receiver).tag(5))?;
            let ready: u8 = world.recv(from(receiver).tag(6))?;
            // SAFETY: the message says that the receive was posted.
            unsafe { world.rsend(&[ready; 9], to(receiver).tag(7))? };
        } else if world.rank() == receiver {
            assert_eq!(world.recv::<Vec<f64>>(from(sender).tag(0))?, data);
            assert_eq!(*world.recv::<Box<[f64]>>(from(sender).tag(1))?, data[1..]);
            assert_eq!(world.recv::<Vec<[f64; 3]>>(from(sender).tag(2))?, [data]);
            assert_eq!(world.recv::<[f64; 3]>(from(sender).tag(3))?, data);
            assert_eq!(world.recv::<u64>(from(sender).tag(4))?, 7);
            let mut buffer = vec![0.0; 3];
            let got = world.recv_into(&mut buffer, from(sender).tag(5))?;
            assert_eq!((&buffer[..], got.len), (&data[..], 3));
            let posted = world.irecv_into([0_u8; 9], from(sender).tag(7))?;
            world.send(&5_u8, to(sender).tag(6))?;
            assert_eq!(posted.wait()?.0, [5; 9]);
        }
    }
    phalanx::detach_buffer()
}

#[phalanx::test(ranks = [2, 3, 5])]
fn a_receive_from_any_rank_says_whose_message_it_was(world: Comm) -> phalanx::Result<()> {
    let me = world.rank();
    if me > 0 {
        world.send(&vec![me as u32; me], to(0).tag(10 * me as i32))?;
        assert_eq!(world.recv::<usize>(from(0).tag(me as i32))?, me);
        return Ok(());
    }
    let mut seen = vec![];
    for _ in 1..world.size() {
        let (data, got) = world.recv_with_status::<Vec<u32>>(any())?;
        let source = got.source.expect("a rank has sent it");
        assert_eq!(got, Status { source: Some(source), tag: 10 * source as i32, len: source });
        assert_eq!(data, vec![source as u32; source]);
        // The source is a destination as it is.
        world.send(&source, Dest::from(got.source).tag(source as i32))?;
        seen.push(source);
    }
    seen.sort_unstable();
    assert!(seen.into_iter().eq(1..world.size()));
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn a_tag_selects_a_message_and_the_largest_tag_works(world: Comm) -> phalanx::Result<()> {
    let tags = [0, 1, 32767, tag_upper_bound()];
    let mut sends = RequestSet::new();
    for tag in tags {
        sends.push(world.isend(tag, to(right(&world)).tag(tag))?);
    }
    for tag in tags.into_iter().rev() {
        let (value, got) = world.recv_with_status::<i32>(from(left(&world)).tag(tag))?;
        assert_eq!((value, got.tag), (tag, tag));
    }
    // Of one tag from any rank there is the one message of the neighbour.
    sends.push(world.isend(-1, to(right(&world)).tag(8))?);
    sends.push(world.isend(-2, to(right(&world)).tag(9))?);
    let (value, got) = world.recv_with_status::<i32>(any().tag(9))?;
    assert_eq!((value, got.source, got.tag), (-2, Some(left(&world)), 9));
    assert_eq!(world.recv::<i32>(left(&world))?, -1);
    sends.wait_all().map(drop)
}

/// Every operation with a destination, and every one with a source.
fn attempts(world: &Comm, to: Dest, from: Source) -> Vec<(&'static str, phalanx::Result<()>)> {
    let me = world.rank();
    let mut buffer = [0; 4];
    let mut other = [0; 4];
    vec![
        ("send", world.send(&[1, 2], to)),
        ("ssend", world.ssend(&[1, 2], to)),
        ("bsend", world.bsend(&[1, 2], to)),
        // SAFETY: the address is wrong: nothing is sent.
        ("rsend", unsafe { world.rsend(&[1, 2], to) }),
        ("isend", world.isend(vec![1, 2], to).map(drop)),
        ("issend", world.issend(vec![1, 2], to).map(drop)),
        ("sendrecv", world.sendrecv(&[1, 2], to, me).map(drop)),
        ("sendrecv", world.sendrecv_into(&[1, 2], to, &mut buffer, me).map(drop)),
        ("sendrecv_replace", world.sendrecv_replace(&mut buffer, to, me).map(drop)),
        ("isend", world.scope(|s| s.isend(&[1, 2], to).map(drop))),
        ("issend", world.scope(|s| s.issend(&[1, 2], to).map(drop))),
        ("recv", world.recv::<Vec<i32>>(from).map(drop)),
        ("recv", world.recv::<Box<[i32]>>(from).map(drop)),
        ("recv", world.recv::<i32>(from).map(drop)),
        ("recv", world.recv_with_status::<i32>(from).map(drop)),
        ("recv_into", world.recv_into(&mut buffer, from).map(drop)),
        ("irecv", world.irecv_into(vec![0; 4], from).map(drop)),
        ("irecv", world.irecv::<[i32; 4]>(from).map(drop)),
        ("irecv", world.irecv_with_status::<i32>(from).map(drop)),
        ("irecv_at_most", world.irecv_at_most::<Vec<i32>>(4, from).map(drop)),
        ("irecv_object", world.irecv_object::<Vec<i32>>(from).map(drop)),
        ("probe", world.probe(from).map(drop)),
        ("try_probe", world.try_probe(from).map(drop)),
        ("sendrecv", world.sendrecv(&[1, 2], me, from).map(drop)),
        ("sendrecv", world.sendrecv_into(&[1, 2], me, &mut buffer, from).map(drop)),
        ("sendrecv_replace", world.sendrecv_replace(&mut buffer, me, from).map(drop)),
        ("irecv", world.scope(|s| s.irecv_into(&mut other, from).map(drop))),
    ]
}

#[phalanx::test(ranks = [1, 3])]
fn wrong_ranks_and_tags_are_errors_before_the_call(world: Comm) -> phalanx::Result<()> {
    for rank in [world.size(), world.size() + 7, 1 << 31, 1 << 32, usize::MAX] {
        for (operation, result) in attempts(&world, to(rank), from(rank)) {
            let error = result.expect_err(operation);
            assert!(error.is_invalid_rank(), "{operation}: {error}");
            assert_eq!((error.operation(), error.peer()), (operation, Some(rank)), "{error}");
            assert_eq!(error.mpi_class(), None, "{operation} asked MPI: {error}");
        }
    }
    let too_large = tag_upper_bound().checked_add(1);
    for tag in [Some(-1), Some(-2), Some(i32::MIN), too_large].into_iter().flatten() {
        let me = world.rank();
        for (operation, result) in attempts(&world, to(me).tag(tag), from(me).tag(tag)) {
            let error = result.expect_err(operation);
            assert!(error.is_invalid_tag(), "{operation}: {error}");
            assert_eq!((error.operation(), error.tag()), (operation, Some(tag)), "{error}");
            assert_eq!(error.mpi_class(), None, "{operation} asked MPI: {error}");
        }
        let error = world.recv::<i32>(any().tag(tag)).expect_err("any source, wrong tag");
        assert_eq!((error.kind(), error.peer()), (ErrorKind::InvalidTag, None), "{error}");
    }
    // Nothing is on its way, and what is right still works.
    world.barrier()?;
    assert!(world.try_probe(any())?.is_none());
    world.barrier()?;
    assert_eq!(world.sendrecv(&world.rank(), right(&world), left(&world))?, left(&world));
    Ok(())
}

#[phalanx::test(ranks = [2])]
fn an_error_says_operation_ranks_communicator_and_line(world: Comm) -> phalanx::Result<()> {
    let team = world.dup()?;
    team.set_name("team")?;
    let line = line!() + 1;
    let error = team.send(&[1.0], to(9).tag(4)).expect_err("there is no rank 9");
    assert_eq!((error.rank(), error.communicator()), (Some(world.rank()), Some("team")));
    assert_eq!(error.mpi_function(), "MPI_Send");
    assert_eq!((error.location().file(), error.location().line()), (file!(), line));
    let expected = format!(
        "send to rank 9, tag 4, on rank {} of 2 in `team`: invalid rank: destination 9 of a \
         communicator of 2 ranks, 0 to 1 [{}:{line}:",
        world.rank(),
        file!()
    );
    assert!(error.to_string().starts_with(&expected), "{error}");
    assert_eq!(format!("{error:?}"), error.to_string());
    team.free()
}

#[phalanx::test(ranks = [1, 2])]
fn the_null_process_takes_everything_and_sends_nothing(world: Comm) -> phalanx::Result<()> {
    let nobody: Option<usize> = None;
    let data = [1_u16, 2, 3];
    world.send(&data, nobody)?;
    world.send(&data, to(nobody).tag(7))?;
    world.ssend(&data, nobody)?;
    // SAFETY: a send to the null process needs no receive.
    unsafe { world.rsend(&data, nobody)? };
    phalanx::attach_buffer(1 << 12)?;
    world.bsend(&data, nobody)?;
    phalanx::detach_buffer()?;
    assert_eq!(world.isend(data, nobody)?.wait()?, data);
    assert_eq!(world.issend(data, nobody)?.wait()?, data);

    assert_eq!(world.recv::<Vec<f64>>(nobody)?, []);
    let (nothing, got) = world.recv_with_status::<Box<[u8]>>(nobody)?;
    assert_eq!((nothing.len(), got.source, got.len), (0, None, 0));
    let mut buffer = data;
    let got = world.recv_into(&mut buffer, from(nobody).tag(3))?;
    assert_eq!((buffer, got.source, got.len), (data, None, 0));
    let error = world.recv::<i32>(nobody).expect_err("nothing is not one element");
    assert!(error.is_invalid_length(), "{error}");
    let (buffer, got) = world.irecv_into(data, nobody)?.wait()?;
    assert_eq!((buffer, got.source, got.len), (data, None, 0));
    let (nothing, got) = world.irecv_at_most_with_status::<Vec<u8>>(3, nobody)?.wait()?;
    assert_eq!((nothing.len(), got.source, got.len), (0, None, 0));

    let message = world.probe(nobody)?;
    assert_eq!((message.source(), message.len::<u64>()?, message.bytes()?), (None, 0, 0));
    assert_eq!(message.recv::<Vec<u64>>()?, []);
    let message = world.try_probe(nobody)?.expect("the null process is never late");
    assert_eq!(message.recv_into(&mut [0_u8; 4])?.len, 0);

    assert_eq!(world.sendrecv(&data, nobody, nobody)?, [0; 3]);
    let mut buffer = data;
    assert_eq!(world.sendrecv_replace(&mut buffer, nobody, nobody)?.source, None);
    assert_eq!(buffer, data);
    world.scope(|s| {
        s.isend(&data, nobody)?;
        assert_eq!(s.irecv_into(&mut buffer, nobody)?.wait()?.source, None);
        Ok(())
    })?;
    assert_eq!(buffer, data);

    // A chain without ends that are special cases.
    let (rank, last) = (world.rank(), world.size() - 1);
    let next = (rank < last).then_some(rank + 1);
    let previous = rank.checked_sub(1);
    let mut from_previous = [usize::MAX];
    let got = world.sendrecv_into(&rank, next, &mut from_previous, previous)?;
    assert_eq!((got.source, from_previous[0]), (previous, previous.unwrap_or(usize::MAX)));
    world.barrier()?;
    assert!(world.try_probe(any())?.is_none());
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn a_message_of_no_elements_arrives_with_its_tag(world: Comm) -> phalanx::Result<()> {
    let mut sends = RequestSet::new();
    for tag in 0..6 {
        sends.push(world.isend(Vec::<f64>::new(), to(right(&world)).tag(tag))?);
    }
    let before = from(left(&world));
    assert_eq!(world.recv::<Vec<f64>>(before.tag(0))?, []);
    let mut untouched = [1.0; 3];
    let got = world.recv_into(&mut untouched, before.tag(1))?;
    assert_eq!((untouched, got.tag, got.len), ([1.0; 3], 1, 0));
    assert_eq!(world.recv_into(&mut [0.0; 0], before.tag(2))?.len, 0);
    let message = world.probe(before.tag(3))?;
    assert_eq!((message.tag(), message.bytes()?, message.len::<f64>()?), (3, 0, 0));
    assert_eq!(message.recv::<Box<[f64]>>()?.len(), 0);
    let (nothing, got) = world.irecv_at_most_with_status::<Vec<f64>>(3, before.tag(4))?.wait()?;
    assert_eq!((nothing.len(), got.source), (0, Some(left(&world))));
    let (_, got) = world.irecv_into(Vec::<f64>::new(), before.tag(5))?.wait()?;
    assert_eq!((got.tag, got.len), (5, 0));
    sends.wait_all()?;
    let none: [i32; 0] = world.sendrecv(&[0; 0], right(&world), left(&world))?;
    assert_eq!(none, []);
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn recv_into_takes_shorter_messages_and_leaves_the_rest(world: Comm) -> phalanx::Result<()> {
    for length in [0, 1, 5, 8] {
        let sending = world.isend(vec![1_i64; length], right(&world))?;
        let mut buffer = [9_i64; 8];
        let got = world.recv_into(&mut buffer[..], left(&world))?;
        assert_eq!((got.source, got.len), (Some(left(&world)), length));
        assert_eq!(buffer[..length], [1; 8][..length]);
        assert_eq!(buffer[length..], [9; 8][length..]);
        sending.wait()?;
    }
    let sending = world.isend(4.5, right(&world))?;
    let mut one = 0.0;
    world.recv_into(&mut one, left(&world))?;
    assert_eq!((one, sending.wait()?), (4.5, 4.5));
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn recv_into_a_short_buffer_is_an_error_and_the_next_message_still_arrives(
    world: Comm,
) -> phalanx::Result<()> {
    // The small ones travel at once, the large ones wait for their receiver.
    for length in [2, 100, 1 << 18] {
        let mut sends = RequestSet::new();
        for tag in 0..6 {
            sends.push(world.isend(vec![tag; length], to(right(&world)).tag(tag))?);
        }
        let before = from(left(&world));
        let check = |result: phalanx::Result<()>, operation, tag| {
            let error = result.expect_err("the buffer is too short");
            assert!(error.is_truncated(), "{error}");
            assert_eq!((error.operation(), error.tag()), (operation, Some(tag)), "{error}");
            assert_eq!(error.peer(), Some(left(&world)), "{error}");
        };
        let mut short = vec![-1; length / 2];
        check(world.recv_into(&mut short, before.tag(0)).map(drop), "recv_into", 0);
        check(world.recv_into(&mut [0; 0], before.tag(1)).map(drop), "recv_into", 1);
        let posted = world.irecv_into(short, before.tag(2))?;
        check(posted.wait().map(drop), "irecv", 2);
        let mut matrix = vec![0; length];
        let mut column = StridedMut::column(&mut matrix, 2, 1)?;
        check(world.recv_into(&mut column, before.tag(3)).map(drop), "recv_into", 3);
        let message = world.probe(before.tag(4))?;
        let result = message.recv_into(&mut vec![0; length - 1]);
        check(result.map(drop), "receive of a probed message", 4);

        assert_eq!(world.recv::<Vec<i32>>(before)?, vec![5; length]);
        sends.wait_all()?;
    }
    world.barrier()
}

#[phalanx::test(ranks = [1, 2])]
fn a_message_that_is_no_whole_number_of_elements_is_a_type_mismatch(
    world: Comm,
) -> phalanx::Result<()> {
    let mut sends = RequestSet::new();
    for tag in 0..8 {
        sends.push(world.isend([1_u8, 2, 3], to(right(&world)).tag(tag))?);
    }
    sends.push(world.isend([1_u8, 2, 3], to(right(&world)).tag(8))?);
    let before = from(left(&world));
    let check = |result: phalanx::Result<()>| {
        let error = result.expect_err("3 bytes are no f64");
        assert!(error.is_type_mismatch(), "{error}");
        assert!(error.detail().contains("3 bytes") && error.detail().contains("f64"), "{error}");
        assert_eq!(error.peer(), Some(left(&world)));
    };
    check(world.recv::<Vec<f64>>(before.tag(0)).map(drop));
    check(world.recv::<Box<[f64]>>(before.tag(1)).map(drop));
    check(world.recv::<f64>(before.tag(2)).map(drop));
    check(world.recv_into(&mut [0.0_f64; 2], before.tag(3)).map(drop));
    check(world.irecv_into([0.0_f64; 2], before.tag(4))?.wait().map(drop));
    check(world.irecv_at_most::<Vec<f64>>(2, before.tag(5))?.wait().map(drop));
    let message = world.probe(before.tag(6))?;
    check(message.len::<f64>().map(drop));
    assert_eq!((message.bytes()?, message.len::<u8>()?, message.len::<[u8; 3]>()?), (3, 3, 1));
    check(message.recv::<Vec<f64>>().map(drop));
    let mut buffer = [0.0_f64; 2];
    check(world.scope(|s| s.irecv_into(&mut buffer, before.tag(7))?.wait()).map(drop));
    assert_eq!(world.recv::<[u8; 3]>(before)?, [1, 2, 3]);
    sends.wait_all().map(drop)
}

#[phalanx::test(ranks = [1, 2])]
fn one_or_three_are_asked_for_and_the_message_holds_more_or_fewer(
    world: Comm,
) -> phalanx::Result<()> {
    let mut sends = RequestSet::new();
    for (tag, length) in (0..).zip([2, 0, 3, 0, 2, 0, 4, 2, 0, 4, 2, 4, 1, 1]) {
        sends.push(world.isend(vec![7_i32; length], to(right(&world)).tag(tag))?);
    }
    let before = from(left(&world));
    let many = |result: phalanx::Result<()>| {
        let error = result.expect_err("more");
        assert!(error.is_truncated(), "{error}");
    };
    let none = |result: phalanx::Result<()>| {
        let error = result.expect_err("fewer");
        assert!(error.is_invalid_length(), "{error}");
    };
    many(world.recv::<i32>(before.tag(0)).map(drop));
    none(world.recv::<i32>(before.tag(1)).map(drop));
    many(world.probe(before.tag(2))?.recv::<i32>().map(drop));
    none(world.probe(before.tag(3))?.recv::<i32>().map(drop));
    many(world.irecv::<i32>(before.tag(4))?.wait().map(drop));
    none(world.irecv::<i32>(before.tag(5))?.wait().map(drop));
    many(world.recv::<[i32; 3]>(before.tag(6)).map(drop));
    none(world.recv::<[i32; 3]>(before.tag(7)).map(drop));
    none(world.recv::<[i32; 3]>(before.tag(8)).map(drop));
    many(world.probe(before.tag(9))?.recv::<[i32; 3]>().map(drop));
    none(world.irecv::<[i32; 3]>(before.tag(10))?.wait().map(drop));
    let mut three = [0; 3];
    many(world.recv_into(&mut three, before.tag(11)).map(drop));
    assert_eq!(world.recv_into(&mut three, before.tag(12))?.len, 1);
    assert_eq!(world.recv::<i32>(before)?, 7);
    sends.wait_all().map(drop)
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn messages_of_one_sender_arrive_in_the_order_of_sending(world: Comm) -> phalanx::Result<()> {
    const MESSAGES: usize = 40;
    // Lengths on both sides of what travels at once.
    let length = |number: usize| [1, 20_000, 3, 0, 700][number % 5] + 1;
    let mut sends = RequestSet::new();
    for number in 0..MESSAGES {
        for rank in 0..world.size() {
            let data = vec![(world.rank() * MESSAGES + number) as u32; length(number)];
            sends.push(world.isend(data, rank)?);
        }
    }
    for number in 0..MESSAGES {
        for rank in (0..world.size()).rev() {
            let expected = vec![(rank * MESSAGES + number) as u32; length(number)];
            // The forms of receiving do not overtake each other either.
            let data: Vec<u32> = match number % 3 {
                0 => world.recv(rank)?,
                1 => world.probe(rank)?.recv()?,
                _ => {
                    let mut data = vec![0; 30_000];
                    let got = world.recv_into(&mut data, rank)?;
                    data.truncate(got.len);
                    data
                }
            };
            assert_eq!(data, expected, "message {number} of rank {rank}");
        }
    }
    sends.wait_all().map(drop)
}

/// Sends values around and back, one by one and together, in several forms.
fn round_trip<T: Element + PartialEq + std::fmt::Debug>(
    world: &Comm,
    values: &[T],
) -> phalanx::Result<()> {
    let (right, left) = (right(world), left(world));
    let sending = world.isend(values.to_vec(), right)?;
    assert_eq!(world.recv::<Vec<T>>(left)?, values);
    assert_eq!(sending.wait()?, values);
    for value in values {
        assert_eq!(world.sendrecv(&[*value; 3], right, left)?, [*value; 3]);
        let sending = world.isend([*value], right)?;
        assert_eq!(world.recv::<[T; 1]>(left)?, [*value]);
        sending.wait()?;
    }
    let mut buffer = values.to_vec();
    world.sendrecv_replace(&mut buffer, right, left)?;
    assert_eq!(buffer, values);
    let gathered = world.allgather(values)?;
    assert_eq!(gathered, values.repeat(world.size()));
    Ok(())
}

#[phalanx::test(ranks = [1, 3])]
fn every_number_type_and_arrays_of_them_travel_unchanged(world: Comm) -> phalanx::Result<()> {
    macro_rules! integers {
        ($($type:ty)*) => {
            $(
                round_trip::<$type>(&world, &[<$type>::MIN, <$type>::MAX, 0, 1, 42])?;
                let one: $type = world.sendrecv(&<$type>::MIN, right(&world), left(&world))?;
                assert_eq!(one, <$type>::MIN);
                let sending = world.isend(<$type>::MAX, right(&world))?;
                assert_eq!(world.recv::<$type>(left(&world))?, <$type>::MAX);
                sending.wait()?;
            )*
        };
    }
    integers!(i8 i16 i32 i64 isize i128 u8 u16 u32 u64 usize u128);
    round_trip(&world, &[f32::MIN, f32::MAX, -0.0, f32::INFINITY, f32::MIN_POSITIVE])?;
    round_trip(&world, &[f64::MIN, f64::MAX, -0.0, f64::NEG_INFINITY, f64::EPSILON])?;
    round_trip(&world, &[[1_u8, 2, 3], [4, 5, 6]])?;
    round_trip(&world, &[[[1.5_f64, 2.5], [3.5, 4.5], [5.5, 6.5]]])?;
    round_trip(&world, &[[u128::MAX, 1], [2, u128::MAX - 1]])?;
    // Bits, even of what equals nothing.
    let nan = f64::from_bits(0x7ff8_dead_beef_0001);
    let back: f64 = world.sendrecv(&nan, right(&world), left(&world))?;
    assert_eq!(back.to_bits(), nan.to_bits());
    Ok(())
}

#[phalanx::test(ranks = [1, 2])]
fn a_message_of_64_mib_arrives_whole(world: Comm) -> phalanx::Result<()> {
    const LENGTH: usize = 64 << 20 >> 3;
    let data: Vec<u64> = (0..LENGTH as u64).map(|n| n ^ world.rank() as u64).collect();
    let sending = world.isend(data, right(&world))?;
    let received: Vec<u64> = world.recv(left(&world))?;
    assert_eq!(received.len(), LENGTH);
    let wrong = (0..).zip(&received).find(|&(n, &value)| value != n ^ left(&world) as u64);
    assert_eq!(wrong, None);
    assert_eq!(sending.wait()?.len(), LENGTH);
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 7])]
fn sendrecv_moves_values_around_a_ring(world: Comm) -> phalanx::Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for distance in 0..=size {
        let (to_rank, from_rank) = ((rank + distance) % size, (rank + size - distance) % size);
        let tag = distance as i32;
        let (destination, source) = (to(to_rank).tag(tag), from(from_rank).tag(tag));
        // Long enough that plain sends would wait for each other.
        let data = vec![rank; 100_000];
        assert_eq!(world.sendrecv(&data, destination, source)?, vec![from_rank; 100_000]);
        assert_eq!(world.sendrecv(&[rank, 1][..], destination, source)?, [from_rank, 1]);

        let mut buffer = [usize::MAX; 4];
        let got = world.sendrecv_into(&[rank; 2], destination, &mut buffer, source)?;
        assert_eq!((got.source, got.tag, got.len), (Some(from_rank), tag, 2));
        assert_eq!(buffer, [from_rank, from_rank, usize::MAX, usize::MAX]);

        let mut token = [rank, distance];
        let got = world.sendrecv_replace(&mut token, destination, source)?;
        assert_eq!((token, got.len), ([from_rank, distance], 2));
    }
    let mut token = rank;
    for _ in 0..size {
        world.sendrecv_replace(&mut token, right(&world), any())?;
    }
    assert_eq!(token, rank, "once around");
    Ok(())
}

#[phalanx::test(ranks = [2, 3])]
fn sendrecv_with_a_short_buffer_is_an_error_and_the_next_one_works(
    world: Comm,
) -> phalanx::Result<()> {
    let (rank, right, left) = (world.rank(), right(&world), left(&world));
    for length in [3, 1 << 18] {
        let long = vec![rank; length];
        let mut short = vec![0; length - 1];
        let error = world.sendrecv_into(&long, right, &mut short, left).expect_err("short");
        assert!(error.is_truncated(), "{error}");
        assert_eq!(error.operation(), "sendrecv");
        assert!(world.sendrecv(&long, right, left)? == vec![left; length]);

        // Odd ranks have less room than even ones send.
        let mut buffer = vec![rank; length - rank % 2];
        let result = world.sendrecv_replace(&mut buffer, right, left);
        if left % 2 < rank % 2 {
            let error = result.expect_err("short");
            assert!(error.is_truncated(), "{error}");
            assert_eq!(error.operation(), "sendrecv_replace");
        } else {
            assert_eq!(result?.len, length - left % 2);
        }
        assert_eq!(world.sendrecv(&[rank], right, left)?, [left]);
    }
    let error = world.sendrecv_into(&[1_u8; 3], right, &mut [0.0_f64; 2], left);
    assert!(error.expect_err("3 bytes").is_type_mismatch());
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn a_probed_message_is_looked_at_and_then_received_by_nobody_else(
    world: Comm,
) -> phalanx::Result<()> {
    let (right, left) = (right(&world), left(&world));
    assert!(world.try_probe(any())?.is_none());
    world.barrier()?;
    let mut sends = RequestSet::new();
    for tag in [5, 5, 6] {
        let length = sends.pending() + 2;
        sends.push(world.isend(vec![sends.pending() as u32; length], to(right).tag(tag))?);
    }
    let first = world.probe(from(left).tag(5))?;
    assert_eq!((first.source(), first.tag()), (Some(left), 5));
    assert_eq!((first.len::<u32>()?, first.bytes()?, first.len::<u8>()?), (2, 8, 8));
    let mut looks = 0;
    let last = loop {
        looks += 1;
        assert!(looks < 10_000_000, "the third message does not come");
        if let Some(message) = world.try_probe(any().tag(6))? {
            break message;
        }
    };
    // The first is taken: a receive from anybody gets the second.
    let (second, got) = world.recv_with_status::<Vec<u32>>(any())?;
    assert_eq!((second, got.tag), (vec![1; 3], 5));
    assert!(world.try_probe(any())?.is_none());
    let mut buffer = [9_u32; 6];
    let got = last.recv_into(&mut buffer)?;
    assert_eq!((got.source, got.tag, got.len), (Some(left), 6, 4));
    assert_eq!(buffer, [2, 2, 2, 2, 9, 9]);
    assert_eq!(first.recv::<Box<[u32]>>()?[..], [0; 2]);
    sends.wait_all().map(drop)
}

#[phalanx::test(ranks = [1, 2, 3])]
fn a_message_to_oneself_arrives(world: Comm) -> phalanx::Result<()> {
    let me = world.rank();
    let sending = world.isend(vec![me; 100_000], me)?;
    assert_eq!(world.recv::<Vec<usize>>(me)?, vec![me; 100_000]);
    sending.wait()?;
    let receiving = world.irecv_into(vec![0; 4], me)?;
    world.send(&[me; 4], me)?;
    assert_eq!(receiving.wait()?.0, [me; 4]);
    let alone = world.self_comm()?;
    let receiving = alone.irecv_into([0], 0)?;
    alone.ssend(&[me], 0)?;
    assert_eq!(receiving.wait()?.0, [me]);
    assert_eq!(alone.sendrecv(&me, 0, 0)?, me);
    Ok(())
}

#[phalanx::test(ranks = [1, 2])]
fn buffered_sends_need_a_buffer_and_room_in_it(world: Comm) -> phalanx::Result<()> {
    let (right, left) = (right(&world), left(&world));
    let error = phalanx::detach_buffer().expect_err("there is no buffer yet");
    assert!(error.is_buffer_full(), "{error}");
    // Large, because Open MPI needs no buffer for what it sends at once. On communicators of their own,
    // because after a refusal Open MPI 4.1 delivers nothing more to that rank there.
    let spare = world.dup()?;
    let error = spare.bsend(&vec![1_u8; 1 << 20], right).expect_err("there is no buffer yet");
    assert!(error.is_buffer_full(), "{error}");
    for bytes in [1 << 31, 1 << 45, usize::MAX] {
        let error = phalanx::attach_buffer(bytes).expect_err("more than MPI can count");
        assert!(error.is_unsupported(), "{error}");
    }

    let room = 2 * (8000 + phalanx::bsend_overhead());
    phalanx::attach_buffer(room)?;
    let error = phalanx::attach_buffer(room).expect_err("there is one already");
    assert!(error.is_in_use(), "{error}");
    let spare = world.dup()?;
    let error = spare.bsend(&vec![0_u8; 1 << 20], right).expect_err("it has no room for that");
    assert!(error.is_buffer_full(), "{error}");
    assert_eq!((error.operation(), error.peer()), ("bsend", Some(right)));
    // What fits is sent, also when nobody receives yet.
    world.bsend(&[1.0_f64; 1000], right)?;
    world.bsend(&[2.0_f64; 1000], right)?;
    world.barrier()?;
    assert_eq!(world.recv::<Vec<f64>>(left)?, [1.0; 1000]);
    assert_eq!(world.recv::<Vec<f64>>(left)?, [2.0; 1000]);
    phalanx::detach_buffer()?;
    assert!(phalanx::detach_buffer().is_err());

    // Again, smaller; the buffer is given back when the message has left.
    phalanx::attach_buffer(100 + phalanx::bsend_overhead())?;
    let receiving = world.irecv_into([0_u8; 100], left)?;
    world.bsend(&[3_u8; 100], right)?;
    phalanx::detach_buffer()?;
    assert_eq!(receiving.wait()?.0, [3; 100]);
    Ok(())
}

#[phalanx::test(ranks = [2, 3])]
fn a_message_that_is_too_long_is_told_with_both_lengths(world: Comm) -> phalanx::Result<()> {
    let before = from(left(&world));
    let is_open_mpi = phalanx::library_version()?.contains("Open MPI");
    for length in [80, 200_000] {
        type Receive<'a> = Box<dyn Fn() -> phalanx::Result<()> + 'a>;
        let room = || [0_u8; 16];
        let mut receives: Vec<Receive<'_>> = vec![
            Box::new(|| world.recv_into(&mut room(), before).map(drop)),
            Box::new(|| world.irecv_into(room(), before)?.wait().map(drop)),
            Box::new(|| world.irecv_at_most::<Vec<u8>>(16, before)?.wait().map(drop)),
            Box::new(|| {
                let mut room = room();
                world.scope(|s| s.irecv_into(&mut room, before).map(drop))
            }),
            Box::new(|| {
                let mut room = room();
                world.exchange(|x| x.recv(&mut room, before)).map(drop)
            }),
            Box::new(|| world.sendrecv_into(&[1_u8], None, &mut room(), before).map(drop)),
        ];
        receives.push(Box::new(|| world.probe(before)?.recv_into(&mut room()).map(drop)));
        for (number, receive) in receives.into_iter().enumerate() {
            let sending = world.isend(vec![7_u8; length], right(&world))?;
            let error = receive().expect_err("16 bytes are too few");
            assert!(error.is_truncated(), "{error}");
            let text = error.to_string();
            assert!(text.contains("16"), "{number}: {text}");
            // MPICH says nothing of the message, unless it was probed.
            if is_open_mpi || number == 6 {
                let both = format!("has {length} bytes, and there is room for 16");
                assert!(text.contains(&both), "{number}: {text}");
            }
            sending.wait()?;
        }
    }
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3])]
fn elements_of_no_size_are_messages_of_no_bytes(world: Comm) -> phalanx::Result<()> {
    type Nothing = [f64; 0];
    let (right, before) = (right(&world), from(left(&world)));
    let data: [Nothing; 3] = [[]; 3];
    let mut sends = RequestSet::new();
    for tag in 0..9 {
        sends.push(world.isend(data, to(right).tag(tag))?);
    }
    let (came, got) = world.recv_with_status::<Vec<Nothing>>(before.tag(0))?;
    assert_eq!((came.len(), got.len), (0, 0));
    assert_eq!(world.recv::<Box<[Nothing]>>(before.tag(1))?.len(), 0);
    assert_eq!(world.recv::<[Nothing; 3]>(before.tag(2))?, data);
    assert_eq!(world.recv_into(&mut [[]; 5] as &mut [Nothing; 5], before.tag(3))?.len, 0);
    assert_eq!(world.irecv::<[Nothing; 2]>(before.tag(4))?.wait()?, [[]; 2]);
    assert_eq!(world.irecv_at_most::<Vec<Nothing>>(4, before.tag(5))?.wait()?.len(), 0);
    assert_eq!(world.irecv_into(data, before.tag(6))?.wait()?.1.len, 0);
    assert_eq!(world.probe(before.tag(7))?.recv::<Vec<Nothing>>()?.len(), 0);
    assert_eq!(world.recv::<Vec<f64>>(before.tag(8))?.len(), 0);
    sends.wait_all()?;
    // Something is not nothing.
    let sending = world.isend([1_u8], right)?;
    let error = world.recv::<Vec<Nothing>>(before).expect_err("a byte");
    assert!(error.is_type_mismatch(), "{error}");
    sending.wait().map(drop)
}
