//! Many threads send, receive and complete requests at the same time.

use std::process::exit;
use std::thread;

use phalanx::{RequestSet, Threading, prelude::*};

const THREADS: usize = 4;
const ROUNDS: usize = 100;

fn main() -> phalanx::Result<()> {
    let session = match phalanx::init(Threading::Multiple) {
        Ok(session) => session,
        Err(error) if error.is_unsupported() => {
            println!("not granted: {error}");
            exit(0);
        }
        Err(error) => return Err(error),
    };
    assert_eq!(phalanx::threading(), Threading::Multiple);
    let world = session.world();
    thread::scope(|s| {
        let threads: Vec<_> =
            (0..THREADS).map(|thread| s.spawn(move || work(world, thread))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    // Each thread has a communicator of its own, made by all ranks in the same order.
    let teams = (0..THREADS).map(|_| world.dup()).collect::<phalanx::Result<Vec<_>>>()?;
    thread::scope(|s| {
        let threads: Vec<_> = teams.iter().map(|team| s.spawn(move || together(team))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    world.barrier()?;
    session.finalize()
}

fn work(world: &Comm, thread: usize) -> phalanx::Result<()> {
    let (rank, size) = (world.rank(), world.size());
    let (right, left) = ((rank + 1) % size, (rank + size - 1) % size);
    let tag = thread as i32;
    let (destination, source) = (to(right).tag(tag), from(left).tag(tag));
    for round in 0..ROUNDS {
        let length = [1, 5000, 0, 50][round % 4];
        let data = vec![rank * 1000 + thread * 100 + round; length];
        let expected = vec![left * 1000 + thread * 100 + round; length];
        let mut sends = RequestSet::new();
        sends.push(world.isend(data.clone(), destination)?);
        assert_eq!(world.recv::<Vec<usize>>(source)?, expected);
        sends.push(world.isend(data.clone(), destination)?);
        assert_eq!(world.probe(source)?.recv::<Vec<usize>>()?, expected);
        let receiving = world.irecv_at_most::<Vec<usize>>(length, source)?;
        sends.push(world.isend(data.clone(), destination)?);
        assert_eq!(receiving.wait()?, expected);
        assert_eq!(world.sendrecv(&data, destination, source)?, expected);
        let mut buffer = vec![0; length];
        world.scope(|s| {
            s.irecv_into(&mut buffer, source)?;
            s.isend(&data, destination).map(drop)
        })?;
        assert_eq!(buffer, expected);
        drop(world.isend(data, destination)?);
        assert_eq!(world.recv::<Vec<usize>>(source)?, expected);
        assert_eq!(sends.wait_all()?.len(), 3);
    }
    Ok(())
}

fn together(team: &Comm) -> phalanx::Result<()> {
    let size = team.size();
    for round in 0..ROUNDS {
        assert_eq!(
            team.allreduce(&(team.rank() + round), Sum)?,
            size * (size - 1) / 2 + size * round
        );
        assert_eq!(team.iallreduce(1, Sum)?.wait()?, size as i32);
    }
    team.barrier()
}
