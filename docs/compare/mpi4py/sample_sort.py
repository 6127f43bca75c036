"""Sample sort of random numbers: mpirun -n 4 python sample_sort.py"""

import sys

import numpy as np
from mpi4py import MPI


# [algorithm]
def sample_sort(comm, data, random):
    picked = 16 * (comm.size.bit_length() - 1) + 1
    samples = random.choice(data, picked)
    everybodys = np.empty(picked * comm.size, data.dtype)
    comm.Allgather(samples, everybodys)
    everybodys.sort()
    splitters = everybodys[picked::picked]
    bucket = np.searchsorted(splitters, data, side="right")
    send_counts = np.bincount(bucket, minlength=comm.size)
    buckets = data[np.argsort(bucket, kind="stable")]
    recv_counts = np.empty_like(send_counts)
    comm.Alltoall(send_counts, recv_counts)
    result = np.empty(recv_counts.sum(), data.dtype)
    comm.Alltoallv([buckets, send_counts], [result, recv_counts])
    result.sort()
    return result
# [end]


def main():
    comm = MPI.COMM_WORLD
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    random = np.random.default_rng(comm.rank)
    data = random.integers(0, 2**64, n, dtype=np.uint64)

    result = sample_sort(comm, data, random)

    before = comm.gather(data)
    after = comm.gather(result)
    if comm.rank == 0:
        assert np.array_equal(np.sort(np.concatenate(before)), np.concatenate(after)), "not sorted"
        print(f"{n * comm.size} numbers sorted on {comm.size} ranks")


if __name__ == "__main__":
    main()
