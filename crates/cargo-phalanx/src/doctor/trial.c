#include <mpi.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING];
    int length, rank, size, sum;

    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Get_library_version(version, &length);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    for (char *c = version; *c; c++)
        if (*c == '\n' || *c == '\t')
            *c = ' ';
    if (rank == 0)
        printf("phalanx-trial %d %.100s\n", size, version);
    MPI_Finalize();
    return sum == size * (size - 1) / 2 ? 0 : 1;
}
