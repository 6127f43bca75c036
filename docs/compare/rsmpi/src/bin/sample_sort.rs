//! Sample sort of random numbers: `mpirun -n 4 target/release/sample_sort`

use mpi::datatype::{Partition, PartitionMut};
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;

fn starts(counts: &[i32]) -> Vec<i32> {
    counts
        .iter()
        .scan(0, |total, count| {
            *total += count;
            Some(*total - count)
        })
        .collect()
}

// [algorithm]
fn sample_sort(world: &SimpleCommunicator, data: Vec<u64>, random: &mut fastrand::Rng) -> Vec<u64> {
    let size = world.size() as usize;
    let picked = 16 * size.ilog2() as usize + 1;
    let samples: Vec<u64> = (0..picked).map(|_| data[random.usize(..data.len())]).collect();
    let mut everybodys = vec![0; picked * size];
    world.all_gather_into(&samples[..], &mut everybodys[..]);
    everybodys.sort_unstable();
    let splitters: Vec<u64> = (1..size).map(|i| everybodys[i * picked]).collect();
    let mut buckets = vec![Vec::new(); size];
    for x in data {
        buckets[splitters.partition_point(|s| *s <= x)].push(x);
    }
    let send_counts: Vec<i32> = buckets.iter().map(|b| b.len() as i32).collect();
    let mut recv_counts = vec![0; size];
    world.all_to_all_into(&send_counts[..], &mut recv_counts[..]);
    let flat = buckets.concat();
    let mut sorted = vec![0; recv_counts.iter().sum::<i32>() as usize];
    let send = Partition::new(&flat[..], &send_counts[..], starts(&send_counts));
    let mut recv = PartitionMut::new(&mut sorted[..], &recv_counts[..], starts(&recv_counts));
    world.all_to_all_varcount_into(&send, &mut recv);
    sorted.sort_unstable();
    sorted
}
// [end]

fn main() {
    let universe = mpi::initialize().unwrap();
    let world = universe.world();
    let (rank, size) = (world.rank(), world.size() as usize);
    let n = std::env::args().nth(1).map_or(100_000, |n| n.parse().unwrap());
    let mut random = fastrand::Rng::with_seed(rank as u64);
    let data: Vec<u64> = (0..n).map(|_| random.u64(..)).collect();

    let sorted = sample_sort(&world, data.clone(), &mut random);

    let root = world.process_at_rank(0);
    if rank == 0 {
        let mut before = vec![0u64; n * size];
        let mut after = vec![0u64; n * size];
        let mut counts = vec![0; size];
        root.gather_into_root(&data[..], &mut before[..]);
        root.gather_into_root(&(sorted.len() as i32), &mut counts[..]);
        let mut parts = PartitionMut::new(&mut after[..], &counts[..], starts(&counts));
        root.gather_varcount_into_root(&sorted[..], &mut parts);
        before.sort_unstable();
        assert!(before == after, "not sorted");
        println!("{} numbers sorted on {size} ranks", n * size);
    } else {
        root.gather_into(&data[..]);
        root.gather_into(&(sorted.len() as i32));
        root.gather_varcount_into(&sorted[..]);
    }
}
