//! What this rank is doing now.
//!
//! Every MPI call is described by one [`Call`]; errors, the report of a failing rank and (later) the
//! watch read it, so that there is no second instrumentation anywhere.

use std::fmt;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};

use phalanx_sys as ffi;
use serde::{Deserialize, Serialize};

/// An operation of this library and the MPI function behind it.
#[derive(Debug)]
pub struct Operation {
    pub name: &'static str,
    pub function: &'static str,
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
    /// All of several requests.
    WaitAll,
    /// One of several requests.
    WaitAny,
    /// Every rank of the world, for ever: who is in it answers nothing any more.
    Finalize,
}

impl Kind {
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

/// A number for a tag whose sums tell sets of tags apart (the finaliser of SplitMix64).
#[inline(always)]
pub(crate) fn tag_mark(tag: i32) -> u64 {
    let mut z = (tag as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    z ^ (z >> 32)
}

/// Declares operations: `NAME = "method" : "MPI_Function";`.
macro_rules! operations {
    ($($constant:ident = $name:literal : $function:literal;)*) => {
        $(pub(crate) static $constant: Operation = Operation { name: $name, function: $function };)*
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
    IRECV_UNKNOWN = "irecv of unknown length": "MPI_Improbe";
    WAIT_ALL = "wait_all": "MPI_Waitall";
    WAIT_ANY = "wait_any": "MPI_Waitany";
    CANCEL = "cancel": "MPI_Cancel";
    SEND_OBJECT = "send_object": "MPI_Send";
    SSEND_OBJECT = "ssend_object": "MPI_Ssend";
    ISEND_OBJECT = "isend_object": "MPI_Isend";
    RECV_OBJECT = "recv_object": "MPI_Mrecv";
    IRECV_OBJECT = "irecv_object": "MPI_Improbe";
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
    DATATYPE = "datatype": "MPI_Type_commit";
    OP = "reduction operation": "MPI_Op_create";
}

/// A communicator as an MPI call sees it.
pub struct Identity {
    pub handle: ffi::MPI_Comm,
    pub rank: usize,
    pub size: usize,
    name: RwLock<String>,
}

// SAFETY: a communicator handle is a plain value (an integer or the address of a library object);
// which thread may use it is checked at every call by the gate.
unsafe impl Send for Identity {}
// SAFETY: as above.
unsafe impl Sync for Identity {}

impl Identity {
    pub fn new(handle: ffi::MPI_Comm, rank: usize, size: usize, name: String) -> Self {
        Identity { handle, rank, size, name: RwLock::new(name) }
    }

    pub fn name(&self) -> String {
        self.name.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_name(&self, name: String) {
        *self.name.write().unwrap_or_else(PoisonError::into_inner) = name;
    }
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

struct Record {
    operation: AtomicPtr<Operation>,
    location: AtomicPtr<Location<'static>>,
    peer: AtomicI32,
    inside: AtomicBool,
}

static RECORD: Record = Record {
    operation: AtomicPtr::new(ptr::null_mut()),
    location: AtomicPtr::new(ptr::null_mut()),
    peer: AtomicI32::new(NO_PEER),
    inside: AtomicBool::new(false),
};

const NO_PEER: i32 = -1;

/// Notes that a call begins. Plain stores: this is on the path of every message.
#[inline(always)]
pub(crate) fn enter(call: &Call<'_>) {
    RECORD.operation.store(ptr::from_ref(call.operation).cast_mut(), Relaxed);
    RECORD.location.store(ptr::from_ref(call.location).cast_mut(), Relaxed);
    let peer = match call.peer {
        Peer::To(rank) | Peer::From(rank) | Peer::Root(rank) => rank as i32,
        Peer::None | Peer::AnySource | Peer::Null => NO_PEER,
    };
    RECORD.peer.store(peer, Relaxed);
    RECORD.inside.store(true, Relaxed);
}

#[inline(always)]
pub(crate) fn leave() {
    RECORD.inside.store(false, Relaxed);
}

/// The last MPI call of this process, for the report of a failing rank.
pub(crate) struct LastCall {
    operation: &'static Operation,
    location: &'static Location<'static>,
    peer: Option<i32>,
    inside: bool,
}

pub(crate) fn last_call() -> Option<LastCall> {
    let operation = RECORD.operation.load(Relaxed);
    let location = RECORD.location.load(Relaxed);
    let peer = RECORD.peer.load(Relaxed);
    // SAFETY: both pointers are null or were made from `&'static` references in `enter`.
    let (operation, location) = unsafe { (operation.as_ref()?, location.as_ref()?) };
    Some(LastCall {
        operation,
        location,
        peer: (peer != NO_PEER).then_some(peer),
        inside: RECORD.inside.load(Relaxed),
    })
}

impl fmt::Display for LastCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let when = if self.inside { "inside" } else { "last MPI call:" };
        write!(f, "{when} {}", self.operation.name)?;
        if let Some(peer) = self.peer {
            write!(f, " with rank {peer}")?;
        }
        write!(f, " at {}", self.location)
    }
}
