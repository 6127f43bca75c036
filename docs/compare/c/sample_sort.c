// Sample sort of random numbers: mpicc -O2 sample_sort.c -o sample_sort && mpirun -n 4 ./sample_sort
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static int exclusive_sum(const int *counts, int *starts, int size) {
    int total = 0;
    for (int i = 0; i < size; i++) {
        starts[i] = total;
        total += counts[i];
    }
    return total;
}

// [algorithm]
static int bucket_of(uint64_t x, const uint64_t *splitters, int size) {
    int low = 0, high = size - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (splitters[middle] <= x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint64_t *sample_sort(MPI_Comm comm, const uint64_t *data, int n, uint64_t *random, int *length) {
    int size;
    MPI_Comm_size(comm, &size);
    int picked = 1;
    for (int ranks = size; ranks > 1; ranks /= 2)
        picked += 16;
    uint64_t *samples = malloc(picked * sizeof *samples);
    uint64_t *all = malloc(picked * size * sizeof *all);
    for (int i = 0; i < picked; i++)
        samples[i] = data[next(random) % n];
    MPI_Allgather(samples, picked, MPI_UINT64_T, all, picked, MPI_UINT64_T, comm);
    qsort(all, picked * size, sizeof *all, ascending);
    uint64_t *splitters = malloc(size * sizeof *splitters);
    for (int i = 1; i < size; i++)
        splitters[i - 1] = all[i * picked];

    int *send_counts = calloc(size, sizeof(int)), *send_starts = malloc(size * sizeof(int));
    int *recv_counts = malloc(size * sizeof(int)), *recv_starts = malloc(size * sizeof(int));
    int *fill = malloc(size * sizeof(int));
    uint64_t *buckets = malloc(n * sizeof *buckets);
    for (int i = 0; i < n; i++)
        send_counts[bucket_of(data[i], splitters, size)]++;
    exclusive_sum(send_counts, send_starts, size);
    memcpy(fill, send_starts, size * sizeof(int));
    for (int i = 0; i < n; i++)
        buckets[fill[bucket_of(data[i], splitters, size)]++] = data[i];

    MPI_Alltoall(send_counts, 1, MPI_INT, recv_counts, 1, MPI_INT, comm);
    *length = exclusive_sum(recv_counts, recv_starts, size);
    uint64_t *sorted = malloc(*length * sizeof *sorted);
    MPI_Alltoallv(buckets, send_counts, send_starts, MPI_UINT64_T,
                  sorted, recv_counts, recv_starts, MPI_UINT64_T, comm);
    qsort(sorted, *length, sizeof *sorted, ascending);

    free(samples);
    free(all);
    free(splitters);
    free(send_counts);
    free(send_starts);
    free(recv_counts);
    free(recv_starts);
    free(fill);
    free(buckets);
    return sorted;
}
// [end]

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    int rank, size, n = argc > 1 ? atoi(argv[1]) : 100000;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    uint64_t random = rank, *data = malloc(n * sizeof *data);
    for (int i = 0; i < n; i++)
        data[i] = next(&random);

    int length;
    uint64_t *sorted = sample_sort(MPI_COMM_WORLD, data, n, &random, &length);

    int *counts = malloc(size * sizeof(int)), *starts = malloc(size * sizeof(int));
    uint64_t *before = malloc((size_t)n * size * sizeof *before);
    uint64_t *after = malloc((size_t)n * size * sizeof *after);
    MPI_Gather(data, n, MPI_UINT64_T, before, n, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    MPI_Gather(&length, 1, MPI_INT, counts, 1, MPI_INT, 0, MPI_COMM_WORLD);
    if (rank == 0)
        exclusive_sum(counts, starts, size);
    MPI_Gatherv(sorted, length, MPI_UINT64_T, after, counts, starts, MPI_UINT64_T, 0, MPI_COMM_WORLD);
    if (rank == 0) {
        qsort(before, (size_t)n * size, sizeof *before, ascending);
        if (memcmp(before, after, (size_t)n * size * sizeof *before) != 0) {
            fprintf(stderr, "not sorted\n");
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
        printf("%d numbers sorted on %d ranks\n", n * size, size);
    }
    free(data);
    free(sorted);
    free(counts);
    free(starts);
    free(before);
    free(after);
    MPI_Finalize();
}
