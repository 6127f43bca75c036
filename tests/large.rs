//! Messages of more elements than one count of the C interface can say: with a limit that is lowered
//! so far that small messages take the same path, and for real.

use phalanx::prelude::*;
use phalanx::testing::set_large_message_limit;
use phalanx::{PerRank, Strided, StridedMut};

#[derive(Clone, Copy, Debug, PartialEq, Element)]
#[repr(C)]
struct Colour {
    red: u8,
    green: u8,
    blue: u8,
}

fn colour(n: usize) -> Colour {
    Colour { red: n as u8, green: (n >> 8) as u8, blue: 7 }
}

/// Lengths around one, two and many times the limit.
fn lengths(limit: usize) -> impl Iterator<Item = usize> {
    [1, 2, 7].into_iter().flat_map(move |times| {
        let at = times * limit;
        [at - 1, at, at + 1]
    })
}

fn everywhere<T>(world: &Comm, make: impl Fn(usize) -> T) -> phalanx::Result<()>
where
    T: Element + PartialEq + std::fmt::Debug,
{
    let (rank, size) = (world.rank(), world.size());
    let (right, left) = ((rank + 1) % size, (rank + size - 1) % size);
    for limit in [1, 3, 64] {
        set_large_message_limit(limit);
        for length in lengths(limit) {
            let data =
                |rank: usize| -> Vec<T> { (0..length).map(|n| make(n * 5 + rank)).collect() };
            let sending = world.isend(data(rank), right)?;
            assert_eq!(world.recv::<Vec<T>>(left)?, data(left));
            assert_eq!(sending.wait()?, data(rank));
            let receiving = world.irecv_at_most::<Vec<T>>(length, left)?;
            let sending = world.issend(data(rank), right)?;
            assert_eq!(receiving.wait()?, data(left));
            sending.wait()?;
            assert_eq!(world.sendrecv(&data(rank), right, left)?, data(left));

            // A buffer that is longer, and a pattern in a buffer.
            let mut buffer = data(99);
            buffer.extend([make(1), make(2)]);
            let sending = world.isend(data(rank), right)?;
            let got = world.recv_into(&mut buffer, left)?;
            assert_eq!((got.len, &buffer[..length]), (length, &data(left)[..]));
            assert_eq!(buffer[length..], [make(1), make(2)]);
            sending.wait()?;
            let numbers = data(rank);
            let view = Strided::new(&numbers, length.div_ceil(2), 1, 2)?;
            let mut half = StridedMut::new(&mut buffer, 1, length.div_ceil(2), 1)?;
            let got = world.sendrecv_into(&view, right, &mut half, left)?;
            drop(half);
            assert_eq!(got.len, length.div_ceil(2));
            assert!(data(left).iter().step_by(2).eq(&buffer[..length.div_ceil(2)]));
            let mut token = data(rank);
            world.sendrecv_replace(&mut token, right, left)?;
            assert_eq!(token, data(left));

            let mut buffer = if rank == 0 { data(0) } else { data(50) };
            world.bcast(&mut buffer, 0)?;
            assert_eq!(buffer, data(0));
            let all: Vec<T> = (0..size).flat_map(data).collect();
            let gathered = world.gather(&data(rank)[..], size - 1)?;
            assert_eq!(gathered, (rank == size - 1).then(|| all.clone()));
            assert_eq!(world.allgather(&data(rank)[..])?, all);
            let received = world.alltoall(&all)?;
            assert_eq!(received, data(rank).repeat(size));
        }
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3])]
fn messages_above_the_limit_of_one_count_arrive_whole(world: Comm) -> phalanx::Result<()> {
    everywhere(&world, |n| n as u8)?;
    everywhere(&world, |n| n as f64)?;
    everywhere(&world, colour)?;
    everywhere(&world, |n| [n as u16, 3, n as u16 + 1])
}

/// Strict mode sends from copies, which are made in pieces.
#[phalanx::test(ranks = [1, 2, 3], strict)]
fn messages_above_the_limit_of_one_count_arrive_whole_in_strict_mode(
    world: Comm,
) -> phalanx::Result<()> {
    everywhere(&world, |n| n as u8)?;
    everywhere(&world, colour)
}

#[phalanx::test(ranks = [2])]
fn errors_of_large_messages_are_those_of_small_ones(world: Comm) -> phalanx::Result<()> {
    let other = 1 - world.rank();
    set_large_message_limit(4);
    let sending = world.isend(vec![1_u8; 1003], other)?;
    let error = world.recv_into(&mut [0_u8; 500][..], other).expect_err("short");
    assert!(error.is_truncated(), "{error}");
    sending.wait()?;
    let sending = world.isend(vec![1_u8; 1003], other)?;
    let error = world.recv::<Vec<f64>>(other).expect_err("1003 bytes");
    assert!(error.is_type_mismatch(), "{error}");
    sending.wait()?;
    assert_eq!(world.sendrecv(&[world.rank(); 30], other, other)?, [other; 30]);
    // Another thread has no leave to build the datatype either.
    let error = std::thread::scope(|s| {
        s.spawn(|| world.send(&[1_u8; 1000], other)).join().expect("no panic")
    });
    assert!(error.expect_err("the thread").is_thread());
    world.barrier()
}

#[phalanx::test(ranks = [2], timeout = "10m")]
#[ignore = "needs 8 GiB of memory"]
fn more_than_two_to_the_31_elements_arrive_whole(world: Comm) -> phalanx::Result<()> {
    more_than_two_to_the_31_elements(&world)
}

#[phalanx::test(ranks = [2], timeout = "10m", strict)]
#[ignore = "needs 10 GiB of memory"]
fn more_than_two_to_the_31_elements_arrive_whole_in_strict_mode(
    world: Comm,
) -> phalanx::Result<()> {
    more_than_two_to_the_31_elements(&world)
}

fn more_than_two_to_the_31_elements(world: &Comm) -> phalanx::Result<()> {
    const LENGTH: usize = (1 << 31) + 12_345;
    let mut data = vec![0_u8; LENGTH];
    for at in (0..LENGTH).step_by(4099).chain([LENGTH - 1]) {
        data[at] = (at % 251) as u8 + 1;
    }
    if world.rank() == 0 {
        world.send(&data, 1)?;
    } else {
        let received: Vec<u8> = world.recv(0)?;
        assert_eq!(received.len(), LENGTH);
        assert!(received == data);
    }
    world.barrier()
}

/// Blocks of which some are longer than an equal share of a call, and some start where no count reaches.
fn counts(limit: usize, size: usize, round: usize) -> Vec<usize> {
    (0..size)
        .map(|rank| match (rank + round) % 4 {
            0 => 3 * limit + rank,
            1 => 0,
            2 => limit / size,
            _ => limit / size + 1,
        })
        .collect()
}

fn blocks_of_any_length<T>(world: &Comm, make: impl Fn(usize) -> T) -> phalanx::Result<()>
where
    T: Element + PartialEq + std::fmt::Debug,
{
    let (rank, size) = (world.rank(), world.size());
    let block = |from: usize, to: usize, length: usize| -> Vec<T> {
        (0..length).map(|n| make(n * 7 + from * 3 + to)).collect()
    };
    for (limit, round) in
        [1, 2, 7, 64].into_iter().flat_map(|limit| (0..4).map(move |n| (limit, n)))
    {
        set_large_message_limit(limit);
        let root = round % size;
        let counts = counts(limit, size, round);
        let is_root = rank == root;
        let mine = block(rank, 0, counts[rank]);
        let all: Vec<Vec<T>> = (0..size).map(|from| block(from, 0, counts[from])).collect();
        let flat = all.concat();

        let gathered = world.gatherv(&mine, root)?;
        assert_eq!(gathered.map(PerRank::into_vecs), is_root.then(|| all.clone()));
        let mut room = vec![make(0); flat.len()];
        let place = (rank == root).then_some((&mut room[..], &counts[..]));
        world.gatherv_into(&mine, place, root)?;
        assert!(rank != root || room == flat);
        let gathered =
            world.igatherv(mine.clone(), is_root.then(|| counts.clone()), root)?.wait()?;
        assert_eq!(gathered.map(PerRank::into_vecs), is_root.then(|| all.clone()));

        assert_eq!(world.scatterv(is_root.then_some(&all), root)?, mine);
        let mut own = vec![make(0); counts[rank]];
        let given = (rank == root).then_some((&flat[..], &counts[..]));
        world.scatterv_into(given, &mut own, root)?;
        assert_eq!(own, mine);
        let given = is_root.then(|| PerRank::from(all.clone()));
        assert_eq!(world.iscatterv(given, counts[rank], root)?.wait()?, mine);

        assert_eq!(world.allgatherv(&mine)?.into_vecs(), all);
        let mut room = vec![make(0); flat.len()];
        world.allgatherv_into(&mine, &mut room, &counts)?;
        assert_eq!(room, flat);
        assert_eq!(world.iallgatherv(mine.clone(), counts.clone())?.wait()?.into_vecs(), all);

        // From each rank to each another length.
        let length = |from: usize, to: usize| counts[(from + 2 * to) % size];
        let outgoing: Vec<Vec<T>> = (0..size).map(|to| block(rank, to, length(rank, to))).collect();
        let expected: Vec<Vec<T>> =
            (0..size).map(|from| block(from, rank, length(from, rank))).collect();
        let to_each: Vec<usize> = outgoing.iter().map(Vec::len).collect();
        let from_each: Vec<usize> = expected.iter().map(Vec::len).collect();
        assert_eq!(world.alltoallv(&outgoing)?.into_vecs(), expected);
        let mut room = vec![make(0); from_each.iter().sum()];
        world.alltoallv_into(&outgoing.concat(), &to_each, &mut room, &from_each)?;
        assert_eq!(room, expected.concat());
        let received = world.ialltoallv(PerRank::from(outgoing), from_each)?.wait()?;
        assert_eq!(received.into_vecs(), expected);
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4, 5])]
fn blocks_above_the_limit_of_one_count_arrive_whole(world: Comm) -> phalanx::Result<()> {
    blocks_of_any_length(&world, |n| n as u8)?;
    blocks_of_any_length(&world, |n| n as f64)?;
    blocks_of_any_length(&world, colour)?;
    blocks_of_any_length(&world, |n| [n as u16, 3, n as u16 + 1])
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn several_large_operations_in_flight_complete_in_any_order(world: Comm) -> phalanx::Result<()> {
    set_large_message_limit(8);
    let (rank, size) = (world.rank(), world.size());
    let counts: Vec<usize> = (0..size).map(|rank| 20 + rank).collect();
    let of = |round: usize, from: usize| vec![(10 * round + from) as u32; counts[from]];
    let mut gathers = Vec::new();
    for round in 0..6 {
        let known = (rank == 0).then(|| counts.clone());
        gathers.push((round, world.igatherv(of(round, rank), known, 0)?));
        let _dropped = world.iallreduce(vec![1_u32; 30], Sum)?;
    }
    if rank % 2 == 0 {
        gathers.reverse();
    }
    for (round, gather) in gathers {
        let all = gather.wait()?.map(PerRank::into_vecs);
        let expected = (0..size).map(|from| of(round, from)).collect();
        assert_eq!(all, (rank == 0).then_some(expected));
    }
    world.barrier()
}

#[phalanx::test(ranks = [1, 2, 3, 5])]
fn reductions_above_the_limit_of_one_count_are_whole(world: Comm) -> phalanx::Result<()> {
    let (rank, size) = (world.rank(), world.size());
    for limit in [1, 3, 64] {
        set_large_message_limit(limit);
        for length in lengths(limit) {
            let root = length % size;
            let data = |rank: usize| -> Vec<u64> {
                (0..length as u64).map(|n| n % 97 * 10 + rank as u64 + 1).collect()
            };
            let sums = |ranks: std::ops::Range<usize>| -> Vec<u64> {
                (0..length).map(|n| ranks.clone().map(|rank| data(rank)[n]).sum()).collect()
            };
            // Not commutative: the digits say in which order the ranks come.
            let digits = || {
                op(|a: [u64; 2], b: [u64; 2]| [a[0] * 100_u64.pow(b[1] as u32) + b[0], a[1] + b[1]])
            };
            let pairs = |rank: usize| vec![[rank as u64 + 1, 1]; length];
            let joined = |ranks: std::ops::Range<usize>| {
                let value = ranks.clone().fold(0, |value, rank| value * 100 + rank as u64 + 1);
                vec![[value, ranks.len() as u64]; length]
            };
            let (mine, all) = (data(rank), sums(0..size));
            assert_eq!(world.allreduce(&mine, Sum)?, all);
            assert_eq!(world.allreduce(&pairs(rank), digits())?, joined(0..size));
            let mut in_place = mine.clone();
            world.allreduce_in_place(&mut in_place, Sum)?;
            assert_eq!(in_place, all);
            let is_root = rank == root;
            assert_eq!(world.reduce(&mine, Sum, root)?, is_root.then(|| all.clone()));
            let mut in_place = mine.clone();
            world.reduce_in_place(&mut in_place, Sum, root)?;
            assert_eq!(in_place, if rank == root { all.clone() } else { mine.clone() });
            assert_eq!(world.scan(&mine, Sum)?, sums(0..rank + 1));
            assert_eq!(world.scan(&pairs(rank), digits())?, joined(0..rank + 1));
            let before = world.exscan(&mine, Sum)?;
            assert_eq!(before, (rank > 0).then(|| sums(0..rank)));

            let requests = (
                world.iallreduce(mine.clone(), Sum)?,
                world.ireduce(pairs(rank), digits(), root)?,
                world.iscan(mine.clone(), Sum)?,
                world.iexscan(mine.clone(), Sum)?,
            );
            assert_eq!(requests.3.wait()?, (rank > 0).then(|| sums(0..rank)));
            assert_eq!(requests.0.wait()?, all);
            assert_eq!(requests.2.wait()?, sums(0..rank + 1));
            assert_eq!(requests.1.wait()?, is_root.then(|| joined(0..size)));

            // The result is shared out.
            let parts: Vec<usize> = (0..size).map(|rank| length * (rank % 2 + 1)).collect();
            let long = |rank: usize| -> Vec<u64> {
                (0..parts.iter().sum::<usize>() as u64).map(|n| n * 3 + rank as u64).collect()
            };
            let start: usize = parts[..rank].iter().sum();
            let expected: Vec<u64> = (start..start + parts[rank])
                .map(|n| (0..size).map(|rank| long(rank)[n]).sum())
                .collect();
            assert_eq!(world.reduce_scatter(&long(rank), &parts, Sum)?, expected);
            assert_eq!(world.ireduce_scatter(long(rank), &parts, Sum)?.wait()?, expected);
            let even = data(rank).repeat(size);
            assert_eq!(world.reduce_scatter_block(&even, Sum)?, all);
            assert_eq!(world.ireduce_scatter_block(even, Sum)?.wait()?, all);
        }
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4])]
fn blocks_of_neighbours_above_the_limit_arrive_whole(world: Comm) -> phalanx::Result<()> {
    for periodic in [true, false] {
        let line = world.cart(&[0], &[periodic])?.expect("every rank fits");
        let rank = line.rank();
        let neighbors = line.neighbors().to_vec();
        for limit in [1, 5] {
            set_large_message_limit(limit);
            let of = |from: usize, side: usize| vec![(from * 2 + side) as u32; 3 * from + side + 4];
            let expected: Vec<Vec<u32>> = neighbors
                .iter()
                .enumerate()
                .map(|(side, from)| from.map_or_else(Vec::new, |from| of(from, 1 - side)))
                .collect();
            let received = line.neighbor_alltoallv(&vec![of(rank, 0), of(rank, 1)])?;
            assert_eq!(received.into_vecs(), expected);
            let incoming: Vec<usize> = expected.iter().map(Vec::len).collect();
            let blocks = PerRank::from(vec![of(rank, 0), of(rank, 1)]);
            let received = line.ineighbor_alltoallv(blocks, incoming)?.wait()?;
            assert_eq!(received.into_vecs(), expected);
            let same: Vec<Vec<u32>> = neighbors
                .iter()
                .map(|from| from.map_or_else(Vec::new, |from| of(from, 0)))
                .collect();
            let received = line.neighbor_allgatherv(&of(rank, 0))?;
            assert_eq!(received.into_vecs(), same);
            let incoming: Vec<usize> = same.iter().map(Vec::len).collect();
            let received = line.ineighbor_allgatherv(of(rank, 0), incoming)?.wait()?;
            assert_eq!(received.into_vecs(), same);
        }
        line.free()?;
    }
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 5])]
fn objects_above_the_limit_of_one_count_arrive_whole(world: Comm) -> phalanx::Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let text =
        |rank: usize, to: usize| "x".repeat(if rank.is_multiple_of(2) { 500 } else { 3 } + to);
    for limit in [1, 100, 300] {
        set_large_message_limit(limit);
        let root = limit % size;
        let all: Vec<String> = (0..size).map(|rank| text(rank, 0)).collect();
        let mine = text(rank, 0);
        assert_eq!(world.gather_object(&mine, root)?, (rank == root).then(|| all.clone()));
        assert_eq!(world.allgather_object(&mine)?, all);
        let given = (rank == root).then_some(&all[..]);
        assert_eq!(world.scatter_object(given, root)?, mine);
        let outgoing: Vec<String> = (0..size).map(|to| text(rank, to)).collect();
        let expected: Vec<String> = (0..size).map(|from| text(from, rank)).collect();
        assert_eq!(world.alltoall_object(&outgoing)?, expected);
        let given = (rank == root).then(|| text(root, 9));
        assert_eq!(world.bcast_object(given, root)?, text(root, 9));
        assert_eq!(world.allreduce_object(mine.clone(), |a, b| a + &b)?, all.concat());
    }
    Ok(())
}

#[phalanx::test(ranks = [2], timeout = "10m")]
#[ignore = "needs 10 GiB of memory"]
fn more_than_two_to_the_31_elements_are_gathered_and_reduced(world: Comm) -> phalanx::Result<()> {
    const SHARE: usize = (1 << 30) + 77;
    let (rank, size) = (world.rank(), world.size());
    let mine = vec![rank as u8 + 1; SHARE];
    if let Some(all) = world.gatherv(&mine, 0)? {
        assert_eq!(all.counts(), vec![SHARE; size]);
        for from in 0..size {
            assert!(all[from].iter().step_by(4099).all(|&byte| byte == from as u8 + 1));
            assert_eq!(all[from][SHARE - 1], from as u8 + 1);
        }
    }
    drop(mine);
    let mut data = vec![3_u8; 2 * SHARE];
    world.allreduce_in_place(&mut data, Sum)?;
    assert!(data.iter().step_by(4099).all(|&byte| byte == 3 * size as u8));
    assert_eq!(data[2 * SHARE - 1], 3 * size as u8);
    world.barrier()
}
