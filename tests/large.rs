//! Messages of more elements than one count of the C interface can say: with a limit that is lowered
//! so far that small messages take the same path, and for real.

use phalanx::prelude::*;
use phalanx::testing::set_large_message_limit;
use phalanx::{Strided, StridedMut};

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
            let receiving = world.irecv::<Vec<T>>(left)?;
            let sending = world.issend(data(rank), right)?;
            assert_eq!(receiving.wait()?.0, data(left));
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
