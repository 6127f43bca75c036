/* The same loops as in src/rows/, in C: no checks beyond a sum of the return codes, no status, a
 * static array of requests. */
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

enum { WINDOW = 64 };

#define IGNORE MPI_STATUS_IGNORE

int c_ping_pong(const double *send, double *recv, int count, int iterations, int rank, MPI_Comm comm)
{
    int code = 0;
    if (rank == 0) {
        for (int i = 0; i < iterations; i++) {
            code |= MPI_Send(send, count, MPI_DOUBLE, 1, 0, comm);
            code |= MPI_Recv(recv, count, MPI_DOUBLE, 1, 0, comm, IGNORE);
        }
    } else {
        for (int i = 0; i < iterations; i++) {
            code |= MPI_Recv(recv, count, MPI_DOUBLE, 0, 0, comm, IGNORE);
            code |= MPI_Send(send, count, MPI_DOUBLE, 0, 0, comm);
        }
    }
    return code;
}

/* What a serialised value costs without serialising it. */
int c_ping_pong_bytes(const void *send, void *recv, int bytes, int iterations, int rank, MPI_Comm comm)
{
    int code = 0;
    if (rank == 0) {
        for (int i = 0; i < iterations; i++) {
            code |= MPI_Send(send, bytes, MPI_BYTE, 1, 0, comm);
            code |= MPI_Recv(recv, bytes, MPI_BYTE, 1, 0, comm, IGNORE);
        }
    } else {
        for (int i = 0; i < iterations; i++) {
            code |= MPI_Recv(recv, bytes, MPI_BYTE, 0, 0, comm, IGNORE);
            code |= MPI_Send(send, bytes, MPI_BYTE, 0, 0, comm);
        }
    }
    return code;
}

/* Windows of messages of one number each; the receiver answers once a window. */
int c_windows(const double *send, double *recv, int iterations, int rank, MPI_Comm comm)
{
    MPI_Request requests[WINDOW];
    int code = 0;
    for (int i = 0; i < iterations; i++) {
        if (rank == 0) {
            for (int j = 0; j < WINDOW; j++) {
                code |= MPI_Isend(&send[j], 1, MPI_DOUBLE, 1, 0, comm, &requests[j]);
            }
            code |= MPI_Waitall(WINDOW, requests, MPI_STATUSES_IGNORE);
            code |= MPI_Recv(recv, 1, MPI_DOUBLE, 1, 0, comm, IGNORE);
        } else {
            for (int j = 0; j < WINDOW; j++) {
                code |= MPI_Irecv(&recv[j], 1, MPI_DOUBLE, 0, 0, comm, &requests[j]);
            }
            code |= MPI_Waitall(WINDOW, requests, MPI_STATUSES_IGNORE);
            code |= MPI_Send(send, 1, MPI_DOUBLE, 0, 0, comm);
        }
    }
    return code;
}

/* The ranks take turns as root, so that none runs ahead. */
int c_bcast(double *buffer, int count, int iterations, int size, MPI_Comm comm)
{
    int code = 0;
    int root = 0;
    for (int i = 0; i < iterations; i++) {
        code |= MPI_Bcast(buffer, count, MPI_DOUBLE, root, comm);
        root = root + 1 == size ? 0 : root + 1;
    }
    return code;
}

int c_allreduce(const double *send, double *recv, int count, int iterations, MPI_Comm comm)
{
    int code = 0;
    for (int i = 0; i < iterations; i++) {
        code |= MPI_Allreduce(send, recv, count, MPI_DOUBLE, MPI_SUM, comm);
    }
    return code;
}

int c_allgather(const double *send, double *recv, int count, int iterations, MPI_Comm comm)
{
    int code = 0;
    for (int i = 0; i < iterations; i++) {
        code |= MPI_Allgather(send, count, MPI_DOUBLE, recv, count, MPI_DOUBLE, comm);
    }
    return code;
}

int c_alltoall(const double *send, double *recv, int count, int iterations, MPI_Comm comm)
{
    int code = 0;
    for (int i = 0; i < iterations; i++) {
        code |= MPI_Alltoall(send, count, MPI_DOUBLE, recv, count, MPI_DOUBLE, comm);
    }
    return code;
}

/* What each rank has for its right neighbour. */
int c_shift(const double *send, double *recv, int count, int iterations, int rank, int size, MPI_Comm comm)
{
    int right = (rank + 1) % size, left = (rank + size - 1) % size, code = 0;
    for (int i = 0; i < iterations; i++) {
        code |= MPI_Sendrecv(send, count, MPI_DOUBLE, right, 0, recv, count, MPI_DOUBLE, left, 0, comm, IGNORE);
    }
    return code;
}

/* The halo of a line: one block for and from each of two neighbours. */
int c_halo(const double *send, double *recv, int count, int iterations, int rank, int size, MPI_Comm comm)
{
    int right = (rank + 1) % size, left = (rank + size - 1) % size, code = 0;
    for (int i = 0; i < iterations; i++) {
        code |= MPI_Sendrecv(send + count, count, MPI_DOUBLE, right, 0, recv, count, MPI_DOUBLE, left, 0, comm, IGNORE);
        code |= MPI_Sendrecv(send, count, MPI_DOUBLE, left, 1, recv + count, count, MPI_DOUBLE, right, 1, comm, IGNORE);
    }
    return code;
}
