// A nested object travels to rank 1 and back: mpicc -O2 objects.c -o objects && mpirun -n 2 ./objects
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { EMPTY, CIRCLE, POLYGON };

struct shape {
    uint32_t kind;
    double radius;
    uint64_t corner_count;
    double (*corners)[2];
};

struct setting {
    char *name;
    double value;
};

struct note {
    uint64_t line_count;
    char **lines;
};

struct job {
    uint64_t id;
    struct shape shape;
    uint64_t setting_count;
    struct setting *settings;
    uint64_t note_count;
    struct note *notes;
};

// [algorithm]
struct buffer {
    char *bytes;
    size_t length, capacity, position;
};

static void put(struct buffer *b, const void *value, size_t size) {
    while (b->length + size > b->capacity) {
        b->capacity = b->capacity ? 2 * b->capacity : 256;
        b->bytes = realloc(b->bytes, b->capacity);
    }
    if (size > 0)
        memcpy(b->bytes + b->length, value, size);
    b->length += size;
}

static void put_string(struct buffer *b, const char *text) {
    uint64_t length = strlen(text);
    put(b, &length, sizeof length);
    put(b, text, length);
}

static void put_job(struct buffer *b, const struct job *job) {
    put(b, &job->id, sizeof job->id);
    put(b, &job->shape.kind, sizeof job->shape.kind);
    if (job->shape.kind == CIRCLE)
        put(b, &job->shape.radius, sizeof job->shape.radius);
    if (job->shape.kind == POLYGON) {
        put(b, &job->shape.corner_count, sizeof job->shape.corner_count);
        put(b, job->shape.corners, job->shape.corner_count * sizeof *job->shape.corners);
    }
    put(b, &job->setting_count, sizeof job->setting_count);
    for (uint64_t i = 0; i < job->setting_count; i++) {
        put_string(b, job->settings[i].name);
        put(b, &job->settings[i].value, sizeof job->settings[i].value);
    }
    put(b, &job->note_count, sizeof job->note_count);
    for (uint64_t i = 0; i < job->note_count; i++) {
        put(b, &job->notes[i].line_count, sizeof job->notes[i].line_count);
        for (uint64_t k = 0; k < job->notes[i].line_count; k++)
            put_string(b, job->notes[i].lines[k]);
    }
}

static void take(struct buffer *b, void *value, size_t size) {
    if (size > b->length - b->position) {
        fprintf(stderr, "the message ends too early\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    if (size > 0)
        memcpy(value, b->bytes + b->position, size);
    b->position += size;
}

// Every item takes at least one byte: no count in a message may exceed what is left of it.
static void *take_array(struct buffer *b, uint64_t *count, size_t size) {
    take(b, count, sizeof *count);
    if (*count > b->length - b->position) {
        fprintf(stderr, "the message ends too early\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    return calloc(*count + 1, size);
}

static char *take_string(struct buffer *b) {
    uint64_t length;
    char *text = take_array(b, &length, 1);
    take(b, text, length);
    return text;
}

static void take_job(struct buffer *b, struct job *job) {
    memset(job, 0, sizeof *job);
    take(b, &job->id, sizeof job->id);
    take(b, &job->shape.kind, sizeof job->shape.kind);
    if (job->shape.kind == CIRCLE)
        take(b, &job->shape.radius, sizeof job->shape.radius);
    if (job->shape.kind == POLYGON) {
        job->shape.corners = take_array(b, &job->shape.corner_count, sizeof *job->shape.corners);
        take(b, job->shape.corners, job->shape.corner_count * sizeof *job->shape.corners);
    }
    job->settings = take_array(b, &job->setting_count, sizeof *job->settings);
    for (uint64_t i = 0; i < job->setting_count; i++) {
        job->settings[i].name = take_string(b);
        take(b, &job->settings[i].value, sizeof job->settings[i].value);
    }
    job->notes = take_array(b, &job->note_count, sizeof *job->notes);
    for (uint64_t i = 0; i < job->note_count; i++) {
        job->notes[i].lines = take_array(b, &job->notes[i].line_count, sizeof(char *));
        for (uint64_t k = 0; k < job->notes[i].line_count; k++)
            job->notes[i].lines[k] = take_string(b);
    }
}

static void free_job(struct job *job) {
    free(job->shape.corners);
    for (uint64_t i = 0; i < job->setting_count; i++)
        free(job->settings[i].name);
    free(job->settings);
    for (uint64_t i = 0; i < job->note_count; i++) {
        for (uint64_t k = 0; k < job->notes[i].line_count; k++)
            free(job->notes[i].lines[k]);
        free(job->notes[i].lines);
    }
    free(job->notes);
}

static void send_job(const struct job *job, int to, MPI_Comm comm) {
    struct buffer b = {0};
    put_job(&b, job);
    MPI_Send(b.bytes, (int)b.length, MPI_BYTE, to, 0, comm);
    free(b.bytes);
}

static void recv_job(struct job *job, int from, MPI_Comm comm) {
    MPI_Message message;
    MPI_Status status;
    int length;
    MPI_Mprobe(from, 0, comm, &message, &status);
    MPI_Get_count(&status, MPI_BYTE, &length);
    struct buffer b = {.bytes = malloc(length), .length = length};
    MPI_Mrecv(b.bytes, length, MPI_BYTE, &message, MPI_STATUS_IGNORE);
    take_job(&b, job);
    free(b.bytes);
}
// [end]

static int same(const struct job *a, const struct job *b) {
    struct buffer x = {0}, y = {0};
    put_job(&x, a);
    put_job(&y, b);
    int equal = x.length == y.length && memcmp(x.bytes, y.bytes, x.length) == 0;
    free(x.bytes);
    free(y.bytes);
    return equal;
}

int main(int argc, char **argv) {
    MPI_Init(&argc, &argv);
    int rank;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) {
        double corners[][2] = {{0, 0}, {1, 0}, {0, 1}};
        struct setting settings[] = {{"steps", 100.0}, {"tolerance", 1e-9}};
        char *first[] = {"first", "second"}, *last[] = {"third"};
        struct note notes[] = {{2, first}, {0, NULL}, {1, last}};
        struct job job = {
            .id = 42,
            .shape = {.kind = POLYGON, .corner_count = 3, .corners = corners},
            .setting_count = 2,
            .settings = settings,
            .note_count = 3,
            .notes = notes,
        };
        struct job back;
        send_job(&job, 1, MPI_COMM_WORLD);
        recv_job(&back, 1, MPI_COMM_WORLD);
        if (!same(&job, &back)) {
            fprintf(stderr, "the job changed on its way\n");
            MPI_Abort(MPI_COMM_WORLD, 1);
        }
        printf("the job came back unchanged\n");
        free_job(&back);
    } else if (rank == 1) {
        struct job job;
        recv_job(&job, 0, MPI_COMM_WORLD);
        send_job(&job, 0, MPI_COMM_WORLD);
        free_job(&job);
    }
    MPI_Finalize();
}
