//! The two ways of waiting, the library's and ours, give the same answers.

use std::time::{Duration, Instant};

use phalanx::prelude::*;
use phalanx::{Located, MaxLoc, PerRank, RequestSet, Result};
use phalanx_launch::{Job, Launcher, Mpi, Output};

/// A little of everything that waits, against a model.
fn mix(world: &Comm) -> Result<()> {
    let (n, me) = (world.size(), world.rank());
    let (next, last) = ((me + 1) % n, (me + n - 1) % n);
    for len in [0, 1, 100, 100_000] {
        let block = |rank: usize| -> Vec<u64> { (0..len).map(|i| (rank * 7 + i) as u64).collect() };

        // Point to point: eager and rendezvous, known and unknown length, all kinds of completion.
        let sending = world.isend(block(me), next)?;
        assert_eq!(world.recv::<Vec<u64>>(last)?, block(last));
        assert_eq!(sending.wait()?, block(me));
        let synchronous = world.issend(block(me), to(next).tag(1))?;
        let (received, status) = world.irecv_into(vec![0; len], from(last).tag(1))?.wait()?;
        assert_eq!((received, status.source, status.len), (block(last), Some(last), len));
        synchronous.wait()?;
        let sending = world.isend(block(me), to(next).tag(2))?;
        let message = world.probe(any().tag(2))?;
        assert_eq!((message.source(), message.len::<u64>()?), (Some(last), len));
        assert_eq!(message.recv::<Vec<u64>>()?, block(last));
        sending.wait()?;
        let mut buffer = vec![0; len];
        world.sendrecv_into(&block(me), next, &mut buffer, last)?;
        assert_eq!(buffer, block(last));
        let sending = world.isend_object(&(me, "text".repeat(len)), next)?;
        let (rank, text): (usize, String) = world.recv_object(last)?;
        assert_eq!((rank, text.len()), (last, 4 * len));
        sending.wait()?;

        // Collectives, blocking and not.
        let mut data = if me == n - 1 { block(3) } else { vec![0; len] };
        world.bcast(&mut data, n - 1)?;
        assert_eq!(data, block(3));
        let all: Vec<u64> = (0..n).flat_map(block).collect();
        assert_eq!(world.gather(&block(me), 0)?, (me == 0).then(|| all.clone()));
        assert_eq!(world.scatter((me == 0).then_some(&all), 0)?, block(me));
        assert_eq!(world.allgather(&block(me))?, all);
        let sums: Vec<u64> = (0..len).map(|i| (0..n).map(|r| (r * 7 + i) as u64).sum()).collect();
        assert_eq!(world.allreduce(&block(me), Sum)?, sums);
        assert_eq!(world.reduce(&block(me), op(|a, b| a + b), 0)?, (me == 0).then(|| sums.clone()));
        assert_eq!(world.iallreduce(block(me), Sum)?.wait()?, sums);
        let blocks: Vec<Vec<u64>> = (0..n).map(|to| vec![me as u64; (to + 1) * len / 10]).collect();
        let inbox = world.alltoallv(&blocks)?;
        assert!((0..n).all(|from| inbox[from] == vec![from as u64; (me + 1) * len / 10]));
        let incoming = vec![(me + 1) * len / 10; n];
        assert_eq!(world.ialltoallv(PerRank::from(blocks), incoming)?.wait()?, inbox);
    }

    // Sets in every way, and a communicator that is made and freed.
    let copy = world.dup()?;
    let mut receives: RequestSet<_> =
        (0..n).map(|rank| copy.irecv_into(vec![0_usize; 2], rank)).collect::<Result<_>>()?;
    let sends: RequestSet<_> =
        (0..n).map(|rank| copy.isend([me, rank], rank)).collect::<Result<_>>()?;
    let mut seen = 0;
    while receives.pending() > 0 {
        for (from, (data, _)) in receives.wait_some()? {
            assert_eq!(data, [from, me]);
            seen += 1;
        }
    }
    assert_eq!((seen, sends.wait_all()?.len()), (n, n));
    let barrier = copy.ibarrier()?;
    phalanx::block_on(barrier)?;
    copy.free()?;
    let most = world.allreduce(&Located::new(me as f64, me), MaxLoc)?;
    assert_eq!(most.index(), n - 1);
    assert_eq!(world.exscan(&1, Sum)?, (me > 0).then_some(me as i32));
    world.barrier()
}

/// An 8-byte allreduce many times. The bound is no measurement: it finds a rank that sleeps where
/// it should not, or one that never wakes up.
fn many_small_ones(world: &Comm) -> Result<()> {
    let start = Instant::now();
    for round in 0..200_u64 {
        let sum = world.allreduce(&round, Sum)?;
        assert_eq!(sum, round * world.size() as u64);
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(20), "200 small reductions took {took:?}");
    Ok(())
}

#[phalanx::test(ranks = [1, 2, 3, 4], env("PHALANX_WAIT" = "poll"))]
fn everything_works_with_waiting_of_our_own(world: Comm) -> Result<()> {
    mix(&world)?;
    many_small_ones(&world)
}

#[phalanx::test(ranks = [1, 2, 3, 4], env("PHALANX_WAIT" = "library"))]
fn everything_works_with_the_waiting_of_the_library(world: Comm) -> Result<()> {
    mix(&world)?;
    many_small_ones(&world)
}

#[phalanx::test(ranks = [2, 3], threads = "multiple", env("PHALANX_WAIT" = "poll"))]
fn threads_wait_side_by_side(world: Comm) -> Result<()> {
    let comms: Vec<Comm> = (0..3).map(|_| world.dup()).collect::<Result<_>>()?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = comms.iter().map(|comm| scope.spawn(move || mix(comm))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    mix(&world)
}

#[test]
fn ranks_that_are_told_different_ways_agree_on_one() {
    let program = env!("CARGO_BIN_EXE_start");
    let mpi = Mpi::of_executable(program).expect("an MPI program");
    let script = "case ${OMPI_COMM_WORLD_RANK:-$PMI_RANK} in \
                  1) PHALANX_WAIT=poll ;; 2) PHALANX_WAIT=auto ;; *) PHALANX_WAIT=library ;; esac; \
                  export PHALANX_WAIT; exec \"$0\" hello";
    let finished = Job::new("sh")
        .launcher(Launcher::of(&mpi).expect("its launcher"))
        .args(["-c", script, program])
        .ranks(3)
        .output(Output::Capture)
        .share_cores(true)
        .timeout(Duration::from_secs(30))
        .run()
        .expect("a job");
    assert!(finished.success(), "{}", String::from_utf8_lossy(&finished.stderr));
    assert_eq!(String::from_utf8_lossy(&finished.stdout).lines().count(), 3);
}
