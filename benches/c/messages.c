/* The same loops as in src/rows/, in C: no checks beyond a sum of the return codes, no status, a
 * static array of requests. */
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#include <stdlib.h>

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

/* The ghost cells of a square block of doubles, one cell wide, corners included: what goes in each of
   the eight directions, and what comes from there. */
struct ghosts {
    int ranks[8];
    MPI_Datatype sends[8], receives[8];
};

static int rank_at(int rank, int size, int down)
{
    return (rank + down + size) % size;
}

/* The ranks are the rows of a grid of one column, closed to a torus. */
void *c_ghosts_new(int interior, int rank, int size)
{
    struct ghosts *ghosts = malloc(sizeof *ghosts);
    int shape[2] = {interior + 2, interior + 2}, code = 0, n = 0;
    if (!ghosts) {
        return NULL;
    }
    for (int down = -1; down <= 1; down++) {
        for (int right = -1; right <= 1; right++) {
            if (down == 0 && right == 0) {
                continue;
            }
            int steps[2] = {down, right}, lengths[2], edge[2], ghost[2];
            for (int d = 0; d < 2; d++) {
                lengths[d] = steps[d] ? 1 : interior;
                edge[d] = steps[d] > 0 ? interior : 1;
                ghost[d] = steps[d] > 0 ? interior + 1 : steps[d] < 0 ? 0 : 1;
            }
            code |= MPI_Type_create_subarray(2, shape, lengths, edge, MPI_ORDER_C, MPI_DOUBLE, &ghosts->sends[n]);
            code |= MPI_Type_create_subarray(2, shape, lengths, ghost, MPI_ORDER_C, MPI_DOUBLE, &ghosts->receives[n]);
            code |= MPI_Type_commit(&ghosts->sends[n]) | MPI_Type_commit(&ghosts->receives[n]);
            ghosts->ranks[n++] = rank_at(rank, size, down);
        }
    }
    if (code) {
        free(ghosts);
        return NULL;
    }
    return ghosts;
}

int c_ghosts_free(void *memory)
{
    struct ghosts *ghosts = memory;
    int code = 0;
    for (int n = 0; n < 8; n++) {
        code |= MPI_Type_free(&ghosts->sends[n]) | MPI_Type_free(&ghosts->receives[n]);
    }
    free(ghosts);
    return code;
}

/* What is sent in a direction has the direction as its tag. */
int c_ghosts_exchange(const void *memory, double *block, int iterations, MPI_Comm comm)
{
    const struct ghosts *ghosts = memory;
    int code = 0;
    for (int i = 0; i < iterations; i++) {
        MPI_Request requests[16];
        for (int n = 0; n < 8; n++) {
            code |= MPI_Irecv(block, 1, ghosts->receives[n], ghosts->ranks[n], 7 - n, comm, &requests[n]);
        }
        for (int n = 0; n < 8; n++) {
            code |= MPI_Isend(block, 1, ghosts->sends[n], ghosts->ranks[n], n, comm, &requests[8 + n]);
        }
        code |= MPI_Waitall(16, requests, MPI_STATUSES_IGNORE);
    }
    return code;
}
