//! Communicators and groups, and how ranks of them are addressed.

mod address;
mod children;
mod create;
mod group;
mod interop;

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use phalanx_sys as ffi;

pub(crate) use address::SourceRank;
pub use address::{Dest, Source, Status, any, from, to};
use children::{Birth, Children};
pub use group::{Comparison, Group};
pub use interop::RsmpiComm;

use crate::error::{Error, ErrorKind, Result};
use crate::raw;
use crate::raw::p2p::{Envelope, any_source, any_tag, null_process};
use crate::raw::state::Permit;
use crate::record::{COMM_FREE, COMM_NAME, Call, CommRecord, INIT, Identity, Operation, Strict};
use crate::watch;

/// A communicator: a group of ranks and a context of its own, in which their messages meet no others.
///
/// Cheap to clone (all clones are the same communicator), and free to send to other threads: a call
/// from a thread that the granted [`Threading`](crate::Threading) level does not allow is an error.
///
/// # Its operations
/// Below, each family stands under a heading of its own. In the table, `…_into` and `…_in_place` stand for
/// the forms that write into memory of the caller's. An `i` before a name starts the operation and returns a
/// [`Request`](crate::Request).
///
/// | family | elements | objects (any serde value) |
/// |---|---|---|
/// | send | [`send`](Comm::send), [`ssend`](Comm::ssend), [`bsend`](Comm::bsend), [`rsend`](Comm::rsend) | [`send_object`](Comm::send_object), [`ssend_object`](Comm::ssend_object) |
/// | receive | [`recv`](Comm::recv), [`recv_into`](Comm::recv_into), [`recv_with_status`](Comm::recv_with_status) | [`recv_object`](Comm::recv_object), [`recv_object_with_status`](Comm::recv_object_with_status) |
/// | both | [`sendrecv`](Comm::sendrecv), [`sendrecv_into`](Comm::sendrecv_into), [`sendrecv_replace`](Comm::sendrecv_replace) | [`sendrecv_object`](Comm::sendrecv_object) |
/// | look first | [`probe`](Comm::probe), [`try_probe`](Comm::try_probe) | [`probe`](Comm::probe) |
/// | non-blocking | [`isend`](Comm::isend), [`issend`](Comm::issend), [`irecv`](Comm::irecv), [`irecv_into`](Comm::irecv_into), [`scope`](Comm::scope) | [`isend_object`](Comm::isend_object), [`irecv_object`](Comm::irecv_object) |
/// | cannot deadlock | [`exchange`](Comm::exchange), [`shift`](Comm::shift), [`shift_open`](Comm::shift_open), [`swap`](Comm::swap), [`pairwise`](Comm::pairwise), [`sparse_exchange`](Comm::sparse_exchange), [`in_order`](Comm::in_order) | [`exchange`](Comm::exchange), [`shift_object`](Comm::shift_object), [`swap_object`](Comm::swap_object), [`sparse_exchange_object`](Comm::sparse_exchange_object) |
/// | one to all | [`bcast`](Comm::bcast), [`bcast_vec`](Comm::bcast_vec), [`scatter`](Comm::scatter), [`scatterv`](Comm::scatterv) | [`bcast_object`](Comm::bcast_object), [`scatter_object`](Comm::scatter_object) |
/// | all to one | [`gather`](Comm::gather), [`gatherv`](Comm::gatherv) | [`gather_object`](Comm::gather_object) |
/// | all to all | [`allgather`](Comm::allgather), [`allgatherv`](Comm::allgatherv), [`alltoall`](Comm::alltoall), [`alltoallv`](Comm::alltoallv), [`alltoallw`](Comm::alltoallw) | [`allgather_object`](Comm::allgather_object), [`alltoall_object`](Comm::alltoall_object) |
/// | reduce | [`reduce`](Comm::reduce), [`allreduce`](Comm::allreduce), [`reduce_scatter`](Comm::reduce_scatter), [`reduce_scatter_block`](Comm::reduce_scatter_block) | [`reduce_object`](Comm::reduce_object), [`allreduce_object`](Comm::allreduce_object) |
/// | prefixes | [`scan`](Comm::scan), [`exscan`](Comm::exscan) | [`scan_object`](Comm::scan_object), [`exscan_object`](Comm::exscan_object) |
/// | wait for all | [`barrier`](Comm::barrier), [`ibarrier`](Comm::ibarrier) | |
///
/// | family | methods |
/// |---|---|
/// | itself | [`rank`](Comm::rank), [`size`](Comm::size), [`name`](Comm::name), [`set_name`](Comm::set_name) |
/// | new communicators | [`dup`](Comm::dup), [`split`](Comm::split), [`split_by_node`](Comm::split_by_node), [`create`](Comm::create), [`create_group`](Comm::create_group), [`free`](Comm::free) |
/// | groups | [`group`](Comm::group), [`compare`](Comm::compare), [`translate_ranks`](Comm::translate_ranks) |
/// | neighbours | [`cart`](Comm::cart), [`cart_reorder`](Comm::cart_reorder), [`graph`](Comm::graph), [`graph_weighted`](Comm::graph_weighted), [`graph_from_edges`](Comm::graph_from_edges) |
/// | dividing work | [`block_range`](Comm::block_range), [`cyclic_items`](Comm::cyclic_items) |
/// | other MPI libraries | [`to_rsmpi`](Comm::to_rsmpi) and its neighbours |
/// | the end | [`abort`](Comm::abort) |
///
/// MPI: chapter 7 of MPI-4.1.
#[derive(Clone)]
pub struct Comm {
    inner: Arc<Inner>,
}

struct Inner {
    identity: Arc<Identity>,
    /// A duplicate for traffic of this library's own: it can never meet a user's message.
    private: Arc<Identity>,
    /// Numbers what every rank of this communicator does in the same order.
    sequence: AtomicU32,
    /// Numbers what this rank sends out of band.
    out_of_band: AtomicU32,
    children: Arc<Children>,
    /// Where it stands among what was made of the same communicator.
    birth: Option<Birth>,
}

/// What tells the number of a private duplicate from that of its communicator.
pub(crate) const PRIVATE: u64 = 1 << 63;

/// Numbers the communicators of which this rank is the first member.
fn next_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn duplicate(call: &Call<'_>, handle: ffi::MPI_Comm) -> Result<ffi::MPI_Comm> {
    let made = raw::comm::dup(call, handle)?;
    raw::comm::return_errors(call, made)?;
    Ok(made)
}

static TAG_UPPER_BOUND: AtomicI32 = AtomicI32::new(32767);

/// The largest tag that a message may have (`MPI_TAG_UB`, at least 32767).
///
/// ```
/// # phalanx::run(|_world| assert!(phalanx::tag_upper_bound() >= 32767));
/// ```
#[inline]
pub fn tag_upper_bound() -> i32 {
    TAG_UPPER_BOUND.load(Ordering::Relaxed)
}

pub(crate) fn set_tag_upper_bound(tag: i32) {
    TAG_UPPER_BOUND.store(tag, Ordering::Relaxed);
}

/// # Rank, size and name
impl Comm {
    /// Makes a communicator of a handle that this library owns from now on. Collective over it.
    pub(crate) fn adopt(
        operation: &'static Operation,
        handle: ffi::MPI_Comm,
        name: String,
        location: &'static Location<'static>,
    ) -> Result<Comm> {
        Comm::adopt_child(operation, handle, name, location, None)
    }

    fn adopt_child(
        operation: &'static Operation,
        handle: ffi::MPI_Comm,
        name: String,
        location: &'static Location<'static>,
        birth: Option<Birth>,
    ) -> Result<Comm> {
        let call = Call::local(operation, location);
        raw::comm::return_errors(&call, handle)?;
        let (rank, size) = raw::comm::rank_and_size(&call, handle)?;
        raw::comm::set_name(&call, handle, &name)?;
        let private = duplicate(&call, handle)?;
        let (id, members) = if watch::is_wanted() {
            let members = raw::comm::world_ranks(&call, handle, size)?;
            let proposal = u64::from(members[rank]) << 32 | u64::from(next_number());
            (raw::comm::bcast_number(&call, private, proposal)?, members.into())
        } else {
            (0, Arc::from([]))
        };
        let owned = !std::ptr::eq(operation, &INIT);
        let record = |private| {
            let id = if private { id | PRIVATE } else { id };
            let members = Arc::clone(&members);
            CommRecord::new(id, name.clone(), private, owned && !private, members, location)
        };
        let strict = if raw::strict::is_on() {
            let (collectives, messages) = (duplicate(&call, handle)?, duplicate(&call, handle)?);
            Some(Strict { collectives, messages })
        } else {
            None
        };
        let identity = Identity::new(handle, rank, size, strict, record(false));
        let private = Identity::new(private, rank, size, None, record(true));
        Ok(Comm {
            inner: Arc::new(Inner {
                identity,
                private,
                sequence: AtomicU32::new(0),
                out_of_band: AtomicU32::new(0),
                children: Arc::default(),
                birth,
            }),
        })
    }

    /// The rank of this process, from 0.
    ///
    /// MPI: `MPI_Comm_rank`, MPI-4.1 section 7.4.1.
    ///
    /// ```
    /// # phalanx::run(|world| {
    /// assert!(world.rank() < world.size());
    /// # });
    /// ```
    #[inline]
    pub fn rank(&self) -> usize {
        self.inner.identity.rank
    }

    /// The number of ranks.
    ///
    /// MPI: `MPI_Comm_size`, MPI-4.1 section 7.4.1.
    ///
    /// ```
    /// # phalanx::run(|world| {
    /// let next = (world.rank() + 1) % world.size();
    /// # let _ = next;
    /// # });
    /// ```
    #[inline]
    pub fn size(&self) -> usize {
        self.inner.identity.size
    }

    /// The name, which errors and reports use: `world`, `self`, or what [`set_name`](Comm::set_name)
    /// gave. A new communicator is named after its parent.
    ///
    /// ```
    /// # phalanx::run(|world| assert_eq!(world.name(), "world"));
    /// ```
    pub fn name(&self) -> String {
        self.inner.identity.name()
    }

    /// Gives the communicator a name. Local: other ranks may choose another.
    ///
    /// # Errors
    /// If this thread may not call MPI.
    ///
    /// MPI: `MPI_Comm_set_name`, MPI-4.1 section 7.8.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let rows = world.split(Some(world.rank() as u32 / 2), 0)?.expect("every rank has a color");
    /// rows.set_name("rows")?;
    /// assert_eq!(rows.name(), "rows");
    /// # rows.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn set_name(&self, name: &str) -> Result<()> {
        raw::comm::set_name(&self.call(&COMM_NAME, Location::caller()), self.handle(), name)?;
        self.inner.identity.set_name(name.to_owned());
        self.inner.private.set_name(name.to_owned());
        Ok(())
    }

    /// Gives the communicator back to the MPI library. Collective: every rank calls it.
    ///
    /// What is only dropped is freed when all ranks have dropped it and another communicator is made of the same
    /// one with [`dup`](Comm::dup), [`split`](Comm::split), [`split_by_node`](Comm::split_by_node) or
    /// [`create`](Comm::create), or when MPI is finalized.
    ///
    /// # Errors
    /// [`InUse`](ErrorKind::InUse) if a clone or a request of the communicator still exists here;
    /// [`Thread`](ErrorKind::Thread), [`State`](ErrorKind::State). A refused call has no effect, and its error
    /// gives the communicator back: [`Error::into_comm`].
    ///
    /// MPI: `MPI_Comm_free`, MPI-4.1 section 7.4.3.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let copy = world.dup()?;
    /// copy.barrier()?;
    /// copy.free()
    /// # });
    /// ```
    #[track_caller]
    pub fn free(self) -> Result<()> {
        let location = Location::caller();
        let _permit = match self.permit_to_free(location) {
            Ok(permit) => permit,
            Err(error) => return Err(error.giving_back(Box::new(self))),
        };
        match Arc::try_unwrap(self.inner) {
            Ok(mut inner) => {
                if let Some(birth) = inner.birth.take() {
                    birth.freed();
                }
                let call = Call::on(&COMM_FREE, &inner.identity, location);
                children::free(&call, &[inner.identity.clone(), inner.private.clone()])
            }
            Err(inner) => {
                let comm = Comm { inner };
                Err(comm.in_use(location).giving_back(Box::new(comm)))
            }
        }
    }

    /// Whether it may be freed now. The permit is held to the end: no other thread comes between the check
    /// and what gives the communicator away.
    pub(crate) fn permit_to_free(&self, location: &'static Location<'static>) -> Result<Permit> {
        let permit = raw::permit(&self.call(&COMM_FREE, location))?;
        if Arc::strong_count(&self.inner) > 1 { Err(self.in_use(location)) } else { Ok(permit) }
    }

    #[cold]
    fn in_use(&self, location: &'static Location<'static>) -> Error {
        let others = Arc::strong_count(&self.inner) - 1;
        let detail = format!("{others} clones or requests of it still exist on this rank");
        Error::new(ErrorKind::InUse, &self.call(&COMM_FREE, location), detail)
    }

    #[inline]
    pub(crate) fn handle(&self) -> ffi::MPI_Comm {
        self.inner.identity.handle
    }

    #[inline]
    pub(crate) fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// A call on this communicator, for the gate.
    #[inline(always)]
    pub(crate) fn call(
        &self,
        operation: &'static Operation,
        location: &'static Location<'static>,
    ) -> Call<'_> {
        Call::on(operation, &self.inner.identity, location)
    }

    /// The private duplicate.
    pub(crate) fn private(&self) -> &Arc<Identity> {
        &self.inner.private
    }

    /// A call on the private duplicate.
    pub(crate) fn private_call(
        &self,
        operation: &'static Operation,
        location: &'static Location<'static>,
    ) -> Call<'_> {
        Call::on(operation, &self.inner.private, location)
    }

    /// A tag for the next thing that all ranks do together on the private duplicate, which is noted.
    /// The lower half of the tags is for these.
    ///
    /// The permit is that of the whole operation: a rank that was refused after it had taken a tag, or
    /// between two messages of the operation, would leave the others waiting.
    pub(crate) fn next_collective_tag(&self, permit: &Permit, call: &Call<'_>) -> i32 {
        let number = self.inner.sequence.fetch_add(1, Ordering::Relaxed);
        let tag = (number % half_of_tags()) as i32;
        // A call of the user's that is not among the numbered ones.
        self.inner.identity.count_steps();
        raw::steps(permit.allowed(), &call.tag(Some(tag)));
        tag
    }

    /// What calls leave behind on this rank: for tests of calls that are refused.
    pub(crate) fn traces(&self) -> String {
        let [public, private] = [&self.inner.identity, &self.inner.private].map(|identity| {
            let record = identity.record();
            let counts: Vec<_> = (0..record.members.len()).map(|it| record.counts(it)).collect();
            format!("{} collectives, {counts:?}", record.collectives())
        });
        let tags = self.inner.sequence.load(Ordering::Relaxed);
        let out_of_band = self.inner.out_of_band.load(Ordering::Relaxed);
        let owners = Arc::strong_count(&self.inner);
        format!("{public}; private: {private}; tags {tags}, {out_of_band}; {owners} owners")
    }

    /// A tag for the next message that this rank sends out of band. The upper half, of which each message has
    /// two: the next one is for answers, which must not meet a message that the other side sends.
    pub(crate) fn next_out_of_band_tag(&self) -> i32 {
        let number = self.inner.out_of_band.fetch_add(1, Ordering::Relaxed);
        (half_of_tags() + 2 * (number % (half_of_tags() / 2))) as i32
    }

    /// A root as a rank that exists.
    #[inline(always)]
    pub(crate) fn check_root(&self, call: &Call<'_>, root: usize) -> Result<()> {
        if root < self.size() {
            return Ok(());
        }
        Err(no_such_rank(ErrorKind::InvalidRoot, &call.copy(), "root", root, self.size()))
    }
}

fn half_of_tags() -> u32 {
    tag_upper_bound().unsigned_abs() / 2
}

/// The tag of messages on the private communicator that belong to a collective and that only two ranks know
/// of, above the two halves: between two ranks they come in the order of the collectives.
pub(crate) fn apart_tag() -> i32 {
    (2 * half_of_tags()) as i32
}

#[cold]
fn no_such_rank(kind: ErrorKind, call: &Call<'_>, what: &str, rank: usize, size: usize) -> Error {
    let plural = if size == 1 { "rank, 0" } else { "ranks" };
    let last = if size == 1 { String::new() } else { format!(", 0 to {}", size - 1) };
    let hint = if raw::world::is_alone() {
        ". The program runs on one rank: `cargo phalanx run -n 4` or `mpirun -n 4 PROGRAM` starts it on \
         more"
    } else {
        ""
    };
    let detail = format!("{what} {rank} of a communicator of {size} {plural}{last}{hint}");
    Error::new(kind, call, detail)
}

#[cold]
fn tag_out_of_range(call: &Call<'_>, tag: i32) -> Error {
    let largest = tag_upper_bound();
    Error::new(ErrorKind::InvalidTag, call, format!("tag {tag}, allowed are 0 to {largest}"))
}

#[inline(always)]
fn check_tag(call: &Call<'_>, tag: i32) -> Result<i32> {
    // Zero, which most messages have, is known to be allowed when this is compiled.
    if tag == 0 || (0..=tag_upper_bound()).contains(&tag) {
        Ok(tag)
    } else {
        Err(tag_out_of_range(&call.copy(), tag))
    }
}

impl Dest {
    /// As MPI wants it, if the rank and the tag exist.
    #[inline(always)]
    pub(crate) fn envelope(&self, call: &Call<'_>) -> Result<Envelope> {
        let tag = check_tag(call, self.tag)?;
        match self.rank {
            None => Ok(Envelope { rank: null_process(), tag }),
            Some(rank) => {
                let size = call.comm.map_or(0, |comm| comm.size);
                if rank >= size {
                    return Err(no_such_rank(
                        ErrorKind::InvalidRank,
                        &call.copy(),
                        "destination",
                        rank,
                        size,
                    ));
                }
                Ok(Envelope { rank: rank as i32, tag })
            }
        }
    }
}

impl Source {
    /// As MPI wants it, if the rank and the tag exist.
    #[inline(always)]
    pub(crate) fn envelope(&self, call: &Call<'_>) -> Result<Envelope> {
        let tag = match self.tag {
            Some(tag) => check_tag(call, tag)?,
            None => any_tag(),
        };
        let rank = match self.rank {
            SourceRank::Any => any_source(),
            SourceRank::Null => null_process(),
            SourceRank::Rank(rank) => {
                let size = call.comm.map_or(0, |comm| comm.size);
                if rank >= size {
                    return Err(no_such_rank(
                        ErrorKind::InvalidRank,
                        &call.copy(),
                        "source",
                        rank,
                        size,
                    ));
                }
                rank as i32
            }
        };
        Ok(Envelope { rank, tag })
    }
}

impl Error {
    /// The communicator that a refused [`Comm::free`] gives back. The error owns it until then.
    ///
    /// ```
    /// # phalanx::run(|world| -> phalanx::Result<()> {
    /// let copy = world.dup()?;
    /// let clone = copy.clone();
    /// let refused = copy.free().expect_err("there is a clone");
    /// drop(clone);
    /// let copy = refused.into_comm().expect("it is given back");
    /// copy.free()
    /// # });
    /// ```
    pub fn into_comm(self) -> Option<Comm> {
        self.into_given_back()?.downcast().ok().map(|comm| *comm)
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Comm({:?}, rank {} of {})", self.name(), self.rank(), self.size())
    }
}
