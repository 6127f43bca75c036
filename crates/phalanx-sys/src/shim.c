/* What mpi.h spells as macros, or what only some MPI libraries have, as symbols that Rust can bind.
 * Every entry exists with every MPI: where the linked one lacks a feature, the answer says so. */
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

/* Addresses and handles that mpi-sys does not export. */
void *phx_in_place(void) { return MPI_IN_PLACE; }
void *phx_bottom(void) { return MPI_BOTTOM; }
MPI_Datatype phx_byte(void) { return MPI_BYTE; }
MPI_Datatype phx_packed(void) { return MPI_PACKED; }
MPI_Op phx_op_null(void) { return MPI_OP_NULL; }
MPI_Op phx_op_replace(void) { return MPI_REPLACE; }
MPI_Op phx_op_no_op(void) { return MPI_NO_OP; }
MPI_Errhandler phx_errors_return(void) { return MPI_ERRORS_RETURN; }

int *phx_unweighted(void) { return (int *)MPI_UNWEIGHTED; }

/* Sizes of strings. */
int phx_max_error_string(void) { return MPI_MAX_ERROR_STRING; }
int phx_max_object_name(void) { return MPI_MAX_OBJECT_NAME; }
int phx_bsend_overhead(void) { return MPI_BSEND_OVERHEAD; }

/* Attributes of the world: an upper bound for tags. */
int phx_tag_upper_bound(MPI_Comm comm, int *value, int *found)
{
    int *attribute = 0;
    int code = MPI_Comm_get_attr(comm, MPI_TAG_UB, &attribute, found);
    if (code == MPI_SUCCESS && *found) {
        *value = *attribute;
    }
    return code;
}

/* The family of the library this was compiled against. */
#if defined(OPEN_MPI)
int phx_family(void) { return 1; }
#elif defined(MPICH) || defined(MPICH_VERSION) || defined(I_MPI_VERSION) || defined(MVAPICH2_VERSION)
int phx_family(void) { return 2; }
#else
int phx_family(void) { return 0; }
#endif

/* The version of the header, to be held against the version of the library at run time. */
int phx_header_version(void) { return MPI_VERSION; }
int phx_header_subversion(void) { return MPI_SUBVERSION; }

int phx_comm_type_shared(void) { return MPI_COMM_TYPE_SHARED; }
int phx_err_in_status(void) { return MPI_ERR_IN_STATUS; }

/* The length of a message, for which every receive asks: a call into the library for it costs as much
 * as everything else that is checked around a receive. */
long long phx_status_bytes(const MPI_Status *status)
{
#if defined(OPEN_MPI)
    return (long long)status->_ucount;
#elif defined(MPICH) && !defined(MPI_ABI)
    /* The lowest bit of the upper half says whether the request was cancelled. */
    unsigned long long high = (unsigned)status->count_hi_and_cancelled >> 1;
    return (long long)(high << 32 | (unsigned)status->count_lo);
#else
    (void)status;
    return -1;
#endif
}
