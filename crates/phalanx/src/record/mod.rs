//! What this rank is doing now.
//!
//! Every MPI call is described by one [`Call`] and, where it moves data or waits, a [`What`]; errors,
//! the report of a failing rank and the watch read what the gate notes of them, so that there is no
//! second instrumentation anywhere.
//! - `allowed.rs`: the proof that a call may be noted;
//! - `lane.rs`: the last calls of a thread, and whether it is inside one;
//! - `pending.rs`: what has been started and is not complete;
//! - `comm.rs`: communicators, and how many messages went over them;
//! - `verdict.rs`: what the watch has found out of the call that this rank is inside of.

mod allowed;
mod comm;
mod lane;
mod pending;
mod verdict;

use std::fmt;
use std::panic::Location;

use serde::{Deserialize, Serialize};

pub(crate) use allowed::Allowed;
pub(crate) use comm::{CommRecord, Counts, Identity, Strict, freed_comms, known_comms};
pub(crate) use lane::{
    Lane, Noted, activate, calls, enter, join, lanes, last_call, leave, looked, marked, remember,
    retire, waiting,
};
pub(crate) use pending::{
    NONE, add as pend, find as pending, finish, for_each, mark, overflowed, share,
};
pub(crate) use verdict::{deliver_verdict, had_verdict, has_verdict, take_verdict};

/// An operation of this library and the MPI function behind it.
#[derive(Debug)]
pub struct Operation {
    pub name: &'static str,
    pub function: &'static str,
    /// Whether one call of it is several calls of MPI: lengths are exchanged before the data. These are
    /// no lengths of the user's, and calls of MPI are no measure for the user's.
    pub has_steps: bool,
}

impl Operation {
    const fn new(name: &'static str, function: &'static str) -> Self {
        let bytes = name.as_bytes();
        let mut has_steps = bytes[bytes.len() - 1] == b'v';
        let word = b"_object";
        let mut at = 0;
        while at + word.len() <= bytes.len() {
            let mut length = 0;
            while length < word.len() && bytes[at + length] == word[length] {
                length += 1;
            }
            has_steps |= length == word.len();
            at += 1;
        }
        Operation { name, function, has_steps }
    }
}

/// Whom an MPI call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// Nobody.
    Local,
    /// The receiver, where the library does not buffer.
    Send,
    /// The receiver.
    SyncSend,
    /// Nobody: the message is copied.
    BufferedSend,
    /// The sender, or any member of the communicator.
    Receive,
    /// As a receive, and the message stays.
    Probe,
    /// Every member of the communicator.
    Collective,
    /// The root, and those who pass its data on.
    FromRoot,
    /// At the root every member; elsewhere the root.
    ToRoot,
    /// The members with lower ranks.
    Prefix,
    /// The neighbours in the topology of the communicator.
    Neighbors,
    /// Some members of the communicator: of the collective operations, the ones that are not numbered.
    Members,
    /// Nobody: an operation of all members begins that is made of messages with its tag.
    Steps,
    /// All of several requests.
    WaitAll,
    /// One of several requests.
    WaitAny,
    /// Every rank of the world, for ever: who is in it answers nothing any more.
    Finalize,
}

impl Kind {
    /// In the order of their numbers.
    pub const ALL: [Kind; 16] = {
        use Kind::*;
        [
            Local,
            Send,
            SyncSend,
            BufferedSend,
            Receive,
            Probe,
            Collective,
            FromRoot,
            ToRoot,
            Prefix,
            Neighbors,
            Members,
            Steps,
            WaitAll,
            WaitAny,
            Finalize,
        ]
    };

    /// Whether all members of a communicator call it in the same order, so that it has a number.
    pub fn is_collective(self) -> bool {
        use Kind::*;
        matches!(self, Collective | FromRoot | ToRoot | Prefix | Neighbors)
    }

    /// Whether it sends a message from one rank to another.
    pub fn is_send(self) -> bool {
        matches!(self, Kind::Send | Kind::SyncSend | Kind::BufferedSend)
    }
}

/// A number for a message with a tag. Of sums of such numbers two things can be told: how many there
/// are (the low bits), and whether they are those of certain tags (the others: a hash of each).
#[inline(always)]
pub(crate) fn message(tag: i32) -> u64 {
    // Most messages have this tag, and a received one is not known when this is compiled.
    if tag == 0 { const { hashed(0) } } else { hashed(tag) }
}

const fn hashed(tag: i32) -> u64 {
    // Weaker hashes than this have the same sum for tags as usual as 0, 0, 5 and 1, 2, 2.
    let mut hash = (tag as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 31).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash = (hash ^ hash >> 30).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ hash >> 33) << NUMBER_BITS | 1
}

/// How many low bits of a sum of messages are their number.
pub(crate) const NUMBER_BITS: u32 = 20;

/// How many messages a sum stands for: negative if more were received than sent.
pub(crate) fn number_of(sum: u64) -> i64 {
    let shift = u64::BITS - NUMBER_BITS;
    ((sum << shift) as i64) >> shift
}

/// Declares operations: `NAME = "method" : "MPI_Function";`.
macro_rules! operations {
    ($($constant:ident = $name:literal : $function:literal;)*) => {
        $(pub(crate) static $constant: Operation = Operation::new($name, $function);)*
    };
}

operations! {
    INIT = "init": "MPI_Init_thread";
    FINALIZE = "finalize": "MPI_Finalize";
    ABORT = "abort": "MPI_Abort";
    PROCESSOR_NAME = "processor_name": "MPI_Get_processor_name";
    VERSION = "version": "MPI_Get_version";
    LIBRARY_VERSION = "library_version": "MPI_Get_library_version";
    WTIME = "wtime": "MPI_Wtime";
    COMM_DUP = "dup": "MPI_Comm_dup";
    COMM_SPLIT = "split": "MPI_Comm_split";
    COMM_SPLIT_NODE = "split_by_node": "MPI_Comm_split_type";
    COMM_CREATE = "create": "MPI_Comm_create";
    COMM_CREATE_GROUP = "create_group": "MPI_Comm_create_group";
    COMM_COMPARE = "compare": "MPI_Comm_compare";
    COMM_NAME = "set_name": "MPI_Comm_set_name";
    COMM_FREE = "free": "MPI_Comm_free";
    COMM_GROUP = "group": "MPI_Comm_group";
    COMM_ATTACH = "from_raw": "MPI_Comm_dup";
    GROUP = "group operation": "MPI_Group_*";
    DIMS_CREATE = "dims_create": "MPI_Dims_create";
    CART = "cart": "MPI_Cart_create";
    CART_REORDER = "cart_reorder": "MPI_Cart_create";
    CART_SUB = "sub": "MPI_Cart_sub";
    CART_RANK = "rank_of": "MPI_Cart_rank";
    CART_COORDS = "coords_of": "MPI_Cart_coords";
    CART_SHIFT = "shift_ranks": "MPI_Cart_shift";
    DISTRIBUTION = "distribution": "MPI_Cart_get";
    DISTRIBUTION_SCATTER = "scatter of blocks": "MPI_Scatterv";
    DISTRIBUTION_GATHER = "gather of blocks": "MPI_Gatherv";
    GRAPH = "graph": "MPI_Dist_graph_create_adjacent";
    GRAPH_WEIGHTED = "graph_weighted": "MPI_Dist_graph_create_adjacent";
    GRAPH_EDGES = "graph_from_edges": "MPI_Dist_graph_create";
    SEND = "send": "MPI_Send";
    SSEND = "ssend": "MPI_Ssend";
    BSEND = "bsend": "MPI_Bsend";
    RSEND = "rsend": "MPI_Rsend";
    RECV = "recv": "MPI_Recv";
    RECV_INTO = "recv_into": "MPI_Recv";
    PROBE = "probe": "MPI_Mprobe";
    IPROBE = "try_probe": "MPI_Improbe";
    MRECV = "receive of a probed message": "MPI_Mrecv";
    SENDRECV = "sendrecv": "MPI_Sendrecv";
    SENDRECV_REPLACE = "sendrecv_replace": "MPI_Sendrecv_replace";
    BUFFER_ATTACH = "attach_buffer": "MPI_Buffer_attach";
    BUFFER_DETACH = "detach_buffer": "MPI_Buffer_detach";
    ISEND = "isend": "MPI_Isend";
    ISSEND = "issend": "MPI_Issend";
    IRECV = "irecv": "MPI_Irecv";
    IRECV_AT_MOST = "irecv_at_most": "MPI_Irecv";
    WAIT_ALL = "wait_all": "MPI_Waitall";
    WAIT_ANY = "wait_any": "MPI_Waitany";
    CANCEL = "cancel": "MPI_Cancel";
    SEND_OBJECT = "send_object": "MPI_Send";
    SSEND_OBJECT = "ssend_object": "MPI_Ssend";
    ISEND_OBJECT = "isend_object": "MPI_Isend";
    ISSEND_OBJECT = "issend_object": "MPI_Issend";
    RECV_OBJECT = "recv_object": "MPI_Recv";
    IRECV_OBJECT = "irecv_object": "MPI_Irecv";
    BARRIER = "barrier": "MPI_Barrier";
    BCAST = "bcast": "MPI_Bcast";
    GATHER = "gather": "MPI_Gather";
    GATHERV = "gatherv": "MPI_Gatherv";
    SCATTER = "scatter": "MPI_Scatter";
    SCATTERV = "scatterv": "MPI_Scatterv";
    ALLGATHER = "allgather": "MPI_Allgather";
    ALLGATHERV = "allgatherv": "MPI_Allgatherv";
    ALLTOALL = "alltoall": "MPI_Alltoall";
    ALLTOALLV = "alltoallv": "MPI_Alltoallv";
    ALLTOALLW = "alltoallw": "MPI_Alltoallw";
    REDUCE = "reduce": "MPI_Reduce";
    ALLREDUCE = "allreduce": "MPI_Allreduce";
    REDUCE_SCATTER = "reduce_scatter": "MPI_Reduce_scatter";
    REDUCE_SCATTER_BLOCK = "reduce_scatter_block": "MPI_Reduce_scatter_block";
    SCAN = "scan": "MPI_Scan";
    EXSCAN = "exscan": "MPI_Exscan";
    NEIGHBOR_ALLGATHER = "neighbor_allgather": "MPI_Neighbor_allgather";
    NEIGHBOR_ALLGATHERV = "neighbor_allgatherv": "MPI_Neighbor_alltoallw";
    NEIGHBOR_ALLTOALL = "neighbor_alltoall": "MPI_Neighbor_alltoall";
    NEIGHBOR_ALLTOALLV = "neighbor_alltoallv": "MPI_Neighbor_alltoallw";
    NEIGHBOR_ALLTOALLW = "neighbor_alltoallw": "MPI_Neighbor_alltoallw";
    INEIGHBOR_ALLGATHER = "ineighbor_allgather": "MPI_Ineighbor_allgather";
    INEIGHBOR_ALLGATHERV = "ineighbor_allgatherv": "MPI_Ineighbor_alltoallw";
    INEIGHBOR_ALLTOALL = "ineighbor_alltoall": "MPI_Ineighbor_alltoall";
    INEIGHBOR_ALLTOALLV = "ineighbor_alltoallv": "MPI_Ineighbor_alltoallw";
    INEIGHBOR_ALLTOALLW = "ineighbor_alltoallw": "MPI_Ineighbor_alltoallw";
    HALO = "halo exchange": "MPI_Isend";
    IBARRIER = "ibarrier": "MPI_Ibarrier";
    IBCAST = "ibcast": "MPI_Ibcast";
    IGATHER = "igather": "MPI_Igather";
    IGATHERV = "igatherv": "MPI_Igatherv";
    ISCATTER = "iscatter": "MPI_Iscatter";
    ISCATTERV = "iscatterv": "MPI_Iscatterv";
    IALLGATHER = "iallgather": "MPI_Iallgather";
    IALLGATHERV = "iallgatherv": "MPI_Iallgatherv";
    IALLTOALL = "ialltoall": "MPI_Ialltoall";
    IALLTOALLV = "ialltoallv": "MPI_Ialltoallv";
    IALLTOALLW = "ialltoallw": "MPI_Ialltoallw";
    IREDUCE = "ireduce": "MPI_Ireduce";
    IALLREDUCE = "iallreduce": "MPI_Iallreduce";
    IREDUCE_SCATTER = "ireduce_scatter": "MPI_Ireduce_scatter";
    IREDUCE_SCATTER_BLOCK = "ireduce_scatter_block": "MPI_Ireduce_scatter_block";
    ISCAN = "iscan": "MPI_Iscan";
    IEXSCAN = "iexscan": "MPI_Iexscan";
    IBCAST_OBJECT = "ibcast_object": "MPI_Isend";
    IGATHER_OBJECT = "igather_object": "MPI_Isend";
    ISCATTER_OBJECT = "iscatter_object": "MPI_Isend";
    IALLGATHER_OBJECT = "iallgather_object": "MPI_Isend";
    IALLTOALL_OBJECT = "ialltoall_object": "MPI_Isend";
    IREDUCE_OBJECT = "ireduce_object": "MPI_Isend";
    IALLREDUCE_OBJECT = "iallreduce_object": "MPI_Isend";
    NEIGHBOR_ALLGATHER_OBJECT = "neighbor_allgather_object": "MPI_Isend";
    NEIGHBOR_ALLTOALL_OBJECT = "neighbor_alltoall_object": "MPI_Isend";
    INEIGHBOR_ALLGATHER_OBJECT = "ineighbor_allgather_object": "MPI_Isend";
    INEIGHBOR_ALLTOALL_OBJECT = "ineighbor_alltoall_object": "MPI_Isend";
    BCAST_OBJECT = "bcast_object": "MPI_Bcast";
    GATHER_OBJECT = "gather_object": "MPI_Gatherv";
    ALLGATHER_OBJECT = "allgather_object": "MPI_Allgatherv";
    SCATTER_OBJECT = "scatter_object": "MPI_Scatterv";
    ALLTOALL_OBJECT = "alltoall_object": "MPI_Alltoallv";
    REDUCE_OBJECT = "reduce_object": "MPI_Send";
    ALLREDUCE_OBJECT = "allreduce_object": "MPI_Send";
    EXSCAN_OBJECT = "exscan_object": "MPI_Send";
    SCAN_OBJECT = "scan_object": "MPI_Send";
    EXCHANGE = "exchange": "MPI_Waitall";
    EXCHANGE_SEND = "send": "MPI_Isend";
    EXCHANGE_RECV = "recv": "MPI_Irecv";
    EXCHANGE_RECV_VEC = "recv_vec": "MPI_Mrecv";
    EXCHANGE_SEND_OBJECT = "send_object": "MPI_Isend";
    SHIFT = "shift": "MPI_Sendrecv";
    SHIFT_INTO = "shift_into": "MPI_Sendrecv";
    SHIFT_OPEN = "shift_open": "MPI_Sendrecv";
    SHIFT_OBJECT = "shift_object": "MPI_Isend";
    SHIFT_OPEN_OBJECT = "shift_open_object": "MPI_Isend";
    SWAP = "swap": "MPI_Sendrecv_replace";
    SWAP_OBJECT = "swap_object": "MPI_Isend";
    PAIRWISE = "pairwise": "MPI_Allgatherv";
    SPARSE_EXCHANGE = "sparse_exchange": "MPI_Issend";
    SPARSE_EXCHANGE_OBJECT = "sparse_exchange_object": "MPI_Issend";
    IN_ORDER = "in_order": "MPI_Recv";
    SIGNALS = "watch signals": "none";
    CHECKPOINT_OPEN = "open checkpoints": "MPI_Bcast";
    CHECKPOINT_PART = "object of a checkpoint": "none";
    CHECKPOINT_SAVE = "save checkpoint": "MPI_Gatherv";
    CHECKPOINT_LATEST = "latest checkpoint": "MPI_Bcast";
    CHECKPOINT_READ = "read checkpoint": "none";
    DATATYPE = "datatype": "MPI_Type_commit";
    RELEASE = "release": "MPI_Type_free";
}

/// The other side of a point-to-point call, or the root of a collective one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    None,
    To(usize),
    From(usize),
    AnySource,
    Null,
    Root(usize),
}

impl fmt::Display for Peer {
    /// With a space before it: ` from rank 3`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::None => Ok(()),
            Peer::To(rank) => write!(f, " to rank {rank}"),
            Peer::From(rank) => write!(f, " from rank {rank}"),
            Peer::AnySource => f.write_str(" from any source"),
            Peer::Null => f.write_str(" with the null process"),
            Peer::Root(rank) => write!(f, " with root {rank}"),
        }
    }
}

/// One MPI call: what, on which communicator, with whom, from which line of the user's program.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub operation: &'static Operation,
    pub comm: Option<&'a Identity>,
    pub peer: Peer,
    /// `None` when the operation has no tag or takes any.
    pub tag: Option<i32>,
    pub location: &'static Location<'static>,
}

impl<'a> Call<'a> {
    #[inline]
    pub fn on(
        operation: &'static Operation,
        comm: &'a Identity,
        location: &'static Location<'static>,
    ) -> Self {
        Call { operation, comm: Some(comm), peer: Peer::None, tag: None, location }
    }

    /// A call that concerns no communicator.
    pub fn local(operation: &'static Operation, location: &'static Location<'static>) -> Self {
        Call { operation, comm: None, peer: Peer::None, tag: None, location }
    }

    /// A copy for a function off the hot path. What only has its address taken there need not be in
    /// memory anywhere else.
    #[inline(always)]
    pub fn copy(&self) -> Self {
        *self
    }

    #[inline]
    pub fn peer(mut self, peer: Peer) -> Self {
        self.peer = peer;
        self
    }

    #[inline]
    pub fn root(self, root: usize) -> Self {
        self.peer(Peer::Root(root))
    }

    #[inline]
    pub fn tag(mut self, tag: Option<i32>) -> Self {
        self.tag = tag;
        self
    }
}

/// The folder of this library's sources, as its own lines name it.
const SOURCES: &str = file!().split_at(file!().len() - "record/mod.rs".len()).0;

/// Whether a line is one of this library's own: it frees types, operations and groups when they are
/// dropped, for instance, and the user has written no line for that.
pub(crate) fn is_internal(location: &Location<'_>) -> bool {
    location.file().starts_with(SOURCES)
}

/// A name that only the process itself can look up: a function, so that noting it is one store.
pub(crate) type Name = fn() -> &'static str;

/// The name of a type.
pub(crate) fn name_of<T: ?Sized>() -> &'static str {
    std::any::type_name::<T>()
}

pub(crate) fn no_name() -> &'static str {
    ""
}

/// What a call moves, and whom it waits for.
#[derive(Clone, Copy)]
pub(crate) struct What {
    pub kind: Kind,
    /// Bytes of a message, or of what each rank gives; [`FREE`] where ranks may differ.
    pub bytes: u64,
    pub element: Name,
    /// The handle of a reduction operation, as a number, or 0.
    pub reduction: u64,
    /// Of a collective call on its communicator, from 1.
    pub number: u32,
}

/// A length that is not the same on all ranks.
pub(crate) const FREE: u64 = u64::MAX;

impl What {
    /// A call that waits for nobody.
    #[inline(always)]
    pub fn local() -> Self {
        What { kind: Kind::Local, bytes: 0, element: no_name, reduction: 0, number: 0 }
    }

    #[inline(always)]
    pub fn of(kind: Kind, bytes: usize, element: Name) -> Self {
        What { kind, bytes: bytes as u64, element, reduction: 0, number: 0 }
    }
}
